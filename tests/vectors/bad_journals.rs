//! Good journals with one thing wrong.

use tickreel::event::{Kind, StreamKey};
use tickreel::format::journal::{FrameHead, RowsHead};
use tickreel::format::manifest::StreamEntry;

use crate::Vector;
use crate::bad::{seal, vector};
use crate::journals::{self, Journal};

/// A damaged copy of the good journal `like`, of which a verifier must report `fault`.
fn bad(
    name: &str,
    like: &str,
    change: &str,
    fault: &str,
    damage: impl FnOnce(&mut Journal),
) -> Vector {
    let mut journal = journals::journal(like);
    damage(&mut journal);
    let error = journal.verify().expect_err(name);
    let number = error.path().and_then(|path| path.file_stem()).unwrap().display().to_string();
    let texts = [like, change, fault];
    vector(&format!("journal-{name}"), "journal", journal.bytes(), texts, &error, |toml| {
        journal.describe(toml);
        toml.number("file", number);
    })
}

impl Journal {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.files[0].1[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn flip(&mut self, at: usize) {
        self.files[0].1[at] ^= 1;
    }

    /// Changes the header of the first file, and makes its checksum right.
    fn set_header(&mut self, at: usize, bytes: &[u8]) {
        self.put(at, bytes);
        seal(&mut self.files[0].1, 0, 64, 12);
    }

    /// Changes bytes of a frame in the first file, from its start, and makes its checksum right.
    fn set_frame(&mut self, seq: u64, at: usize, bytes: &[u8]) {
        let (file, start) = self.frame(seq);
        assert_eq!(file, 0);
        self.put(start + at, bytes);
        self.seal_frame(start);
    }

    fn seal_frame(&mut self, start: usize) {
        let bytes = &mut self.files[0].1;
        let len = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
        seal(bytes, start, len as usize, 4);
    }

    /// Makes a frame of the first file 8 bytes longer.
    fn lengthen_frame(&mut self, seq: u64) {
        let (_, start) = self.frame(seq);
        let bytes = &mut self.files[0].1;
        let len = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) + 8;
        bytes.splice(start + len as usize - 8..start + len as usize - 8, [0; 8]);
        self.put(start, &len.to_le_bytes());
        self.seal_frame(start);
    }
}

const SMALL: &str = "journal-small";
const TWO: &str = "journal-two-files";

// Frames of `journal-small`.
const BOOK_NAME: u64 = 1;
const BOOK_ROWS: u64 = 2;
const TRADES_ROWS: u64 = 4;
const FIRST_MARK: u64 = 7;
const LATER_TRADES: u64 = 8;

/// Where the columns of the book's 3 rows in 2 messages begin in their frame.
const BOOK_COLUMNS: usize = PAYLOAD + size_of::<RowsHead>() + 8;
/// Where the columns of the two trades begin in their frame.
const TRADES_COLUMNS: usize = PAYLOAD + size_of::<RowsHead>();
const PAYLOAD: usize = size_of::<FrameHead>();

pub fn vectors() -> Vec<Vector> {
    let mut vectors = headers();
    vectors.extend(ends());
    vectors.extend(frames());
    vectors.extend(rows());
    vectors
}

fn headers() -> Vec<Vector> {
    let other = "this is another journal than its name and store say";
    vec![
        bad("magic", SMALL, "byte 3 of the magic", "this is no journal", |j| j.flip(3)),
        bad("header-cut", SMALL, "40 bytes", "file is shorter than a journal header", |j| {
            j.files[0].1.truncate(40);
        }),
        bad(
            "newer-major",
            SMALL,
            "version_major 2, checksum right",
            "journal is of a newer major version",
            |j| j.set_header(8, &[2]),
        ),
        bad(
            "header-crc",
            SMALL,
            "one bit of the first sequence",
            "checksum of the journal header",
            |j| j.flip(40),
        ),
        bad(
            "header-reserved",
            SMALL,
            "a reserved byte is 1, checksum right",
            "version or reserved bytes of the journal header",
            |j| j.set_header(63, &[1]),
        ),
        bad(
            "header-seq",
            SMALL,
            "first_seq 0, checksum right",
            "number or first frame of the journal is impossible",
            |j| j.set_header(40, &[0]),
        ),
        bad("wrong-store", SMALL, "store 1, checksum right", other, |j| {
            j.set_header(16, &1u64.to_le_bytes());
        }),
        bad("wrong-number", SMALL, "the header is that of file 7", other, |j| {
            j.set_header(32, &[7]);
        }),
    ]
}

fn ends() -> Vec<Vector> {
    let missing = "a journal file is missing that later ones follow";
    vec![
        bad(
            "damaged",
            SMALL,
            "one bit of the first rows, which later frames say to be durable",
            "acknowledged rows of the journal are damaged",
            |j| {
                let (_, start) = j.frame(BOOK_ROWS);
                j.flip(start + BOOK_COLUMNS);
            },
        ),
        bad(
            "damaged-last",
            SMALL,
            "one bit of the last rows, which only the last mark says to be durable",
            "acknowledged rows of the journal are damaged",
            |j| {
                let (_, start) = j.frame(LATER_TRADES);
                j.flip(start + TRADES_COLUMNS);
            },
        ),
        bad(
            "damaged-before-file",
            TWO,
            "one bit of the last frame before the file that follows",
            "journal lacks frames",
            |j| {
                let (_, start) = j.frame(LATER_TRADES);
                j.flip(start + 24);
            },
        ),
        bad(
            "cut",
            SMALL,
            "the file ends before its last rows",
            "journal file is shorter than when it was made",
            |j| {
                let (index, start) = j.frame(LATER_TRADES);
                j.files[index].1.truncate(start);
            },
        ),
        bad("missing-first", TWO, "file 1 is gone", missing, |j| {
            j.files.remove(0);
        }),
        bad("missing-between", TWO, "file 2 is file 3, checksum right", missing, |j| {
            let (number, bytes) = &mut j.files[1];
            *number = 3;
            bytes[32] = 3;
            seal(bytes, 0, 64, 12);
        }),
    ]
}

