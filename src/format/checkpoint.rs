//! A whole book as bytes. `format-spec/05-checkpoints.md`.

use bytemuck::{Pod, Zeroable};

use super::{Fault, Result, read};
use crate::book::{Checkpoint, State, Tracker};
use crate::codec::{self, Encoding, IntegerPage};
use crate::event::Side;
use crate::limit;
use crate::quantity::TsNs;

/// Start of a checkpoint, 64 bytes. Table 5.1.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Head {
    state: u8,              //  0  0 empty, 1 live, 2 stale
    price_scale: u8,        //  1
    qty_scale: u8,          //  2
    reserved: [u8; 5],      //  3  written 0
    stale_since: i64,       //  8  receive time of the gap, ns; 0 unless stale
    missing: u64,           // 16  messages missing, 0 if unknown or not stale
    level_counts: [u32; 2], // 24  bids, asks
    page_lens: [u32; 4],    // 32  bytes of: bid prices, bid quantities, ask prices, ask quantities
    encodings: [u8; 4],     // 48
    reserved_end: [u8; 12], // 52  written 0
}
const _: () = assert!(size_of::<Head>() == 64);

/// Levels of one side, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideLevels {
    /// Prices in units of 10^-price scale.
    pub prices: Vec<i64>,
    /// Quantities in units of 10^-quantity scale, never 0.
    pub qtys: Vec<i64>,
}

/// A book as it is written in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointBook {
    /// Whether it can be relied on.
    pub state: State,
    /// Prices are in units of 10^-scale.
    pub price_scale: u8,
    /// Quantities are in units of 10^-scale.
    pub qty_scale: u8,
    /// Bids, best (highest) first.
    pub bids: SideLevels,
    /// Asks, best (lowest) first.
    pub asks: SideLevels,
}

impl CheckpointBook {
    /// What a tracker is restored from; the times are those of the checkpoint's index entry.
    #[must_use]
    pub fn checkpoint(&self, ts_recv: i64, ts_event: i64, venue_seq: i64) -> Checkpoint<'_> {
        let some = |value| (value != crate::quantity::NULL).then_some(value);
        Checkpoint {
            price_scale: self.price_scale,
            qty_scale: self.qty_scale,
            bid_prices: &self.bids.prices,
            bid_qtys: &self.bids.qtys,
            ask_prices: &self.asks.prices,
            ask_qtys: &self.asks.qtys,
            state: self.state,
            ts_recv: some(ts_recv).map(TsNs),
            ts_event: some(ts_event).map(TsNs),
            venue_seq: some(venue_seq),
        }
    }

    /// Takes the levels and state of a tracker, keeping this book's memory.
    pub fn fill(&mut self, tracker: &Tracker) {
        let book = tracker.book();
        self.state = tracker.state();
        (self.price_scale, self.qty_scale) = (book.price_scale(), book.qty_scale());
        for (side, levels) in [(Side::Bid, &mut self.bids), (Side::Ask, &mut self.asks)] {
            levels.prices.clear();
            levels.qtys.clear();
            book.write_levels(side, &mut levels.prices, &mut levels.qtys);
        }
    }
}

/// Appends a checkpoint to `out`; its length is a multiple of 8. With `compact`, it takes longer to
/// take fewer bytes.
pub fn encode(book: &CheckpointBook, compact: bool, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + size_of::<Head>(), 0);
    let (state, stale_since, missing) = match book.state {
        State::Empty => (0, 0, 0),
        State::Live => (1, 0, 0),
        State::Stale { since, missing } => (2, since.0, missing),
    };
    let (mut page_lens, mut encodings) = ([0; 4], [0; 4]);
    let columns = [&book.bids.prices, &book.bids.qtys, &book.asks.prices, &book.asks.qtys];
    for ((values, page_len), encoding) in
        columns.into_iter().zip(&mut page_lens).zip(&mut encodings)
    {
        let page = out.len();
        *encoding = match compact {
            true => codec::encode_compact(values, 8, None, out).0,
            false => codec::encode_integers(values, 8, out),
        } as u8;
        *page_len = u32::try_from(out.len() - page).unwrap_or(u32::MAX);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    let count = |side: &SideLevels| u32::try_from(side.prices.len()).unwrap_or(u32::MAX);
    let head = Head {
        state,
        price_scale: book.price_scale,
        qty_scale: book.qty_scale,
        reserved: [0; 5],
        stale_since,
        missing,
        level_counts: [count(&book.bids), count(&book.asks)],
        page_lens,
        encodings,
        reserved_end: [0; 12],
    };
    if let Some(place) = out.get_mut(start..start + size_of::<Head>()) {
        place.copy_from_slice(bytemuck::bytes_of(&head));
    }
}

