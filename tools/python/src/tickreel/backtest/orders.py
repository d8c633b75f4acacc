"""Orders and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Context, Decimal
from enum import StrEnum
from typing import TypeAlias

from ..errors import InvalidArgument

Amount: TypeAlias = Decimal | int | float | str
"""A price or quantity. A float stands for its shortest text: 0.1 is a tenth."""


EXACT = Context(prec=100)
"""Enough digits that no sum or product of prices, quantities and fees is ever rounded."""

SCALE_MAX = 18
"""Decimals that a price or quantity may have, as in the store."""


class OrderSide(StrEnum):
    """What the order does."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """1 for buying, -1 for selling."""
        return 1 if self is OrderSide.BUY else -1


class OrderState(StrEnum):
    """Where an order is."""

    SENT = "sent"
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it."""
        return self in (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED)


@dataclass(eq=False)
class Order:
    """An order; `price` None: a market order.

    `state`, `reason` and `filled` are what the strategy has heard: the venue may be further.
    """

    number: int
    instrument: str
    side: OrderSide
    qty: Decimal
    price: Decimal | None
    post_only: bool
    sent_ns: int
    sent_mid: Decimal | None
    """The middle of the book when the strategy decided; None if there was none."""
    state: OrderState = OrderState.SENT
    reason: str = ""
    """Why it was rejected or cancelled."""
    filled: Decimal = field(default_factory=Decimal)

    @property
    def left(self) -> Decimal:
        """The quantity that is not filled."""
        return EXACT.subtract(self.qty, self.filled)


@dataclass(frozen=True, slots=True)
class Fill:
    """A part of an order that was traded. `fee` is in the quote currency, negative if a rebate.

    `slippage` is what the price cost against the middle of the book when the strategy decided,
    in the quote currency; negative if it was better. None if there was no middle.
    """

    ts_ns: int
    order: Order
    price: Decimal
    qty: Decimal
    fee: Decimal
    maker: bool

    @property
    def slippage(self) -> Decimal | None:
        """(price - middle at the decision) x quantity, against the order."""
        if self.order.sent_mid is None:
            return None
        worse = EXACT.subtract(self.price, self.order.sent_mid) * self.order.side.sign
        return EXACT.multiply(worse, self.qty)


def amount(value: Amount, what: str) -> Decimal:
    """A price or quantity, exactly.

    Raises:
        InvalidArgument: it is no finite number, or has more than 18 decimals.

    """
    try:
        exact = Decimal(repr(value) if isinstance(value, float) else value)
    except (ArithmeticError, TypeError, ValueError):
        raise InvalidArgument(f"{what} {value!r}: expected a number") from None
    if not exact.is_finite():
        raise InvalidArgument(f"{what} {value!r}: expected a finite number")
    if scale_of(exact) > SCALE_MAX:
        raise InvalidArgument(f"{what} {value!r}: more than {SCALE_MAX} decimals")
    return exact


def scale_of(value: Decimal) -> int:
    """Decimals of a finite number."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
