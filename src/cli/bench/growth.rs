//! How answers, memory and files grow with the rows of a stream and with the number of streams.

use std::path::Path;

use super::figure::{Clock, Figure};
use super::folder::Folder;
use super::market::Market;
use super::print;
use super::store::{compact, open, ranges, scan, seeks, stored};
use crate::error::{Error, Result};
use crate::event::Kind;
use crate::store::{ImportOptions, Store};

/// Rows of the shortest stream; each next one is ten times as long.
const ROWS_MIN: u64 = 1_000_000;
/// Rows of each store of many instruments, all together.
const ROWS_OF_MANY: u64 = 10_000_000;
const SEEKS: usize = 10_000;

/// Fills stores in `folder`, one after the other, and asks each. Unless they are kept, only one of
/// them is there at a time.
pub(super) fn run(folder: &Folder, rows_max: u64, compacted: bool, json: bool) -> Result<()> {
    let lengths = std::iter::successors(Some(ROWS_MIN), |rows| rows.checked_mul(10));
    let long = lengths.take_while(|rows| *rows <= rows_max).map(Market::long);
    let wide = [50, 2000].map(|instruments| Market::wide(instruments, ROWS_OF_MANY));
    for market in long.chain(wide.into_iter().filter(|_| rows_max >= ROWS_OF_MANY)) {
        let root = folder.path.join(market.file_name());
        let figures = measure(&root, &market, compacted)?;
        let infos = Store::open(&root)?.snapshot()?.stream_infos();
        print::print(json, Some(&market.to_string()), &figures, &infos)?;
        if !folder.keep {
            std::fs::remove_dir_all(&root).map_err(|e| Error::io(e, "remove store", &root))?;
        }
    }
    Ok(())
}

fn measure(root: &Path, market: &Market, compacted: bool) -> Result<Vec<Figure>> {
    let clock = Clock::start();
    let store = Store::open_or_create(root)?;
    let mut import = store.import(ImportOptions::default())?;
    let rows = market.import(&mut import)?;
    import.commit()?;
    let mut figures = vec![stored(&clock, "make and import", rows, &store)?];
    if compacted {
        figures.push(compact(root)?);
    }
    figures.push(open(root)?);
    let snapshot = Store::open(root)?.snapshot()?;
    let infos = snapshot.stream_infos();
    let book = infos.iter().find(|info| info.key.kind == Kind::Book);
    let key = &book.ok_or_else(|| Error::invalid("a market without a book"))?.key;
    figures.push(seeks(&snapshot, key, SEEKS)?);
    figures.push(ranges(&snapshot, key, SEEKS / 10)?);
    figures.push(scan(&snapshot, key)?);
    Ok(figures)
}
