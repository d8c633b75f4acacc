"""Every model against cases worked out by hand."""

from __future__ import annotations

import statistics
import tracemalloc
import unittest
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from unittest import mock

import numpy as np
from market import NAME, Market
from support import BTC, MIDNIGHT, ServerTest

from tickreel import Client, InvalidArgument, NotFound, OrderBook, to_ns
from tickreel.backtest import (
    Backtest,
    CancelShare,
    ConstantLatency,
    Context,
    Fees,
    Fill,
    Order,
    OrderState,
    Proportional,
    QueueModel,
    RecordedLatency,
    Result,
    Strategy,
    Trade,
    tables,
)
from tickreel.backtest.result import YEAR_NS, drawdowns, max_drawdown, sharpe_ratio

SECOND = 10**9
Act = Callable[[Context], object]


class Scripted(Strategy):
    """Does what it is told at times, and notes what it hears."""

    def __init__(self, script: dict[int, Act]) -> None:
        self.script = script
        self.heard: list[tuple[int, Any]] = []
        self.orders: list[Order] = []

    def on_start(self, ctx: Context) -> None:
        for time in self.script:
            ctx.at(time, str(time))

    def on_timer(self, ctx: Context, name: str) -> None:
        made = self.script[int(name)](ctx)
        if isinstance(made, Order):
            self.orders.append(made)

    def on_order(self, ctx: Context, order: Order) -> None:
        self.heard.append((ctx.now_ns, f"{order.number} {order.state}"))

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        price, qty = int(fill.price), int(fill.qty)
        self.heard.append((ctx.now_ns, f"{fill.order.number}: {qty} at {price}"))


def start() -> Market:
    """Bids 100 x 10, 99 x 5; asks 101 x 2, 102 x 3, 103 x 5; at time 0."""
    return Market().snapshot(0, {100: 10, 99: 5}, {101: 2, 102: 3, 103: 5})


def play(market: Market, script: dict[int, Act], **models: Any) -> tuple[Result, Scripted]:
    strategy = Scripted(script)
    return Backtest(strategy, capital=1000, sample=1, **models).run(market), strategy


def fills(result: Result) -> list[tuple[int, str, int, int, bool]]:
    return [
        (fill.ts_ns, str(fill.order.side), int(fill.price), int(fill.qty), fill.maker)
        for fill in result.fill_list
    ]


def buy(qty: int, price: int | None = None, post_only: bool = False) -> Act:
    return lambda ctx: ctx.buy(NAME, qty, price, post_only=post_only)


def sell(qty: int, price: int | None = None) -> Act:
    return lambda ctx: ctx.sell(NAME, qty, price)


class MarketOrders(unittest.TestCase):
    def test_an_order_walks_the_book_and_pays_for_it(self) -> None:
        market = start().levels(20, {99: 6})
        result, _ = play(market, {10: buy(4)}, fees=Fees.of(taker="0.001"))
        self.assertEqual(fills(result), [(10, "buy", 101, 2, False), (10, "buy", 102, 2, False)])
        # The middle was 100.5: 2 x 0.5 + 2 x 1.5. The worth is 2 x 101 + 2 x 102.
        self.assertEqual(result.slippage, Decimal(4))
        self.assertAlmostEqual(result.slippage_bps or 0, 4 / 406 * 1e4)
        self.assertEqual((result.turnover, result.fees), (Decimal(406), Decimal("0.406")))
        # 4 at the middle of 100.5 are worth 402.
        self.assertEqual(result.pnl, Decimal("402") - Decimal("406.406"))

    def test_what_the_book_has_not_is_cancelled(self) -> None:
        result, strategy = play(start().levels(20), {10: sell(20)})
        self.assertEqual(fills(result), [(10, "sell", 100, 10, False), (10, "sell", 99, 5, False)])
        (order,) = strategy.orders
        self.assertEqual((order.state, order.filled), (OrderState.CANCELLED, 15))
        self.assertIn("deep", order.reason)

    def test_what_was_taken_is_gone_until_the_venue_writes_the_level_anew(self) -> None:
        market = start().levels(15, {99: 6}).levels(25, asks={101: 2}).levels(40)
        result, _ = play(market, {10: buy(4), 20: buy(2), 30: buy(2)})
        self.assertEqual(
            [fill[2:4] for fill in fills(result)],
            [(101, 2), (102, 2), (102, 1), (103, 1), (101, 2)],
        )

    def test_nothing_is_traded_on_a_book_that_is_not_live(self) -> None:
        market = start().gap(5).levels(20)
        result, strategy = play(market, {10: buy(1)})
        self.assertEqual((fills(result), result.rejected), ([], 1))
        self.assertEqual(strategy.orders[0].reason, "the book is stale")


