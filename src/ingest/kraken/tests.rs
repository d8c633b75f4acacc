//! Kraken messages of both versions written by hand, and a capture whose checksums must agree.

use super::super::testing::{
    self, CONNECTION, StoredBooks, capture, feed, new_dialect, refused, rows_of, texts, try_feed,
};
use super::*;
use crate::ingest::Form;
use crate::ingest::rows::Rows;
use crate::ingest::{Dialect, Frame};

const SNAPSHOT: &str = r#"[1,{"as":[["5.10","1.00000000","1582905480.100000"],["5.20",
            "2.00000000","1582905480.200000"]],"bs":[["5.00","3.00000000","1582905480.300000"],
            ["4.90","0.50000000","1582905480.000000"]]},"book-10","XBT/USD"]"#;

fn v1_update(payload: &str) -> String {
    format!(r#"[1,{payload},"book-10","XBT/USD"]"#)
}

#[test]
fn a_version_1_snapshot_and_update_become_book_rows() {
    let sum = checksum::kraken(
        [("5.00", "3.00000000"), ("4.90", "0.50000000")],
        [("5.15", "7.00000000"), ("5.20", "2.00000000")],
    );
    let update = v1_update(&format!(
        r#"{{"a":[["5.10","0.00000000","1582905486.1"],["5.15","7.00000000","1582905486.3",
            "r"]]}},{{"b":[["4.90","0.50000000","1582905486.2"]],"c":"{sum}"}}"#
    ));

    let found = feed(&mut *new_dialect(&VENUE), &[SNAPSHOT, &update]);

    assert_eq!(
        found,
        [
            "book kraken:XBT/USD 1 1582905480300000000 reset bid 2 0 0 -",
            "book kraken:XBT/USD 1 1582905480300000000 set bid 2 5 3 -",
            "book kraken:XBT/USD 1 1582905480300000000 set bid 2 4.9 0.5 -",
            "book kraken:XBT/USD 1 1582905480300000000 set ask 2 5.1 1 -",
            "book kraken:XBT/USD 1 1582905480300000000 set ask 3 5.2 2 -",
            "book kraken:XBT/USD 2 1582905486300000000 set ask 0 5.1 0 -",
            "book kraken:XBT/USD 2 1582905486300000000 set ask 0 5.15 7 -",
            "book kraken:XBT/USD 2 1582905486300000000 set bid 1 4.9 0.5 -",
        ]
    );
}

