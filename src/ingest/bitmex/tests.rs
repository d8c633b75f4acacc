//! BitMEX messages written by hand.

use super::super::testing::{feed, new_dialect, refused, try_feed};
use super::*;
use crate::ingest::rows::Rows;

fn book(action: &str, rows: &str) -> String {
    format!(r#"{{"table":"orderBookL2","action":"{action}","data":[{rows}]}}"#)
}

fn partial() -> String {
    book(
        "partial",
        r#"{"symbol":"X","id":1,"side":"Sell","size":5,"price":10.5},
        {"symbol":"X","id":2,"side":"Buy","size":7,"price":9.5}"#,
    )
}

#[test]
fn prices_are_remembered_by_their_ids() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &book("update", r#"{"symbol":"X","id":1,"side":"Sell","size":9}"#),
            &partial(),
            &book("update", r#"{"symbol":"X","id":2,"side":"Buy","size":8}"#),
            &book(
                "insert",
                r#"{"symbol":"X","id":3,"side":"Buy","size":1,"price":9,
                "timestamp":"1970-01-01T00:00:05Z"}"#,
            ),
            &book("delete", r#"{"symbol":"X","id":1,"side":"Sell"}"#),
        ],
    );

    assert_eq!(
        found,
        [
            "book bitmex:X 2 - reset bid 2 0 0 -",
            "book bitmex:X 2 - set ask 2 10.5 5 -",
            "book bitmex:X 2 - set bid 3 9.5 7 -",
            "book bitmex:X 3 - set bid 1 9.5 8 -",
            "book bitmex:X 4 5000000000 set bid 1 9 1 -",
            "book bitmex:X 5 - set ask 1 10.5 0 -",
        ]
    );
}

#[test]
fn a_message_costs_what_its_rows_cost_however_many_prices_are_known() {
    let text = |id: i64| Price { text: id.to_string().into(), sides: [true, false] };
    let mut known: Prices = (0..5000).map(|id| (id, text(id))).collect();
    let rows = r#"[{"symbol":"X","id":7,"side":"Buy"},{"symbol":"X","id":9,"side":"Sell"},
        {"symbol":"X","id":7,"side":"Buy"},{"symbol":"X","id":5000,"side":"Buy"}]"#;
    let rows: Vec<BookRow<'_>> = json::parse_text(rows).unwrap();

    let message = BookMessage::read(&rows, Some(&known), "delete").unwrap();
    assert_eq!(message.changes.len(), 2);
    assert_eq!(message.unknown, [7, 5000]);
    message.apply(&mut known, false);

    assert_eq!(known.len(), 4999);
    assert!(!known.contains_key(&7) && known[&9].has_orders());
}

#[test]
fn a_price_that_was_deleted_may_come_back_as_another_one_in_the_same_message() {
    let rows = r#"[{"symbol":"X","id":7,"side":"Buy","size":1,"price":2},
        {"symbol":"X","id":7,"side":"Sell","size":3}]"#;
    let rows: Vec<BookRow<'_>> = json::parse_text(rows).unwrap();
    let gone = Price { text: "1".into(), sides: [false; 2] };
    let mut message = BookMessage { changes: Prices::from([(7, gone)]), ..BookMessage::default() };

    let price = message.price(&rows[0], None).unwrap();
    assert_eq!(&*price.text, "2");
    assert!(message.price(&rows[1], None).is_none());
    message.changes.insert(7, Price { sides: [true, false], ..price });

    assert_eq!(&*message.price(&rows[1], None).unwrap().text, "2");
}

#[test]
fn an_id_that_nobody_named_is_a_gap_until_the_next_partial() {
    let delete = book(
        "delete",
        r#"{"symbol":"X","id":1,"side":"Sell"},{"symbol":"X","id":9,"side":"Sell"}"#,
    );

    let found = feed(&mut *new_dialect(&VENUE), &[&partial(), &delete, &partial()]);

    assert_eq!(
        found[3..],
        [
            "book bitmex:X 2 - gap bid 1 0 0 -",
            "book bitmex:X 2 - set ask 1 10.5 0 -",
            "book bitmex:X 3 - reset bid 2 0 0 -",
            "book bitmex:X 3 - set ask 2 10.5 5 -",
            "book bitmex:X 3 - set bid 3 9.5 7 -",
            "status bitmex:X 2 - gap delete of id 9: its price is not known",
            "status bitmex:X 3 - resync venue snapshot",
        ]
    );
}

