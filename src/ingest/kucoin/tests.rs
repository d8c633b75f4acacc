//! KuCoin messages written by hand: what the splice of a REST snapshot must do.

use super::super::testing::{CONNECTION, feed, new_dialect, texts, try_feed};
use super::*;
use crate::ingest::rows::Rows;
use crate::ingest::{Dialect, Frame};

const URL: &str = "https://api.kucoin.com/api/v3/market/orderbook/level2?symbol=X-Y";

fn changes(first: i64, last: i64, bids: &str) -> String {
    format!(
        r#"{{"type":"message","topic":"/market/level2:X-Y","subject":"trade.l2update","data":
            {{"sequenceStart":{first},"sequenceEnd":{last},"symbol":"X-Y","time":{last},
            "changes":{{"asks":[["0","0","{last}"]],"bids":[{bids}]}}}}}}"#
    )
}

fn change(seq: i64) -> String {
    changes(seq, seq, &format!(r#"["1.{seq}","1","{seq}"]"#))
}

fn reply(dialect: &mut dyn Dialect, ts: i64, sequence: i64, rows: &mut Rows) {
    let body = format!(
        r#"{{"code":"200000","data":{{"time":9,"sequence":"{sequence}","bids":[["1","5"]],
            "asks":[["2","6"]]}}}}"#
    );
    let frame = Frame::Reply { url: URL, body: body.as_bytes() };
    dialect.frame(TsNs(ts), CONNECTION + 1, &frame, rows).unwrap();
}

fn send(dialect: &mut dyn Dialect, ts: i64, message: &str, rows: &mut Rows) {
    let frame = Frame::Message(message.as_bytes());
    dialect.frame(TsNs(ts), CONNECTION, &frame, rows).unwrap();
}

#[test]
fn a_late_snapshot_is_spliced_into_what_waited() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let straddle = changes(5, 7, r#"["1","4","5"],["1.7","1","7"]"#);
    for (ts, message) in [(1, &change(4)), (2, &straddle), (3, &change(8))] {
        send(&mut *dialect, ts, message, &mut rows);
    }
    assert_eq!(rows.pending_rows(), 0);
    reply(&mut *dialect, 10, 6, &mut rows);
    send(&mut *dialect, 11, &change(9), &mut rows);
    // Older than the book: says nothing new.
    reply(&mut *dialect, 12, 8, &mut rows);
    send(&mut *dialect, 13, &change(9), &mut rows);

    assert_eq!(
        texts(&mut rows),
        [
            "book kucoin:X-Y 10 9000000 reset bid 2 0 0 6",
            "book kucoin:X-Y 10 9000000 set bid 2 1 5 6",
            "book kucoin:X-Y 10 9000000 set ask 3 2 6 6",
            "book kucoin:X-Y 10 7000000 set bid 0 1 4 7",
            "book kucoin:X-Y 10 7000000 set bid 1 1.7 1 7",
            "book kucoin:X-Y 10 8000000 set bid 1 1.8 1 8",
            "book kucoin:X-Y 11 9000000 set bid 1 1.9 1 9",
        ]
    );
}

#[test]
fn a_hole_is_a_gap_until_a_snapshot_that_is_newer() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    reply(&mut *dialect, 1, 3, &mut rows);
    for (ts, message) in [(2, change(4)), (3, change(6)), (4, change(7))] {
        send(&mut *dialect, ts, &message, &mut rows);
    }
    reply(&mut *dialect, 5, 6, &mut rows);

    let found = texts(&mut rows);

    let actions: Vec<_> = found
        .iter()
        .filter(|row| row.starts_with("book"))
        .map(|row| row.splitn(5, ' ').nth(4).unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "reset bid 2 0 0 3",
            "set bid 2 1 5 3",
            "set ask 3 2 6 3",
            "set bid 1 1.4 1 4",
            "gap bid 1 0 0 -",
            "set bid 1 1.6 1 6",
            "set bid 1 1.7 1 7",
            "reset bid 2 0 0 6",
            "set bid 2 1 5 6",
            "set ask 3 2 6 6",
            "set bid 1 1.7 1 7",
        ]
    );
    assert_eq!(
        found[11..],
        [
            "status kucoin:X-Y 3 6000000 gap sequenceStart: expected 5, found 6",
            "status kucoin:X-Y 5 9000000 resync venue snapshot",
        ]
    );
}

#[test]
fn a_snapshot_that_the_stream_does_not_reach_is_followed_by_a_gap() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    send(&mut *dialect, 1, &change(9), &mut rows);
    reply(&mut *dialect, 2, 5, &mut rows);

    let found = texts(&mut rows);

    let status = "status kucoin:X-Y 2 9000000 gap sequenceStart: expected 6, found 9";
    assert_eq!(found.last().unwrap(), status);
}

