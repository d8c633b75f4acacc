//! Pages of text: LZ4, or integers where every value is a canonical decimal integer.

use std::fmt::Write as _;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::{Encoding, Fault, IntegerPage, Result, encode_integers};
use crate::event::TextValues;
use crate::limit;

/// Start of a plain or LZ4 text page, 16 bytes. `format-spec/04-encodings.md`, table 4.3.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    lengths_len: u32,     //  0  bytes of the page of value lengths that follows
    text_len: u32,        //  4  bytes of all values, decoded
    lengths_encoding: u8, //  8  of the page of value lengths
    reserved: [u8; 7],    //  9  written 0
}

const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(HEADER_BYTES == 16);

/// Appends text values to `out` and says in which encoding.
pub fn encode_texts(texts: &TextValues, out: &mut Vec<u8>) -> Encoding {
    let count = texts.ends.len();
    if let Some(integers) = (0..count).map(|at| canonical_integer(texts.get(at))).collect() {
        let integers: Vec<i64> = integers;
        let mut page = Vec::new();
        let inner = encode_integers(&integers, 8, &mut page);
        out.extend_from_slice(&[inner as u8, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&page);
        return Encoding::TextIntegers;
    }
    let lengths = (0..count).map(|at| texts.get(at).len() as i64).collect::<Vec<_>>();
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let lengths_encoding = encode_integers(&lengths, 4, out);
    let lengths_len = out.len() - start - HEADER_BYTES;
    let packed = lz4_flex::block::compress(&texts.bytes);
    let encoding = if packed.len() < texts.bytes.len() {
        out.extend_from_slice(&packed);
        Encoding::Lz4
    } else {
        out.extend_from_slice(&texts.bytes);
        Encoding::Plain
    };
    let header = Header {
        lengths_len: u32::try_from(lengths_len).unwrap_or(u32::MAX),
        text_len: u32::try_from(texts.bytes.len()).unwrap_or(u32::MAX),
        lengths_encoding: lengths_encoding as u8,
        reserved: [0; 7],
    };
    if let Some(place) = out.get_mut(start..start + HEADER_BYTES) {
        place.copy_from_slice(bytemuck::bytes_of(&header));
    }
    encoding
}

/// The integer whose shortest decimal text this is.
fn canonical_integer(text: &[u8]) -> Option<i64> {
    let value = std::str::from_utf8(text).ok()?.parse::<i64>().ok()?;
    let canonical = matches!(text, [b'0'] | [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..]);
    canonical.then_some(value)
}

/// Reads values `range` of a page of `count` text values. Of integers, no others are decoded.
///
/// # Errors
/// A [`Fault`] if the bytes contradict the specification, decode to more than
/// [`limit::BLOCK_TEXT_BYTES_MAX`] bytes or hold a value above [`limit::TEXT_BYTES_MAX`].
pub fn decode_texts(
    bytes: &[u8],
    encoding: Encoding,
    count: usize,
    range: Range<usize>,
) -> Result<TextValues> {
    match encoding {
        Encoding::Plain => {
            let (header, lengths, text) = parts(bytes, count)?;
            if header.text_len as usize > limit::BLOCK_TEXT_BYTES_MAX {
                return Err(Fault("text page claims an impossible length"));
            }
            if text.len() != header.text_len as usize {
                return Err(Fault("text page has another length than it claims"));
            }
            join(&lengths, text.to_vec()).map(|texts| part(texts, range))
        }
        Encoding::Lz4 => {
            let (header, lengths, packed) = parts(bytes, count)?;
            let text_len = header.text_len as usize;
            // LZ4 cannot expand more than 255 times, so a larger claim is a lie.
            if text_len > limit::BLOCK_TEXT_BYTES_MAX || text_len > packed.len().saturating_mul(255)
            {
                return Err(Fault("text page claims an impossible length"));
            }
            let text = lz4_flex::block::decompress(packed, text_len)
                .map_err(|_| Fault("text page is not valid LZ4"))?;
            if text.len() != text_len {
                return Err(Fault("text page decodes to another length than it claims"));
            }
            join(&lengths, text).map(|texts| part(texts, range))
        }
        Encoding::TextIntegers => {
            let (head, page) =
                bytes.split_first_chunk::<8>().ok_or(Fault("text page is too short"))?;
            let [inner, reserved @ ..] = *head;
            let inner = Encoding::from_code(inner).ok_or(Fault("unknown encoding"))?;
            if reserved != [0; 7] {
                return Err(Fault("reserved bytes of a text page are not 0"));
            }
            let mut integers = Vec::new();
            IntegerPage::parse(page, inner, count, 8)?.read(range, &mut integers)?;
            let (mut texts, mut digits) = (TextValues::default(), String::new());
            for value in integers {
                digits.clear();
                // Writing to a String cannot fail.
                let _ = write!(digits, "{value}");
                texts.push(digits.as_bytes());
            }
            Ok(texts)
        }
        _ => Err(Fault("page of text has an encoding for integers")),
    }
}

/// Some of the values.
fn part(texts: TextValues, range: Range<usize>) -> TextValues {
    if range == (0..texts.ends.len()) {
        return texts;
    }
    let mut part = TextValues::default();
    range.for_each(|at| part.push(texts.get(at)));
    part
}

/// Header, value lengths and the stored text of a plain or LZ4 page.
fn parts(bytes: &[u8], count: usize) -> Result<(Header, Vec<i64>, &[u8])> {
    const SHORT: Fault = Fault("text page ends inside its value lengths");
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(SHORT)?;
    let header: Header = bytemuck::pod_read_unaligned(header);
    if header.reserved != [0; 7] {
        return Err(Fault("reserved bytes of a text page are not 0"));
    }
    let (page, text) = rest.split_at_checked(header.lengths_len as usize).ok_or(SHORT)?;
    let encoding = Encoding::from_code(header.lengths_encoding).ok_or(Fault("unknown encoding"))?;
    let mut lengths = Vec::new();
    IntegerPage::parse(page, encoding, count, 4)?.read(0..count, &mut lengths)?;
    Ok((header, lengths, text))
}

fn join(lengths: &[i64], text: Vec<u8>) -> Result<TextValues> {
    const WRONG: Fault = Fault("text values do not cover their bytes");
    let mut ends = Vec::with_capacity(lengths.len());
    let mut end = 0u32;
    for &length in lengths {
        let length = u32::try_from(length).map_err(|_| WRONG)?;
        if length as usize > limit::TEXT_BYTES_MAX {
            return Err(Fault("text value is longer than a text may be"));
        }
        end = end.checked_add(length).ok_or(WRONG)?;
        ends.push(end);
    }
    if end as usize != text.len() {
        return Err(WRONG);
    }
    Ok(TextValues { ends: ends.into(), bytes: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(values: &[&[u8]]) -> TextValues {
        let mut texts = TextValues::default();
        values.iter().for_each(|value| texts.push(value));
        texts
    }

    fn round_trip(values: &TextValues) -> (Encoding, Vec<u8>) {
        let mut bytes = Vec::new();
        let encoding = encode_texts(values, &mut bytes);
        let count = values.ends.len();
        assert_eq!(&decode_texts(&bytes, encoding, count, 0..count).unwrap(), values);
        let some = count / 3..count - count / 4;
        let found = decode_texts(&bytes, encoding, count, some.clone()).unwrap();
        assert!(some.map(|at| values.get(at)).eq((0..found.ends.len()).map(|at| found.get(at))));
        (encoding, bytes)
    }

    #[test]
    fn ids_that_are_integers_are_stored_as_integers_and_come_back_exactly() {
        let (encoding, _) = round_trip(&texts(&[b"3735683259", b"0", b"-5"]));
        assert_eq!(encoding, Encoding::TextIntegers);
        for other in [&b"007"[..], b"+5", b"-0", b"", b"9223372036854775808", b"1e5", b"\xff"] {
            let (encoding, _) = round_trip(&texts(&[b"1", other]));
            assert_ne!(encoding, Encoding::TextIntegers, "{other:?}");
        }
    }

    #[test]
    fn repeated_text_is_compressed() {
        let values = texts(&[&b"expected 5, found 7"[..]; 1000]);
        let (encoding, bytes) = round_trip(&values);
        assert_eq!(encoding, Encoding::Lz4);
        assert!(bytes.len() < 1000);
    }

    #[test]
    fn a_claimed_length_allocates_nothing_large() {
        for claim in [limit::BLOCK_TEXT_BYTES_MAX + 1, limit::BLOCK_TEXT_BYTES_MAX] {
            let header = Header {
                lengths_len: 8,
                text_len: claim as u32,
                lengths_encoding: Encoding::Constant as u8,
                reserved: [0; 7],
            };
            let mut bytes = bytemuck::bytes_of(&header).to_vec();
            bytes.extend_from_slice(&(claim as i64).to_le_bytes());
            bytes.extend_from_slice(&[0; 100]);
            let fault = decode_texts(&bytes, Encoding::Lz4, 1, 0..1).unwrap_err();
            assert_eq!(fault, Fault("text page claims an impossible length"));
        }
    }

    /// A plain page whose only value claims `length` bytes and has `text`.
    fn one_plain_value(length: usize, text: &[u8]) -> Vec<u8> {
        let header = Header {
            lengths_len: 8,
            text_len: length as u32,
            lengths_encoding: Encoding::Constant as u8,
            reserved: [0; 7],
        };
        let length = (length as i64).to_le_bytes();
        [bytemuck::bytes_of(&header), &length, text].concat()
    }

    #[test]
    fn a_value_and_a_page_have_their_limits() {
        let fault =
            |page: &[u8]| decode_texts(page, Encoding::Plain, 1, 0..1).map(|_| ()).unwrap_err();
        let long = vec![b'x'; limit::TEXT_BYTES_MAX + 1];
        let longest = &long[1..];

        let page = one_plain_value(longest.len(), longest);
        assert!(decode_texts(&page, Encoding::Plain, 1, 0..1).is_ok());
        let found = fault(&one_plain_value(long.len(), &long));
        assert_eq!(found, Fault("text value is longer than a text may be"));

        let found = fault(&one_plain_value(limit::BLOCK_TEXT_BYTES_MAX, b""));
        assert_eq!(found, Fault("text page has another length than it claims"));
        let found = fault(&one_plain_value(limit::BLOCK_TEXT_BYTES_MAX + 1, b""));
        assert_eq!(found, Fault("text page claims an impossible length"));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(values in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..20), 1..200)) {
            let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            round_trip(&texts(&slices));
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..50,
        ) {
            for code in 0..6 {
                let _ = decode_texts(&bytes, Encoding::from_code(code).unwrap(), count, 0..count);
            }
        }
    }
}
