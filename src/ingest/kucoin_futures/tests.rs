//! KuCoin Futures messages written by hand.

use super::super::testing::{CONNECTION, feed, new_dialect, texts, try_feed};
use super::*;
use crate::ingest::Frame;
use crate::ingest::rows::Rows;

const URL: &str = "https://api-futures.kucoin.com/api/v1/level2/snapshot?symbol=XBTUSDTM";

fn message(topic: &str, subject: &str, data: &str) -> String {
    format!(
        r#"{{"topic":"{topic}:XBTUSDTM","type":"message","subject":"{subject}","data":{{{data}}}}}"#
    )
}

fn change(sequence: i64, change: &str) -> String {
    let data = format!(r#""sequence":{sequence},"change":"{change}","timestamp":{sequence}"#);
    message("/contractMarket/level2", "level2", &data)
}

#[test]
fn a_snapshot_is_spliced_into_single_changes() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let before = [change(15, "1.5,buy,7"), change(16, "1.5,buy,8"), change(17, "2.0,sell,0")];
    let before: Vec<_> = before.iter().map(|message| &**message).collect();
    try_feed(&mut *dialect, &before, &mut rows).unwrap();
    assert_eq!(rows.pending_rows(), 0);
    let body = r#"{"code":"200000","data":{"sequence":15,"symbol":"XBTUSDTM","bids":[["1.5",7]],
        "asks":[["2.0",3],[2.5,1]],"ts":1705881600412000000}}"#;
    let reply = Frame::Reply { url: URL, body: body.as_bytes() };
    dialect.frame(TsNs(9), CONNECTION + 1, &reply, &mut rows).unwrap();
    let after = [change(18, "0,buy,0"), change(19, "1.6,buy,1"), change(21, "1.7,buy,1")];
    let after: Vec<_> = after.iter().map(|message| &**message).collect();
    try_feed(&mut *dialect, &after, &mut rows).unwrap();

    let found = texts(&mut rows);

    let rows: Vec<_> = found.iter().filter_map(|row| row.splitn(4, ' ').nth(3)).collect();
    assert_eq!(
        rows,
        [
            "1705881600412000000 reset bid 2 0 0 15",
            "1705881600412000000 set bid 2 1.5 7 15",
            "1705881600412000000 set ask 2 2 3 15",
            "1705881600412000000 set ask 3 2.5 1 15",
            "16000000 set bid 1 1.5 8 16",
            "17000000 set ask 1 2 0 17",
            "19000000 set bid 1 1.6 1 19",
            "21000000 gap bid 1 0 0 -",
            "21000000 set bid 1 1.7 1 21",
            "21000000 gap sequence: expected 20, found 21",
        ]
    );
}

#[test]
fn trades_quotes_and_states_are_read() {
    let instrument = "/contract/instrument";
    let rate = |granularity: i64, rate: &str| {
        let data = format!(r#""granularity":{granularity},"fundingRate":{rate},"timestamp":4"#);
        message(instrument, "funding.rate", &data)
    };
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"id":"x","type":"welcome"}"#,
            &message(
                "/contractMarket/execution",
                "match",
                r#""symbol":"XBTUSDTM","sequence":7,"side":"sell","size":10,"price":"93.624",
                "tradeId":"1701","ts":1705708799998000000"#,
            ),
            &message(
                "/contractMarket/tickerV2",
                "tickerV2",
                r#""symbol":"XBTUSDTM","sequence":8,"bestBidSize":260,"bestBidPrice":"24.067",
                "bestAskPrice":"24.08","bestAskSize":250,"ts":5"#,
            ),
            &message("/contract/details", "contractDetails", r#""openInterest":"929""#),
            &rate(60000, "-0.000038"),
            &message(
                instrument,
                "mark.index.price",
                r#""markPrice":3961.11,"indexPrice":3961.44,"granularity":1000,"timestamp":5"#,
            ),
            &rate(28_800_000, "3.9e-5"),
            &message("/contractMarket/level2Depth5", "level2", r#""sequence":1"#),
        ],
    );

    let name = "kucoin-futures:XBTUSDTM";
    assert_eq!(
        found,
        [
            format!("trades {name} 2 1705708799998000000 sell 93.624 10 1701"),
            format!("quotes {name} 3 5 24.067 260 24.08 250 8"),
            format!("ticker {name} 5 4000000 93.624 - - - -0.000038 - 929"),
            format!("ticker {name} 6 5000000 93.624 3961.11 3961.44 - -0.000038 - 929"),
            format!("ticker {name} 7 4000000 93.624 3961.11 3961.44 0.000039 -0.000038 - 929"),
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let mut dialect = new_dialect(&VENUE);
    for (message, reason) in [
        ("{}".to_owned(), "type"),
        (change(1, "1,buy"), "price,side,qty"),
        (change(1, "1,buy,2,3"), "price,side,qty"),
        (change(1, "1,up,2"), "up"),
        (change(1, "one,buy,2"), "one"),
        (change(1, "1,buy,-2"), "zero or more"),
        (change(1, "1,buy,2").replace("timestamp", "time"), "timestamp"),
        (message("/contractMarket/execution", "match", r#""side":"buy""#), "price"),
        (message("/contract/instrument", "funding.rate", r#""fundingRate":1"#), "timestamp"),
    ] {
        let mut rows = Rows::new();
        let error = try_feed(&mut *dialect, &[&message], &mut rows).unwrap_err();
        assert!(error.to_string().contains(reason), "{message}: {error}");
        assert_eq!(rows.pending_rows(), 0);
    }
    for (url, body) in [(URL, "x"), (URL, r#"{"code":"400100"}"#), (&URL[..URL.len() - 16], "{}")] {
        let frame = Frame::Reply { url, body: body.as_bytes() };
        let read = dialect.frame(TsNs(1), 0, &frame, &mut Rows::new());
        assert_eq!(read.is_err(), url == URL, "{url} {body}");
    }
}

#[test]
fn kucoin_futures_is_told_from_spot() {
    for (clue, expected) in [
        (Clue::Message(change(1, "1,buy,1").as_bytes()), true),
        (Clue::Message(br#"{"type":"message","topic":"/market/level2:X-Y"}"#), false),
        (Clue::Url(URL), true),
        (Clue::Url("wss://ws-api-futures.kucoin.com/?token=1"), true),
        (Clue::Url("https://api.kucoin.com/api/v1/symbols"), false),
        (Clue::CaptureName("KUCOIN"), false),
    ] {
        assert_eq!((VENUE.recognise)(&clue).is_some(), expected, "{clue:?}");
    }
}
