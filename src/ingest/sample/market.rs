//! Which instruments a market has, and its captures.

use std::io::Write;

use super::binance::{Binance, Market};
use super::feed::{Feed, Open};
use super::okx::Okx;
use super::process::{Character, Process};
use super::random::Random;
use super::reference::Reference;
use super::run::{Plan, Run};
use super::tardis::Tardis;
use super::truth::{CaptureFile, Captures, Progress};
use crate::book::Book;
use crate::error::{Error, Result};
use crate::quantity::{Decimal, Instrument, TsNs};

/// How a venue's market is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenueForm {
    /// Binance USD-margined futures, one message with its receive time per line.
    BinanceFutures,
    /// Binance spot, likewise.
    BinanceSpot,
    /// OKX in cryptofeed's records; spot and derivatives alike.
    Okx,
    /// Tardis CSV, one file per data type and day.
    TardisCsv,
}

/// One instrument of a made-up market.
#[derive(Clone, Debug)]
pub struct InstrumentOptions {
    /// Its name.
    pub instrument: Instrument,
    /// How it is written.
    pub form: VenueForm,
    /// Instruments of one underlying follow one price.
    pub underlying: u64,
    /// Price at the beginning.
    pub first_price: Decimal,
    /// Smallest step of a price.
    pub price_step: Decimal,
    /// Smallest step of a quantity.
    pub qty_step: Decimal,
    /// Decimals of prices and quantities where the venue writes all of them.
    pub decimals: (u8, u8),
    /// How many times a quantity may double: its tail.
    pub qty_doublings: u32,
    /// Levels of one side, about.
    pub levels: usize,
    /// Book messages per second.
    pub messages_per_second: u32,
    /// Changes of the book per message, about.
    pub changes_per_message: u32,
    /// Holes in the sequence of book messages. Tardis CSV has none: it cannot show them.
    pub gaps: u32,
}

/// A made-up market. [`MarketOptions::new`] has five instruments on four venues and makes about 1.5
/// million levels in 20 minutes around midnight.
#[derive(Clone, Debug)]
pub struct MarketOptions {
    /// Markets of different seeds differ, those of one seed are equal byte by byte.
    pub seed: u64,
    /// When it begins.
    pub start: TsNs,
    /// How long it lasts.
    pub duration_ns: i64,
    /// What is traded.
    pub instruments: Vec<InstrumentOptions>,
    /// How often a book is kept in [`super::Truth::books`].
    pub truth_every_ns: i64,
}

impl MarketOptions {
    /// The default market of `seed`.
    ///
    /// # Errors
    /// None: the names and numbers below are good.
    pub fn new(seed: u64) -> Result<Self> {
        let futures = InstrumentOptions {
            instrument: Instrument::parse("binance-futures:BTCUSDT")?,
            form: VenueForm::BinanceFutures,
            underlying: 0,
            first_price: Decimal::parse("61700.1")?,
            price_step: Decimal::parse("0.1")?,
            qty_step: Decimal::parse("0.001")?,
            decimals: (2, 3),
            qty_doublings: 12,
            levels: 400,
            messages_per_second: 20,
            changes_per_message: 40,
            gaps: 2,
        };
        let ether = InstrumentOptions {
            instrument: Instrument::parse("binance-futures:ETHUSDT")?,
            underlying: 1,
            first_price: Decimal::parse("2680.34")?,
            price_step: Decimal::parse("0.01")?,
            qty_doublings: 15,
            messages_per_second: 15,
            changes_per_message: 30,
            gaps: 1,
            ..futures.clone()
        };
        let spot = InstrumentOptions {
            instrument: Instrument::parse("binance:BTCUSDT")?,
            form: VenueForm::BinanceSpot,
            first_price: Decimal::parse("61725")?,
            qty_step: Decimal::parse("0.00001")?,
            decimals: (8, 8),
            qty_doublings: 18,
            messages_per_second: 10,
            changes_per_message: 26,
            gaps: 1,
            ..futures.clone()
        };
        let okx = InstrumentOptions {
            instrument: Instrument::parse("okex:BTC-USDT")?,
            form: VenueForm::Okx,
            qty_step: Decimal::parse("0.00000001")?,
            decimals: (1, 8),
            qty_doublings: 27,
            changes_per_message: 20,
            ..spot.clone()
        };
        let perpetual = InstrumentOptions {
            instrument: Instrument::parse("deribit:BTC-PERPETUAL")?,
            form: VenueForm::TardisCsv,
            first_price: Decimal::parse("61713")?,
            price_step: Decimal::parse("0.5")?,
            qty_step: Decimal::parse("10")?,
            decimals: (1, 0),
            messages_per_second: 8,
            changes_per_message: 12,
            gaps: 0,
            ..futures.clone()
        };
        Ok(Self {
            seed,
            start: TsNs::parse("2026-01-05T23:50:00Z")?,
            duration_ns: 1_200_000_000_000,
            instruments: vec![futures, ether, spot, okx, perpetual],
            truth_every_ns: 30_000_000_000,
        })
    }
}

