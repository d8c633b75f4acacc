//! OKX, API version 5, as cryptofeed records it: one JSON object per line around each message.

use std::io::Write;

use super::feed::{
    Delta, Feed, Open, Output, Snapshot, SnapshotRule, State, Times, Top, Trade, push_fixed,
    push_int, push_short,
};
use crate::book::Book;
use crate::error::Result;
use crate::event::{Side, TradeSide};

const CONNECTION: &str = "OKX.ws.1";
const ADDRESS: &str = "wss://ws.okx.com:8443/ws/v5/public";

/// Levels of each side that the checksum covers.
const CHECKSUM_LEVELS: usize = 25;

/// One instrument's channels in one file.
pub(super) struct Okx {
    symbol: String,
    price_decimals: u8,
    qty_decimals: u8,
    connected: bool,
    message: Vec<u8>,
    output: Output,
}

/// What a book message is: its action and the sequence it follows.
struct BookHead {
    action: &'static str,
    times: Times,
    previous_id: i64,
    last_id: i64,
}

impl Okx {
    /// Prices and quantities have the scales of `book`.
    pub fn new(symbol: &str, book: &Book, open: Open<'_>) -> Result<Self> {
        let name = format!("okx_{}.jsonl.zst", symbol.to_lowercase());
        Ok(Self {
            symbol: symbol.to_owned(),
            price_decimals: book.price_scale(),
            qty_decimals: book.qty_scale(),
            connected: false,
            message: Vec::new(),
            output: Output::open(&name, open)?,
        })
    }

    fn text(&mut self, text: &str) {
        self.message.extend_from_slice(text.as_bytes());
    }

    fn int(&mut self, before: &str, value: i64) {
        self.text(before);
        push_int(&mut self.message, value);
    }

    fn price(&mut self, before: &str, price: i64) {
        self.text(before);
        push_short(&mut self.message, price, self.price_decimals);
    }

    fn qty(&mut self, before: &str, qty: i64) {
        self.text(before);
        push_short(&mut self.message, qty, self.qty_decimals);
    }

    /// `{"arg":{"channel":"<channel>","instId":"BTC-USDT"}`
    fn open_message(&mut self, channel: &str) {
        self.text("{\"arg\":{\"channel\":\"");
        self.text(channel);
        let _ = write!(self.message, "\",\"instId\":\"{}\"}}", self.symbol);
    }

    fn levels(&mut self, before: &str, levels: impl Iterator<Item = (i64, i64)>) {
        self.text(before);
        let mut separator = "[\"";
        for (price, qty) in levels {
            self.price(separator, price);
            self.qty("\",\"", qty);
            // How many orders there are, nobody checks.
            self.int("\",\"0\",\"", if qty == 0 { 0 } else { 1 + price % 7 });
            separator = "\"],[\"";
        }
        self.text(if separator == "[\"" { "]" } else { "\"]]" });
    }

    fn book(
        &mut self,
        head: &BookHead,
        asks: impl Iterator<Item = (i64, i64)>,
        bids: impl Iterator<Item = (i64, i64)>,
        book: &Book,
    ) -> Result<()> {
        self.open_message("books");
        self.text(",\"action\":\"");
        self.text(head.action);
        self.levels("\",\"data\":[{\"asks\":[", asks);
        self.levels(",\"bids\":[", bids);
        self.int(",\"ts\":\"", head.times.event_ms());
        self.int("\",\"checksum\":", self.checksum(book));
        self.int(",\"seqId\":", head.last_id);
        self.int(",\"prevSeqId\":", head.previous_id);
        self.text("}]}");
        self.record("recv", head.times)
    }

    /// Signed CRC-32 of the best levels as `bid price:bid qty:ask price:ask qty:...`.
    fn checksum(&self, book: &Book) -> i64 {
        let mut text = Vec::new();
        let mut bids = book.levels(Side::Bid).take(CHECKSUM_LEVELS);
        let mut asks = book.levels(Side::Ask).take(CHECKSUM_LEVELS);
        for _ in 0..CHECKSUM_LEVELS {
            for (price, qty) in [bids.next(), asks.next()].into_iter().flatten() {
                push_short(&mut text, price, self.price_decimals);
                text.push(b':');
                push_short(&mut text, qty, self.qty_decimals);
                text.push(b':');
            }
        }
        text.pop();
        i64::from(crc32fast::hash(&text).cast_signed())
    }

    /// Writes the message as the data of a `recv` or `send` record.
    fn record(&mut self, what: &str, times: Times) -> Result<()> {
        let line = &mut self.output.line;
        let _ = write!(line, "{{\"t\":\"{what}\",\"conn\":\"{CONNECTION}\",\"ts\":");
        push_fixed(line, times.recv_ns / 1000, 6);
        if what == "send" {
            let _ = write!(line, ",\"addr\":\"{ADDRESS}\"");
        }
        line.extend_from_slice(b",\"data\":\"");
        for &byte in &self.message {
            if byte == b'"' {
                line.push(b'\\');
            }
            line.push(byte);
        }
        line.extend_from_slice(b"\"}");
        self.message.clear();
        self.output.end_line()
    }

