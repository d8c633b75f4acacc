//! Cutting rows into parts: batches of about the size of a part, and long messages into answers.

use std::ops::Range;

use super::proto;
use crate::event::{Batch, Column, ColumnSpec, ColumnType, Values};
use crate::limit;

/// What rows take as Arrow columns, nearly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Width {
    /// Bytes of a row without its text.
    row_bytes: usize,
    has_text: bool,
}

impl Width {
    /// Of batches that have the columns that `batch` has.
    pub(super) fn of(batch: &Batch) -> Self {
        let mut width = Self { row_bytes: 0, has_text: false };
        for (spec, _) in present(batch) {
            width.has_text |= spec.ty == ColumnType::Text;
            width.row_bytes += match spec.ty {
                ColumnType::Time | ColumnType::Int => 8,
                ColumnType::Decimal => 16,
                ColumnType::Code(_) | ColumnType::Flags => 1,
                ColumnType::Text => 4,
            };
        }
        width
    }

    /// Bytes of some messages, which have these rows.
    #[inline]
    pub(super) fn bytes(self, batch: &Batch, messages: Range<usize>, rows: &Range<usize>) -> usize {
        let bytes = self.row_bytes.saturating_mul(rows.len());
        match self.has_text {
            true => bytes.saturating_add(text_bytes(batch, &messages, rows)),
            false => bytes,
        }
    }

    /// The message after the last of `messages` that fit `rows_max` and `bytes_max` together; at
    /// least one message, if there is one.
    #[inline]
    pub(super) fn fitting(
        self,
        batch: &Batch,
        messages: Range<usize>,
        rows_max: usize,
        bytes_max: usize,
    ) -> usize {
        let (start, end) = (messages.start, messages.end.min(batch.messages()));
        let first = batch.message_rows(start).start;
        let fits = |end: usize| {
            let rows = first..batch.message_rows(end - 1).end;
            rows.len() <= rows_max && self.bytes(batch, start..end, &rows) <= bytes_max
        };
        if start >= end || fits(end) {
            return end;
        }
        // The last that fits lies in low..high; each message more is larger.
        let (mut low, mut high) = (start + 1, end);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    }
}

fn present(batch: &Batch) -> impl Iterator<Item = (&ColumnSpec, &Column)> {
    let columns = batch.schema().columns.iter().zip(batch.columns());
    columns.filter_map(|(spec, column)| Some((spec, column.as_ref()?)))
}

fn text_bytes(batch: &Batch, messages: &Range<usize>, rows: &Range<usize>) -> usize {
    let mut bytes = 0usize;
    for (spec, column) in present(batch) {
        if let Values::Text(texts) = &column.values {
            let at = if spec.per_message { messages } else { rows };
            let place = |at: usize| match at.checked_sub(1) {
                Some(before) => texts.ends.get(before).map_or(0, |end| *end as usize),
                None => 0,
            };
            bytes = bytes.saturating_add(place(at.end).saturating_sub(place(at.start)));
        }
    }
    bytes
}

/// Arrow bytes as parts that fit answers.
pub(super) fn arrow_parts(mut data: bytes::Bytes) -> Vec<proto::ArrowPart> {
    let mut parts = Vec::new();
    while data.len() > limit::RPC_CUT_BYTES {
        let data = data.split_to(limit::RPC_CUT_BYTES);
        parts.push(proto::ArrowPart { data, more: true });
    }
    parts.push(proto::ArrowPart { data, more: false });
    parts
}

