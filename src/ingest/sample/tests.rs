//! What the captures promise, read back from their bytes without any dialect.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::event::Side;
use crate::{Decimal, TsNs};

/// Files by name.
#[derive(Clone, Default)]
struct Folder(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

struct File(Folder, String);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.0.lock().unwrap().get_mut(&self.1).unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Folder {
    fn lines(&self, name: &str) -> Vec<String> {
        let files = self.0.lock().unwrap();
        let bytes = files.get(name).unwrap_or_else(|| panic!("no file {name}")).as_slice();
        let mut text = String::new();
        if name.ends_with(".zst") {
            zstd::Decoder::new(bytes).unwrap().read_to_string(&mut text).unwrap();
        } else {
            flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        }
        text.lines().map(str::to_owned).collect()
    }

    fn hash(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for (name, bytes) in &*self.0.lock().unwrap() {
            hasher.update(name.as_bytes());
            hasher.update(bytes);
        }
        hasher.finalize()
    }
}

fn make(options: &MarketOptions) -> (Folder, Captures) {
    let folder = Folder::default();
    let open = |name: &str| {
        let previous = folder.0.lock().unwrap().insert(name.to_owned(), Vec::new());
        assert!(previous.is_none(), "{name} was opened twice");
        Ok(Box::new(File(folder.clone(), name.to_owned())) as Box<dyn Write + Send>)
    };
    let captures = write_captures(options, open, |_| {}).unwrap();
    (folder, captures)
}

/// Two minutes around midnight.
fn small(seed: u64) -> MarketOptions {
    let mut options = MarketOptions::new(seed).unwrap();
    options.start = TsNs::parse("2026-01-05T23:59:00Z").unwrap();
    options.duration_ns = 120_000_000_000;
    options.truth_every_ns = 5_000_000_000;
    options
}

fn gaps_of<'a>(captures: &'a Captures, name: &str) -> Vec<&'a TrueGap> {
    let of = |gap: &&TrueGap| gap.instrument.to_string() == name;
    captures.truth.gaps.iter().filter(of).collect()
}

fn counts_of(captures: &Captures, name: &str) -> Counts {
    let found = captures.truth.counts.iter().find(|(of, _)| of.to_string() == name);
    found.unwrap().1
}

/// A book as a client keeps it, from text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Levels([BTreeMap<i64, i64>; 2]);

/// All numbers at this scale.
const SCALE: u8 = 8;

fn number(text: &str) -> i64 {
    Decimal::parse(text).unwrap().mantissa_at(SCALE).unwrap()
}

impl Levels {
    fn set(&mut self, side: Side, price: &str, qty: &str) {
        let levels = &mut self.0[side as usize];
        match number(qty) {
            0 => levels.remove(&number(price)),
            qty => levels.insert(number(price), qty),
        };
    }

    fn set_all(&mut self, side: Side, levels: &Value) {
        for level in levels.as_array().unwrap() {
            self.set(side, level[0].as_str().unwrap(), level[1].as_str().unwrap());
        }
    }

    fn best(&self) -> [(i64, i64); 2] {
        let [bids, asks] = &self.0;
        [bids.last_key_value(), asks.first_key_value()].map(|level| {
            let (price, qty) = level.unwrap();
            (*price, *qty)
        })
    }

    fn of(book: &crate::book::Book) -> Self {
        let mut levels = Self::default();
        for side in [Side::Bid, Side::Ask] {
            for (price, qty) in book.levels(side) {
                let at_scale = |mantissa, scale| Decimal::new(mantissa, scale).unwrap();
                let price = at_scale(price, book.price_scale()).mantissa_at(SCALE).unwrap();
                let qty = at_scale(qty, book.qty_scale()).mantissa_at(SCALE).unwrap();
                levels.0[side as usize].insert(price, qty);
            }
        }
        levels
    }

    fn assert_not_crossed(&self) {
        let [bid, ask] = self.best();
        assert!(bid.0 < ask.0, "crossed: {bid:?} {ask:?}");
    }
}

/// Compares a client's book with the truth at its times.
struct Checker<'a> {
    books: std::iter::Peekable<std::vec::IntoIter<&'a TrueBook>>,
    compared: usize,
}

impl<'a> Checker<'a> {
    fn new(captures: &'a Captures, name: &str) -> Self {
        let of = |book: &&TrueBook| book.instrument.to_string() == name;
        let books: Vec<_> = captures.truth.books.iter().filter(of).collect();
        Self { books: books.into_iter().peekable(), compared: 0 }
    }

