//! The Arrow schema of a kind's columns.
//!
//! Names and positions are those of [`event::Schema`](crate::event::Schema); the types follow from
//! the meaning of each column and from what the caller asks for in [`Options`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, TimeUnit};
use arrow::error::ArrowError;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, ColumnSpec, ColumnType, Kind, Values};
use crate::limit;
use crate::quantity::Instrument;

/// Schema metadata: the kind of the rows, e.g. `book`.
pub const META_KIND: &str = "kind";
/// Schema metadata: the exchange id, where one stream is scanned.
pub const META_EXCHANGE: &str = "exchange";
/// Schema metadata: the venue's symbol, where one stream is scanned.
pub const META_SYMBOL: &str = "symbol";
/// Field metadata of times (`ns`) and flags (`bits: 1 last, 2 snapshot`).
pub const META_UNIT: &str = "unit";
/// Field metadata of decimals: digits after the point that values are exact to.
pub const META_SCALE: &str = "scale";
/// Field metadata of decimals: the most decimals the venue wrote; only where one batch is converted
/// on its own.
pub const META_DIGITS: &str = "digits";

/// The zone of every time column.
pub(super) const UTC: &str = "UTC";

/// What decimals become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DecimalAs {
    /// `Decimal128(38, scale)`: the exact value.
    #[default]
    Decimal128,
    /// The nearest `Float64`, for charts and statistics; cannot be read back into the store.
    Float64,
}

/// What text becomes. The `payload` of `raw` is always plain `Binary`; the `trade_id` of prints is
/// always plain, as no two are the same: a dictionary would cost eight times the time for more
/// bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TextAs {
    /// `Dictionary(Int32, Utf8)`, one dictionary per record batch. Streams only: an Arrow file has
    /// one dictionary per column for all its batches.
    #[default]
    Dictionary,
    /// `Utf8`.
    Plain,
    /// `Dictionary(Int32, Binary)`, for text that is not UTF-8.
    BinaryDictionary,
    /// `Binary`, for text that is not UTF-8.
    Binary,
}

impl TextAs {
    pub(super) fn is_dictionary(self) -> bool {
        matches!(self, Self::Dictionary | Self::BinaryDictionary)
    }

    /// The same for text that is not UTF-8.
    fn binary(self) -> Self {
        if self.is_dictionary() { Self::BinaryDictionary } else { Self::Binary }
    }

    /// The same without a dictionary.
    fn plain(self) -> Self {
        match self {
            Self::Dictionary | Self::Plain => Self::Plain,
            Self::BinaryDictionary | Self::Binary => Self::Binary,
        }
    }

    fn data_type(self) -> DataType {
        let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int32), Box::new(values));
        match self {
            Self::Dictionary => dictionary(DataType::Utf8),
            Self::Plain => DataType::Utf8,
            Self::BinaryDictionary => dictionary(DataType::Binary),
            Self::Binary => DataType::Binary,
        }
    }
}

/// What a caller may choose about record batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What decimals become.
    pub decimals: DecimalAs,
    /// What text becomes.
    pub texts: TextAs,
    /// Named in the schema's metadata.
    pub instrument: Option<Instrument>,
}

impl Options {
    /// What a file of record batches needs: exact decimals and plain text.
    #[must_use]
    pub fn for_files() -> Self {
        Self { texts: TextAs::Plain, ..Self::default() }
    }
}

/// The Arrow schema of columns of a kind.
///
/// `projection` names columns by their position in the kind's schema, in the order wanted; `None`
/// is all. `scales` has one entry per column of the kind: the largest decimal scale that any batch
/// has in it, 0 for columns that are no decimals.
///
/// # Errors
/// [`ErrorKind::Invalid`] if a position does not exist or comes twice, or `scales` has another
/// length; [`ErrorKind::Limit`] if a scale is above [`limit::SCALE_MAX`].
pub fn arrow_schema(
    kind: Kind,
    projection: Option<&[usize]>,
    scales: &[u8],
    options: &Options,
) -> Result<arrow::datatypes::Schema> {
    let plan = plan(kind, projection, &known_scales(kind, scales, options)?, options)?;
    Ok(schema_of(kind, &plan, options))
}

/// What has to be known of a column's values before its type is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    scale: u8,
    digits: Option<u8>,
    texts: TextAs,
}

/// How one column crosses.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// Position in the kind's schema.
    pub(super) index: usize,
    pub(super) spec: &'static ColumnSpec,
    pub(super) layout: Layout,
    digits: Option<u8>,
}

/// The form of a column's array.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    Time,
    Int,
    Decimal128 {
        scale: u8,
    },
    Float64 {
        scale: u8,
    },
    /// The names, once for all batches: readers and writers see that the dictionary is the same.
    Code {
        names: ArrayRef,
    },
    Flags,
    Text(TextAs),
}

