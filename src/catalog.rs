//! The manifest as a file: loading the current one, committing the next, what each file is called.
//!
//! A commit is seen whole or not at all: `manifest-<generation>` is durable before `CURRENT` is
//! replaced by one rename. `format-spec/06-manifest.md` has the order of steps.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, SharedBytes, temporary};
use crate::error::{Error, ErrorKind, Result};
use crate::event::StreamKey;
use crate::format::manifest::{
    Contents, SegmentEntry, StreamEntry, check_len, decode, decode_current, encode, encode_current,
    segment_slice,
};
use crate::limit;
use crate::quantity::Day;

/// Bytes of the `CURRENT` file at most.
const CURRENT_BYTES_MAX: u64 = 256;
/// How often a reader starts over because a commit overtook it.
const LOAD_TRIES: usize = 8;

/// One manifest: the segments of one generation of a store. Its file stays mapped and pinned, so
/// that no file it names is removed while it is held.
pub struct Manifest {
    bytes: SharedBytes,
    segments: Range<usize>,
    contents: Contents,
    crc: u32,
    _pin: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Manifest({})", self.contents.generation)
    }
}

/// Where a segment lies in the store folder.
#[must_use]
pub fn segment_path(root: &Path, stream_id: u32, day: Day, segment_id: u64) -> PathBuf {
    let folder = root.join("segments").join(stream_id.to_string()).join(day.to_string());
    folder.join(format!("{segment_id}.seg"))
}

fn current_path(root: &Path) -> PathBuf {
    root.join("CURRENT")
}

fn manifest_path(root: &Path, generation: u64) -> PathBuf {
    root.join(format!("manifest-{generation}"))
}

/// What a name in a store folder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The manifest of this generation.
    Manifest(u64),
    /// A segment file.
    Segment {
        /// Number of the segment.
        id: u64,
        /// Whether it is still being written, or was when its writer ended.
        unfinished: bool,
    },
    /// Another name that a store gives.
    Own,
    /// No store gives this name: nobody opens, renames or deletes what has it.
    Stranger,
}

impl Name {
    /// The name that the last of `parts` is, the others being the folders below the store's.
    fn of(parts: &[String], is_folder: bool) -> Self {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let own = |known: bool| if known { Self::Own } else { Self::Stranger };
        match (&*parts, is_folder) {
            (["segments" | "journal" | "quarantine"], true) => Self::Own,
            (["segments", stream], true) => own(number(stream).is_some()),
            (["segments", _, day], true) => own(is_day(day)),
            (["journal", file], false) => {
                own(finished(file).0.strip_suffix(".jnl").and_then(number).is_some())
            }
            (["LOCK" | "CURRENT" | "CURRENT.tmp"], false) => Self::Own,
            (["segments", _, _, file], false) => {
                let (name, unfinished) = finished(file);
                let id = name.strip_suffix(".seg").and_then(number);
                id.map_or(Self::Stranger, |id| Self::Segment { id, unfinished })
            }
            ([file], false) => {
                let (name, unfinished) = finished(file);
                match name.strip_prefix("manifest-").and_then(number) {
                    Some(generation) if !unfinished => Self::Manifest(generation),
                    generation => own(generation.is_some()),
                }
            }
            _ => Self::Stranger,
        }
    }
}

/// A decimal number as a store writes it: no sign, no leading zeros.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// Whether the text looks like `2024-08-08`.
fn is_day(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(fits)
}

/// The name without the ending of [`temporary`], and whether it had it.
fn finished(name: &str) -> (&str, bool) {
    name.strip_suffix(".tmp").map_or((name, false), |name| (name, true))
}

