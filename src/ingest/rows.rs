//! Rows that a feed has made and nobody has stored yet, by stream.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::event::{Batch, BatchBuilder, Kind, MessageHead, StatusRow, StatusWhat, StreamKey};
use crate::quantity::{Instrument, TsNs};

/// An input line or message that could not become rows.
#[derive(Debug)]
pub struct Reject {
    /// Line in the input file, from 1.
    pub line: u64,
    /// Why.
    pub error: Error,
    /// The line as it was, for the reject file.
    pub text: Vec<u8>,
}

/// Pending rows by stream, and what was refused.
#[derive(Debug, Default)]
pub struct Rows {
    index: HashMap<StreamKey, usize>,
    streams: Vec<Pending>,
    rejects: Vec<Reject>,
    stepped_back: u64,
    /// The stream that [`Rows::stream_at`] gave last, since it was asked for.
    touched: Option<usize>,
}

/// Where [`Rows::stream_at`] found a stream last. Start with the default; a hint that no longer
/// holds costs time, never an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamHint(usize);

#[derive(Debug)]
struct Pending {
    key: StreamKey,
    builder: BatchBuilder,
    last: TsNs,
}

impl Rows {
    /// No rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The builder of a stream, and `ts_recv` as it may be stored there: never before the stream's
    /// last row. A capture clock that stepped back is counted in [`Rows::stepped_back`].
    pub fn stream(
        &mut self,
        instrument: &Instrument,
        kind: Kind,
        ts_recv: TsNs,
    ) -> (&mut BatchBuilder, TsNs) {
        self.stream_at(&mut StreamHint(usize::MAX), instrument, kind, ts_recv)
    }

    /// As [`Rows::stream`], without a look-up while `hint` comes from the same stream.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "the hint is inside, or `place` has just set it")]
    pub fn stream_at(
        &mut self,
        hint: &mut StreamHint,
        instrument: &Instrument,
        kind: Kind,
        ts_recv: TsNs,
    ) -> (&mut BatchBuilder, TsNs) {
        let holds = self.streams.get(hint.0).is_some_and(|pending| {
            pending.key.kind == kind && pending.key.instrument == *instrument
        });
        if !holds {
            hint.0 = self.place(instrument, kind);
        }
        self.touched = Some(hint.0);
        let pending = &mut self.streams[hint.0];
        if ts_recv < pending.last {
            self.stepped_back += 1;
        } else {
            pending.last = ts_recv;
        }
        (&mut pending.builder, pending.last)
    }

    /// Place of a stream in `streams`, at the end if it is new.
    fn place(&mut self, instrument: &Instrument, kind: Kind) -> usize {
        let key = StreamKey { instrument: instrument.clone(), kind };
        let streams = &mut self.streams;
        *self.index.entry(key).or_insert_with_key(|key| {
            let builder = BatchBuilder::new(kind);
            streams.push(Pending { key: key.clone(), builder, last: TsNs::MIN });
            streams.len() - 1
        })
    }

    /// Adds a fact about the connection or stream of `instrument`.
    pub fn status(
        &mut self,
        instrument: &Instrument,
        ts_recv: TsNs,
        ts_event: Option<TsNs>,
        what: StatusWhat,
        detail: &str,
    ) {
        let (builder, ts_recv) = self.stream(instrument, Kind::Status, ts_recv);
        builder.status(&StatusRow { ts_recv, ts_event, what, detail });
    }

    /// Notes that `missing` book messages (0 if unknown) are missing before what comes next: a gap
    /// row in the book and a `status` row with `detail`.
    pub fn gap(
        &mut self,
        instrument: &Instrument,
        ts_recv: TsNs,
        ts_event: Option<TsNs>,
        missing: u64,
        detail: &str,
    ) {
        self.status(instrument, ts_recv, ts_event, StatusWhat::Gap, detail);
        let (builder, ts_recv) = self.stream(instrument, Kind::Book, ts_recv);
        builder.begin(MessageHead { ts_recv, ts_event, venue_seq: None, snapshot: false });
        builder.gap(missing);
        builder.end();
    }

    /// Receive time of the last row ever added to a stream.
    #[must_use]
    pub fn last_ts_recv(&self, key: &StreamKey) -> Option<TsNs> {
        self.index.get(key).and_then(|&at| self.streams.get(at)).map(|pending| pending.last)
    }

    /// The number of the stream that was filled last since this was asked.
    pub(crate) fn take_touched(&mut self) -> Option<usize> {
        self.touched.take()
    }

