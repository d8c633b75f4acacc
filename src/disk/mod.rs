//! The only code that touches files of a store, and the only `unsafe`.
//!
//! [`Disk`] lists every effect the engine may have on a folder. [`OsDisk`] is the real one; tests
//! put others in its place. What a block, a manifest or a book is, this room does not know.

mod map;
mod os;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use map::{HeapBytes, Mapped};
pub use os::OsDisk;

/// Bytes of a sealed file that stay where they are while somebody holds them.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The name under which a file is written before it is whole.
#[must_use]
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Every effect on files that the engine needs. Paths are full paths.
///
/// A written file is durable after [`WriteFile::sync`] and its name after [`Disk::sync_folder`].
/// Errors are the operating system's; nothing is retried here.
pub trait Disk: Send + Sync {
    /// Maps a sealed file, which nobody will ever write or shorten again.
    ///
    /// # Errors
    /// The file cannot be opened or mapped.
    fn map(&self, sealed: &Path) -> io::Result<SharedBytes>;

    /// Reads a small file whole.
    ///
    /// # Errors
    /// The file cannot be read, or is longer than `limit_bytes`.
    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>>;

    /// Opens a file that somebody may still be appending to.
    ///
    /// # Errors
    /// The file cannot be opened.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Creates a file that must not exist yet, for writing from its start.
    ///
    /// # Errors
    /// The file exists or cannot be created.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Gives a file another name, replacing what had that name, in one step.
    ///
    /// # Errors
    /// The file cannot be renamed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// The file cannot be removed.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder and those above it, where missing.
    ///
    /// # Errors
    /// A folder cannot be made.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// The folder cannot be synced.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Names in a folder, sorted; `true` for folders.
    ///
    /// # Errors
    /// The folder cannot be listed.
    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, bool)>>;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// There is no such file.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Takes away the right to write a file (mode 0444).
    ///
    /// # Errors
    /// The mode cannot be changed.
    fn make_read_only(&self, path: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a lock file, made if missing; held until dropped. `None` if
    /// another process or handle holds it.
    ///
    /// # Errors
    /// The lock file cannot be opened.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;

    /// Holds a shared lock of an existing file until dropped; `None` if [`Disk::unpinned`] holds it
    /// just now. Tells other processes that what the file names is in use.
    ///
    /// # Errors
    /// There is no such file.
    fn pin(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;

    /// The exclusive lock of an existing file until dropped; `None` while somebody pins it.
    ///
    /// # Errors
    /// There is no such file.
    fn unpinned(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
}

/// A file being written from its start.
pub trait WriteFile: Send {
    /// Reserves the bytes up to `len_bytes` from the file's start, which read as 0 until they are
    /// written: appending inside them meets no full disk.
    ///
    /// # Errors
    /// There is no room.
    fn reserve(&mut self, len_bytes: u64) -> io::Result<()>;

    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// Not all could be written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// The device refused; what was appended may or may not be durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read while it may still grow.
pub trait ReadFile: Send + Sync {
    /// Reads bytes at `offset` into `out` until it is full or the file ends; tells how many.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
}
