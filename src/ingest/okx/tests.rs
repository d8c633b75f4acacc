//! OKX messages written by hand, and two captures whose checksums must all agree.

use super::super::testing::{
    self, CONNECTION, StoredBooks, capture, feed, new_dialect, refused, rows_of, texts, try_feed,
};
use super::*;
use crate::ingest::Form;
use crate::ingest::Frame;
use crate::ingest::rows::Rows;

fn book(action: &str, bids: &str, asks: &str, rest: &str) -> String {
    format!(
        r#"{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"{action}",
            "data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"1000"{rest}}}]}}"#
    )
}

fn snapshot(rest: &str) -> String {
    book("snapshot", r#"["10","1","0","1"]"#, r#"["11.5","2.25","0","3"]"#, rest)
}

#[test]
fn a_snapshot_and_an_update_become_book_rows() {
    let first = checksum::okx([("10", "1")], [("11.5", "2.25")]);
    let second = checksum::okx([("10", "1"), ("9.9", "4")], []);
    let update = book(
        "update",
        r#"["9.9","4","0","1"]"#,
        r#"["11.5","0","0","0"]"#,
        &format!(r#","checksum":{second},"seqId":124,"prevSeqId":123"#),
    );

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[&snapshot(&format!(r#","checksum":{first},"seqId":123,"prevSeqId":-1"#)), &update],
    );

    assert_eq!(
        found,
        [
            "book okex:BTC-USDT 1 1000000000 reset bid 2 0 0 123",
            "book okex:BTC-USDT 1 1000000000 set bid 2 10 1 123",
            "book okex:BTC-USDT 1 1000000000 set ask 3 11.5 2.25 123",
            "book okex:BTC-USDT 2 1000000000 set bid 0 9.9 4 124",
            "book okex:BTC-USDT 2 1000000000 set ask 1 11.5 0 124",
        ]
    );
}

#[test]
fn a_wrong_checksum_is_a_gap_until_the_next_snapshot() {
    let right = checksum::okx([("10", "1")], [("11.5", "2.25")]);
    let good = snapshot(&format!(r#","checksum":{right}"#));
    let wrong = book("update", "", r#"["12","1","0","1"]"#, r#","checksum":-5"#);
    let found_sum = checksum::okx([("10", "1")], [("11.5", "2.25"), ("12", "1")]);

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[&good, &wrong, &wrong, &good, &snapshot(r#","checksum":7"#)],
    );

    let event = "1000000000";
    assert_eq!(
        found[3..7],
        [
            format!("book okex:BTC-USDT 2 {event} gap bid 1 0 0 -"),
            format!("book okex:BTC-USDT 2 {event} set ask 1 12 1 -"),
            format!("book okex:BTC-USDT 3 {event} set ask 1 12 1 -"),
            format!("book okex:BTC-USDT 4 {event} reset bid 2 0 0 -"),
        ]
    );
    assert_eq!(found[12], format!("book okex:BTC-USDT 5 {event} gap bid 1 0 0 -"));
    assert_eq!(
        found[13..],
        [
            format!("status okex:BTC-USDT 2 {event} gap checksum: expected -5, found {found_sum}"),
            format!("status okex:BTC-USDT 4 {event} resync venue snapshot"),
            format!("status okex:BTC-USDT 5 {event} gap checksum: expected 7, found {right}"),
        ]
    );
}

#[test]
fn a_break_of_the_sequence_is_a_gap() {
    let messages = [
        snapshot(r#","checksum":0,"seqId":10,"prevSeqId":-1"#),
        book("update", r#"["9","1","0","1"]"#, "", r#","checksum":0,"seqId":15,"prevSeqId":10"#),
        // Nothing changed for a minute, then the venue begins to count anew.
        book("update", "", "", r#","checksum":0,"seqId":15,"prevSeqId":15"#),
        book("update", r#"["8","1","0","1"]"#, "", r#","checksum":0,"seqId":3,"prevSeqId":15"#),
        book("update", r#"["7","1","0","1"]"#, "", r#","checksum":0,"seqId":9,"prevSeqId":5"#),
    ];
    let messages: Vec<_> = messages.iter().map(|message| &**message).collect();

    let found = feed(&mut *new_dialect(&VENUE), &messages);

    let gaps: Vec<_> = found.iter().filter(|row| row.contains(" gap ")).collect();
    assert_eq!(
        gaps,
        [
            "book okex:BTC-USDT 5 1000000000 gap bid 1 0 0 -",
            "status okex:BTC-USDT 5 1000000000 gap prevSeqId: expected 3, found 5",
        ]
    );
}

#[test]
fn a_checksum_of_zero_counts_where_there_is_no_sequence() {
    let found = feed(&mut *new_dialect(&VENUE), &[&snapshot(r#","checksum":0"#)]);

    assert!(found.iter().any(|row| row.contains("checksum: expected 0")), "{found:?}");
}

#[test]
fn a_rest_reply_is_the_snapshot_of_a_book_that_has_none() {
    let update = |price: &str, seq: i64, previous: i64| {
        let bids = format!(r#"["{price}","1","0","1"]"#);
        let rest = format!(r#","seqId":{seq},"prevSeqId":{previous}"#);
        book("update", &bids, "", &rest)
    };
    let url = "https://www.okx.com/api/v5/market/books?instId=BTC-USDT&sz=400";
    let body = r#"{"code":"0","msg":"","data":[{"asks":[["11","1","0","1"]],"bids":[["10","1","0",
            "1"]],"ts":"1000","seqId":5}]}"#;
    let reply = Frame::Reply { url, body: body.as_bytes() };
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let mut stored = StoredBooks::default();
    // 4 is part of the snapshot; 6 begins before it and ends after it; 8 is missing.
    let before = [update("9.4", 4, 3), update("9.6", 6, 4), update("9.7", 7, 6)];
    let before: Vec<_> = before.iter().map(|message| &**message).collect();
    try_feed(&mut *dialect, &before, &mut rows).unwrap();

    dialect.frame(TsNs(9), 0, &reply, &mut rows).unwrap();
    stored.apply(&rows.take().unwrap());
    let [bids, asks] = stored.book("okex", "BTC-USDT").shortest();
    try_feed(&mut *dialect, &[&update("9.9", 9, 8)], &mut rows).unwrap();
    dialect.frame(TsNs(20), 0, &reply, &mut rows).unwrap();
    dialect.frame(TsNs(21), 0, &reply, &mut rows).unwrap();

    let prices: Vec<_> = bids.iter().map(|(price, _)| &**price).collect();
    assert_eq!((prices, asks.len()), (vec!["10", "9.7", "9.6"], 1));
    let found = texts(&mut rows);
    let count = |what: &str| found.iter().filter(|row| row.contains(what)).count();
    assert_eq!((count("prevSeqId: expected 7, found 8"), count(" reset ")), (1, 1), "{found:?}");
    let other = Frame::Reply { url: "https://www.okx.com/api/v5/public/time", body: b"x" };
    dialect.frame(TsNs(22), 0, &other, &mut rows).unwrap();
    for (url, body) in [
        (url, "x"),
        (url, r#"{"code":"0","data":[]}"#),
        ("https://www.okx.com/api/v5/market/books?sz=5", body),
    ] {
        let reply = Frame::Reply { url, body: body.as_bytes() };
        assert!(dialect.frame(TsNs(23), 0, &reply, &mut rows).is_err(), "{url} {body}");
    }
}

#[test]
fn five_level_books_are_snapshots_until_a_deeper_channel_takes_over() {
    let five = r#"{"arg":{"channel":"books5","instId":"BTC-USDT"},"data":[{"asks":[],"bids":[["9",
            "1","0","1"]],"instId":"BTC-USDT","ts":"1000","seqId":7}]}"#;

    let found = feed(&mut *new_dialect(&VENUE), &[five, five, &snapshot(""), five]);

    let expected = [
        "book okex:BTC-USDT 1 1000000000 reset bid 2 0 0 7",
        "book okex:BTC-USDT 1 1000000000 set bid 3 9 1 7",
        "book okex:BTC-USDT 2 1000000000 reset bid 2 0 0 7",
        "book okex:BTC-USDT 2 1000000000 set bid 3 9 1 7",
        "book okex:BTC-USDT 3 1000000000 reset bid 2 0 0 -",
        "book okex:BTC-USDT 3 1000000000 set bid 2 10 1 -",
        "book okex:BTC-USDT 3 1000000000 set ask 3 11.5 2.25 -",
    ];
    assert_eq!(found, expected);
}

#[test]
fn trades_quotes_and_liquidations_are_read() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},
            "data":[{"instId":"BTC-USDT-SWAP","tradeId":"0148266905","px":"48938.5","sz":"5",
            "side":"buy","ts":"1640131236050"}]}"#,
            r#"{"arg":{"channel":"trades-all","instId":"BSV-USDT"},"data":[{"instId":"BSV-USDT",
            "tradeId":"84834539","px":"42.52","sz":"3.75","side":"sell","ts":"1697760012017"}]}"#,
            r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["38632.4","727",
            "0","22"]],"bids":[],"ts":"1651761120004","seqId":5}]}"#,
            r#"{"arg":{"channel":"tickers","instId":"BTC-DAI"},"data":[{"instType":"SPOT",
            "instId":"BTC-DAI","last":"1","askPx":"0.0005","askSz":"111","bidPx":"","bidSz":"",
            "ts":"1640001603301"}]}"#,
            r#"{"arg":{"channel":"liquidation-orders","instType":"FUTURES"},
            "data":[{"details":[{"bkLoss":"0","bkPx":"0.55205","ccy":"","posSide":"short",
            "side":"buy","sz":"39","ts":"1680173247614"}],"instId":"XRP-USD-230929",
            "instType":"FUTURES"}]}"#,
            r#"{"arg":{"channel":"liquidations","instId":"BTC-USD-220624","generated":true},
            "data":[{"bkPx":"51886.2","side":"sell","sz":"12","ts":"1640140210617"}]}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "trades okex:BSV-USDT 2 1697760012017000000 sell 42.52 3.75 84834539",
            "quotes okex:BTC-DAI 4 1640001603301000000 - - 0.0005 111 -",
            "quotes okex:BTC-USDT 3 1651761120004000000 - - 38632.4 727 5",
            "liquidations okex-futures:BTC-USD-220624 6 1640140210617000000 sell 51886.2 12 ",
            "liquidations okex-futures:XRP-USD-230929 5 1680173247614000000 buy 0.55205 39 ",
            "trades okex-swap:BTC-USDT-SWAP 1 1640131236050000000 buy 48938.5 5 0148266905",
        ]
    );
}

