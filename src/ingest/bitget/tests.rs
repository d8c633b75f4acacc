//! Bitget messages written by hand, and a capture whose checksums must all agree.

use super::super::testing::{
    self, CONNECTION, StoredBooks, capture, feed, new_dialect, texts, try_feed,
};
use super::*;
use crate::ingest::rows::Rows;
use crate::ingest::{Form, Frame};

/// A version 3 message of the book of `spot:X`.
fn book(action: &str, bids: &str, asks: &str, rest: &str) -> String {
    format!(
        r#"{{"action":"{action}","arg":{{"instType":"spot","topic":"books","symbol":"X"}},
            "data":[{{"a":[{asks}],"b":[{bids}],"ts":"1000"{rest}}}],"ts":1001}}"#
    )
}

fn snapshot(rest: &str) -> String {
    book("snapshot", r#"["10.0","1"]"#, r#"["11.5","2.25"]"#, rest)
}

#[test]
fn a_wrong_checksum_is_a_gap_until_the_next_snapshot() {
    let right = checksum::okx([("10.0", "1")], [("11.5", "2.25")]);
    let good = snapshot(&format!(r#","checksum":{right}"#));
    let wrong = book("update", "", r#"["12","1"]"#, r#","checksum":-5"#);
    let found_sum = checksum::okx([("10.0", "1")], [("11.5", "2.25"), ("12", "1")]);

    let found = feed(&mut *new_dialect(&VENUE), &[&good, &wrong, &good]);

    assert_eq!(
        found,
        [
            "book bitget:X 1 1000000000 reset bid 2 0 0 -".to_owned(),
            "book bitget:X 1 1000000000 set bid 2 10 1 -".to_owned(),
            "book bitget:X 1 1000000000 set ask 3 11.5 2.25 -".to_owned(),
            "book bitget:X 2 1000000000 gap bid 1 0 0 -".to_owned(),
            "book bitget:X 2 1000000000 set ask 1 12 1 -".to_owned(),
            "book bitget:X 3 1000000000 reset bid 2 0 0 -".to_owned(),
            "book bitget:X 3 1000000000 set bid 2 10 1 -".to_owned(),
            "book bitget:X 3 1000000000 set ask 3 11.5 2.25 -".to_owned(),
            format!("status bitget:X 2 1000000000 gap checksum: expected -5, found {found_sum}"),
            "status bitget:X 3 1000000000 resync venue snapshot".to_owned(),
        ]
    );
}

#[test]
fn a_break_of_the_sequence_is_a_gap() {
    let messages = [
        snapshot(r#","checksum":0,"seq":10,"pseq":0"#),
        book("update", r#"["9","1"]"#, "", r#","seq":15,"pseq":10"#),
        book("update", r#"["8","1"]"#, "", r#","seq":19,"pseq":16"#),
    ];
    let messages: Vec<_> = messages.iter().map(|message| &**message).collect();

    let found = feed(&mut *new_dialect(&VENUE), &messages);

    let gaps: Vec<_> = found.iter().filter(|row| row.contains(" gap ")).collect();
    assert_eq!(
        gaps,
        [
            "book bitget:X 3 1000000000 gap bid 1 0 0 -",
            "status bitget:X 3 1000000000 gap pseq: expected 15, found 16",
        ]
    );
}

#[test]
fn whole_books_become_changes_until_the_full_channel_takes_over() {
    let five = |asks: &str| {
        format!(
            r#"{{"action":"snapshot","arg":{{"instType":"USDT-FUTURES","channel":"books5",
            "instId":"X"}},"data":[{{"asks":[{asks}],"bids":[["9","1"]],"ts":"1000"}}]}}"#
        )
    };
    let full = five(r#"["11","1"]"#).replace("books5", "books");

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &five(r#"["10","1"],["11","1"]"#),
            &five(r#"["11","2"]"#),
            &five(r#"["11","2"]"#),
            &full,
            &five(r#"["12","2"]"#),
        ],
    );

    assert_eq!(
        found,
        [
            "book bitget-futures:X 1 1000000000 reset bid 2 0 0 -",
            "book bitget-futures:X 1 1000000000 set bid 2 9 1 -",
            "book bitget-futures:X 1 1000000000 set ask 2 10 1 -",
            "book bitget-futures:X 1 1000000000 set ask 3 11 1 -",
            "book bitget-futures:X 2 1000000000 set ask 0 11 2 -",
            "book bitget-futures:X 2 1000000000 set ask 1 10 0 -",
            "book bitget-futures:X 4 1000000000 reset bid 2 0 0 -",
            "book bitget-futures:X 4 1000000000 set bid 2 9 1 -",
            "book bitget-futures:X 4 1000000000 set ask 3 11 1 -",
        ]
    );
}

#[test]
fn a_whole_book_after_an_unread_one_is_a_snapshot() {
    let five = r#"{"action":"snapshot","arg":{"instType":"SPOT","channel":"books5",
            "instId":"X"},"data":[{"asks":[["10","1"]],"bids":[],"ts":"1000"}]}"#;
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    try_feed(&mut *dialect, &[five], &mut rows).unwrap();
    let bad = five.replace("\"1\"", "\"one\"");
    assert!(try_feed(&mut *dialect, &[&bad], &mut rows).is_err());
    try_feed(&mut *dialect, &[five], &mut rows).unwrap();

    let found = texts(&mut rows);

    let actions: Vec<_> = found.iter().filter_map(|row| row.split(' ').nth(4)).collect();
    assert_eq!(actions, ["reset", "set", "gap", "reset", "set", "gap", "resync"], "{found:?}");
}

#[test]
fn prints_quotes_tickers_and_liquidations_are_read() {
    let ticker = |mark: &str| {
        format!(
            r#"{{"action":"snapshot","arg":{{"instType":"mc","channel":"ticker",
            "instId":"DASHUSDT"}},"data":[{{"last":"113.370","bestAsk":"113.41","bestBid":"113.36",
            "capitalRate":"-0.000100","nextSettleTime":1649314800000,"systemTime":1649290077309,
            "markPrice":"{mark}","indexPrice":"113.427","holding":"21957.17"}}]}}"#
        )
    };
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"event":"subscribe","arg":{"instType":"sp","channel":"trade","instId":"X"}}"#,
            r#"{"action":"update","arg":{"instType":"sp","channel":"trade","instId":"X"},
            "data":[["1649290078140","0.5555","18.3496","buy"],
            ["1649290078139","0.55","1","sell"]]}"#,
            r#"{"action":"snapshot","arg":{"instType":"SPOT","channel":"books1","instId":"X"},
            "data":[{"asks":[["1.4138","4.58"]],"bids":[],"checksum":0,"ts":"3"}]}"#,
            &ticker("113.381"),
            &ticker("113.381"),
            &ticker("113.382"),
            r#"{"action":"update","arg":{"instType":"usdt-futures","topic":"liquidation"},
            "data":[{"symbol":"APEUSDT","side":"buy","price":"0.1649","amount":"13.7","ts":"7"}]}"#,
            "pong",
        ],
    );

    let ticker_row = "ticker bitget-futures:DASHUSDT";
    let state = "-0.0001 - 1649314800000000000 21957.17";
    assert_eq!(
        found,
        [
            "trades bitget:X 2 1649290078139000000 sell 0.55 1 ".to_owned(),
            "trades bitget:X 2 1649290078140000000 buy 0.5555 18.3496 ".to_owned(),
            "quotes bitget:X 3 3000000 - - 1.4138 4.58 -".to_owned(),
            "liquidations bitget-futures:APEUSDT 7 7000000 sell 0.1649 13.7 ".to_owned(),
            "quotes bitget-futures:DASHUSDT 4 1649290077309000000 113.36 - 113.41 - -".to_owned(),
            format!("{ticker_row} 4 1649290077309000000 113.37 113.381 113.427 {state}"),
            format!("{ticker_row} 6 1649290077309000000 113.37 113.382 113.427 {state}"),
        ]
    );
}

