//! Kraken's messages: as the venue writes them, and book messages as values.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::event::Side;
use crate::ingest::feed_book::MessageLevels;
use crate::ingest::json::{self, Level, Number};
use crate::limit;
use crate::quantity::TsNs;

/// A version 1 message that is no array.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
}

/// What a payload of a version 1 book message may hold.
#[derive(Default, Deserialize)]
pub(super) struct BookPart<'a> {
    #[serde(borrow, rename = "as")]
    pub(super) all_asks: Option<Vec<TimedLevel<'a>>>,
    #[serde(borrow, rename = "bs")]
    pub(super) all_bids: Option<Vec<TimedLevel<'a>>>,
    #[serde(borrow, rename = "a")]
    pub(super) asks: Option<Vec<TimedLevel<'a>>>,
    #[serde(borrow, rename = "b")]
    pub(super) bids: Option<Vec<TimedLevel<'a>>>,
    #[serde(borrow, rename = "c")]
    pub(super) checksum: Option<Number<'a>>,
}

/// `[price, qty, time]`, with `"r"` where the venue shows a level again.
#[derive(Deserialize)]
pub(super) struct TimedLevel<'a>(
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(default)] pub(super) IgnoredAny,
);

/// `[price, qty, time, side, order type, miscellaneous]`
#[derive(Deserialize)]
pub(super) struct Trade<'a>(
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Cow<'a, str>,
    pub(super) IgnoredAny,
    pub(super) IgnoredAny,
);

/// `[bid, ask, time, bid qty, ask qty]`
#[derive(Deserialize)]
pub(super) struct Spread<'a>(
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Number<'a>,
    #[serde(borrow)] pub(super) Number<'a>,
);

/// The best levels of a version 1 ticker: `[price, whole lots, qty]` each.
#[derive(Deserialize)]
pub(super) struct Ticker<'a> {
    #[serde(borrow, rename = "a")]
    pub(super) ask: (Number<'a>, IgnoredAny, Number<'a>),
    #[serde(borrow, rename = "b")]
    pub(super) bid: (Number<'a>, IgnoredAny, Number<'a>),
}

/// Any message of version 2.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) channel: Option<Cow<'a, str>>,
    #[serde(rename = "type")]
    pub(super) ty: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    pub(super) method: Option<Cow<'a, str>>,
    pub(super) result: Option<Subscribed<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Subscribed<'a> {
    pub(super) channel: Option<Cow<'a, str>>,
    pub(super) symbol: Option<Cow<'a, str>>,
    pub(super) depth: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Subscribe<'a> {
    #[serde(borrow)]
    pub(super) params: SubscribeParams<'a>,
}

#[derive(Deserialize)]
pub(super) struct SubscribeParams<'a> {
    #[serde(borrow)]
    pub(super) channel: Cow<'a, str>,
    pub(super) symbol: Vec<String>,
    pub(super) depth: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct BookData<'a> {
    #[serde(borrow)]
    pub(super) symbol: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) bids: Vec<Level<'a>>,
    #[serde(borrow, default)]
    pub(super) asks: Vec<Level<'a>>,
    pub(super) checksum: Option<u32>,
    pub(super) timestamp: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct TradeData<'a> {
    #[serde(borrow)]
    pub(super) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) side: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) price: Number<'a>,
    #[serde(borrow)]
    pub(super) qty: Number<'a>,
    #[serde(borrow)]
    pub(super) trade_id: Number<'a>,
    #[serde(borrow)]
    pub(super) timestamp: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct TickerData<'a> {
    #[serde(borrow)]
    pub(super) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) bid: Number<'a>,
    #[serde(borrow)]
    pub(super) bid_qty: Number<'a>,
    #[serde(borrow)]
    pub(super) ask: Number<'a>,
    #[serde(borrow)]
    pub(super) ask_qty: Number<'a>,
    pub(super) timestamp: Option<Cow<'a, str>>,
}

/// A book message of either version, as values.
pub(super) struct BookMessage<'a> {
    pub(super) levels: MessageLevels<'a>,
    pub(super) ts_event: Option<TsNs>,
    pub(super) snapshot: bool,
    pub(super) checksum: Option<u32>,
}

impl<'a> BookMessage<'a> {
    /// Reads one or two payloads; only the last one carries the checksum.
    pub(super) fn read_v1(parts: &[BookPart<'a>]) -> Result<Self> {
        let mut levels = MessageLevels::default();
        let (mut ts_event, mut checksum, mut snapshot, mut known) = (None, None, false, false);
        for part in parts {
            let sides = [
                (Side::Bid, &part.all_bids),
                (Side::Ask, &part.all_asks),
                (Side::Bid, &part.bids),
                (Side::Ask, &part.asks),
            ];
            for (side, timed) in sides {
                known |= timed.is_some();
                for TimedLevel(price, qty, time, _) in timed.iter().flatten() {
                    levels.push(side, price.text(), qty.text())?;
                    ts_event = ts_event.max(Some(json::ts_seconds(time.text())?));
                }
            }
            snapshot |= part.all_asks.is_some() || part.all_bids.is_some();
            if let Some(sum) = part.checksum {
                let sum = u32::try_from(sum.int()?);
                checksum = Some(sum.map_err(|_| Error::invalid("checksum: expected 32 bits"))?);
            }
        }
        if !known {
            return Err(Error::invalid("book: expected levels as, bs, a or b"));
        }
        levels.check()?;
        check_len(&levels)?;
        Ok(Self { levels, ts_event, snapshot, checksum })
    }

    pub(super) fn read_v2(data: &BookData<'a>, snapshot: bool) -> Result<Self> {
        let levels = MessageLevels::of(&data.bids, &data.asks)?;
        check_len(&levels)?;
        let ts_event = data.timestamp.as_deref().map(TsNs::parse).transpose()?;
        Ok(Self { levels, ts_event, snapshot, checksum: data.checksum })
    }
}

/// Each level may push another one out, and a reset row comes first.
fn check_len(levels: &MessageLevels<'_>) -> Result<()> {
    let levels_max = limit::MESSAGE_ROWS_MAX / 2 - 1;
    if levels.len() > levels_max {
        return Err(Error::limit("levels of one message:", levels.len(), levels_max));
    }
    Ok(())
}
