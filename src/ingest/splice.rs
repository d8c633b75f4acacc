//! Books whose snapshot is asked for by REST and spliced into the stream of changes.
//!
//! Messages that come before the snapshot wait for it. The snapshot holds every change up to its
//! number, so messages up to there are left out and the next one must reach over it. From then on
//! each message must continue the one before. Numbers count changes, not messages, so how many
//! messages are missing in a gap is unknown.
//!
//! After a gap, messages are stored and also remembered: the snapshot that heals the book is taken
//! after some of them.

use std::collections::{HashMap, VecDeque};

use super::connection::ConnectionRows;
use super::feed_book::{FeedBook, MessageLevels};
use super::feed_dialect::Context;
use crate::error::Result;
use crate::event::MessageHead;
use crate::quantity::{Instrument, TsNs};

/// Messages of one book that wait for a snapshot: minutes of the busiest market. A snapshot takes
/// seconds.
const WAITING_MAX: usize = 4096;

/// Bytes of messages of one book that wait for a snapshot.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Messages as they came, oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: VecDeque<(TsNs, Box<str>)>,
    bytes: usize,
}

impl Waiting {
    /// Adds the newest message.
    pub fn push(&mut self, ts_recv: TsNs, data: &str) {
        self.bytes += data.len();
        self.messages.push_back((ts_recv, data.into()));
    }

    /// Whether another message would be one too many.
    pub fn is_full(&self) -> bool {
        self.messages.len() >= WAITING_MAX || self.bytes >= WAITING_BYTES_MAX
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<(TsNs, Box<str>)> {
        let (ts_recv, data) = self.messages.pop_front()?;
        self.bytes -= data.len();
        Some((ts_recv, data))
    }

    /// When the oldest message was received.
    pub fn first(&self) -> Option<TsNs> {
        self.messages.front().map(|(ts_recv, _)| *ts_recv)
    }
}

/// A message of changes, or a snapshot, as values.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Number of its first change; `None` in snapshots and where the venue has no chain.
    pub first: Option<i64>,
    /// Number of its last change.
    pub last: i64,
    pub ts_event: Option<TsNs>,
    pub levels: MessageLevels<'a>,
}

/// Reads the text of a message of changes.
pub(super) type ReadChanges = for<'a> fn(&'a str) -> Result<Part<'a>>;

/// The books of one dialect.
#[derive(Debug)]
pub(super) struct SplicedBooks {
    read: ReadChanges,
    /// What the venue calls the number of a message's first change.
    first_name: &'static str,
    splices: HashMap<Instrument, Splice>,
}

#[derive(Debug, Default)]
struct Splice {
    waiting: Waiting,
    /// Nothing was applied since the last snapshot.
    after_snapshot: bool,
    last_event: Option<TsNs>,
}

impl SplicedBooks {
    /// No books yet.
    pub fn new(read: ReadChanges, first_name: &'static str) -> Self {
        Self { read, first_name, splices: HashMap::new() }
    }

