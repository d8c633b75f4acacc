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

const _: () = assert!(limit::REQUEST_STREAMS_MAX < 1 << STREAM_BITS);

/// The streams of the messages that come next.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// For each message its distance from `base`, then its stream.
    keys: Vec<u64>,
    /// The next key.
    at: usize,
    /// Time of the first message.
    base: i64,
}

impl Plan {
    /// The stream of the next message and its time in the order; `None` if the plan is carried out.
    #[inline]
    pub(super) fn next(&self) -> Option<(usize, i64)> {
        let key = *self.keys.get(self.at)?;
        Some((stream_of(key), self.time_of(key)))
    }

    /// How many messages of one stream come next, `messages_max` at most.
    #[inline]
    pub(super) fn run(&self, messages_max: usize) -> usize {
        let keys = self.keys.get(self.at..).unwrap_or_default();
        let stream = keys.first().map(|key| stream_of(*key));
        let same = |key: &&u64| Some(stream_of(**key)) == stream;
        keys.iter().take(messages_max).take_while(same).count()
    }

    /// Goes on behind `messages` messages.
    #[inline]
    pub(super) fn pass(&mut self, messages: usize) {
        self.at += messages;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.at = 0;
    }

    /// Plans for the messages that the streams have read, as far as none comes between them that is
    /// not read yet: at least for one, if there is any.
    pub(super) fn make(&mut self, cursors: &[StreamCursor]) {
        self.clear();
        let first = cursors.iter().filter_map(|cursor| cursor.times_left().first()).min();
        let Some(&base) = first else { return };
        self.base = base;
        let unread = cursors.iter().filter(|cursor| cursor.has_more());
        let last = unread.filter_map(|cursor| cursor.times_left().last()).min();
        let reach = base.saturating_add(REACH_NS);
        let end = last.map_or(reach, |last| reach.min(*last));
        for (stream, cursor) in cursors.iter().enumerate() {
            let times = cursor.times_left().iter().take_while(|time| **time < end);
            self.keys.extend(times.map(|time| key(time - base, stream)));
        }
        self.keys.sort_unstable();
        self.order_ties(cursors);
        if self.keys.is_empty() {
            self.plan_one_run(cursors);
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

    /// Plans for the messages that come before those of all other streams, also where the next one
    /// that is not read may have the same time.
    fn plan_one_run(&mut self, cursors: &[StreamCursor]) {
        let next = cursors.iter().enumerate();
        let mut turns: Vec<Turn> =
            next.filter_map(|(stream, cursor)| cursor.next_turn(stream)).collect();
        turns.sort_unstable();
        let Some(&(.., stream)) = turns.first() else { return };
        let times = cursors[stream].times_left();
        let count =
            turns.get(1).map_or(times.len(), |rival| cursors[stream].run_before(stream, *rival));
        let distances = times[..count].iter().map(|time| time.saturating_sub(self.base));
        let near = distances.take_while(|distance| *distance < REACH_NS);
        self.keys.extend(near.map(|distance| key(distance, stream)));
    }

    fn time_of(&self, key: u64) -> i64 {
        self.base + (key >> STREAM_BITS).cast_signed()
    }
}

fn key(distance: i64, stream: usize) -> u64 {
    distance.cast_unsigned() << STREAM_BITS | stream as u64
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
