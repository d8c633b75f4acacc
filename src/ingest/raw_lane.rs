//! The raw lane: every frame of an exchange as a row, and reading it again as a feed.
//!
//! A dialect is given the same frames in the same order, so it makes the same rows.

use std::collections::HashMap;

use super::rows::{Reject, Rows};
use super::{Dialect, Frame, Source};
use crate::error::{Error, Result};
use crate::event::{Batch, BatchBuilder, Kind, Value, raw};
use crate::quantity::{Instrument, TsNs};
use crate::segment::ColumnMask;
use crate::store::{Part, Snapshot};

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

/// The raw lane of one exchange in a store, read through its dialect.
pub struct RawSource {
    snapshot: Snapshot,
    stream_id: u32,
    dialect: Box<dyn Dialect>,
    /// Connections, and whether they are up.
    connections: HashMap<u32, bool>,
    part: usize,
    message: u64,
    read: Batch,
    rows_read: u64,
}

impl RawSource {
    /// Reads the `raw` stream of `instrument` as `snapshot` has it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is none.
    pub fn new(
        snapshot: Snapshot,
        instrument: &Instrument,
        dialect: Box<dyn Dialect>,
    ) -> Result<Self> {
        let stream_id = snapshot.stream_id(instrument, Kind::Raw)?;
        Ok(Self {
            snapshot,
            stream_id,
            dialect,
            connections: HashMap::new(),
            part: 0,
            message: 0,
            read: Batch::new(Kind::Raw),
            rows_read: 0,
        })
    }

    /// Reads on; `None` at the end.
    fn next(&mut self) -> Result<Option<()>> {
        while self.part < self.snapshot.parts(self.stream_id).len() {
            let part = self.snapshot.open_part(self.stream_id, Kind::Raw, self.part)?;
            let messages = part.as_ref().map_or(0, Part::messages);
            if let Some(part) = part.filter(|_| self.message < messages) {
                let end = messages.min(self.message + MESSAGES_AT_ONCE);
                let reuse = std::mem::replace(&mut self.read, Batch::new(Kind::Raw));
                self.read = part.read(self.message..end, ColumnMask::ALL, reuse)?;
                self.message += self.read.messages() as u64;
                return Ok(Some(()));
            }
            (self.part, self.message) = (self.part + 1, 0);
        }
        Ok(None)
    }

    fn take(&mut self, row: usize, rows: &mut Rows) -> Result<()> {
        let texts = [raw::CHANNEL, raw::PAYLOAD].map(|column| self.read.value(row, row, column));
        let [Value::Text(channel), Value::Text(payload)] = texts else {
            return Err(Error::invalid("raw row: expected texts"));
        };
        let ts_recv = TsNs(self.read.ts_recv().get(row).copied().unwrap_or_default());
        let (connection, frame) = frame(super::json::text(channel)?, payload)?;
        let was_up = match &frame {
            Frame::Connected { .. } => self.connections.insert(connection, true),
            Frame::Disconnected => self.connections.insert(connection, false),
            _ => Some(false),
        };
        // The process that recorded it was killed: nobody wrote that the connection was lost.
        if matches!(frame, Frame::Connected { .. }) && was_up == Some(true) {
            self.dialect.frame(ts_recv, connection, &Frame::Disconnected, rows)?;
        }
        self.dialect.frame(ts_recv, connection, &frame, rows)
    }
}

impl Source for RawSource {
    fn fill(&mut self, rows: &mut Rows) -> Result<bool> {
        if self.next()?.is_none() {
            self.dialect.finish(rows)?;
            return Ok(false);
        }
        for row in 0..self.read.rows() {
            self.rows_read += 1;
            if let Err(error) = self.take(row, rows) {
                let text = match self.read.value(row, row, raw::PAYLOAD) {
                    Value::Text(payload) => payload.to_vec(),
                    _ => Vec::new(),
                };
                rows.reject(Reject { line: self.rows_read, error, text });
            }
        }
        Ok(true)
    }

    fn bytes_read(&self) -> u64 {
        self.rows_read
    }
}
