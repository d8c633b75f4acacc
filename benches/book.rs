//! Nanoseconds of one level update through `Tracker`, and of a seek, on synthetic books, on the
//! real Binance captures and on any Tardis CSV named by `TICKREEL_BENCH_CSV`.
//!
//! `cargo bench --no-default-features --features ingest --bench book`. Figures are processor time
//! of this thread, best of several runs; `hash` sums up the best prices that were read, so that
//! equal hashes mean equal work. `peers` are an ordered map and a sorted vector on the same rows.
#![allow(missing_docs, clippy::print_stdout, reason = "a program that prints figures")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use tickreel::book::{Book, Checkpoint, State, Tracker};
use tickreel::event::{Batch, BatchBuilder, Kind, MessageHead, Side, book};
use tickreel::{Decimal, TsNs};

fn main() {
    println!(
        "{:9} {:>8} {:>8} {:>6} {:>5} | {:>6} {:>6} | {:>6} {:>6} | {:>8} {:>8} {:>8} | hash",
        "data",
        "rows",
        "messages",
        "levels",
        "KiB",
        "each",
        "blind",
        "map",
        "vec",
        "load",
        "4096",
        "out"
    );
    let mut sets = vec![synthetic("dense", 1, 1), synthetic("step 25", 1, 25)];
    sets.push(synthetic("sparse", 40, 1));
    if let Some(path) = std::env::var_os("TICKREEL_BENCH_CSV") {
        sets.push(tardis(Path::new(&path)));
    }
    sets.extend(captures());
    sets.iter().for_each(measure);
}

/// One instrument's messages.
struct Set {
    name: String,
    batches: Vec<Batch>,
}

fn measure(set: &Set) {
    let rows: usize = set.batches.iter().map(Batch::rows).sum();
    let messages: usize = set.batches.iter().map(Batch::messages).sum();
    let mut tracker = Tracker::new();
    let (each, hash) = best_of(15, || {
        tracker.clear();
        let mut hash = 0;
        for batch in &set.batches {
            let read = |_, tracker: &Tracker| hash = mix(hash, tracker.book());
            tracker.apply_each(batch, 0..batch.messages(), read).unwrap();
        }
        hash
    });
    let (blind, _) = best_of(15, || {
        tracker.clear();
        set.batches.iter().for_each(|batch| tracker.apply(batch, 0..usize::MAX).unwrap());
        tracker.book().best(Side::Bid)
    });
    let (map, map_hash) = best_of(2, || peer(set, [BTreeMap::new(), BTreeMap::new()]));
    let (vec, vec_hash) = best_of(2, || peer(set, [Sorted::default(), Sorted::default()]));
    assert!(hash == map_hash && hash == vec_hash, "{}: books differ", set.name);
    let (load, deltas, out) = seek(set, &tracker);
    let per_row = 1.0 / rows as f64;
    println!(
        "{:9} {rows:8} {messages:8} {:6} {:5} | {:6.2} {:6.2} | {:6.2} {:6.2} | {:6.1}us {:6.1}us \
         {:6.1}us | {hash:016x}",
        set.name,
        tracker.book().level_count(Side::Bid) + tracker.book().level_count(Side::Ask),
        tracker.book().memory_bytes() >> 10,
        each * per_row,
        blind * per_row,
        map * per_row,
        vec * per_row,
        load / 1e3,
        deltas / 1e3,
        out / 1e3,
    );
}

/// Time to load the book before the last 4,096 rows, to apply these, and to write all levels out.
fn seek(set: &Set, last: &Tracker) -> (f64, f64, f64) {
    let batch = set.batches.last().unwrap();
    let first = batch.message_of(batch.rows().saturating_sub(4096));
    let mut tracker = Tracker::new();
    for batch in &set.batches[..set.batches.len() - 1] {
        tracker.apply(batch, 0..batch.messages()).unwrap();
    }
    tracker.apply(batch, 0..first).unwrap();
    let mut levels = [const { Vec::new() }; 4];
    let [bid_prices, bid_qtys, ask_prices, ask_qtys] = &mut levels;
    tracker.book().write_levels(Side::Bid, bid_prices, bid_qtys);
    tracker.book().write_levels(Side::Ask, ask_prices, ask_qtys);
    let checkpoint = Checkpoint {
        price_scale: tracker.book().price_scale(),
        qty_scale: tracker.book().qty_scale(),
        bid_prices,
        bid_qtys,
        ask_prices,
        ask_qtys,
        state: State::Live,
        ..Checkpoint::default()
    };
    let (load, ()) = best_of(200, || tracker.restore(&checkpoint).unwrap());
    let (both, ()) = best_of(200, || {
        tracker.restore(&checkpoint).unwrap();
        tracker.apply(batch, first..batch.messages()).unwrap();
    });
    assert!(tracker.book().levels(Side::Bid).eq(last.book().levels(Side::Bid)));
    let (mut prices, mut qtys) = (Vec::new(), Vec::new());
    let (out, ()) = best_of(200, || {
        for side in [Side::Bid, Side::Ask] {
            prices.clear();
            qtys.clear();
            tracker.book().write_levels(side, &mut prices, &mut qtys);
        }
    });
    (load, both - load, out)
}

