//! Bybit, API version 5: linear and inverse contracts (`bybit`) and spot (`bybit-spot`).
//!
//! - Book: `orderbook.N` with N above 1, a snapshot and then deltas; `u` counts one up with every
//!   message of a topic, so a gap knows how many are missing. `u` = 1 is a snapshot whatever it is
//!   called: the service was started anew. Of several depths the first seen is the book.
//! - Quotes: `orderbook.1`; where there is none, best bid and ask of `tickers` (venue_seq is `cs`).
//! - Ticker: `tickers`, whose deltas hold only what changed; not on spot.
//! - Trades: `publicTrade`. Liquidations: `allLiquidation` and `liquidation`; the venue gives the
//!   side of the position, the row has the side of the order that closed it.
//!
//! Both markets use the same topics on two connections, told apart by the address. Event time of
//! books is `cts` (when the engine did it) where there is one, else `ts` (when it was sent).

mod live;
mod message;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use self::message::{Depth, Envelope, Liquidation, Print, Ticker};
use super::connection::Unread;
use super::feed_book::UNREADABLE;
use super::json::{self, Level, Number};
use super::rows::Rows;
use super::ticker::TickerState;
use super::venue::{Clue, Venue};
use super::{Dialect, Frame};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, QuoteRow, Side, StatusWhat, TickerRow, TradeRow};
use crate::quantity::{Decimal, Instrument, TsNs};

const CONTRACTS: &str = "bybit";
const SPOT: &str = "bybit-spot";

pub(super) const VENUE: Venue = Venue {
    exchanges: &[CONTRACTS, SPOT],
    recognise: |clue| match clue {
        Clue::CaptureName("BYBIT") => Some(CONTRACTS),
        Clue::CaptureName(_) => None,
        Clue::Url(url) => exchange_of_url(url),
        Clue::Message(message) => exchange_of_message(message),
    },
    dialect: |exchange, _| {
        Box::new(Bybit { exchange, connections: HashMap::new(), feeds: HashMap::new() })
    },
    live: |exchange| Some(live::feed(exchange == SPOT)),
};

fn exchange_of_url(url: &str) -> Option<&'static str> {
    let (host, path) = url.split("://").nth(1)?.split_once('/')?;
    match path.split('?').next()?.rsplit('/').next()? {
        _ if !host.contains(".bybit.") => None,
        "spot" => Some(SPOT),
        "linear" | "inverse" => Some(CONTRACTS),
        _ => None,
    }
}

/// Only what one market alone has tells it: tick direction, marks and funding are of contracts.
fn exchange_of_message(message: &[u8]) -> Option<&'static str> {
    let envelope: Envelope<'_> = json::parse(message).ok()?;
    let (topic, data) = (envelope.topic?, envelope.data?.get());
    let name = topic.split('.').next()?;
    envelope.ts?;
    match name {
        "publicTrade" if data.contains("\"L\":") => Some(CONTRACTS),
        "publicTrade" => Some(SPOT),
        "tickers" if data.contains("\"usdIndexPrice\":") => Some(SPOT),
        "tickers" if data.contains("\"markPrice\":") => Some(CONTRACTS),
        "allLiquidation" | "liquidation" => Some(CONTRACTS),
        _ => None,
    }
}

/// The dialect; see the module documentation.
#[derive(Debug)]
struct Bybit {
    /// Exchange of connections whose address nobody noted.
    exchange: &'static str,
    connections: HashMap<u32, Connection>,
    feeds: HashMap<&'static str, HashMap<String, Feed>>,
}

#[derive(Debug)]
struct Connection {
    exchange: &'static str,
    /// Empty if nobody noted it.
    address: String,
    symbols: BTreeSet<String>,
    unread: Unread,
}

/// One instrument.
#[derive(Debug)]
struct Feed {
    instrument: Instrument,
    book: Book,
    ticker: TickerState,
    quote: QuoteRow,
    /// `orderbook.1` was seen.
    quotes_from_book: bool,
}

#[derive(Debug, Default)]
struct Book {
    /// The topic that is the book.
    topic: String,
    state: State,
    /// `u` and `seq` of the last message.
    last: Option<(i64, i64)>,
}

