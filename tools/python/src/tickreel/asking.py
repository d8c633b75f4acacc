"""What a replay is asked: to open, to be joined, and every command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from ._proto import tickreel_pb2 as pb
from .convert import Instruments, Kinds, kind_codes, optional_ns
from .errors import InvalidArgument
from .times import Duration, Time, to_duration_ns, to_ns


@dataclass(frozen=True, slots=True)
class Books:
    """Instead of rows: the best levels of each book, after each message or `every` so often."""

    depth: int = 10
    every: Duration = 0


@dataclass(frozen=True, slots=True)
class Metrics:
    """Instead of rows: mid, spread, microprice, and depth and imbalance of the first `levels`.

    After each message of a book, or `every` so often.
    """

    levels: tuple[int, ...] = (1, 5, 10)
    every: Duration = 0


@dataclass(frozen=True, slots=True)
class Stops:
    """When a replay stops by itself: right after the message that meets a condition.

    It pauses, and a `State` with `stop` tells; `end` ends it instead.

    Attributes:
        at: before the first message at or after this time.
        rows: after so many rows, and again.
        gap: after messages that are missing.
        spread_bps: when the spread of a live book gets larger than so many basis points of mid.
        trade_qty: after a trade of more than this exact quantity, as text.

    """

    at: Time | None = None
    rows: int | None = None
    gap: bool = False
    spread_bps: float | None = None
    trade_qty: str = ""
    end: bool = False


class ReplayOptions(TypedDict, total=False):
    """What a replay may be told besides its streams and its range.

    Attributes:
        speed: recorded time per time of the clock; 1 as it happened, 0 as fast as possible.
        paused: whether it begins paused.
        idle_max: longer waits without a row are cut to this recorded time.
        opening_depth: levels of the books it begins with; None: all, 0: no books.
        frame_rows: rows of a frame at most, in whole messages; 0: 65,536.
        hashes: whether the end has hashes of the rows.
        verify: whether the hashes, of each stream and of all in their order, are computed here
            too, and compared.
        loop: whether it begins anew after the last row.
        stops: conditions at which it stops by itself.
        output: `Books` or `Metrics` instead of rows.
        exact: whether these have exact decimals instead of doubles.
        follow: whether it goes on, after the last stored row, with rows as they are stored.
        name: makes it a replay that others can join by this name, with one clock for all.
        by_event_time: whether streams are merged by event time instead of receive time; then all
            times of the replay are event times.

    """

    speed: float
    paused: bool
    idle_max: Duration | None
    opening_depth: int | None
    frame_rows: int
    hashes: bool
    verify: bool
    loop: bool
    stops: Stops | None
    output: Books | Metrics | None
    exact: bool
    follow: bool
    name: str
    by_event_time: bool


class JoinOptions(TypedDict, total=False):
    """What a member of a replay may be told for itself; as in `ReplayOptions`."""

    opening_depth: int | None
    frame_rows: int
    hashes: bool
    verify: bool
    exact: bool


def open_request(
    instruments: Instruments,
    kinds: Kinds,
    start: Time | None,
    end: Time | None,
    options: ReplayOptions,
) -> pb.ReplayRequest:
    """Asks for a replay."""
    idle_max, output = options.get("idle_max"), options.get("output")
    by_event_time = options.get("by_event_time", False)
    opening = pb.ReplayOpen(
        streams=list(_streams(instruments, kinds)),
        from_ns=optional_ns(start),
        to_ns=optional_ns(end),
        speed=options.get("speed", 0.0),
        idle_ns_max=None if idle_max is None else to_duration_ns(idle_max),
        opening_depth=options.get("opening_depth"),
        paused=options.get("paused", False),
        hash=_hashes(options),
        decimals=_decimals(options),
        frame_rows_max=options.get("frame_rows", 0),
        form=pb.ROW_FORM_COLUMNS,
        loop=options.get("loop", False),
        stops=_stops(options.get("stops")),
        follow=options.get("follow", False),
        session=options.get("name", ""),
        order=pb.REPLAY_ORDER_EVENT if by_event_time else pb.REPLAY_ORDER_RECV,
    )
    if isinstance(output, Books):
        every_ns = to_duration_ns(output.every)
        opening.books.CopyFrom(pb.ReplayBooks(depth=output.depth, every_ns=every_ns))
    elif isinstance(output, Metrics):
        every_ns = to_duration_ns(output.every)
        opening.metrics.CopyFrom(pb.ReplayMetrics(levels=output.levels, every_ns=every_ns))
    return pb.ReplayRequest(open=opening)


def join_request(name: str, options: JoinOptions) -> pb.ReplayRequest:
    """Asks to become a member of a replay with a name."""
    join = pb.ReplayJoin(
        session=name,
        opening_depth=options.get("opening_depth"),
        hash=_hashes(options),
        decimals=_decimals(options),
        frame_rows_max=options.get("frame_rows", 0),
        form=pb.ROW_FORM_COLUMNS,
    )
    return pb.ReplayRequest(join=join)


def _hashes(options: ReplayOptions | JoinOptions) -> bool:
    return options.get("hashes", False) or options.get("verify", False)


def _decimals(options: ReplayOptions | JoinOptions) -> pb.DecimalForm:
    exact = options.get("exact", False)
    return pb.DECIMAL_FORM_DECIMAL128 if exact else pb.DECIMAL_FORM_FLOAT64


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


def _stops(stops: Stops | None) -> pb.ReplayStops | None:
    if stops is None:
        return None
    return pb.ReplayStops(
        at_ns=optional_ns(stops.at),
        rows=stops.rows,
        gap=stops.gap,
        spread_bps=stops.spread_bps,
        trade_qty=stops.trade_qty,
        end=stops.end,
    )


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


def stops_command(stops: Stops | None) -> pb.ReplayRequest:
    """Stops at other conditions from now on."""
    return pb.ReplayRequest(set_stops=pb.ReplaySetStops(stops=_stops(stops)))


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
