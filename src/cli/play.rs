//! What a replay shows of itself, and the clock of a local one.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::screen;
use crate::error::Result;
use crate::event::{Batch, ContentHash, Kind, StreamKey};
use crate::quantity::{Instrument, TsNs};
use crate::replay::{ReplayOrder, StreamTotal};

/// What to replay.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    /// Instruments.
    pub instruments: Vec<Instrument>,
    /// Kinds; all if empty.
    pub kinds: Vec<Kind>,
    /// Times of the order.
    pub range: Range<TsNs>,
    /// What streams are merged by.
    pub order: ReplayOrder,
    /// Recorded time per time here; as fast as possible if none.
    pub speed: Option<f64>,
    /// Whether to keep hashes.
    pub hash: bool,
}

/// A run of messages of one stream.
pub struct PlayedStep<'a> {
    /// Which stream.
    pub key: &'a StreamKey,
    /// The rows.
    pub batch: &'a Batch,
    /// The messages of them that belong to the step.
    pub messages: Range<usize>,
    /// When the first of them is played.
    pub due: TsNs,
}

impl PlayedStep<'_> {
    /// How many rows.
    pub fn rows(&self) -> usize {
        let first = self.batch.message_rows(self.messages.start).start;
        let end = self.batch.message_rows(self.messages.end.saturating_sub(1)).end;
        end.saturating_sub(first)
    }
}

/// Rows and hashes of a replay.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Of each stream.
    pub streams: Vec<StreamTotal>,
    /// Over all, in the order played.
    pub all: ContentHash,
}

/// Waits until recorded time has passed at the chosen speed.
pub struct Clock {
    speed: Option<f64>,
    start: Option<(TsNs, Instant)>,
}

/// Longest sleep at once, so that Ctrl-C is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);

impl Clock {
    /// A clock that starts with the first moment waited for; without speed it never waits.
    pub fn new(speed: Option<f64>) -> Self {
        Self { speed, start: None }
    }

    /// Returns when it is time for a row received at `ts`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Cancelled`] if the process was asked to stop meanwhile.
    pub fn wait(&mut self, ts: TsNs) -> Result<()> {
        let Some(speed) = self.speed else { return Ok(()) };
        let (first, started) = *self.start.get_or_insert_with(|| (ts, Instant::now()));
        let recorded = ts.0.saturating_sub(first.0).max(0) as f64 / speed;
        let due = started + Duration::from_nanos(recorded as u64);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            screen::check_interrupted()?;
            std::thread::sleep(left.min(SLEEP_MAX));
        }
    }
}
