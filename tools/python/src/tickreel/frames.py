"""Frames of a replay: rows of several streams, and the order they happened in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from ._proto import tickreel_pb2 as pb
from .columns import Chunk, decode
from .errors import ProtocolError
from .rows import RowValue
from .schema import FLAG_SNAPSHOT, GROUPED, NULL, Kind

JOINED_BYTES_MAX = 128 << 20
"""Nothing a store holds is longer than this in one piece."""


class Joiner:
    """Joins bytes that were cut to fit answers."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._len_bytes = 0

    def join(self, data: bytes, more: bool) -> bytes | None:
        """The whole bytes, once their last part is there."""
        if not self._held and not more:
            return data
        self._held.append(data)
        self._len_bytes += len(data)
        if self._len_bytes > JOINED_BYTES_MAX:
            raise ProtocolError(f"a piece longer than {JOINED_BYTES_MAX} bytes")
        if more:
            return None
        whole = b"".join(self._held)
        self._held, self._len_bytes = [], 0
        return whole


def schema_of(stream: bytes) -> pa.Schema:
    """The schema that an Arrow IPC stream begins with.

    Raises:
        ProtocolError: Arrow cannot read it.

    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
            return reader.schema
    except (pa.ArrowException, OSError) as error:
        raise ProtocolError(f"a schema that Arrow cannot read: {error}") from None


def batches_of(stream: bytes) -> list[pa.RecordBatch]:
    """The record batches of an Arrow IPC stream.

    Raises:
        ProtocolError: Arrow cannot read it.

    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
            return list(reader)
    except (pa.ArrowException, OSError) as error:
        raise ProtocolError(f"rows that Arrow cannot read: {error}") from None


@dataclass(frozen=True, slots=True)
class Run:
    """Messages `start` to `end` (exclusive) of a chunk, next in the total order."""

    chunk: Chunk
    start: int
    end: int


class Message:
    """What a venue sent at once, with the rows that are never shown apart."""

    __slots__ = ("_exact", "chunk", "index")

    def __init__(self, chunk: Chunk, index: int, exact: bool) -> None:
        self.chunk = chunk
        self.index = index
        self._exact = exact

    @property
    def instrument(self) -> str:
        """The instrument."""
        return self.chunk.instrument

    @property
    def kind(self) -> Kind:
        """Which record its rows are."""
        return self.chunk.kind

    @property
    def ts_recv_ns(self) -> int:
        """When the capture received it."""
        return self.chunk.lists("ts_recv")[0][self.index]

    @property
    def ts_event_ns(self) -> int | None:
        """When the venue says it happened; None if it does not say."""
        ts_event_ns = self.chunk.lists("ts_event")[0][self.index]
        return None if ts_event_ns == NULL else ts_event_ns

    @property
    def snapshot(self) -> bool:
        """Whether it is a venue's snapshot of the whole book."""
        grouped = self.chunk.kind in GROUPED
        return grouped and bool(self.chunk.lists("flags")[0][self.index] & FLAG_SNAPSHOT)

    @property
    def rows(self) -> Sequence[RowValue]:
        """Its rows, as named tuples of the kind."""
        ends = self.chunk.row_ends_list
        first = ends[self.index - 1] if self.index else 0
        rows = self.chunk.exact_rows if self._exact else self.chunk.float_rows
        return rows[first : ends[self.index]]

    def __repr__(self) -> str:
        return f"Message({self.instrument}, {self.kind}, {self.ts_recv_ns}, {list(self.rows)})"


class Frame:
    """Rows in columns (`chunks`, by stream) and their total order (`runs`).

    Times are `ts_recv` of the first and the last message.
    """

    def __init__(
        self, chunks: tuple[Chunk, ...], runs: Iterable[Run], first_ns: int, last_ns: int, rows: int
    ) -> None:
        self.chunks = chunks
        self.first_ns = first_ns
        self.last_ns = last_ns
        self.rows = rows
        self._runs = runs

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The messages of the chunks in the order they happened; put together when first asked."""
        return tuple(self._runs)

    def messages(self, *, exact: bool = False) -> Iterator[Message]:
        """Every message in the order it happened; decimals as doubles, or exact."""
        for run in self.runs:
            for index in range(run.start, run.end):
                yield Message(run.chunk, index, exact)

    def __repr__(self) -> str:
        return f"Frame({self.rows} rows, {self.first_ns} to {self.last_ns})"


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream of a replay; frames count them from 0."""

    instrument: str
    kind: Kind


