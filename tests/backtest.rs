//! Every model of the example `backtest` against cases worked out by hand, the same as in
//! `tools/python/tests/test_backtest.py`, and a store against its server.
//!
//! That figures equal those of the Python package on the sample market is tested from there.

#[allow(dead_code, reason = "the program that is tested; its entry is not called")]
#[path = "../tools/examples/backtest.rs"]
mod example;

use example::engine::{Backtest, Strategy, Trade, World};
use example::models::{Fees, Latency, Queue, Settings};
use example::orders::{Fill, OrderId};
use example::report::{Report, YEAR_NS, sharpe_ratio};
use rust_decimal::Decimal;
use tickreel::event::{BatchBuilder, Kind, MessageHead, Side, StreamKey, TradeRow, TradeSide};
use tickreel::rpc::{ServeOptions, serve};
use tickreel::store::{ImportOptions, Store};
use tickreel::{Batch, Instrument, Result, TsNs};

const NAME: &str = "x:Y";

fn whole(value: i64) -> tickreel::Decimal {
    tickreel::Decimal::from_int(value).unwrap()
}

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Messages in the order they are added, of whole numbers.
#[derive(Clone, Default)]
struct Market(Vec<(Kind, Batch)>);

type Levels<'a> = &'a [(i64, i64)];

impl Market {
    /// Bids 100 x 10, 99 x 5; asks 101 x 2, 102 x 3, 103 x 5; at time 0.
    fn start() -> Self {
        Self::default().snapshot(0, &[(100, 10), (99, 5)], &[(101, 2), (102, 3), (103, 5)])
    }

    /// A reset and all levels.
    fn snapshot(self, ts_ns: i64, bids: Levels<'_>, asks: Levels<'_>) -> Self {
        self.book(ts_ns, true, bids, asks)
    }

    /// Levels that changed.
    fn levels(self, ts_ns: i64, bids: Levels<'_>, asks: Levels<'_>) -> Self {
        self.book(ts_ns, false, bids, asks)
    }

    /// A message that changes nothing near.
    fn end(self, ts_ns: i64) -> Self {
        self.levels(ts_ns, &[(1, 1)], &[])
    }

    fn book(mut self, ts_ns: i64, snapshot: bool, bids: Levels<'_>, asks: Levels<'_>) -> Self {
        let mut rows = BatchBuilder::new(Kind::Book);
        let (ts_recv, ts_event) = (TsNs(ts_ns), Some(TsNs(ts_ns - 1)));
        rows.begin(MessageHead { ts_recv, ts_event, snapshot, ..MessageHead::default() });
        for (side, levels) in [(Side::Bid, bids), (Side::Ask, asks)] {
            levels.iter().for_each(|(price, qty)| rows.level(side, whole(*price), whole(*qty)));
        }
        rows.end();
        self.0.push((Kind::Book, rows.finish().unwrap().remove(0)));
        self
    }

    fn gap(mut self, ts_ns: i64) -> Self {
        let mut rows = BatchBuilder::new(Kind::Book);
        rows.begin(MessageHead { ts_recv: TsNs(ts_ns), ..MessageHead::default() });
        rows.gap(0);
        rows.end();
        self.0.push((Kind::Book, rows.finish().unwrap().remove(0)));
        self
    }

    fn trade(mut self, ts_ns: i64, side: TradeSide, price: i64, qty: i64) -> Self {
        let mut rows = BatchBuilder::new(Kind::Trades);
        rows.trade(&TradeRow {
            ts_recv: TsNs(ts_ns),
            ts_event: Some(TsNs(ts_ns - 3)),
            side,
            price: whole(price),
            qty: whole(qty),
            trade_id: "",
        });
        self.0.push((Kind::Trades, rows.finish().unwrap().remove(0)));
        self
    }
}

/// What is done at a time.
#[derive(Clone, Copy)]
enum Act {
    Trade(i64),
    Buy(i64, i64),
    Post(i64, i64),
    Sell(i64, i64),
    /// The order of this number.
    Cancel(OrderId),
}

/// Does what it is told at times, and notes what it hears.
struct Scripted {
    script: Vec<(i64, Act)>,
    heard: Vec<(i64, String)>,
}

impl Strategy for Scripted {
    fn on_start(&mut self, world: &mut World) -> Result<()> {
        self.script.iter().for_each(|(at_ns, _)| world.at(*at_ns, "act"));
        Ok(())
    }

