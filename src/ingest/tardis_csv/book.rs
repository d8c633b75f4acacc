//! `incremental_book_L2`: rows gathered into messages.

use super::fields::{Fields, Row, leading_decimal, leading_micros};
use crate::error::{Error, Result};
use crate::event::{Kind, MessageHead, Side, StatusWhat, book};
use crate::ingest::{Rows, StreamHint};
use crate::limit;
use crate::quantity::{Decimal, Instrument, POW10, TsNs};

const IS_SNAPSHOT: usize = 4;
pub(super) const SIDE: usize = 5;
const PRICE: usize = 6;
const AMOUNT: usize = 7;

/// What rows of one message have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) ts_recv: TsNs,
    ts_event: Option<TsNs>,
    snapshot: bool,
}

/// One instrument's message that is being gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    head: Option<Head>,
    message: Levels,
    /// Receive time of the message before, if it was a snapshot.
    snapshot_before: Option<TsNs>,
    begun: bool,
    hint: StreamHint,
}

/// Levels of one message.
#[derive(Debug, Default)]
pub(super) struct Levels {
    levels: Vec<(Side, Decimal, Decimal)>,
    price: Fit,
    qty: Fit,
}

/// Whether the decimals of a column of one message fit 64 bits at one scale.
#[derive(Clone, Copy, Debug, Default)]
struct Fit {
    /// Largest magnitude, in units of 10^-`scale`.
    largest: u64,
    scale: u8,
    digits: u8,
}

impl Fit {
    /// The column with `value` added; `None` if it would no longer fit.
    #[inline]
    fn with(self, value: Decimal, digits: u8) -> Option<Self> {
        let scale = self.scale.max(value.scale());
        let raised = |magnitude: u64, own: u8| {
            let factor = POW10.get(usize::from(scale - own))?.unsigned_abs();
            magnitude.checked_mul(factor).filter(|&raised| raised <= i64::MAX.unsigned_abs())
        };
        let before = raised(self.largest, self.scale)?;
        let added = raised(value.mantissa().unsigned_abs(), value.scale())?;
        Some(Self { largest: before.max(added), scale, digits: self.digits.max(digits) })
    }
}

impl Levels {
    /// Adds a level, unless the message would become too long or its values too far apart.
    #[inline]
    pub(super) fn push(
        &mut self,
        side: Side,
        (price, price_digits): (Decimal, u8),
        (qty, qty_digits): (Decimal, u8),
    ) -> Result<()> {
        let fits = self.price.with(price, price_digits).zip(self.qty.with(qty, qty_digits));
        match fits {
            // One row is kept for the reset.
            Some((price_fit, qty_fit)) if self.levels.len() + 1 < limit::MESSAGE_ROWS_MAX => {
                (self.price, self.qty) = (price_fit, qty_fit);
                self.levels.push((side, price, qty));
                Ok(())
            }
            Some(_) => {
                let rows = self.levels.len() + 2;
                Err(Error::limit("rows of one message:", rows, limit::MESSAGE_ROWS_MAX))
            }
            None => Err(Error::new(
                crate::ErrorKind::Limit,
                format!("price {price}, amount {qty}: do not fit 64 bits beside their message"),
            )),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.levels.clear();
        (self.price, self.qty) = (Fit::default(), Fit::default());
    }

    /// Adds the message to `rows` and forgets it.
    pub(super) fn store(
        &mut self,
        head: MessageHead,
        instrument: &Instrument,
        hint: &mut StreamHint,
        rows: &mut Rows,
    ) {
        let (builder, ts_recv) = rows.stream_at(hint, instrument, Kind::Book, head.ts_recv);
        builder.begin(MessageHead { ts_recv, ..head });
        builder.levels(&self.levels);
        builder.digits(book::PRICE, self.price.digits);
        builder.digits(book::QTY, self.qty.digits);
        builder.end();
        self.clear();
    }
}

/// One level of an `incremental_book_L2` row.
pub(super) type Level = (Side, (Decimal, u8), (Decimal, u8));

impl Gathered {
    /// Takes one row; what came before it is stored if the row begins another message.
    pub(super) fn row(
        &mut self,
        row: &Row<'_>,
        fields: &Fields<'_>,
        instrument: &Instrument,
        rows: &mut Rows,
    ) -> Result<()> {
        let snapshot = match fields.get(IS_SNAPSHOT) {
            b"true" => true,
            b"false" => false,
            _ => return Err(fields.expected(IS_SNAPSHOT, "true or false")),
        };
        let (side, price, qty) = level(fields)?;
        let head = Head { ts_recv: row.ts_recv, ts_event: row.ts_event, snapshot };
        if !self.begun && !snapshot {
            self.begin_unknown(row, instrument, rows);
        }
        self.begun = true;
        self.turn_to(head, instrument, rows);
        self.message.push(side, price, qty)
    }

