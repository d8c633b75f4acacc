//! Every bound of the engine, with the reason for its number.
//!
//! A length, count or name that comes from a file, a request or a feed meets its limit here before
//! it is used to index, allocate or loop. Limits never depend on the machine.

/// Decimal digits after the point that a price or quantity may need. 10^18 is the largest power
/// of ten in an `i64`.
pub const SCALE_MAX: u8 = 18;

/// Bytes of one decimal number as text. The longest exact value (19 digits, sign, point, leading
/// and trailing zeros) fits with room; anything longer is not a price.
pub const DECIMAL_TEXT_BYTES_MAX: usize = 64;

/// Bytes of an exchange id, e.g. `binance-futures`.
pub const EXCHANGE_BYTES_MAX: usize = 32;

/// Bytes of a venue symbol. The longest seen are option names of about 40 bytes.
pub const SYMBOL_BYTES_MAX: usize = 128;

/// Streams of one store: the stream id is a `u32`, the manifest names each stream once.
pub const STREAMS_MAX: usize = 1 << 20;

/// Rows of one message. A snapshot of the largest book (two sides of [`LEVELS_PER_SIDE_MAX`]) and
/// its reset row fit.
pub const MESSAGE_ROWS_MAX: usize = 1 << 18;

/// Rows after which a block is closed: the unit that is encoded and indexed. 65,536 rows keep the
/// index small (about 10 bytes per 1,000 rows) and a block inside the L2 cache.
pub const BLOCK_ROWS: usize = 1 << 16;

/// Rows that a block may hold: a block ends only between messages.
pub const BLOCK_ROWS_MAX: usize = BLOCK_ROWS + MESSAGE_ROWS_MAX;

/// Values that are bit-packed together; random access decodes at most this many of a column.
pub const GROUP_VALUES: usize = 1024;

/// Rows of one segment.
pub const SEGMENT_ROWS_MAX: u64 = 1 << 26;

/// Bytes of one segment file; offsets stay far below 2^53 for every reader in every language.
pub const SEGMENT_BYTES_MAX: u64 = 4 << 30;

/// Columns of a schema: the content hash has a key for each of so many, a manifest entry 16 scales.
pub const COLUMNS_MAX: usize = 13;

/// Bytes of a column name.
pub const COLUMN_NAME_BYTES_MAX: usize = 32;

/// Bytes of one text value: a trade id, a status detail or one venue message.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// Bytes of text after which a block is closed, however few rows it has.
pub const BLOCK_TEXT_BYTES: usize = 4 << 20;

/// Bytes of the text of one column in one block, decoded.
pub const BLOCK_TEXT_BYTES_MAX: usize = 256 << 20;

/// Levels of one side in a book or checkpoint. The deepest book of the reference captures has
/// about 40,000 a side.
pub const LEVELS_PER_SIDE_MAX: usize = 100_000;

/// Rows between two checkpoints unless the writer is told otherwise: a seek replays at most this
/// many rows, about 50 microseconds of work.
pub const CHECKPOINT_ROWS: u64 = 8192;

/// Largest checkpoint spacing a writer may be asked for.
pub const CHECKPOINT_ROWS_MAX: u64 = 1 << 20;

/// Bytes of a manifest: about 500,000 segments.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// Bytes of one line of a capture or CSV file. The largest real line (a full Coinbase snapshot) is
/// about 4 MiB.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// Instruments of one request or replay.
pub const REQUEST_STREAMS_MAX: usize = 4096;

/// Levels per side of one answer.
pub const REQUEST_DEPTH_MAX: usize = LEVELS_PER_SIDE_MAX;
