//! Kraken Futures messages written by hand.

use super::super::testing::{feed, new_dialect, refused, try_feed};
use super::*;
use crate::ingest::rows::Rows;

fn snapshot(seq: i64) -> String {
    format!(
        r#"{{"feed":"book_snapshot","product_id":"PI_X","timestamp":5,"seq":{seq},
            "tickSize":null,"bids":[{{"price":439.3,"qty":20108.0}}],
            "asks":[{{"price":439.6,"qty":50.0}}]}}"#
    )
}

fn change(seq: i64, qty: &str) -> String {
    format!(
        r#"{{"feed":"book","product_id":"PI_X","side":"sell","seq":{seq},"price":439.6,
            "qty":{qty},"timestamp":6}}"#
    )
}

#[test]
fn a_hole_is_a_gap_with_the_number_of_messages_that_are_missing() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[&snapshot(7), &change(8, "3.0"), &change(11, "0.0"), &snapshot(20), &change(19, "1.0")],
    );

    let book = "book cryptofacilities:PI_X";
    let status = "status cryptofacilities:PI_X";
    assert_eq!(
        found,
        [
            format!("{book} 1 5000000 reset bid 2 0 0 7"),
            format!("{book} 1 5000000 set bid 2 439.3 20108 7"),
            format!("{book} 1 5000000 set ask 3 439.6 50 7"),
            format!("{book} 2 6000000 set ask 1 439.6 3 8"),
            format!("{book} 3 6000000 gap bid 1 0 2 -"),
            format!("{book} 3 6000000 set ask 1 439.6 0 11"),
            format!("{book} 4 5000000 reset bid 2 0 0 20"),
            format!("{book} 4 5000000 set bid 2 439.3 20108 20"),
            format!("{book} 4 5000000 set ask 3 439.6 50 20"),
            format!("{book} 5 6000000 gap bid 1 0 0 -"),
            format!("{book} 5 6000000 set ask 1 439.6 1 19"),
            format!("{status} 3 6000000 gap seq: expected 9, found 11"),
            format!("{status} 4 5000000 resync venue snapshot"),
            format!("{status} 5 6000000 gap seq: expected 21, found 19"),
        ]
    );
}

#[test]
fn recent_trades_fill_a_hole_and_liquidations_are_both() {
    let trade = |seq: i64, ty: &str| {
        format!(
            r#"{{"feed":"trade","product_id":"PI_X","uid":"u{seq}","side":"buy","type":"{ty}",
            "seq":{seq},"time":5,"qty":50.0,"price":439.2}}"#
        )
    };
    let recent = |seqs: [i64; 2]| {
        let trades = seqs.map(|seq| trade(seq, "fill")).join(",");
        format!(r#"{{"feed":"trade_snapshot","product_id":"PI_X","trades":[{trades}]}}"#)
    };

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[&recent([2, 1]), &trade(3, "liquidation"), &recent([4, 3])],
    );

    assert_eq!(
        found,
        [
            "trades cryptofacilities:PI_X 2 5000000 buy 439.2 50 u3",
            "trades cryptofacilities:PI_X 3 5000000 buy 439.2 50 u4",
            "liquidations cryptofacilities:PI_X 2 5000000 buy 439.2 50 u3",
        ]
    );
}

#[test]
fn tickers_hold_the_state_and_the_best_prices() {
    let lite = |bid: &str| {
        format!(r#"{{"feed":"ticker_lite","product_id":"PI_X","bid":{bid},"ask":439.6}}"#)
    };
    let full = r#"{"feed":"ticker","product_id":"PI_X","time":5,"bid":60.35,"ask":0,
            "bid_size":10000,"ask_size":0,"index":60.31,"last":60.35,"funding_rate":1.7e-06,
            "relative_funding_rate":2e-05,"funding_rate_prediction":3e-06,"openInterest":631360.0,
            "markPrice":60.38,"next_funding_rate_time":9}"#;

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &lite("1"),
            &lite("1"),
            full,
            &lite("2"),
            r#"{"event":"info","version":1}"#,
            r#"{"feed":"heartbeat","time":5}"#,
        ],
    );

    let state = "60.35 60.38 60.31 0.00002 0.000003 9000000 631360";
    assert_eq!(
        found,
        [
            "quotes cryptofacilities:PI_X 1 - 1 - 439.6 - -".to_owned(),
            "quotes cryptofacilities:PI_X 3 5000000 60.35 10000 - - -".to_owned(),
            format!("ticker cryptofacilities:PI_X 3 5000000 {state}"),
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_and_tears_its_book_only() {
    for (message, reason, torn) in [
        ("x".to_owned(), "message", true),
        ("{}".to_owned(), "event", true),
        (change(8, "\"one\""), "one", true),
        (change(8, "-1"), "zero or more", true),
        (change(8, "1").replace("sell", "none"), "none", true),
        (change(8, "1").replace("\"seq\":8", "\"seq\":\"x\""), "message", true),
        (change(8, "1").replace("PI_X", "PI_Y").replace("\"sell\"", "1"), "message", false),
        (change(8, "1").replace("\"book\"", "\"trade\""), "type", false),
    ] {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[&snapshot(7)], &mut rows).unwrap();

        let (error, is_torn) = refused(&mut *dialect, &message);

        assert!(error.contains(reason), "{message}: {error}");
        assert_eq!(is_torn, torn, "{message}");
    }
}

#[test]
fn kraken_futures_is_recognised() {
    let message = snapshot(1);
    assert_eq!((VENUE.recognise)(&Clue::Message(message.as_bytes())), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://futures.kraken.com/ws/v1")), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("KRAKEN_FUTURES")), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("KRAKEN")), None);
}
