"""Replays that outlive their connection, stop by themselves, loop, follow, and are shared."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from support import BTC, DERIBIT, MIDNIGHT, Proxy, ServerTest, serve
from test_append import NAME, prints

from tickreel import (
    AsyncClient,
    Book,
    Books,
    Client,
    End,
    Event,
    Frame,
    InvalidArgument,
    Message,
    Metrics,
    NotFound,
    OrderBook,
    Reconnected,
    Refused,
    Replay,
    Retry,
    State,
    Stops,
    TradeRow,
    Unavailable,
    to_ns,
)

SECOND = 10**9
START = to_ns(MIDNIGHT)
SOON = Retry(first_s=0.01)


def same(message: Message) -> tuple[object, ...]:
    return message.instrument, message.kind, message.ts_recv_ns, tuple(message.rows)


def end_of(events: Iterable[Event]) -> End:
    (end,) = (event for event in events if isinstance(event, End))
    return end


class LostConnections(ServerTest):
    def setUp(self) -> None:
        self.proxy = self.enterContext(Proxy(self.url))
        self.near = self.enterContext(Client(self.url))
        self.far = self.enterContext(Client(self.proxy.url, retry=SOON))

    def test_no_row_is_lost_and_none_comes_twice(self) -> None:
        names = [BTC, DERIBIT]
        whole = list(self.near.replay(names, verify=True))
        events: list[Event] = []
        with self.far.replay(names, verify=True, frame_rows=5000) as replay:
            for event in replay:
                events.append(event)
                if isinstance(event, Frame) and len(events) % 40 == 0:
                    self.proxy.cut()
        self.assertGreater(sum(isinstance(event, Reconnected) for event in events), 1)
        self.assertEqual(sum(isinstance(event, Book) for event in events), 2)
        end, expected = end_of(events), end_of(whole)
        self.assertEqual((end.rows, end.stream_rows), (expected.rows, expected.stream_rows))
        self.assertEqual(end.stream_hashes, expected.stream_hashes)
        self.assertEqual(end.hash, expected.hash)
        self.assertIsNotNone(end.hash)

        def messages(of: Iterable[Event]) -> Iterable[tuple[object, ...]]:
            return (same(m) for event in of if isinstance(event, Frame) for m in event.messages())

        for one, other in itertools.zip_longest(messages(events), messages(whole)):
            self.assertEqual(one, other)

    def test_the_async_replay_goes_on_too(self) -> None:
        async def play() -> tuple[int, int, End | None]:
            rows = cuts = 0
            end = None
            client = AsyncClient(self.proxy.url, retry=SOON)
            async with client, await client.replay(BTC, "book", frame_rows=5000) as replay:
                async for event in replay:
                    if isinstance(event, Frame):
                        rows += event.rows
                        if rows // 200_000 > cuts:
                            cuts += 1
                            self.proxy.cut()
                    end = event if isinstance(event, End) else end
            return rows, cuts, end

        rows, cuts, end = asyncio.run(play())
        self.assertGreater(cuts, 2)
        self.assertEqual(rows, self.near.replay(BTC, "book").end().rows)
        assert end is not None
        self.assertEqual((end.rows, end.stream_hashes), (rows, (None,)))

    def test_a_member_comes_back_to_its_place_in_a_shared_replay(self) -> None:
        with self.near.replay(BTC, name="class", paused=True, hashes=True) as near:
            far = self.far.join("class", verify=True, frame_rows=5000)
            self.both_hear_everything(near, far)

    def test_who_opened_a_shared_replay_comes_back_to_it(self) -> None:
        far = self.far.replay(BTC, name="class", paused=True, verify=True, frame_rows=5000)
        with self.near.join("class", hashes=True) as near:
            self.both_hear_everything(near, far)

    def both_hear_everything(self, near: Replay, far: Replay) -> None:
        with far, ThreadPoolExecutor() as threads:
            other = threads.submit(near.end)
            far.resume()
            end = self.end_after_cuts(far)
            self.assertEqual(end.hash, other.result().hash)

    def test_who_is_alone_in_a_shared_replay_opens_it_again(self) -> None:
        with self.far.replay(BTC, name="class", verify=True, frame_rows=5000) as replay:
            self.end_after_cuts(replay)

    def end_after_cuts(self, replay: Replay) -> End:
        """Hears all of it over a connection that is lost now and then."""
        lost = frames = 0
        for event in replay:
            lost += isinstance(event, Reconnected)
            frames += isinstance(event, Frame)
            if isinstance(event, Frame) and frames % 40 == 0:
                self.proxy.cut()
            if isinstance(event, End):
                break
        self.assertGreater(lost, 1)
        expected = self.near.replay(BTC, hashes=True).end()
        self.assertEqual(event, expected)
        return expected

    def test_an_async_member_comes_back_too(self) -> None:
        async def hear() -> End:
            frames = 0
            async with AsyncClient(self.proxy.url, retry=SOON) as client:
                far = await client.join("class", verify=True, frame_rows=5000)
                async with far:
                    await far.resume()
                    async for event in far:
                        frames += isinstance(event, Frame)
                        if isinstance(event, Frame) and frames % 60 == 0:
                            self.proxy.cut()
                        if isinstance(event, End):
                            return event
            raise AssertionError("it did not end")

        with self.near.replay(BTC, name="class", paused=True) as near, ThreadPoolExecutor() as pool:
            other = pool.submit(near.end)
            end = asyncio.run(hear())
            self.assertEqual(end.rows, other.result().rows)
        self.assertEqual(end, self.near.replay(BTC, hashes=True).end())

    def test_who_comes_back_after_a_seek_of_others_is_told(self) -> None:
        with self.near.replay(BTC, name="class", paused=True) as near:
            far = self.enterContext(self.far.join("class", verify=True, frame_rows=5000))
            near.step(rows=50_000)
            before = next(event for event in far if isinstance(event, State))
            self.until_paused(far)
            self.proxy.cut()
            near.seek(MIDNIGHT)
            states = (event for event in near if isinstance(event, State))
            told = next(state for state in states if state.epoch != before.epoch)
            self.assertIsInstance(next(iter(far)), Reconnected)
            moved = next(event for event in far if isinstance(event, State))
            self.assertNotEqual(moved.epoch, before.epoch)
            self.assertEqual(moved.epoch, told.epoch)
            near.resume()
            end = far.end()
        self.assertEqual(end.rows, self.near.replay(BTC, start=MIDNIGHT).end().rows)

    def test_a_seek_after_a_lost_connection_gives_opening_books(self) -> None:
        with self.far.replay(BTC, "book", paused=True) as replay:
            self.assertIsInstance(next(replay), Book)
            replay.step(3)
            self.until_paused(replay)
            self.proxy.cut()
            self.assertIsInstance(next(replay), Reconnected)
            replay.seek(MIDNIGHT)
            replay.resume()
            events = itertools.takewhile(lambda event: not isinstance(event, Frame), replay)
            books = [event for event in events if isinstance(event, Book)]
        self.assertEqual([book.at_ns >= START for book in books], [True])

    def test_what_was_commanded_still_holds(self) -> None:
        with self.far.replay(BTC, "trades", MIDNIGHT, paused=True) as replay:
            replay.step(3)
            first = self.until_paused(replay)
            self.proxy.cut()
            replay.step(2)
            lost = next(event for event in replay if isinstance(event, Reconnected))
            self.assertIsInstance(lost.error, Unavailable)
            replay.step(4)
            second = self.until_paused(replay)
            self.assertEqual((first, second), (3, 4))
            replay.resume()
            total = replay.end().rows
        self.assertEqual(total, self.near.read(BTC, "trades", MIDNIGHT).num_rows)

    def until_paused(self, replay: Iterable[Event]) -> int:
        """Rows until a step is answered and done."""
        rows, states = 0, 0
        for event in replay:
            rows += event.rows if isinstance(event, Frame) else 0
            states += isinstance(event, State)
            if isinstance(event, State) and event.state == "paused":
                return rows
        raise AssertionError("the replay ended")

    def test_who_has_no_patience_gets_the_error(self) -> None:
        hasty = self.enterContext(Client(self.proxy.url, retry=Retry(replay_attempts=1)))
        with hasty.replay(BTC, speed=1) as replay, self.assertRaises(Unavailable):
            for event in replay:
                if isinstance(event, Frame):
                    self.proxy.cut()


class Playing(ServerTest):
    def setUp(self) -> None:
        self.client = self.enterContext(Client(self.url))

    def stops(self, stops: Stops, **options: object) -> list[State]:
        """Where a replay of a book and trades stops; it is told to go on each time."""
        found = []
        with self.client.replay(BTC, ["book", "trades"], stops=stops, **options) as replay:  # type: ignore[arg-type]
            for event in replay:
                if isinstance(event, State) and event.stop is not None:
                    found.append(event)
                    replay.resume()
                if len(found) == 5:
                    break
        return found

    def test_conditions_that_stop_it(self) -> None:
        gaps = self.stops(Stops(gap=True))
        self.assertEqual(
            [state.stop.time_ns for state in gaps if state.stop],
            [gap.since_ns for gap in self.client.coverage(BTC, "book")[0].gaps],
        )
        self.assertTrue(all(state.state == "paused" for state in gaps))
        rows = self.stops(Stops(rows=50_000))
        self.assertEqual(len(rows), 5)
        (at,) = self.stops(Stops(at=MIDNIGHT))
        assert at.stop is not None
        self.assertEqual(
            (at.stop.condition, at.stop.time_ns, at.stop.instrument), ("time", START, None)
        )
        large = self.stops(Stops(trade_qty="0.5"))
        assert large[0].stop is not None
        self.assertEqual((large[0].stop.condition, large[0].stop.instrument), ("trade", BTC))

    def test_a_condition_may_end_it_and_conditions_change(self) -> None:
        with self.client.replay(BTC, "trades", stops=Stops(at=MIDNIGHT, end=True)) as replay:
            self.assertEqual(replay.end().reason, "stopped")
        with self.client.replay(BTC, "trades", paused=True) as replay:
            replay.set_stops(Stops(rows=7))
            replay.resume()
            events = []
            for event in replay:
                events.append(event)
                if isinstance(event, State) and event.stop is not None:
                    break
            self.assertEqual(sum(e.rows for e in events if isinstance(e, Frame)), 7)
            replay.set_stops(Stops(trade_qty="many"))
            refused = next(event for event in replay if isinstance(event, Refused))
            self.assertIsInstance(refused.error, InvalidArgument)

    def test_it_begins_anew(self) -> None:
        ends: list[End] = []
        with self.client.replay(BTC, "trades", loop=True, verify=True) as replay:
            for event in replay:
                if isinstance(event, End):
                    ends.append(event)
                    if len(ends) == 2:
                        break
        self.assertEqual([end.reason for end in ends], ["looped", "looped"])
        self.assertEqual(ends[0].hash, ends[1].hash)

    def test_books_and_metrics_instead_of_rows(self) -> None:
        end = START + 10 * SECOND
        metrics = self.client.sample(BTC, MIDNIGHT, end, Metrics((1, 5), "1s"), exact=True)
        self.assertGreater(metrics.num_rows, 7)
        books = self.client.sample(BTC, MIDNIGHT, end, Books(5, "1s"))
        self.assertEqual(metrics["ts_recv"], books["ts_recv"])
        for row, levels in zip(metrics.to_pylist(), books.to_pylist(), strict=True):
            book = self.client.book(BTC, row["ts_recv"].value, depth=5)
            (bid, bid_qty), (ask, ask_qty) = book.exact_bids[0], book.exact_asks[0]
            self.assertEqual((row["bid_price"], row["ask_qty"]), (bid, ask_qty))
            self.assertEqual(row["mid"], (bid + ask) / 2)
            self.assertEqual(row["bid_depth_5"], sum(qty for _, qty in book.exact_bids))
            expected = float((bid_qty - ask_qty) / (bid_qty + ask_qty))
            self.assertAlmostEqual(row["imbalance_1"], expected)
            self.assertEqual(levels["bid_price"], book.bid_prices.tolist())
        with self.assertRaises(NotFound):
            self.client.sample(BTC, 0, 1)

        async def sample() -> int:
            async with AsyncClient(self.url) as client:
                table = await client.sample(BTC, MIDNIGHT, end, Books(5, "1s"))
                return int(table.num_rows)

        self.assertEqual(asyncio.run(sample()), books.num_rows)

    def test_event_time_is_another_order_of_the_same_rows(self) -> None:
        end = START + 20 * SECOND
        with self.client.replay(
            [BTC, DERIBIT], "trades", MIDNIGHT, end, by_event_time=True
        ) as replay:
            found = [(m.ts_event_ns or 0, same(m)) for m in replay.messages()]
        effective = list(itertools.accumulate((time for time, _ in found), max))
        streams = {BTC: 0, DERIBIT: 0}
        self.assertEqual({message[0] for _, message in found}, set(streams))
        # The sample market's event times never fall within a stream of trades.
        self.assertEqual([time for time, _ in found], effective)

    def test_a_replay_with_a_name_is_shared(self) -> None:
        with self.client.replay(BTC, "trades", MIDNIGHT, paused=True, name="class") as first:
            (told,) = self.client.stats().sessions
            self.assertEqual((told.name, told.members, told.state), ("class", 1, "paused"))
            with self.client.join("class", hashes=True) as second:
                first.resume()
                ends = first.end(), second.end()
                self.assertEqual(ends[0].rows, ends[1].rows)
                first.seek(START + 60 * SECOND)
                first.resume()
                again = first.end(), second.end()
                self.assertEqual(again[0].rows, again[1].rows)
                self.assertLess(again[0].rows, ends[0].rows)
            with self.assertRaises(InvalidArgument):
                self.client.replay(BTC, name="class")
        with self.assertRaises(NotFound):
            self.client.join("nobody")

    def test_it_goes_on_with_rows_as_they_are_stored(self) -> None:
        folder = self.enterContext(TemporaryDirectory())
        url = self.enterContext(serve(Path(folder) / "live.reel", "--append"))
        live = self.enterContext(Client(url))
        writer = self.enterContext(live.append())
        writer.send(NAME, "trades", prints(100, 3))
        writer.flush()
        with live.replay(NAME, follow=True) as replay:
            messages = replay.messages(exact=True)
            found = [next(messages).ts_recv_ns for _ in range(3)]
            writer.send(NAME, "trades", prints(200, 2))
            last = [next(messages), next(messages)]
        self.assertEqual(found + [m.ts_recv_ns for m in last], [100, 101, 102, 200, 201])
        self.assertEqual(
            last[1].rows, [TradeRow("buy", Decimal("61701.20"), Decimal("1.440"), "201")]
        )

    def test_a_kept_book_survives_a_lost_connection(self) -> None:
        proxy = self.enterContext(Proxy(self.url))
        far = self.enterContext(Client(proxy.url, retry=SOON))
        book, frames = OrderBook(BTC), 0
        with far.replay(BTC, "book", MIDNIGHT, START + 60 * SECOND, frame_rows=500) as replay:
            for event in replay:
                if isinstance(event, Book | Frame):
                    book.apply(event)
                    frames += 1
                    if frames % 25 == 0:
                        proxy.cut()
        expected = self.client.book(BTC, START + 60 * SECOND - 1)
        self.assertEqual(book.to_book().exact_bids, expected.exact_bids)
        self.assertEqual(book.to_book().exact_asks, expected.exact_asks)
