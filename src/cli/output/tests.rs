//! Rows out as text, and Tardis CSV in and out again.

use std::fmt::Write as _;
use std::io::{self, Cursor, Write as _};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{RowFormat, Selection, row_writer};
use crate::error::{ErrorKind, Result};
use crate::event::{Batch, BatchBuilder, Kind, MessageHead, Side, StatusRow, StatusWhat};
use crate::ingest::{Rows, StreamKey, tardis_csv};
use crate::quantity::{Decimal, Instrument, TsNs};

const TARDIS: RowFormat = RowFormat::TardisCsv { round_down: false };

fn instrument() -> Instrument {
    Instrument::parse("binance:BTCUSDT").unwrap()
}

fn write(format: RowFormat, selection: Selection, batches: &[&Batch]) -> Result<String> {
    let mut out = Vec::new();
    let mut writer = row_writer(format, selection, &mut out, Path::new("out"))?;
    let written = batches.iter().try_for_each(|batch| writer.batch(batch));
    writer.finish()?;
    drop(writer);
    written.map(|()| String::from_utf8(out).unwrap())
}

/// A snapshot message of two levels and a delta without event time.
fn book() -> Batch {
    let mut builder = BatchBuilder::new(Kind::Book);
    let ts = TsNs::parse("2024-08-08T23:54:15.030314Z").unwrap();
    builder.begin(MessageHead {
        ts_recv: ts,
        ts_event: Some(ts.saturating_add(-1_000_000)),
        venue_seq: Some(7),
        snapshot: true,
    });
    builder.level_text(Side::Bid, "42000.10", "0.5").unwrap();
    builder.level_text(Side::Ask, "42001", "1.25").unwrap();
    builder.end();
    builder.begin(MessageHead { ts_recv: ts.saturating_add(1000), ..MessageHead::default() });
    builder.level_text(Side::Ask, "42001", "0").unwrap();
    builder.gap(0);
    builder.end();
    builder.finish().unwrap().pop().unwrap()
}

#[test]
fn csv_has_a_header_and_exact_values() {
    let text = write(RowFormat::Csv, Selection::all(&instrument(), Kind::Book), &[&book()]);

    assert_eq!(
        text.unwrap(),
        "ts_recv,ts_event,action,side,flags,price,qty,venue_seq\n\
         1723161255030314000,1723161255029314000,reset,bid,SNAPSHOT,0,0,7\n\
         1723161255030314000,1723161255029314000,set,bid,SNAPSHOT,42000.1,0.5,7\n\
         1723161255030314000,1723161255029314000,set,ask,SNAPSHOT|LAST,42001,1.25,7\n\
         1723161255030315000,,set,ask,,42001,0,\n\
         1723161255030315000,,gap,bid,LAST,0,0,\n"
    );
}

#[test]
fn columns_come_in_the_order_asked_for() {
    let names = ["qty", "ts_recv"];
    let selection = Selection::of_names(&instrument(), Kind::Book, names).unwrap();

    let text = write(RowFormat::Csv, selection, &[&book()]).unwrap();

    assert!(text.starts_with("qty,ts_recv\n0,1723161255030314000\n0.5,"), "{text}");
    assert!(Selection::of_names(&instrument(), Kind::Book, ["amount"]).is_err());
    assert!(Selection::of_names(&instrument(), Kind::Book, []).is_err());
}

