//! What the daemon does of its own accord: it listens whether a venue is still there, renews its
//! connections, waits when it is told to, keeps every venue's pace, and finds new listings.

use std::collections::BTreeSet;
use std::time::Duration;

use tickreel::event::Kind;
use tickreel::ingest::venues;
use tickreel::store::Store;
use tickreel_venue::{Options, Pace, Script, Start, Venue, protocol};

use crate::faults::{BINANCE, OKX};
use crate::recorded::{Running, config, eventually, feed, finished, gaps, rows_of};

#[tokio::test]
async fn a_venue_that_falls_silent_is_left_for_a_new_connection() {
    let folder = tempfile::tempdir().unwrap();
    let venue = BINANCE.venue().await;
    // As long as it is there it answers to pings.
    let more = "kinds = [\"book\"]\nping_every = \"200ms\"\nsilence_max = \"1s\"";
    let daemon = Running::start(folder.path(), config(&feed(BINANCE.exchange, &venue, more)));
    eventually(&venue, "subscribed", |counters| counters.connections.len() == 1).await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;

    venue.fault(&"stall on".parse().unwrap()).unwrap();
    daemon.until("left", |status| status.feeds[0].reconnects > 0).await;
    daemon.until("told", |status| status.feeds[0].books_live == 0).await;
    venue.fault(&"stall off".parse().unwrap()).unwrap();
    finished(&venue).await;
    BINANCE.agrees(&daemon, &venue, "silence").await;

    assert!(daemon.stop().await.feeds[0].resyncs > 0);
    let store = Store::open(folder.path()).unwrap();
    assert!(gaps(&store.snapshot().unwrap(), &BINANCE.key()) > 1);
    let status = rows_of(&store.snapshot().unwrap(), &[Kind::Status], &[]);
    assert!(status.values().flatten().any(|row| row.contains("disconnected")), "{status:?}");
}

#[tokio::test]
async fn heartbeats_that_are_not_answered_mean_that_nobody_is_there() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing is played: answers to heartbeats are all there is to hear.
    let venue = OKX.venue().await;
    let more = "kinds = [\"book\"]\nping_every = \"200ms\"\nsilence_max = \"800ms\"";
    let daemon = Running::start(folder.path(), config(&feed(OKX.exchange, &venue, more)));
    eventually(&venue, "heard", |counters| {
        counters.connections.first().is_some_and(|connection| connection.pings >= 8)
    })
    .await;
    assert_eq!(daemon.stats.status().feeds[0].reconnects, 0);

    venue.fault(&"deaf on".parse().unwrap()).unwrap();
    eventually(&venue, "left", |counters| counters.connections.len() >= 2).await;
    venue.fault(&"deaf off".parse().unwrap()).unwrap();
    eventually(&venue, "heard again", |counters| {
        let last = counters.connections.last();
        last.is_some_and(|connection| connection.is_open && connection.pings >= 8)
    })
    .await;

    assert!(daemon.stop().await.feeds[0].reconnects >= 1);
}

#[tokio::test]
async fn a_connection_is_renewed_before_the_venue_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let venue = BINANCE.venue().await;
    let more = "kinds = [\"book\"]\nage_max = \"3s\"\nconnections = 2";
    let daemon = Running::start(folder.path(), config(&feed(BINANCE.exchange, &venue, more)));
    eventually(&venue, "subscribed", |counters| counters.connections.len() == 2).await;
    venue.go();
    eventually(&venue, "renewed", |counters| {
        counters.connections.len() >= 4 && counters.connections[..2].iter().all(|c| !c.is_open)
    })
    .await;
    finished(&venue).await;
    BINANCE.agrees(&daemon, &venue, "renewed").await;

    // Nothing was wrong with the venue.
    assert!(venue.counters().cut_off.is_empty() && venue.counters().faults.is_empty());
    assert!(daemon.stop().await.feeds[0].reconnects >= 2);
}

#[tokio::test]
async fn a_venue_that_says_too_many_requests_is_left_alone_as_long_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let venue = BINANCE.venue().await;
    // The list of symbols, then the snapshot of the book.
    venue.fault(&"status 418 1".parse().unwrap()).unwrap();
    let more = "kinds = [\"book\"]";
    let daemon = Running::start(folder.path(), config(&feed(BINANCE.exchange, &venue, more)));
    eventually(&venue, "subscribed", |counters| counters.connections.len() == 1).await;
    venue.fault(&"status 429 1".parse().unwrap()).unwrap();
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;

    // Left to itself it would have asked again after 1 s, and after 0.6 s.
    let retried = venue.counters().retried_after;
    assert!(retried[&418] >= Duration::from_secs(2), "{retried:?}");
    assert!(retried[&429] >= Duration::from_secs(1), "{retried:?}");
    daemon.stop().await;
}

