//! What tests of dialects share: messages in, rows as text out; captures through a dialect.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::capture::line::{self, Record};
use super::venue::Venue;
use super::{Dialect, Form, Frame, Input, Rows, StreamKey};
use crate::error::Result;
use crate::event::{Batch, Kind, Value};
use crate::quantity::TsNs;

/// Connection of all messages of [`feed`].
pub(super) const CONNECTION: u32 = 1;

/// A dialect of `venue` that has seen nothing yet.
pub(super) fn new_dialect(venue: &Venue) -> Box<dyn Dialect> {
    (venue.dialect)(venue.exchanges[0], None)
}

/// Feeds messages received at 1 ns, 2 ns, ... and gives back the first error.
pub(super) fn try_feed(
    dialect: &mut dyn Dialect,
    messages: &[&str],
    rows: &mut Rows,
) -> Result<()> {
    for (index, message) in messages.iter().enumerate() {
        let ts_recv = TsNs(i64::try_from(index).unwrap() + 1);
        dialect.frame(ts_recv, CONNECTION, &Frame::Message(message.as_bytes()), rows)?;
    }
    Ok(())
}

/// Feeds a message that is refused: why, and whether it left a gap in a book. It leaves gaps only.
pub(super) fn refused(dialect: &mut dyn Dialect, message: &str) -> (String, bool) {
    let mut rows = Rows::new();
    let error = try_feed(dialect, &[message], &mut rows).unwrap_err();
    let left = texts(&mut rows);
    assert!(left.iter().all(|row| row.contains(" gap ")), "{message}: {left:?}");
    (error.to_string(), left.iter().any(|row| row.starts_with("book ")))
}

/// Feeds messages that are all readable, and gives back every row as text.
pub(super) fn feed(dialect: &mut dyn Dialect, messages: &[&str]) -> Vec<String> {
    let mut rows = Rows::new();
    try_feed(dialect, messages, &mut rows).unwrap();
    texts(&mut rows)
}

/// Takes all rows as `kind symbol ts_recv ts_event value ...`, streams in order of their names.
pub(super) fn texts(rows: &mut Rows) -> Vec<String> {
    let taken = rows.take().unwrap();
    taken.iter().flat_map(|(key, batch)| batch_texts(key, batch)).collect()
}

fn batch_texts(key: &StreamKey, batch: &Batch) -> Vec<String> {
    let row_text = |row: usize| {
        let message = batch.message_of(row);
        let mut text = format!("{} {}", key.kind, key.instrument);
        for column in 0..batch.schema().columns.len() {
            text.push(' ');
            text.push_str(&match batch.value(message, row, column) {
                Value::Null => "-".to_owned(),
                Value::Time(time) => time.0.to_string(),
                Value::Int(value) => value.to_string(),
                Value::Decimal(value) => value.to_string(),
                Value::Code(name) => name.to_owned(),
                Value::Flags(flags) => flags.to_string(),
                Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            });
        }
        text
    };
    (0..batch.rows()).map(row_text).collect()
}

/// A capture under the data folder, or nothing and a loud line where the folder is absent.
pub(super) fn capture(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TICKREEL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    let line = format!("SKIPPED: no capture {}\n", path.display());
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    None
}

/// As [`replay_bytes`] for a venue that sends text. Every message must be readable.
pub(super) fn replay(
    path: &Path,
    form: Form,
    dialect: &mut dyn Dialect,
    mut each: impl FnMut(&str, Vec<(StreamKey, Batch)>),
) {
    replay_bytes(path, form, dialect, |message, read, taken| {
        read.unwrap();
        each(std::str::from_utf8(message).unwrap(), taken);
    });
}

