//! SHA-256 as a name for what must not be written down.

use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::error::{Error, Result};

/// SHA-256 of a token or a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// Of some bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        let computed = ring::digest::digest(&ring::digest::SHA256, bytes);
        digest.copy_from_slice(computed.as_ref());
        Self(digest)
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Reads 64 hexadecimal digits, with or without colons between bytes.
    fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("SHA-256 {text:?}: expected 64 hexadecimal digits"));
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let (pairs, []) = digits.as_chunks::<2>() else { return Err(wrong()) };
        let bytes = pairs.iter().map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            let hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            u8::from_str_radix(pair, 16).ok().filter(|_| hex)
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|error| error.text().to_owned())
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sha_256_and_reads_what_it_writes() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Digest::of(b"abc");

        assert_eq!(digest.to_string(), abc);
        assert!(Digest::parse(abc).unwrap().is(&digest));
        let fingerprint = abc.to_uppercase().into_bytes();
        let colons: Vec<_> =
            fingerprint.chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect();
        assert!(Digest::parse(&colons.join(":")).unwrap().is(&digest));
        assert!(!Digest::of(b"abd").is(&digest));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "ba", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64), &"+1".repeat(32)]
        {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
