//! Tardis CSV: one file per data type and UTC day, times in whole microseconds.

use super::feed::{
    Delta, Feed, Open, Output, Snapshot, SnapshotRule, State, Times, Top, Trade, push_int,
    push_short,
};
use crate::book::Book;
use crate::error::Result;
use crate::event::{Side, TradeSide};
use crate::quantity::{Day, Instrument, TsNs};

/// The data types written, with their columns behind the four that all have.
const TYPES: [(&str, &str); 5] = [
    ("incremental_book_L2", "is_snapshot,side,price,amount"),
    ("trades", "id,side,price,amount"),
    ("quotes", "ask_amount,ask_price,bid_price,bid_amount"),
    (
        "derivative_ticker",
        "funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,\
         index_price,mark_price",
    ),
    ("liquidations", "id,side,price,amount"),
];

/// One instrument's files of all days.
pub(super) struct Tardis {
    prefix: String,
    price_decimals: u8,
    qty_decimals: u8,
    days: Vec<TardisDay>,
}

struct TardisDay {
    day: Day,
    book: Output,
    trades: Output,
    quotes: Output,
    ticker: Output,
    liquidations: Output,
}

impl TardisDay {
    fn open(day: Day, instrument: &Instrument, open: Open<'_>) -> Result<Self> {
        let mut file = |(data_type, columns): (&str, &str)| -> Result<Output> {
            let (exchange, symbol) = (instrument.exchange(), instrument.symbol());
            let name = format!("{exchange}_{data_type}_{day}_{symbol}.csv.gz");
            let mut output = Output::open(&name, &mut *open)?;
            let head = format!("exchange,symbol,timestamp,local_timestamp,{columns}");
            output.line.extend_from_slice(head.as_bytes());
            output.end_line()?;
            Ok(output)
        };
        let [book, trades, quotes, ticker, liquidations] = TYPES;
        Ok(Self {
            day,
            book: file(book)?,
            trades: file(trades)?,
            quotes: file(quotes)?,
            ticker: file(ticker)?,
            liquidations: file(liquidations)?,
        })
    }

    fn outputs(&mut self) -> [&mut Output; 5] {
        let Self { book, trades, quotes, ticker, liquidations, .. } = self;
        [book, trades, quotes, ticker, liquidations]
    }
}

impl Tardis {
    /// Files for every day from `first` to `last`. Numbers have the scales of `book`.
    pub fn new(
        instrument: &Instrument,
        book: &Book,
        (first, last): (TsNs, TsNs),
        open: Open<'_>,
    ) -> Result<Self> {
        let days = (first.day().0..=last.day().0).map(Day);
        Ok(Self {
            prefix: format!("{},{},", instrument.exchange(), instrument.symbol()),
            price_decimals: book.price_scale(),
            qty_decimals: book.qty_scale(),
            days: days
                .map(|day| TardisDay::open(day, instrument, &mut *open))
                .collect::<Result<_>>()?,
        })
    }

    /// A row in the file that `choose` picks of its day; `fill` adds what follows the times.
    fn row(
        &mut self,
        times: Times,
        choose: impl FnOnce(&mut TardisDay) -> &mut Output,
        fill: impl FnOnce(&mut Row<'_>),
    ) -> Result<()> {
        let day = times.recv().day();
        let Some(files) = self.days.iter_mut().find(|files| files.day == day) else {
            return Ok(());
        };
        let output = choose(files);
        let line = &mut output.line;
        line.extend_from_slice(self.prefix.as_bytes());
        push_int(line, times.event_ms() * 1000);
        line.push(b',');
        push_int(line, times.recv_ns / 1000);
        let (price_decimals, qty_decimals) = (self.price_decimals, self.qty_decimals);
        fill(&mut Row { line, price_decimals, qty_decimals });
        output.end_line()
    }

    fn level(
        &mut self,
        times: Times,
        snapshot: bool,
        (side, price, qty): (Side, i64, i64),
    ) -> Result<()> {
        self.row(
            times,
            |files| &mut files.book,
            |row| {
                row.text(if snapshot { "true" } else { "false" });
                row.text(if side == Side::Bid { "bid" } else { "ask" });
                row.price(price);
                row.qty(qty);
            },
        )
    }
}

/// A line being filled, field by field.
struct Row<'a> {
    line: &'a mut Vec<u8>,
    price_decimals: u8,
    qty_decimals: u8,
}

impl Row<'_> {
    fn text(&mut self, text: &str) {
        self.line.push(b',');
        self.line.extend_from_slice(text.as_bytes());
    }

    fn int(&mut self, value: i64) {
        self.line.push(b',');
        push_int(self.line, value);
    }

    fn price(&mut self, price: i64) {
        self.line.push(b',');
        push_short(self.line, price, self.price_decimals);
    }

    fn qty(&mut self, qty: i64) {
        self.line.push(b',');
        push_short(self.line, qty, self.qty_decimals);
    }

    fn trade(&mut self, trade: &Trade) {
        self.int(trade.id);
        self.text(if trade.print.side == TradeSide::Sell { "sell" } else { "buy" });
        self.price(trade.print.price);
        self.qty(trade.print.qty);
    }
}

impl Feed for Tardis {
    fn snapshot_rule(&self) -> SnapshotRule {
        SnapshotRule::Daily
    }

    fn clock_step_ns(&self) -> i64 {
        1000
    }

    fn subscribe(&mut self, _: Times) -> Result<()> {
        Ok(())
    }

    fn delta(&mut self, delta: &Delta<'_>) -> Result<()> {
        delta.levels.iter().try_for_each(|&level| self.level(delta.times, false, level))
    }

    fn snapshot(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        for side in [Side::Ask, Side::Bid] {
            for (price, qty) in snapshot.book.levels(side) {
                self.level(snapshot.times, true, (side, price, qty))?;
            }
        }
        Ok(())
    }

    fn top(&mut self, top: &Top) -> Result<()> {
        let [(bid, bid_qty), (ask, ask_qty)] = top.best;
        self.row(
            top.times,
            |files| &mut files.quotes,
            |row| {
                row.qty(ask_qty);
                row.price(ask);
                row.price(bid);
                row.qty(bid_qty);
            },
        )
    }

    fn trade(&mut self, trade: &Trade) -> Result<()> {
        self.row(trade.times, |files| &mut files.trades, |row| row.trade(trade))
    }

    fn state(&mut self, state: &State) -> Result<bool> {
        self.row(
            state.times,
            |files| &mut files.ticker,
            |row| {
                row.int(state.funding_ts_ms * 1000);
                row.line.push(b',');
                push_short(row.line, state.funding_rate, 8);
                row.text("");
                row.qty(state.open_interest);
                row.price(state.last);
                row.price(state.index);
                row.price(state.mark);
            },
        )?;
        Ok(true)
    }

    fn liquidation(&mut self, order: &Trade) -> Result<bool> {
        self.row(order.times, |files| &mut files.liquidations, |row| row.trade(order))?;
        Ok(true)
    }

    fn finish(&mut self) -> Result<()> {
        self.days.iter_mut().flat_map(TardisDay::outputs).try_for_each(Output::finish)
    }
}
