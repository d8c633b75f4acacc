//! One side of a book.

use std::collections::BTreeMap;

use super::grid::Grid;
use crate::event::Side;

/// Slots of one page: 64 bytes of quantities, one cache line.
const PAGE_SLOTS: usize = 8;

/// Entries of the directory that are looked at together.
const DIRECTORY_CHUNK: usize = 16;

/// Pages that are fewer than this many are not searched for empty ones.
const SWEEP_PAGES_MIN: usize = 64;

/// Empty pages that may lie between two best levels; more are taken away.
const EMPTY_PAGES_PASSED_MAX: usize = 16;

/// Pages that are made at once for levels that are placed.
const PAGES_PLACED: usize = 16;

/// Updates of far levels before the window is looked at again, and how many more for a level.
const REVIEW_MISSES_MIN: usize = 64;
const REVIEW_LEVELS_PER_MISS: usize = 8;

/// The longest that a window is left alone while far levels change.
const REVIEW_MISSES_MAX: usize = 1 << 13;

/// Levels of one side: a window of slots around the market, and an ordered map of all others.
///
/// Prices of the window's [`Grid`] have a slot; slots come in pages that exist only where levels
/// are or were, so that a sparse book costs little more memory than its levels.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    grid: Grid,
    /// The page of every eight slots; 0 where there is none.
    directory: Vec<u16>,
    /// Quantities, 0 where there is no level. Page 0 belongs to no slot and is always empty: what
    /// removes a level that is not there writes to it.
    pages: Vec<Page>,
    /// Pages that belong to no slot.
    free: Vec<u16>,
    /// How many pages there may be before empty ones are searched for.
    sweep_pages: usize,
    /// The slot after the best level of the window; 0 if it has none.
    end: usize,
    /// Levels without a slot, by key.
    far: BTreeMap<i64, i64>,
    /// Whether the best level is in `far`.
    far_leads: bool,
    /// Updates of far levels since the window was looked at, and how many of them a larger window
    /// would have had a slot for.
    misses: usize,
    near_misses: usize,
    /// Misses after which the window is looked at.
    patience: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
struct Page([i64; PAGE_SLOTS]);

const EMPTY: Page = Page([0; PAGE_SLOTS]);

impl Ladder {
    pub(super) fn new(side: Side) -> Self {
        Self {
            grid: Grid::none(side),
            directory: Vec::new(),
            pages: Vec::new(),
            free: Vec::new(),
            sweep_pages: SWEEP_PAGES_MIN,
            end: 0,
            far: BTreeMap::new(),
            far_leads: false,
            misses: 0,
            near_misses: 0,
            patience: REVIEW_MISSES_MIN,
        }
    }

    /// Removes all levels; the window stays where it is.
    pub(super) fn clear(&mut self) {
        self.take_grid(self.grid);
    }

    /// Makes `qty` the quantity at `price`; 0 removes the level.
    #[inline]
    pub(super) fn set(&mut self, price: i64, qty: i64) {
        let slot = self.grid.slot(price);
        let Some(&page) = self.directory.get(slot / PAGE_SLOTS) else {
            return self.set_far(price, qty);
        };
        if (page == 0) & (qty != 0) {
            return self.set_in_new_page(slot, qty);
        }
        self.pages[usize::from(page)].0[slot % PAGE_SLOTS] = qty;
        // One comparison for a level ahead of the best one and for the end of the best one: most
        // rows are neither, and whether a row ends a level cannot be foreseen.
        if slot + usize::from(qty == 0) >= self.end {
            self.move_best(slot, qty);
        }
    }

    /// Finds the best level after the quantity of `slot`, not below the best level, became `qty`.
    #[inline]
    fn move_best(&mut self, slot: usize, qty: i64) {
        if qty == 0 {
            return self.drop_best();
        }
        self.end = slot + 1;
        if self.far_leads {
            self.check_far();
        }
    }

    /// As [`Ladder::set`], but leaves the best level unknown until [`Ladder::settle`].
    #[inline]
    pub(super) fn set_blind(&mut self, price: i64, qty: i64) {
        let slot = self.grid.slot(price);
        let Some(&page) = self.directory.get(slot / PAGE_SLOTS) else {
            return self.set_far(price, qty);
        };
        if (page == 0) & (qty != 0) {
            return self.set_in_new_page(slot, qty);
        }
        self.pages[usize::from(page)].0[slot % PAGE_SLOTS] = qty;
        let end = if qty != 0 { slot + 1 } else { 0 };
        self.end = self.end.max(end);
    }

