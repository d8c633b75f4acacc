//! What may stand where: banned names with the rooms that may use them, and the shape of files.

use crate::source::{Source, tokens};
use crate::tree::Tree;

/// Columns of a line.
const COLUMNS_MAX: usize = 100;

/// Lines of a file without its tests.
const LINES_MAX: usize = 600;

/// Names of files and folders that say nothing about what is inside.
const EMPTY_NAMES: [&str; 12] = [
    "utils", "util", "common", "helpers", "helper", "misc", "manager", "handler", "handlers",
    "types", "prelude", "shared",
];

/// Rooms that read bytes from outside: there, nothing may panic.
const ROOMS_OF_OUTSIDE_BYTES: [&str; 4] = ["format", "codec", "ingest", "rpc"];

/// The lints such a room denies.
const LINTS_OF_OUTSIDE_BYTES: [&str; 4] =
    ["clippy::unwrap_used", "clippy::expect_used", "clippy::indexing_slicing", "clippy::panic"];

fn is_under(source: &Source, places: &[&str]) -> bool {
    places.iter().any(|place| source.path.starts_with(place))
}

/// Runs of tokens of `code` that equal `wanted`, as findings.
fn find_tokens(source: &Source, code: &str, wanted: &[&str], why: &str) -> Vec<String> {
    let tokens = tokens(code);
    let equals = |window: &&[(&str, usize)]| window.iter().map(|t| t.0).eq(wanted.iter().copied());
    let found = tokens.windows(wanted.len()).filter(equals);
    found.map(|w| format!("{}:{}: {} {why}", source.path, w[0].1, wanted.concat())).collect()
}

/// `unsafe` stands in `disk/` and `arrow/arrow2.rs` only.
pub fn unsafe_is_in_its_place(tree: &Tree) -> Vec<String> {
    let outside = tree.src().filter(|s| !is_under(s, &["src/disk/", "src/arrow/arrow2.rs"]));
    outside.flat_map(|s| find_tokens(s, &s.code, &["unsafe"], "outside src/disk")).collect()
}

/// Network crates are named by the doors, the command line and the ingest daemon only.
pub fn network_stays_outside_the_engine(tree: &Tree) -> Vec<String> {
    let doors = ["src/rpc/", "src/http/", "src/cli/", "src/ingest/daemon"];
    let mut findings = Vec::new();
    for source in tree.src().filter(|source| !is_under(source, &doors)) {
        for (token, line) in tokens(&source.code) {
            let family = token.split('_').next().unwrap_or(token);
            if matches!(family, "tokio" | "tonic" | "prost") {
                findings.push(format!("{}:{line}: {token} inside the engine", source.path));
            }
        }
    }
    findings
}

/// Time is a value everywhere but at the edges.
pub fn clocks_are_read_at_the_edges(tree: &Tree) -> Vec<String> {
    let edges = ["src/cli/", "src/rpc/", "src/http/", "src/ingest/daemon"];
    let mut findings = Vec::new();
    for source in tree.shipped().filter(|source| !is_under(source, &edges)) {
        for clock in ["SystemTime", "Instant", "Timestamp", "Zoned"] {
            let call = [clock, "::", "now"];
            findings.extend(find_tokens(source, &source.shipped, &call, "inside the engine"));
        }
    }
    findings
}

/// Files are opened by `disk/`, by the command line, by the input reader and by the daemon only.
pub fn files_are_opened_in_their_place(tree: &Tree) -> Vec<String> {
    let places = ["src/disk/", "src/cli/", "src/ingest/input.rs", "src/ingest/daemon/"];
    let mut findings = Vec::new();
    for source in tree.shipped().filter(|source| !is_under(source, &places)) {
        for named in source.named() {
            if let [first, second, ..] = &named.parts[..]
                && first == "std"
                && second == "fs"
            {
                let path = named.parts.join("::");
                findings.push(format!("{}:{}: {path} outside disk", source.path, named.line));
            }
        }
    }
    findings
}

/// Lines fit the screen.
pub fn lines_are_short(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for source in tree.all().filter(|source| !source.path.contains("/generated/")) {
        for (index, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                findings.push(format!("{}:{}: {columns} columns", source.path, index + 1));
            }
        }
    }
    findings
}

