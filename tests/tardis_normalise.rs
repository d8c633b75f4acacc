//! Dialects read messages as Tardis.dev's own library does: its test messages go through ours, and
//! the records must be the same, number by number.
//!
//! A venue is one line in `VENUES`. Where we differ on purpose, an exception names the message and
//! the reason; an exception that has come to agree fails, so that none outlives its reason. The
//! vendor has no record for a gap, and its messages were trimmed until their sequence numbers have
//! holes, so gap rows are left out of the comparison.

#![cfg(feature = "ingest")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures and skipped data")]

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use tickreel::event::{Action, Batch, FLAG_SNAPSHOT, Side, StreamKey, Value};
use tickreel::event::{book, quotes, ticker, trades};
use tickreel::ingest::json::Number;
use tickreel::ingest::{Frame, Rows, venues};
use tickreel::{Decimal, Kind, TsNs};

/// How one venue is compared.
struct Venue {
    exchange: &'static str,
    /// First and last message that differ, and why.
    exceptions: &'static [(u32, u32, &'static str)],
    /// Records of these types have another time, and why.
    times: &'static [(&'static str, &'static str)],
    /// Records of these types may come in addition, and why.
    extra: &'static [(&'static str, &'static str)],
}

const BYBIT_V2: &str = "API version 2, switched off in 2023";

const BITGET_BOOKS: &str = "the vendor has books from this channel since 2026 only";

const BITFINEX_SUMS: &str = "quantities of this channel are sums over 25 levels: none here";

const KRAKEN_ABSOLUTE: &str = "the vendor has relative funding rates since 2022 only";

const GATE_ORDER_BOOK: &str = "the older channel, whose numbers do not chain";

const CRYPTO_COM_FIRST: &str =
    "the first message of a symbol holds trades from before, which are left out here";

const OKEX_V3: &str = "API version 3, switched off in 2022";
const OKEX_FUNDING_TIME: &str =
    "funding had no time, so the vendor took the local one, later than all that follow; here none";

