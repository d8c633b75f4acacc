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

/// Bytes of a venue message that comes compressed, unpacked: as long as one that can be stored.
pub const UNPACKED_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// Bytes of text after which a block is closed, however few rows it has.
pub const BLOCK_TEXT_BYTES: usize = 4 << 20;

/// Bytes of the text of one column in one block, decoded.
pub const BLOCK_TEXT_BYTES_MAX: usize = 256 << 20;

/// Bytes of all text of one message: with what a block holds already it stays inside
/// [`BLOCK_TEXT_BYTES_MAX`].
pub const MESSAGE_TEXT_BYTES_MAX: usize = BLOCK_TEXT_BYTES_MAX / 2;

/// Levels of one side in a book or checkpoint. The deepest book of the reference captures has
/// about 40,000 a side.
pub const LEVELS_PER_SIDE_MAX: usize = 100_000;

/// Rows between two checkpoints unless the writer is told otherwise, or books are large beside what
/// changes in them: about 50 microseconds of work for a seek.
pub const CHECKPOINT_ROWS: u64 = 8192;

/// Largest checkpoint spacing a writer may be asked for.
pub const CHECKPOINT_ROWS_MAX: u64 = 1 << 20;

/// Bytes of a manifest: about 500,000 segments.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// Bytes of one frame of the journal: the text of the longest message fits.
pub const JOURNAL_FRAME_BYTES_MAX: usize = BLOCK_TEXT_BYTES_MAX / 2 + (32 << 20);

/// Bytes of a journal file that a writer may be asked for: what a crash tore off its end is read
/// into memory.
pub const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// Bytes that a frame of rows aims at: a group commit writes about one.
pub const JOURNAL_FRAME_BYTES: usize = 1 << 20;

/// Bytes of one line of a capture or CSV file. The largest real line (a full Coinbase snapshot) is
/// about 4 MiB.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// Instruments of one request or replay.
pub const REQUEST_STREAMS_MAX: usize = 4096;

/// Levels per side of one answer.
pub const REQUEST_DEPTH_MAX: usize = LEVELS_PER_SIDE_MAX;

/// Books of one request for samples: a whole day of one every 10 milliseconds.
pub const REQUEST_SAMPLES_MAX: u64 = 10_000_000;

/// Conditions of one filter.
pub const CONDITIONS_MAX: usize = 32;

/// Instruments in one answer of a list.
pub const REQUEST_PAGE_MAX: usize = 1000;

/// Gaps of one stream in one answer: about 300 KiB.
pub const REQUEST_GAPS_MAX: usize = 10_000;

/// Bytes of one request. The longest is a replay of many streams, about 30 bytes each.
pub const RPC_REQUEST_BYTES_MAX: usize = 64 << 10;

/// Bytes of one request to append: a message of [`MESSAGE_ROWS_MAX`] rows of a book fits as Arrow,
/// 59 bytes a row.
pub const RPC_APPEND_BYTES_MAX: usize = 16 << 20;

/// Bytes of the values of one request to append, without dictionaries: four times the request.
pub const RPC_APPEND_VALUES_BYTES_MAX: usize = 64 << 20;

/// Append sessions that a server has open: with a request each about 512 MiB.
pub const RPC_APPENDS_MAX: usize = 32;

/// Requests of one append session that are accepted and not durable: far more than come while a
/// group is written.
pub const RPC_APPENDS_WAITING_MAX: usize = 1024;

/// Bytes of one answer: what every gRPC client takes unless told otherwise. A whole book of
/// [`LEVELS_PER_SIDE_MAX`] levels fits.
pub const RPC_ANSWER_BYTES_MAX: usize = 4 << 20;

/// Bytes that a part of a long answer aims at: large enough that its cost vanishes, small enough
/// that a queue of them is cheap.
pub const RPC_PART_BYTES: usize = 1 << 20;

/// Bytes after which a part is cut even inside an Arrow message: half an answer.
pub const RPC_CUT_BYTES: usize = RPC_ANSWER_BYTES_MAX / 2;

/// Bytes that a client joins from cut parts: a message of [`MESSAGE_ROWS_MAX`] rows or the longest
/// text, with room.
pub const RPC_JOINED_BYTES_MAX: usize = 128 << 20;

/// Parts that wait for a slow client. With the one being made, a stream costs about 5 MiB.
pub const RPC_QUEUE_PARTS: usize = 4;

/// Connections of a server.
pub const RPC_CONNECTIONS_MAX: usize = 256;

/// Connections of one address, where a server listens to other machines.
pub const RPC_CONNECTIONS_PER_ADDRESS_MAX: usize = 16;