/// A frame as frames that fit answers.
pub(super) fn frame_parts(mut frame: proto::ReplayFrame) -> Vec<proto::ReplayFrame> {
    let mut parts = Vec::new();
    let mut part = proto::ReplayFrame::default();
    let mut room = limit::RPC_CUT_BYTES;
    for mut chunk in std::mem::take(&mut frame.chunks) {
        loop {
            let data = chunk.data.split_to(chunk.data.len().min(room));
            room -= data.len();
            let proto::ReplayChunk { stream, messages, rows, .. } = chunk;
            part.chunks.push(proto::ReplayChunk { stream, messages, rows, data });
            if chunk.data.is_empty() {
                break;
            }
            part.more = true;
            parts.push(std::mem::take(&mut part));
            room = limit::RPC_CUT_BYTES;
            (chunk.messages, chunk.rows) = (0, 0);
        }
    }
    frame.chunks = part.chunks;
    parts.push(frame);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchBuilder, Kind, MessageHead, Side, TradeRow, TradeSide};
    use crate::quantity::{Decimal, TsNs};

    fn books(sizes: &[i64]) -> Batch {
        let mut builder = BatchBuilder::new(Kind::Book);
        for (at, &size) in (0..).zip(sizes) {
            builder.begin(MessageHead { ts_recv: TsNs(at), ..MessageHead::default() });
            for level in 0..size {
                let price = Decimal::from_int(level).unwrap();
                builder.level(Side::Bid, price, Decimal::from_int(1).unwrap());
            }
            builder.end();
        }
        builder.finish().unwrap().pop().unwrap()
    }

    #[test]
    fn as_many_whole_messages_as_fit_and_at_least_one() {
        let batch = books(&[3, 1, 5, 2, 2]);
        let width = Width::of(&batch);

        assert_eq!(width.fitting(&batch, 0..9, 100, usize::MAX), 5);
        assert_eq!(width.fitting(&batch, 0..9, 4, usize::MAX), 2);
        assert_eq!(width.fitting(&batch, 0..9, 8, usize::MAX), 2);
        assert_eq!(width.fitting(&batch, 0..9, 9, usize::MAX), 3);
        assert_eq!(width.fitting(&batch, 2..9, 1, usize::MAX), 3);
        assert_eq!(width.fitting(&batch, 4..9, 1, usize::MAX), 5);
        let two = width.bytes(&batch, 0..2, &(0..batch.message_rows(1).end));
        assert_eq!(width.fitting(&batch, 0..9, 100, two), 2);
        assert_eq!(width.fitting(&batch, 0..9, 100, two - 1), 1);
        assert_eq!(width.fitting(&batch, 0..9, 100, 0), 1);
        assert_eq!(width.fitting(&batch, 5..9, 100, 0), 5);
        assert_eq!(width.fitting(&batch, 1..3, 100, usize::MAX), 3);
    }

    #[test]
    fn the_bytes_of_text_count() {
        let mut builder = BatchBuilder::new(Kind::Trades);
        for id in ["1", "22", "333"] {
            builder.trade(&TradeRow {
                ts_recv: TsNs(1),
                ts_event: None,
                side: TradeSide::Buy,
                price: Decimal::ZERO,
                qty: Decimal::ZERO,
                trade_id: id,
            });
        }
        let batch = builder.finish().unwrap().pop().unwrap();
        let width = Width::of(&batch);
        let row = 8 + 8 + 1 + 16 + 16 + 4;

        assert_eq!(width.bytes(&batch, 0..3, &(0..3)), 3 * row + 6);
        assert_eq!(width.bytes(&batch, 1..3, &(1..3)), 2 * row + 5);
        assert_eq!(width.bytes(&batch, 2..2, &(2..2)), 0);
    }

    #[test]
    fn long_bytes_are_cut_and_join_again() {
        let data: Vec<u8> = (0..limit::RPC_CUT_BYTES * 2 + 5).map(|n| (n % 251) as u8).collect();

        let parts = arrow_parts(data.clone().into());

        assert_eq!(parts.iter().map(|part| part.more).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(parts.iter().flat_map(|part| part.data.clone()).collect::<Vec<_>>(), data);
    }

    #[test]
    fn a_long_frame_is_cut_inside_its_chunks() {
        let chunk = |stream, len| proto::ReplayChunk {
            stream,
            messages: 7,
            rows: 9,
            data: vec![stream as u8; len].into(),
        };
        let sizes = [limit::RPC_CUT_BYTES, 3, limit::RPC_CUT_BYTES * 2];
        let frame = proto::ReplayFrame {
            chunks: (0..).zip(sizes).map(|(stream, len)| chunk(stream, len)).collect(),
            rows: 27,
            ..proto::ReplayFrame::default()
        };

        let parts = frame_parts(frame.clone());

        let mut joined: Vec<(u32, u32, Vec<u8>)> = Vec::new();
        let mut goes_on = false;
        for part in &parts {
            let bytes: usize = part.chunks.iter().map(|chunk| chunk.data.len()).sum();
            assert!(bytes <= limit::RPC_CUT_BYTES);
            for (at, chunk) in part.chunks.iter().enumerate() {
                if at == 0 && goes_on {
                    joined.last_mut().unwrap().2.extend_from_slice(&chunk.data);
                } else {
                    joined.push((chunk.stream, chunk.messages, chunk.data.to_vec()));
                }
            }
            goes_on = part.more;
        }
        assert!(!goes_on);
        assert_eq!(parts.last().unwrap().rows, 27);
        let whole: Vec<_> =
            frame.chunks.iter().map(|c| (c.stream, c.messages, c.data.to_vec())).collect();
        assert_eq!(joined, whole);
    }
}
