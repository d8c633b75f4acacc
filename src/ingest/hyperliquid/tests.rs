//! Hyperliquid messages written by hand.

use super::super::testing::{CONNECTION, feed, new_dialect, texts, try_feed};
use super::*;
use crate::TsNs;
use crate::ingest::Frame;
use crate::ingest::rows::Rows;

fn book(bids: &str) -> String {
    format!(
        r#"{{"channel":"l2Book","data":{{"coin":"BTC","time":5,"levels":[[{bids}],
            [{{"n":1,"px":"11.0","sz":"2.5"}}]]}}}}"#
    )
}

fn trades(times: &[i64]) -> String {
    let trade = |time: &i64| {
        format!(
            r#"{{"coin":"BTC","side":"A","px":"1.5","sz":"2","time":{time},"hash":"0x0",
            "tid":{time}00}}"#
        )
    };
    let trades: Vec<_> = times.iter().map(trade).collect();
    format!(r#"{{"channel":"trades","data":[{}]}}"#, trades.join(","))
}

#[test]
fn whole_books_become_changes() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &book(r#"{"n":1,"px":"10.0","sz":"1.0"}"#),
            &book(r#"{"n":1,"px":"9.0","sz":"4.0"}"#),
            &book(r#"{"n":2,"px":"9.0","sz":"4.0"}"#),
        ],
    );

    assert_eq!(
        found,
        [
            "book hyperliquid:BTC 1 5000000 reset bid 2 0 0 -",
            "book hyperliquid:BTC 1 5000000 set bid 2 10 1 -",
            "book hyperliquid:BTC 1 5000000 set ask 3 11 2.5 -",
            "book hyperliquid:BTC 2 5000000 set bid 0 9 4 -",
            "book hyperliquid:BTC 2 5000000 set bid 1 10 0 -",
        ]
    );
}

#[test]
fn the_next_book_heals_one_that_was_not_read_or_a_lost_connection() {
    let good = book(r#"{"n":1,"px":"10.0","sz":"1.0"}"#);
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    try_feed(&mut *dialect, &[&good], &mut rows).unwrap();
    let bad = good.replace("\"10.0\"", "\"ten\"");
    assert!(try_feed(&mut *dialect, &[&bad], &mut rows).is_err());
    try_feed(&mut *dialect, &[&good], &mut rows).unwrap();
    dialect.frame(TsNs(7), CONNECTION, &Frame::Disconnected, &mut rows).unwrap();
    try_feed(&mut *dialect, &[&good, &good], &mut rows).unwrap();

    let found = texts(&mut rows);

    let actions: Vec<_> = found.iter().filter_map(|row| row.split(' ').nth(4)).collect();
    assert_eq!(
        actions[..11],
        ["reset", "set", "set", "gap", "reset", "set", "set", "gap", "reset", "set", "set"],
        "{found:?}"
    );
    assert_eq!(actions[11..], ["gap", "resync", "disconnected", "gap", "resync"], "{found:?}");
}

#[test]
fn recent_trades_fill_the_hole_of_a_reconnect() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    try_feed(&mut *dialect, &[&trades(&[1, 2]), &trades(&[3])], &mut rows).unwrap();
    dialect.frame(TsNs(5), CONNECTION, &Frame::Disconnected, &mut rows).unwrap();
    try_feed(&mut *dialect, &[&trades(&[5, 4, 3])], &mut rows).unwrap();

    let found = texts(&mut rows);

    let trades: Vec<_> = found.iter().filter(|row| row.starts_with("trades")).collect();
    let ids: Vec<_> = trades.iter().filter_map(|row| row.rsplit(' ').next()).collect();
    assert_eq!(ids, ["300", "400", "500"]);
    assert_eq!(*trades[0], "trades hyperliquid:BTC 2 3000000 sell 1.5 2 300");
}

#[test]
fn best_prices_and_states_are_read() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"channel":"bbo","data":{"coin":"@162","time":5,"bbo":[{"px":"0.9","sz":"4","n":1},
            null]}}"#,
            r#"{"channel":"activeAssetCtx","data":{"coin":"X","ctx":{"funding":"0.00004863",
            "openInterest":"186.0","oraclePx":"0.1995","markPx":"0.19963","midPx":null}}}"#,
            r#"{"channel":"subscriptionResponse","data":{"method":"subscribe"}}"#,
            r#"{"channel":"pong"}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "quotes hyperliquid:@162 1 5000000 0.9 4 - - -",
            "ticker hyperliquid:X 2 - - 0.19963 0.1995 0.00004863 - - 186",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    for (message, reason) in [
        ("[]".to_owned(), "message"),
        ("{}".to_owned(), "channel"),
        (book("").replace("\"data\"", "\"d\""), "data"),
        (book("").replace("\"levels\"", "\"l\""), "levels"),
        (book(r#"{"px":"1"}"#), "qty"),
        (trades(&[1]).replace("\"A\"", "\"S\""), "\"S\""),
        (trades(&[1]).replace("\"1.5\"", "\"\""), "\"\""),
    ] {
        let mut rows = Rows::new();
        let error = try_feed(&mut *new_dialect(&VENUE), &[&message], &mut rows).unwrap_err();
        assert!(error.to_string().contains(reason), "{message}: {error}");
        assert_eq!(rows.pending_rows(), 0, "{message}");
    }
}

#[test]
fn hyperliquid_is_recognised() {
    assert_eq!((VENUE.recognise)(&Clue::Message(book("").as_bytes())), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://api.hyperliquid.xyz/ws")), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("X")), None);
}