const VENUES: &[Venue] = &[
    Venue {
        exchange: "binance",
        exceptions: &[(
            9,
            9,
            "the vendor folds waiting deltas into the snapshot; here they follow",
        )],
        times: &[],
        extra: &[],
    },
    Venue {
        exchange: "binance-futures",
        exceptions: &[
            (1, 1, "an aggTrade, which the vendor leaves out; refused because its id was trimmed"),
            (7, 7, "the vendor folds waiting deltas into the snapshot; here they follow"),
            (8, 8, "repeats the update id of message 6 with the same time: applied already"),
            (11, 11, "the vendor leaves out trades of the insurance fund; here every print counts"),
        ],
        times: &[
            ("book_change", "the vendor takes E, when it was sent; here T, when it happened"),
            ("book_ticker", "the vendor takes E, when it was sent; here T, when it happened"),
        ],
        extra: &[],
    },
    Venue {
        exchange: "binance-delivery",
        exceptions: &[(
            11,
            11,
            "the vendor leaves out auto-deleveraging trades; here every print counts",
        )],
        times: &[
            ("book_change", "the vendor takes E, when it was sent; here T, when it happened"),
            ("book_ticker", "the vendor takes E, when it was sent; here T, when it happened"),
        ],
        extra: &[],
    },
    Venue {
        exchange: "bybit",
        exceptions: &[
            (2, 6, BYBIT_V2),
            (8, 8, BYBIT_V2),
            (10, 20, BYBIT_V2),
            (22, 23, BYBIT_V2),
            (26, 28, BYBIT_V2),
            (33, 38, BYBIT_V2),
            (53, 53, "the vendor has liquidations from this channel since 2025-02-26 only"),
        ],
        times: &[],
        extra: &[("book_ticker", "best prices in tickers, where there is no orderbook.1")],
    },
    Venue { exchange: "bybit-spot", exceptions: &[(3, 5, BYBIT_V2)], times: &[], extra: &[] },
    Venue { exchange: "okex", exceptions: &[(1, 7, OKEX_V3)], times: &[], extra: &[] },
    Venue {
        exchange: "okex-futures",
        exceptions: &[
            (1, 17, OKEX_V3),
            (30, 30, "the vendor has liquidations from this channel since a later date only"),
        ],
        times: &[],
        extra: &[],
    },
    Venue {
        exchange: "okex-swap",
        exceptions: &[
            (1, 13, OKEX_V3),
            (17, 17, OKEX_FUNDING_TIME),
            (19, 20, OKEX_FUNDING_TIME),
            (22, 22, "the vendor has quotes from this channel since a later date only"),
            (24, 24, "repeats message 17 for a vendor's mapper of another date: nothing changed"),
        ],
        times: &[],
        extra: &[],
    },
    Venue {
        exchange: "okex-options",
        exceptions: &[(1, 22, OKEX_V3)],
        times: &[],
        extra: &[("derivative_ticker", "the vendor puts mark and interest in option_summary")],
    },
    Venue {
        exchange: "kraken",
        exceptions: &[(6, 6, "the vendor takes the channel's name for the symbol")],
        times: &[],
        extra: &[],
    },
    Venue { exchange: "coinbase", exceptions: &[], times: &[], extra: &[] },
    Venue { exchange: "bitget", exceptions: &[(6, 7, BITGET_BOOKS)], times: &[], extra: &[] },
    Venue {
        exchange: "bitget-futures",
        exceptions: &[
            (4, 5, BITGET_BOOKS),
            (6, 6, "an index price of more digits than 64 bits hold is unknown here"),
        ],
        times: &[],
        extra: &[("book_ticker", "best prices in ticker, where there is no books1")],
    },
    Venue {
        exchange: "ftx",
        exceptions: &[(11, 11, "repeats message 6 with another rate, which the vendor leaves out")],
        times: &[
            ("book_change", "the vendor rounds to microseconds"),
            ("book_ticker", "the vendor rounds to microseconds"),
        ],
        extra: &[],
    },
    Venue {
        exchange: "deribit",
        exceptions: &[],
        times: &[],
        extra: &[
            ("book_ticker", "best prices in quote, where there is no ticker"),
            ("derivative_ticker", "the vendor puts mark and interest in option_summary"),
        ],
    },
    Venue {
        exchange: "kucoin",
        exceptions: &[
            (13, 13, "the vendor folds waiting deltas into the snapshot; here they follow"),
            (16, 16, "its sequence is that of message 14: applied already"),
        ],
        times: &[("trade", "the vendor rounds to microseconds")],
        extra: &[],
    },
    Venue {
        exchange: "gate-io",
        exceptions: &[(1, 6, "API version 3, switched off in 2023")],
        times: &[],
        extra: &[],
    },
    Venue {
        exchange: "gate-io-futures",
        exceptions: &[
            (1, 4, GATE_ORDER_BOOK),
            (11, 14, GATE_ORDER_BOOK),
            (15, 15, "an array in an array is no ticker: refused, the vendor leaves it out"),
            (20, 20, GATE_ORDER_BOOK),
        ],
        times: &[],
        extra: &[],
    },
    Venue {
        exchange: "bitfinex",
        exceptions: &[(1, 1, BITFINEX_SUMS), (13, 13, BITFINEX_SUMS)],
        times: &[],
        extra: &[],
    },
    Venue {
        exchange: "bitfinex-derivatives",
        exceptions: &[
            (1, 1, BITFINEX_SUMS),
            (7, 7, "of a channel that nobody subscribed: refused, the vendor leaves it out"),
            (16, 16, "of a channel that nobody subscribed: refused, the vendor leaves it out"),
        ],
        times: &[("derivative_ticker", "the vendor takes when it was sent; here when it was so")],
        extra: &[],
    },
    Venue {
        exchange: "bitmex",
        exceptions: &[(7, 7, "two symbols in one message: the vendor has them in its order")],
        times: &[],
        extra: &[],
    },
    Venue { exchange: "hyperliquid", exceptions: &[], times: &[], extra: &[] },
    Venue {
        exchange: "cryptofacilities",
        exceptions: &[
            (3, 3, KRAKEN_ABSOLUTE),
            (6, 6, KRAKEN_ABSOLUTE),
            (13, 13, KRAKEN_ABSOLUTE),
            (14, 14, "a market before its start: the vendor takes 0 for a price"),
        ],
        times: &[],
        extra: &[],
    },
    Venue { exchange: "bitstamp", exceptions: &[], times: &[], extra: &[] },
    Venue {
        exchange: "crypto-com",
        exceptions: &[
            (2, 3, CRYPTO_COM_FIRST),
            (7, 7, CRYPTO_COM_FIRST),
            (11, 11, CRYPTO_COM_FIRST),
        ],
        times: &[("book_change", "the vendor takes when it was sent; here when it was so")],
        extra: &[],
    },
    Venue {
        exchange: "huobi",
        exceptions: &[
            (14, 15, "a channel of derivatives, which are other exchanges"),
            (21, 21, "the vendor folds waiting deltas into the snapshot; here they follow"),
        ],
        times: &[("book_change", "the vendor takes when it was sent; here when it was so")],
        extra: &[],
    },
    Venue {
        exchange: "kucoin-futures",
        exceptions: &[
            (5, 5, "the vendor folds waiting deltas into the snapshot; here they follow"),
            (10, 15, "the vendor takes the predicted funding rate for the current one"),
        ],
        times: &[],
        extra: &[],
    },
];

