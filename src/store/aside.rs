//! Damaged files in `quarantine/`: nothing there is ever replaced or removed.

use std::path::{Path, PathBuf};

use super::Store;
use crate::disk::{Disk, temporary};
use crate::error::{Error, Result};

/// Bytes copied or compared at once.
const PART_BYTES: usize = 1 << 20;

impl Store {
    /// Gives a file a name in `quarantine/`; `None` if it is not there, nor was moved before.
    pub(super) fn move_aside(&self, file: &Path, stem: &str) -> Result<Option<PathBuf>> {
        let (disk, folder) = (self.disk(), self.quarantine_folder()?);
        let target = match exists(disk, file)? {
            true => {
                let target = self.free_name(&folder, stem, |_| Ok(false))?;
                disk.rename(file, &target).map_err(|e| Error::io(e, "move file aside", file))?;
                Some(target)
            }
            false => {
                let before = name(&folder, stem, 1);
                exists(disk, &before)?.then_some(before)
            }
        };
        // Also where it was moved before: perhaps that is not durable.
        for folder in [Some(&*folder), file.parent()].into_iter().flatten() {
            if exists(disk, folder)? {
                disk.sync_folder(folder).map_err(|e| Error::io(e, "sync folder", folder))?;
            }
        }
        Ok(target)
    }

    /// Gives a file a durable copy in `quarantine/`, unless it has one.
    pub(super) fn copy_aside(&self, file: &Path, stem: &str) -> Result<PathBuf> {
        let (disk, folder) = (self.disk(), self.quarantine_folder()?);
        let target = self.free_name(&folder, stem, |kept| same_bytes(disk, file, kept))?;
        if !exists(disk, &target)? {
            copy(disk, file, &target)?;
        }
        disk.sync_folder(&folder).map_err(|e| Error::io(e, "sync folder", &folder))?;
        Ok(target)
    }

    /// The folder, whose name is durable: what is moved into it is not lost with it.
    fn quarantine_folder(&self) -> Result<PathBuf> {
        let (disk, root) = (self.disk(), self.root());
        let folder = root.join("quarantine");
        disk.create_folder(&folder).map_err(|e| Error::io(e, "create folder", &folder))?;
        disk.sync_folder(root).map_err(|e| Error::io(e, "sync folder", root))?;
        Ok(folder)
    }

    /// The first name that nothing has, or that `fits` what has it.
    fn free_name(
        &self,
        folder: &Path,
        stem: &str,
        fits: impl Fn(&Path) -> Result<bool>,
    ) -> Result<PathBuf> {
        let mut number = 1;
        loop {
            let name = name(folder, stem, number);
            if !exists(self.disk(), &name)? || fits(&name)? {
                return Ok(name);
            }
            number += 1;
        }
    }
}

fn name(folder: &Path, stem: &str, number: u32) -> PathBuf {
    match number {
        1 => folder.join(format!("{stem}.bad")),
        _ => folder.join(format!("{stem}-{number}.bad")),
    }
}

fn exists(disk: &dyn Disk, path: &Path) -> Result<bool> {
    match disk.len(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(error, "look for file", path)),
    }
}

/// Gives all bytes of a file to `take`, with their offsets, until it says `false`.
fn read(
    disk: &dyn Disk,
    path: &Path,
    mut take: impl FnMut(u64, &[u8]) -> Result<bool>,
) -> Result<()> {
    let wrong = |error| Error::io(error, "read file", path);
    let len = disk.len(path).map_err(wrong)?;
    let file = disk.open(path).map_err(wrong)?;
    let mut part = vec![0; PART_BYTES];
    let mut offset = 0;
    while offset < len {
        let wanted = usize::try_from(len - offset).map_or(PART_BYTES, |left| left.min(PART_BYTES));
        let part = part.get_mut(..wanted).unwrap_or_default();
        if file.read_at(offset, part).map_err(wrong)? < wanted {
            return Err(wrong(std::io::ErrorKind::UnexpectedEof.into()));
        }
        if !take(offset, part)? {
            break;
        }
        offset += wanted as u64;
    }
    Ok(())
}

/// Copies a file, which is durable under its new name when the folder is synced.
fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> Result<()> {
    let unnamed = temporary(to);
    let wrong = |verb: &str, error| Error::io(error, &format!("{verb} copy of file"), &unnamed);
    if exists(disk, &unnamed)? {
        disk.remove(&unnamed).map_err(|e| wrong("remove old", e))?;
    }
    let mut file = disk.create(&unnamed).map_err(|e| wrong("create", e))?;
    let copied = read(disk, from, |_, part| {
        file.append(part).map_err(|e| wrong("write", e))?;
        Ok(true)
    });
    let done = copied
        .and_then(|()| file.sync().map_err(|e| wrong("sync", e)))
        .and_then(|()| disk.rename(&unnamed, to).map_err(|e| wrong("rename", e)));
    if done.is_err() {
        // On a full disk it takes room that is needed.
        drop(disk.remove(&unnamed));
    }
    done
}

fn same_bytes(disk: &dyn Disk, a: &Path, b: &Path) -> Result<bool> {
    let len = |path| disk.len(path).map_err(|e| Error::io(e, "read file", path));
    if len(a)? != len(b)? {
        return Ok(false);
    }
    let wrong = |error| Error::io(error, "read file", b);
    let other = disk.open(b).map_err(wrong)?;
    let (mut same, mut theirs) = (true, vec![0; PART_BYTES]);
    read(disk, a, |offset, part| {
        let theirs = theirs.get_mut(..part.len()).unwrap_or_default();
        same = other.read_at(offset, theirs).map_err(wrong)? == part.len() && theirs == part;
        Ok(same)
    })?;
    Ok(same)
}