    /// The book is `levels` after everything received at `recv_ns`.
    fn see(&mut self, recv_ns: i64, levels: &Levels) {
        if let Some(book) = self.books.next_if(|book| book.at.0 == recv_ns) {
            assert_eq!(&Levels::of(&book.book), levels, "{} at {}", book.instrument, book.at);
            self.compared += 1;
        }
    }

    fn finish(mut self, at_least: usize) {
        assert!(self.books.next().is_none(), "a book of the truth was never seen");
        assert!(self.compared >= at_least, "only {} books compared", self.compared);
    }
}

#[test]
fn a_seed_makes_the_same_bytes_every_time() {
    let mut options = small(7);
    options.duration_ns = 10_000_000_000;
    let hash = make(&options).0.hash();

    assert_eq!(make(&options).0.hash(), hash);
    options.seed = 8;
    assert_ne!(make(&options).0.hash(), hash);
}

#[test]
fn the_text_of_a_seed_is_the_same_on_every_machine() {
    let (folder, captures) = make(&small(1));

    let mut hasher = crc32fast::Hasher::new();
    for file in &captures.files {
        folder.lines(&file.name).iter().for_each(|line| hasher.update(line.as_bytes()));
    }
    assert_eq!(hasher.finalize(), 273_987_604, "the market of seed 1 has changed");
}

/// A client of Binance as its documents tell it to work.
fn check_binance(futures: bool, file: &str, name: &str, gaps_wanted: usize) {
    let (folder, captures) = make(&small(3));
    let mut checker = Checker::new(&captures, name);
    let mut levels: Option<Levels> = None;
    let mut waiting: Vec<(i64, i64, Value)> = Vec::new();
    let (mut last_id, mut last_recv, mut gaps) = (0, 0, Vec::new());
    let mut ticker: Vec<(i64, [(i64, i64); 2])> = Vec::new();
    let mut counts = Counts::default();
    for line in folder.lines(file) {
        let (recv, message) = line.split_once(' ').unwrap();
        let recv: i64 = recv.parse().unwrap();
        assert!(recv > last_recv, "receive times rise");
        last_recv = recv;
        let message: Value = serde_json::from_str(message).unwrap();
        if let Some(id) = message["lastUpdateId"].as_i64() {
            let mut book = Levels::default();
            book.set_all(Side::Bid, &message["bids"]);
            book.set_all(Side::Ask, &message["asks"]);
            let mut first = true;
            for (from, to, data) in waiting.drain(..).filter(|&(_, to, _)| to > id) {
                assert!(!first || from <= id + 1, "the snapshot is newer than what was kept");
                first = false;
                book.set_all(Side::Bid, &data["b"]);
                book.set_all(Side::Ask, &data["a"]);
                last_id = last_id.max(to);
            }
            levels = Some(book);
            counts.snapshots += 1;
            continue;
        }
        let data = &message["data"];
        match message["stream"].as_str().unwrap().split_once('@').unwrap().1 {
            "depth@0ms" | "depth@100ms" => {
                let (from, to) = (data["U"].as_i64().unwrap(), data["u"].as_i64().unwrap());
                let follows = if futures { data["pu"].as_i64().unwrap() } else { from - 1 };
                assert!(from <= to);
                if last_id != 0 && follows != last_id {
                    gaps.push((recv, last_id, follows));
                    levels = None;
                    waiting.clear();
                }
                last_id = to;
                counts.deltas += 1;
                match &mut levels {
                    None => waiting.push((from, to, data.clone())),
                    Some(book) => {
                        book.set_all(Side::Bid, &data["b"]);
                        book.set_all(Side::Ask, &data["a"]);
                        book.assert_not_crossed();
                        let (_, best) = ticker.iter().rfind(|(id, _)| *id <= to).unwrap();
                        assert_eq!(book.best(), *best, "bookTicker disagrees");
                        ticker.clear();
                        ticker.push((to, book.best()));
                        checker.see(recv, book);
                    }
                }
            }
            "bookTicker" => {
                let field = |name: &str| number(data[name].as_str().unwrap());
                let best = [(field("b"), field("B")), (field("a"), field("A"))];
                ticker.push((data["u"].as_i64().unwrap(), best));
                counts.quotes += 1;
            }
            "trade" => counts.trades += 1,
            "markPrice@1s" => counts.tickers += 1,
            "forceOrder" => counts.liquidations += 1,
            other => panic!("stream {other}"),
        }
    }
    checker.finish(15);
    let wanted = gaps_of(&captures, name);
    assert_eq!(wanted.len(), gaps_wanted);
    let wanted: Vec<_> =
        wanted.iter().map(|gap| (gap.from.0, gap.seq_before, gap.seq_after)).collect();
    assert_eq!(gaps, wanted);
    let promised = counts_of(&captures, name);
    assert_eq!(Counts { levels: promised.levels, ..counts }, promised);
    assert_eq!(promised.snapshots as usize, gaps_wanted + 1);
    assert_eq!(promised.tickers, if futures { 120 } else { 0 });
}

