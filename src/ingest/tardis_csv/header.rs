//! Which of Tardis's data types a file holds, by its header line.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::event::Kind;

/// Columns of a `book_snapshot` file beyond this many levels are refused. Tardis sells 5 and 25.
const SNAPSHOT_LEVELS_MAX: usize = 1000;

/// Columns that every data type begins with.
const COMMON: [&str; 4] = ["exchange", "symbol", "timestamp", "local_timestamp"];
const BOOK: &[&str] = &["is_snapshot", "side", "price", "amount"];
const TRADES: &[&str] = &["id", "side", "price", "amount"];
const QUOTES: &[&str] = &["ask_amount", "ask_price", "bid_price", "bid_amount"];
const TICKER: &[&str] = &[
    "funding_timestamp",
    "funding_rate",
    "predicted_funding_rate",
    "open_interest",
    "last_price",
    "index_price",
    "mark_price",
];
/// Columns that only `options_chain` has.
const OPTIONS: [&str; 3] = ["strike_price", "expiration", "underlying_index"];

/// A data type of Tardis's CSV files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// `incremental_book_L2`: kind `book`.
    IncrementalBookL2,
    /// `book_snapshot_5`, `book_snapshot_25`: kind `book`, as deltas.
    BookSnapshot {
        /// Levels per side in a row.
        depth: u16,
    },
    /// `trades`: kind `trades`.
    Trades,
    /// `liquidations`: kind `liquidations`. Its columns are those of `trades`.
    Liquidations,
    /// `quotes` and `book_ticker`: kind `quotes`.
    Quotes,
    /// `derivative_ticker`: kind `ticker`.
    DerivativeTicker,
}

impl DataType {
    /// The kind of the rows.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::IncrementalBookL2 | Self::BookSnapshot { .. } => Kind::Book,
            Self::Trades => Kind::Trades,
            Self::Liquidations => Kind::Liquidations,
            Self::Quotes => Kind::Quotes,
            Self::DerivativeTicker => Kind::Ticker,
        }
    }

    /// The data type whose columns these are, if there is one; `trades` and `liquidations` have
    /// the same, and are told apart by `path`: by the word in the file's name or a folder of it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for `options_chain`; [`ErrorKind::Invalid`] with the known
    /// headers for anything else.
    pub fn of_header(line: &[u8], path: &Path) -> Result<Self> {
        Header::parse(line, path).map(|header| header.data_type)
    }
}

/// The data type, and where its columns stand.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) data_type: DataType,
    /// Names by slot: the common four, then those of the type in Tardis's order.
    pub(super) names: Vec<String>,
    /// Column of the file -> slot.
    pub(super) slots: Vec<u16>,
}

impl Header {
    pub(super) fn parse(line: &[u8], path: &Path) -> Result<Self> {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| unknown(line))?;
        let found: Vec<&str> = text.split(',').collect();
        if found.len() > COMMON.len() + 4 * SNAPSHOT_LEVELS_MAX {
            return Err(unknown(line));
        }
        if OPTIONS.iter().all(|name| found.contains(name)) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "Tardis options_chain files are not supported: there is no kind for option \
                 greeks and volatilities",
            ));
        }
        let trades =
            if names_liquidations(path) { DataType::Liquidations } else { DataType::Trades };
        let fixed = [
            (DataType::IncrementalBookL2, BOOK),
            (trades, TRADES),
            (DataType::Quotes, QUOTES),
            (DataType::DerivativeTicker, TICKER),
        ];
        let fixed = fixed.into_iter().map(|(data_type, own)| {
            (data_type, own.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        });
        let depth = found.len().saturating_sub(COMMON.len()) / 4;
        let snapshot = (
            DataType::BookSnapshot { depth: u16::try_from(depth).map_err(|_| unknown(line))? },
            snapshot_names(depth),
        );
        for (data_type, own) in fixed.chain(std::iter::once(snapshot)) {
            let names: Vec<String> = COMMON.map(str::to_owned).into_iter().chain(own).collect();
            if let Some(slots) = slots(&found, &names) {
                return Ok(Self { data_type, names, slots });
            }
        }
        Err(unknown(line))
    }

    /// Whether the columns stand in Tardis's order.
    pub(super) fn is_in_order(&self) -> bool {
        self.slots.iter().enumerate().all(|(column, &slot)| column == usize::from(slot))
    }
}

fn snapshot_names(depth: usize) -> Vec<String> {
    let mut names = Vec::with_capacity(4 * depth);
    for level in 0..depth {
        for (side, value) in
            [("asks", "price"), ("asks", "amount"), ("bids", "price"), ("bids", "amount")]
        {
            names.push(format!("{side}[{level}].{value}"));
        }
    }
    names
}