@dataclass(frozen=True, eq=False)
class Samples:
    """Books or metrics instead of rows: for each stream that has some, an Arrow record batch.

    Times are `ts_recv` of the first and the last message, or of the samples.
    """

    batches: tuple[tuple[OpenedStream, pa.RecordBatch], ...]
    first_ns: int
    last_ns: int
    rows: int
    numbers: tuple[int, ...]
    """Place of each batch's stream among those opened."""

    def stream_rows(self) -> Iterator[tuple[int, int]]:
        """Place of a stream, and how many rows of it there are."""
        for number, (_, batch) in zip(self.numbers, self.batches, strict=True):
            yield number, batch.num_rows


class PartReader:
    """Joins the parts of a frame that was too long for one answer."""

    def __init__(self, streams: Sequence[OpenedStream]) -> None:
        self.streams = streams
        self._whole: list[tuple[int, bytes]] = []
        self._cut: int | None = None
        self._joiner = Joiner()

    def join(self, answer: pb.ReplayFrame) -> list[tuple[int, bytes]] | None:
        """Place of the stream and bytes of every chunk, once the last part is there."""
        last = len(answer.chunks) - 1
        for at, chunk in enumerate(answer.chunks):
            more = answer.more and at == last
            if self._cut not in (None, chunk.stream) or chunk.stream >= len(self.streams):
                raise ProtocolError("parts of a frame do not follow each other")
            self._cut = chunk.stream if more else None
            data = self._joiner.join(chunk.data, more)
            if data is not None:
                self._whole.append((chunk.stream, data))
        if answer.more:
            return None
        whole, self._whole = self._whole, []
        return whole


class FrameReader:
    """Makes frames of the answers of one replay."""

    def __init__(self, streams: Sequence[OpenedStream]) -> None:
        self._parts = PartReader(streams)

    def read(self, answer: pb.ReplayFrame) -> Frame | None:
        """The whole frame, once its last part is there.

        Raises:
            ProtocolError: order and rows do not agree.

        """
        parts = self._parts.join(answer)
        if parts is None:
            return None
        streams = self._parts.streams
        chunks = tuple(
            decode(number, streams[number].instrument, streams[number].kind, data)
            for number, data in parts
        )
        if sum(chunk.rows for chunk in chunks) != answer.rows:
            raise ProtocolError(f"a frame of {answer.rows} rows holds another number of them")
        _check_order(chunks, answer)
        runs = _runs(chunks, answer.run_streams, answer.run_messages)
        return Frame(chunks, runs, answer.first_ns, answer.last_ns, answer.rows)


class SampleReader:
    """Makes samples of the answers of one replay of books or metrics."""

    def __init__(self, streams: Sequence[OpenedStream], schemas: Sequence[bytes]) -> None:
        self._parts = PartReader(streams)
        self._schemas = schemas

    def read(self, answer: pb.ReplayFrame) -> Samples | None:
        """The samples of a whole frame, once its last part is there.

        Raises:
            ProtocolError: they are not what Arrow can read, or not as many as was said.

        """
        parts = self._parts.join(answer)
        if parts is None:
            return None
        batches, numbers = [], []
        for number, data in parts:
            for batch in batches_of(self._schemas[number] + data):
                batches.append((self._parts.streams[number], batch))
                numbers.append(number)
        if sum(batch.num_rows for _, batch in batches) != answer.rows:
            raise ProtocolError(f"a frame of {answer.rows} samples holds another number of them")
        first_ns, last_ns = answer.first_ns, answer.last_ns
        return Samples(tuple(batches), first_ns, last_ns, answer.rows, tuple(numbers))


def _check_order(chunks: Sequence[Chunk], answer: pb.ReplayFrame) -> None:
    """The runs of each stream must be the messages that its chunks have."""
    streams = np.array(answer.run_streams, dtype=np.int64)
    counts = np.array(answer.run_messages, dtype=np.int64)
    known = max((chunk.stream for chunk in chunks), default=-1) + 1
    there = np.zeros(known, dtype=np.int64)
    for chunk in chunks:
        there[chunk.stream] += chunk.messages
    if len(streams) != len(counts) or (streams >= known).any():
        raise ProtocolError("order and rows of a frame do not agree")
    # Sums below 2^53 are exact as doubles.
    played = np.bincount(streams, weights=counts, minlength=known)
    if not np.array_equal(played, there):
        raise ProtocolError("order and rows of a frame do not agree")


def _runs(chunks: Sequence[Chunk], streams: Sequence[int], counts: Sequence[int]) -> Iterator[Run]:
    """Runs by chunk: one that crosses from a chunk of its stream to the next becomes two."""
    queues: dict[int, deque[tuple[Chunk, int]]] = {}
    for chunk in chunks:
        queues.setdefault(chunk.stream, deque()).append((chunk, 0))
    for stream, count in zip(streams, counts, strict=True):
        left, queue = count, queues[stream]
        while left:
            chunk, start = queue.popleft()
            end = min(start + left, chunk.messages)
            if end > start:
                yield Run(chunk, start, end)
            left -= end - start
            if end < chunk.messages:
                queue.appendleft((chunk, end))
