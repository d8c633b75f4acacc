"""A replay without the sending: what the answers mean, whether they add up, and how to go on after
a connection was lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from . import asking
from ._proto import tickreel_pb2 as pb
from .convert import PLAY_STATES, book_from
from .errors import (
    InvalidArgument,
    NotFound,
    ProtocolError,
    TickreelError,
    Unavailable,
    refusal_of,
)
from .events import (
    End,
    Event,
    GapNotice,
    Progress,
    Refused,
    ReplayRange,
    State,
    Stop,
)
from .frames import Frame, FrameReader, OpenedStream, Run, SampleReader, Samples
from .hashing import ContentHash, Words, keyed, row_hashes, stream_key
from .model import optional
from .schema import kind_from_code

_REASONS = {
    pb.ReplayEnd.REASON_LAST_ROW: "last_row",
    pb.ReplayEnd.REASON_CLOSED: "closed",
    pb.ReplayEnd.REASON_LOOPED: "looped",
    pb.ReplayEnd.REASON_STOPPED: "stopped",
}
_CONDITIONS = {
    pb.ReplayStop.CONDITION_TIME: "time",
    pb.ReplayStop.CONDITION_ROWS: "rows",
    pb.ReplayStop.CONDITION_GAP: "gap",
    pb.ReplayStop.CONDITION_SPREAD: "spread",
    pb.ReplayStop.CONDITION_TRADE: "trade",
}


class Tally:
    """Rows, and hashes if wanted, of each stream, and the hash of all in the order played."""

    def __init__(self, streams: int) -> None:
        self.rows = [0] * streams
        self.hashes = [ContentHash() for _ in range(streams)]
        self.total = ContentHash()

    def add(self, frame: Frame, *, hashes: bool) -> None:
        """Counts a frame."""
        for chunk in frame.chunks:
            self.rows[chunk.stream] += chunk.rows
        if hashes:
            found = [row_hashes(chunk) for chunk in frame.chunks]
            for chunk, words in zip(frame.chunks, found, strict=True):
                self.hashes[chunk.stream].update_rows(words)
            self.total.update_rows(_in_order(frame, found))

    def then(self, other: Tally) -> None:
        """Counts what came after."""
        self.rows = [mine + more for mine, more in zip(self.rows, other.rows, strict=True)]
        for mine, more in zip(self.hashes, other.hashes, strict=True):
            mine.then(more)
        self.total.then(other.total)


class _Openings:
    """The books that come at the opening and after each seek or lap: one of each book stream."""

    def __init__(self, books: int) -> None:
        self._all = books
        self._due = books
        """Of the newest set, still to be told."""
        self._again = 0
        """Told before, and to come again on a new connection."""

    def begin_anew(self) -> None:
        """After a seek or a lap."""
        self._due, self._again = self._all, 0

    def reconnected(self) -> None:
        """On a new connection the newest set comes from its first book on."""
        self._again = self._all - self._due

    def take(self) -> bool:
        """Whether the book that came is to be told."""
        if self._again:
            self._again -= 1
            return False
        self._due = max(self._due - 1, 0)
        return True


def _in_order(frame: Frame, found: Sequence[Words]) -> Words:
    """Hashes of the rows of each chunk as those of one replay, in the order they happened."""
    words = [
        keyed(hashes, stream_key(chunk.instrument, chunk.kind))
        for chunk, hashes in zip(frame.chunks, found, strict=True)
    ]
    if len(words) < 2:
        return words[0] if words else np.zeros(0, dtype=np.uint64)
    places = np.cumsum([0, *(len(part) for part in words)])
    first_row = {id(chunk): int(at) for chunk, at in zip(frame.chunks, places[:-1], strict=True)}

    def row(run: Run, message: int) -> int:
        before = run.chunk.row_ends_list[message - 1] if message else 0
        return first_row[id(run.chunk)] + before

    starts = np.array([row(run, run.start) for run in frame.runs], dtype=np.int64)
    counts = np.array([row(run, run.end) for run in frame.runs], dtype=np.int64) - starts
    ends = np.cumsum(counts)
    order = np.repeat(starts - ends + counts, counts) + np.arange(ends[-1])
    ordered: Words = np.concatenate(words)[order]
    return ordered


class Session:
    """Makes events of the answers of a replay, checks that they add up, and knows how to go on
    after the connection was lost.
    """

    def __init__(self, request: pb.ReplayRequest, *, verify: bool = False) -> None:
        self.range: ReplayRange | None = None
        self._request = pb.ReplayRequest()
        self._request.CopyFrom(request)
        self._verify = verify
        self._reader: FrameReader | SampleReader
        self._here = Tally(0)
        """What came by this connection since the opening, the last seek or lap."""
        self._before: Tally | None = None
        """What came by earlier ones."""
        self._cursor = b""
        """After all that came."""
        self._epoch = 0
        """Another one after each seek."""
        self._openings = _Openings(0)
        self._joins = request.HasField("join")
        """Whether the next connection joins what goes on at the server."""
        self._unanswered: deque[pb.ReplayRequest] = deque()
        self._done = 0
        self._over = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes unless another command is given."""
        return self._over and not self._unanswered

    def ends_iteration(self) -> bool:
        """Whether to stop reading now. In a replay that is shared another member may go on: there
        it is said once for each end.
        """
        over = self.is_over
        if over and self.opened.name:
            self._over = False
        return over

    @property
    def opened(self) -> ReplayRange:
        """What was opened.

        Raises:
            ProtocolError: nothing was.

        """
        if self.range is None:
            raise ProtocolError("the replay was not opened")
        return self.range

    def can_go_on(self, error: TickreelError) -> bool:
        """Whether a new connection goes on where this one was lost."""
        return isinstance(error, Unavailable) and self.range is not None

    def passes(self, error: TickreelError) -> bool:
        """Whether a named replay may be had again a while after this error. Of several members that
        were lost, who opened it opens it again, and the others join that.
        """
        if not self.opened.name:
            return False
        if isinstance(error, NotFound):
            self._joins = self._request.HasField("join")
        elif isinstance(error, InvalidArgument) and error.text.startswith("session: "):
            self._joins = True
        else:
            return False
        return True

    def first_requests(self) -> list[pb.ReplayRequest]:
        """What is sent on a new connection: the opening, and commands that were not answered."""
        if self.range is not None and self._joins:
            self._unanswered = deque(
                # What was played of a step is not known; others may be playing it.
                asking.pause_command() if _is_step(command) else command
                for command in self._unanswered
            )
            return [self._joining(), *self._unanswered]
        kept = deque(command for command in self._unanswered if not _is_step(command))
        if len(kept) < len(self._unanswered):
            # What a step left to play is not played without it.
            self._request.open.paused = True
        self._unanswered = kept
        request = pb.ReplayRequest()
        request.CopyFrom(self._request)
        if self._cursor:
            request.open.resume_cursor = self._cursor
        return [request, *self._unanswered]

    def _joining(self) -> pb.ReplayRequest:
        """Asks to be a member again."""
        join = pb.ReplayJoin(
            session=self.opened.name,
            opening_depth=optional(self._asked, "opening_depth"),
            hash=self._asked.hash,
            decimals=self._asked.decimals,
            frame_rows_max=self._asked.frame_rows_max,
            form=self._asked.form,
            resume_cursor=self._cursor,
        )
        return pb.ReplayRequest(join=join)

    @property
    def _asked(self) -> pb.ReplayOpen | pb.ReplayJoin:
        request = self._request
        return request.join if request.HasField("join") else request.open

    def sent(self, command: pb.ReplayRequest) -> None:
        """A command was sent."""
        self._unanswered.append(command)

    def begin(self, answer: pb.ReplayResponse) -> ReplayRange:
        """Reads the first answer of a connection.

        Raises:
            ProtocolError: it opens nothing, or other streams than before.

        """
        if not answer.HasField("opened"):
            raise ProtocolError("the server did not open the replay")
        opened = answer.opened
        streams = tuple(
            OpenedStream(stream.instrument, kind_from_code(stream.kind))
            for stream in opened.streams
        )
        if self.range is None:
            told = optional(self._asked, "opening_depth") != 0
            self._openings = _Openings(sum(told and s.kind == "book" for s in streams))
        elif streams != self.range.streams:
            raise ProtocolError("the server opened other streams than before")
        elif self._joins and opened.epoch != self._epoch:
            # Others went elsewhere.
            self._begin_counts()
        else:
            self._carry()
            self._openings.reconnected()
        self._epoch = opened.epoch
        self._joins = bool(opened.session)
        self._note(opened.cursor)
        self.range = ReplayRange(
            streams,
            opened.generation,
            opened.rows_at_most,
            opened.first_ns,
            opened.last_ns,
            opened.session,
        )
        self._here = Tally(len(streams))
        self._done = 0
        schemas = [stream.arrow_schema for stream in opened.streams]
        self._reader = SampleReader(streams, schemas) if opened.books else FrameReader(streams)
        return self.range

    def event(self, answer: pb.ReplayResponse) -> Event | None:
        """What an answer tells; None if it is only a part of something."""
        match answer.WhichOneof("event"):
            case "frame":
                return self._frame(answer.frame)
            case "opening_book":
                book = book_from(answer.opening_book)
                return book if self._openings.take() else None
            case "gap":
                gap = answer.gap
                stream = self._stream(gap.stream)
                return GapNotice(stream.instrument, stream.kind, gap.ts_recv_ns, gap.missing)
            case "progress":
                self._note(answer.progress.cursor)
                return _progress(answer.progress)
            case "state":
                return self._state(answer.state)
            case "error":
                error = answer.error
                self._answered(error.commands)
                return Refused(refusal_of(error.code, error.kind, error.text), error.commands)
            case "end":
                return self._end(answer.end)
        raise ProtocolError("an answer that this client does not know")

    def _carry(self) -> None:
        """Keeps the counts of the connection that was lost."""
        if self._before is None:
            self._before = self._here
        else:
            self._before.then(self._here)

    def _note(self, cursor: bytes) -> None:
        self._cursor = cursor or self._cursor

    def _stream(self, number: int) -> OpenedStream:
        streams = self.range.streams if self.range else ()
        if number >= len(streams):
            raise ProtocolError(f"stream {number} was not opened")
        return streams[number]

    def _begin_counts(self) -> None:
        self._here, self._before = Tally(len(self._here.rows)), None
        self._openings.begin_anew()

    def _frame(self, answer: pb.ReplayFrame) -> Frame | Samples | None:
        frame = self._reader.read(answer)
        if isinstance(frame, Frame):
            self._here.add(frame, hashes=self._verify)
        elif frame is not None:
            for stream, rows in frame.stream_rows():
                self._here.rows[stream] += rows
        if frame is not None:
            self._note(answer.cursor)
        return frame

    def _answered(self, commands: int) -> pb.ReplayRequest | None:
        """The command that is answered, if it is one: a state also tells that a step is done.

        The count is of all members of a replay, so it may grow by more than one.
        """
        if commands <= self._done:
            return None
        self._done = commands
        return self._unanswered.popleft() if self._unanswered else None

    def _state(self, state: pb.ReplayState) -> State:
        play_state = PLAY_STATES.get(state.state)
        if play_state is None:
            raise ProtocolError("a state that this client does not know")
        if state.by_other:
            # The server counts the commands of all.
            self._done = state.commands
            answered = None
        else:
            answered = self._answered(state.commands)
        if state.epoch != self._epoch:
            # What came before belongs to the time before a seek.
            self._epoch = state.epoch
            self._begin_counts()
        self._over = play_state == "ended"
        self._remember(state, answered)
        return State(
            play_state,
            state.position_ns,
            state.speed,
            state.commands,
            state.rows,
            self._stop(state),
            state.by_other,
            state.members,
            state.live,
            state.epoch,
        )

    def _remember(self, state: pb.ReplayState, answered: pb.ReplayRequest | None) -> None:
        """What a new connection would have to ask for."""
        self._note(state.cursor)
        if not self._request.HasField("open"):
            return
        opening = self._request.open
        opening.speed = state.speed
        # A step plays until it is done, and so does a command during it.
        moves = answered is None or answered.HasField("resume") or answered.HasField("seek")
        if state.state != pb.ReplayState.STATE_PLAYING or _is_step(answered):
            opening.paused = True
        elif moves:
            opening.paused = False
        if answered is not None and answered.HasField("set_stops"):
            opening.stops.CopyFrom(answered.set_stops.stops)

    def _stop(self, state: pb.ReplayState) -> Stop | None:
        if not state.HasField("stop"):
            return None
        stop = state.stop
        instrument = self._stream(stop.stream).instrument if stop.HasField("stream") else None
        return Stop(_CONDITIONS.get(stop.condition, "unknown"), stop.time_ns, instrument)

    def _end(self, end: pb.ReplayEnd) -> End:
        reason = _REASONS.get(end.reason)
        if reason is None:
            raise ProtocolError("an end that this client does not know")
        hashes = [optional(stream, "hash") for stream in end.streams]
        self._check(end, hashes)
        self._note(end.cursor)
        rows, digest = self._here.rows, optional(end, "hash")
        if self._before is not None:
            total = Tally(len(rows))
            total.then(self._before)
            total.then(self._here)
            rows, digest = total.rows, total.total.value if self._has_hashes else None
            hashes = [found.value if self._has_hashes else None for found in total.hashes]
        self._over = reason != "looped"
        if reason == "looped":
            self._begin_counts()
        elif reason != "last_row":
            self._unanswered.clear()
        return End(reason, sum(rows), digest, tuple(rows), tuple(hashes))

    def _check(self, end: pb.ReplayEnd, hashes: list[int | None]) -> None:
        found = [stream.rows for stream in end.streams]
        if found != self._here.rows or sum(found) != end.rows:
            raise ProtocolError(f"{sum(self._here.rows)} rows came, the server sent {end.rows}")
        if self._has_hashes:
            mine: list[int | None] = [found.value for found in self._here.hashes]
            if hashes != mine:
                raise ProtocolError("the rows that came are not those that the server read")
            if optional(end, "hash") != self._here.total.value:
                raise ProtocolError("the rows came in another order than the server's")

    @property
    def _has_hashes(self) -> bool:
        """Whether rows are hashed as they come."""
        return self._verify and isinstance(self._reader, FrameReader)


def _is_step(command: pb.ReplayRequest | None) -> bool:
    return command is not None and command.HasField("step")


def _progress(progress: pb.ReplayProgress) -> Progress:
    return Progress(
        progress.position_ns,
        progress.rows,
        progress.percent,
        optional(progress, "eta_ns"),
        progress.speed,
        progress.rows_at_most,
        progress.rows_per_s,
        progress.live,
        progress.laps,
    )


def table_of(events: Iterable[Event]) -> pa.Table:
    """The samples of one book, as a table.

    Raises:
        NotFound: there are none.

    """
    batches = [
        batch for event in events if isinstance(event, Samples) for _, batch in event.batches
    ]
    if not batches:
        raise NotFound("no samples: no message of a book was in this time")
    return pa.Table.from_batches(batches)
