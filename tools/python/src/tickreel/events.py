"""What a replay tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .errors import TickreelError
from .frames import Frame, OpenedStream, Samples
from .model import Book


@dataclass(frozen=True, slots=True)
class GapNotice:
    """A gap row was in the frame before. `missing` messages, 0: unknown."""

    instrument: str
    kind: str
    ts_recv_ns: int
    missing: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is. `eta_ns` is of this machine's clock; None: paused or unknown.

    `live`: everything that is stored was played, rows come as they are stored. `laps`: how often
    the range was played, with `loop`.
    """

    position_ns: int
    rows: int
    percent: float
    eta_ns: int | None
    speed: float
    rows_at_most: int
    rows_per_s: float
    live: bool
    laps: int


@dataclass(frozen=True, slots=True)
class Stop:
    """A condition of `Stops` that was met: `time`, `rows`, `gap`, `spread` or `trade`.

    `time_ns` is that of the message that met it; of `time`, the time that was asked for.
    """

    condition: str
    time_ns: int
    instrument: str | None


@dataclass(frozen=True, slots=True)
class State:
    """A command, or a step, was done, or a condition stopped the replay.

    `state` is `playing`, `paused` or `ended`. In a named replay, `by_other` says that it tells what
    others did, perhaps several commands as one, or what was joined is like; `members` how many
    there are. `epoch` is another one after each seek of any member: counts begin anew.
    """

    state: str
    position_ns: int
    speed: float
    commands: int
    rows: int
    stop: Stop | None
    by_other: bool
    members: int
    live: bool
    epoch: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A command was refused; the replay goes on as before."""

    error: TickreelError
    commands: int


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection was lost and made again; the replay goes on exactly where it stopped.

    A step that was not done is forgotten: the replay stands still. A replay with a name may have
    been moved by others meanwhile: then a `State` with another `epoch` comes next.
    """

    error: TickreelError


@dataclass(frozen=True, slots=True)
class End:
    """The end of what was played.

    `reason`: `last_row` (everything was played), `closed`, `looped` (it begins anew) or `stopped`
    (a condition was met). `rows` and `stream_rows` since the opening or the last seek or lap; they
    were compared with what came. The hashes are equal wherever the same rows are played; None if
    they were not asked for. Of rows that came by several connections only this side knows all, so
    then they are those that were computed here: None without `verify`.
    """

    reason: str
    rows: int
    hash: int | None
    stream_rows: tuple[int, ...]
    stream_hashes: tuple[int | None, ...]


Event: TypeAlias = (
    Book | Frame | Samples | GapNotice | Progress | State | Refused | Reconnected | End
)
"""What a replay tells. A `Book` is that of an instrument before the first message, or after a
seek. With `Books` or `Metrics` there are `Samples` instead of `Frame`."""


@dataclass(frozen=True, slots=True)
class ReplayRange:
    """What was opened: the streams in the order that breaks ties, and where rows are."""

    streams: tuple[OpenedStream, ...]
    generation: int
    rows_at_most: int
    first_ns: int
    last_ns: int
    name: str
    """By which others can join it; empty if it has none."""