/// A file is one room, not a house.
pub fn files_are_short(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for source in tree.shipped() {
        let lines = source.text.lines().count() - source.test_lines;
        if lines > LINES_MAX {
            findings.push(format!("{}: {lines} lines without tests", source.path));
        }
    }
    findings
}

/// A file that has no name has no place yet.
pub fn names_say_what_is_inside(tree: &Tree) -> Vec<String> {
    let empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    let nameless = tree.src().filter(|source| source.path.split('/').any(empty));
    nameless.map(|source| format!("{}: a name that says nothing", source.path)).collect()
}

/// The first line of a file says what it is.
pub fn files_open_with_their_purpose(tree: &Tree) -> Vec<String> {
    let silent = tree.src().filter(|source| !source.text.starts_with("//! "));
    silent.map(|source| format!("{}: does not open with //!", source.path)).collect()
}

/// Nothing is left for later.
pub fn nothing_is_unfinished(tree: &Tree) -> Vec<String> {
    let fix_mark = concat!("FIX", "ME");
    let mut findings = Vec::new();
    for source in tree.all() {
        for name in ["todo", "unimplemented", "dbg"] {
            findings.extend(find_tokens(source, &source.code, &[name, "!"], "is left over"));
        }
        for (index, line) in source.text.lines().enumerate() {
            if line.contains(fix_mark) {
                findings.push(format!("{}:{}: {fix_mark}", source.path, index + 1));
            }
        }
    }
    findings
}

/// No file names a folder of the machine it was written on.
pub fn no_path_of_a_build_machine(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for source in tree.all() {
        for (index, line) in source.text.lines().enumerate() {
            for folder in ["work", "root", "farm", "home", "Users"] {
                let path = format!("/{folder}/");
                let starts = |(at, _): (usize, &str)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '/' | '_'))
                };
                if line.match_indices(&path).any(starts) {
                    findings.push(format!("{}:{}: {path}", source.path, index + 1));
                }
            }
        }
    }
    findings
}

/// Identifiers are ASCII; strings and comments may hold anything.
pub fn code_is_ascii(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for source in tree.all() {
        for (index, line) in source.code.lines().enumerate() {
            if !line.is_ascii() {
                findings.push(format!("{}:{}: not ASCII", source.path, index + 1));
            }
        }
    }
    findings
}

