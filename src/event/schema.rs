//! The kinds of records and the columns of each.
//!
//! A schema is data: the segment writer, Arrow, CSV and the Python reader all walk the same table.
//! A new kind is one more table here; the file format does not change.

use crate::error::{Error, Result};
use crate::quantity::Instrument;

/// Which record a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One level set of an L2 book.
    Book = 1,
    /// One print.
    Trades = 2,
    /// Best bid and ask.
    Quotes = 3,
    /// State of a derivative: mark, index, funding, open interest.
    Ticker = 4,
    /// One forced order.
    Liquidations = 5,
    /// One order event of an L3 book.
    Orders = 6,
    /// Facts about the connection: connected, gap, resync.
    Status = 7,
    /// One venue message, verbatim.
    Raw = 8,
}

impl Kind {
    /// All kinds, by code.
    pub const ALL: [Self; 8] = [
        Self::Book,
        Self::Trades,
        Self::Quotes,
        Self::Ticker,
        Self::Liquidations,
        Self::Orders,
        Self::Status,
        Self::Raw,
    ];

    /// The kind's name on the command line and in files, e.g. `book`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Trades => "trades",
            Self::Quotes => "quotes",
            Self::Ticker => "ticker",
            Self::Liquidations => "liquidations",
            Self::Orders => "orders",
            Self::Status => "status",
            Self::Raw => "raw",
        }
    }

    /// The number that stands for the kind in files.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Reads a kind's name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] with all names.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::invalid(format!("kind {text:?}: expected one of {}", names.join(", ")))
        })
    }

    /// Place in the total order among messages of one `ts_recv`: status, then messages that reset
    /// a book, trades, other book messages, quotes, ticker, liquidations, orders, raw.
    ///
    /// What happened to the connection comes before what it carried, and a trade before the book
    /// change it caused, as venues publish them.
    #[must_use]
    pub const fn rank(self, resets: bool) -> u8 {
        match (self, resets) {
            (Self::Status, _) => 0,
            (Self::Book | Self::Orders, true) => 1,
            (Self::Trades, _) => 2,
            (Self::Book, false) => 3,
            (Self::Quotes, _) => 4,
            (Self::Ticker, _) => 5,
            (Self::Liquidations, _) => 6,
            (Self::Orders, false) => 7,
            (Self::Raw, _) => 8,
        }
    }

    /// The code of column 2, `action`, that empties a book; `None` for kinds without books.
    #[must_use]
    pub const fn reset_code(self) -> Option<u8> {
        match self {
            Self::Book => Some(Action::Reset as u8),
            Self::Orders => Some(4),
            _ => None,
        }
    }

    /// The columns of the kind.
    #[must_use]
    pub const fn schema(self) -> &'static Schema {
        match self {
            Self::Book => &BOOK,
            Self::Trades => &TRADES,
            Self::Quotes => &QUOTES,
            Self::Ticker => &TICKER,
            Self::Liquidations => &LIQUIDATIONS,
            Self::Orders => &ORDERS,
            Self::Status => &STATUS,
            Self::Raw => &RAW,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What a stream is called: instrument and kind. What is stored, compacted and scanned on its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// What is traded where.
    pub instrument: Instrument,
    /// Which record.
    pub kind: Kind,
}

impl std::fmt::Display for StreamKey {
    /// `binance-futures:BTCUSDT book`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.instrument, self.kind)
    }
}

/// What the values of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `i64` nanoseconds since 1970, UTC.
    Time,
    /// `i64` as the venue gave it.
    Int,
    /// `i64` mantissa; the scale belongs to the column of a batch or segment.
    Decimal,
    /// `u8` index into these names.
    Code(&'static [&'static str]),
    /// `u8` of bits: [`FLAG_LAST`], [`FLAG_SNAPSHOT`].
    Flags,
    /// Bytes, usually UTF-8 text.
    Text,
}

impl ColumnType {
    /// The number that stands for the type in files.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Time => 1,
            Self::Int => 2,
            Self::Decimal => 3,
            Self::Code(_) => 4,
            Self::Flags => 5,
            Self::Text => 6,
        }
    }
}

/// One column of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Name in every output.
    pub name: &'static str,
    /// What the values mean.
    pub ty: ColumnType,
    /// One value per message instead of one per row.
    pub per_message: bool,
    /// Whether [`crate::quantity::NULL`] may stand for "no value".
    pub nullable: bool,
}

/// The columns of one kind, in the order of every output.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// The kind described.
    pub kind: Kind,
    /// Columns 0 and 1 are always `ts_recv` and `ts_event`.
    pub columns: &'static [ColumnSpec],
}

impl Schema {
    /// Whether rows come in messages, so that some columns have one value per message.
    #[must_use]
    pub fn is_grouped(&self) -> bool {
        self.columns.iter().any(|column| column.per_message)
    }

    /// Whether a column holds texts.
    #[must_use]
    pub fn has_texts(&self) -> bool {
        self.columns.iter().any(|column| column.ty == ColumnType::Text)
    }

