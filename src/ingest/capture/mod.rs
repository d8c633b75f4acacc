//! Capture files: what a recorder heard, line by line, read through a venue's dialect.
//!
//! Recorders write REST replies before the messages of the same seconds. A reply is held back until
//! the connections have reached its time, so that a dialect sees what happened in order.

pub mod line;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;

pub use self::line::Form;
use self::line::{Event, Record};
use super::input::Input;
use super::rows::{Reject, Rows};
use super::{Dialect, Frame, Source};
use crate::error::{Error, Result};
use crate::limit;
use crate::quantity::TsNs;

/// Rows after which [`Source::fill`] hands over what there is.
pub(super) const FILL_ROWS: usize = 100_000;

/// Bytes of refused lines after which [`Source::fill`] hands over what there is.
pub(super) const FILL_REJECT_BYTES: usize = 16 << 20;

/// Lines between two looks at how many rows are pending.
const LINES_PER_LOOK: u32 = 64;

/// Bytes of REST replies that wait for their time.
const HELD_BYTES_MAX: usize = limit::LINE_BYTES_MAX;

/// Connections of one capture.
const CONNECTIONS_MAX: usize = 1 << 16;

/// One or more capture files of one venue, read one after another through one dialect, so that a
/// file goes on where the one before it stopped.
pub struct CaptureSource {
    files: VecDeque<(PathBuf, Form)>,
    reading: Option<Reading>,
    bytes_of_read_files: u64,
    dialect: Box<dyn Dialect>,
    connections: Connections,
}

/// The file being read.
struct Reading {
    path: PathBuf,
    input: Input,
    form: Form,
    held: Held,
    lines_since_look: u32,
    reject_bytes: usize,
}

impl CaptureSource {
    /// Reads `files` in this order.
    #[must_use]
    pub fn new(files: Vec<(PathBuf, Form)>, dialect: Box<dyn Dialect>) -> Self {
        Self {
            files: files.into(),
            reading: None,
            bytes_of_read_files: 0,
            dialect,
            connections: Connections::default(),
        }
    }

    /// Reads one line; `false` at the end of the file.
    fn read_line(&mut self, rows: &mut Rows) -> Result<bool> {
        let Self { reading: Some(reading), dialect, connections, .. } = self else {
            return Ok(false);
        };
        let Reading { path, input, form, held, reject_bytes, .. } = reading;
        let mut take = |number: u64, text: &[u8], record: Result<Record<'_>>| {
            let taken =
                record.and_then(|record| hand_over(&mut **dialect, connections, &record, rows));
            if let Err(error) = taken {
                let error = error.at_path(path).at_line(number);
                rows.reject(Reject { line: number, error, text: text.to_vec() });
                *reject_bytes += text.len();
            }
        };
        let Some(line) = input.next_line()? else {
            while let Some((number, text)) = held.pop(TsNs::MAX) {
                take(number, &text, line::read(*form, &text));
            }
            return Ok(false);
        };
        let (number, text) = (line.number, line.text);
        if line.cut {
            let error =
                Error::limit("bytes of a line: more than", text.len(), limit::LINE_BYTES_MAX);
            take(number, text, Err(error));
            return Ok(true);
        }
        let record = line::read(*form, text);
        match &record {
            Ok(Record::Event { ts_recv, event: Event::Reply { .. }, .. }) => {
                held.push(*ts_recv, number, text);
                while held.bytes > HELD_BYTES_MAX {
                    let Some((number, text)) = held.pop(TsNs::MAX) else { break };
                    take(number, &text, line::read(*form, &text));
                }
            }
            Ok(Record::Event { ts_recv, .. }) => {
                while let Some((number, text)) = held.pop(*ts_recv) {
                    take(number, &text, line::read(*form, &text));
                }
                take(number, text, record);
            }
            _ => take(number, text, record),
        }
        Ok(true)
    }

    /// Opens the next file; `false` if there is none.
    fn next_file(&mut self, rows: &mut Rows) -> Result<bool> {
        let Some((path, form)) = self.files.pop_front() else { return Ok(false) };
        self.connections.end_of_file(&mut *self.dialect, rows)?;
        let input = Input::open(&path)?;
        self.reading = Some(Reading {
            path,
            input,
            form,
            held: Held::default(),
            lines_since_look: 0,
            reject_bytes: 0,
        });
        Ok(true)
    }
}

