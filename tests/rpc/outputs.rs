//! Books and metrics instead of rows: those of the library, at every speed, from any cursor.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use tickreel::arrow::{BookColumns, BookTable, DecimalAs};
use tickreel::event::Kind;
use tickreel::rpc::{
    BookFrame, Event, Output, PlayState, ReplayQuery, RowForm, Session, Speed, StepAmount,
};
use tickreel::store::Store;
use tickreel::{Instrument, TsNs};

use crate::listener::{Listener, local};
use crate::market::{EVERY_NS, Market, START, btc, swap};

/// Empty tables for both books of the market.
fn tables(columns: &BookColumns, decimals: DecimalAs) -> Vec<(Instrument, BookTable)> {
    let table = |name: Instrument| {
        let table = BookTable::new(&name, columns.clone(), (1, 3), decimals);
        (name, table)
    };
    vec![table(btc()), table(swap())]
}

fn taken(tables: Vec<(Instrument, BookTable)>) -> Vec<RecordBatch> {
    tables.into_iter().map(|(_, mut table)| table.take().unwrap()).collect()
}

/// A row after each message, by walking through all of them.
fn after_each(store: &Store, query: &ReplayQuery, columns: &BookColumns) -> Vec<RecordBatch> {
    let streams = query.streams.iter().map(|(name, _)| (name.clone(), vec![Kind::Book]));
    let query = ReplayQuery { streams: streams.collect(), ..query.clone() };
    let mut tables = tables(columns, query.decimals);
    let mut replay = local(store, &query);
    while let Some(step) = replay.step(1).unwrap() {
        let (stream, messages) = (step.stream, step.messages());
        replay.accept(stream, messages, false).unwrap();
        let book = replay.book(stream).unwrap();
        tables[stream].1.push(book.ts_recv().unwrap(), book).unwrap();
    }
    taken(tables)
}

/// A row of each book at every multiple of `every_ns` between two times.
fn at_times(
    store: &Store,
    span: (TsNs, TsNs),
    every_ns: i64,
    columns: &BookColumns,
) -> Vec<RecordBatch> {
    let mut tables = tables(columns, DecimalAs::Decimal128);
    let first = (span.0.0 + every_ns - 1) / every_ns;
    for at in (first..=span.1.0 / every_ns).map(|multiple| TsNs(multiple * every_ns)) {
        for (name, table) in &mut tables {
            let book = store.snapshot().unwrap().book_at(name, at).unwrap();
            table.push(at, &book).unwrap();
        }
    }
    taken(tables)
}

/// What a session gives up to its end: the tables of its streams, and a cursor after each frame
/// with the rows until then.
pub struct Heard {
    frames: Vec<BookFrame>,
}

impl Heard {
    /// What each stream gave.
    pub fn whole(&self) -> Vec<RecordBatch> {
        Self::tables(&[&self.frames])
    }

    pub async fn all(session: &mut Session) -> Self {
        let mut frames = Vec::new();
        loop {
            match session.next().await.unwrap().unwrap() {
                Event::Books(frame) => frames.push(frame),
                Event::Frame(_) => panic!("rows were not asked for"),
                Event::End(end) => {
                    assert_eq!(end.rows, frames.iter().map(|frame| frame.rows).sum::<u64>());
                    assert_eq!(end.hash, None);
                    return Self { frames };
                }
                _ => {}
            }
        }
    }

    pub fn tables(frames: &[&[BookFrame]]) -> Vec<RecordBatch> {
        let of = |stream: usize| {
            let tables = frames.iter().copied().flatten().flat_map(|frame| &frame.tables);
            let tables: Vec<_> = tables.filter(|(at, _)| *at == stream).collect();
            concat_batches(tables[0].1.schema_ref(), tables.iter().map(|(_, table)| table)).unwrap()
        };
        vec![of(0), of(1)]
    }
}