class LimitOrders(unittest.TestCase):
    def test_it_takes_what_its_price_allows_and_rests_with_the_rest(self) -> None:
        market = start().levels(15, asks={101: 0, 102: 0}).trade(20, "sell", 102, 4).levels(30)
        result, strategy = play(market, {10: buy(7, 102)}, fees=Fees.of("-0.0001", "0.0004"))
        self.assertEqual(
            fills(result),
            [(10, "buy", 101, 2, False), (10, "buy", 102, 3, False), (20, "buy", 102, 2, True)],
        )
        self.assertEqual(result.fees, Decimal("0.0004") * 508 - Decimal("0.0001") * 204)
        self.assertEqual(
            strategy.heard,
            [(10, "1: 2 at 101"), (10, "1: 3 at 102"), (10, "1 open"), (20, "1: 2 at 102"),
             (20, "1 filled")],
        )  # fmt: skip

    def test_post_only_is_rejected_if_it_would_take(self) -> None:
        script = {10: buy(1, 101, post_only=True), 11: buy(1, 100, post_only=True)}
        result, strategy = play(start().levels(20), script)
        states = [order.state for order in strategy.orders]
        self.assertEqual(states, [OrderState.REJECTED, OrderState.OPEN])
        self.assertEqual((result.orders, result.rejected, result.trades), (2, 1, 0))

    def test_a_cancelled_order_is_not_filled(self) -> None:
        strategy = Scripted({10: buy(5, 100)})
        strategy.script[15] = lambda ctx: ctx.cancel(strategy.orders[0])
        market = start().trade(20, "sell", 99, 50).levels(30)
        result = Backtest(strategy).run(market)
        self.assertEqual((result.trades, strategy.orders[0].state), (0, OrderState.CANCELLED))

    def test_the_other_side_coming_to_it_fills_it_at_its_price(self) -> None:
        market = (
            start().levels(20, asks={100: 2, 99: 1}).levels(25, {98: 1}).levels(30, asks={100: 4})
        )
        result, _ = play(market, {10: buy(5, 100)})
        # 99 x 1 and 100 x 2 come; then nothing new; then 4 more, of which 2 are needed.
        self.assertEqual(
            fills(result),
            [(20, "buy", 100, 1, True), (20, "buy", 100, 2, True), (30, "buy", 100, 2, True)],
        )

    def test_a_finer_book_keeps_orders_where_they_are(self) -> None:
        market = (
            start().levels(20, {1000: 120}, scales=(1, 1)).trade(25, "sell", 100, 11).levels(30)
        )
        result, _ = play(market, {10: buy(5, 100)})
        # Two more come behind it: 10 are before it, so 1 of 11 is its.
        self.assertEqual(fills(result), [(25, "buy", 100, 1, True)])

    def test_a_book_that_is_loaded_again_keeps_orders_where_they_are(self) -> None:
        market = start()
        again = OrderBook(NAME)
        for frame in market:
            again.apply(frame)
        market.levels(20, {1000: 120}, scales=(1, 1))
        events = [*market, again.to_book(), *Market().trade(25, "sell", 100, 12).levels(30)]
        result = Backtest(Scripted({10: buy(5, 100)})).run(events)
        self.assertEqual(fills(result), [(25, "buy", 100, 2, True)])


