//! Made-up markets as lines of a script.

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tickreel::Result;
use tickreel::ingest::Input;
use tickreel::ingest::sample::{Captures, MarketOptions, write_captures};

use super::capture::read_input;
use crate::protocol::{Protocol, Read};

/// A file in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the venue of `protocol` tells of a made-up market.
pub(super) fn make(
    protocol: &dyn Protocol,
    options: &MarketOptions,
) -> Result<(Vec<(i64, Read)>, Captures)> {
    let mut options = options.clone();
    options.instruments.retain(|instrument| protocol.reads_sample(instrument.form));
    let mut files = Vec::new();
    let open = |name: &str| {
        let file = Memory::default();
        files.push((name.to_owned(), file.clone()));
        Ok(Box::new(file) as Box<dyn Write + Send>)
    };
    let captures = write_captures(&options, open, |_| {})?;
    let mut lines = Vec::new();
    for (name, file) in files {
        let bytes = std::mem::take(&mut *file.0.lock().unwrap_or_else(PoisonError::into_inner));
        let input = Input::from_reader(Path::new(&name), Box::new(Cursor::new(bytes)))?;
        read_input(protocol, input, &mut lines)?;
    }
    Ok((lines, captures))
}