/// A venue with many symbols is subscribed to, twice over, and never finds us too fast.
async fn keeps_the_pace_of(exchange: &str, market: &str, [prefix, suffix]: [&str; 2]) {
    let protocol = protocol::of_exchange(exchange).unwrap();
    let limits = protocol.limits();
    let mut symbols = BTreeSet::new();
    let letters = |at: u8| format!("{}Q{}", char::from(b'A' + at / 26), char::from(b'A' + at % 26));
    let mut script = Script::default();
    for at in 0..24 {
        let letters = letters(at);
        let letters = if suffix == "usd" { letters.to_lowercase() } else { letters };
        symbols.insert(format!("{prefix}{letters}{suffix}"));
    }
    script.symbols = symbols.iter().map(|symbol| format!("{market}{symbol}")).collect();
    let options = Options { pace: Pace::FlatOut, start: Start::Go, ..Options::default() };
    let venue = Venue::start(protocol, script, options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let live = venues::live(exchange).unwrap();
    let kinds = [Kind::Book, Kind::Trades, Kind::Quotes, Kind::Ticker, Kind::Liquidations];

    let daemon = Running::start(folder.path(), config(&feed(exchange, &venue, "connections = 2")));
    daemon.until("chosen", |status| status.feeds[0].connections >= 2).await;
    let topics: BTreeSet<_> = symbols
        .iter()
        .flat_map(|symbol| kinds.iter().flat_map(|kind| live.topics(*kind, symbol)))
        .collect();
    // All of them, or so many texts that they would be too many at once.
    let texts = topics.len().div_ceil(live.manners().topics_per_message);
    let enough = 2 * texts.min(limits.texts.0.saturating_add(1)).min(12) as u64;
    eventually(&venue, "subscribed", |counters| {
        counters.connections.iter().map(|connection| connection.texts).sum::<u64>() >= enough
    })
    .await;

    let counters = venue.counters();
    assert!(counters.cut_off.is_empty(), "{exchange}: {:?}", counters.cut_off);
    let most = counters.connections.iter().map(|c| c.texts_in_a_second).max();
    if limits.texts.1 <= Duration::from_secs(1) {
        assert!(most <= Some(limits.texts.0), "{exchange}: {most:?} of {:?}", limits.texts);
    }
    println!("{exchange}: at most {most:?} texts in a second, {:?} allowed", limits.texts);
    assert_eq!(daemon.stop().await.feeds[0].reconnects, 0, "{exchange}");
}

/// One test for each venue: exchange; how the tool writes a symbol: market, what stands before and
/// behind three letters that are chosen at will.
macro_rules! paces {
    ($($name:ident: $exchange:literal, $market:literal, $prefix:literal, $suffix:literal;)+) => {
        const PACED: &[&str] = &[$($exchange),+];
        $(#[tokio::test]
        async fn $name() {
            keeps_the_pace_of($exchange, $market, [$prefix, $suffix]).await;
        })+
    };
}

paces! {
    pace_of_binance: "binance", "", "", "USDT";
    pace_of_binance_futures: "binance-futures", "", "", "USDT";
    pace_of_binance_delivery: "binance-delivery", "", "", "USD_PERP";
    pace_of_okex: "okex", "", "", "-USDT";
    pace_of_okex_swap: "okex-swap", "", "", "-USDT-SWAP";
    pace_of_okex_futures: "okex-futures", "", "", "-USDT-260327";
    pace_of_okex_options: "okex-options", "", "", "-USD-260327-50000-C";
    pace_of_bybit: "bybit", "linear ", "", "USDT";
    pace_of_bybit_spot: "bybit-spot", "spot ", "", "USDT";
    pace_of_coinbase: "coinbase", "", "", "-USD";
    pace_of_kraken: "kraken", "", "", "/USD";
    pace_of_cryptofacilities: "cryptofacilities", "", "PI_", "USD";
    pace_of_bitget: "bitget", "SPOT:", "", "USDT";
    pace_of_bitget_futures: "bitget-futures", "USDT-FUTURES:", "", "USDT";
    pace_of_deribit: "deribit", "", "", "-PERPETUAL";
    pace_of_kucoin: "kucoin", "", "", "-USDT";
    pace_of_gate_io: "gate-io", "", "", "_USDT";
    pace_of_gate_io_futures: "gate-io-futures", "", "", "_USDT";
    pace_of_bitfinex: "bitfinex", "", "t", "USD";
    pace_of_bitfinex_derivatives: "bitfinex-derivatives", "", "t", "F0:USTF0";
    pace_of_bitmex: "bitmex", "", "", "USD";
    pace_of_hyperliquid: "hyperliquid", "", "", "";
    pace_of_bitstamp: "bitstamp", "", "", "usd";
}

#[test]
fn the_pace_of_every_venue_is_looked_at() {
    let live = venues::exchanges().into_iter().filter(|exchange| venues::live(exchange).is_ok());
    let missing: Vec<_> = live.filter(|exchange| !PACED.contains(exchange)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn a_new_listing_is_recorded_and_one_that_is_gone_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let venue = BINANCE.venue().await;
    let tell = |command: &str| venue.fault(&command.parse().unwrap()).unwrap();
    tell("unlist BTCUSDT");
    tell("list OLDUSDT");
    let more = "kinds = [\"book\", \"trades\"]\nrefresh = \"100ms\"";
    let daemon = Running::start(folder.path(), config(&feed(BINANCE.exchange, &venue, more)));
    daemon.until("old", |status| status.feeds[0].books == 1).await;

    tell("list BTCUSDT");
    daemon.until("new", |status| status.feeds[0].books == 2).await;
    let subscribed = || venue.subscribed().len();
    eventually(&venue, "subscribed", |_| subscribed() == 2).await;
    venue.go();
    daemon.until("whole", |status| status.feeds[0].books_live == 1).await;
    tell("unlist OLDUSDT");
    daemon.until("left", |status| status.feeds[0].books == 1).await;
    finished(&venue).await;
    BINANCE.agrees(&daemon, &venue, "new").await;

    // One connection all the time, and no hole but the end of the recording.
    let status = daemon.stop().await.feeds[0].clone();
    assert_eq!((status.reconnects, venue.counters().connections.len()), (0, 1), "{status:#?}");
    assert_eq!(status.rows_lost, 0, "{status:#?}");
    let snapshot = Store::open(folder.path()).unwrap().snapshot().unwrap();
    assert_eq!(gaps(&snapshot, &BINANCE.key()), 1);
}
