//! Messages in, rows out: splicing, gaps, refusals.

use super::*;
use crate::event::{Action, Batch, Value, book, status};

const RECV: TsNs = TsNs(1_000);

fn dialect(exchange: &'static str, symbol: Option<&str>) -> Box<dyn Dialect> {
    (VENUE.dialect)(exchange, symbol)
}

/// Feeds messages received at 1000 ns, 1001 ns, ...
fn feed(dialect: &mut dyn Dialect, rows: &mut Rows, messages: &[&str]) {
    for (ts_recv, message) in (RECV.0..).zip(messages) {
        let frame = Frame::Message(message.as_bytes());
        dialect.frame(TsNs(ts_recv), 1, &frame, rows).unwrap();
    }
}

fn refused(dialect: &mut dyn Dialect, rows: &mut Rows, message: &str) -> String {
    let (before, mut made) = (rows.pending_rows(), Rows::new());
    let frame = Frame::Message(message.as_bytes());
    let error = dialect.frame(RECV, 1, &frame, &mut made).unwrap_err();
    let is_own = |row: &String| !row.ends_with(" gap");
    assert!(!book_rows(&mut made).iter().any(is_own), "no row of a refused message");
    assert_eq!(rows.pending_rows(), before);
    error.to_string()
}

/// Every message of the book as `<recv> <seq> <action price qty>...`.
fn book_rows(rows: &mut Rows) -> Vec<String> {
    let taken = rows.take().unwrap();
    let books = taken.iter().filter(|(key, _)| key.kind == Kind::Book);
    books.flat_map(|(_, batch)| messages(batch)).collect()
}

fn messages(batch: &Batch) -> Vec<String> {
    let text = |message, row, column| match batch.value(message, row, column) {
        Value::Decimal(number) => number.to_string(),
        Value::Code(code) => code.to_owned(),
        Value::Int(int) => int.to_string(),
        _ => "-".to_owned(),
    };
    let message = |message| {
        let head = batch.message_rows(message).start;
        let mut line =
            format!("{} {}", batch.ts_recv()[message], text(message, head, book::VENUE_SEQ));
        for row in batch.message_rows(message) {
            let action = text(message, row, book::ACTION);
            match batch.u8s(book::ACTION)[row] {
                code if code == Action::Set as u8 => {
                    let side = text(message, row, book::SIDE);
                    let (price, qty) =
                        (text(message, row, book::PRICE), text(message, row, book::QTY));
                    line.push_str(&format!(" {side} {price} {qty}"));
                }
                _ => line.push_str(&format!(" {action}")),
            }
        }
        line
    };
    (0..batch.messages()).map(message).collect()
}

fn spot(first: i64, last: i64, price: i64) -> String {
    format!(
        r#"{{"stream":"x@depth@100ms","data":{{"e":"depthUpdate","E":{last},"s":"X","U":{first},
            "u":{last},"b":[["{price}","1"]],"a":[]}}}}"#
    )
}

fn futures(previous: i64, last: i64, price: i64) -> String {
    format!(
        r#"{{"e":"depthUpdate","E":{last},"T":{last},"s":"X","U":{last},"u":{last},
            "pu":{previous},"b":[["{price}","1"]],"a":[]}}"#
    )
}

fn snapshot(last: i64) -> String {
    format!(r#"{{"lastUpdateId":{last},"bids":[["1","1"]],"asks":[["9","1"]]}}"#)
}

fn statuses(rows: &mut Rows) -> Vec<String> {
    let taken = rows.take().unwrap();
    let mut found = Vec::new();
    for (_, batch) in taken.iter().filter(|(key, _)| key.kind == Kind::Status) {
        for row in 0..batch.rows() {
            let (what, detail) =
                (batch.value(row, row, status::WHAT), batch.value(row, row, status::DETAIL));
            if let (Value::Code(what), Value::Text(detail)) = (what, detail) {
                found.push(format!("{what}: {}", String::from_utf8_lossy(detail)));
            }
        }
    }
    found
}

#[test]
fn a_snapshot_is_spliced_over_the_messages_that_waited_for_it() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    let stream = [spot(1, 4, 2), spot(5, 8, 3), spot(9, 9, 4), snapshot(6), spot(10, 12, 5)];

    feed(&mut *dialect, &mut rows, &stream.each_ref().map(String::as_str));

    assert_eq!(
        book_rows(&mut rows),
        ["1003 6 reset bid 1 1 ask 9 1", "1003 8 bid 3 1", "1003 9 bid 4 1", "1004 12 bid 5 1",]
    );
    assert_eq!(rows.stepped_back(), 0);
}

