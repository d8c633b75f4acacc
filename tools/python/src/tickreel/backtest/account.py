"""Cash, positions and round trips, exactly: every sum is of `Decimal`, none is rounded.

An instrument is linear: its value is price x quantity in one quote currency, the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from .orders import EXACT, Fill


@dataclass(slots=True)
class Holding:
    """A position, and the cash that came and went for it since it was last flat."""

    position: Decimal = field(default_factory=Decimal)
    trip_cash: Decimal = field(default_factory=Decimal)


@dataclass(slots=True)
class Account:
    """All positions, and the cash of all fills. Cash begins at 0: what is there is profit."""

    cash: Decimal = field(default_factory=Decimal)
    fees: Decimal = field(default_factory=Decimal)
    turnover: Decimal = field(default_factory=Decimal)
    trips: list[Decimal] = field(default_factory=list)
    """Profit of each round trip, from flat to flat, after fees."""
    holdings: dict[str, Holding] = field(default_factory=dict)

    def add(self, fill: Fill) -> None:
        """Books a fill. One that turns the position around ends a round trip and begins another."""
        holding = self.holdings.setdefault(fill.order.instrument, Holding())
        sign = fill.order.side.sign
        against = holding.position * sign < 0
        closing = min(abs(holding.position), fill.qty) if against else Decimal(0)
        for part in (closing, EXACT.subtract(fill.qty, closing)):
            if part:
                self._add_part(holding, fill, part, sign)
        self.fees = EXACT.add(self.fees, fill.fee)

    def value(self, marks: dict[str, Decimal]) -> Decimal:
        """Cash, and positions at their marks."""
        value = self.cash
        for instrument, holding in self.holdings.items():
            if holding.position:
                value = EXACT.add(value, EXACT.multiply(holding.position, marks[instrument]))
        return value

    def _add_part(self, holding: Holding, fill: Fill, part: Decimal, sign: int) -> None:
        worth = EXACT.multiply(fill.price, part)
        # The fee of a fill is in proportion to its quantity, so that of a part is exact.
        fee = (
            fill.fee if part == fill.qty else EXACT.divide(EXACT.multiply(fill.fee, part), fill.qty)
        )
        cash = EXACT.subtract(EXACT.multiply(worth, -sign), fee)
        self.cash = EXACT.add(self.cash, cash)
        self.turnover = EXACT.add(self.turnover, worth)
        holding.trip_cash = EXACT.add(holding.trip_cash, cash)
        holding.position = EXACT.add(holding.position, EXACT.multiply(part, sign))
        if not holding.position:
            self.trips.append(holding.trip_cash)
            holding.trip_cash = Decimal(0)
