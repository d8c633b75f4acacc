//! Making tokens.

use ring::rand::{SecureRandom, SystemRandom};

use super::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

/// What every token begins with, so that one is recognised where it does not belong.
const PREFIX: &str = "tickreel_";

/// A new token of 32 random bytes, and its SHA-256 for the token file.
///
/// # Errors
/// [`ErrorKind::Io`] if the operating system gives no random bytes.
pub fn new_token() -> Result<(String, String)> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new(ErrorKind::Io, "the system gives no random bytes"))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!("{PREFIX}{digits}");
    let digest = Digest::of(token.as_bytes()).to_string();
    Ok((token, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_the_same() {
        let (one, digest) = new_token().unwrap();
        let (other, _) = new_token().unwrap();

        assert_ne!(one, other);
        assert_eq!(one.len(), PREFIX.len() + 64);
        assert_eq!(digest, Digest::of(one.as_bytes()).to_string());
    }
}