impl Book {
    /// A message that may be one of its own could not be read.
    fn tear(&mut self, instrument: &Instrument, ts_recv: TsNs, rows: &mut Rows) {
        if self.state == State::Live {
            rows.gap(instrument, ts_recv, None, 1, UNREADABLE);
            self.state = State::Stale;
            // What follows on that message breaks no other chain.
            self.last = None;
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first snapshot.
    #[default]
    Empty,
    /// Complete since the last snapshot.
    Live,
    /// Something is missing since the last snapshot, or there was none.
    Stale,
}

/// What a handler needs besides the message.
struct Context<'a> {
    connection: u32,
    ts_recv: TsNs,
    rows: &'a mut Rows,
}

impl Dialect for Bybit {
    fn frame(
        &mut self,
        ts_recv: TsNs,
        connection: u32,
        frame: &Frame<'_>,
        rows: &mut Rows,
    ) -> Result<()> {
        let mut context = Context { connection, ts_recv, rows };
        match frame {
            Frame::Connected { url } => {
                let exchange = exchange_of_url(url).unwrap_or(self.exchange);
                let address = (*url).to_owned();
                let (symbols, unread) = (BTreeSet::new(), Unread::default());
                let connected = Connection { exchange, address, symbols, unread };
                self.connections.insert(connection, connected);
                Ok(())
            }
            Frame::Message(message) => {
                let read = self.message(&mut context, message);
                if read.is_err() {
                    self.tear(&mut context, message);
                }
                read
            }
            Frame::Sent(_) | Frame::Reply { .. } => Ok(()),
            Frame::Disconnected => {
                self.lost(&mut context);
                Ok(())
            }
        }
    }

    fn doubt(&mut self, instrument: &Instrument) {
        let feeds = self.feeds.get_mut(instrument.exchange());
        if let Some(feed) = feeds.and_then(|feeds| feeds.get_mut(instrument.symbol()))
            && feed.book.state == State::Live
        {
            feed.book.state = State::Stale;
        }
    }
}

impl Bybit {
    fn message(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let envelope: Envelope<'_> = json::parse(message)?;
        let (Some(topic), Some(data)) = (envelope.topic.as_deref(), envelope.data) else {
            return Ok(());
        };
        let data = data.get();
        match topic.split('.').next().unwrap_or_default() {
            "orderbook" => self.orderbook(context, topic, &envelope, data),
            "publicTrade" => {
                let prints: Vec<Print<'_>> = json::parse_text(data)?;
                self.prints(context, Kind::Trades, &prints)
            }
            "allLiquidation" => {
                let prints: Vec<Print<'_>> = json::parse_text(data)?;
                self.prints(context, Kind::Liquidations, &prints)
            }
            "liquidation" => self.liquidation(context, data),
            "tickers" => self.tickers(context, &envelope, data),
            _ => Ok(()),
        }
    }

    /// A message could not be read: a gap in each book that it may have been about.
    fn tear(&mut self, context: &mut Context<'_>, message: &[u8]) {
        let Some(connection) = self.connections.get_mut(&context.connection) else { return };
        let envelope = json::parse::<Envelope<'_>>(message).ok();
        let topic = envelope.as_ref().and_then(|envelope| envelope.topic.as_deref());
        let is_book = topic.is_none_or(|topic| topic.starts_with("orderbook."));
        let (ts_recv, rows) = (context.ts_recv, &mut *context.rows);
        let feeds = self.feeds.entry(connection.exchange).or_default();
        for symbol in connection.symbols.iter().filter(|_| is_book) {
            if let Some(feed) = feeds.get_mut(symbol)
                && topic.is_none_or(|topic| topic == feed.book.topic)
            {
                feed.book.tear(&feed.instrument, ts_recv, rows);
            }
        }
        if !is_book || topic.is_none() {
            let feeds = connection.symbols.iter().filter_map(|symbol| feeds.get(symbol));
            connection.unread.tell(feeds.map(|feed| &feed.instrument), rows, ts_recv);
        }
    }

