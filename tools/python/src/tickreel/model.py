"""The answers of a server: streams, coverage, books, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from .render import html_table, number, text_table
from .schema import Kind
from .times import to_text

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
Row = TypeVar("Row")

LEVELS_SHOWN = 10
"""Levels per side in the text of a book."""


def decimal_of(mantissa: int, scale: int) -> Decimal:
    """The exact value: mantissa x 10^-scale."""
    return Decimal(mantissa).scaleb(-scale)


def floats_of(mantissas: IntArray, scale: int) -> FloatArray:
    """The nearest doubles."""
    return np.asarray(mantissas / 10.0**scale, dtype=np.float64)


class Rows(Sequence[Row]):
    """A sequence that shows itself as a table."""

    _heads: tuple[str, ...] = ()
    _right: tuple[int, ...] = ()

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = tuple(rows)

    def _cells(self, row: Row) -> tuple[object, ...]:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return text_table(self._heads, map(self._cells, self._rows), self._right)

    def _repr_html_(self) -> str:
        return html_table(self._heads, map(self._cells, self._rows))


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is stored of one kind of an instrument. Times are nanoseconds of `ts_recv`."""

    instrument: str
    kind: Kind
    first_ns: int
    last_ns: int
    ts_event_min_ns: int | None
    ts_event_max_ns: int | None
    rows: int
    messages: int
    bytes: int
    segments: int
    replay_rows_max: int
    hash: int
    live_rows: int
    lost_rows: int


class Streams(Rows[StreamInfo]):
    """Every stream that was asked for, by name."""

    _heads = ("instrument", "kind", "rows", "messages", "bytes", "first", "last")
    _right = (2, 3, 4)

    def _cells(self, row: StreamInfo) -> tuple[object, ...]:
        first, last = to_text(row.first_ns), to_text(row.last_ns)
        counts = (f"{count:,}" for count in (row.rows, row.messages, row.bytes))
        return (row.instrument, row.kind, *counts, first, last)

    @property
    def names(self) -> list[str]:
        """The instruments, each once."""
        return list(dict.fromkeys(row.instrument for row in self))


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of rows without a whole UTC day in between; `last_ns` is inclusive."""

    first_ns: int
    last_ns: int
    rows: int
    messages: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which messages are missing; `until_ns` None: for ever, `missing` 0: unknown."""

    since_ns: int
    until_ns: int | None
    missing: int


@dataclass(frozen=True, slots=True)
class StreamCoverage:
    """Where rows of a stream are, and where they are missing."""

    instrument: str
    kind: Kind
    spans: tuple[Span, ...]
    gaps: tuple[Gap, ...]


class Coverage(Rows[StreamCoverage]):
    """The coverage of an instrument's streams, by kind."""

    _heads = ("kind", "what", "from", "to", "rows", "missing")
    _right = (4, 5)

    def __repr__(self) -> str:
        return text_table(self._heads, self._lines(), self._right)

    def _repr_html_(self) -> str:
        return html_table(self._heads, self._lines(), self[0].instrument if self else "")

    def _lines(self) -> Iterator[tuple[object, ...]]:
        for stream in self:
            for span in stream.spans:
                bounds = to_text(span.first_ns), to_text(span.last_ns)
                yield (stream.kind, "rows", *bounds, f"{span.rows:,}", "")
            for gap in stream.gaps:
                bounds = to_text(gap.since_ns), to_text(gap.until_ns) or "never ended"
                yield (stream.kind, "gap", *bounds, "", gap.missing or "unknown")


class BookState(StrEnum):
    """How far a book can be trusted."""

    LIVE = "live"
    """Everything since the last snapshot was seen."""
    STALE = "stale"
    """Messages are missing."""
    EMPTY = "empty"
    """No snapshot was seen yet: levels may be missing."""