    fn on_timer(&mut self, world: &mut World, _: &'static str) -> Result<()> {
        let instrument = Instrument::parse(NAME)?;
        let now_ns = world.now_ns();
        for (_, act) in self.script.iter().filter(|(at_ns, _)| *at_ns == now_ns) {
            let (side, qty, price, post) = match *act {
                Act::Trade(qty) => {
                    world.trade(&instrument, qty.into())?;
                    continue;
                }
                Act::Cancel(order) => {
                    world.cancel(order);
                    continue;
                }
                Act::Buy(qty, price) => (Side::Bid, qty, price, false),
                Act::Post(qty, price) => (Side::Bid, qty, price, true),
                Act::Sell(qty, price) => (Side::Ask, qty, price, false),
            };
            world.send(side, &instrument, qty.into(), Some(price.into()), post)?;
        }
        Ok(())
    }

    fn on_order(&mut self, world: &mut World, order: OrderId) -> Result<()> {
        let state = format!("{order} {:?} {}", world.order(order).state, world.order(order).reason);
        self.heard.push((world.now_ns(), state.trim().to_owned()));
        Ok(())
    }

    fn on_fill(&mut self, world: &mut World, fill: &Fill) -> Result<()> {
        let Fill { order, qty, price, .. } = fill;
        self.heard.push((world.now_ns(), format!("{order}: {qty} at {price}")));
        Ok(())
    }
}

type Heard = Vec<(i64, String)>;

fn play_with(settings: Settings, market: &Market, script: &[(i64, Act)]) -> (Report, Heard) {
    let script = Scripted { script: script.to_vec(), heard: Vec::new() };
    let settings = Settings { capital: Decimal::ONE_THOUSAND, sample_ns: 1, ..settings };
    let mut backtest = Backtest::new(script, settings);
    feed(&mut backtest, market);
    let heard = std::mem::take(&mut backtest.strategy.heard);
    (backtest.finish(), heard)
}

fn feed<S: Strategy>(backtest: &mut Backtest<S>, market: &Market) {
    for (kind, batch) in &market.0 {
        let key = StreamKey { instrument: Instrument::parse(NAME).unwrap(), kind: *kind };
        backtest.play(&key, batch, 0..1).unwrap();
    }
}

fn play(market: &Market, script: &[(i64, Act)]) -> (Report, Heard) {
    play_with(Settings::default(), market, script)
}

fn fills(report: &Report) -> Vec<String> {
    let line = |fill: &Fill| {
        let made = if fill.maker { "made" } else { "took" };
        format!("{} {made} {} at {}", fill.ts_ns, fill.qty, fill.price)
    };
    report.fills.iter().map(line).collect()
}

fn latency(entry_ns: i64, response_ns: i64, feed_ns: i64) -> Settings {
    let latency = Latency { entry_ns, response_ns, feed_ns, recorded: false };
    Settings { latency, ..Settings::default() }
}

#[test]
fn a_market_order_walks_the_book_and_pays_for_it() {
    let fees = Fees { taker: number("0.001"), ..Fees::default() };
    let settings = Settings { fees, ..Settings::default() };

    let (report, _) = play_with(settings, &Market::start().end(20), &[(10, Act::Trade(4))]);

    assert_eq!(fills(&report), ["10 took 2 at 101", "10 took 2 at 102"]);
    // The middle was 100.5: 2 x 0.5 + 2 x 1.5. The worth is 2 x 101 + 2 x 102.
    assert_eq!(report.slippage(), number("4"));
    assert!((report.slippage_bps().unwrap() - 4.0 / 406.0 * 1e4).abs() < 1e-9);
    assert_eq!((report.account.turnover, report.account.fees), (number("406"), number("0.406")));
    // 4 at the middle of 100.5 are worth 402.
    assert_eq!(report.pnl, number("402") - number("406.406"));
}

#[test]
fn what_the_book_has_not_is_cancelled_and_what_was_taken_is_gone_until_it_is_written_anew() {
    let (report, heard) = play(&Market::start().end(20), &[(10, Act::Trade(-20))]);
    assert_eq!(fills(&report), ["10 took 10 at 100", "10 took 5 at 99"]);
    assert_eq!(heard[2].1, "0 Cancelled the book was not deep enough");

    let market = Market::start().levels(15, &[(99, 6)], &[]).levels(25, &[], &[(101, 2)]).end(40);
    let (report, _) =
        play(&market, &[(10, Act::Trade(4)), (20, Act::Trade(2)), (30, Act::Trade(2))]);
    let expected = ["10 took 2 at 101", "10 took 2 at 102", "20 took 1 at 102", "20 took 1 at 103"];
    assert_eq!(fills(&report)[..4], expected);
    assert_eq!(fills(&report)[4..], ["30 took 2 at 101"]);
}

