//! Good vectors with one thing wrong.
//!
//! Where a later check is to be met, the checksums above it are made right again, as a program
//! that writes wrong files would.

use tickreel::format::segment::{BlockEntry, CheckpointEntry, Footer};
use tickreel::format::{Identity, Region, checkpoint, checksum, manifest};
use tickreel::{Error, ErrorKind};

use crate::Vector;
use crate::describe::Toml;
use crate::segments::{self, IDENTITY};

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
        self.put(at + crc_at, &[0; 4]);
        let crc = crc32fast::hash(&self.bytes[at..at + len]);
        self.put(at + crc_at, &crc.to_le_bytes());
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
    assert!(error.text().contains(fault), "{name}: {error}");
    let kind = match error.kind() {
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Unsupported => "unsupported",
        other => panic!("{name}: {other:?}"),
    };
    let mut toml = Toml::default();
    toml.text("form", form);
    toml.text("like", like);
    toml.text("change", change);
    toml.text("kind", kind);
    toml.text("fault", fault);
    toml.number("offset", error.byte_offset().unwrap());
    toml.text("error", error.text());
    Vector::new(&format!("bad-{name}"), damaged.bytes, toml.finish())
}

const SMALL: &str = "segment-book-small";
const ORDERS: &str = "segment-orders-small";
const ONE: &str = "segment-book-one-row";

pub fn vectors() -> Vec<Vector> {
    let mut vectors = headers_and_footers();
    vectors.extend(indexes());
    vectors.extend(blocks());
    vectors.extend(others());
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
        bad("kind", ONE, "kind 99, checksum right", "segment of an unknown kind", |d| {
            d.put(40, &[99]);
            d.seal_header();
        }),
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
        bad("encoding", ONE, "encoding 6, checksums right", "unknown encoding", |d| {
            d.put(64 + 17, &[6]);
            d.seal_directory(0);
        }),
        bad(
            "ends",
            ONE,
            "the only message ends after row 2 of 1, checksums right",
            "message ends are not in order",
            |d| {
                let (_, block) = d.block(0);
                let at = block.offset as usize;
                let start = u32::from_le_bytes(d.bytes[at..at + 4].try_into().unwrap());
                d.put(at + start as usize, &[2]);
                d.seal_page(0, 0);
            },
        ),
    ]
}

fn others() -> Vec<Vector> {
    let levels = "levels of a checkpoint are not in order";
    vec![
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
            |d| d.flip(128 + 8 + 20),
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
    ]
}
