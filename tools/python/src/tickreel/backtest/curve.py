"""Equity and positions by time, as a run notes them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from ..errors import InvalidArgument
from ..model import FloatArray
from .account import Holding

SAMPLES_MAX = 50_000_000
"""Samples of a run: one each second for a year and a half. Each takes 16 bytes, and in the result
8 more for each instrument.
"""


@dataclass(slots=True)
class Steps:
    """A position by sample, kept where it changes. Before the first step it is 0."""

    last: Decimal = field(default_factory=Decimal)
    places: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def note(self, place: int, value: Decimal) -> None:
        """The value from this sample on."""
        if value != self.last:
            self.last = value
            self.places.append(place)
            self.values.append(float(value))

    def expand(self, count: int) -> FloatArray:
        """The value at each of `count` samples."""
        lengths = np.diff(self.places, prepend=0, append=count)
        return np.repeat(np.append(0.0, self.values), lengths)


class Curve:
    """Samples of equity and of positions."""

    def __init__(self) -> None:
        self.times_ns = array("q")
        self.equity = array("d")
        self._steps: dict[str, Steps] = {}

    def note(
        self, first_ns: int, every_ns: int, count: int, equity: Decimal, held: dict[str, Holding]
    ) -> None:
        """Adds `count` samples that are the same but for their times.

        Raises:
            InvalidArgument: there would be more than `SAMPLES_MAX`.

        """
        place = len(self.times_ns)
        if place + count > SAMPLES_MAX:
            raise InvalidArgument(
                f"{count} samples of equity from {first_ns} on, one each {every_ns} ns, are more "
                f"than {SAMPLES_MAX} in all: choose a longer `sample`, or a market without such "
                "a hole"
            )
        self.times_ns.extend(range(first_ns, first_ns + count * every_ns, every_ns))
        self.equity.extend(array("d", [float(equity)]) * count)
        for name, holding in held.items():
            self._steps.setdefault(name, Steps()).note(place, holding.position)

    def position(self, instrument: str) -> FloatArray:
        """The position in an instrument at each sample."""
        return self._steps.get(instrument, Steps()).expand(len(self.times_ns))
