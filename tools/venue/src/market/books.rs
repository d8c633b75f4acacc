//! The book of every topic as of now, made when somebody asks.

use crate::book::Book;
use crate::protocol::{Protocol, Role};
use crate::script::{Event, Script, Topic, TopicId};

/// Books, by topic.
pub(super) struct Books(Vec<Standing>);

/// A book and how far it has come.
#[derive(Default)]
struct Standing {
    book: Book,
    /// Events of the topic that are in it, of its lap.
    done: usize,
    /// Laps that were begun since.
    laps_behind: usize,
    /// The number that the first change of a lap follows.
    before: Option<i64>,
}

impl Books {
    pub fn new(topics: usize) -> Self {
        Self((0..topics).map(|_| Standing::default()).collect())
    }

    /// The book after the first `next` messages of this lap.
    pub fn at(
        &mut self,
        protocol: &dyn Protocol,
        script: &Script,
        topic: TopicId,
        next: usize,
    ) -> &Book {
        let (standing, about) = (&mut self.0[topic], &script.topics[topic]);
        // One whole lap leaves the same levels as many.
        for _ in 0..standing.laps_behind.min(2) {
            standing.fold_up_to(protocol, script, about, script.messages.len());
            standing.done = 0;
            standing.book.seq = standing.before.unwrap_or(standing.book.seq);
        }
        standing.laps_behind = 0;
        standing.fold_up_to(protocol, script, about, next);
        &standing.book
    }

    /// The script begins anew; the books stay, and the next change follows the number `before`.
    pub fn begin_lap(&mut self, topic: TopicId, before: Option<i64>) {
        let standing = &mut self.0[topic];
        standing.laps_behind += 1;
        standing.before = before;
    }
}

impl Standing {
    fn fold_up_to(&mut self, protocol: &dyn Protocol, script: &Script, about: &Topic, next: usize) {
        let Self { book, done, .. } = self;
        while let Some(event) = about.events.get(*done) {
            match event {
                Event::Message { index, .. } if *index < next => {
                    fold(protocol, about.role, book, script.text(&script.messages[*index]));
                }
                Event::Reply { index, body, .. } if *index <= next => {
                    protocol.fold_reply(book, body);
                    // It was taken before some of the messages that came before it.
                    for event in &about.events[..*done] {
                        if let Event::Message { index, .. } = event {
                            protocol.fold(book, script.text(&script.messages[*index]));
                        }
                    }
                }
                _ => break,
            }
            *done += 1;
        }
    }
}

fn fold(protocol: &dyn Protocol, role: Role, book: &mut Book, text: &str) {
    match role {
        Role::Book | Role::State => {
            protocol.fold(book, text);
            text.clone_into(&mut book.last);
        }
        Role::SplicedBook if book.is_whole => protocol.fold(book, text),
        Role::SplicedBook | Role::Events => {}
    }
}
