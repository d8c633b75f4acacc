"""What is assumed of the world: latency, the queue at a price, commission. Each says what it does;
the defaults are the simplest, not the kindest.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from ..errors import InvalidArgument
from ..times import Duration, to_duration_ns
from .orders import Amount, amount


class Latency(Protocol):
    """How long things take, in nanoseconds.

    The clock of a backtest is that of the strategy: a message happens at its `ts_recv`. At the
    venue it had happened `feed_ns` before. An order that is decided at t reaches the venue
    `entry_ns` later; it acts after every message that the venue had sent by then, that is, after
    those up to t + entry + feed on the strategy's clock. What it brings about at the venue at v is
    known to the strategy at v + response, but never before the message that caused it. Orders and
    cancellations of an instrument arrive in the order they were sent: one that takes less time than
    the one before arrives with it.

    `recorded_ns` is `ts_recv` - `ts_event` of the instrument's last message, 0 if negative or
    unknown.
    """

    def feed_ns(self, recorded_ns: int) -> int:
        """From the venue to the strategy."""

    def entry_ns(self, recorded_ns: int) -> int:
        """From the strategy's decision to the venue."""

    def response_ns(self, recorded_ns: int) -> int:
        """From what happens to an order to the strategy's knowing."""


class ConstantLatency:
    """The same always. Without `response` it is that of `entry`; `feed` is 0 unless given."""

    def __init__(
        self, entry: Duration = 0, response: Duration | None = None, feed: Duration = 0
    ) -> None:
        self._entry_ns = _not_negative(entry)
        self._response_ns = self._entry_ns if response is None else _not_negative(response)
        self._feed_ns = _not_negative(feed)

    def feed_ns(self, recorded_ns: int) -> int:
        """The constant."""
        return self._feed_ns

    def entry_ns(self, recorded_ns: int) -> int:
        """The constant."""
        return self._entry_ns

    def response_ns(self, recorded_ns: int) -> int:
        """The constant."""
        return self._response_ns


class RecordedLatency:
    """As the capture saw it: each way takes `ts_recv` - `ts_event` of the last message, and orders
    and responses a constant more. Its worth is that of the venue's and the capture's clocks.
    """

    def __init__(self, entry: Duration = 0, response: Duration = 0) -> None:
        self._entry_ns, self._response_ns = _not_negative(entry), _not_negative(response)

    def feed_ns(self, recorded_ns: int) -> int:
        """As recorded."""
        return recorded_ns

    def entry_ns(self, recorded_ns: int) -> int:
        """As recorded, and the constant."""
        return recorded_ns + self._entry_ns

    def response_ns(self, recorded_ns: int) -> int:
        """As recorded, and the constant."""
        return recorded_ns + self._response_ns


class QueueModel(Protocol):
    """How much of what was cancelled at a price stood before our order, in the same units.

    The rest of the model is fixed. When an order comes to rest, everything displayed at its price
    is before it. A print at its price takes from what is before it, then from the order. When the
    displayed quantity falls by more than was printed since it last changed, the difference was
    cancelled; never is more before the order than is displayed.
    """

    def cancelled_ahead(self, ahead: int, displayed: int, cancelled: int) -> int:
        """Of `cancelled`, what stood before the order; `ahead` of `displayed` did until now."""


class CancelShare:
    """A fixed share of what is cancelled stood before the order, rounded down: 0 (the worst case)
    to 1 (the best).
    """

    def __init__(self, share: Amount = 0) -> None:
        exact = amount(share, "share")
        if not 0 <= exact <= 1:
            raise InvalidArgument(f"share {share!r}: expected 0 to 1")
        self._share = Fraction(exact)

    def cancelled_ahead(self, ahead: int, displayed: int, cancelled: int) -> int:
        """The share of it."""
        return int(cancelled * self._share)


class Proportional:
    """Cancellations are spread evenly over the queue: `ahead` of `displayed` of them stood before
    the order, rounded down.
    """

    def cancelled_ahead(self, ahead: int, displayed: int, cancelled: int) -> int:
        """The same part of them as of the queue."""
        return cancelled * min(ahead, displayed) // displayed if displayed > 0 else 0


@dataclass(frozen=True, slots=True)
class Fees:
    """Commission as a share of price x quantity: 0.0002 is two basis points, negative a rebate."""

    maker: Decimal = Decimal(0)
    taker: Decimal = Decimal(0)

    @classmethod
    def of(cls, maker: Amount = 0, taker: Amount = 0) -> Fees:
        """From any numbers."""
        return cls(amount(maker, "maker"), amount(taker, "taker"))

    def of_fill(self, price: Decimal, qty: Decimal, maker: bool) -> Decimal:
        """The commission of a fill."""
        return price * qty * (self.maker if maker else self.taker)


def _not_negative(duration: Duration) -> int:
    ns = to_duration_ns(duration)
    if ns < 0:
        raise InvalidArgument(f"latency {duration!r}: expected no less than 0")
    return ns
