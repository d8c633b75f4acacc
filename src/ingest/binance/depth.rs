//! One book of Binance: the REST snapshot spliced into the stream, and the chain of update ids.
//!
//! Messages that come before the snapshot wait for it. The snapshot holds every update up to its
//! `lastUpdateId`, so messages up to there are left out and the next one must reach over it. From
//! then on each message must continue the one before: `pu` = last `u` on futures, `U` = last
//! `u` + 1 on spot. Update ids count updates, not messages, so how many messages are missing in a
//! gap is unknown.
//!
//! After a gap, messages are stored and also remembered: the snapshot that heals the book is taken
//! after some of them.

use super::message::{Depth, Snapshot};
use crate::error::Result;
use crate::event::{Kind, MessageHead, Side, StatusWhat};
use crate::ingest::Rows;
use crate::ingest::feed_book::UNREADABLE;
use crate::ingest::json;
use crate::ingest::splice::Waiting;
use crate::quantity::{Instrument, TsNs};

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct DepthBook {
    state: State,
    /// `u` of the last message or snapshot applied.
    last: Option<i64>,
    /// Event time of the last message applied.
    last_event: Option<TsNs>,
    waiting: Waiting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing is stored yet; messages wait for the first snapshot.
    #[default]
    Waiting,
    /// Complete since the last snapshot.
    Live,
    /// Something is missing since the last snapshot, or there was none.
    Stale,
}

impl DepthBook {
    /// Takes a message; `data` is its text.
    ///
    /// # Errors
    /// A level is no number; nothing was stored of the message then.
    pub fn delta(
        &mut self,
        instrument: &Instrument,
        ts_recv: TsNs,
        depth: &Depth<'_>,
        data: &str,
        rows: &mut Rows,
    ) -> Result<()> {
        if self.state == State::Waiting {
            if !self.waiting.is_full() {
                check(depth)?;
                self.waiting.push(ts_recv, data);
                return Ok(());
            }
            self.give_up(instrument, rows)?;
        }
        self.apply(instrument, ts_recv, depth, rows)?;
        if self.state == State::Stale {
            while self.waiting.is_full() {
                self.waiting.pop();
            }
            self.waiting.push(ts_recv, data);
        }
        Ok(())
    }

    /// Takes a snapshot received at `ts_recv`, then the messages it has to be followed by.
    ///
    /// A snapshot that is older than a complete book says nothing new and is left out.
    ///
    /// # Errors
    /// A level is no number; nothing was stored then.
    pub fn snapshot(
        &mut self,
        instrument: &Instrument,
        ts_recv: TsNs,
        snapshot: &Snapshot<'_>,
        rows: &mut Rows,
    ) -> Result<()> {
        if self.state == State::Live && self.last.is_some_and(|last| snapshot.last <= last) {
            return Ok(());
        }
        let ts_event = snapshot.ts_event()?;
        let (builder, ts_stored) = rows.stream(instrument, Kind::Book, ts_recv);
        builder.begin(MessageHead {
            ts_recv: ts_stored,
            ts_event,
            venue_seq: Some(snapshot.last),
            snapshot: true,
        });
        let pushed = json::push_levels(builder, Side::Bid, &snapshot.bids)
            .and_then(|()| json::push_levels(builder, Side::Ask, &snapshot.asks));
        if let Err(error) = pushed {
            builder.abandon();
            return Err(error);
        }
        builder.end();
        if self.state == State::Stale {
            let detail = format!("snapshot with update id {}", snapshot.last);
            rows.status(instrument, ts_recv, ts_event, StatusWhat::Resync, &detail);
        }
        self.state = State::Live;
        self.last = Some(snapshot.last);
        self.last_event = None;
        let mut waiting = std::mem::take(&mut self.waiting);
        while let Some((_, data)) = waiting.pop() {
            // The book is known from the snapshot on, so that is when these become known too.
            let depth: Depth<'_> = json::parse_text(&data)?;
            self.apply(instrument, ts_recv, &depth, rows)?;
            if self.state == State::Stale {
                self.waiting.push(ts_recv, &data);
            }
        }
        Ok(())
    }

    /// A message that may be one of its own could not be read.
    pub fn tear(&mut self, instrument: &Instrument, ts_recv: TsNs, rows: &mut Rows) {
        if self.state == State::Live {
            rows.gap(instrument, ts_recv, None, 1, UNREADABLE);
            self.state = State::Stale;
            // What follows on that message breaks no other chain.
            self.last = None;
        }
    }

