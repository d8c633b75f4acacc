//! Huobi messages written by hand, and the whole books of the capture.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::testing::{
    self, CONNECTION, StoredBooks, capture, feed, new_dialect, texts, try_feed,
};
use super::*;
use crate::ErrorKind;
use crate::ingest::rows::Rows;
use crate::ingest::{Dialect, Form, Frame};

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

fn step0(version: i64, bids: &str) -> String {
    format!(
        r#"{{"ch":"market.xy.depth.step0","ts":9,"tick":{{"bids":[{bids}],"asks":[[2.0E-5,6]],
        "version":{version},"ts":{version}}}}}"#
    )
}

fn changes(previous: i64, last: i64, bids: &str) -> String {
    format!(
        r#"{{"ch":"market.xy.mbp.150","ts":{last},"tick":{{"seqNum":{last},
        "prevSeqNum":{previous},"bids":[{bids}],"asks":[]}}}}"#
    )
}

fn answer(seq: i64) -> String {
    format!(
        r#"{{"id":"1","rep":"market.xy.mbp.150","status":"ok","ts":8,
        "data":{{"seqNum":{seq},"bids":[[1,5]],"asks":[[2,6]]}}}}"#
    )
}

fn frame(dialect: &mut dyn Dialect, frame: &[u8], rows: &mut Rows) -> Result<()> {
    dialect.frame(TsNs(1), CONNECTION, &Frame::Message(frame), rows)
}

/// Book rows without their instrument and receive time.
fn books(found: &[String]) -> Vec<&str> {
    let rows = found.iter().filter(|row| row.starts_with("book"));
    rows.filter_map(|row| row.splitn(4, ' ').nth(3)).collect()
}

#[test]
fn of_whole_books_only_what_changed_is_stored_packed_or_not() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    frame(&mut *dialect, &gzip(step0(4, "[1.0E-5,5.0],[9E-6,1]").as_bytes()), &mut rows).unwrap();
    frame(&mut *dialect, step0(5, "[1.0E-5,7.0]").as_bytes(), &mut rows).unwrap();
    frame(&mut *dialect, &gzip(step0(6, "[1.0E-5,7.0]").as_bytes()), &mut rows).unwrap();

    assert_eq!(
        texts(&mut rows),
        [
            "book huobi:xy 1 4000000 reset bid 2 0 0 4",
            "book huobi:xy 1 4000000 set bid 2 0.00001 5 4",
            "book huobi:xy 1 4000000 set bid 2 0.000009 1 4",
            "book huobi:xy 1 4000000 set ask 3 0.00002 6 4",
            "book huobi:xy 1 5000000 set bid 0 0.00001 7 5",
            "book huobi:xy 1 5000000 set bid 1 0.000009 0 5",
        ]
    );
}

#[test]
fn what_a_recorder_marked_as_update_changes_the_book_before() {
    let update = step0(5, "[1.0E-5,0],[3E-6,2]").replace("\"ts\":9", "\"ts\":9,\"update\":true");

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[&step0(4, "[1.0E-5,5]"), &update, &step0(6, "[3E-6,2]"), &step0(7, "")],
    );

    assert_eq!(
        books(&found)[3..],
        [
            "5000000 set bid 0 0.00001 0 5",
            "5000000 set bid 0 0.000003 2 5",
            "5000000 set ask 1 0.00002 6 5",
            "7000000 set bid 1 0.000003 0 7",
        ]
    );
}

#[test]
fn an_answer_is_spliced_into_the_changes_of_its_own_channel() {
    let other = answer(15).replace("mbp.150", "mbp.5");
    let nothing = r#"{"id":"1","rep":"market.xy.mbp.150","status":"error"}"#;

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &changes(8, 10, "[1,1]"),
            &changes(10, 12, "[1.5,2]"),
            nothing,
            &answer(10),
            &changes(12, 15, "[1.6,3]"),
            &other,
            &changes(15, 16, ""),
            &changes(17, 18, "[1.7,4]"),
            &answer(18),
        ],
    );

    assert_eq!(
        books(&found),
        [
            "8000000 reset bid 2 0 0 10",
            "8000000 set bid 2 1 5 10",
            "8000000 set ask 3 2 6 10",
            "12000000 set bid 1 1.5 2 12",
            "15000000 set bid 1 1.6 3 15",
            "18000000 gap bid 1 0 0 -",
            "18000000 set bid 1 1.7 4 18",
            "8000000 reset bid 2 0 0 18",
            "8000000 set bid 2 1 5 18",
            "8000000 set ask 3 2 6 18",
        ]
    );
    let gap = "status huobi:xy 8 18000000 gap prevSeqNum + 1: expected 17, found 18";
    assert!(found.contains(&gap.to_owned()), "{found:?}");
}

