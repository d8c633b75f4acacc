//! OKX's messages: as the venue writes them, and as values.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::market::instrument;
use crate::error::Result;
use crate::ingest::feed_book::MessageLevels;
use crate::ingest::json::{Level, Number};
use crate::quantity::{Decimal, Instrument, TsNs};

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) arg: Option<Arg<'a>>,
    pub(super) event: Option<Cow<'a, str>>,
    pub(super) action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    pub(super) code: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Arg<'a> {
    #[serde(borrow)]
    pub(super) channel: Cow<'a, str>,
    #[serde(rename = "instId")]
    pub(super) symbol: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct BookData<'a> {
    #[serde(borrow)]
    pub(super) asks: Vec<Level<'a>>,
    #[serde(borrow)]
    pub(super) bids: Vec<Level<'a>>,
    #[serde(borrow)]
    pub(super) ts: Number<'a>,
    pub(super) checksum: Option<i64>,
    #[serde(rename = "seqId")]
    pub(super) seq: Option<i64>,
    #[serde(rename = "prevSeqId")]
    pub(super) previous: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct TradeData<'a> {
    #[serde(borrow, rename = "instId")]
    pub(super) symbol: Cow<'a, str>,
    #[serde(borrow, rename = "tradeId")]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) px: Number<'a>,
    #[serde(borrow)]
    pub(super) sz: Number<'a>,
    #[serde(borrow)]
    pub(super) side: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) ts: Number<'a>,
}

/// One entry of any of the channels that tell the state of an instrument.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StateData<'a> {
    #[serde(borrow)]
    pub(super) inst_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) ts: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) last: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) bid_px: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) bid_sz: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) ask_px: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) ask_sz: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) mark_px: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) idx_px: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) oi: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) funding_rate: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) next_funding_rate: Option<Number<'a>>,
    #[serde(borrow)]
    pub(super) funding_time: Option<Number<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Liquidations<'a> {
    #[serde(borrow, rename = "instId")]
    pub(super) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) details: Vec<Liquidation<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Liquidation<'a> {
    #[serde(borrow, rename = "bkPx")]
    pub(super) price: Number<'a>,
    #[serde(borrow)]
    pub(super) sz: Number<'a>,
    #[serde(borrow)]
    pub(super) side: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) ts: Number<'a>,
}

#[derive(Deserialize)]
pub(super) struct Reply<'a> {
    #[serde(borrow)]
    pub(super) data: Vec<BookData<'a>>,
}

/// [`BookData`] as values.
pub(super) struct BookMessage<'a> {
    pub(super) ts_event: TsNs,
    pub(super) levels: MessageLevels<'a>,
    pub(super) checksum: Option<i64>,
    pub(super) seq: Option<i64>,
    pub(super) previous: Option<i64>,
}

impl<'a> BookMessage<'a> {
    pub(super) fn read(data: &BookData<'a>) -> Result<Self> {
        let levels = MessageLevels::of(&data.bids, &data.asks)?;
        // 0 says that there is none, wherever OKX has the sequence instead.
        let checksum = data.checksum.filter(|&sum| sum != 0 || data.seq.is_none());
        let ts_event = data.ts.ts_ms()?;
        Ok(Self { ts_event, levels, checksum, seq: data.seq, previous: data.previous })
    }
}

/// [`StateData`] as values.
pub(super) struct StateUpdate<'a> {
    pub(super) symbol: &'a str,
    pub(super) instrument: Instrument,
    pub(super) ts_event: Option<TsNs>,
    pub(super) funding_ts: Option<TsNs>,
    pub(super) bid: Option<(Decimal, Decimal)>,
    pub(super) ask: Option<(Decimal, Decimal)>,
    pub(super) last: Option<Decimal>,
    pub(super) mark: Option<Decimal>,
    pub(super) index: Option<Decimal>,
    pub(super) open_interest: Option<Decimal>,
    pub(super) funding_rate: Option<Decimal>,
    pub(super) next_funding_rate: Option<Decimal>,
}

impl<'a> StateUpdate<'a> {
    pub(super) fn read(data: &'a StateData<'a>) -> Result<Self> {
        let number = |field: Option<Number<'a>>| match field {
            Some(number) => number.decimal_or_none(),
            None => Ok(None),
        };
        let time = |field: Option<Number<'a>>| match field {
            Some(Number("")) | None => Ok(None),
            Some(number) => number.ts_ms().map(Some),
        };
        Ok(Self {
            symbol: &data.inst_id,
            instrument: instrument(&data.inst_id)?,
            ts_event: time(data.ts)?,
            funding_ts: time(data.funding_time)?,
            bid: number(data.bid_px)?.zip(number(data.bid_sz)?),
            ask: number(data.ask_px)?.zip(number(data.ask_sz)?),
            last: number(data.last)?,
            mark: number(data.mark_px)?,
            index: number(data.idx_px)?,
            open_interest: number(data.oi)?,
            funding_rate: number(data.funding_rate)?,
            next_funding_rate: number(data.next_funding_rate)?,
        })
    }
}
