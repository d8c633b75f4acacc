//! Every fault is seen by a client and counted.

use std::time::Duration;

use tickreel_venue::{Fault, Pace, Script, Start, Venue};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, connect_plain, fault, get, raw, venue};
use crate::playing::sample;

const BOOK: &str = "books:BTC-USDT";

/// An OKX market that begins with [`Venue::go`], a client subscribed to its book, and the texts
/// that would come.
async fn book() -> (Venue, Client, Vec<String>) {
    let (script, _) = sample("okex", 3);
    let texts: Vec<String> = script.texts_of(BOOK).map(str::to_owned).collect();
    assert!(texts.len() > 20);
    let venue = venue("okex", script, Pace::FlatOut, Start::Go).await;
    let client = subscriber(&venue).await;
    (venue, client, texts)
}

async fn subscriber(venue: &Venue) -> Client {
    let mut client = Client::connect(venue, "/ws/v5/public").await;
    client.say(r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#).await;
    assert!(client.text().await.contains(r#""event":"subscribe""#));
    client
}

#[tokio::test]
async fn messages_are_dropped_doubled_and_swapped() {
    let (venue, mut client, texts) = book().await;
    for command in ["drop", "double", "swap"] {
        fault(&venue, &format!("{command} {BOOK}"));
    }
    venue.go();

    let [b, c, d, e] = [1, 2, 3, 4].map(|at: usize| texts[at].clone());
    assert_eq!(client.texts(5).await, [b.clone(), b, d, c, e]);
    assert_eq!(client.texts(texts.len() - 5).await, texts[5..]);
    let counters = venue.counters();
    let spoiled = ["drop", "double", "swap"].map(|name| (BOOK.to_owned(), name));
    assert_eq!(counters.spoiled, spoiled);
    assert_eq!(counters.faults["drop"] + counters.faults["double"] + counters.faults["swap"], 3);
}

#[tokio::test]
async fn a_checksum_or_a_price_is_made_wrong() {
    let (venue, mut client, texts) = book().await;
    fault(&venue, &format!("checksum {BOOK}"));
    fault(&venue, &format!("price {BOOK}"));
    venue.go();

    let spoiled = client.texts(3).await;

    let differs = |at: usize| {
        assert_eq!(spoiled[at].len(), texts[at].len());
        let pairs = spoiled[at].bytes().zip(texts[at].bytes());
        pairs
            .filter(|(spoiled, text)| spoiled != text)
            .map(|(spoiled, _)| spoiled)
            .collect::<Vec<_>>()
    };
    assert!(!differs(0).is_empty() && differs(0).iter().all(u8::is_ascii_digit));
    assert_eq!(differs(1), b"x");
    assert_eq!(spoiled[2], texts[2]);
    assert_eq!(venue.counters().faults["checksum"], 1);
}

#[tokio::test]
async fn what_cannot_be_spoiled_is_refused() {
    let (script, _) = sample("binance", 1);
    let venue = venue("binance", script, Pace::FlatOut, Start::Go).await;
    let refused = |text: &str| venue.fault(&text.parse::<Fault>().unwrap()).unwrap_err();
    assert!(refused("drop nothing").contains("no topic"));
    assert!(refused("checksum btcusdt@depth@100ms").contains("no checksum"));
}

#[tokio::test]
async fn a_stalled_venue_sends_nothing_until_it_goes_on() {
    let (venue, mut client, texts) = book().await;
    fault(&venue, "stall on");
    venue.go();
    client.ping().await;
    client.nothing().await;

    fault(&venue, "stall off");

    let mut heard = Vec::new();
    while heard.len() < texts.len() {
        if let Message::Text(text) = client.message().await.unwrap() {
            heard.push(text.as_str().to_owned());
        }
    }
    assert!(heard == texts);
    assert_eq!(venue.counters().faults["stall"], 1);
}

#[tokio::test]
async fn frames_break_off_and_carry_rubbish() {
    let (venue, mut client, _) = book().await;
    fault(&venue, "garbage");
    assert!(client.text().await.contains("garbage"));
    fault(&venue, "binary");
    assert!(
        matches!(client.message().await.unwrap(), Message::Binary(bytes) if bytes.len() == 257)
    );
    fault(&venue, "large 20971520");
    assert_eq!(client.text().await.len(), 20 << 20);
    fault(&venue, "half");
    client.error().await;
    let counters = venue.counters();
    for name in ["garbage", "binary", "large", "half"] {
        assert_eq!(counters.faults[name], 1, "{name}");
    }
    assert!(!counters.connections[0].is_open);
}

#[tokio::test]
async fn connections_are_closed_reset_and_refused() {
    let (venue, mut client, _) = book().await;
    fault(&venue, "close 1013");
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1013);

    let mut client = subscriber(&venue).await;
    fault(&venue, "reset");
    let error = client.error().await.to_string();
    assert!(error.contains("reset"), "{error}");

    fault(&venue, "refuse on");
    let mut refused = 0;
    while raw(&venue).await.is_ok() {
        refused += 1;
        assert!(refused < 100, "connections are still accepted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fault(&venue, "refuse off");
    while raw(&venue).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connect_plain(&format!("{}/ws/v5/public", venue.stream_url())).await.unwrap();
}

#[tokio::test]
async fn requests_are_refused_and_pings_not_answered() {
    let (script, _) = sample("binance-futures", 1);
    let venue = venue("binance-futures", script, Pace::FlatOut, Start::Go).await;
    fault(&venue, "status 429 2");
    fault(&venue, "status 418");
    for expected in [429, 429, 418] {
        let (status, head, body) = get(&venue, "/fapi/v1/exchangeInfo").await;
        assert_eq!(status, expected);
        let wait = if expected == 418 { "Retry-After: 2" } else { "Retry-After: 1" };
        assert!(head.contains(wait) && body.contains("-1003"), "{head} {body}");
    }
    assert_eq!(get(&venue, "/fapi/v1/exchangeInfo").await.0, 200);
    assert_eq!(venue.counters().statuses[&429], 2);

    let mut client = Client::connect(&venue, "/stream").await;
    client.ping().await;
    assert!(matches!(client.message().await.unwrap(), Message::Pong(_)));
    fault(&venue, "deaf on");
    client.ping().await;
    client.nothing().await;
    assert_eq!(venue.counters().connections[0].pings, 2);
}

#[tokio::test]
async fn after_a_restart_sequences_begin_with_one() {
    let (script, _) = sample("okex", 3);
    let half = half(script);
    let venue = venue("okex", half.0, Pace::FlatOut, Start::Go).await;
    let mut client = subscriber(&venue).await;
    venue.go();
    client.texts(half.1).await;
    venue.finished().await;

    fault(&venue, "restart");
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1012);
    let mut client = subscriber(&venue).await;
    let fresh = client.text().await;

    assert!(fresh.contains(r#""seqId":1,"prevSeqId":-1"#), "{}", &fresh[fresh.len() - 80..]);
    assert_eq!(venue.counters().faults["restart"], 1);
}

/// The script and how many book messages it has.
fn half(script: Script) -> (Script, usize) {
    let count = script.texts_of(BOOK).count();
    (script, count)
}
