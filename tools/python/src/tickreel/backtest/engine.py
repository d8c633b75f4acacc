"""The loop: a market goes by, a strategy acts on it, and what it does meets the market later."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import partial
from typing import NamedTuple

import numpy as np

from ..columns import Chunk
from ..errors import InvalidArgument, NotFound
from ..events import GapNotice
from ..frames import Frame, Message
from ..model import Book, decimal_of
from ..orderbook import OrderBook
from ..schema import NULL, Kind
from ..times import Duration, Time, to_duration_ns, to_ns
from .account import Account, Holding
from .curve import Curve
from .models import CancelShare, ConstantLatency, Fees, Latency, QueueModel
from .orders import EXACT, Amount, Fill, Order, OrderSide, OrderState, amount
from .result import Result
from .source import Source
from .venue import Match, Venue


class Trade(NamedTuple):
    """A print. `side` is the aggressor: `buy`, `sell` or `unknown`."""

    instrument: str
    ts_recv_ns: int
    ts_event_ns: int | None
    side: str
    price: Decimal
    qty: Decimal


class Strategy:
    """What acts. Override what is wanted; the rest costs nothing.

    The book that a callback gets is the one that goes on changing: look at it, do not keep it.
    """

    def on_start(self, ctx: Context) -> None:
        """Before the first message: the place for timers."""

    def on_book(self, ctx: Context, book: OrderBook) -> None:
        """After every message of a book."""

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        """After every print."""

    def on_message(self, ctx: Context, message: Message) -> None:
        """After every message of another kind: quotes, ticker, status, ..."""

    def on_gap(self, ctx: Context, gap: GapNotice) -> None:
        """After messages were missing; comes with the frame that holds the gap, from a replay."""

    def on_timer(self, ctx: Context, name: str) -> None:
        """At a time that was asked for by `Context.every` or `Context.at`."""

    def on_order(self, ctx: Context, order: Order) -> None:
        """When the strategy hears that an order rests, ended or was rejected."""

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        """When the strategy hears of a fill."""

    def on_end(self, ctx: Context) -> None:
        """After the last message."""


@dataclass(slots=True)
class Lane:
    """An instrument of a backtest."""

    venue: Venue
    recorded_ns: int = 0
    last_arrival_ns: int = NULL
    mark: Decimal | None = None


class Backtest:
    """A strategy, and what is assumed of the world around it.

    Args:
        strategy: what acts.
        latency: how long orders and responses take; nothing by default.
        queue: which cancellations were before a resting order; none by default.
        fees: commission; none by default.
        capital: what returns are measured against, in the quote currency.
        sample: how often equity is noted; 50 million times at most.

    A backtest is deterministic: the same market gives the same result, to the last digit. What is
    due at the time of a message (an order's arrival, a timer, a response) is done before it, in the
    order in which it was asked for; what is due after the last message does not happen any more.
    Orders that arrive while the book is not live are rejected.

    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        latency: Latency | None = None,
        queue: QueueModel | None = None,
        fees: Fees | None = None,
        capital: Amount = 100_000,
        sample: Duration = "1s",
    ) -> None:
        self._strategy = strategy
        self._latency = latency or ConstantLatency()
        self._queue = queue or CancelShare()
        self._fees = fees or Fees()
        self._capital = amount(capital, "capital")
        self._sample_ns = to_duration_ns(sample)
        if self._capital <= 0 or self._sample_ns <= 0:
            raise InvalidArgument("capital and sample: expected more than 0")

    def run(self, market: Source) -> Result:
        """Plays a market: a replay, or `tables(...)`. The market is read to its end.

        Raises:
            InvalidArgument: its messages are not in the order of `ts_recv`, or it goes on for so
                long, perhaps by one time that is far off, that there are too many samples.

        """
        with localcontext(EXACT):
            run = _Run(
                self._strategy, self._latency, self._queue, self._fees, self._capital,
                self._sample_ns,
            )  # fmt: skip
            return run.play(market)


