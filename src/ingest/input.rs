//! An input file: decompressed on the way, read line by line or as bytes.
//!
//! Gzip (of any number of members) and zstd (of any number of frames) are known by their first
//! bytes, not by the file's name. Lines are bounded by [`limit::LINE_BYTES_MAX`] and are handed out
//! from the input's own buffer, so reading a line allocates nothing.

use std::fs::File;
use std::io::{self, BufRead, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::limit;

/// How much is read at once, and the smallest buffer.
const CHUNK_BYTES: usize = 256 << 10;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A zstd file may begin with a skippable frame: `50..=5f 2a 4d 18`.
const ZSTD_SKIP_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Length of an input file in bytes.
///
/// # Errors
/// [`crate::ErrorKind::NotFound`] or [`crate::ErrorKind::Io`] with the path.
pub(super) fn file_len(path: &Path) -> Result<u64> {
    let meta = std::fs::metadata(path).map_err(|error| Error::io(error, "open input", path))?;
    Ok(meta.len())
}

/// How the bytes of an input file are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// Gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// The compression whose magic number `bytes` begin with; four bytes tell.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Self {
        match bytes {
            [a, b, ..] if [*a, *b] == GZIP_MAGIC => Self::Gzip,
            [a, b, c, d, ..] if [*a, *b, *c, *d] == ZSTD_MAGIC => Self::Zstd,
            [0x50..=0x5f, b, c, d, ..] if [*b, *c, *d] == ZSTD_SKIP_MAGIC => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// One line of an input, without its line end (`\n` or `\r\n`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counts from 1.
    pub number: u64,
    /// The bytes; the first [`limit::LINE_BYTES_MAX`] of them if the line is longer.
    pub text: &'a [u8],
    /// Whether the line is longer than [`limit::LINE_BYTES_MAX`], so that `text` is only its start.
    pub cut: bool,
}

/// An input being read; see the module documentation.
///
/// It is a [`BufRead`] too; lines and bytes may be read in any order, line numbers count only what
/// [`Input::next_line`] handed out.
pub struct Input {
    path: PathBuf,
    compression: Compression,
    source: Box<dyn Read + Send>,
    consumed: Arc<AtomicU64>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    line: u64,
    line_bytes_max: usize,
}

impl Input {
    /// Opens a file.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] or [`crate::ErrorKind::Io`] with the path.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(error, "open input", path))?;
        Self::from_reader(path, Box::new(file))
    }

    /// Reads from `source`, which `path` names in errors.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the first bytes cannot be read.
    pub fn from_reader(path: &Path, source: Box<dyn Read + Send>) -> Result<Self> {
        let consumed = Arc::new(AtomicU64::new(0));
        let mut source = Counted { source, consumed: consumed.clone() };
        let mut magic = Vec::with_capacity(4);
        (&mut source)
            .take(4)
            .read_to_end(&mut magic)
            .map_err(|error| Error::io(error, "read input", path))?;
        let compression = Compression::sniff(&magic);
        let whole = Cursor::new(magic).chain(source);
        let buffered = |whole| io::BufReader::with_capacity(CHUNK_BYTES, whole);
        let source: Box<dyn Read + Send> = match compression {
            Compression::Plain => Box::new(whole),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(whole))),
            Compression::Zstd => Box::new(
                zstd::stream::read::Decoder::with_buffer(buffered(whole))
                    .map_err(|error| Error::io(error, "decompress input", path))?,
            ),
        };
        Ok(Self {
            path: path.to_owned(),
            compression,
            source,
            consumed,
            buffer: vec![0; CHUNK_BYTES],
            start: 0,
            end: 0,
            line: 0,
            line_bytes_max: limit::LINE_BYTES_MAX,
        })
    }

    /// What the file is called.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the file is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Bytes of the file read so far, compressed as they are, read-ahead included.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// Number of the last line handed out; 0 before the first.
    #[must_use]
    pub fn line_number(&self) -> u64 {
        self.line
    }

    /// The next line, or `None` at the end of the input. The last line need not have a line end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the file cannot be read or decompressed any further.
    #[inline]
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>> {
        match memchr::memchr(b'\n', self.pending()) {
            Some(length) if length <= self.line_bytes_max => {
                let from = self.start;
                self.start += length + 1;
                Ok(Some(self.hand_out(from, length, false)))
            }
            _ => self.next_line_slow(),
        }
    }

    /// What was read and not handed out yet: the next lines, the last of them perhaps in part.
    #[inline]
    pub(super) fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Goes past the next line, which takes `bytes` of [`Input::pending`] with its line end.
    #[inline]
    pub(super) fn skip_line(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + bytes);
        self.line += 1;
    }

    #[inline]
    fn hand_out(&mut self, from: usize, length: usize, cut: bool) -> Line<'_> {
        self.line += 1;
        let text = self.buffer.get(from..from + length).unwrap_or_default();
        let text = if cut { text } else { text.strip_suffix(b"\r").unwrap_or(text) };
        Line { number: self.line, text, cut }
    }

    /// The line does not end in the buffer, or is too long.
    #[cold]
    fn next_line_slow(&mut self) -> Result<Option<Line<'_>>> {
        let mut searched = 0;
        loop {
            let fresh = self.pending().get(searched..).unwrap_or_default();
            let length = memchr::memchr(b'\n', fresh).map(|at| searched + at);
            if length.unwrap_or(self.end - self.start) > self.line_bytes_max {
                return self.cut_line().map(Some);
            }
            if let Some(length) = length {
                let from = self.start;
                self.start += length + 1;
                return Ok(Some(self.hand_out(from, length, false)));
            }
            searched = self.end - self.start;
            if self.read_more()? == 0 {
                if searched == 0 {
                    return Ok(None);
                }
                let from = self.start;
                self.start = self.end;
                return Ok(Some(self.hand_out(from, searched, false)));
            }
        }
    }

    /// Hands out the first bytes of a line that is too long, and skips its rest.
    fn cut_line(&mut self) -> Result<Line<'_>> {
        let kept = self.pending().iter().take(self.line_bytes_max).copied().collect::<Vec<_>>();
        self.start += kept.len();
        loop {
            match memchr::memchr(b'\n', self.pending()) {
                Some(at) => {
                    self.start += at + 1;
                    break;
                }
                None => {
                    self.start = self.end;
                    if self.read_more()? == 0 {
                        break;
                    }
                }
            }
        }
        // What follows the long line stays pending behind it.
        let rest = self.pending().to_vec();
        self.start = kept.len();
        self.end = kept.len() + rest.len();
        self.buffer = kept;
        self.buffer.extend_from_slice(&rest);
        self.buffer.resize(self.buffer.len().max(CHUNK_BYTES), 0);
        Ok(self.hand_out(0, self.start, true))
    }

    /// Reads behind what is pending; the buffer grows only when a line fills it.
    fn read_more(&mut self) -> Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end * 2 > self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = self.read_source()?;
        self.end += count;
        Ok(count)
    }

    fn read_source(&mut self) -> Result<usize> {
        loop {
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(free) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let what = match self.compression {
                        Compression::Plain => "read input",
                        Compression::Gzip | Compression::Zstd => "decompress input",
                    };
                    return Err(Error::io(error, what, &self.path));
                }
            }
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("path", &self.path)
            .field("compression", &self.compression)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.end = self.source.read(&mut self.buffer)?;
        }
        Ok(self.pending())
    }

    fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }
}

