//! The rows that every writer process writes: the same ones, however often it begins anew.

use tickreel::event::{Batch, Kind, StreamKey};

use crate::oracle::{START, book_stream, key, trade_stream};

/// The book, the trades and the quiet streams after them.
pub const STREAMS: usize = 2 + 40;
/// Nanoseconds between the beginnings of two laps: three laps are about one UTC day.
const LAP_NS: i64 = 30_000_000_000_000;

/// The endless rows of one stream, made in laps. The first row of each lap of a book is a reset.
#[derive(Clone)]
pub struct Source {
    pub key: StreamKey,
    /// Messages of one lap.
    pub lap_messages: usize,
    seed: u64,
}

impl Source {
    /// All streams that are written.
    pub fn all() -> Vec<Self> {
        let source = |stream: usize| {
            let (name, kind, lap_messages) = match stream {
                0 => ("test:BUSY".to_owned(), Kind::Book, 500),
                1 => ("test:BUSY".to_owned(), Kind::Trades, 500),
                quiet => (format!("test:QUIET-{quiet}"), Kind::Trades, 4),
            };
            Self { key: key(&name, kind), lap_messages, seed: 1000 * stream as u64 + 1 }
        };
        (0..STREAMS).map(source).collect()
    }

    /// The messages of one lap.
    pub fn lap(&self, lap: usize) -> Batch {
        let start = START + LAP_NS * i64::try_from(lap).unwrap();
        let step_ns = LAP_NS.unsigned_abs() / (2 * self.lap_messages as u64);
        let seed = self.seed + lap as u64;
        match self.key.kind {
            Kind::Book => book_stream(self.lap_messages, start, step_ns, seed),
            _ => trade_stream(self.lap_messages, start, step_ns, seed),
        }
    }
}