    /// The stream of this number.
    pub(crate) fn stream_key(&self, number: usize) -> Option<&StreamKey> {
        self.streams.get(number).map(|pending| &pending.key)
    }

    /// Notes an input line that could not become rows.
    pub fn reject(&mut self, reject: Reject) {
        self.rejects.push(reject);
    }

    /// Takes the refused lines so far.
    pub fn take_rejects(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejects)
    }

    /// How many messages came with a receive time before their stream's last row.
    #[must_use]
    pub fn stepped_back(&self) -> u64 {
        self.stepped_back
    }

    /// Rows pending over all streams.
    #[must_use]
    pub fn pending_rows(&self) -> usize {
        self.streams.iter().map(|pending| pending.builder.rows()).sum()
    }

    /// Takes all pending rows, streams in order of their names.
    ///
    /// # Errors
    /// As [`BatchBuilder::finish`].
    pub fn take(&mut self) -> Result<Vec<(StreamKey, Batch)>> {
        let each = self.take_each().into_iter();
        each.map(|(key, batch)| batch.map(|batch| (key, batch))).collect()
    }

    /// As [`Rows::take`], but rows of one stream that cannot be taken, and are lost, leave the
    /// other streams alone.
    pub fn take_each(&mut self) -> Vec<(StreamKey, Result<Batch>)> {
        let mut taken = Vec::new();
        for Pending { key, builder, .. } in &mut self.streams {
            match builder.finish() {
                Ok(batches) => {
                    taken.extend(batches.into_iter().map(|batch| (key.clone(), Ok(batch))));
                }
                Err(error) => taken.push((key.clone(), Err(error))),
            }
        }
        taken.sort_by(|a, b| a.0.cmp(&b.0));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Action, Value, book, status};

    #[test]
    fn a_hint_of_another_stream_is_looked_up_again() {
        let [one, two] = ["binance:X", "binance:Y"].map(|name| Instrument::parse(name).unwrap());
        let mut rows = Rows::new();
        let mut hint = StreamHint::default();
        for (instrument, kind) in
            [(&one, Kind::Book), (&one, Kind::Status), (&two, Kind::Book), (&one, Kind::Book)]
        {
            let (builder, _) = rows.stream_at(&mut hint, instrument, kind, TsNs(1));
            assert_eq!(builder.kind(), kind);
            if kind == Kind::Book {
                builder.begin(MessageHead { ts_recv: TsNs(1), ..MessageHead::default() });
                builder.reset();
                builder.end();
            }
        }

        let counts: Vec<_> = rows
            .take()
            .unwrap()
            .iter()
            .map(|(key, batch)| (key.instrument.to_string(), batch.rows()))
            .collect();
        assert_eq!(counts, [("binance:X".to_owned(), 2), ("binance:Y".to_owned(), 1)]);
    }

    #[test]
    fn a_clock_that_steps_back_is_held_and_counted() {
        let instrument = Instrument::parse("binance:X").unwrap();
        let mut rows = Rows::new();
        for ts in [5, 3, 7] {
            let (builder, ts_recv) = rows.stream(&instrument, Kind::Book, TsNs(ts));
            builder.begin(MessageHead { ts_recv, ..MessageHead::default() });
            builder.reset();
            builder.end();
        }

        assert_eq!((rows.pending_rows(), rows.stepped_back()), (3, 1));
        let taken = rows.take().unwrap();
        assert_eq!(taken[0].1.ts_recv(), [5, 5, 7]);
        assert_eq!(rows.pending_rows(), 0);
        let key = StreamKey { instrument, kind: Kind::Book };
        assert_eq!(rows.last_ts_recv(&key), Some(TsNs(7)));
    }

    #[test]
    fn a_gap_is_a_row_of_the_book_and_a_status_row() {
        let instrument = Instrument::parse("binance:X").unwrap();
        let mut rows = Rows::new();

        rows.gap(&instrument, TsNs(5), Some(TsNs(4)), 3, "expected 7, found 10");

        let taken = rows.take().unwrap();
        let (book_rows, status_rows) = (&taken[0].1, &taken[1].1);
        assert_eq!(book_rows.u8s(book::ACTION), [Action::Gap as u8]);
        assert_eq!(book_rows.i64s(book::QTY), [3]);
        assert_eq!(status_rows.value(0, 0, status::WHAT), Value::Code("gap"));
        assert_eq!(status_rows.value(0, 0, status::DETAIL), Value::Text(b"expected 7, found 10"));
    }
}
