from __future__ import annotations

import asyncio
import threading
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import grpc
from support import BTC, DERIBIT, MIDNIGHT, ServerTest, ask, rows
from test_columns import trade_bytes

from tickreel import (
    AsyncClient,
    Book,
    BookRow,
    Cancelled,
    Client,
    End,
    Event,
    Frame,
    GapNotice,
    Internal,
    InvalidArgument,
    Kind,
    NotFound,
    OrderBook,
    OutOfRange,
    Progress,
    ProtocolError,
    Refused,
    State,
    to_ns,
)
from tickreel._proto import tickreel_pb2 as pb
from tickreel._proto.tickreel_pb2_grpc import TickreelServicer, add_TickreelServicer_to_server
from tickreel.columns import decode
from tickreel.hashing import ContentHash, keyed, row_hashes, stream_key
from tickreel.session import Session

SECOND = 10**9
START = to_ns(MIDNIGHT)
OPEN = pb.ReplayRequest(open=pb.ReplayOpen())


class Replays(ServerTest):
    def setUp(self) -> None:
        self.client = self.enterContext(Client(self.url))

    def test_counts_and_hashes_are_those_of_the_store(self) -> None:
        stored = ask("replay", DERIBIT, BTC, "--hash")
        with self.client.replay([BTC, DERIBIT], verify=True) as replay:
            names = [(stream.instrument, stream.kind) for stream in replay.streams]
            end = replay.end()
            self.assertEqual(list(replay), [])
        self.assertEqual(
            (end.rows, f"{end.hash:016x}", end.reason), (stored["rows"], stored["hash"], "last_row")
        )
        found = {
            name: (count, f"{digest:016x}")
            for name, count, digest in zip(names, end.stream_rows, end.stream_hashes, strict=True)
        }
        self.assertEqual(
            found,
            {(s["instrument"], s["kind"]): (s["rows"], s["hash"]) for s in stored["streams"]},
        )

    def test_events_and_messages(self) -> None:
        with self.client.replay(
            BTC, ["book", "status"], "2026-01-05T23:56:40Z", "2026-01-05T23:56:41Z"
        ) as replay:
            events = list(replay)
        self.assertIsInstance(events[0], Book)
        self.assertIsInstance(events[-1], End)
        gaps = [event for event in events if isinstance(event, GapNotice)]
        self.assertIn((BTC, "book"), [(gap.instrument, gap.kind) for gap in gaps])
        frames = [event for event in events if isinstance(event, Frame)]
        self.assertTrue(all(frame.first_ns <= frame.last_ns for frame in frames))

        bounds = ("--from", MIDNIGHT, "--to", str(START + SECOND))
        stored = rows(BTC, "--kind", "book", *bounds)
        with self.client.replay({BTC: "book"}, None, MIDNIGHT, START + SECOND) as replay:
            messages = list(replay.messages(exact=True))
        found = [(m.ts_recv_ns, m.ts_event_ns, m.snapshot, row) for m in messages for row in m.rows]
        for (ts_recv, ts_event, snapshot, row), line in zip(found, stored, strict=True):
            self.assertEqual((ts_recv, ts_event), (line["ts_recv_ns"], line["ts_event_ns"]))
            self.assertEqual(snapshot, "SNAPSHOT" in line["flags"])
            assert isinstance(row, BookRow)
            self.assertEqual((row.action, row.side), (line["action"], line["side"]))
            self.assertEqual((row.price, row.qty), (Decimal(line["price"]), Decimal(line["qty"])))

    def test_messages_of_all_streams_are_in_the_total_order(self) -> None:
        with self.client.replay([DERIBIT, BTC], None, MIDNIGHT, START + 5 * SECOND) as replay:
            messages = [(m.ts_recv_ns, m.instrument, m.kind) for m in replay.messages()]
        self.assertEqual([time for time, _, _ in messages], sorted(time for time, _, _ in messages))
        self.assertEqual({name for _, name, _ in messages}, {DERIBIT, BTC})

    def test_a_book_kept_from_a_replay_is_the_servers(self) -> None:
        for start in (None, MIDNIGHT, "2026-01-05T23:56:40.373418350Z"):
            book = OrderBook(BTC)
            with self.client.replay(
                BTC, "book", start, START + 7 * SECOND, frame_rows=5000
            ) as replay:
                for event in replay:
                    if isinstance(event, Book | Frame):
                        book.apply(event)
            expected, found = self.client.book(BTC, START + 7 * SECOND - 1), book.to_book()
            self.assertEqual(found.exact_bids, expected.exact_bids)
            self.assertEqual(found.exact_asks, expected.exact_asks)
            self.assertEqual((found.state, found.ts_recv_ns), (expected.state, expected.ts_recv_ns))

    def test_controls_while_it_runs(self) -> None:
        with self.client.replay(BTC, "trades", MIDNIGHT, paused=True) as replay:
            replay.step(3)
            self.assertEqual(self.rows_until(replay, "paused"), 3)
            replay.step(rows=5)
            self.assertEqual(self.rows_until(replay, "paused"), 5)
            replay.seek(START + 60 * SECOND)
            self.assertEqual(self.rows_until(replay, "paused"), 0)
            replay.step(duration="1s")
            expected = self.client.read(BTC, "trades", START + 60 * SECOND, START + 61 * SECOND)
            self.assertAlmostEqual(self.rows_until(replay, "paused"), expected.num_rows, delta=60)
            replay.finish()
            end = list(replay)[-1]
            assert isinstance(end, End)
            self.assertEqual(end.reason, "closed")

    def rows_until(self, replay: object, state: str) -> int:
        """Rows until the last command is answered and the replay stands still again."""
        rows = 0
        answered = False
        for event in replay:  # type: ignore[attr-defined]
            if isinstance(event, Frame):
                rows += event.rows
            if isinstance(event, State):
                done = answered or event.state == state
                answered = True
                if done and event.state == state:
                    return rows
        raise AssertionError("the replay ended")

    def test_hashes_computed_here_are_the_servers_after_a_seek_too(self) -> None:
        names = self.client.instruments().names
        with self.client.replay(names, verify=True, frame_rows=20_000) as replay:
            self.assertIsNotNone(replay.end().hash)
            replay.seek(MIDNIGHT)
            replay.resume()
            self.assertEqual(len(replay.end().stream_hashes), 25)

    def test_a_seek_after_the_end_goes_on(self) -> None:
        with self.client.replay(BTC, "trades") as replay:
            all_rows = replay.end().rows
            replay.seek(MIDNIGHT)
            replay.resume()
            again = replay.end()
        self.assertEqual(again.rows, self.client.read(BTC, "trades", MIDNIGHT).num_rows)
        self.assertLess(again.rows, all_rows)

    def test_another_thread_steers(self) -> None:
        with self.client.replay(BTC, "trades", MIDNIGHT, speed=1.0) as replay:
            hurry = threading.Timer(0.2, lambda: replay.speed(0))
            hurry.start()
            states: list[Event] = [e for e in replay if isinstance(e, State | Progress | End)]
            hurry.join()
        self.assertIn(0.0, [e.speed for e in states if isinstance(e, State)])
        self.assertIsInstance(states[-1], End)

    def test_what_is_refused(self) -> None:
        with self.client.replay(BTC, "trades", MIDNIGHT, paused=True) as replay:
            replay.seek(0)
            refused = next(event for event in replay if isinstance(event, Refused))
            self.assertIsInstance(refused.error, OutOfRange)
            replay.resume()
            self.assertGreater(replay.end().rows, 0)
            with self.assertRaises(InvalidArgument):
                replay.step(1, rows=2)
        with self.assertRaises(NotFound):
            self.client.replay("deribit:NOPE")
        with self.assertRaises(InvalidArgument):
            self.client.replay({BTC: "book"}, "trades")

    def test_one_that_fails_leaves_no_thread_behind(self) -> None:
        before = set(threading.enumerate())
        for _ in range(5):
            with self.assertRaises(NotFound):
                self.client.replay("deribit:NOPE")
            with self.assertRaises(NotFound):
                self.client.join("nobody")
        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=10)
            self.assertFalse(thread.is_alive())

    def test_leaving_early_ends_it(self) -> None:
        for _ in range(40):  # more than may be open at a time
            with self.client.replay(BTC) as replay:
                next(iter(replay))
        self.assertGreater(self.client.stats().requests, 40)


