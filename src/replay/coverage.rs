//! What is stored of an instrument, and what is missing.

use crate::error::Result;
use crate::event::{Action, Batch, Kind, book, status};
use crate::event::{StatusWhat, StreamKey};
use crate::format::segment::{FLAG_GAPS, FLAG_RESETS};
use crate::quantity::{Instrument, TsNs};
use crate::segment::{ColumnMask, Segment};
use crate::store::Snapshot;

/// What is stored of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Which stream.
    pub key: StreamKey,
    /// Stretches without a whole UTC day between rows.
    pub spans: Vec<Span>,
    /// Times in which messages are missing: of a book stream, or of its instrument as `status`
    /// rows tell.
    pub gaps: Vec<Gap>,
}

/// A stretch of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Receive time of its first row.
    pub first: TsNs,
    /// Receive time of its last row.
    pub last: TsNs,
    /// Rows.
    pub rows: u64,
    /// Messages.
    pub messages: u64,
}

/// A time in which the book is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Receive time of the gap row.
    pub since: TsNs,
    /// Receive time of the reset that ended it; `None` if none came.
    pub until: Option<TsNs>,
    /// Messages missing; 0 if unknown.
    pub missing: u64,
}

impl Snapshot {
    /// Ranges and gaps of every stream of an instrument.
    ///
    /// Reads only blocks that the index marks as holding gaps or resets.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if nothing is stored of it; [`crate::ErrorKind::Corrupt`]
    /// with file and offset.
    pub fn coverage(&self, instrument: &Instrument) -> Result<Vec<Coverage>> {
        let mut found = Vec::new();
        for stream in self.streams().filter(|s| s.key.instrument == *instrument) {
            let mut gaps = match stream.key.kind {
                Kind::Book => self.book_gaps(stream.id)?,
                Kind::Status => self.status_gaps(instrument)?,
                _ => Vec::new(),
            };
            gaps.extend(self.parts(stream.id).lost().map(|entry| Gap {
                since: TsNs(entry.ts_recv_first),
                until: Some(TsNs(entry.ts_recv_last)),
                missing: entry.messages,
            }));
            gaps.sort_by_key(|gap| gap.since);
            found.push(Coverage { key: stream.key.clone(), spans: self.spans(stream.id), gaps });
        }
        if found.is_empty() {
            self.stream_id(instrument, Kind::Book)?;
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    fn spans(&self, stream_id: u32) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let parts = self.parts(stream_id);
        let sealed = parts
            .kept()
            .map(|entry| (entry.ts_recv_first, entry.ts_recv_last, entry.rows, entry.messages));
        let live = parts.tail().map(|tail| {
            let (first, last) = tail.times();
            (first, last, tail.rows(), tail.messages())
        });
        for (first, last, rows, messages) in sealed.chain(live) {
            let (first, last) = (TsNs(first), TsNs(last));
            let joined = spans.last_mut().filter(|span| first.day().0 <= span.last.day().0 + 1);
            match joined {
                Some(span) => {
                    span.last = span.last.max(last);
                    span.rows += rows;
                    span.messages += messages;
                }
                None => spans.push(Span { first, last, rows, messages }),
            }
        }
        spans
    }

    fn book_gaps(&self, stream_id: u32) -> Result<Vec<Gap>> {
        let mut gaps: Vec<Gap> = Vec::new();
        for entry in self.segments(stream_id) {
            let open = gaps.last().is_some_and(|gap| gap.until.is_none());
            let wanted = if open { FLAG_GAPS | FLAG_RESETS } else { FLAG_GAPS };
            if entry.flags & wanted == 0 {
                continue;
            }
            let segment = self.open(entry, Kind::Book)?;
            segment_gaps(&segment, &mut gaps)?;
        }
        for batch in self.parts(stream_id).tail().iter().flat_map(|tail| tail.batches()) {
            batch_gaps(batch, &mut gaps);
        }
        Ok(gaps)
    }

    fn status_gaps(&self, instrument: &Instrument) -> Result<Vec<Gap>> {
        let columns = ColumnMask::of(&[0, status::WHAT]);
        let mut scan = self.scan(instrument, Kind::Status, TsNs::MIN..TsNs::MAX, columns)?;
        let mut gaps: Vec<Gap> = Vec::new();
        while let Some(batch) = scan.next_batch()? {
            for (&ts, &what) in batch.ts_recv().iter().zip(batch.u8s(status::WHAT)) {
                let starts = [StatusWhat::Gap, StatusWhat::Disconnected];
                let open = gaps.last_mut().filter(|gap| gap.until.is_none());
                match (open, starts.iter().any(|start| *start as u8 == what)) {
                    (None, true) => {
                        gaps.push(Gap { since: TsNs(ts), until: None, missing: 0 });
                    }
                    (Some(gap), false) if what == StatusWhat::Resync as u8 => {
                        gap.until = Some(TsNs(ts));
                    }
                    _ => {}
                }
            }
        }
        Ok(gaps)
    }
}

fn segment_gaps(segment: &Segment, gaps: &mut Vec<Gap>) -> Result<()> {
    let mask = ColumnMask::of(&[book::TS_RECV, book::ACTION, book::QTY]);
    let mut batch = Batch::new(Kind::Book);
    for (number, entry) in segment.blocks().iter().enumerate() {
        let open = gaps.last().is_some_and(|gap| gap.until.is_none());
        let wanted = if open { FLAG_GAPS | FLAG_RESETS } else { FLAG_GAPS };
        if entry.flags & wanted == 0 {
            continue;
        }
        batch = segment.read(number, 0..u64::MAX, mask, batch)?;
        batch_gaps(&batch, gaps);
    }
    Ok(())
}

fn batch_gaps(batch: &Batch, gaps: &mut Vec<Gap>) {
    let unit = crate::quantity::POW10[usize::from(batch.scale(book::QTY))];
    let rows = batch.u8s(book::ACTION).iter().enumerate();
    for (row, &action) in rows.filter(|(_, action)| **action != Action::Set as u8) {
        let ts = TsNs(batch.ts_recv()[batch.message_of(row)]);
        let open = gaps.last_mut().filter(|gap| gap.until.is_none());
        let missing = || u64::try_from(batch.i64s(book::QTY)[row] / unit).unwrap_or(0);
        match (open, action == Action::Gap as u8) {
            (None, true) => gaps.push(Gap { since: ts, until: None, missing: missing() }),
            (Some(gap), true) => {
                let more = missing();
                let known = gap.missing != 0 && more != 0;
                gap.missing = if known { gap.missing.saturating_add(more) } else { 0 };
            }
            (Some(gap), false) => gap.until = Some(ts),
            (None, false) => {}
        }
    }
}
