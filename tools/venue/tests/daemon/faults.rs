//! Whatever a venue does wrong: the loss is a gap, the book comes back, and it is the venue's book.

use std::collections::BTreeMap;
use std::time::Duration;

use tickreel::book::State;
use tickreel::event::{Kind, StreamKey};
use tickreel::ingest::daemon::stats::Status;
use tickreel::ingest::sample::MarketOptions;
use tickreel::store::Store;
use tickreel::{Decimal, Instrument, TsNs};
use tickreel_venue::book::Side;
use tickreel_venue::{Options, Pace, Script, Start, Venue, protocol};

use crate::recorded::{PATIENCE, Running, config, eventually, feed, finished, gaps};

/// One book of one venue.
pub struct Market {
    pub exchange: &'static str,
    symbol: &'static str,
    topic: &'static str,
}

pub const BINANCE: Market =
    Market { exchange: "binance-futures", symbol: "BTCUSDT", topic: "btcusdt@depth@100ms" };
pub const OKX: Market = Market { exchange: "okex", symbol: "BTC-USDT", topic: "books:BTC-USDT" };

type Levels = BTreeMap<(bool, Decimal), Decimal>;

impl Market {
    pub fn key(&self) -> StreamKey {
        let instrument = Instrument::new(self.exchange, self.symbol).unwrap();
        StreamKey { instrument, kind: Kind::Book }
    }

    /// `seconds` of it, without holes.
    pub fn options(&self, seconds: i64) -> MarketOptions {
        let mut market = MarketOptions::new(11).unwrap();
        market.duration_ns = seconds * 1_000_000_000;
        market.instruments.retain(|options| options.instrument == self.key().instrument);
        market.instruments.iter_mut().for_each(|options| options.gaps = 0);
        market
    }

    /// A venue that plays half a minute of it in three seconds.
    pub async fn venue(&self) -> Venue {
        self.playing(30, Pace::Times(10.0)).await
    }

    /// A venue that plays `seconds` of it.
    pub async fn playing(&self, seconds: i64, pace: Pace) -> Venue {
        let protocol = protocol::of_exchange(self.exchange).unwrap();
        let (script, _) = Script::of_sample(&*protocol, &self.options(seconds)).unwrap();
        let start = Start::Go;
        Venue::start(protocol, script, Options { pace, start, ..Options::default() }).await.unwrap()
    }

    /// The venue's book as it stands.
    fn true_book(&self, venue: &Venue) -> Levels {
        let book = venue.book(self.topic).unwrap();
        let parse = |text: &str| Decimal::parse(text).unwrap();
        [Side::Bid, Side::Ask]
            .into_iter()
            .flat_map(|side| {
                let levels = book.bare(side);
                levels.map(move |(price, qty)| ((side == Side::Bid, parse(price)), parse(qty)))
            })
            .collect()
    }

    /// The book as it was recorded up to now, if it is whole.
    fn recorded_book(&self, store: &Store) -> Option<Levels> {
        let snapshot = store.snapshot().unwrap();
        let tracker = snapshot.book_at(&self.key().instrument, TsNs::MAX).ok()?;
        if tracker.state() != State::Live {
            return None;
        }
        let book = tracker.book();
        let scales = (book.price_scale(), book.qty_scale());
        let sides = [tickreel::event::Side::Bid, tickreel::event::Side::Ask];
        let levels = sides.into_iter().flat_map(|side| {
            let is_bid = side == tickreel::event::Side::Bid;
            book.levels(side).map(move |(price, qty)| {
                let price = Decimal::new(price, scales.0).unwrap();
                ((is_bid, price), Decimal::new(qty, scales.1).unwrap())
            })
        });
        Some(levels.collect())
    }
}