#[test]
fn nothing_is_traded_on_a_book_that_is_not_live() {
    let (report, heard) = play(&Market::start().gap(5).end(20), &[(10, Act::Trade(1))]);

    assert_eq!((report.fills.len(), report.rejected), (0, 1));
    assert_eq!(heard, [(10, "0 Rejected the book is stale".to_owned())]);
}

#[test]
fn a_limit_order_takes_what_its_price_allows_and_rests_with_the_rest() {
    let fees = Fees { maker: number("-0.0001"), taker: number("0.0004") };
    let settings = Settings { fees, ..Settings::default() };
    let market = Market::start()
        .levels(15, &[], &[(101, 0), (102, 0)])
        .trade(20, TradeSide::Sell, 102, 4)
        .end(30);

    let (report, heard) = play_with(settings, &market, &[(10, Act::Buy(7, 102))]);

    assert_eq!(fills(&report), ["10 took 2 at 101", "10 took 3 at 102", "20 made 2 at 102"]);
    let fees = number("0.0004") * number("508") - number("0.0001") * number("204");
    assert_eq!(report.account.fees, fees);
    let heard: Vec<_> = heard.iter().map(|(at, what)| (*at, what.as_str())).collect();
    let at_once = [(10, "0: 2 at 101"), (10, "0: 3 at 102"), (10, "0 Open")];
    assert_eq!(heard[..3], at_once);
    assert_eq!(heard[3..], [(20, "0: 2 at 102"), (20, "0 Filled")]);
}

#[test]
fn post_only_is_rejected_if_it_would_take_and_a_cancelled_order_is_not_filled() {
    let (report, heard) =
        play(&Market::start().end(20), &[(10, Act::Post(1, 101)), (11, Act::Post(1, 100))]);
    assert_eq!((report.orders, report.rejected, report.fills.len()), (2, 1, 0));
    assert_eq!(heard[0].1, "0 Rejected it would take");
    assert_eq!(heard[1].1, "1 Open");

    let market = Market::start().trade(20, TradeSide::Sell, 99, 50).end(30);
    let (report, heard) = play(&market, &[(10, Act::Buy(5, 100)), (15, Act::Cancel(0))]);
    assert_eq!((report.fills.len(), heard[1].1.as_str()), (0, "0 Cancelled cancelled"));
}

#[test]
fn the_other_side_coming_to_an_order_fills_it_at_its_price() {
    let market = Market::start()
        .levels(20, &[], &[(100, 2), (99, 1)])
        .levels(25, &[(98, 1)], &[])
        .levels(30, &[], &[(100, 4)]);

    let (report, _) = play(&market, &[(10, Act::Buy(5, 100))]);

    // 99 x 1 and 100 x 2 come; then nothing new; then 4 more, of which 2 are needed.
    assert_eq!(fills(&report), ["20 made 1 at 100", "20 made 2 at 100", "30 made 2 at 100"]);
}

#[test]
fn cancellations_before_an_order_are_those_of_the_model() {
    // 10 are before a bid of 5; 4 of them trade, 14 come behind, then 4 are cancelled.
    let filled = |queue, printed| -> Decimal {
        let market = Market::start()
            .trade(20, TradeSide::Sell, 100, 4)
            .levels(21, &[(100, 6)], &[])
            .levels(22, &[(100, 20)], &[])
            .levels(23, &[(100, 16)], &[])
            .trade(24, TradeSide::Sell, 100, printed)
            .end(30);
        let settings = Settings { queue, ..Settings::default() };
        let (report, _) = play_with(settings, &market, &[(10, Act::Buy(5, 100))]);
        report.fills.iter().map(|fill| fill.qty).sum()
    };
    // 6 are before it; of the 4 cancelled 0, 2, 1 (4 x 6 / 20 is 1.2) or 4 were.
    for (queue, before) in [
        (Queue::CancelShare(Decimal::ZERO), 6),
        (Queue::CancelShare(number("0.5")), 4),
        (Queue::Proportional, 5),
        (Queue::CancelShare(Decimal::ONE), 2),
    ] {
        assert_eq!(filled(queue, 7), Decimal::from(5.min(7 - before)), "{queue:?}");
        assert_eq!(filled(queue, before), Decimal::ZERO, "{queue:?}");
    }
}

