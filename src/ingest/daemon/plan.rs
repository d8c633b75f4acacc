//! Which topic is had on which connection. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::ingest::live::Topic;

/// Topics of one instrument: they share a connection as far as their paths allow.
pub(super) type Wanted = BTreeMap<String, BTreeSet<Topic>>;

/// The connections of one feed and what each has subscribed to.
#[derive(Debug)]
pub(super) struct Plan {
    topics_per_connection: usize,
    connections: BTreeMap<u32, Planned>,
    last_number: u32,
}

#[derive(Debug)]
struct Planned {
    path: &'static str,
    topics: BTreeSet<String>,
}

/// What to do on one connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub subscribe: BTreeSet<String>,
    pub unsubscribe: BTreeSet<String>,
}

/// What to do to have what is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// New connections: number, path.
    pub open: Vec<(u32, &'static str)>,
    /// Subscriptions by connection; new ones too.
    pub change: BTreeMap<u32, Change>,
    /// Connections that nothing is left for.
    pub close: Vec<u32>,
}

impl Plan {
    /// No connections yet; the first is numbered after `last_number`.
    pub fn new(topics_per_connection: usize, last_number: u32) -> Self {
        Self {
            topics_per_connection: topics_per_connection.max(1),
            connections: BTreeMap::new(),
            last_number,
        }
    }

    /// New connections are numbered after `last_number`.
    pub fn number_after(&mut self, last_number: u32) {
        self.last_number = last_number.max(self.last_number);
    }

    /// The connection that has `topic`.
    pub fn connection_of(&self, topic: &Topic) -> Option<u32> {
        let has =
            |planned: &Planned| planned.path == topic.path && planned.topics.contains(&topic.name);
        self.connections.iter().find(|(_, planned)| has(planned)).map(|(number, _)| *number)
    }

    /// Plans for `wanted`; what is had already stays where it is.
    pub fn update(&mut self, wanted: &Wanted) -> Changes {
        let mut changes = Changes::default();
        let all: BTreeSet<&Topic> = wanted.values().flatten().collect();
        for (number, planned) in &mut self.connections {
            planned.topics.retain(|name| {
                let kept = all.contains(&Topic { path: planned.path, name: name.clone() });
                if !kept {
                    changes.change.entry(*number).or_default().unsubscribe.insert(name.clone());
                }
                kept
            });
        }
        for topics in wanted.values() {
            let paths: BTreeSet<_> = topics.iter().map(|topic| topic.path).collect();
            for path in paths {
                let new = topics.iter().filter(|topic| topic.path == path);
                let new = new.filter(|topic| self.connection_of(topic).is_none());
                let names: Vec<_> = new.map(|topic| topic.name.clone()).collect();
                self.place(path, names, &mut changes);
            }
        }
        self.connections.retain(|number, planned| {
            let empty = planned.topics.is_empty();
            if empty {
                changes.change.remove(number);
                changes.close.push(*number);
            }
            !empty
        });
        changes
    }

    /// Places topics of one instrument on one connection, if one has room for them all.
    fn place(&mut self, path: &'static str, mut names: Vec<String>, changes: &mut Changes) {
        while !names.is_empty() {
            let limit = self.topics_per_connection;
            let rest = names.split_off(names.len().min(limit));
            let fits = |planned: &Planned| {
                planned.path == path && planned.topics.len() + names.len() <= limit
            };
            let found = self.connections.iter().find(|(_, planned)| fits(planned));
            let number = found.map_or_else(
                || {
                    self.last_number += 1;
                    changes.open.push((self.last_number, path));
                    self.last_number
                },
                |(number, _)| *number,
            );
            let new = || Planned { path, topics: BTreeSet::new() };
            let planned = self.connections.entry(number).or_insert_with(new);
            planned.topics.extend(names.iter().cloned());
            changes.change.entry(number).or_default().subscribe.extend(names);
            names = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(instruments: &[(&str, &[(&'static str, &str)])]) -> Wanted {
        let topic = |(path, name): &(&'static str, &str)| Topic { path, name: (*name).to_owned() };
        let topics = |topics: &[(&'static str, &str)]| topics.iter().map(topic).collect();
        instruments.iter().map(|(symbol, of)| ((*symbol).to_owned(), topics(of))).collect()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn topics_of_an_instrument_stay_together_and_connections_are_filled() {
        let mut plan = Plan::new(3, 10);

        let changes = plan.update(&wanted(&[
            ("A", &[("/a", "A1"), ("/a", "A2"), ("/b", "A3")]),
            ("B", &[("/a", "B1"), ("/a", "B2")]),
            ("C", &[("/a", "C1")]),
            ("D", &[("/a", "D1"), ("/a", "D2"), ("/a", "D3"), ("/a", "D4")]),
        ]));

        assert_eq!(changes.open, [(11, "/a"), (12, "/b"), (13, "/a"), (14, "/a")]);
        let subscribed: Vec<_> = changes.change.values().map(|c| c.subscribe.clone()).collect();
        assert_eq!(
            subscribed,
            [
                names(&["A1", "A2", "C1"]),
                names(&["A3"]),
                names(&["B1", "B2", "D4"]),
                names(&["D1", "D2", "D3"]),
            ]
        );
        assert_eq!(plan.update(&wanted(&[])).close, [11, 12, 13, 14]);
    }

    #[test]
    fn an_update_leaves_the_others_alone() {
        let mut plan = Plan::new(3, 0);
        plan.update(&wanted(&[("A", &[("", "A1"), ("", "A2")]), ("B", &[("", "B1"), ("", "B2")])]));

        let changes = plan
            .update(&wanted(&[("A", &[("", "A1"), ("", "A2")]), ("C", &[("", "C1"), ("", "C2")])]));

        assert!(changes.open.is_empty() && changes.close.is_empty());
        assert_eq!(changes.change.len(), 1);
        assert_eq!(changes.change[&2].subscribe, names(&["C1", "C2"]));
        assert_eq!(changes.change[&2].unsubscribe, names(&["B1", "B2"]));
        let topic = |name: &str| Topic { path: "", name: name.to_owned() };
        assert_eq!(plan.connection_of(&topic("A2")), Some(1));
        assert_eq!(plan.connection_of(&topic("B1")), None);
    }

    #[test]
    fn one_topic_of_two_instruments_is_had_once() {
        let mut plan = Plan::new(3, 0);
        let both = wanted(&[("A", &[("", "all"), ("", "A1")]), ("B", &[("", "all")])]);

        let changes = plan.update(&both);

        assert_eq!(changes.open.len(), 1);
        assert_eq!(changes.change[&1].subscribe, names(&["A1", "all"]));
        assert_eq!(plan.update(&both), Changes::default());
    }
}