/// Processor time of the fastest of `runs`, in nanoseconds.
fn best_of<T>(runs: usize, mut run: impl FnMut() -> T) -> (f64, T) {
    let mut best = f64::MAX;
    let mut last = None;
    for _ in 0..runs {
        let start = cpu_ns();
        last = Some(black_box(run()));
        best = best.min((cpu_ns() - start) as f64);
    }
    (best, last.expect("at least one run"))
}

fn cpu_ns() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

#[inline]
fn mix(hash: u64, book: &Book) -> u64 {
    let add = |hash, best| mix_best(hash, best);
    add(add(hash, book.best(Side::Bid)), book.best(Side::Ask))
}

#[inline]
fn mix_best(hash: u64, best: Option<(i64, i64)>) -> u64 {
    let (price, qty) = best.unwrap_or((0, 0));
    (hash.rotate_left(5) ^ price as u64).wrapping_add(qty as u64)
}

/// What a peer has to do. Keys are larger the better.
trait PeerSide {
    fn set(&mut self, key: i64, qty: i64);
    fn best(&self) -> Option<(i64, i64)>;
    fn clear(&mut self);
}

impl PeerSide for BTreeMap<i64, i64> {
    fn set(&mut self, key: i64, qty: i64) {
        match qty {
            0 => self.remove(&key),
            _ => self.insert(key, qty),
        };
    }

    fn best(&self) -> Option<(i64, i64)> {
        self.last_key_value().map(|(&key, &qty)| (key, qty))
    }

    fn clear(&mut self) {
        Self::clear(self);
    }
}

#[derive(Default)]
struct Sorted(Vec<(i64, i64)>);

impl PeerSide for Sorted {
    fn set(&mut self, key: i64, qty: i64) {
        match self.0.binary_search_by_key(&key, |level| level.0) {
            Ok(at) if qty == 0 => {
                self.0.remove(at);
            }
            Ok(at) => self.0[at].1 = qty,
            Err(_) if qty == 0 => {}
            Err(at) => self.0.insert(at, (key, qty)),
        }
    }

