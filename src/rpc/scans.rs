//! Streams of answers that are made part by part: scans and samples.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use prost::Message;

use super::counters::Counters;
use super::model::{SampleQuery, ScanEnd, ScanQuery};
use super::outlet::{Outlet, Over};
use super::parts::{Width, arrow_parts};
use super::proto;
use super::status::{Reporter, report};
use super::workers::Workers;
use crate::arrow::{Converter, Options, TextAs, ipc};
use crate::error::Result;
use crate::event::{Batch, ContentHash};
use crate::limit;
use crate::quantity::Instrument;
use crate::replay::{Sample, Scan};
use crate::segment::ColumnMask;
use crate::store::Snapshot;

/// Makes the next answers of a stream, on a worker thread.
pub(super) trait Producer: Send + 'static {
    /// One answer.
    type Answer: Send + 'static;

    /// The next answers and how many rows they hold, after about a block of work: there may be
    /// none yet. `None` at the end.
    fn produce(&mut self) -> Result<Option<(Vec<Self::Answer>, u64)>>;
}

/// Sends what `producer` makes until it ends or the client is gone.
pub(super) async fn pump<P: Producer>(
    mut producer: P,
    outlet: Outlet<P::Answer>,
    workers: Workers,
    counters: Arc<Counters>,
    reporter: Option<Reporter>,
) -> Over {
    loop {
        // Room first: nothing is made for a client that takes nothing.
        let room = match outlet.room().await {
            Ok(room) => room,
            Err(over) => return over,
        };
        let work = workers
            .run(move || Ok(producer.produce()?.map(|(answers, rows)| (producer, answers, rows))));
        let (back, answers, rows) = match work.await {
            Ok(Some(made)) => made,
            Ok(None) => return Over,
            Err(error) => return outlet.end(report(&error, &counters, reporter.as_ref())),
        };
        producer = back;
        counters.rows_sent.add(rows);
        let mut answers = answers.into_iter();
        let Some(first) = answers.next() else { continue };
        room.send(first);
        for answer in answers {
            if let Err(over) = outlet.send(answer).await {
                return over;
            }
        }
    }
}

/// Rows of one stream as record batches of about the size of a part.
pub(super) struct RecordBatches {
    scan: Scan,
    converter: Converter,
    /// The block being cut, and its next message.
    batch: Option<(Batch, usize)>,
    hash: Option<ContentHash>,
    rows: u64,
    batches: u64,
}

impl RecordBatches {
    /// Opens the stream that `query` names.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] for a stream or column that is not there.
    pub(super) fn open(snapshot: &Snapshot, query: &ScanQuery) -> Result<Self> {
        let schema = query.kind.schema();
        let stream_id = snapshot.stream_id(&query.instrument, query.kind)?;
        let mut columns = (0..schema.columns.len()).collect::<Vec<_>>();
        if !query.columns.is_empty() {
            columns =
                query.columns.iter().map(|name| schema.column(name)).collect::<Result<_>>()?;
        }
        let scales = snapshot.scales(stream_id);
        let scales = scales.get(..schema.columns.len()).unwrap_or(&scales);
        let instrument = Some(query.instrument.clone());
        let options = Options { decimals: query.decimals, texts: TextAs::Plain, instrument };
        let converter = Converter::new(query.kind, Some(&columns), scales, &options)?;
        let mask = ColumnMask::of(&columns);
        let scan = snapshot.scan(&query.instrument, query.kind, query.range.clone(), mask)?;
        let scan = scan.with_filter(query.filter.clone());
        let hash = query.hash.then_some(ContentHash::EMPTY);
        Ok(Self { scan, converter, batch: None, hash, rows: 0, batches: 0 })
    }

    /// The schema of the batches.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.converter.schema()
    }

    /// The next rows, none if nothing in a block is wanted; `None` behind the last.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let (batch, start) = match self.batch.take() {
            Some(cut) => cut,
            None => match self.scan.next_block()? {
                Some(batch) if batch.is_empty() => {
                    return Ok(Some(RecordBatch::new_empty(self.schema().clone())));
                }
                Some(batch) => (batch, 0),
                None => return Ok(None),
            },
        };
        let end = Width::of(&batch).fitting(
            &batch,
            start..usize::MAX,
            limit::BLOCK_ROWS,
            limit::RPC_PART_BYTES,
        );
        if let Some(hash) = &mut self.hash {
            hash.update(&batch, start..end);
        }
        let record_batch = if end - start == batch.messages() {
            self.converter.convert_owned(batch)?
        } else {
            let part = self.converter.convert_owned(batch.slice_messages(start..end))?;
            self.batch = Some((batch, end)).filter(|(batch, end)| *end < batch.messages());
            part
        };
        self.rows += record_batch.num_rows() as u64;
        self.batches += 1;
        Ok(Some(record_batch))
    }

    fn end(&self) -> ScanEnd {
        ScanEnd { rows: self.rows, batches: self.batches, hash: self.hash }
    }
}

