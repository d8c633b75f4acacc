"""Requests and answers of the contract as the types of this package, and back.

Nothing is sent here: both clients share this module.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from ._proto import tickreel_pb2 as pb
from .errors import InvalidArgument, ProtocolError
from .frames import Joiner, batches_of, schema_of
from .model import (
    Book,
    BookState,
    Gap,
    ReplaySession,
    ServerStats,
    Span,
    StreamCoverage,
    StreamInfo,
    optional,
)
from .schema import Kind, kind_from_code, kind_of
from .times import Duration, Time, to_duration_ns, to_ns

GAPS_MAX = 10_000
"""Gaps of a stream in one answer."""

Kinds: TypeAlias = "Iterable[Kind | str] | Kind | str | None"
"""One kind or several; None: all."""

Instruments: TypeAlias = "str | Iterable[str] | Mapping[str, Kinds]"
"""One instrument, several, or the kinds wanted of each."""


def kind_code(kind: Kind | str) -> pb.Kind:
    """The kind in a request."""
    return kind_of(kind).code  # type: ignore[return-value]


def kind_codes(kinds: Kinds) -> list[pb.Kind]:
    """The kinds in a request; none stands for all."""
    if kinds is None:
        return []
    return [kind_code(kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)]


def optional_ns(time: Time | None) -> int | None:
    """A bound of a range, if there is one."""
    return None if time is None else to_ns(time)


def depth_of(depth: int | None) -> int:
    """Levels per side; 0 stands for all.

    Raises:
        InvalidArgument: below 1.

    """
    if depth is not None and depth < 1:
        raise InvalidArgument(f"depth: {depth} is below 1; None is all levels")
    return depth or 0


def instruments_request(exchange: str, contains: str, kinds: Kinds) -> pb.ListInstrumentsRequest:
    """Asks for what is stored."""
    return pb.ListInstrumentsRequest(
        exchange=exchange, symbol_contains=contains, kinds=kind_codes(kinds)
    )


def coverage_request(
    instrument: str, kinds: Kinds, start: Time | None, end: Time | None
) -> pb.GetCoverageRequest:
    """Asks for ranges and gaps."""
    return pb.GetCoverageRequest(
        instrument=instrument,
        kinds=kind_codes(kinds),
        from_ns=optional_ns(start),
        to_ns=optional_ns(end),
    )


def book_request(instrument: str, at: Time, depth: int | None) -> pb.GetBookRequest:
    """Asks for a book."""
    return pb.GetBookRequest(instrument=instrument, at_ns=to_ns(at), depth=depth_of(depth))


def books_request(
    instrument: str, start: Time, end: Time, every: Duration, depth: int | None
) -> pb.SampleBooksRequest:
    """Asks for books at regular times."""
    return pb.SampleBooksRequest(
        instrument=instrument,
        from_ns=to_ns(start),
        to_ns=to_ns(end),
        every_ns=to_duration_ns(every),
        depth=depth_of(depth),
    )


def scan_request(
    instrument: str,
    kind: Kind | str,
    start: Time | None,
    end: Time | None,
    columns: Iterable[str] | None,
    where: Iterable[str],
    exact: bool,
) -> pb.ScanRequest:
    """Asks for rows."""
    if isinstance(columns, str):
        raise InvalidArgument(f"columns: expected names, e.g. [{columns!r}]")
    if isinstance(where, str):
        raise InvalidArgument(f"where: expected conditions, e.g. [{where!r}]")
    return pb.ScanRequest(
        instrument=instrument,
        kind=kind_code(kind),
        from_ns=optional_ns(start),
        to_ns=optional_ns(end),
        columns=list(columns or ()),
        decimals=pb.DECIMAL_FORM_DECIMAL128 if exact else pb.DECIMAL_FORM_FLOAT64,
        where=list(where),
    )


def append_request(
    number: int, instrument: str, kind: Kind | str, rows: pa.Table | pa.RecordBatch
) -> pb.AppendRequest:
    """Rows to be stored."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, rows.schema) as stream:
        stream.write(rows)
    return pb.AppendRequest(
        id=number, instrument=instrument, kind=kind_code(kind), arrow=out.getvalue()
    )


def streams_from(answer: pb.ListInstrumentsResponse) -> Iterator[StreamInfo]:
    """The streams of one page."""
    for instrument in answer.instruments:
        for stream in instrument.streams:
            yield StreamInfo(
                instrument=instrument.instrument,
                kind=kind_from_code(stream.kind),
                first_ns=stream.first_ns,
                last_ns=stream.last_ns,
                ts_event_min_ns=optional(stream, "ts_event_min_ns"),
                ts_event_max_ns=optional(stream, "ts_event_max_ns"),
                rows=stream.rows,
                messages=stream.messages,
                bytes=stream.bytes,
                segments=stream.segments,
                replay_rows_max=stream.replay_rows_max,
                hash=stream.hash,
                live_rows=stream.live_rows,
                lost_rows=stream.lost_rows,
            )


