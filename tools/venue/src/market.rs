//! A venue without sockets: connections, who hears which topic, and where the script stands.

mod books;
mod faults;
mod play;
mod rest;
#[cfg(test)]
mod tests;

pub(crate) use play::Next;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::books::Books;
use crate::book::Book;
use crate::counters::{Connection, Counters, Window};
use crate::fault::Spoils;
use crate::frame;
use crate::outbox::{End, Outbox};
use crate::protocol::{Action, Limits, Protocol, Role, Session};
use crate::script::{Event, Script, TopicId};

/// Who subscribes in the middle waits so long for a snapshot of the script itself, of script time.
const WINDOW_NS: i64 = 10_000_000_000;

/// When the script begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// When [`crate::Venue::go`] is called.
    Go,
    /// When so many different topics of the script are subscribed, or on [`crate::Venue::go`].
    When(usize),
}

/// The state of a venue.
pub(crate) struct Market {
    protocol: Box<dyn Protocol>,
    script: Script,
    limits: Limits,
    start: Start,
    started: bool,
    /// Messages played of this lap.
    next: usize,
    played_ns: i64,
    /// Times that the script is still to be played after this one.
    laps_left: usize,
    /// What was played in the laps before.
    lap_ns: i64,
    links: BTreeMap<u64, Link>,
    subscribers: Vec<Vec<Subscriber>>,
    /// Topics that somebody subscribed to, ever, and when last, in script time.
    wanted: BTreeMap<TopicId, i64>,
    books: Books,
    /// Events of a topic up to the last REST reply of it that was given.
    replies_used: HashMap<TopicId, usize>,
    /// Of every topic, the number that its first change follows and that of its last; known after
    /// the first lap.
    chains: Vec<Option<(i64, i64)>>,
    /// What to subtract from sequence numbers, by symbol.
    offsets: HashMap<String, i64>,
    spoils: Spoils,
    statuses: VecDeque<u16>,
    /// The last REST request that was refused on command, and when.
    refused: Option<(u16, Instant)>,
    pub is_deaf: bool,
    connects: Window,
    pub counters: Counters,
}

struct Link {
    session: Session,
    outbox: Arc<Outbox>,
    topics: BTreeSet<TopicId>,
    texts: Window,
    texts_in_a_second: Window,
}

/// Who hears a topic.
struct Subscriber {
    link: u64,
    /// The first message it gets.
    from: usize,
}

impl Market {
    pub fn new(
        protocol: Box<dyn Protocol>,
        script: Script,
        start: Start,
        limits: Option<Limits>,
        laps: usize,
    ) -> Self {
        let topics = script.topics.len();
        Self {
            limits: limits.unwrap_or_else(|| protocol.limits()),
            protocol,
            start,
            started: false,
            next: 0,
            played_ns: 0,
            laps_left: laps.saturating_sub(1),
            lap_ns: 0,
            links: BTreeMap::new(),
            subscribers: (0..topics).map(|_| Vec::new()).collect(),
            wanted: BTreeMap::new(),
            books: Books::new(topics),
            replies_used: HashMap::new(),
            chains: Vec::new(),
            offsets: HashMap::new(),
            spoils: Spoils::default(),
            statuses: VecDeque::new(),
            refused: None,
            is_deaf: false,
            connects: Window::default(),
            counters: Counters::default(),
            script,
        }
    }

    pub fn script(&self) -> &Script {
        &self.script
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub fn is_started(&self) -> bool {
        self.started
    }

    pub fn go(&mut self) {
        self.started = true;
    }

    /// A connection is made; `Err` if there were too many.
    pub fn open(&mut self, path: &str, outbox: Arc<Outbox>) -> Result<u64, u16> {
        let (count, span) = self.limits.connections;
        if self.connects.note(Instant::now(), span) > count {
            self.counters.cut_off.push(format!("more than {count} connections in {span:?}"));
            return Err(429);
        }
        let id = self.counters.connections.len() as u64;
        let path = path.to_owned();
        let connection = Connection { path: path.clone(), is_open: true, ..Connection::default() };
        self.counters.connections.push(connection);
        let link = Link {
            session: Session { path, ..Session::default() },
            outbox,
            topics: BTreeSet::new(),
            texts: Window::default(),
            texts_in_a_second: Window::default(),
        };
        self.links.insert(id, link);
        self.with_session(id, |protocol, session, script| protocol.open(session, script));
        Ok(id)
    }

    /// A connection is gone.
    pub fn gone(&mut self, id: u64) {
        let Some(link) = self.links.remove(&id) else { return };
        for topic in link.topics {
            self.subscribers[topic].retain(|subscriber| subscriber.link != id);
        }
        self.count(id, |connection| connection.is_open = false);
    }

    /// A client said something.
    pub fn hear(&mut self, id: u64, text: &str) {
        if self.is_too_much(id) {
            let (code, reason) = self.limits.too_many;
            self.counters.cut_off.push(format!("connection {id}: {reason}"));
            return self.close(id, code, reason);
        }
        self.with_session(id, |protocol, session, script| protocol.hear(session, text, script));
    }

    /// Whether a client says more than it may; notes that it said something.
    fn is_too_much(&mut self, id: u64) -> bool {
        let Some(link) = self.links.get_mut(&id) else { return false };
        let (now, (count, span)) = (Instant::now(), self.limits.texts);
        let in_a_second = link.texts_in_a_second.note(now, Duration::from_secs(1));
        let in_span = link.texts.note(now, span);
        self.count(id, |connection| {
            connection.texts += 1;
            connection.texts_in_a_second = connection.texts_in_a_second.max(in_a_second);
        });
        in_span > count
    }

    /// A WebSocket ping or pong was heard.
    pub fn heard_ping(&mut self, id: u64, payload: &[u8]) {
        self.count(id, |connection| connection.pings += 1);
        if let Some(link) = self.links.get(&id)
            && !self.is_deaf
        {
            link.outbox.push(|out| frame::push(out, frame::PONG, payload));
        }
    }

    pub fn heard_pong(&mut self, id: u64) {
        self.count(id, |connection| connection.pongs += 1);
    }

    /// Ends a connection with a close frame.
    pub fn close(&mut self, id: u64, code: u16, reason: &str) {
        let Some(link) = self.links.get(&id) else { return };
        link.outbox.push(|out| out.extend_from_slice(&frame::close(code, reason)));
        link.outbox.end(End::Closed);
        self.gone(id);
    }

    fn count(&mut self, id: u64, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.counters.connections.get_mut(id as usize) {
            change(connection);
        }
    }

    fn with_session(
        &mut self,
        id: u64,
        ask: impl FnOnce(&dyn Protocol, &mut Session, &Script) -> Vec<Action>,
    ) {
        let Some(link) = self.links.get_mut(&id) else { return };
        for action in ask(&*self.protocol, &mut link.session, &self.script) {
            match action {
                Action::Say(text) => self.say(id, "", &text),
                Action::Subscribe(topic) => self.subscribe(id, &topic),
                Action::Unsubscribe(topic) => self.unsubscribe(id, &topic),
                Action::Pong(text) => {
                    self.count(id, |connection| connection.pings += 1);
                    if !self.is_deaf {
                        self.say(id, "", &text);
                    }
                }
                Action::Close(code, reason) => self.close(id, code, &reason),
            }
        }
        if let Start::When(count) = self.start
            && self.wanted.len() >= count
        {
            self.started = true;
        }
    }

    /// Sends a text of a topic, or of none, on one connection.
    fn say(&mut self, id: u64, topic: &str, text: &str) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let own = self.protocol.deliver(&mut link.session, topic, text);
        let text = own.as_deref().unwrap_or(text);
        link.outbox.push(|out| frame::push(out, frame::TEXT, text.as_bytes()));
    }