impl Source for CaptureSource {
    fn fill(&mut self, rows: &mut Rows) -> Result<bool> {
        loop {
            if self.reading.is_none() && !self.next_file(rows)? {
                self.dialect.finish(rows)?;
                return Ok(false);
            }
            if !self.read_line(rows)? {
                self.bytes_of_read_files = self.bytes_read();
                self.reading = None;
                continue;
            }
            let Some(reading) = &mut self.reading else { continue };
            reading.lines_since_look += 1;
            if reading.lines_since_look >= LINES_PER_LOOK {
                reading.lines_since_look = 0;
                let rejected = reading.reject_bytes >= FILL_REJECT_BYTES;
                if rejected || rows.pending_rows() >= FILL_ROWS {
                    reading.reject_bytes = 0;
                    return Ok(true);
                }
            }
        }
    }

    fn bytes_read(&self) -> u64 {
        let reading = self.reading.as_ref().map_or(0, |reading| reading.input.bytes_read());
        self.bytes_of_read_files + reading
    }
}

/// Gives a record to the dialect.
fn hand_over(
    dialect: &mut dyn Dialect,
    connections: &mut Connections,
    record: &Record<'_>,
    rows: &mut Rows,
) -> Result<()> {
    let Record::Event { ts_recv, connection, event } = record else { return Ok(()) };
    let state = connections.get(connection)?;
    state.last = state.last.max(*ts_recv);
    let frame = event.frame();
    match frame {
        Frame::Connected { .. } => {
            if std::mem::replace(&mut state.connected, true) {
                dialect.frame(*ts_recv, state.number, &Frame::Disconnected, rows)?;
            }
        }
        Frame::Disconnected => state.connected = false,
        Frame::Sent(_) | Frame::Message(_) | Frame::Reply { .. } => {}
    }
    dialect.frame(*ts_recv, state.number, &frame, rows)
}

/// The connections of the file being read, numbered over all files.
#[derive(Default)]
struct Connections {
    by_name: HashMap<String, Connection>,
    numbered: u32,
}

struct Connection {
    number: u32,
    connected: bool,
    last: TsNs,
}

impl Connections {
    fn get(&mut self, name: &str) -> Result<&mut Connection> {
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= CONNECTIONS_MAX {
                let count = self.by_name.len() + 1;
                return Err(Error::limit("connections of a capture:", count, CONNECTIONS_MAX));
            }
            self.numbered += 1;
            let connection =
                Connection { number: self.numbered, connected: false, last: TsNs::MIN };
            self.by_name.insert(name.to_owned(), connection);
        }
        self.by_name.get_mut(name).ok_or_else(|| Error::not_found(format!("connection {name:?}")))
    }

    /// The next file has connections of its own; those whose beginning was recorded were lost in
    /// between. A recorder that notes no connections may have gone on with the same one.
    fn end_of_file(&mut self, dialect: &mut dyn Dialect, rows: &mut Rows) -> Result<()> {
        let mut ended: Vec<_> = self.by_name.drain().map(|(_, connection)| connection).collect();
        ended.sort_by_key(|connection| connection.number);
        for Connection { number, connected, last } in ended {
            if connected {
                dialect.frame(last, number, &Frame::Disconnected, rows)?;
            }
        }
        Ok(())
    }
}

/// Lines with REST replies, by the time they were received and then as they came.
#[derive(Default)]
struct Held {
    lines: BTreeMap<(TsNs, u64), Vec<u8>>,
    bytes: usize,
}

impl Held {
    fn push(&mut self, ts_recv: TsNs, number: u64, text: &[u8]) {
        self.bytes += text.len();
        self.lines.insert((ts_recv, number), text.to_vec());
    }

