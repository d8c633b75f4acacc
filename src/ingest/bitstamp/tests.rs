//! Bitstamp messages written by hand.

use super::super::testing::{CONNECTION, feed, new_dialect, texts, try_feed};
use super::*;
use crate::TsNs;
use crate::ingest::rows::Rows;
use crate::ingest::{Dialect, Frame};

fn changes(time: i64, bids: &str) -> String {
    format!(
        r#"{{"data":{{"timestamp":"1","microtimestamp":"{time}","bids":[{bids}],"asks":[]}},
            "channel":"diff_order_book_btcusd","event":"data"}}"#
    )
}

fn reply(dialect: &mut dyn Dialect, time: i64, rows: &mut Rows) {
    let url = "https://www.bitstamp.net/api/v2/order_book/btcusd";
    let body = format!(
        r#"{{"timestamp": "1", "microtimestamp": "{time}", "bids": [["1.50", "2.0"]], "asks": []}}"#
    );
    let frame = Frame::Reply { url, body: body.as_bytes() };
    dialect.frame(TsNs(9), CONNECTION + 1, &frame, rows).unwrap();
}

#[test]
fn changes_up_to_the_snapshot_are_part_of_it() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let before = [changes(4, r#"["4","1"]"#), changes(5, r#"["5","1"]"#)];
    try_feed(&mut *dialect, &[&before[0], &before[1], &changes(6, r#"["6","1"]"#)], &mut rows)
        .unwrap();
    reply(&mut *dialect, 5, &mut rows);
    // Two messages of one moment are both told.
    let after = changes(6, r#"["6","0.00000000"]"#);
    try_feed(&mut *dialect, &[&after], &mut rows).unwrap();

    assert_eq!(
        texts(&mut rows),
        [
            "book bitstamp:btcusd 9 5000 reset bid 2 0 0 5",
            "book bitstamp:btcusd 9 5000 set bid 3 1.5 2 5",
            "book bitstamp:btcusd 9 6000 set bid 1 6 1 6",
            "book bitstamp:btcusd 9 6000 set bid 1 6 0 6",
        ]
    );
}

#[test]
fn a_lost_connection_is_a_gap_until_a_new_snapshot() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    reply(&mut *dialect, 5, &mut rows);
    try_feed(&mut *dialect, &[&changes(6, r#"["6","1"]"#)], &mut rows).unwrap();
    dialect.frame(TsNs(10), CONNECTION, &Frame::Disconnected, &mut rows).unwrap();
    try_feed(&mut *dialect, &[&changes(20, r#"["7","1"]"#)], &mut rows).unwrap();
    reply(&mut *dialect, 19, &mut rows);

    let found = texts(&mut rows);

    let actions: Vec<_> = found
        .iter()
        .filter(|row| row.starts_with("book"))
        .filter_map(|row| row.split(' ').nth(4))
        .collect();
    assert_eq!(actions, ["reset", "set", "set", "gap", "set", "reset", "set", "set"], "{found:?}");
}

#[test]
fn trades_are_read() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"data":{"id":216000477,"timestamp":"1641343699","amount":0.0792,
            "amount_str":"0.07920000","price":3805.44,"price_str":"3805.44","type":1,
            "microtimestamp":"1641343699596000"},"channel":"live_trades_ethusd","event":"trade"}"#,
            r#"{"event":"bts:subscription_succeeded","channel":"live_trades_ethusd","data":{}}"#,
            r#"{"event":"bts:request_reconnect","channel":"","data":""}"#,
        ],
    );

    assert_eq!(
        found,
        ["trades bitstamp:ethusd 1 1641343699596000000 sell 3805.44 0.0792 216000477"]
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let good = changes(5, r#"["1","2"]"#);
    let mut dialect = new_dialect(&VENUE);
    for (message, reason) in [
        ("{}".to_owned(), "event"),
        (good.replace("\"channel\"", "\"c\""), "channel"),
        (good.replace("{\"data\"", "{\"d\""), "data"),
        (good.replace("\"event\":\"data\"", "\"event\":\"other\""), "other"),
        (good.replace("[\"1\"", "[\"one\""), "one"),
        (good.replace("\"5\"", "\"five\""), "integer"),
        (
            r#"{"data":{"id":1,"microtimestamp":"1","amount_str":"1","price_str":"1","type":2},
            "channel":"live_trades_x","event":"trade"}"#
                .to_owned(),
            "0 or 1",
        ),
    ] {
        let mut rows = Rows::new();
        let error = try_feed(&mut *dialect, &[&message], &mut rows).unwrap_err();
        assert!(error.to_string().contains(reason), "{message}: {error}");
    }
    let other =
        Frame::Reply { url: "https://www.bitstamp.net/api/v2/trading-pairs-info/", body: b"x" };
    dialect.frame(TsNs(1), 0, &other, &mut Rows::new()).unwrap();
    let bad =
        Frame::Reply { url: "https://www.bitstamp.net/api/v2/order_book/btcusd/", body: b"x" };
    assert!(dialect.frame(TsNs(1), 0, &bad, &mut Rows::new()).is_err());
}

#[test]
fn bitstamp_is_recognised() {
    let message = changes(1, "");
    assert_eq!((VENUE.recognise)(&Clue::Message(message.as_bytes())), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://ws.bitstamp.net/")), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("BITSTAMP")), Some(EXCHANGE));
}
