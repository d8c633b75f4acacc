//! What a feed remembers of a book: whether it can be trusted, and its levels as text.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::connection::ConnectionRows;
use super::json::Level;
use super::rows::Rows;
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, Side, StatusWhat, book};
use crate::limit;
use crate::quantity::{Decimal, Instrument, TsNs};

/// Why a book has a gap where a message could not be read.
pub(super) const UNREADABLE: &str = "a message of this book could not be read";

/// One level of a message: its exact values and the text they came as.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextLevel<'a> {
    pub side: Side,
    pub price: Decimal,
    pub qty: Decimal,
    pub price_text: &'a str,
    pub qty_text: &'a str,
    digits: (u8, u8),
}

/// All levels of one message, read before any of them is used.
#[derive(Debug, Default)]
pub(super) struct MessageLevels<'a>(Vec<TextLevel<'a>>);

impl<'a> MessageLevels<'a> {
    /// Reads both sides of a message and checks them.
    ///
    /// # Errors
    /// As [`MessageLevels::push`] and [`MessageLevels::check`].
    pub fn of(bids: &[Level<'a>], asks: &[Level<'a>]) -> Result<Self> {
        let mut levels = Self::default();
        levels.extend(Side::Bid, bids)?;
        levels.extend(Side::Ask, asks)?;
        levels.check()?;
        Ok(levels)
    }

    /// Reads one level.
    ///
    /// # Errors
    /// As [`Decimal::parse`]; [`crate::ErrorKind::Invalid`] for a negative quantity;
    /// [`crate::ErrorKind::Limit`] for more levels than a message may have.
    pub fn push(&mut self, side: Side, price_text: &'a str, qty_text: &'a str) -> Result<()> {
        let (price, price_digits) = Decimal::parse_with_digits(price_text)?;
        let (qty, qty_digits) = Decimal::parse_with_digits(qty_text)?;
        if qty.mantissa() < 0 {
            return Err(Error::invalid(format!(
                "quantity {qty_text:?} at {price_text}: expected zero or more"
            )));
        }
        let levels_max = limit::LEVELS_PER_SIDE_MAX * 2;
        if self.0.len() >= levels_max {
            return Err(Error::limit("levels of one message:", self.0.len() + 1, levels_max));
        }
        let digits = (price_digits, qty_digits);
        self.0.push(TextLevel { side, price, qty, price_text, qty_text, digits });
        Ok(())
    }

    /// Reads the levels of one side.
    ///
    /// # Errors
    /// As [`MessageLevels::push`].
    pub fn extend(&mut self, side: Side, levels: &[Level<'a>]) -> Result<()> {
        levels.iter().try_for_each(|level| self.push(side, level.price.text(), level.qty.text()))
    }

    /// Refuses levels that cannot stand in one column of 64-bit numbers, before they are stored.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Limit`] with the first number that does not fit.
    pub fn check(&self) -> Result<()> {
        let one_column = |value: fn(&TextLevel<'a>) -> Decimal| {
            let scale = self.0.iter().map(|level| value(level).scale()).max().unwrap_or(0);
            match self.0.iter().map(value).find(|value| value.mantissa_at(scale).is_none()) {
                None => Ok(()),
                Some(value) => Err(Error::new(
                    crate::ErrorKind::Limit,
                    format!(
                        "number {value} does not fit 64 bits beside a number with {scale} decimals"
                    ),
                )),
            }
        };
        one_column(|level| level.price)?;
        one_column(|level| level.qty)
    }

    pub fn iter(&self) -> impl Iterator<Item = &TextLevel<'a>> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A level that no message removed, but that left the book by the venue's rule.
pub(super) type DroppedLevel = (Side, Decimal);

/// The levels of a book with their text, for the venue's checksum.
#[derive(Debug, Default)]
pub(super) struct TextBook {
    bids: BTreeMap<Decimal, Text>,
    asks: BTreeMap<Decimal, Text>,
}

#[derive(Debug)]
struct Text {
    price: Box<str>,
    qty: Box<str>,
}

impl TextBook {
    /// Applies a message: what it says about a price is the new state there.
    pub fn apply(&mut self, snapshot: bool, levels: &MessageLevels<'_>) {
        if snapshot {
            self.bids.clear();
            self.asks.clear();
        }
        for level in levels.iter() {
            let side = self.side(level.side);
            if level.qty.is_zero() {
                side.remove(&level.price);
            } else {
                let text = Text { price: level.price_text.into(), qty: level.qty_text.into() };
                side.insert(level.price, text);
            }
        }
    }

    /// What differs from the whole book `levels`: its levels that are new or have another text, and
    /// what is no longer there.
    fn difference<'a>(&self, levels: &MessageLevels<'a>) -> (MessageLevels<'a>, Vec<DroppedLevel>) {
        let is_new = |level: &&TextLevel<'_>| {
            let side = if level.side == Side::Bid { &self.bids } else { &self.asks };
            side.get(&level.price).is_none_or(|text| *text.qty != *level.qty_text)
        };
        let changed = levels.iter().filter(is_new).copied().collect();
        let still = |side: Side| {
            let prices = levels.iter().filter(move |level| level.side == side);
            prices.map(|level| level.price).collect::<BTreeSet<_>>()
        };
        let gone = |side: Side, book: &BTreeMap<Decimal, Text>| {
            let still = still(side);
            let gone = book.keys().filter(|price| !still.contains(price));
            gone.map(|price| (side, *price)).collect::<Vec<_>>()
        };
        let mut dropped = gone(Side::Bid, &self.bids);
        dropped.extend(gone(Side::Ask, &self.asks));
        (MessageLevels(changed), dropped)
    }

