//! Binance: spot, USD-M futures and COIN-M futures.
//!
//! - Book: `@depth` and the REST snapshot, see [`depth`]. Partial depth (`@depth20`) is not stored.
//! - Trades: `@trade`. `@aggTrade` stands in for an instrument that has no `@trade`; no print is
//!   stored twice where a feed has both.
//! - Quotes: `@bookTicker`, which has no event time on spot.
//! - Ticker: `@markPrice`, `@ticker`, `@indexPrice` and open interest, merged; futures only.
//! - Liquidations: `@forceOrder` with the order's price and whole quantity; side is the order's.
//!
//! Event time is `T` where a message has it (when the engine did it), else `E` (when it was sent).
//! A market is told by the connection's address; a message that contradicts it is refused.

mod depth;
mod live;
mod message;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use serde_json::value::RawValue;

use self::depth::DepthBook;
use self::message::{
    AggTradeId, BookTicker, Channel, Depth, ForceOrder, IndexPrice, MarkPrice, Market,
    OpenInterest, Snapshot, Ticker, Trade,
};
use super::connection::Unread;
use super::json::{self, Number};
use super::rows::Rows;
use super::ticker::TickerState;
use super::venue::{Clue, Venue};
use super::{Dialect, Frame};
use crate::error::{Error, Result};
use crate::event::{Kind, QuoteRow, StatusWhat, TradeRow, TradeSide};
use crate::quantity::{Decimal, Instrument, TsNs};

pub(super) const VENUE: Venue = Venue {
    exchanges: &[Market::Spot.exchange(), Market::UsdM.exchange(), Market::CoinM.exchange()],
    recognise: |clue| {
        let market = match clue {
            Clue::CaptureName("BINANCE") => Some(Market::Spot),
            Clue::CaptureName("BINANCE_FUTURES") => Some(Market::UsdM),
            Clue::CaptureName("BINANCE_DELIVERY") => Some(Market::CoinM),
            Clue::CaptureName(_) => None,
            Clue::Url(url) => Market::of_url(url),
            Clue::Message(message) => Market::of_message(message),
        };
        market.map(Market::exchange)
    },
    dialect: |exchange, symbol| {
        Box::new(Binance {
            market: Market::of_exchange(exchange),
            symbol: symbol.map(str::to_owned),
            connections: HashMap::new(),
            feeds: HashMap::new(),
            index: HashMap::new(),
        })
    },
    live: live::feed,
};

/// The dialect; see the module documentation.
#[derive(Debug)]
struct Binance {
    /// Market of connections whose address nobody noted.
    market: Market,
    /// Symbol of snapshots that name none.
    symbol: Option<String>,
    connections: HashMap<u32, Connection>,
    feeds: Feeds,
    /// COIN-M: index price by pair.
    index: HashMap<String, Decimal>,
}

#[derive(Debug)]
struct Connection {
    market: Market,
    /// Address without what was subscribed; empty if nobody noted it.
    address: String,
    symbols: BTreeSet<String>,
    unread: Unread,
}

type Feeds = HashMap<Market, HashMap<String, Feed>>;

/// One instrument.
#[derive(Debug)]
struct Feed {
    instrument: Instrument,
    book: DepthBook,
    ticker: TickerState,
    ticker_event: Option<TsNs>,
    /// `@trade` was seen.
    prints: bool,
    /// Last print that an `@aggTrade` stood for.
    last_aggregated: Option<i64>,
}

/// What a handler needs besides the message.
struct Context<'a> {
    connection: u32,
    ts_recv: TsNs,
    rows: &'a mut Rows,
}

impl Dialect for Binance {
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
                let address = url.split('?').next().unwrap_or(url).to_owned();
                let market = Market::of_url(url).unwrap_or(self.market);
                let (symbols, unread) = (BTreeSet::new(), Unread::default());
                let connected = Connection { market, address, symbols, unread };
                self.connections.insert(connection, connected);
                Ok(())
            }
            Frame::Sent(_) => Ok(()),
            Frame::Message(message) => {
                let read = self.read(&mut context, message);
                if read.is_err() {
                    self.tear(&mut context, message);
                }
                read
            }
            Frame::Reply { url, body } => self.reply(&mut context, url, body),
            Frame::Disconnected => {
                self.lost(&mut context);
                Ok(())
            }
        }
    }

    fn doubt(&mut self, instrument: &Instrument) {
        let mut feeds = self.feeds.values_mut().filter_map(|of| of.get_mut(instrument.symbol()));
        if let Some(feed) = feeds.find(|feed| feed.instrument == *instrument) {
            feed.book.doubt();
        }
    }

    fn finish(&mut self, rows: &mut Rows) -> Result<()> {
        let mut feeds: Vec<_> = self.feeds.values_mut().flat_map(HashMap::values_mut).collect();
        feeds.sort_by(|a, b| a.instrument.cmp(&b.instrument));
        feeds.into_iter().try_for_each(|feed| feed.book.give_up(&feed.instrument, rows))
    }
}