/// One line of the vendor's data.
#[derive(Deserialize)]
struct Case<'a> {
    n: u32,
    exchange: &'a str,
    local_timestamp: &'a str,
    #[serde(borrow)]
    raw: &'a RawValue,
    #[serde(borrow)]
    normalized: Vec<Vendor<'a>>,
}

/// A record of the vendor; which fields there are depends on its type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vendor<'a> {
    #[serde(rename = "type")]
    what: &'a str,
    symbol: &'a str,
    timestamp: &'a str,
    id: Option<&'a str>,
    side: Option<&'a str>,
    #[serde(borrow)]
    price: Option<Number<'a>>,
    #[serde(borrow)]
    amount: Option<Number<'a>>,
    is_snapshot: Option<bool>,
    #[serde(borrow, default)]
    bids: Vec<VendorLevel<'a>>,
    #[serde(borrow, default)]
    asks: Vec<VendorLevel<'a>>,
    #[serde(borrow)]
    bid_price: Option<Number<'a>>,
    #[serde(borrow)]
    bid_amount: Option<Number<'a>>,
    #[serde(borrow)]
    ask_price: Option<Number<'a>>,
    #[serde(borrow)]
    ask_amount: Option<Number<'a>>,
    #[serde(borrow)]
    last_price: Option<Number<'a>>,
    #[serde(borrow)]
    open_interest: Option<Number<'a>>,
    #[serde(borrow)]
    funding_rate: Option<Number<'a>>,
    funding_timestamp: Option<&'a str>,
    #[serde(borrow)]
    predicted_funding_rate: Option<Number<'a>>,
    #[serde(borrow)]
    index_price: Option<Number<'a>>,
    #[serde(borrow)]
    mark_price: Option<Number<'a>>,
}

#[derive(Deserialize)]
struct VendorLevel<'a> {
    #[serde(borrow)]
    price: Number<'a>,
    #[serde(borrow)]
    amount: Number<'a>,
}

/// A record of either side, its content as exact text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    what: &'static str,
    symbol: String,
    content: String,
    ts_event: i64,
}

const TYPES: [&str; 5] =
    ["book_change", "trade", "derivative_ticker", "liquidation", "book_ticker"];