    /// Drops the worst levels of each side until `depth` are left.
    pub fn cut(&mut self, depth: usize) -> Vec<DroppedLevel> {
        let mut dropped = Vec::new();
        while self.bids.len() > depth {
            dropped.extend(self.bids.pop_first().map(|(price, _)| (Side::Bid, price)));
        }
        while self.asks.len() > depth {
            dropped.extend(self.asks.pop_last().map(|(price, _)| (Side::Ask, price)));
        }
        dropped
    }

    /// Bids as text, best first.
    pub fn bids(&self) -> impl Iterator<Item = (&str, &str)> {
        self.bids.values().rev().map(|text| (&*text.price, &*text.qty))
    }

    /// Asks as text, best first.
    pub fn asks(&self) -> impl Iterator<Item = (&str, &str)> {
        self.asks.values().map(|text| (&*text.price, &*text.qty))
    }

    fn side(&mut self, side: Side) -> &mut BTreeMap<Decimal, Text> {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }
}

/// What the stored rows say about a book at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BookState {
    /// Before the first venue snapshot.
    Empty,
    /// Complete since the last snapshot.
    Live,
    /// Something is missing since the last snapshot.
    Stale,
}

/// One book of a feed.
#[derive(Debug)]
pub(super) struct FeedBook {
    pub instrument: Instrument,
    /// The connection its messages come on.
    pub connection: u32,
    /// The channel its messages come on, where a venue has several.
    pub channel: String,
    /// The venue's sequence number of the last message.
    pub seq: Option<i64>,
    pub text: TextBook,
    state: BookState,
    torn: bool,
}

impl FeedBook {
    fn new(instrument: Instrument, connection: u32) -> Self {
        Self {
            instrument,
            connection,
            channel: String::new(),
            seq: None,
            text: TextBook::default(),
            state: BookState::Empty,
            torn: false,
        }
    }

    /// Whether every level since the last venue snapshot is known.
    pub fn is_live(&self) -> bool {
        self.state == BookState::Live
    }

    /// Whether a venue snapshot was seen.
    pub fn has_snapshot(&self) -> bool {
        self.state != BookState::Empty
    }

    /// A message that may be one of its own could not be read.
    fn tear(&mut self, rows: &mut Rows, ts_recv: TsNs) {
        self.torn = true;
        if self.is_live() {
            self.gap(rows, (ts_recv, None), 1, UNREADABLE);
            // What follows on that message breaks no other chain.
            self.seq = None;
        }
    }

    /// Whether a message of it could not be read since the last one stored.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Whether a message of `channel` on `connection` belongs to this book. The channel that gave
    /// the book first keeps it; a snapshot of the same channel on a new connection moves it, and
    /// so does a snapshot of a better channel (`better`).
    pub fn takes(&mut self, channel: &str, connection: u32, snapshot: bool, better: bool) -> bool {
        let same = self.channel == channel;
        if self.channel.is_empty() || (snapshot && (same || better)) {
            channel.clone_into(&mut self.channel);
            self.connection = connection;
            return true;
        }
        same && self.connection == connection
    }

    /// Stores that `missing` messages (0 if unknown) are missing before what comes next. A book
    /// that is still empty has nothing to lose.
    pub fn gap(
        &mut self,
        rows: &mut Rows,
        (ts_recv, ts_event): (TsNs, Option<TsNs>),
        missing: u64,
        detail: &str,
    ) {
        if self.has_snapshot() {
            rows.gap(&self.instrument, ts_recv, ts_event, missing, detail);
            self.state = BookState::Stale;
        }
    }

