//! What most dialects share: connections, books, and a message that cannot be read.

use super::connection::{ConnectionRows, Connections};
use super::feed_book::{About, FeedBooks};
use super::rows::Rows;
use super::ticker::TickerState;
use super::{Dialect, Frame};
use crate::error::Result;
use crate::event::{Kind, QuoteRow, TradeRow};
use crate::quantity::{Decimal, Instrument, TsNs};

/// One venue's messages; [`FeedDialect`] makes a [`Dialect`] of it.
pub(super) trait VenueFeed: Send {
    /// Takes a message; as [`Dialect::frame`].
    ///
    /// # Errors
    /// It cannot be read. No row of it was added.
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()>;

    /// Takes the answer to a REST request.
    ///
    /// # Errors
    /// It cannot be read. No row of it was added.
    fn reply(&mut self, context: &mut Context<'_>, url: &str, body: &[u8]) -> Result<()> {
        let _ = (context, url, body);
        Ok(())
    }

    /// We sent this text.
    fn sent(&mut self, message: &[u8]) {
        let _ = message;
    }

    /// The connection was lost or begins anew; its books become stale after this.
    ///
    /// # Errors
    /// Something that waited cannot be read.
    fn lost(&mut self, context: &mut Context<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// No more frames will come; as [`Dialect::finish`].
    ///
    /// # Errors
    /// Something that waited cannot be read.
    fn finish(&mut self, context: &mut Context<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }
}

/// What a feed needs besides the message.
pub(super) struct Context<'a> {
    /// When it was received.
    pub ts_recv: TsNs,
    /// The connection it came on.
    pub connection: u32,
    /// Where its rows go.
    pub rows: ConnectionRows<'a>,
    /// The books of the dialect.
    pub books: &'a mut FeedBooks,
    /// Which book the message is about; set as soon as it is known.
    pub about: &'a mut About,
}

impl Context<'_> {
    /// Adds a trade or liquidation, received now.
    pub fn trade(&mut self, instrument: &Instrument, kind: Kind, row: &TradeRow<'_>) {
        let (builder, ts_recv) = self.rows.stream(instrument, kind, self.ts_recv);
        builder.trade(&TradeRow { ts_recv, ..*row });
    }

    /// Adds trades or liquidations, received now: all, or none if one cannot be read.
    ///
    /// # Errors
    /// Of the first that cannot be read.
    pub fn trades<'r>(
        &mut self,
        kind: Kind,
        read: impl Iterator<Item = Result<(Instrument, TradeRow<'r>)>>,
    ) -> Result<()> {
        let rows = read.collect::<Result<Vec<_>>>()?;
        rows.iter().for_each(|(instrument, row)| self.trade(instrument, kind, row));
        Ok(())
    }

    /// Adds best prices, received now: all, or none if one cannot be read.
    ///
    /// # Errors
    /// Of the first that cannot be read.
    pub fn quotes(
        &mut self,
        read: impl Iterator<Item = Result<(Instrument, QuoteRow)>>,
    ) -> Result<()> {
        let rows = read.collect::<Result<Vec<_>>>()?;
        rows.iter().for_each(|(instrument, row)| self.quote(instrument, row));
        Ok(())
    }

    /// Adds best prices, received now.
    pub fn quote(&mut self, instrument: &Instrument, row: &QuoteRow) {
        let (builder, ts_recv) = self.rows.stream(instrument, Kind::Quotes, self.ts_recv);
        builder.quote(&QuoteRow { ts_recv, ..*row });
    }

    /// Adds best prices from a ticker, received now; as
    /// [`crate::event::BatchBuilder::quote_values`].
    pub fn quote_values(
        &mut self,
        instrument: &Instrument,
        ts_event: Option<TsNs>,
        values: [Option<Decimal>; 4],
    ) {
        let (builder, ts_recv) = self.rows.stream(instrument, Kind::Quotes, self.ts_recv);
        builder.quote_values(ts_recv, ts_event, values, None);
    }

    /// Adds the state of a derivative, if it changed.
    pub fn ticker(&mut self, instrument: &Instrument, state: &mut TickerState) {
        let (builder, ts_recv) = self.rows.stream(instrument, Kind::Ticker, self.ts_recv);
        if let Some(row) = state.take(ts_recv) {
            builder.ticker(&row);
        }
    }
}

/// A [`Dialect`] of a [`VenueFeed`].
#[derive(Debug, Default)]
pub(super) struct FeedDialect<H> {
    feed: H,
    connections: Connections,
    books: FeedBooks,
    about: About,
}

impl<H: VenueFeed + 'static> FeedDialect<H> {
    /// A feed that has seen nothing yet.
    pub fn boxed(feed: H) -> Box<dyn Dialect> {
        Box::new(Self {
            feed,
            connections: Connections::default(),
            books: FeedBooks::default(),
            about: About::Unknown,
        })
    }

    /// Runs `take` with a context for what came on `connection`.
    fn with_context(
        &mut self,
        (ts_recv, connection): (TsNs, u32),
        rows: &mut Rows,
        take: impl FnOnce(&mut H, &mut Context<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut context = Context {
            ts_recv,
            connection,
            rows: self.connections.rows(connection, rows),
            books: &mut self.books,
            about: &mut self.about,
        };
        take(&mut self.feed, &mut context)
    }
}

impl<H: VenueFeed + 'static> Dialect for FeedDialect<H> {
    fn frame(
        &mut self,
        ts_recv: TsNs,
        connection: u32,
        frame: &Frame<'_>,
        rows: &mut Rows,
    ) -> Result<()> {
        let at = (ts_recv, connection);
        match frame {
            Frame::Message(message) => {
                self.about = About::Unknown;
                let read =
                    self.with_context(at, rows, |feed, context| feed.message(context, message));
                if read.is_err() {
                    self.books.tear(connection, &self.about, rows, ts_recv);
                    if !matches!(self.about, About::Book(..)) {
                        self.connections.unread(connection, rows, ts_recv);
                    }
                }
                read
            }
            Frame::Reply { url, body } => {
                self.with_context(at, rows, |feed, context| feed.reply(context, url, body))
            }
            Frame::Sent(message) => {
                self.feed.sent(message);
                Ok(())
            }
            Frame::Connected { .. } | Frame::Disconnected => {
                let lost = self.with_context(at, rows, |feed, context| feed.lost(context));
                self.connections.lost(connection, ts_recv, rows);
                self.books.lost(connection, rows, ts_recv);
                if let Frame::Connected { url } = frame {
                    self.connections.connected(connection, url);
                }
                lost
            }
        }
    }

    fn doubt(&mut self, instrument: &Instrument) {
        self.books.doubt(instrument);
    }

    fn finish(&mut self, rows: &mut Rows) -> Result<()> {
        self.with_context((TsNs::MIN, 0), rows, |feed, context| feed.finish(context))
    }
}