/// Rows of one stream as Arrow IPC.
pub(super) struct ScanProducer {
    batches: RecordBatches,
    encoder: ipc::Encoder,
    state: ScanState,
    counters: Arc<Counters>,
}

#[derive(Clone, Copy, PartialEq)]
enum ScanState {
    Schema,
    Rows,
    Ended,
}

impl ScanProducer {
    /// Opens the stream that `query` names.
    ///
    /// # Errors
    /// As [`RecordBatches::open`].
    pub(super) fn open(
        snapshot: &Snapshot,
        query: &ScanQuery,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let batches = RecordBatches::open(snapshot, query)?;
        let encoder = ipc::Encoder::new(batches.schema().clone())?;
        Ok(Self { batches, encoder, state: ScanState::Schema, counters })
    }
}

impl Producer for ScanProducer {
    type Answer = proto::ScanResponse;

    fn produce(&mut self) -> Result<Option<(Vec<Self::Answer>, u64)>> {
        use proto::scan_response::Part;
        let answer = |part| proto::ScanResponse { part: Some(part) };
        let (data, rows) = match self.state {
            ScanState::Schema => {
                self.state = ScanState::Rows;
                (self.encoder.schema_message().clone(), 0)
            }
            ScanState::Rows => match self.batches.next_batch()? {
                Some(batch) if batch.num_rows() == 0 => return Ok(Some((Vec::new(), 0))),
                Some(batch) => (self.encoder.encode(&batch)?, batch.num_rows() as u64),
                None => {
                    self.state = ScanState::Ended;
                    let end = (&self.batches.end()).into();
                    return Ok(Some((vec![answer(Part::End(end))], 0)));
                }
            },
            ScanState::Ended => return Ok(None),
        };
        self.counters.bytes_sent.add(data.len() as u64);
        let parts = arrow_parts(data).into_iter();
        Ok(Some((parts.map(|part| answer(Part::Arrow(part))).collect(), rows)))
    }
}

/// Bytes of books after which an answer of samples is sent: a quarter of a part.
const SAMPLES_BYTES: usize = limit::RPC_PART_BYTES / 4;

/// Books at regular times.
pub(super) struct SampleProducer {
    instrument: Instrument,
    sample: Sample,
    depth: Option<usize>,
    digits: (u8, u8),
}

impl SampleProducer {
    /// Opens the book stream that `query` names.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is none.
    pub(super) fn open(snapshot: &Snapshot, query: &SampleQuery) -> Result<Self> {
        let mut books = snapshot.books(&query.instrument)?;
        books.at(query.range.end)?;
        let digits = books.digits();
        let sample = books.sample(query.range.start, query.range.end, query.every_ns)?;
        Ok(Self { instrument: query.instrument.clone(), sample, depth: query.depth, digits })
    }
}

impl Producer for SampleProducer {
    type Answer = proto::SampleBooksResponse;

    fn produce(&mut self) -> Result<Option<(Vec<Self::Answer>, u64)>> {
        let (mut books, mut bytes) = (Vec::new(), 0);
        while bytes < SAMPLES_BYTES
            && let Some((at, tracker)) = self.sample.next_book()?
        {
            let book = proto::Book::of(&self.instrument, at, tracker, self.digits, self.depth);
            let book_bytes = book.encoded_len();
            bytes += book_bytes;
            books.push((book, book_bytes));
        }
        let mut answers: Vec<Self::Answer> = Vec::new();
        let mut room = 0;
        for (book, book_bytes) in books {
            // One deep book is nearly a whole answer.
            match answers.last_mut().filter(|_| book_bytes <= room) {
                Some(answer) => answer.books.push(book),
                None => {
                    room = limit::RPC_PART_BYTES;
                    answers.push(proto::SampleBooksResponse { books: vec![book] });
                }
            }
            room = room.saturating_sub(book_bytes);
        }
        Ok(Some((answers, 0)).filter(|(answers, _)| !answers.is_empty()))
    }
}
