//! `tickreel demo`: makes a market, imports, compares, serves and replays it, and shows all of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::ingest::sample::{MarketOptions, write_captures};

/// The market that demo and bench use.
const SEED: u64 = 1;

/// Writes the files of the made-up market into `folder`.
///
/// # Errors
/// A file cannot be written.
pub fn sample_files(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(e, "create folder", folder))?;
    let open = |name: &str| -> Result<Box<dyn Write + Send>> {
        let path = folder.join(name);
        let file = File::create(&path).map_err(|e| Error::io(e, "create file", &path))?;
        Ok(Box::new(BufWriter::new(file)))
    };
    let captures = write_captures(&MarketOptions::new(SEED)?, open, |_| ())?;
    Ok(captures.files.iter().map(|file| folder.join(&file.name)).collect())
}
