"""Frames of a replay: rows of several streams, and the order they happened in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

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


class FrameReader:
    """Makes frames of the answers of one replay."""

    def __init__(self, streams: Sequence[OpenedStream]) -> None:
        self._streams = streams
        self._chunks: list[Chunk] = []
        self._cut: int | None = None
        self._joiner = Joiner()

    def read(self, answer: pb.ReplayFrame) -> Frame | None:
        """The whole frame, once its last part is there.

        Raises:
            ProtocolError: order and rows do not agree.

        """
        last = len(answer.chunks) - 1
        for at, chunk in enumerate(answer.chunks):
            more = answer.more and at == last
            if self._cut not in (None, chunk.stream) or chunk.stream >= len(self._streams):
                raise ProtocolError("parts of a frame do not follow each other")
            self._cut = chunk.stream if more else None
            data = self._joiner.join(chunk.data, more)
            if data is not None:
                stream = self._streams[chunk.stream]
                self._chunks.append(decode(chunk.stream, stream.instrument, stream.kind, data))
        if answer.more:
            return None
        chunks, self._chunks = tuple(self._chunks), []
        if sum(chunk.rows for chunk in chunks) != answer.rows:
            raise ProtocolError(f"a frame of {answer.rows} rows holds another number of them")
        _check_order(chunks, answer)
        runs = _runs(chunks, answer.run_streams, answer.run_messages)
        return Frame(chunks, runs, answer.first_ns, answer.last_ns, answer.rows)


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
