//! What a venue does wrong on command.

use std::collections::{HashMap, VecDeque};
use std::str::FromStr;

use crate::script::TopicId;

/// Something that a venue does wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next messages of a topic do so.
    Spoil {
        /// Its name, see [`crate::Venue::topics`].
        topic: String,
        /// How.
        how: Spoil,
        /// How many messages.
        count: usize,
    },
    /// Nothing is sent on any connection, until it is taken back.
    Stall(bool),
    /// Pings and heartbeats are not answered, until it is taken back.
    Deaf(bool),
    /// Connections are refused, until it is taken back.
    Refuse(bool),
    /// Every connection gets half a frame and is closed.
    HalfFrame,
    /// Every connection gets a text that is no JSON.
    Garbage,
    /// Every connection gets a binary message of random bytes.
    Binary,
    /// Every connection gets a text of so many bytes.
    Large(usize),
    /// Every connection is closed with this code.
    Close(u16),
    /// Every connection is reset.
    Reset,
    /// One connection is reset, by its number in [`crate::Counters::connections`].
    ResetOne(usize),
    /// The next messages of a topic are not sent on one connection; others get them.
    Skip {
        /// Its number in [`crate::Counters::connections`].
        connection: usize,
        /// Its name, see [`crate::Venue::topics`].
        topic: String,
        /// How many messages.
        count: usize,
    },
    /// The next REST requests are answered with this status.
    Status {
        /// 429, 418 or 500.
        status: u16,
        /// How many requests.
        count: usize,
    },
    /// Every connection is closed; the sequences begin again with 1.
    Restart,
    /// A symbol is traded from now on, or no longer.
    List {
        /// As the venue writes it.
        symbol: String,
        /// Whether it is.
        on: bool,
    },
}

/// How a message of a topic is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spoil {
    /// It is not sent.
    Drop,
    /// It is sent twice.
    Double,
    /// It is sent after the one that follows it.
    Swap,
    /// Its checksum is wrong.
    Checksum,
    /// A price of it is no number.
    Price,
}

impl FromStr for Spoil {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "drop" => Self::Drop,
            "double" => Self::Double,
            "swap" => Self::Swap,
            "checksum" => Self::Checksum,
            "price" => Self::Price,
            _ => return Err(format!("{text:?}: {COMMANDS}")),
        })
    }
}

/// The commands, for people.
pub const COMMANDS: &str = "expected one of: drop|double|swap|checksum|price TOPIC [COUNT], \
     stall|deaf|refuse on|off, half, garbage, binary, large BYTES, close CODE, \
     reset [CONNECTION], skip CONNECTION TOPIC COUNT, status CODE [COUNT], restart, \
     list|unlist SYMBOL";

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let bad = || format!("{text:?}: {COMMANDS}");
        let number = |text: &str| text.parse::<usize>().map_err(|_| bad());
        let small = |text: &str| text.parse::<u16>().map_err(|_| bad());
        let switch = |text: &str| match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(bad()),
        };
        Ok(match words.as_slice() {
            ["stall", is] => Self::Stall(switch(is)?),
            ["deaf", is] => Self::Deaf(switch(is)?),
            ["refuse", is] => Self::Refuse(switch(is)?),
            ["half"] => Self::HalfFrame,
            ["garbage"] => Self::Garbage,
            ["binary"] => Self::Binary,
            ["large", bytes] => Self::Large(number(bytes)?),
            ["close", code] => Self::Close(small(code)?),
            ["reset"] => Self::Reset,
            ["reset", connection] => Self::ResetOne(number(connection)?),
            ["skip", connection, topic, count] => Self::Skip {
                connection: number(connection)?,
                topic: (*topic).to_owned(),
                count: number(count)?,
            },
            ["status", status] => Self::Status { status: small(status)?, count: 1 },
            ["status", status, count] => {
                Self::Status { status: small(status)?, count: number(count)? }
            }
            ["restart"] => Self::Restart,
            ["list", symbol] => Self::List { symbol: (*symbol).to_owned(), on: true },
            ["unlist", symbol] => Self::List { symbol: (*symbol).to_owned(), on: false },
            [how, topic] => Self::Spoil { topic: (*topic).to_owned(), how: how.parse()?, count: 1 },
            [how, topic, count] => {
                Self::Spoil { topic: (*topic).to_owned(), how: how.parse()?, count: number(count)? }
            }
            _ => return Err(bad()),
        })
    }
}

/// Faults of messages that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Spoils {
    by_topic: HashMap<TopicId, VecDeque<Spoil>>,
    /// Messages that are sent after the next of their topic.
    held: HashMap<TopicId, usize>,
    /// Messages that one connection does not get.
    skips: HashMap<(u64, TopicId), usize>,
}

impl Spoils {
    /// Whether any message is still to be spoiled or held.
    pub fn are_due(&self) -> bool {
        !self.by_topic.is_empty() || !self.held.is_empty()
    }

    pub fn add(&mut self, topic: TopicId, how: Spoil, count: usize) {
        self.by_topic.entry(topic).or_default().extend(std::iter::repeat_n(how, count));
    }

    /// What is to be done to the next message of a topic.
    pub fn next(&mut self, topic: TopicId) -> Option<Spoil> {
        let queue = self.by_topic.get_mut(&topic)?;
        let spoil = queue.pop_front();
        if queue.is_empty() {
            self.by_topic.remove(&topic);
        }
        spoil
    }

    /// Puts a fault back that the message could not take.
    pub fn put_back(&mut self, topic: TopicId, how: Spoil) {
        self.by_topic.entry(topic).or_default().push_front(how);
    }

    pub fn hold(&mut self, topic: TopicId, index: usize) {
        self.held.insert(topic, index);
    }

    pub fn skip(&mut self, link: u64, topic: TopicId, count: usize) {
        *self.skips.entry((link, topic)).or_default() += count;
    }

    /// Whether a connection does not get the next message of a topic.
    pub fn skips(&mut self, link: u64, topic: TopicId) -> bool {
        let Some(left) = self.skips.get_mut(&(link, topic)) else { return false };
        *left -= 1;
        if *left == 0 {
            self.skips.remove(&(link, topic));
        }
        true
    }

    pub fn take_held(&mut self, topic: TopicId) -> Option<usize> {
        self.held.remove(&topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_others_refused() {
        let spoil = Fault::Spoil { topic: "a@b".to_owned(), how: Spoil::Drop, count: 3 };
        assert_eq!("drop a@b 3".parse(), Ok(spoil));
        assert_eq!("stall on".parse(), Ok(Fault::Stall(true)));
        assert_eq!("reset 3".parse(), Ok(Fault::ResetOne(3)));
        let skip = Fault::Skip { connection: 1, topic: "a@b".to_owned(), count: 2 };
        assert_eq!("skip 1 a@b 2".parse(), Ok(skip));
        let list = |on| Fault::List { symbol: "X".to_owned(), on };
        assert_eq!(["list X".parse(), "unlist X".parse()], [Ok(list(true)), Ok(list(false))]);
        assert_eq!("close 1012".parse(), Ok(Fault::Close(1012)));
        assert_eq!("status 429 2".parse(), Ok(Fault::Status { status: 429, count: 2 }));
        for bad in
            ["", "x", "stall", "stall x", "drop", "lose a", "close x", "drop a -1", "reset x"]
        {
            assert!(bad.parse::<Fault>().unwrap_err().contains("expected one of"), "{bad}");
        }
    }
}
