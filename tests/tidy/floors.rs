//! Who may import whom: floors, and no circles inside a room.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Named, Source};
use crate::tree::Tree;

/// The rooms from the ground up. A file imports from lower floors and its own room only.
///
/// `compact` lies below `ingest`, whose daemon compacts what it has recorded. `codec` lies below
/// `format`, with which the design puts it on one floor: a checkpoint's columns are pages, and
/// pages know nothing of what they are part of.
const FLOORS: [&[&str]; 14] = [
    &["limit", "error"],
    &["quantity", "pattern"],
    &["event"],
    &["book", "disk"],
    &["codec"],
    &["format"],
    &["segment", "catalog", "journal"],
    &["store"],
    &["compact"],
    &["replay", "ingest", "metrics", "arrow"],
    &["rpc", "http"],
    &["cli"],
    &["main"],
    &["lib"],
];

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Imports that go up, sideways into another room of the same floor, or nowhere known.
pub fn imports_go_down(tree: &Tree) -> Vec<String> {
    let names = Names::new(tree);
    let mut findings = Vec::new();
    for source in tree.shipped().filter(|source| source.path != "src/lib.rs") {
        let room = source.room();
        let Some(floor) = floor_of(room) else {
            findings.push(format!("{}: room {room:?} is on no floor", source.path));
            continue;
        };
        for named in source.named() {
            let Some(path) = names.absolute(source, &named) else { continue };
            let path = names.behind_root(&path);
            let Some(target) = path.first() else { continue };
            let shown = named.parts.join("::");
            let place = format!("{}:{}", source.path, named.line);
            match floor_of(target) {
                _ if target == room => {}
                Some(other) if other < floor => {}
                Some(other) if other == floor => {
                    findings.push(format!("{place}: {shown} goes sideways, {room} to {target}"));
                }
                Some(_) => findings.push(format!("{place}: {shown} goes up, {room} to {target}")),
                None => findings.push(format!("{place}: {shown} is on no floor")),
            }
        }
    }
    findings
}

/// Files of one room that need each other. What `mod.rs` only hands on (`pub use`) is no need.
pub fn no_circles(tree: &Tree) -> Vec<String> {
    let names = Names::new(tree);
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in tree.shipped().filter(|source| source.path != "src/lib.rs") {
        for named in source.named().iter().filter(|named| !named.handed_on) {
            let Some(path) = names.absolute(source, named) else { continue };
            let Some(target) = names.home_of(&path, 0) else { continue };
            if target.room() == source.room() && target.path != source.path {
                needs.entry(&source.path).or_default().insert(&target.path);
            }
        }
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        needs.keys().map(|&from| (from, reach(&needs, from))).collect();
    let mut circles = BTreeSet::new();
    for (&from, targets) in &reached {
        let back = |to: &&&str| reached.get(**to).is_some_and(|others| others.contains(from));
        let circle: BTreeSet<&str> = targets.iter().filter(back).copied().collect();
        if circle.contains(from) {
            circles.insert(circle.into_iter().collect::<Vec<_>>().join(", "));
        }
    }
    circles.into_iter().map(|files| format!("circle: {files}")).collect()
}

fn reach<'a>(needs: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(file) = open.pop() {
        for &next in needs.get(file).into_iter().flatten() {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}

/// Which file a path leads to.
struct Names<'a> {
    modules: BTreeMap<Vec<String>, &'a Source>,
}

impl<'a> Names<'a> {
    fn new(tree: &'a Tree) -> Self {
        let in_library = tree.shipped().filter(|source| source.path != "src/main.rs");
        Self { modules: in_library.map(|source| (source.module(), source)).collect() }
    }

