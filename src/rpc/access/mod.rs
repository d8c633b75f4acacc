//! Who may ask, and what: tokens and client certificates, what each opens, and how much at once.
//!
//! A server without a token file is open to whoever reaches it, which is why it listens on loopback
//! only unless clients need certificates. With one, every request but the health check needs a
//! token or a certificate that the file names. The file holds no token: only SHA-256 of each.
//!
//! *Architecture invariant:* what a token does not open does not exist for its holder: the answer
//! is the one for a name that nobody ever stored.

mod bucket;
mod digest;
mod gate;
mod grant;
mod guard;
mod holders;
mod refusals;
mod token;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

pub(super) use gate::GateLayer;
pub(super) use grant::Grant;
pub(super) use guard::Guarded;
use holders::Holders;
pub use token::new_token;

use crate::error::{Error, Result};
use crate::limit;

/// Who may ask a server what. Clones are one: all see a file that was replaced.
#[derive(Clone, Debug)]
pub struct Access {
    closed: bool,
    holders: Arc<RwLock<Holders>>,
}

impl Default for Access {
    /// Everybody may ask everything.
    fn default() -> Self {
        Self { closed: false, holders: Arc::new(RwLock::new(Holders::everybody())) }
    }
}

impl Access {
    /// Only the holders of the tokens and certificates that a token file names. `path` is where its
    /// text was read, for errors.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] with the line of what is wrong; [`crate::ErrorKind::Limit`] if
    /// the text is longer than [`limit::TOKEN_FILE_BYTES_MAX`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let holders = holders(text, path)?;
        Ok(Self { closed: true, holders: Arc::new(RwLock::new(holders)) })
    }

    /// Whether every request needs a token or a certificate that is known.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes another text of the token file; a server that is open to everybody stays it. Streams
    /// of a token that is gone or opens something else now are ended; all others go on.
    ///
    /// # Errors
    /// As [`Access::parse`]; what was known stays then.
    pub fn replace(&self, text: &str, path: &Path) -> Result<()> {
        let holders = holders(text, path)?;
        if self.closed {
            self.holders.write().unwrap_or_else(PoisonError::into_inner).replace(holders);
        }
        Ok(())
    }
}

fn holders(text: &str, path: &Path) -> Result<Holders> {
    if text.len() > limit::TOKEN_FILE_BYTES_MAX {
        let what = "bytes of the token file:";
        return Err(Error::limit(what, text.len(), limit::TOKEN_FILE_BYTES_MAX).at_path(path));
    }
    Holders::parse(text, path)
}