/// Every name in a store folder. What is in folders of strangers and in `quarantine` is left out.
///
/// # Errors
/// [`ErrorKind::Io`] if a folder cannot be listed.
pub fn names(disk: &dyn Disk, root: &Path) -> Result<Vec<(PathBuf, Name)>> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), Vec::new())];
    while let Some((folder, parts)) = folders.pop() {
        for (path, is_folder) in
            disk.list(&folder).map_err(|e| Error::io(e, "list folder", &folder))?
        {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let parts: Vec<String> = parts.iter().cloned().chain([name.to_owned()]).collect();
            let name = Name::of(&parts, is_folder);
            let searched = |top: &String| matches!(top.as_str(), "segments" | "journal");
            if is_folder && name == Name::Own && parts.first().is_some_and(searched) {
                folders.push((path.clone(), parts));
            }
            found.push((path, name));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

impl Manifest {
    /// Loads the manifest that `CURRENT` names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the folder is no store; [`ErrorKind::Corrupt`] with file and
    /// offset; [`ErrorKind::Stale`] if commits keep overtaking.
    pub fn load(disk: &dyn Disk, root: &Path) -> Result<Self> {
        for _ in 0..LOAD_TRIES {
            if let Some(manifest) = Self::try_load(disk, root)? {
                return Ok(manifest);
            }
        }
        Err(Error::new(ErrorKind::Stale, "commits keep overtaking the reader").at_path(root))
    }

    fn try_load(disk: &dyn Disk, root: &Path) -> Result<Option<Self>> {
        let (generation, crc) = read_current(disk, root)?;
        let path = manifest_path(root, generation);
        let pin =
            match disk.pin(&path) {
                Ok(Some(pin)) => pin,
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return match read_current(disk, root)?.0 == generation {
                        true => Err(Error::corrupt("CURRENT names a manifest that is not there")
                            .at_path(&path)),
                        false => Ok(None),
                    };
                }
                Err(error) => return Err(Error::io(error, "open manifest", &path)),
            };
        // Pinned, but perhaps after its name was removed: then what it names may be gone too.
        let Ok(len) = disk.len(&path) else { return Ok(None) };
        check_len(len).map_err(|fault| Error::from(fault).at_path(&path))?;
        let bytes = disk.map(&path).map_err(|e| Error::io(e, "map manifest", &path))?;
        let file = (*bytes).as_ref();
        let (contents, segments) = decode(file).map_err(|f| Error::from(f).at_path(&path))?;
        let found = crc32fast::hash(file);
        if found != crc || contents.generation != generation {
            return Err(Error::corrupt(format!(
                "manifest is not the one CURRENT names: expected checksum {crc:#x}, \
                 found {found:#x}"
            ))
            .at_path(&path));
        }
        Ok(Some(Self { bytes, segments, contents, crc, _pin: pin }))
    }

    /// Whether `CURRENT` still names this manifest. Costs one small read.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub fn is_current(&self, disk: &dyn Disk, root: &Path) -> Result<bool> {
        Ok(read_current(disk, root)? == (self.contents.generation, self.crc))
    }

    /// What the manifest says apart from its segments.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// All segments, by stream and time; in the map itself.
    #[must_use]
    pub fn segments(&self) -> &[SegmentEntry] {
        segment_slice((*self.bytes).as_ref().get(self.segments.clone()).unwrap_or_default())
    }

    /// The segments of one stream, by time.
    #[must_use]
    pub fn stream_segments(&self, stream_id: u32) -> &[SegmentEntry] {
        let all = self.segments();
        let start = all.partition_point(|entry| entry.stream_id < stream_id);
        let end = all.partition_point(|entry| entry.stream_id <= stream_id);
        &all[start..end]
    }

    /// The stream called `key`.
    #[must_use]
    pub fn stream(&self, key: &StreamKey) -> Option<&StreamEntry> {
        self.contents.streams.iter().find(|stream| stream.key == *key)
    }
}

fn read_current(disk: &dyn Disk, root: &Path) -> Result<(u64, u32)> {
    let path = current_path(root);
    let bytes = disk.read(&path, CURRENT_BYTES_MAX).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return Error::not_found("this folder is no tickreel store (no file CURRENT)")
                .at_path(root);
        }
        Error::io(error, "read CURRENT", &path)
    })?;
    decode_current(&bytes).map_err(|fault| Error::from(fault).at_path(&path))
}

/// Whether the folder holds a store.
///
/// # Errors
/// [`ErrorKind::Io`] if that cannot be told.
pub fn is_store(disk: &dyn Disk, root: &Path) -> Result<bool> {
    let path = current_path(root);
    match disk.len(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(error, "look for CURRENT", &path)),
    }
}

