//! One number that sums up rows: equal rows give equal numbers, however they are stored.
//!
//! `format-spec/01-conventions.md`, "Content hash", has the definition. The hash of rows A followed
//! by rows B can be computed from the hashes of A and B, so the hash of a partition is known
//! without reading it. It finds damage and mistakes; it is no protection against an adversary.

use super::batch::{Batch, Column, Values};
use super::schema::{ColumnType, StreamKey};
use crate::limit::SCALE_MAX;
use crate::quantity::{NULL, POW10};

/// The modulus, 2^61 - 1, a Mersenne prime.
const P: u64 = (1 << 61) - 1;
/// The multiplier of one row.
const R: u64 = 0x0b0a_9d7c_3f1e_5261;
/// Odd constants, one per column position: the first 64 bits of the fractional parts of the square
/// roots of the primes, as in SHA-512.
const K: [u64; 16] = [
    0x6a09_e667_f3bc_c909,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
    0xcbbb_9d5d_c105_9ed9,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa5,
];

/// Messages whose rows are hashed at once: their hashes stay in the fastest memory.
const MESSAGES_AT_ONCE: usize = 512;

/// The running hash of rows and their count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentHash {
    value: u64,
    rows: u64,
}

/// High and low half of the product, folded.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[inline]
fn reduce(value: u128) -> u64 {
    let folded = (value & u128::from(P)) as u64 + (value >> 61) as u64;
    let folded = (folded & P) + (folded >> 61);
    if folded >= P { folded - P } else { folded }
}

fn power(mut exponent: u64) -> u64 {
    let (mut base, mut result) = (R, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = reduce(u128::from(result) * u128::from(base));
        }
        base = reduce(u128::from(base) * u128::from(base));
        exponent >>= 1;
    }
    result
}

/// The hash `value` of some rows, followed by rows of these hashes: for each, times [`R`] plus its
/// hash. Of four rows at a time, so that one reduction serves them all.
fn add_rows(mut value: u64, rows: &[u64]) -> u64 {
    let powers = [power(4), power(3), power(2), R];
    let (fours, rest) = rows.as_chunks::<4>();
    for &[a, b, c, last] in fours {
        let products = [value, a, b, c].into_iter().zip(powers);
        let products = products.map(|(hash, power)| u128::from(hash) * u128::from(power));
        let sum = products.sum::<u128>() + u128::from(last);
        // Below 2^127: the part above 2^122 is folded first, so that two folds more are enough.
        value = reduce((sum & ((1 << 122) - 1)) + (sum >> 122));
    }
    for &row in rest {
        value = reduce(u128::from(value) * u128::from(R) + u128::from(row));
    }
    value
}

#[inline]
fn mix_i64(value: i64, key: u64) -> u64 {
    mix(value as u64 ^ key, key | 1)
}

#[inline]
fn mix_decimal(mantissa: i64, unit: i64, key: u64) -> u64 {
    if mantissa == NULL {
        return mix_i64(NULL, key);
    }
    let wide = i128::from(mantissa) * i128::from(unit);
    mix((wide as u64) ^ key, ((wide >> 64) as u64 ^ key) | 1)
}

fn mix_text(text: &[u8], key: u64) -> u64 {
    let mut state = key ^ text.len() as u64;
    for chunk in text.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = mix(state ^ u64::from_le_bytes(word), key | 1);
    }
    state
}

impl ContentHash {
    /// The hash of no rows.
    pub const EMPTY: Self = Self { value: 0, rows: 0 };

    /// A hash as it was stored.
    #[must_use]
    pub fn from_parts(value: u64, rows: u64) -> Self {
        Self { value, rows }
    }

    /// The number itself.
    #[must_use]
    pub fn value(self) -> u64 {
        self.value
    }

    /// How many rows it covers.
    #[must_use]
    pub fn rows(self) -> u64 {
        self.rows
    }

    /// The hash of these rows followed by those of `other`.
    #[must_use]
    pub fn then(self, other: Self) -> Self {
        let moved = u128::from(self.value) * u128::from(power(other.rows));
        Self {
            value: reduce(u128::from(reduce(moved)) + u128::from(other.value)),
            rows: self.rows + other.rows,
        }
    }

    /// Adds some messages of a batch that has every column.
    pub fn update(&mut self, batch: &Batch, messages: std::ops::Range<usize>) {
        self.update_keyed(batch, messages, 0);
    }

    /// As [`ContentHash::update`], for rows of several streams in one hash: `key` tells the stream
    /// (see [`ContentHash::key_of`]).
    pub fn update_keyed(&mut self, batch: &Batch, messages: std::ops::Range<usize>, key: u64) {
        let (mut heads, mut rows) = (Vec::new(), Vec::new());
        let mut start = messages.start;
        while start < messages.end {
            let some = start..messages.end.min(start + MESSAGES_AT_ONCE);
            hash_rows(batch, some.clone(), &mut heads, &mut rows);
            if key != 0 {
                rows.iter_mut().for_each(|hash| *hash = mix(*hash ^ key, K[12]));
            }
            self.value = add_rows(self.value, &rows);
            self.rows += rows.len() as u64;
            start = some.end;
        }
    }

    /// The key of a stream for [`ContentHash::update_keyed`], from its name.
    #[must_use]
    pub fn key_of(stream: &StreamKey) -> u64 {
        mix_text(stream.to_string().as_bytes(), K[11]) | 1
    }

    /// Adds every message of a batch that has every column.
    pub fn update_all(&mut self, batch: &Batch) {
        self.update(batch, 0..batch.messages());
    }
}

