"""When to try again, and how long to wait before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import ResourceExhausted, TickreelError, Unavailable


@dataclass(frozen=True, slots=True)
class Retry:
    """Tries again what may be tried again: requests that only read, while the server is unavailable
    or asks to wait.

    The waits double from `first_s` to `max_s`, each shortened at random by up to a half, so that
    many clients do not come back at once. A server that names a delay is waited for that long.
    """

    attempts: int = 5
    """How often a request is sent at most; 1: never again."""
    first_s: float = 0.1
    max_s: float = 10.0
    replay_attempts: int = 40
    """How often a lost replay is opened again before its error is given out."""
    random: random.Random = field(default_factory=random.Random)

    def waits(self, attempts: int | None = None) -> Waits:
        """The waits of one request."""
        return Waits(self._delays_s(self.attempts if attempts is None else attempts))

    def _delays_s(self, attempts: int) -> Iterator[float]:
        delay_s = self.first_s
        for _ in range(attempts - 1):
            yield min(delay_s, self.max_s) * self.random.uniform(0.5, 1.0)
            delay_s *= 2


class Waits:
    """What is left of the waits of one request."""

    def __init__(self, delays_s: Iterator[float]) -> None:
        self._delays_s = delays_s

    def after(self, error: TickreelError, *, passes: bool = False) -> float:
        """Seconds to wait before the next attempt; `passes`: this error may, whatever it is.

        Raises:
            TickreelError: `error` itself, if there is to be none.

        """
        asked = error.retry_after_s
        # Above a limit is above it next time too, unless the server says when it is not.
        passing = (
            passes
            or isinstance(error, Unavailable)
            or (isinstance(error, ResourceExhausted) and asked is not None)
        )
        delay_s = next(self._delays_s, None) if passing else None
        if delay_s is None:
            raise error from None
        return max(delay_s, asked or 0.0)