#[test]
fn prints_are_shared_by_our_orders_and_never_more_than_was_printed() {
    let sell = TradeSide::Sell;
    let market = Market::start().levels(15, &[(100, 12)], &[]).trade(20, sell, 100, 13).end(30);
    let (report, _) = play(&market, &[(10, Act::Buy(1, 100)), (16, Act::Buy(5, 100))]);
    // The first has 10 before it and is filled; the second has 12, and 12 are left of 13.
    assert_eq!(report.fills.iter().map(|f| (f.order, f.qty)).collect::<Vec<_>>(), [(0, 1.into())]);

    let market = Market::start().trade(20, sell, 99, 3).trade(21, TradeSide::Buy, 99, 50).end(30);
    let (report, _) = play(&market, &[(10, Act::Buy(5, 100))]);
    assert_eq!(fills(&report), ["20 made 3 at 100"]);

    let unknown = TradeSide::Unknown;
    let market = Market::start().trade(20, unknown, 99, 3).trade(21, unknown, 104, 2).end(30);
    let (report, _) = play(&market, &[(10, Act::Buy(5, 100)), (11, Act::Sell(5, 103))]);
    assert_eq!(fills(&report), ["20 made 3 at 100", "21 made 2 at 103"]);

    let empty = Market::default().snapshot(0, &[(90, 1)], &[(110, 1)]);
    let (report, _) = play(
        &empty.trade(20, sell, 95, 4).end(30),
        &[(10, Act::Buy(3, 95)), (11, Act::Buy(3, 96))],
    );
    assert_eq!(fills(&report), ["20 made 3 at 96", "20 made 1 at 95"]);
}

#[test]
fn an_order_meets_the_book_as_it_is_when_it_arrives() {
    let takes = |ts_ns, price| (ts_ns, vec![(price, 0)]);
    let market = |changes: &[(i64, Vec<(i64, i64)>)]| {
        let changed = |market: Market, (at, asks): &(i64, Vec<_>)| market.levels(*at, &[], asks);
        changes.iter().fold(Market::start(), changed).end(60)
    };
    // Decided at 10; with 10 on the way, the change at 15 is before it and that at 20 is not.
    let changing = market(&[takes(15, 101), takes(20, 102)]);
    let (late, heard) = play_with(latency(10, 30, 0), &changing, &[(10, Act::Trade(1))]);
    assert_eq!(fills(&late), ["20 took 1 at 102"]);
    assert_eq!(heard.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [50, 50]);
    // 102 is 1.5 from the middle that was seen when it was decided.
    assert_eq!(late.slippage(), number("1.5"));

    // What is seen at 25 happened at 20, when the order arrives.
    let changing = market(&[takes(15, 101), takes(24, 102)]);
    let (report, heard) = play_with(latency(10, 30, 5), &changing, &[(10, Act::Trade(1))]);
    assert_eq!(fills(&report), ["25 took 1 at 103"]);
    assert_eq!(heard[0], (50, "0: 1 at 103".to_owned()));
}

#[test]
fn recorded_latency_is_that_of_the_last_message() {
    // The print at 8 took 3: the order decided at 10 is there at 10 + (3 + 2) + 3 = 18.
    let market = Market::start()
        .trade(8, TradeSide::Buy, 101, 1)
        .levels(17, &[], &[(101, 0)])
        .levels(19, &[], &[(102, 0)])
        .end(60);
    let latency = Latency { entry_ns: 2, response_ns: 6, feed_ns: 0, recorded: true };
    let settings = Settings { latency, ..Settings::default() };

    let (report, heard) = play_with(settings, &market, &[(10, Act::Trade(1))]);

    assert_eq!(fills(&report), ["18 took 1 at 102"]);
    // The message at 17 took 1: it is heard at 18 - 1 + (1 + 6).
    assert_eq!(heard[0], (24, "0: 1 at 102".to_owned()));
}

