//! Messages of Bybit as they come.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Result;
use crate::ingest::json::{Level, Number};

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    pub topic: Option<Cow<'a, str>>,
    #[serde(rename = "type")]
    pub what: Option<Cow<'a, str>>,
    pub ts: Option<i64>,
    pub cts: Option<i64>,
    pub cs: Option<i64>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Depth<'a> {
    #[serde(borrow)]
    pub s: Cow<'a, str>,
    #[serde(borrow)]
    pub b: Vec<Level<'a>>,
    #[serde(borrow)]
    pub a: Vec<Level<'a>>,
    pub u: i64,
    #[serde(default)]
    pub seq: i64,
}

impl Depth<'_> {
    /// Refuses levels that are no numbers, before anything about the message is stored.
    pub fn check(&self) -> Result<()> {
        for level in self.b.iter().chain(&self.a) {
            level.price.decimal()?;
            level.qty.decimal()?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
pub(super) struct Print<'a> {
    #[serde(rename = "T")]
    pub time_ms: i64,
    #[serde(rename = "s", borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(rename = "S", borrow)]
    pub side: Cow<'a, str>,
    #[serde(rename = "p", borrow)]
    pub price: Number<'a>,
    #[serde(rename = "v", borrow)]
    pub qty: Number<'a>,
    #[serde(rename = "i", borrow, default)]
    pub id: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct Liquidation<'a> {
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub side: Cow<'a, str>,
    #[serde(borrow)]
    pub price: Number<'a>,
    #[serde(borrow, alias = "qty")]
    pub size: Number<'a>,
    #[serde(rename = "updatedTime", alias = "time")]
    pub time_ms: i64,
    #[serde(borrow)]
    pub id: Option<Number<'a>>,
}

/// Fields that a delta leaves out did not change.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ticker<'a> {
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub last_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub mark_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub index_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub open_interest: Option<Number<'a>>,
    #[serde(borrow)]
    pub funding_rate: Option<Number<'a>>,
    #[serde(borrow)]
    pub next_funding_time: Option<Number<'a>>,
    #[serde(borrow)]
    pub bid1_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub bid1_size: Option<Number<'a>>,
    #[serde(borrow)]
    pub ask1_price: Option<Number<'a>>,
    #[serde(borrow)]
    pub ask1_size: Option<Number<'a>>,
}
