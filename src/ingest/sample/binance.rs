//! Binance as a recorder writes it: `<receive time in ns> <JSON message>` per line.

use std::io::Write;

use super::feed::{
    Delta, Feed, Open, Output, Snapshot, SnapshotRule, State, Times, Top, Trade, push_fixed,
    push_int,
};
use crate::book::Book;
use crate::error::Result;
use crate::event::{Side, TradeSide};

/// USD-margined futures or spot: they differ in a few fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Market {
    Futures,
    Spot,
}

/// One symbol's streams in one file.
pub(super) struct Binance {
    market: Market,
    symbol: String,
    stream: String,
    price_decimals: u8,
    qty_decimals: u8,
    output: Output,
}

impl Binance {
    /// Prices and quantities have the scales of `book`.
    pub fn new(market: Market, symbol: &str, book: &Book, open: Open<'_>) -> Result<Self> {
        let stream = symbol.to_lowercase();
        let prefix = if market == Market::Futures { "usdm" } else { "spot" };
        Ok(Self {
            market,
            symbol: symbol.to_owned(),
            output: Output::open(&format!("{prefix}_{stream}.gz"), open)?,
            stream,
            price_decimals: book.price_scale(),
            qty_decimals: book.qty_scale(),
        })
    }

    fn text(&mut self, text: &str) {
        self.output.line.extend_from_slice(text.as_bytes());
    }

    fn int(&mut self, before: &str, value: i64) {
        self.text(before);
        push_int(&mut self.output.line, value);
    }

    fn price(&mut self, before: &str, price: i64) {
        self.text(before);
        push_fixed(&mut self.output.line, price, self.price_decimals);
    }

    fn qty(&mut self, before: &str, qty: i64) {
        self.text(before);
        push_fixed(&mut self.output.line, qty, self.qty_decimals);
    }

    /// `<receive time> {"stream":"btcusdt@<channel>","data":{`
    fn open_message(&mut self, times: Times, channel: &str) {
        push_int(&mut self.output.line, times.recv_ns);
        let line = &mut self.output.line;
        // Writing to memory cannot fail.
        let _ = write!(line, " {{\"stream\":\"{}@{channel}\",\"data\":{{", self.stream);
    }

    /// `"s":"BTCUSDT"` behind `before`.
    fn symbol(&mut self, before: &str) {
        let _ = write!(self.output.line, "{before}\"s\":\"{}\"", self.symbol);
    }

    fn levels(&mut self, before: &str, levels: impl Iterator<Item = (i64, i64)>) {
        self.text(before);
        let mut separator = "[\"";
        for (price, qty) in levels {
            self.price(separator, price);
            self.qty("\",\"", qty);
            separator = "\"],[\"";
        }
        self.text(if separator == "[\"" { "]" } else { "\"]]" });
    }

    fn end(&mut self, closing: &str) -> Result<()> {
        self.text(closing);
        self.output.end_line()
    }
}

impl Feed for Binance {
    fn snapshot_rule(&self) -> SnapshotRule {
        SnapshotRule::Asked
    }

    fn clock_step_ns(&self) -> i64 {
        100
    }

    fn subscribe(&mut self, _: Times) -> Result<()> {
        Ok(())
    }

    fn delta(&mut self, delta: &Delta<'_>) -> Result<()> {
        let futures = self.market == Market::Futures;
        let event_ms = delta.times.event_ms();
        self.open_message(delta.times, if futures { "depth@0ms" } else { "depth@100ms" });
        self.int("\"e\":\"depthUpdate\",\"E\":", event_ms);
        if futures {
            self.int(",\"T\":", event_ms);
        }
        self.symbol(",");
        self.int(",\"U\":", delta.previous_id + 1);
        self.int(",\"u\":", delta.last_id);
        if futures {
            self.int(",\"pu\":", delta.previous_id);
        }
        for (name, wanted) in [(",\"b\":[", Side::Bid), (",\"a\":[", Side::Ask)] {
            let of_side = delta.levels.iter().filter(|level| level.0 == wanted);
            self.levels(name, of_side.map(|&(_, price, qty)| (price, qty)));
        }
        self.end("}}")
    }