/// A room that reads outside bytes denies what panics, as soon as it holds code.
pub fn rooms_of_outside_bytes_deny_panics(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for room in ROOMS_OF_OUTSIDE_BYTES {
        let path = format!("src/{room}/mod.rs");
        let Some(source) = tree.src().find(|source| source.path == path) else { continue };
        let code: String = source.code.split_whitespace().collect();
        if code.is_empty() {
            continue;
        }
        let denied: Vec<&str> = code
            .split("#![deny(")
            .skip(1)
            .filter_map(|rest| rest.split(")]").next())
            .flat_map(|lints| lints.split(','))
            .collect();
        for lint in LINTS_OF_OUTSIDE_BYTES {
            if !denied.contains(&lint) {
                findings.push(format!("{path}: does not deny {lint}"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `rule` finds in one file.
    fn found(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Tree::of([(path, text)])).len()
    }

    #[test]
    fn unsafe_outside_disk_is_found() {
        let text = "fn f() { unsafe { g() } } // unsafe\n#![deny(unsafe_code)]";

        assert_eq!(found(unsafe_is_in_its_place, "src/book/mod.rs", text), 1);
        assert_eq!(found(unsafe_is_in_its_place, "src/disk/map.rs", text), 0);
        assert_eq!(found(unsafe_is_in_its_place, "src/arrow/arrow2.rs", text), 0);
    }

    #[test]
    fn network_crates_inside_the_engine_are_found() {
        let text = "use tokio::sync::mpsc; use prost_types::Any; fn tonic_free() {} // tokio";

        assert_eq!(found(network_stays_outside_the_engine, "src/store/mod.rs", text), 3);
        assert_eq!(found(network_stays_outside_the_engine, "src/ingest/rows.rs", text), 3);
        assert_eq!(found(network_stays_outside_the_engine, "src/ingest/daemon/mod.rs", text), 0);
        assert_eq!(found(network_stays_outside_the_engine, "src/rpc/mod.rs", text), 0);
    }

    #[test]
    fn a_clock_read_inside_the_engine_is_found() {
        let text = "fn f() { std::time::Instant::now(); }\n#[cfg(test)] fn t() { Instant::now(); }";

        assert_eq!(found(clocks_are_read_at_the_edges, "src/store/mod.rs", text), 1);
        assert_eq!(found(clocks_are_read_at_the_edges, "src/cli/mod.rs", text), 0);
        let text = "use std::time::SystemTime; fn f() { SystemTime\n::now(); }";
        assert_eq!(found(clocks_are_read_at_the_edges, "src/store/mod.rs", text), 1);
    }

    #[test]
    fn a_file_opened_outside_disk_is_found() {
        for text in ["use std::fs::File;", "use std::{fs, io};", "fn f() { std::fs::read(p); }"] {
            assert_eq!(found(files_are_opened_in_their_place, "src/segment/mod.rs", text), 1);
            assert_eq!(found(files_are_opened_in_their_place, "src/disk/real.rs", text), 0);
            assert_eq!(found(files_are_opened_in_their_place, "src/ingest/input.rs", text), 0);
        }
    }

    #[test]
    fn a_line_of_101_columns_is_found() {
        let line = |columns: usize| "\u{e9}".repeat(columns);

        assert_eq!(found(lines_are_short, "tests/a.rs", &line(100)), 0);
        assert_eq!(found(lines_are_short, "tests/a.rs", &line(101)), 1);
        assert_eq!(found(lines_are_short, "src/rpc/generated/a.rs", &line(101)), 0);
    }

    #[test]
    fn a_file_of_601_lines_is_found_and_its_tests_do_not_count() {
        let tests = "#[cfg(test)]\nmod tests {\n\n\n}";
        let file = |lines: usize| "\n".repeat(lines) + tests;

        assert_eq!(found(files_are_short, "src/book/a.rs", &file(600)), 0);
        assert_eq!(found(files_are_short, "src/book/a.rs", &file(601)), 1);
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        assert_eq!(found(names_say_what_is_inside, "src/utils/mod.rs", ""), 1);
        assert_eq!(found(names_say_what_is_inside, "src/book/helpers.rs", ""), 1);
        assert_eq!(found(names_say_what_is_inside, "src/book/side.rs", ""), 0);
    }

    #[test]
    fn a_file_without_its_purpose_is_found() {
        assert_eq!(found(files_open_with_their_purpose, "src/a.rs", "use x;\n//! A."), 1);
        assert_eq!(found(files_open_with_their_purpose, "src/a.rs", "//! A.\n"), 0);
    }

    #[test]
    fn leftovers_are_found() {
        let text = concat!("fn f() { todo!(); dbg!(1); unimplemented!() } // FIX", "ME\n// todo!");

        assert_eq!(found(nothing_is_unfinished, "tests/a.rs", text), 4);
    }

    #[test]
    fn a_path_of_a_build_machine_is_found() {
        let text = concat!("const A: &str = \"/ro", "ot/x\"; // see /ho", "me/me\n");

        assert_eq!(found(no_path_of_a_build_machine, "src/a.rs", text), 2);
        let text = concat!("use crate::a; // target/wo", "rk/a and ./ho", "me/b");
        assert_eq!(found(no_path_of_a_build_machine, "src/a.rs", text), 0);
    }

    #[test]
    fn code_that_is_not_ascii_is_found() {
        assert_eq!(found(code_is_ascii, "src/a.rs", "fn \u{e9}t\u{e9}() {}"), 1);
        assert_eq!(found(code_is_ascii, "src/a.rs", "/// \u{e9}\nfn a() { \"\u{e9}\"; }"), 0);
    }

    #[test]
    fn a_room_of_outside_bytes_that_may_panic_is_found() {
        let all = "//! A.\n#![deny(clippy::unwrap_used, clippy::expect_used, \
                   clippy::indexing_slicing, clippy::panic)]\nmod a;";
        let some = "//! A.\n#![deny(clippy::unwrap_used)]\nmod a;";

        assert_eq!(found(rooms_of_outside_bytes_deny_panics, "src/format/mod.rs", all), 0);
        assert_eq!(found(rooms_of_outside_bytes_deny_panics, "src/format/mod.rs", some), 3);
        assert_eq!(found(rooms_of_outside_bytes_deny_panics, "src/format/mod.rs", "//! A."), 0);
        assert_eq!(found(rooms_of_outside_bytes_deny_panics, "src/book/mod.rs", some), 0);
    }
}
