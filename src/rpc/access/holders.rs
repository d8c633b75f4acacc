//! The token file: who holds what.
//!
//! ```toml
//! [[token]]
//! name = "research"
//! sha256 = "<64 hexadecimal digits>"
//! instruments = ["binance-futures:*"]
//! kinds = ["book", "trades"]
//! from = "2024-01-01"
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::digest::Digest;
use super::grant::{Grant, Rights};
use crate::error::{Error, Result};
use crate::event::Kind;
use crate::limit;
use crate::quantity::TsNs;

/// Requests a second of a token that does not say.
const REQUESTS_PER_SECOND: u32 = 1000;
/// Scans, samples and replays at once of a token that does not say,
const STREAMS: usize = 32;
/// and replays.
const REPLAYS: usize = 8;

/// Everybody who may ask.
#[derive(Debug)]
pub(super) struct Holders {
    /// What everybody may ask, where nobody needs a token.
    everybody: Option<Arc<Grant>>,
    holders: Vec<Holder>,
}

/// One token or certificate, or both.
#[derive(Debug)]
struct Holder {
    entry: Entry,
    grant: Arc<Grant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

/// A `[[token]]` of the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: Option<Digest>,
    certificate: Option<Digest>,
    #[serde(default)]
    instruments: Vec<String>,
    #[serde(default)]
    kinds: Vec<KindName>,
    from: Option<Time>,
    to: Option<Time>,
    expires: Option<Time>,
    #[serde(default = "yes")]
    read: bool,
    #[serde(default)]
    append: bool,
    #[serde(default = "requests_per_second")]
    requests_per_second: u32,
    #[serde(default = "streams")]
    streams: usize,
    #[serde(default = "replays")]
    replays: usize,
}

fn yes() -> bool {
    true
}

fn requests_per_second() -> u32 {
    REQUESTS_PER_SECOND
}

fn streams() -> usize {
    STREAMS
}

fn replays() -> usize {
    REPLAYS
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct KindName(Kind);

impl TryFrom<String> for KindName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Kind::parse(&text).map(Self).map_err(|error| error.text().to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Time(TsNs);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        TsNs::parse(&text).map(Self).map_err(|error| error.text().to_owned())
    }
}

impl Holders {
    /// Whoever asks, everything.
    pub(super) fn everybody() -> Self {
        Self { everybody: Some(Arc::new(Grant::everything())), holders: Vec::new() }
    }

    /// Those whom a file names.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            let what = error.message().replace('\n', ", ");
            Error::invalid(what).at_line(line as u64).at_path(path)
        })?;
        Self::check(file).map_err(|error| error.at_path(path))
    }

    fn check(file: File) -> Result<Self> {
        if file.token.len() > limit::TOKENS_MAX {
            return Err(Error::limit("tokens:", file.token.len(), limit::TOKENS_MAX));
        }
        let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
        for entry in &file.token {
            let wrong = |what: &str| Error::invalid(format!("token {:?}: {what}", entry.name));
            if entry.name.is_empty() || !names.insert(&entry.name) {
                return Err(wrong("expected a name of its own"));
            }
            let own = [entry.sha256, entry.certificate];
            if own == [None, None] {
                return Err(wrong("expected sha256 (see `tickreel token`) or certificate"));
            }
            if !own.iter().flatten().all(|digest| digests.insert(digest.to_string())) {
                return Err(wrong("its SHA-256 is there already"));
            }
            if entry.range().is_empty() {
                return Err(wrong("from is not before to"));
            }
            if entry.requests_per_second == 0 {
                return Err(wrong("requests_per_second 0: expected at least 1"));
            }
        }
        Ok(Self { everybody: None, holders: file.token.into_iter().map(Holder::new).collect() })
    }

    /// Takes the place of what was known. Who is in both with equal rights keeps the same grant.
    pub(super) fn replace(&mut self, mut new: Self) {
        for old in std::mem::take(&mut self.holders) {
            match new.holders.iter_mut().find(|holder| holder.entry == old.entry) {
                Some(same) => same.grant = old.grant,
                None => old.grant.withdraw(),
            }
        }
        *self = new;
    }

    /// What is open to whom shows this token or certificate at `now`.
    pub(super) fn grant(
        &self,
        token: Option<&str>,
        certificate: Option<&Digest>,
        now: TsNs,
    ) -> Option<Arc<Grant>> {
        if let Some(everybody) = &self.everybody {
            return Some(Arc::clone(everybody));
        }
        let token = token.map(|token| Digest::of(token.as_bytes()));
        let shown = |named: &Option<Digest>, shown: Option<&Digest>| match (named, shown) {
            (Some(named), Some(shown)) => named.is(shown),
            _ => false,
        };
        // Who is named by both needs both. All are compared, so that time tells nothing.
        let mut found = None;
        for holder in &self.holders {
            let Entry { sha256, certificate: named, expires, .. } = &holder.entry;
            let knows = sha256.is_none() || shown(sha256, token.as_ref());
            let is = named.is_none() || shown(named, certificate);
            if knows & is && expires.is_none_or(|expires| now < expires.0) {
                found = Some(&holder.grant);
            }
        }
        found.map(Arc::clone)
    }
}

impl Entry {
    fn range(&self) -> std::ops::Range<TsNs> {
        let from = self.from.map_or(TsNs::MIN, |time| time.0);
        from..self.to.map_or(TsNs::MAX, |time| time.0)
    }
}

