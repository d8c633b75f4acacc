//! Makes the checksums of changed files right again, so that what is behind them is reached.
//!
//! Everything here may meet any bytes: what does not lie inside the file is left as it is.

use std::mem::offset_of;

use bytemuck::Pod;
use tickreel::format::journal::{self, FrameHead};
use tickreel::format::manifest;
use tickreel::format::segment::{BlockEntry, CheckpointEntry, Footer, Header, PageEntry};
use tickreel::format::{Identity, Region, aligned, checksum};

fn read<T: Pod>(bytes: &[u8], at: usize) -> Option<T> {
    bytes.get(at..at.checked_add(size_of::<T>())?).map(bytemuck::pod_read_unaligned)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = at.checked_add(4).and_then(|end| bytes.get_mut(at..end)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// CRC-32 of a structure with its own checksum field as 0.
fn fix_own(bytes: &mut [u8], at: usize, len: usize, crc_at: usize) {
    put(bytes, at + crc_at, 0);
    if let Some(own) = at.checked_add(len).and_then(|end| bytes.get(at..end)) {
        let crc = crc32fast::hash(own);
        put(bytes, at + crc_at, crc);
    }
}

fn region(file: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(at).ok()?;
    file.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

/// Every checksum of a segment file.
pub fn segment(file: &mut [u8]) {
    if let Some(header) = read::<Header>(file, 0) {
        let identity = Identity { store_id: header.store_id, segment_id: header.segment_id };
        fix_own(file, 0, size_of::<Header>(), offset_of!(Header, header_crc));
        let end = file.len().saturating_sub(size_of::<Footer>());
        if let Some(footer) = read::<Footer>(file, end) {
            fix_blocks(file, identity, &footer);
            fix_checkpoints(file, identity, &footer);
            let schema_len = aligned(footer.schema_len.into());
            let block_len = u64::from(footer.block_count) * size_of::<BlockEntry>() as u64;
            let checkpoint_len =
                u64::from(footer.checkpoint_count) * size_of::<CheckpointEntry>() as u64;
            let regions = [
                (Region::Schema, footer.schema_offset, schema_len, offset_of!(Footer, schema_crc)),
                (
                    Region::BlockIndex,
                    footer.block_index_offset,
                    block_len,
                    offset_of!(Footer, block_index_crc),
                ),
                (
                    Region::CheckpointIndex,
                    footer.checkpoint_index_offset,
                    checkpoint_len,
                    offset_of!(Footer, checkpoint_index_crc),
                ),
            ];
            for (kind, at, len, crc_at) in regions {
                let crc = region(file, at, len).map(|bytes| checksum(identity, kind, 0, bytes));
                crc.into_iter().for_each(|crc| put(file, end + crc_at, crc));
            }
            fix_own(file, end, size_of::<Footer>(), offset_of!(Footer, footer_crc));
        }
    }
}

fn fix_blocks(file: &mut [u8], identity: Identity, footer: &Footer) {
    for number in 0..u64::from(footer.block_count).min(64) {
        let entry_at = footer.block_index_offset.saturating_add(number * 128) as usize;
        let Some(block) = read::<BlockEntry>(file, entry_at) else { return };
        let pages = u64::from(block.page_count).min(16);
        for index in 0..pages {
            let page_at = block.offset.saturating_add(index * 32) as usize;
            let Some(page) = read::<PageEntry>(file, page_at) else { break };
            let at = block.offset.saturating_add(page.offset.into());
            let place = number << 8 | index;
            let crc = region(file, at, aligned(page.len.into()))
                .map(|bytes| checksum(identity, Region::Page, place, bytes));
            let crc_at = page_at.saturating_add(offset_of!(PageEntry, crc));
            crc.into_iter().for_each(|crc| put(file, crc_at, crc));
        }
        let crc = region(file, block.offset, aligned(pages * 32))
            .map(|bytes| checksum(identity, Region::BlockDirectory, number, bytes));
        let crc_at = entry_at.saturating_add(offset_of!(BlockEntry, directory_crc));
        crc.into_iter().for_each(|crc| put(file, crc_at, crc));
    }
}

fn fix_checkpoints(file: &mut [u8], identity: Identity, footer: &Footer) {
    for index in 0..u64::from(footer.checkpoint_count).min(64) {
        let entry_at = footer.checkpoint_index_offset.saturating_add(index * 64) as usize;
        let Some(entry) = read::<CheckpointEntry>(file, entry_at) else { return };
        let crc = region(file, entry.offset, aligned(entry.len.into()))
            .map(|bytes| checksum(identity, Region::Checkpoint, index, bytes));
        let crc_at = entry_at.saturating_add(offset_of!(CheckpointEntry, crc));
        crc.into_iter().for_each(|crc| put(file, crc_at, crc));
    }
}

/// Every checksum of a manifest.
pub fn manifest(file: &mut [u8]) {
    let Some(header) = read::<manifest::Header>(file, 0) else { return };
    let start = size_of::<manifest::Header>() as u64;
    let streams = region(file, start, header.streams_len.into()).map(crc32fast::hash);
    let segments_len = u64::from(header.segment_count) * 128;
    let segments = region(file, header.segments_offset, segments_len).map(crc32fast::hash);
    for (crc, at) in [
        (streams, offset_of!(manifest::Header, streams_crc)),
        (segments, offset_of!(manifest::Header, segments_crc)),
    ] {
        crc.into_iter().for_each(|crc| put(file, at, crc));
    }
    fix_own(file, 0, size_of::<manifest::Header>(), offset_of!(manifest::Header, header_crc));
}

/// Every checksum of a journal file.
pub fn journal(file: &mut [u8]) {
    fix_own(file, 0, size_of::<journal::Header>(), offset_of!(journal::Header, header_crc));
    let mut at = size_of::<journal::Header>();
    while let Some(head) = read::<FrameHead>(file, at) {
        let len = head.len as usize;
        if len < size_of::<FrameHead>() || at.saturating_add(len) > file.len() {
            return;
        }
        fix_own(file, at, len, offset_of!(FrameHead, crc));
        at += len;
    }
}

/// For what has no checksum.
pub fn none(_: &mut [u8]) {}
