//! The loop: a market goes by, a strategy acts on it, and what it does meets the market later.

use std::collections::BTreeMap;
use std::ops::Range;

use rust_decimal::Decimal;
use tickreel::book::{Book, Tracker};
use tickreel::event::{Batch, Kind, Side, StreamKey, TradeSide, trades};
use tickreel::quantity::NULL;
use tickreel::{Error, Instrument, Result};

use super::account::Account;
use super::models::Settings;
use super::orders::{Fill, Order, OrderId, OrderState, sign};
use super::report::Report;
use super::venue::{Match, Venue};

/// Column of the event time, in every kind.
const TS_EVENT: usize = 1;

/// A print.
#[derive(Clone, Copy, Debug)]
pub struct Trade<'a> {
    pub instrument: &'a Instrument,
    pub ts_recv_ns: i64,
    /// Who took.
    pub side: TradeSide,
    pub price: Decimal,
    pub qty: Decimal,
}

/// What acts. Implement what is wanted.
pub trait Strategy {
    /// Before the first message: the place for timers.
    fn on_start(&mut self, _world: &mut World) -> Result<()> {
        Ok(())
    }

    /// After every message of a book.
    fn on_book(&mut self, _world: &mut World, _instrument: &Instrument) -> Result<()> {
        Ok(())
    }

    /// After every print.
    fn on_trade(&mut self, _world: &mut World, _trade: &Trade<'_>) -> Result<()> {
        Ok(())
    }

    /// At a time that was asked for by [`World::every`] or [`World::at`].
    fn on_timer(&mut self, _world: &mut World, _name: &'static str) -> Result<()> {
        Ok(())
    }

    /// When the strategy hears that an order rests, ended or was rejected.
    fn on_order(&mut self, _world: &mut World, _order: OrderId) -> Result<()> {
        Ok(())
    }

    /// When the strategy hears of a fill.
    fn on_fill(&mut self, _world: &mut World, _fill: &Fill) -> Result<()> {
        Ok(())
    }
}

/// A strategy in its world. It is deterministic: the same market gives the same report, to the last
/// digit. What is due at the time of a message (an order's arrival, a timer, a response) is done
/// before it, in the order in which it was asked for; what is due after the last message does not
/// happen any more. Orders that arrive while the book is not live are rejected.
pub struct Backtest<S> {
    pub strategy: S,
    world: World,
}

impl<S: Strategy> Backtest<S> {
    pub fn new(strategy: S, settings: Settings) -> Self {
        Self { strategy, world: World::new(settings) }
    }

    /// Takes an opening book.
    pub fn open(&mut self, instrument: &Instrument, book: Tracker) {
        self.world.lane_of(instrument).venue.load(book);
    }

    /// Plays messages of a stream, in the order they happened.
    ///
    /// # Errors
    /// The rows are no book, or what the strategy gives.
    pub fn play(&mut self, key: &StreamKey, batch: &Batch, messages: Range<usize>) -> Result<()> {
        messages.into_iter().try_for_each(|message| self.message(key, batch, message))
    }

    /// What came of it.
    pub fn finish(mut self) -> Report {
        self.world.sample_end();
        let pnl = self.world.equity() - self.world.settings.capital;
        let World { settings, account, fills, samples, orders, rejected, .. } = self.world;
        Report {
            capital: settings.capital,
            pnl,
            account,
            fills,
            equity: samples,
            sample_ns: settings.sample_ns,
            orders: orders.len(),
            rejected,
        }
    }

    /// What is due before a message, then the message, then the strategy.
    fn message(&mut self, key: &StreamKey, batch: &Batch, message: usize) -> Result<()> {
        let ts_ns = batch.ts_recv()[message];
        if self.world.samples_at.is_none() {
            (self.world.now_ns, self.world.samples_at) = (ts_ns, Some(ts_ns));
            self.strategy.on_start(&mut self.world)?;
        }
        self.run_until(ts_ns)?;
        let lane = self.world.lane_of(&key.instrument);
        let event_ns = batch.i64s(TS_EVENT)[message];
        if event_ns != NULL {
            lane.recorded_ns = (ts_ns - event_ns).max(0);
        }
        match key.kind {
            Kind::Book => {
                let matches = lane.venue.on_book(batch, message)?;
                self.world.met(matches);
                self.strategy.on_book(&mut self.world, &key.instrument)
            }
            Kind::Trades => self.print(&key.instrument, batch, message),
            _ => Ok(()),
        }
    }

