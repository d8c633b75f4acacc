"""One row of each kind, as a named tuple. A value that is missing is None."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple, TypeAlias

from .schema import Kind

Number: TypeAlias = float | Decimal
"""A price or quantity: a double, or `Decimal` where exact values were asked for."""


class BookRow(NamedTuple):
    """One level set. `action` is `set`, `reset` or `gap`; quantity 0 removes the level."""

    action: str
    side: str
    price: Number
    qty: Number


class TradeRow(NamedTuple):
    """One print, or one forced order. `side` is the aggressor: `buy`, `sell` or `unknown`."""

    side: str
    price: Number
    qty: Number
    trade_id: str


class QuoteRow(NamedTuple):
    """Best bid and ask."""

    bid_price: Number | None
    bid_qty: Number | None
    ask_price: Number | None
    ask_qty: Number | None


class TickerRow(NamedTuple):
    """State of a derivative. `funding_ts` is nanoseconds."""

    last: Number | None
    mark: Number | None
    index: Number | None  # type: ignore[assignment]  # hides a method of tuples nobody needs
    funding_rate: Number | None
    predicted_funding_rate: Number | None
    funding_ts: int | None
    open_interest: Number | None


class OrderRow(NamedTuple):
    """One order event."""

    action: str
    side: str
    order_id: str
    price: Number
    qty: Number


class StatusRow(NamedTuple):
    """A fact of the connection."""

    what: str
    detail: str


class RawRow(NamedTuple):
    """A frame as it came."""

    channel: str
    payload: str


RowValue: TypeAlias = BookRow | TradeRow | QuoteRow | TickerRow | OrderRow | StatusRow | RawRow

ROW_TYPES: dict[Kind, type[RowValue]] = {
    Kind.BOOK: BookRow,
    Kind.TRADES: TradeRow,
    Kind.QUOTES: QuoteRow,
    Kind.TICKER: TickerRow,
    Kind.LIQUIDATIONS: TradeRow,
    Kind.ORDERS: OrderRow,
    Kind.STATUS: StatusRow,
    Kind.RAW: RawRow,
}
"""The row of every kind."""
