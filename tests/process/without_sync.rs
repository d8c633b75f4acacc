//! A disk that does not make files durable, to see that the power cuts would notice.

use std::io;
use std::path::{Path, PathBuf};

use tickreel::disk::{Disk, OsDisk, ReadFile, SharedBytes, WriteFile};

/// The real file system, where only the first so many calls of [`WriteFile::sync`] of each file do
/// something. With one, what is written whole is durable, and what is appended to the journal not.
pub struct WithoutSync {
    pub disk: OsDisk,
    pub syncs: u32,
}

struct FileWithoutSync {
    file: Box<dyn WriteFile>,
    syncs: u32,
}

impl WriteFile for FileWithoutSync {
    fn reserve(&mut self, len_bytes: u64) -> io::Result<()> {
        self.file.reserve(len_bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.syncs == 0 {
            return Ok(());
        }
        self.syncs -= 1;
        self.file.sync()
    }
}

impl Disk for WithoutSync {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = self.disk.create(path)?;
        Ok(Box::new(FileWithoutSync { file, syncs: self.syncs }))
    }

    fn map(&self, sealed: &Path) -> io::Result<SharedBytes> {
        self.disk.map(sealed)
    }

    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        self.disk.read(path, limit_bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.disk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.create_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_folder(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
        self.disk.list(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.disk.len(path)
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        self.disk.make_read_only(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.lock(path)
    }

    fn pin(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.pin(path)
    }

    fn unpinned(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.unpinned(path)
    }
}