    /// The first line that was received at `now` or before, with its number.
    fn pop(&mut self, now: TsNs) -> Option<(u64, Vec<u8>)> {
        let first = self.lines.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, number), text) = first.remove_entry();
        self.bytes -= text.len();
        Some((number, text))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::ErrorKind;

    type Seen = Arc<Mutex<Vec<String>>>;

    /// Notes every frame; refuses messages that contain `bad`.
    struct Notes(Seen);

    impl Dialect for Notes {
        fn frame(
            &mut self,
            ts_recv: TsNs,
            connection: u32,
            frame: &Frame<'_>,
            _rows: &mut Rows,
        ) -> Result<()> {
            let what = match frame {
                Frame::Connected { url } => format!("connected {url}"),
                Frame::Sent(text) => format!("sent {}", String::from_utf8_lossy(text)),
                Frame::Message(text) => format!("message {}", String::from_utf8_lossy(text)),
                Frame::Reply { url, .. } => format!("reply {url}"),
                Frame::Disconnected => "disconnected".to_owned(),
            };
            if what.contains("bad") {
                return Err(Error::invalid("bad message"));
            }
            self.0.lock().unwrap().push(format!("{} {connection} {what}", ts_recv.0));
            Ok(())
        }
    }

    fn read_all(files: &[(&[u8], Form)]) -> (Vec<String>, Vec<Reject>, u64, Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (at, (bytes, form)) in files.iter().enumerate() {
            let path = folder.path().join(format!("capture-{at}"));
            std::fs::write(&path, bytes).unwrap();
            paths.push((path, *form));
        }
        let seen = Seen::default();
        let mut source = CaptureSource::new(paths, Box::new(Notes(seen.clone())));
        let mut rows = Rows::new();
        let result = loop {
            match source.fill(&mut rows) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let seen = seen.lock().unwrap().clone();
        (seen, rows.take_rejects(), source.bytes_read(), result)
    }

    #[test]
    fn a_reply_waits_until_the_connections_have_reached_its_time() {
        let file = br#"{"t":"header","exchange":"X"}
{"t":"http","conn":"h","ts":2.5,"url":"b","data":"{}"}
{"t":"http","conn":"h","ts":1.5,"url":"a","data":"{}"}
{"t":"http","conn":"h","ts":9,"url":"c","data":"{}"}
{"t":"connect","conn":"w","ts":1,"addr":"wss"}
{"t":"recv","conn":"w","ts":2,"data":"m"}
{"t":"recv","conn":"w","ts":3,"data":"m"}
"#;

        let (seen, rejects, bytes, result) = read_all(&[(file, Form::CryptofeedJson)]);

        result.unwrap();
        assert!(rejects.is_empty());
        assert_eq!(bytes, file.len() as u64);
        assert_eq!(
            seen,
            [
                "1000000000 1 connected wss",
                "1500000000 2 reply a",
                "2000000000 1 message m",
                "2500000000 2 reply b",
                "3000000000 1 message m",
                "9000000000 2 reply c",
            ]
        );
    }

    #[test]
    fn lines_that_cannot_be_read_are_refused_with_number_and_text() {
        let file =
            b"1680652700423 {\"a\":1}\nhello\n\n1680652700424 {\"bad\":1}\n1680652700425 {}\n";

        let (seen, rejects, _, result) = read_all(&[(file, Form::LocalTime)]);

        result.unwrap();
        assert_eq!(seen.len(), 2);
        let texts: Vec<_> = rejects.iter().map(|reject| (reject.line, &reject.text[..])).collect();
        assert_eq!(texts, [(2, &b"hello"[..]), (4, b"1680652700424 {\"bad\":1}")]);
        let text = rejects[1].error.to_string();
        assert!(text.contains("bad message") && text.contains("capture-0, line 4"), "{text}");
    }

    #[test]
    fn a_second_file_has_its_own_connections_and_ends_those_that_were_noted() {
        let noted = b"wss://x <-> 1\n2: {}\n";
        let silent = b"1680652700423 {}\n";

        let (seen, ..) = read_all(&[
            (noted, Form::CryptofeedText),
            (silent, Form::LocalTime),
            (silent, Form::LocalTime),
        ]);

        assert_eq!(
            seen,
            [
                "1000000000 1 connected wss://x",
                "2000000000 1 message {}",
                "2000000000 1 disconnected",
                "1680652700423000000 2 message {}",
                "1680652700423000000 3 message {}",
            ]
        );
    }

    #[test]
    fn a_connection_that_is_made_again_was_lost_before() {
        let (seen, ..) = read_all(&[(b"wss://x <-> 1\nwss://x <-> 2\n", Form::CryptofeedText)]);

        let expected = ["1000000000 1 connected wss://x", "2000000000 1 disconnected"];
        assert_eq!(seen[..2], expected);
        assert_eq!(seen[2], "2000000000 1 connected wss://x");
    }

    #[test]
    fn a_compressed_file_that_breaks_off_is_an_error_with_its_name() {
        let lines: Vec<u8> = (0..20_000)
            .flat_map(|n| format!("{} {{}}\n", 1_680_652_700_423u64 + n).into_bytes())
            .collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&lines).unwrap();
        let gzip = gzip.finish().unwrap();
        // As the command-line tool writes it; without the checksum damage need not be noticeable.
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        zstd.include_checksum(true).unwrap();
        zstd.write_all(&lines).unwrap();
        let zstd = zstd.finish().unwrap();
        let (whole, ..) = read_all(&[(&lines, Form::LocalTime)]);

        for packed in [gzip, zstd] {
            let (seen, rejects, bytes, result) = read_all(&[(&packed, Form::LocalTime)]);
            result.unwrap();
            assert!(seen == whole && rejects.is_empty());
            assert_eq!(bytes, packed.len() as u64);

            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0xff;
            for broken in [&packed[..packed.len() - 10], &damaged] {
                let (_, _, _, result) = read_all(&[(broken, Form::LocalTime)]);
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Io);
                assert!(error.to_string().contains("capture-0"), "{error}");
            }
        }
    }
}
