//! Gate messages written by hand.

use super::super::testing::{CONNECTION, feed, new_dialect, texts, try_feed};
use super::*;
use crate::ingest::Frame;
use crate::ingest::rows::Rows;

fn message(channel: &str, result: &str) -> String {
    format!(
        r#"{{"time":5,"time_ms":5001,"channel":"{channel}","event":"update","result":{result}}}"#
    )
}

fn changes(channel: &str, first: i64, last: i64, bids: &str) -> String {
    let result = format!(r#"{{"t":{last},"s":"X_Y","U":{first},"u":{last},"b":[{bids}],"a":[]}}"#);
    message(channel, &result)
}

#[test]
fn both_markets_splice_their_own_snapshots() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let spot = "spot.order_book_update";
    let futures = "futures.order_book_update";
    let before = [
        changes(spot, 3, 4, r#"["1.5","2"]"#),
        changes(spot, 5, 5, r#"["1.6","2"]"#),
        changes(futures, 7, 7, r#"{"p":"1.7","s":2}"#),
    ];
    let before: Vec<_> = before.iter().map(|message| &**message).collect();
    try_feed(&mut *dialect, &before, &mut rows).unwrap();
    for (url, body) in [
        (
            "https://api.gateio.ws/api/v4/spot/order_book?currency_pair=X_Y&with_id=true",
            r#"{"id":4,"current":1619093533730,"update":1619093533700,"asks":[["2",
            "1"]],"bids":[]}"#,
        ),
        (
            "https://api.gateio.ws/api/v4/futures/usdt/order_book?contract=X_Y&with_id=true",
            r#"{"current":1684930166.384,"update":1684930166.35,"asks":[{"s":803,"p":"2"}],
            "bids":[],"id":6}"#,
        ),
    ] {
        let frame = Frame::Reply { url, body: body.as_bytes() };
        dialect.frame(TsNs(9), CONNECTION + 1, &frame, &mut rows).unwrap();
    }
    try_feed(&mut *dialect, &[&changes(futures, 9, 9, r#"{"p":"1.9","s":0}"#)], &mut rows).unwrap();

    assert_eq!(
        texts(&mut rows),
        [
            "book gate-io:X_Y 9 1619093533700000000 reset bid 2 0 0 4",
            "book gate-io:X_Y 9 1619093533700000000 set ask 3 2 1 4",
            "book gate-io:X_Y 9 5000000 set bid 1 1.6 2 5",
            "book gate-io-futures:X_Y 9 1684930166350000000 reset bid 2 0 0 6",
            "book gate-io-futures:X_Y 9 1684930166350000000 set ask 3 2 803 6",
            "book gate-io-futures:X_Y 9 7000000 set bid 1 1.7 2 7",
            "book gate-io-futures:X_Y 9 9000000 gap bid 1 0 0 -",
            "book gate-io-futures:X_Y 9 9000000 set bid 1 1.9 0 9",
            "status gate-io-futures:X_Y 1 9000000 gap U: expected 8, found 9",
        ]
    );
}

#[test]
fn a_full_message_is_a_snapshot_in_the_stream() {
    let full = message(
        "spot.obu",
        r#"{"t":7,"full":true,"s":"ob.X_Y.400","u":10,"b":[["1","2"]],"a":[["3","4"]]}"#,
    );
    let next = message("spot.obu", r#"{"t":8,"s":"ob.X_Y.400","U":11,"u":12,"b":[["1","0"]]}"#);
    let hole = next.replace("\"U\":11,\"u\":12", "\"U\":14,\"u\":15");

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[&full, &next, &hole, &full.replace("\"u\":10", "\"u\":20")],
    );

    let actions: Vec<_> = found
        .iter()
        .filter(|row| row.starts_with("book"))
        .filter_map(|row| row.splitn(5, ' ').nth(4))
        .collect();
    assert_eq!(
        actions,
        [
            "reset bid 2 0 0 10",
            "set bid 2 1 2 10",
            "set ask 3 3 4 10",
            "set bid 1 1 0 12",
            "gap bid 1 0 0 -",
            "set bid 1 1 0 15",
            "reset bid 2 0 0 20",
            "set bid 2 1 2 20",
            "set ask 3 3 4 20",
        ]
    );
}

#[test]
fn trades_quotes_and_tickers_are_read() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &message(
                "spot.trades",
                r#"{"id":816995772,"create_time":1619093543,"create_time_ms":"1619093543708.2642",
                "side":"sell","currency_pair":"X_Y","amount":"0.2010000000","price":"121.58"}"#,
            ),
            &message(
                "futures.trades",
                r#"[{"size":-22,"id":7,"create_time":1593561623,"price":"225.5","contract":"F"},
                {"size":3,"id":8,"create_time":1,"create_time_ms":1500,"price":"226",
                "contract":"F"}]"#,
            ),
            &message(
                "spot.tickers",
                r#"{"currency_pair":"X_Y","last":"1","lowest_ask":"2",
                "highest_bid":"1.5"}"#,
            ),
            &message(
                "futures.tickers",
                r#"[{"contract":"F","last":"25","total_size":"14","mark_price":"26.9",
                "funding_rate":"0.0001","funding_rate_indicative":"0.0002","index_price":"27"}]"#,
            ),
            &message("futures.book_ticker", r#"{"t":8,"u":9,"s":"F","b":"24","B":5,"a":"","A":0}"#),
            &message("futures.book_ticker", r#"{"t":0,"u":0,"s":"F","b":"","B":0,"a":"","A":0}"#),
            &message("futures.tickers", r#"{"contract":"F","last":"25","highest_bid":"23"}"#),
            r#"{"time":1,"channel":"spot.trades","event":"subscribe","result":{"status":"ok"}}"#,
            r#"{"time":1,"channel":"spot.pong","event":null,"result":null}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "trades gate-io:X_Y 1 1619093543708264200 sell 121.58 0.201 816995772",
            "quotes gate-io:X_Y 3 5001000000 1.5 - 2 - -",
            "trades gate-io-futures:F 2 1593561623000000000 sell 225.5 22 7",
            "trades gate-io-futures:F 2 1500000000 buy 226 3 8",
            "quotes gate-io-futures:F 5 8000000 24 5 - - 9",
            "ticker gate-io-futures:F 4 5001000000 25 26.9 27 0.0001 0.0002 - 14",
        ]
    );
}