class AsyncReplays(ServerTest):
    def test_the_async_replay_is_the_same(self) -> None:
        asyncio.run(self.play())

    async def play(self) -> None:
        async with AsyncClient(self.url) as client:
            async with await client.replay(DERIBIT, hashes=True) as replay:
                end = await replay.end()
            stored = ask("replay", DERIBIT, "--hash")
            self.assertEqual((end.rows, f"{end.hash:016x}"), (stored["rows"], stored["hash"]))
            async with await client.replay(BTC, "trades", MIDNIGHT, paused=True) as replay:
                task = asyncio.create_task(self.count(replay.messages()))
                await replay.step(7)
                await replay.resume()
                self.assertEqual(await task, (await client.read(BTC, "trades", MIDNIGHT)).num_rows)
                await replay.seek(MIDNIGHT)
                await replay.pause()
                await replay.finish()
                self.assertEqual((await replay.end()).reason, "closed")
            with self.assertRaises(NotFound):
                await client.replay("deribit:NOPE")

    def test_a_task_hears_that_another_closed_the_replay(self) -> None:
        async def close() -> None:
            async with AsyncClient(self.url) as client:
                replay = await client.replay(BTC, "trades", MIDNIGHT, paused=True)
                reading = asyncio.create_task(replay.end())
                await asyncio.sleep(0)
                await replay.close()
                with self.assertRaises(Cancelled):
                    await reading
                await replay.resume()  # as every command to one that is over
                with self.assertRaises(Cancelled):
                    await anext(replay)

        asyncio.run(close())

    def test_a_task_that_is_cancelled_is(self) -> None:
        async def cancel() -> None:
            async with (
                AsyncClient(self.url) as client,
                await client.replay(BTC, "trades", MIDNIGHT, paused=True) as replay,
            ):
                reading = asyncio.create_task(replay.end())
                await asyncio.sleep(0)
                reading.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await reading

        asyncio.run(cancel())

    async def count(self, messages: object) -> int:
        return len([message async for message in messages])  # type: ignore[attr-defined]


