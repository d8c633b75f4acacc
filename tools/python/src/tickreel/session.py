"""A replay without the sending: what to ask, what the answers mean, and whether they add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ._proto import tickreel_pb2 as pb
from .convert import Instruments, Kinds, book_from, kind_codes, optional_ns
from .errors import InvalidArgument, ProtocolError, TickreelError, refusal_of
from .frames import Frame, FrameReader, OpenedStream
from .hashing import ContentHash
from .model import Book, optional
from .schema import kind_from_code
from .times import Duration, Time, to_duration_ns, to_ns


@dataclass(frozen=True, slots=True)
class GapNotice:
    """A gap row was in the frame before. `missing` messages, 0: unknown."""

    instrument: str
    kind: str
    ts_recv_ns: int
    missing: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is. `eta_ns` is of this machine's clock; None: paused or unknown."""

    position_ns: int
    rows: int
    percent: float
    eta_ns: int | None
    speed: float


@dataclass(frozen=True, slots=True)
class State:
    """A command, or a step, was done. `state` is `playing`, `paused` or `ended`."""

    state: str
    position_ns: int
    speed: float
    commands: int
    rows: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A command was refused; the replay goes on as before."""

    error: TickreelError
    commands: int


@dataclass(frozen=True, slots=True)
class End:
    """Everything was played (`last_row`), or the replay was closed (`closed`).

    `rows` and `stream_rows` since the opening or the last seek; they were compared with what came.
    The hashes are equal wherever the same rows are played; None if they were not asked for.
    """

    reason: str
    rows: int
    hash: int | None
    stream_rows: tuple[int, ...]
    stream_hashes: tuple[int | None, ...]


Event: TypeAlias = Book | Frame | GapNotice | Progress | State | Refused | End
"""What a replay tells. A `Book` is that of an instrument before the first message, or after a
seek."""


@dataclass(frozen=True, slots=True)
class ReplayRange:
    """What was opened: the streams in the order that breaks ties, and where rows are."""

    streams: tuple[OpenedStream, ...]
    generation: int
    rows_at_most: int
    first_ns: int
    last_ns: int


def open_request(
    instruments: Instruments,
    kinds: Kinds,
    start: Time | None,
    end: Time | None,
    *,
    speed: float,
    idle_max: Duration | None,
    opening_depth: int | None,
    paused: bool,
    hashes: bool,
    frame_rows: int,
) -> pb.ReplayOpen:
    """Asks for a replay."""
    return pb.ReplayOpen(
        streams=list(_streams(instruments, kinds)),
        from_ns=optional_ns(start),
        to_ns=optional_ns(end),
        speed=speed,
        idle_ns_max=None if idle_max is None else to_duration_ns(idle_max),
        opening_depth=opening_depth,
        paused=paused,
        hash=hashes,
        frame_rows_max=frame_rows,
        form=pb.ROW_FORM_COLUMNS,
    )


def _streams(instruments: Instruments, kinds: Kinds) -> Iterable[pb.ReplayStream]:
    if isinstance(instruments, Mapping):
        if kinds is not None:
            raise InvalidArgument("kinds: they are named with the instruments already")
        wanted = list(instruments.items())
    else:
        names = [instruments] if isinstance(instruments, str) else instruments
        wanted = [(name, kinds) for name in names]
    for name, chosen in wanted:
        yield pb.ReplayStream(instrument=name, kinds=kind_codes(chosen))


def pause_command() -> pb.ReplayRequest:
    """Stands still."""
    return pb.ReplayRequest(pause=pb.ReplayPause())


def resume_command() -> pb.ReplayRequest:
    """Plays on."""
    return pb.ReplayRequest(resume=pb.ReplayResume())


def speed_command(speed: float) -> pb.ReplayRequest:
    """Plays at another speed."""
    return pb.ReplayRequest(set_speed=pb.ReplaySetSpeed(speed=speed))


def seek_command(to: Time) -> pb.ReplayRequest:
    """Goes elsewhere."""
    return pb.ReplayRequest(seek=pb.ReplaySeek(to_ns=to_ns(to)))


def step_command(
    messages: int | None, rows: int | None, duration: Duration | None
) -> pb.ReplayRequest:
    """Plays just this much.

    Raises:
        InvalidArgument: more than one amount is named.

    """
    if sum(amount is not None for amount in (messages, rows, duration)) > 1:
        raise InvalidArgument("step: name one of messages, rows and duration")
    if duration is not None:
        return pb.ReplayRequest(step=pb.ReplayStep(duration_ns=to_duration_ns(duration)))
    if rows is not None:
        return pb.ReplayRequest(step=pb.ReplayStep(rows=rows))
    return pb.ReplayRequest(step=pb.ReplayStep(messages=1 if messages is None else messages))


def close_command() -> pb.ReplayRequest:
    """Ends the session."""
    return pb.ReplayRequest(close=pb.ReplayClose())


_REASONS = {pb.ReplayEnd.REASON_LAST_ROW: "last_row", pb.ReplayEnd.REASON_CLOSED: "closed"}
_PLAY_STATES = {
    pb.ReplayState.STATE_PLAYING: "playing",
    pb.ReplayState.STATE_PAUSED: "paused",
    pb.ReplayState.STATE_ENDED: "ended",
}


class Session:
    """Makes events of the answers of a replay, and checks that they add up."""

    def __init__(self, opening: pb.ReplayOpen, *, verify: bool = False) -> None:
        self.opening = opening
        self._verify = verify
        self._hashes: list[ContentHash] = []
        self.range: ReplayRange | None = None
        self._rows: list[int] = []
        self._commands_sent = 0
        self._commands_done = 0
        self._seeks: list[int] = []
        self._ended = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes unless another command is given."""
        return self._ended and self._commands_done >= self._commands_sent

    def sent(self, command: pb.ReplayRequest) -> None:
        """A command was sent."""
        self._commands_sent += 1
        if command.HasField("seek"):
            self._seeks.append(self._commands_sent)

    def begin(self, answer: pb.ReplayResponse) -> ReplayRange:
        """Reads the first answer."""
        if not answer.HasField("opened"):
            raise ProtocolError("the server did not open the replay")
        opened = answer.opened
        streams = tuple(
            OpenedStream(stream.instrument, kind_from_code(stream.kind))
            for stream in opened.streams
        )
        self._frames = FrameReader(streams)
        self._begin_counts(len(streams))
        self.range = ReplayRange(
            streams, opened.generation, opened.rows_at_most, opened.first_ns, opened.last_ns
        )
        return self.range

    def event(self, answer: pb.ReplayResponse) -> Event | None:
        """What an answer tells; None if it is only a part of something."""
        match answer.WhichOneof("event"):
            case "frame":
                return self._frame(answer.frame)
            case "opening_book":
                return book_from(answer.opening_book)
            case "gap":
                gap = answer.gap
                stream = self._stream(gap.stream)
                return GapNotice(stream.instrument, stream.kind, gap.ts_recv_ns, gap.missing)
            case "progress":
                return _progress(answer.progress)
            case "state":
                return self._state(answer.state)
            case "error":
                error = answer.error
                self._commands_done = error.commands
                self._seeks = [seek for seek in self._seeks if seek != error.commands]
                return Refused(refusal_of(error.code, error.kind, error.text), error.commands)
            case "end":
                return self._end(answer.end)
        raise ProtocolError("an answer that this client does not know")

    def _stream(self, number: int) -> OpenedStream:
        streams = self.range.streams if self.range else ()
        if number >= len(streams):
            raise ProtocolError(f"stream {number} was not opened")
        return streams[number]

    def _frame(self, answer: pb.ReplayFrame) -> Frame | None:
        frame = self._frames.read(answer)
        for chunk in frame.chunks if frame else ():
            self._rows[chunk.stream] += chunk.rows
            if self._verify:
                self._hashes[chunk.stream].update(chunk)
        return frame

    def _begin_counts(self, streams: int) -> None:
        self._rows = [0] * streams
        self._hashes = [ContentHash() for _ in range(streams)]

    def _state(self, state: pb.ReplayState) -> State:
        self._commands_done = state.commands
        play_state = _PLAY_STATES.get(state.state)
        if play_state is None:
            raise ProtocolError("a state that this client does not know")
        if any(seek <= state.commands for seek in self._seeks):
            # What came before belongs to the time before the seek.
            self._seeks = [seek for seek in self._seeks if seek > state.commands]
            self._begin_counts(len(self._rows))
        self._ended = play_state == "ended"
        return State(play_state, state.position_ns, state.speed, state.commands, state.rows)

    def _end(self, end: pb.ReplayEnd) -> End:
        self._ended = True
        found = [stream.rows for stream in end.streams]
        if found != self._rows or sum(found) != end.rows:
            raise ProtocolError(f"{sum(self._rows)} rows came, the server sent {end.rows}")
        hashes = [optional(stream, "hash") for stream in end.streams]
        if self._verify and hashes != [found.value for found in self._hashes]:
            raise ProtocolError("the rows that came are not those that the server read")
        reason = _REASONS.get(end.reason)
        if reason is None:
            raise ProtocolError("an end that this client does not know")
        if reason == "closed":
            self._commands_done = self._commands_sent
        return End(
            reason,
            end.rows,
            optional(end, "hash"),
            tuple(found),
            tuple(hashes),
        )


def _progress(progress: pb.ReplayProgress) -> Progress:
    return Progress(
        progress.position_ns,
        progress.rows,
        progress.percent,
        optional(progress, "eta_ns"),
        progress.speed,
    )
