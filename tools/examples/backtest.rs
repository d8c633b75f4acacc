//! A strategy over a replay: orders meet the recorded book, and every assumption is stated.
//!
//! ```text
//! cargo run --release --example backtest -- --store market.reel binance-futures:BTCUSDT
//! cargo run --release --example backtest -- --server http://127.0.0.1:7400 deribit:BTC-PERPETUAL \
//!     --strategy maker --equity curve.csv
//! ```
//!
//! The same loop as `tickreel.backtest` in Python, with the same models and the same figures, to
//! copy and to change: `engine.rs` is the loop, `venue.rs` the book with our orders in it,
//! `models.rs` says what is assumed of latency, queues and commission, `strategies.rs` holds two
//! strategies.

#[path = "backtest/account.rs"]
mod account;
#[path = "backtest/engine.rs"]
#[allow(dead_code, reason = "strategies may do more than those here do")]
pub(crate) mod engine;
#[path = "backtest/models.rs"]
#[allow(dead_code, reason = "models to choose from")]
pub(crate) mod models;
#[path = "backtest/orders.rs"]
#[allow(dead_code, reason = "strategies may look at more than those here do")]
pub(crate) mod orders;
#[path = "backtest/report.rs"]
pub(crate) mod report;
#[path = "backtest/strategies.rs"]
mod strategies;
#[path = "backtest/venue.rs"]
mod venue;

use std::io::{BufWriter, Write};

use engine::{Backtest, Strategy};
use report::Report;
use strategies::{ImbalanceTaker, MarketMaker};
use tickreel::event::{Kind, StreamKey};
use tickreel::rpc::{Client, Event, ReplayQuery};
use tickreel::store::Store;
use tickreel::{Error, Instrument, Result, TsNs};

const USAGE: &str = "usage: backtest (--store DIR | --server URL) INSTRUMENT \
                     [--strategy imbalance|maker] [--equity FILE]";

/// Where the market comes from.
enum Source {
    Store(String),
    Server(String),
}

pub(crate) struct Arguments {
    source: Source,
    instrument: Instrument,
    strategy: String,
    equity: Option<String>,
}

fn main() {
    if let Err(error) = run(std::env::args().skip(1)) {
        drop(writeln!(std::io::stderr(), "error: {error}"));
        std::process::exit(1);
    }
}

fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let arguments = Arguments::parse(words)?;
    print(&report_of(&arguments)?, arguments.equity.as_deref())
        .map_err(|error| Error::invalid(format!("the report cannot be written: {error}")))
}

/// Runs what the arguments name.
pub(crate) fn report_of(arguments: &Arguments) -> Result<Report> {
    let Arguments { source, instrument, .. } = arguments;
    match &*arguments.strategy {
        "imbalance" => {
            let strategy = ImbalanceTaker::new(instrument.clone());
            let backtest = Backtest::new(strategy, ImbalanceTaker::settings());
            source.play(instrument, &[Kind::Book], backtest)
        }
        "maker" => {
            let strategy = MarketMaker::new(instrument.clone());
            let backtest = Backtest::new(strategy, MarketMaker::settings());
            source.play(instrument, &[Kind::Book, Kind::Trades], backtest)
        }
        other => Err(Error::invalid(format!("strategy {other}\n{USAGE}"))),
    }
}

fn print(report: &Report, equity: Option<&str>) -> std::io::Result<()> {
    if let Some(path) = equity {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        report.write_equity(&mut file)?;
        file.flush()?;
    }
    write!(std::io::stdout(), "{report}")
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut source, mut instrument, mut equity) = (None, None, None);
        let mut strategy = "imbalance".to_owned();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| Error::invalid(format!("{word}: of what?\n{USAGE}")));
            match &*word {
                "--store" => source = Some(Source::Store(value()?)),
                "--server" => source = Some(Source::Server(value()?)),
                "--strategy" => strategy = value()?,
                "--equity" => equity = Some(value()?),
                _ => instrument = Some(Instrument::parse(&word)?),
            }
        }
        match (source, instrument) {
            (Some(source), Some(instrument)) => Ok(Self { source, instrument, strategy, equity }),
            _ => Err(Error::invalid(USAGE)),
        }
    }
}

impl Source {
    /// Plays all that is stored of an instrument.
    fn play<S: Strategy>(
        &self,
        instrument: &Instrument,
        kinds: &[Kind],
        backtest: Backtest<S>,
    ) -> Result<Report> {
        match self {
            Self::Store(folder) => play_store(folder, instrument, kinds, backtest),
            Self::Server(url) => {
                let runtime = tokio::runtime::Runtime::new();
                let runtime = runtime.map_err(|error| Error::invalid(error.to_string()))?;
                runtime.block_on(play_server(url, instrument, kinds, backtest))
            }
        }
    }
}

fn play_store<S: Strategy>(
    folder: &str,
    instrument: &Instrument,
    kinds: &[Kind],
    mut backtest: Backtest<S>,
) -> Result<Report> {
    let key = |kind: &Kind| StreamKey { instrument: instrument.clone(), kind: *kind };
    let keys: Vec<StreamKey> = kinds.iter().map(key).collect();
    let mut replay = Store::open(folder)?.snapshot()?.replay(&keys, TsNs::MIN..TsNs::MAX)?;
    for opening in replay.books() {
        backtest.open(&opening.key.instrument, opening.book.clone());
    }
    // The backtest keeps a book of its own.
    replay.forget_books();
    replay.play(false, |step| {
        backtest.play(step.key, step.batch, step.messages())?;
        Ok(true)
    })?;
    Ok(backtest.finish())
}

async fn play_server<S: Strategy>(
    url: &str,
    instrument: &Instrument,
    kinds: &[Kind],
    mut backtest: Backtest<S>,
) -> Result<Report> {
    let query = ReplayQuery {
        streams: vec![(instrument.clone(), kinds.to_vec())],
        hash: false,
        ..ReplayQuery::all(&[])
    };
    let mut session = Client::connect(url).await?.replay(&query).await?;
    let keys: Vec<_> = session.streams().iter().map(|stream| stream.key.clone()).collect();
    while let Some(event) = session.next().await? {
        match event {
            Event::OpeningBook(book) => backtest.open(&book.instrument, book.tracker()?),
            Event::Frame(frame) => frame.steps().try_for_each(|step| {
                backtest.play(&keys[step.stream], step.batch, step.messages)
            })?,
            Event::End(_) => break,
            _ => {}
        }
    }
    Ok(backtest.finish())
}
