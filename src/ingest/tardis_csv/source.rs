//! One file being read: lines to the state of their instrument.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::book::{self, Gathered};
use super::fields::{EXCHANGE, Fields, Row, SYMBOL, Splitter, TIMESTAMP};
use super::flat::{self, Target};
use super::header::{DataType, Header};
use super::snapshot::Previous;
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::{Input, Reject, Rows, Source, StreamHint, StreamKey};
use crate::limit;
use crate::quantity::{Instrument, TsNs};

/// Lines after which `fill` returns.
const FILL_LINES: usize = 100_000;

/// Bytes of lines after which `fill` returns: bounds the text of trade ids and rejects.
const FILL_BYTES: usize = 16 << 20;

/// Instruments of one file. Tardis's largest grouped files (all options of a venue) have some
/// thousands.
const INSTRUMENTS_MAX: usize = 1 << 16;

/// Reads a Tardis CSV file, compressed or not, from `reader`; `path` names it in errors and tells
/// `liquidations` from `trades`.
///
/// # Errors
/// As [`DataType::of_header`]; [`ErrorKind::Io`] if the first bytes cannot be read.
pub fn open(path: &Path, reader: Box<dyn Read + Send>) -> Result<Box<dyn Source>> {
    from_input(Input::from_reader(path, reader)?, None)
}

/// As [`open`], from an input of which nothing was read yet. `data_type` chooses between types of
/// equal columns, `trades` and `liquidations`.
///
/// # Errors
/// As [`open`]; [`ErrorKind::Invalid`] if the columns are not those of `data_type`.
pub fn from_input(mut input: Input, data_type: Option<DataType>) -> Result<Box<dyn Source>> {
    let path = input.path().to_owned();
    let header = match input.next_line()? {
        Some(line) => Header::parse(line.text, &path),
        None => Err(Error::invalid("empty file: expected the header line of a Tardis CSV file")),
    };
    let mut header = header.map_err(|error| error.at_path(&path).at_line(1))?;
    let trades = |data_type| matches!(data_type, DataType::Trades | DataType::Liquidations);
    if let Some(asked) = data_type
        && asked != header.data_type
    {
        if !trades(asked) || !trades(header.data_type) {
            return Err(Error::invalid(format!(
                "the header is of {:?}, not of {asked:?}",
                header.data_type
            ))
            .at_path(&path)
            .at_line(1));
        }
        header.data_type = asked;
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Box::new(TardisCsv {
        input,
        path,
        file,
        data_type: header.data_type,
        in_order: header.is_in_order(),
        splitter: Splitter::new(&header),
        streams: Streams::default(),
        before: Before::default(),
    }))
}

/// See the module documentation.
struct TardisCsv {
    input: Input,
    path: PathBuf,
    file: String,
    data_type: DataType,
    in_order: bool,
    splitter: Splitter,
    streams: Streams,
    /// `incremental_book_L2`: how the last line began.
    before: Before,
}

/// How the line before began; a line that begins so too is read the short way.
#[derive(Default)]
struct Before {
    /// Up to its side: a line that begins so belongs to the same message. Empty if unknown.
    message: Vec<u8>,
    /// How much of it names the instrument.
    instrument_bytes: usize,
}

/// The instruments of the file.
#[derive(Default)]
struct Streams {
    streams: Vec<Stream>,
    /// `exchange,symbol` -> place in `streams`.
    index: HashMap<Vec<u8>, usize>,
    current: usize,
    name: Vec<u8>,
}

struct Stream {
    instrument: Instrument,
    last: TsNs,
    state: State,
}

enum State {
    Book(Gathered),
    Snapshot(Previous),
    Flat(StreamHint),
}

