"""Rows in narrow columns, as a replay sends them: `ReplayChunk` of the contract, form COLUMNS."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .errors import ProtocolError
from .model import FloatArray, IntArray, decimal_of, floats_of
from .rows import ROW_TYPES, RowValue
from .schema import COLUMNS, FLAG_LAST, FLAG_SNAPSHOT, GROUPED, NULL, Column, Kind, Type

_HEAD = struct.Struct("<BBBxIIxxxx")
_ENTRY = struct.Struct("<BBBBBxxxqQ")
_ROW_COUNTS = 0xFF
_HAS_NULLS = 1
_VERSION = 1
_ROWS_MAX = (1 << 16) + (1 << 18)
"""No chunk has more: a longer one is damaged, and memory is not taken for it."""
_WIDTHS = {1: "u1", 2: "<u2", 4: "<u4", 8: "<i8"}


@dataclass(frozen=True, slots=True)
class _Entry:
    column: int
    scale: int
    digits: int
    width: int
    flags: int
    base: int
    length: int


class Texts:
    """Texts one after another in `blob`; each ends where `ends` says."""

    def __init__(self, ends: IntArray, blob: bytes) -> None:
        self.ends = ends
        self.blob = blob

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Texts:
        """Joins texts."""
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        return cls(np.cumsum(lengths), b"".join(texts))

    @cached_property
    def list(self) -> list[bytes]:
        """Each by itself; taken apart when first asked for."""
        ends: list[int] = self.ends.tolist()
        return [self.blob[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def to_arrow(self) -> pa.Array:
        """The texts as Arrow has them, as bytes."""
        ends = np.concatenate(([0], self.ends)).astype(np.int32)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(self.blob)]
        return pa.Array.from_buffers(pa.binary(), len(self.ends), buffers)


@dataclass(frozen=True, slots=True)
class Values:
    """One column: integers or codes in `ints`, or text in `texts`."""

    ints: IntArray
    texts: Texts = field(default_factory=lambda: Texts.of(()))
    scale: int = 0


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some messages of one stream, by column.

    `chunk["price"]` has one NumPy value per row: doubles for decimals (NaN: no value),
    `datetime64[ns]` for times (NaT: no value), names for codes. `ints` has what is stored,
    `exact` has `Decimal`. `row_ends` is, for each message, the row after its last.
    """

    stream: int
    instrument: str
    kind: Kind
    rows: int
    messages: int
    row_ends: IntArray
    values: dict[str, Values]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        column, ints = self._column(name), self.ints(name)
        if column.type is Type.DECIMAL:
            return self.floats(name)
        if column.type is Type.TIME:
            return ints.view("M8[ns]")
        if column.type is Type.CODE:
            return np.array(column.names)[ints]
        if column.type is Type.TEXT:
            return np.array(self.values[name].texts.list, dtype=object)
        return ints

    def scale(self, name: str) -> int:
        """Decimals of a column's mantissas."""
        return self.values[name].scale

    def ints(self, name: str) -> IntArray:
        """What is stored, one per row: nanoseconds, mantissas, integers, codes, flags."""
        values = self.values[name].ints
        if not self._column(name).per_message and name not in self._message_times:
            return values
        return np.repeat(values, self._message_rows)

    def floats(self, name: str) -> FloatArray:
        """The nearest doubles of a decimal column, one per row; NaN where there is no value."""
        ints = self.ints(name)
        floats = floats_of(ints, self.scale(name))
        return np.where(ints == NULL, np.nan, floats)

    def exact(self, name: str) -> list[Any]:
        """Exact decimals, one per row; None where there is no value."""
        scale = self.scale(name)
        ints: list[int] = self.ints(name).tolist()
        return [None if value == NULL else decimal_of(value, scale) for value in ints]

    def message_ints(self, name: str) -> IntArray:
        """Values of a column that belongs to messages, one per message."""
        return self.values[name].ints

    @cached_property
    def row_ends_list(self) -> list[int]:
        """`row_ends` as Python integers, for loops."""
        ends: list[int] = self.row_ends.tolist()
        return ends

    @cached_property
    def float_rows(self) -> list[RowValue]:
        """The rows as named tuples, decimals as doubles."""
        return self._rows(exact=False)

    @cached_property
    def exact_rows(self) -> list[RowValue]:
        """The rows as named tuples, decimals exact."""
        return self._rows(exact=True)

    def lists(self, *names: str) -> tuple[list[int], ...]:
        """What is stored, as Python integers: one list per column, made once."""
        return tuple(self._list(name) for name in names)

    def to_arrow(self, *, exact: bool = False) -> pa.Table:
        """The rows as an Arrow table; decimals as doubles, or as Decimal128 if `exact`."""
        columns = COLUMNS[self.kind]
        return pa.table({column.name: self._arrow(column, exact) for column in columns})

    @property
    def _message_times(self) -> tuple[str, ...]:
        return ("ts_recv", "ts_event") if self.kind in GROUPED else ()

    @cached_property
    def _message_rows(self) -> IntArray:
        return np.diff(self.row_ends, prepend=0)

    @cached_property
    def _lists(self) -> dict[str, list[int]]:
        return {}

    def _list(self, name: str) -> list[int]:
        if name not in self._lists:
            self._lists[name] = self.values[name].ints.tolist()
        return self._lists[name]

    def _column(self, name: str) -> Column:
        for column in COLUMNS[self.kind]:
            if column.name == name:
                return column
        raise KeyError(name)

    def _rows(self, *, exact: bool) -> list[RowValue]:
        wanted = ROW_TYPES[self.kind]
        lists = (self._shown(self._column(name), exact) for name in wanted._fields)
        return list(map(wanted, *lists))

    def _shown(self, column: Column, exact: bool) -> list[Any]:
        if column.type is Type.DECIMAL:
            return self.exact(column.name) if exact else self._float_list(column.name)
        if column.type is Type.TEXT:
            return [text.decode(errors="replace") for text in self.values[column.name].texts.list]
        ints: list[int] = self.ints(column.name).tolist()
        if column.type is Type.CODE:
            return [column.names[code] for code in ints]
        return [None if value == NULL else value for value in ints]

    def _float_list(self, name: str) -> list[float | None]:
        floats: list[float] = self.floats(name).tolist()
        return [None if value != value else value for value in floats]  # noqa: PLR0124 (NaN)

    def _arrow(self, column: Column, exact: bool) -> pa.Array:
        if column.type is Type.TEXT:
            kind = pa.binary() if column.name == "payload" else pa.string()
            return self.values[column.name].texts.to_arrow().cast(kind)
        ints = self.ints(column.name)
        if column.type is Type.CODE:
            names = pa.array(column.names, pa.string())
            return pa.DictionaryArray.from_arrays(pa.array(ints.astype(np.int8)), names)
        if column.type is Type.FLAGS:
            return pa.array(self._shown_flags(ints))
        nulls = ints == NULL
        if column.type is Type.TIME:
            return pa.array(ints, pa.timestamp("ns", "UTC"), mask=nulls)
        if column.type is Type.INT:
            return pa.array(ints, pa.int64(), mask=nulls)
        if not exact:
            return pa.array(self.floats(column.name), pa.float64(), mask=nulls)
        return decimal_array(ints, self.scale(column.name), nulls)

    def _shown_flags(self, flags: IntArray) -> npt.NDArray[np.uint8]:
        shown = flags.astype(np.uint8)
        if self.messages:
            shown[self.row_ends - 1] |= FLAG_LAST
        return shown