    /// Position of the column called `name`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] with the names there are.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|column| column.name).collect();
            Error::not_found(format!(
                "column {name:?} of {}: expected one of {}",
                self.kind,
                names.join(", ")
            ))
        })
    }
}

/// Last row of its message. Computed from the message, not stored.
pub const FLAG_LAST: u8 = 1;
/// The message is a venue snapshot: its first row is a reset.
pub const FLAG_SNAPSHOT: u8 = 2;

/// What a book row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// The quantity at this price is now `qty`; 0 removes the level.
    Set = 0,
    /// Empties the book; side, price and qty are 0.
    Reset = 1,
    /// Messages are missing before this row: `qty` of them, 0 if unknown. The book is stale from
    /// here to the next reset.
    Gap = 2,
}

/// Side of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Side {
    /// Buyers.
    Bid = 0,
    /// Sellers.
    Ask = 1,
}

/// Who took liquidity in a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TradeSide {
    /// A buyer hit the ask.
    Buy = 0,
    /// A seller hit the bid.
    Sell = 1,
    /// The venue does not say.
    Unknown = 2,
}

/// What happened to a connection or stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StatusWhat {
    /// The feed is connected and subscribed.
    Connected = 0,
    /// The feed was lost.
    Disconnected = 1,
    /// Messages are missing; `detail` says which.
    Gap = 2,
    /// A new venue snapshot made the book live again.
    Resync = 3,
    /// The venue halted trading.
    Halted = 4,
    /// The recorder's wall clock was set; `detail` says by how much.
    Clock = 5,
}

const fn column(name: &'static str, ty: ColumnType) -> ColumnSpec {
    ColumnSpec { name, ty, per_message: false, nullable: false }
}

const fn nullable(name: &'static str, ty: ColumnType) -> ColumnSpec {
    ColumnSpec { name, ty, per_message: false, nullable: true }
}

const fn per_message(spec: ColumnSpec) -> ColumnSpec {
    ColumnSpec { per_message: true, ..spec }
}

const TS_RECV: ColumnSpec = column("ts_recv", ColumnType::Time);
const TS_EVENT: ColumnSpec = nullable("ts_event", ColumnType::Time);
const SIDES: ColumnType = ColumnType::Code(&["bid", "ask"]);
const TRADE_SIDES: ColumnType = ColumnType::Code(&["buy", "sell", "unknown"]);

static BOOK: Schema = Schema {
    kind: Kind::Book,
    columns: &[
        per_message(TS_RECV),
        per_message(TS_EVENT),
        column("action", ColumnType::Code(&["set", "reset", "gap"])),
        column("side", SIDES),
        per_message(column("flags", ColumnType::Flags)),
        column("price", ColumnType::Decimal),
        column("qty", ColumnType::Decimal),
        per_message(nullable("venue_seq", ColumnType::Int)),
    ],
};

/// Positions of the columns of `book`.
pub mod book {
    /// Receive time.
    pub const TS_RECV: usize = 0;
    /// Event time.
    pub const TS_EVENT: usize = 1;
    /// [`super::Action`].
    pub const ACTION: usize = 2;
    /// [`super::Side`].
    pub const SIDE: usize = 3;
    /// [`super::FLAG_SNAPSHOT`].
    pub const FLAGS: usize = 4;
    /// Price of the level.
    pub const PRICE: usize = 5;
    /// Quantity of the level.
    pub const QTY: usize = 6;
    /// The venue's sequence number.
    pub const VENUE_SEQ: usize = 7;
}

static TRADES: Schema = Schema { kind: Kind::Trades, columns: TRADE_COLUMNS };
static LIQUIDATIONS: Schema = Schema { kind: Kind::Liquidations, columns: TRADE_COLUMNS };

const TRADE_COLUMNS: &[ColumnSpec] = &[
    TS_RECV,
    TS_EVENT,
    column("side", TRADE_SIDES),
    column("price", ColumnType::Decimal),
    column("qty", ColumnType::Decimal),
    column("trade_id", ColumnType::Text),
];

/// Positions of the columns of `trades` and `liquidations`, after the two times.
pub mod trades {
    /// [`super::TradeSide`].
    pub const SIDE: usize = 2;
    /// Price of the print.
    pub const PRICE: usize = 3;
    /// Quantity of the print.
    pub const QTY: usize = 4;
    /// The venue's id, text kept exactly; empty if there is none.
    pub const TRADE_ID: usize = 5;
}

static QUOTES: Schema = Schema {
    kind: Kind::Quotes,
    columns: &[
        TS_RECV,
        TS_EVENT,
        nullable("bid_price", ColumnType::Decimal),
        nullable("bid_qty", ColumnType::Decimal),
        nullable("ask_price", ColumnType::Decimal),
        nullable("ask_qty", ColumnType::Decimal),
        nullable("venue_seq", ColumnType::Int),
    ],
};

/// Positions of the columns of `quotes`, after the two times.
pub mod quotes {
    /// Best bid.
    pub const BID_PRICE: usize = 2;
    /// Quantity at the best bid.
    pub const BID_QTY: usize = 3;
    /// Best ask.
    pub const ASK_PRICE: usize = 4;
    /// Quantity at the best ask.
    pub const ASK_QTY: usize = 5;
    /// The venue's sequence number.
    pub const VENUE_SEQ: usize = 6;
}