/// Shapes where only the scales are known.
pub(super) fn known_scales(kind: Kind, scales: &[u8], options: &Options) -> Result<Vec<Shape>> {
    let columns = kind.schema().columns.len();
    if scales.len() != columns {
        return Err(Error::invalid(format!(
            "scales of {kind}: expected {columns}, one per column, found {}",
            scales.len()
        )));
    }
    let shape = |&scale: &u8| Shape { scale, digits: None, texts: options.texts };
    Ok(scales.iter().map(shape).collect())
}

/// Shapes of the columns of one batch; text that is not UTF-8 becomes binary.
pub(super) fn shapes_of(batch: &Batch, options: &Options) -> Vec<Shape> {
    let shape = |column: &Option<crate::event::Column>| {
        let mut shape = Shape { scale: 0, digits: None, texts: options.texts };
        if let Some(column) = column {
            shape.scale = column.scale;
            shape.digits = Some(column.digits);
            if let Values::Text(texts) = &column.values
                && (0..texts.ends.len()).any(|at| std::str::from_utf8(texts.get(at)).is_err())
            {
                shape.texts = options.texts.binary();
            }
        }
        shape
    };
    batch.columns().iter().map(shape).collect()
}

/// How the columns of `projection` cross.
pub(super) fn plan(
    kind: Kind,
    projection: Option<&[usize]>,
    shapes: &[Shape],
    options: &Options,
) -> Result<Vec<Planned>> {
    let columns = kind.schema().columns;
    let all: Vec<usize>;
    let positions = match projection {
        Some(positions) => positions,
        None => {
            all = (0..columns.len()).collect();
            &all
        }
    };
    let mut plan: Vec<Planned> = Vec::with_capacity(columns.len());
    for &index in positions {
        let (Some(spec), Some(shape)) = (columns.get(index), shapes.get(index)) else {
            return Err(Error::invalid(format!(
                "column {index} of {kind}: expected a position below {}",
                columns.len()
            )));
        };
        if plan.iter().any(|earlier| earlier.index == index) {
            return Err(Error::invalid(format!("column {} of {kind} is named twice", spec.name)));
        }
        if shape.scale > limit::SCALE_MAX {
            let what = format!("scale of column {}:", spec.name);
            return Err(Error::limit(&what, shape.scale, limit::SCALE_MAX));
        }
        let layout = layout(kind, spec, *shape, options);
        plan.push(Planned { index, spec, layout, digits: shape.digits });
    }
    Ok(plan)
}

fn layout(kind: Kind, spec: &ColumnSpec, shape: Shape, options: &Options) -> Layout {
    match spec.ty {
        ColumnType::Time => Layout::Time,
        ColumnType::Int => Layout::Int,
        ColumnType::Decimal => match options.decimals {
            DecimalAs::Decimal128 => Layout::Decimal128 { scale: shape.scale },
            DecimalAs::Float64 => Layout::Float64 { scale: shape.scale },
        },
        ColumnType::Code(names) => {
            Layout::Code { names: Arc::new(StringArray::from_iter_values(names)) }
        }
        ColumnType::Flags => Layout::Flags,
        ColumnType::Text if kind == Kind::Raw && spec.name == "payload" => {
            Layout::Text(TextAs::Binary)
        }
        ColumnType::Text if spec.name == "trade_id" => Layout::Text(shape.texts.plain()),
        ColumnType::Text => Layout::Text(shape.texts),
    }
}

impl Planned {
    /// The Arrow type of the column.
    pub(super) fn data_type(&self) -> DataType {
        match &self.layout {
            Layout::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
            Layout::Int => DataType::Int64,
            Layout::Decimal128 { scale } => {
                DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale.cast_signed())
            }
            Layout::Float64 { .. } => DataType::Float64,
            Layout::Code { .. } => {
                DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
            }
            Layout::Flags => DataType::UInt8,
            Layout::Text(texts) => texts.data_type(),
        }
    }

    fn field(&self) -> Field {
        let mut metadata = HashMap::new();
        let mut note = |key: &str, value: String| metadata.insert(key.to_owned(), value);
        match &self.layout {
            Layout::Time => drop(note(META_UNIT, "ns".to_owned())),
            Layout::Flags => drop(note(META_UNIT, "bits: 1 last, 2 snapshot".to_owned())),
            Layout::Decimal128 { scale } | Layout::Float64 { scale } => {
                note(META_SCALE, scale.to_string());
                if let Some(digits) = self.digits {
                    note(META_DIGITS, digits.to_string());
                }
            }
            Layout::Int | Layout::Code { .. } | Layout::Text(_) => {}
        }
        Field::new(self.spec.name, self.data_type(), self.spec.nullable).with_metadata(metadata)
    }
}