#[test]
fn a_client_of_binance_futures_ends_with_the_true_books_and_gaps() {
    check_binance(true, "usdm_btcusdt.gz", "binance-futures:BTCUSDT", 2);
    check_binance(true, "usdm_ethusdt.gz", "binance-futures:ETHUSDT", 1);
}

#[test]
fn a_client_of_binance_spot_ends_with_the_true_books_and_gaps() {
    check_binance(false, "spot_btcusdt.gz", "binance:BTCUSDT", 1);
}

/// The checksum, from the strings of the book as they were sent.
fn okx_checksum(text: &BTreeMap<(usize, i64), (String, String)>) -> i64 {
    let side = |wanted: usize| {
        let levels = text.iter().filter(move |((side, _), _)| *side == wanted);
        levels.map(|(_, (price, qty))| format!("{price}:{qty}")).collect::<Vec<_>>()
    };
    let (mut bids, asks) = (side(0), side(1));
    bids.reverse();
    let pairs = bids.iter().zip(&asks).take(25).map(|(bid, ask)| format!("{bid}:{ask}"));
    i64::from(crc32fast::hash(pairs.collect::<Vec<_>>().join(":").as_bytes()).cast_signed())
}

#[test]
fn a_client_of_okx_ends_with_the_true_books_and_gaps_and_every_checksum() {
    let (folder, captures) = make(&small(5));
    let name = "okex:BTC-USDT";
    let mut checker = Checker::new(&captures, name);
    let mut text = BTreeMap::new();
    let (mut levels, mut live, mut last_id, mut gaps) = (Levels::default(), false, -1, vec![]);
    let (mut ends, mut checked) = (Vec::new(), 0);
    for line in folder.lines("okx_btc-usdt.jsonl.zst") {
        let record: Value = serde_json::from_str(&line).unwrap();
        if record["t"] != "recv" {
            continue;
        }
        let recv = Decimal::parse(&record["ts"].to_string()).unwrap().mantissa_at(9).unwrap();
        let message: Value = serde_json::from_str(record["data"].as_str().unwrap()).unwrap();
        if message["arg"]["channel"] != "books" || message["event"] == "subscribe" {
            continue;
        }
        let data = &message["data"][0];
        let snapshot = message["action"] == "snapshot";
        let previous = data["prevSeqId"].as_i64().unwrap();
        if snapshot {
            assert_eq!(previous, -1);
            (levels, live) = (Levels::default(), true);
            text.clear();
            ends.push(recv);
        } else if previous != last_id {
            gaps.push((recv, last_id, previous));
            live = false;
        }
        last_id = data["seqId"].as_i64().unwrap();
        for (side, list) in [(Side::Bid, &data["bids"]), (Side::Ask, &data["asks"])] {
            levels.set_all(side, list);
            for level in list.as_array().unwrap() {
                let (price, qty) = (level[0].as_str().unwrap(), level[1].as_str().unwrap());
                let key = (side as usize, number(price));
                match qty {
                    "0" => text.remove(&key),
                    _ => text.insert(key, (price.to_owned(), qty.to_owned())),
                };
            }
        }
        if live {
            levels.assert_not_crossed();
            assert_eq!(data["checksum"].as_i64().unwrap(), okx_checksum(&text));
            checked += 1;
            if !snapshot {
                checker.see(recv, &levels);
            }
        }
    }
    checker.finish(15);
    assert!(checked > 1000, "only {checked} checksums");
    let wanted = gaps_of(&captures, name);
    assert_eq!(wanted.len(), 1);
    assert_eq!(gaps, [(wanted[0].from.0, wanted[0].seq_before, wanted[0].seq_after)]);
    assert_eq!(ends[1..], [wanted[0].until.0]);
}

