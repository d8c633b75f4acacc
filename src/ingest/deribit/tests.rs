//! Deribit messages written by hand.

use super::super::testing::{feed, new_dialect, refused, try_feed};
use super::*;
use crate::ingest::rows::Rows;

fn message(channel: &str, data: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}",
            "data":{data}}}}}"#
    )
}

fn book(ty: &str, id: i64, previous: Option<i64>, bids: &str) -> String {
    let previous = previous.map(|id| format!(r#""prev_change_id":{id},"#)).unwrap_or_default();
    message(
        "book.X.raw",
        &format!(
            r#"{{{ty}{previous}"timestamp":5,"instrument_name":"X","change_id":{id},
            "bids":[{bids}],"asks":[]}}"#
        ),
    )
}

fn snapshot(id: i64) -> String {
    book(r#""type":"snapshot","#, id, None, r#"["new",0.0015,4714.0],["new",0.001,861.0]"#)
}

fn change(id: i64, previous: i64, bids: &str) -> String {
    book(r#""type":"change","#, id, Some(previous), bids)
}

#[test]
fn a_break_of_the_chain_is_a_gap_until_the_next_snapshot() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &snapshot(7),
            &change(9, 7, r#"["delete",0.0015,0.0]"#),
            &change(12, 10, r#"["change",0.001,2.5]"#),
            &snapshot(20),
        ],
    );

    assert_eq!(
        found,
        [
            "book deribit:X 1 5000000 reset bid 2 0 0 7",
            "book deribit:X 1 5000000 set bid 2 0.0015 4714 7",
            "book deribit:X 1 5000000 set bid 3 0.001 861 7",
            "book deribit:X 2 5000000 set bid 1 0.0015 0 9",
            "book deribit:X 3 5000000 gap bid 1 0 0 -",
            "book deribit:X 3 5000000 set bid 1 0.001 2.5 12",
            "book deribit:X 4 5000000 reset bid 2 0 0 20",
            "book deribit:X 4 5000000 set bid 2 0.0015 4714 20",
            "book deribit:X 4 5000000 set bid 3 0.001 861 20",
            "status deribit:X 3 5000000 gap prev_change_id: expected 9, found 10",
            "status deribit:X 4 5000000 resync venue snapshot",
        ]
    );
}

#[test]
fn a_book_that_begins_empty_begins_with_a_snapshot() {
    for first in [change(5, 0, r#"["new",1,1]"#), book("", 5, None, r#"["new",1,1]"#)] {
        let found = feed(
            &mut *new_dialect(&VENUE),
            &[&first, &change(6, 5, r#"["new",2,1]"#), &message("book.X.none.20.100ms", "{}")],
        );

        let actions: Vec<_> = found.iter().filter_map(|row| row.split(' ').nth(4)).collect();
        assert_eq!(actions, ["reset", "set", "set"], "{found:?}");
    }
}

#[test]
fn liquidated_sides_of_a_trade_are_liquidations() {
    let trade = |liquidation: &str| {
        let data = format!(
            r#"[{{"trade_id":"ETH-1","timestamp":5,"price":4469.5,"instrument_name":"X",
            "direction":"sell","amount":1120.0{liquidation}}}]"#
        );
        message("trades.X.raw", &data)
    };
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &trade(""),
            &trade(r#","liquidation":"T""#),
            &trade(r#","liquidation":"M""#),
            &trade(r#","liquidation":"MT""#),
        ],
    );

    assert_eq!(found.len(), 8);
    assert_eq!(found[0], "trades deribit:X 1 5000000 sell 4469.5 1120 ETH-1");
    assert_eq!(
        found[4..],
        [
            "liquidations deribit:X 2 5000000 sell 4469.5 1120 ETH-1",
            "liquidations deribit:X 3 5000000 buy 4469.5 1120 ETH-1",
            "liquidations deribit:X 4 5000000 buy 4469.5 1120 ETH-1",
            "liquidations deribit:X 4 5000000 sell 4469.5 1120 ETH-1",
        ]
    );
}

#[test]
fn tickers_hold_the_state_and_the_best_prices() {
    let best = |bid: &str| {
        format!(
            r#""timestamp":5,"instrument_name":"X","best_bid_price":{bid},"best_bid_amount":7000.0,
            "best_ask_price":0.0,"best_ask_amount":0.0"#
        )
    };
    let ticker = |bid: &str, mark: &str| {
        let state = format!(
            r#""mark_price":{mark},"last_price":null,"index_price":10091.15,
            "funding_8h":0.00016,"current_funding":-8e-05,"open_interest":66128281"#
        );
        message("ticker.X.raw", &format!("{{{},{state}}}", best(bid)))
    };
    let quote = |bid: &str| message("quote.X", &format!("{{{}}}", best(bid)));

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &quote("1"),
            &ticker("2", "3"),
            &ticker("2", "4"),
            &ticker("5", "4"),
            &quote("6"),
            r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#,
            r#"{"jsonrpc":"2.0","id":0,"result":["ticker.X.raw"]}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "quotes deribit:X 1 5000000 1 7000 - - -",
            "quotes deribit:X 2 5000000 2 7000 - - -",
            "quotes deribit:X 4 5000000 5 7000 - - -",
            "ticker deribit:X 2 5000000 - 3 10091.15 -0.00008 - - 66128281",
            "ticker deribit:X 3 5000000 - 4 10091.15 -0.00008 - - 66128281",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    for (message, reason) in [
        ("[]".to_owned(), "message"),
        ("{}".to_owned(), "jsonrpc"),
        (snapshot(1).replace("2.0\"", "1.0\""), "1.0"),
        (snapshot(1).replace("\"snapshot\"", "\"other\""), "other"),
        (snapshot(1).replace("\"new\"", "\"old\""), "old"),
        (snapshot(1).replace("861.0", "-861.0"), "zero or more"),
        (snapshot(1).replace("change_id", "id"), "change_id"),
        (snapshot(1).replace("\"timestamp\":5", "\"timestamp\":9223372036854775807"), "2262"),
        (message("trades.X.raw", r#"[{"price":1}]"#), "instrument_name"),
        (message("ticker.X.raw", r#"{"price":1}"#), "instrument_name"),
    ] {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[&snapshot(1)], &mut rows).unwrap();

        let (error, is_torn) = refused(&mut *dialect, &message);

        assert!(error.contains(reason), "{message}: {error}");
        let is_book = !message.contains("trades.") && !message.contains("ticker.");
        assert_eq!(is_torn, is_book, "{message}");
    }
}

#[test]
fn deribit_is_recognised() {
    let message = snapshot(1);
    assert_eq!((VENUE.recognise)(&Clue::Message(message.as_bytes())), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://www.deribit.com/ws/api/v2")), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("DERIBIT")), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("X")), None);
}
