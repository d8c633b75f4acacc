"""The client that blocks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import pyarrow as pa

from . import asking, operations, session
from ._proto import tickreel_pb2 as pb
from ._proto.tickreel_pb2_grpc import TickreelStub
from .append import Appended, Writing, appended_from
from .asking import Books, JoinOptions, Metrics, ReplayOptions, Stops
from .channel import OPTIONS, target_of
from .convert import (
    BookReader,
    Instruments,
    Kinds,
    ScanReader,
    append_request,
    books_request,
    scan_request,
)
from .errors import Cancelled, TickreelError, error_of
from .events import End, Event, Reconnected
from .frames import Frame, Message, OpenedStream
from .model import Book, Coverage, ServerStats, Streams
from .operations import Operation, Result
from .retry import Retry
from .schema import Kind
from .times import Duration, Time

Item = TypeVar("Item")


class Client:
    """A connection to a server; the same from any thread.

    Args:
        url: `http://127.0.0.1:7400`, `https://host:7400`, or `host:7400`.
        token: bearer token; needs https unless the server is on this machine.
        ca: file with the certificates to trust instead of the machine's, in PEM.
        cert: file with the client's certificate, with `key` its private key, in PEM.
        timeout_s: how long one answer may take; rows and replays may take as long as they do.
        retry: how often, and after which waits, a request that only reads is sent again.

    Every method raises `TickreelError`: its subclass says what happened, its text is the server's.

    Example:
        >>> with Client("http://127.0.0.1:7400") as client:         # doctest: +SKIP
        ...     client.book("binance-futures:BTCUSDT", "2024-08-08T23:57:00Z")

    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:7400",
        *,
        token: str | None = None,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        timeout_s: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        target = target_of(url, token, ca, cert, key)
        if target.secure:
            credentials = target.credentials()
            self._channel = grpc.secure_channel(target.address, credentials, OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target.address, OPTIONS)
        self._stub = TickreelStub(self._channel)
        self._metadata = target.metadata
        self._timeout_s = timeout_s
        self._retry = retry or Retry()

    def close(self) -> None:
        """Closes the connection; what is under way ends."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def instruments(
        self, *, exchange: str = "", contains: str = "", kinds: Kinds = None
    ) -> Streams:
        """What is stored, by name; of one exchange, or with this text in the symbol."""
        return self._ask(operations.instruments(exchange, contains, kinds))

    def coverage(
        self,
        instrument: str,
        kinds: Kinds = None,
        *,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Coverage:
        """Ranges of an instrument's streams, and gaps that touch the time from `start` to `end`."""
        return self._ask(operations.coverage(instrument, kinds, start, end))

    def book(self, instrument: str, at: Time, depth: int | None = None) -> Book:
        """The book after every message with `ts_recv` <= `at`; all levels if `depth` is None."""
        return self._ask(operations.book(instrument, at, depth))

    def books(
        self, instrument: str, start: Time, end: Time, every: Duration, depth: int | None = None
    ) -> Iterator[Book]:
        """The books at `start`, `start` + `every`, ... before `end`, as they come."""
        request = books_request(instrument, start, end, every, depth)
        return self._stream("SampleBooks", request, BookReader)

    def read(
        self,
        instrument: str,
        kind: Kind | str,
        start: Time | None = None,
        end: Time | None = None,
        columns: Iterable[str] | None = None,
        *,
        where: Iterable[str] = (),
        exact: bool = False,
    ) -> pa.Table:
        """The rows of a stream with `start` <= `ts_recv` < `end`, as one Arrow table.

        Prices and quantities are doubles, or exact decimals if `exact`. `.to_pandas()` makes a data
        frame of it, `polars.from_arrow(...)` another. What is too much for memory: `read_batches`.

        `where` names conditions that all must hold, e.g. `["price>=61000.5", "side=buy"]`.
        """
        request = scan_request(instrument, kind, start, end, columns, where, exact)
        readers: list[ScanReader] = []

        def reader() -> ScanReader:
            readers.append(ScanReader())
            return readers[-1]

        batches = list(self._stream("Scan", request, reader))
        return readers[-1].table(batches)

    def read_batches(
        self,
        instrument: str,
        kind: Kind | str,
        start: Time | None = None,
        end: Time | None = None,
        columns: Iterable[str] | None = None,
        *,
        where: Iterable[str] = (),
        exact: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """As `read`, batch after batch of about 1 MiB, as they come."""
        request = scan_request(instrument, kind, start, end, columns, where, exact)
        return self._stream("Scan", request, ScanReader)

    def replay(
        self,
        instruments: Instruments,
        kinds: Kinds = None,
        start: Time | None = None,
        end: Time | None = None,
        **options: Unpack[ReplayOptions],
    ) -> Replay:
        """Plays streams, merged in one total order.

        A connection that is lost is made again, and the replay goes on exactly where it stopped.

        Args:
            instruments: one, several, or a mapping of each to the kinds wanted of it.
            kinds: of every instrument; None: all that are stored.
            start: the first time, None: from the first row.
            end: the time before which it ends, None: after the last row.
            options: see `ReplayOptions`: `speed=1`, `paused=True`, `loop=True`, ...

        """
        request = asking.open_request(instruments, kinds, start, end, options)
        return Replay(self._begin_replay, request, self._retry, options.get("verify", False))

    def join(self, name: str, **options: Unpack[JoinOptions]) -> Replay:
        """Becomes a member of the replay that was opened with this name.

        All members have one clock; a command of any acts on all. A connection that is lost is made
        again, as of `replay`; after a seek of others meanwhile it goes on where they are.
        `options`: see `JoinOptions`.
        """
        request = asking.join_request(name, options)
        return Replay(self._begin_replay, request, self._retry, options.get("verify", False))

    def sample(
        self,
        instrument: str,
        start: Time | None = None,
        end: Time | None = None,
        output: Books | Metrics | None = None,
        *,
        exact: bool = False,
    ) -> pa.Table:
        """The books of an instrument, or what can be measured on them, as one Arrow table.

        `Metrics(levels=(1, 5), every="1s")`, the default without the levels, has mid, spread,
        microprice, depth and imbalance; `Books(depth=10, every="1s")` the levels. The server
        computes them. Numbers are doubles, or exact decimals if `exact`.
        """
        chosen = output or Metrics(every="1s")
        with self.replay(instrument, "book", start, end, output=chosen, exact=exact) as replay:
            return session.table_of(replay)

    def append(self) -> Appender:
        """Opens a session to store rows with; the server must take them (`serve --append`)."""
        return Appender(lambda requests: self._start("Append", requests))

    def stats(self) -> ServerStats:
        """Figures of the server and its store."""
        return self._ask(operations.stats())

    def _ask(self, operation: Operation[Result]) -> Result:
        """Runs an operation, and sends again what may be sent again."""
        try:
            call = next(operation)
            while True:
                call = operation.send(self._answer(call.method, call.request))
        except StopIteration as done:
            result: Result = done.value
            return result

    def _answer(self, method: str, request: Any) -> Any:
        send = getattr(self._stub, method)
        waits = self._retry.waits()
        while True:
            try:
                return send(request, timeout=self._timeout_s, metadata=self._metadata)
            except grpc.RpcError as error:
                time.sleep(waits.after(error_of(error)))

    def _start(self, method: str, request: Any) -> Any:
        return getattr(self._stub, method)(request, metadata=self._metadata)

    def _stream(self, method: str, request: Any, reader_of: Callable[[], Any]) -> Iterator[Any]:
        """What a reader makes of the answers. Begins anew only while nothing was given out."""
        waits = self._retry.waits()
        while True:
            reader, given = reader_of(), False
            call = self._start(method, request)
            try:
                for answer in call:
                    for item in reader.feed(answer):
                        given = True
                        yield item
                reader.finish()
                return
            except grpc.RpcError as error:
                if given:
                    raise error_of(error) from None
                time.sleep(waits.after(error_of(error)))
            finally:
                call.cancel()

    def _begin_replay(self, requests: Iterator[pb.ReplayRequest]) -> Any:
        return self._start("Replay", requests)


class Commands(Iterator[Any]):
    """Requests of a session: what is put in comes out when the connection takes it."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(self, request: Any) -> None:
        """Adds a request; None ends them."""
        self._waiting.put(request)

    def __next__(self) -> Any:
        request = self._waiting.get()
        if request is None:
            raise StopIteration
        return request


class Replay(Iterator[Event]):
    """A replay that runs: iterate over its events, steer it from any thread meanwhile.

    A command returns when it is on its way; a `State` or `Refused` among the events answers it.
    After `End` the iteration stops; after a `seek` it goes on. In a replay with a name, iterating
    again waits for what other members do.

    Example:
        >>> with client.replay("deribit:BTC-PERPETUAL", speed=100) as replay:   # doctest: +SKIP
        ...     for event in replay:
        ...         if isinstance(event, Frame):
        ...             prices = event.chunks[0]["price"]

    """

    def __init__(
        self,
        start: Callable[[Commands], Any],
        request: pb.ReplayRequest,
        retry: Retry,
        verify: bool,
    ) -> None:
        self._start = start
        self._retry = retry
        self._lock = threading.Lock()
        self._session = session.Session(request, verify=verify)
        self._commands = Commands()
        try:
            self._open()
        except grpc.RpcError as error:
            raise error_of(error) from None

    @property
    def streams(self) -> tuple[OpenedStream, ...]:
        """The streams played, in the order that breaks ties; chunks count them from 0."""
        return self._session.opened.streams

    @property
    def first_ns(self) -> int:
        """`ts_recv` of the first row."""
        return self._session.opened.first_ns

    @property
    def last_ns(self) -> int:
        """`ts_recv` of the last row."""
        return self._session.opened.last_ns

    @property
    def rows_at_most(self) -> int:
        """Rows of the range, whole files counted where it cuts them."""
        return self._session.opened.rows_at_most

    def __next__(self) -> Event:
        while not self._session.ends_iteration():
            try:
                answer = next(self._answers)
            except StopIteration:
                raise StopIteration from None
            except grpc.RpcError as error:
                return self._reopen(error_of(error))
            event = self._session.event(answer)
            if event is not None:
                return event
        raise StopIteration

    def frames(self) -> Iterator[Frame]:
        """The frames alone."""
        return (event for event in self if isinstance(event, Frame))

    def messages(self, *, exact: bool = False) -> Iterator[Message]:
        """Every message in the order it happened; decimals as doubles, or exact."""
        for frame in self.frames():
            yield from frame.messages(exact=exact)

    def end(self) -> End:
        """Plays to the end without looking, and tells what was played.

        Raises:
            Cancelled: it ended without an end.

        """
        for event in self:
            if isinstance(event, End):
                self._session.ends_iteration()  # it is told by returning
                return event
        raise Cancelled("the replay ended without an end")

    def pause(self) -> None:
        """Stands still."""
        self._send(asking.pause_command())

    def resume(self) -> None:
        """Plays on."""
        self._send(asking.resume_command())

    def speed(self, speed: float) -> None:
        """Plays at another speed; 0: as fast as possible."""
        self._send(asking.speed_command(speed))

    def set_stops(self, stops: Stops | None) -> None:
        """Stops by itself at other conditions from now on; None: at none."""
        self._send(asking.stops_command(stops))

    def seek(self, to: Time) -> None:
        """Goes to the first message with `ts_recv` >= `to`; counts and hashes begin anew."""
        self._send(asking.seek_command(to))

    def step(
        self,
        messages: int | None = None,
        *,
        rows: int | None = None,
        duration: Duration | None = None,
    ) -> None:
        """Pauses, then plays just this much, as fast as possible; by default one message."""
        self._send(asking.step_command(messages, rows, duration))

    def close(self) -> None:
        """Ends it at once. What was not read is lost."""
        self._commands.put(None)
        self._answers.cancel()

    def finish(self) -> None:
        """Asks the server to end it here: `End` with the counts so far follows."""
        self._send(asking.close_command())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, command: pb.ReplayRequest) -> None:
        with self._lock:
            self._session.sent(command)
            self._commands.put(command)

    def _open(self) -> None:
        """Begins, or goes on, on a new connection."""
        with self._lock:
            self._commands.put(None)
            self._commands = Commands()
            for request in self._session.first_requests():
                self._commands.put(request)
            self._answers = self._start(self._commands)
            try:
                self._session.begin(next(self._answers, pb.ReplayResponse()))
            except BaseException:
                # The thread that sends the commands waits for them until they end.
                self.close()
                raise

    def _reopen(self, lost: TickreelError) -> Reconnected:
        """Makes a lost connection again, as patiently as `Retry` says."""
        if not self._session.can_go_on(lost):
            raise lost
        waits, error = self._retry.waits(self._retry.replay_attempts), lost
        while True:
            time.sleep(waits.after(error, passes=self._session.passes(error)))
            try:
                self._open()
            except grpc.RpcError as failed:
                error = error_of(failed)
            else:
                return Reconnected(lost)


class Appender(Iterator[Appended]):
    """Stores rows: send them, and iterate over what became of them.

    Answers must be read while rows are sent; `send` does so by itself when many are open, and keeps
    them for the iteration. Leaving a `with` block waits until all is durable.

    Example:
        >>> with client.append() as rows:                           # doctest: +SKIP
        ...     rows.send("binance-futures:BTCUSDT", "trades", table)
        ...     rows.flush()

    """

    def __init__(self, start: Callable[[Commands], Any]) -> None:
        self._commands = Commands()
        self._answers = start(self._commands)
        self._writing = Writing()

    def send(self, instrument: str, kind: Kind | str, rows: pa.Table | pa.RecordBatch) -> int:
        """Sends the rows of one stream; the number that answers will have.

        Rows have the columns of `read`; prices are decimals or text, never floats.
        """
        number = self._writing.next_number
        request = append_request(number, instrument, kind, rows)
        self._writing.sent()
        self._commands.put(request)
        while self._writing.is_full:
            self._writing.keep(self._read())
        return number

    def flush(self) -> int:
        """Waits until all that was sent is durable; the watermark of the store.

        Raises:
            TickreelError: some of it was refused; the session goes on.

        """
        while not self._writing.is_durable:
            self._writing.keep(self._read())
        return self._writing.watermark()

    def __next__(self) -> Appended:
        kept = self._writing.take()
        if kept is not None:
            return kept
        if self._writing.is_durable:
            raise StopIteration
        answer = self._read()
        self._writing.note(answer)
        return answer

    def close(self) -> None:
        """Ends the session after all that was sent is durable."""
        self._commands.put(None)
        try:
            for answer in self._answers:
                self._writing.keep(appended_from(answer))
        except grpc.RpcError as error:
            raise error_of(error) from None
        self._writing.watermark()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._commands.put(None)
            self._answers.cancel()

    def _read(self) -> Appended:
        try:
            return appended_from(next(self._answers))
        except StopIteration:
            raise Cancelled("the session has ended") from None
        except grpc.RpcError as error:
            raise error_of(error) from None