fn text(number: Option<Decimal>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

impl Vendor<'_> {
    /// `None` for records that we have no kind for.
    fn record(&self) -> Option<Record> {
        let what = TYPES.into_iter().find(|what| *what == self.what)?;
        let number =
            |number: Option<Number<'_>>| text(number.map(|number| number.decimal().unwrap()));
        let levels = |levels: &[VendorLevel<'_>]| {
            let of = |level: &VendorLevel<'_>| {
                let (price, qty) =
                    (level.price.decimal().unwrap(), level.amount.decimal().unwrap());
                format!("{price}x{qty}")
            };
            levels.iter().map(of).collect::<Vec<_>>().join(" ")
        };
        let content = match what {
            "book_change" => {
                let snapshot = self.is_snapshot.unwrap();
                format!(
                    "snapshot={snapshot} bids={} asks={}",
                    levels(&self.bids),
                    levels(&self.asks)
                )
            }
            "trade" | "liquidation" => format!(
                "{} {}x{} id={}",
                self.side.unwrap(),
                number(self.price),
                number(self.amount),
                self.id.unwrap_or_default()
            ),
            "book_ticker" => format!(
                "bid={}x{} ask={}x{}",
                number(self.bid_price),
                number(self.bid_amount),
                number(self.ask_price),
                number(self.ask_amount)
            ),
            _ => format!(
                "last={} mark={} index={} rate={} predicted={} next={} interest={}",
                number(self.last_price),
                number(self.mark_price),
                number(self.index_price),
                number(self.funding_rate),
                number(self.predicted_funding_rate),
                self.funding_timestamp.map_or(0, |ts| TsNs::parse(ts).unwrap().0),
                number(self.open_interest)
            ),
        };
        let ts_event = TsNs::parse(self.timestamp).unwrap().0;
        Some(Record { what, symbol: self.symbol.to_owned(), content, ts_event })
    }
}

/// What our rows say, in the vendor's words.
fn records(key: &StreamKey, batch: &Batch, local: TsNs) -> Vec<Record> {
    let what = match key.kind {
        Kind::Book => "book_change",
        Kind::Trades => "trade",
        Kind::Quotes => "book_ticker",
        Kind::Ticker => "derivative_ticker",
        Kind::Liquidations => "liquidation",
        Kind::Orders | Kind::Status | Kind::Raw => return Vec::new(),
    };
    let messages = 0..batch.messages();
    messages
        .filter_map(|message| {
            let content = content(key.kind, batch, message)?;
            // The vendor puts the local time where the venue gives none.
            let ts_event = match batch.value(message, message, 1) {
                Value::Time(ts) => ts.0,
                _ => local.0,
            };
            let symbol = key.instrument.symbol().to_owned();
            Some(Record { what, symbol, content, ts_event })
        })
        .collect()
}

