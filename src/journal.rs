//! The journal as files: appending frames, and reading them back in their sequence.
//!
//! A [`JournalWriter`] fills one file; a [`JournalReader`] gives the frames of all files one after
//! another, also while they are being written. Nothing here is mapped, cut or changed in place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, ReadFile, WriteFile, temporary};
use crate::error::{Error, ErrorKind, Result};
use crate::format::journal::{
    Frame, FrameHead, Header, MAGIC, decode_frame, decode_unchecked, frame_len,
};
use crate::limit;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// How many times the bytes at the end of a journal frames may claim together when they are looked
/// for. Those that a writer made never overlap, however damaged they are.
const CLAIMED_MAX: usize = 8;
/// Bytes read at once where a file may have grown.
const GROWN_BYTES: usize = 4 << 10;

/// The folder of a store's journal files.
#[must_use]
pub fn folder(root: &Path) -> PathBuf {
    root.join("journal")
}

/// Where the journal file with this number lies.
#[must_use]
pub fn path(root: &Path, number: u64) -> PathBuf {
    folder(root).join(format!("{number}.jnl"))
}

/// Numbers of the journal files, rising.
///
/// # Errors
/// [`ErrorKind::Io`] if the folder cannot be listed.
pub fn numbers(disk: &dyn Disk, root: &Path) -> Result<Vec<u64>> {
    let folder = folder(root);
    let files = match disk.list(&folder) {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(error, "list folder", &folder)),
    };
    let number = |path: &Path| {
        let number = path.file_name()?.to_str()?.strip_suffix(".jnl")?;
        number.parse().ok().filter(|parsed: &u64| parsed.to_string() == number)
    };
    let mut numbers: Vec<u64> = files.iter().filter_map(|(path, _)| number(path)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes the files with numbers below `first`. What cannot be removed now is removed later.
pub fn remove_before(disk: &dyn Disk, root: &Path, first: u64) {
    let numbers = numbers(disk, root).unwrap_or_default();
    for number in numbers.into_iter().filter(|&number| number < first) {
        drop(disk.remove(&path(root, number)));
    }
}

/// Fills one journal file. After a failed write or sync it must not be used again.
pub struct JournalWriter {
    file: Box<dyn WriteFile>,
    path: PathBuf,
    header: Header,
}

impl JournalWriter {
    /// Creates the file as long as its header says, with its first frames; they are durable
    /// afterwards, but count from [`JournalWriter::publish`] on.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there is no room, [`ErrorKind::Io`] otherwise.
    pub fn create(disk: &dyn Disk, root: &Path, header: Header, frames: &[u8]) -> Result<Self> {
        let folder = folder(root);
        if disk.len(&folder).is_err() {
            disk.create_folder(&folder).map_err(|e| Error::io(e, "create folder", &folder))?;
            disk.sync_folder(root).map_err(|e| Error::io(e, "sync folder", root))?;
        }
        let path = path(root, header.number);
        let unnamed = temporary(&path);
        if disk.len(&unnamed).is_ok() {
            disk.remove(&unnamed).map_err(|e| Error::io(e, "remove old journal", &unnamed))?;
        }
        let wrong = |verb: &str, e| Error::io(e, &format!("{verb} journal"), &unnamed);
        let mut file = disk.create(&unnamed).map_err(|e| wrong("create", e))?;
        let begun = file
            .reserve(header.file_len)
            .map_err(|e| wrong("reserve room for", e))
            .and_then(|()| file.append(bytemuck::bytes_of(&header)).map_err(|e| wrong("write", e)))
            .and_then(|()| file.append(frames).map_err(|e| wrong("write", e)))
            .and_then(|()| file.sync().map_err(|e| wrong("sync", e)));
        if let Err(error) = begun {
            drop(disk.remove(&unnamed));
            return Err(error);
        }
        Ok(Self { file, path, header })
    }

    /// Gives the file its name: frames of earlier files from its first sequence on are void.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Full`]: whether they are is not known then.
    pub fn publish(&self, disk: &dyn Disk, root: &Path) -> Result<()> {
        let (unnamed, folder) = (temporary(&self.path), folder(root));
        disk.rename(&unnamed, &self.path).map_err(|e| Error::io(e, "rename journal", &unnamed))?;
        disk.sync_folder(&folder).map_err(|e| Error::io(e, "sync folder", &folder))
    }

    /// The file's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Appends whole frames.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if not all could be written.
    pub fn write(&mut self, frames: &[u8]) -> Result<()> {
        self.file.append(frames).map_err(|e| Error::io(e, "write journal", &self.path))
    }

    /// Makes all frames durable.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: what was written may or may not be durable, and never will be
    /// known to be.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync().map_err(|e| Error::io(e, "sync journal", &self.path))
    }
}