#[test]
fn liquidations_have_the_side_of_their_order_and_their_time_in_any_unit() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &message(
                "futures.public_liquidates",
                r#"[{"price":215.1,"size":-124,"time_ms":1541486601123,"contract":"F"}]"#,
            ),
            &message(
                "futures.public_liquidates",
                r#"[{"price":"215.1","size":"-124.5","time":1541486601,"contract":"F"},
                {"price":"215.2","size":"10.5","time":1541486601456,"contract":"G"}]"#,
            ),
        ],
    );

    assert_eq!(
        found,
        [
            "liquidations gate-io-futures:F 1 1541486601123000000 sell 215.1 124 ",
            "liquidations gate-io-futures:F 2 1541486601000000000 sell 215.1 124.5 ",
            "liquidations gate-io-futures:G 2 1541486601456000000 buy 215.2 10.5 ",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let good = changes("spot.order_book_update", 1, 1, r#"["1","2"]"#);
    let mut dialect = new_dialect(&VENUE);
    for (message, reason) in [
        ("{}".to_owned(), "channel"),
        (good.replace("spot.", "options."), "options"),
        (good.replace("\"update\"", "\"other\""), "other"),
        (good.replace("[\"1\"", "[\"one\""), "one"),
        (good.replace("\"U\"", "\"X\""), "expected U"),
        (good.replace("\"u\"", "\"X\""), "`u`"),
        (message("futures.trades", r#"[{"size":1,"id":1,"price":"1","contract":"F"}]"#), "create"),
        (message("futures.trades", r#"[[1]]"#), "message"),
        (
            message(
                "futures.public_liquidates",
                r#"[{"price":1,"size":1,"time":1,"contract":"F"},
                {"price":1,"size":1,"contract":"F"}]"#,
            ),
            "expected time",
        ),
    ] {
        let mut rows = Rows::new();
        let error = try_feed(&mut *dialect, &[&message], &mut rows).unwrap_err();
        assert!(error.to_string().contains(reason), "{message}: {error}");
        assert_eq!(rows.pending_rows(), 0);
    }
}

#[test]
fn the_market_is_told_by_name_address_and_channel() {
    let futures = changes("futures.order_book_update", 1, 1, "");
    for (clue, expected) in [
        (Clue::CaptureName("GATEIO"), Some(SPOT)),
        (Clue::CaptureName("GATEIO_FUTURES"), Some(FUTURES)),
        (Clue::Url("wss://api.gateio.ws/ws/v4/"), Some(SPOT)),
        (Clue::Url("wss://fx-ws.gateio.ws/v4/ws/usdt"), Some(FUTURES)),
        (Clue::Url("wss://example.com/"), None),
        (Clue::Message(futures.as_bytes()), Some(FUTURES)),
        (Clue::Message(b"{}"), None),
    ] {
        assert_eq!((VENUE.recognise)(&clue), expected, "{clue:?}");
    }
}

#[test]
fn liquidations_have_the_side_of_their_order_and_a_time_in_either_unit() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &message(
                "futures.public_liquidates",
                r#"[{"price":"215.1","size":-124,"time":1541486601,"contract":"F"},
                {"price":"215.2","size":"10.5","time":1541486601456,"contract":"F"}]"#,
            ),
            &message(
                "futures.public_liquidates",
                r#"{"price":"215.3","size":1,"time":1,"time_ms":1541486602001,"contract":"F"}"#,
            ),
        ],
    );

    assert_eq!(
        found,
        [
            "liquidations gate-io-futures:F 1 1541486601000000000 sell 215.1 124 ",
            "liquidations gate-io-futures:F 1 1541486601456000000 buy 215.2 10.5 ",
            "liquidations gate-io-futures:F 2 1541486602001000000 buy 215.3 1 ",
        ]
    );
}

#[test]
fn a_book_without_an_event_is_read_and_notices_are_not() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"channel":"futures.obu","result":{"t":1747054612673,"full":true,"s":"ob.F.50",
            "u":73777715168,"b":[["104027.1","509392"]],"a":[]},"time_ms":1747054612848}"#,
            r#"{"channel":"futures.obu","result":{"t":1747054612695,"s":"ob.F.50","U":73777715169,
            "u":73777715212,"b":[["104027.1","0"]],"a":[]},"time_ms":1747054612925}"#,
            r#"{"time":1545404023,"channel":"futures.pong","event":"","error":null,"result":null}"#,
            r#"{"time":1770694860,"channel":"futures.system","event":"update","result":{"type":
            "upgrade","msg":"Please reconnect."}}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "book gate-io-futures:F 1 1747054612673000000 reset bid 2 0 0 73777715168",
            "book gate-io-futures:F 1 1747054612673000000 set bid 3 104027.1 509392 73777715168",
            "book gate-io-futures:F 2 1747054612695000000 set bid 1 104027.1 0 73777715212",
        ]
    );
}
