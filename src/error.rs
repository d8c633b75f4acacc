//! The one error of the library: what failed, where, and what was expected.
//!
//! Decide with [`Error::kind`], print for a person. The text is one line: lower case, no full
//! stop, what and which first, the place (file, byte offset or line) last.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of every fallible call of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What class of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The named instrument, stream, file or column does not exist.
    NotFound,
    /// What is to be created or imported is there already.
    Exists,
    /// A time or position lies before the first or after the last row.
    OutOfRange,
    /// Bytes contradict their checksum or the format specification.
    Corrupt,
    /// A newer format version or a feature that this build does not have.
    Unsupported,
    /// A length or count is above its bound in [`crate::limit`].
    Limit,
    /// The caller's input (argument, line, message) is wrong.
    Invalid,
    /// Another process holds the writer lock.
    Locked,
    /// A write failed before; the writer refuses all work until it is reopened.
    Poisoned,
    /// A snapshot is too old: its files are gone.
    Stale,
    /// The caller asked to stop.
    Cancelled,
    /// The disk, or the caller's share of it, is full.
    Full,
    /// The operating system refused.
    Io,
    /// The server could not be reached or answered with a failure of its own.
    Remote,
    /// The caller did not show a token that allows it.
    Denied,
}

impl ErrorKind {
    /// The kind as one word, as printed by `--json` errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Exists => "exists",
            Self::OutOfRange => "out of range",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Limit => "limit",
            Self::Invalid => "invalid",
            Self::Locked => "locked",
            Self::Poisoned => "poisoned",
            Self::Stale => "stale",
            Self::Cancelled => "cancelled",
            Self::Full => "full",
            Self::Io => "io",
            Self::Remote => "remote",
            Self::Denied => "denied",
        }
    }
}

/// Why an operation failed.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    text: String,
    path: Option<PathBuf>,
    place: Option<Place>,
    source: Option<std::io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Byte(u64),
    Line(u64),
}

impl Error {
    /// An error of `kind` whose text says what went wrong and what was expected.
    #[must_use]
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, text: text.into(), path: None, place: None, source: None }))
    }

    /// An operating-system failure: `what` is verb and object, e.g. `open segment`.
    #[must_use]
    pub fn io(source: std::io::Error, what: &str, path: &Path) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        Self(Box::new(Inner {
            kind,
            text: format!("cannot {what}"),
            path: Some(path.to_owned()),
            place: None,
            source: Some(source),
        }))
    }

    /// Wrong input from a caller.
    #[must_use]
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, text)
    }

    /// Bytes that contradict checksum or specification.
    #[must_use]
    pub fn corrupt(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, text)
    }

    /// Something named does not exist.
    #[must_use]
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, text)
    }

    /// `what` with `found` items is above `limit`; the text names both numbers.
    #[must_use]
    pub fn limit(what: &str, found: impl fmt::Display, limit: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Limit, format!("{what} {found} is above the limit {limit}"))
    }

    /// Adds the file, unless one is named already.
    #[must_use]
    pub fn at_path(mut self, path: &Path) -> Self {
        self.0.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// Adds the byte offset in the file, unless a place is named already.
    #[must_use]
    pub fn at_byte(mut self, offset_bytes: u64) -> Self {
        self.0.place.get_or_insert(Place::Byte(offset_bytes));
        self
    }

    /// Adds the line number (from 1), unless a place is named already.
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.0.place.get_or_insert(Place::Line(line));
        self
    }

    /// Puts `what` in front of the text: `seek: checksum of ...`.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.text = format!("{what}: {}", self.0.text);
        self
    }

    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The text without file and place, for answers that must not name a server's files.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The file it happened in, if one is known.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The byte offset it happened at, if one is known.
    #[must_use]
    pub fn byte_offset(&self) -> Option<u64> {
        match self.0.place {
            Some(Place::Byte(offset)) => Some(offset),
            _ => None,
        }
    }

    /// The line (from 1) it happened at, if one is known.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        match self.0.place {
            Some(Place::Line(line)) => Some(line),
            _ => None,
        }
    }

    /// The operating system's own error, if it was one.
    #[must_use]
    pub fn io_source(&self) -> Option<&std::io::Error> {
        self.0.source.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, text, path, place, source } = &*self.0;
        match kind {
            ErrorKind::Corrupt => write!(f, "corrupt: {text}")?,
            _ => write!(f, "{text}")?,
        }
        match (path, place) {
            (Some(path), Some(Place::Byte(at))) => write!(f, " ({}, byte {at})", path.display())?,
            (Some(path), Some(Place::Line(at))) => write!(f, " ({}, line {at})", path.display())?,
            (Some(path), None) => write!(f, " ({})", path.display())?,
            (None, Some(Place::Byte(at))) => write!(f, " (byte {at})")?,
            (None, Some(Place::Line(at))) => write!(f, " (line {at})")?,
            (None, None) => {}
        }
        if let Some(source) = source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_what_and_where_on_one_line() {
        let error = Error::corrupt("checksum of block 17, column price: expected 1, found 2")
            .at_path(Path::new("000007.seg"))
            .at_byte(81920);

        assert_eq!(
            error.to_string(),
            "corrupt: checksum of block 17, column price: expected 1, found 2 \
             (000007.seg, byte 81920)"
        );
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.byte_offset(), Some(81920));
    }

    #[test]
    fn limit_names_both_numbers() {
        let error = Error::limit("depth", 5000, 1000);

        assert_eq!(error.to_string(), "depth 5000 is above the limit 1000");
    }

    #[test]
    fn the_first_place_is_kept() {
        let error = Error::invalid("x").at_line(3).at_line(9).at_byte(7);

        assert_eq!(error.line(), Some(3));
    }
}