    fn lost(&mut self, context: &mut Context<'_>) {
        let Some(connection) = self.connections.remove(&context.connection) else { return };
        for symbol in connection.symbols {
            let feeds = self.feeds.get_mut(connection.exchange);
            if let Some(feed) = feeds.and_then(|feeds| feeds.get_mut(&symbol)) {
                let (rows, ts_recv) = (&mut *context.rows, context.ts_recv);
                let (what, detail) = (StatusWhat::Disconnected, "connection lost");
                rows.status(&feed.instrument, ts_recv, None, what, detail);
                if feed.book.state == State::Live {
                    rows.gap(&feed.instrument, ts_recv, None, 0, detail);
                    feed.book.state = State::Stale;
                }
                feed.book.topic.clear();
                feed.book.last = None;
                feed.quote = QuoteRow::default();
            }
        }
    }

    /// The feed of a message's symbol, noted as one of its connection.
    fn feed(&mut self, context: &mut Context<'_>, symbol: &str) -> Result<&mut Feed> {
        let default = self.exchange;
        let connection = self.connections.entry(context.connection).or_insert_with(|| Connection {
            exchange: default,
            address: String::new(),
            symbols: BTreeSet::new(),
            unread: Unread::default(),
        });
        let feeds = self.feeds.entry(connection.exchange).or_default();
        if !feeds.contains_key(symbol) {
            let feed = Feed {
                instrument: Instrument::new(connection.exchange, symbol)?,
                book: Book::default(),
                ticker: TickerState::default(),
                quote: QuoteRow::default(),
                quotes_from_book: false,
            };
            feeds.insert(symbol.to_owned(), feed);
        }
        let feed =
            feeds.get_mut(symbol).ok_or_else(|| Error::not_found(format!("feed of {symbol}")))?;
        if !connection.symbols.contains(symbol) {
            connection.symbols.insert(symbol.to_owned());
            if !connection.address.is_empty() {
                let (rows, what) = (&mut *context.rows, StatusWhat::Connected);
                let address = &connection.address;
                rows.status(&feed.instrument, context.ts_recv, None, what, address);
            }
        }
        Ok(feed)
    }

    fn orderbook(
        &mut self,
        context: &mut Context<'_>,
        topic: &str,
        envelope: &Envelope<'_>,
        data: &str,
    ) -> Result<()> {
        let depth: Depth<'_> = json::parse_text(data)?;
        let snapshot = match envelope.what.as_deref() {
            Some("snapshot") => true,
            Some("delta") => depth.u == 1,
            other => {
                return Err(Error::invalid(format!(
                    "orderbook: expected type snapshot or delta, found {other:?}"
                )));
            }
        };
        let ts_ms = envelope.cts.or(envelope.ts);
        let ts_event = json::ts_ms(ts_ms.ok_or_else(|| Error::invalid("orderbook: expected ts"))?)?;
        let feed = self.feed(context, &depth.s)?;
        if topic.split('.').nth(1) == Some("1") {
            return feed.best(context, snapshot, ts_event, &depth);
        }
        if feed.book.topic.is_empty() {
            topic.clone_into(&mut feed.book.topic);
        }
        if feed.book.topic != topic {
            return Ok(());
        }
        feed.levels(context, snapshot, ts_event, &depth)
    }