class Queues(unittest.TestCase):
    def filled(self, queue: QueueModel, *, printed: int = 7) -> int:
        """10 are before a bid of 5; 4 of them trade, 14 come behind, then 4 are cancelled."""
        market = start().trade(20, "sell", 100, 4).levels(21, {100: 6}).levels(22, {100: 20})
        market.levels(23, {100: 16}).trade(24, "sell", 100, printed).levels(30)
        result, _ = play(market, {10: buy(5, 100)}, queue=queue)
        return sum(fill[3] for fill in fills(result))

    def test_cancellations_before_an_order_are_those_of_the_model(self) -> None:
        # 6 are before it; of the 4 cancelled 0, 2, 1 (4 x 6 / 20 is 1.2) or 4 were.
        for queue, before in (
            (CancelShare(0), 6), (CancelShare(0.5), 4), (Proportional(), 5), (CancelShare(1), 2),
        ):  # fmt: skip
            self.assertEqual(self.filled(queue), min(5, 7 - before))
            self.assertEqual(self.filled(queue, printed=before), 0)

    def test_no_more_is_before_it_than_is_displayed(self) -> None:
        market = start().levels(20, {100: 3}).trade(21, "sell", 100, 4).levels(30)
        result, _ = play(market, {10: buy(5, 100)})
        self.assertEqual(fills(result), [(21, "buy", 100, 1, True)])

    def test_prints_are_shared_by_our_orders_in_their_order(self) -> None:
        market = start().levels(15, {100: 12}).trade(20, "sell", 100, 13).levels(30)
        result, _ = play(market, {10: buy(1, 100), 16: buy(5, 100)})
        # The first has 10 before it and is filled; the second has 12, and 12 are left of 13.
        self.assertEqual([(f.order.number, int(f.qty)) for f in result.fill_list], [(1, 1)])

    def test_a_print_beyond_its_price_fills_it_but_never_more_than_was_printed(self) -> None:
        market = start().trade(20, "sell", 99, 3).trade(21, "buy", 99, 50).levels(30)
        result, _ = play(market, {10: buy(5, 100)})
        self.assertEqual(fills(result), [(20, "buy", 100, 3, True)])

    def test_a_print_of_unknown_side_may_meet_either(self) -> None:
        market = start().trade(20, "unknown", 99, 3).trade(21, "unknown", 104, 2).levels(30)
        result, _ = play(market, {10: buy(5, 100), 11: sell(5, 103)})
        self.assertEqual(fills(result), [(20, "buy", 100, 3, True), (21, "sell", 103, 2, True)])

    def test_better_orders_meet_a_print_first(self) -> None:
        market = Market().snapshot(0, {90: 1}, {110: 1}).trade(20, "sell", 95, 4).levels(30)
        result, _ = play(market, {10: buy(3, 95), 11: buy(3, 96)})
        self.assertEqual([fill[2:4] for fill in fills(result)], [(96, 3), (95, 1)])