#[test]
fn a_wrong_checksum_is_a_gap_before_its_message_until_the_next_snapshot() {
    let wrong = v1_update(r#"{"a":[["5.10","0.00000000","1582905486.1"]],"c":"7"}"#);

    let found = feed(&mut *new_dialect(&VENUE), &[SNAPSHOT, &wrong, &wrong, SNAPSHOT]);

    let sum = checksum::kraken(
        [("5.00", "3.00000000"), ("4.90", "0.50000000")],
        [("5.20", "2.00000000")],
    );
    assert_eq!(
        found[5..8],
        [
            "book kraken:XBT/USD 2 1582905486100000000 gap bid 1 0 0 -",
            "book kraken:XBT/USD 2 1582905486100000000 set ask 1 5.1 0 -",
            "book kraken:XBT/USD 3 1582905486100000000 set ask 1 5.1 0 -",
        ]
    );
    assert_eq!(
        found[13..],
        [
            format!(
                "status kraken:XBT/USD 2 1582905486100000000 gap checksum: expected 7, found {sum}"
            ),
            "status kraken:XBT/USD 4 1582905480300000000 resync venue snapshot".to_owned(),
        ]
    );
}

#[test]
fn levels_beyond_the_subscribed_depth_are_stored_as_removed() {
    let levels: Vec<String> =
        (0..10).map(|n| format!(r#"["{n}.50","1.0","1582905480.1"]"#)).collect();
    let levels = levels.join(",");
    let snapshot = v1_update(&format!(r#"{{"as":[{levels}],"bs":[]}}"#));
    let update =
        v1_update(r#"{"a":[["3.70","2.0","1582905481.1"],["0.50","4.0","1582905481.1"]]}"#);
    let mut dialect = new_dialect(&VENUE);
    let mut stored = StoredBooks::default();
    let mut rows = Rows::new();

    try_feed(&mut *dialect, &[&snapshot], &mut rows).unwrap();
    stored.apply(&rows.take().unwrap());
    try_feed(&mut *dialect, &[&update], &mut rows).unwrap();
    let taken = rows.take().unwrap();
    stored.apply(&taken);

    let batch = &taken[0].1;
    assert_eq!((batch.rows(), batch.messages()), (3, 1), "the cut is part of the message");
    let [_, asks] = stored.book("kraken", "XBT/USD").padded();
    let prices: Vec<_> = asks.iter().map(|(price, _)| &**price).collect();
    let expected = ["0.50", "1.50", "2.50", "3.50", "3.70", "4.50", "5.50", "6.50", "7.50", "8.50"];
    assert_eq!(prices, expected);
    assert_eq!(asks[0].1, "4.0");
}

#[test]
fn version_1_trades_tickers_and_spreads_are_read() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"[14,[["9482.40000","0.01596347","1561939258.512503","s","l",""],["9488.20000",
            "0.28522465","1561939258.557040","b","m",""]],"trade","XBT/EUR"]"#,
            r#"[16,{"a":["13.253900",35,"35.72892241"],"b":["13.232900",185,"185.18432037"],
            "c":["13.2","3.7"]},"ticker","WAVES/EUR"]"#,
            r#"[325,["43770.20000","43770.30000","1633053779.916349","0.00917717","0.31670440"],
            "spread","XBT/USD"]"#,
            r#"[545,["0.000000000","0.000000000","0.000000","0.00000000","0.00000000"],"spread",
            "LINK/ETH"]"#,
            r#"[7,["1"],"ohlc-5","XBT/USD"]"#,
            r#"{"event":"heartbeat"}"#,
            r#"{"connectionID":18239578009413566319,"event":"systemStatus","status":"online"}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "quotes kraken:WAVES/EUR 2 - 13.2329 185.18432037 13.2539 35.72892241 -",
            "trades kraken:XBT/EUR 1 1561939258512503000 sell 9482.4 0.01596347 ",
            "trades kraken:XBT/EUR 1 1561939258557040000 buy 9488.2 0.28522465 ",
            "quotes kraken:XBT/USD 3 1633053779916349000 43770.2 0.00917717 43770.3 0.3167044 -",
        ]
    );
}

fn v2_book(ty: &str, bids: &str, asks: &str, sum: u32) -> String {
    format!(
        r#"{{"channel":"book","type":"{ty}","data":[{{"symbol":"BTC/USD","bids":[{bids}],
            "asks":[{asks}],"checksum":{sum},"timestamp":"2026-07-10T00:00:01.123457Z"}}]}}"#
    )
}

