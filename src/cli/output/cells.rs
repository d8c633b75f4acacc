//! Single values as text.

use std::io::Write;

use crate::event::{FLAG_LAST, FLAG_SNAPSHOT, Value};
use crate::quantity::Decimal;

/// Names of the flags that are set, in the order of every output.
pub(super) fn flag_names(flags: u8) -> impl Iterator<Item = &'static str> {
    [(FLAG_SNAPSHOT, "SNAPSHOT"), (FLAG_LAST, "LAST")]
        .into_iter()
        .filter(move |(flag, _)| flags & flag != 0)
        .map(|(_, name)| name)
}

/// Appends an integer.
pub(super) fn push_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_digits(out, value.unsigned_abs(), 1);
}

/// Appends a decimal: the shortest exact text, as [`Decimal`] prints.
pub(super) fn push_decimal(out: &mut Vec<u8>, value: Decimal) {
    let value = value.normalized();
    let unit = 10u64.pow(u32::from(value.scale()));
    let magnitude = value.mantissa().unsigned_abs();
    if value.mantissa() < 0 {
        out.push(b'-');
    }
    push_digits(out, magnitude / unit, 1);
    if value.scale() > 0 {
        out.push(b'.');
        push_digits(out, magnitude % unit, usize::from(value.scale()));
    }
}

/// Appends an unsigned integer with at least `width` digits, of at most 20.
fn push_digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while value > 0 || digits.len() - start < width {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends a value as one CSV field: times in nanoseconds, nothing for "no value", text in quotes
/// where RFC 4180 asks for them.
pub(super) fn push_csv(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => {}
        Value::Time(ts) => push_int(out, ts.0),
        Value::Int(value) => push_int(out, value),
        Value::Decimal(value) => push_decimal(out, value),
        Value::Code(name) => out.extend_from_slice(name.as_bytes()),
        Value::Flags(flags) => push_flags(out, flags),
        Value::Text(text) if text.iter().any(|byte| b",\"\r\n".contains(byte)) => {
            out.push(b'"');
            for &byte in text {
                if byte == b'"' {
                    out.push(b'"');
                }
                out.push(byte);
            }
            out.push(b'"');
        }
        Value::Text(text) => out.extend_from_slice(text),
    }
}

/// Appends the names of the flags that are set, with `|` between them.
pub(super) fn push_flags(out: &mut Vec<u8>, flags: u8) {
    for (at, name) in flag_names(flags).enumerate() {
        if at > 0 {
            out.push(b'|');
        }
        out.extend_from_slice(name.as_bytes());
    }
}

/// Appends text as a JSON string.
pub(super) fn push_json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for char in text.chars() {
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            control if u32::from(control) < 0x20 => {
                // Writing to a vector cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_they_print(
            mantissa in prop_oneof![any::<i64>(), -1000i64..1000], scale in 0u8..=18
        ) {
            prop_assert_eq!(text(|out| push_int(out, mantissa)), mantissa.to_string());
            if let Some(value) = Decimal::new(mantissa, scale) {
                prop_assert_eq!(text(|out| push_decimal(out, value)), value.to_string());
            }
        }

        #[test]
        fn json_text_reads_back(value in any::<String>()) {
            let json = text(|out| push_json_text(out, &value));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
        }
    }

    #[test]
    fn csv_text_is_quoted_only_where_it_must_be() {
        let csv = |value: &[u8]| text(|out| push_csv(out, Value::Text(value)));

        assert_eq!(csv(b"plain id"), "plain id");
        assert_eq!(csv(b"a,b"), "\"a,b\"");
        assert_eq!(csv(b"say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!(csv(b"two\nlines"), "\"two\nlines\"");
    }

    #[test]
    fn flags_are_named() {
        let flags = |flags| text(|out| push_flags(out, flags));

        assert_eq!(flags(0), "");
        assert_eq!(flags(FLAG_LAST), "LAST");
        assert_eq!(flags(FLAG_LAST | FLAG_SNAPSHOT), "SNAPSHOT|LAST");
    }
}