    fn snapshot(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        push_int(&mut self.output.line, snapshot.times.recv_ns);
        self.int(" {\"lastUpdateId\":", snapshot.last_id);
        if self.market == Market::Futures {
            self.int(",\"E\":", snapshot.times.event_ms());
            self.int(",\"T\":", snapshot.times.event_ms());
        }
        self.levels(",\"bids\":[", snapshot.book.levels(Side::Bid));
        self.levels(",\"asks\":[", snapshot.book.levels(Side::Ask));
        self.end("}")
    }

    fn top(&mut self, top: &Top) -> Result<()> {
        let futures = self.market == Market::Futures;
        let [(bid, bid_qty), (ask, ask_qty)] = top.best;
        self.open_message(top.times, "bookTicker");
        self.text(if futures { "\"e\":\"bookTicker\"," } else { "" });
        self.int("\"u\":", top.last_id);
        self.symbol(",");
        self.price(",\"b\":\"", bid);
        self.qty("\",\"B\":\"", bid_qty);
        self.price("\",\"a\":\"", ask);
        self.qty("\",\"A\":\"", ask_qty);
        self.text("\"");
        if futures {
            self.int(",\"T\":", top.times.event_ms());
            self.int(",\"E\":", top.times.event_ms());
        }
        self.end("}}")
    }

    fn trade(&mut self, trade: &Trade) -> Result<()> {
        let futures = self.market == Market::Futures;
        let event_ms = trade.times.event_ms();
        self.open_message(trade.times, "trade");
        self.int("\"e\":\"trade\",\"E\":", event_ms);
        if futures {
            self.int(",\"T\":", event_ms);
        }
        self.symbol(",");
        self.int(",\"t\":", trade.id);
        self.price(",\"p\":\"", trade.print.price);
        self.qty("\",\"q\":\"", trade.print.qty);
        self.text("\"");
        if futures {
            self.text(",\"X\":\"MARKET\"");
        } else {
            self.int(",\"T\":", event_ms);
        }
        self.text(if trade.print.side == TradeSide::Sell { ",\"m\":true" } else { ",\"m\":false" });
        self.end(if futures { "}}" } else { ",\"M\":true}}" })
    }

    fn state(&mut self, state: &State) -> Result<bool> {
        if self.market == Market::Spot {
            return Ok(false);
        }
        self.open_message(state.times, "markPrice@1s");
        self.int("\"e\":\"markPriceUpdate\",\"E\":", state.times.event_ms());
        self.symbol(",");
        self.price(",\"p\":\"", state.mark);
        self.price("\",\"P\":\"", state.index);
        self.price("\",\"i\":\"", state.index);
        self.text("\",\"r\":\"");
        push_fixed(&mut self.output.line, state.funding_rate, 8);
        self.int("\",\"T\":", state.funding_ts_ms);
        self.end("}}")?;
        Ok(true)
    }

    fn liquidation(&mut self, order: &Trade) -> Result<bool> {
        if self.market == Market::Spot {
            return Ok(false);
        }
        self.open_message(order.times, "forceOrder");
        self.int("\"e\":\"forceOrder\",\"E\":", order.times.event_ms());
        self.symbol(",\"o\":{");
        let sell = order.print.side == TradeSide::Sell;
        self.text(if sell { ",\"S\":\"SELL\"" } else { ",\"S\":\"BUY\"" });
        self.text(",\"o\":\"LIMIT\",\"f\":\"IOC\"");
        self.qty(",\"q\":\"", order.print.qty);
        self.price("\",\"p\":\"", order.print.price);
        self.price("\",\"ap\":\"", order.print.price);
        self.text("\",\"X\":\"FILLED\"");
        self.qty(",\"l\":\"", order.print.qty);
        self.qty("\",\"z\":\"", order.print.qty);
        self.int("\",\"T\":", order.times.event_ms());
        self.end("}}}")?;
        Ok(true)
    }

    fn finish(&mut self) -> Result<()> {
        self.output.finish()
    }
}