    fn print(&mut self, instrument: &Instrument, batch: &Batch, row: usize) -> Result<()> {
        let exact = |column| Decimal::new(batch.i64s(column)[row], batch.scale(column).into());
        let sides = [TradeSide::Buy, TradeSide::Sell, TradeSide::Unknown];
        let side = sides[usize::from(batch.u8s(trades::SIDE)[row])];
        let (price, qty) = (exact(trades::PRICE), exact(trades::QTY));
        let lane = self.world.lane_of(instrument);
        lane.mark = price;
        let matches = lane.venue.on_trade(side, price, qty);
        self.world.met(matches);
        let trade = Trade { instrument, ts_recv_ns: batch.ts_recv()[row], side, price, qty };
        self.strategy.on_trade(&mut self.world, &trade)
    }

    /// Does what is due and notes the equity, up to and with a time.
    fn run_until(&mut self, ts_ns: i64) -> Result<()> {
        while let Some(entry) = self.world.due.first_entry().filter(|due| due.key().0 <= ts_ns) {
            let ((at_ns, _), due) = entry.remove_entry();
            self.world.sample_until(at_ns);
            self.world.now_ns = self.world.now_ns.max(at_ns);
            self.happen(at_ns, due)?;
        }
        self.world.sample_until(ts_ns);
        self.world.now_ns = ts_ns;
        Ok(())
    }

    fn happen(&mut self, at_ns: i64, due: Due) -> Result<()> {
        let Self { strategy, world } = self;
        match due {
            Due::Arrive(order) => world.arrive(order),
            Due::Cancel(order) => world.take_out(order),
            Due::HearFill(fill) => {
                world.known.add(&fill);
                world.orders[fill.order].filled += fill.qty;
                return strategy.on_fill(world, &fill);
            }
            Due::HearOrder(order, state, reason) => {
                (world.orders[order].state, world.orders[order].reason) = (state, reason.into());
                return strategy.on_order(world, order);
            }
            Due::Timer { name, interval_ns } => {
                if interval_ns > 0 {
                    world.schedule(at_ns + interval_ns, Due::Timer { name, interval_ns });
                }
                return strategy.on_timer(world, name);
            }
        }
        Ok(())
    }
}