    /// Checks that a message which names the one before it, `found`, follows on the last one;
    /// `name` is what the venue calls that number. A break is a gap.
    pub fn follow(
        &mut self,
        rows: &mut Rows,
        times: (TsNs, Option<TsNs>),
        snapshot: bool,
        name: &str,
        found: Option<i64>,
    ) {
        if let (false, Some(expected), Some(found)) = (snapshot, self.seq, found)
            && expected != found
        {
            self.gap(rows, times, 0, &format!("{name}: expected {expected}, found {found}"));
        }
    }

    /// A feed that begins in the middle: an empty book that is stale from its first row.
    fn begin_unknown(&mut self, rows: &mut Rows, head: MessageHead) {
        let detail = "no snapshot: the book is unknown where it was not changed";
        rows.status(&self.instrument, head.ts_recv, head.ts_event, StatusWhat::Gap, detail);
        let (builder, ts_recv) = rows.stream(&self.instrument, Kind::Book, head.ts_recv);
        builder.begin(MessageHead { ts_recv, ..MessageHead::default() });
        builder.reset();
        builder.gap(0);
        builder.end();
        self.state = BookState::Stale;
    }

    /// As [`FeedBook::store`] for a venue with checksums: `wrong` says how the book after the
    /// message differs from the venue's. A wrong update comes under a gap, a wrong snapshot is
    /// followed by one.
    pub fn store_checked(
        &mut self,
        rows: &mut ConnectionRows<'_>,
        head: MessageHead,
        levels: &MessageLevels<'_>,
        dropped: &[DroppedLevel],
        wrong: Option<&str>,
    ) {
        let times = (head.ts_recv, head.ts_event);
        if let (false, Some(detail)) = (head.snapshot, wrong) {
            self.gap(rows.inner(), times, 0, detail);
        }
        self.store(rows, head, levels, dropped);
        if let (true, Some(detail)) = (head.snapshot, wrong) {
            self.gap(rows.inner(), times, 0, detail);
        }
    }

    /// Stores a message that shows the whole book, as deep as the venue shows it: what changed
    /// where the book before is known, else as a venue snapshot.
    pub fn store_whole(
        &mut self,
        rows: &mut ConnectionRows<'_>,
        head: MessageHead,
        levels: &MessageLevels<'_>,
    ) {
        if self.is_live() {
            let (changed, dropped) = self.text.difference(levels);
            self.store(rows, MessageHead { snapshot: false, ..head }, &changed, &dropped);
        } else {
            self.store(rows, MessageHead { snapshot: true, ..head }, levels, &[]);
        }
        self.text.apply(true, levels);
    }

    /// Stores a message with the levels that the venue's rule drops after it.
    pub fn store(
        &mut self,
        rows: &mut ConnectionRows<'_>,
        head: MessageHead,
        levels: &MessageLevels<'_>,
        dropped: &[DroppedLevel],
    ) {
        let ts_recv = head.ts_recv;
        rows.meet(&self.instrument, ts_recv);
        self.torn = false;
        if !head.snapshot && levels.len() > 0 && self.state == BookState::Empty {
            self.begin_unknown(rows.inner(), head);
        }
        if head.snapshot {
            if self.state == BookState::Stale {
                let what = StatusWhat::Resync;
                let detail = "venue snapshot";
                rows.inner().status(&self.instrument, ts_recv, head.ts_event, what, detail);
            }
            self.state = BookState::Live;
        }
        let (builder, ts_recv) = rows.stream(&self.instrument, Kind::Book, ts_recv);
        builder.begin(MessageHead { ts_recv, ..head });
        for level in levels.iter() {
            builder.level(level.side, level.price, level.qty);
            builder.digits(book::PRICE, level.digits.0);
            builder.digits(book::QTY, level.digits.1);
        }
        for &(side, price) in dropped {
            builder.level(side, price, Decimal::ZERO);
        }
        builder.end();
    }
}

/// Which book the message being read is about, as far as it is known when reading fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum About {
    /// Any book of its connection.
    #[default]
    Unknown,
    /// The book of this exchange and symbol.
    Book(&'static str, String),
    /// No book at all.
    NoBook,
}