impl Binance {
    fn read(&mut self, context: &mut Context<'_>, message: &[u8]) -> Result<()> {
        let (stream, data) = message::unwrap(json::text(message)?)?;
        self.message(context, stream, data)
    }

    /// A message could not be read: a gap in each book that it may have been about.
    fn tear(&mut self, context: &mut Context<'_>, message: &[u8]) {
        let Some(connection) = self.connections.get_mut(&context.connection) else { return };
        let text = json::text(message).and_then(message::unwrap);
        let (stream, data) = text.unwrap_or_default();
        let about = stream.split_once('@').map(|(symbol, _)| symbol.to_uppercase());
        let is_book = match Channel::of(stream, data) {
            Ok(channel) => matches!(channel, Channel::Depth | Channel::Snapshot),
            Err(_) => true,
        };
        let (ts_recv, rows) = (context.ts_recv, &mut *context.rows);
        let feeds = self.feeds.entry(connection.market).or_default();
        for symbol in connection.symbols.iter().filter(|_| is_book) {
            if let Some(feed) = feeds.get_mut(symbol)
                && about.as_ref().is_none_or(|about| about == symbol)
            {
                feed.book.tear(&feed.instrument, ts_recv, rows);
            }
        }
        if !is_book || about.is_none() {
            let feeds = connection.symbols.iter().filter_map(|symbol| feeds.get(symbol));
            connection.unread.tell(feeds.map(|feed| &feed.instrument), rows, ts_recv);
        }
    }

    fn message(&mut self, context: &mut Context<'_>, stream: &str, data: &str) -> Result<()> {
        if data.starts_with('[') {
            let elements: Vec<&RawValue> = json::parse_text(data)?;
            return elements
                .into_iter()
                .try_for_each(|element| self.message(context, "", element.get()));
        }
        match Channel::of(stream, data)? {
            Channel::Depth => self.depth(context, data),
            Channel::Snapshot => {
                let symbol = stream.split_once('@').map(|(symbol, _)| symbol.to_uppercase());
                let market = self.market_of(context.connection);
                self.snapshot(context, market, symbol.as_deref(), data)
            }
            Channel::BookTicker => self.book_ticker(context, data),
            Channel::Trade => self.trade(context, data),
            Channel::AggTrade => self.agg_trade(context, data),
            Channel::MarkPrice => self.mark_price(context, data),
            Channel::IndexPrice => {
                let index: IndexPrice<'_> = json::parse_text(data)?;
                self.index.insert(index.pair.into_owned(), index.price.decimal()?);
                Ok(())
            }
            Channel::Ticker => self.ticker(context, data),
            Channel::ForceOrder => self.force_order(context, data),
            Channel::OpenInterest => {
                let market = self.market_of(context.connection);
                self.open_interest(context, market, data)
            }
            Channel::Other => Ok(()),
        }
    }

    fn reply(&mut self, context: &mut Context<'_>, url: &str, body: &[u8]) -> Result<()> {
        let market = Market::of_url(url).unwrap_or(self.market);
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        if path.ends_with("/depth") {
            let symbol = query.split('&').find_map(|part| part.strip_prefix("symbol="));
            return self.snapshot(context, market, symbol, json::text(body)?);
        }
        if path.ends_with("/openInterest") {
            return self.open_interest(context, market, json::text(body)?);
        }
        Ok(())
    }

    fn lost(&mut self, context: &mut Context<'_>) {
        let Some(connection) = self.connections.remove(&context.connection) else { return };
        for symbol in connection.symbols {
            let feeds = self.feeds.get_mut(&connection.market);
            if let Some(feed) = feeds.and_then(|feeds| feeds.get_mut(&symbol)) {
                feed.book.lost(&feed.instrument, context.ts_recv, context.rows);
            }
        }
    }

    fn market_of(&self, connection: u32) -> Market {
        self.connections.get(&connection).map_or(self.market, |connection| connection.market)
    }

