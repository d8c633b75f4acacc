"""The client for asyncio. As `tickreel.client`, with `await`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

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

_EOF = grpc.aio.EOF  # type: ignore[attr-defined]


class AsyncClient:
    """A connection to a server, for one event loop. Arguments are those of `Client`.

    Example:
        >>> async with AsyncClient("http://127.0.0.1:7400") as client:  # doctest: +SKIP
        ...     await client.book("binance-futures:BTCUSDT", "2024-08-08T23:57:00Z")

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
            self._channel = grpc.aio.secure_channel(target.address, credentials, OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(target.address, OPTIONS)
        self._stub = TickreelStub(self._channel)
        self._metadata = target.metadata
        self._timeout_s = timeout_s
        self._retry = retry or Retry()

    async def close(self) -> None:
        """Closes the connection; what is under way ends."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def instruments(
        self, *, exchange: str = "", contains: str = "", kinds: Kinds = None
    ) -> Streams:
        """As `Client.instruments`."""
        return await self._ask(operations.instruments(exchange, contains, kinds))

    async def coverage(
        self,
        instrument: str,
        kinds: Kinds = None,
        *,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Coverage:
        """As `Client.coverage`."""
        return await self._ask(operations.coverage(instrument, kinds, start, end))

    async def book(self, instrument: str, at: Time, depth: int | None = None) -> Book:
        """As `Client.book`."""
        return await self._ask(operations.book(instrument, at, depth))

    def books(
        self, instrument: str, start: Time, end: Time, every: Duration, depth: int | None = None
    ) -> AsyncIterator[Book]:
        """As `Client.books`."""
        request = books_request(instrument, start, end, every, depth)
        return self._stream("SampleBooks", request, BookReader)

    async def read(
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
        """As `Client.read`."""
        request = scan_request(instrument, kind, start, end, columns, where, exact)
        readers: list[ScanReader] = []

        def reader() -> ScanReader:
            readers.append(ScanReader())
            return readers[-1]

        batches = [batch async for batch in self._stream("Scan", request, reader)]
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
    ) -> AsyncIterator[pa.RecordBatch]:
        """As `Client.read_batches`."""
        request = scan_request(instrument, kind, start, end, columns, where, exact)
        return self._stream("Scan", request, ScanReader)

    async def replay(
        self,
        instruments: Instruments,
        kinds: Kinds = None,
        start: Time | None = None,
        end: Time | None = None,
        **options: Unpack[ReplayOptions],
    ) -> AsyncReplay:
        """As `Client.replay`; `await` it, then use it with `async with` and `async for`."""
        request = asking.open_request(instruments, kinds, start, end, options)
        return await self._replay(request, options.get("verify", False))

    async def join(self, name: str, **options: Unpack[JoinOptions]) -> AsyncReplay:
        """As `Client.join`."""
        request = asking.join_request(name, options)
        return await self._replay(request, options.get("verify", False))

    async def sample(
        self,
        instrument: str,
        start: Time | None = None,
        end: Time | None = None,
        output: Books | Metrics | None = None,
        *,
        exact: bool = False,
    ) -> pa.Table:
        """As `Client.sample`."""
        chosen = output or Metrics(every="1s")
        options: ReplayOptions = {"output": chosen, "exact": exact}
        async with await self.replay(instrument, "book", start, end, **options) as replay:
            return session.table_of([event async for event in replay])

    def append(self) -> AsyncAppender:
        """As `Client.append`; for `async with`."""
        return AsyncAppender(lambda: self._start("Append"))

    async def stats(self) -> ServerStats:
        """As `Client.stats`."""
        return await self._ask(operations.stats())

    async def _replay(self, request: pb.ReplayRequest, verify: bool) -> AsyncReplay:
        replay = AsyncReplay(lambda: self._start("Replay"), request, self._retry, verify)
        await replay._open()
        return replay

    async def _ask(self, operation: Operation[Result]) -> Result:
        try:
            call = next(operation)
            while True:
                call = operation.send(await self._answer(call.method, call.request))
        except StopIteration as done:
            result: Result = done.value
            return result

    async def _answer(self, method: str, request: Any) -> Any:
        send = getattr(self._stub, method)
        waits = self._retry.waits()
        while True:
            try:
                return await send(request, timeout=self._timeout_s, metadata=self._metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(waits.after(error_of(error)))

    def _start(self, method: str, *requests: Any) -> Any:
        return getattr(self._stub, method)(*requests, metadata=self._metadata)

    async def _stream(
        self, method: str, request: Any, reader_of: Callable[[], Any]
    ) -> AsyncIterator[Any]:
        waits = self._retry.waits()
        while True:
            reader, given = reader_of(), False
            call = self._start(method, request)
            try:
                async for answer in call:
                    for item in reader.feed(answer):
                        given = True
                        yield item
                reader.finish()
                return
            except grpc.RpcError as error:
                if given:
                    raise error_of(error) from None
                await asyncio.sleep(waits.after(error_of(error)))
            finally:
                call.cancel()


class AsyncReplay(AsyncIterator[Event]):
    """As `Replay`: `async for` over its events, and steer it from any task meanwhile."""

    def __init__(
        self, start: Callable[[], Any], request: pb.ReplayRequest, retry: Retry, verify: bool
    ) -> None:
        self._start = start
        self._retry = retry
        self._session = session.Session(request, verify=verify)
        self._lock = asyncio.Lock()

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

    async def __anext__(self) -> Event:
        while not self._session.ends_iteration():
            try:
                answer = await _read(self._call)
            except TickreelError as lost:
                return await self._reopen(lost)
            if answer is _EOF:
                break
            event = self._session.event(answer)
            if event is not None:
                return event
        raise StopAsyncIteration

    async def frames(self) -> AsyncIterator[Frame]:
        """The frames alone."""
        async for event in self:
            if isinstance(event, Frame):
                yield event

    async def messages(self, *, exact: bool = False) -> AsyncIterator[Message]:
        """Every message in the order it happened; decimals as doubles, or exact."""
        async for frame in self.frames():
            for message in frame.messages(exact=exact):
                yield message

    async def end(self) -> End:
        """As `Replay.end`."""
        async for event in self:
            if isinstance(event, End):
                self._session.ends_iteration()  # it is told by returning
                return event
        raise Cancelled("the replay ended without an end")

    async def pause(self) -> None:
        """Stands still."""
        await self._send(asking.pause_command())

    async def resume(self) -> None:
        """Plays on."""
        await self._send(asking.resume_command())

    async def speed(self, speed: float) -> None:
        """Plays at another speed; 0: as fast as possible."""
        await self._send(asking.speed_command(speed))

    async def set_stops(self, stops: Stops | None) -> None:
        """As `Replay.set_stops`."""
        await self._send(asking.stops_command(stops))

    async def seek(self, to: Time) -> None:
        """As `Replay.seek`."""
        await self._send(asking.seek_command(to))

    async def step(
        self,
        messages: int | None = None,
        *,
        rows: int | None = None,
        duration: Duration | None = None,
    ) -> None:
        """As `Replay.step`."""
        await self._send(asking.step_command(messages, rows, duration))

    async def finish(self) -> None:
        """As `Replay.finish`."""
        await self._send(asking.close_command())

    async def close(self) -> None:
        """As `Replay.close`."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        """Begins, or goes on, on a new connection."""
        async with self._lock:
            self._call = self._start()
            try:
                for request in self._session.first_requests():
                    await _write(self._call, request)
                answer = await _read(self._call)
                self._session.begin(pb.ReplayResponse() if answer is _EOF else answer)
            except BaseException:
                # Nobody knows of it, so nobody else would end it.
                self._call.cancel()
                raise

    async def _reopen(self, lost: TickreelError) -> Reconnected:
        """Makes a lost connection again, as patiently as `Retry` says."""
        if not self._session.can_go_on(lost):
            raise lost
        waits, error = self._retry.waits(self._retry.replay_attempts), lost
        while True:
            await asyncio.sleep(waits.after(error, passes=self._session.passes(error)))
            try:
                await self._open()
            except TickreelError as failed:
                error = failed
            else:
                return Reconnected(lost)

    async def _send(self, command: pb.ReplayRequest) -> None:
        async with self._lock:
            self._session.sent(command)
            await _write(self._call, command)


class AsyncAppender(AsyncIterator[Appended]):
    """As `Appender`, with `await`."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._call = start()
        self._writing = Writing()

    async def send(self, instrument: str, kind: Kind | str, rows: pa.Table | pa.RecordBatch) -> int:
        """As `Appender.send`."""
        number = self._writing.next_number
        request = append_request(number, instrument, kind, rows)
        self._writing.sent()
        await _write(self._call, request)
        while self._writing.is_full:
            self._writing.keep(await self._read())
        return number

    async def flush(self) -> int:
        """As `Appender.flush`."""
        while not self._writing.is_durable:
            self._writing.keep(await self._read())
        return self._writing.watermark()

    async def __anext__(self) -> Appended:
        kept = self._writing.take()
        if kept is not None:
            return kept
        if self._writing.is_durable:
            raise StopAsyncIteration
        answer = await self._read()
        self._writing.note(answer)
        return answer

    async def close(self) -> None:
        """As `Appender.close`."""
        await _tell(self._call.done_writing())
        while (answer := await _read(self._call)) is not _EOF:
            self._writing.keep(appended_from(answer))
        self._writing.watermark()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.close()
        else:
            self._call.cancel()

    async def _read(self) -> Appended:
        answer = await _read(self._call)
        if answer is _EOF:
            raise Cancelled("the session has ended")
        return appended_from(answer)


async def _read(call: Any) -> Any:
    """The next answer, or EOF."""
    try:
        return await call.read()
    except grpc.RpcError as error:
        raise error_of(error) from None
    except asyncio.CancelledError:
        if _is_cancelled():
            raise
        raise Cancelled("it was closed here") from None


async def _write(call: Any, request: Any) -> None:
    """Sends a request. One that the connection does not take any more is no error here: the next
    answer says why.
    """
    await _tell(call.write(request))


async def _tell(sending: Awaitable[Any]) -> None:
    try:
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            await sending
    except asyncio.CancelledError:
        if _is_cancelled():
            raise


def _is_cancelled() -> bool:
    """Whether somebody cancelled this task. gRPC raises the same in every task that uses a call
    which another task has ended.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
