//! Books instead of rows: after each message, or at regular times.

use super::lane::{Form, Lane};
use super::{Bounds, Played, Player, Sampling, note_gaps, note_run, notice};
use crate::book::Tracker;
use crate::error::Result;
use crate::limit;
use crate::quantity::TsNs;
use crate::rpc::proto;

impl Player {
    pub(super) fn play_books(&mut self, bounds: Bounds) -> Result<Played> {
        let mut played = Played::default();
        let mut frame = proto::ReplayFrame::default();
        let row_bytes = self.lanes.iter().map(Lane::row_bytes).max().unwrap_or(1).max(1);
        let rows_max = (bounds.rows as u64).min((limit::RPC_PART_BYTES / row_bytes) as u64).max(1);
        while played.rows < rows_max && played.stop.is_none() {
            let mut until = bounds.until;
            if let Sampling::Times { every_ns, next } = self.sampling {
                if self.is_due(next) {
                    if next > bounds.until {
                        break;
                    }
                    self.sample(next, &mut frame, &mut played)?;
                    let next = next.saturating_add(every_ns);
                    self.sampling = Sampling::Times { every_ns, next };
                    continue;
                }
                until = until.min(next);
            }
            let next = self.replay.next_ts().filter(|ts| *ts <= until);
            if next.is_none() || played.messages >= bounds.messages {
                break;
            }
            self.play_book_message(&mut frame, &mut played)?;
        }
        for (stream, lane) in self.lanes.iter_mut().enumerate() {
            frame.chunks.extend(lane.book_chunk(stream)?);
        }
        played.frame = Some(frame).filter(|_| played.rows > 0);
        Ok(played)
    }

    /// Applies one message to its book, and notes the book after it if that is asked for.
    fn play_book_message(
        &mut self,
        frame: &mut proto::ReplayFrame,
        played: &mut Played,
    ) -> Result<()> {
        let Some(step) = self.replay.step(1)? else { return Ok(()) };
        let (stream, messages, rows) = (step.stream, step.messages(), step.rows());
        let met = self.watch.first(step.batch, messages.clone());
        note_gaps(stream, step.batch, rows.clone(), &mut played.gaps);
        let ts = TsNs(step.times.get(messages.start).copied().unwrap_or_default());
        self.replay.accept(stream, messages, false)?;
        played.messages += 1;
        played.last = Some(ts);
        let condition = self.watch(stream, met.map(|(_, condition)| condition), rows.len());
        played.stop = condition.map(|condition| notice(condition, ts, stream));
        if self.sampling == Sampling::Messages {
            let at = self.replay.book(stream).and_then(Tracker::ts_recv).unwrap_or(ts);
            self.note_book(stream, at, ts, frame, played)?;
        }
        Ok(())
    }

    /// Notes every book as it is at `at`.
    fn sample(
        &mut self,
        at: TsNs,
        frame: &mut proto::ReplayFrame,
        played: &mut Played,
    ) -> Result<()> {
        (0..self.lanes.len()).try_for_each(|stream| self.note_book(stream, at, at, frame, played))
    }

    /// Adds a row to the table of a book, shown at `at`, played at `ts`.
    fn note_book(
        &mut self,
        stream: usize,
        at: TsNs,
        ts: TsNs,
        frame: &mut proto::ReplayFrame,
        played: &mut Played,
    ) -> Result<()> {
        let (lane, book) = (self.lanes.get_mut(stream), self.replay.book(stream));
        let (Some(lane), Some(book)) = (lane, book) else { return Ok(()) };
        if let Form::Books { table, .. } = &mut lane.form {
            table.push(at, book)?;
        }
        lane.rows += 1;
        if played.rows == 0 {
            frame.first_ns = ts.0;
        }
        frame.last_ns = ts.0;
        note_run(frame, stream, 1);
        played.rows += 1;
        Ok(())
    }
}
