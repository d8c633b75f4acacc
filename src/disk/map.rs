//! Read-only maps of sealed files.
#![allow(unsafe_code, reason = "the one place that maps files")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// A read-only map of a **sealed** file.
///
/// # The rule that makes this sound
/// A sealed file is never written, truncated or replaced in place: not by this program (sealed
/// files are mode 0444 and opened read-only, replacement is by rename), not by its tools, and not
/// by the operator (`README.md`, "Rules for the store folder"). Removing a name is allowed: the map
/// keeps the file alive. If somebody breaks the rule by shortening a file, the kernel stops the
/// process with SIGBUS; it does not read foreign memory.
pub struct Mapped(Option<Mmap>);

impl Mapped {
    /// Maps a whole sealed file.
    ///
    /// # Errors
    /// The operating system cannot map it.
    pub fn new(sealed: &File) -> io::Result<Self> {
        if sealed.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the file is sealed; by the rule above nobody changes its bytes or length while
        // the map lives. The map is private to this type and only ever read.
        let map = unsafe { Mmap::map(sealed)? };
        Ok(Self(Some(map)))
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Bytes on the heap, aligned as a map is: what a disk without maps gives.
pub struct HeapBytes {
    words: Vec<[u64; 8]>,
    len: usize,
}

impl HeapBytes {
    /// A copy of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![[0; 8]; bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { words, len: bytes.len() }
    }
}

impl AsRef<[u8]> for HeapBytes {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }
}
