//! What a venue will tell, in order: its topics, their messages and the REST replies between them.

mod capture;
mod sample;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use tickreel::Result;
use tickreel::ingest::sample::{Captures, MarketOptions};

use crate::protocol::{Protocol, Read, Role};

/// Number of a topic in a script.
pub type TopicId = usize;

/// Everything a venue will tell, by time.
#[derive(Debug, Default)]
pub struct Script {
    /// Messages by time.
    pub messages: Vec<Message>,
    /// Topics in the order in which they first spoke.
    pub topics: Vec<Topic>,
    /// Symbols as the venue writes them.
    pub symbols: BTreeSet<String>,
    by_name: HashMap<String, TopicId>,
    texts: String,
}

/// One message of one topic.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Since the start of the script.
    pub at_ns: i64,
    /// Whose.
    pub topic: TopicId,
    from: usize,
    until: usize,
}

/// What clients subscribe to.
#[derive(Debug)]
pub struct Topic {
    /// As the protocol names it.
    pub name: String,
    /// What it is about; empty if about nothing in particular.
    pub symbol: String,
    /// What its messages are to each other.
    pub role: Role,
    /// Its messages and REST replies, by time.
    pub events: Vec<Event>,
}

/// Something of one topic.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message.
    Message {
        /// Index in [`Script::messages`].
        index: usize,
        /// Whether it is a whole book.
        is_whole: bool,
    },
    /// A snapshot that was had over REST.
    Reply {
        /// Since the start of the script.
        at_ns: i64,
        /// Messages of all topics before it.
        index: usize,
        /// As the venue wrote it.
        body: String,
    },
}

impl Event {
    /// Messages of all topics before it.
    #[must_use]
    pub fn index(&self) -> usize {
        match self {
            Self::Message { index, .. } | Self::Reply { index, .. } => *index,
        }
    }
}

impl Script {
    /// Reads capture files of one venue, played together by their times.
    ///
    /// # Errors
    /// A file cannot be read, or a line of it.
    pub fn of_captures(protocol: &dyn Protocol, paths: &[PathBuf]) -> Result<Self> {
        let mut lines = Vec::new();
        for path in paths {
            capture::read_file(protocol, path, &mut lines)?;
        }
        Ok(Self::of_lines(lines))
    }

    /// Makes the markets of `options` that have the form of this venue; the captures say what a
    /// store must hold afterwards.
    ///
    /// # Errors
    /// As [`tickreel::ingest::sample::write_captures`].
    pub fn of_sample(protocol: &dyn Protocol, options: &MarketOptions) -> Result<(Self, Captures)> {
        let (lines, captures) = sample::make(protocol, options)?;
        Ok((Self::of_lines(lines), captures))
    }

    /// A script of what was read, with its times in ns; the first of them becomes 0.
    #[must_use]
    pub fn of_lines(mut lines: Vec<(i64, Read)>) -> Self {
        lines.sort_by_key(|(ts_ns, _)| *ts_ns);
        let start_ns = lines.first().map_or(0, |(ts_ns, _)| *ts_ns);
        let mut script = Self::default();
        for (ts_ns, read) in lines {
            script.add(ts_ns - start_ns, read);
        }
        script
    }

    fn add(&mut self, at_ns: i64, read: Read) {
        let topic = self.topic_or_new(&read);
        let index = self.messages.len();
        let event = match read {
            Read::Message { text, is_whole, .. } => {
                let from = self.texts.len();
                self.texts.push_str(&text);
                self.messages.push(Message { at_ns, topic, from, until: self.texts.len() });
                Event::Message { index, is_whole }
            }
            Read::Reply { body, .. } => Event::Reply { at_ns, index, body },
        };
        self.topics[topic].events.push(event);
    }

    fn topic_or_new(&mut self, read: &Read) -> TopicId {
        let (name, symbol, role) = match read {
            Read::Message { topic, symbol, role, .. } => (topic, symbol, *role),
            Read::Reply { topic, symbol, .. } => (topic, symbol, Role::Book),
        };
        if let Some(topic) = self.by_name.get(name) {
            return *topic;
        }
        if !symbol.is_empty() {
            self.symbols.insert(symbol.clone());
        }
        let topic = self.topics.len();
        self.by_name.insert(name.clone(), topic);
        let (name, symbol) = (name.clone(), symbol.clone());
        self.topics.push(Topic { name, symbol, role, events: Vec::new() });
        topic
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    /// The text of a message.
    #[must_use]
    pub fn text(&self, message: &Message) -> &str {
        &self.texts[message.from..message.until]
    }

    /// The texts of a topic's messages, in order.
    pub fn texts_of(&self, topic: &str) -> impl Iterator<Item = &str> {
        let events = self.topic(topic).map_or(&[][..], |topic| &self.topics[topic].events);
        events.iter().filter_map(|event| match event {
            Event::Message { index, .. } => Some(self.text(&self.messages[*index])),
            Event::Reply { .. } => None,
        })
    }

    /// How long it takes at recorded speed, in ns.
    #[must_use]
    pub fn duration_ns(&self) -> i64 {
        self.messages.last().map_or(0, |message| message.at_ns)
    }
}
