//! Whole files in, rows and rejects out.

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;

use super::{DataType, from_input, open};
use crate::error::ErrorKind;
use crate::event::{Action, Batch, Kind, Side, Value, book, status};
use crate::ingest::{Input, Reject, Rows, StreamKey};
use crate::quantity::{Decimal, TsNs};

const BOOK: &str = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n";

fn read(name: &str, text: &[u8]) -> (Vec<(StreamKey, Batch)>, Vec<Reject>) {
    let mut source = open(Path::new(name), Box::new(Cursor::new(text.to_vec()))).unwrap();
    let mut rows = Rows::new();
    while source.fill(&mut rows).unwrap() {}
    (rows.take().unwrap(), rows.take_rejects())
}

fn only(name: &str, text: &str) -> Batch {
    let (mut batches, rejects) = read(name, text.as_bytes());
    assert!(rejects.is_empty(), "{rejects:?}");
    assert_eq!(batches.len(), 1, "one stream");
    batches.pop().unwrap().1
}

/// Rows of a book batch: receive time in µs, whether the message is a snapshot, action, side,
/// price, quantity.
fn levels(batch: &Batch) -> Vec<String> {
    let mut lines = Vec::new();
    for message in 0..batch.messages() {
        for row in batch.message_rows(message) {
            let value = |index| match batch.value(message, row, index) {
                Value::Decimal(value) => value.to_string(),
                Value::Code(name) => name.to_owned(),
                other => format!("{other:?}"),
            };
            let snapshot = batch.u8s(book::FLAGS)[message] != 0;
            lines.push(format!(
                "{} {}{} {} {} {}",
                batch.ts_recv()[message] / 1000,
                if snapshot { "snapshot " } else { "" },
                value(book::ACTION),
                value(book::SIDE),
                value(book::PRICE),
                value(book::QTY)
            ));
        }
    }
    lines
}

#[test]
fn rows_of_one_moment_are_one_message_and_a_snapshot_begins_with_a_reset() {
    let text = format!(
        "{BOOK}\
         deribit,B,1,10,true,ask,100.5,2\n\
         deribit,B,1,10,true,bid,100,1\n\
         deribit,B,2,11,false,bid,100,0\n\
         deribit,B,2,11,false,bid,99.50,3\n\
         deribit,B,3,11,false,bid,99,4\n\
         deribit,B,,12,true,bid,98,1\n\
         deribit,B,5,12,true,ask,99,1\n\
         deribit,B,6,13,true,ask,99,2\n"
    );

    let batch = only("x.csv", &text);

    assert_eq!(
        levels(&batch),
        [
            "10 snapshot reset bid 0 0",
            "10 snapshot set ask 100.5 2",
            "10 snapshot set bid 100 1",
            "11 set bid 100 0",
            "11 set bid 99.5 3",
            "11 set bid 99 4",
            "12 snapshot reset bid 0 0",
            "12 snapshot set bid 98 1",
            "12 set ask 99 1",
            "13 snapshot reset bid 0 0",
            "13 snapshot set ask 99 2",
        ]
    );
    let events: Vec<_> = (0..batch.messages()).map(|at| batch.value(at, 0, 1)).collect();
    let time = |us: i64| Value::Time(TsNs(us * 1000));
    assert_eq!(events, [time(1), time(2), time(3), Value::Null, time(5), time(6)]);
    assert_eq!(batch.column(book::PRICE).unwrap().digits, 2);
}

#[test]
fn instruments_of_one_file_do_not_end_each_others_messages() {
    let text = format!(
        "{BOOK}\
         deribit,A,1,10,true,ask,5,2\n\
         deribit,B,1,10,true,ask,7,2\n\
         deribit,A,1,10,true,ask,6,2\n"
    );

    let (batches, rejects) = read("x.csv", text.as_bytes());

    assert!(rejects.is_empty());
    assert_eq!(batches.len(), 2);
    assert_eq!((batches[0].1.messages(), batches[0].1.rows()), (1, 3));
    assert_eq!((batches[1].1.messages(), batches[1].1.rows()), (1, 2));
}

