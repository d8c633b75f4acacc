//! The house rules that no compiler knows: who imports whom, what is named where, how files look.
//!
//! Every rule is a function from the tree of Rust files to its findings, `path:line: what`; here it
//! runs on this tree, and beside it a test plants violations and expects them found.

#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

use tree::Tree;

macro_rules! this_tree_keeps {
    ($($rule:path => $name:ident;)*) => {$(
        #[test]
        fn $name() {
            let findings = $rule(&Tree::read());

            assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
        }
    )*};
}

this_tree_keeps! {
    floors::imports_go_down => imports_go_down;
    floors::no_circles => no_circles;
    rules::unsafe_is_in_its_place => unsafe_is_in_its_place;
    rules::network_stays_outside_the_engine => network_stays_outside_the_engine;
    rules::clocks_are_read_at_the_edges => clocks_are_read_at_the_edges;
    rules::files_are_opened_in_their_place => files_are_opened_in_their_place;
    rules::lines_are_short => lines_are_short;
    rules::files_are_short => files_are_short;
    rules::names_say_what_is_inside => names_say_what_is_inside;
    rules::files_open_with_their_purpose => files_open_with_their_purpose;
    rules::nothing_is_unfinished => nothing_is_unfinished;
    rules::no_path_of_a_build_machine => no_path_of_a_build_machine;
    rules::code_is_ascii => code_is_ascii;
    rules::rooms_of_outside_bytes_deny_panics => rooms_of_outside_bytes_deny_panics;
}