    /// Finds the best level after [`Ladder::set_blind`].
    pub(super) fn settle(&mut self) {
        self.drop_best();
    }

    #[inline]
    pub(super) fn best(&self) -> Option<(i64, i64)> {
        if self.far_leads {
            return self.best_far();
        }
        let slot = self.end.checked_sub(1)?;
        Some((self.grid.price(slot), self.qty(slot)))
    }

    #[cold]
    #[inline(never)]
    fn best_far(&self) -> Option<(i64, i64)> {
        self.far.last_key_value().map(|(&key, &qty)| (self.grid.flip(key), qty))
    }

    /// How many levels; costs a pass over the pages.
    pub(super) fn len(&self) -> usize {
        let filled = |&page: &u16| {
            let qtys = &self.pages[usize::from(page)].0;
            qtys.iter().map(|&qty| usize::from(qty != 0)).sum::<usize>()
        };
        let attached = self.directory.iter().filter(|&&page| page != 0);
        attached.map(filled).sum::<usize>() + self.far.len()
    }

    /// Price and quantity of every level, best first.
    pub(super) fn levels(&self) -> Levels<'_> {
        let mut far = self.far.iter();
        let far_next = far.next_back().map(|(&key, &qty)| (key, qty));
        let mut levels = Levels {
            ladder: self,
            at: self.end.div_ceil(PAGE_SLOTS),
            mask: 0,
            page: &EMPTY.0,
            far,
            far_next,
        };
        levels.find_page();
        levels
    }

    /// Replaces all levels.
    pub(super) fn load(&mut self, prices: &[i64], qtys: &[i64]) {
        let (count, grid) = (prices.len().min(qtys.len()), self.grid);
        let (prices, qtys) = (&prices[..count], &qtys[..count]);
        let sorted = prices.windows(2).all(|pair| grid.flip(pair[0]) > grid.flip(pair[1]));
        if sorted && !qtys.contains(&0) {
            return self.load_ordered(prices, qtys);
        }
        self.clear();
        prices.iter().zip(qtys).for_each(|(&price, &qty)| self.set(price, qty));
    }

    /// Replaces all levels by as many prices and quantities, best first and none 0.
    pub(super) fn load_ordered(&mut self, prices: &[i64], qtys: &[i64]) {
        let (count, grid) = (prices.len(), self.grid);
        if count == 0 {
            return self.clear();
        }
        let fitted = grid.fit(count, |index| grid.flip(prices[index]), 0);
        self.place(fitted, prices.iter().copied().zip(qtys.iter().copied()));
    }

    /// Bytes of memory held, those of the far levels by guess.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.directory.capacity() * size_of::<u16>()
            + self.pages.capacity() * size_of::<Page>()
            + self.free.capacity() * size_of::<u16>()
            + self.far.len() * 2 * size_of::<(i64, i64)>()
    }

    #[inline]
    fn qty(&self, slot: usize) -> i64 {
        self.pages[usize::from(self.directory[slot / PAGE_SLOTS])].0[slot % PAGE_SLOTS]
    }

    /// Becomes an empty window on `grid`.
    fn take_grid(&mut self, grid: Grid) {
        self.grid = grid;
        self.directory.clear();
        self.directory.resize(grid.slots() / PAGE_SLOTS, 0);
        self.pages.truncate(1);
        self.free.clear();
        self.end = 0;
        self.far.clear();
        self.far_leads = false;
        (self.misses, self.near_misses) = (0, 0);
    }

    /// Becomes these levels, price and quantity, best first, on `grid`.
    fn place(&mut self, grid: Grid, levels: impl Iterator<Item = (i64, i64)> + Clone) {
        self.take_grid(grid);
        if self.pages.is_empty() {
            // Memory that is aligned like this cannot be extended, growing copies it: there is room
            // for these levels, and for those that come next.
            let pages = pages_of(&grid, levels.clone());
            self.pages.reserve_exact(pages + pages / 4 + PAGES_PLACED);
        }
        self.pages.resize(1, EMPTY);
        let (mut far, mut at, mut used, mut count) = (Vec::new(), usize::MAX, 0, 0);
        let directory = self.directory.as_mut_slice();
        for (price, qty) in levels {
            count += 1;
            let slot = grid.slot(price);
            let Some(page) = directory.get_mut(slot / PAGE_SLOTS) else {
                far.push((grid.flip(price), qty));
                continue;
            };
            // Levels of a page follow each other. Which is the first of one cannot be foreseen, so
            // that is counted without a branch.
            used += usize::from(slot / PAGE_SLOTS != at);
            at = slot / PAGE_SLOTS;
            if used >= self.pages.len() {
                self.pages.resize(used + PAGES_PLACED, EMPTY);
            }
            // At most one page for every eight of `SLOTS_MAX` slots.
            *page = used as u16;
            self.pages[used].0[slot % PAGE_SLOTS] = qty;
            self.end = self.end.max(slot + 1);
        }
        self.pages.truncate(1 + used);
        self.sweep_pages = (self.pages.len() * 2).max(SWEEP_PAGES_MIN);
        self.far = far.into_iter().rev().collect();
        self.check_far();
        self.patience = REVIEW_MISSES_MIN + count / REVIEW_LEVELS_PER_MISS;
    }

    #[cold]
    #[inline(never)]
    fn set_far(&mut self, price: i64, qty: i64) {
        if self.directory.is_empty() {
            if qty != 0 {
                self.place(self.grid.around(price), [(price, qty)].into_iter());
            }
            return;
        }
        let key = self.grid.flip(price);
        match qty {
            0 => self.far.remove(&key),
            _ => self.far.insert(key, qty),
        };
        if self.far_leads || self.end.checked_sub(1).is_none_or(|slot| key > self.grid.key(slot)) {
            self.check_far();
        }
        self.misses += 1;
        self.near_misses += usize::from(self.grid.is_near(price));
        if self.misses >= self.patience {
            self.review();
        }
    }

    /// Moves or widens the window if the market has left it, or the price increment is another.
    fn review(&mut self) {
        let levels: Vec<_> = self.levels().collect();
        let crowded = self.near_misses * 2 > self.misses;
        (self.misses, self.near_misses) = (0, 0);
        if levels.is_empty() {
            return;
        }
        let key = |index: usize| self.grid.flip(levels[index].0);
        let mut grid = self.grid.fit(levels.len(), key, self.grid.slots());
        if self.grid.is_as_good_as(&grid) {
            grid = if crowded { self.grid.doubled(levels.len()) } else { self.grid };
        }
        if grid == self.grid {
            self.patience = self.patience.saturating_mul(2).min(REVIEW_MISSES_MAX);
        } else {
            self.place(grid, levels.into_iter());
        }
    }

    #[cold]
    #[inline(never)]
    fn set_in_new_page(&mut self, slot: usize, qty: i64) {
        if self.free.is_empty() {
            self.make_pages();
        }
        let Some(page) = self.free.pop() else { return };
        self.directory[slot / PAGE_SLOTS] = page;
        self.pages[usize::from(page)] = EMPTY;
        self.pages[usize::from(page)].0[slot % PAGE_SLOTS] = qty;
        self.end = self.end.max(slot + 1);
        if self.far_leads {
            self.check_far();
        }
    }

    /// Makes at least one page free: empty ones where they are likely to be many, else new ones.
    #[inline(never)]
    fn make_pages(&mut self) {
        if self.pages.len() >= self.sweep_pages {
            self.sweep();
            let used = self.pages.len() - self.free.len();
            self.sweep_pages = (used * 2).max(SWEEP_PAGES_MIN);
        }
        if self.free.is_empty() {
            let more = self.pages.len() / 4 + 8;
            self.pages.reserve_exact(more);
            for _ in 0..more {
                self.free.push(self.pages.len() as u16);
                self.pages.push(EMPTY);
            }
        }
    }

    /// Takes away pages without levels.
    fn sweep(&mut self) {
        for chunk in self.directory.chunks_mut(DIRECTORY_CHUNK) {
            if is_empty(chunk) {
                continue;
            }
            for page in chunk.iter_mut().filter(|page| **page != 0) {
                if self.pages[usize::from(*page)] == EMPTY {
                    self.free.push(*page);
                    *page = 0;
                }
            }
        }
    }

    /// Finds the best level of the window again, below the one that went.
    #[cold]
    #[inline(never)]
    fn drop_best(&mut self) {
        let (mut end, mut empty) = (self.end, 0);
        self.end = 0;
        while let Some(last) = end.checked_sub(1) {
            let at = last / PAGE_SLOTS;
            let page = self.directory[at];
            if page == 0 {
                end = attached_end(&self.directory[..at]) * PAGE_SLOTS;
                continue;
            }
            let mask = mask(&self.pages[usize::from(page)].0);
            let before = u8::MAX >> (PAGE_SLOTS - 1 - last % PAGE_SLOTS);
            end = at * PAGE_SLOTS;
            if let Some(offset) = (mask & before).checked_ilog2() {
                self.end = end + offset as usize + 1;
                break;
            }
            empty += usize::from(mask == 0);
            if mask == 0 && empty > EMPTY_PAGES_PASSED_MAX {
                // The next such walk shall not pass them again.
                self.directory[at] = 0;
                self.free.push(page);
            }
        }
        if !self.far.is_empty() {
            self.check_far();
        }
    }

    #[inline(never)]
    fn check_far(&mut self) {
        self.far_leads = match (self.far.last_key_value(), self.end.checked_sub(1)) {
            (Some((&key, _)), Some(slot)) => key > self.grid.key(slot),
            (far, _) => far.is_some(),
        };
    }
}