#[test]
fn ndjson_lines_are_objects_with_exact_values() {
    let text = write(RowFormat::Ndjson, Selection::all(&instrument(), Kind::Book), &[&book()]);
    let text = text.unwrap();
    let lines: Vec<&str> = text.lines().collect();

    assert_eq!(lines.len(), 5);
    assert_eq!(
        lines[2],
        "{\"exchange\":\"binance\",\"symbol\":\"BTCUSDT\",\
         \"ts_recv\":\"2024-08-08T23:54:15.030314000Z\",\"ts_recv_ns\":1723161255030314000,\
         \"ts_event\":\"2024-08-08T23:54:15.029314000Z\",\"ts_event_ns\":1723161255029314000,\
         \"action\":\"set\",\"side\":\"ask\",\"flags\":[\"SNAPSHOT\",\"LAST\"],\
         \"price\":\"42001\",\"qty\":\"1.25\",\"venue_seq\":7}"
    );
    for line in lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn ndjson_gives_bytes_that_are_no_text_in_hex() {
    let mut builder = BatchBuilder::new(Kind::Status);
    builder.status(&StatusRow {
        ts_recv: TsNs(1),
        ts_event: None,
        what: StatusWhat::Gap,
        detail: "a \"quoted\"\u{1} text",
    });
    let status = builder.finish().unwrap().pop().unwrap();
    let text = write(RowFormat::Ndjson, Selection::all(&instrument(), Kind::Status), &[&status]);
    let line: serde_json::Value = serde_json::from_str(text.unwrap().trim_end()).unwrap();
    assert_eq!(line["detail"], "a \"quoted\"\u{1} text");
    assert_eq!(line["ts_event_ns"], serde_json::Value::Null);

    let (ends, mut columns) = status.into_parts();
    let mut bytes = crate::event::TextValues::default();
    bytes.push(b"\xff\x00");
    columns[3].as_mut().unwrap().values = crate::event::Values::Text(bytes);
    let status = Batch::from_parts(Kind::Status, 1, ends, columns).unwrap();
    let text = write(RowFormat::Ndjson, Selection::all(&instrument(), Kind::Status), &[&status]);
    assert!(text.unwrap().ends_with(",\"detail_hex\":\"ff00\"}\n"));
}

#[test]
fn a_table_is_aligned_and_repeats_its_header() {
    let names = ["side", "price", "qty", "venue_seq"];
    let selection = Selection::of_names(&instrument(), Kind::Book, names).unwrap();
    let text = write(RowFormat::Table, selection.clone(), &[&book()]).unwrap();
    assert_eq!(
        text,
        "side     price   qty  venue_seq\n\
         bid       0.00  0.00          7\n\
         bid   42000.10  0.50          7\n\
         ask   42001.00  1.25          7\n\
         ask   42001.00  0.00          -\n\
         bid       0.00  0.00          -\n"
    );

    let long = write(RowFormat::Table, selection.clone(), &vec![&book(); 101]).unwrap();
    assert_eq!(long.lines().filter(|line| line.starts_with("side")).count(), 2);
    assert_eq!(write(RowFormat::Table, selection, &[]).unwrap().lines().count(), 1);
}

#[test]
fn without_rows_there_is_a_header_alone() {
    for (format, first) in [(RowFormat::Csv, "ts_recv,"), (TARDIS, "exchange,symbol,")] {
        let text = write(format, Selection::all(&instrument(), Kind::Trades), &[]).unwrap();
        assert!(text.starts_with(first) && text.lines().count() == 1, "{text}");
    }
    let selection = Selection::all(&instrument(), Kind::Trades);
    assert_eq!(write(RowFormat::Ndjson, selection, &[]).unwrap(), "");
}

#[test]
fn tardis_csv_refuses_what_it_cannot_hold() {
    let one = |ts: i64, id: &str| {
        let mut builder = BatchBuilder::new(Kind::Trades);
        builder.trade(&crate::event::TradeRow {
            ts_recv: TsNs(ts),
            ts_event: None,
            side: crate::event::TradeSide::Buy,
            price: Decimal::ZERO,
            qty: Decimal::ZERO,
            trade_id: id,
        });
        builder.finish().unwrap().pop().unwrap()
    };
    let all = || Selection::all(&instrument(), Kind::Trades);

    let good = write(TARDIS, all(), &[&one(2000, "a")]).unwrap();
    assert!(good.ends_with("binance,BTCUSDT,,2,a,buy,0,0\n"), "{good}");
    let error = write(TARDIS, all(), &[&one(1000, "a"), &one(2001, "b")]).unwrap_err();
    assert!(error.to_string().starts_with("row 2 of binance:BTCUSDT trades: time 2001 ns"));
    assert!(write(TARDIS, all(), &[&one(2000, "a,b")]).is_err());
    let rounded = RowFormat::TardisCsv { round_down: true };
    assert!(write(rounded, all(), &[&one(2999, "")]).unwrap().ends_with(",2,,buy,0,0\n"));
    assert!(write(rounded, all(), &[&one(-1, "")]).unwrap().ends_with(",-1,,buy,0,0\n"));
    for kind in [Kind::Status, Kind::Raw, Kind::Orders] {
        let error = write(TARDIS, Selection::all(&instrument(), kind), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_batch_of_another_kind_or_without_needed_columns_is_refused() {
    let book = book();
    for format in [RowFormat::Table, RowFormat::Csv, RowFormat::Ndjson, TARDIS] {
        let trades = Selection::all(&instrument(), Kind::Trades);
        assert!(write(format, trades, &[&book]).is_err());
    }
    let (rows, (ends, mut columns)) = (book.rows(), book.into_parts());
    columns[crate::event::book::PRICE] = None;
    let part = Batch::from_parts(Kind::Book, rows, ends, columns).unwrap();
    let error = write(TARDIS, Selection::all(&instrument(), Kind::Book), &[&part]).unwrap_err();
    assert!(error.to_string().contains("price was not read"), "{error}");
}

#[test]
fn an_output_that_refuses_is_an_error_that_names_the_file() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let selection = Selection::all(&instrument(), Kind::Book);
    let mut writer = row_writer(RowFormat::Csv, selection, Full, Path::new("rows.csv")).unwrap();
    writer.batch(&book()).unwrap();

    let error = writer.finish().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("rows.csv"), "{error}");
}

/// Reads Tardis CSV and writes every stream back, in order of their names.
fn there_and_back(name: &str, text: &[u8]) -> Vec<(StreamKey, String)> {
    let reader = Box::new(Cursor::new(text.to_vec()));
    let mut source = tardis_csv::open(Path::new(name), reader).unwrap();
    let mut rows = Rows::new();
    let mut streams: Vec<(StreamKey, Vec<Batch>)> = Vec::new();
    loop {
        let more = source.fill(&mut rows).unwrap();
        let rejects = rows.take_rejects();
        assert!(rejects.is_empty(), "{:?}", rejects[0]);
        for (key, batch) in rows.take().unwrap() {
            match streams.iter_mut().find(|(known, _)| *known == key) {
                Some((_, batches)) => batches.push(batch),
                None => streams.push((key, vec![batch])),
            }
        }
        if !more {
            break;
        }
    }
    streams.sort_by(|a, b| a.0.cmp(&b.0));
    let written = streams.into_iter().filter(|(key, _)| key.kind != Kind::Status);
    let written = written.map(|(key, batches)| {
        let selection = Selection::all(&key.instrument, key.kind);
        let text = write(TARDIS, selection, &batches.iter().collect::<Vec<_>>()).unwrap();
        (key, text)
    });
    written.collect()
}

/// Lines with every decimal in its shortest form, so that equal values are equal text. Other
/// fields, ids among them, stay as they are.
fn exact(text: &str) -> Vec<String> {
    let decimal = |name: &&str| {
        name.contains("price")
            || name.contains("amount")
            || ["funding_rate", "predicted_funding_rate", "open_interest"].contains(name)
    };
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let body = lines.map(|line| {
        let fields = line.split(',').zip(&header).map(|(field, name)| match field {
            "" => String::new(),
            number if decimal(name) => number.parse::<Decimal>().unwrap().to_string(),
            other => other.to_owned(),
        });
        fields.collect::<Vec<_>>().join(",")
    });
    std::iter::once(header.join(",")).chain(body).collect()
}

fn assert_same(name: &str, text: &str) {
    let written = there_and_back(name, text.as_bytes());
    assert_eq!(written.len(), 1, "{name}: one stream");
    let (before, after) = (exact(text), exact(&written[0].1));
    assert_eq!(before.len(), after.len(), "{name}: lines");
    for (line, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before, after, "{name}: line {}", line + 1);
    }
}

#[test]
fn every_tardis_file_comes_out_as_it_went_in() {
    let Some(folder) = data_folder() else { return };
    for name in [
        "bitmex_trades_XBTUSD.csv",
        "deribit_incremental_book_L2_BTC-PERPETUAL.csv",
        "huobi-dm-swap_quotes_BTC-USD.csv",
    ] {
        assert_same(name, &std::fs::read_to_string(folder.join(name)).unwrap());
    }
    let path = folder.join("deribit_options_chain_OPTIONS.csv");
    let reader = Box::new(std::fs::File::open(&path).unwrap());
    let error = tardis_csv::open(&path, reader).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// A larger file, e.g. of a market generator: `TICKREEL_TARDIS_CSV=FILE[:FILE...]`.
#[test]
fn given_tardis_files_come_out_as_they_went_in() {
    let Some(files) = std::env::var_os("TICKREEL_TARDIS_CSV") else {
        note("SKIPPED: no further Tardis CSV files in TICKREEL_TARDIS_CSV");
        return;
    };
    for file in std::env::split_paths(&files) {
        assert_same(&file.to_string_lossy(), &std::fs::read_to_string(&file).unwrap());
    }
}

fn data_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("TICKREEL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let folder = folder.join("tardis-csv");
    if folder.is_dir() {
        return Some(folder);
    }
    note(&format!("SKIPPED: no captures in {}", folder.display()));
    None
}

fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A decimal as venues write them, zeros at the end included.
fn decimal() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0u64..10_000_000, 0usize..9).prop_map(|(number, digits)| {
            let unit = 10u64.pow(digits as u32);
            match digits {
                0 => number.to_string(),
                _ => format!("{}.{:0digits$}", number / unit, number % unit),
            }
        }),
        1 => Just("0".to_owned()),
        1 => Just("9999999999.000000".to_owned()),
    ]
}

