//! Messages in, rows out: the chain of `u`, merged tickers, sides.

use super::*;
use crate::event::{Action, Batch, Value, book, status};

fn dialect(exchange: &'static str) -> Box<dyn Dialect> {
    (VENUE.dialect)(exchange, None)
}

fn feed(dialect: &mut dyn Dialect, rows: &mut Rows, messages: &[&str]) {
    for (ts_recv, message) in (1..).zip(messages) {
        let frame = Frame::Message(message.as_bytes());
        dialect.frame(TsNs(ts_recv), 1, &frame, rows).unwrap();
    }
}

fn batch_of(rows: &mut Rows, kind: Kind) -> Batch {
    let taken = rows.take().unwrap();
    taken.into_iter().find(|(key, _)| key.kind == kind).unwrap().1
}

fn depth(topic: &str, what: &str, u: i64) -> String {
    format!(
        r#"{{"topic":"{topic}","type":"{what}","ts":9,"data":{{"s":"X","b":[["1","2"]],"a":[],
            "u":{u},"seq":{u}}},"cts":7}}"#
    )
}

fn actions(batch: &Batch) -> Vec<&'static str> {
    let of = |row: &u8| match *row {
        code if code == Action::Set as u8 => "set",
        code if code == Action::Reset as u8 => "reset",
        _ => "gap",
    };
    batch.u8s(book::ACTION).iter().map(of).collect()
}

#[test]
fn a_hole_says_how_many_messages_are_missing_until_the_next_snapshot() {
    let (mut dialect, mut rows) = (dialect(CONTRACTS), Rows::new());
    let topic = "orderbook.50.X";
    let stream = [
        depth(topic, "snapshot", 10),
        depth(topic, "delta", 11),
        depth(topic, "delta", 11),
        depth(topic, "delta", 15),
        depth(topic, "delta", 1),
        depth(topic, "delta", 2),
    ];

    feed(&mut *dialect, &mut rows, &stream.each_ref().map(String::as_str));

    let taken = rows.take().unwrap();
    let (levels, told) = (&taken[0].1, &taken[1].1);
    let expected = ["reset", "set", "set", "gap", "set", "reset", "set", "set"];
    assert_eq!(actions(levels), expected);
    assert_eq!(levels.i64s(book::QTY)[3], 3);
    assert_eq!(levels.i64s(book::TS_EVENT)[0], 7_000_000);
    let detail = |row| told.value(row, row, status::DETAIL);
    assert_eq!(detail(0), Value::Text(b"expected u 12, found 15"));
    assert_eq!(detail(1), Value::Text(b"snapshot with u 1"));
}

#[test]
fn a_book_without_snapshot_starts_stale_and_other_depths_are_left_out() {
    let (mut dialect, mut rows) = (dialect(CONTRACTS), Rows::new());
    let first = depth("orderbook.50.X", "delta", 10);
    let other = depth("orderbook.200.X", "snapshot", 5);

    feed(&mut *dialect, &mut rows, &[&first, &other]);

    assert_eq!(actions(&batch_of(&mut rows, Kind::Book)), ["reset", "gap", "set"]);
}

#[test]
fn the_address_tells_spot_and_contracts_apart() {
    let (mut dialect, mut rows) = (dialect(CONTRACTS), Rows::new());
    let message = depth("orderbook.50.X", "snapshot", 10);
    for (connection, market) in [(1, "linear"), (2, "spot")] {
        let url = format!("wss://stream.bybit.com/v5/public/{market}");
        dialect.frame(TsNs(1), connection, &Frame::Connected { url: &url }, &mut rows).unwrap();
        let frame = Frame::Message(message.as_bytes());
        dialect.frame(TsNs(2), connection, &frame, &mut rows).unwrap();
    }
    dialect.frame(TsNs(3), 2, &Frame::Disconnected, &mut rows).unwrap();

    let taken = rows.take().unwrap();
    let rows_of = |(key, batch): &(crate::event::StreamKey, Batch)| {
        format!("{} {} {}", key.instrument, key.kind, batch.rows())
    };
    assert_eq!(
        taken.iter().map(rows_of).collect::<Vec<_>>(),
        ["bybit:X book 2", "bybit:X status 1", "bybit-spot:X book 3", "bybit-spot:X status 3"]
    );
}

#[test]
fn best_prices_keep_the_side_that_did_not_change() {
    let (mut dialect, mut rows) = (dialect(SPOT), Rows::new());
    let both = r#"{"topic":"orderbook.1.X","type":"snapshot","ts":1,"data":{"s":"X","b":[["5",
        "1"]],"a":[["6","1"]],"u":1,"seq":1}}"#;
    let bid = r#"{"topic":"orderbook.1.X","type":"delta","ts":2,"data":{"s":"X","b":[["5",
        "0"],["4","3"]],"a":[],"u":2,"seq":2}}"#;
    let none = r#"{"topic":"orderbook.1.X","type":"delta","ts":2,"data":{"s":"X","b":[],
        "a":[["6","0"]],"u":3,"seq":3}}"#;

    feed(&mut *dialect, &mut rows, &[both, bid, none]);

    let batch = batch_of(&mut rows, Kind::Quotes);
    assert_eq!(batch.i64s(crate::event::quotes::BID_PRICE), [5, 4, 4]);
    let asks = batch.i64s(crate::event::quotes::ASK_PRICE);
    assert_eq!(asks, [6, 6, crate::quantity::NULL]);
}