@dataclass(frozen=True, eq=False, repr=False)
class Book:
    """An order book at one moment.

    Prices and quantities come as doubles (`bid_prices`, ...) and exactly: `bid_price_ints` x
    10^-`price_scale`, or `exact_bids`. Best levels are first.
    """

    instrument: str
    at_ns: int
    state: BookState
    stale_since_ns: int | None
    missing: int
    ts_event_ns: int | None
    ts_recv_ns: int | None
    venue_seq: int | None
    price_scale: int
    qty_scale: int
    bid_price_ints: IntArray
    bid_qty_ints: IntArray
    ask_price_ints: IntArray
    ask_qty_ints: IntArray
    bid_levels: int
    """Bid levels there are, also beyond the depth that was asked for."""
    ask_levels: int

    @property
    def bid_prices(self) -> FloatArray:
        """Prices of the bids, best first."""
        return floats_of(self.bid_price_ints, self.price_scale)

    @property
    def bid_qtys(self) -> FloatArray:
        """Quantities of the bids."""
        return floats_of(self.bid_qty_ints, self.qty_scale)

    @property
    def ask_prices(self) -> FloatArray:
        """Prices of the asks, best first."""
        return floats_of(self.ask_price_ints, self.price_scale)

    @property
    def ask_qtys(self) -> FloatArray:
        """Quantities of the asks."""
        return floats_of(self.ask_qty_ints, self.qty_scale)

    @property
    def exact_bids(self) -> list[tuple[Decimal, Decimal]]:
        """Price and quantity of the bids, exactly."""
        return self._exact(self.bid_price_ints, self.bid_qty_ints)

    @property
    def exact_asks(self) -> list[tuple[Decimal, Decimal]]:
        """Price and quantity of the asks, exactly."""
        return self._exact(self.ask_price_ints, self.ask_qty_ints)

    def _exact(self, prices: IntArray, qtys: IntArray) -> list[tuple[Decimal, Decimal]]:
        return [
            (decimal_of(price, self.price_scale), decimal_of(qty, self.qty_scale))
            for price, qty in zip(prices.tolist(), qtys.tolist(), strict=True)
        ]

    @property
    def best_bid(self) -> float | None:
        """The highest bid; None if there is none."""
        return float(self.bid_prices[0]) if len(self.bid_price_ints) else None

    @property
    def best_ask(self) -> float | None:
        """The lowest ask; None if there is none."""
        return float(self.ask_prices[0]) if len(self.ask_price_ints) else None

    @property
    def mid(self) -> float | None:
        """The middle of best bid and ask; None if one is missing."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return (self.best_bid + self.best_ask) / 2

    @property
    def spread(self) -> float | None:
        """Best ask less best bid, computed exactly and then rounded; None if one is missing."""
        if self.best_bid is None or self.best_ask is None:
            return None
        spread = int(self.ask_price_ints[0]) - int(self.bid_price_ints[0])
        return float(decimal_of(spread, self.price_scale))

    def _title(self) -> str:
        title = f"{self.instrument} at {to_text(self.at_ns)}  {self.state}"
        if self.state is BookState.STALE:
            missing = str(self.missing) if self.missing else "an unknown number of"
            title += f" since {to_text(self.stale_since_ns)}, {missing} messages missing"
        return title

    def _ladder(self) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        """Asks, highest first, and bids, highest first: price, quantity, side and a bar."""
        asks, bids = self.exact_asks[:LEVELS_SHOWN], self.exact_bids[:LEVELS_SHOWN]
        most = max((qty for _, qty in asks + bids), default=Decimal(1)) or Decimal(1)

        def lines(levels: list[tuple[Decimal, Decimal]], side: str) -> list[tuple[str, ...]]:
            return [
                (number(price), number(qty), side, "#" * max(1, int(30 * qty / most)))
                for price, qty in levels
            ]

        return lines(asks, "ask")[::-1], lines(bids, "bid")

    def __repr__(self) -> str:
        asks, bids = self._ladder()
        rows = [*asks, *bids]
        lines = text_table(("price", "quantity", "", ""), rows, (0, 1)).splitlines()
        spread = "" if self.spread is None else f"-- spread {number(self.spread)} --"
        lines.insert(1 + len(asks), spread or "--")
        return "\n".join([self._title(), *lines])

    def _repr_html_(self) -> str:
        asks, bids = self._ladder()
        return html_table(("price", "quantity", "", ""), [*asks, *bids], self._title())


@dataclass(frozen=True, slots=True)
class ReplaySession:
    """A replay with a name, which others can join."""

    name: str
    members: int
    state: str
    position_ns: int
    speed: float
    commands: int
    instruments: int


@dataclass(frozen=True, slots=True)
class ServerStats:
    """Figures of a server and its store."""

    version: str
    uptime_ms: int
    generation: int
    instruments: int
    streams: int
    segments: int
    rows: int
    bytes: int
    requests: int
    failures: int
    streams_open: int
    rows_sent: int
    bytes_sent: int
    sessions: tuple[ReplaySession, ...]


def optional(message: object, field: str) -> int | None:
    """A field of an answer that may be absent."""
    has: Callable[[str], bool] = message.HasField  # type: ignore[attr-defined]
    return int(getattr(message, field)) if has(field) else None
