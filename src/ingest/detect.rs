//! What an input file is, told by its first lines.

use std::path::Path;

use super::capture::Form;
use super::capture::line::{self, Event, Record};
use super::input::Input;
use super::tardis_csv::DataType;
use super::venues::{self, Clue};
use crate::error::{Error, Result};
use crate::quantity::TsNs;

/// Lines that are looked at; a capture tells its venue with nearly every line.
const HEAD_LINES_MAX: u64 = 10_000;

/// Bytes that are looked at.
const HEAD_BYTES_MAX: usize = 32 << 20;

/// A form of input file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A capture: messages as a venue sent them.
    Capture(Form),
    /// A CSV file as Tardis.dev delivers it.
    TardisCsv,
    /// The folder of a store whose daemon kept every frame of its feeds.
    RawLane,
}

impl Format {
    /// All formats with their names.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Capture(Form::LocalTime), "capture"),
        (Self::Capture(Form::CryptofeedJson), "cryptofeed-jsonl"),
        (Self::Capture(Form::CryptofeedText), "cryptofeed-ws"),
        (Self::TardisCsv, "tardis-csv"),
        (Self::RawLane, "raw-lane"),
    ];

    /// Reads a format's name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] with all names.
    pub fn parse(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(format, _)| format).ok_or_else(|| {
            Error::invalid(format!("format {text:?}: expected one of {}", Self::names()))
        })
    }

    fn names() -> String {
        Self::ALL.map(|(_, name)| name).join(", ")
    }

    /// The format of a file whose first line that is not blank is `line`.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Option<Self> {
        // A header in Tardis's order that is not known is refused by the reader, which says more.
        if line.starts_with(b"exchange,symbol,timestamp,local_timestamp,")
            || DataType::of_header(line, Path::new("")).is_ok()
        {
            return Some(Self::TardisCsv);
        }
        let forms = [Form::LocalTime, Form::CryptofeedJson, Form::CryptofeedText];
        forms.into_iter().find(|form| line::read(*form, line).is_ok()).map(Self::Capture)
    }
}

/// What the first lines of a file tell.
#[derive(Debug)]
pub(super) struct Head {
    pub format: Format,
    /// Captures: the exchange, if a dialect recognised it.
    pub exchange: Option<&'static str>,
    /// Captures: when the first line was received.
    pub first: TsNs,
}

impl Head {
    /// Looks at the first lines of a file, as far as `format` and `exchange` leave anything open.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if it is of no known format; [`crate::ErrorKind::Io`] if it
    /// cannot be read.
    pub fn of_file(
        path: &Path,
        format: Option<Format>,
        exchange: Option<&'static str>,
    ) -> Result<Self> {
        let mut input = Input::open(path)?;
        let mut head: Option<Self> = None;
        let mut bytes = 0;
        while let Some(line) = input.next_line()? {
            bytes += line.text.len();
            if line.text.trim_ascii().is_empty() && line.number < HEAD_LINES_MAX {
                continue;
            }
            if head.is_none() {
                let text = line.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line.text);
                let Some(format) = format.or_else(|| Format::of_line(text)) else { break };
                head = Some(Self { format, exchange, first: TsNs::MAX });
            }
            let Some(head) = &mut head else { break };
            let Format::Capture(form) = head.format else { break };
            if let Ok(record) = line::read(form, line.text) {
                head.learn(&record);
            }
            let complete = head.exchange.is_some() && head.first != TsNs::MAX;
            if complete || line.number >= HEAD_LINES_MAX || bytes >= HEAD_BYTES_MAX {
                break;
            }
        }
        head.ok_or_else(|| {
            Error::invalid(format!(
                "input is of no known format: pass --format with one of {}",
                Format::names()
            ))
            .at_path(path)
        })
    }

    fn learn(&mut self, record: &Record<'_>) {
        let clue = match record {
            Record::Header { exchange } => Clue::CaptureName(exchange),
            Record::Event { event: Event::Message(message), .. } => Clue::Message(message),
            Record::Event { event: Event::Connected(url) | Event::Reply { url, .. }, .. } => {
                Clue::Url(url)
            }
            _ => Clue::Message(b""),
        };
        if self.exchange.is_none() {
            self.exchange = venues::recognise(&clue);
        }
        if let Record::Event { ts_recv, .. } = record {
            self.first = self.first.min(*ts_recv);
        }
    }
}
