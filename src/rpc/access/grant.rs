//! What one holder of a token may ask, and how much at once.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use super::bucket::Bucket;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Kind, StreamKey};
use crate::limit;
use crate::pattern::matches;
use crate::quantity::{Instrument, TsNs};

/// What a token opens.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    /// Its holder, for the operator.
    pub(super) name: String,
    /// Instruments with `*` and `?`; empty: all.
    pub(super) instruments: Vec<String>,
    /// Empty: all.
    pub(super) kinds: Vec<Kind>,
    /// Receive times of the rows.
    pub(super) range: Range<TsNs>,
    pub(super) read: bool,
    pub(super) append: bool,
    /// `None`: as many as come.
    pub(super) requests_per_second: Option<u32>,
    /// Scans, samples and replays at once.
    pub(super) streams: usize,
    pub(super) replays: usize,
}

impl Rights {
    /// Everything.
    pub(super) fn all() -> Self {
        Self {
            name: String::new(),
            instruments: Vec::new(),
            kinds: Vec::new(),
            range: TsNs::MIN..TsNs::MAX,
            read: true,
            append: true,
            requests_per_second: None,
            streams: limit::RPC_STREAMS_MAX,
            replays: limit::RPC_REPLAYS_MAX,
        }
    }
}

/// What one holder may ask, and what it has open.
#[derive(Debug)]
pub(in crate::rpc) struct Grant {
    rights: Rights,
    bucket: Option<Mutex<Bucket>>,
    pub(in crate::rpc) streams: Arc<Semaphore>,
    pub(in crate::rpc) replays: Arc<Semaphore>,
    withdrawn: watch::Sender<bool>,
}

impl Grant {
    /// Everything, for everybody.
    pub(in crate::rpc) fn everything() -> Self {
        Self::new(Rights::all())
    }

    pub(super) fn new(rights: Rights) -> Self {
        let bucket = rights.requests_per_second;
        Self {
            bucket: bucket.map(|per_second| Mutex::new(Bucket::new(per_second, Instant::now()))),
            streams: Arc::new(Semaphore::new(rights.streams)),
            replays: Arc::new(Semaphore::new(rights.replays)),
            withdrawn: watch::Sender::new(false),
            rights,
        }
    }

    /// Ends what its holder has open.
    pub(super) fn withdraw(&self) {
        self.withdrawn.send_replace(true);
    }

    #[cfg(test)]
    pub(super) fn is_withdrawn(&self) -> bool {
        *self.withdrawn.borrow()
    }

    /// Becomes true when the token is withdrawn.
    pub(in crate::rpc) fn withdrawn(&self) -> watch::Receiver<bool> {
        self.withdrawn.subscribe()
    }

    /// Takes one request of this second's.
    pub(super) fn take_request(&self, now: Instant) -> Result<(), Duration> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    /// Streams, and replays among them, that it may have open.
    pub(in crate::rpc) fn open_max(&self) -> (usize, usize) {
        (self.rights.streams, self.rights.replays)
    }

    /// Whether it opens everything that there is to read.
    fn opens_all(&self) -> bool {
        let Rights { instruments, kinds, range, read, .. } = &self.rights;
        *read && instruments.is_empty() && kinds.is_empty() && *range == (TsNs::MIN..TsNs::MAX)
    }

    /// The receive times that it opens.
    pub(in crate::rpc) fn range(&self) -> &Range<TsNs> {
        &self.rights.range
    }

    /// Whether a stream may be read.
    pub(in crate::rpc) fn reads(&self, instrument: &Instrument, kind: Kind) -> bool {
        self.rights.read && self.names(instrument, kind)
    }

    fn names(&self, instrument: &Instrument, kind: Kind) -> bool {
        let Rights { instruments, kinds, .. } = &self.rights;
        let of_kind = kinds.is_empty() || kinds.contains(&kind);
        let name = instrument.to_string();
        of_kind && (instruments.is_empty() || instruments.iter().any(|p| matches(p, &name)))
    }

    /// That a stream may be read.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], as if it were not there.
    pub(in crate::rpc) fn check_reads(&self, instrument: &Instrument, kind: Kind) -> Result<()> {
        if self.reads(instrument, kind) { Ok(()) } else { Err(not_there()) }
    }

