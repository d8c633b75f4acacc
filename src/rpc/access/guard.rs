//! What a token must open for each question.

use super::grant::{Grant, not_there};
use crate::error::Result;
use crate::event::{Kind, StreamKey};
use crate::quantity::{Instrument, TsNs};
use crate::replay::{Coverage, ReplayOrder};
use crate::rpc::model::{
    BookQuery, CoverageQuery, InstrumentPage, ReplayQuery, SampleQuery, ScanQuery,
};
use crate::store::{Snapshot, StreamInfo};

/// A question that a token may or may not open.
pub(in crate::rpc) trait Guarded {
    /// Checks that it is open, and cuts ends that were left open to what is.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] or [`crate::ErrorKind::OutOfRange`].
    fn guard(&mut self, grant: &Grant) -> Result<()>;
}

impl Guarded for () {
    fn guard(&mut self, _: &Grant) -> Result<()> {
        Ok(())
    }
}

/// The list leaves out what is not open, see [`Grant::shows`].
impl Guarded for InstrumentPage {
    fn guard(&mut self, _: &Grant) -> Result<()> {
        Ok(())
    }
}

impl Guarded for (CoverageQuery, u64) {
    fn guard(&mut self, grant: &Grant) -> Result<()> {
        let (query, _) = self;
        query.range = grant.cut(&query.range)?;
        query.kinds.iter().try_for_each(|kind| grant.check_reads(&query.instrument, *kind))
    }
}

impl Guarded for BookQuery {
    fn guard(&mut self, grant: &Grant) -> Result<()> {
        grant.check_reads(&self.instrument, Kind::Book)?;
        grant.check_at(self.at)
    }
}

impl Guarded for SampleQuery {
    fn guard(&mut self, grant: &Grant) -> Result<()> {
        grant.check_reads(&self.instrument, Kind::Book)?;
        self.range = grant.cut(&self.range)?;
        Ok(())
    }
}

impl Guarded for ScanQuery {
    fn guard(&mut self, grant: &Grant) -> Result<()> {
        grant.check_reads(&self.instrument, self.kind)?;
        self.range = grant.cut(&self.range)?;
        Ok(())
    }
}

impl Guarded for ReplayQuery {
    fn guard(&mut self, grant: &Grant) -> Result<()> {
        for (instrument, kinds) in &self.streams {
            kinds.iter().try_for_each(|kind| grant.check_reads(instrument, *kind))?;
        }
        self.range = grant.cut(&self.range)?;
        Ok(())
    }
}

impl Grant {
    /// A stored stream as a list may show it: not at all, or with the times that are open. Its
    /// counts and its hash are of all rows.
    pub(in crate::rpc) fn shows(&self, mut info: StreamInfo) -> Option<StreamInfo> {
        if !self.reads(&info.key.instrument, info.key.kind) {
            return None;
        }
        let (open, last) = (self.range(), self.range().end.saturating_add(-1));
        let inside = info.first < open.end && info.last >= open.start;
        info.first = info.first.clamp(open.start, last);
        info.last = info.last.clamp(open.start, last);
        inside.then_some(info)
    }

    /// What may be told of the streams of one instrument.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if that is nothing.
    pub(in crate::rpc) fn keep_open(&self, found: &mut Vec<Coverage>) -> Result<()> {
        found.retain(|coverage| self.reads(&coverage.key.instrument, coverage.key.kind));
        let (open, last) = (self.range().clone(), self.range().end.saturating_add(-1));
        for coverage in &mut *found {
            coverage.spans.retain(|span| span.first < open.end && span.last >= open.start);
            for span in &mut coverage.spans {
                span.first = span.first.max(open.start);
                span.last = span.last.min(last);
            }
        }
        if found.is_empty() { Err(not_there()) } else { Ok(()) }
    }

    /// No row of a replay may have been received then or later: by event time, rows come that
    /// were received behind its range.
    pub(in crate::rpc) fn recv_end(&self, query: &ReplayQuery) -> TsNs {
        match query.order {
            ReplayOrder::Recv => query.range.end,
            ReplayOrder::Event => self.range().end,
        }
    }

    /// That a session may be joined: everything that is played in it, received before `recv_end`,
    /// must be open.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`], as if there were none.
    pub(in crate::rpc) fn check_session(
        &self,
        query: &ReplayQuery,
        recv_end: TsNs,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let inside = query.range.start >= self.range().start && recv_end <= self.range().end;
        let played = |instrument: &Instrument, kind: Kind| {
            let of = |(name, kinds): &(Instrument, Vec<Kind>)| {
                name == instrument && (kinds.is_empty() || kinds.contains(&kind))
            };
            query.streams.iter().any(of)
        };
        let mut keys = snapshot.streams().map(|stream| &stream.key);
        let open = keys.all(|StreamKey { instrument, kind }| {
            !played(instrument, *kind) || self.reads(instrument, *kind)
        });
        if inside && open { Ok(()) } else { Err(not_there()) }
    }

    /// Names the kinds of instruments of which all stored kinds are to be played: those that are
    /// open.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if of one instrument there is none.
    pub(in crate::rpc) fn name_kinds(
        &self,
        query: &mut ReplayQuery,
        snapshot: &Snapshot,
    ) -> Result<()> {
        for (instrument, kinds) in query.streams.iter_mut().filter(|(_, kinds)| kinds.is_empty()) {
            let stored = snapshot.streams().map(|stream| &stream.key);
            let stored = stored.filter(|key| key.instrument == *instrument);
            kinds.extend(stored.map(|key| key.kind).filter(|kind| self.reads(instrument, *kind)));
            if kinds.is_empty() {
                // Says what there is, to whom may know.
                snapshot.stream_id(instrument, Kind::Book)?;
                return Err(not_there());
            }
        }
        Ok(())
    }
}
