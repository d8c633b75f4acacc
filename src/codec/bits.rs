//! Bit-packing of up to 1,024 unsigned integers of one width.
//!
//! A full group is packed in 16 lanes so that the compiler's vector instructions unpack it: value
//! `i` is in lane `i % 16`, lane words of a row lie side by side. A shorter group is one stream of
//! bits. Both are little-endian, least significant bit first.

use super::{Fault, Result};
use crate::limit::GROUP_VALUES;

/// Lanes of a full group.
pub const LANES: usize = 16;
/// Values per lane of a full group.
pub const LANE_VALUES: usize = GROUP_VALUES / LANES;

/// The values of a group.
pub type Group<T = u64> = [[T; LANES]; LANE_VALUES];

/// Bytes that `count` values of `width` bits take, a multiple of 8.
pub fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(64) * 8
}

fn mask(width: u32) -> u64 {
    if width == 0 { 0 } else { u64::MAX >> (64 - width.min(64)) }
}

/// Appends `values`, at most [`GROUP_VALUES`] and each below 2^`width`, to `out`.
pub fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    match values.len() {
        _ if width == 0 => {}
        GROUP_VALUES => pack_lanes(values.as_chunks::<LANES>().0, width, out),
        _ => pack_lanes(values.as_chunks::<1>().0, width, out),
    }
}

/// Packs lanes that lie side by side; one lane is a stream of bits.
fn pack_lanes<const COUNT: usize>(values: &[[u64; COUNT]], width: u32, out: &mut Vec<u8>) {
    // One word of each lane, and how many of its bits are in use.
    let (mut words, mut bits) = ([0; COUNT], 0);
    for values in values {
        words.iter_mut().zip(values).for_each(|(word, value)| *word |= value << bits);
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(bytemuck::cast_slice(&words));
            bits -= u64::BITS;
            // In two steps, since a shift by all 64 bits is none.
            let taken = width - bits - 1;
            words.iter_mut().zip(values).for_each(|(word, value)| *word = value >> 1 >> taken);
        }
    }
    if bits > 0 {
        out.extend_from_slice(bytemuck::cast_slice(&words));
    }
}

/// Reads `count` values of `width` bits from `bytes` into the first values of `out`, each as `make`
/// makes it.
pub fn unpack<T: Copy>(
    bytes: &[u8],
    count: usize,
    width: u32,
    out: &mut Group<T>,
    make: impl Fn(u64) -> T,
) -> Result<()> {
    if width > 64 || count > GROUP_VALUES || bytes.len() != packed_len(count, width) {
        return Err(Fault("packed bits have another length than their count and width"));
    }
    if width == 0 {
        out.as_flattened_mut().fill(make(0));
    } else if count == GROUP_VALUES {
        match bytemuck::try_cast_slice::<u8, [u64; LANES]>(bytes) {
            Ok(rows) => unpack_lanes(rows, width, out, make),
            Err(_) => {
                let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
                let words: Vec<u64> = words.collect();
                unpack_lanes(words.as_chunks::<LANES>().0, width, out, make);
            }
        }
    } else {
        unpack_stream(bytes, count, width, out.as_flattened_mut(), make);
    }
    Ok(())
}

fn unpack_lanes<T>(rows: &[[u64; LANES]], width: u32, out: &mut Group<T>, make: impl Fn(u64) -> T) {
    const ZERO: [u64; LANES] = [0; LANES];
    let mask = mask(width);
    for (at, out) in (0u32..).zip(out.iter_mut()) {
        let (word, shift) = ((at * width / 64) as usize, at * width % 64);
        let low = rows.get(word).unwrap_or(&ZERO);
        if shift + width <= 64 {
            for (out, low) in out.iter_mut().zip(low) {
                *out = make((low >> shift) & mask);
            }
        } else {
            let high = rows.get(word + 1).unwrap_or(&ZERO);
            for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                *out = make(((low >> shift) | (high << (64 - shift))) & mask);
            }
        }
    }
}

fn unpack_stream<T>(
    bytes: &[u8],
    count: usize,
    width: u32,
    out: &mut [T],
    make: impl Fn(u64) -> T,
) {
    let mask = mask(width);
    let (words, _) = bytes.as_chunks::<8>();
    let word = |index: usize| words.get(index).map_or(0, |word| u64::from_le_bytes(*word));
    for (index, out) in out.iter_mut().take(count).enumerate() {
        let bit = index * width as usize;
        let (at, shift) = (bit / 64, (bit % 64) as u32);
        let wide = u128::from(word(at)) | u128::from(word(at + 1)) << 64;
        *out = make((wide >> shift) as u64 & mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_length_comes_back() {
        for width in 0..=64 {
            for count in [1, 2, 15, 16, 63, 64, 65, 1000, 1023, 1024] {
                let values: Vec<u64> = (0..count as u64)
                    .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask(width))
                    .collect();
                let mut bytes = Vec::new();
                pack(&values, width, &mut bytes);
                let mut out: Box<Group> = Box::new([[u64::MAX; LANES]; LANE_VALUES]);

                unpack(&bytes, count, width, &mut out, |value| value).unwrap();

                assert_eq!(out.as_flattened()[..count], values, "width {width}, count {count}");
            }
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let mut out: Box<Group> = Box::new([[0; LANES]; LANE_VALUES]);
        assert!(unpack(&[0; 8], 1, 65, &mut out, |value| value).is_err());
        assert!(unpack(&[0; 8], 2, 40, &mut out, |value| value).is_err());
        assert!(unpack(&[0; 24], 1025, 0, &mut out, |value| value).is_err());
    }
}
