//! Tardis CSV: exactly the columns of the data type that a kind comes from.
//!
//! Reset and gap rows have no place in it and are left out; the first row of a snapshot tells a
//! reader to empty its book. Times are whole microseconds there: a time that is not is refused,
//! unless the caller asked to round down.

use std::io::Write;

use super::cells::{push_decimal, push_int};
use super::sink::Sink;
use super::writer::{RowWriter, Selection};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Action, Batch, FLAG_SNAPSHOT, Kind, Value, book, quotes, ticker, trades};
use crate::quantity::TsNs;

/// Where a field's value comes from.
#[derive(Clone, Copy)]
enum Field {
    /// A column as it is; times in microseconds.
    Column(usize),
    /// Whether the message is a venue snapshot.
    IsSnapshot,
}

const BOOK: &[(&str, Field)] = &[
    ("is_snapshot", Field::IsSnapshot),
    ("side", Field::Column(book::SIDE)),
    ("price", Field::Column(book::PRICE)),
    ("amount", Field::Column(book::QTY)),
];

const TRADES: &[(&str, Field)] = &[
    ("id", Field::Column(trades::TRADE_ID)),
    ("side", Field::Column(trades::SIDE)),
    ("price", Field::Column(trades::PRICE)),
    ("amount", Field::Column(trades::QTY)),
];

const QUOTES: &[(&str, Field)] = &[
    ("ask_amount", Field::Column(quotes::ASK_QTY)),
    ("ask_price", Field::Column(quotes::ASK_PRICE)),
    ("bid_price", Field::Column(quotes::BID_PRICE)),
    ("bid_amount", Field::Column(quotes::BID_QTY)),
];

const TICKER: &[(&str, Field)] = &[
    ("funding_timestamp", Field::Column(ticker::FUNDING_TS)),
    ("funding_rate", Field::Column(ticker::FUNDING_RATE)),
    ("predicted_funding_rate", Field::Column(ticker::PREDICTED_FUNDING_RATE)),
    ("open_interest", Field::Column(ticker::OPEN_INTEREST)),
    ("last_price", Field::Column(ticker::LAST)),
    ("index_price", Field::Column(ticker::INDEX)),
    ("mark_price", Field::Column(ticker::MARK)),
];

/// `timestamp`, `local_timestamp`.
const TIMES: [usize; 2] = [1, 0];

pub(super) struct TardisCsv<W> {
    sink: Sink<W>,
    selection: Selection,
    fields: &'static [(&'static str, Field)],
    round_down: bool,
    headed: bool,
    /// Rows of the stream so far, left out ones included.
    rows: u64,
}

impl<W: Write> TardisCsv<W> {
    /// # Errors
    /// [`ErrorKind::Unsupported`] if Tardis has no data type for the kind.
    pub(super) fn new(selection: Selection, sink: Sink<W>, round_down: bool) -> Result<Self> {
        let fields = match selection.kind {
            Kind::Book => BOOK,
            Kind::Trades | Kind::Liquidations => TRADES,
            Kind::Quotes => QUOTES,
            Kind::Ticker => TICKER,
            kind @ (Kind::Orders | Kind::Status | Kind::Raw) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("Tardis has no CSV file of {kind}: choose csv or ndjson"),
                ));
            }
        };
        Ok(Self { sink, selection, fields, round_down, headed: false, rows: 0 })
    }

    fn head(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.headed, true) {
            return Ok(());
        }
        self.sink.bytes.extend_from_slice(b"exchange,symbol,timestamp,local_timestamp");
        for (name, _) in self.fields {
            self.sink.bytes.push(b',');
            self.sink.bytes.extend_from_slice(name.as_bytes());
        }
        self.sink.end_row()
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        self.selection.check(batch.kind())?;
        let own = self.fields.iter().map(|&(_, field)| match field {
            Field::Column(column) => column,
            Field::IsSnapshot => book::FLAGS,
        });
        let actions = (batch.kind() == Kind::Book).then_some(book::ACTION);
        for column in own.chain(actions).chain(TIMES) {
            if batch.column(column).is_none() {
                let name = batch.schema().columns.get(column).map_or("", |spec| spec.name);
                let text = format!("Tardis CSV needs every column, and {name} was not read");
                return Err(Error::invalid(text));
            }
        }
        Ok(())
    }

    fn row(&mut self, batch: &Batch, message: usize, row: usize) -> Result<()> {
        let actions = if batch.kind() == Kind::Book { batch.u8s(book::ACTION) } else { &[] };
        if actions.get(row).is_some_and(|&action| action != Action::Set as u8) {
            return Ok(());
        }
        let instrument = &self.selection.instrument;
        self.sink.bytes.extend_from_slice(instrument.exchange().as_bytes());
        self.sink.bytes.push(b',');
        self.sink.bytes.extend_from_slice(instrument.symbol().as_bytes());
        for column in TIMES {
            self.push(batch.value(message, row, column))?;
        }
        for &(_, field) in self.fields {
            match field {
                Field::Column(column) => self.push(batch.value(message, row, column))?,
                Field::IsSnapshot => {
                    let flags = batch.u8s(book::FLAGS).get(message).copied().unwrap_or(0);
                    let snapshot = flags & FLAG_SNAPSHOT != 0;
                    let text: &[u8] = if snapshot { b",true" } else { b",false" };
                    self.sink.bytes.extend_from_slice(text);
                }
            }
        }
        self.sink.end_row()
    }

    /// Adds a comma and the value.
    fn push(&mut self, value: Value<'_>) -> Result<()> {
        let out = &mut self.sink.bytes;
        out.push(b',');
        match value {
            Value::Null => {}
            Value::Time(ts) if self.round_down || ts.0 % 1000 == 0 => {
                push_int(out, ts.0.div_euclid(1000));
            }
            Value::Time(ts) => return Err(self.too_fine(ts)),
            Value::Int(value) => push_int(out, value),
            Value::Decimal(value) => push_decimal(out, value),
            Value::Code(name) => out.extend_from_slice(name.as_bytes()),
            Value::Text(text) if text.iter().any(|byte| b",\r\n".contains(byte)) => {
                return Err(self.refuse(&format!(
                    "text {:?} has a comma or line end, and Tardis CSV has no quotes",
                    String::from_utf8_lossy(text)
                )));
            }
            Value::Text(text) => out.extend_from_slice(text),
            Value::Flags(_) => {}
        }
        Ok(())
    }

    fn too_fine(&self, ts: TsNs) -> Error {
        self.refuse(&format!(
            "time {} ns ({ts}) is not whole microseconds, and Tardis CSV has no finer times",
            ts.0
        ))
    }

    fn refuse(&self, why: &str) -> Error {
        Error::invalid(format!(
            "row {} of {} {}: {why}: choose csv or ndjson",
            self.rows, self.selection.instrument, self.selection.kind
        ))
    }
}

impl<W: Write> RowWriter for TardisCsv<W> {
    fn batch(&mut self, batch: &Batch) -> Result<()> {
        self.check(batch)?;
        self.head()?;
        for message in 0..batch.messages() {
            for row in batch.message_rows(message) {
                let whole = self.sink.bytes.len();
                self.rows += 1;
                if let Err(error) = self.row(batch, message, row) {
                    // A row that is refused leaves no part of itself.
                    self.sink.bytes.truncate(whole);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.head()?;
        self.sink.flush()
    }
}