/// Reads a checkpoint; `at` is where it starts in its file.
///
/// # Errors
/// A [`Fault`] if the bytes are no checkpoint, the levels are not in order or a quantity is 0.
pub fn decode(bytes: &[u8], at: u64) -> Result<CheckpointBook> {
    let fault = |what| Fault::new(at, what);
    let head: Head = read(bytes, 0).ok_or(fault("checkpoint is too short"))?;
    if head.reserved != [0; 5] || head.reserved_end != [0; 12] {
        return Err(fault("reserved bytes of a checkpoint are not 0"));
    }
    if head.price_scale > limit::SCALE_MAX || head.qty_scale > limit::SCALE_MAX {
        return Err(fault("scale of a checkpoint is above 18"));
    }
    let state = match head.state {
        0 => State::Empty,
        1 => State::Live,
        2 => State::Stale { since: TsNs(head.stale_since), missing: head.missing },
        _ => return Err(fault("state of a checkpoint is not 0, 1 or 2")),
    };
    if head.state != 2 && (head.stale_since, head.missing) != (0, 0) {
        return Err(fault("checkpoint is not stale and yet says since when"));
    }
    let mut columns: [Vec<i64>; 4] = Default::default();
    let mut start = size_of::<Head>();
    let [bids, asks] = head.level_counts;
    let counts = [bids, bids, asks, asks];
    for (((values, count), len), code) in
        columns.iter_mut().zip(counts).zip(head.page_lens).zip(head.encodings)
    {
        let count = count as usize;
        if count > limit::LEVELS_PER_SIDE_MAX {
            return Err(fault("levels of a checkpoint")
                .expected(limit::LEVELS_PER_SIDE_MAX as u64, count as u64));
        }
        let end = start + len as usize;
        let page = bytes.get(start..end).ok_or(fault("checkpoint ends inside a page"))?;
        let encoding = Encoding::from_code(code).ok_or(fault("unknown encoding"))?;
        IntegerPage::parse(page, encoding, count, 8)
            .and_then(|page| page.read(0..count, values))
            .map_err(|inner| fault(inner.0))?;
        start = end.next_multiple_of(8);
    }
    if start != bytes.len() {
        return Err(fault("bytes after the last page of a checkpoint"));
    }
    // Bits without branches: a pass over thousands of levels is then as fast as memory.
    let has = |values: &[i64], value| values.iter().fold(false, |has, &one| has | (one == value));
    if columns.iter().any(|values| has(values, crate::quantity::NULL)) {
        return Err(fault("null in a level of a checkpoint"));
    }
    let [bid_prices, bid_qtys, ask_prices, ask_qtys] = columns;
    let in_order = bid_prices.is_sorted_by(|a, b| a > b) && ask_prices.is_sorted_by(|a, b| a < b);
    if !in_order || has(&bid_qtys, 0) || has(&ask_qtys, 0) {
        return Err(fault("levels of a checkpoint are not in order"));
    }
    Ok(CheckpointBook {
        state,
        price_scale: head.price_scale,
        qty_scale: head.qty_scale,
        bids: SideLevels { prices: bid_prices, qtys: bid_qtys },
        asks: SideLevels { prices: ask_prices, qtys: ask_qtys },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> CheckpointBook {
        CheckpointBook {
            state: State::Stale { since: TsNs(5), missing: 3 },
            price_scale: 2,
            qty_scale: 5,
            bids: SideLevels {
                prices: (0..1500).map(|i| 6_000_000 - i * 3).collect(),
                qtys: (0..1500).map(|i| 1 + i * i % 1000).collect(),
            },
            asks: SideLevels { prices: vec![6_000_100], qtys: vec![42] },
        }
    }

    #[test]
    fn a_book_comes_back() {
        for book in [CheckpointBook::default(), sample()] {
            for compact in [false, true] {
                let mut bytes = Vec::new();
                encode(&book, compact, &mut bytes);
                assert_eq!(decode(&bytes, 0).unwrap(), book);
            }
        }
    }

    #[test]
    fn damage_is_refused_or_read_without_panic_and_cuts_are_refused() {
        let mut bytes = Vec::new();
        encode(&sample(), false, &mut bytes);
        let used = bytes.len() - 8;
        for cut in (0..used).step_by(7) {
            assert!(decode(&bytes[..cut], 0).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = decode(&damaged, 0);
        }
    }

    #[test]
    fn what_a_checkpoint_cannot_say_is_refused() {
        let encoded = |change: fn(&mut CheckpointBook)| {
            let mut book = sample();
            change(&mut book);
            let mut bytes = Vec::new();
            encode(&book, false, &mut bytes);
            bytes
        };
        let refused = |bytes: &[u8], what: &str| {
            assert_eq!(decode(bytes, 7).unwrap_err(), Fault::new(7, what.to_owned().leak()));
        };
        refused(&encoded(|b| b.bids.qtys[3] = 0), "levels of a checkpoint are not in order");
        refused(&encoded(|b| b.bids.prices.reverse()), "levels of a checkpoint are not in order");
        refused(&encoded(|b| b.asks.qtys[0] = i64::MIN), "null in a level of a checkpoint");
        refused(&encoded(|b| b.asks.prices[0] = i64::MIN), "null in a level of a checkpoint");
        let mut longer = encoded(|_| ());
        longer.extend_from_slice(&[0; 8]);
        refused(&longer, "bytes after the last page of a checkpoint");
        let mut since = encoded(|b| b.state = State::Live);
        since[8] = 1;
        refused(&since, "checkpoint is not stale and yet says since when");
    }

    #[test]
    fn the_largest_book_comes_back() {
        let count = limit::LEVELS_PER_SIDE_MAX;
        let book = CheckpointBook {
            state: State::Live,
            asks: SideLevels { prices: (0..count as i64).collect(), qtys: vec![1; count] },
            ..CheckpointBook::default()
        };
        let mut bytes = Vec::new();
        encode(&book, false, &mut bytes);
        assert_eq!(decode(&bytes, 0).unwrap(), book);
    }

    #[test]
    fn a_claimed_level_count_above_the_limit_is_refused() {
        let mut bytes = Vec::new();
        encode(&CheckpointBook::default(), false, &mut bytes);
        bytes[24..28].copy_from_slice(&(limit::LEVELS_PER_SIDE_MAX as u32 + 1).to_le_bytes());
        assert_eq!(decode(&bytes, 0).unwrap_err().what, "levels of a checkpoint");
    }
}