fn maybe(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop_oneof![5 => value, 1 => Just(String::new())]
}

/// Rising times and fields of one row each.
fn file(
    columns: &'static str,
    fields: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let row = (maybe((1u64..4_000_000_000_000_000).prop_map(|ts| ts.to_string())), 0u64..3, fields);
    prop::collection::vec(row, 0..80).prop_map(move |rows| {
        let mut text = format!("exchange,symbol,timestamp,local_timestamp,{columns}\n");
        let mut local = 1_700_000_000_000_000u64;
        for (timestamp, step, fields) in rows {
            local += step;
            writeln!(text, "okex-swap,BTC-USD-SWAP,{timestamp},{local},{fields}").unwrap();
        }
        text
    })
}

fn side(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(names)
}

/// A book file whose snapshots each have a moment of their own, as a venue sends them.
fn book_file() -> impl Strategy<Value = String> {
    let level = (side(&["bid", "ask"]), decimal(), decimal());
    let message = (prop::bool::weighted(0.2), 0u64..3, prop::collection::vec(level, 1..9));
    prop::collection::vec(message, 1..40).prop_map(|messages| {
        let mut text = String::from(
            "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n",
        );
        let mut local = 1_700_000_000_000_000u64;
        for (snapshot, step, levels) in messages {
            local += step + u64::from(snapshot);
            let event = local - 5;
            for (side, price, amount) in levels {
                writeln!(text, "okex,BTC-USDT,{event},{local},{snapshot},{side},{price},{amount}")
                    .unwrap();
            }
        }
        text
    })
}

