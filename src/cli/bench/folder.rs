//! Where the measured stores are.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The folder of the measured store; removed at the end unless it is kept.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// It stays.
    pub(super) keep: bool,
}

impl Folder {
    /// `keep`, or a new one for temporary files.
    pub(super) fn new(keep: Option<&Path>) -> Result<Self> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("tickreel-bench-{}", std::process::id())),
        };
        std::fs::create_dir_all(&path).map_err(|e| Error::io(e, "create folder", &path))?;
        Ok(Self { path, keep: keep.is_some() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}