#[test]
fn a_reader_of_tardis_files_ends_with_the_true_books_and_a_snapshot_each_day() {
    let (folder, captures) = make(&small(9));
    let name = "deribit:BTC-PERPETUAL";
    let mut checker = Checker::new(&captures, name);
    let mut trades = 0;
    for day in ["2026-01-05", "2026-01-06"] {
        let file = |data_type: &str| {
            let lines = folder.lines(&format!("deribit_{data_type}_{day}_BTC-PERPETUAL.csv.gz"));
            assert!(lines.len() > 40 || data_type == "liquidations", "{data_type} {}", lines.len());
            lines.into_iter().skip(1).map(|line| {
                let fields: Vec<String> = line.split(',').map(str::to_owned).collect();
                let recv_ns = 1000 * fields[3].parse::<i64>().unwrap();
                assert_eq!(TsNs(recv_ns).day().to_string(), day);
                fields
            })
        };
        let rows: Vec<Vec<String>> = file("incremental_book_L2").collect();
        assert_eq!(rows[0][4], "true", "a day begins with a snapshot");
        let mut levels = Levels::default();
        for message in rows.chunk_by(|a, b| a[3] == b[3]) {
            for row in message {
                let side = if row[5] == "bid" { Side::Bid } else { Side::Ask };
                levels.set(side, &row[6], &row[7]);
            }
            levels.assert_not_crossed();
            if message[0][4] == "false" {
                checker.see(1000 * message[0][3].parse::<i64>().unwrap(), &levels);
            }
        }
        trades += file("trades").count() as u64;
        for data_type in ["quotes", "derivative_ticker", "liquidations"] {
            file(data_type).for_each(drop);
        }
    }
    checker.finish(20);
    assert_eq!(trades, counts_of(&captures, name).trades);
    assert_eq!(counts_of(&captures, name).snapshots, 2);
}

#[test]
fn an_instrument_without_gaps_has_none_and_options_out_of_range_are_refused() {
    let mut options = small(2);
    options.instruments.retain(|instrument| instrument.gaps > 0);
    for instrument in &mut options.instruments {
        instrument.gaps = 0;
    }
    assert_eq!(make(&options).1.truth.gaps, []);

    let refused = |change: &dyn Fn(&mut MarketOptions)| {
        let mut options = small(2);
        change(&mut options);
        let open = |_: &str| Ok(Box::new(std::io::sink()) as Box<dyn Write + Send>);
        write_captures(&options, open, |_| {}).unwrap_err().to_string()
    };
    let text = refused(&|options| options.instruments[0].messages_per_second = 0);
    assert_eq!(text, "sample binance-futures:BTCUSDT: messages_per_second is out of range");
    assert!(refused(&|options| options.duration_ns = 0).contains("duration"));
    assert!(refused(&|options| options.instruments[4].gaps = 1).contains("gaps"));
    assert!(refused(&|options| options.instruments[1].levels = 7).contains("levels"));
    assert!(refused(&|options| options.instruments[2].changes_per_message = 0).contains("changes"));
    let zero = Decimal::ZERO;
    assert!(refused(&|options| options.instruments[0].price_step = zero).contains("price_step"));
}

#[test]
fn books_stay_near_their_reference_and_change_most_at_the_touch() {
    let mut options = small(4);
    options.instruments.truncate(1);
    let (folder, captures) = make(&options);
    let (mut near, mut all) = (0, 0);
    for line in folder.lines("usdm_btcusdt.gz").iter().filter(|line| line.contains("depth@")) {
        let message: Value = serde_json::from_str(line.split_once(' ').unwrap().1).unwrap();
        for level in message["data"]["b"].as_array().unwrap().iter().rev() {
            all += 1;
            let price = number(level[0].as_str().unwrap());
            near += usize::from(price > number("61700") - number("30"));
        }
    }
    assert!(near * 2 > all, "{near} of {all}");
    for book in &captures.truth.books {
        let [bid, ask] = Levels::of(&book.book).best();
        assert!(ask.0 - bid.0 < number("20"), "spread {}", ask.0 - bid.0);
        assert!((number("60000")..number("63000")).contains(&bid.0));
        let levels = book.book.level_count(Side::Bid) + book.book.level_count(Side::Ask);
        assert!((300..2000).contains(&levels), "{levels} levels");
    }
}

#[test]
fn progress_ends_at_the_whole() {
    let mut seen = Vec::new();
    let open = |_: &str| Ok(Box::new(std::io::sink()) as Box<dyn Write + Send>);
    let captures = write_captures(&small(6), open, |progress| seen.push(*progress)).unwrap();

    let last = seen.last().unwrap();
    let levels: u64 = captures.truth.counts.iter().map(|(_, counts)| counts.levels).sum();
    assert!(last.total_ns - last.done_ns <= 1_000_000_000, "{last:?}");
    assert!(levels - last.book_rows < levels / 50);
    assert!(seen.is_sorted_by_key(|progress| progress.done_ns));
}