def coverage_from(instrument: str, stream: pb.StreamCoverage) -> StreamCoverage:
    """The coverage of one stream, with the gaps of this answer."""
    spans = (Span(span.first_ns, span.last_ns, span.rows, span.messages) for span in stream.spans)
    gaps = (Gap(gap.since_ns, optional(gap, "until_ns"), gap.missing) for gap in stream.gaps)
    return StreamCoverage(instrument, kind_from_code(stream.kind), tuple(spans), tuple(gaps))


_STATES = {
    pb.BOOK_STATE_LIVE: BookState.LIVE,
    pb.BOOK_STATE_STALE: BookState.STALE,
    pb.BOOK_STATE_EMPTY: BookState.EMPTY,
}


def book_from(book: pb.Book) -> Book:
    """A book.

    Raises:
        ProtocolError: prices and quantities are not equally many, or the state is unknown.

    """
    sides = (book.bid_prices, book.bid_qtys), (book.ask_prices, book.ask_qtys)
    if any(len(prices) != len(qtys) for prices, qtys in sides) or book.state not in _STATES:
        raise ProtocolError(f"the book of {book.instrument} contradicts itself")
    levels = [np.array(part, dtype=np.int64) for side in sides for part in side]
    return Book(
        instrument=book.instrument,
        at_ns=book.at_ns,
        state=_STATES[book.state],
        stale_since_ns=optional(book, "stale_since_ns"),
        missing=book.missing,
        ts_event_ns=optional(book, "ts_event_ns"),
        ts_recv_ns=optional(book, "ts_recv_ns"),
        venue_seq=optional(book, "venue_seq"),
        price_scale=book.price_scale,
        qty_scale=book.qty_scale,
        bid_price_ints=levels[0],
        bid_qty_ints=levels[1],
        ask_price_ints=levels[2],
        ask_qty_ints=levels[3],
        bid_levels=book.bid_levels,
        ask_levels=book.ask_levels,
    )


PLAY_STATES = {
    pb.ReplayState.STATE_PLAYING: "playing",
    pb.ReplayState.STATE_PAUSED: "paused",
    pb.ReplayState.STATE_ENDED: "ended",
}
"""The states of a replay."""


def stats_from(answer: pb.GetStatsResponse) -> ServerStats:
    """Figures of the server."""
    names = [name for name in ServerStats.__dataclass_fields__ if name != "sessions"]
    sessions = tuple(
        ReplaySession(
            name=session.name,
            members=session.members,
            state=PLAY_STATES.get(session.state, "unknown"),
            position_ns=session.position_ns,
            speed=session.speed,
            commands=session.commands,
            instruments=session.instruments,
        )
        for session in answer.sessions
    )
    return ServerStats(**{name: getattr(answer, name) for name in names}, sessions=sessions)


class BookReader:
    """Books from the answers of one request."""

    def feed(self, answer: pb.SampleBooksResponse) -> list[Book]:
        """The books of an answer."""
        return [book_from(book) for book in answer.books]

    def finish(self) -> None:
        """The last answer was fed."""


class ScanReader:
    """Record batches from the answers of one request."""

    def __init__(self) -> None:
        self.schema: pa.Schema | None = None
        self._head = b""
        self._joiner = Joiner()
        self._rows = 0
        self._end: pb.ScanEnd | None = None

    def feed(self, answer: pb.ScanResponse) -> list[pa.RecordBatch]:
        """The batches that an answer completes."""
        if answer.HasField("end"):
            self._end = answer.end
            return []
        data = self._joiner.join(answer.arrow.data, answer.arrow.more)
        if data is None:
            return []
        batches = self._decode(data)
        self._rows += sum(batch.num_rows for batch in batches)
        return batches

    def finish(self) -> None:
        """The last answer was fed.

        Raises:
            ProtocolError: rows are missing.

        """
        if self._end is None:
            raise ProtocolError("the server ended the scan before its end")
        if self._end.rows != self._rows:
            raise ProtocolError(f"the server sent {self._rows} of {self._end.rows} rows")

    def table(self, batches: list[pa.RecordBatch]) -> pa.Table:
        """All batches as a table; also of none."""
        return pa.Table.from_batches(batches, self.schema)

    def _decode(self, data: bytes) -> list[pa.RecordBatch]:
        """The schema comes first, alone; with it, each later part is a stream of its own."""
        if self.schema is None:
            self.schema, self._head = schema_of(data), data
            return []
        return batches_of(self._head + data)
