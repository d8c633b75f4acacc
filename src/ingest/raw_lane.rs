//! The raw lane: every frame of an exchange as a row, and reading it again as a feed.
//!
//! A dialect is given the same frames in the same order, so it makes the same rows.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::capture::{FILL_REJECT_BYTES, FILL_ROWS};
use super::rows::{Reject, Rows};
use super::{Dialect, Frame, Source};
use crate::error::{Error, Result};
use crate::event::{Batch, BatchBuilder, Kind, Value, raw};
use crate::quantity::{Instrument, TsNs};
use crate::segment::ColumnMask;
use crate::store::{Part, Parts, Snapshot};

/// Messages that are read at once.
const MESSAGES_AT_ONCE: u64 = 1024;

/// The instrument whose `raw` stream holds the frames of `exchange`: `binance:*`, and `binance:*2`
/// for those of the second connection side by side (`copy` 1).
///
/// # Errors
/// As [`Instrument::new`].
pub fn raw_instrument(exchange: &str, copy: usize) -> Result<Instrument> {
    match copy {
        0 => Instrument::new(exchange, "*"),
        _ => Instrument::new(exchange, &format!("*{}", copy + 1)),
    }
}

/// Adds a frame to the raw lane.
pub fn push_frame(builder: &mut BatchBuilder, ts_recv: TsNs, connection: u32, frame: &Frame<'_>) {
    let (channel, payload) = match frame {
        Frame::Connected { url } => (format!("connected {connection}"), url.as_bytes()),
        Frame::Sent(text) => (format!("sent {connection}"), *text),
        Frame::Message(message) => (format!("message {connection}"), *message),
        Frame::Reply { url, body } => (format!("reply {connection} {url}"), *body),
        Frame::Disconnected => (format!("disconnected {connection}"), b"".as_slice()),
    };
    builder.raw(ts_recv, &channel, payload);
}

/// Reads a row of the raw lane.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if it is not what [`push_frame`] writes.
fn frame<'a>(channel: &'a str, payload: &'a [u8]) -> Result<(u32, Frame<'a>)> {
    let wrong = || {
        Error::invalid(format!(
            "channel {channel:?}: expected connected, sent, message, reply or disconnected with a \
             connection"
        ))
    };
    let (what, rest) = channel.split_once(' ').ok_or_else(wrong)?;
    let (number, url) = rest.split_once(' ').unwrap_or((rest, ""));
    let connection = number.parse().map_err(|_| wrong())?;
    let frame = match what {
        "connected" => Frame::Connected { url: super::json::text(payload)? },
        "sent" => Frame::Sent(payload),
        "message" => Frame::Message(payload),
        "reply" => Frame::Reply { url, body: payload },
        "disconnected" => Frame::Disconnected,
        _ => return Err(wrong()),
    };
    Ok((connection, frame))
}

/// The raw lanes of a store, of each exchange the first copy that is there.
pub(super) fn lanes(snapshot: &Snapshot) -> Vec<Instrument> {
    let raw = snapshot.streams().filter(|stream| stream.key.kind == Kind::Raw);
    let instruments = raw.map(|stream| &stream.key.instrument);
    let copies = instruments.filter_map(|lane| Some((lane.exchange(), copy(lane.symbol())?, lane)));
    let mut copies: Vec<_> = copies.collect();
    copies.sort();
    copies.dedup_by_key(|(exchange, ..)| *exchange);
    copies.into_iter().map(|(.., lane)| lane.clone()).collect()
}

/// The copy that [`raw_instrument`] gave this symbol.
fn copy(symbol: &str) -> Option<usize> {
    match symbol.strip_prefix('*')? {
        "" => Some(0),
        number => number.parse::<usize>().ok()?.checked_sub(1),
    }
}

/// The raw lane of one exchange in a store, read through its dialect.
pub struct RawSource {
    snapshot: Snapshot,
    lane: Instrument,
    stream_id: u32,
    dialect: Box<dyn Dialect>,
    /// Connections, and whether they are up.
    connections: BTreeMap<u32, bool>,
    part: usize,
    /// The message of the part that comes next.
    message: u64,
    bytes_of_read_parts: u64,
    read: Batch,
    rows_read: u64,
    /// Receive time of the last frame.
    last: TsNs,
}

impl RawSource {
    /// Reads the `raw` stream of `lane` as `snapshot` has it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is none.
    pub fn new(snapshot: Snapshot, lane: &Instrument, dialect: Box<dyn Dialect>) -> Result<Self> {
        let stream_id = snapshot.stream_id(lane, Kind::Raw)?;
        Ok(Self {
            snapshot,
            lane: lane.clone(),
            stream_id,
            dialect,
            connections: BTreeMap::new(),
            part: 0,
            message: 0,
            bytes_of_read_parts: 0,
            read: Batch::new(Kind::Raw),
            rows_read: 0,
            last: TsNs::MIN,
        })
    }