def decimal_array(mantissas: IntArray, scale: int, nulls: npt.NDArray[np.bool_]) -> pa.Array:
    """Mantissas as an Arrow array of Decimal128(38, scale), without a Python object per value."""
    words = np.empty((len(mantissas), 2), dtype=np.int64)
    words[:, 0] = mantissas
    words[:, 1] = mantissas >> 63
    valid = pa.py_buffer(np.packbits(~nulls, bitorder="little").tobytes()) if nulls.any() else None
    kind = pa.decimal128(38, scale)
    return pa.Array.from_buffers(kind, len(mantissas), [valid, pa.py_buffer(words)])


def decode(stream: int, instrument: str, kind: Kind, data: bytes) -> Chunk:
    """Reads a chunk.

    Raises:
        ProtocolError: the bytes are no such columns of `kind`.

    """
    try:
        return _decode(stream, instrument, kind, memoryview(data))
    except (struct.error, ValueError, IndexError) as error:
        raise ProtocolError(f"columns of a chunk of {instrument} {kind}: {error}") from None


def _decode(stream: int, instrument: str, kind: Kind, data: memoryview) -> Chunk:
    version, code, count, rows, messages = _HEAD.unpack_from(data)
    if version != _VERSION or code != kind.code:
        raise ValueError("another version or kind")
    if not messages <= rows <= _ROWS_MAX:
        raise ValueError(f"{messages} messages of {rows} rows")
    end = _HEAD.size + count * _ENTRY.size
    entries = [_Entry(*entry) for entry in _ENTRY.iter_unpack(data[_HEAD.size : end])]
    columns, grouped = COLUMNS[kind], kind in GROUPED
    numbers = [_ROW_COUNTS] * grouped + list(range(len(columns)))
    if [entry.column for entry in entries] != numbers:
        raise ValueError("other columns than the kind has")
    pages = []
    for entry in entries:
        pages.append(data[end : end + entry.length])
        end += -(-entry.length // 8) * 8
    if end != len(data):
        raise ValueError("too short, or bytes after the last column")
    row_ends = np.arange(1, rows + 1, dtype=np.int64)
    if grouped:
        counts = _integers(entries[0], pages[0], messages)
        row_ends = np.cumsum(counts)
        entries, pages = entries[1:], pages[1:]
        if _outside(counts, 1, rows):
            raise ValueError("messages do not cover the rows")
    if len(row_ends) != messages or (messages and int(row_ends[-1]) != rows):
        raise ValueError("messages do not cover the rows")
    values = {}
    for column, entry, page in zip(columns, entries, pages, strict=True):
        by_message = grouped and (column.per_message or column.name in ("ts_recv", "ts_event"))
        values[column.name] = _values(column, entry, page, messages if by_message else rows)
    return Chunk(stream, instrument, kind, rows, messages, row_ends, values)


def _values(column: Column, entry: _Entry, page: memoryview, count: int) -> Values:
    if column.type is not Type.TEXT:
        ints = _integers(entry, page, count)
        limit = len(column.names) or (FLAG_LAST | FLAG_SNAPSHOT) + 1
        coded = column.type in (Type.CODE, Type.FLAGS)
        if coded and _outside(ints, 0, limit - 1):
            raise ValueError(f"a code that column {column.name} does not have")
        return Values(ints, scale=entry.scale)
    lengths_bytes = count * entry.width
    lengths, blob = _integers(entry, page[:lengths_bytes], count), bytes(page[lengths_bytes:])
    ends = np.cumsum(lengths)
    if _outside(lengths, 0, len(blob)) or (int(ends[-1]) if count else 0) != len(blob):
        raise ValueError("texts are cut short")
    return Values(np.zeros(0, np.int64), Texts(ends, blob))


def _outside(ints: IntArray, low: int, high: int) -> bool:
    return bool(len(ints)) and not low <= int(ints.min()) <= int(ints.max()) <= high


def _integers(entry: _Entry, page: memoryview, count: int) -> IntArray:
    if len(page) != count * entry.width:
        raise ValueError(f"{count} integers of {entry.width} bytes")
    if entry.width == 0:
        return np.full(count, entry.base, dtype=np.int64)
    if entry.width not in _WIDTHS:
        raise ValueError(f"integers of {entry.width} bytes")
    codes: npt.NDArray[Any] = np.frombuffer(page, dtype=_WIDTHS[entry.width])
    with np.errstate(over="ignore"):
        ints: IntArray = codes.astype(np.int64) + np.int64(entry.base)
    if entry.flags & _HAS_NULLS and entry.width < 8:
        ints[codes == np.iinfo(codes.dtype).max] = NULL
    return ints