/// How many pages the slots of some levels take, best first.
fn pages_of(grid: &Grid, levels: impl Iterator<Item = (i64, i64)>) -> usize {
    let slots = levels.map(|(price, _)| grid.slot(price)).filter(|slot| *slot < grid.slots());
    let (pages, _) = slots.fold((0, usize::MAX), |(pages, last), slot| {
        let page = slot / PAGE_SLOTS;
        (pages + usize::from(page != last), page)
    });
    pages
}

/// The index after the last page in a part of a directory; 0 if there is none.
fn attached_end(directory: &[u16]) -> usize {
    let mut end = directory.len();
    for chunk in directory.rchunks(DIRECTORY_CHUNK) {
        if !is_empty(chunk) {
            return end - chunk.iter().rev().take_while(|&&page| page == 0).count();
        }
        end -= chunk.len();
    }
    0
}

fn is_empty(chunk: &[u16]) -> bool {
    chunk.iter().fold(0, |all, page| all | page) == 0
}

/// Which slots of a page hold levels, the first slot as the lowest bit.
#[inline]
fn mask(page: &[i64; PAGE_SLOTS]) -> u8 {
    page.iter().enumerate().fold(0, |mask, (slot, &qty)| mask | (u8::from(qty != 0) << slot))
}

/// Levels of a ladder, best first: those of the window and the far ones, merged.
pub(super) struct Levels<'a> {
    ladder: &'a Ladder,
    /// Where the directory names the current page.
    at: usize,
    page: &'a [i64; PAGE_SLOTS],
    /// Levels of the page that are still to come; 0 only after the last.
    mask: u8,
    far: std::collections::btree_map::Iter<'a, i64, i64>,
    far_next: Option<(i64, i64)>,
}