class Context:
    """What a strategy sees and does. Everything here is as far as the strategy knows."""

    def __init__(self, run: _Run) -> None:
        self._run = run

    @property
    def now_ns(self) -> int:
        """The time, on the strategy's clock."""
        return self._run.now_ns

    def book(self, instrument: str) -> OrderBook:
        """The book of an instrument.

        Raises:
            NotFound: nothing of it was seen yet.

        """
        return self._run.lane(instrument).venue.book

    def position(self, instrument: str) -> Decimal:
        """The position, as of the fills that the strategy has heard of."""
        return self._run.known.holdings.get(instrument, Holding()).position

    @property
    def open_orders(self) -> list[Order]:
        """The orders of which no end was heard, in the order they were sent."""
        return list(self._run.known_open.values())

    def buy(
        self,
        instrument: str,
        qty: Amount,
        price: Amount | None = None,
        *,
        post_only: bool = False,
    ) -> Order:
        """Sends an order to buy: at most at `price`, or at any price if it is None.

        A market order takes what the book has when it arrives; what is then left is cancelled. A
        limit order takes what its price allows and rests with what is left; `post_only` rejects it
        if it would take.
        """
        return self._run.send(OrderSide.BUY, instrument, qty, price, post_only)

    def sell(
        self,
        instrument: str,
        qty: Amount,
        price: Amount | None = None,
        *,
        post_only: bool = False,
    ) -> Order:
        """Sends an order to sell: at least at `price`, or at any. Otherwise as `buy`."""
        return self._run.send(OrderSide.SELL, instrument, qty, price, post_only)

    def cancel(self, order: Order) -> None:
        """Asks the venue to take an order out. It may be filled before that arrives; one that is
        not there then is left alone.
        """
        self._run.send_cancel(order)

    def every(self, interval: Duration, name: str = "") -> None:
        """Calls `on_timer` after each interval from now on."""
        ns = to_duration_ns(interval)
        if ns <= 0:
            raise InvalidArgument(f"interval {interval!r}: expected more than 0")
        self._run.add_timer(self.now_ns + ns, name, ns)

    def at(self, time: Time, name: str = "") -> None:
        """Calls `on_timer` once, at a time; at once if it has passed."""
        self._run.add_timer(to_ns(time), name, 0)


