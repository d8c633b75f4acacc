//! What happens on a market, and what a venue's way of writing it down must offer.

use std::io::Write;
use std::path::Path;

use super::process::Print;
use crate::book::Book;
use crate::error::{Error, Result};
use crate::event::Side;
use crate::quantity::TsNs;

/// Opens the output file with the given name.
pub(super) type Open<'a> = &'a mut dyn FnMut(&str) -> Result<Box<dyn Write + Send>>;

/// When something happened at the venue, and when it was received, both in ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub recv_ns: i64,
    pub event_ns: i64,
}

impl Times {
    pub fn event_ms(self) -> i64 {
        self.event_ns / 1_000_000
    }

    pub fn recv(self) -> TsNs {
        TsNs(self.recv_ns)
    }
}

/// Levels that changed since the last message.
#[derive(Debug)]
pub(super) struct Delta<'a> {
    pub times: Times,
    /// Last change of the message before, whether or not that was delivered.
    pub previous_id: i64,
    /// Last change in this one.
    pub last_id: i64,
    /// Side, price and quantity now, bids first.
    pub levels: &'a [(Side, i64, i64)],
    /// The book after this message.
    pub book: &'a Book,
}

/// A whole book.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub times: Times,
    pub last_id: i64,
    pub book: &'a Book,
}

/// Best prices and quantities: bid, ask.
#[derive(Debug)]
pub(super) struct Top {
    pub times: Times,
    pub last_id: i64,
    pub best: [(i64, i64); 2],
}

/// A print or a forced order.
#[derive(Debug)]
pub(super) struct Trade {
    pub times: Times,
    pub id: i64,
    pub print: Print,
}

/// State of a derivative. Prices are mantissas with the decimals of the book's prices.
#[derive(Debug)]
pub(super) struct State {
    pub times: Times,
    pub last: i64,
    pub mark: i64,
    pub index: i64,
    /// In units of 10^-8.
    pub funding_rate: i64,
    pub funding_ts_ms: i64,
    /// With the decimals of quantities.
    pub open_interest: i64,
}

/// How a venue's snapshots reach a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotRule {
    /// The client asks over REST; the answer is late and lies between messages of the stream.
    Asked,
    /// The stream begins with one, and again after a new subscription.
    Pushed,
    /// As `Pushed`, and every UTC day begins with one. Nothing is ever missing.
    Daily,
}

/// A venue's way of writing its market down.
pub(super) trait Feed {
    /// How its snapshots come.
    fn snapshot_rule(&self) -> SnapshotRule;

    /// The smallest step of its receive times.
    fn clock_step_ns(&self) -> i64;

    /// A connection is made, or a book is subscribed again after a gap.
    fn subscribe(&mut self, times: Times) -> Result<()>;

    fn delta(&mut self, delta: &Delta<'_>) -> Result<()>;

    fn snapshot(&mut self, snapshot: &Snapshot<'_>) -> Result<()>;

    fn top(&mut self, top: &Top) -> Result<()>;

    fn trade(&mut self, trade: &Trade) -> Result<()>;

    /// Writes the state of a derivative; `false` if the form has none.
    fn state(&mut self, state: &State) -> Result<bool>;

    /// Writes a forced order; `false` if the form has none.
    fn liquidation(&mut self, order: &Trade) -> Result<bool>;

    /// Ends all files.
    fn finish(&mut self) -> Result<()>;
}

/// A compressed file of lines.
pub(super) struct Output {
    name: String,
    encoder: Option<Encoder>,
    /// The line being made.
    pub line: Vec<u8>,
}

enum Encoder {
    Gzip(flate2::write::GzEncoder<Box<dyn Write + Send>>),
    Zstd(zstd::Encoder<'static, Box<dyn Write + Send>>),
}

impl Output {
    /// Opens `name`; `.gz` and `.zst` say how it is compressed.
    pub fn open(name: &str, open: Open<'_>) -> Result<Self> {
        let file = open(name)?;
        let encoder = if name.ends_with(".zst") {
            let encoder = zstd::Encoder::new(file, 1);
            Encoder::Zstd(encoder.map_err(|error| failed(error, name))?)
        } else {
            let fast = flate2::Compression::fast();
            Encoder::Gzip(flate2::write::GzEncoder::new(file, fast))
        };
        Ok(Self { name: name.to_owned(), encoder: Some(encoder), line: Vec::new() })
    }

    /// Writes the line with a line end and begins the next.
    pub fn end_line(&mut self) -> Result<()> {
        self.line.push(b'\n');
        let written = match &mut self.encoder {
            Some(Encoder::Gzip(encoder)) => encoder.write_all(&self.line),
            Some(Encoder::Zstd(encoder)) => encoder.write_all(&self.line),
            None => Ok(()),
        };
        self.line.clear();
        written.map_err(|error| failed(error, &self.name))
    }

    /// Ends the file.
    pub fn finish(&mut self) -> Result<()> {
        let file = match self.encoder.take() {
            Some(Encoder::Gzip(encoder)) => encoder.finish(),
            Some(Encoder::Zstd(encoder)) => encoder.finish(),
            None => return Ok(()),
        };
        file.and_then(|mut file| file.flush()).map_err(|error| failed(error, &self.name))
    }
}

fn failed(error: std::io::Error, name: &str) -> Error {
    Error::io(error, "write capture", Path::new(name))
}

/// Adds an integer.
pub(super) fn push_int(line: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut rest = value.unsigned_abs();
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        line.push(b'-');
    }
    line.extend(digits.iter().skip(digits.len() - count));
}

/// Adds `mantissa` x 10^-`decimals`, `mantissa` not negative, with all its decimals.
pub(super) fn push_fixed(line: &mut Vec<u8>, mantissa: i64, decimals: u8) {
    let unit = 10i64.pow(u32::from(decimals));
    push_int(line, mantissa / unit);
    if decimals > 0 {
        line.push(b'.');
        let mut place = unit / 10;
        while place > 0 {
            line.push(b'0' + (mantissa / place % 10) as u8);
            place /= 10;
        }
    }
}

/// As [`push_fixed`] without zeros at the end: `0.5`, `3`.
pub(super) fn push_short(line: &mut Vec<u8>, mantissa: i64, decimals: u8) {
    push_fixed(line, mantissa, decimals);
    if decimals > 0 {
        while line.last() == Some(&b'0') {
            line.pop();
        }
        if line.last() == Some(&b'.') {
            line.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_exactly() {
        let text = |push: &dyn Fn(&mut Vec<u8>)| {
            let mut line = Vec::new();
            push(&mut line);
            String::from_utf8(line).unwrap()
        };

        for value in [0, 7, -7, 1234567890123456789, i64::MAX, i64::MIN] {
            assert_eq!(text(&|line| push_int(line, value)), value.to_string());
        }
        assert_eq!(text(&|line| push_fixed(line, 6_180_020, 2)), "61800.20");
        assert_eq!(text(&|line| push_fixed(line, 1, 3)), "0.001");
        assert_eq!(text(&|line| push_fixed(line, 42, 0)), "42");
        assert_eq!(text(&|line| push_short(line, 6_180_020, 2)), "61800.2");
        assert_eq!(text(&|line| push_short(line, 100, 2)), "1");
        assert_eq!(text(&|line| push_short(line, 100, 0)), "100");
    }
}
