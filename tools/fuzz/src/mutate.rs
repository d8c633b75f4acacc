//! Changes bytes in the ways that find mistakes: bits, lengths, numbers at their limits, pieces of
//! other inputs.

/// A small generator: an input is its seed and its number.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, input: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (input + 1));
        random.next();
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Numbers that sit at limits.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    7,
    255,
    1 << 15,
    (1 << 16) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 47,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

/// Pieces of text that readers of venues' messages meet.
const WORDS: [&str; 16] = [
    "null",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "0.0000000000000000000001",
    "\"\"",
    "[]",
    "{}",
    "[[",
    "}}",
    "true",
    "\\u0000",
    "\"NaN\"",
    "-0",
    "\u{feff}",
];

/// Changes `bytes` a few times; `other` gives pieces.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random, text: bool) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(if text { 10 } else { 8 }) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let (width, edge) = (1 << random.below(4), EDGES[random.below(EDGES.len())]);
                // Numbers of the formats lie at multiples of their width.
                let at = if text { at } else { at / width * width };
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&edge.to_le_bytes()[..end - at]);
            }
            4 => {
                let step = [1, 2, 8, 64, 255][random.below(5)] as u8;
                bytes[at] = bytes[at].wrapping_add(step);
            }
            5 => {
                let end = (at + random.below(64)).min(bytes.len());
                bytes[at..end].fill(if random.below(2) == 0 { 0 } else { 0xff });
            }
            6 => {
                let start = random.below(other.len());
                let piece = &other[start..(start + random.below(128)).min(other.len())];
                let end = (at + piece.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&piece[..end - at]);
            }
            7 => {
                let end = (at + random.below(256)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            8 => {
                let word = WORDS[random.below(WORDS.len())].bytes();
                let end = (at + random.below(12)).min(bytes.len());
                bytes.splice(at..end, word);
            }
            _ => {
                let end = (at + random.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
}
