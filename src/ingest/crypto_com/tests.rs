//! Crypto.com messages written by hand, and the whole books of the capture.

use super::super::testing::{
    self, CONNECTION, StoredBooks, capture, feed, new_dialect, refused, texts, try_feed,
};
use super::*;
use crate::ingest::rows::Rows;
use crate::ingest::{Form, Frame};

fn pushed(channel: &str, symbol: &str, data: &str) -> String {
    let name = channel.strip_suffix(".update").unwrap_or(channel);
    format!(
        r#"{{"id":-1,"code":0,"method":"subscribe","result":{{"channel":"{channel}",
        "subscription":"{name}.{symbol}","instrument_name":"{symbol}","depth":50,
        "data":[{data}]}}}}"#
    )
}

fn whole(seq: i64, bids: &str) -> String {
    let data = format!(r#"{{"bids":[{bids}],"asks":[["2","6","1"]],"tt":4,"t":5,"u":{seq}}}"#);
    pushed("book", "X_Y", &data)
}

fn update(previous: i64, seq: i64, bids: &str) -> String {
    let data = format!(
        r#"{{"update":{{"bids":[{bids}],"asks":[]}},"t":7,"tt":6,"u":{seq},"pu":{previous}}}"#
    );
    pushed("book.update", "X_Y", &data)
}

#[test]
fn updates_follow_a_whole_book_until_a_number_is_missing() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &whole(10, r#"["1.0","5","1"]"#),
            &update(10, 12, r#"["1.0","0","0"],["0.9","1","1"]"#),
            &update(12, 15, ""),
            &update(15, 16, r#"["0.8","1","1"]"#),
            // Asked for again: the book is complete, so only what differs is stored.
            &whole(17, r#"["0.9","1","1"],["0.8","2","1"]"#),
            &update(18, 19, r#"["0.9","3","1"]"#),
            &whole(20, r#"["0.9","3","1"]"#),
        ],
    );

    assert_eq!(
        found,
        [
            "book crypto-com:X_Y 1 4000000 reset bid 2 0 0 10",
            "book crypto-com:X_Y 1 4000000 set bid 2 1 5 10",
            "book crypto-com:X_Y 1 4000000 set ask 3 2 6 10",
            "book crypto-com:X_Y 2 6000000 set bid 0 1 0 12",
            "book crypto-com:X_Y 2 6000000 set bid 1 0.9 1 12",
            "book crypto-com:X_Y 4 6000000 set bid 1 0.8 1 16",
            "book crypto-com:X_Y 5 4000000 set bid 1 0.8 2 17",
            "book crypto-com:X_Y 6 6000000 gap bid 1 0 0 -",
            "book crypto-com:X_Y 6 6000000 set bid 1 0.9 3 19",
            "book crypto-com:X_Y 7 4000000 reset bid 2 0 0 20",
            "book crypto-com:X_Y 7 4000000 set bid 2 0.9 3 20",
            "book crypto-com:X_Y 7 4000000 set ask 3 2 6 20",
            "status crypto-com:X_Y 6 6000000 gap pu: expected 17, found 18",
            "status crypto-com:X_Y 7 4000000 resync venue snapshot",
        ]
    );
}

#[test]
fn trades_come_newest_first_and_a_subscription_begins_with_old_ones() {
    let trade = |id: i64, time: i64| {
        format!(r#"{{"d":"{id}","t":{time},"p":"20.5","q":"0.1","s":"SELL","i":"X_Y"}}"#)
    };
    let message = |trades: &[(i64, i64)]| {
        let trades: Vec<_> = trades.iter().map(|(id, time)| trade(*id, *time)).collect();
        pushed("trade", "X_Y", &trades.join(","))
    };
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let before = [message(&[(2, 2), (1, 1)]), message(&[(4, 4), (3, 3)])];
    try_feed(&mut *dialect, &[&before[0], &before[1]], &mut rows).unwrap();
    dialect.frame(TsNs(5), CONNECTION, &Frame::Disconnected, &mut rows).unwrap();
    let again = message(&[(5, 5), (4, 4)]);
    dialect.frame(TsNs(6), CONNECTION, &Frame::Message(again.as_bytes()), &mut rows).unwrap();

    let found = texts(&mut rows);

    let trades: Vec<_> = found.iter().filter(|row| row.starts_with("trades")).collect();
    assert_eq!(
        trades,
        [
            "trades crypto-com:X_Y 2 3000000 sell 20.5 0.1 3",
            "trades crypto-com:X_Y 2 4000000 sell 20.5 0.1 4",
            "trades crypto-com:X_Y 6 5000000 sell 20.5 0.1 5",
        ]
    );
}

#[test]
fn quotes_of_every_market_and_states_of_derivatives_are_read() {
    let ticker = r#"{"h":null,"l":null,"a":"3","b":"2","bs":"7","k":null,"ks":null,"oi":"9",
        "t":1}"#;
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"id":1,"method":"public/heartbeat","code":0}"#,
            r#"{"id":1,"method":"subscribe","code":40004,"message":"unknown"}"#,
            &pushed("ticker", "X_Y", r#"{"i":"X_Y","b":1.5,"k":1.6,"a":1.6,"t":1}"#),
            &pushed("ticker", "X_Y", r#"{"i":"X_Y","b":1.5,"k":1.6,"a":1.7,"t":2}"#),
            &pushed("index", "XUSD-INDEX", r#"{"v":"2.5","t":3}"#),
            &pushed("index", "ZUSD-INDEX", r#"{"v":"99","t":3}"#),
            &pushed("ticker", "XUSD-PERP", ticker),
            &pushed("mark", "XUSD-PERP", r#"{"v":"2.75","t":4},{"v":"2.5","t":3}"#),
            &pushed("funding", "XUSD-PERP", r#"{"v":"0.001","t":5}"#),
            &pushed("estimatedfunding", "XUSD-PERP", r#"{"v":"0.002","t":6}"#),
            &pushed("candlestick", "X_Y", r#"{"o":1}"#),
        ],
    );

    assert_eq!(
        found,
        [
            "quotes crypto-com:XUSD-PERP 7 1000000 2 7 - - -",
            "ticker crypto-com:XUSD-PERP 7 1000000 3 - 2.5 - - - 9",
            "ticker crypto-com:XUSD-PERP 8 4000000 3 2.75 2.5 - - - 9",
            "ticker crypto-com:XUSD-PERP 9 5000000 3 2.75 2.5 0.001 - - 9",
            "ticker crypto-com:XUSD-PERP 10 6000000 3 2.75 2.5 0.001 0.002 - 9",
            "quotes crypto-com:X_Y 3 1000000 1.5 - 1.6 - -",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_and_tears_its_own_book_only() {
    let other = whole(10, "").replace("X_Y", "Z_Y");
    for (message, reason, torn) in [
        ("{".to_owned(), "EOF", true),
        (whole(1, r#"["one","1","1"]"#), "one", true),
        (update(1, 2, "").replace("\"update\"", "\"up\""), "expected update", true),
        (whole(1, "").replace("\"t\"", "\"x\""), "`t`", true),
        (pushed("ticker", "X_Y", r#"{"b":"two","t":1}"#), "two", false),
        (pushed("trade", "X_Y", r#"{"d":1,"t":1,"p":1,"q":1,"s":"up"}"#), "up", false),
        (pushed("mark", "X_Y", r#"{"v":"two","t":1}"#), "two", false),
    ] {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[&whole(10, ""), &other], &mut rows).unwrap();

        let (error, is_torn) = refused(&mut *dialect, &message);

        assert!(error.contains(reason), "{message}: {error}");
        assert_eq!(is_torn, torn, "{message}");
    }
}

#[test]
fn crypto_com_is_recognised() {
    for (clue, expected) in [
        (Clue::CaptureName("CRYPTO.COM"), true),
        (Clue::Url("wss://stream.crypto.com/exchange/v1/market"), true),
        (Clue::Url("wss://example.com/"), false),
        (Clue::Message(whole(1, "").as_bytes()), true),
        (Clue::Message(br#"{"method":"subscribe","code":0}"#), false),
        (Clue::Message(b"{}"), false),
    ] {
        assert_eq!((VENUE.recognise)(&clue).is_some(), expected, "{clue:?}");
    }
}

#[test]
fn after_every_book_of_the_capture_the_stored_book_is_that_book() {
    let Some(path) = capture("cryptocom-ws/CRYPTO.COM.jsonl.zst") else { return };
    let mut stored = StoredBooks::default();
    let mut compared = 0;

    testing::replay(&path, Form::CryptofeedJson, &mut *new_dialect(&VENUE), |message, taken| {
        stored.apply(&taken);
        let envelope: Envelope<'_> = json::parse_text(message).unwrap();
        let Some(pushed) = Pushed::read(&envelope).unwrap() else { return };
        if pushed.channel == "book" {
            let books: Vec<Book<'_>> = json::parse_text(pushed.data.get()).unwrap();
            let text = |number: Number<'_>| number.decimal().unwrap().to_string();
            let shown = [&books[0].bids, &books[0].asks].map(|side| {
                let levels = side.as_ref().unwrap().iter();
                levels.map(|level| (text(level.price), text(level.qty))).collect::<Vec<_>>()
            });
            assert_eq!(stored.book(EXCHANGE, &pushed.symbol).shortest(), shown, "{message}");
            compared += 1;
        }
    });

    assert_eq!(compared, 1525);
    assert_eq!(stored.iter().map(|(_, book)| book.gaps).sum::<usize>(), 0);
}
