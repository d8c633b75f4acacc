//! The made-up market, read back by the dialects: nothing refused, the planted gaps and no others,
//! every book equal to the truth.
//!
//! Generator and dialects were written from the venues' documents and share no code but the book,
//! so each is the other's witness.
#![cfg(feature = "ingest")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use tickreel::book::{Book, State, Tracker};
use tickreel::event::{Action, Batch, Kind, Side, book};
use tickreel::ingest::sample::{Captures, Counts, MarketOptions, TrueBook, write_captures};
use tickreel::ingest::{OpenOptions, Rows, StreamKey, open_all};
use tickreel::{Decimal, Instrument, TsNs};

/// Three minutes around midnight on one exchange.
fn market(exchange: &str) -> (tempfile::TempDir, Captures) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = MarketOptions::new(11).unwrap();
    options.start = TsNs::parse("2026-01-05T23:58:30Z").unwrap();
    options.duration_ns = 180_000_000_000;
    options.truth_every_ns = 3_000_000_000;
    options.instruments.retain(|options| options.instrument.exchange() == exchange);
    let open = |name: &str| {
        let file = File::create_new(folder.path().join(name)).unwrap();
        Ok(Box::new(file) as Box<dyn Write + Send>)
    };
    let captures = write_captures(&options, open, |_| {}).unwrap();
    (folder, captures)
}

/// All rows of all files, with the dialects and formats the files show by themselves.
fn import(folder: &tempfile::TempDir, captures: &Captures) -> BTreeMap<StreamKey, Vec<Batch>> {
    let paths: Vec<PathBuf> =
        captures.files.iter().map(|file| folder.path().join(&file.name)).collect();
    let mut streams: BTreeMap<StreamKey, Vec<Batch>> = BTreeMap::new();
    for mut input in open_all(&paths, &OpenOptions::default()).unwrap() {
        let mut rows = Rows::new();
        loop {
            let more = input.source.fill(&mut rows).unwrap();
            let rejects = rows.take_rejects();
            assert!(rejects.is_empty(), "{:?}: {rejects:?}", input.paths);
            for (key, batch) in rows.take().unwrap() {
                streams.entry(key).or_default().push(batch);
            }
            if !more {
                break;
            }
        }
        assert_eq!(rows.stepped_back(), 0, "{:?}", input.paths);
    }
    for batches in streams.values_mut() {
        batches.sort_by_key(|batch| batch.ts_recv().first().copied());
    }
    streams
}

fn levels(book: &Book, side: Side) -> Vec<(Decimal, Decimal)> {
    let price = |mantissa| Decimal::new(mantissa, book.price_scale()).unwrap();
    let qty = |mantissa| Decimal::new(mantissa, book.qty_scale()).unwrap();
    book.levels(side).map(|level| (price(level.0), qty(level.1))).collect()
}

fn rows_of(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.rows() as u64).sum()
}

/// Imports the market of `exchange` and compares everything with the truth.
fn check(exchange: &str) {
    let (folder, captures) = market(exchange);
    let streams = import(&folder, &captures);
    assert!(!captures.truth.counts.is_empty(), "no instrument on {exchange}");
    for (instrument, counts) in &captures.truth.counts {
        let stream = |kind| {
            let key = StreamKey { instrument: instrument.clone(), kind };
            streams.get(&key).map_or(&[][..], Vec::as_slice)
        };
        let Counts { trades, quotes, liquidations, .. } = *counts;
        assert_eq!(rows_of(stream(Kind::Trades)), trades, "{instrument} trades");
        assert_eq!(rows_of(stream(Kind::Quotes)), quotes, "{instrument} quotes");
        assert_eq!(rows_of(stream(Kind::Liquidations)), liquidations, "{instrument} liquidations");
        assert_eq!(stream(Kind::Ticker).is_empty(), counts.tickers == 0, "{instrument} ticker");

        check_books(instrument, &captures, stream(Kind::Book));
    }
}

/// Follows the book message by message: its levels at every time of the truth, its gaps and resets.
fn check_books(instrument: &Instrument, captures: &Captures, batches: &[Batch]) {
    let truth = &captures.truth;
    let mut books: Vec<_> =
        truth.books.iter().filter(|book| book.instrument == *instrument).rev().collect();
    assert!(books.len() > 40, "{instrument}: only {} books", books.len());
    let (mut gaps, mut lives) = (Vec::new(), Vec::new());
    let mut tracker = Tracker::new();
    for batch in batches {
        for message in 0..batch.messages() {
            let ts_recv = TsNs(batch.ts_recv()[message]);
            let actions = &batch.u8s(book::ACTION)[batch.message_rows(message)];
            gaps.extend(actions.iter().filter(|&&a| a == Action::Gap as u8).map(|_| ts_recv));
            // Everything received until a time is in the book of that time.
            while let Some(wanted) = books.pop_if(|book| book.at < ts_recv) {
                assert_same_book(&tracker, wanted);
            }
            let before = tracker.state();
            tracker.apply(batch, message..message + 1).unwrap();
            if tracker.state() == State::Live && before != State::Live {
                lives.push(ts_recv);
            }
        }
    }
    assert!(books.len() <= 1, "{instrument}: {} books were not reached", books.len());
    let planted = || truth.gaps.iter().filter(|gap| gap.instrument == *instrument);
    assert_eq!(gaps, planted().map(|gap| gap.from).collect::<Vec<_>>(), "{instrument} gaps");
    let until: Vec<_> = planted().map(|gap| gap.until).collect();
    assert_eq!(lives.get(1..).unwrap_or_default(), until, "{instrument} ends of gaps");
}

fn assert_same_book(found: &Tracker, wanted: &TrueBook) {
    let place = format!("{} at {}", wanted.instrument, wanted.at);
    assert_eq!(found.state(), State::Live, "{place}");
    assert_eq!(found.venue_seq(), wanted.venue_seq, "{place}");
    for side in [Side::Bid, Side::Ask] {
        assert_eq!(levels(found.book(), side), levels(&wanted.book, side), "{place}");
    }
}

#[test]
fn binance_futures_finds_the_true_books_and_the_planted_gaps() {
    check("binance-futures");
}

#[test]
fn binance_spot_finds_the_true_books_and_the_planted_gaps() {
    check("binance");
}

#[test]
fn tardis_csv_finds_the_true_books() {
    check("deribit");
}

#[test]
fn okx_finds_the_true_books_and_the_planted_gaps() {
    check("okex");
}
