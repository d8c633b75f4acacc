//! What one copy has heard of a stream, and where that stands among what was stored.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::book::{State, Tracker};
use crate::event::{Batch, Kind, Value, trades};
use crate::quantity::NULL;

/// Messages, bytes and receive time of one stream that are held for one copy: what a connection
/// hears while another is on its way to be found dead, several times over.
const HELD_MAX: usize = 2048;
const HELD_BYTES_MAX: usize = 4 << 20;
const HELD_NS_MAX: i64 = 10_000_000_000;

/// Messages that are compared to find a place by content.
const CONTEXT: usize = 4;
/// How many of them must agree if none tells when it happened: such messages repeat.
const CONTEXT_MIN: usize = 3;

/// Where a message stands: the venue's sequence and how many of that number came before it, or
/// without a sequence the count of stored messages.
pub(super) type Position = (i64, u32);

/// A message as a line in the order of its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub seq: Option<i64>,
    /// A hash of all it says but the receive time.
    pub content: u64,
    /// Whether the content holds something that does not come again: a time, an id.
    pub tells: bool,
}

impl Identity {
    /// Of message `at` of `batch`; the content is left out where the sequence is enough.
    pub fn of(batch: &Batch, at: usize, seq_column: Option<usize>, by_seq: bool) -> Self {
        let seq = seq_column.and_then(|column| batch.i64s(column).get(at)).copied();
        let is_print = matches!(batch.kind(), Kind::Trades | Kind::Liquidations);
        let id = Value::Text(b"");
        let tells = batch.i64s(1).get(at).is_some_and(|ts_event| *ts_event != NULL)
            || (is_print && batch.value(at, at, trades::TRADE_ID) != id);
        let content = if by_seq { 0 } else { content(batch, at) };
        Self { seq: seq.filter(|seq| *seq != NULL), content, tells }
    }
}

/// A hash of all that a message says but its receive time.
fn content(batch: &Batch, at: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    for row in batch.message_rows(at) {
        for column in 1..batch.schema().columns.len() {
            match batch.value(at, row, column) {
                Value::Null => hasher.write_u8(0),
                Value::Time(ts) => hasher.write_i64(ts.0),
                Value::Int(value) => hasher.write_i64(value),
                Value::Decimal(value) => value.hash(&mut hasher),
                Value::Code(name) => name.hash(&mut hasher),
                Value::Flags(flags) => hasher.write_u8(flags),
                Value::Text(bytes) => bytes.hash(&mut hasher),
            }
        }
    }
    hasher.finish()
}

/// The last messages by their content, newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Context(VecDeque<u64>);

impl Context {
    pub fn push(&mut self, content: u64) {
        if self.0.len() >= CONTEXT {
            self.0.pop_front();
        }
        self.0.push_back(content);
    }

    /// Where the newest message stands among `others`: the place where most of those before it
    /// agree too, if there is only one such place.
    pub fn find(&self, others: &VecDeque<u64>, tells: bool) -> Option<usize> {
        let newest = self.0.back()?;
        let mut best = (0, None);
        for (at, _) in others.iter().enumerate().filter(|(_, content)| *content == newest) {
            let before = others.range(..=at).rev().zip(self.0.iter().rev());
            let agree = before.take_while(|(a, b)| a == b).count();
            if agree >= best.0 {
                best = (agree, (agree > best.0).then_some(at));
            }
        }
        best.1.filter(|_| tells || best.0 >= CONTEXT_MIN)
    }
}

/// A message that was heard and not stored.
#[derive(Debug)]
pub(super) struct Held {
    pub batch: Arc<Batch>,
    pub at: usize,
    pub identity: Identity,
    /// By the venue's sequence; else it follows from what was held before.
    pub position: Option<Position>,
}

impl Held {
    pub fn ts_recv(&self) -> i64 {
        self.batch.ts_recv().get(self.at).copied().unwrap_or(i64::MIN)
    }

    fn bytes(&self) -> usize {
        self.batch.message_bytes(self.at)
    }
}

/// One copy of a stream.
#[derive(Debug, Default)]
pub(super) struct Twin {
    /// Nothing is missing since its last reset (a book) or since it was connected.
    pub whole: bool,
    /// Its last message; `None` where that is not known.
    pub position: Option<Position>,
    /// From here to `position` nothing is missing.
    pub base: Option<Position>,
    /// When it was heard last.
    pub heard: i64,
    /// What it says the book is; of books only.
    book: Tracker,
    context: Context,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Where it stood when its place was lost.
    left_at: Option<Position>,
    /// What it heard and the active copy, which went on, did not say.
    strays: Vec<Held>,
}

impl Twin {
    /// Keeps the book as this copy says it is.
    pub fn apply(&mut self, batch: &Batch, at: usize) {
        if self.book.apply(batch, at..at + 1).is_err() {
            // Values of scales that do not fit together: unknown until the next reset.
            self.book.clear();
        }
    }

    /// The book of this copy, if it is whole.
    pub fn book(&self) -> Option<&Tracker> {
        (self.whole && self.book.state() == State::Live).then_some(&self.book)
    }

