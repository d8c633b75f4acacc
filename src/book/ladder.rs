//! One side of a book.

use crate::event::Side;

/// Levels of one side.
///
/// Inside, a level has a key that is larger the better the price: the price itself for bids, its
/// bitwise complement for asks (which, unlike the negative, exists for every `i64`).
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    /// 0 for bids, -1 for asks: `key = price ^ flip`.
    flip: i64,
    /// Key and quantity, the best last.
    levels: Vec<(i64, i64)>,
}

impl Ladder {
    pub(super) fn new(side: Side) -> Self {
        let flip = match side {
            Side::Bid => 0,
            Side::Ask => -1,
        };
        Self { flip, levels: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.levels.clear();
    }

    #[inline]
    pub(super) fn set(&mut self, price: i64, qty: i64) {
        let key = price ^ self.flip;
        match self.levels.binary_search_by_key(&key, |level| level.0) {
            Ok(at) if qty == 0 => {
                self.levels.remove(at);
            }
            Ok(at) => self.levels[at].1 = qty,
            Err(_) if qty == 0 => {}
            Err(at) => self.levels.insert(at, (key, qty)),
        }
    }

    #[inline]
    pub(super) fn best(&self) -> Option<(i64, i64)> {
        self.levels.last().map(|&(key, qty)| (key ^ self.flip, qty))
    }

    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.levels.iter().rev().map(|&(key, qty)| (key ^ self.flip, qty))
    }

    pub(super) fn load(&mut self, prices: &[i64], qtys: &[i64]) {
        self.clear();
        let flip = self.flip;
        let sorted = prices.windows(2).all(|pair| (pair[0] ^ flip) > (pair[1] ^ flip));
        if sorted && !qtys.contains(&0) {
            self.levels.extend(prices.iter().zip(qtys).rev().map(|(&p, &q)| (p ^ flip, q)));
        } else {
            prices.iter().zip(qtys).for_each(|(&price, &qty)| self.set(price, qty));
        }
    }
}