    /// The feed of a message's symbol, noted as one of its connection.
    fn feed(&mut self, context: &mut Context<'_>, symbol: &str) -> Result<&mut Feed> {
        let market = self.market_of(context.connection);
        let connection = self.connections.entry(context.connection).or_insert_with(|| Connection {
            market,
            address: String::new(),
            symbols: BTreeSet::new(),
            unread: Unread::default(),
        });
        let feed = feed_of(&mut self.feeds, market, symbol)?;
        if !connection.symbols.contains(symbol) {
            connection.symbols.insert(symbol.to_owned());
            if !connection.address.is_empty() {
                let what = StatusWhat::Connected;
                let (rows, address) = (&mut *context.rows, &connection.address);
                rows.status(&feed.instrument, context.ts_recv, None, what, address);
            }
        }
        Ok(feed)
    }

    fn depth(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        let depth: Depth<'_> = json::parse_text(data)?;
        let market = self.market_of(context.connection);
        let fits = match market {
            Market::Spot => depth.previous.is_none() && depth.pair.is_none(),
            Market::UsdM => depth.previous.is_some() && depth.pair.is_none(),
            Market::CoinM => depth.previous.is_some(),
        };
        if !fits {
            let exchange = market.exchange();
            return Err(Error::invalid(format!("depthUpdate: is not of {exchange} by its fields")));
        }
        let feed = self.feed(context, &depth.symbol)?;
        feed.book.delta(&feed.instrument, context.ts_recv, &depth, data, context.rows)
    }

    fn snapshot(
        &mut self,
        context: &mut Context<'_>,
        market: Market,
        symbol: Option<&str>,
        data: &str,
    ) -> Result<()> {
        let snapshot: Snapshot<'_> = json::parse_text(data)?;
        let named = snapshot.symbol.as_deref().or(symbol).or(self.symbol.as_deref());
        let known = self.connections.get(&context.connection).map(|known| &known.symbols);
        let mut symbols = known.into_iter().flatten();
        let symbol = match (named, symbols.next(), symbols.next()) {
            (Some(symbol), ..) => symbol.to_owned(),
            (None, Some(symbol), None) => symbol.clone(),
            (None, Some(one), Some(other)) => {
                return Err(Error::invalid(format!(
                    "snapshot: names no symbol and its connection has several: {one}, {other}"
                )));
            }
            (None, None, _) => {
                return Err(Error::invalid(
                    "snapshot: names no symbol and comes before any message that does: pass \
                     --instrument",
                ));
            }
        };
        // Asked for on behalf of a connection, it is lost with it even if no message follows.
        let is_ours = self.connections.get(&context.connection).map(|known| known.market);
        let feed = match is_ours == Some(market) {
            true => self.feed(context, &symbol)?,
            false => feed_of(&mut self.feeds, market, &symbol)?,
        };
        feed.book.snapshot(&feed.instrument, context.ts_recv, &snapshot, context.rows)
    }

    fn book_ticker(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        let quote: BookTicker<'_> = json::parse_text(data)?;
        let (bid, ask, ts_event) = (quote.bid()?, quote.ask()?, quote.ts_event()?);
        let feed = self.feed(context, &quote.symbol)?;
        let (builder, ts_recv) =
            context.rows.stream(&feed.instrument, Kind::Quotes, context.ts_recv);
        builder.quote(&QuoteRow { ts_recv, ts_event, bid, ask, venue_seq: Some(quote.update) });
        Ok(())
    }

    fn trade(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        let trade: Trade<'_> = json::parse_text(data)?;
        let id = trade.id.ok_or_else(|| Error::invalid("trade: expected t"))?;
        let feed = self.feed(context, &trade.symbol)?;
        feed.prints = true;
        if let Some(last) = feed.last_aggregated
            && id.int()? <= last
        {
            return Ok(());
        }
        feed.store_trade(context, &trade, id.text())
    }

    fn agg_trade(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        let trade: Trade<'_> = json::parse_text(data)?;
        let id = json::parse_text::<AggTradeId<'_>>(data)?.id;
        let feed = self.feed(context, &trade.symbol)?;
        if feed.prints {
            return Ok(());
        }
        feed.last_aggregated = feed.last_aggregated.max(trade.last);
        feed.store_trade(context, &trade, id.text())
    }

    fn mark_price(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        let price: MarkPrice<'_> = json::parse_text(data)?;
        let mark = price.mark.decimal()?;
        let index = price.index.map(Number::decimal_or_none).transpose()?.flatten();
        let funding = price.funding()?;
        let ts_event = json::ts_ms(price.event_ms)?;
        self.merge(context, &price.symbol, Some(ts_event), |state| {
            state.mark(Some(mark));
            state.index(index);
            if let Some((rate, next)) = funding {
                state.funding_rate(rate);
                state.funding_ts(Some(next));
            }
        })
    }