/// One file being read.
pub struct JournalFile {
    file: Box<dyn ReadFile>,
    path: PathBuf,
    header: Header,
    /// Bytes that it had when it was opened; it never becomes shorter.
    len: u64,
    /// Where the next frame starts.
    offset: u64,
    /// Bytes read before; the next frame starts at `consumed`.
    buffer: Vec<u8>,
    consumed: usize,
}

impl JournalFile {
    /// Opens a file on its own; `None` if its first bytes are not those of a journal.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it cannot be read; [`ErrorKind::Corrupt`] if its header
    /// is damaged.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Option<Self>> {
        let file_len = disk.len(path).map_err(|e| Error::io(e, "open file", path))?;
        let file = disk.open(path).map_err(|e| Error::io(e, "open file", path))?;
        let mut head = [0; size_of::<Header>()];
        let wrong = |e| Error::io(e, "read file", path);
        let len = file.read_at(0, &mut head).map_err(wrong)?;
        if len < head.len() && (len as u64) < file_len {
            return Err(wrong(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let head = head.get(..len).unwrap_or_default();
        if !head.starts_with(&MAGIC) {
            return Ok(None);
        }
        let header = Header::decode(head).map_err(|fault| Error::from(fault).at_path(path))?;
        let (path, offset) = (path.to_owned(), size_of::<Header>() as u64);
        let (buffer, consumed) = (Vec::new(), 0);
        Ok(Some(Self { file, path, header, len: file_len, offset, buffer, consumed }))
    }

    /// Opens file `number` of a store; `None` if there is none.
    fn of_store(disk: &dyn Disk, root: &Path, store_id: u64, number: u64) -> Result<Option<Self>> {
        let path = path(root, number);
        let wrong = |text: &str, at| Error::corrupt(text).at_path(&path).at_byte(at);
        let file = match Self::open(disk, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?.ok_or_else(|| wrong("this is no journal", 0))?,
        };
        if (file.header.store_id, file.header.number) != (store_id, number) {
            return Err(wrong("this is another journal than its name and store say", 16));
        }
        Ok(Some(file))
    }

    /// The file's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes that the file had when it was opened.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Where the next frame starts.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame and where it starts; `None` if no whole one is there, for now.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<(u64, Frame<'_>)>> {
        let Some(head) = self.peek()? else { return Ok(None) };
        let (offset, journal_id) = (self.offset, self.header.journal_id);
        let frame = decode_frame(self.take(head.len as usize), journal_id);
        Ok(frame.map(|frame| (offset, frame)))
    }

    /// Reads anew from the next frame on, as much as it claims to have.
    fn fill(&mut self) -> Result<()> {
        let claimed = frame_len(self.unread()).min(limit::JOURNAL_FRAME_BYTES_MAX);
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read_at(self.offset, claimed.max(GROWN_BYTES), &mut buffer)?;
        (self.buffer, self.consumed) = (buffer, 0);
        Ok(())
    }

    /// Fills `out` with the bytes at `offset`, at least so many if the file has them.
    fn read_at(&self, offset: u64, least: usize, out: &mut Vec<u8>) -> Result<()> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        // No frame is longer than the room that was reserved for it, whatever it claims.
        let wanted = least.max(left.min(READ_BYTES)).min(left.max(GROWN_BYTES));
        out.resize(wanted, 0);
        let wrong = |e| Error::io(e, "read journal", &self.path).at_byte(offset);
        let len = self.file.read_at(offset, out).map_err(wrong)?;
        if len < left.min(wanted) {
            // What is not given must not be taken for torn off.
            return Err(wrong(std::io::ErrorKind::UnexpectedEof.into()));
        }
        out.truncate(len);
        Ok(())
    }

