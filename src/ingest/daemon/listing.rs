//! Which of the symbols that a venue lists are recorded. Pure.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::config::Selection;
use crate::event::Kind;
use crate::pattern::matches;

/// How often in a row a symbol must be missing in the list of what is traded until it is no longer
/// recorded: it may only be halted, and a list may be cut short.
const ABSENT_MAX: u32 = 3;

/// What is to be recorded, by symbol.
pub(super) type Chosen = BTreeMap<String, BTreeSet<Kind>>;

/// The kinds to record of each listed symbol.
pub(super) fn chosen(
    exchange: &str,
    selections: &[Selection],
    listed: &BTreeSet<String>,
) -> Chosen {
    let mut chosen = Chosen::new();
    for selection in selections {
        for pattern in &selection.symbols {
            let mut found = false;
            for symbol in listed.iter().filter(|symbol| matches(pattern, symbol)) {
                found = true;
                chosen.entry(symbol.clone()).or_default().extend(&selection.kinds);
            }
            if !found {
                warn!(exchange, pattern, "no symbol that is traded has this name");
            }
        }
    }
    chosen
}

/// How often in a row a symbol that is recorded was not listed.
#[derive(Debug, Default)]
pub(super) struct Absent(BTreeMap<String, u32>);

impl Absent {
    /// Adds to `chosen` what was recorded `before` and is not listed, but may only be halted.
    pub fn keep(&mut self, before: &Chosen, chosen: &mut Chosen) {
        self.0.retain(|symbol, _| before.contains_key(symbol) && !chosen.contains_key(symbol));
        for (symbol, kinds) in before {
            if chosen.contains_key(symbol) {
                continue;
            }
            let absent = self.0.entry(symbol.clone()).or_default();
            *absent += 1;
            if *absent < ABSENT_MAX {
                chosen.insert(symbol.clone(), kinds.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_of_one_symbol_add_up() {
        let listed = ["BTCUSDT", "ETHUSDT", "ETHBTC"].map(str::to_owned).into();
        let select = |symbols: &[&str], kinds: &[Kind]| Selection {
            symbols: symbols.iter().map(|name| (*name).to_owned()).collect(),
            kinds: kinds.to_vec(),
        };
        let selections = [
            select(&["BTCUSDT", "nothing"], &[Kind::Book]),
            select(&["*USDT"], &[Kind::Trades, Kind::Quotes]),
        ];

        let chosen = chosen("binance", &selections, &listed);

        assert_eq!(chosen.len(), 2);
        assert_eq!(chosen["BTCUSDT"], BTreeSet::from([Kind::Book, Kind::Trades, Kind::Quotes]));
        assert_eq!(chosen["ETHUSDT"], BTreeSet::from([Kind::Trades, Kind::Quotes]));
    }

    #[test]
    fn a_symbol_is_dropped_when_it_was_absent_three_times_in_a_row() {
        let listed = |symbols: &[&str]| -> Chosen {
            symbols.iter().map(|symbol| ((*symbol).to_owned(), [Kind::Book].into())).collect()
        };
        let mut absent = Absent::default();
        let mut recorded = listed(&["A", "B"]);
        let mut hear = |symbols: &[&str]| {
            let mut chosen = listed(symbols);
            absent.keep(&recorded, &mut chosen);
            recorded = chosen;
            recorded.keys().cloned().collect::<String>()
        };

        assert_eq!([hear(&["A"]), hear(&[]), hear(&["A", "B"])], ["AB", "AB", "AB"]);
        assert_eq!([hear(&["A"]), hear(&["A", "C"]), hear(&["A", "C"])], ["AB", "ABC", "AC"]);
        assert_eq!([hear(&["A", "B", "C"]), hear(&["A", "C"])], ["ABC", "ABC"]);
    }
}