/// Runs a market and writes its captures into files that `open` opens by name; `progress` hears how
/// far it is about once in a simulated second.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if an option is out of its range, with its name;
/// [`crate::ErrorKind::Io`] with the file if one cannot be written; what `open` returns.
pub fn write_captures(
    options: &MarketOptions,
    mut open: impl FnMut(&str) -> Result<Box<dyn Write + Send>>,
    mut progress: impl FnMut(&Progress),
) -> Result<Captures> {
    let mut captures = Captures::default();
    let total_ns = options.duration_ns.saturating_mul(options.instruments.len() as i64);
    let mut so_far = Progress { book_rows: 0, done_ns: 0, total_ns };
    for (stream, instrument) in (0..).zip(&options.instruments) {
        let mut files = Vec::new();
        let mut named = |name: &str| {
            let (name, instrument) = (name.to_owned(), instrument.instrument.clone());
            let file = open(&name)?;
            files.push(CaptureFile { name, instrument });
            Ok(file)
        };
        let reference = Random::new(options.seed, instrument.underlying);
        let reference = Reference::new(reference, options.duration_ns);
        let book = book_of(options, instrument)?;
        let feed = feed_of(options, instrument, &book, &mut named)?;
        let random = |part: u64| Random::new(options.seed, 1000 + 2 * stream + part);
        let plan = plan_of(options, instrument, &book)?;
        let process =
            Process::new(character_of(instrument, &book)?, random(0), book, plan.first_price);
        let run = Run::new(plan, process, &reference, feed, random(1), &mut captures.truth);
        run.run(|levels, made_ns| {
            let second_ns = 1_000_000_000;
            let before = so_far.done_ns / second_ns;
            so_far.book_rows += levels;
            so_far.done_ns += made_ns;
            if so_far.done_ns / second_ns > before {
                progress(&so_far);
            }
        })?;
        captures.files.append(&mut files);
    }
    Ok(captures)
}

/// An empty book that counts in the instrument's units.
fn book_of(options: &MarketOptions, instrument: &InstrumentOptions) -> Result<Book> {
    let name = &instrument.instrument;
    let wrong = |what: &str| Err(Error::invalid(format!("sample {name}: {what} is out of range")));
    let first_ns = options.start.0.checked_add(options.duration_ns);
    if options.duration_ns < 1 || options.start.0 < 0 || first_ns.is_none() {
        return wrong("start or duration");
    }
    if !(1..=1000).contains(&instrument.messages_per_second) {
        return wrong("messages_per_second");
    }
    if !(1..=10_000).contains(&instrument.changes_per_message) {
        return wrong("changes_per_message");
    }
    if !(100..=1000).contains(&instrument.levels) {
        return wrong("levels");
    }
    if instrument.gaps > 0 && instrument.form == VenueForm::TardisCsv {
        return wrong("gaps");
    }
    let mut book = Book::new();
    book.raise_scales(instrument.decimals.0, instrument.decimals.1)?;
    Ok(book)
}

/// `value` in units of 10^-`scale`, which must be positive and leave room for sums.
fn mantissa(instrument: &Instrument, what: &str, value: Decimal, scale: u8) -> Result<i64> {
    let found = value.mantissa_at(scale).filter(|mantissa| (1..1 << 50).contains(mantissa));
    found.ok_or_else(|| {
        Error::invalid(format!("sample {instrument}: {what} {value} is out of range"))
    })
}

fn character_of(instrument: &InstrumentOptions, book: &Book) -> Result<Character> {
    let name = &instrument.instrument;
    Ok(Character {
        tick: mantissa(name, "price_step", instrument.price_step, book.price_scale())?,
        lot: mantissa(name, "qty_step", instrument.qty_step, book.qty_scale())?,
        qty_doublings: instrument.qty_doublings,
        levels: instrument.levels,
    })
}

fn plan_of(options: &MarketOptions, instrument: &InstrumentOptions, book: &Book) -> Result<Plan> {
    let (name, price) = (&instrument.instrument, instrument.first_price);
    Ok(Plan {
        instrument: name.clone(),
        start: options.start,
        duration_ns: options.duration_ns,
        first_price: mantissa(name, "first_price", price, book.price_scale())?,
        interval_ns: 1_000_000_000 / i64::from(instrument.messages_per_second),
        changes: i64::from(instrument.changes_per_message),
        gaps: i64::from(instrument.gaps),
        truth_every_ns: options.truth_every_ns,
    })
}

fn feed_of(
    options: &MarketOptions,
    instrument: &InstrumentOptions,
    book: &Book,
    open: Open<'_>,
) -> Result<Box<dyn Feed>> {
    let symbol = instrument.instrument.symbol();
    // What happens in the last moment is received a moment later.
    let last = options.start.saturating_add(options.duration_ns).saturating_add(1_000_000_000);
    Ok(match instrument.form {
        VenueForm::BinanceFutures => Box::new(Binance::new(Market::Futures, symbol, book, open)?),
        VenueForm::BinanceSpot => Box::new(Binance::new(Market::Spot, symbol, book, open)?),
        VenueForm::Okx => Box::new(Okx::new(symbol, book, open)?),
        VenueForm::TardisCsv => {
            let days = (options.start, last);
            Box::new(Tardis::new(&instrument.instrument, book, days, open)?)
        }
    })
}
