//! What a backtest found.

use std::fmt;
use std::io::{self, Write};

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use tickreel::TsNs;

use super::account::Account;
use super::orders::Fill;

/// The year of annualised figures: markets that never close.
pub const YEAR_NS: f64 = 365.0 * 86_400.0 * 1e9;

/// The figures. Cash, fees and round trips are exact; the equity curve and what is computed from it
/// are doubles.
#[derive(Debug)]
pub struct Report {
    pub capital: Decimal,
    /// Profit after commission; open positions at their last marks.
    pub pnl: Decimal,
    pub account: Account,
    pub fills: Vec<Fill>,
    /// Time and equity: the capital, the cash of all fills and the positions at their marks.
    pub equity: Vec<(i64, f64)>,
    pub sample_ns: i64,
    pub orders: usize,
    pub rejected: usize,
}

impl Report {
    /// Profit as a share of the capital.
    pub fn total_return(&self) -> f64 {
        as_f64(self.pnl / self.capital)
    }

    /// Mean over standard deviation (n - 1) of the returns of equity from sample to sample, times
    /// the root of the samples in a year of 365 days; no interest is taken off. `None` if equity
    /// never moved or there are fewer than three samples.
    pub fn sharpe(&self) -> Option<f64> {
        let mut samples = &self.equity[..];
        // The last sample may be closer than the others.
        if let [before @ .., (earlier_ns, _), (last_ns, _)] = samples
            && last_ns - earlier_ns != self.sample_ns
        {
            samples = &samples[..=before.len()];
        }
        let equity: Vec<f64> = samples.iter().map(|(_, equity)| *equity).collect();
        sharpe_ratio(&equity, self.sample_ns as f64)
    }

    /// The largest fall of the equity from a height before it, as a share of that height.
    pub fn max_drawdown(&self) -> f64 {
        self.drawdowns().fold(0.0, f64::max)
    }

    /// At each sample, how far equity is below its height so far, as a share of it.
    pub fn drawdowns(&self) -> impl Iterator<Item = f64> + '_ {
        let mut height = f64::MIN;
        self.equity.iter().map(move |(_, equity)| {
            height = height.max(*equity);
            (height - equity) / height
        })
    }

    /// The share of round trips that made a profit after commission; `None` if there were none.
    pub fn win_rate(&self) -> Option<f64> {
        let trips = &self.account.trips;
        let won = trips.iter().filter(|trip| **trip > Decimal::ZERO).count();
        (!trips.is_empty()).then(|| won as f64 / trips.len() as f64)
    }

    /// What takers' fills cost against the middle of the book at the decision, in total.
    pub fn slippage(&self) -> Decimal {
        self.fills.iter().filter(|fill| !fill.maker).filter_map(|fill| fill.slippage).sum()
    }

    /// The same in basis points of what takers' fills were worth; `None` if there were none.
    pub fn slippage_bps(&self) -> Option<f64> {
        let taken = self.fills.iter().filter(|fill| !fill.maker);
        let worth: Decimal = taken.map(|fill| fill.price * fill.qty).sum();
        (!worth.is_zero()).then(|| as_f64(self.slippage() / worth) * 1e4)
    }

    /// The equity curve as CSV: time, equity and drawdown.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write_equity(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "ts,equity,drawdown")?;
        for ((ts_ns, equity), drawdown) in self.equity.iter().zip(self.drawdowns()) {
            writeln!(out, "{},{equity},{drawdown}", TsNs(*ts_ns))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |value: Decimal| value.normalize().to_string();
        let shown = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let percent = |share: f64, digits: usize| format!("{:.digits$}%", share * 100.0);
        let lines = [
            ("figure", "value".to_owned()),
            ("capital", exact(self.capital)),
            ("profit", exact(self.pnl)),
            ("return", percent(self.total_return(), 4)),
            ("Sharpe ratio, a year", shown(self.sharpe().map(|ratio| format!("{ratio:.2}")))),
            ("largest drawdown", percent(self.max_drawdown(), 4)),
            ("orders / rejected", format!("{} / {}", self.orders, self.rejected)),
            ("fills", self.fills.len().to_string()),
            ("round trips", self.account.trips.len().to_string()),
            ("of them won", shown(self.win_rate().map(|share| percent(share, 1)))),
            ("turnover", exact(self.account.turnover)),
            ("commission", exact(self.account.fees)),
            ("slippage of takers", exact(self.slippage())),
            ("the same, basis points", shown(self.slippage_bps().map(|bps| format!("{bps:.3}")))),
        ];
        let width = lines.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
        lines.iter().try_for_each(|(name, value)| writeln!(f, "{name:<22}  {value:>width$}"))
    }
}

/// See [`Report::sharpe`].
pub fn sharpe_ratio(equity: &[f64], sample_ns: f64) -> Option<f64> {
    let returns: Vec<f64> = equity.windows(2).map(|pair| (pair[1] - pair[0]) / pair[0]).collect();
    let count = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / count;
    let squares = returns.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (count - 1.0)).sqrt();
    (count >= 2.0 && deviation > 0.0).then(|| mean / deviation * (YEAR_NS / sample_ns).sqrt())
}

fn as_f64(value: Decimal) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}
