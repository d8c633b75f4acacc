//! The on-disk structures as plain values; bytes in, values or a [`Fault`] out.
//!
//! `format-spec/` is the definition. Each structure is one `repr(C)` struct of little-endian
//! integers; decoding is `parse` (long enough, right magic) then `check` (version, checksum,
//! reserved bytes, ranges, relations). Nothing here opens a file or allocates by a stored length.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

#[cfg(target_endian = "big")]
compile_error!("the format is little-endian and mapped in place");

pub mod checkpoint;
pub mod journal;
pub mod manifest;
pub mod segment;

use bytemuck::Pod;

/// Every region of a file starts at a multiple of this many bytes.
pub const ALIGNMENT: usize = 64;

/// `len` rounded up to the next region start.
#[must_use]
pub const fn aligned(len: u64) -> u64 {
    len.next_multiple_of(ALIGNMENT as u64)
}

/// Bytes that contradict checksum or specification: where, what, expected and found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Offset in the file, bytes.
    pub at: u64,
    /// What is wrong.
    pub what: &'static str,
    /// Whether a newer version could mean it, so that it is refused but not damage.
    pub unsupported: bool,
    /// Expected and found number, where there are two.
    pub numbers: Option<(u64, u64)>,
}

impl Fault {
    pub(crate) const fn new(at: u64, what: &'static str) -> Self {
        Self { at, what, unsupported: false, numbers: None }
    }

    pub(crate) const fn unsupported(at: u64, what: &'static str) -> Self {
        Self { unsupported: true, ..Self::new(at, what) }
    }

    pub(crate) const fn expected(mut self, expected: u64, found: u64) -> Self {
        self.numbers = Some((expected, found));
        self
    }
}

impl From<Fault> for crate::Error {
    fn from(fault: Fault) -> Self {
        let text = match fault.numbers {
            Some((expected, found)) => {
                format!("{}: expected {expected:#x}, found {found:#x}", fault.what)
            }
            None => fault.what.to_owned(),
        };
        let kind = if fault.unsupported {
            crate::ErrorKind::Unsupported
        } else {
            crate::ErrorKind::Corrupt
        };
        Self::new(kind, text).at_byte(fault.at)
    }
}

/// Result of decoding.
pub type Result<T> = std::result::Result<T, Fault>;

/// Which file bytes belong to: part of every checksum, so that a valid region of another file or
/// another place is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Random number of the store.
    pub store_id: u64,
    /// Number of the segment in its store.
    pub segment_id: u64,
}

/// What a checksummed region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Region {
    /// Page entries of one block; index = block.
    BlockDirectory = 1,
    /// One page; index = block x 256 + page.
    Page = 2,
    /// One checkpoint; index = its place in the checkpoint index.
    Checkpoint = 3,
    /// All block entries; index 0.
    BlockIndex = 4,
    /// All checkpoint entries; index 0.
    CheckpointIndex = 5,
    /// Columns and their names; index 0.
    Schema = 6,
}

/// CRC-32 of a region with its identity in front.
#[must_use]
pub fn checksum(identity: Identity, region: Region, index: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&identity.store_id.to_le_bytes());
    hasher.update(&identity.segment_id.to_le_bytes());
    hasher.update(&(region as u64).to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The value at byte `at`, copied; `None` if it does not lie inside.
pub(crate) fn read<T: Pod>(bytes: &[u8], at: usize) -> Option<T> {
    bytes.get(at..at.checked_add(size_of::<T>())?).map(bytemuck::pod_read_unaligned)
}

/// The bytes of a structure with its own checksum field set to 0, and their CRC-32.
pub(crate) fn own_checksum<T: Pod>(value: &T, crc_at: usize) -> u32 {
    let bytes = bytemuck::bytes_of(value);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..crc_at).unwrap_or_default());
    hasher.update(&[0; 4]);
    hasher.update(bytes.get(crc_at + 4..).unwrap_or_default());
    hasher.finalize()
}
