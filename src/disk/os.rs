//! The real file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, fstatfs};

use super::{Disk, Mapped, ReadFile, SharedBytes, WriteFile};

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn map(&self, sealed: &Path) -> io::Result<SharedBytes> {
        Ok(Arc::new(Mapped::new(&File::open(sealed)?)?))
    }

    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit_bytes {
            let text = format!("file is longer than {limit_bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(OsFile(File::open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(OsFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            entries.push((entry.path(), entry.file_type()?.is_dir()));
        }
        entries.sort();
        Ok(entries)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o444))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let kind = fstatfs(&file)?.f_type;
        if let Some(name) = shared_file_system(kind)
            && std::env::var_os("TICKREEL_ANY_FILE_SYSTEM").is_none()
        {
            let text = format!(
                "a store is not written on {name}, where locks and syncs may not hold; set \
                 TICKREEL_ANY_FILE_SYSTEM=1 to do it all the same"
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        held(file.try_lock(), file)
    }

    fn pin(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = File::open(path)?;
        held(file.try_lock_shared(), file)
    }

    fn unpinned(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = File::open(path)?;
        held(file.try_lock(), file)
    }
}

/// The name of a file system that other machines or programs stand behind, by its number of
/// `statfs(2)`.
fn shared_file_system(kind: i64) -> Option<&'static str> {
    match kind as u32 {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x6573_5546 => Some("FUSE"),
        0x0102_1997 => Some("9P"),
        _ => None,
    }
}

/// The file, which holds its lock until dropped, if the lock was free.
fn held(
    locked: std::result::Result<(), fs::TryLockError>,
    file: File,
) -> io::Result<Option<Box<dyn Send + Sync>>> {
    match locked {
        Ok(()) => Ok(Some(Box::new(file))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

struct OsFile(File);

impl WriteFile for OsFile {
    fn reserve(&mut self, len_bytes: u64) -> io::Result<()> {
        Ok(fallocate(&self.0, FallocateFlags::empty(), 0, len_bytes)?)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl ReadFile for OsFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_sealed_mapped_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (temporary, sealed) = (folder.path().join("a.tmp"), folder.path().join("a.seg"));
        let mut file = OsDisk.create(&temporary).unwrap();
        file.append(b"hello").unwrap();
        file.sync().unwrap();
        OsDisk.rename(&temporary, &sealed).unwrap();
        OsDisk.make_read_only(&sealed).unwrap();
        OsDisk.sync_folder(folder.path()).unwrap();

        let map = OsDisk.map(&sealed).unwrap();
        assert_eq!((*map).as_ref(), b"hello");
        assert_eq!(OsDisk.len(&sealed).unwrap(), 5);
        assert!(OsDisk.create(&sealed).is_err(), "an existing file is never opened for writing");
        OsDisk.remove(&sealed).unwrap();
        assert_eq!((*map).as_ref(), b"hello", "the map keeps the file alive");
        assert!(OsDisk.list(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn a_lock_is_held_once_and_a_long_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("LOCK");
        let held = OsDisk.lock(&path).unwrap();
        assert!(held.is_some());
        assert!(OsDisk.lock(&path).unwrap().is_none());
        drop(held);
        assert!(OsDisk.lock(&path).unwrap().is_some());

        let mut file = OsDisk.create(&folder.path().join("x")).unwrap();
        file.append(&[1; 9]).unwrap();
        assert!(OsDisk.read(&folder.path().join("x"), 8).is_err());
        assert_eq!(OsDisk.read(&folder.path().join("x"), 9).unwrap(), [1; 9]);
    }

    #[test]
    fn an_empty_file_maps_to_no_bytes() {
        let folder = tempfile::tempdir().unwrap();
        drop(OsDisk.create(&folder.path().join("e")).unwrap());
        assert!((*OsDisk.map(&folder.path().join("e")).unwrap()).as_ref().is_empty());
    }

    #[test]
    fn a_reserved_file_reads_as_zeros_and_is_read_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.jnl");
        let mut file = OsDisk.create(&path).unwrap();
        file.reserve(8192).unwrap();
        let reader = OsDisk.open(&path).unwrap();
        let mut out = [7; 4];
        assert_eq!(reader.read_at(0, &mut out).unwrap(), 4);
        assert_eq!(out, [0; 4]);

        file.append(b"abcd").unwrap();

        assert_eq!(OsDisk.len(&path).unwrap(), 8192, "appending stays inside what is reserved");
        assert_eq!(reader.read_at(1, &mut out).unwrap(), 4);
        assert_eq!(&out, b"bcd\0");
        assert_eq!(reader.read_at(8190, &mut out).unwrap(), 2, "up to the end");
    }

    #[test]
    fn file_systems_of_other_machines_are_known_by_their_numbers() {
        assert_eq!(shared_file_system(0x6969), Some("NFS"));
        // As some kernels say it, with the sign bit.
        assert_eq!(shared_file_system(i64::from(0xff53_4d42_u32 as i32)), Some("SMB"));
        assert_eq!(shared_file_system(0xef53), None, "ext4");
        assert_eq!(shared_file_system(0x0102_1994), None, "tmpfs");
    }
}