#[test]
fn best_prices_of_tickers_count_until_their_own_channel_comes() {
    let ticker = r#"{"arg":{"channel":"tickers","instId":"X-Y"},"data":[{"instId":"X-Y","last":"1",
        "askPx":"3","askSz":"1","bidPx":"2","bidSz":"1","ts":"1"}]}"#;
    let best = r#"{"arg":{"channel":"bbo-tbt","instId":"X-Y"},"data":[{"asks":[["4","1","0","2"]],
        "bids":[["3","1","0","2"]],"ts":"2","seqId":5}]}"#;
    let other = ticker.replace("X-Y", "Z-Y");

    let found = feed(&mut *new_dialect(&VENUE), &[ticker, best, ticker, &other]);

    assert_eq!(
        found,
        [
            "quotes okex:X-Y 1 1000000 2 1 3 1 -",
            "quotes okex:X-Y 2 2000000 3 1 4 1 5",
            "quotes okex:Z-Y 4 1000000 2 1 3 1 -",
        ]
    );
}

#[test]
fn the_state_of_a_derivative_is_merged_over_its_channels() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"arg":{"channel":"funding-rate","instId":"X-USDT-SWAP"},
            "data":[{"fundingRate":"0.00048105","fundingTime":"1640131200000",
            "instId":"X-USDT-SWAP","nextFundingRate":""}]}"#,
            r#"{"arg":{"channel":"mark-price","instId":"X-USDT-SWAP"},
            "data":[{"instId":"X-USDT-SWAP","markPx":"36.232","ts":"5000"}]}"#,
            r#"{"arg":{"channel":"open-interest","instId":"X-USDT-SWAP"},
            "data":[{"instId":"X-USDT-SWAP","oi":"236870","oiCcy":"23687","ts":"4000"}]}"#,
            r#"{"arg":{"channel":"index-tickers","instId":"X-USDT"},"data":[{"instId":"X-USDT",
            "idxPx":"35.583","ts":"5500"}]}"#,
            r#"{"arg":{"channel":"tickers","instId":"X-USDT-SWAP"},
            "data":[{"instId":"X-USDT-SWAP","last":"36.245","askPx":"","askSz":"","bidPx":"",
            "bidSz":"","ts":"6000"}]}"#,
            r#"{"arg":{"channel":"mark-price","instId":"X-USDT-SWAP"},
            "data":[{"instId":"X-USDT-SWAP","markPx":"36.232","ts":"7000"}]}"#,
        ],
    );

    let funding = "1640131200000000000";
    assert_eq!(
        found,
        [
            format!("ticker okex-swap:X-USDT-SWAP 1 - - - - 0.00048105 - {funding} -"),
            format!(
                "ticker okex-swap:X-USDT-SWAP 2 5000000000 - 36.232 - 0.00048105 - {funding} -"
            ),
            format!(
                "ticker okex-swap:X-USDT-SWAP 3 5000000000 - 36.232 - 0.00048105 - {funding} 236870"
            ),
            format!(
                "ticker okex-swap:X-USDT-SWAP 5 6000000000 36.245 36.232 35.583 0.00048105 - \
                 {funding} 236870"
            ),
        ]
    );
}

