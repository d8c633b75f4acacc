//! Some rows of a batch.

use super::batch::{Batch, Column, TextValues, Values};
use super::buffer::Buffer;

impl Batch {
    /// A copy of the rows that `wanted` names, one entry per row. Messages that lose all their rows
    /// are left out; the last row that is left of a message is its last.
    #[must_use]
    pub fn keep_rows(&self, wanted: &[bool]) -> Self {
        let rows: Vec<usize> =
            (0..self.rows()).filter(|&row| wanted.get(row) == Some(&true)).collect();
        let (mut messages, mut ends) = (Vec::new(), Vec::new());
        if self.schema().is_grouped() {
            let mut end = 0;
            for message in 0..self.messages() {
                let of_message = self.message_rows(message);
                let kept = of_message.filter(|&row| wanted.get(row) == Some(&true)).count();
                end += kept;
                if kept > 0 {
                    messages.push(message);
                    // A batch has fewer rows than 2^32.
                    ends.push(u32::try_from(end).unwrap_or(u32::MAX));
                }
            }
        }
        let specs = self.schema().columns.iter();
        let columns = specs.zip(self.columns()).map(|(spec, column)| {
            let at = if spec.per_message { &messages } else { &rows };
            let column = column.as_ref()?;
            let Column { values, scale, digits } = column;
            Some(Column { values: values.pick(at), scale: *scale, digits: *digits })
        });
        let (ends, columns) = (Buffer::Owned(ends), columns.collect());
        Self::from_parts(self.kind(), rows.len(), ends, columns).expect("rows of one batch agree")
    }
}

impl Values {
    /// The values at some places.
    fn pick(&self, places: &[usize]) -> Self {
        match self {
            Self::I64(values) => {
                Self::I64(Buffer::Owned(places.iter().map(|&at| values[at]).collect()))
            }
            Self::U8(values) => {
                Self::U8(Buffer::Owned(places.iter().map(|&at| values[at]).collect()))
            }
            Self::Text(values) => {
                let mut picked = TextValues::default();
                places.iter().for_each(|&at| picked.push(values.get(at)));
                Self::Text(picked)
            }
        }
    }
}