    /// That rows may be added to a stream.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    pub(in crate::rpc) fn check_appends(&self, key: &StreamKey) -> Result<()> {
        if self.rights.append && self.names(&key.instrument, key.kind) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Denied,
            format!(
                "token {:?} adds no rows to {} of {}",
                self.rights.name, key.kind, key.instrument
            ),
        ))
    }

    /// The part of a range that is open: ends that were not named are set, others must be inside.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] with what is open.
    pub(in crate::rpc) fn cut(&self, range: &Range<TsNs>) -> Result<Range<TsNs>> {
        let open = &self.rights.range;
        let start = if range.start == TsNs::MIN { open.start } else { range.start };
        let end = if range.end == TsNs::MAX { open.end } else { range.end };
        if start < open.start || end > open.end {
            return Err(self.outside());
        }
        Ok(start..end)
    }

    /// That a moment is open.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] with what is open.
    pub(in crate::rpc) fn check_at(&self, at: TsNs) -> Result<()> {
        let open = &self.rights.range;
        // The last moment is there for whoever asks for the newest book.
        let inside = at >= open.start && (at < open.end || open.end == TsNs::MAX);
        if inside { Ok(()) } else { Err(self.outside()) }
    }

    fn outside(&self) -> Error {
        let Range { start, end } = &self.rights.range;
        let shown = |ts: TsNs, never: &str| match ts {
            TsNs::MIN | TsNs::MAX => never.to_owned(),
            ts => ts.to_string(),
        };
        let (start, end) = (shown(*start, "the beginning"), shown(*end, "the end"));
        Error::new(ErrorKind::OutOfRange, format!("this token opens {start} to {end}"))
    }

    /// An error as the holder may see it: that something else is there stays untold.
    pub(in crate::rpc) fn veil(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::NotFound if !self.opens_all() => not_there(),
            _ => error,
        }
    }
}

pub(super) fn not_there() -> Error {
    Error::not_found("no such instrument, kind or column, or this token does not open it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant::new(Rights {
            instruments: vec!["binance*:BTC*".to_owned(), "okex:ETH-USDT".to_owned()],
            kinds: vec![Kind::Book, Kind::Trades],
            range: TsNs(100)..TsNs(200),
            append: false,
            ..Rights::all()
        })
    }

    fn instrument(name: &str) -> Instrument {
        Instrument::parse(name).unwrap()
    }

    #[test]
    fn only_what_is_named_is_read() {
        let grant = grant();
        for (name, kind, open) in [
            ("binance-futures:BTCUSDT", Kind::Book, true),
            ("okex:ETH-USDT", Kind::Trades, true),
            ("okex:ETH-USDT", Kind::Ticker, false),
            ("okex:ETH-USDT-SWAP", Kind::Book, false),
            ("kraken:XBT/USD", Kind::Book, false),
        ] {
            assert_eq!(grant.reads(&instrument(name), kind), open, "{name} {kind}");
            assert_eq!(grant.check_reads(&instrument(name), kind).is_ok(), open);
        }
        let key = StreamKey { instrument: instrument("okex:ETH-USDT"), kind: Kind::Trades };
        assert_eq!(grant.check_appends(&key).unwrap_err().kind(), ErrorKind::Denied);
        assert!(Grant::new(Rights::all()).check_appends(&key).is_ok());
    }

    #[test]
    fn open_ends_are_cut_and_named_ones_must_be_inside() {
        let grant = grant();
        let cut = |start, end| grant.cut(&(start..end)).map(|range| (range.start.0, range.end.0));

        assert_eq!(cut(TsNs::MIN, TsNs::MAX).unwrap(), (100, 200));
        assert_eq!(cut(TsNs(150), TsNs::MAX).unwrap(), (150, 200));
        assert_eq!(cut(TsNs(100), TsNs(200)).unwrap(), (100, 200));
        for (start, end) in [(TsNs(99), TsNs::MAX), (TsNs::MIN, TsNs(201))] {
            assert_eq!(cut(start, end).unwrap_err().kind(), ErrorKind::OutOfRange);
        }
        assert!(grant.check_at(TsNs(100)).is_ok() && grant.check_at(TsNs(199)).is_ok());
        assert!(grant.check_at(TsNs(99)).is_err() && grant.check_at(TsNs(200)).is_err());
        assert!(Grant::new(Rights::all()).check_at(TsNs::MAX).is_ok());
    }

    #[test]
    fn what_is_not_open_looks_as_if_it_were_not_there() {
        let missing = || Error::not_found("no instrument a:b in the store; there are c:d");

        assert_eq!(grant().veil(missing()).text(), not_there().text());
        assert!(Grant::new(Rights::all()).veil(missing()).text().contains("c:d"));
        let other = Error::invalid("depth 7");
        assert_eq!(grant().veil(other).text(), "depth 7");
    }
}