/// Runs a capture through a dialect and calls `each` after every message with the message, whether
/// it could be read, and the rows of it.
pub(super) fn replay_bytes(
    path: &Path,
    form: Form,
    dialect: &mut dyn Dialect,
    mut each: impl FnMut(&[u8], Result<()>, Vec<(StreamKey, Batch)>),
) {
    let mut input = Input::open(path).unwrap();
    let mut rows = Rows::new();
    let mut connections: HashMap<String, u32> = HashMap::new();
    while let Some(line) = input.next_line().unwrap() {
        let Record::Event { ts_recv, connection, event } = line::read(form, line.text).unwrap()
        else {
            continue;
        };
        let next = u32::try_from(connections.len()).unwrap();
        let number = *connections.entry(connection.into_owned()).or_insert(next);
        let read = dialect.frame(ts_recv, number, &event.frame(), &mut rows);
        match event.frame() {
            Frame::Message(message) => each(message, read, rows.take().unwrap()),
            _ => read.unwrap(),
        }
    }
}

/// Rows of one kind in `taken`.
pub(super) fn rows_of(taken: &[(StreamKey, Batch)], kind: Kind) -> usize {
    taken.iter().filter(|(key, _)| key.kind == kind).map(|(_, batch)| batch.rows()).sum()
}

/// Books made from the stored rows alone, to see what somebody else would read back.
#[derive(Default)]
pub(super) struct StoredBooks {
    books: HashMap<StreamKey, StoredBook>,
}

/// Bids and asks by price, and the digits the venue wrote.
#[derive(Default)]
pub(super) struct StoredBook {
    sides: [std::collections::BTreeMap<crate::Decimal, crate::Decimal>; 2],
    digits: (u8, u8),
    /// Rows that say "gap".
    pub gaps: usize,
}

impl StoredBooks {
    /// Applies the book rows among `taken`.
    pub fn apply(&mut self, taken: &[(StreamKey, Batch)]) {
        use crate::event::book;

        for (key, batch) in taken.iter().filter(|(key, _)| key.kind == Kind::Book) {
            let stored = self.books.entry(key.clone()).or_default();
            let digits = |column: usize| batch.column(column).unwrap().digits;
            stored.digits.0 = stored.digits.0.max(digits(book::PRICE));
            stored.digits.1 = stored.digits.1.max(digits(book::QTY));
            for row in 0..batch.rows() {
                let value = |column| batch.value(batch.message_of(row), row, column);
                let (Value::Decimal(price), Value::Decimal(qty)) =
                    (value(book::PRICE), value(book::QTY))
                else {
                    panic!("price and quantity are never null");
                };
                let side = usize::from(batch.u8s(book::SIDE)[row]);
                match value(book::ACTION) {
                    Value::Code("reset") => stored.sides = Default::default(),
                    Value::Code("gap") => stored.gaps += 1,
                    _ if qty.is_zero() => {
                        stored.sides[side].remove(&price);
                    }
                    _ => {
                        stored.sides[side].insert(price, qty);
                    }
                }
            }
        }
    }

    /// The book of `symbol`.
    pub fn book(&self, exchange: &str, symbol: &str) -> &StoredBook {
        let instrument = crate::Instrument::new(exchange, symbol).unwrap();
        &self.books[&StreamKey { instrument, kind: Kind::Book }]
    }

    /// All books.
    pub fn iter(&self) -> impl Iterator<Item = (&StreamKey, &StoredBook)> {
        self.books.iter()
    }
}

impl StoredBook {
    /// Bids then asks, best first, with the shortest exact text.
    pub fn shortest(&self) -> [Vec<(String, String)>; 2] {
        self.texts(|price, qty| (price.to_string(), qty.to_string()))
    }

    /// Bids then asks, best first, with the digits that the venue writes.
    pub fn padded(&self) -> [Vec<(String, String)>; 2] {
        let (price_digits, qty_digits) = self.digits;
        self.texts(|price, qty| {
            (price.to_text_with_digits(price_digits), qty.to_text_with_digits(qty_digits))
        })
    }

    fn texts(
        &self,
        text: impl Fn(crate::Decimal, crate::Decimal) -> (String, String),
    ) -> [Vec<(String, String)>; 2] {
        let text = |(price, qty): (&crate::Decimal, &crate::Decimal)| text(*price, *qty);
        [self.sides[0].iter().rev().map(text).collect(), self.sides[1].iter().map(text).collect()]
    }
}
