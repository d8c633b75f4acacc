//! Nanoseconds per row between batches and Arrow: convert, encode, decode and read back.
//!
//! `cargo bench --no-default-features --features arrow --bench batches`. The canonical batch has
//! 65,536 rows of a book (mean message of 3.5 rows) or of trades with ids of their own. The hash
//! sums up the rows that came back: it is the hash of the rows that went in.

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use tickreel::arrow::ipc::{Decoder, Encoder};
use tickreel::arrow::{Converter, DecimalAs, Options, TextAs, from_record_batch};
use tickreel::event::{BatchBuilder, ContentHash, MessageHead, Side, TradeRow, TradeSide};
use tickreel::{Batch, Decimal, Kind, Result, TsNs};

/// Rows of a batch.
const ROWS: usize = 1 << 16;

/// Runs of each step; the fastest counts.
const RUNS: usize = 30;

fn main() -> Result<()> {
    for batch in [book()?, trades()?] {
        let rows = batch.rows();
        let ns = |fastest: u128| fastest as f64 / rows as f64;
        let exact = converter(&batch, &Options::default())?;
        let plain = converter(&batch, &Options { texts: TextAs::Plain, ..Options::default() })?;
        let near = converter(
            &batch,
            &Options { decimals: DecimalAs::Float64, texts: TextAs::Plain, ..Options::default() },
        )?;
        let record_batch = exact.convert(&batch)?;
        let encoder = Encoder::new(exact.schema().clone())?;
        let message = encoder.encode(&record_batch)?;
        let decode = || {
            let mut decoder = Decoder::new();
            decoder.decode(encoder.schema_message().clone())?;
            decoder.decode(message.clone())
        };
        let mut hash = ContentHash::EMPTY;
        for back in decode()? {
            hash.update_all(&from_record_batch(batch.kind(), &back)?);
        }
        print(&format!(
            "{} of {rows} rows, {} messages: convert {:.2} ns/row, plain text {:.2}, floats {:.2}, \
             encode {:.2}, decode {:.2}, read back {:.2}, {:.1} bytes/row, hash {:016x}\n",
            batch.kind(),
            batch.messages(),
            ns(fastest(|| exact.convert(&batch))?),
            ns(fastest(|| plain.convert(&batch))?),
            ns(fastest(|| near.convert(&batch))?),
            ns(fastest(|| encoder.encode(&record_batch))?),
            ns(fastest(decode)?),
            ns(fastest(|| from_record_batch(batch.kind(), &record_batch))?),
            message.len() as f64 / rows as f64,
            hash.value(),
        ))?;
    }
    Ok(())
}

fn converter(batch: &Batch, options: &Options) -> Result<Converter> {
    let scales: Vec<u8> =
        (0..batch.schema().columns.len()).map(|index| batch.scale(index)).collect();
    Converter::new(batch.kind(), None, &scales, options)
}

fn fastest<T>(work: impl Fn() -> Result<T>) -> Result<u128> {
    let mut fastest = u128::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        black_box(work()?);
        fastest = fastest.min(start.elapsed().as_nanos());
    }
    Ok(fastest)
}

fn print(line: &str) -> Result<()> {
    std::io::stdout()
        .write_all(line.as_bytes())
        .map_err(|error| tickreel::Error::io(error, "print", Path::new("stdout")))
}

/// Numbers without a pattern.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % bound
    }

    fn decimal(&mut self, least: i64, bound: i64, scale: u8) -> Decimal {
        Decimal::new(least + self.below(bound), scale).unwrap_or(Decimal::ZERO)
    }
}

fn only(batches: Vec<Batch>) -> Result<Batch> {
    batches.into_iter().next().ok_or_else(|| tickreel::Error::invalid("no rows"))
}

fn book() -> Result<Batch> {
    let mut random = Random(1);
    let mut builder = BatchBuilder::new(Kind::Book);
    let mut ts = 1_709_251_200_200_000_000;
    while builder.rows() < ROWS {
        ts += 1 + random.below(20_000_000);
        builder.begin(MessageHead {
            ts_recv: TsNs(ts + 1_337_000),
            ts_event: Some(TsNs(ts)),
            venue_seq: Some(ts / 1000),
            snapshot: false,
        });
        let rows = (1 + random.below(6) as usize).min(ROWS - builder.rows());
        for _ in 0..rows {
            let side = if random.below(2) == 0 { Side::Bid } else { Side::Ask };
            builder.level(
                side,
                random.decimal(4_200_000, 5000, 2),
                random.decimal(0, 1_000_000, 5),
            );
        }
        builder.end();
    }
    only(builder.finish()?)
}

fn trades() -> Result<Batch> {
    let mut random = Random(2);
    let mut builder = BatchBuilder::new(Kind::Trades);
    for row in 0..ROWS as i64 {
        builder.trade(&TradeRow {
            ts_recv: TsNs(1_709_251_200_200_000_000 + row * 1_000_000),
            ts_event: None,
            side: if random.below(2) == 0 { TradeSide::Buy } else { TradeSide::Sell },
            price: random.decimal(4_200_000, 5000, 2),
            qty: random.decimal(0, 1_000_000, 5),
            trade_id: &(3_500_000_000 + row).to_string(),
        });
    }
    only(builder.finish()?)
}