/// Slot of each column found, if they are exactly `names` in any order.
fn slots(found: &[&str], names: &[String]) -> Option<Vec<u16>> {
    if found.len() != names.len() || names.len() <= COMMON.len() {
        return None;
    }
    let by_name: std::collections::HashMap<&str, usize> =
        names.iter().enumerate().map(|(slot, name)| (name.as_str(), slot)).collect();
    let mut taken = vec![false; names.len()];
    let mut slots = Vec::with_capacity(names.len());
    for name in found {
        let slot = *by_name.get(name)?;
        if std::mem::replace(taken.get_mut(slot)?, true) {
            return None;
        }
        slots.push(u16::try_from(slot).ok()?);
    }
    Some(slots)
}

/// Tardis names files `deribit_liquidations_2020-04-01_PERPETUALS.csv.gz` and its server's folders
/// `deribit/liquidations/2020/04/01`. The file's own name decides where it says anything.
fn names_liquidations(path: &Path) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let says = |word| file.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word);
    if says("trades") || says("liquidations") {
        return says("liquidations");
    }
    path.iter().rev().skip(1).take(5).any(|folder| folder == "liquidations")
}

fn unknown(line: &[u8]) -> Error {
    let shown = String::from_utf8_lossy(line.get(..200).unwrap_or(line)).into_owned();
    let common = COMMON.join(",");
    let known = [BOOK, TRADES, QUOTES, TICKER].map(|own| own.join(","));
    Error::invalid(format!(
        "header {shown:?} is not one of Tardis's: expected {common} and then one of \
         [{}] (incremental_book_L2), [{}] (trades, liquidations), [{}] (quotes, book_ticker), \
         [{}] (derivative_ticker), [asks[0].price,asks[0].amount,bids[0].price,bids[0].amount,...] \
         (book_snapshot_5, book_snapshot_25)",
        known[0], known[1], known[2], known[3]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str, path: &str) -> Result<DataType> {
        DataType::of_header(line.as_bytes(), Path::new(path))
    }

    #[test]
    fn every_type_is_known_by_its_header_in_any_order() {
        let common = "exchange,symbol,timestamp,local_timestamp";
        for (own, data_type) in [
            ("is_snapshot,side,price,amount", DataType::IncrementalBookL2),
            ("id,side,price,amount", DataType::Trades),
            ("ask_amount,ask_price,bid_price,bid_amount", DataType::Quotes),
            ("bid_price,bid_amount,ask_price,ask_amount", DataType::Quotes),
            (
                "funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,\
                 index_price,mark_price",
                DataType::DerivativeTicker,
            ),
            (
                "asks[0].price,asks[0].amount,bids[0].price,bids[0].amount",
                DataType::BookSnapshot { depth: 1 },
            ),
        ] {
            assert_eq!(of(&format!("{common},{own}"), "x.csv").unwrap(), data_type);
            assert_eq!(of(&format!("{own},{common}"), "x.csv").unwrap(), data_type);
            assert_eq!(of(&format!("\u{feff}{common},{own}"), "x.csv").unwrap(), data_type);
            assert!(of(&format!("{common},{own},more"), "x.csv").is_err());
            assert!(of(&format!("{common},{own},symbol"), "x.csv").is_err());
        }
    }

    #[test]
    fn liquidations_are_told_from_trades_by_the_path() {
        let header = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount";
        for path in [
            "deribit_liquidations_2020-04-01_PERPETUALS.csv.gz",
            "deribit/liquidations/2020/04/01/PERPETUALS.csv.gz",
        ] {
            assert_eq!(of(header, path).unwrap(), DataType::Liquidations, "{path}");
        }
        for path in ["deribit_trades_2020.csv", "liquidations/deribit_trades_2020.csv", "x.csv"] {
            assert_eq!(of(header, path).unwrap(), DataType::Trades, "{path}");
        }
    }

    #[test]
    fn unknown_headers_are_refused_with_the_known_ones() {
        for header in ["", "a,b", "exchange,symbol,timestamp,local_timestamp", "\u{0}"] {
            let error = of(header, "x.csv").unwrap_err();
            assert!(error.to_string().contains("(derivative_ticker)"), "{error}");
        }
        let options = "exchange,symbol,timestamp,local_timestamp,type,strike_price,expiration,\
                       open_interest,underlying_index";
        let error = of(options, "x.csv").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