static TICKER: Schema = Schema {
    kind: Kind::Ticker,
    columns: &[
        TS_RECV,
        TS_EVENT,
        nullable("last", ColumnType::Decimal),
        nullable("mark", ColumnType::Decimal),
        nullable("index", ColumnType::Decimal),
        nullable("funding_rate", ColumnType::Decimal),
        nullable("predicted_funding_rate", ColumnType::Decimal),
        nullable("funding_ts", ColumnType::Time),
        nullable("open_interest", ColumnType::Decimal),
    ],
};

/// Positions of the columns of `ticker`, after the two times.
pub mod ticker {
    /// Last trade price.
    pub const LAST: usize = 2;
    /// Mark price.
    pub const MARK: usize = 3;
    /// Index price.
    pub const INDEX: usize = 4;
    /// Funding rate of the current period.
    pub const FUNDING_RATE: usize = 5;
    /// Funding rate predicted for the next period.
    pub const PREDICTED_FUNDING_RATE: usize = 6;
    /// When funding is next exchanged.
    pub const FUNDING_TS: usize = 7;
    /// Open interest.
    pub const OPEN_INTEREST: usize = 8;
}

static ORDERS: Schema = Schema {
    kind: Kind::Orders,
    columns: &[
        per_message(TS_RECV),
        per_message(TS_EVENT),
        column("action", ColumnType::Code(&["add", "modify", "cancel", "fill", "reset"])),
        column("side", SIDES),
        column("order_id", ColumnType::Text),
        column("price", ColumnType::Decimal),
        column("qty", ColumnType::Decimal),
        per_message(column("flags", ColumnType::Flags)),
        per_message(nullable("venue_seq", ColumnType::Int)),
    ],
};

static STATUS: Schema = Schema {
    kind: Kind::Status,
    columns: &[
        TS_RECV,
        TS_EVENT,
        column(
            "what",
            ColumnType::Code(&["connected", "disconnected", "gap", "resync", "halted", "clock"]),
        ),
        column("detail", ColumnType::Text),
    ],
};

/// Positions of the columns of `status`, after the two times.
pub mod status {
    /// [`super::StatusWhat`].
    pub const WHAT: usize = 2;
    /// Text for a person.
    pub const DETAIL: usize = 3;
}

/// Positions of the columns of `raw`, after the two times.
pub mod raw {
    /// What it was and on which connection.
    pub const CHANNEL: usize = 2;
    /// The bytes.
    pub const PAYLOAD: usize = 3;
}

static RAW: Schema = Schema {
    kind: Kind::Raw,
    columns: &[
        TS_RECV,
        TS_EVENT,
        column("channel", ColumnType::Text),
        column("payload", ColumnType::Text),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_name_code_and_times() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
            assert_eq!(Kind::parse(kind.name()).unwrap(), kind);
            let schema = kind.schema();
            assert_eq!(schema.kind, kind);
            assert_eq!((schema.columns[0].name, schema.columns[1].name), ("ts_recv", "ts_event"));
            assert!(schema.columns.len() <= crate::limit::COLUMNS_MAX);
            for column in schema.columns {
                assert!(
                    column.name.len() <= crate::limit::COLUMN_NAME_BYTES_MAX,
                    "{}",
                    column.name
                );
            }
        }
        assert!(Kind::parse("books").is_err());
        assert_eq!(Kind::from_code(0), None);
    }

    #[test]
    fn column_positions_name_their_columns() {
        let name = |kind: Kind, at: usize| kind.schema().columns[at].name;
        assert_eq!(name(Kind::Book, book::ACTION), "action");
        assert_eq!(name(Kind::Book, book::SIDE), "side");
        assert_eq!(name(Kind::Book, book::FLAGS), "flags");
        assert_eq!(name(Kind::Book, book::PRICE), "price");
        assert_eq!(name(Kind::Book, book::QTY), "qty");
        assert_eq!(name(Kind::Book, book::VENUE_SEQ), "venue_seq");
        assert_eq!(name(Kind::Trades, trades::TRADE_ID), "trade_id");
        assert_eq!(name(Kind::Quotes, quotes::VENUE_SEQ), "venue_seq");
        assert_eq!(name(Kind::Ticker, ticker::OPEN_INTEREST), "open_interest");
        assert_eq!(name(Kind::Status, status::DETAIL), "detail");
        assert_eq!(name(Kind::Raw, raw::CHANNEL), "channel");
        assert_eq!(name(Kind::Raw, raw::PAYLOAD), "payload");
        for kind in [Kind::Book, Kind::Orders] {
            let action = kind.schema().columns[book::ACTION];
            let ColumnType::Code(names) = action.ty else { panic!("action is a code") };
            assert_eq!(action.name, "action");
            assert_eq!(names[usize::from(kind.reset_code().unwrap())], "reset");
        }
    }
}