impl Source for TardisCsv {
    fn fill(&mut self, rows: &mut Rows) -> Result<bool> {
        let mut bytes = 0;
        for _ in 0..FILL_LINES {
            let plain = self.streams.plain_line(&mut self.before, self.input.pending(), rows);
            if let Some(line_bytes) = plain {
                self.input.skip_line(line_bytes);
                continue;
            }
            let Some(line) = self.input.next_line()? else {
                self.streams.store_all(rows);
                return Ok(false);
            };
            bytes += line.text.len();
            self.before.message.clear();
            if line.text.is_empty() {
                continue;
            }
            let taken = if line.cut {
                Err(Error::limit("bytes of a line: more", "", limit::LINE_BYTES_MAX))
            } else {
                let streams = &mut self.streams;
                let (data_type, file) = (self.data_type, self.file.as_str());
                self.splitter
                    .split(line.text)
                    .and_then(|fields| streams.row(data_type, &fields, line.number, file, rows))
            };
            match taken {
                Ok(()) if self.in_order && self.data_type == DataType::IncrementalBookL2 => {
                    let message = self.splitter.before_slot(book::SIDE, line.text);
                    self.before.message.extend_from_slice(message);
                    let instrument = self.splitter.before_slot(TIMESTAMP, line.text);
                    self.before.instrument_bytes = instrument.len();
                }
                Ok(()) => {}
                Err(error) => {
                    let error = error.at_path(&self.path).at_line(line.number);
                    rows.reject(Reject { line: line.number, error, text: line.text.to_vec() });
                }
            }
            if bytes >= FILL_BYTES {
                break;
            }
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }
}

impl Streams {
    /// Takes the next line and gives its bytes, if it is of the book of the line before and in the
    /// plainest form. `None` if it is to be read the long way, which tells what is wrong with it.
    #[inline]
    fn plain_line(
        &mut self,
        before: &mut Before,
        pending: &[u8],
        rows: &mut Rows,
    ) -> Option<usize> {
        let known = before.message.get(..before.instrument_bytes).filter(|it| !it.is_empty())?;
        let Stream { state: State::Book(book), instrument, last } =
            self.streams.get_mut(self.current)?
        else {
            return None;
        };
        let (head, levels) = match pending.strip_prefix(before.message.as_slice()) {
            Some(levels) => (None, levels),
            None => {
                let (head, levels) = book::plain_head(pending.strip_prefix(known)?)?;
                (Some(head), levels)
            }
        };
        let (level, rest) = book::plain_level(levels)?;
        if head.is_some_and(|head| head.ts_recv < *last) {
            return None;
        }
        book.plain_row(head, level, instrument, rows)?;
        if let Some(head) = head {
            *last = head.ts_recv;
            before.message.clear();
            before.message.extend_from_slice(pending.get(..pending.len() - levels.len())?);
        }
        Some(pending.len() - rest.len())
    }

    /// Takes one line.
    fn row(
        &mut self,
        data_type: DataType,
        fields: &Fields<'_>,
        line: u64,
        file: &str,
        rows: &mut Rows,
    ) -> Result<()> {
        let ts_recv = fields.ts_recv()?;
        let ts_event = fields.ts_event()?;
        let row = Row { ts_recv, ts_event, line, file };
        let Stream { instrument, last, state } = self.of(data_type, fields, rows)?;
        if ts_recv < *last {
            return Err(Error::invalid(format!(
                "column local_timestamp: {} is before {} of an earlier line of {instrument}",
                ts_recv.0 / 1000,
                last.0 / 1000
            )));
        }
        match state {
            State::Book(book) => book.row(&row, fields, instrument, rows)?,
            State::Snapshot(previous) => previous.row(&row, fields, instrument, rows)?,
            State::Flat(hint) => {
                let target = Target { rows, hint, instrument, kind: data_type.kind() };
                match data_type {
                    DataType::Quotes => flat::quote(&row, fields, target)?,
                    DataType::DerivativeTicker => flat::ticker(&row, fields, target)?,
                    _ => flat::trade(&row, fields, target)?,
                }
            }
        }
        *last = ts_recv;
        Ok(())
    }

    /// The stream that a line belongs to.
    fn of(&mut self, data_type: DataType, fields: &Fields<'_>, rows: &Rows) -> Result<&mut Stream> {
        let (exchange, symbol) = (fields.get(EXCHANGE), fields.get(SYMBOL));
        let same = |stream: &Stream| {
            stream.instrument.symbol().as_bytes() == symbol
                && stream.instrument.exchange().as_bytes() == exchange
        };
        if !self.streams.get(self.current).is_some_and(same) {
            self.name.clear();
            self.name.extend_from_slice(exchange);
            self.name.push(b',');
            self.name.extend_from_slice(symbol);
            self.current = match self.index.get(&self.name) {
                Some(&at) => at,
                None => {
                    let stream = Stream::new(data_type, fields, rows)?;
                    if self.streams.len() == INSTRUMENTS_MAX {
                        let found = INSTRUMENTS_MAX + 1;
                        return Err(Error::limit("instruments of a file:", found, INSTRUMENTS_MAX));
                    }
                    self.streams.push(stream);
                    self.index.insert(self.name.clone(), self.streams.len() - 1);
                    self.streams.len() - 1
                }
            };
        }
        self.streams
            .get_mut(self.current)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "the line's instrument"))
    }

    /// Stores the messages that the end of the file ends.
    fn store_all(&mut self, rows: &mut Rows) {
        for stream in &mut self.streams {
            if let State::Book(book) = &mut stream.state {
                book.store(&stream.instrument, rows);
            }
        }
    }
}

impl Stream {
    fn new(data_type: DataType, fields: &Fields<'_>, rows: &Rows) -> Result<Self> {
        let text = |slot| fields.text(slot);
        let instrument = Instrument::new(text(EXCHANGE)?, text(SYMBOL)?)?;
        let key = StreamKey { instrument: instrument.clone(), kind: data_type.kind() };
        let state = match data_type {
            DataType::IncrementalBookL2 => State::Book(Gathered::default()),
            DataType::BookSnapshot { depth } => State::Snapshot(Previous::new(depth)),
            _ => State::Flat(StreamHint::default()),
        };
        Ok(Self { instrument, last: rows.last_ts_recv(&key).unwrap_or(TsNs::MIN), state })
    }
}