    fn connect(&mut self, times: Times) -> Result<()> {
        self.connected = true;
        let line = &mut self.output.line;
        line.extend_from_slice(b"{\"t\":\"header\",\"format\":2,\"exchange\":\"OKX\",");
        let _ = write!(line, "\"config\":{{\"l2_book\":[\"{}\"]}},\"recorded\":", self.symbol);
        push_fixed(line, times.recv_ns / 1000, 6);
        line.push(b'}');
        self.output.end_line()?;
        let line = &mut self.output.line;
        let _ = write!(line, "{{\"t\":\"connect\",\"conn\":\"{CONNECTION}\",\"ts\":");
        push_fixed(line, times.recv_ns / 1000, 6);
        let _ = write!(line, ",\"addr\":\"{ADDRESS}\"}}");
        self.output.end_line()
    }

    fn ask(&mut self, op: &str, channels: &[&str], times: Times) -> Result<()> {
        let _ = write!(self.message, "{{\"op\":\"{op}\",\"args\":[");
        for (index, channel) in channels.iter().enumerate() {
            self.text(if index == 0 { "" } else { "," });
            let _ = write!(
                self.message,
                "{{\"channel\":\"{channel}\",\"instId\":\"{}\"}}",
                self.symbol
            );
        }
        self.text("]}");
        self.record("send", times)
    }
}

impl Feed for Okx {
    fn snapshot_rule(&self) -> SnapshotRule {
        SnapshotRule::Pushed
    }

    fn clock_step_ns(&self) -> i64 {
        1000
    }

    fn subscribe(&mut self, times: Times) -> Result<()> {
        if self.connected {
            self.ask("unsubscribe", &["books"], times)?;
            return self.ask("subscribe", &["books"], times);
        }
        self.connect(times)?;
        self.ask("subscribe", &["books", "trades", "bbo-tbt"], times)?;
        for channel in ["books", "trades", "bbo-tbt"] {
            let symbol = &self.symbol;
            let _ = write!(
                self.message,
                "{{\"event\":\"subscribe\",\
                 \"arg\":{{\"channel\":\"{channel}\",\"instId\":\"{symbol}\"}}}}"
            );
            self.record("recv", times)?;
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Delta<'_>) -> Result<()> {
        let head = BookHead {
            action: "update",
            times: delta.times,
            previous_id: delta.previous_id,
            last_id: delta.last_id,
        };
        let side = |wanted| {
            let of_side = delta.levels.iter().filter(move |level| level.0 == wanted);
            of_side.map(|&(_, price, qty)| (price, qty))
        };
        self.book(&head, side(Side::Ask), side(Side::Bid), delta.book)
    }

    fn snapshot(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        let head = BookHead {
            action: "snapshot",
            times: snapshot.times,
            previous_id: -1,
            last_id: snapshot.last_id,
        };
        let book = snapshot.book;
        self.book(&head, book.levels(Side::Ask), book.levels(Side::Bid), book)
    }

    fn top(&mut self, top: &Top) -> Result<()> {
        let [bid, ask] = top.best;
        self.open_message("bbo-tbt");
        self.levels(",\"data\":[{\"asks\":[", [ask].into_iter());
        self.levels(",\"bids\":[", [bid].into_iter());
        self.int(",\"ts\":\"", top.times.event_ms());
        self.int("\",\"seqId\":", top.last_id);
        self.text("}]}");
        self.record("recv", top.times)
    }

    fn trade(&mut self, trade: &Trade) -> Result<()> {
        self.open_message("trades");
        let _ = write!(self.message, ",\"data\":[{{\"instId\":\"{}\"", self.symbol);
        self.int(",\"tradeId\":\"", trade.id);
        self.price("\",\"px\":\"", trade.print.price);
        self.qty("\",\"sz\":\"", trade.print.qty);
        let sell = trade.print.side == TradeSide::Sell;
        self.text(if sell { "\",\"side\":\"sell\"" } else { "\",\"side\":\"buy\"" });
        self.int(",\"ts\":\"", trade.times.event_ms());
        self.text("\",\"count\":\"1\"}]}");
        self.record("recv", trade.times)
    }

    fn state(&mut self, _: &State) -> Result<bool> {
        Ok(false)
    }

    fn liquidation(&mut self, _: &Trade) -> Result<bool> {
        Ok(false)
    }

    fn finish(&mut self) -> Result<()> {
        self.output.finish()
    }
}