#[test]
fn the_market_is_told_by_the_name() {
    for (symbol, exchange) in [
        ("BTC-USDT", "okex"),
        ("BTC", "okex"),
        ("BTC-USD-SWAP", "okex-swap"),
        ("BTC-USD_UM-SWAP", "okex-swap"),
        ("BTC-USD-220325", "okex-futures"),
        ("BTC-USD-2203", "okex"),
        ("BTC-USD-220325-40000-C", "okex-options"),
        ("BTC-USD-220325-0.5-P", "okex-options"),
        ("BTC-USD-220325-40000-X", "okex"),
    ] {
        assert_eq!(exchange_of(symbol), exchange, "{symbol}");
    }
    assert_eq!(underlying("BTC-USD_UM-SWAP"), "BTC-USD");
}

#[test]
fn answers_and_channels_without_a_kind_add_nothing() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            "pong",
            r#"{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}"#,
            r#"{"event":"error","code":"60012","msg":"Invalid request"}"#,
            r#"{"arg":{"channel":"price-limit","instId":"X"},"data":[{"buyLmt":"0.98122"}]}"#,
        ],
    );

    assert_eq!(found, [""; 0]);
}

#[test]
fn what_cannot_be_read_adds_no_row_and_is_a_gap_if_it_may_be_a_book() {
    let sum = checksum::okx([("10", "1")], [("11.5", "2.25")]);
    let good = snapshot(&format!(r#","checksum":{sum}"#));
    let after = book("update", "", "", &format!(r#","checksum":{sum}"#));
    let books = [
        "{".to_owned(),
        "{}".to_owned(),
        r#"{"table":"spot/depth","data":[]}"#.to_owned(),
        r#"{"arg":{"instId":"BTC-USDT"},"data":[]}"#.to_owned(),
        r#"{"arg":{"channel":"books"},"action":"update","data":[]}"#.to_owned(),
        r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"data":[]}"#.to_owned(),
        r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{}]}"#
            .to_owned(),
        book("partial", "", "", ""),
        book("update", r#"["9"]"#, "", ""),
        book("update", r#"["9","-1"]"#, "", ""),
        book("update", r#"["9","1"],["x","1"]"#, "", ""),
        book("update", r#"["9000000000000000000","1"],["0.01","1"]"#, "", ""),
    ];
    let others = [
        r#"{"arg":{"channel":"trades","instId":"X"},"data":[{"instId":"X-Y","tradeId":"1",
            "px":"1","sz":"1","side":"up","ts":"1"}]}"#,
        r#"{"arg":{"channel":"trades","instId":"X"},"data":[{"instId":"X-Y"}]}"#,
        r#"{"arg":{"channel":"tickers","instId":"X"},"data":[{"instId":"X-Y","last":"z",
            "ts":"1"}]}"#,
        r#"{"arg":{"channel":"bbo-tbt"},"data":[]}"#,
        r#"{"arg":{"channel":"liquidation-orders"},"data":[{"instId":"X-Y"}]}"#,
        r#"{"arg":{"channel":"mark-price","instId":"X"},"data":[{"instId":"X Y","markPx":"1"}]}"#,
    ];
    let books = books.iter().map(|message| (&**message, true));
    for (message, torn) in books.chain(others.map(|message| (message, false))) {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[&good, &after], &mut rows).unwrap();

        let (_, is_torn) = refused(&mut *dialect, message);

        assert_eq!(is_torn, torn, "{message}");
    }
}

