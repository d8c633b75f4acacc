//! `incremental_book_L2`: rows gathered into messages.

use super::fields::{Fields, Row, leading_decimal};
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
struct Head {
    ts_recv: TsNs,
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
    /// Largest magnitude, in units of 10^-18.
    largest: u128,
    scale: u8,
    digits: u8,
}

impl Fit {
    /// The column with `value` added; `None` if it would no longer fit.
    #[inline]
    fn with(self, value: Decimal, digits: u8) -> Option<Self> {
        let magnitude = u128::from(value.mantissa().unsigned_abs()) * unit(value.scale());
        let largest = self.largest.max(magnitude);
        let scale = self.scale.max(value.scale());
        let bound = u128::from(i64::MAX.unsigned_abs()) * unit(scale);
        (largest <= bound).then_some(Self { largest, scale, digits: self.digits.max(digits) })
    }
}

/// 10^-`scale` in units of 10^-18; `scale` is at most 18.
#[inline]
fn unit(scale: u8) -> u128 {
    let exponent = usize::from(limit::SCALE_MAX.saturating_sub(scale));
    POW10.get(exponent).map_or(1, |unit| u128::from(unit.unsigned_abs()))
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
type Level = (Side, (Decimal, u8), (Decimal, u8));

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
        if self.head != Some(head) {
            self.store(instrument, rows);
            if !self.begun && !snapshot {
                self.begin_unknown(row, instrument, rows);
            }
            self.begun = true;
            self.head = Some(head);
        }
        self.message.push(side, price, qty)
    }

    /// Takes `side,price,amount` and the line end of a row that is known to belong to the message
    /// being gathered, and gives how many bytes they are. `None` if they cannot be read; nothing
    /// has changed then.
    #[inline]
    pub(super) fn level_of_same_message(&mut self, pending: &[u8]) -> Option<usize> {
        let (side, rest) = match pending.split_at_checked(4)? {
            (b"bid,", rest) => (Side::Bid, rest),
            (b"ask,", rest) => (Side::Ask, rest),
            _ => return None,
        };
        let (price, rest) = leading_decimal(rest)?;
        let (qty, rest) = leading_decimal(rest.strip_prefix(b",")?)?;
        let rest = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
        self.message.push(side, price, qty).ok()?;
        Some(pending.len() - rest.len())
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

fn level(fields: &Fields<'_>) -> Result<Level> {
    let side = match fields.get(SIDE) {
        b"bid" => Side::Bid,
        b"ask" => Side::Ask,
        _ => return Err(fields.expected(SIDE, "bid or ask")),
    };
    Ok((side, fields.decimal(PRICE)?, fields.amount(AMOUNT)?))
}