#[test]
fn ticker_deltas_change_only_what_they_name() {
    let (mut dialect, mut rows) = (dialect(CONTRACTS), Rows::new());
    let whole = r#"{"topic":"tickers.X","type":"snapshot","ts":1,"cs":3,"data":{"symbol":"X",
        "lastPrice":"5","markPrice":"6","nextFundingTime":"","fundingRate":"","bid1Price":"4",
            "bid1Size":"1","ask1Price":"","ask1Size":""}}"#;
    let delta = r#"{"topic":"tickers.X","type":"delta","ts":2,"cs":4,"data":{"symbol":"X",
        "markPrice":"7","bid1Size":"2"}}"#;
    let same = r#"{"topic":"tickers.X","type":"delta","ts":3,"cs":5,"data":{"symbol":"X",
        "volume24h":"7"}}"#;

    feed(&mut *dialect, &mut rows, &[whole, delta, same]);

    let taken = rows.take().unwrap();
    let (quoted, state) = (&taken[0].1, &taken[1].1);
    assert_eq!(state.i64s(crate::event::ticker::LAST), [5, 5]);
    assert_eq!(state.i64s(crate::event::ticker::MARK), [6, 7]);
    assert_eq!(state.i64s(crate::event::ticker::FUNDING_TS), [crate::quantity::NULL; 2]);
    assert_eq!(quoted.i64s(crate::event::quotes::BID_QTY), [1, 2]);
    assert_eq!(quoted.i64s(crate::event::quotes::VENUE_SEQ), [3, 4]);
}

#[test]
fn a_message_that_cannot_be_read_adds_no_row() {
    let (mut dialect, mut rows) = (dialect(CONTRACTS), Rows::new());
    for bad in [
        "{",
        r#"{"topic":"orderbook.50.X","type":"other","ts":1,"data":{"s":"X","b":[],"a":[],"u":1}}"#,
        r#"{"topic":"orderbook.50.X","type":"snapshot","data":{"s":"X","b":[],"a":[],"u":1}}"#,
        r#"{"topic":"orderbook.1.X","type":"snapshot","ts":1,"data":{"s":"X","b":[["1","x"]],
            "a":[],"u":1}}"#,
        r#"{"topic":"orderbook.50.X","type":"snapshot","ts":1,"data":{"s":"X","b":[["1",
            "2"],["1","x"]],"a":[],"u":1}}"#,
        r#"{"topic":"orderbook.50.X","type":"delta","ts":1,"data":{"s":"X","b":[["1","x"]],
            "a":[],"u":9}}"#,
        r#"{"topic":"publicTrade.X","ts":1,"data":[{"T":1,"s":"X","S":"Buy","v":"1","p":"1"},
            {"T":1,"s":"X","S":"none","v":"1","p":"1"}]}"#,
        r#"{"topic":"tickers.X","ts":1,"data":{"symbol":"X","lastPrice":"1x"}}"#,
    ] {
        let frame = Frame::Message(bad.as_bytes());
        assert!(dialect.frame(TsNs(1), 1, &frame, &mut rows).is_err(), "{bad}");
        let taken = rows.take().unwrap();
        assert!(taken.iter().all(|(key, _)| key.kind == Kind::Status), "{bad}");
    }
    let pong = br#"{"success":true,"op":"ping"}"#;
    dialect.frame(TsNs(1), 1, &Frame::Message(pong), &mut rows).unwrap();
}

#[test]
fn a_message_that_cannot_be_read_is_a_gap_at_once_in_the_book_it_is_about() {
    let (mut dialect, mut rows) = (dialect(CONTRACTS), Rows::new());
    let [x, y] = ["orderbook.50.X", "orderbook.50.Y"];
    let of_y = depth(y, "snapshot", 5).replace("\"X\"", "\"Y\"");
    feed(&mut *dialect, &mut rows, &[&depth(x, "snapshot", 10), &of_y]);
    let bad = depth(x, "delta", 11).replace("\"2\"", "\"2x\"");
    let prints = r#"{"topic":"publicTrade.X","ts":1,"data":7}"#;
    for bad in [&*bad, prints, prints] {
        dialect.frame(TsNs(3), 1, &Frame::Message(bad.as_bytes()), &mut rows).unwrap_err();
    }
    feed(&mut *dialect, &mut rows, &[&depth(x, "delta", 12)]);

    let taken = rows.take().unwrap();

    let of = |at: usize| (taken[at].0.to_string(), actions(&taken[at].1));
    assert_eq!(of(0), ("bybit:X book".to_owned(), vec!["reset", "set", "gap", "set"]));
    assert_eq!(of(2), ("bybit:Y book".to_owned(), vec!["reset", "set"]));
    // The gap, and that prints may be missing, once.
    let rows = |at: usize| (taken[at].0.to_string(), taken[at].1.rows());
    assert_eq!(
        [rows(1), rows(3)],
        [("bybit:X status".to_owned(), 2), ("bybit:Y status".to_owned(), 1)]
    );
}

#[test]
fn a_capture_is_recognised_by_address_or_by_what_one_market_alone_sends() {
    let recognise = VENUE.recognise;
    for (url, exchange) in [
        ("wss://stream.bybit.com/v5/public/linear", Some(CONTRACTS)),
        ("wss://stream.bybit.com/v5/public/spot", Some(SPOT)),
        ("wss://stream.bybit.com/v5/public/option", None),
        ("wss://x.com/v5/public/spot", None),
    ] {
        assert_eq!(recognise(&Clue::Url(url)), exchange, "{url}");
    }
    for (message, exchange) in [
        (r#"{"topic":"publicTrade.X","ts":1,"data":[{"L":"PlusTick"}]}"#, Some(CONTRACTS)),
        (r#"{"topic":"publicTrade.X","ts":1,"data":[{"i":"1"}]}"#, Some(SPOT)),
        (r#"{"topic":"orderbook.50.X","ts":1,"data":{}}"#, None),
        (r#"{"e":"trade"}"#, None),
    ] {
        assert_eq!(recognise(&Clue::Message(message.as_bytes())), exchange, "{message}");
    }
}
