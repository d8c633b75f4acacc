"""Where a backtest gets its market from: a replay, or tables that were read."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..columns import Chunk, Texts, Values
from ..errors import InvalidArgument, ProtocolError
from ..events import Event
from ..frames import Frame, Run
from ..model import IntArray
from ..schema import COLUMNS, FLAG_LAST, GROUPED, NULL, RESET, Column, Kind, Type, kind_of

Source: TypeAlias = "Iterable[Event]"
"""A replay, or anything else that gives its events: books to begin with, then frames."""

_RANKS = {
    Kind.STATUS: 0,
    Kind.TRADES: 2,
    Kind.BOOK: 3,
    Kind.QUOTES: 4,
    Kind.TICKER: 5,
    Kind.LIQUIDATIONS: 6,
    Kind.ORDERS: 7,
    Kind.RAW: 8,
}
_RESET_RANK = 1


def tables(*read: pa.Table) -> list[Frame]:
    """A market of tables as `Client.read(..., exact=True)` gives them, with all their columns:
    one frame, merged in the total order of a replay.

    Raises:
        InvalidArgument: a table has prices as doubles, or not all columns.

    """
    chunks = tuple(_chunk(at, table) for at, table in enumerate(read))
    # A queue gives its front only: rows of one stream keep their order whatever their keys are.
    merged = heapq.merge(*(_keyed(chunk) for chunk in chunks))
    runs = tuple(_joined((chunks[key[-2]], key[-1]) for key in merged))
    times = [time for chunk in chunks for time in chunk.lists("ts_recv")[0]]
    rows = sum(chunk.rows for chunk in chunks)
    return [Frame(chunks, runs, min(times, default=0), max(times, default=0), rows)]


def _keyed(chunk: Chunk) -> Iterator[tuple[int, int, str, str, int, int, int]]:
    exchange, _, symbol = chunk.instrument.partition(":")
    (times,) = chunk.lists("ts_recv")
    (actions,) = chunk.lists("action") if chunk.kind in GROUPED else ([],)
    reset = RESET if chunk.kind is Kind.BOOK else 4
    first = 0
    for message, time in enumerate(times):
        resets = chunk.kind in GROUPED and actions[first] == reset
        rank = _RESET_RANK if resets else _RANKS[chunk.kind]
        yield time, rank, exchange, symbol, chunk.kind.code, chunk.stream, message
        first = chunk.row_ends_list[message]


def _joined(messages: Iterable[tuple[Chunk, int]]) -> Iterator[Run]:
    """Messages that follow each other in one chunk, as one run."""
    run: Run | None = None
    for chunk, message in messages:
        if run is not None and run.chunk is chunk:
            run = Run(chunk, run.start, message + 1)
            continue
        if run is not None:
            yield run
        run = Run(chunk, message, message + 1)
    if run is not None:
        yield run


def _chunk(stream: int, table: pa.Table) -> Chunk:
    named = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if not {"exchange", "symbol", "kind"} <= named.keys():
        raise InvalidArgument("table: its schema does not name a stream; use Client.read")
    kind = kind_of(named["kind"])
    missing = [column.name for column in COLUMNS[kind] if column.name not in table.column_names]
    if missing:
        raise InvalidArgument(f"table of {kind}: columns are missing: {', '.join(missing)}")
    ends = np.arange(1, table.num_rows + 1, dtype=np.int64)
    if kind in GROUPED:
        ends = np.flatnonzero(_ints(table, "flags") & FLAG_LAST) + 1
    if table.num_rows and (not len(ends) or ends[-1] != table.num_rows):
        raise InvalidArgument(f"table of {kind}: it ends within a message")
    values = {column.name: _values(table, kind, column, ends) for column in COLUMNS[kind]}
    instrument = f"{named['exchange']}:{named['symbol']}"
    return Chunk(stream, instrument, kind, table.num_rows, len(ends), ends, values)


def _values(table: pa.Table, kind: Kind, column: Column, ends: IntArray) -> Values:
    array = table[column.name].combine_chunks()
    if column.type is Type.TEXT:
        texts = [b"" if text is None else text for text in array.cast(pa.binary()).to_pylist()]
        return Values(np.zeros(0, np.int64), Texts.of(texts))
    if column.type is Type.DECIMAL:
        return _decimals(column.name, array)
    if column.type is Type.CODE:
        names = pa.array(column.names, pa.string())
        plain = array.cast(pa.string())
        return Values(_numpy(pc.index_in(plain, value_set=names)))
    ints = _ints(table, column.name)
    if column.type is Type.FLAGS:
        ints &= ~FLAG_LAST
    by_message = kind in GROUPED and (column.per_message or column.name in ("ts_recv", "ts_event"))
    return Values(ints[ends - 1] if by_message else ints)


def _ints(table: pa.Table, name: str) -> IntArray:
    array = table[name].combine_chunks()
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    return _numpy(array)


def _numpy(array: pa.Array) -> IntArray:
    filled = array.cast(pa.int64()).fill_null(NULL)
    ints: IntArray = filled.to_numpy(zero_copy_only=False).astype(np.int64)
    return ints


def _decimals(name: str, array: pa.Array) -> Values:
    """The mantissas of decimals, which are the low words of their 128 bits."""
    if not pa.types.is_decimal128(array.type):
        raise InvalidArgument(f"table: {name} is {array.type}; read it with exact=True")
    words: npt.NDArray[np.int64] = np.frombuffer(array.buffers()[1], dtype=np.int64)
    words = words.reshape(-1, 2)[array.offset : array.offset + len(array)]
    mantissas = words[:, 0].copy()
    nulls = array.is_null().to_numpy(zero_copy_only=False)
    if not np.array_equal(words[~nulls, 1], mantissas[~nulls] >> 63):
        raise ProtocolError(f"table: a value of {name} is beyond 64 bits")
    mantissas[nulls] = NULL
    return Values(mantissas, scale=array.type.scale)