#[test]
fn a_book_that_starts_without_a_snapshot_is_unknown_and_says_so() {
    let text = format!("{BOOK}deribit,B,1,10,false,ask,100.5,2\n");

    let (batches, rejects) = read("x.csv", text.as_bytes());

    assert!(rejects.is_empty());
    assert_eq!(levels(&batches[0].1), ["10 reset bid 0 0", "10 gap bid 0 0", "10 set ask 100.5 2"]);
    assert_eq!(batches[1].0.kind, Kind::Status);
    assert_eq!(batches[1].1.value(0, 0, status::WHAT), Value::Code("gap"));
    let Value::Text(detail) = batches[1].1.value(0, 0, status::DETAIL) else { panic!("no text") };
    assert!(String::from_utf8_lossy(detail).contains("x.csv begins without a snapshot"));
}

#[test]
fn bad_lines_are_rejected_with_line_and_column_and_reading_goes_on() {
    let good = "deribit,B,1,10,true,ask,100.5,2\n";
    let bad = [
        ("deribit,B,1,10,true,ask,100.5", "7 fields"),
        ("deribit,B,1,10,true,ask,100.5,2,3", "9 fields"),
        ("Deribit,B,1,10,true,ask,100.5,2", "exchange"),
        ("deribit,,1,10,true,ask,100.5,2", "symbol"),
        ("deribit,B,x,10,true,ask,100.5,2", "column timestamp"),
        ("deribit,B,1,,true,ask,100.5,2", "column local_timestamp"),
        ("deribit,B,1,9223372036854776,true,ask,100.5,2", "column local_timestamp"),
        ("deribit,B,1,10,True,ask,100.5,2", "column is_snapshot"),
        ("deribit,B,1,10,true,buy,100.5,2", "column side"),
        ("deribit,B,1,10,true,ask,,2", "column price"),
        ("deribit,B,1,10,true,ask,100.5,-2", "column amount"),
        ("deribit,B,1,10,true,ask,100.5,9223372036854775808", "column amount"),
        ("deribit,B,1,10,true,ask,0.000000000000000001,2", "do not fit 64 bits"),
        ("deribit,B,1,9,true,ask,100.5,2", "9 is before 10 of an earlier line of deribit:B"),
    ];
    let mut text = format!("{BOOK}{good}");
    for (line, _) in bad {
        // A level of the same message stands on both sides of every bad line.
        text += line;
        text += "\n";
        text += good;
    }

    let (batches, rejects) = read("dir/x.csv", text.as_bytes());

    assert_eq!(rejects.len(), bad.len(), "{rejects:?}");
    for (at, (reject, (line, reason))) in rejects.iter().zip(bad).enumerate() {
        assert_eq!(reject.line, 3 + 2 * at as u64);
        assert_eq!(reject.text, line.as_bytes());
        let error = reject.error.to_string();
        assert!(error.contains(reason), "{line}: {error}");
        assert!(error.ends_with(&format!("(dir/x.csv, line {})", reject.line)), "{error}");
    }
    assert_eq!(batches.len(), 1);
    assert_eq!((batches[0].1.messages(), batches[0].1.rows()), (1, 1 + 1 + bad.len()));
}

#[test]
fn columns_may_stand_in_any_order() {
    let text = "amount,price,side,is_snapshot,local_timestamp,timestamp,symbol,exchange\n\
                2,100.5,ask,true,10,1,B,deribit\n\
                3,101,ask,true,10,1,B,deribit\n";

    let batch = only("x.csv", text);

    assert_eq!(levels(&batch)[1..], ["10 snapshot set ask 100.5 2", "10 snapshot set ask 101 3"]);
}