    /// Takes a message of changes of an instrument on `channel`; `data` is what `read` reads.
    ///
    /// # Errors
    /// It cannot be read; nothing was stored of it.
    pub fn changes(
        &mut self,
        context: &mut Context<'_>,
        (exchange, symbol): (&'static str, &str),
        channel: &str,
        data: &str,
    ) -> Result<()> {
        let part = (self.read)(data)?;
        let book = context.books.book(exchange, symbol, context.connection)?;
        if !book.takes(channel, context.connection, false, false) {
            return Ok(());
        }
        let (ts_recv, rows) = (context.ts_recv, &mut context.rows);
        let splice = self.splices.entry(book.instrument.clone()).or_default();
        if !book.has_snapshot() {
            if !splice.waiting.is_full() {
                splice.waiting.push(ts_recv, data);
                return Ok(());
            }
            splice.give_up(book, self.read, rows)?;
        }
        splice.apply(book, ts_recv, &part, self.first_name, rows);
        if !book.is_live() {
            while splice.waiting.is_full() {
                splice.waiting.pop();
            }
            splice.waiting.push(ts_recv, data);
        }
        Ok(())
    }

    /// Takes a snapshot, then the messages it has to be followed by. One that came in the stream
    /// on `channel` makes this channel the book. One that is older than a complete book says
    /// nothing new and is left out.
    ///
    /// # Errors
    /// A message that waited cannot be read.
    pub fn snapshot(
        &mut self,
        context: &mut Context<'_>,
        (exchange, symbol): (&'static str, &str),
        channel: Option<&str>,
        snapshot: &Part<'_>,
    ) -> Result<()> {
        let book = context.books.book(exchange, symbol, context.connection)?;
        let replaces = channel.is_some_and(|channel| book.channel != channel);
        if let Some(channel) = channel {
            book.takes(channel, context.connection, true, true);
        }
        if !replaces && book.is_live() && book.seq.is_some_and(|last| snapshot.last <= last) {
            return Ok(());
        }
        let (ts_recv, rows) = (context.ts_recv, &mut context.rows);
        let splice = self.splices.entry(book.instrument.clone()).or_default();
        let head = MessageHead {
            ts_recv,
            ts_event: snapshot.ts_event,
            venue_seq: Some(snapshot.last),
            snapshot: true,
        };
        let unread = book.is_torn();
        book.store(rows, head, &snapshot.levels, &[]);
        if unread {
            let detail = "a message after this snapshot may be one that could not be read";
            book.gap(rows.inner(), (ts_recv, snapshot.ts_event), 0, detail);
        }
        book.seq = Some(snapshot.last);
        splice.after_snapshot = true;
        if replaces {
            splice.waiting = Waiting::default();
        }
        splice.last_event = None;
        for (_, data) in std::mem::take(&mut splice.waiting).messages {
            // The book is known from the snapshot on, so that is when these become known too.
            splice.apply(book, ts_recv, &(self.read)(&data)?, self.first_name, rows);
            if !book.is_live() {
                splice.waiting.push(ts_recv, &data);
            }
        }
        Ok(())
    }

    /// The connection of the context was lost: no snapshot will come for what waits from it.
    ///
    /// # Errors
    /// A message that waited cannot be read.
    pub fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        for book in context.books.of_connection(context.connection) {
            if let Some(splice) = self.splices.get_mut(&book.instrument) {
                splice.give_up(book, self.read, &mut context.rows)?;
            }
        }
        Ok(())
    }

    /// No more snapshots will come.
    ///
    /// # Errors
    /// A message that waited cannot be read.
    pub fn finish(&mut self, context: &mut Context<'_>) -> Result<()> {
        for book in context.books.all() {
            if let Some(splice) = self.splices.get_mut(&book.instrument) {
                splice.give_up(book, self.read, &mut context.rows)?;
            }
        }
        Ok(())
    }
}

impl Splice {
    /// No snapshot will come: what waited is stored after an empty book that is stale.
    fn give_up(
        &mut self,
        book: &mut FeedBook,
        read: ReadChanges,
        rows: &mut ConnectionRows<'_>,
    ) -> Result<()> {
        if book.has_snapshot() {
            return Ok(());
        }
        for (ts_recv, data) in std::mem::take(&mut self.waiting).messages {
            self.store(book, ts_recv, &read(&data)?, rows);
            self.waiting.push(ts_recv, &data);
        }
        Ok(())
    }

    fn apply(
        &mut self,
        book: &mut FeedBook,
        ts_recv: TsNs,
        part: &Part<'_>,
        first_name: &str,
        rows: &mut ConnectionRows<'_>,
    ) {
        if self.is_known(book, part) {
            return;
        }
        if let (Some(last), Some(first)) = (book.seq, part.first) {
            let next = last.saturating_add(1);
            let continues = first == next || (self.after_snapshot && first <= next);
            if !continues {
                let detail = format!("{first_name}: expected {next}, found {first}");
                book.gap(rows.inner(), (ts_recv, part.ts_event), 0, &detail);
            }
        }
        self.store(book, ts_recv, part, rows);
    }

    /// Whether the snapshot or an earlier message held these changes already. Lower numbers with a
    /// later time are a sequence that began anew; numbers that do not chain may repeat.
    fn is_known(&self, book: &FeedBook, part: &Part<'_>) -> bool {
        if part.first.is_none() && !self.after_snapshot {
            return false;
        }
        let held = book.seq.is_some_and(|last| part.last <= last);
        let later = self.last_event.zip(part.ts_event).is_some_and(|(last, time)| time > last);
        held && !later
    }

    fn store(
        &mut self,
        book: &mut FeedBook,
        ts_recv: TsNs,
        part: &Part<'_>,
        rows: &mut ConnectionRows<'_>,
    ) {
        let venue_seq = Some(part.last);
        let head = MessageHead { ts_recv, ts_event: part.ts_event, venue_seq, snapshot: false };
        book.store(rows, head, &part.levels, &[]);
        book.seq = venue_seq;
        self.after_snapshot = false;
        self.last_event = part.ts_event;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_messages_are_bounded_by_their_number_and_their_bytes() {
        let mut waiting = Waiting::default();
        for ts in 0..WAITING_MAX {
            assert!(!waiting.is_full());
            waiting.push(TsNs(i64::try_from(ts).unwrap()), "x");
        }
        assert!(waiting.is_full());
        assert_eq!(waiting.pop(), Some((TsNs(0), "x".into())));
        assert_eq!(waiting.first(), Some(TsNs(1)));
        waiting.push(TsNs(9), &"y".repeat(WAITING_BYTES_MAX));
        waiting.pop();
        assert!(waiting.is_full());
    }
}