#[test]
fn a_hole_is_a_gap_until_the_next_snapshot_and_its_messages_are_applied_again() {
    let (mut dialect, mut rows) = (dialect("binance-futures", None), Rows::new());
    let stream = [
        futures(0, 5, 2),
        snapshot(4),
        futures(5, 7, 3),
        futures(8, 9, 4),
        futures(9, 11, 5),
        snapshot(10),
        futures(11, 12, 6),
    ];

    feed(&mut *dialect, &mut rows, &stream.each_ref().map(String::as_str));

    let mut again = Rows::new();
    std::mem::swap(&mut again, &mut rows);
    assert_eq!(
        book_rows(&mut again),
        [
            "1001 4 reset bid 1 1 ask 9 1",
            "1001 5 bid 2 1",
            "1002 7 bid 3 1",
            "1003 - gap",
            "1003 9 bid 4 1",
            "1004 11 bid 5 1",
            "1005 10 reset bid 1 1 ask 9 1",
            "1005 11 bid 5 1",
            "1006 12 bid 6 1",
        ]
    );
}

#[test]
fn a_gap_and_its_end_are_told_in_the_status_stream() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    let stream = [spot(1, 4, 2), snapshot(4), spot(7, 8, 3), snapshot(8)];

    feed(&mut *dialect, &mut rows, &stream.each_ref().map(String::as_str));

    assert_eq!(
        statuses(&mut rows),
        ["gap: expected U 5, found 7", "resync: snapshot with update id 8"]
    );
}

#[test]
fn a_snapshot_older_than_the_messages_after_it_leaves_a_gap() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());

    feed(&mut *dialect, &mut rows, &[&spot(8, 9, 2), &snapshot(5)]);

    assert_eq!(
        book_rows(&mut rows),
        ["1001 5 reset bid 1 1 ask 9 1", "1001 - gap", "1001 9 bid 2 1"]
    );
}

#[test]
fn messages_that_repeat_are_left_out_and_a_sequence_that_begins_anew_is_a_gap() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    let anew = spot(1, 2, 7).replace("\"E\":2", "\"E\":99");

    feed(&mut *dialect, &mut rows, &[&spot(1, 4, 2), &snapshot(4), &spot(5, 6, 3), &spot(5, 6, 3)]);
    feed(&mut *dialect, &mut rows, &["{}", "{}", "{}", &snapshot(3), &anew]);

    let lines = book_rows(&mut rows);
    assert_eq!(lines[1..], ["1002 6 bid 3 1", "1004 - gap", "1004 2 bid 7 1"]);
}

#[test]
fn a_book_that_never_gets_a_snapshot_is_stale_from_its_first_message() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    feed(&mut *dialect, &mut rows, &[&spot(5, 6, 2), &spot(7, 8, 3)]);
    assert_eq!(rows.pending_rows(), 0);

    dialect.finish(&mut rows).unwrap();

    let expected = ["1000 - reset gap", "1000 6 bid 2 1", "1001 8 bid 3 1"];
    assert_eq!(book_rows(&mut rows), expected);
    dialect.finish(&mut rows).unwrap();
    assert_eq!(rows.pending_rows(), 0);
}

#[test]
fn what_waits_is_bounded_and_a_late_snapshot_still_heals() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    let count = 5000;
    let stream: Vec<_> = (1..=count).map(|id| spot(id, id, id)).collect();

    feed(&mut *dialect, &mut rows, &stream.iter().map(String::as_str).collect::<Vec<_>>());
    // The reset, the gap and a status row.
    assert_eq!(rows.pending_rows(), 5000 + 3);
    let late = [snapshot(4990)];
    dialect.frame(TsNs(9000), 1, &Frame::Message(late[0].as_bytes()), &mut rows).unwrap();

    let lines = book_rows(&mut rows);
    assert_eq!(lines[5001], "9000 4990 reset bid 1 1 ask 9 1");
    assert_eq!(lines.len(), 1 + 5000 + 1 + 10);
    assert_eq!(lines.last().unwrap(), "9000 5000 bid 5000 1");
}