    /// The path from the crate root; `None` for other crates and local names.
    fn absolute(&self, source: &Source, named: &Named) -> Option<Vec<String>> {
        let mut base = source.module();
        let mut rest = named.parts.as_slice();
        let first = rest.first()?.as_str();
        match first {
            "crate" => base.clear(),
            "tickreel" if source.room() == "main" => base.clear(),
            "self" => {}
            "super" => {
                while rest.get(1).is_some_and(|part| part == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
                base.pop();
            }
            _ => {
                base.push(first.to_owned());
                if !self.modules.contains_key(&base) {
                    return None;
                }
            }
        }
        base.extend_from_slice(&rest[1..]);
        Some(base)
    }

    /// `error::Error` for `Error`, which the root hands on; other paths unchanged.
    fn behind_root(&self, path: &[String]) -> Vec<String> {
        let handed_on = match (path, self.modules.get(&Vec::new())) {
            ([name, ..], Some(root)) if floor_of(name).is_none() => self.handed_on(root, name),
            _ => None,
        };
        handed_on.unwrap_or_else(|| path.to_vec())
    }

    fn handed_on(&self, source: &Source, name: &str) -> Option<Vec<String>> {
        let named = source.named();
        let found = named.iter().find(|n| n.handed_on && n.parts.last().is_some_and(|p| p == name));
        found.and_then(|found| self.absolute(source, found))
    }

    /// The file that defines what `path` names, through what other files hand on.
    fn home_of(&self, path: &[String], depth: usize) -> Option<&'a Source> {
        let length = (0..=path.len()).rev().find(|&n| self.modules.contains_key(&path[..n]))?;
        let source = *self.modules.get(&path[..length])?;
        let Some(name) = path.get(length) else { return Some(source) };
        if depth < 8
            && let Some(further) = self.handed_on(source, name)
            && further != path
        {
            return self.home_of(&further, depth + 1);
        }
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: (&str, &str) = ("src/lib.rs", "pub mod error; pub use error::{Error, Result};");

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree::of(files.iter().copied().chain([ROOT, ("src/error.rs", ""), ("src/limit.rs", "")]))
    }

    #[test]
    fn imports_from_below_are_allowed() {
        let tree = tree(&[
            ("src/store/mod.rs", "use crate::{Result, segment::{Reader, open}}; mod tail;"),
            ("src/store/tail.rs", "use super::Store; fn f() { crate::limit::X; }"),
            ("src/main.rs", "use tickreel::cli;"),
        ]);

        assert_eq!(imports_go_down(&tree), [""; 0]);
    }

    #[test]
    fn an_import_that_goes_up_is_found_wherever_it_stands() {
        for text in [
            "use crate::store::Store;",
            "use crate::{limit, store::{self, Store}};",
            "fn f() { crate::store::open(); }",
            "use super::super::store::Store;",
        ] {
            let findings = imports_go_down(&tree(&[("src/segment/reader.rs", text)]));

            assert!(!findings.is_empty(), "{text}");
            assert!(findings[0].contains("segment to store"), "{findings:?}");
        }
    }

    #[test]
    fn an_import_sideways_into_another_room_is_found() {
        let findings = imports_go_down(&tree(&[("src/book/mod.rs", "use crate::disk::X;")]));

        assert_eq!(findings, ["src/book/mod.rs:1: crate::disk::X goes sideways, book to disk"]);
    }

    #[test]
    fn the_ground_imports_nothing() {
        let findings = imports_go_down(&tree(&[("src/limit.rs", "use crate::Error;")]));

        assert_eq!(findings.len(), 1, "{findings:?}");
    }

    #[test]
    fn a_room_on_no_floor_is_found() {
        let findings = imports_go_down(&tree(&[("src/attic/mod.rs", "")]));

        assert_eq!(findings, ["src/attic/mod.rs: room \"attic\" is on no floor"]);
    }

    #[test]
    fn tests_may_import_from_everywhere() {
        let tree = tree(&[
            ("src/book/mod.rs", "#[cfg(test)] mod tests;\n#[cfg(test)] use crate::store::A;"),
            ("src/book/tests.rs", "use crate::store::Store;"),
        ]);

        assert_eq!(imports_go_down(&tree), [""; 0]);
    }

    #[test]
    fn two_files_that_need_each_other_are_found() {
        let found = no_circles(&tree(&[
            ("src/store/a.rs", "use super::b::B;"),
            ("src/store/b.rs", "fn f() { crate::store::c::g() }"),
            ("src/store/c.rs", "use crate::store::a;"),
            ("src/store/d.rs", "use crate::store::a;"),
        ]));

        assert_eq!(found, ["circle: src/store/a.rs, src/store/b.rs, src/store/c.rs"]);
    }

    #[test]
    fn a_room_that_needs_its_own_child_back_is_found() {
        let found = no_circles(&tree(&[
            ("src/store/mod.rs", "mod a; pub struct S; fn f() { a::g() }"),
            ("src/store/a.rs", "use super::S;"),
        ]));

        assert_eq!(found, ["circle: src/store/a.rs, src/store/mod.rs"]);
    }

    #[test]
    fn names_handed_on_by_the_room_make_no_circle() {
        let found = no_circles(&tree(&[
            ("src/store/mod.rs", "mod a; mod b; pub use a::A; pub use b::B; pub struct S;"),
            ("src/store/a.rs", "use super::{B, S};"),
            ("src/store/b.rs", "use crate::store::S;"),
        ]));

        assert_eq!(found, [""; 0]);
    }
}