proptest! {
    #[test]
    fn any_book_file_comes_out_as_it_went_in(text in book_file()) {
        assert_same("okex_incremental_book_L2.csv", &text);
    }

    #[test]
    fn any_trades_file_comes_out_as_it_went_in(
        text in file(
            "id,side,price,amount",
            ("[a-z0-9 \"-]{0,40}", side(&["buy", "sell", "unknown"]), decimal(), decimal())
                .prop_map(|(id, side, price, amount)| format!("{id},{side},{price},{amount}")),
        ),
        name in side(&["okex_trades.csv", "okex_liquidations.csv"]),
    ) {
        if text.lines().count() > 1 {
            assert_same(name, &text);
        }
    }

    #[test]
    fn any_quotes_file_comes_out_as_it_went_in(
        text in file(
            "ask_amount,ask_price,bid_price,bid_amount",
            (prop::option::of((decimal(), decimal())), prop::option::of((decimal(), decimal())))
                .prop_map(|(ask, bid)| {
                    let (ask_price, ask_amount) = ask.unwrap_or_default();
                    let (bid_price, bid_amount) = bid.unwrap_or_default();
                    format!("{ask_amount},{ask_price},{bid_price},{bid_amount}")
                }),
        ),
    ) {
        if text.lines().count() > 1 {
            assert_same("okex_quotes.csv", &text);
        }
    }

    #[test]
    fn any_ticker_file_comes_out_as_it_went_in(
        text in file(
            "funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,\
             index_price,mark_price",
            (
                maybe(Just("1700000000000000".to_owned())),
                prop::collection::vec(maybe(decimal()), 6..=6),
            )
                .prop_map(|(funding, values)| format!("{funding},{}", values.join(","))),
        ),
    ) {
        if text.lines().count() > 1 {
            assert_same("okex_derivative_ticker.csv", &text);
        }
    }
}