/// The books of one dialect by exchange and symbol.
#[derive(Debug, Default)]
pub(super) struct FeedBooks(HashMap<&'static str, HashMap<String, FeedBook>>);

impl FeedBooks {
    /// The book of `symbol`, new and empty on `connection` if there is none.
    ///
    /// # Errors
    /// As [`Instrument::new`].
    pub fn book(
        &mut self,
        exchange: &'static str,
        symbol: &str,
        connection: u32,
    ) -> Result<&mut FeedBook> {
        let books = self.0.entry(exchange).or_default();
        if !books.contains_key(symbol) {
            let book = FeedBook::new(Instrument::new(exchange, symbol)?, connection);
            books.insert(symbol.to_owned(), book);
        }
        books.get_mut(symbol).ok_or_else(|| Error::not_found(format!("book of {symbol}")))
    }

    /// All books in order of their names.
    pub fn all(&mut self) -> Vec<&mut FeedBook> {
        let mut books: Vec<_> = self.0.values_mut().flat_map(HashMap::values_mut).collect();
        books.sort_by(|a, b| a.instrument.cmp(&b.instrument));
        books
    }

    /// The books whose messages come on `connection`, in order of their names.
    pub fn of_connection(&mut self, connection: u32) -> Vec<&mut FeedBook> {
        let mut books = self.all();
        books.retain(|book| book.connection == connection);
        books
    }

    /// A message on `connection` could not be read: stores a gap in each book it may have been
    /// about.
    pub fn tear(&mut self, connection: u32, about: &About, rows: &mut Rows, ts_recv: TsNs) {
        match about {
            About::Unknown => {
                let books = self.of_connection(connection);
                books.into_iter().for_each(|book| book.tear(rows, ts_recv));
            }
            About::Book(exchange, symbol) => {
                let books = self.0.get_mut(exchange);
                if let Some(book) = books.and_then(|books| books.get_mut(symbol)) {
                    book.tear(rows, ts_recv);
                }
            }
            About::NoBook => {}
        }
    }

    /// The stored book is no longer what is known of it: it is stale until the next venue snapshot.
    pub fn doubt(&mut self, instrument: &Instrument) {
        let books = self.0.get_mut(instrument.exchange());
        if let Some(book) = books.and_then(|books| books.get_mut(instrument.symbol()))
            && book.has_snapshot()
        {
            book.state = BookState::Stale;
        }
    }

    /// Stores that `connection` was lost or begun anew: its books are stale until the next venue
    /// snapshot.
    pub fn lost(&mut self, connection: u32, rows: &mut Rows, ts_recv: TsNs) {
        for book in self.of_connection(connection) {
            if book.is_live() {
                book.gap(rows, (ts_recv, None), 0, "connection lost");
            }
            book.seq = None;
            book.channel.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Connections;
    use super::super::json::Number;
    use super::*;
    use crate::event::{Action, Batch};
    use crate::ingest::StreamKey;

    fn levels<'a>(levels: &[(Side, &'a str, &'a str)]) -> MessageLevels<'a> {
        let mut message = MessageLevels::default();
        levels
            .iter()
            .try_for_each(|&(side, price, qty)| message.push(side, price, qty))
            .and_then(|()| message.check())
            .unwrap();
        message
    }

    fn head(ts: i64, snapshot: bool) -> MessageHead {
        MessageHead { ts_recv: TsNs(ts), snapshot, ..MessageHead::default() }
    }

    fn stream(rows: Vec<(StreamKey, Batch)>, kind: Kind) -> Vec<Batch> {
        rows.into_iter().filter(|(key, _)| key.kind == kind).map(|(_, batch)| batch).collect()
    }

    #[test]
    fn text_survives_and_the_worst_levels_are_cut() {
        let mut book = TextBook::default();
        book.apply(
            true,
            &levels(&[
                (Side::Bid, "1.00", "5.0"),
                (Side::Bid, "3.00", "6.0"),
                (Side::Bid, "2.00", "7.0"),
                (Side::Ask, "4.00", "1.0"),
                (Side::Ask, "5.00", "2.0"),
            ]),
        );

        let dropped = book.cut(1);

        let price = |text| Decimal::parse(text).unwrap();
        let expected = [(Side::Bid, price("1")), (Side::Bid, price("2")), (Side::Ask, price("5"))];
        assert_eq!(dropped, expected);
        assert_eq!(book.bids().collect::<Vec<_>>(), [("3.00", "6.0")]);
        book.apply(false, &levels(&[(Side::Ask, "4", "0.000")]));
        assert_eq!(book.asks().count(), 0);
    }

    #[test]
    fn levels_are_refused_whole() {
        let mut message = MessageLevels::default();
        assert!(message.push(Side::Bid, "1", "-1").is_err());
        assert!(message.push(Side::Bid, "x", "1").is_err());
        let level = Level { price: Number("1"), qty: Number("") };
        assert!(message.extend(Side::Bid, &[level]).is_err());
        message.push(Side::Bid, "9000000000000000000", "1").unwrap();
        message.check().unwrap();
        message.push(Side::Bid, "0.01", "1").unwrap();
        let error = message.check().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit);
        assert!(error.to_string().contains("9000000000000000000"), "{error}");
    }

    #[test]
    fn a_message_holds_as_many_levels_as_two_full_sides() {
        let mut message = MessageLevels::default();
        for _ in 0..limit::LEVELS_PER_SIDE_MAX * 2 {
            message.push(Side::Bid, "1", "1").unwrap();
        }

        let error = message.push(Side::Bid, "1", "1").unwrap_err();

        assert_eq!(error.kind(), crate::ErrorKind::Limit);
        assert!(message.len() < limit::MESSAGE_ROWS_MAX);
    }

    #[test]
    fn a_message_that_cannot_be_read_is_a_gap_at_once_until_a_snapshot() {
        let mut books = FeedBooks::default();
        let mut rows = Rows::new();
        let mut connections = Connections::default();
        let level = levels(&[(Side::Bid, "1", "1")]);
        let book = books.book("kraken", "X", 7).unwrap();
        book.store(&mut connections.rows(7, &mut rows), head(1, true), &level, &[]);
        books.tear(8, &About::Unknown, &mut rows, TsNs(2));
        books.tear(7, &About::Book("kraken", "Y".into()), &mut rows, TsNs(2));
        books.tear(7, &About::NoBook, &mut rows, TsNs(2));
        assert!(books.book("kraken", "X", 7).unwrap().is_live());
        books.tear(7, &About::Unknown, &mut rows, TsNs(3));
        books.tear(7, &About::Book("kraken", "X".into()), &mut rows, TsNs(4));
        // It may never speak again.
        assert_eq!(stream(rows.take().unwrap(), Kind::Book)[0].ts_recv(), [1, 3]);

        let book = books.book("kraken", "X", 7).unwrap();
        book.store(&mut connections.rows(7, &mut rows), head(5, false), &level, &[]);
        assert!(!book.is_live() && book.has_snapshot());
        book.store(&mut connections.rows(7, &mut rows), head(6, true), &level, &[]);
        assert!(book.is_live());

        let taken = rows.take().unwrap();

        let status: Vec<_> = taken.iter().filter(|(key, _)| key.kind == Kind::Status).collect();
        assert_eq!(status[0].1.u8s(2), [StatusWhat::Resync as u8]);
        let batches = stream(taken, Kind::Book);
        let (set, reset) = (Action::Set as u8, Action::Reset as u8);
        assert_eq!(batches[0].u8s(book::ACTION), [set, reset, set]);
    }

    #[test]
    fn a_feed_that_begins_in_the_middle_is_stale_from_its_first_row() {
        let mut books = FeedBooks::default();
        let mut rows = Rows::new();
        let mut connections = Connections::default();
        let level = levels(&[(Side::Bid, "1", "1")]);
        let book = books.book("kraken", "X", 7).unwrap();
        for ts in [1, 2] {
            book.store(&mut connections.rows(7, &mut rows), head(ts, false), &level, &[]);
        }
        assert!(!book.is_live());

        let batches = stream(rows.take().unwrap(), Kind::Book);

        let (set, reset, gap) = (Action::Set as u8, Action::Reset as u8, Action::Gap as u8);
        assert_eq!(batches[0].u8s(book::ACTION), [reset, gap, set, set]);
        assert_eq!(batches[0].messages(), 3);
    }

    #[test]
    fn a_lost_connection_makes_its_live_books_stale_once() {
        let mut books = FeedBooks::default();
        let mut rows = Rows::new();
        let mut connections = Connections::default();
        let level = levels(&[(Side::Bid, "1", "1")]);
        books.book("kraken", "X", 1).unwrap().store(
            &mut connections.rows(7, &mut rows),
            head(1, true),
            &level,
            &[],
        );
        books.book("kraken", "Y", 1).unwrap().store(
            &mut connections.rows(7, &mut rows),
            head(1, false),
            &level,
            &[],
        );
        books.book("kraken", "Z", 2).unwrap().store(
            &mut connections.rows(7, &mut rows),
            head(1, true),
            &level,
            &[],
        );

        books.lost(1, &mut rows, TsNs(2));
        books.lost(1, &mut rows, TsNs(3));

        let status = stream(rows.take().unwrap(), Kind::Status);
        assert_eq!(status.iter().map(Batch::rows).sum::<usize>(), 2);
        assert!(books.book("kraken", "Z", 2).unwrap().is_live());
        assert!(books.book("kraken", "bad symbol", 2).is_err());
    }
}