#[test]
fn an_index_of_too_many_digits_is_unknown() {
    let ticker = |index: &str| {
        format!(
            r#"{{"action":"snapshot","arg":{{"instType":"usdt-futures","topic":"ticker",
            "symbol":"X"}},"data":[{{"lastPrice":"1","bid1Price":"","bid1Size":"",
            "indexPrice":"{index}"}}],"ts":7}}"#
        )
    };
    let messages = [ticker("2"), ticker("76671.4381686055379793"), ticker("3")];
    let messages: Vec<_> = messages.iter().map(|message| &**message).collect();

    let found = feed(&mut *new_dialect(&VENUE), &messages);

    assert_eq!(
        found,
        [
            "quotes bitget-futures:X 1 7000000 - - - - -",
            "ticker bitget-futures:X 1 7000000 1 - 2 - - - -",
            "ticker bitget-futures:X 2 7000000 1 - - - - - -",
            "ticker bitget-futures:X 3 7000000 1 - 3 - - - -",
        ]
    );
    let bad = ticker("two");
    assert!(try_feed(&mut *new_dialect(&VENUE), &[&bad], &mut Rows::new()).is_err());
}

#[test]
fn recent_prints_fill_the_hole_of_a_reconnect() {
    let print = |action: &str, ids: &[i64]| {
        let data: Vec<_> = ids
            .iter()
            .map(|id| format!(r#"{{"i":"{id}","p":"1","v":"2","S":"sell","T":"{id}"}}"#))
            .collect();
        format!(
            r#"{{"action":"{action}","arg":{{"instType":"spot","topic":"publicTrade",
            "symbol":"X"}},"data":[{}],"ts":5}}"#,
            data.join(",")
        )
    };
    let messages =
        [print("snapshot", &[2, 1]), print("update", &[3]), print("snapshot", &[5, 4, 3])];
    let messages: Vec<_> = messages.iter().map(|message| &**message).collect();

    let found = feed(&mut *new_dialect(&VENUE), &messages);

    let ids: Vec<_> = found.iter().filter_map(|row| row.rsplit(' ').next()).collect();
    assert_eq!(ids, ["3", "4", "5"]);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let arg = r#""arg":{"instType":"SPOT","channel":"books","instId":"X"}"#;
    for (message, reason) in [
        ("{}".to_owned(), "event"),
        ("{".to_owned(), "EOF"),
        (r#"{"action":"update","arg":{"instType":"x"},"data":[]}"#.to_owned(), "channel"),
        (snapshot("").replace("\"spot\"", "\"moon\""), "moon"),
        (snapshot("").replace("snapshot", "other"), "snapshot or update"),
        (snapshot("").replace("10.0", "ten"), "ten"),
        (snapshot("").replace("\"1\"", "\"-1\""), "zero or more"),
        (snapshot("").replace("\"symbol\"", "\"other\""), "symbol"),
        (snapshot(r#","seq":"x""#), "integer"),
        (format!(r#"{{"action":"update",{arg},"data":{{}}}}"#), "sequence"),
        (format!(r#"{{"action":"update",{arg},"data":[{{"asks":[],"bids":[]}}]}}"#), "ts"),
    ] {
        let mut rows = Rows::new();
        let error = try_feed(&mut *new_dialect(&VENUE), &[&message], &mut rows).unwrap_err();

        assert!(error.to_string().contains(reason), "{message}: {error}");
        assert_eq!(rows.pending_rows(), 0, "{message}");
    }
}

#[test]
fn one_connection_carries_both_markets() {
    let spot = snapshot("");
    let contract = spot.replace("\"spot\"", "\"coin-futures\"");
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    try_feed(&mut *dialect, &[&spot, &contract], &mut rows).unwrap();
    dialect.frame(TsNs(9), CONNECTION, &Frame::Disconnected, &mut rows).unwrap();

    let mut stored = StoredBooks::default();
    stored.apply(&rows.take().unwrap());

    for exchange in ["bitget", "bitget-futures"] {
        assert_eq!(stored.book(exchange, "X").gaps, 1, "{exchange}");
    }
}

#[test]
fn the_market_of_a_message_is_told_by_its_type() {
    let message = snapshot("").replace("\"spot\"", "\"USDT-FUTURES\"");
    assert_eq!((VENUE.recognise)(&Clue::Message(message.as_bytes())), Some(CONTRACTS));
    assert_eq!((VENUE.recognise)(&Clue::Message(b"{}")), None);
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("BITGET")), Some(SPOT));
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://ws.bitget.com/v2/ws/public")), Some(SPOT));
}

#[test]
fn every_checksum_of_the_capture_agrees_with_the_stored_books() {
    let Some(path) = capture("bitget-ws/BITGET.jsonl.zst") else { return };
    let mut stored = StoredBooks::default();
    let mut matched = 0;

    testing::replay(&path, Form::CryptofeedJson, &mut *new_dialect(&VENUE), |message, taken| {
        stored.apply(&taken);
        let envelope: Envelope<'_> = json::parse(message.as_bytes()).unwrap();
        let (Some(arg), Some(data)) = (envelope.arg, envelope.data) else { return };
        if arg.channel == "books" {
            let data: Vec<Book<'_>> = json::parse_text(data.get()).unwrap();
            let exchange = exchange_of(&arg.market).unwrap();
            let book = stored.book(exchange, arg.symbol.as_deref().unwrap());
            let [bids, asks] = book.padded();
            assert_eq!(Some(i64::from(checksum::okx(bids, asks))), data[0].checksum, "{message}");
            matched += 1;
        }
    });

    assert_eq!(matched, 637);
    assert_eq!(stored.iter().map(|(_, book)| book.gaps).sum::<usize>(), 0);
}