pub(super) fn schema_of(
    kind: Kind,
    plan: &[Planned],
    options: &Options,
) -> arrow::datatypes::Schema {
    let fields: Vec<Field> = plan.iter().map(Planned::field).collect();
    let mut metadata = HashMap::from([(META_KIND.to_owned(), kind.name().to_owned())]);
    if let Some(instrument) = &options.instrument {
        metadata.insert(META_EXCHANGE.to_owned(), instrument.exchange().to_owned());
        metadata.insert(META_SYMBOL.to_owned(), instrument.symbol().to_owned());
    }
    arrow::datatypes::Schema::new_with_metadata(fields, metadata)
}

/// An error of the Arrow library as one of ours: `what` is verb and object.
pub(super) fn failed(what: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => {
            Error::new(ErrorKind::Io, format!("cannot {what}: {source}"))
        }
        ArrowError::DictionaryKeyOverflowError => {
            Error::new(ErrorKind::Limit, format!("cannot {what}: more texts than keys"))
        }
        other => Error::invalid(format!("cannot {what}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::book;

    fn of(kind: Kind, options: &Options) -> arrow::datatypes::Schema {
        let scales = vec![3; kind.schema().columns.len()];
        arrow_schema(kind, None, &scales, options).unwrap()
    }

    #[test]
    fn names_positions_and_nullability_are_those_of_the_kind() {
        for kind in Kind::ALL {
            let schema = of(kind, &Options::default());

            assert_eq!(schema.fields().len(), kind.schema().columns.len());
            for (field, spec) in schema.fields().iter().zip(kind.schema().columns) {
                assert_eq!(
                    (field.name().as_str(), field.is_nullable()),
                    (spec.name, spec.nullable)
                );
            }
            assert_eq!(schema.metadata()[META_KIND], kind.name());
        }
    }

    #[test]
    fn types_follow_the_meaning_and_the_options() {
        let ty = |kind: Kind, name: &str, options: &Options| {
            of(kind, options).field_with_name(name).unwrap().data_type().to_string()
        };
        let plain = Options {
            decimals: DecimalAs::Float64,
            texts: TextAs::Plain,
            instrument: Some(Instrument::parse("kraken:XBT/USD").unwrap()),
        };
        let default = Options::default();

        assert_eq!(ty(Kind::Book, "ts_recv", &default), "Timestamp(ns, \"UTC\")");
        assert_eq!(ty(Kind::Book, "price", &default), "Decimal128(38, 3)");
        assert_eq!(ty(Kind::Book, "price", &plain), "Float64");
        assert_eq!(ty(Kind::Book, "side", &plain), "Dictionary(Int8, Utf8)");
        assert_eq!(ty(Kind::Book, "flags", &default), "UInt8");
        assert_eq!(ty(Kind::Book, "venue_seq", &default), "Int64");
        assert_eq!(ty(Kind::Orders, "order_id", &default), "Dictionary(Int32, Utf8)");
        assert_eq!(ty(Kind::Orders, "order_id", &plain), "Utf8");
        assert_eq!(ty(Kind::Trades, "trade_id", &default), "Utf8");
        assert_eq!(ty(Kind::Raw, "payload", &default), "Binary");
        let schema = of(Kind::Book, &plain);
        assert_eq!(schema.metadata()[META_EXCHANGE], "kraken");
        assert_eq!(schema.metadata()[META_SYMBOL], "XBT/USD");
        assert_eq!(schema.field(book::PRICE).metadata()[META_SCALE], "3");
        assert_eq!(schema.field(book::TS_EVENT).metadata()[META_UNIT], "ns");
    }

    #[test]
    fn a_projection_keeps_its_order_and_wrong_ones_are_refused() {
        let project = |projection: &[usize], scales: &[u8]| {
            arrow_schema(Kind::Book, Some(projection), scales, &Options::default())
        };
        let schema = project(&[book::QTY, book::TS_RECV], &[0; 8]).unwrap();
        assert_eq!((schema.field(0).name().as_str(), schema.fields().len()), ("qty", 2));

        for (projection, scales) in
            [(&[8][..], &[0; 8][..]), (&[1, 1], &[0; 8]), (&[1], &[0; 7]), (&[1], &[0; 9])]
        {
            assert_eq!(project(projection, scales).unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert!(project(&[5], &[18; 8]).is_ok());
        assert_eq!(project(&[5], &[19; 8]).unwrap_err().kind(), ErrorKind::Limit);
    }
}
