//! Good vectors with one thing wrong.
//!
//! Where a later check is to be met, the checksums above it are made right again, as a program
//! that writes wrong files would.

use tickreel::codec::{Encoding, IntegerPage};
use tickreel::event::{Batch, ContentHash, book};
use tickreel::format::segment::{BlockEntry, CheckpointEntry, Footer};
use tickreel::format::{Identity, Region, checkpoint, checksum, manifest};
use tickreel::quantity::NULL;
use tickreel::segment::ColumnMask;
use tickreel::{Error, ErrorKind};

use crate::describe::{self, Toml};
use crate::segments::{self, IDENTITY};
use crate::{Vector, bad_journals};

/// Bytes of a good vector, being changed.
struct Damage {
    bytes: Vec<u8>,
}

impl Damage {
    fn of(name: &str) -> Self {
        Self { bytes: crate::file(&format!("{name}.bin")) }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn flip(&mut self, at: usize) {
        self.bytes[at] ^= 1;
    }

    fn footer_at(&self) -> usize {
        self.bytes.len() - size_of::<Footer>()
    }

    fn footer(&self) -> Footer {
        bytemuck::pod_read_unaligned(&self.bytes[self.footer_at()..])
    }

    fn block(&self, number: usize) -> (usize, BlockEntry) {
        let at = self.footer().block_index_offset as usize + number * size_of::<BlockEntry>();
        (at, bytemuck::pod_read_unaligned(&self.bytes[at..at + size_of::<BlockEntry>()]))
    }

    fn checkpoint(&self, number: usize) -> (usize, CheckpointEntry) {
        let size = size_of::<CheckpointEntry>();
        let at = self.footer().checkpoint_index_offset as usize + number * size;
        (at, bytemuck::pod_read_unaligned(&self.bytes[at..at + size]))
    }

    /// Makes a structure's own checksum right.
    fn seal(&mut self, at: usize, len: usize, crc_at: usize) {
        seal(&mut self.bytes, at, len, crc_at);
    }

    fn seal_header(&mut self) {
        self.seal(0, 64, 12);
    }

    fn seal_footer(&mut self) {
        self.seal(self.footer_at(), size_of::<Footer>(), 12);
    }

    /// Makes the checksums of both indexes right, and then that of the footer.
    fn seal_indexes(&mut self) {
        let footer = self.footer();
        let regions = [
            (Region::BlockIndex, footer.block_index_offset, footer.block_count * 128, 108),
            (
                Region::CheckpointIndex,
                footer.checkpoint_index_offset,
                footer.checkpoint_count * 64,
                116,
            ),
        ];
        for (region, offset, len, crc_at) in regions {
            let bytes = &self.bytes[offset as usize..][..len as usize];
            let crc = checksum(IDENTITY, region, 0, bytes);
            self.put(self.footer_at() + crc_at, &crc.to_le_bytes());
        }
        self.seal_footer();
    }

    /// Makes the checksum of a block's directory right, and then those above it.
    fn seal_directory(&mut self, number: usize) {
        let (at, block) = self.block(number);
        let len = (block.page_count as usize * 32).next_multiple_of(64);
        let bytes = &self.bytes[block.offset as usize..][..len];
        let crc = checksum(IDENTITY, Region::BlockDirectory, number as u64, bytes);
        self.put(at + 100, &crc.to_le_bytes());
        self.seal_indexes();
    }

    /// Makes the checksum of the schema right, and then that of the footer.
    fn seal_schema(&mut self) {
        let footer = self.footer();
        let region = footer.schema_offset as usize..footer.block_index_offset as usize;
        let crc = checksum(IDENTITY, Region::Schema, 0, &self.bytes[region]);
        self.put(self.footer_at() + 100, &crc.to_le_bytes());
        self.seal_footer();
    }

    /// Makes both checksums of a manifest's regions right, and then that of its header.
    fn seal_manifest(&mut self) {
        let header: manifest::Header = bytemuck::pod_read_unaligned(&self.bytes[..128]);
        let streams = &self.bytes[128..][..header.streams_len as usize];
        let segments = &self.bytes[header.segments_offset as usize..];
        let (streams, segments) = (crc32fast::hash(streams), crc32fast::hash(segments));
        self.put(52, &streams.to_le_bytes());
        self.put(56, &segments.to_le_bytes());
        self.seal(0, 128, 12);
    }

    /// Sets the value of a column in a segment of one row, whose page of it is constant, and makes
    /// the content hash and every checksum right.
    fn set_value(&mut self, column: usize, value: i64) {
        let (_, block) = self.block(0);
        let page = block.offset as usize + (1 + column) * 32;
        assert_eq!(self.bytes[page + 17], Encoding::Constant as u8);
        let start = u32::from_le_bytes(self.bytes[page..page + 4].try_into().unwrap()) as usize;
        self.put(block.offset as usize + start, &value.to_le_bytes());
        self.seal_page(0, 1 + column);
        let segment = segments::open(&self.bytes).unwrap();
        let batch = Batch::new(segment.kind());
        let batch = segment.read(0, 0..1, ColumnMask::ALL, batch).unwrap();
        let mut hash = ContentHash::EMPTY;
        hash.update_all(&batch);
        self.put(self.footer_at() + 64, &hash.value().to_le_bytes());
        self.seal_footer();
    }

    /// Makes the checksum of a page right, and then those above it.
    fn seal_page(&mut self, number: usize, page: usize) {
        let (_, block) = self.block(number);
        let entry = block.offset as usize + page * 32;
        let word = |at: usize| {
            u32::from_le_bytes(self.bytes[entry + at..entry + at + 4].try_into().unwrap()) as usize
        };
        let (start, len) = (block.offset as usize + word(0), word(4).next_multiple_of(64));
        let index = (number << 8 | page) as u64;
        let crc = checksum(IDENTITY, Region::Page, index, &self.bytes[start..start + len]);
        self.put(entry + 8, &crc.to_le_bytes());
        self.seal_directory(number);
    }
}

/// Makes the own checksum of a structure in `bytes` right.
pub fn seal(bytes: &mut [u8], at: usize, len: usize, crc_at: usize) {
    let structure = &mut bytes[at..at + len];
    structure[crc_at..crc_at + 4].fill(0);
    let crc = crc32fast::hash(structure);
    structure[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// What reading the whole file reports.
fn read(form: &str, bytes: &[u8]) -> tickreel::Result<()> {
    match form {
        "segment" => segments::open(bytes)?.verify(None).map(|_| ()),
        "manifest" => manifest::decode(bytes).map(|_| ()).map_err(Error::from),
        "checkpoint" => checkpoint::decode(bytes, 0).map(|_| ()).map_err(Error::from),
        _ => manifest::decode_current(bytes).map(|_| ()).map_err(Error::from),
    }
}

/// A damaged copy of the good vector `like`, whose reading must report `fault`.
fn bad(
    name: &str,
    like: &str,
    change: &str,
    fault: &str,
    damage: impl FnOnce(&mut Damage),
) -> Vector {
    let form = like.split('-').next().unwrap();
    let mut damaged = Damage::of(like);
    damage(&mut damaged);
    let error = read(form, &damaged.bytes).expect_err(name);
    vector(name, form, damaged.bytes, [like, change, fault], &error, |_| ())
}

/// A damaged copy of the page of integers `like`, whose reading must report `fault`.
fn bad_page(
    name: &str,
    like: &str,
    (encoding, count): (Encoding, usize),
    change: &str,
    fault: &str,
    damage: impl FnOnce(&mut Damage),
) -> Vector {
    let mut damaged = Damage::of(like);
    damage(&mut damaged);
    let error = IntegerPage::parse(&damaged.bytes, encoding, count, 8)
        .and_then(|page| page.read(0..count, &mut Vec::new()))
        .expect_err(name);
    let error = Error::corrupt(error.0).at_byte(0);
    vector(name, "integer page", damaged.bytes, [like, change, fault], &error, |toml| {
        toml.text("encoding", describe::encoding(encoding));
        toml.number("plain_bytes", 8);
        toml.number("count", count);
    })
}

/// The bad vector whose reading gave `error`, described by `[like, change, fault]` and `more`.
pub fn vector(
    name: &str,
    form: &str,
    bytes: Vec<u8>,
    [like, change, fault]: [&str; 3],
    error: &Error,
    more: impl FnOnce(&mut Toml),
) -> Vector {
    assert!(error.text().contains(fault), "{name}: {error}");
    let kind = match error.kind() {
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Unsupported => "unsupported",
        other => panic!("{name}: {other:?}"),
    };
    let mut toml = Toml::default();
    toml.text("form", form);
    more(&mut toml);
    toml.text("like", like);
    toml.text("change", change);
    toml.text("kind", kind);
    toml.text("fault", fault);
    toml.number("offset", error.byte_offset().unwrap());
    toml.text("error", error.text());
    Vector::new(&format!("bad-{name}"), bytes, toml.finish())
}

const SMALL: &str = "segment-book-small";
const ORDERS: &str = "segment-orders-small";
const ONE: &str = "segment-book-one-row";

pub fn vectors() -> Vec<Vector> {
    let mut vectors = headers_and_footers();
    vectors.extend(indexes());
    vectors.extend(blocks());
    vectors.extend(rows());
    vectors.extend(summaries());
    vectors.extend(pages());
    vectors.extend(others());
    vectors.extend(bad_journals::vectors());
    vectors
}

fn headers_and_footers() -> Vec<Vector> {
    vec![
        bad("magic", ONE, "byte 3 of the magic", "not a segment file (magic)", |d| d.flip(3)),
        bad(
            "newer-major",
            ONE,
            "version_major 2, checksum right",
            "segment version is newer than this reader",
            |d| {
                d.put(8, &[2]);
                d.seal_header();
            },
        ),
        bad("header-crc", ONE, "one bit of the day", "checksum of the segment header", |d| {
            d.flip(36);
        }),
        bad(
            "header-reserved",
            ONE,
            "a reserved byte is 1, checksum right",
            "reserved bytes of the segment header are not 0",
            |d| {
                d.put(63, &[1]);
                d.seal_header();
            },
        ),
        bad(
            "kind",
            ONE,
            "kind 99, checksum right",
            "segment of an unknown kind, newer than this reader",
            |d| {
                d.put(40, &[99]);
                d.seal_header();
            },
        ),
        bad(
            "header-day",
            ONE,
            "day 106,752, checksum right",
            "no time is of the day of the segment header",
            |d| {
                d.put(36, &106_752i32.to_le_bytes());
                d.seal_header();
            },
        ),
        bad("footer-magic", ONE, "footer magic", "no footer at the end of the file (magic)", |d| {
            let at = d.footer_at();
            d.flip(at);
        }),
        bad("footer-crc", ONE, "one bit of the content hash", "checksum of the footer", |d| {
            let at = d.footer_at() + 64;
            d.flip(at);
        }),
        bad(
            "footer-reserved",
            ONE,
            "a reserved byte is 1, checksum right",
            "reserved bytes of the footer are not 0",
            |d| {
                let at = d.footer_at() + 191;
                d.put(at, &[1]);
                d.seal_footer();
            },
        ),
        bad(
            "regions",
            ONE,
            "block index and checkpoint index have changed places in the footer, checksum right",
            "regions of the segment are not in order",
            |d| {
                let (at, footer) = (d.footer_at(), d.footer());
                d.put(at + 80, &footer.checkpoint_index_offset.to_le_bytes());
                d.put(at + 88, &footer.block_index_offset.to_le_bytes());
                d.seal_footer();
            },
        ),
        bad(
            "cut",
            ONE,
            "the last 64 bytes are gone",
            "no footer at the end of the file (magic)",
            |d| {
                d.bytes.truncate(d.bytes.len() - 64);
            },
        ),
        bad(
            "footer-of-another",
            ONE,
            "the header is that of segment 6",
            "footer belongs to another segment",
            |d| {
                d.put(24, &[6]);
                d.seal_header();
            },
        ),
        bad(
            "identity",
            ONE,
            "header and footer say store 1, the regions are of another",
            "checksum of the schema",
            |d| {
                let other = Identity { store_id: 1, ..IDENTITY };
                let at = d.footer_at() + 136;
                d.put(16, &other.store_id.to_le_bytes());
                d.put(at, &other.store_id.to_le_bytes());
                d.seal_header();
                d.seal_footer();
            },
        ),
        bad(
            "content-hash",
            ONE,
            "another content hash in the footer, checksum right",
            "content hash of all rows",
            |d| {
                let at = d.footer_at() + 64;
                d.flip(at);
                d.seal_footer();
            },
        ),
    ]
}

fn indexes() -> Vec<Vector> {
    vec![
        bad("schema-crc", ONE, "a letter of a name", "checksum of the schema", |d| {
            let at = d.footer().schema_offset as usize + 64;
            d.flip(at);
        }),
        bad(
            "scale",
            ONE,
            "column ts_recv has scale 1, checksums right",
            "scale of a column",
            |d| {
                let at = d.footer().schema_offset as usize + 64 + 34;
                d.put(at, &[1]);
                d.seal_schema();
            },
        ),
        bad(
            "digits",
            ONE,
            "column venue_seq has digits 1, checksums right",
            "scale of a column",
            |d| {
                let at = d.footer().schema_offset as usize + 64 * 8 + 35;
                d.put(at, &[1]);
                d.seal_schema();
            },
        ),
        bad(
            "block-unknown-flags",
            ONE,
            "the block has flag 4, checksums right",
            "block with unknown flags",
            |d| {
                let (at, block) = d.block(0);
                d.put(at + 104, &(block.flags | 4).to_le_bytes());
                d.seal_indexes();
            },
        ),
        bad("block-index-crc", ONE, "a zone", "checksum of the block index", |d| {
            let (at, _) = d.block(0);
            d.flip(at + 56);
        }),
        bad(
            "block-index-reserved",
            ONE,
            "a reserved byte is 1, checksums right",
            "block index is not in order",
            |d| {
                let (at, _) = d.block(0);
                d.put(at + 127, &[1]);
                d.seal_indexes();
            },
        ),
        bad(
            "block-index-order",
            ORDERS,
            "entries 0 and 1 have changed places, checksums right",
            "block index is not in order",
            |d| {
                let ((at1, first), (at2, second)) = (d.block(0), d.block(1));
                d.put(at1, bytemuck::bytes_of(&second));
                d.put(at2, bytemuck::bytes_of(&first));
                d.seal_indexes();
            },
        ),
        bad(
            "block-len",
            ONE,
            "the block claims 4,294,967,232 bytes, checksums right",
            "block index is not in order",
            |d| {
                let (at, _) = d.block(0);
                d.put(at + 88, &0xffff_ffc0_u32.to_le_bytes());
                d.seal_indexes();
            },
        ),
        bad("checkpoint-index-crc", ONE, "a row", "checksum of the checkpoint index", |d| {
            let (at, _) = d.checkpoint(0);
            d.flip(at);
        }),
        bad(
            "checkpoint-order",
            SMALL,
            "entries 1 and 2 have changed places, checksums right",
            "checkpoint index is not in order",
            |d| {
                let ((at1, first), (at2, second)) = (d.checkpoint(1), d.checkpoint(2));
                d.put(at1, bytemuck::bytes_of(&second));
                d.put(at2, bytemuck::bytes_of(&first));
                d.seal_indexes();
            },
        ),
        bad("checkpoint-crc", ONE, "one bit of the state", "checksum of a checkpoint", |d| {
            let (_, entry) = d.checkpoint(0);
            d.flip(entry.offset as usize);
        }),
    ]
}

fn blocks() -> Vec<Vector> {
    vec![
        bad(
            "swapped-blocks",
            ORDERS,
            "blocks 0 and 1, of one length, have changed places; the index has not",
            "checksum of a block directory",
            |d| {
                let ((_, first), (_, second)) = (d.block(0), d.block(1));
                assert_eq!(first.len, second.len);
                for at in 0..first.len as usize {
                    d.bytes.swap(first.offset as usize + at, second.offset as usize + at);
                }
            },
        ),
        bad("directory-crc", ONE, "a page's length", "checksum of a block directory", |d| {
            d.flip(64 + 4);
        }),
        bad("page-crc", ONE, "a price", "checksum of a page", |d| {
            let (_, block) = d.block(0);
            let at = block.offset as usize + 6 * 32;
            let start = u32::from_le_bytes(d.bytes[at..at + 4].try_into().unwrap());
            d.flip(block.offset as usize + start as usize);
        }),
        bad("page-padding", ONE, "a byte after the end of a page", "checksum of a page", |d| {
            let (_, block) = d.block(0);
            d.flip((block.offset + u64::from(block.len)) as usize - 1);
        }),
        bad(
            "page-len",
            ONE,
            "a page claims 4,294,967,295 bytes, checksums right",
            "pages of a block are not in order",
            |d| {
                d.put(64 + 4, &u32::MAX.to_le_bytes());
                d.seal_directory(0);
            },
        ),
        bad(
            "page-count",
            ONE,
            "a page claims 4,294,967,295 values, checksums right",
            "page has another value count than its block",
            |d| {
                d.put(64 + 12, &u32::MAX.to_le_bytes());
                d.seal_directory(0);
            },
        ),
        bad(
            "page-reserved",
            ONE,
            "a reserved byte of a page entry is 1, checksums right",
            "a page is not that of its column",
            |d| {
                d.put(64 + 31, &[1]);
                d.seal_directory(0);
            },
        ),
        bad("encoding", ONE, "encoding 200, checksums right", "unknown encoding", |d| {
            d.put(64 + 17, &[200]);
            d.seal_directory(0);
        }),
        bad(
            "ends",
            ONE,
            "the only message ends after row 2 of 1, checksums right",
            "message ends are not in order",
            first_message_ends_after_2,
        ),
        bad(
            "ends-short",
            ORDERS,
            "the only message of a block of 3 rows ends after 2, checksums right",
            "message ends are not in order",
            first_message_ends_after_2,
        ),
    ]
}

fn first_message_ends_after_2(d: &mut Damage) {
    let (_, block) = d.block(0);
    let at = block.offset as usize;
    let start = u32::from_le_bytes(d.bytes[at..at + 4].try_into().unwrap());
    d.put(at + start as usize, &[2]);
    d.seal_page(0, 0);
}

/// Rows that break a rule of the model, in a file whose checksums and content hash are right.
fn rows() -> Vec<Vector> {
    let row = |name: &str, change: &str, fault: &str, column, value| {
        bad(name, ONE, change, fault, |d| d.set_value(column, value))
    };
    let snapshot = "a snapshot does not begin with a reset";
    vec![
        bad(
            "day",
            ONE,
            "the header is of the next day",
            "receive times are not of the day of the header",
            |d| {
                d.put(36, &(segments::DAY + 1).to_le_bytes());
                d.seal_header();
            },
        ),
        row("code", "action 3", "a code has no name", book::ACTION, 3),
        row("null", "the price is null", "null in a column that has none", book::PRICE, NULL),
        row("flag-last", "LAST is stored", "a flag that is never stored", book::FLAGS, 1),
        row("flag-unknown", "flag 4 is stored", "a flag that is never stored", book::FLAGS, 4),
        row("snapshot", "SNAPSHOT is stored with a row that sets", snapshot, book::FLAGS, 2),
        row(
            "reset-price",
            "the action is reset, the row keeps its price",
            "a reset or gap with values of a level",
            book::ACTION,
            1,
        ),
    ]
}

/// What indexes and footer say of the rows is not so; checksums are right.
fn summaries() -> Vec<Vector> {
    let footer = |name: &str, change: &str, fault: &str, at: usize| {
        bad(name, ONE, change, fault, |d| {
            let at = d.footer_at() + at;
            d.flip(at);
            d.seal_footer();
        })
    };
    let block = |name: &str, change: &str, fault: &str, at: usize| {
        bad(name, ONE, change, fault, |d| {
            let (entry, _) = d.block(0);
            d.flip(entry + at);
            d.seal_indexes();
        })
    };
    vec![
        footer(
            "footer-times",
            "another last receive time in the footer",
            "receive times differ from the block index",
            40,
        ),
        footer(
            "footer-event-times",
            "another smallest event time in the footer",
            "event times differ from the block index",
            48,
        ),
        footer(
            "footer-flags",
            "the footer says that there is a gap",
            "flags differ from the block index",
            152,
        ),
        footer(
            "replay-rows-max",
            "the footer says that a seek replays no row",
            "rows that a seek replays at most",
            120,
        ),
        bad(
            "starts-with-reset",
            ONE,
            "the footer says that the first row is a reset",
            "flag of a reset at the start differs from the first row",
            |d| {
                let at = d.footer_at() + 152;
                d.put(at, &[4]);
                d.seal_footer();
            },
        ),
        bad(
            "block-times",
            ONE,
            "index and footer say an earlier first receive time",
            "receive times differ from the block index or go back",
            |d| {
                let ((entry, block), at) = (d.block(0), d.footer_at());
                let earlier = (block.ts_recv_first - 1).to_le_bytes();
                d.put(entry + 24, &earlier);
                d.put(at + 32, &earlier);
                d.seal_indexes();
            },
        ),
        bad(
            "block-event-times",
            ONE,
            "index and footer say an earlier event time",
            "event times differ from the block index",
            |d| {
                let ((entry, block), at) = (d.block(0), d.footer_at());
                let earlier = (block.ts_event_min - 1).to_le_bytes();
                d.put(entry + 40, &earlier);
                d.put(at + 48, &earlier);
                d.seal_indexes();
            },
        ),
        block(
            "zones",
            "another largest quantity in the block index",
            "zones or flags differ from the block index",
            80,
        ),
    ]
}

/// Pages alone.
fn pages() -> Vec<Vector> {
    let (like, page) = ("page-packed-short", (Encoding::Packed, 20));
    vec![
        bad_page(
            "group-offset",
            like,
            page,
            "the data of the group begins at 52",
            "data of a group does not begin at a multiple of 8",
            |d| d.put(32 + 16, &[52]),
        ),
        bad_page(
            "group-exception-bytes",
            like,
            page,
            "exception_bytes 1 without exceptions",
            "group without exceptions has bytes of an exception",
            |d| d.put(32 + 23, &[1]),
        ),
    ]
}

/// The manifest's part of [`others`] that is about single entries.
fn manifest_entries() -> Vec<Vector> {
    const LIKE: &str = "manifest-normal";
    let segment = |name: &str, change: &str, at: usize, value: &[u8]| {
        bad(name, LIKE, change, "a segment of the manifest is impossible", |d| {
            let entry = d.bytes.len() - 128;
            d.put(entry + at, value);
            d.seal_manifest();
        })
    };
    vec![
        bad(
            "manifest-kind",
            LIKE,
            "the first stream is of kind 99, checksums right",
            "stream of an unknown kind, newer than this reader",
            |d| {
                d.put(128 + 4, &[99]);
                d.seal_manifest();
            },
        ),
        segment("manifest-scale", "column ts_recv has scale 1, checksums right", 96, &[1]),
        segment(
            "manifest-day",
            "the last segment is of the next day, checksums right",
            12,
            &(segments::DAY + 1).to_le_bytes(),
        ),
        segment("manifest-flags", "a segment has flag 8, checksums right", 84, &[8]),
        bad(
            "manifest-same-segment",
            LIKE,
            "segments 2 and 3 have one number, checksums right",
            "two segments of the manifest have the same number",
            |d| {
                let entry = d.bytes.len() - 2 * 128;
                d.put(entry, &[8]);
                d.seal_manifest();
            },
        ),
        bad(
            "manifest-overlap",
            LIKE,
            "segment 1 is of the day and begins a second after segment 0, checksums right",
            "segments of a stream overlap in time",
            |d| {
                let entry = d.bytes.len() - 3 * 128;
                d.put(entry + 12, &segments::DAY.to_le_bytes());
                d.put(entry + 40, &(segments::NOON + 1_000_000_000).to_le_bytes());
                d.put(entry + 48, &(segments::NOON + 6_000_000_000).to_le_bytes());
                d.seal_manifest();
            },
        ),
        bad(
            "manifest-same-stream",
            LIKE,
            "the second stream is of the kind of the first, checksums right",
            "two streams of the manifest have the same name",
            |d| {
                // Two entries of one instrument stand one after the other.
                let second = 128 + 16 + "binance-futuresBTCUSDT".len();
                assert_eq!(d.bytes[second + 4], 2);
                d.put(second + 4, &[1]);
                d.seal_manifest();
            },
        ),
    ]
}

fn others() -> Vec<Vector> {
    let levels = "levels of a checkpoint are not in order";
    let mut vectors = manifest_entries();
    vectors.extend([
        bad("checkpoint-levels", "checkpoint-live", "the bids are worst first", levels, |d| {
            let (first, second) = (d.bytes[64..72].to_vec(), d.bytes[72..80].to_vec());
            d.put(64, &second);
            d.put(72, &first);
        }),
        bad(
            "checkpoint-level-count",
            "checkpoint-empty",
            "100,001 bids",
            "levels of a checkpoint",
            |d| d.put(24, &100_001u32.to_le_bytes()),
        ),
        bad("manifest-magic", "manifest-normal", "magic", "not a manifest (magic)", |d| d.flip(0)),
        bad(
            "manifest-newer-major",
            "manifest-normal",
            "version_major 2, checksum right",
            "manifest version is newer than this reader",
            |d| {
                d.put(8, &[2]);
                d.seal(0, 128, 12);
            },
        ),
        bad(
            "manifest-header-crc",
            "manifest-normal",
            "one bit of the generation",
            "checksum of the manifest header",
            |d| d.flip(24),
        ),
        bad(
            "manifest-streams-crc",
            "manifest-normal",
            "a letter of a symbol",
            "checksum of the manifest's streams",
            |d| d.flip(128 + 16 + 20),
        ),
        bad(
            "manifest-segments-crc",
            "manifest-normal",
            "one bit of the last file checksum",
            "checksum of the manifest's segments",
            |d| {
                let at = d.bytes.len() - 128 + 80;
                d.flip(at);
            },
        ),
        bad(
            "manifest-order",
            "manifest-normal",
            "segments 0 and 1 have changed places, checksums right",
            "segments of the manifest are not in order",
            |d| {
                let start = d.bytes.len() - 4 * 128;
                for at in start..start + 128 {
                    d.bytes.swap(at, at + 128);
                }
                let crc = crc32fast::hash(&d.bytes[start..]);
                d.put(56, &crc.to_le_bytes());
                d.seal(0, 128, 12);
            },
        ),
        bad(
            "manifest-stream-count",
            "manifest-normal",
            "4,294,967,295 streams, checksum right",
            "stream count of the manifest",
            |d| {
                d.put(44, &u32::MAX.to_le_bytes());
                d.seal(0, 128, 12);
            },
        ),
        bad("manifest-cut", "manifest-normal", "one byte less", "length of the manifest", |d| {
            d.bytes.pop();
        }),
        bad(
            "current",
            "current",
            "generation 13",
            "CURRENT does not name a manifest (text or checksum)",
            |d| {
                d.put(10, b"3");
            },
        ),
    ]);
    vectors
}
