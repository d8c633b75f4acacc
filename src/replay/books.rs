//! The book of one instrument at any time.

use crate::book::Tracker;
use crate::error::{Error, Result};
use crate::event::{Batch, Kind};
use crate::quantity::{Instrument, TsNs};
use crate::store::{Part, Snapshot};

impl Snapshot {
    /// The books of an instrument over time.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if the store has no book of it.
    pub fn books(&self, instrument: &Instrument) -> Result<Books> {
        let stream_id = self.stream_id(instrument, Kind::Book)?;
        Ok(Books {
            snapshot: self.clone(),
            stream_id,
            tracker: Tracker::new(),
            place: None,
            scratch: Batch::new(Kind::Book),
        })
    }

    /// The book of an instrument after every message with `ts_recv <= at`.
    ///
    /// # Errors
    /// As [`Snapshot::books`] and [`Books::at`].
    pub fn book_at(&self, instrument: &Instrument, at: TsNs) -> Result<Tracker> {
        let mut books = self.books(instrument)?;
        books.at(at)?;
        Ok(books.tracker)
    }
}

/// Answers "what did the book look like at T?", any number of times, reusing its memory.
#[derive(Debug)]
pub struct Books {
    snapshot: Snapshot,
    stream_id: u32,
    tracker: Tracker,
    /// The part that the tracker's book lies in, and the message it is before.
    place: Option<(usize, Part, u64)>,
    scratch: Batch,
}

impl Books {
    /// The book after every message with `ts_recv <= at`; an empty one before the first.
    ///
    /// Costs O(log n) and at most as many rows as [`Books::replay_rows_max`] says. Where the book
    /// of the call before lies between the checkpoint and `at`, it goes on from that one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with file and offset.
    pub fn at(&mut self, at: TsNs) -> Result<&Tracker> {
        self.seek(at.0.saturating_add(1))
    }

    /// The book after every message with `ts_recv < at`: what a replay from `at` opens with.
    ///
    /// # Errors
    /// As [`Books::at`].
    pub fn before(&mut self, at: TsNs) -> Result<&Tracker> {
        self.seek(at.0)
    }

    fn seek(&mut self, end: i64) -> Result<&Tracker> {
        let begun = self.snapshot.parts(self.stream_id).begun_before(end);
        let Some(index) = begun.checked_sub(1) else {
            self.place = None;
            self.tracker.clear();
            return Ok(&self.tracker);
        };
        let here = self.place.take().filter(|(part, _, _)| *part == index);
        let (part, from) = match here {
            Some((_, part, message)) => (part, Some(message)),
            None => match self.snapshot.open_part(self.stream_id, Kind::Book, index)? {
                Some(part) => (part, None),
                None => return Ok(&self.tracker),
            },
        };
        let message = part.first_message_at(end)?;
        let checkpoint = part.checkpoint_before(message);
        match from.filter(|from| (checkpoint..=message).contains(from)) {
            Some(from) => part.apply(from, message, &mut self.tracker, &mut self.scratch)?,
            None => part.restore(message, &mut self.tracker, &mut self.scratch)?,
        }
        self.place = Some((index, part, message));
        Ok(&self.tracker)
    }

    /// The most rows that any seek in this stream replays.
    #[must_use]
    pub fn replay_rows_max(&self) -> u64 {
        self.snapshot.parts(self.stream_id).replay_rows_max()
    }

    /// The most decimals that prices and quantities of the stream were written with, around the
    /// last answer: for text as wide as the venue's.
    #[must_use]
    pub fn digits(&self) -> (u8, u8) {
        use crate::event::book::{PRICE, QTY};
        self.place.as_ref().map_or((0, 0), |(_, part, _)| {
            let scales = part.scales();
            let digits = |at: usize| scales.get(at).map_or(0, |(_, digits)| *digits);
            (digits(PRICE), digits(QTY))
        })
    }

    /// The books at `from`, `from + every`, ... before `to`, in one forward pass.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if `every_ns` is not above 0.
    pub fn sample(self, from: TsNs, to: TsNs, every_ns: i64) -> Result<Sample> {
        if every_ns <= 0 {
            return Err(Error::invalid(format!("sampling step {every_ns} ns: expected above 0")));
        }
        Ok(Sample { books: self, next: Some(from), to, every_ns })
    }
}

/// Books at regular times.
#[derive(Debug)]
pub struct Sample {
    books: Books,
    next: Option<TsNs>,
    to: TsNs,
    every_ns: i64,
}

impl Sample {
    /// The next time and the book at it; `None` at the end.
    ///
    /// # Errors
    /// As [`Books::at`].
    pub fn next_book(&mut self) -> Result<Option<(TsNs, &Tracker)>> {
        let Some(at) = self.next.filter(|at| *at < self.to) else { return Ok(None) };
        self.next = at.0.checked_add(self.every_ns).map(TsNs);
        Ok(Some((at, self.books.at(at)?)))
    }

    /// How many books are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        let Some(next) = self.next.filter(|next| *next < self.to) else { return 0 };
        let distance = i128::from(self.to.0) - i128::from(next.0);
        let steps = (distance - 1) / i128::from(self.every_ns) + 1;
        u64::try_from(steps).unwrap_or(u64::MAX)
    }
}