#[test]
fn a_message_keeps_to_its_limit_and_the_rows_above_it_are_rejected() {
    let rows = crate::limit::MESSAGE_ROWS_MAX;
    let mut text = BOOK.to_owned();
    for price in 1..=rows {
        writeln!(text, "deribit,B,1,10,true,ask,{price},2").unwrap();
    }

    let (batches, rejects) = read("x.csv", text.as_bytes());

    assert_eq!(batches[0].1.rows(), rows, "reset and levels");
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0].error.kind(), ErrorKind::Limit);
}

#[test]
fn an_id_keeps_to_its_limit_and_a_longer_one_is_rejected() {
    let row = |bytes: usize| {
        let id = "x".repeat(bytes);
        let text = format!(
            "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n\
             deribit,B,1,10,{id},buy,1,2\n"
        );
        read("x.csv", text.as_bytes())
    };

    assert_eq!(row(crate::limit::TEXT_BYTES_MAX).0[0].1.rows(), 1);
    let (batches, rejects) = row(crate::limit::TEXT_BYTES_MAX + 1);
    assert!(batches.is_empty());
    assert_eq!(rejects[0].error.kind(), ErrorKind::Limit);
}

#[test]
fn book_snapshots_become_what_changed() {
    let text = "exchange,symbol,timestamp,local_timestamp,\
                asks[0].price,asks[0].amount,bids[0].price,bids[0].amount,\
                asks[1].price,asks[1].amount,bids[1].price,bids[1].amount\n\
                okex,X,1,10,11,1,9,1,12,1,8,1\n\
                okex,X,2,11,11,1,9,1,12,1,8,1\n\
                okex,X,3,12,11,2,9,1,13,1,,\n\
                okex,X,4,13,11,2,9,1,13,1,7,\n\
                okex,X,4,13,11,2,9,1,11,1,7,1\n\
                okex,X,4,13,11,0,9,1,13,1,7,1\n\
                okex,X,5,14,11,2,9,1.0,13,1,7,1\n";

    let (batches, rejects) = read("x.csv", text.as_bytes());

    assert_eq!(
        levels(&batches[0].1),
        [
            "10 snapshot reset bid 0 0",
            "10 snapshot set bid 8 1",
            "10 snapshot set bid 9 1",
            "10 snapshot set ask 11 1",
            "10 snapshot set ask 12 1",
            "12 set bid 8 0",
            "12 set ask 11 2",
            "12 set ask 12 0",
            "12 set ask 13 1",
            "14 set bid 7 1",
        ]
    );
    let reasons: Vec<_> = rejects.iter().map(|reject| reject.error.to_string()).collect();
    assert_eq!(rejects.len(), 3);
    assert!(reasons[0].contains("column bids[1].amount"), "{reasons:?}");
    assert!(reasons[1].contains("asks: two levels"), "{reasons:?}");
    assert!(reasons[2].contains("column asks[0].amount"), "{reasons:?}");
}

#[test]
fn trades_quotes_and_tickers_fill_their_columns() {
    let trades = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n\
                  bitmex,X,1,10,abc,buy,8531.5,2\n\
                  bitmex,X,1,10,,unknown,8531,0.5\n";
    let batch = only("bitmex_trades_2020.csv", trades);
    let row =
        |row: usize| -> Vec<_> { (2..6).map(|column| batch.value(row, row, column)).collect() };
    let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
    let expected = [Value::Code("buy"), decimal("8531.5"), decimal("2"), Value::Text(b"abc")];
    assert_eq!(row(0), expected);
    assert_eq!(row(1)[0], Value::Code("unknown"));
    assert_eq!(only("bitmex_liquidations_2020.csv", trades).kind(), Kind::Liquidations);

    let quotes = "exchange,symbol,timestamp,local_timestamp,\
                  ask_amount,ask_price,bid_price,bid_amount\n\
                  okex,X,1,10,5494,8629.3,,\n";
    let batch = only("x.csv", quotes);
    let row: Vec<_> = (2..6).map(|column| batch.value(0, 0, column)).collect();
    assert_eq!(row, [Value::Null, Value::Null, decimal("8629.3"), decimal("5494")]);

    let ticker = "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,\
                  predicted_funding_rate,open_interest,last_price,index_price,mark_price\n\
                  bitmex,X,1,10,1583020800000000,-0.0001,,98765,8531.5,8530.25,8531.07\n";
    let batch = only("x.csv", ticker);
    let row: Vec<_> = (2..9).map(|column| batch.value(0, 0, column)).collect();
    let funding = Value::Time(TsNs::parse("2020-03-01").unwrap());
    assert_eq!(
        row,
        [
            decimal("8531.5"),
            decimal("8531.07"),
            decimal("8530.25"),
            decimal("-0.0001"),
            Value::Null,
            funding,
            decimal("98765")
        ]
    );
}