/// Milliseconds in which a client must have shaken hands, and then begun to speak HTTP/2.
pub const RPC_HANDSHAKE_MS_MAX: u64 = 5_000;

/// Milliseconds after which a connection takes no more requests, and those that open ones have
/// then: keys change, and a replay goes on elsewhere.
pub const RPC_CONNECTION_AGE_MS: (u64, u64) = (12 * 3_600_000, 10 * 60_000);

/// Tokens of one server: each is compared with what a request shows.
pub const TOKENS_MAX: usize = 1000;

/// Bytes of a token file: one kilobyte for each.
pub const TOKEN_FILE_BYTES_MAX: usize = 1 << 20;

/// Milliseconds after which a request without a valid token is answered.
pub const RPC_REFUSAL_DELAY_MS: u64 = 250;

/// Addresses whose requests without a valid token are counted.
pub const REFUSED_ADDRESSES_MAX: usize = 1024;

/// Milliseconds after which a client may try again that has as many streams open as it may.
pub const RPC_RETRY_MS: u64 = 1_000;

/// Requests at once on one connection.
pub const RPC_REQUESTS_PER_CONNECTION_MAX: u32 = 32;

/// Samples, scans and replays that a server has open: with their queues about 1.5 GiB.
pub const RPC_STREAMS_MAX: usize = 256;

/// Replays that a server has open. Each decodes at most a million rows ahead, about 40 MiB, where
/// many streams are merged; of one stream a block, about 3 MiB.
pub const RPC_REPLAYS_MAX: usize = 128;

/// Bytes of all headers of a request; ours need less than 1 KiB.
pub const RPC_HEADER_BYTES_MAX: u32 = 8 << 10;

/// Streams that a client has reset and the server has not yet forgotten (rapid reset).
pub const RPC_RESETS_PENDING_MAX: usize = 20;

/// Streams that the server resets because of a client's errors before it hangs up
/// (RUSTSEC-2024-0003).
pub const RPC_RESETS_LOCAL_MAX: usize = 128;

/// Bytes of the text of an error that leaves a server; what a client sent may be in it.
pub const RPC_TEXT_BYTES_MAX: usize = 1024;

/// Bytes of one HTTP/2 frame. The default of 16 KiB halves the throughput of long answers.
pub const RPC_FRAME_BYTES: u32 = 1 << 20;

/// Milliseconds that a unary request may take.
pub const RPC_UNARY_MS_MAX: u64 = 10_000;

/// Milliseconds that a client may leave a stream's queue full: it must take a part meanwhile, which
/// is 17 KiB/s of the largest ones.
pub const RPC_STALL_MS_MAX: u64 = 60_000;

/// Milliseconds that a replay may stand paused or at its end without a command.
pub const RPC_IDLE_MS_MAX: u64 = 30 * 60_000;

/// Milliseconds between two signs of life on a quiet connection, and how long the answer may take.
pub const RPC_KEEPALIVE_MS: (u64, u64) = (20_000, 10_000);

/// Milliseconds that open requests have to end after the server was told to stop: a process that
/// also writes seals its rows then, and ends within 5 seconds.
pub const RPC_STOP_MS_MAX: u64 = 3_000;

/// Slowest and fastest replay, in millionths of recorded time per time of the client.
pub const REPLAY_SPEED_PPM: (u64, u64) = (1_000, 1_000_000_000_000);

/// Rows of one frame of a replay.
pub const REPLAY_FRAME_ROWS_MAX: usize = BLOCK_ROWS;

/// Levels per side of the books that a replay sends: with 65,536 of them in a frame still cut into
/// parts of [`RPC_PART_BYTES`].
pub const REPLAY_BOOK_LEVELS_MAX: usize = 1000;

/// Columns of a table of books: five, six exact and two ratios, and three for each of
/// [`REPLAY_METRIC_LEVELS_MAX`].
pub const BOOK_COLUMNS_MAX: usize = 13 + 3 * REPLAY_METRIC_LEVELS_MAX;

/// Numbers of levels that the metrics of a replay are of.
pub const REPLAY_METRIC_LEVELS_MAX: usize = 16;

/// Streams of a replay that goes on with live rows: its cursor names each, about 12 bytes.
pub const REPLAY_FOLLOW_STREAMS_MAX: usize = 1024;

/// Sessions with a name that a server has open.
pub const REPLAY_SESSIONS_MAX: usize = 64;

/// Bytes of the name of a session.
pub const REPLAY_SESSION_NAME_BYTES_MAX: usize = 64;

/// Steps and changes of a session that its slowest member has not come to yet.
pub const REPLAY_LEGS_MAX: usize = 4096;
