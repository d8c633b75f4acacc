//! What every row writer is, and which columns it writes.

use crate::error::{Error, Result};
use crate::event::{Batch, ColumnSpec, Kind};
use crate::quantity::Instrument;

/// Writes the rows of one stream, batch after batch.
pub trait RowWriter {
    /// Writes the rows of a batch.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the output refuses; [`crate::ErrorKind::Invalid`] if the batch
    /// is of another kind, or with the row if the format cannot hold it.
    fn batch(&mut self, batch: &Batch) -> Result<()>;

    /// Writes what is still held back. Call it once, after the last batch, even if there was none.
    ///
    /// # Errors
    /// As [`RowWriter::batch`].
    fn finish(&mut self) -> Result<()>;
}

/// The stream that is written, and which of its columns in which order.
#[derive(Clone, Debug)]
pub struct Selection {
    /// What is traded where.
    pub instrument: Instrument,
    /// Which record.
    pub kind: Kind,
    /// Positions in the schema of the kind, in output order.
    pub columns: Vec<usize>,
}

impl Selection {
    /// All columns.
    #[must_use]
    pub fn all(instrument: &Instrument, kind: Kind) -> Self {
        let columns = (0..kind.schema().columns.len()).collect();
        Self { instrument: instrument.clone(), kind, columns }
    }

    /// The columns with these names, in this order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] with the names there are; [`crate::ErrorKind::Invalid`] if no
    /// column is named.
    pub fn of_names<'a>(
        instrument: &Instrument,
        kind: Kind,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let columns: Vec<usize> =
            names.into_iter().map(|name| kind.schema().column(name)).collect::<Result<_>>()?;
        if columns.is_empty() {
            return Err(Error::invalid("no columns: expected at least one name"));
        }
        Ok(Self { instrument: instrument.clone(), kind, columns })
    }

    /// Position and description of each column, in output order.
    pub(super) fn specs(&self) -> impl Iterator<Item = (usize, &'static ColumnSpec)> + '_ {
        let all = self.kind.schema().columns;
        self.columns.iter().filter_map(|&index| Some((index, all.get(index)?)))
    }

    pub(super) fn check(&self, kind: Kind) -> Result<()> {
        if kind == self.kind {
            return Ok(());
        }
        Err(Error::invalid(format!("batch of {kind} among rows of {}", self.kind)))
    }
}