    fn ticker(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        if self.market_of(context.connection) == Market::Spot {
            return Ok(());
        }
        let ticker: Ticker<'_> = json::parse_text(data)?;
        let last = ticker.last.decimal()?;
        let ts_event = json::ts_ms(ticker.event_ms)?;
        self.merge(context, &ticker.symbol, Some(ts_event), |state| state.last(Some(last)))
    }

    fn open_interest(
        &mut self,
        context: &mut Context<'_>,
        market: Market,
        data: &str,
    ) -> Result<()> {
        let interest: OpenInterest<'_> = json::parse_text(data)?;
        let value = interest.value.decimal()?;
        let ts_event = interest.time_ms.map(json::ts_ms).transpose()?;
        let feed = feed_of(&mut self.feeds, market, &interest.symbol)?;
        feed.merge(context, &self.index, ts_event, |state| state.open_interest(Some(value)));
        Ok(())
    }

    fn merge(
        &mut self,
        context: &mut Context<'_>,
        symbol: &str,
        ts_event: Option<TsNs>,
        change: impl FnOnce(&mut TickerState),
    ) -> Result<()> {
        self.feed(context, symbol)?;
        let market = self.market_of(context.connection);
        let feed = feed_of(&mut self.feeds, market, symbol)?;
        feed.merge(context, &self.index, ts_event, change);
        Ok(())
    }

    fn force_order(&mut self, context: &mut Context<'_>, data: &str) -> Result<()> {
        let ForceOrder { order } = json::parse_text(data)?;
        let side = match &*order.side {
            "BUY" => TradeSide::Buy,
            "SELL" => TradeSide::Sell,
            other => {
                return Err(Error::invalid(format!("side {other:?}: expected BUY or SELL")));
            }
        };
        let (price, qty) = (order.price.decimal()?, order.qty.decimal()?);
        let ts_event = Some(json::ts_ms(order.transaction_ms)?);
        let feed = self.feed(context, &order.symbol)?;
        let (builder, ts_recv) =
            context.rows.stream(&feed.instrument, Kind::Liquidations, context.ts_recv);
        builder.trade(&TradeRow { ts_recv, ts_event, side, price, qty, trade_id: "" });
        Ok(())
    }
}

/// The feed of an instrument, new if there is none.
fn feed_of<'a>(feeds: &'a mut Feeds, market: Market, symbol: &str) -> Result<&'a mut Feed> {
    let feeds = feeds.entry(market).or_default();
    if !feeds.contains_key(symbol) {
        let feed = Feed {
            instrument: Instrument::new(market.exchange(), symbol)?,
            book: DepthBook::default(),
            ticker: TickerState::default(),
            ticker_event: None,
            prints: false,
            last_aggregated: None,
        };
        feeds.insert(symbol.to_owned(), feed);
    }
    feeds.get_mut(symbol).ok_or_else(|| Error::not_found(format!("feed of {symbol}")))
}

impl Feed {
    /// A "print" of nothing (`X` is `NA` then) is none.
    fn store_trade(
        &mut self,
        context: &mut Context<'_>,
        trade: &Trade<'_>,
        trade_id: &str,
    ) -> Result<()> {
        let (price, qty) = (trade.price.decimal()?, trade.qty.decimal()?);
        let ts_event = Some(trade.ts_event()?);
        if qty.is_zero() {
            return Ok(());
        }
        let side = if trade.buyer_is_maker { TradeSide::Sell } else { TradeSide::Buy };
        let (builder, ts_recv) =
            context.rows.stream(&self.instrument, Kind::Trades, context.ts_recv);
        builder.trade(&TradeRow { ts_recv, ts_event, side, price, qty, trade_id });
        Ok(())
    }

    /// Merges a change of state; the index of the instrument's pair comes with it. Event time never
    /// goes back: open interest is older than what came over the stream meanwhile.
    fn merge(
        &mut self,
        context: &mut Context<'_>,
        index: &HashMap<String, Decimal>,
        ts_event: Option<TsNs>,
        change: impl FnOnce(&mut TickerState),
    ) {
        let symbol = self.instrument.symbol();
        let pair = symbol.split_once('_').map_or(symbol, |(pair, _)| pair);
        if self.instrument.exchange() == Market::CoinM.exchange() {
            self.ticker.index(index.get(pair).copied());
        }
        change(&mut self.ticker);
        self.ticker_event = self.ticker_event.max(ts_event);
        self.ticker.ts_event(self.ticker_event);
        if let Some(row) = self.ticker.take(context.ts_recv) {
            let (builder, ts_recv) =
                context.rows.stream(&self.instrument, Kind::Ticker, context.ts_recv);
            builder.ticker(&crate::event::TickerRow { ts_recv, ..row });
        }
    }
}