class Latencies(unittest.TestCase):
    def test_an_order_meets_the_book_as_it_is_when_it_arrives(self) -> None:
        # Decided at 10; with 10 on the way, the change at 15 is before it and that at 20 is not.
        market = start().levels(15, asks={101: 0}).levels(20, asks={102: 0}).levels(60)
        late, strategy = play(market, {10: buy(1)}, latency=ConstantLatency(10, 30))
        self.assertEqual(fills(late), [(20, "buy", 102, 1, False)])
        self.assertEqual(strategy.heard, [(50, "1: 1 at 102"), (50, "1 filled")])
        # 102 is 1.5 from the middle that was seen when it was decided.
        self.assertEqual(late.slippage, Decimal("1.5"))
        prompt, _ = play(market, {10: buy(1)})
        self.assertEqual(fills(prompt), [(10, "buy", 101, 1, False)])

    def test_the_feed_is_late_too(self) -> None:
        # What is seen at 25 happened at 20, when the order arrives.
        market = start().levels(15, asks={101: 0}).levels(24, asks={102: 0}).levels(60)
        latency = ConstantLatency(10, 30, feed=5)
        result, strategy = play(market, {10: buy(1)}, latency=latency)
        self.assertEqual(fills(result), [(25, "buy", 103, 1, False)])
        self.assertEqual(strategy.heard[0], (50, "1: 1 at 103"))

    def test_nothing_is_heard_before_the_message_that_caused_it(self) -> None:
        market = start().trade(40, "sell", 99, 1).levels(60)
        latency = ConstantLatency(0, 3, feed=20)
        _, strategy = play(market, {10: buy(1, 100)}, latency=latency)
        self.assertEqual(strategy.heard, [(30, "1 open"), (40, "1: 1 at 100"), (40, "1 filled")])

    def test_recorded_latency_is_that_of_the_last_message(self) -> None:
        # The print at 8 took 3: the order decided at 10 is there at 10 + (3 + 2) + 3 = 18.
        market = start().trade(8, "buy", 101, 1, ts_event_ns=5)
        market.levels(17, asks={101: 0}).levels(19, asks={102: 0}).levels(60)
        latency = RecordedLatency(2, 6)
        result, strategy = play(market, {10: buy(1)}, latency=latency)
        self.assertEqual(fills(result), [(18, "buy", 102, 1, False)])
        # The message at 17 took 1: it is heard at 18 - 1 + (1 + 6).
        self.assertEqual(strategy.heard[0], (24, "1: 1 at 102"))

    def test_nothing_overtakes_what_was_sent_before_it(self) -> None:
        # The print at 8 took 8: an order decided at 10 is there at 26. The print at 12 took 0: what
        # is decided at 13 would be there at once, and waits for the order.
        market = start().trade(8, "buy", 101, 1, ts_event_ns=0)
        market.trade(12, "buy", 101, 1, ts_event_ns=12).trade(30, "sell", 99, 50).levels(60)
        strategy = Scripted({10: buy(5, 100)})
        strategy.script[13] = lambda ctx: ctx.cancel(strategy.orders[0])
        result = Backtest(strategy, latency=RecordedLatency()).run(market)
        self.assertEqual((result.trades, strategy.orders[0].state), (0, OrderState.CANCELLED))
        self.assertEqual(strategy.heard, [(26, "1 open"), (26, "1 cancelled")])

    def test_a_strategy_knows_only_what_it_heard(self) -> None:
        positions: dict[int, Decimal] = {}
        states: list[OrderState] = []
        strategy = Scripted({10: buy(1)})

        def look(ctx: Context) -> None:
            positions[ctx.now_ns] = ctx.position(NAME)
            states.append(strategy.orders[0].state)

        strategy.script |= {15: look, 25: look, 31: look}
        Backtest(strategy, latency=ConstantLatency(10, 10)).run(start().levels(60))
        self.assertEqual(positions, {15: 0, 25: 0, 31: 1})
        self.assertEqual(states, [OrderState.SENT, OrderState.SENT, OrderState.FILLED])

    def test_no_latency_is_negative(self) -> None:
        for wrong in (lambda: ConstantLatency(-1), lambda: RecordedLatency(0, "-1s")):
            with self.assertRaises(InvalidArgument):
                wrong()