    fn prints(
        &mut self,
        context: &mut Context<'_>,
        kind: Kind,
        prints: &[Print<'_>],
    ) -> Result<()> {
        let mut read = Vec::with_capacity(prints.len());
        for print in prints {
            let side = match kind {
                Kind::Liquidations => json::closing_side(&print.side)?,
                _ => json::trade_side(&print.side)?,
            };
            let ts_event = Some(json::ts_ms(print.time_ms)?);
            let (price, qty) = (print.price.decimal()?, print.qty.decimal()?);
            let (ts_recv, trade_id) = (context.ts_recv, &*print.id);
            read.push(TradeRow { ts_recv, ts_event, side, price, qty, trade_id });
        }
        for (row, print) in read.into_iter().zip(prints) {
            let feed = self.feed(context, &print.symbol)?;
            let (builder, ts_recv) = context.rows.stream(&feed.instrument, kind, context.ts_recv);
            builder.trade(&TradeRow { ts_recv, ..row });
        }
        Ok(())
    }

    /// One order, or an array of them in captures by Tardis.
    fn liquidation(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        let orders: Vec<Liquidation<'_>> = json::parse_one_or_many(data)?;
        let mut read = Vec::with_capacity(orders.len());
        for order in &orders {
            let side = json::closing_side(&order.side)?;
            let (price, qty) = (order.price.decimal()?, order.size.decimal()?);
            let ts_event = Some(json::ts_ms(order.time_ms)?);
            let (ts_recv, trade_id) = (context.ts_recv, order.id.unwrap_or_default().text());
            read.push(TradeRow { ts_recv, ts_event, side, price, qty, trade_id });
        }
        for (row, order) in read.into_iter().zip(&orders) {
            let feed = self.feed(context, &order.symbol)?;
            let (builder, ts_recv) =
                context.rows.stream(&feed.instrument, Kind::Liquidations, context.ts_recv);
            builder.trade(&TradeRow { ts_recv, ..row });
        }
        Ok(())
    }

    fn tickers(
        &mut self,
        context: &mut Context<'_>,
        envelope: &Envelope<'_>,
        data: &str,
    ) -> Result<()> {
        let ticker: Ticker<'_> = json::parse_text(data)?;
        let change = TickerChange::read(&ticker)?;
        let ts_event = envelope.ts.map(json::ts_ms).transpose()?;
        let feed = self.feed(context, &ticker.symbol)?;
        let (bid, ask) = (change.bid(feed.quote.bid), change.ask(feed.quote.ask));
        if !feed.quotes_from_book && (bid, ask) != (feed.quote.bid, feed.quote.ask) {
            feed.store_quote(
                context,
                QuoteRow { ts_event, bid, ask, venue_seq: envelope.cs, ..QuoteRow::default() },
            );
        }
        if feed.instrument.exchange() == SPOT {
            return Ok(());
        }
        feed.ticker.last(change.last);
        feed.ticker.mark(change.mark);
        feed.ticker.index(change.index);
        feed.ticker.open_interest(change.open_interest);
        feed.ticker.funding_rate(change.funding_rate);
        feed.ticker.funding_ts(change.funding_ts);
        feed.ticker.ts_event(ts_event);
        if let Some(row) = feed.ticker.take(context.ts_recv) {
            let (builder, ts_recv) =
                context.rows.stream(&feed.instrument, Kind::Ticker, context.ts_recv);
            builder.ticker(&TickerRow { ts_recv, ..row });
        }
        Ok(())
    }
}

impl Feed {
    /// Stores a message of the book.
    fn levels(
        &mut self,
        context: &mut Context<'_>,
        snapshot: bool,
        ts_event: TsNs,
        depth: &Depth<'_>,
    ) -> Result<()> {
        let (ts_recv, rows) = (context.ts_recv, &mut *context.rows);
        match self.book.last {
            Some((u, seq)) if !snapshot && depth.u <= u && depth.seq <= seq => return Ok(()),
            Some((u, _)) if !snapshot && depth.u != u.saturating_add(1) => {
                depth.check()?;
                let missing = depth.u.saturating_sub(u).saturating_sub(1);
                let missing = u64::try_from(missing).unwrap_or(0);
                let detail = format!("expected u {}, found {}", u.saturating_add(1), depth.u);
                rows.gap(&self.instrument, ts_recv, Some(ts_event), missing, &detail);
                self.book.state = State::Stale;
            }
            _ => {}
        }
        if !snapshot && self.book.state == State::Empty {
            depth.check()?;
            let detail = "no snapshot: the book is unknown where it was not changed";
            rows.status(&self.instrument, ts_recv, Some(ts_event), StatusWhat::Gap, detail);
            let (builder, ts_recv) = rows.stream(&self.instrument, Kind::Book, ts_recv);
            builder.begin(MessageHead { ts_recv, ..MessageHead::default() });
            builder.reset();
            builder.gap(0);
            builder.end();
            self.book.state = State::Stale;
        }
        let (builder, ts_stored) = rows.stream(&self.instrument, Kind::Book, ts_recv);
        builder.begin(MessageHead {
            ts_recv: ts_stored,
            ts_event: Some(ts_event),
            venue_seq: Some(depth.u),
            snapshot,
        });
        let pushed = json::push_levels(builder, Side::Bid, &depth.b)
            .and_then(|()| json::push_levels(builder, Side::Ask, &depth.a));
        if let Err(error) = pushed {
            builder.abandon();
            return Err(error);
        }
        builder.end();
        self.book.last = Some((depth.u, depth.seq));
        if snapshot {
            if self.book.state == State::Stale {
                let detail = format!("snapshot with u {}", depth.u);
                let what = StatusWhat::Resync;
                rows.status(&self.instrument, ts_recv, Some(ts_event), what, &detail);
            }
            self.book.state = State::Live;
        }
        Ok(())
    }