/// Makes a manifest the current one. The caller holds the store's lock, and everything the manifest
/// names is durable.
///
/// # Errors
/// [`ErrorKind::Io`] if a step fails: the store is then as before, or, if it was one of the last
/// steps, as after; only loading it tells. [`ErrorKind::Limit`] if the manifest is too large.
pub fn commit(
    disk: &dyn Disk,
    root: &Path,
    contents: &Contents,
    segments: &[SegmentEntry],
) -> Result<()> {
    let bytes = encode(contents, segments);
    if bytes.len() as u64 > limit::MANIFEST_BYTES_MAX {
        let limit = limit::MANIFEST_BYTES_MAX;
        return Err(Error::limit("bytes of the next manifest:", bytes.len(), limit));
    }
    let path = manifest_path(root, contents.generation);
    write_durably(disk, &path, &bytes, "manifest")?;
    disk.make_read_only(&path).map_err(|e| Error::io(e, "seal manifest", &path))?;
    disk.sync_folder(root).map_err(|e| Error::io(e, "sync folder", root))?;
    let current = encode_current(contents.generation, crc32fast::hash(&bytes));
    write_durably(disk, &current_path(root), current.as_bytes(), "CURRENT")?;
    disk.sync_folder(root).map_err(|e| Error::io(e, "sync folder", root))
}

/// Writes a file under a temporary name, syncs it and gives it its name.
///
/// # Errors
/// [`ErrorKind::Full`] or [`ErrorKind::Io`] if a step fails.
pub fn write_durably(disk: &dyn Disk, path: &Path, bytes: &[u8], what: &str) -> Result<()> {
    let temporary = temporary(path);
    let wrong = |verb: &str, e| Error::io(e, &format!("{verb} {what}"), &temporary);
    if disk.len(&temporary).is_ok() {
        disk.remove(&temporary).map_err(|e| wrong("remove old", e))?;
    }
    let mut file = disk.create(&temporary).map_err(|e| wrong("create", e))?;
    file.append(bytes).map_err(|e| wrong("write", e))?;
    file.sync().map_err(|e| wrong("sync", e))?;
    disk.rename(&temporary, path).map_err(|e| wrong("rename", e))
}

/// Removes manifests other than the current one that no reader holds; gives the segments that the
/// remaining ones name. The caller holds the store's lock.
///
/// # Errors
/// [`ErrorKind::Io`] if the folder cannot be listed; a file that cannot be removed stays.
pub fn remove_old_manifests(
    disk: &dyn Disk,
    root: &Path,
    current: &Manifest,
) -> Result<HashSet<u64>> {
    let mut used: HashSet<u64> = current.segments().iter().map(|e| e.segment_id).collect();
    let entries = disk.list(root).map_err(|e| Error::io(e, "list folder", root))?;
    for (path, is_folder) in &entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Name::Manifest(generation) = Name::of(&[name.to_owned()], *is_folder) else { continue };
        if generation == current.contents.generation {
            continue;
        }
        // One newer than the current is left from a commit that did not reach CURRENT.
        let newer = generation > current.contents.generation;
        match disk.unpinned(path) {
            Ok(Some(_lock)) => drop(disk.remove(path)),
            Ok(None) if newer => {}
            _ => keep_segments_of(disk, path, &mut used)?,
        }
    }
    Ok(used)
}

/// Removes old manifests as [`remove_old_manifests`] does, and files under `segments/` that no
/// remaining manifest names: what replaced segments and interrupted imports left behind.
///
/// Names that the store does not give are left alone. The caller holds the store's lock.
///
/// # Errors
/// [`ErrorKind::Io`] if a folder cannot be synced or listed, or a manifest that is held not read;
/// a file that cannot be removed stays.
pub fn remove_obsolete(disk: &dyn Disk, root: &Path, current: &Manifest) -> Result<()> {
    // A commit that was killed or failed may have replaced CURRENT and not made that durable: after
    // a crash the generation before it would be in force, and need all its files.
    disk.sync_folder(root).map_err(|e| Error::io(e, "sync folder", root))?;
    let used = remove_old_manifests(disk, root, current)?;
    for (path, name) in names(disk, root)? {
        if let Name::Segment { id, unfinished } = name
            && (unfinished || !used.contains(&id))
        {
            drop(disk.remove(&path));
        }
    }
    Ok(())
}

/// Adds the segments that a manifest held by some reader names.
fn keep_segments_of(disk: &dyn Disk, path: &Path, used: &mut HashSet<u64>) -> Result<()> {
    let bytes = match disk.map(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(error, "map manifest", path)),
    };
    let file = (*bytes).as_ref();
    let (_, segments) = decode(file).map_err(|fault| Error::from(fault).at_path(path))?;
    let entries = segment_slice(file.get(segments).unwrap_or_default());
    used.extend(entries.iter().map(|entry| entry.segment_id));
    Ok(())
}