class Figures(unittest.TestCase):
    def test_round_trips_are_from_flat_to_flat_and_through_zero(self) -> None:
        market = Market().snapshot(0, {100: 50}, {101: 50})
        market.snapshot(20, {110: 50}, {111: 50}).snapshot(40, {105: 50}, {106: 50}).levels(60)
        # Long 2 at 101; 5 sold at 110: 2 close (+18), 3 open; closed at 106 (+12); 1 lost on 1.
        script = {10: buy(2), 30: sell(5), 50: buy(3), 51: buy(1), 52: sell(1)}
        result, _ = play(market, script)
        self.assertEqual(result.account.trips, [Decimal(18), Decimal(12), Decimal(-1)])
        self.assertEqual((result.round_trips, result.win_rate), (3, 2 / 3))
        self.assertEqual((result.pnl, result.total_return), (Decimal(29), 0.029))
        with_fees, _ = play(market, script, fees=Fees.of(0, "0.01"))
        # 2 x 101, 5 x 110, 3 x 106, 106 and 105: the fee of the turn is parted as its quantity is.
        expected = [
            Decimal(18) - Decimal("2.02") - Decimal("2.20"),
            Decimal(12) - Decimal("3.30") - Decimal("3.18"),
            Decimal(-1) - Decimal("1.06") - Decimal("1.05"),
        ]
        self.assertEqual(with_fees.account.trips, expected)
        self.assertEqual(sum(expected), with_fees.pnl)

    def test_equity_is_sampled_before_what_happens_at_its_time(self) -> None:
        market = (
            start().levels(2, {100: 0, 99: 0, 104: 1}, {101: 0, 102: 0, 103: 0, 106: 1}).levels(4)
        )
        result, _ = play(market, {1: buy(1)})
        self.assertEqual(result.times_ns.tolist(), [0, 1, 2, 3, 4])
        # Bought at 101 at time 1; the middle is 100.5, then from time 2 on 105.
        self.assertEqual(result.equity.tolist(), [1000, 1000, 999.5, 1004, 1004])
        self.assertEqual(result.positions[NAME].tolist(), [0, 0, 1, 1, 1])
        self.assertEqual(result.equity_curve.column_names, ["ts", "equity", "drawdown"])

    def test_many_samples_need_little_memory(self) -> None:
        count = 300_000
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        market = start().levels(count // 2).levels(count)
        result, _ = play(market, {10: buy(1), count - 10: sell(1)})
        self.assertLess(tracemalloc.get_traced_memory()[1], 100 * count)
        self.assertEqual(result.times_ns.tolist(), list(range(count + 1)))
        expected = np.zeros(count + 1)
        expected[11 : count - 9] = 1
        np.testing.assert_array_equal(result.positions[NAME], expected)
        self.assertEqual(
            result.equity.tolist(), [1000.0] * 11 + [999.5] * (count - 20) + [999.0] * 10
        )

    def test_more_samples_than_there_may_be_are_refused(self) -> None:
        with mock.patch("tickreel.backtest.curve.SAMPLES_MAX", 100):
            self.assertEqual(len(play(start().levels(50).levels(99), {})[0].times_ns), 100)
            with self.assertRaisesRegex(InvalidArgument, "50 samples of equity from 51 on"):
                play(start().levels(50).levels(100), {})
        with self.assertRaises(InvalidArgument):
            play(start().levels(2**62), {})

    def test_a_fill_after_the_last_sample_is_of_an_instrument_too(self) -> None:
        result, _ = play(start().trade(20, "sell", 99, 3), {10: buy(1, 100)})
        self.assertEqual(result.trades, 1)
        self.assertEqual(result.positions[NAME].tolist(), [0.0] * 21)

    def test_drawdown(self) -> None:
        equity = np.array([100.0, 110.0, 99.0, 120.0, 90.0, 130.0])
        np.testing.assert_allclose(drawdowns(equity), [0, 0, 0.1, 0, 0.25, 0])
        self.assertEqual(max_drawdown(equity), 0.25)

    def test_sharpe(self) -> None:
        equity = np.array([100.0, 110.0, 99.0, 118.8])
        returns = [0.1, -0.1, 0.2]
        a_day = 86_400 * SECOND
        expected = statistics.mean(returns) / statistics.stdev(returns) * 365**0.5
        self.assertAlmostEqual(sharpe_ratio(equity, a_day) or 0, expected)
        self.assertEqual(YEAR_NS // a_day, 365)
        self.assertIsNone(sharpe_ratio(np.array([1.0, 1.0, 1.0]), a_day))
        self.assertIsNone(sharpe_ratio(np.array([1.0, 2.0]), a_day))

    def test_a_closer_last_sample_is_no_return_of_an_interval(self) -> None:
        strategy = Scripted({})
        result = Backtest(strategy, sample=4).run(start().levels(9))
        self.assertEqual(result.times_ns.tolist(), [0, 4, 8, 9])
        self.assertIsNone(result.sharpe)

    def test_the_table_of_fills(self) -> None:
        market = start().levels(20)
        result, _ = play(market, {10: buy(3), 11: sell(1)}, fees=Fees.of(taker="0.0005"))
        table = result.fills
        self.assertEqual(table["price"].to_pylist(), [101, 102, 100])
        self.assertEqual(
            table["fee"].to_pylist(), [Decimal("0.1010"), Decimal("0.051"), Decimal("0.05")]
        )
        self.assertEqual(table["side"].to_pylist(), ["buy", "buy", "sell"])
        self.assertEqual(
            table["slippage"].to_pylist(), [Decimal(1), Decimal("1.5"), Decimal("0.5")]
        )
        self.assertIn("round trips", repr(result))
        self.assertTrue(result._repr_html_().startswith("<table>"))

    def test_nothing_happened(self) -> None:
        result, _ = play(start().levels(10), {})
        self.assertEqual((result.pnl, result.trades, result.win_rate), (0, 0, None))
        self.assertEqual(
            (result.fills.num_rows, result.max_drawdown, result.sharpe), (0, 0.0, None)
        )
        empty, _ = play(Market(), {})
        self.assertEqual(empty.pnl, 0)

    def test_a_plot(self) -> None:
        import matplotlib

        matplotlib.use("Agg")
        result, _ = play(start().levels(10), {5: buy(1)})
        self.assertEqual(len(result.plot().axes), 3)

    def test_time_that_goes_back_is_refused(self) -> None:
        with self.assertRaisesRegex(InvalidArgument, "x:Y trades: .* of 19, .* of 20: .* ts_recv"):
            play(start().levels(20).trade(19, "buy", 101, 1), {})
        self.assertEqual(play(start().levels(20).trade(20, "buy", 101, 1), {})[0].trades, 0)

    def test_wrong_orders_and_settings(self) -> None:
        def refuse(act: Act, error: type[Exception]) -> None:
            with self.assertRaises(error):
                play(start().levels(20), {10: act})

        refuse(buy(0), InvalidArgument)
        refuse(lambda ctx: ctx.buy(NAME, 1, post_only=True), InvalidArgument)
        refuse(lambda ctx: ctx.buy(NAME, float("nan")), InvalidArgument)
        refuse(lambda ctx: ctx.buy(NAME, "1e-19"), InvalidArgument)
        refuse(lambda ctx: ctx.buy("x:Z", 1), NotFound)
        refuse(lambda ctx: ctx.every(0), InvalidArgument)
        for settings in ({"capital": 0}, {"sample": 0}):
            with self.assertRaises(InvalidArgument):
                Backtest(Strategy(), **settings)  # type: ignore[arg-type]
        with self.assertRaises(InvalidArgument):
            CancelShare(1.1)


class Callbacks(unittest.TestCase):
    def test_timers_trades_and_books_come_in_order(self) -> None:
        heard: list[str] = []

        class Listener(Strategy):
            def on_start(self, ctx: Context) -> None:
                ctx.every(10, "tick")

            def on_timer(self, ctx: Context, name: str) -> None:
                heard.append(f"{name} {ctx.now_ns}")

            def on_book(self, ctx: Context, book: OrderBook) -> None:
                heard.append(f"book {ctx.now_ns} {book.best_bid}")

            def on_trade(self, ctx: Context, trade: Trade) -> None:
                heard.append(f"{trade.side} {trade.qty} at {trade.price}")

            def on_end(self, ctx: Context) -> None:
                heard.append("end")

        Backtest(Listener()).run(start().trade(10, "buy", 101, 3).levels(25, {100: 0}))
        self.assertEqual(
            heard,
            ["book 0 100", "tick 10", "buy 3 at 101", "tick 20", "book 25 99", "end"],
        )


class Taker(Strategy):
    """Buys and sells one after the other, every second."""

    def on_start(self, ctx: Context) -> None:
        ctx.every("1s")

    def on_timer(self, ctx: Context, name: str) -> None:
        (ctx.sell if ctx.position(BTC) > 0 else ctx.buy)(BTC, "0.002")


class OnTheSampleMarket(ServerTest):
    def test_a_replay_and_tables_give_the_same_result_every_time(self) -> None:
        end = to_ns(MIDNIGHT) + 30 * SECOND
        # Tables have no opening book: begin where the market does, with a snapshot.
        begin = to_ns("2026-01-05T23:50:00Z")
        with Client(self.url) as client:

            def run_replay() -> Result:
                latency, fees = RecordedLatency("1ms", "1ms"), Fees.of("0.0001", "0.0004")
                with client.replay(
                    {BTC: ["book", "trades"]}, None, begin, begin + 60 * SECOND
                ) as replay:
                    return Backtest(Taker(), latency=latency, fees=fees).run(replay)

            read = [
                client.read(BTC, kind, begin, begin + 60 * SECOND, exact=True)
                for kind in ("book", "trades")
            ]
            latency, fees = RecordedLatency("1ms", "1ms"), Fees.of("0.0001", "0.0004")
            from_tables = Backtest(Taker(), latency=latency, fees=fees).run(tables(*read))
            first, second = run_replay(), run_replay()
            with self.assertRaises(InvalidArgument):
                tables(client.read(BTC, "trades", MIDNIGHT, end))
            with self.assertRaises(InvalidArgument):
                tables(client.read(BTC, "trades", MIDNIGHT, end, ["price"], exact=True))
        self.assertGreater(first.trades, 50)
        for other in (second, from_tables):
            self.assertEqual(other.pnl, first.pnl)
            self.assertTrue(other.fills.equals(first.fills))
            np.testing.assert_array_equal(other.equity, first.equity)


if __name__ == "__main__":
    unittest.main()
