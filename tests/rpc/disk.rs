//! A disk that can be told to be full, or to fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tickreel::disk::{Disk, OsDisk, ReadFile, SharedBytes, WriteFile};

/// What is wrong with a disk now.
#[derive(Default)]
pub struct Faults {
    /// No file gets room.
    pub full: AtomicBool,
    /// Nothing can be made durable.
    pub broken: AtomicBool,
}

/// The real file system with faults.
pub struct FaultyDisk(pub Arc<Faults>);

struct FaultyFile {
    file: Box<dyn WriteFile>,
    faults: Arc<Faults>,
}

impl WriteFile for FaultyFile {
    fn reserve(&mut self, len_bytes: u64) -> io::Result<()> {
        match self.faults.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.file.reserve(len_bytes),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.faults.broken.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the device is broken")),
            false => self.file.sync(),
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = OsDisk.create(path)?;
        Ok(Box::new(FaultyFile { file, faults: self.0.clone() }))
    }

    fn map(&self, sealed: &Path) -> io::Result<SharedBytes> {
        OsDisk.map(sealed)
    }

    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        OsDisk.read(path, limit_bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        OsDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        OsDisk.sync_folder(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
        OsDisk.list(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        OsDisk.len(path)
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        OsDisk.make_read_only(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        OsDisk.lock(path)
    }

    fn pin(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        OsDisk.pin(path)
    }

    fn unpinned(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        OsDisk.unpinned(path)
    }
}