#[test]
fn trades_and_quotes_are_read_and_the_last_trade_of_a_reconnect_is_known() {
    let trades = |ids: &[i64]| {
        let trade = |id: &i64| {
            format!(
                r#"{{"id":100182534526255757567432481,"ts":{id},"tradeId":{id},"amount":2.50,
                "price":9.2E-7,"direction":"buy"}}"#
            )
        };
        let trades: Vec<_> = ids.iter().map(trade).collect();
        format!(
            r#"{{"ch":"market.xy.trade.detail","ts":5,"tick":{{"id":1,"ts":5,"data":[{}]}}}}"#,
            trades.join(",")
        )
    };
    let best = r#"{"ch":"market.xy.bbo","ts":5,"tick":{"seqId":7,"ask":null,"askSize":null,
        "bid":1.5,"bidSize":2,"quoteTime":4,"symbol":"xy"}}"#;
    let unnumbered = trades(&[6]).replace("\"tradeId\":6,", "");
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let first = [
        r#"{"ping":1618678073643}"#,
        r#"{"id":1,"status":"ok","subbed":"market.xy.bbo","ts":1}"#,
        r#"{"ch":"market.overview","ts":1,"data":[]}"#,
        best,
        &trades(&[4, 3]),
        &unnumbered,
    ];
    try_feed(&mut *dialect, &first, &mut rows).unwrap();
    dialect.frame(TsNs(7), CONNECTION, &Frame::Disconnected, &mut rows).unwrap();
    frame(&mut *dialect, trades(&[5, 4]).as_bytes(), &mut rows).unwrap();

    let found = texts(&mut rows);

    let found: Vec<_> = found.iter().filter(|row| !row.starts_with("status")).collect();
    assert_eq!(
        found,
        [
            "trades huobi:xy 5 3000000 buy 0.00000092 2.5 3",
            "trades huobi:xy 5 4000000 buy 0.00000092 2.5 4",
            "trades huobi:xy 6 6000000 buy 0.00000092 2.5 100182534526255757567432481",
            "trades huobi:xy 6 5000000 buy 0.00000092 2.5 5",
            "quotes huobi:xy 4 4000000 1.5 2 - - 7",
        ]
    );
}

#[test]
fn a_frame_that_unpacks_to_too_much_is_refused() {
    let mut long = vec![b' '; limit::UNPACKED_BYTES_MAX];
    long[..2].copy_from_slice(b"{}");
    assert_eq!(unpack(&gzip(&long)).unwrap().len(), limit::UNPACKED_BYTES_MAX);
    long.push(b' ');
    let bomb = gzip(&long);
    assert!(bomb.len() < long.len() / 100);

    let error = unpack(&bomb).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn a_frame_that_breaks_off_tears_every_book_of_its_connection() {
    let packed = gzip(step0(4, "[1,1]").as_bytes());
    let mut damaged = packed.clone();
    let checksum = damaged.len() - 5;
    damaged[checksum] ^= 1;
    for bad in [&packed[..packed.len() - 9], &damaged[..], b"\x1f\x8b"] {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        frame(&mut *dialect, &packed, &mut rows).unwrap();
        rows.take().unwrap();
        let error = frame(&mut *dialect, bad, &mut rows).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("gzip"), "{error}");

        let found = texts(&mut rows);

        // At once: the book may never speak again.
        assert!(found[0].starts_with("book ") && found[0].contains(" gap "), "{found:?}");
        assert!(found.iter().all(|row| row.contains(" gap ")), "{found:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    for (message, reason) in [
        (step0(1, "[\"one\",1]"), "one"),
        (step0(1, "").replace("\"tick\"", "\"t\""), "expected tick"),
        (changes(1, 2, "").replace("prevSeqNum", "prev"), "prevSeqNum"),
        (answer(1).replace("seqNum", "seq"), "expected seqNum"),
        (step0(1, "").replace("depth.step0", "bbo"), "quoteTime"),
        (step0(1, "").replace("depth.step0", "trade.detail"), "data"),
    ] {
        let mut rows = Rows::new();
        let error = try_feed(&mut *new_dialect(&VENUE), &[&message], &mut rows).unwrap_err();
        assert!(error.to_string().contains(reason), "{message}: {error}");
        assert_eq!(rows.pending_rows(), 0);
    }
}

#[test]
fn huobi_spot_is_recognised() {
    let packed = gzip(step0(1, "").as_bytes());
    let derivative = step0(1, "").replace("market.xy.", "market.BTC_CQ.");
    for (clue, expected) in [
        (Clue::CaptureName("HUOBI"), true),
        (Clue::Url("wss://api.huobi.pro/ws"), true),
        (Clue::Url("wss://api.hbdm.com/ws"), false),
        (Clue::Message(&packed), true),
        (Clue::Message(derivative.as_bytes()), false),
        (Clue::Message(b"{}"), false),
    ] {
        assert_eq!((VENUE.recognise)(&clue).is_some(), expected, "{clue:?}");
    }
}

#[test]
fn after_every_book_of_the_capture_the_stored_book_is_that_book() {
    let Some(path) = capture("huobi-ws/HUOBI.jsonl.zst") else { return };
    let mut stored = StoredBooks::default();
    let (mut compared, mut refused) = (0, BTreeMap::new());

    let form = Form::CryptofeedJson;
    testing::replay_bytes(&path, form, &mut *new_dialect(&VENUE), |message, read, taken| {
        if let Err(error) = read {
            assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
            let text = error.text();
            let decimals = text.rsplit_once(" with ").unwrap().1.to_owned();
            *refused.entry(decimals).or_insert(0) += 1;
            return;
        }
        stored.apply(&taken);
        let message = unpack(message).unwrap();
        let envelope: Envelope<'_> = json::parse(&message).unwrap();
        let Some((symbol, "depth.step0")) = envelope.channel() else { return };
        let depth: Depth<'_> = json::parse_text(envelope.tick.unwrap().get()).unwrap();
        let text = |number: Number<'_>| number.decimal().unwrap().to_string();
        let shown = [&depth.bids, &depth.asks].map(|side| {
            let levels = side.as_ref().unwrap().iter();
            levels.map(|level| (text(level.price), text(level.qty))).collect::<Vec<_>>()
        });
        assert_eq!(stored.book(EXCHANGE, symbol).shortest(), shown);
        compared += 1;
    });

    // 436947.11845272494 beside 173416332.4693, 3307.9982700421942 beside 5993289.85.
    let expected =
        [("11 decimals", 14), ("13 decimals", 31)].map(|(text, count)| (text.into(), count));
    assert_eq!((compared, refused), (247, BTreeMap::from(expected)));
    assert_eq!(stored.iter().map(|(_, book)| book.gaps).sum::<usize>(), 0);
}