#[test]
fn a_lost_connection_is_a_gap() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    let url = "wss://stream.binance.com:9443/stream?streams=x@depth";
    dialect.frame(TsNs(1), 1, &Frame::Connected { url }, &mut rows).unwrap();
    feed(&mut *dialect, &mut rows, &[&spot(1, 4, 2), &snapshot(4)]);
    dialect.frame(TsNs(2000), 1, &Frame::Disconnected, &mut rows).unwrap();

    let mut copy = Rows::new();
    std::mem::swap(&mut copy, &mut rows);
    assert_eq!(
        statuses(&mut copy),
        [
            "connected: wss://stream.binance.com:9443/stream",
            "disconnected: connection lost",
            "gap: connection lost"
        ]
    );
}

#[test]
fn a_snapshot_without_symbol_belongs_to_the_only_symbol_there_is() {
    let other = spot(1, 2, 3).replace("\"X\"", "\"Y\"");
    let (mut many, mut rows) = (dialect("binance", None), Rows::new());
    assert!(refused(&mut *many, &mut rows, &snapshot(1)).contains("pass --instrument"));
    feed(&mut *many, &mut rows, &[&spot(1, 2, 3), &other]);
    assert!(refused(&mut *many, &mut rows, &snapshot(1)).contains("several: X, Y"));

    let (mut named, mut rows) = (dialect("binance", Some("Y")), Rows::new());
    feed(&mut *named, &mut rows, &[&spot(1, 2, 3), &other, &snapshot(1)]);
    let taken = rows.take().unwrap();
    assert_eq!(taken[0].0.instrument.symbol(), "Y");

    let url = "https://fapi.binance.com/fapi/v1/depth?symbol=Z&limit=1000";
    let body = snapshot(1);
    named.frame(RECV, 2, &Frame::Reply { url, body: body.as_bytes() }, &mut rows).unwrap();
    let taken = rows.take().unwrap();
    assert_eq!(taken[0].0.instrument.to_string(), "binance-futures:Z");
}

#[test]
fn a_message_of_another_market_or_with_a_bad_number_is_refused() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    feed(&mut *dialect, &mut rows, &[&spot(1, 4, 2), &snapshot(4)]);

    let waiting = spot(1, 2, 3).replace("\"X\"", "\"Y\"").replace("\"3\"", "\"3x\"");
    assert!(refused(&mut *dialect, &mut rows, &waiting).contains("3x"));
    let text = refused(&mut *dialect, &mut rows, &futures(4, 5, 2));
    assert!(text.contains("not of binance"), "{text}");
    let text = refused(&mut *dialect, &mut rows, &spot(5, 6, 3).replace("\"3\"", "\"3x\""));
    assert!(text.contains("3x"), "{text}");
    for bad in [
        "{",
        r#"{"e":"trade","s":"X"}"#,
        r#"{"e":"trade","s":"X","T":1,"p":"1","q":"1","m":true}"#,
        r#"{"e":"forceOrder","o":{"s":"X","S":"buy","p":"1","q":"1","T":1}}"#,
        r#"{"e":"markPriceUpdate","E":9223372036854775807,"s":"X","p":"1"}"#,
        r#"{"e":"bookTicker","u":1,"s":"X Y","b":"1","B":"1","a":"1","A":"1"}"#,
    ] {
        refused(&mut *dialect, &mut rows, bad);
    }
}