fn columns_of(output: &Output) -> (BookColumns, i64) {
    match output {
        Output::Books { columns, every_ns } => (columns.clone(), *every_ns),
        Output::Rows => panic!("rows are no books"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_and_metrics_are_those_of_the_library_at_every_speed() {
    let market = Market::new(1300);
    let served = market.serve().await;
    let range = TsNs(START + 333 * EVERY_NS)..TsNs(START + 1200 * EVERY_NS);
    for decimals in [DecimalAs::Decimal128, DecimalAs::Float64] {
        for output in [Output::books(4), Output::metrics()] {
            let base = ReplayQuery { range: range.clone(), ..ReplayQuery::all(&[btc(), swap()]) };
            let base = ReplayQuery { output: output.clone(), decimals, ..base };
            let expected = after_each(&market.store, &base, &columns_of(&output).0);
            assert!(expected[0].num_rows() > 800);
            for (speed, frame_rows_max, form) in [
                (Speed::FLAT_OUT, 0, RowForm::Columns),
                (Speed::times(10.0).unwrap(), 33, RowForm::Arrow),
            ] {
                let query = ReplayQuery { speed, frame_rows_max, form, ..base.clone() };
                let mut session = served.client.replay(&query).await.unwrap();
                assert_eq!(session.streams().len(), 2, "only books");
                let heard = Heard::all(&mut session).await;

                assert_eq!(heard.whole(), expected);
                // Every row is in the order of its message.
                for frame in &heard.frames {
                    assert_eq!(
                        frame.runs.iter().map(|(_, rows)| rows).sum::<usize>() as u64,
                        frame.rows
                    );
                    assert!(frame.first <= frame.last);
                }
            }
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_are_the_books_at_their_times_also_after_a_seek_and_from_any_cursor() {
    let market = Market::new(1300);
    let served = market.serve().await;
    for output in [Output::books(2), Output::metrics()] {
        for every_ns in [7 * EVERY_NS + 1, EVERY_NS / 3] {
            let output = output.clone().every(every_ns);
            let range = TsNs(START + 100 * EVERY_NS)..TsNs(START + 700 * EVERY_NS);
            let base = ReplayQuery { range, output, ..ReplayQuery::all(&[btc(), swap()]) };
            let query = ReplayQuery { frame_rows_max: 100, ..base.clone() };
            let mut session = served.client.replay(&query).await.unwrap();
            let span = (session.span().0, TsNs(START + 699 * EVERY_NS));
            let heard = Heard::all(&mut session).await;
            let columns = columns_of(&query.output).0;
            let expected = at_times(&market.store, span, every_ns, &columns);
            assert_eq!(heard.whole(), expected);

            let paced = ReplayQuery { speed: Speed::times(5.0).unwrap(), ..base.clone() };
            let mut session = served.client.replay(&paced).await.unwrap();
            let again = Heard::all(&mut session).await;
            assert_eq!(again.whole(), expected);

            for cut in (1..heard.frames.len()).step_by(5) {
                let resume_cursor: Bytes = heard.frames[cut - 1].cursor.clone();
                let rest = ReplayQuery { resume_cursor, ..base.clone() };
                let mut session = served.client.replay(&rest).await.unwrap();
                let rest = Heard::all(&mut session).await;
                assert_eq!(Heard::tables(&[&heard.frames[..cut], &rest.frames]), expected);
            }

            let paused = ReplayQuery { paused: true, ..base.clone() };
            let mut session = served.client.replay(&paused).await.unwrap();
            let to = TsNs(START + 400 * EVERY_NS + 17);
            session.controls().seek(to).await.unwrap();
            session.controls().resume().await.unwrap();
            let heard = Heard::all(&mut session).await;
            let expected = at_times(&market.store, (to, span.1), every_ns, &columns);
            assert_eq!(heard.whole(), expected);
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_with_a_sample_before_the_range_is_refused() {
    let market = Market::new(300);
    let served = market.serve().await;
    let output = Output::metrics().every(10 * EVERY_NS);
    let range = TsNs(START)..TsNs(START + 200 * EVERY_NS);
    let base = ReplayQuery { range, output, ..ReplayQuery::all(&[btc(), swap()]) };
    let mut session = served.client.replay(&base).await.unwrap();
    let cursor = Heard::all(&mut session).await.frames[0].cursor.clone();

    // The number of the output, the interval, the time of the next sample.
    let with = |sample_ns: i64| {
        let mut bytes = cursor.to_vec();
        bytes[9..17].copy_from_slice(&sample_ns.to_le_bytes());
        ReplayQuery { resume_cursor: bytes.into(), ..base.clone() }
    };
    drop(served.client.replay(&with(START)).await.unwrap());
    let error = served.client.replay(&with(START - 1)).await.unwrap_err();
    assert_eq!(error.text(), "resume_cursor: a cursor of another range");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_books_are_as_long_as_they_say() {
    let market = Market::new(500);
    let served = market.serve().await;
    let output = Output::books(1);
    let query = ReplayQuery { paused: true, output, ..ReplayQuery::all(&[btc(), swap()]) };
    let mut session = served.client.replay(&query).await.unwrap();
    let mut listener = Listener::new(session.streams());
    let mut sum = 0;
    // Each message of a book gives one row.
    for (amount, expected) in [(StepAmount::Messages(17), 17), (StepAmount::Rows(4), 21)] {
        session.controls().step(amount).await.unwrap();
        loop {
            match session.next().await.unwrap().unwrap() {
                Event::Books(frame) => sum += frame.rows,
                Event::State(state) if state.state == PlayState::Paused => {
                    assert_eq!((state.rows, sum), (expected, expected));
                    break;
                }
                _ => {}
            }
        }
    }
    session.controls().close().await.unwrap();
    assert_eq!(listener.end(&mut session).await.rows, sum);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_book_cannot_be_shown_as_one() {
    let market = Market::new(100);
    let served = market.serve().await;
    let streams = vec![(btc(), vec![Kind::Book, Kind::Trades])];
    let query = ReplayQuery { streams, output: Output::books(1), ..ReplayQuery::all(&[]) };

    let error = served.client.replay(&query).await.unwrap_err();

    assert_eq!(error.kind(), tickreel::ErrorKind::Invalid, "{error}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_at_rare_times_are_sent_long_before_every_row_was_looked_at() {
    let market = Market::new(60_000);
    let served = market.serve().await;
    let output = Output::metrics().every(5_000 * EVERY_NS);
    let query = ReplayQuery { output, ..ReplayQuery::all(&[btc(), swap()]) };
    let mut session = served.client.replay(&query).await.unwrap();
    let span = session.span();

    let heard = Heard::all(&mut session).await;

    let columns = columns_of(&query.output).0;
    let expected = at_times(&market.store, span, 5_000 * EVERY_NS, &columns);
    assert_eq!(heard.whole(), expected);
    assert!(heard.frames.len() > 1, "all at once, after all rows");
    served.stop().await;
}