    /// Whether no frame was begun at the next offset: a small read, for those who follow.
    fn at_end(&self) -> Result<bool> {
        let mut len = [0; 4];
        self.file
            .read_at(self.offset, &mut len)
            .map_err(|e| Error::io(e, "read journal", &self.path).at_byte(self.offset))?;
        Ok(len == [0; 4])
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.consumed..).unwrap_or_default()
    }

    /// The head of the next frame, if it is whole. What was read before may have grown since, and
    /// a long frame needs to be read twice.
    fn peek(&mut self) -> Result<Option<FrameHead>> {
        for _ in 0..3 {
            if let Some(frame) = decode_frame(self.unread(), self.header.journal_id) {
                return Ok(Some(frame.head));
            }
            if frame_len(self.unread()) == 0 && self.at_end()? {
                return Ok(None);
            }
            self.fill()?;
        }
        Ok(None)
    }

    /// The frame that was peeked at; goes on to the one after it.
    fn take(&mut self, len: usize) -> &[u8] {
        let start = self.consumed;
        self.consumed += len;
        self.offset += len as u64;
        self.buffer.get(start..start + len).unwrap_or_default()
    }

    /// All bytes from the next frame on, without the zeros of reserved room at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read.
    pub fn rest(&self) -> Result<Vec<u8>> {
        self.to_end().map(without_room)
    }

    /// All bytes from the next frame on.
    fn to_end(&self) -> Result<Vec<u8>> {
        let (mut rest, mut part) = (Vec::new(), Vec::new());
        loop {
            self.read_at(self.offset + rest.len() as u64, GROWN_BYTES, &mut part)?;
            if part.is_empty() || rest.len() as u64 > limit::JOURNAL_BYTES_MAX {
                return Ok(rest);
            }
            rest.append(&mut part);
        }
    }

    /// Highest sequence of the whole frames after the next one, whatever lies between them, as far
    /// as they are looked for; `None` if there are none or the file cannot be read.
    #[must_use]
    pub fn highest_seq(&self) -> Option<u64> {
        let rest = self.to_end().ok()?;
        let highest = self.largest(&rest, |head| head.seq).unwrap_or_else(|so_far| so_far);
        Some(highest).filter(|&highest| highest > 0)
    }

    /// The largest `value` of the whole frames at any multiple of 8 of `rest`, which has the zeros
    /// at its end; 0 if there are none.
    ///
    /// # Errors
    /// The largest so far, if what looks like frames claims many times the bytes there are.
    fn largest(
        &self,
        rest: &[u8],
        value: impl Fn(&FrameHead) -> u64,
    ) -> std::result::Result<u64, u64> {
        let journal_id = self.header.journal_id;
        let (mut left, mut largest) = (rest.len().saturating_mul(CLAIMED_MAX), 0);
        for at in (0..rest.len()).step_by(8) {
            let bytes = rest.get(at..).unwrap_or_default();
            let Some(claimed) = decode_unchecked(bytes, journal_id) else { continue };
            left = left.checked_sub(claimed.head.len as usize).ok_or(largest)?;
            if decode_frame(bytes, journal_id).is_some() {
                largest = largest.max(value(&claimed.head));
            }
        }
        Ok(largest)
    }
}

/// The bytes without the zeros at their end. A frame may end with zeros, too.
fn without_room(mut bytes: Vec<u8>) -> Vec<u8> {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    bytes
}

/// Gives the frames of all journal files in their sequence.
///
/// At the end it can be asked again: frames that were written since follow.
pub struct JournalReader {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    store_id: u64,
    /// Number of the file to begin with.
    first: u64,
    current: Option<JournalFile>,
    next: Option<JournalFile>,
    next_seq: u64,
    watermark: u64,
    /// Where the frame given last starts.
    last_offset: u64,
}