#[test]
fn without_a_snapshot_the_book_is_stale_from_its_first_row() {
    for lost in [true, false] {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        send(&mut *dialect, 1, &change(4), &mut rows);
        send(&mut *dialect, 2, &change(5), &mut rows);
        match lost {
            true => dialect.frame(TsNs(9), CONNECTION, &Frame::Disconnected, &mut rows).unwrap(),
            false => dialect.finish(&mut rows).unwrap(),
        }

        let found = texts(&mut rows);

        assert_eq!(found[0], "book kucoin:X-Y 1 - reset bid 0 0 0 -");
        assert_eq!(found[1], "book kucoin:X-Y 1 - gap bid 1 0 0 -");
        assert_eq!(found[2], "book kucoin:X-Y 1 4000000 set bid 1 1.4 1 4");
        assert_eq!(found[3], "book kucoin:X-Y 2 5000000 set bid 1 1.5 1 5");
    }
}

#[test]
fn an_unread_message_before_the_snapshot_is_a_gap_after_it() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    send(&mut *dialect, 1, &change(4), &mut rows);
    let bad = change(5).replace("\"1\"", "\"one\"");
    assert!(try_feed(&mut *dialect, &[&bad], &mut rows).is_err());
    reply(&mut *dialect, 3, 4, &mut rows);

    let found = texts(&mut rows);

    assert!(found.last().unwrap().contains("could not be read"), "{found:?}");
}

#[test]
fn trades_and_quotes_are_read() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"id":"x","type":"welcome"}"#,
            r#"{"data":{"symbol":"X-Y","sequence":"1612701563869","side":"buy","size":"81.8814",
            "price":"0.0000001117","time":"1619378327739050725","type":"match",
            "tradeId":"6085c09769bc506996295e36"},"subject":"trade.l3match",
            "topic":"/market/match:X-Y","type":"message"}"#,
            r#"{"data":{"sequence":"77","bestAsk":"2.5","size":"1","bestBidSize":"3","price":"2",
            "time":5,"bestAskSize":"4","bestBid":"1.5"},"subject":"A-B",
            "topic":"/market/ticker:all","type":"message"}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "quotes kucoin:A-B 3 5000000 1.5 3 2.5 4 77",
            "trades kucoin:X-Y 2 1619378327739050725 buy 0.0000001117 81.8814 \
             6085c09769bc506996295e36",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let mut dialect = new_dialect(&VENUE);
    for (message, reason) in [
        ("{}".to_owned(), "type"),
        (change(1).replace("\"message\"", "\"other\""), "other"),
        (change(1).replace("\"topic\"", "\"t\""), "topic"),
        (change(1).replace("level2:", "level2"), "symbol"),
        (change(1).replace("\"data\"", "\"d\""), "data"),
        (change(1).replace("\"1.1\"", "\"\""), "\"\""),
        (change(1).replace("\"sequenceEnd\":1", "\"sequenceEnd\":1.5"), "1.5"),
    ] {
        let mut rows = Rows::new();
        let error = try_feed(&mut *dialect, &[&message], &mut rows).unwrap_err();
        assert!(error.to_string().contains(reason), "{message}: {error}");
    }
    for (url, body) in [
        (URL, "x"),
        (URL, r#"{"code":"400100"}"#),
        ("https://api.kucoin.com/api/v3/market/orderbook/level2?depth=5", "{}"),
    ] {
        let frame = Frame::Reply { url, body: body.as_bytes() };
        assert!(dialect.frame(TsNs(1), 0, &frame, &mut Rows::new()).is_err(), "{url} {body}");
    }
    let other = Frame::Reply { url: "https://api.kucoin.com/api/v1/symbols", body: b"x" };
    dialect.frame(TsNs(1), 0, &other, &mut Rows::new()).unwrap();
}

#[test]
fn kucoin_is_recognised() {
    assert_eq!((VENUE.recognise)(&Clue::Message(change(1).as_bytes())), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::Url(URL)), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("KUCOIN")), Some(EXCHANGE));
    assert_eq!((VENUE.recognise)(&Clue::Url("https://api-futures.kucoin.com/x")), None);
}

#[test]
fn the_best_hundred_levels_are_a_snapshot_too() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let body = r#"{"code":"200000","data":{"time":9,"sequence":"4","bids":[["1","5"]],"asks":[]}}"#;
    let url = "http://127.0.0.1:1234/api/v1/market/orderbook/level2_100?symbol=X-Y";

    let reply = Frame::Reply { url, body: body.as_bytes() };
    dialect.frame(TsNs(5), CONNECTION, &reply, &mut rows).unwrap();

    assert_eq!(texts(&mut rows)[1], "book kucoin:X-Y 5 9000000 set bid 3 1 5 4");
}
