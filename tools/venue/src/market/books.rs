//! The book of every topic as of now, made when somebody asks.

use crate::book::Book;
use crate::protocol::{Protocol, Role};
use crate::script::{Event, Script, TopicId};

/// Books, each with the events of its topic that are in it.
pub(super) struct Books(Vec<(Book, usize)>);

impl Books {
    pub fn new(topics: usize) -> Self {
        Self((0..topics).map(|_| (Book::default(), 0)).collect())
    }

    /// The book after the first `next` messages of the script.
    pub fn at(
        &mut self,
        protocol: &dyn Protocol,
        script: &Script,
        topic: TopicId,
        next: usize,
    ) -> &Book {
        let (book, done) = &mut self.0[topic];
        let about = &script.topics[topic];
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
        book
    }

    /// The script begins anew; the books stay, and the next change follows the number `before`.
    pub fn begin_lap(&mut self, topic: TopicId, before: Option<i64>) {
        let (book, done) = &mut self.0[topic];
        *done = 0;
        if let Some(before) = before {
            book.seq = before;
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