fn frames() -> Vec<Vector> {
    vec![
        bad(
            "stream-kind",
            SMALL,
            "the first stream is of kind 99, checksum right",
            "stream of an unknown kind, newer than this reader",
            |j| j.set_frame(BOOK_NAME, PAYLOAD + 4, &[99]),
        ),
        bad(
            "stream-id",
            SMALL,
            "the name of stream 0 is in a frame of stream 5, checksum right",
            "the stream it names cannot be read",
            |j| j.set_frame(BOOK_NAME, 32, &[5]),
        ),
        bad(
            "nameless",
            SMALL,
            "the first rows are of stream 9, checksum right",
            "rows of a stream without a name",
            |j| j.set_frame(BOOK_ROWS, 32, &[9]),
        ),
        bad(
            "hole",
            SMALL,
            "the last trade is row 3 instead of 2, checksum right",
            "the journal lacks rows",
            |j| j.set_frame(LATER_TRADES, PAYLOAD, &[3]),
        ),
        bad(
            "hole-endless",
            SMALL,
            "the last trade is row 2^64 - 1, checksum right",
            "the journal lacks rows",
            |j| j.set_frame(LATER_TRADES, PAYLOAD, &[255; 8]),
        ),
        bad(
            "back-in-time",
            SMALL,
            "the last trade was received a second before noon, checksum right",
            "rows of the journal go back in receive time",
            |j| {
                let early = crate::segments::NOON - 1_000_000_000;
                j.set_frame(LATER_TRADES, TRADES_COLUMNS, &early.to_le_bytes());
            },
        ),
        bad(
            "stored-inside",
            SMALL,
            "the manifest says that 1 row of stream 0 is in segments",
            "rows that are stored end inside a message",
            |j| {
                let key = "test:A".parse().unwrap();
                let key = StreamKey { instrument: key, kind: Kind::Book };
                j.named = vec![StreamEntry { id: 0, key, journal_rows: 1 }];
            },
        ),
        bad("not-carried", "journal-carried", "file 5 is gone", "the journal lacks rows", |j| {
            j.files.pop();
        }),
    ]
}

fn rows() -> Vec<Vector> {
    let wrong = |name: &str, change: &str, fault: &str, seq: u64, at: usize, bytes: &[u8]| {
        let change = format!("{change}, checksum right");
        bad(&format!("rows-{name}"), SMALL, &change, fault, |j| j.set_frame(seq, at, bytes))
    };
    let width = "scale or digits of a column";
    vec![
        wrong(
            "head",
            "a mark that says it has rows",
            "payload is shorter than the head of rows",
            FIRST_MARK,
            36,
            &[2],
        ),
        wrong(
            "short",
            "4,294,967,295 trades",
            "payload is shorter than its rows",
            TRADES_ROWS,
            PAYLOAD + 8,
            &[255; 4],
        ),
        bad(
            "rows-long",
            SMALL,
            "8 bytes more after the trades, length and checksum right",
            "bytes after the last column of rows",
            |j| j.lengthen_frame(TRADES_ROWS),
        ),
        wrong(
            "padding",
            "a byte after the sides of the trades is 1",
            "padding of rows is not 0",
            TRADES_ROWS,
            TRADES_COLUMNS + 2 * 16 + 7,
            &[1],
        ),
        wrong("scale", "column ts_recv has scale 1", width, TRADES_ROWS, PAYLOAD + 16, &[1]),
        wrong("digits", "column price has digits 19", width, TRADES_ROWS, PAYLOAD + 32 + 3, &[19]),
        wrong("columns", "a column 6 of trades", width, TRADES_ROWS, PAYLOAD + 16 + 6, &[2]),
        wrong(
            "ends",
            "the first message of the book has 3 rows like the second",
            "columns and message ends of rows do not agree",
            BOOK_ROWS,
            PAYLOAD + size_of::<RowsHead>(),
            &[9],
        ),
        wrong(
            "none",
            "trades with another count of messages",
            "rows of a frame are none, or not in order of time",
            TRADES_ROWS,
            PAYLOAD + 12,
            &[1],
        ),
        wrong(
            "times",
            "the second message of the book was received before the first",
            "rows of a frame are none, or not in order of time",
            BOOK_ROWS,
            BOOK_COLUMNS + 8,
            &crate::segments::NOON.to_le_bytes(),
        ),
        wrong(
            "texts",
            "the first trade id is longer than both",
            "ends of text are not in order",
            TRADES_ROWS,
            TRADES_COLUMNS + 2 * 16 + 8 + 2 * 16,
            &[4],
        ),
        wrong(
            "code",
            "a trade has side 9",
            "a code has no name",
            TRADES_ROWS,
            TRADES_COLUMNS + 2 * 16,
            &[9],
        ),
    ]
}