#[test]
fn a_lost_connection_is_a_gap_and_a_new_one_takes_the_book_over() {
    let sum = checksum::okx([("10", "1")], [("11.5", "2.25")]);
    let good = snapshot(&format!(r#","checksum":{sum}"#));
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    try_feed(&mut *dialect, &[&good], &mut rows).unwrap();
    dialect
        .frame(TsNs(2), CONNECTION, &Frame::Connected { url: "wss://ws.okx.com" }, &mut rows)
        .unwrap();
    let message = Frame::Message(good.as_bytes());
    dialect.frame(TsNs(3), CONNECTION + 1, &message, &mut rows).unwrap();
    let late = book("update", r#"["9","1","0","1"]"#, "", "");
    dialect.frame(TsNs(4), CONNECTION, &Frame::Message(late.as_bytes()), &mut rows).unwrap();

    let found = texts(&mut rows);

    assert_eq!(found[3], "book okex:BTC-USDT 2 - gap bid 1 0 0 -");
    assert_eq!(found[4], "book okex:BTC-USDT 3 1000000000 reset bid 2 0 0 -");
    assert!(!found.iter().any(|row| row.starts_with("book okex:BTC-USDT 4")), "{found:?}");
}

/// Checksums that agree, also with the text made from the stored rows; trades; quotes; status rows,
/// one per instrument that is connected.
fn checked(path: &std::path::Path, form: Form) -> (usize, usize, usize, usize) {
    let mut stored = StoredBooks::default();
    let (mut checked, mut trades, mut quotes, mut status) = (0, 0, 0, 0);
    testing::replay(path, form, &mut *new_dialect(&VENUE), |message, taken| {
        stored.apply(&taken);
        trades += rows_of(&taken, Kind::Trades);
        quotes += rows_of(&taken, Kind::Quotes);
        status += rows_of(&taken, Kind::Status);
        let message: serde_json::Value = json::parse_text(message).unwrap();
        if let Some(sum) = message["data"][0]["checksum"].as_i64() {
            let symbol = message["arg"]["instId"].as_str().unwrap();
            let [bids, asks] = stored.book(exchange_of(symbol), symbol).shortest();
            assert_eq!(i64::from(checksum::okx(bids, asks)), sum, "{message}");
            checked += 1;
        }
    });
    assert!(stored.iter().all(|(_, book)| book.gaps == 0));
    (checked, trades, quotes, status)
}

#[test]
fn all_290_checksums_of_the_books_capture_agree_also_from_the_stored_rows() {
    let Some(path) = capture("okx-ws/OKX.jsonl.zst") else { return };

    assert_eq!(checked(&path, Form::CryptofeedJson), (290, 74, 28, 3));
}

#[test]
fn all_3679_checksums_of_the_tick_by_tick_capture_agree_also_from_the_stored_rows() {
    let Some(path) = capture("okx-ws/OKX_20220227_books-l2-tbt.ws.zst") else { return };

    assert_eq!(checked(&path, Form::CryptofeedText), (3679, 19, 19, 10));
}
