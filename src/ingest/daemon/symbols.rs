//! Figures of each symbol of an exchange. The recording thread counts, others look.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::books::Told;
use super::lag::Lag;
use crate::event::{Kind, StreamKey};
use crate::quantity::Instrument;

/// Symbols with figures of their own; those beyond are counted together as [`OTHERS`].
const SYMBOLS_MAX: usize = 4096;
/// The name of symbols beyond [`SYMBOLS_MAX`], and of what belongs to none.
const OTHERS: &str = "*";

/// All symbols, numbered in the order in which they were first heard.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    numbers: HashMap<Instrument, usize>,
    all: Vec<Symbol>,
    others: Option<usize>,
}

/// One symbol.
#[derive(Debug)]
pub(super) struct Symbol {
    name: String,
    messages: u64,
    bytes: u64,
    event_lag: Lag,
    durable_lag: Lag,
    kinds: BTreeMap<Kind, Stored>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    rows: u64,
    told: Told,
}

/// One symbol as `/status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolStatus {
    /// As the venue spells it; `*` for those beyond the 4096 that are counted on their own.
    pub symbol: String,
    /// Messages heard that gave rows of it. One about several symbols counts for the last.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows stored, by kind.
    pub rows: BTreeMap<String, u64>,
    /// Gaps stored in its book.
    pub gaps: u64,
    /// Snapshots that ended a gap.
    pub resyncs: u64,
    /// Median time from the venue's event to our reading, ms.
    pub event_lag_p50_ms: u64,
    /// Its 99th percentile, ms.
    pub event_lag_p99_ms: u64,
    /// Median time from the reading of a frame until its rows are durable, ms.
    pub durable_lag_p50_ms: u64,
    /// Its 99th percentile, ms.
    pub durable_lag_p99_ms: u64,
}

impl Symbols {
    /// The number of a symbol.
    fn number(&mut self, instrument: &Instrument) -> usize {
        if let Some(number) = self.numbers.get(instrument) {
            return *number;
        }
        let is_full = self.all.len() >= SYMBOLS_MAX;
        if let Some(others) = self.others.filter(|_| is_full) {
            return others;
        }
        let name = if is_full { OTHERS } else { instrument.symbol() };
        self.all.push(Symbol {
            name: name.to_owned(),
            messages: 0,
            bytes: 0,
            event_lag: Lag::default(),
            durable_lag: Lag::default(),
            kinds: BTreeMap::new(),
        });
        let number = self.all.len() - 1;
        match is_full {
            true => self.others = Some(number),
            false => drop(self.numbers.insert(instrument.clone(), number)),
        }
        number
    }

    fn symbol(&mut self, instrument: &Instrument) -> Option<&mut Symbol> {
        let number = self.number(instrument);
        self.all.get_mut(number)
    }

    /// Counts messages that were heard.
    pub fn heard(&mut self, instrument: &Instrument, messages: u64, bytes: u64) {
        if let Some(symbol) = self.symbol(instrument) {
            symbol.messages += messages;
            symbol.bytes += bytes;
        }
    }

    /// Counts rows of a stream that were stored, what they told of a book, and how old the newest
    /// was when it came. The number of the symbol.
    pub fn stored(
        &mut self,
        key: &StreamKey,
        rows: usize,
        told: Told,
        event_lag: Option<Duration>,
    ) -> usize {
        let number = self.number(&key.instrument);
        if let Some(symbol) = self.all.get_mut(number) {
            let stored = symbol.kinds.entry(key.kind).or_default();
            stored.rows += rows as u64;
            stored.told.gaps += told.gaps;
            stored.told.resyncs += told.resyncs;
            if let Some(lag) = event_lag {
                symbol.event_lag.note(lag);
            }
        }
        number
    }

    /// Counts how long it took until rows of these symbols were durable.
    pub fn durable(&self, numbers: &[usize], lag: Duration) {
        let symbols = numbers.iter().filter_map(|number| self.all.get(*number));
        symbols.for_each(|symbol| symbol.durable_lag.note(lag));
    }

    /// All symbols as `/status` shows them, by name.
    pub fn status(&self) -> Vec<SymbolStatus> {
        let mut all: Vec<_> = self.all.iter().map(Symbol::status).collect();
        all.sort_by(|a, b| a.symbol.cmp(&b.symbol));
        all
    }
}

impl Symbol {
    fn status(&self) -> SymbolStatus {
        let kinds = self.kinds.iter();
        let sum = |of: fn(&Told) -> u64| self.kinds.values().map(|stored| of(&stored.told)).sum();
        SymbolStatus {
            symbol: self.name.clone(),
            messages: self.messages,
            bytes: self.bytes,
            rows: kinds.map(|(kind, stored)| (kind.name().to_owned(), stored.rows)).collect(),
            gaps: sum(|told| told.gaps),
            resyncs: sum(|told| told.resyncs),
            event_lag_p50_ms: self.event_lag.quantile_ms(0.5),
            event_lag_p99_ms: self.event_lag.quantile_ms(0.99),
            durable_lag_p50_ms: self.durable_lag.quantile_ms(0.5),
            durable_lag_p99_ms: self.durable_lag.quantile_ms(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_beyond_the_limit_are_counted_together() {
        let mut symbols = Symbols::default();
        for number in 0..SYMBOLS_MAX + 3 {
            let instrument = Instrument::new("binance", &format!("S{number:04}")).unwrap();
            for _ in 0..2 {
                symbols.heard(&instrument, 1, 10);
            }
        }

        let status = symbols.status();

        assert_eq!(status.len(), SYMBOLS_MAX + 1);
        let of = |at: usize| (&*status[at].symbol, status[at].messages, status[at].bytes);
        assert_eq!([of(0), of(1)], [("*", 6, 60), ("S0000", 2, 20)]);
        assert_eq!(of(SYMBOLS_MAX), ("S4095", 2, 20));
    }
}
