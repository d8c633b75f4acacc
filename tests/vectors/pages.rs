//! Pages in every encoding.

use tickreel::codec::{self, Encoding, IntegerPage};
use tickreel::event::TextValues;
use tickreel::quantity::NULL;

use crate::Vector;
use crate::describe::{self, Toml};

/// A number that looks random, from its place.
fn scattered(at: i64) -> i64 {
    let mut x = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ x >> 31) as i64
}

fn integers(
    name: &str,
    about: &str,
    expected: Encoding,
    plain_bytes: usize,
    values: impl IntoIterator<Item = i64>,
) -> Vector {
    let values: Vec<i64> = values.into_iter().collect();
    let mut bytes = Vec::new();
    let encoding = match expected {
        Encoding::Bins | Encoding::DeltaBins => {
            codec::encode_compact(&values, plain_bytes, None, &mut bytes).0
        }
        _ => codec::encode_integers(&values, plain_bytes, &mut bytes),
    };
    assert_eq!(encoding, expected, "{name}");
    let page = IntegerPage::parse(&bytes, encoding, values.len(), plain_bytes).unwrap();
    let mut read = Vec::new();
    page.read(0..values.len(), &mut read).unwrap();
    assert_eq!(read, values, "{name}");

    let mut toml = Toml::default();
    toml.text("form", "integer page");
    toml.text("about", about);
    toml.text("encoding", describe::encoding(encoding));
    toml.number("plain_bytes", plain_bytes as u64);
    toml.number("count", values.len() as u64);
    toml.texts("values", read.iter().map(|&value| describe::null_or(value, value.to_string())));
    Vector::new(name, bytes, toml.finish())
}

fn texts(name: &str, about: &str, expected: Encoding, values: &[&[u8]]) -> Vector {
    let mut all = TextValues::default();
    values.iter().for_each(|value| all.push(value));
    let mut bytes = Vec::new();
    let encoding = codec::encode_texts(&all, &mut bytes);
    assert_eq!(encoding, expected, "{name}");
    let read = codec::decode_texts(&bytes, encoding, values.len(), 0..values.len()).unwrap();
    assert_eq!(read, all, "{name}");

    let mut toml = Toml::default();
    toml.text("form", "text page");
    toml.text("about", about);
    toml.text("encoding", describe::encoding(encoding));
    toml.number("count", values.len() as u64);
    toml.texts("values_hex", (0..values.len()).map(|at| describe::hex(read.get(at))));
    Vector::new(name, bytes, toml.finish())
}

pub fn vectors() -> Vec<Vector> {
    let mut vectors = plain_and_constant();
    vectors.extend(packed());
    vectors.extend(delta());
    vectors.extend(text());
    vectors.extend(bins());
    vectors
}

/// Mostly 0, seldom far from it.
fn skewed(at: i64) -> i64 {
    match scattered(at) & 0xff {
        0..160 => 0,
        160..220 => 7,
        220..250 => 100 + (scattered(at) >> 8 & 0x1f),
        _ => -40_000 + (scattered(at) >> 8 & 0xfff),
    }
}

fn bins() -> Vec<Vector> {
    use Encoding::{Bins, DeltaBins};
    let rising = |at: i64| (0..at).map(|at| 1_000_000 + skewed(at).abs()).sum::<i64>();
    vec![
        integers(
            "page-bins-short",
            "a short group: 0, 7, about 100 and far below",
            Bins,
            8,
            (0..200).map(|at| 5000 + 50 * skewed(at)),
        ),
        integers(
            "page-bins-wide",
            "a full and a short group; the lowest numbers of the bins take 8 bytes; nulls",
            Bins,
            8,
            (0..1100).map(|at| match skewed(at) {
                ..0 => NULL,
                7 => i64::MAX - (at & 3),
                value => value,
            }),
        ),
        integers(
            "page-delta-bins",
            "a short group of rising values",
            DeltaBins,
            8,
            (0..120).map(rising),
        ),
    ]
}

fn plain_and_constant() -> Vec<Vector> {
    use Encoding::{Constant, Plain};
    vec![
        integers("page-plain-8", "integers of 8 bytes", Plain, 8, [-2, NULL, i64::MAX]),
        integers("page-plain-4", "integers of 4 bytes", Plain, 4, [1, 3, 4_000_000_000]),
        integers("page-plain-1", "integers of 1 byte", Plain, 1, [2, 0, 1, 1, 255]),
        integers("page-constant", "one value for all", Constant, 8, [-7; 5]),
        integers("page-constant-null", "null for all", Constant, 8, [NULL; 3]),
    ]
}