    /// Makes the message of `head` the one that is being gathered.
    #[inline]
    fn turn_to(&mut self, head: Head, instrument: &Instrument, rows: &mut Rows) {
        if self.head != Some(head) {
            self.store(instrument, rows);
            self.head = Some(head);
        }
    }

    /// Takes a level in a message of `head`, or in the one being gathered. `None` if it cannot be
    /// taken.
    #[inline]
    pub(super) fn plain_row(
        &mut self,
        head: Option<Head>,
        (side, price, qty): Level,
        instrument: &Instrument,
        rows: &mut Rows,
    ) -> Option<()> {
        if let Some(head) = head {
            self.turn_to(head, instrument, rows);
        }
        self.message.push(side, price, qty).ok()
    }

    /// Says that the book is not known: the file begins in the middle of it.
    fn begin_unknown(&mut self, row: &Row<'_>, instrument: &Instrument, rows: &mut Rows) {
        let (builder, ts_recv) =
            rows.stream_at(&mut self.hint, instrument, Kind::Book, row.ts_recv);
        builder.begin(MessageHead { ts_recv, ts_event: row.ts_event, ..MessageHead::default() });
        builder.reset();
        builder.gap(0);
        builder.end();
        let detail = format!(
            "{} begins without a snapshot of the book at line {}; levels before are not known",
            row.file, row.line
        );
        rows.status(instrument, row.ts_recv, row.ts_event, StatusWhat::Gap, &detail);
    }

    /// Adds the gathered message, if there is one, to `rows`.
    pub(super) fn store(&mut self, instrument: &Instrument, rows: &mut Rows) {
        let Some(head) = self.head.take() else { return };
        let goes_on = head.snapshot && self.snapshot_before == Some(head.ts_recv);
        self.snapshot_before = head.snapshot.then_some(head.ts_recv);
        let head = MessageHead {
            ts_recv: head.ts_recv,
            ts_event: head.ts_event,
            venue_seq: None,
            snapshot: head.snapshot && !goes_on,
        };
        self.message.store(head, instrument, &mut self.hint, rows);
    }
}

/// `timestamp,local_timestamp,is_snapshot,`, none of them empty, and what follows.
#[inline]
pub(super) fn plain_head(text: &[u8]) -> Option<(Head, &[u8])> {
    let (ts_event, rest) = leading_micros(text)?;
    let (ts_recv, rest) = leading_micros(rest.strip_prefix(b",")?)?;
    let (snapshot, rest) = match rest.strip_prefix(b",false,") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix(b",true,")?),
    };
    Some((Head { ts_recv, ts_event: Some(ts_event), snapshot }, rest))
}

/// `side,price,amount` and the line end, in their plainest form, and what follows.
#[inline(always)]
pub(super) fn plain_level(text: &[u8]) -> Option<(Level, &[u8])> {
    let (side, rest) = match text.split_at_checked(4)? {
        (b"bid,", rest) => (Side::Bid, rest),
        (b"ask,", rest) => (Side::Ask, rest),
        _ => return None,
    };
    let (price, rest) = leading_decimal(rest)?;
    let (qty, rest) = leading_decimal(rest.strip_prefix(b",")?)?;
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
    Some(((side, price, qty), rest))
}

fn level(fields: &Fields<'_>) -> Result<Level> {
    let side = match fields.get(SIDE) {
        b"bid" => Side::Bid,
        b"ask" => Side::Ask,
        _ => return Err(fields.expected(SIDE, "bid or ask")),
    };
    Ok((side, fields.decimal(PRICE)?, fields.amount(AMOUNT)?))
}
