//! Which books must be made whole again, and when to try. Pure; learns it from the rows stored.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::event::{Action, Batch, Kind, StreamKey, book};
use crate::quantity::Instrument;

/// First wait before another try, and the longest.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The books of one feed.
#[derive(Debug, Default)]
pub(super) struct BookWatch(BTreeMap<Instrument, Watched>);

#[derive(Debug)]
struct Watched {
    state: State,
    /// When to ask for a snapshot; `None` while the book is whole.
    next: Option<Instant>,
    wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Live,
    Stale,
}

/// What rows said about a book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Holes in it.
    pub gaps: u64,
    /// Snapshots that ended a gap.
    pub resyncs: u64,
}

impl BookWatch {
    /// A book that must come; it is asked for after `patience`.
    pub fn expect(&mut self, instrument: &Instrument, now: Instant, patience: Duration) {
        let new = || Watched { state: State::Empty, next: None, wait: RETRY_MIN };
        let watched = self.0.entry(instrument.clone()).or_insert_with(new);
        if watched.state != State::Live {
            watched.next = Some(now + patience);
            watched.wait = RETRY_MIN;
        }
    }

    /// A book that is no longer recorded.
    pub fn forget(&mut self, instrument: &Instrument) {
        self.0.remove(instrument);
    }

    /// Whether rows of the book were stored.
    pub fn has_begun(&self, instrument: &Instrument) -> bool {
        self.0.get(instrument).is_some_and(|watched| watched.state != State::Empty)
    }

    /// How many books there are, and how many are whole.
    pub fn counts(&self) -> (usize, usize) {
        let live = self.0.values().filter(|watched| watched.state == State::Live);
        (self.0.len(), live.count())
    }

    /// Whether the book is whole.
    #[cfg(test)]
    fn is_live(&self, instrument: &Instrument) -> bool {
        self.0.get(instrument).is_some_and(|watched| watched.state == State::Live)
    }

    /// Learns from rows that were stored.
    pub fn note(&mut self, key: &StreamKey, batch: &Batch, now: Instant) -> Told {
        let mut told = Told::default();
        if key.kind != Kind::Book {
            return told;
        }
        let Some(watched) = self.0.get_mut(&key.instrument) else { return told };
        for action in batch.u8s(book::ACTION) {
            if *action == Action::Reset as u8 {
                told.resyncs += u64::from(watched.state == State::Stale);
                watched.state = State::Live;
                watched.next = None;
            } else if *action == Action::Gap as u8 {
                told.gaps += 1;
                if watched.state != State::Stale {
                    watched.next = Some(now);
                    watched.wait = RETRY_MIN;
                }
                watched.state = State::Stale;
            }
        }
        told
    }

    /// Rows of a book were lost on their way into the store. It is asked for, the more seldom the
    /// more often that happens.
    pub fn doubt(&mut self, instrument: &Instrument, now: Instant) {
        let watched = self.0.get_mut(instrument);
        if let Some(watched) = watched.filter(|watched| watched.state != State::Stale) {
            watched.state = State::Stale;
            watched.next = Some(now + watched.wait);
            watched.wait = (watched.wait * 2).min(RETRY_MAX);
        }
    }

    /// The books to ask for now; each is asked for again later if nothing comes.
    pub fn due(&mut self, now: Instant) -> Vec<Instrument> {
        let mut due = Vec::new();
        for (instrument, watched) in &mut self.0 {
            if watched.next.is_some_and(|next| next <= now) {
                watched.next = Some(now + watched.wait);
                watched.wait = (watched.wait * 2).min(RETRY_MAX);
                due.push(instrument.clone());
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchBuilder, MessageHead};

    fn rows(actions: &str) -> Batch {
        let mut builder = BatchBuilder::new(Kind::Book);
        for action in actions.chars() {
            builder.begin(MessageHead::default());
            match action {
                'r' => builder.reset(),
                _ => builder.gap(1),
            }
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }

    #[test]
    fn a_book_is_asked_for_until_it_is_whole() {
        let instrument = Instrument::parse("binance:X").unwrap();
        let key = StreamKey { instrument: instrument.clone(), kind: Kind::Book };
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut books = BookWatch::default();
        books.expect(&instrument, start, Duration::from_secs(5));

        assert!(books.due(at(4)).is_empty());
        let asked: Vec<u64> = (5..100).filter(|&s| !books.due(at(s)).is_empty()).collect();
        assert_eq!(asked, [5, 7, 11, 19, 35, 65, 95]);
        assert_eq!(books.note(&key, &rows("r"), at(100)), Told::default());
        assert!(books.is_live(&instrument) && books.due(at(1000)).is_empty());

        // A gap is asked for at once; another one while waiting changes nothing.
        assert_eq!(books.note(&key, &rows("g"), at(1000)), Told { gaps: 1, resyncs: 0 });
        assert_eq!(books.due(at(1000)), std::slice::from_ref(&instrument));
        assert_eq!(books.note(&key, &rows("g"), at(1001)).gaps, 1);
        assert!(books.due(at(1001)).is_empty());
        assert_eq!(books.note(&key, &rows("rg"), at(1002)), Told { gaps: 1, resyncs: 1 });
        assert_eq!(books.due(at(1002)).len(), 1);
        assert_eq!(books.counts(), (1, 0));

        // What the store refuses again and again is asked for ever more seldom.
        let mut now = 1002;
        let mut waited = Vec::new();
        for _ in 0..4 {
            books.note(&key, &rows("r"), at(now));
            books.doubt(&instrument, at(now));
            books.doubt(&instrument, at(now));
            let due = (now..).find(|&s| !books.due(at(s)).is_empty()).unwrap();
            waited.push(due - now);
            now = due;
        }
        assert_eq!(waited, [4, 16, 30, 30]);
        books.forget(&instrument);
        assert_eq!(books.counts(), (0, 0));
    }
}
