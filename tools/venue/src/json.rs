//! Parts of JSON texts that venues' protocols share.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::book::{Book, Level, Side};

/// Levels as arrays; the parts keep their text.
pub type Arrays<'a> = Vec<Vec<&'a RawValue>>;

/// An object whose values keep their text.
pub type Object = BTreeMap<String, Box<RawValue>>;

/// Parses a part of a message; what cannot be parsed is `None`.
#[must_use]
pub fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Sets levels of arrays `[price, qty, ...]`.
pub fn set_arrays(book: &mut Book, side: Side, levels: &Arrays<'_>) {
    for level in levels {
        let [price, qty, rest @ ..] = level.as_slice() else { continue };
        book.set(
            side,
            Level {
                price: price.get().to_owned(),
                qty: qty.get().to_owned(),
                rest: rest.iter().map(|part| part.get().to_owned()).collect(),
            },
        );
    }
}

/// A quoted JSON string.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text between `before` and the next `after`.
#[must_use]
pub fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}

/// Where the digits (and sign) of the number after `key` are; it may be quoted.
fn number_after(text: &str, key: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let mut start = from + text.get(from..)?.find(key)? + key.len();
    while matches!(bytes.get(start), Some(b' ' | b'"')) {
        start += 1;
    }
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
    let len = bytes[start..].iter().take_while(|byte| is_part(byte)).count();
    Some(start..start + len)
}

/// Subtracts `offset` from every positive number that follows one of `keys`.
#[must_use]
pub fn shift_numbers(text: &str, keys: &[&str], offset: i64) -> String {
    let mut shifted = text.to_owned();
    for key in keys {
        let mut from = 0;
        while let Some(range) = number_after(&shifted, key, from) {
            from = range.end;
            let Ok(value) = shifted[range.clone()].parse::<i64>() else { continue };
            if value > 0 {
                let value = (value - offset).to_string();
                from = range.start + value.len();
                shifted.replace_range(range, &value);
            }
        }
    }
    shifted
}

/// Makes the number after `key` wrong; `None` if there is none.
#[must_use]
pub fn spoil_number(text: &str, key: &str) -> Option<String> {
    let range = number_after(text, key, 0)?;
    let value: i64 = text[range.clone()].parse().ok()?;
    let mut spoiled = text.to_owned();
    spoiled.replace_range(range, &(value ^ 1).to_string());
    Some(spoiled)
}

/// Makes the first number with a point no number: `61800.2` becomes `61800,2`, which is neither a
/// number nor the same JSON; `None` if there is none.
#[must_use]
pub fn spoil_price(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        !range.is_empty() && bytes[range].iter().all(u8::is_ascii_digit)
    };
    for (point, _) in text.match_indices('.') {
        let before = bytes[..point].iter().rposition(|byte| !byte.is_ascii_digit());
        let from = before.map_or(0, |at| at + 1);
        let after = bytes[point + 1..].iter().position(|byte| !byte.is_ascii_digit());
        let until = after.map_or(bytes.len(), |at| point + 1 + at);
        let opens = matches!(
            from.checked_sub(1).and_then(|at| bytes.get(at)),
            Some(b'"' | b'[' | b',' | b':')
        );
        let closes = matches!(bytes.get(until), Some(b'"' | b']' | b',' | b'}'));
        if opens && closes && digits(from..point) && digits(point + 1..until) {
            let mut spoiled = text.to_owned();
            spoiled.replace_range(point..=point, "x");
            return Some(spoiled);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_after_their_keys_are_shifted_but_not_those_below_one() {
        let text = r#"{"U":100,"u":"105","pu":-1,"ub":7,"a":[["1","2"]]}"#;
        let shifted = shift_numbers(text, &["\"U\":", "\"u\":", "\"pu\":"], 99);
        assert_eq!(shifted, r#"{"U":1,"u":"6","pu":-1,"ub":7,"a":[["1","2"]]}"#);
    }

    #[test]
    fn what_is_spoiled_is_one_number() {
        assert_eq!(spoil_number(r#"{"c":-12}"#, "\"c\":").unwrap(), r#"{"c":-11}"#);
        assert_eq!(spoil_number("{}", "\"c\":"), None);
        let text = r#"{"t":"2026-08-09T21:05:48.22Z","v":"a.b","p":[["61800.20","1.5"]]}"#;
        let spoiled = spoil_price(text).unwrap();
        assert_eq!(spoiled, text.replace("61800.20", "61800x20"));
        assert_eq!(spoil_price(r#"{"p":1}"#), None);
    }
}
