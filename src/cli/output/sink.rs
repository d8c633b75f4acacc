//! Bytes on their way out: gathered, then written in large pieces.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Gathered bytes after which they are written.
const PIECE_BYTES: usize = 64 << 10;

/// An output with a name for errors.
pub(super) struct Sink<W> {
    target: W,
    path: PathBuf,
    /// What is gathered; writers append to it.
    pub(super) bytes: Vec<u8>,
}

impl<W: Write> Sink<W> {
    /// Writes to `target`, which `path` names in errors.
    pub(super) fn new(target: W, path: &Path) -> Self {
        Self { target, path: path.to_owned(), bytes: Vec::with_capacity(PIECE_BYTES + 4096) }
    }

    /// Says that a row is complete.
    pub(super) fn end_row(&mut self) -> Result<()> {
        self.bytes.push(b'\n');
        if self.bytes.len() >= PIECE_BYTES { self.write() } else { Ok(()) }
    }

    /// Writes everything and flushes the target.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.write()?;
        self.target.flush().map_err(|error| Error::io(error, "write rows", &self.path))
    }

    fn write(&mut self) -> Result<()> {
        let written = self.target.write_all(&self.bytes);
        self.bytes.clear();
        written.map_err(|error| Error::io(error, "write rows", &self.path))
    }
}