    fn best(&self) -> Option<(i64, i64)> {
        self.0.last().copied()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

fn peer<S: PeerSide>(set: &Set, mut sides: [S; 2]) -> u64 {
    let mut hash = 0;
    for batch in &set.batches {
        let (actions, codes) = (batch.u8s(book::ACTION), batch.u8s(book::SIDE));
        let (prices, qtys) = (batch.i64s(book::PRICE), batch.i64s(book::QTY));
        let mut start = 0;
        for &end in batch.ends() {
            for row in start..end as usize {
                match actions[row] {
                    0 => {
                        let flip = -i64::from(codes[row] & 1);
                        sides[usize::from(codes[row] & 1)].set(prices[row] ^ flip, qtys[row]);
                    }
                    _ => sides.iter_mut().for_each(S::clear),
                }
            }
            start = end as usize;
            let ask = sides[1].best().map(|(key, qty)| (!key, qty));
            hash = mix_best(mix_best(hash, sides[0].best()), ask);
        }
    }
    hash
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }

    /// Geometric with this mean.
    fn geometric(&mut self, mean: u64) -> u64 {
        let mut value = 0;
        while value < mean * 12 && self.below(mean + 1) != 0 {
            value += 1;
        }
        value
    }
}

/// A market about 1,000 levels deep on each side, `gap` price steps between levels on average and
/// `step` units to a price step; 1.2 million rows in messages of 4.
fn synthetic(name: &str, gap: u64, step: i64) -> Set {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut books = [BTreeMap::new(), BTreeMap::new()];
    let mut builder = BatchBuilder::new(Kind::Book);
    let decimal = |mantissa| Decimal::new(mantissa, 0).unwrap();
    let mut middle = 4_200_000i64;
    builder.begin(MessageHead { snapshot: true, ..MessageHead::default() });
    for (side, sign) in [(Side::Bid, -1), (Side::Ask, 1)] {
        let mut price = middle;
        for _ in 0..1000 {
            price += sign * (1 + random.below(2 * gap - 1) as i64);
            books[side as usize].insert(price * sign, 1);
            builder.level(side, decimal(price * step), decimal(1));
        }
    }
    for _ in 0..300_000 {
        builder.end();
        builder.begin(MessageHead::default());
        if random.below(20) == 0 {
            middle += random.below(3) as i64 - 1;
        }
        for _ in 0..4 {
            let (side, sign) = if random.below(2) == 0 { (Side::Bid, -1) } else { (Side::Ask, 1) };
            let levels = &mut books[side as usize];
            let rank = if random.below(20) == 0 { 200 } else { 13 };
            let rank = random.geometric(rank) as usize;
            let target = *levels.keys().nth(rank).unwrap_or(&(middle * sign));
            let moved = random.below(5);
            let key = if moved == 0 { target + random.below(2 * gap) as i64 } else { target };
            let remove = moved == 1 && levels.len() > 900;
            let qty = if remove { 0 } else { 1 + random.below(100_000) as i64 };
            let crosses = key * sign * sign < middle * sign;
            let qty = if crosses { 0 } else { qty };
            match qty {
                0 => levels.remove(&key),
                _ => levels.insert(key, qty),
            };
            builder.level(side, decimal(key * sign * step), decimal(qty));
        }
    }
    builder.end();
    Set { name: name.to_owned(), batches: cut(builder.finish().unwrap()) }
}

/// Batches of about 65,536 rows, as blocks of a segment are.
fn cut(batches: Vec<Batch>) -> Vec<Batch> {
    let mut blocks = Vec::new();
    for batch in batches {
        let mut start = 0;
        while start < batch.messages() {
            let row = batch.message_rows(start).start + (1 << 16);
            let end = if row < batch.rows() { batch.message_of(row) } else { batch.messages() };
            let end = end.max(start + 1);
            blocks.push(batch.slice_messages(start..end));
            start = end;
        }
    }
    blocks
}

/// Rows of a Tardis `incremental_book_L2` file.
fn tardis(path: &Path) -> Set {
    let mut builder = BatchBuilder::new(Kind::Book);
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    let mut now = String::new();
    for line in file.lines().skip(1) {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split(',').collect();
        if fields[3] != now {
            if !now.is_empty() {
                builder.end();
            }
            let ts_recv = TsNs(fields[3].parse::<i64>().unwrap() * 1000);
            let snapshot = now.is_empty();
            builder.begin(MessageHead { ts_recv, snapshot, ..MessageHead::default() });
            fields[3].clone_into(&mut now);
        }
        let side = if fields[5] == "bid" { Side::Bid } else { Side::Ask };
        builder.level_text(side, fields[6], fields[7]).unwrap();
    }
    builder.end();
    Set { name: "csv".to_owned(), batches: cut(builder.finish().unwrap()) }
}

/// The depth messages of the real Binance captures.
fn captures() -> Vec<Set> {
    let folder = std::env::var_os("TICKREEL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let folder = folder.join("binance-ws");
    if !folder.is_dir() {
        println!("SKIPPED: real captures: no folder {}", folder.display());
        return Vec::new();
    }
    [
        ("usdm btc", &["usdm_btcusdt_20240808.gz"][..]),
        ("usdm eth", &["usdm_ethusdt_20240808.gz"]),
        ("coinm btc", &["cm_btcusd_perp_20240808.gz", "cm_btcusd_perp_20240809.gz"]),
        ("spot btc", &["spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"]),
    ]
    .into_iter()
    .map(|(name, files)| {
        let mut builder = BatchBuilder::new(Kind::Book);
        for file in files {
            let file = std::fs::File::open(folder.join(file)).unwrap();
            for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
                capture_line(&line.unwrap(), &mut builder);
            }
        }
        Set { name: name.to_owned(), batches: cut(builder.finish().unwrap()) }
    })
    .collect()
}

fn capture_line(line: &str, builder: &mut BatchBuilder) {
    let (_, json) = line.split_once(' ').unwrap();
    if !json.contains("depthUpdate") && !json.contains("lastUpdateId") {
        return;
    }
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let snapshot = value.get("lastUpdateId").is_some();
    let (data, names) =
        if snapshot { (&value, ["bids", "asks"]) } else { (&value["data"], ["b", "a"]) };
    builder.begin(MessageHead { snapshot, ..MessageHead::default() });
    for (side, name) in [Side::Bid, Side::Ask].into_iter().zip(names) {
        for level in data[name].as_array().unwrap() {
            let text = |index: usize| level[index].as_str().unwrap();
            builder.level_text(side, text(0), text(1)).unwrap();
        }
    }
    builder.end();
}