#[test]
fn what_takes_less_time_does_not_overtake_what_was_sent_before() {
    // What is sent at 10 is there at 10 + 2 x 3 + 2 = 18; alone, at 13, at 13 + 2 x 1 + 2 = 17.
    let market = Market::start().trade(8, TradeSide::Buy, 101, 1).end(12).end(60);
    let latency = Latency { entry_ns: 2, response_ns: 6, feed_ns: 0, recorded: true };
    let settings = Settings { latency, ..Settings::default() };

    let (report, _) = play_with(settings, &market, &[(10, Act::Trade(2)), (13, Act::Trade(3))]);
    assert_eq!(fills(&report), ["18 took 2 at 101", "18 took 3 at 102"]);
    assert_eq!(report.fills.iter().map(|fill| fill.order).collect::<Vec<_>>(), [0, 1]);

    let (_, heard) = play_with(settings, &market, &[(10, Act::Buy(1, 100)), (13, Act::Cancel(0))]);
    let heard: Vec<_> = heard.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(heard, ["0 Open", "0 Cancelled cancelled"]);
}

#[test]
fn round_trips_are_from_flat_to_flat_and_through_zero() {
    let market = Market::default()
        .snapshot(0, &[(100, 50)], &[(101, 50)])
        .snapshot(20, &[(110, 50)], &[(111, 50)])
        .snapshot(40, &[(105, 50)], &[(106, 50)])
        .end(60);
    let script = [(10, 2), (30, -5), (50, 3), (51, 1), (52, -1)].map(|(at, q)| (at, Act::Trade(q)));

    let (report, _) = play(&market, &script);

    // Long 2 at 101; 5 sold at 110: 2 close (+18), 3 open; closed at 106 (+12); 1 lost on 1.
    assert_eq!(report.account.trips, [18, 12, -1].map(Decimal::from));
    assert_eq!(report.win_rate(), Some(2.0 / 3.0));
    assert_eq!((report.pnl, report.total_return()), (number("29"), 0.029));
    let fees = Fees { taker: number("0.01"), ..Fees::default() };
    let (with_fees, _) = play_with(Settings { fees, ..Settings::default() }, &market, &script);
    // The fee of the turn is parted as its quantity is.
    // 2 x 101, 5 x 110, 3 x 106, 106 and 105.
    let trips = [
        number("18") - number("2.02") - number("2.20"),
        number("12") - number("3.30") - number("3.18"),
        number("-1") - number("1.06") - number("1.05"),
    ];
    assert_eq!(with_fees.account.trips, trips);
    assert_eq!(with_fees.pnl, trips.iter().sum::<Decimal>());
}