class _Run:
    """One run of a backtest: everything that changes."""

    def __init__(
        self,
        strategy: Strategy,
        latency: Latency,
        queue: QueueModel,
        fees: Fees,
        capital: Decimal,
        sample_ns: int,
    ) -> None:
        self.now_ns = 0
        self.known = Account()
        self.known_open: dict[int, Order] = {}
        self._strategy, self._latency, self._queue, self._fees = strategy, latency, queue, fees
        self._capital, self._sample_ns = capital, sample_ns
        self._context = Context(self)
        self._lanes: dict[str, Lane] = {}
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._scheduled = 0
        self._orders = self._rejected = 0
        self._account = Account()
        self._fills: list[Fill] = []
        self._started = False
        self._next_sample_ns = 0
        self._curve = Curve()

        def overrides(name: str) -> bool:
            return getattr(type(strategy), name) is not getattr(Strategy, name)

        self._hears_books = overrides("on_book")
        self._hears_trades = overrides("on_trade")
        self._hears_messages = overrides("on_message")

    def play(self, market: Source) -> Result:
        """Goes through the market."""
        for event in market:
            if isinstance(event, Book):
                self._lane(event.instrument).venue.load(event)
            elif isinstance(event, Frame):
                for run in event.runs:
                    for index in range(run.start, run.end):
                        self._message(run.chunk, index)
            elif isinstance(event, GapNotice):
                self._strategy.on_gap(self._context, event)
        if self._started:
            self._strategy.on_end(self._context)
        return self._result()

    def lane(self, instrument: str) -> Lane:
        """An instrument that was seen."""
        lane = self._lanes.get(instrument)
        if lane is None:
            raise NotFound(f"{instrument}: nothing of it was seen yet")
        return lane

    def send(
        self,
        side: OrderSide,
        instrument: str,
        qty: Amount,
        price: Amount | None,
        post_only: bool,
    ) -> Order:
        """Puts an order on its way."""
        lane, exact = self.lane(instrument), amount(qty, "qty")
        limit = None if price is None else amount(price, "price")
        if exact <= 0:
            raise InvalidArgument(f"qty {qty!r}: expected more than 0")
        if post_only and limit is None:
            raise InvalidArgument("post_only: a market order cannot rest")
        self._orders += 1
        mid = lane.venue.book.mid
        order = Order(self._orders, instrument, side, exact, limit, post_only, self.now_ns, mid)
        self.known_open[order.number] = order
        self._schedule(self._arrival_ns(lane), partial(self._arrive, lane, order))
        return order

    def send_cancel(self, order: Order) -> None:
        """Puts a cancellation on its way."""
        lane = self.lane(order.instrument)
        self._schedule(self._arrival_ns(lane), partial(self._cancel, lane, order))

    def add_timer(self, at_ns: int, name: str, interval_ns: int) -> None:
        """A call of the strategy, again after each interval unless that is 0."""

        def ring() -> None:
            if interval_ns:
                self.add_timer(at_ns + interval_ns, name, interval_ns)
            self._strategy.on_timer(self._context, name)

        self._schedule(max(at_ns, self.now_ns), ring)

    def _lane(self, instrument: str) -> Lane:
        if instrument not in self._lanes:
            self._lanes[instrument] = Lane(Venue(instrument, self._queue))
        return self._lanes[instrument]

    def _schedule(self, at_ns: int, action: Callable[[], None]) -> None:
        self._scheduled += 1
        heapq.heappush(self._due, (at_ns, self._scheduled, action))

    def _message(self, chunk: Chunk, index: int) -> None:
        """What is due before a message, then the message, then the strategy."""
        ts_ns = chunk.lists("ts_recv")[0][index]
        if not self._started:
            self._start(ts_ns)
        if ts_ns < self.now_ns:
            raise InvalidArgument(
                f"{chunk.instrument} {chunk.kind}: its message is of {ts_ns}, that before of "
                f"{self.now_ns}: a backtest needs messages in the order of ts_recv, as a replay "
                "without by_event_time, loop and seek gives them"
            )
        self._run_until(ts_ns)
        lane = self._lane(chunk.instrument)
        event_ns = chunk.lists("ts_event")[0][index]
        if event_ns != NULL:
            lane.recorded_ns = max(0, ts_ns - event_ns)
        if chunk.kind is Kind.BOOK:
            self._met(lane, lane.venue.on_book(chunk, index))
            if self._hears_books:
                self._strategy.on_book(self._context, lane.venue.book)
        elif chunk.kind is Kind.TRADES:
            self._print(lane, chunk, index)
        elif self._hears_messages:
            self._strategy.on_message(self._context, Message(chunk, index, exact=True))

    def _print(self, lane: Lane, chunk: Chunk, index: int) -> None:
        times, events, sides, prices, qtys = chunk.lists(
            "ts_recv", "ts_event", "side", "price", "qty"
        )
        price = decimal_of(prices[index], chunk.scale("price"))
        qty = decimal_of(qtys[index], chunk.scale("qty"))
        lane.mark = price
        self._met(lane, lane.venue.on_trade(sides[index], price, qty))
        if self._hears_trades:
            event = None if events[index] == NULL else events[index]
            side = ("buy", "sell", "unknown")[sides[index]]
            trade = Trade(chunk.instrument, times[index], event, side, price, qty)
            self._strategy.on_trade(self._context, trade)

    def _start(self, ts_ns: int) -> None:
        self._started = True
        self.now_ns = self._next_sample_ns = ts_ns
        self._strategy.on_start(self._context)

    def _run_until(self, ts_ns: int) -> None:
        """Does what is due and notes the equity, up to and with a time."""
        while self._due and self._due[0][0] <= ts_ns:
            at_ns, _, action = heapq.heappop(self._due)
            self._sample_until(at_ns)
            self.now_ns = max(self.now_ns, at_ns)
            action()
        self._sample_until(ts_ns)
        self.now_ns = ts_ns

    def _sample_until(self, ts_ns: int) -> None:
        """Notes the equity as it was before what happens at `ts_ns`."""
        if self._next_sample_ns <= ts_ns:
            count = (ts_ns - self._next_sample_ns) // self._sample_ns + 1
            self._sample(self._next_sample_ns, count)
            self._next_sample_ns += count * self._sample_ns

    def _sample(self, first_ns: int, count: int = 1) -> None:
        equity, held = self._equity(), self._account.holdings
        self._curve.note(first_ns, self._sample_ns, count, equity, held)

    def _equity(self) -> Decimal:
        marks = {name: self._mark(self._lanes[name]) for name in self._account.holdings}
        return self._capital + self._account.value(marks)

    def _mark(self, lane: Lane) -> Decimal:
        """The middle of the book; where it has none, the last middle or print before."""
        mid = lane.venue.book.mid
        if mid is not None:
            lane.mark = mid
        return lane.mark or Decimal(0)

    def _arrival_ns(self, lane: Lane) -> int:
        """When what is sent now acts: not before what was sent earlier."""
        recorded_ns = lane.recorded_ns
        entry_ns = self._latency.entry_ns(recorded_ns)
        alone_ns = self.now_ns + entry_ns + self._latency.feed_ns(recorded_ns)
        lane.last_arrival_ns = max(lane.last_arrival_ns, alone_ns)
        return lane.last_arrival_ns

    def _known_ns(self, lane: Lane) -> int:
        """When the strategy hears of what happens to an order now."""
        venue_ns = self.now_ns - self._latency.feed_ns(lane.recorded_ns)
        return max(self.now_ns, venue_ns + self._latency.response_ns(lane.recorded_ns))

    def _arrive(self, lane: Lane, order: Order) -> None:
        outcome = lane.venue.accept(order)
        self._rejected += outcome.state is OrderState.REJECTED
        # Fills come first, then that the rest of it rests or was cancelled.
        self._met(lane, outcome.matches)
        if outcome.state is not OrderState.FILLED:
            self._tell(lane, order, outcome.state, outcome.reason)

    def _cancel(self, lane: Lane, order: Order) -> None:
        if lane.venue.cancel(order):
            self._tell(lane, order, OrderState.CANCELLED, "cancelled")

    def _met(self, lane: Lane, matches: Iterable[Match]) -> None:
        """Books what was traded, and lets the strategy know later."""
        for match in matches:
            fee = self._fees.of_fill(match.price, match.qty, match.maker)
            fill = Fill(self.now_ns, match.order, match.price, match.qty, fee, match.maker)
            self._account.add(fill)
            self._fills.append(fill)
            self._schedule(self._known_ns(lane), partial(self._hear_fill, fill))
            if match.fills:
                self._tell(lane, match.order, OrderState.FILLED, "")

    def _tell(self, lane: Lane, order: Order, state: OrderState, reason: str) -> None:
        hear = partial(self._hear_order, order, state, reason)
        self._schedule(self._known_ns(lane), hear)

    def _hear_fill(self, fill: Fill) -> None:
        self.known.add(fill)
        fill.order.filled += fill.qty
        self._strategy.on_fill(self._context, fill)

    def _hear_order(self, order: Order, state: OrderState, reason: str) -> None:
        order.state, order.reason = state, reason
        if state.is_final:
            self.known_open.pop(order.number, None)
        self._strategy.on_order(self._context, order)

    def _result(self) -> Result:
        curve = self._curve
        if not curve.times_ns or curve.times_ns[-1] != self.now_ns:
            self._sample(self.now_ns)
        return Result(
            capital=self._capital,
            account=self._account,
            fill_list=tuple(self._fills),
            times_ns=np.asarray(curve.times_ns, dtype=np.int64),
            equity=np.asarray(curve.equity, dtype=np.float64),
            positions={name: curve.position(name) for name in self._account.holdings},
            sample_ns=self._sample_ns,
            orders=self._orders,
            rejected=self._rejected,
            final_equity=self._equity(),
        )