/// `None` for a message of gap rows only.
fn content(kind: Kind, batch: &Batch, message: usize) -> Option<String> {
    let value = |column| match batch.value(message, message, column) {
        Value::Decimal(number) => text(Some(number)),
        Value::Code(code) => code.to_owned(),
        Value::Text(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Value::Time(ts) => ts.0.to_string(),
        _ => "-".to_owned(),
    };
    Some(match kind {
        Kind::Book => {
            let rows = batch.message_rows(message);
            let actions = &batch.u8s(book::ACTION)[rows.clone()];
            if actions.contains(&(Action::Gap as u8)) {
                return None;
            }
            let snapshot = batch.u8s(book::FLAGS)[message] & FLAG_SNAPSHOT != 0;
            let side = |side: Side| {
                let of_side = rows.clone().filter(|row| {
                    batch.u8s(book::ACTION)[*row] == Action::Set as u8
                        && batch.u8s(book::SIDE)[*row] == side as u8
                });
                let level = |row| match (
                    batch.value(message, row, book::PRICE),
                    batch.value(message, row, book::QTY),
                ) {
                    (Value::Decimal(price), Value::Decimal(qty)) => format!("{price}x{qty}"),
                    other => panic!("{other:?}"),
                };
                of_side.map(level).collect::<Vec<_>>().join(" ")
            };
            format!("snapshot={snapshot} bids={} asks={}", side(Side::Bid), side(Side::Ask))
        }
        Kind::Quotes => format!(
            "bid={}x{} ask={}x{}",
            value(quotes::BID_PRICE),
            value(quotes::BID_QTY),
            value(quotes::ASK_PRICE),
            value(quotes::ASK_QTY)
        ),
        Kind::Ticker => {
            let next = value(ticker::FUNDING_TS);
            format!(
                "last={} mark={} index={} rate={} predicted={} next={} interest={}",
                value(ticker::LAST),
                value(ticker::MARK),
                value(ticker::INDEX),
                value(ticker::FUNDING_RATE),
                value(ticker::PREDICTED_FUNDING_RATE),
                if next == "-" { "0" } else { &next },
                value(ticker::OPEN_INTEREST)
            )
        }
        _ => format!(
            "{} {}x{} id={}",
            value(trades::SIDE),
            value(trades::PRICE),
            value(trades::QTY),
            value(trades::TRADE_ID)
        ),
    })
}

/// The vendor's messages; says so where they are not there.
fn lines() -> Option<Vec<String>> {
    let root = std::env::var_os("TICKREEL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = root.join("tardis-normalise/mappers.jsonl.zst");
    if !path.is_file() {
        eprintln!("SKIPPED: {} is not there; set TICKREEL_DATA", path.display());
        return None;
    }
    let input = tickreel::ingest::Input::open(&path).unwrap();
    Some(input.lines().map(Result::unwrap).collect())
}

/// How many records of each type agreed.
type Counts = BTreeMap<&'static str, usize>;

/// Compares one message; what differs, in words.
fn compare(
    venue: &Venue,
    mut ours: Vec<Record>,
    mut vendor: Vec<Record>,
    counts: &mut Counts,
) -> Vec<String> {
    let other_time = |what: &str| venue.times.iter().any(|(of, _)| *of == what);
    for record in ours.iter_mut().chain(&mut vendor) {
        // The vendor writes some symbols in upper case; here they are the venue's.
        record.symbol.make_ascii_uppercase();
        if other_time(record.what) {
            record.ts_event = 0;
        }
    }
    let may_come = |what: &str| venue.extra.iter().any(|(of, _)| *of == what);
    let vendor_has = |what: &str| vendor.iter().any(|record| record.what == what);
    ours.retain(|record| !may_come(record.what) || vendor_has(record.what));
    // Kinds are separate streams; inside one the order counts.
    ours.sort_by_key(|record| record.what);
    vendor.sort_by_key(|record| record.what);
    if ours == vendor {
        for record in &vendor {
            *counts.entry(record.what).or_default() += 1;
        }
        return Vec::new();
    }
    vec![format!("  ours   {ours:?}"), format!("  vendor {vendor:?}")]
}

#[test]
fn records_are_those_of_the_vendor() {
    let Some(lines) = lines() else { return };
    let mut failures = Vec::new();
    for venue in VENUES {
        let mut dialect = venues::dialect(venue.exchange, None).unwrap();
        let (mut rows, mut counts) = (Rows::new(), Counts::new());
        let (mut messages, mut excepted) = (0, 0);
        // By number, `None` once it differed: the vendor counts anew for each test of a venue.
        let mut agreeing: BTreeMap<u32, Option<String>> = BTreeMap::new();
        for line in &lines {
            let case: Case<'_> = serde_json::from_str(line).unwrap();
            if case.exchange != venue.exchange {
                continue;
            }
            messages += 1;
            let local = TsNs::parse(case.local_timestamp).unwrap();
            let message = Frame::Message(case.raw.get().as_bytes());
            let refused = dialect.frame(local, 1, &message, &mut rows).err();
            let taken = rows.take().unwrap();
            let ours = taken.iter().flat_map(|(key, batch)| records(key, batch, local)).collect();
            let vendor = case.normalized.iter().filter_map(Vendor::record).collect();
            let mut differs = compare(venue, ours, vendor, &mut counts);
            differs.extend(refused.map(|error| format!("  refused: {error}")));
            let exception =
                venue.exceptions.iter().find(|(first, last, _)| (*first..=*last).contains(&case.n));
            let name = format!("{} message {}", venue.exchange, case.n);
            match (differs.is_empty(), exception) {
                (true, None) => {}
                (false, Some(_)) => {
                    excepted += 1;
                    agreeing.insert(case.n, None);
                }
                (true, Some((_, _, reason))) => {
                    let text = format!("{name}: agrees, but is excepted: {reason}");
                    agreeing.entry(case.n).or_insert(Some(text));
                }
                (false, None) => {
                    failures.push(format!("{name}\n{}", differs.join("\n")));
                }
            }
        }
        failures.extend(agreeing.into_values().flatten());
        println!(
            "{}: {messages} messages, {excepted} excepted, agreed: {counts:?}",
            venue.exchange
        );
        assert!(messages > 0, "no messages of {}", venue.exchange);
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}