#[test]
fn the_type_asked_for_must_have_the_columns_of_the_header() {
    let trades = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n";
    let input = |text: &str| {
        Input::from_reader(Path::new("x.csv"), Box::new(Cursor::new(text.to_owned()))).unwrap()
    };

    assert!(from_input(input(trades), Some(DataType::Liquidations)).is_ok());
    assert!(from_input(input(trades), Some(DataType::Quotes)).is_err());
    assert!(from_input(input(BOOK), Some(DataType::Trades)).is_err());
    let error = from_input(input(""), None).err().unwrap();
    assert!(error.to_string().starts_with("empty file"), "{error}");
}

/// A line of CSV-like bytes: mostly what the readers know, sometimes anything.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        6 => prop::sample::select(vec![
            "deribit", "B", "1", "2", "3", "true", "false", "bid", "ask", "buy", "", "0", "1.5",
            "-1", "1e18", "9223372036854775807", "0.000000000000000001", "1585699200355684",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..24),
    ];
    prop_oneof![
        9 => prop::collection::vec(field, 1..14).prop_map(|fields| fields.join(&b','.to_owned())),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

/// Lines of few books, times and numbers, so that messages go on, break off and come again: symbol,
/// event time, microseconds since the line before, and the rest.
fn book_line() -> impl Strategy<Value = (&'static str, &'static str, i64, String)> {
    let symbol = prop_oneof![8 => Just("A"), 1 => Just("AB"), 1 => Just("B")];
    let event = prop_oneof![6 => Just("1585699200000001"), 1 => Just("15"), 1 => Just("")];
    let step = prop_oneof![6 => Just(0), 3 => Just(1), 1 => Just(-1)];
    let snapshot = prop_oneof![12 => Just("false"), 4 => Just("true"), 1 => Just("no")];
    let side = prop_oneof![8 => Just("bid"), 8 => Just("ask"), 1 => Just("buy")];
    let number =
        || prop_oneof![8 => Just("1"), 8 => Just("42000.250"), 1 => Just(".5"), 1 => Just("x")];
    let qty = prop_oneof![9 => number(), 1 => Just("99999999999999.9999")];
    let end = prop_oneof![8 => Just(""), 1 => Just("\r"), 1 => Just(",")];
    let rest =
        (snapshot, side, number(), qty, end).prop_map(|(snapshot, side, price, qty, end)| {
            format!("{snapshot},{side},{price},{qty}{end}\n")
        });
    (symbol, event, step, rest)
}

proptest! {
    #[test]
    fn lines_read_the_short_way_are_read_as_any_other(
        lines in prop::collection::vec(book_line(), 0..60)
    ) {
        // Only columns in Tardis's order are read the short way.
        let mut short = BOOK.to_owned();
        let mut long = BOOK.replace("exchange,symbol", "symbol,exchange");
        let mut ts = 1_585_699_200_000_005;
        for (symbol, event, step, rest) in &lines {
            ts += step;
            write!(short, "binance,{symbol},{event},{ts},{rest}").unwrap();
            write!(long, "{symbol},binance,{event},{ts},{rest}").unwrap();
        }

        let (rows, rejects) = read("a.csv", short.as_bytes());
        let (expected, expected_rejects) = read("a.csv", long.as_bytes());

        prop_assert_eq!(rows, expected);
        let lines = |rejects: &[Reject]| rejects.iter().map(|it| it.line).collect::<Vec<_>>();
        prop_assert_eq!(lines(&rejects), lines(&expected_rejects));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        header in prop::sample::select(vec![
            BOOK,
            "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n",
            "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n",
            "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,\
             predicted_funding_rate,open_interest,last_price,index_price,mark_price\n",
            "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,\
             bids[0].price,bids[0].amount\n",
        ]),
        lines in prop::collection::vec(any_line(), 0..60),
    ) {
        let mut text = header.as_bytes().to_vec();
        for line in &lines {
            text.extend_from_slice(line);
            text.push(b'\n');
        }

        let (batches, rejects) = read("x.csv", &text);

        if header.contains("asks[0]") {
            return Ok(());
        }
        // Every line is a row, blank, or rejected; nothing disappears.
        let lines = text.split(|&byte| byte == b'\n').skip(1);
        let lines = lines.filter(|line| !matches!(line, [] | [b'\r'])).count();
        let stored: usize = batches.iter().map(|(key, batch)| match key.kind {
            Kind::Book => {
                let actions = batch.u8s(book::ACTION).iter();
                actions.filter(|&&action| action == Action::Set as u8).count()
            }
            Kind::Status => 0,
            _ => batch.rows(),
        }).sum();
        prop_assert_eq!(stored + rejects.len(), lines);
    }

    #[test]
    fn no_first_bytes_make_open_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = open(Path::new("x.csv"), Box::new(Cursor::new(bytes)));
    }
}

