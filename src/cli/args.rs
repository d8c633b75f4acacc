//! Arguments that several commands share.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::event::{Kind, StreamKey};
use crate::quantity::{Instrument, TsNs};
use crate::store::Snapshot;

/// Where the rows are: a store on this machine or a server.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct From {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Address of a tickreel server, e.g. http://127.0.0.1:7300
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

/// A range of receive times.
#[derive(Clone, Copy, Debug, Args)]
pub struct Range {
    /// First receive time, inclusive: RFC 3339, a date, or integer nanoseconds
    #[arg(long, value_name = "T", value_parser = time)]
    pub from: Option<TsNs>,
    /// End of the receive times, exclusive
    #[arg(long, value_name = "T", value_parser = time)]
    pub to: Option<TsNs>,
}

impl Range {
    /// The range, open where an end was not given.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if it is reversed.
    pub fn bounds(&self) -> Result<std::ops::Range<TsNs>> {
        let (from, to) = (self.from.unwrap_or(TsNs::MIN), self.to.unwrap_or(TsNs::MAX));
        if from > to {
            return Err(crate::Error::invalid(format!("--from {from} is after --to {to}")));
        }
        Ok(from..to)
    }
}

/// A time, for clap.
pub fn time(text: &str) -> Result<TsNs, String> {
    TsNs::parse(text).map_err(|error| error.to_string())
}

/// An instrument, for clap.
pub fn instrument(text: &str) -> Result<Instrument, String> {
    Instrument::parse(text).map_err(|error| error.to_string())
}

/// A kind, for clap.
pub fn kind(text: &str) -> Result<Kind, String> {
    Kind::parse(text).map_err(|error| error.to_string())
}

/// The streams of some instruments: of these kinds, or of every kind there is.
///
/// # Errors
/// [`crate::ErrorKind::NotFound`] if an instrument has none of them.
pub fn streams(
    snapshot: &Snapshot,
    instruments: &[Instrument],
    kinds: &[Kind],
) -> Result<Vec<StreamKey>> {
    let mut found = Vec::new();
    for instrument in instruments {
        let before = found.len();
        found.extend(
            snapshot
                .streams()
                .filter(|stream| stream.key.instrument == *instrument)
                .filter(|stream| kinds.is_empty() || kinds.contains(&stream.key.kind))
                .map(|stream| stream.key.clone()),
        );
        if found.len() == before {
            snapshot.stream_id(instrument, kinds.first().copied().unwrap_or(Kind::Book))?;
        }
    }
    Ok(found)
}