impl Holder {
    fn new(entry: Entry) -> Self {
        let rights = Rights {
            name: entry.name.clone(),
            instruments: entry.instruments.clone(),
            kinds: entry.kinds.iter().map(|kind| kind.0).collect(),
            range: entry.range(),
            read: entry.read,
            append: entry.append,
            requests_per_second: Some(entry.requests_per_second),
            streams: entry.streams.min(limit::RPC_STREAMS_MAX),
            replays: entry.replays.min(limit::RPC_REPLAYS_MAX),
        };
        Self { entry, grant: Arc::new(Grant::new(rights)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Holders> {
        Holders::parse(text, Path::new("tokens.toml"))
    }

    fn sha256(token: &str) -> String {
        Digest::of(token.as_bytes()).to_string()
    }

    #[test]
    fn a_token_opens_until_it_expires_and_no_part_of_it_does() {
        let text = format!(
            "[[token]]\nname = \"a\"\nsha256 = \"{}\"\nexpires = \"1970-01-01T00:00:01Z\"\n\
             [[token]]\nname = \"b\"\nsha256 = \"{}\"\n",
            sha256("secret"),
            sha256("other")
        );
        let holders = parse(&text).unwrap();
        let opens = |token: &str, now| holders.grant(Some(token), None, TsNs(now)).is_some();

        assert!(opens("secret", 0) && opens("other", 0));
        assert!(!opens("secret", 1_000_000_000) && opens("other", i64::MAX));
        for wrong in ["", "secre", "secrets", "SECRET", "secret "] {
            assert!(!opens(wrong, 0), "{wrong}");
        }
        assert!(holders.grant(None, None, TsNs(0)).is_none());
    }

    #[test]
    fn who_is_named_by_token_and_certificate_needs_both() {
        let text = format!(
            "[[token]]\nname = \"a\"\nsha256 = \"{}\"\ncertificate = \"{}\"\n",
            sha256("secret"),
            Digest::of(b"certificate")
        );
        let holders = parse(&text).unwrap();
        let certificate = Digest::of(b"certificate");
        let grant = |token, certificate| holders.grant(token, certificate, TsNs(0));

        assert!(grant(Some("secret"), Some(&certificate)).is_some());
        assert!(grant(Some("secret"), None).is_none());
        assert!(grant(None, Some(&certificate)).is_none());
        assert!(grant(Some("secret"), Some(&Digest::of(b"another"))).is_none());
    }

    #[test]
    fn equal_entries_keep_their_grant_and_others_lose_it() {
        let entry = |name: &str, more: &str| {
            format!("[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\n{more}\n", sha256(name))
        };
        let text = ["same", "changed", "gone"].map(|name| entry(name, "")).join("");
        let mut holders = parse(&text).unwrap();
        let grant = |holders: &Holders, name| holders.grant(Some(name), None, TsNs(0));
        let before = ["same", "changed", "gone"].map(|name| grant(&holders, name).unwrap());

        let text = entry("same", "") + &entry("changed", "kinds = [\"book\"]") + &entry("new", "");
        holders.replace(parse(&text).unwrap());

        let after = ["same", "changed"].map(|name| grant(&holders, name).unwrap());
        assert!(Arc::ptr_eq(&before[0], &after[0]) && !before[0].is_withdrawn());
        assert!(!Arc::ptr_eq(&before[1], &after[1]) && before[1].is_withdrawn());
        assert!(grant(&holders, "gone").is_none() && before[2].is_withdrawn());
        assert!(grant(&holders, "new").is_some());
    }

    #[test]
    fn tokens_and_the_bytes_of_their_file_meet_their_limits() {
        let entry = |number: usize| {
            format!(
                "[[token]]\nname = \"{number}\"\nsha256 = \"{}\"\n",
                sha256(&number.to_string())
            )
        };
        let most: String = (0..limit::TOKENS_MAX).map(entry).collect();
        assert!(parse(&most).is_ok());
        let more = most + &entry(limit::TOKENS_MAX);
        assert_eq!(parse(&more).unwrap_err().kind(), crate::ErrorKind::Limit);

        let file = |bytes: usize| format!("#{}", " ".repeat(bytes - 1));
        let access = |text: &str| crate::rpc::Access::parse(text, Path::new("tokens.toml"));
        assert!(access(&file(limit::TOKEN_FILE_BYTES_MAX)).is_ok());
        let error = access(&file(limit::TOKEN_FILE_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Limit);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_or_name() {
        let ok = format!("name = \"a\"\nsha256 = \"{}\"", sha256("a"));
        for (text, expected) in [
            ("[[token]]\nname = \"a\"".to_owned(), "token \"a\": expected sha256"),
            ("[[token]]\nname = \"a\"\nsha256 = \"x\"".to_owned(), "line 3"),
            (format!("[[token]]\n{ok}\nkinds = [\"books\"]"), "line 4"),
            (format!("[[token]]\n{ok}\nfrom = \"soon\""), "expected RFC 3339"),
            (format!("[[token]]\n{ok}\nfrom = \"2024-01-02\"\nto = \"2024-01-02\""), "before to"),
            (format!("[[token]]\n{ok}\nscope = 1"), "unknown field"),
            (format!("[[token]]\n{ok}\nrequests_per_second = 0"), "at least 1"),
            (format!("[[token]]\n{ok}\n[[token]]\n{ok}"), "name of its own"),
            (format!("[[token]]\n{ok}\n[[token]]\n{}", ok.replace("\"a\"", "\"b\"")), "already"),
            ("[[token]".to_owned(), "line 1"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(error.contains("tokens.toml"), "{error}");
        }
    }
}