impl Levels<'_> {
    /// Goes to the next page that holds a level.
    fn find_page(&mut self) {
        let Ladder { directory, pages, .. } = self.ladder;
        while self.mask == 0 && self.at > 0 {
            self.at -= 1;
            match directory[self.at] {
                0 => self.at = attached_end(&directory[..self.at]),
                page => {
                    self.page = &pages[usize::from(page)].0;
                    self.mask = mask(self.page);
                }
            }
        }
    }
}

impl Iterator for Levels<'_> {
    type Item = (i64, i64);

    #[inline]
    fn next(&mut self) -> Option<(i64, i64)> {
        let grid = &self.ladder.grid;
        let offset = self.mask.checked_ilog2().map(|bit| bit as usize);
        let slot = offset.map(|offset| self.at * PAGE_SLOTS + offset);
        if let Some((key, qty)) = self.far_next
            && slot.is_none_or(|slot| key > grid.key(slot))
        {
            self.far_next = self.far.next_back().map(|(&key, &qty)| (key, qty));
            return Some((grid.flip(key), qty));
        }
        let (slot, offset) = (slot?, offset?);
        let level = (grid.price(slot), self.page[offset]);
        self.mask ^= 1 << offset;
        if self.mask == 0 {
            self.find_page();
        }
        Some(level)
    }
}