/// Bytes after the last whole frame that were never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file that ends with them.
    pub path: PathBuf,
    /// Where they start.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl JournalReader {
    /// Reads the files of `root` from number `first` on.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, root: &Path, store_id: u64, first: u64) -> Self {
        let root = root.to_owned();
        let (current, next) = (None, None);
        let (next_seq, watermark, last_offset) = (0, 0, 0);
        Self { disk, root, store_id, first, current, next, next_seq, watermark, last_offset }
    }

    /// Sequence of the next frame; 0 before the first file was found.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// All frames up to this one are durable, as far as the frames read so far say.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Number of the file being read; `None` before the first was found.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.current.as_ref().map(|file| file.header.number)
    }

    /// The next frame; `None` at the end, for now.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with file and offset if a file is damaged or missing that
    /// another one follows.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        let Some(head) = self.find_next()? else { return Ok(None) };
        self.next_seq = head.seq + 1;
        self.watermark = self.watermark.max(head.watermark);
        let Some(current) = &mut self.current else { return Ok(None) };
        self.last_offset = current.offset;
        Ok(current.next_frame()?.map(|(_, frame)| frame))
    }

    /// Where the frame given last starts, in the file [`JournalReader::number`].
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.last_offset
    }

    /// The error, with file and offset of the frame given last unless it is one of another file.
    #[must_use]
    pub fn located(&self, error: Error) -> Error {
        match &self.current {
            Some(current) if error.path().is_none() => {
                error.at_path(&current.path).at_byte(self.last_offset)
            }
            _ => error,
        }
    }

    /// Head of the next frame, in whichever file it lies.
    fn find_next(&mut self) -> Result<Option<FrameHead>> {
        if self.current.is_none() {
            self.current = self.open(self.first)?;
            let Some(current) = &self.current else { return self.check_none() };
            self.next_seq = current.header.first_seq;
            self.watermark = self.next_seq.saturating_sub(1);
        }
        loop {
            self.look_ahead()?;
            let Some(current) = &mut self.current else { return Ok(None) };
            let end = self.next.as_ref().map_or(u64::MAX, |next| next.header.first_seq);
            let head = current.peek()?;
            if let Some(head) = head.filter(|head| head.seq == self.next_seq && head.seq < end) {
                return Ok(Some(head));
            }
            let Some(next) = self.next.take() else { return Ok(None) };
            if next.header.first_seq > self.next_seq {
                let (expected, found) = (self.next_seq, next.header.first_seq);
                return Err(Error::corrupt(format!(
                    "journal lacks frames {expected} to {} that were acknowledged",
                    found.saturating_sub(1)
                ))
                .at_path(&current.path)
                .at_byte(current.offset));
            }
            // Below: frames that were not known to be durable, which the new file has again.
            self.next_seq = next.header.first_seq;
            self.watermark = self.watermark.max(self.next_seq.saturating_sub(1));
            self.current = Some(next);
        }
    }

    /// Where there is no first file there is none.
    fn check_none(&self) -> Result<Option<FrameHead>> {
        self.check_not_missing(self.first)?;
        Ok(None)
    }

    /// File `number` is not there: no later one may be.
    fn check_not_missing(&self, number: u64) -> Result<()> {
        if numbers(&*self.disk, &self.root)?.pop() > Some(number) {
            let text = "a journal file is missing that later ones follow";
            return Err(Error::corrupt(text).at_path(&path(&self.root, number)).at_byte(0));
        }
        Ok(())
    }

    fn open(&self, number: u64) -> Result<Option<JournalFile>> {
        JournalFile::of_store(&*self.disk, &self.root, self.store_id, number)
    }

    /// Opens the file after the current one as soon as it is there: it says where the current ends.
    fn look_ahead(&mut self) -> Result<()> {
        if let (Some(current), None) = (&self.current, &self.next) {
            self.next = self.open(current.header.number + 1)?;
        }
        Ok(())
    }

    /// At the end of a journal that nobody writes: the bytes that a crash tore off, if any.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with file and offset if what is not whole there was
    /// acknowledged before: later frames say so, or later files, or that the file is cut short.
    pub fn torn(&self) -> Result<Option<Torn>> {
        let Some(current) = &self.current else { return Ok(None) };
        let rest = current.to_end()?;
        let wrong =
            |text: String| Err(Error::corrupt(text).at_path(&current.path).at_byte(current.offset));
        self.check_not_missing(current.header.number + 1)?;
        let Ok(watermark) = current.largest(&rest, |head| head.watermark) else {
            return wrong("too many frames begin in the end of the journal".to_owned());
        };
        if watermark >= self.next_seq {
            let seq = self.next_seq;
            return wrong(format!("acknowledged rows of the journal are damaged: frame {seq}"));
        }
        if current.len < current.header.file_len {
            // No crash cuts a file: there may have been frames that nothing else tells of.
            let (made, found) = (current.header.file_len, current.len);
            return wrong(format!(
                "journal file is shorter than when it was made: {found} bytes of {made}"
            ));
        }
        let (path, offset, bytes) = (current.path.clone(), current.offset, without_room(rest));
        let torn = Torn { path, offset, bytes };
        Ok((!torn.bytes.is_empty()).then_some(torn))
    }
}