    /// Bytes of the whole lane, as [`Source::bytes_read`] counts them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (0..self.parts().len()).map(|part| self.size(part).1).sum()
    }

    fn parts(&self) -> Parts<'_> {
        self.snapshot.parts(self.stream_id)
    }

    /// Messages and bytes of a part.
    fn size(&self, part: usize) -> (u64, u64) {
        let sealed = self.parts().segments().get(part);
        let live = || self.parts().tail().map(|tail| (tail.messages(), tail.bytes()));
        sealed.map(|entry| (entry.messages, entry.file_len)).or_else(live).unwrap_or_default()
    }

    /// Reads on; `false` at the end.
    fn next(&mut self, rows: &mut Rows) -> Result<bool> {
        while let Some(part) = self.snapshot.open_part(self.stream_id, Kind::Raw, self.part)? {
            let messages = part.messages();
            if self.message < messages {
                let end = messages.min(self.message + MESSAGES_AT_ONCE);
                let reuse = std::mem::replace(&mut self.read, Batch::new(Kind::Raw));
                self.read = part.read(self.message..end, ColumnMask::ALL, reuse)?;
                self.message += self.read.messages() as u64;
                return Ok(true);
            }
            if matches!(part, Part::Lost(_)) {
                self.lose(rows)?;
            }
            self.bytes_of_read_parts += self.size(self.part).1;
            (self.part, self.message) = (self.part + 1, 0);
        }
        Ok(false)
    }

    /// The frames of this part are missing: no connection is as it was.
    fn lose(&mut self, rows: &mut Rows) -> Result<()> {
        for (connection, up) in &mut self.connections {
            if std::mem::replace(up, false) {
                self.dialect.frame(self.last, *connection, &Frame::Disconnected, rows)?;
            }
        }
        let frames = self.size(self.part).0;
        let text = format!("{}: {frames} frames are lost, their file was damaged", self.lane);
        let error = Error::corrupt(text).at_path(self.snapshot.store().root());
        rows.reject(Reject { line: self.rows_read, error, text: Vec::new() });
        Ok(())
    }

    fn take(&mut self, row: usize, rows: &mut Rows) -> Result<()> {
        let texts = [raw::CHANNEL, raw::PAYLOAD].map(|column| self.read.value(row, row, column));
        let [Value::Text(channel), Value::Text(payload)] = texts else {
            return Err(Error::invalid("raw row: expected texts"));
        };
        self.last = TsNs(self.read.ts_recv().get(row).copied().unwrap_or_default());
        let (connection, frame) = frame(super::json::text(channel)?, payload)?;
        let was_up = match &frame {
            Frame::Connected { .. } => self.connections.insert(connection, true),
            Frame::Disconnected => self.connections.insert(connection, false),
            _ => Some(false),
        };
        // The process that recorded it was killed: nobody wrote that the connection was lost.
        if matches!(frame, Frame::Connected { .. }) && was_up == Some(true) {
            self.dialect.frame(self.last, connection, &Frame::Disconnected, rows)?;
        }
        self.dialect.frame(self.last, connection, &frame, rows)
    }

    /// Notes that a frame cannot be read; the bytes of it.
    fn refuse(&self, row: usize, error: Error, rows: &mut Rows) -> usize {
        let text = match self.read.value(row, row, raw::PAYLOAD) {
            Value::Text(payload) => payload.to_vec(),
            _ => Vec::new(),
        };
        let (bytes, line) = (text.len(), self.rows_read);
        let error = error.context(format_args!("{}, frame {line}", self.lane));
        rows.reject(Reject { line, error, text });
        bytes
    }
}

impl Source for RawSource {
    fn fill(&mut self, rows: &mut Rows) -> Result<bool> {
        let mut reject_bytes = 0;
        while rows.pending_rows() < FILL_ROWS && reject_bytes < FILL_REJECT_BYTES {
            if !self.next(rows)? {
                self.dialect.finish(rows)?;
                return Ok(false);
            }
            for row in 0..self.read.rows() {
                self.rows_read += 1;
                if let Err(error) = self.take(row, rows) {
                    reject_bytes += self.refuse(row, error, rows);
                }
            }
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        let (messages, bytes) = self.size(self.part);
        let of_part = u128::from(bytes) * u128::from(self.message) / u128::from(messages.max(1));
        self.bytes_of_read_parts + u64::try_from(of_part).unwrap_or(bytes)
    }
}
