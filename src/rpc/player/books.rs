//! Books instead of rows: after each message, or at regular times.

use super::lane::{Form, Lane};
use super::{Bounds, Played, Player, Sampling, note_gaps, note_run, notice};
use crate::error::Result;
use crate::limit;
use crate::quantity::TsNs;
use crate::rpc::proto;

impl Player {
    /// Rows that are looked at may be many more than the books that are sent, so it ends after
    /// about a block of them, perhaps without a frame.
    pub(super) fn play_books(&mut self, bounds: Bounds) -> Result<Played> {
        let mut played = Played::default();
        let mut frame = proto::ReplayFrame::default();
        let row_bytes = self.lanes.iter().map(Lane::row_bytes).max().unwrap_or(1).max(1);
        let rows_max = (bounds.rows as u64).min((limit::RPC_PART_BYTES / row_bytes) as u64).max(1);
        let mut looked_at = 0;
        while played.rows < rows_max && played.stop.is_none() && looked_at < limit::BLOCK_ROWS {
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
            let room = (bounds.messages - played.messages).min(rows_max - played.rows);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            looked_at += self.play_book_messages(until, room, &mut frame, &mut played)?;
        }
        for (stream, lane) in self.lanes.iter_mut().enumerate() {
            frame.chunks.extend(lane.book_chunk(stream)?);
        }
        played.frame = Some(frame).filter(|_| played.rows > 0);
        Ok(played)
    }

    /// Applies messages of one stream to its book, at most `messages_max` that are not after
    /// `until`, and notes the book after each if that is asked for. Gives how many rows they have.
    fn play_book_messages(
        &mut self,
        until: TsNs,
        messages_max: usize,
        frame: &mut proto::ReplayFrame,
        played: &mut Played,
    ) -> Result<usize> {
        // Some conditions are looked for after each message.
        let messages_max = if self.watch.is_of_messages() { 1 } else { messages_max };
        let Some(step) = self.replay.step(messages_max)? else { return Ok(0) };
        let (stream, batch, start) = (step.stream, step.batch, step.first_message);
        let times = step.times.get(step.messages()).unwrap_or_default();
        let mut messages = start..start + times.partition_point(|ts| *ts <= until.0);
        let met = self.watch.first(batch, messages.clone());
        messages.end = met.map_or(messages.end, |(message, _)| message + 1);
        let last = messages.end.saturating_sub(1);
        let rows = batch.message_rows(start).start..batch.message_rows(last).end;
        note_gaps(stream, batch, rows.clone(), &mut played.gaps);
        let ts = TsNs(step.times.get(last).copied().unwrap_or_default());
        let first = step.times.get(start).copied().unwrap_or_default();
        let count = messages.len();
        let Self { replay, lanes, .. } = self;
        let table = match lanes.get_mut(stream).map(|lane| &mut lane.form) {
            Some(Form::Books { table, .. }) if self.sampling == Sampling::Messages => Some(table),
            _ => None,
        };
        match table {
            Some(table) => {
                replay.accept_each(stream, messages, |ts, book| {
                    table.push(book.ts_recv().unwrap_or(ts), book)
                })?;
                self.note_rows(stream, (TsNs(first), ts), count, frame, played);
            }
            None => replay.accept(stream, messages, false)?,
        }
        played.messages += count as u64;
        played.last = Some(ts);
        let condition = self.watch(stream, met.map(|(_, condition)| condition), rows.len());
        played.stop = condition.map(|condition| notice(condition, ts, stream));
        Ok(rows.len())
    }

    /// Notes every book as it is at `at`.
    fn sample(
        &mut self,
        at: TsNs,
        frame: &mut proto::ReplayFrame,
        played: &mut Played,
    ) -> Result<()> {
        for stream in 0..self.lanes.len() {
            let (lane, book) = (self.lanes.get_mut(stream), self.replay.book(stream));
            let (Some(lane), Some(book)) = (lane, book) else { continue };
            if let Form::Books { table, .. } = &mut lane.form {
                table.push(at, book)?;
            }
            self.note_rows(stream, (at, at), 1, frame, played);
        }
        Ok(())
    }

    /// Notes that rows were added to the table of a book, played at the times of `span`.
    fn note_rows(
        &mut self,
        stream: usize,
        span: (TsNs, TsNs),
        rows: usize,
        frame: &mut proto::ReplayFrame,
        played: &mut Played,
    ) {
        if let Some(lane) = self.lanes.get_mut(stream) {
            lane.rows += rows as u64;
        }
        if played.rows == 0 {
            frame.first_ns = span.0.0;
        }
        frame.last_ns = span.1.0;
        note_run(frame, stream, rows);
        played.rows += rows as u64;
    }
}