    /// It is whole from its next message on; what it had before is history.
    pub fn begin(&mut self) {
        self.whole = true;
        self.context = Context::default();
        self.misplace();
        self.left_at = None;
        self.drop_held();
    }

    /// It is not known where it stands.
    pub fn misplace(&mut self) {
        self.left_at = self.position.or(self.left_at);
        (self.position, self.base) = (None, None);
    }

    /// It begins a sequence at `position`.
    pub fn restart(&mut self, position: Position) {
        (self.position, self.base) = (Some(position), Some(position));
        self.left_at = None;
        self.drop_held();
    }

    /// By content: its last message is the stored one at `position`. What it holds and had no
    /// place for is astray, if it had one before, since when all that was stored is in `log`.
    pub fn find_place(&mut self, position: Position, last: Position, log: usize) {
        let covered = |at: Position| last.0.saturating_sub(at.0) < log as i64;
        if self.left_at.is_some_and(covered) {
            let held = self.held.len();
            self.set_astray(held);
        }
        self.restart(position);
    }

    /// The first `count` messages held are astray.
    fn set_astray(&mut self, count: usize) {
        for _ in 0..count {
            let stray = self.take_held();
            self.strays.extend(stray);
        }
    }

    pub fn take_strays(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.strays)
    }

    /// A message was stored after `last` that the venue said earlier: who stood there or further
    /// on still does.
    pub fn shift(&mut self, last: Position) {
        self.position = self.position.map(|at| if at >= last { (at.0 + 1, at.1) } else { at });
    }

    pub fn drop_held(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Where the next message stands by the venue's sequence; whether that is back behind the last.
    pub fn next_by_seq(&self, seq: Option<i64>) -> (Position, bool) {
        let next = match (seq, self.position) {
            (Some(seq), Some((last, count))) if seq == last => (seq, count.saturating_add(1)),
            (Some(seq), _) => (seq, 0),
            (None, Some((last, count))) => (last, count.saturating_add(1)),
            (None, None) => (i64::MIN, 0),
        };
        (next, self.position.is_some_and(|last| next < last))
    }

    /// Notes a message of this content, and looks for it among the stored ones.
    pub fn find_in(&self, log: &VecDeque<u64>, tells: bool) -> Option<usize> {
        self.context.find(log, tells)
    }

    pub fn note(&mut self, content: u64) {
        self.context.push(content);
    }

    /// Whether it goes on where `last` ends: it has what comes after it, or will have.
    pub fn continues(&self, last: Option<Position>) -> bool {
        last.is_none() || self.base.is_some_and(|base| Some(base) <= last)
    }

    /// A message of it was stored as the last.
    pub fn stored(&mut self, last: Position) {
        if !self.continues(Some(last)) {
            self.base = Some(last);
        }
        self.position = self.position.max(Some(last));
    }

    pub fn first_held(&self) -> Option<&Held> {
        self.held.front()
    }

    pub fn take_held(&mut self) -> Option<Held> {
        let held = self.held.pop_front()?;
        self.held_bytes = self.held_bytes.saturating_sub(held.bytes());
        Some(held)
    }

    /// Holds a message.
    pub fn hold(&mut self, held: Held) {
        self.held_bytes += held.bytes();
        self.held.push_back(held);
        while self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            self.drop_first();
        }
    }

    /// Drops what was held for too long.
    pub fn trim(&mut self, now: i64) {
        let is_old = |held: &Held| held.ts_recv().saturating_add(HELD_NS_MAX) < now;
        while self.held.front().is_some_and(is_old) {
            self.drop_first();
        }
    }

    /// Drops the first message held: from there on something is missing.
    fn drop_first(&mut self) {
        match self.take_held().map(|dropped| dropped.position) {
            Some(None) => self.misplace(),
            Some(position) => self.base = position,
            None => {}
        }
    }

    /// By sequence: another copy stored what it had up to `last`, and left out what is astray.
    pub fn pass_seq(&mut self, last: Position) {
        while self.first_held().is_some_and(|held| held.position <= Some(last)) {
            let passed = self.take_held();
            self.strays.extend(passed.filter(|held| held.position < Some(last)));
        }
    }

    /// By content: the message `stored` at `last` was stored by another copy; `log` are the stored
    /// ones up to it, of which `log` are remembered.
    pub fn pass_content(&mut self, last: Position, stored: Identity, recent: &Context, log: usize) {
        let Some(first) = self.first_held() else { return };
        if self.position.is_some() {
            if first.identity.content == stored.content {
                self.take_held();
                return;
            }
            self.misplace();
        }
        let contents = self.held.iter().map(|held| held.identity.content).collect();
        let Some(at) = recent.find(&contents, stored.tells) else { return };
        if self.left_at.take().is_some_and(|left| last.0.saturating_sub(left.0) < log as i64) {
            self.set_astray(at);
            self.take_held();
        } else {
            (0..=at).for_each(|_| drop(self.take_held()));
        }
        self.base = Some(last);
        self.position = Some((last.0 + self.held.len() as i64, 0));
    }
}
