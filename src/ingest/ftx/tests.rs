//! FTX messages written by hand, and a capture whose checksums must all agree.

use super::super::testing::{self, StoredBooks, capture, feed, new_dialect, refused, try_feed};
use super::*;
use crate::ingest::Form;
use crate::ingest::rows::Rows;

fn book(ty: &str, bids: &str, asks: &str, sum: u32) -> String {
    format!(
        r#"{{"channel": "orderbook", "market": "BTC-PERP", "type": "{ty}", "data":
            {{"time": 1.5, "checksum": {sum}, "bids": [{bids}], "asks": [{asks}]}}}}"#
    )
}

/// 10.0 x 1.0 against 11.5 x 2.25.
fn partial() -> String {
    let sum = crc32fast::hash(b"10.0:1.0:11.5:2.25");
    book("partial", "[10.0, 1.0]", "[11.5, 2.25]", sum)
}

#[test]
fn a_wrong_checksum_is_a_gap_until_the_next_partial() {
    let good = book("update", "[10.0, 0.0]", "", crc32fast::hash(b"11.5:2.25"));
    let wrong = book("update", "", "[12.0, 1e-05]", 5);
    let sum = crc32fast::hash(b"11.5:2.25:12.0:1e-05");

    let found = feed(&mut *new_dialect(&VENUE), &[&partial(), &good, &wrong, &partial()]);

    assert_eq!(
        found,
        [
            "book ftx:BTC-PERP 1 1500000000 reset bid 2 0 0 -".to_owned(),
            "book ftx:BTC-PERP 1 1500000000 set bid 2 10 1 -".to_owned(),
            "book ftx:BTC-PERP 1 1500000000 set ask 3 11.5 2.25 -".to_owned(),
            "book ftx:BTC-PERP 2 1500000000 set bid 1 10 0 -".to_owned(),
            "book ftx:BTC-PERP 3 1500000000 gap bid 1 0 0 -".to_owned(),
            "book ftx:BTC-PERP 3 1500000000 set ask 1 12 0.00001 -".to_owned(),
            "book ftx:BTC-PERP 4 1500000000 reset bid 2 0 0 -".to_owned(),
            "book ftx:BTC-PERP 4 1500000000 set bid 2 10 1 -".to_owned(),
            "book ftx:BTC-PERP 4 1500000000 set ask 3 11.5 2.25 -".to_owned(),
            format!("status ftx:BTC-PERP 3 1500000000 gap checksum: expected 5, found {sum}"),
            "status ftx:BTC-PERP 4 1500000000 resync venue snapshot".to_owned(),
        ]
    );
}

#[test]
fn a_trade_of_a_liquidation_is_both() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[r#"{"channel": "trades", "market": "BTC-PERP", "type": "update", "data": [
            {"id": null, "price": 64.33, "size": 0.03, "side": "sell", "liquidation": false,
            "time": "1970-01-01T00:00:02.659525+00:00"},
            {"id": 7, "price": 65.0, "size": 1.0, "side": "buy", "liquidation": true,
            "time": "1970-01-01T00:00:03+00:00"}]}"#],
    );

    assert_eq!(
        found,
        [
            "trades ftx:BTC-PERP 1 2659525000 sell 64.33 0.03 ",
            "trades ftx:BTC-PERP 1 3000000000 buy 65 1 7",
            "liquidations ftx:BTC-PERP 1 3000000000 buy 65 1 7",
        ]
    );
}

#[test]
fn quotes_and_the_state_of_a_derivative_are_read() {
    let ticker = |market: &str| {
        format!(
            r#"{{"channel": "ticker", "market": "{market}", "type": "update", "data": {{"bid": null,
            "ask": 9.5, "bidSize": 0.0, "askSize": 2.0, "last": 9.25, "time": 1.25}}}}"#
        )
    };

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &ticker("A/USD"),
            &ticker("A-PERP"),
            r#"{"channel": "instrument", "generated": true, "market": "A-PERP", "type": "update",
            "data": {"stats": {"nextFundingRate": 2e-06, "openInterest": 7.5,
            "nextFundingTime": "1970-01-01T00:00:09+00:00"},
            "info": {"index": 9.125, "last": 9.25, "mark": 9.0}}}"#,
            r#"{"type": "subscribed", "channel": "ticker", "market": "A/USD"}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "quotes ftx:A-PERP 2 1250000000 - - 9.5 2 -",
            "ticker ftx:A-PERP 2 1250000000 9.25 - - - - - -",
            "ticker ftx:A-PERP 3 1250000000 9.25 9 9.125 0.000002 - 9000000000 7.5",
            "quotes ftx:A/USD 1 1250000000 - - 9.5 2 -",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_and_tears_its_book_only() {
    for (message, reason, torn) in [
        ("{".to_owned(), "EOF", true),
        ("{}".to_owned(), "type", true),
        (partial().replace("partial", "other"), "other", true),
        (partial().replace("\"market\"", "\"m\""), "market", true),
        (partial().replace("10.0", "\"ten\""), "ten", true),
        (partial().replace("\"checksum\"", "\"sum\""), "checksum", true),
        (
            partial().replace("BTC-PERP", "BTC-0625").replace("\"time\": 1.5", "\"time\": \"x\""),
            "seconds",
            false,
        ),
        (partial().replace("orderbook", "trades"), "sequence", false),
        (partial().replace("orderbook", "ticker").replace("1.5", "-"), "message", true),
    ] {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[&partial()], &mut rows).unwrap();

        let (error, is_torn) = refused(&mut *dialect, &message);

        assert!(error.contains(reason), "{message}: {error}");
        assert_eq!(is_torn, torn, "{message}");
    }
}

#[test]
fn the_american_branch_is_told_by_its_address() {
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://ftx.us/ws/")), Some("ftx-us"));
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://ftexchange.com/ws/")), Some("ftx"));
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://ftx.example.com/ws/")), None);
    assert_eq!((VENUE.recognise)(&Clue::Message(partial().as_bytes())), Some("ftx"));
}

#[test]
fn every_checksum_of_the_capture_agrees_with_the_book_of_the_feed() {
    let Some(path) = capture("ftx-ws/FTX_20210417.ws.zst") else { return };
    let mut stored = StoredBooks::default();
    let mut books = 0;

    testing::replay(&path, Form::CryptofeedText, &mut *new_dialect(&VENUE), |message, taken| {
        stored.apply(&taken);
        books += usize::from(message.contains("\"checksum\""));
    });

    assert_eq!(books, 1276);
    assert_eq!(stored.iter().map(|(_, book)| book.gaps).sum::<usize>(), 0);
}
