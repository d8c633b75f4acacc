//! Topics, snapshots and limits as the venues have them.

use tickreel::ingest::sample::{Captures, MarketOptions};
use tickreel_venue::{Options, Pace, Script, Start, Venue, protocol};

use crate::client::{Client, captured, get, venue};

/// A made-up market of one venue, without holes.
pub fn sample(exchange: &str, seconds: i64) -> (Script, Captures) {
    let protocol = protocol::of_exchange(exchange).unwrap();
    let mut market = MarketOptions::new(5).unwrap();
    market.duration_ns = seconds * 1_000_000_000;
    market.truth_every_ns = 1_000_000_000;
    for instrument in &mut market.instruments {
        instrument.gaps = 0;
    }
    Script::of_sample(&*protocol, &market).unwrap()
}

const USDM: &str = "binance-ws/usdm_btcusdt_20230404.dat.gz";
const DEPTH: &str = r#"{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms"],"id":1}"#;

#[tokio::test]
async fn a_client_hears_its_topics_only_all_of_them_and_in_order() {
    let Some(script) = captured("binance-futures", USDM) else { return };
    let trades: Vec<String> = script.texts_of("btcusdt@trade").map(str::to_owned).collect();
    assert_eq!(trades.len(), 2197);
    let venue = venue("binance-futures", script, Pace::FlatOut, Start::When(1)).await;
    let mut client = Client::connect(&venue, "/stream").await;

    client.say(r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","nobody@trade"],"id":7}"#).await;

    assert_eq!(client.text().await, r#"{"result":null,"id":7}"#);
    assert!(client.texts(trades.len()).await == trades);
    client.nothing().await;
    assert_eq!(venue.subscribed(), ["btcusdt@trade"]);
    assert_eq!(venue.counters().messages, 2197);
}

#[tokio::test]
async fn nothing_is_played_before_all_topics_are_subscribed() {
    let Some(script) = captured("binance-futures", USDM) else { return };
    let first = script.texts_of("btcusdt@bookTicker").next().unwrap().to_owned();
    let venue = venue("binance-futures", script, Pace::FlatOut, Start::When(2)).await;
    let mut client = Client::connect(&venue, "/public/stream?streams=btcusdt@bookTicker").await;
    client.nothing().await;

    client.say(DEPTH).await;

    assert_eq!(client.text().await, r#"{"result":null,"id":1}"#);
    assert_eq!(client.text().await, first);
}

#[tokio::test]
async fn what_a_path_does_not_carry_stays_silent_and_raw_streams_are_bare() {
    let Some(script) = captured("binance-futures", USDM) else { return };
    let bare = script.texts_of("btcusdt@trade").next().unwrap();
    let bare = bare.split_once("\"data\":").unwrap().1.strip_suffix('}').unwrap().to_owned();
    let venue = venue("binance-futures", script, Pace::FlatOut, Start::Go).await;
    let mut market = Client::connect(&venue, "/market/stream?streams=btcusdt@trade").await;
    let mut raw = Client::connect(&venue, "/ws/btcusdt@trade").await;

    venue.go();

    assert_eq!(raw.text().await, bare);
    market.nothing().await;
}

#[tokio::test]
async fn requests_that_are_none_are_refused_in_the_venues_words() {
    let (script, _) = sample("okex", 2);
    let okx = venue("okex", script, Pace::FlatOut, Start::Go).await;
    let mut client = Client::connect(&okx, "/ws/v5/public").await;
    client.say("ping").await;
    assert_eq!(client.text().await, "pong");
    client.say(r#"{"op":"subscribe","args":[{"channel":"books","instId":"NO-NE"}]}"#).await;
    let refused = client.text().await;
    assert!(refused.contains(r#""event":"error""#) && refused.contains("60018"), "{refused}");
    client.say("{").await;
    assert!(client.text().await.contains("60012"));

    let (script, _) = sample("binance", 2);
    let binance = venue("binance", script, Pace::FlatOut, Start::Go).await;
    let mut client = Client::connect(&binance, "/stream").await;
    client.say("{").await;
    assert!(client.text().await.contains(r#"{"error":{"code":3"#));
    client.say(r#"{"method":"X","params":[],"id":1}"#).await;
    assert!(client.text().await.contains("unknown variant"));
    let (status, _, body) = get(&binance, "/api/v3/depth?symbol=NOUSDT&limit=5").await;
    assert_eq!((status, body.contains("-1121")), (400, true));
    assert_eq!(get(&binance, "/x").await.0, 404);
}

#[tokio::test]
async fn a_captured_snapshot_is_answered_once_its_time_has_come_and_later_the_book() {
    let Some(script) = captured("binance-futures", USDM) else { return };
    let venue = venue("binance-futures", script, Pace::FlatOut, Start::When(1)).await;
    let path = "/fapi/v1/depth?symbol=BTCUSDT&limit=1000";
    let mut client = Client::connect(&venue, "/stream").await;

    let (first, ()) = tokio::join!(get(&venue, path), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(venue.counters().statuses.is_empty(), "answered before its time");
        client.say(DEPTH).await;
    });
    venue.finished().await;
    let second = get(&venue, path).await;

    assert!(first.2.starts_with(r#"{"lastUpdateId":"#), "{} {:.100}", first.0, first.2);
    assert!(second.2 != first.2);
    let id =
        |body: &str| tickreel_venue::json::between(body, "Id\":", ",").unwrap().trim().to_owned();
    let last = venue.book("btcusdt@depth@100ms").unwrap().seq;
    assert_eq!(id(&second.2), last.to_string());
    assert!(id(&first.2).parse::<i64>().unwrap() < last);
    assert_eq!(second.2.matches("[\"").count(), 2000);
}

#[tokio::test]
async fn the_book_as_it_stands_is_the_true_book() {
    for (exchange, path, topic) in [
        ("binance", "/api/v3/depth?symbol=BTCUSDT&limit=5000", "btcusdt@depth@100ms"),
        ("okex", "", "books:BTC-USDT"),
    ] {
        let (script, captures) = sample(exchange, 10);
        let venue = venue(exchange, script, Pace::FlatOut, Start::Go).await;
        venue.go();
        venue.finished().await;
        let truth = captures.truth.books.last().unwrap();
        let seq = truth.venue_seq.unwrap();
        let book = venue.book(topic).unwrap();
        assert!(book.seq >= seq && seq > 0);

        let text = if path.is_empty() {
            let mut client = Client::connect(&venue, "/ws/v5/public").await;
            let text =
                r#"{"id":"9","op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#;
            client.say(text).await;
            assert!(client.text().await.starts_with(r#"{"id":"9","event":"subscribe","arg":{"#));
            client.text().await
        } else {
            get(&venue, path).await.2
        };
        let bids = book.arrays(tickreel_venue::book::Side::Bid, 5000);
        assert!(bids.len() > 1000 && text.contains(&bids), "{text}");
    }
}

#[tokio::test]
async fn who_subscribes_again_gets_the_book_as_it_stands_with_its_checksum() {
    let Some(script) = captured("okex", "okx-ws/OKX.jsonl.zst") else { return };
    let last = script.texts_of("books:UNI-USD-SWAP").last().unwrap().to_owned();
    let okx = venue("okex", script, Pace::FlatOut, Start::When(1)).await;
    let mut client = Client::connect(&okx, "/ws/v5/public").await;
    let text = |op: &str| {
        format!(r#"{{"op":"{op}","args":[{{"channel":"books","instId":"UNI-USD-SWAP"}}]}}"#)
    };
    client.say(&text("subscribe")).await;
    okx.finished().await;
    client.say(&text("unsubscribe")).await;
    client.say(&text("subscribe")).await;

    let fresh = loop {
        let text = client.text().await;
        if text.contains(r#""event":"unsubscribe""#) {
            assert!(client.text().await.contains(r#""event":"subscribe""#));
            break client.text().await;
        }
    };

    // The venue's own checksum of the last message holds for the whole book.
    let sum = |text: &str| {
        let text = tickreel_venue::json::between(text, "\"checksum\":", "}").unwrap();
        text.trim_end_matches(['}', ']']).split(',').next().unwrap().to_owned()
    };
    assert_eq!(sum(&fresh), sum(&last));
    assert!(fresh.contains(r#""action":"snapshot""#));
    assert_eq!(okx.counters().fresh, 1);
}

#[tokio::test]
async fn a_client_that_says_too_much_is_cut_off() {
    let (script, _) = sample("binance", 1);
    let protocol = protocol::of_exchange("binance").unwrap();
    let venue = Venue::start(protocol, script, Options::default()).await.unwrap();
    let mut client = Client::connect(&venue, "/stream").await;
    for _ in 0..6 {
        client.say(DEPTH).await;
    }

    let frame = client.closed().await.unwrap();

    assert_eq!(u16::from(frame.code), 1008);
    let counters = venue.counters();
    assert_eq!(counters.connections[0].texts_in_a_second, 6);
    assert_eq!(counters.cut_off.len(), 1);
    assert!(!counters.connections[0].is_open);
}

#[tokio::test]
async fn every_lap_goes_on_where_the_last_one_ended() {
    for exchange in ["binance", "binance-futures"] {
        let (script, _) = sample(exchange, 3);
        let count = script.texts_of("btcusdt@depth@100ms").count();
        let options =
            Options { pace: Pace::FlatOut, start: Start::When(1), laps: 3, ..Options::default() };
        let protocol = protocol::of_exchange(exchange).unwrap();
        let venue = Venue::start(protocol, script, options).await.unwrap();
        let mut client = Client::connect(&venue, "/stream").await;
        client.say(DEPTH).await;
        client.text().await;

        let texts = client.texts(3 * count).await;

        let number = |text: &str, key: &str| -> i64 {
            tickreel_venue::json::between(text, key, ",").unwrap().parse().unwrap()
        };
        for pair in texts.windows(2) {
            assert_eq!(number(&pair[1], "\"U\":"), number(&pair[0], "\"u\":") + 1);
        }
    }
}

#[tokio::test]
async fn a_listing_has_every_symbol_of_the_script() {
    let (script, _) = sample("binance-futures", 1);
    let futures = venue("binance-futures", script, Pace::FlatOut, Start::Go).await;
    let (status, _, body) = get(&futures, "/fapi/v1/exchangeInfo").await;
    assert_eq!(status, 200);
    assert_eq!(body.matches("\"TRADING\"").count(), 2);
    assert!(body.contains("BTCUSDT") && body.contains("ETHUSDT"));

    let (script, _) = sample("okex", 1);
    let okx = venue("okex", script, Pace::FlatOut, Start::Go).await;
    let (_, _, body) = get(&okx, "/api/v5/public/instruments?instType=SPOT").await;
    assert!(body.contains("\"BTC-USDT\""));
    let (_, _, body) = get(&okx, "/api/v5/public/instruments?instType=SWAP").await;
    assert!(body.contains("\"data\":[]"));
}