#[test]
fn a_message_that_cannot_be_read_is_a_gap_at_once() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    let other = |text: &str| text.replace("\"X\"", "\"Y\"").replace("x@", "y@");
    feed(&mut *dialect, &mut rows, &[&spot(1, 4, 2), &snapshot(4)]);
    feed(&mut *dialect, &mut rows, &[&other(&spot(1, 4, 2))]);
    let reply = |dialect: &mut dyn Dialect, rows: &mut Rows, symbol: &str, last: i64| {
        let url = format!("https://api.binance.com/api/v3/depth?symbol={symbol}");
        let body = snapshot(last);
        let frame = Frame::Reply { url: &url, body: body.as_bytes() };
        dialect.frame(RECV, 1, &frame, rows).unwrap();
    };
    reply(&mut *dialect, &mut rows, "Y", 4);
    rows.take().unwrap();

    let bad = spot(5, 6, 3).replace("\"3\"", "\"3x\"");
    for (ts, message) in [(1010, &*bad), (1011, &*bad), (1012, "{")] {
        let frame = Frame::Message(message.as_bytes());
        dialect.frame(TsNs(ts), 1, &frame, &mut rows).unwrap_err();
    }

    // X at once, though it never speaks again; Y when it may have been Y.
    assert_eq!(book_rows(&mut rows), ["1010 - gap", "1012 - gap"]);
    // What follows is no other gap, and the next snapshot heals.
    feed(&mut *dialect, &mut rows, &[&spot(7, 8, 3)]);
    reply(&mut *dialect, &mut rows, "X", 6);
    let rows = book_rows(&mut rows);
    assert_eq!(rows, ["1011 8 bid 3 1", "1011 6 reset bid 1 1 ask 9 1", "1011 8 bid 3 1"]);
}

#[test]
fn prints_that_cannot_be_read_are_told_in_status() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    feed(&mut *dialect, &mut rows, &[&spot(1, 4, 2), &snapshot(4)]);
    let bad = r#"{"stream":"x@trade","data":{"e":"trade","s":"X"}}"#;
    for _ in 0..3 {
        dialect.frame(RECV, 1, &Frame::Message(bad.as_bytes()), &mut rows).unwrap_err();
    }

    let told = statuses(&mut rows);

    assert_eq!(told, ["gap: a message of its connection could not be read; told once a minute"]);
}

#[test]
fn prints_are_stored_once_where_both_trade_channels_come() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    let agg = r#"{"e":"aggTrade","E":1,"s":"X","a":70,"p":"1","q":"3","f":7,"l":9,"T":1,"m":true}"#;
    let trade = |id: i64| {
        format!(r#"{{"e":"trade","E":1,"s":"X","t":{id},"p":"1","q":"1","T":1,"m":false}}"#)
    };
    let nothing = trade(11).replace("\"q\":\"1\"", "\"q\":\"0\"");

    feed(&mut *dialect, &mut rows, &[agg, &trade(9), &trade(10), agg, &nothing]);

    let taken = rows.take().unwrap();
    let batch = &taken[0].1;
    let ids: Vec<_> = (0..batch.rows()).map(|row| batch.value(row, row, 5)).collect();
    assert_eq!(ids, [Value::Text(b"70"), Value::Text(b"10")]);
    let sides: Vec<_> = (0..batch.rows()).map(|row| batch.value(row, row, 2)).collect();
    assert_eq!(sides, [Value::Code("sell"), Value::Code("buy")]);
}

#[test]
fn a_side_without_orders_has_no_quote() {
    let (mut dialect, mut rows) = (dialect("binance", None), Rows::new());
    let quote = r#"{"u":5,"s":"X","b":"0.00","B":"0.00","a":"2","A":"3"}"#;

    feed(&mut *dialect, &mut rows, &[quote]);

    let taken = rows.take().unwrap();
    let values: Vec<_> = (1..7).map(|column| taken[0].1.value(0, 0, column)).collect();
    let number = |value| Value::Decimal(Decimal::from_int(value).unwrap());
    assert_eq!(values[..3], [Value::Null, Value::Null, Value::Null]);
    assert_eq!(values[3..], [number(2), number(3), Value::Int(5)]);
}

#[test]
fn channels_of_all_symbols_come_as_arrays() {
    let (mut dialect, mut rows) = (dialect("binance-futures", None), Rows::new());
    let all = r#"{"stream":"!markPrice@arr@1s","data":[
        {"e":"markPriceUpdate","E":1,"s":"X","p":"1","i":"2","r":"0.1","T":3},
        {"e":"markPriceUpdate","E":1,"s":"Y","p":"1","i":"2","r":"","T":0}]}"#;

    feed(&mut *dialect, &mut rows, &[all]);

    let taken = rows.take().unwrap();
    assert_eq!(taken.len(), 2);
    let funding = taken.iter().map(|(_, batch)| batch.value(0, 0, 5)).collect::<Vec<_>>();
    assert_eq!(funding, [Value::Decimal(Decimal::new(1, 1).unwrap()), Value::Null]);
}