#[test]
fn version_2_checks_bare_numbers_with_their_zeros() {
    let sum = checksum::kraken([("45283.0", "0.10000000")], [("45285.2", "0.00100000")]);
    let snapshot = v2_book(
        "snapshot",
        r#"{"price":45283.0,"qty":0.10000000}"#,
        r#"{"price":45285.2,"qty":0.00100000}"#,
        sum,
    );
    let after = checksum::kraken([("45283.0", "0.10000000")], []);
    let update = v2_book("update", "", r#"{"price":45285.2,"qty":0.00000000}"#, after);
    let lost_zeros = v2_book("update", r#"{"price":45283,"qty":0.1}"#, "", after);

    let found = feed(&mut *new_dialect(&VENUE), &[&snapshot, &update, &lost_zeros]);

    let event = "1783641601123457000";
    let expected = [
        format!("book kraken:BTC/USD 1 {event} reset bid 2 0 0 -"),
        format!("book kraken:BTC/USD 1 {event} set bid 2 45283 0.1 -"),
        format!("book kraken:BTC/USD 1 {event} set ask 3 45285.2 0.001 -"),
        format!("book kraken:BTC/USD 2 {event} set ask 1 45285.2 0 -"),
        format!("book kraken:BTC/USD 3 {event} gap bid 1 0 0 -"),
        format!("book kraken:BTC/USD 3 {event} set bid 1 45283 0.1 -"),
    ];
    assert_eq!(found[..6], expected);
    assert!(found[6].contains(&format!("gap checksum: expected {after}, found ")), "{}", found[6]);
}

#[test]
fn a_version_2_snapshot_with_a_wrong_checksum_is_stored_and_then_stale() {
    let snapshot = v2_book("snapshot", r#"{"price":1.0,"qty":1.0}"#, "", 7);

    let found = feed(&mut *new_dialect(&VENUE), &[&snapshot]);

    assert_eq!(found.len(), 4);
    assert!(found[0].contains(" reset ") && found[2].contains(" gap "), "{found:?}");
}

#[test]
fn the_depth_of_version_2_comes_from_the_answer_the_subscription_or_the_snapshot() {
    let level = |n: usize| format!(r#"{{"price":{n}.5,"qty":1.0}}"#);
    let side = |count: usize| (1..=count).map(level).collect::<Vec<_>>().join(",");
    let book = |ty: &str, bids: &str| {
        format!(
            r#"{{"channel":"book","type":"{ty}","data":[{{"symbol":"BTC/USD","bids":[{bids}],
            "asks":[]}}]}}"#
        )
    };
    let depth_after = |dialect: &mut dyn Dialect, count: usize| {
        let mut stored = StoredBooks::default();
        let mut rows = Rows::new();
        try_feed(dialect, &[&book("snapshot", &side(count))], &mut rows).unwrap();
        try_feed(dialect, &[&book("update", &level(999))], &mut rows).unwrap();
        stored.apply(&rows.take().unwrap());
        let [bids, _] = stored.book("kraken", "BTC/USD").shortest();
        bids.len()
    };

    assert_eq!(depth_after(&mut *new_dialect(&VENUE), 25), 25, "25 levels: depth 25");
    assert_eq!(depth_after(&mut *new_dialect(&VENUE), 26), 27, "26 levels: depth 100");
    let answer = r#"{"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,
            "symbol":"BTC/USD"},"success":true}"#;
    let mut dialect = new_dialect(&VENUE);
    feed(&mut *dialect, &[answer]);
    assert_eq!(depth_after(&mut *dialect, 10), 10);
    let sent =
        br#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":100}}"#;
    let mut dialect = new_dialect(&VENUE);
    dialect.frame(TsNs(1), CONNECTION, &Frame::Sent(sent), &mut Rows::new()).unwrap();
    assert_eq!(depth_after(&mut *dialect, 25), 26);
}

#[test]
fn version_2_trades_of_a_snapshot_only_fill_a_hole() {
    let trade = |ty: &str, ids: &[u32]| {
        let data: Vec<_> = ids
            .iter()
            .map(|id| {
                format!(
                    r#"{{"symbol":"BTC/USD","side":"buy",
            "price":100.10,"qty":0.25,"trade_id":{id},
            "timestamp":"2026-07-10T00:00:00.123456Z"}}"#
                )
            })
            .collect();
        format!(r#"{{"channel":"trade","type":"{ty}","data":[{}]}}"#, data.join(","))
    };

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &trade("snapshot", &[119, 120]),
            &trade("update", &[121]),
            &trade("snapshot", &[122, 121, 120, 123]),
            &trade("snapshot", &[123]),
        ],
    );

    let ids: Vec<_> = found.iter().map(|row| row.rsplit(' ').next().unwrap()).collect();
    assert_eq!(ids, ["121", "122", "123"]);
    assert_eq!(found[0], "trades kraken:BTC/USD 2 1783641600123456000 buy 100.1 0.25 121");
}

#[test]
fn a_version_2_ticker_is_a_quote_unless_it_is_all_zero() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":99.9,
            "bid_qty":1.2,"ask":0,"ask_qty":0,"last":1,
            "timestamp":"2026-07-10T00:00:02.123456Z"}]}"#,
            r#"{"channel":"ticker","type":"update","data":[{"symbol":"ANETx/USD","bid":0,
            "bid_qty":0,"ask":0,"ask_qty":0,"timestamp":"1970-01-01T00:00:00.000000Z"}]}"#,
            r#"{"channel":"status","type":"update","data":[{"version":"2.0.0"}]}"#,
            r#"{"channel":"heartbeat"}"#,
        ],
    );

    assert_eq!(found, ["quotes kraken:BTC/USD 1 1783641602123456000 99.9 1.2 - - -"]);
}

