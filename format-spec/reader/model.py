"""Chapters 0 and 1: the kinds and their columns, names, rules of rows, the book, faults, checksums,
the content hash."""
from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any, NamedTuple, NoReturn

NULL = -(1 << 63)
MASK = (1 << 64) - 1
LAST, SNAPSHOT = 1, 2
DAY_NS = 86_400_000_000_000


class Refused(Exception):
    """What the text says a reader refuses: `fault` in its words, at byte `offset` of the file.

    `file` is the number of a journal file.
    """

    def __init__(self, fault: str, offset: int, kind: str = "corrupt",
                 file: int | None = None) -> None:
        where = "" if file is None else f" of journal file {file}"
        super().__init__(f"{kind}: {fault}, at byte {offset}{where}")
        self.fault, self.offset, self.kind, self.file = fault, offset, kind, file


def refuse(fault: str, offset: int) -> NoReturn:
    """Ends with `fault`; see `Refused`."""
    raise Refused(fault, offset)


def require(good: bool, fault: str, offset: int) -> None:
    """Ends with `fault` unless `good`; see `Refused`."""
    if not good:
        raise Refused(fault, offset)


def wrapped(value: int) -> int:
    """1.1: `value` modulo 2^64 as an i64."""
    return ((value + (1 << 63)) & MASK) - (1 << 63)


def aligned(n: int) -> int:
    """1.1: the smallest multiple of 64 that is at least `n`."""
    return (n + 63) // 64 * 64


def day_text(day: int) -> str:
    """1.2: a day as yyyy-mm-dd, or its number where no receive time falls on it."""
    if abs(day) > 106_752:
        return f"day {day}"
    return str(date(1970, 1, 1) + timedelta(days=day))


TIME, INT, DECIMAL, CODE, FLAGS, TEXT = range(1, 7)
FLAG_NAMES = {2: "SNAPSHOT", 1: "LAST"}


class Column(NamedTuple):
    """0.6: one column of a kind. `per_message`: one value for a whole message."""
    name: str
    type: int
    per_message: bool = False
    null: bool = False
    names: tuple[str, ...] = ()

    @property
    def plain_bytes(self) -> int:
        return 0 if self.type == TEXT else 1 if self.type in (CODE, FLAGS) else 8


class Kind(NamedTuple):
    name: str
    columns: tuple[Column, ...]

    @property
    def has_messages(self) -> bool:
        return self.columns[0].per_message


def _times(per_message: bool = False) -> tuple[Column, Column]:
    return Column("ts_recv", TIME, per_message), Column("ts_event", TIME, per_message, null=True)


def _decimals(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, DECIMAL, null=True) for name in names)


_LEVEL_SIDE = Column("side", CODE, names=("bid", "ask"))
_PRICE_QTY = (Column("price", DECIMAL), Column("qty", DECIMAL))
_TRADE = (*_times(), Column("side", CODE, names=("buy", "sell", "unknown")), *_PRICE_QTY,
          Column("trade_id", TEXT))
_MESSAGE_SEQ = Column("venue_seq", INT, True, null=True)
KINDS = {
    1: Kind("book", (
        *_times(True), Column("action", CODE, names=("set", "reset", "gap")), _LEVEL_SIDE,
        Column("flags", FLAGS, True), *_PRICE_QTY, _MESSAGE_SEQ)),
    2: Kind("trades", _TRADE),
    3: Kind("quotes", (
        *_times(), *_decimals("bid_price", "bid_qty", "ask_price", "ask_qty"),
        Column("venue_seq", INT, null=True))),
    4: Kind("ticker", (
        *_times(), *_decimals("last", "mark", "index", "funding_rate", "predicted_funding_rate"),
        Column("funding_ts", TIME, null=True), *_decimals("open_interest"))),
    5: Kind("liquidations", _TRADE),
    6: Kind("orders", (
        *_times(True), Column("action", CODE, names=("add", "modify", "cancel", "fill", "reset")),
        _LEVEL_SIDE, Column("order_id", TEXT), *_PRICE_QTY, Column("flags", FLAGS, True),
        _MESSAGE_SEQ)),
    7: Kind("status", (
        *_times(), Column("what", CODE,
                          names=("connected", "disconnected", "gap", "resync", "halted", "clock")),
        Column("detail", TEXT))),
    8: Kind("raw", (*_times(), Column("channel", TEXT), Column("payload", TEXT))),
}
BOOK, ORDERS = 1, 6
SET, RESET, GAP = range(3)
EMPTY, LIVE, STALE = range(3)
STATES = ("empty", "live", "stale")

Level = tuple[int, int]
Value = int | bytes
Row = tuple[Any, ...]
"""One value per column: bytes of a text column, an int of every other."""


class Stream(NamedTuple):
    """Table 6.2."""
    stream_id: int
    kind: int
    exchange: str
    symbol: str
    journal_rows: int = 0

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol} {KINDS[self.kind].name}"