/// Counts the bytes that pass.
struct Counted {
    source: Box<dyn Read + Send>,
    consumed: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.consumed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn input(bytes: &[u8]) -> Input {
        Input::from_reader(Path::new("x.csv"), Box::new(Cursor::new(bytes.to_vec()))).unwrap()
    }

    fn lines(input: &mut Input) -> Vec<(u64, Vec<u8>, bool)> {
        let mut lines = Vec::new();
        while let Some(line) = input.next_line().unwrap() {
            lines.push((line.number, line.text.to_vec(), line.cut));
        }
        lines
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_same_lines_come_out_of_every_compression() {
        let text: Vec<u8> = (0..100_000).flat_map(|n| format!("{n},abc\n").into_bytes()).collect();
        let middle = text.len() / 2;
        let plain = lines(&mut input(&text));
        assert_eq!(plain.len(), 100_000);
        assert_eq!(plain[99_999], (100_000, b"99999,abc".to_vec(), false));

        let members = [gzip(&text[..middle]), gzip(&text[middle..])].concat();
        let frames = [
            b"\x50\x2a\x4d\x18\x01\x00\x00\x00x".to_vec(),
            zstd::encode_all(&text[..middle], 1).unwrap(),
            zstd::encode_all(&text[middle..], 1).unwrap(),
        ]
        .concat();
        for (file, compression) in [(members, Compression::Gzip), (frames, Compression::Zstd)] {
            let mut input = input(&file);
            assert_eq!(input.compression(), compression);
            assert!(lines(&mut input) == plain, "lines differ for {compression:?}");
            assert_eq!(input.bytes_read(), file.len() as u64);
        }
    }

    #[test]
    fn line_ends_are_taken_off_and_the_last_line_needs_none() {
        let mut input = input(b"a\r\n\nb\r\r\nlast");

        let texts: Vec<_> = lines(&mut input).into_iter().map(|line| line.1).collect();

        assert_eq!(texts, [&b"a"[..], b"", b"b\r", b"last"]);
        assert_eq!(input.line_number(), 4);
        assert!(lines(&mut super::tests::input(b"")).is_empty());
    }

    #[test]
    fn a_line_above_the_limit_is_cut_and_the_next_one_is_whole() {
        for (length, cut) in [(1000, false), (1001, true), (1_000_000, true)] {
            let text = [&vec![b'x'; length][..], b"\nnext\n"].concat();
            let mut input = input(&text);
            input.line_bytes_max = 1000;

            let lines = lines(&mut input);

            assert_eq!(lines.len(), 2, "length {length}");
            assert_eq!((lines[0].1.len(), lines[0].2), (1000, cut), "length {length}");
            assert_eq!(lines[1], (2, b"next".to_vec(), false), "length {length}");
        }
        let mut input = input(&[b'x'; 5000]);
        input.line_bytes_max = 1000;
        assert_eq!(lines(&mut input).len(), 1);
    }

    #[test]
    fn lines_longer_than_a_chunk_are_whole() {
        let text = [&vec![b'x'; CHUNK_BYTES * 3 + 7][..], b"\nnext\n"].concat();

        let lines = lines(&mut input(&text));

        assert_eq!((lines[0].1.len(), lines[0].2), (CHUNK_BYTES * 3 + 7, false));
        assert_eq!(lines[1].1, b"next");
    }

    #[test]
    fn a_file_that_breaks_off_is_an_error_after_its_lines() {
        let whole = gzip(b"one\ntwo\nthree\n");
        let mut input = input(&whole[..whole.len() - 9]);

        let error = loop {
            match input.next_line() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the end was not missed"),
                Err(error) => break error,
            }
        };

        assert!(error.to_string().starts_with("cannot decompress input (x.csv)"), "{error}");
    }

    #[test]
    fn bytes_and_lines_can_be_read_in_turn() {
        let mut input = input(b"head\nbody and more");
        assert_eq!(input.next_line().unwrap().unwrap().text, b"head");

        let mut rest = String::new();
        input.read_to_string(&mut rest).unwrap();

        assert_eq!(rest, "body and more");
    }
}
