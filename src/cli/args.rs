//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
use crate::event::{Kind, StreamKey};
use crate::quantity::{Instrument, TsNs};
use crate::rpc::Credentials;
use crate::store::Snapshot;

/// Where the rows are, and what a server wants to see.
#[derive(Clone, Debug, Args)]
pub struct From {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub proof: Proof,
}

/// Where the rows are: a store on this machine or a server.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Address of a tickreel server, e.g. http://127.0.0.1:7400
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

impl std::convert::From<Place> for From {
    /// With nothing for a server to see.
    fn from(place: Place) -> Self {
        Self { place, proof: Proof::default() }
    }
}

/// What a server wants to see.
#[derive(Clone, Debug, Default, Args)]
pub struct Proof {
    /// File with the token for the server [default: the variable TICKREEL_TOKEN]
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,
    /// Certificates of authorities (PEM) to trust instead of the public ones
    #[arg(long, value_name = "FILE", requires = "server")]
    pub ca: Option<PathBuf>,
    /// Own certificate (PEM), for a server that wants one
    #[arg(long, value_name = "FILE", requires = "server", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key of the own certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "server", requires = "cert")]
    pub key: Option<PathBuf>,
}

impl Proof {
    /// As the client takes it.
    ///
    /// # Errors
    /// One of the files cannot be read.
    pub fn credentials(&self) -> Result<Credentials> {
        let token = match &self.token_file {
            Some(path) => Some(String::from_utf8_lossy(&read(path)?).into_owned()),
            None => std::env::var("TICKREEL_TOKEN").ok(),
        };
        let authorities = self.ca.as_deref().map(read).transpose()?;
        let certificate = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        Ok(Credentials { token, authorities, certificate })
    }
}

/// The bytes of a file of keys or tokens.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::io(error, "read", path))
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
