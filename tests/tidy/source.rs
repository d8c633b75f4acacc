//! Rust source as the rules see it: text, code without comments and strings, paths it names.

/// One file of the tree.
pub struct Source {
    /// Path from the package root with `/`, e.g. `src/event/batch.rs`.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// The file with comments, strings and characters blanked; same bytes per line.
    pub code: String,
    /// As `code`, with everything under `#[cfg(test)]` blanked too.
    pub shipped: String,
    /// Modules declared under `#[cfg(test)]`: `tests` for `#[cfg(test)] mod tests;`.
    pub test_modules: Vec<String>,
    /// Lines of the items under `#[cfg(test)]`.
    pub test_lines: usize,
}

/// A path that code names, e.g. `crate::event::Batch`, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Identifiers from the left; a glob is `*`.
    pub parts: Vec<String>,
    /// Line, from 1.
    pub line: usize,
    /// Whether it stands in `pub use`: a name handed on, not needed.
    pub handed_on: bool,
}

impl Source {
    /// Reads `text` as the file `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank_comments_and_strings(text);
        let (path, text) = (path.to_owned(), text.to_owned());
        let mut source =
            Self { path, text, shipped: code.clone(), code, test_modules: vec![], test_lines: 0 };
        source.blank_tests();
        source
    }

    /// The modules above and of this file: `["event", "batch"]` for `src/event/batch.rs`.
    pub fn module(&self) -> Vec<String> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let inner = inner.strip_suffix(".rs").unwrap_or(inner);
        let mut parts: Vec<_> = inner.split('/').map(str::to_owned).collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    /// The folder or file directly under `src/`: `event`, `limit`; `main` and `lib` for the roots.
    pub fn room(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split('/').next().map_or("", |first| first.strip_suffix(".rs").unwrap_or(first))
    }

    /// Blanks each item under `#[cfg(test)]` or `#[cfg(all(test, ..))]` in `shipped`.
    fn blank_tests(&mut self) {
        let mut shipped = std::mem::take(&mut self.shipped).into_bytes();
        let mut from = 0;
        while let Some(offset) = self.code[from..].find("#[cfg(") {
            let start = from + offset;
            from = start + 6;
            if !is_test_only(&self.code[from..]) {
                continue;
            }
            from = end_of_item(self.code.as_bytes(), start);
            let item = &self.code[start..from];
            if let [.., ("mod", _), (name, _), (";", _)] = tokens(item)[..] {
                self.test_modules.push(name.to_owned());
            }
            self.test_lines += item.matches('\n').count() + 1;
            blank(&mut shipped[start..from]);
        }
        self.shipped = String::from_utf8_lossy(&shipped).into_owned();
    }

    /// Every path in shipped code, `use` trees spread out.
    pub fn named(&self) -> Vec<Named> {
        named_in(&self.shipped)
    }
}

/// Identifiers, `::` and single other characters of blanked code, each with its line.
pub fn tokens(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if first == '\n' {
            line += 1;
        }
        if !first.is_whitespace() {
            found.push((token, line));
        }
        rest = after;
    }
    found
}