#[test]
fn equity_is_sampled_before_what_happens_at_its_time() {
    let market = Market::start()
        .levels(2, &[(100, 0), (99, 0), (104, 1)], &[(101, 0), (102, 0), (103, 0), (106, 1)])
        .end(4);

    let (report, _) = play(&market, &[(1, Act::Trade(1))]);

    // Bought at 101 at time 1; the middle is 100.5, then from time 2 on 105.
    let equity = [(0, 1000.0), (1, 1000.0), (2, 999.5), (3, 1004.0), (4, 1004.0)];
    assert_eq!(report.equity, equity);
    assert!((report.max_drawdown() - 0.0005).abs() < 1e-15);
    let mut csv = Vec::new();
    report.write_equity(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert!(
        csv.starts_with("ts,equity,drawdown\n1970-01-01T00:00:00.000000000Z,1000,0\n"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 6);
}

#[test]
fn the_sharpe_ratio_is_of_whole_intervals() {
    let a_day = 86_400e9;
    let returns = [0.1, -0.1, 0.2];
    let mean = returns.iter().sum::<f64>() / 3.0;
    let deviation = (returns.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / 2.0).sqrt();

    let ratio = sharpe_ratio(&[100.0, 110.0, 99.0, 118.8], a_day).unwrap();

    assert!((ratio - mean / deviation * 365f64.sqrt()).abs() < 1e-9, "{ratio}");
    assert_eq!(YEAR_NS / a_day, 365.0);
    assert_eq!(sharpe_ratio(&[1.0, 1.0, 1.0], a_day), None);
    assert_eq!(sharpe_ratio(&[1.0, 2.0], a_day), None);
    let script = Scripted { script: Vec::new(), heard: Vec::new() };
    let mut backtest = Backtest::new(script, Settings { sample_ns: 4, ..Settings::default() });
    feed(&mut backtest, &Market::start().end(9));
    let report = backtest.finish();
    assert_eq!(report.equity.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 4, 8, 9]);
    assert_eq!(report.sharpe(), None);
}

/// Notes every call.
#[derive(Default)]
struct Listener(Vec<String>);

impl Strategy for Listener {
    fn on_start(&mut self, world: &mut World) -> Result<()> {
        world.every(10, "tick")
    }

    fn on_book(&mut self, world: &mut World, instrument: &Instrument) -> Result<()> {
        let (best, _) = world.book(instrument)?.best(Side::Bid).unwrap();
        self.0.push(format!("book {} {best}", world.now_ns()));
        Ok(())
    }

    fn on_trade(&mut self, _: &mut World, trade: &Trade<'_>) -> Result<()> {
        self.0.push(format!("{:?} {} at {}", trade.side, trade.qty, trade.price));
        Ok(())
    }

    fn on_timer(&mut self, world: &mut World, name: &'static str) -> Result<()> {
        self.0.push(format!("{name} {}", world.now_ns()));
        Ok(())
    }
}

#[test]
fn timers_trades_and_books_come_in_order() {
    let mut backtest = Backtest::new(Listener::default(), Settings::default());
    let market = Market::start().trade(10, TradeSide::Buy, 101, 3).levels(25, &[(100, 0)], &[]);

    feed(&mut backtest, &market);

    let expected = ["book 0 100", "tick 10", "Buy 3 at 101", "tick 20", "book 25 99"];
    assert_eq!(backtest.strategy.0, expected);
}

#[test]
fn wrong_orders_are_refused() {
    for (act, text) in [(Act::Trade(0), "order of 0"), (Act::Buy(-1, 5), "order of -1")] {
        let script = Scripted { script: vec![(10, act)], heard: Vec::new() };
        let mut backtest = Backtest::new(script, Settings::default());
        feed(&mut backtest, &Market::start());
        let (kind, end) = Market::default().end(20).0.remove(0);
        let key = StreamKey { instrument: Instrument::parse(NAME).unwrap(), kind };
        let error = backtest.play(&key, &end, 0..1).unwrap_err();
        assert!(error.text().contains(text), "{error}");
    }
}

/// A minute in which the price goes up and down, with more to buy while it rises.
fn swinging() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path().join("market.reel")).unwrap();
    let (mut books, mut prints) = (BatchBuilder::new(Kind::Book), BatchBuilder::new(Kind::Trades));
    for at in 0..6_000 {
        let ts_recv = TsNs(at * 10_000_000);
        let phase = at % 400;
        let (mid, rises) = (1_000 + phase.min(400 - phase) / 10, phase < 200);
        let ts_event = Some(TsNs(ts_recv.0 - at % 7 * 100_000));
        books.begin(MessageHead { ts_recv, ts_event, snapshot: true, ..MessageHead::default() });
        for away in 1..8 {
            let (bid, ask) = if rises { (20 + at % 3, 1) } else { (1, 20 + at % 3) };
            books.level(Side::Bid, whole(mid - away), whole(bid));
            books.level(Side::Ask, whole(mid + away), whole(ask));
        }
        books.end();
        let (side, price) =
            if rises { (TradeSide::Buy, mid + 1) } else { (TradeSide::Sell, mid - 1) };
        let (price, qty) = (whole(price), tickreel::Decimal::new(3, 3).unwrap());
        prints.trade(&TradeRow { ts_recv, ts_event, side, price, qty, trade_id: "" });
    }
    let mut import = store.import(ImportOptions::default()).unwrap();
    for (kind, mut rows) in [(Kind::Book, books), (Kind::Trades, prints)] {
        let key = StreamKey { instrument: Instrument::parse(NAME).unwrap(), kind };
        for batch in rows.finish().unwrap() {
            import.append(&key, &batch).unwrap();
        }
    }
    import.commit().unwrap();
    (folder, store)
}

#[test]
fn a_store_and_its_server_give_the_same_report() {
    let (_folder, store) = swinging();
    let run = |source: [&str; 2], strategy: &str| {
        let words = [source[0], source[1], NAME, "--strategy", strategy];
        let arguments = example::Arguments::parse(words.into_iter().map(str::to_owned)).unwrap();
        let report = example::report_of(&arguments).unwrap();
        (report.to_string(), report.fills.len(), report.equity)
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let never = std::future::pending();
    runtime.spawn(serve(store.clone(), listener, ServeOptions::default(), never));
    let root = store.root().to_str().unwrap();
    for strategy in ["imbalance", "maker"] {
        let (local, remote) = (run(["--store", root], strategy), run(["--server", &url], strategy));

        assert!(local.1 > 10, "{strategy}: {} fills", local.1);
        assert_eq!(local, remote);
    }
}