    /// What was stored is no longer what is known: stale until the next snapshot.
    pub fn doubt(&mut self) {
        if self.state == State::Live {
            self.state = State::Stale;
        }
    }

    /// The connection was lost: the book is stale until the next snapshot.
    pub fn lost(&mut self, instrument: &Instrument, ts_recv: TsNs, rows: &mut Rows) {
        rows.status(instrument, ts_recv, None, StatusWhat::Disconnected, "connection lost");
        if self.state == State::Live {
            rows.gap(instrument, ts_recv, None, 0, "connection lost");
            self.state = State::Stale;
        }
    }

    /// No snapshot will come: what waited is stored after an empty book that is stale.
    ///
    /// # Errors
    /// A waiting message cannot be read.
    pub fn give_up(&mut self, instrument: &Instrument, rows: &mut Rows) -> Result<()> {
        let Some(first) = self.waiting.first() else { return Ok(()) };
        if self.state != State::Waiting {
            return Ok(());
        }
        let detail = "no snapshot: the book is unknown where it was not changed";
        rows.status(instrument, first, None, StatusWhat::Gap, detail);
        let (builder, ts_recv) = rows.stream(instrument, Kind::Book, first);
        builder.begin(MessageHead { ts_recv, ..MessageHead::default() });
        builder.reset();
        builder.gap(0);
        builder.end();
        self.state = State::Stale;
        let mut waiting = std::mem::take(&mut self.waiting);
        while let Some((ts_recv, data)) = waiting.pop() {
            let depth: Depth<'_> = json::parse_text(&data)?;
            self.apply(instrument, ts_recv, &depth, rows)?;
            self.waiting.push(ts_recv, &data);
        }
        Ok(())
    }

    fn apply(
        &mut self,
        instrument: &Instrument,
        ts_recv: TsNs,
        depth: &Depth<'_>,
        rows: &mut Rows,
    ) -> Result<()> {
        let ts_event = depth.ts_event()?;
        if self.is_known(depth, ts_event) {
            return Ok(());
        }
        if let Some(detail) = self.hole_before(depth) {
            check(depth)?;
            rows.gap(instrument, ts_recv, Some(ts_event), 0, &detail);
            self.state = State::Stale;
        }
        let (builder, ts_stored) = rows.stream(instrument, Kind::Book, ts_recv);
        builder.begin(MessageHead {
            ts_recv: ts_stored,
            ts_event: Some(ts_event),
            venue_seq: Some(depth.last),
            snapshot: false,
        });
        let pushed = json::push_levels(builder, Side::Bid, &depth.bids)
            .and_then(|()| json::push_levels(builder, Side::Ask, &depth.asks));
        if let Err(error) = pushed {
            builder.abandon();
            return Err(error);
        }
        builder.end();
        self.last = Some(depth.last);
        self.last_event = Some(ts_event);
        Ok(())
    }

    /// Whether the snapshot or an earlier message held these updates already. Lower ids with a
    /// later time are a sequence that began anew.
    fn is_known(&self, depth: &Depth<'_>, ts_event: TsNs) -> bool {
        let held = self.last.is_some_and(|last| depth.last <= last);
        held && self.last_event.is_none_or(|last| ts_event <= last)
    }

    /// What is missing between the last message or snapshot and this message.
    fn hole_before(&self, depth: &Depth<'_>) -> Option<String> {
        let last = self.last?;
        let after_snapshot = self.last_event.is_none();
        let reaches_over = depth.first <= last.saturating_add(1) && depth.last > last;
        let (continues, expected) = match depth.previous {
            Some(previous) if after_snapshot => (previous <= last || reaches_over, "pu"),
            Some(previous) => (previous == last, "pu"),
            None if after_snapshot => (reaches_over, "U"),
            None => (depth.first == last.saturating_add(1), "U"),
        };
        if continues {
            return None;
        }
        let (expected_id, found) = match depth.previous {
            Some(previous) => (last, previous),
            None => (last.saturating_add(1), depth.first),
        };
        Some(format!("expected {expected} {expected_id}, found {found}"))
    }
}

/// Refuses levels that are no numbers before anything about the message is stored or waits.
fn check(depth: &Depth<'_>) -> Result<()> {
    depth.ts_event()?;
    for level in depth.bids.iter().chain(&depth.asks) {
        level.price.decimal()?;
        level.qty.decimal()?;
    }
    Ok(())
}