class Silent(TickreelServicer):
    """A server that ends every replay before it is opened."""

    def Replay(self, requests: object, context: object) -> Iterator[pb.ReplayResponse]:  # noqa: N802
        return iter(())


class NotOpened(unittest.TestCase):
    def test_a_replay_that_ends_before_it_is_opened_is_an_error(self) -> None:
        server = grpc.server(ThreadPoolExecutor(1))
        add_TickreelServicer_to_server(Silent(), server)
        url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        with Client(url) as client, self.assertRaises(ProtocolError):
            client.replay(BTC)

        async def replay() -> None:
            async with AsyncClient(url) as client:
                # Under load grpcio may lose the status of a call that ends while it is written to.
                with self.assertRaises((ProtocolError, Internal)):
                    await client.replay(BTC)

        asyncio.run(replay())


class Counting(unittest.TestCase):
    def test_rows_that_are_not_the_servers_are_noticed(self) -> None:
        for wrong in (0, 1):
            session = Session(OPEN, verify=True)
            stream = pb.OpenedStream(instrument="x:Y", kind=pb.KIND_TRADES)
            session.begin(pb.ReplayResponse(opened=pb.ReplayOpened(streams=[stream])))
            chunk = pb.ReplayChunk(messages=2, rows=2, data=trade_bytes((5, 6 + wrong)))
            frame = pb.ReplayFrame(chunks=[chunk], run_streams=[0], run_messages=[2], rows=2)
            session.event(pb.ReplayResponse(frame=frame))
            rows = row_hashes(decode(0, "x:Y", Kind.TRADES, trade_bytes()))
            hashed, whole = ContentHash(), ContentHash()
            hashed.update_rows(rows)
            whole.update_rows(keyed(rows, stream_key("x:Y", Kind.TRADES)))
            total = pb.StreamTotal(rows=2, hash=hashed.value)
            end = pb.ReplayEnd(
                reason=pb.ReplayEnd.REASON_LAST_ROW, rows=2, streams=[total], hash=whole.value
            )
            if wrong:
                with self.assertRaises(ProtocolError):
                    session.event(pb.ReplayResponse(end=end))
                continue
            self.assertIsInstance(session.event(pb.ReplayResponse(end=end)), End)
            end.hash += 1
            with self.assertRaises(ProtocolError):
                session.event(pb.ReplayResponse(end=end))

    def test_an_end_that_does_not_add_up_is_an_error(self) -> None:
        session = Session(OPEN)
        stream = pb.OpenedStream(instrument="x:Y", kind=pb.KIND_TRADES)
        session.begin(pb.ReplayResponse(opened=pb.ReplayOpened(streams=[stream])))
        last = pb.ReplayEnd.REASON_LAST_ROW
        fine = pb.ReplayEnd(reason=last, streams=[pb.StreamTotal(rows=0)])
        self.assertIsInstance(session.event(pb.ReplayResponse(end=fine)), End)
        wrong = pb.ReplayEnd(reason=last, rows=1, streams=[pb.StreamTotal(rows=1)])
        with self.assertRaises(ProtocolError):
            session.event(pb.ReplayResponse(end=wrong))
        with self.assertRaises(ProtocolError):
            session.event(pb.ReplayResponse())
        with self.assertRaises(ProtocolError):
            Session(OPEN).begin(pb.ReplayResponse())


if __name__ == "__main__":
    unittest.main()