fn named_in(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (token, line) = tokens[at];
        if token == "use" {
            let handed_on = at > 0 && (tokens[at - 1].0 == "pub" || tokens[at - 1].0 == ")");
            at += 1;
            if tokens.get(at).is_some_and(|next| next.0 == "::") {
                at += 1;
            }
            read_tree(&tokens, &mut at, &[], handed_on, &mut found);
        } else if is_identifier(token) && tokens.get(at + 1).is_some_and(|next| next.0 == "::") {
            let mut parts = vec![token.to_owned()];
            while tokens.get(at + 1).is_some_and(|next| next.0 == "::")
                && tokens.get(at + 2).is_some_and(|next| is_identifier(next.0))
            {
                parts.push(tokens[at + 2].0.to_owned());
                at += 2;
            }
            found.push(Named { parts, line, handed_on: false });
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// One branch of a `use` tree; leaves `at` behind it.
fn read_tree(
    tokens: &[(&str, usize)],
    at: &mut usize,
    before: &[String],
    handed_on: bool,
    found: &mut Vec<Named>,
) {
    let mut parts = before.to_vec();
    while let Some(&(token, line)) = tokens.get(*at) {
        match token {
            "{" => {
                *at += 1;
                while tokens.get(*at).is_some_and(|next| next.0 != "}") {
                    let start = *at;
                    read_tree(tokens, at, &parts, handed_on, found);
                    if tokens.get(*at).is_some_and(|next| next.0 == ",") || *at == start {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "::" => *at += 1,
            "as" => *at += 2,
            _ if is_identifier(token) || token == "*" => {
                if token != "self" || parts.is_empty() {
                    parts.push(token.to_owned());
                }
                *at += 1;
                if tokens.get(*at).is_none_or(|next| next.0 != "::") {
                    found.push(Named { parts: parts.clone(), line, handed_on });
                }
            }
            _ => return,
        }
    }
}

fn is_identifier(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Replaces comments, strings and characters by blanks; line ends stay.
fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => end_of(bytes, at, b"\n"),
            [b'/', b'*', ..] => end_of_block_comment(bytes, at),
            [b'"', ..] => end_of_string(bytes, at),
            [b'\'', ..] => end_of_character(bytes, at),
            [b'r', b'"' | b'#', ..] if !follows_word(bytes, at) => end_of_raw(bytes, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        blank(&mut code[at..end]);
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Whether the byte before belongs to a word other than the `b` or `c` of `br""` and `cr""`.
fn follows_word(bytes: &[u8], at: usize) -> bool {
    let word = |at: usize| bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_';
    match at {
        0 => false,
        1 => word(0) && !matches!(bytes[0], b'b' | b'c'),
        _ => word(at - 1) && (!matches!(bytes[at - 1], b'b' | b'c') || word(at - 2)),
    }
}

fn end_of(bytes: &[u8], from: usize, mark: &[u8]) -> usize {
    let found = bytes[from..].windows(mark.len()).position(|window| window == mark);
    found.map_or(bytes.len(), |offset| from + offset)
}

fn end_of_block_comment(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// End of a character literal; `from` itself if the quote starts a lifetime.
fn end_of_character(bytes: &[u8], from: usize) -> usize {
    match &bytes[from + 1..] {
        [b'\\', ..] => (end_of(bytes, (from + 3).min(bytes.len()), b"'") + 1).min(bytes.len()),
        [first, ..] => {
            let length = match first {
                0..0x80 => 1,
                0x80..0xE0 => 2,
                0xE0..0xF0 => 3,
                _ => 4,
            };
            if bytes.get(from + 1 + length) == Some(&b'\'') { from + length + 2 } else { from }
        }
        [] => from,
    }
}

/// End of `r"..."` or `r#"..."#`; `from` itself for a raw identifier.
fn end_of_raw(bytes: &[u8], from: usize) -> usize {
    let hashes = bytes[from + 1..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(from + 1 + hashes) != Some(&b'"') {
        return from;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    (end_of(bytes, from + 2 + hashes, &close) + close.len()).min(bytes.len())
}

/// Whether `condition`, the text after `#[cfg(`, holds in tests only.
fn is_test_only(condition: &str) -> bool {
    let condition = condition.trim_start();
    let word_ends = |rest: &str| rest.starts_with([')', ',', ' ']);
    condition.strip_prefix("test").is_some_and(word_ends)
        || condition.strip_prefix("all(test").is_some_and(word_ends)
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// End of the item that starts at `from` with its attributes: its `;` or closing brace.
fn end_of_item(code: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && *byte == b'}' {
                    return at + 1;
                }
            }
            b';' | b',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = Source::new("src/x.rs", text);
        source.named().iter().map(|named| named.parts.join("::")).collect()
    }

    #[test]
    fn use_trees_are_spread_out() {
        let text = "use crate::{a::{self, B as C}, d::*};\npub(crate) use super::e;\n";

        assert_eq!(paths(text), ["crate::a", "crate::a::B", "crate::d::*", "super::e"]);
        let named = Source::new("src/x.rs", text).named();
        assert_eq!(
            named.iter().map(|n| n.handed_on).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        assert_eq!(named.iter().map(|n| n.line).collect::<Vec<_>>(), [1, 1, 1, 2]);
    }

    #[test]
    fn paths_inside_expressions_are_seen() {
        assert_eq!(
            paths("fn f() { crate::store::open::<u8>(self::g()) }"),
            ["crate::store::open", "self::g"]
        );
    }

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        let text = "// crate::a\n/* crate::b /* x */ crate::c */ \"crate::d \\\" crate::e\" \
                    r#\"crate::f \" crate::g\"# '\"' b'\\'' 'x' fn f<'a>(x: &'a u8) { crate::h() }";

        assert_eq!(paths(text), ["crate::h"]);
    }

    #[test]
    fn code_under_cfg_test_is_not_shipped() {
        let text = "#[cfg(test)]\nmod tests { use crate::a; }\n#[cfg(test)] mod more;\n\
                    #[cfg(feature = \"x\")]\nuse crate::b;\n#[cfg(all(test, unix))] use crate::c;";
        let source = Source::new("src/x.rs", text);

        assert_eq!(paths(text), ["crate::b"]);
        assert_eq!(source.test_modules, ["more"]);
        assert_eq!(source.code.len(), text.len());
    }
}
