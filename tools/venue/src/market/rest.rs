//! REST requests.

use std::time::{Duration, Instant};

use super::{Market, WINDOW_NS};
use crate::book::{Book, Side};
use crate::json;
use crate::protocol::{Answer, Request};
use crate::script::{Event, TopicId};

impl Market {
    /// Notes a request; the status that was commanded for it, if any.
    pub fn asked(&mut self, request: &Request) -> Option<(u16, String)> {
        *self.counters.requests.entry(request.path.clone()).or_default() += 1;
        if let Some((status, at)) = self.refused.take() {
            let after = self.counters.retried_after.entry(status).or_insert(Duration::MAX);
            *after = at.elapsed().min(*after);
        }
        let status = self.statuses.pop_front()?;
        self.refused = Some((status, Instant::now()));
        *self.counters.faults.entry("status").or_default() += 1;
        *self.counters.statuses.entry(status).or_default() += 1;
        Some((status, self.protocol.refusal(status)))
    }

    /// The answer to a request; `None` as long as the script has not come to it.
    pub fn rest(&mut self, request: &Request) -> Option<(u16, String)> {
        let (status, body) = match self.protocol.rest(request, &self.script) {
            Answer::Body(status, body) => (status, body),
            Answer::Snapshot(topic, levels) => {
                let topic = self.script.topic(&topic);
                (200, topic.map_or(Some(String::new()), |topic| self.snapshot(topic, levels))?)
            }
        };
        *self.counters.statuses.entry(status).or_default() += 1;
        Some((status, body))
    }

    /// A snapshot as it was captured, if the script has one that fits; else of the book now.
    fn snapshot(&mut self, topic: TopicId, levels: usize) -> Option<String> {
        let offset = self.offset(topic);
        if let Some((at, index)) = self.captured(topic) {
            if !self.started || index > self.next {
                return None;
            }
            self.replies_used.insert(topic, at + 1);
            let Event::Reply { body, .. } = &self.script.topics[topic].events[at] else {
                return None;
            };
            let mut book = Book::default();
            self.protocol.fold_reply(&mut book, body);
            let sides = [Side::Bid, Side::Ask];
            if sides.into_iter().any(|side| book.levels(side).count() > levels) {
                let name = &self.script.topics[topic].name;
                let body = self.protocol.snapshot(name, &book, levels);
                return Some(self.shifted(&body, offset));
            }
            return Some(self.shifted(body, offset));
        }
        let name = self.script.topics[topic].name.clone();
        let is_over = self.next == self.script.messages.len();
        let book = self.books.at(&*self.protocol, &self.script, topic, self.next);
        if !book.is_whole && !is_over {
            return None;
        }
        let body = self.protocol.snapshot(&name, book, levels);
        Some(self.shifted(&body, offset))
    }

    /// The next reply in the script that nobody had: it must not be older than the last
    /// subscription, nor far ahead. Its place in the topic's events, and the messages before it.
    fn captured(&self, topic: TopicId) -> Option<(usize, usize)> {
        let wanted_ns = *self.wanted.get(&topic)?;
        if self.lap_ns > 0 {
            return None;
        }
        let used = self.replies_used.get(&topic).copied().unwrap_or(0);
        let events = self.script.topics[topic].events.iter().enumerate().skip(used);
        for (place, event) in events {
            if let Event::Reply { at_ns, index, .. } = event
                && *at_ns >= wanted_ns
            {
                return (*at_ns <= self.played_ns + WINDOW_NS).then_some((place, *index));
            }
        }
        None
    }

    /// The text with the sequence numbers that clients see.
    pub(super) fn shifted(&self, text: &str, offset: i64) -> String {
        match offset {
            0 => text.to_owned(),
            _ => json::shift_numbers(text, self.protocol.sequence_keys(), offset),
        }
    }
}