#[test]
fn applying_the_changes_gives_every_row_of_a_book_snapshot_file() {
    let Some(folder) = data_folder() else { return };
    for (file, depth) in [
        ("binance-futures_book_snapshot_5_BTCUSDT.csv", 5),
        ("binance-futures_book_snapshot_25_BTCUSDT.csv", 25),
    ] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let batch = only(file, &text);
        assert!(batch.messages() > 1, "{file}");
        let mut book: [std::collections::BTreeMap<Decimal, Decimal>; 2] = Default::default();
        let mut message = 0;
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split(',').collect();
            let ts_recv = fields[3].parse::<i64>().unwrap() * 1000;
            if batch.ts_recv().get(message) == Some(&ts_recv) {
                apply(&batch, message, &mut book);
                message += 1;
            }
            let expected: [std::collections::BTreeMap<_, _>; 2] = [6, 4].map(|first| {
                (0..depth)
                    .map(|level| first + 4 * level)
                    .filter(|&at| !fields[at].is_empty())
                    .map(|at| {
                        let value = |at: usize| fields[at].parse::<Decimal>().unwrap();
                        (value(at), value(at + 1))
                    })
                    .collect()
            });
            assert_eq!(book, expected, "{file}: {line}");
        }
        assert_eq!(message, batch.messages(), "{file}: every message was applied");
    }
}

fn apply(
    batch: &Batch,
    message: usize,
    book: &mut [std::collections::BTreeMap<Decimal, Decimal>; 2],
) {
    for row in batch.message_rows(message) {
        if batch.u8s(book::ACTION)[row] == Action::Reset as u8 {
            book.iter_mut().for_each(std::collections::BTreeMap::clear);
            continue;
        }
        let side = usize::from(batch.u8s(book::SIDE)[row] == Side::Ask as u8);
        let (Value::Decimal(price), Value::Decimal(qty)) =
            (batch.value(message, row, book::PRICE), batch.value(message, row, book::QTY))
        else {
            panic!("a level has price and quantity");
        };
        if qty.is_zero() {
            assert!(book[side].remove(&price).is_some(), "a level that was there is removed");
        } else {
            assert_ne!(book[side].insert(price, qty), Some(qty), "only changes are stored");
        }
    }
}

fn data_folder() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("TICKREEL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        std::path::PathBuf::from,
    );
    let folder = folder.join("tardis-csv");
    if folder.is_dir() {
        return Some(folder);
    }
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("SKIPPED: no captures in {}\n", folder.display()).as_bytes(),
    );
    None
}