def decode_stream(data: bytes, at: int) -> tuple[Stream, int] | None:
    """Table 6.2 and the names after it: the stream at `at`, and where it ends; None if none is."""
    if at + 16 > len(data):
        return None
    number, kind, exchange_len, symbol_len, reserved, rows = struct.unpack_from("<IBBBBQ", data, at)
    middle, after = at + 16 + exchange_len, at + 16 + exchange_len + symbol_len
    try:
        exchange, symbol = data[at + 16:middle].decode(), data[middle:after].decode()
    except UnicodeDecodeError:
        return None
    good = (reserved == 0 and after <= len(data)
            and re.fullmatch("[a-z0-9-]{1,32}", exchange) is not None and 1 <= symbol_len <= 128
            and re.search(r"[\x00-\x1f\x7f-\x9f\s]", symbol) is None)
    return (Stream(number, kind, exchange, symbol, rows), after) if good else None


def require_rules(kind: Kind, rows: list[tuple[bool, Row]], at: int) -> None:
    """3.7: the rules of rows as stored, each with whether it is the last of its message; but not
    that codes have names, which reading a column requires."""
    types = [column.type for column in kind.columns]
    for c, column in enumerate(kind.columns):
        values = [row[c] for _, row in rows]
        require(column.type != FLAGS or set(values) <= {0, SNAPSHOT},
                "a flag that is never stored", at)
        require(column.null or column.type == TEXT or NULL not in values,
                "null in a column that has none", at)
    reset = {KINDS[BOOK]: RESET, KINDS[ORDERS]: 4}.get(kind)
    first = True
    for last, row in rows:
        if first and reset is not None:
            require(not row[types.index(FLAGS)] or row[2] == reset,
                    "a snapshot does not begin with a reset", at)
        first = last
    for _, row in rows if kind is KINDS[BOOK] else ():
        require(row[2] == SET or row[3] == row[5] == 0 and (row[2] == GAP or row[6] == 0),
                "a reset or gap with values of a level", at)


class Book:
    """0.4: a book. Prices and quantities are kept at scale 18, so that equal values are equal."""

    def __init__(self) -> None:
        self.state, self.since, self.missing = EMPTY, 0, 0
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def apply(self, ts_recv: int, action: int, side: int, price: Level, qty: Level) -> None:
        """One row; `price` and `qty` are (mantissa, scale)."""
        if action == SET:
            at, quantity = (mantissa * 10 ** (18 - scale) for mantissa, scale in (price, qty))
            if quantity:
                self.sides[side][at] = quantity
            else:
                self.sides[side].pop(at, None)
        elif action == RESET:
            self.__init__()  # type: ignore[misc]
            self.state = LIVE
        else:
            count = max(qty[0], 0) // 10 ** qty[1]
            if self.state != STALE:
                self.state, self.since, self.missing = STALE, ts_recv, count
            elif self.missing:
                self.missing = min(self.missing + count, MASK) if count else 0

    def levels(self, side: int) -> list[Level]:
        """Levels of a side, best first."""
        return sorted(self.sides[side].items(), reverse=side == 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Book) and vars(self) == vars(other)


def own_checksum_holds(data: bytes, at: int) -> bool:
    """1.6: whether the own checksum at `at` fits the structure `data`."""
    stored = int.from_bytes(data[at:at + 4], "little")
    return zlib.crc32(data[:at] + bytes(4) + data[at + 4:]) == stored


_P, _R = (1 << 61) - 1, 0x0B0A9D7C3F1E5261
_K = (0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
      0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
      0xCBBB9D5DC1059ED9, 0x629A292A367CD507, 0x9159015A3070DD17, 0x152FECD8F70E5939,
      0x67332667FFC00B31, 0x8EB44A8768581511, 0xDB0C2E0D64F98FA7, 0x47B5481DBEFA4FA5)


def _mix(a: int, b: int) -> int:
    product = a * b
    return product >> 64 ^ product & MASK


def mixed_value(number: int, column: Column, scale: int, value: Value) -> int:
    """1.8: what the value of column `number` gives to the hash of its row."""
    k = _K[number]
    if isinstance(value, bytes):
        state = k ^ len(value)
        for i in range(0, len(value), 8):
            state = _mix(state ^ int.from_bytes(value[i:i + 8], "little"), k | 1)
        return state
    if column.type == DECIMAL and value != NULL:
        wide = value * 10 ** (18 - scale)
        return _mix(wide & MASK ^ k, wide >> 64 & MASK ^ k | 1)
    return _mix(value & MASK ^ k, k | 1)


def _column_sum(mixed: Iterable[int]) -> int:
    total = 0
    for m in mixed:
        total = (total ^ (m << 17 | m >> 47) & MASK) * _K[13] & MASK
    return total


def content_hash(kind: Kind, scales: list[int], rows: Iterable[tuple[bool, Row]]) -> int:
    """1.8: the hash of rows as stored, each with whether it is the last of its message."""
    total = 0
    for last, row in rows:
        mixed = [mixed_value(c, column, scales[c], value)
                 for c, (column, value) in enumerate(zip(kind.columns, row))]
        if kind.has_messages:
            head, body = (_column_sum(m for m, column in zip(mixed, kind.columns)
                                      if column.per_message == wanted) for wanted in (True, False))
            row_hash = _mix(body ^ _K[15 if last else 14], head | 1)
        else:
            row_hash = _column_sum(mixed)
        total = (total * _R + row_hash) % _P
    return total
