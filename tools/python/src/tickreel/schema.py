"""The kinds of records and their columns, as `format-spec/00-model.md` defines them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .errors import InvalidArgument

NULL = -(2**63)
"""The integer that stands for "no value"."""

FLAG_LAST = 1
FLAG_SNAPSHOT = 2


class Kind(StrEnum):
    """Which record a stream holds. Its text, e.g. `"book"`, may be used in its place."""

    BOOK = "book"
    TRADES = "trades"
    QUOTES = "quotes"
    TICKER = "ticker"
    LIQUIDATIONS = "liquidations"
    ORDERS = "orders"
    STATUS = "status"
    RAW = "raw"

    @property
    def code(self) -> int:
        """Its number in files and requests."""
        return list(Kind).index(self) + 1


def kind_of(kind: Kind | str) -> Kind:
    """The kind with this name.

    Raises:
        InvalidArgument: there is none.

    """
    try:
        return Kind(kind)
    except ValueError:
        raise InvalidArgument(f"kind {kind!r}: expected one of {', '.join(Kind)}") from None


def kind_from_code(code: int) -> Kind:
    """The kind with this number.

    Raises:
        InvalidArgument: there is none.

    """
    kinds = list(Kind)
    if not 1 <= code <= len(kinds):
        raise InvalidArgument(f"a kind with the number {code}, which this client does not know")
    return kinds[code - 1]


class Type(StrEnum):
    """What the values of a column are."""

    TIME = "time"
    INT = "int"
    DECIMAL = "decimal"
    CODE = "code"
    FLAGS = "flags"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a kind. `names` are those of a code's values, from 0."""

    name: str
    type: Type
    per_message: bool = False
    names: tuple[str, ...] = ()


def _columns(*columns: Column, grouped: bool = False) -> tuple[Column, ...]:
    times = (Column("ts_recv", Type.TIME, grouped), Column("ts_event", Type.TIME, grouped))
    return times + columns


def _decimals(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, Type.DECIMAL) for name in names)


_SIDE = Column("side", Type.CODE, names=("bid", "ask"))
_FLAGS = Column("flags", Type.FLAGS, per_message=True)
_SEQ = Column("venue_seq", Type.INT, per_message=True)
_PRINT = _columns(
    Column("side", Type.CODE, names=("buy", "sell", "unknown")),
    *_decimals("price", "qty"),
    Column("trade_id", Type.TEXT),
)

COLUMNS: dict[Kind, tuple[Column, ...]] = {
    Kind.BOOK: _columns(
        Column("action", Type.CODE, names=("set", "reset", "gap")),
        _SIDE,
        _FLAGS,
        *_decimals("price", "qty"),
        _SEQ,
        grouped=True,
    ),
    Kind.TRADES: _PRINT,
    Kind.QUOTES: _columns(
        *_decimals("bid_price", "bid_qty", "ask_price", "ask_qty"),
        Column("venue_seq", Type.INT),
    ),
    Kind.TICKER: _columns(
        *_decimals("last", "mark", "index", "funding_rate", "predicted_funding_rate"),
        Column("funding_ts", Type.TIME),
        *_decimals("open_interest"),
    ),
    Kind.LIQUIDATIONS: _PRINT,
    Kind.ORDERS: _columns(
        Column("action", Type.CODE, names=("add", "modify", "cancel", "fill", "reset")),
        _SIDE,
        Column("order_id", Type.TEXT),
        *_decimals("price", "qty"),
        _FLAGS,
        _SEQ,
        grouped=True,
    ),
    Kind.STATUS: _columns(
        Column(
            "what",
            Type.CODE,
            names=("connected", "disconnected", "gap", "resync", "halted", "clock"),
        ),
        Column("detail", Type.TEXT),
    ),
    Kind.RAW: _columns(Column("channel", Type.TEXT), Column("payload", Type.TEXT)),
}
"""The columns of every kind, in their order."""

GROUPED = frozenset({Kind.BOOK, Kind.ORDERS})
"""Kinds whose rows come in messages of many rows; elsewhere each row is a message."""

SET, RESET, GAP = 0, 1, 2
"""Codes of a book row's action."""

BID, ASK = 0, 1
"""Codes of a book row's side."""

BUY, SELL = 0, 1
"""Codes of a trade's aggressor."""