#[test]
fn what_cannot_be_read_adds_no_row_and_is_a_gap_if_it_may_be_a_book() {
    let bad = [
        "[1",
        "{}",
        r#"{"event":""}"#,
        r#"[1,"book-10","XBT/USD"]"#,
        r#"[1,{"a":[["5.10","x","1582905486.1"]]},"book-10","XBT/USD"]"#,
        r#"[1,{"a":[["5.10","-1","1582905486.1"]]},"book-10","XBT/USD"]"#,
        r#"[1,{"a":[["5.10","1"]]},"book-10","XBT/USD"]"#,
        r#"[1,{"a":[["5.10","1","yesterday"]]},"book-10","XBT/USD"]"#,
        r#"[1,{"a":[],"c":"99999999999"},"book-10","XBT/USD"]"#,
        r#"[1,{"a":[]},"book-11","XBT/USD"]"#,
        r#"[1,{"c":"1"},"book-10","XBT/USD"]"#,
        r#"{"channel":"book","type":"update","data":[{"bids":[]}]}"#,
    ];
    for message in bad {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[SNAPSHOT], &mut rows).unwrap();

        let (_, is_torn) = refused(&mut *dialect, message);

        assert!(is_torn, "{message}");
    }
    let no_book = [
        r#"[1,[["9482.4","0.0","1561939258.5","x","l",""]],"trade","XBT/USD"]"#,
        r#"[1,[["9482.4"]],"trade","XBT/USD"]"#,
        r#"[1,"trade","XBT/USD"]"#,
        r#"[1,{"a":["1",1,"1"]},"ticker","XBT/USD"]"#,
        r#"[1,["1","2"],"spread","XBT/USD"]"#,
        r#"{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD"}]}"#,
        r#"{"channel":"ticker","type":"update","data":{}}"#,
    ];
    for message in no_book {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[SNAPSHOT], &mut rows).unwrap();

        let (_, is_torn) = refused(&mut *dialect, message);

        assert!(!is_torn, "{message}");
    }
}

#[test]
fn a_lost_connection_is_a_gap_and_a_new_one_brings_its_own_snapshot() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    try_feed(&mut *dialect, &[SNAPSHOT], &mut rows).unwrap();
    dialect.frame(TsNs(2), CONNECTION, &Frame::Disconnected, &mut rows).unwrap();
    let snapshot = Frame::Message(SNAPSHOT.as_bytes());
    dialect.frame(TsNs(3), CONNECTION + 1, &snapshot, &mut rows).unwrap();
    let late = v1_update(r#"{"a":[["5.10","1.0","1582905486.1"]],"c":"1"}"#);
    dialect.frame(TsNs(4), CONNECTION, &Frame::Message(late.as_bytes()), &mut rows).unwrap();

    let found = texts(&mut rows);

    assert_eq!(
        found[5..7],
        [
            "book kraken:XBT/USD 2 - gap bid 1 0 0 -",
            "book kraken:XBT/USD 3 1582905480300000000 reset bid 2 0 0 -",
        ]
    );
    assert_eq!(
        found[11..],
        [
            "status kraken:XBT/USD 2 - disconnected connection lost",
            "status kraken:XBT/USD 2 - gap connection lost",
            "status kraken:XBT/USD 3 1582905480300000000 resync venue snapshot",
        ]
    );
}

#[test]
fn all_4269_checksums_of_the_capture_agree_also_from_the_stored_rows() {
    let Some(path) = capture("kraken-ws/KRAKEN.jsonl.zst") else { return };
    let mut stored = StoredBooks::default();
    let (mut messages, mut checked, mut trades, mut quotes) = (0, 0, 0, 0);

    testing::replay(&path, Form::CryptofeedJson, &mut *new_dialect(&VENUE), |message, taken| {
        stored.apply(&taken);
        trades += rows_of(&taken, Kind::Trades);
        quotes += rows_of(&taken, Kind::Quotes);
        let Ok(parts) = json::parse_text::<Vec<serde_json::Value>>(message) else { return };
        let symbol = parts[parts.len() - 1].as_str().unwrap();
        messages += usize::from(parts[parts.len() - 2] == "book-1000");
        let Some(sum) = parts[parts.len() - 3].get("c").and_then(|sum| sum.as_str()) else {
            return;
        };
        if parts[parts.len() - 2] == "book-1000" {
            let [bids, asks] = stored.book("kraken", symbol).padded();
            assert_eq!(checksum::kraken(bids, asks).to_string(), sum, "{message}");
            checked += 1;
        }
    });

    assert_eq!((messages, checked, trades, quotes), (4279, 4269, 10, 18));
    assert_eq!(stored.iter().count(), 10);
    assert!(stored.iter().all(|(_, book)| book.gaps == 0));
}
