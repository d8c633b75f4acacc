//! Frames that could not be read, kept with the reason in a file of bounded size.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::quantity::TsNs;

/// Bytes of a frame that are kept.
const FRAME_BYTES_MAX: usize = 64 << 10;

/// One file; when it is full it becomes the old one (`.1`), and the old one goes.
#[derive(Debug)]
pub(super) struct RejectFile {
    path: PathBuf,
    bytes_max: u64,
    file: Option<(File, u64)>,
}

#[derive(Serialize)]
struct Line<'a> {
    ts_recv: String,
    exchange: &'a str,
    connection: u32,
    reason: String,
    frame: Cow<'a, str>,
}

impl RejectFile {
    /// Nothing is opened before the first frame.
    pub fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self { path, bytes_max, file: None }
    }

    /// Keeps a frame, as one line of JSON.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if the file cannot be written; nothing depends on it.
    pub fn add(
        &mut self,
        (ts_recv, exchange, connection): (TsNs, &str, u32),
        frame: &[u8],
        reason: &Error,
    ) -> Result<()> {
        let kept = frame.get(..FRAME_BYTES_MAX).unwrap_or(frame);
        let line = Line {
            ts_recv: ts_recv.to_string(),
            exchange,
            connection,
            reason: reason.to_string(),
            frame: String::from_utf8_lossy(kept),
        };
        let mut text = serde_json::to_string(&line)
            .map_err(|error| Error::invalid(format!("reject: {error}")))?;
        text.push('\n');
        self.write(text.as_bytes()).map_err(|e| Error::io(e, "write", &self.path))
    }

    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        let full = self.file.as_ref().is_some_and(|(_, bytes)| *bytes >= self.bytes_max);
        if full {
            self.file = None;
            std::fs::rename(&self.path, old(&self.path))?;
        }
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let file = File::options().append(true).create(true).open(&self.path)?;
            let bytes = file.metadata()?.len();
            self.file = Some((file, bytes));
        }
        if let Some((file, bytes)) = &mut self.file {
            file.write_all(text)?;
            *bytes += text.len() as u64;
        }
        Ok(())
    }
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_becomes_the_old_one_and_no_more_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/binance.ndjson");
        let mut rejects = RejectFile::new(path.clone(), 1000);
        let reason = Error::invalid("channel \"x\": expected another");

        for number in 0..30u8 {
            let frame = [b"{\"x\":".as_slice(), &[b'0' + number % 10, 0xff]].concat();
            rejects.add((TsNs(5), "binance", 3), &frame, &reason).unwrap();
        }
        rejects.add((TsNs(6), "binance", 3), &vec![b'y'; 1 << 20], &reason).unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        let old = std::fs::read_to_string(old(&path)).unwrap();
        assert!((1000..1300).contains(&old.len()), "{}", old.len());
        let last: serde_json::Value =
            serde_json::from_str(text.lines().next_back().unwrap()).unwrap();
        assert_eq!(last["frame"].as_str().unwrap().len(), FRAME_BYTES_MAX);
        assert_eq!(last["ts_recv"], "1970-01-01T00:00:00.000000006Z");
        assert_eq!(last["reason"], "channel \"x\": expected another");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }
}