/// What happens at a time.
enum Due {
    Arrive(OrderId),
    Cancel(OrderId),
    HearFill(Fill),
    HearOrder(OrderId, OrderState, &'static str),
    /// Again after each interval, unless that is 0.
    Timer {
        name: &'static str,
        interval_ns: i64,
    },
}

/// An instrument of a backtest.
struct Lane {
    venue: Venue,
    /// `ts_recv` - `ts_event` of the last message.
    recorded_ns: i64,
    /// When what was sent last arrives.
    last_arrival_ns: i64,
    /// The last middle or print.
    mark: Decimal,
}

/// The market and the account: what a strategy sees and does, as far as the strategy knows.
pub struct World {
    settings: Settings,
    now_ns: i64,
    lanes: BTreeMap<Instrument, Lane>,
    /// By time, then in the order of asking.
    due: BTreeMap<(i64, u64), Due>,
    scheduled: u64,
    orders: Vec<Order>,
    rejected: usize,
    /// What is, and what the strategy has heard of.
    account: Account,
    known: Account,
    fills: Vec<Fill>,
    samples: Vec<(i64, f64)>,
    /// When equity is noted next; `None` before the first message.
    samples_at: Option<i64>,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            now_ns: 0,
            lanes: BTreeMap::new(),
            due: BTreeMap::new(),
            scheduled: 0,
            orders: Vec::new(),
            rejected: 0,
            account: Account::default(),
            known: Account::default(),
            fills: Vec::new(),
            samples: Vec::new(),
            samples_at: None,
        }
    }

    /// The time, on the strategy's clock.
    pub fn now_ns(&self) -> i64 {
        self.now_ns
    }

    /// The book of an instrument.
    ///
    /// # Errors
    /// Nothing of it was seen yet.
    pub fn book(&self, instrument: &Instrument) -> Result<&Book> {
        Ok(self.lane(instrument)?.venue.tracker().book())
    }

    /// The middle of its book, exactly; `None` if a side is empty.
    ///
    /// # Errors
    /// Nothing of it was seen yet.
    pub fn mid(&self, instrument: &Instrument) -> Result<Option<Decimal>> {
        Ok(self.lane(instrument)?.venue.mid())
    }

    /// The position, as of the fills that the strategy has heard of.
    pub fn position(&self, instrument: &Instrument) -> Decimal {
        self.known.position(instrument)
    }

    /// An order, as the strategy knows it.
    pub fn order(&self, order: OrderId) -> &Order {
        &self.orders[order]
    }

    /// Sends an order: with a limit it takes what that allows and rests with what is left, without
    /// one it takes what the book has when it arrives. `post_only` rejects it if it would take.
    ///
    /// # Errors
    /// Nothing of the instrument was seen yet; the quantity is not above 0; a market order cannot
    /// rest.
    pub fn send(
        &mut self,
        side: Side,
        instrument: &Instrument,
        qty: Decimal,
        limit: Option<Decimal>,
        post_only: bool,
    ) -> Result<OrderId> {
        if qty <= Decimal::ZERO || post_only && limit.is_none() {
            return Err(Error::invalid(format!("order of {qty}: it cannot be sent")));
        }
        let sent_mid = self.lane(instrument)?.venue.mid();
        let order = Order {
            id: self.orders.len(),
            instrument: instrument.clone(),
            side,
            qty,
            limit,
            post_only,
            sent_mid,
            state: OrderState::Sent,
            reason: String::new(),
            filled: Decimal::ZERO,
        };
        let id = order.id;
        self.orders.push(order);
        let arrival_ns = self.arrival_ns(instrument);
        self.schedule(arrival_ns, Due::Arrive(id));
        Ok(id)
    }

    /// Sends a market order: buys what a positive quantity says, sells what a negative one does.
    ///
    /// # Errors
    /// As [`World::send`].
    pub fn trade(&mut self, instrument: &Instrument, qty: Decimal) -> Result<OrderId> {
        let side = if qty.is_sign_negative() { Side::Ask } else { Side::Bid };
        self.send(side, instrument, qty.abs(), None, false)
    }

    /// Asks the venue to take an order out. It may be filled before that arrives.
    pub fn cancel(&mut self, order: OrderId) {
        let instrument = self.orders[order].instrument.clone();
        let arrival_ns = self.arrival_ns(&instrument);
        self.schedule(arrival_ns, Due::Cancel(order));
    }

    /// Calls `on_timer` after each interval from now on.
    ///
    /// # Errors
    /// The interval is not above 0.
    pub fn every(&mut self, interval_ns: i64, name: &'static str) -> Result<()> {
        if interval_ns <= 0 {
            return Err(Error::invalid(format!("interval {interval_ns}: expected more than 0")));
        }
        self.schedule(self.now_ns + interval_ns, Due::Timer { name, interval_ns });
        Ok(())
    }

    /// Calls `on_timer` once, at a time; at once if it has passed.
    pub fn at(&mut self, ts_ns: i64, name: &'static str) {
        self.schedule(ts_ns.max(self.now_ns), Due::Timer { name, interval_ns: 0 });
    }

    fn schedule(&mut self, at_ns: i64, due: Due) {
        self.scheduled += 1;
        self.due.insert((at_ns, self.scheduled), due);
    }

    fn lane(&self, instrument: &Instrument) -> Result<&Lane> {
        let unseen = || Error::not_found(format!("{instrument}: nothing of it was seen yet"));
        self.lanes.get(instrument).ok_or_else(unseen)
    }

    /// The lane of an instrument, a new one if it is new.
    fn lane_of(&mut self, instrument: &Instrument) -> &mut Lane {
        if !self.lanes.contains_key(instrument) {
            let venue = Venue::new(self.settings.queue);
            let (recorded_ns, last_arrival_ns) = (0, i64::MIN);
            let lane = Lane { venue, recorded_ns, last_arrival_ns, mark: Decimal::ZERO };
            self.lanes.insert(instrument.clone(), lane);
        }
        self.lanes.get_mut(instrument).expect("it is there now")
    }

    /// When what is sent now acts, on the strategy's clock: not before what was sent earlier.
    fn arrival_ns(&mut self, instrument: &Instrument) -> i64 {
        let (latency, now_ns) = (self.settings.latency, self.now_ns);
        let lane = self.lane_of(instrument);
        let alone_ns = latency.arrival_ns(now_ns, lane.recorded_ns);
        lane.last_arrival_ns = lane.last_arrival_ns.max(alone_ns);
        lane.last_arrival_ns
    }

    fn arrive(&mut self, id: OrderId) {
        let order = self.orders[id].clone();
        let outcome = self.lane_of(&order.instrument).venue.accept(&order);
        self.rejected += usize::from(outcome.state == OrderState::Rejected);
        // Fills come first, then that the rest of it rests or was cancelled.
        self.met(outcome.matches);
        if outcome.state != OrderState::Filled {
            self.tell(id, outcome.state, outcome.reason);
        }
    }

    fn take_out(&mut self, id: OrderId) {
        let instrument = self.orders[id].instrument.clone();
        if self.lane_of(&instrument).venue.cancel(id) {
            self.tell(id, OrderState::Cancelled, "cancelled");
        }
    }

    /// Books what was traded, and lets the strategy know later.
    fn met(&mut self, matches: Vec<Match>) {
        for Match { order: id, price, qty, maker, fills } in matches {
            let order = &self.orders[id];
            let worse = order.sent_mid.map(|mid| (price - mid) * sign(order.side));
            let fill = Fill {
                ts_ns: self.now_ns,
                order: id,
                instrument: order.instrument.clone(),
                side: order.side,
                price,
                qty,
                fee: self.settings.fees.of_fill(price, qty, maker),
                maker,
                slippage: worse.map(|worse| worse * qty),
            };
            self.account.add(&fill);
            self.fills.push(fill.clone());
            self.schedule(self.settings.latency.known_ns(self.now_ns), Due::HearFill(fill));
            if fills {
                self.tell(id, OrderState::Filled, "");
            }
        }
    }

    fn tell(&mut self, order: OrderId, state: OrderState, reason: &'static str) {
        let known_ns = self.settings.latency.known_ns(self.now_ns);
        self.schedule(known_ns, Due::HearOrder(order, state, reason));
    }

    /// Notes the equity as it was before what happens at `ts_ns`.
    fn sample_until(&mut self, ts_ns: i64) {
        while let Some(at_ns) = self.samples_at.filter(|at_ns| *at_ns <= ts_ns) {
            let equity = self.equity();
            self.samples.push((at_ns, as_f64(equity)));
            self.samples_at = Some(at_ns + self.settings.sample_ns);
        }
    }

    fn sample_end(&mut self) {
        if self.samples.last().is_none_or(|(at_ns, _)| *at_ns != self.now_ns) {
            let equity = self.equity();
            self.samples.push((self.now_ns, as_f64(equity)));
        }
    }

    /// Capital, cash, and positions at the middle of their books; where a book has none, at the
    /// last middle or print before.
    fn equity(&mut self) -> Decimal {
        for lane in self.lanes.values_mut() {
            lane.mark = lane.venue.mid().unwrap_or(lane.mark);
        }
        let marks = |instrument: &Instrument| self.lanes[instrument].mark;
        self.settings.capital + self.account.value(marks)
    }
}

fn as_f64(value: Decimal) -> f64 {
    use rust_decimal::prelude::ToPrimitive;
    value.to_f64().unwrap_or(f64::NAN)
}