fn packed() -> Vec<Vector> {
    use Encoding::Packed;
    let step = |at: i64| (at * 7919 % 10_007) % 13;
    let with = move |every: i64, large: i64| {
        (0..200).map(move |at| if at % every == 7 { large + at } else { 50_000 + step(at) })
    };
    let mut width_64: Vec<i64> = vec![5; 2048];
    width_64.splice(1024..2048, (0..1024).map(scattered));
    let mut short_64: Vec<i64> = vec![5; 1024];
    short_64.extend((0..20).map(scattered));
    vec![
        integers(
            "page-packed-short",
            "one short group of width 4: a stream of bits",
            Packed,
            8,
            (0..20).map(|at| 1000 + step(at)),
        ),
        integers(
            "page-packed-full",
            "one full group of width 4: 16 lanes",
            Packed,
            8,
            (0..1024).map(|at| 1000 + step(at)),
        ),
        integers(
            "page-packed-full-wide",
            "one full group whose values cross the border of two words",
            Packed,
            8,
            (0..1024).map(|at| scattered(at) & 0x7ff_ffff),
        ),
        integers(
            "page-packed-multiplier",
            "a full and a short group of multiples of 50, some below the first",
            Packed,
            8,
            (0..1100).map(|at| -300 + step(at) * 50),
        ),
        integers("page-packed-exceptions-1", "of 1 byte", Packed, 8, {
            with(40, 100_000).map(|v| if v < 100_000 { v } else { 50_020 + (v - 100_000) / 2 })
        }),
        integers("page-packed-exceptions-2", "of 2 bytes", Packed, 8, with(40, 45_000)),
        integers("page-packed-exceptions-4", "of 4 bytes", Packed, 8, with(40, 4_000_000)),
        integers("page-packed-exceptions-8", "of 8 bytes: nulls", Packed, 8, {
            with(40, 0).map(|value| if value < 1000 { NULL } else { value })
        }),
        integers(
            "page-packed-width-0",
            "two groups of one value each: no packed bits at all",
            Packed,
            8,
            (0..2000).map(|at| if at < 1024 { 11 } else { -5 }),
        ),
        integers("page-packed-width-64", "a full group of width 64", Packed, 8, width_64),
        integers("page-packed-width-64-short", "a short group of width 64", Packed, 8, short_64),
        integers(
            "page-packed-codes",
            "codes of one byte, packed",
            Packed,
            1,
            (0..300).map(|at| at * at % 3),
        ),
    ]
}

fn delta() -> Vec<Vector> {
    use Encoding::Delta;
    vec![
        integers(
            "page-delta-short",
            "10 rising values with steps of 1000 to 1006",
            Delta,
            8,
            (0..10).map(|at| 5000 + at * 1000 + at * at % 7),
        ),
        integers(
            "page-delta-short-last",
            "multiples of 1,000,000: a full group and one of 76 values",
            Delta,
            8,
            (0..1100).map(|at| (at * 20 + at * at % 7) * 1_000_000),
        ),
        integers(
            "page-delta-exceptions",
            "falling values with two jumps",
            Delta,
            8,
            (0..500).map(|at| {
                let jump = if at >= 100 { 1_000_000_000_000 } else { 0 };
                let back = if at >= 300 { -3_000_000_000_000 } else { 0 };
                jump + back - at * 10 - (at * 7919 % 10_007) % 4
            }),
        ),
        integers(
            "page-delta-steady",
            "steps of 3 without exception: no packed bits",
            Delta,
            8,
            (0..1500).map(|at| 7 + at * 3 + at / 1024),
        ),
    ]
}

fn text() -> Vec<Vector> {
    let ids: Vec<String> = (0..40).map(|at| (3_735_683_259i64 + at * 3).to_string()).collect();
    let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    let mut near = ids.clone();
    near.push(b"007");
    let repeated = [&b"expected 5, found 7"[..]; 30];
    vec![
        texts(
            "page-text-plain",
            "short values that do not compress; the last is not UTF-8",
            Encoding::Plain,
            &[b"T-1", b"", "\u{2192}".as_bytes(), b"\xff\x00"],
        ),
        texts("page-text-lz4", "one value 30 times", Encoding::Lz4, &repeated),
        texts("page-text-lz4-ids", "numbers, and one that is not canonical", Encoding::Lz4, &near),
        texts("page-text-integers", "canonical integers", Encoding::TextIntegers, &ids),
        texts(
            "page-text-integers-few",
            "0, a negative, the smallest and the largest",
            Encoding::TextIntegers,
            &[b"0", b"-5", b"-9223372036854775808", b"9223372036854775807"],
        ),
    ]
}