    fn subscribe(&mut self, id: u64, name: &str) {
        self.count(id, |connection| connection.subscribed += 1);
        let Some(topic) = self.script.topic(name) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.topics.len() >= self.limits.topics {
            let reason = format!("more than {} topics", self.limits.topics);
            self.counters.cut_off.push(format!("connection {id}: {reason}"));
            return self.close(id, 1008, &reason);
        }
        if !link.topics.insert(topic) {
            return;
        }
        self.wanted.insert(topic, self.lap_ns + self.played_ns);
        let from = self.welcome(id, topic);
        self.subscribers[topic].push(Subscriber { link: id, from });
    }

    /// Tells how a topic stands, if it was begun, and says with which message to go on.
    fn welcome(&mut self, id: u64, topic: TopicId) -> usize {
        let about = &self.script.topics[topic];
        let first = about.events.first().map_or(0, Event::index);
        let begun = self.lap_ns > 0 || first < self.next;
        if !begun || !matches!(about.role, Role::Book | Role::State) {
            return self.next;
        }
        if about.role == Role::Book
            && let Some(index) = self.whole_soon(topic)
        {
            return index;
        }
        let name = about.name.clone();
        let offset = self.offset(topic);
        let book = self.books.at(&*self.protocol, &self.script, topic, self.next);
        for text in self.protocol.fresh(&name, book) {
            let text = self.shifted(&text, offset);
            self.say(id, &name, &text);
        }
        self.counters.fresh += 1;
        self.next
    }

    /// The next message of the script, within a while, that is a whole book of this topic.
    fn whole_soon(&self, topic: TopicId) -> Option<usize> {
        let events = &self.script.topics[topic].events;
        let first = events.partition_point(|event| event.index() < self.next);
        let whole = events[first..].iter().find_map(|event| match event {
            Event::Message { index, is_whole: true } => Some(*index),
            _ => None,
        })?;
        (self.script.messages[whole].at_ns <= self.played_ns + WINDOW_NS).then_some(whole)
    }

    fn unsubscribe(&mut self, id: u64, name: &str) {
        let Some(topic) = self.script.topic(name) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        link.topics.remove(&topic);
        self.subscribers[topic].retain(|subscriber| subscriber.link != id);
    }

    /// Asks a client whether it is there.
    pub fn ping(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        match self.protocol.beat(&link.session) {
            Some(text) => self.say(id, "", &text),
            None => link.outbox.push(|out| frame::push(out, frame::PING, b"1767657600000")),
        }
    }

    /// Ends a connection on which nothing was heard for too long.
    pub fn cut_off_silent(&mut self, id: u64) {
        self.counters.cut_off.push(format!("connection {id}: silent"));
        self.close(id, 4004, "No data received in 30s.");
    }

    /// Ends every connection.
    pub fn drop_all(&mut self) {
        for link in self.links.values() {
            link.outbox.end(End::Closed);
        }
        self.links.clear();
    }

    /// The book of a topic as it stands.
    pub fn book(&mut self, topic: &str) -> Option<Book> {
        let topic = self.script.topic(topic)?;
        Some(self.books.at(&*self.protocol, &self.script, topic, self.next).clone())
    }

    /// Topics that somebody is subscribed to now.
    pub fn subscribed(&self) -> Vec<String> {
        let heard = self.script.topics.iter().zip(&self.subscribers);
        let heard = heard.filter(|(_, subscribers)| !subscribers.is_empty());
        heard.map(|(topic, _)| topic.name.clone()).collect()
    }
}
