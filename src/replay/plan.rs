//! The order in which the messages of many streams come, planned for many messages at once.
//!
//! Where many streams interleave, a message costs more when the streams' next messages are compared
//! one by one (which of two is first cannot be foreseen) than when all that are known are sorted.

use super::stream::{StreamCursor, Turn};
use crate::limit;

/// Bits of a key that name the stream.
const STREAM_BITS: u32 = 16;
/// How far a plan reaches, so that a time fits the other bits of a key.
const REACH_NS: i64 = 1 << (64 - STREAM_BITS);

/// Messages that a stream adds to a plan on average from which on it is cheaper to merge them, as
/// a stable sort does with what is in order, than to sort them as if they were in none.
const LONG_MESSAGES: usize = 64;

const _: () = assert!(limit::REQUEST_STREAMS_MAX < 1 << STREAM_BITS);

/// The streams of the messages that come next.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Streams and how many of their messages come one after another.
    runs: Vec<(usize, usize)>,
    /// The next run.
    at: usize,
    /// For each message its distance from `base`, then its stream; to be sorted.
    keys: Vec<u64>,
    /// Time of the first message.
    base: i64,
}

impl Plan {
    /// The stream of the next messages and how many there are; `None` if the plan is carried out.
    #[inline]
    pub(super) fn next(&self) -> Option<(usize, usize)> {
        self.runs.get(self.at).copied()
    }

    /// Goes on behind `messages` of the next messages.
    #[inline]
    pub(super) fn pass(&mut self, messages: usize) {
        if let Some((_, left)) = self.runs.get_mut(self.at) {
            *left -= messages;
            self.at += usize::from(*left == 0);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.at = 0;
    }

    /// Plans for the messages that the streams have read, as far as none comes between them that is
    /// not read yet: at least for one, if there is any.
    pub(super) fn make(&mut self, cursors: &[StreamCursor]) {
        self.clear();
        let first = |cursor: &StreamCursor| cursor.times_left().first().copied();
        if cursors.iter().filter_map(first).nth(1).is_some() {
            self.base = cursors.iter().filter_map(first).min().unwrap_or_default();
            self.sort(cursors);
        }
        if self.runs.is_empty() {
            self.runs.extend(run_of_first(cursors));
        }
    }

    fn sort(&mut self, cursors: &[StreamCursor]) {
        let unread = cursors.iter().filter(|cursor| cursor.has_more());
        let last = unread.filter_map(|cursor| cursor.times_left().last()).min();
        let reach = self.base.saturating_add(REACH_NS);
        let end = last.map_or(reach, |last| reach.min(*last));
        self.keys.clear();
        for (stream, cursor) in cursors.iter().enumerate() {
            let times = cursor.times_left().iter().take_while(|time| **time < end);
            let distances = times.map(|time| (time - self.base).cast_unsigned());
            self.keys.extend(distances.map(|distance| distance << STREAM_BITS | stream as u64));
        }
        match self.keys.len() / cursors.len() < LONG_MESSAGES {
            true => self.keys.sort_unstable(),
            false => self.keys.sort(),
        }
        self.order_ties(cursors);
        for stream in self.keys.iter().map(|key| stream_of(*key)) {
            match self.runs.last_mut() {
                Some((last, messages)) if *last == stream => *messages += 1,
                _ => self.runs.push((stream, 1)),
            }
        }
    }

    /// Orders messages of one time by what comes after the time.
    fn order_ties(&mut self, cursors: &[StreamCursor]) {
        let mut start = 0;
        let is_tie =
            |pair: &[u64]| pair[0] != pair[1] && pair[0] >> STREAM_BITS == pair[1] >> STREAM_BITS;
        while let Some(tie) = self.keys[start..].windows(2).position(is_tie) {
            let time = self.time_of(self.keys[start + tie]);
            let same = |key: &u64| self.time_of(*key) == time;
            let before = self.keys[..start + tie].iter().rev().take_while(|key| same(key)).count();
            let after = self.keys[start + tie..].iter().take_while(|key| same(key)).count();
            let group = start + tie - before..start + tie + after;
            start = group.end;
            let mut turns = Vec::with_capacity(group.len());
            for keys in self.keys[group.clone()].chunk_by(|a, b| a == b) {
                turns.extend(turns_at(time, stream_of(keys[0]), keys.len(), cursors));
            }
            turns.sort_unstable();
            for (key, (.., stream)) in self.keys[group].iter_mut().zip(turns) {
                *key = *key >> STREAM_BITS << STREAM_BITS | stream as u64;
            }
        }
    }

    fn time_of(&self, key: u64) -> i64 {
        self.base + (key >> STREAM_BITS).cast_signed()
    }
}

/// The stream of the first message and how many of its messages come before those of all others,
/// also where the next one that is not read may have the same time.
fn run_of_first(cursors: &[StreamCursor]) -> Option<(usize, usize)> {
    let next =
        || cursors.iter().enumerate().filter_map(|(stream, cursor)| cursor.next_turn(stream));
    let first = next().min()?;
    let rival = next().filter(|turn| *turn != first).min();
    let (.., stream) = first;
    let all = cursors[stream].times_left().len();
    Some((stream, rival.map_or(all, |rival| cursors[stream].run_before(stream, rival))))
}

fn stream_of(key: u64) -> usize {
    (key & ((1 << STREAM_BITS) - 1)) as usize
}

/// Where the next `count` messages of a stream at `time` are in the order: none before the one in
/// front of it.
fn turns_at(
    time: i64,
    stream: usize,
    count: usize,
    cursors: &[StreamCursor],
) -> impl Iterator<Item = Turn> {
    let cursor = &cursors[stream];
    let first = cursor.message + cursor.times_left().partition_point(|before| *before < time);
    let mut last = cursor.turn(stream, first);
    (first..first + count).map(move |message| {
        last = last.max(cursor.turn(stream, message));
        last
    })
}