impl Market {
    /// Waits until the recorded book is the venue's.
    pub async fn agrees(&self, daemon: &Running, venue: &Venue, after: &str) {
        let agree = async {
            while self.recorded_book(&daemon.store).as_ref() != Some(&self.true_book(venue)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, agree).await.is_err() {
            let is_live = self.recorded_book(&daemon.store).is_some();
            let (status, counters) = (daemon.stats.status(), venue.counters());
            panic!("{after}: another book, live {is_live}: {status:#?} {counters:#?}");
        }
    }
}

/// What came of it.
struct Outcome {
    status: Status,
    /// Gaps that were stored before the end of the recording.
    gaps: usize,
}

/// Records a market whose venue does `command` in the middle, until the recorded book is the
/// venue's again.
async fn survive(market: &Market, command: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let venue = market.venue().await;
    let more = "kinds = [\"book\", \"trades\"]";
    let daemon = Running::start(folder.path(), config(&feed(market.exchange, &venue, more)));
    eventually(&venue, "subscribed", |counters| {
        counters.connections.iter().map(|c| c.subscribed).sum::<u64>() >= 2
    })
    .await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;

    for command in command.split("; ") {
        match command.strip_prefix("wait ") {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await,
            None => venue.fault(&command.parse().unwrap()).unwrap(),
        }
    }
    finished(&venue).await;
    market.agrees(&daemon, &venue, command).await;

    let status = daemon.stop().await;
    let store = Store::open(folder.path()).unwrap();
    let report = store.verify(|_, _| ()).unwrap();
    assert!(report.damage.is_empty(), "{command}: {:?}", report.damage);
    Outcome { status, gaps: gaps(&store.snapshot().unwrap(), &market.key()) - 1 }
}

/// What must come of a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// Nothing is lost.
    Nothing,
    /// A gap, on the same connection.
    Gap,
    /// The connection is lost, and that is a gap.
    Lost,
}

async fn check(market: &Market, command: &str, expect: Expect) {
    let Outcome { status, gaps } = survive(market, command).await;
    let feed = &status.feeds[0];
    let seen = match (gaps, feed.reconnects) {
        (0, 0) => Expect::Nothing,
        (_, 0) => Expect::Gap,
        _ => Expect::Lost,
    };
    assert!(seen == expect, "{} {command}: {gaps} gaps, {status:#?}", market.exchange);
    assert_eq!(feed.resyncs > 0, gaps > 0, "{} {command}: {status:#?}", market.exchange);
}

/// One test for each fault: market, commands, what must come of it.
macro_rules! faults {
    ($($name:ident: $market:ident, $command:literal, $expect:ident;)+) => {
        $(#[tokio::test]
        async fn $name() {
            check(&$market, $command, Expect::$expect).await;
        })+
    };
}

faults! {
    binance_drops: BINANCE, "drop btcusdt@depth@100ms", Gap;
    binance_doubles: BINANCE, "double btcusdt@depth@100ms 3", Nothing;
    binance_swaps: BINANCE, "swap btcusdt@depth@100ms", Gap;
    binance_writes_no_price: BINANCE, "price btcusdt@depth@100ms", Gap;
    binance_closes: BINANCE, "close 1008", Lost;
    binance_resets: BINANCE, "reset", Lost;
    binance_breaks_off_in_a_frame: BINANCE, "half", Lost;
    binance_stalls: BINANCE, "stall on; wait 500; stall off", Nothing;
    binance_begins_anew: BINANCE, "restart", Lost;
    binance_has_too_many_requests: BINANCE, "status 429 1; drop btcusdt@depth@100ms", Gap;
    binance_fails_to_answer: BINANCE, "status 500 2; drop btcusdt@depth@100ms", Gap;
    binance_refuses: BINANCE, "refuse on; reset; wait 1500; refuse off", Lost;
    binance_sends_too_much: BINANCE, "large 20000000", Lost;
    okx_drops: OKX, "drop books:BTC-USDT", Gap;
    okx_swaps: OKX, "swap books:BTC-USDT", Gap;
    okx_sends_wrong_checksums: OKX, "checksum books:BTC-USDT", Gap;
    okx_writes_no_price: OKX, "price books:BTC-USDT", Gap;
    okx_sends_garbage: OKX, "garbage", Gap;
    okx_sends_binary: OKX, "binary", Gap;
    okx_closes: OKX, "close 1012", Lost;
    okx_begins_anew: OKX, "restart", Lost;
}
