//! The script moves on: messages go to who subscribed.

use std::borrow::Cow;
use std::sync::Arc;

use super::Market;
use crate::fault::Spoil;
use crate::frame;
use crate::json;
use crate::outbox::Outbox;
use crate::protocol::Role;
use crate::script::{Event, TopicId};

/// What the playing waits for.
pub(crate) enum Next {
    /// Nothing.
    More,
    /// This time of the script, in ns.
    At(i64),
    /// A client that reads slowly.
    Room(Arc<Outbox>),
    /// Nothing is left.
    Done,
}

impl Market {
    /// Plays at most `count` messages up to the time `now_ns` of the script.
    pub fn play(&mut self, now_ns: i64, count: usize) -> Next {
        for _ in 0..count {
            let Some(message) = self.script.messages.get(self.next).copied() else {
                if self.laps_left == 0 || self.script.messages.is_empty() {
                    return Next::Done;
                }
                self.begin_lap();
                continue;
            };
            let at_ns = self.lap_ns + message.at_ns;
            if at_ns > now_ns {
                return Next::At(at_ns);
            }
            self.played_ns = message.at_ns;
            self.next += 1;
            if self.spoils.are_due() {
                self.play_spoiled(self.next - 1, message.topic);
            } else {
                self.send(self.next - 1, None);
            }
        }
        let full = self.links.values().find(|link| link.outbox.is_full());
        full.map_or(Next::More, |link| Next::Room(link.outbox.clone()))
    }

    /// Sends a message, or another text in its place, to everybody who subscribed to its topic.
    fn send(&mut self, index: usize, instead: Option<&str>) {
        let message = self.script.messages[index];
        if self.subscribers[message.topic].is_empty() {
            return;
        }
        let offset = self.offset(message.topic);
        let Self { protocol, script, links, subscribers, counters, spoils, .. } = self;
        let text = instead.unwrap_or_else(|| script.text(&message));
        let text = match offset {
            0 => Cow::Borrowed(text),
            _ => Cow::Owned(json::shift_numbers(text, protocol.sequence_keys(), offset)),
        };
        let name = &script.topics[message.topic].name;
        for subscriber in subscribers[message.topic].iter().filter(|one| one.from <= index) {
            let Some(link) = links.get_mut(&subscriber.link) else { continue };
            if spoils.skips(subscriber.link, message.topic) {
                *counters.faults.entry("skip").or_default() += 1;
                continue;
            }
            let own = protocol.deliver(&mut link.session, name, &text);
            let text = own.as_deref().unwrap_or(&text);
            link.outbox.push(|out| frame::push(out, frame::TEXT, text.as_bytes()));
            counters.messages += 1;
        }
    }

    /// As [`Market::send`], with what was commanded for its topic.
    fn play_spoiled(&mut self, index: usize, topic: TopicId) {
        let held = self.spoils.take_held(topic);
        let spoil = self.spoils.next(topic);
        let text = self.script.text(&self.script.messages[index]);
        let (name, spoiled) = match spoil {
            None => ("", None),
            Some(Spoil::Drop) => ("drop", None),
            Some(Spoil::Double) => ("double", None),
            Some(Spoil::Swap) => ("swap", None),
            Some(Spoil::Checksum) => {
                let key = self.protocol.checksum_key();
                ("checksum", key.and_then(|key| json::spoil_number(text, key)))
            }
            Some(Spoil::Price) => ("price", json::spoil_price(text)),
        };
        match spoil {
            Some(Spoil::Drop) => {}
            Some(Spoil::Swap) => self.spoils.hold(topic, index),
            Some(how @ (Spoil::Checksum | Spoil::Price)) if spoiled.is_none() => {
                // This message has none; the next may have.
                self.spoils.put_back(topic, how);
                self.send(index, None);
            }
            Some(Spoil::Checksum | Spoil::Price) => self.send(index, spoiled.as_deref()),
            Some(Spoil::Double) => {
                self.send(index, None);
                self.send(index, None);
            }
            None => self.send(index, None),
        }
        if let Some(held) = held {
            self.send(held, None);
        }
        if spoil.is_some() && (spoiled.is_some() || !matches!(name, "checksum" | "price")) {
            self.note_spoiled(topic, name);
        }
    }

    fn note_spoiled(&mut self, topic: TopicId, name: &'static str) {
        *self.counters.faults.entry(name).or_default() += 1;
        self.counters.spoiled.push((self.script.topics[topic].name.clone(), name));
    }

    /// What to subtract from the sequence numbers of a topic.
    pub(super) fn offset(&self, topic: TopicId) -> i64 {
        if self.offsets.is_empty() {
            return 0;
        }
        let about = &self.script.topics[topic];
        if about.role == Role::Events {
            return 0;
        }
        self.offsets.get(&about.symbol).copied().unwrap_or(0)
    }

    /// Plays the script once more; sequences of books whose snapshot is had over REST go on where
    /// they were, all others begin with a snapshot of their own.
    fn begin_lap(&mut self) {
        self.laps_left -= 1;
        if self.lap_ns == 0 {
            self.chains = (0..self.script.topics.len()).map(|topic| self.chain(topic)).collect();
        }
        self.lap_ns += self.played_ns + 1_000_000;
        for (topic, chain) in self.chains.iter().enumerate() {
            if let Some((before, last)) = chain {
                let symbol = self.script.topics[topic].symbol.clone();
                *self.offsets.entry(symbol).or_default() -= last - before;
            }
            self.books.begin_lap(topic, chain.map(|(before, _)| before));
        }
        self.next = 0;
        self.played_ns = 0;
        for subscriber in self.subscribers.iter_mut().flatten() {
            subscriber.from = 0;
        }
    }

    /// The number that a topic's first change follows and that of its last; `None` if every lap
    /// begins with a snapshot.
    fn chain(&mut self, topic: TopicId) -> Option<(i64, i64)> {
        let about = &self.script.topics[topic];
        if about.role != Role::SplicedBook {
            return None;
        }
        let first = about.events.iter().find_map(|event| match event {
            Event::Message { index, .. } => Some(*index),
            Event::Reply { .. } => None,
        })?;
        let before = self.protocol.before(self.script.text(&self.script.messages[first]))?;
        let last = self.books.at(&*self.protocol, &self.script, topic, self.next).seq;
        Some((before, last))
    }
}