#[test]
fn a_message_is_split_by_symbols_and_a_partial_may_be_empty() {
    let two = partial().replace(r#""symbol":"X","id":2"#, r#""symbol":"Y","id":2"#);
    let empty = r#"{"table":"orderBookL2","action":"partial","filter":{"symbol":"Z"},"data":[]}"#;

    let found = feed(&mut *new_dialect(&VENUE), &[&two, empty]);

    assert_eq!(
        found,
        [
            "book bitmex:X 1 - reset bid 2 0 0 -",
            "book bitmex:X 1 - set ask 3 10.5 5 -",
            "book bitmex:Y 1 - reset bid 2 0 0 -",
            "book bitmex:Y 1 - set bid 3 9.5 7 -",
            "book bitmex:Z 2 - reset bid 3 0 0 -",
        ]
    );
}

#[test]
fn quotes_trades_states_and_liquidations_are_read() {
    let time = r#""timestamp":"1970-01-01T00:00:05Z""#;
    let table = |table: &str, action: &str, row: &str| {
        format!(r#"{{"table":"{table}","action":"{action}","data":[{{{row}}}]}}"#)
    };
    let trade = format!(
        r#"{time},"symbol":"X","side":"Sell","size":1000,"price":8544.5,"trdMatchID":"f7""#
    );
    let quote = format!(
        r#"{time},"symbol":"X","bidSize":15,"bidPrice":9.5,"askPrice":null,"askSize":null"#
    );
    let state = format!(
        r#"{time},"symbol":"X","lastPrice":1,"markPrice":2,"indicativeSettlePrice":3,
        "fundingRate":-0.0001,"indicativeFundingRate":1e-05,"openInterest":7,
        "fundingTimestamp":"1970-01-01T00:00:09Z""#
    );

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"info":"Welcome","version":"1"}"#,
            "pong",
            &table("trade", "partial", &trade),
            &table("trade", "insert", &trade),
            &table("quote", "partial", &quote),
            &table("instrument", "update", r#""symbol":"X","openInterest":5"#),
            &table("instrument", "partial", &state),
            &table("instrument", "update", r#""symbol":"X","openInterest":8"#),
            &table("instrument", "partial", &state.replace("\"X\"", "\".BX\"")),
            &table(
                "liquidation",
                "insert",
                r#""orderID":"dd","symbol":"X","side":"Buy","price":10106,"leavesQty":9214"#,
            ),
            &table("liquidation", "delete", r#""orderID":"dd","symbol":"X""#),
        ],
    );

    assert_eq!(
        found,
        [
            "trades bitmex:X 4 5000000000 sell 8544.5 1000 f7",
            "quotes bitmex:X 5 5000000000 9.5 15 - - -",
            "ticker bitmex:X 7 5000000000 1 2 3 -0.0001 0.00001 9000000000 7",
            "ticker bitmex:X 8 5000000000 1 2 3 -0.0001 0.00001 9000000000 8",
            "liquidations bitmex:X 10 - buy 10106 9214 dd",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_and_tears_books_only() {
    for (message, reason, torn) in [
        ("{".to_owned(), "EOF", true),
        (partial().replace("partial", "other"), "other", true),
        (partial().replace("\"price\"", "\"p\""), "price", true),
        (partial().replace("\"size\"", "\"s\""), "size", true),
        (partial().replace("Sell", "None"), "None", true),
        (partial().replace("10.5", "\"ten\""), "ten", true),
        (partial().replace("orderBookL2", "quote"), "timestamp", false),
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
fn bitmex_is_recognised() {
    assert_eq!((VENUE.recognise)(&Clue::Message(partial().as_bytes())), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://www.bitmex.com/realtime")), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("BITMEX")), Some(EXCHANGE));
}