    /// Stores a message of `orderbook.1`: of a side that changed, the level that is there now.
    fn best(
        &mut self,
        context: &mut Context<'_>,
        snapshot: bool,
        ts_event: TsNs,
        depth: &Depth<'_>,
    ) -> Result<()> {
        self.quotes_from_book = true;
        let side = |levels: &[Level<'_>], mut now: Option<(Decimal, Decimal)>| {
            if snapshot {
                now = None;
            }
            for level in levels {
                let (price, qty) = (level.price.decimal()?, level.qty.decimal()?);
                match now {
                    Some((old, _)) if qty.is_zero() && old == price => now = None,
                    _ if qty.is_zero() => {}
                    _ => now = Some((price, qty)),
                }
            }
            Ok::<_, Error>(now)
        };
        let (bid, ask) = (side(&depth.b, self.quote.bid)?, side(&depth.a, self.quote.ask)?);
        let venue_seq = Some(depth.u);
        let ts_event = Some(ts_event);
        self.store_quote(context, QuoteRow { ts_event, bid, ask, venue_seq, ..self.quote });
        Ok(())
    }

    fn store_quote(&mut self, context: &mut Context<'_>, quote: QuoteRow) {
        let (builder, ts_recv) =
            context.rows.stream(&self.instrument, Kind::Quotes, context.ts_recv);
        self.quote = QuoteRow { ts_recv, ..quote };
        builder.quote(&self.quote);
    }
}

/// [`Ticker`] with its numbers read.
struct TickerChange {
    last: Option<Decimal>,
    mark: Option<Decimal>,
    index: Option<Decimal>,
    open_interest: Option<Decimal>,
    funding_rate: Option<Decimal>,
    funding_ts: Option<TsNs>,
    bid1: (Option<Decimal>, Option<Decimal>),
    ask1: (Option<Decimal>, Option<Decimal>),
}

impl TickerChange {
    fn read(ticker: &Ticker<'_>) -> Result<Self> {
        let number = |number: Option<Number<'_>>| number.map_or(Ok(None), Number::decimal_or_none);
        let next = ticker.next_funding_time.filter(|next| !matches!(next.text(), "" | "0"));
        Ok(Self {
            last: number(ticker.last_price)?,
            mark: number(ticker.mark_price)?,
            index: number(ticker.index_price)?,
            open_interest: number(ticker.open_interest)?,
            funding_rate: number(ticker.funding_rate)?,
            funding_ts: next.map(Number::ts_ms).transpose()?,
            bid1: (number(ticker.bid1_price)?, number(ticker.bid1_size)?),
            ask1: (number(ticker.ask1_price)?, number(ticker.ask1_size)?),
        })
    }

    fn bid(&self, old: Option<(Decimal, Decimal)>) -> Option<(Decimal, Decimal)> {
        merged(self.bid1, old)
    }

    fn ask(&self, old: Option<(Decimal, Decimal)>) -> Option<(Decimal, Decimal)> {
        merged(self.ask1, old)
    }
}

/// A side of the best prices after a change of its price, its quantity or both.
fn merged(
    (price, qty): (Option<Decimal>, Option<Decimal>),
    old: Option<(Decimal, Decimal)>,
) -> Option<(Decimal, Decimal)> {
    let price = price.or(old.map(|(price, _)| price))?;
    let qty = qty.or(old.map(|(_, qty)| qty))?;
    Some((price, qty))
}