/// Makes `rows` the hash of each row of some messages, at least one; `heads` is memory for those of
/// the messages.
fn hash_rows(
    batch: &Batch,
    messages: std::ops::Range<usize>,
    heads: &mut Vec<u64>,
    rows: &mut Vec<u64>,
) {
    let grouped = batch.schema().is_grouped();
    let first_row = batch.message_rows(messages.start).start;
    let end_row = batch.message_rows(messages.end - 1).end;
    heads.clear();
    heads.resize(if grouped { messages.len() } else { 0 }, 0);
    rows.clear();
    rows.resize(end_row - first_row, 0);
    for (at, spec) in batch.schema().columns.iter().enumerate() {
        let (start, sums) = match spec.per_message {
            true => (messages.start, &mut *heads),
            false => (first_row, &mut *rows),
        };
        add_column(batch.column(at), spec.ty, K[at], start, sums);
    }
    let (mut rest, mut start) = (rows.as_mut_slice(), first_row);
    let ends = batch.ends().get(messages).unwrap_or_default();
    for (&end, &mut head) in ends.iter().zip(heads) {
        let (of_message, others) = rest.split_at_mut(end as usize - start);
        (rest, start) = (others, end as usize);
        // The last row of a message is marked, so that message borders count too.
        let Some((last, before)) = of_message.split_last_mut() else { continue };
        before.iter_mut().for_each(|sum| *sum = mix(*sum ^ K[14], head | 1));
        *last = mix(*last ^ K[15], head | 1);
    }
}

fn add_column(column: Option<&Column>, ty: ColumnType, key: u64, start: usize, sums: &mut [u64]) {
    let Some(column) = column else { return };
    match &column.values {
        Values::I64(values) if ty == ColumnType::Decimal => {
            let unit = POW10[usize::from(SCALE_MAX - column.scale)];
            for (sum, &value) in sums.iter_mut().zip(&values[start..]) {
                *sum ^= mix_decimal(value, unit, key).rotate_left(17);
                *sum = sum.wrapping_mul(K[13]);
            }
        }
        Values::I64(values) => {
            for (sum, &value) in sums.iter_mut().zip(&values[start..]) {
                *sum ^= mix_i64(value, key).rotate_left(17);
                *sum = sum.wrapping_mul(K[13]);
            }
        }
        Values::U8(values) => {
            let few: [u64; 4] = std::array::from_fn(|code| mix_i64(code as i64, key));
            for (sum, &value) in sums.iter_mut().zip(&values[start..]) {
                let few = few.get(usize::from(value)).copied();
                *sum ^= few.unwrap_or_else(|| mix_i64(value.into(), key)).rotate_left(17);
                *sum = sum.wrapping_mul(K[13]);
            }
        }
        Values::Text(values) => {
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum ^= mix_text(values.get(start + at), key).rotate_left(17);
                *sum = sum.wrapping_mul(K[13]);
            }
        }
    }
}

impl std::fmt::Display for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, Kind, MessageHead, Side};
    use super::*;
    use crate::quantity::TsNs;

    fn sample(messages: i64) -> Batch {
        let mut builder = BatchBuilder::new(Kind::Book);
        for message in 0..messages {
            builder.begin(MessageHead {
                ts_recv: TsNs(message * 10),
                venue_seq: Some(message),
                ..MessageHead::default()
            });
            for level in 0..=message % 3 {
                builder.level_text(Side::Ask, &format!("{level}.5"), "1").unwrap();
            }
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }

    fn hash(batch: &Batch) -> ContentHash {
        let mut hash = ContentHash::EMPTY;
        hash.update_all(batch);
        hash
    }

    #[test]
    fn parts_joined_give_the_hash_of_the_whole() {
        let whole = sample(20);
        for split in 0..=20 {
            let (mut a, mut b) = (ContentHash::EMPTY, ContentHash::EMPTY);
            a.update(&whole, 0..split);
            b.update(&whole, split..20);
            let mut running = a;
            running.update(&whole, split..20);

            assert_eq!(a.then(b), hash(&whole));
            assert_eq!(running, hash(&whole));
        }
    }

    #[test]
    fn many_rows_at_once_are_as_one_by_one() {
        let rows: Vec<u64> = (0..23).map(|row| u64::MAX - row * row).collect();
        for count in 0..rows.len() {
            let one_by_one =
                rows[..count].iter().fold(P - 1, |value, &row| add_rows(value, &[row]));
            assert_eq!(add_rows(P - 1, &rows[..count]), one_by_one, "{count} rows");
        }
    }

    #[test]
    fn the_scale_does_not_count_but_every_value_and_border_does() {
        let batch = sample(5);
        let mut raised = batch.clone();
        raised.raise_scale(super::super::book::PRICE, 9).unwrap();
        assert_eq!(hash(&raised), hash(&batch));

        let mut order = batch.slice_messages(1..2);
        order.append(&batch.slice_messages(0..1)).unwrap();
        assert_ne!(hash(&order), hash(&batch.slice_messages(0..2)));

        let (_, columns) = batch.clone().into_parts();
        let one: Vec<u32> = (1..=u32::try_from(batch.rows()).unwrap()).collect();
        let mut columns_per_row = columns.clone();
        for (at, column) in columns_per_row.iter_mut().enumerate() {
            if !batch.schema().columns[at].per_message {
                continue;
            }
            let messages: Vec<_> = (0..batch.rows()).map(|row| batch.message_of(row)).collect();
            match &mut column.as_mut().unwrap().values {
                Values::I64(values) => {
                    *values = messages.iter().map(|&m| values[m]).collect::<Vec<_>>().into();
                }
                Values::U8(values) => {
                    *values = messages.iter().map(|&m| values[m]).collect::<Vec<_>>().into();
                }
                Values::Text(_) => {}
            }
        }
        let split = Batch::from_parts(Kind::Book, batch.rows(), one.into(), columns_per_row);
        assert_ne!(hash(&split.unwrap()), hash(&batch));
    }
}
