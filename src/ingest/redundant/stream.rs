//! One stream of several copies: whose messages are stored, and who goes on when that copy breaks.
//!
//! Where a copy stands is told by the venue's sequence where there is one. Numbers may be cut into
//! messages differently on each connection; levels are absolute, so a message that reaches over
//! the last one stored is right. Without a sequence it is told by content: the copy must say what
//! was stored, message by message, and loses its place where it does not.
//!
//! What the active copy leaves out in silence is astray: another copy heard it between two messages
//! that were stored. A print that its content tells from others is stored late, see
//! [`Stream::take_stray`]; of what no longer holds it is told.

use std::collections::VecDeque;
use std::sync::Arc;

use super::outcome::{Out, Work};
use super::twin::{Context, Held, Identity, Position, Twin};
use crate::book::Tracker;
use crate::event::{Action, Batch, BatchBuilder, Kind, MessageHead, Side, StatusWhat, book};
use crate::quantity::{Decimal, TsNs};

/// A copy that says nothing for so long while another goes on has fallen silent, ns.
const SILENCE_NS: i64 = 2_000_000_000;
/// Stored messages that are remembered by their content, or by their sequence.
const LOG_MAX: usize = 2048;
const SEQS_MAX: usize = 256;
/// Prints of other copies that the active one may still say.
const TAKEN_MAX: usize = 256;
/// How often it is told that the active copy lacks messages, ns.
const LACK_NS: i64 = 60_000_000_000;

#[derive(Debug)]
pub(super) struct Stream {
    kind: Kind,
    seq_column: Option<usize>,
    /// Whether the venue numbers the messages; known with the first.
    by_seq: Option<bool>,
    /// Whose messages are stored.
    active: Option<usize>,
    twins: Vec<Twin>,
    /// The last message stored, and when it was received.
    last: Option<Position>,
    last_ts: i64,
    /// The last messages stored, by their content; `last` counts the newest.
    log: VecDeque<u64>,
    context: Context,
    /// What was stored of another copy though the active one did not say it, by content.
    taken: VecDeque<u64>,
    /// When it was told last that the active copy lacks messages.
    told_lack: i64,
}

impl Stream {
    pub fn new(kind: Kind, copies: usize) -> Self {
        Self {
            kind,
            seq_column: kind.schema().column("venue_seq").ok(),
            by_seq: None,
            active: None,
            twins: (0..copies).map(|_| Twin::default()).collect(),
            last: None,
            last_ts: i64::MIN,
            log: VecDeque::new(),
            context: Context::default(),
            taken: VecDeque::new(),
            told_lack: i64::MIN / 2,
        }
    }

    /// Whether a copy holds messages that were not stored.
    pub fn holds(&self) -> bool {
        self.twins.iter().any(|twin| twin.first_held().is_some())
    }

    /// Receive time of the last row stored.
    pub fn last_ts(&self) -> i64 {
        self.last_ts
    }

    /// Takes what copies heard and when they lost their connections, as it happened.
    pub fn take(&mut self, work: &Work, out: &mut Out) {
        let mut events = Vec::new();
        for (copy, batch) in &work.batches {
            let messages = batch.ts_recv().iter().enumerate();
            events.extend(messages.map(|(at, ts_recv)| (*ts_recv, *copy, Some((batch, at)))));
        }
        events.extend(work.lost.iter().map(|(copy, ts_recv)| (*ts_recv, *copy, None)));
        events.sort_by_key(|(ts_recv, _, _)| *ts_recv);
        for (_, copy, event) in events {
            match event {
                Some((batch, at)) if self.kind == Kind::Book => {
                    self.book_message(copy, batch, at, out);
                }
                Some((batch, at)) => {
                    self.begin(copy);
                    self.message(copy, batch, at, out);
                }
                None => self.lost(copy, out),
            }
            self.take_strays(out);
        }
    }

    /// Stores prints that a copy has heard and the active one, which went on, did not say. Of
    /// other kinds it is told: what they say is no longer so.
    fn take_strays(&mut self, out: &mut Out) {
        for copy in 0..self.twins.len() {
            for stray in self.twins.get_mut(copy).map(Twin::take_strays).unwrap_or_default() {
                self.take_stray(&stray, out);
            }
        }
    }

    fn take_stray(&mut self, stray: &Held, out: &mut Out) {
        if self.kind == Kind::Book || self.is_logged(&stray.identity) {
            return;
        }
        let is_print = matches!(self.kind, Kind::Trades | Kind::Liquidations);
        let Some(last) = self.last.filter(|_| is_print && stray.identity.tells) else {
            return self.tell_lack(stray.ts_recv(), out);
        };
        self.push(&stray.batch, stray.at, out);
        self.last = Some((last.0.saturating_add(1), 0));
        self.remember(&stray.identity);
        self.twins.iter_mut().for_each(|twin| twin.shift(last));
        self.taken.push_back(stray.identity.content);
        if self.taken.len() > TAKEN_MAX {
            self.taken.pop_front();
        }
    }

    /// Whether a message was stored for another copy before the active one says it.
    fn was_taken(&mut self, identity: &Identity) -> bool {
        let at = self.taken.iter().position(|taken| *taken == identity.content);
        at.and_then(|at| self.taken.remove(at)).is_some()
    }

    /// Remembers a message that was stored.
    fn remember(&mut self, identity: &Identity) {
        let by_seq = self.by_seq == Some(true);
        match (by_seq, self.kind) {
            // A book tells by its own chain what it lacks.
            (true, Kind::Book) => return,
            (true, _) => {}
            (false, _) => self.context.push(identity.content),
        }
        self.log.push_back(self.log_key(identity));
        if self.log.len() > if by_seq { SEQS_MAX } else { LOG_MAX } {
            self.log.pop_front();
        }
    }

    /// Whether a message was stored, as far as that is remembered.
    fn is_logged(&self, identity: &Identity) -> bool {
        let key = self.log_key(identity);
        self.log.iter().rev().any(|stored| *stored == key)
    }

    /// What is remembered of a message.
    fn log_key(&self, identity: &Identity) -> u64 {
        match self.by_seq {
            Some(true) => identity.seq.unwrap_or(0).cast_unsigned(),
            _ => identity.content,
        }
    }

    /// Notes, once a minute, that another copy has heard what the active one lacks. Of a ticker it
    /// is nothing: it says how things are, and said so since.
    fn tell_lack(&mut self, ts_recv: i64, out: &mut Out) {
        if self.kind != Kind::Ticker && ts_recv.saturating_sub(self.told_lack) >= LACK_NS {
            self.told_lack = ts_recv;
            let kind = self.kind.name();
            let detail =
                format!("{kind}: some came on another connection only; told once a minute");
            out.note(ts_recv.max(self.last_ts), StatusWhat::Gap, &detail);
        }
    }

    /// A copy lost its connection.
    fn lost(&mut self, copy: usize, out: &mut Out) {
        let Some(twin) = self.twins.get_mut(copy) else { return };
        twin.whole = false;
        if self.active == Some(copy) && !self.replace(copy, out) {
            self.begin_with_any(out);
        }
    }

    /// Looks whether the active copy fell silent, and drops what was held for too long.
    pub fn look(&mut self, now: i64, out: &mut Out) {
        let active = self.active.and_then(|active| Some((active, self.twins.get(active)?)));
        if let Some((active, heard)) = active.filter(|(_, a)| a.whole).map(|(n, a)| (n, a.heard)) {
            self.look_at(active, heard, now, out);
        }
        self.twins.iter_mut().for_each(|twin| twin.trim(now));
    }

    fn look_at(&mut self, active: usize, heard: i64, now: i64, out: &mut Out) {
        let goes_on = |twin: &Twin| {
            let first = twin.first_held().map(Held::ts_recv);
            twin.whole && first.is_some_and(|ts| heard < ts && ts.saturating_add(SILENCE_NS) < now)
        };
        if !self.twins.iter().any(goes_on) || self.replace(active, out) {
            return;
        }
        let Some(next) = self.twins.iter().position(goes_on) else { return };
        if self.can_begin(next) {
            if self.kind == Kind::Book {
                self.cut("the connection fell silent", out);
            }
            self.begin_with(next, out);
        }
    }

    /// Takes a message of a book.
    fn book_message(&mut self, copy: usize, batch: &Arc<Batch>, at: usize, out: &mut Out) {
        let actions = batch.u8s(book::ACTION).get(batch.message_rows(at)).unwrap_or_default();
        let has = |action: Action| actions.contains(&(action as u8));
        let Some(twin) = self.twins.get_mut(copy) else { return };
        twin.apply(batch, at);
        if has(Action::Gap) {
            return self.gap(copy, batch, at, out);
        }
        if twin.whole {
            return self.message(copy, batch, at, out);
        }
        if has(Action::Reset) {
            self.begin(copy);
            if self.active == Some(copy) {
                let (identity, position, _) = self.identify(copy, batch, at);
                return self.store(copy, batch, at, identity, position, out);
            }
            out.heal(copy, StatusWhat::Resync, ts_recv(batch, at));
            return self.message(copy, batch, at, out);
        }
        if *self.active.get_or_insert(copy) == copy {
            // Under a gap, as it came.
            self.push(batch, at, out);
        }
    }

    /// A book of a copy has a hole.
    fn gap(&mut self, copy: usize, batch: &Arc<Batch>, at: usize, out: &mut Out) {
        if let Some(twin) = self.twins.get_mut(copy) {
            twin.whole = false;
        }
        let is_active = *self.active.get_or_insert(copy) == copy;
        if !is_active || self.replace(copy, out) {
            return out.heal(copy, StatusWhat::Gap, ts_recv(batch, at));
        }
        self.push(batch, at, out);
        self.begin_with_any(out);
    }

    /// A copy is whole from its next message on; it leads if no other is whole.
    fn begin(&mut self, copy: usize) {
        let Some(twin) = self.twins.get_mut(copy).filter(|twin| !twin.whole) else { return };
        twin.begin();
        let active = self.active.and_then(|active| self.twins.get(active));
        if !active.is_some_and(|active| active.whole) {
            self.active = Some(copy);
        }
    }

    /// Takes the next message of a copy that is whole.
    fn message(&mut self, copy: usize, batch: &Arc<Batch>, at: usize, out: &mut Out) {
        let (identity, position, fell) = self.identify(copy, batch, at);
        let was_taken = self.active == Some(copy) && self.was_taken(&identity);
        let Some(twin) = self.twins.get_mut(copy) else { return };
        if was_taken {
            twin.position = self.last;
            return;
        }
        if !fell && position.is_some() && position <= self.last {
            let began = self.log.front().is_some_and(|first| *first < self.log_key(&identity));
            if self.by_seq == Some(true) && began && !self.is_logged(&identity) {
                self.tell_lack(ts_recv(batch, at), out);
            }
            return;
        }
        if self.active != Some(copy) {
            let position = position.filter(|_| self.by_seq == Some(true));
            return twin.hold(Held { batch: batch.clone(), at, identity, position });
        }
        let goes_on = fell || (position.is_some() && twin.continues(self.last));
        if goes_on || self.last.is_none() {
            self.store(copy, batch, at, identity, position, out);
        } else if self.kind == Kind::Book {
            self.cut("another connection cannot be shown to go on here", out);
            self.begin_with(copy, out);
        } else {
            self.note_hole(out);
            self.store(copy, batch, at, identity, position, out);
        }
    }

    /// Finds where the next message of a copy stands; `None` if that is not known. Whether the
    /// venue's sequence went back.
    fn identify(
        &mut self,
        copy: usize,
        batch: &Batch,
        at: usize,
    ) -> (Identity, Option<Position>, bool) {
        let identity = Identity::of(batch, at, self.seq_column, self.by_seq == Some(true));
        let by_seq = *self.by_seq.get_or_insert(identity.seq.is_some());
        let Some(twin) = self.twins.get_mut(copy) else { return (identity, None, false) };
        twin.heard = ts_recv(batch, at);
        if by_seq {
            let (position, fell) = twin.next_by_seq(identity.seq);
            if fell {
                twin.restart(position);
            }
            twin.position = Some(position);
            twin.base.get_or_insert(position);
            return (identity, Some(position), fell);
        }
        twin.note(identity.content);
        let newest = self.last.map_or(0, |(last, _)| last);
        if let Some(next) = twin.position.map(|(last, _)| last.saturating_add(1)) {
            let back = usize::try_from(newest.saturating_sub(next)).ok();
            let stored = back.and_then(|back| self.log.iter().nth_back(back));
            if next > newest || stored == Some(&identity.content) {
                twin.position = Some((next, 0));
                return (identity, twin.position, false);
            }
            twin.misplace();
        }
        if let Some(found) = twin.find_in(&self.log, identity.tells) {
            let back = self.log.len().saturating_sub(found + 1);
            let place = (newest.saturating_sub_unsigned(back as u64), 0);
            twin.find_place(place, (newest, 0), self.log.len());
        }
        (identity, twin.position, false)
    }

    /// Stores a message of a copy; the others pass it.
    fn store(
        &mut self,
        copy: usize,
        batch: &Arc<Batch>,
        at: usize,
        identity: Identity,
        position: Option<Position>,
        out: &mut Out,
    ) {
        self.push(batch, at, out);
        let by_seq = self.by_seq == Some(true);
        let counted = (self.last.map_or(0, |(last, _)| last.saturating_add(1)), 0);
        let last = position.filter(|_| by_seq).unwrap_or(counted);
        let fell = Some(last) < self.last;
        self.last = Some(last);
        self.remember(&identity);
        for (other, twin) in self.twins.iter_mut().enumerate() {
            if other == copy {
                twin.stored(last);
            } else if fell {
                twin.drop_held();
                twin.base = twin.position;
            } else if by_seq {
                twin.pass_seq(last);
            } else {
                twin.pass_content(last, identity, &self.context, self.log.len());
            }
        }
    }

    fn push(&mut self, batch: &Arc<Batch>, at: usize, out: &mut Out) {
        out.push(batch, at);
        self.last_ts = ts_recv(batch, at).max(self.last_ts);
    }

    /// Another copy than `from`, if one is whole and goes on where the stored messages end,
    /// becomes the active one. What others are known to have beyond that is stored first.
    fn replace(&mut self, from: usize, out: &mut Out) -> bool {
        let goes_on = |(copy, twin): (usize, &Twin), last| copy != from && twin.continues(last);
        for copy in 0..self.twins.len() {
            let twin = self.twins.get(copy);
            if twin.is_some_and(|twin| goes_on((copy, twin), self.last)) {
                self.release(copy, i64::MIN, out);
            }
        }
        let mut twins = self.twins.iter().enumerate();
        let next = twins.find(|(copy, twin)| twin.whole && goes_on((*copy, twin), self.last));
        let next = next.map(|(copy, _)| copy);
        self.active = next.or(self.active);
        next.is_some()
    }

    /// Stores what a copy holds that was received after `after`.
    fn release(&mut self, copy: usize, after: i64, out: &mut Out) {
        while let Some(held) = self.twins.get_mut(copy).and_then(Twin::take_held) {
            if held.ts_recv() > after {
                self.store(copy, &held.batch, held.at, held.identity, held.position, out);
            }
        }
    }

    /// Whether a copy can go on after a hole: it is whole, and what its book is is known.
    fn can_begin(&self, copy: usize) -> bool {
        let is_book = self.kind == Kind::Book;
        self.twins.get(copy).is_some_and(|twin| twin.whole && (!is_book || twin.book().is_some()))
    }

    /// Goes on after a hole with the first copy that can.
    fn begin_with_any(&mut self, out: &mut Out) {
        if let Some(next) = (0..self.twins.len()).find(|copy| self.can_begin(*copy)) {
            self.begin_with(next, out);
        }
    }

    /// Goes on after a hole with `copy`, a book with all of it.
    fn begin_with(&mut self, copy: usize, out: &mut Out) {
        self.active = Some(copy);
        let Some(twin) = self.twins.get_mut(copy) else { return };
        if self.kind != Kind::Book {
            if twin.first_held().is_some() {
                self.note_hole(out);
                self.release(copy, self.last_ts, out);
            }
            return;
        }
        twin.drop_held();
        let Some(batch) = twin.book().and_then(|book| whole_book(book, self.last_ts)) else {
            twin.whole = false;
            return;
        };
        let position = twin.position;
        let identity = Identity::of(&batch, 0, self.seq_column, self.by_seq == Some(true));
        self.store(copy, &Arc::new(batch), 0, identity, position, out);
        out.note(self.last_ts, StatusWhat::Resync, "the book of another connection");
    }

    /// Stores that messages of the book may be missing.
    fn cut(&mut self, detail: &str, out: &mut Out) {
        let mut builder = BatchBuilder::new(Kind::Book);
        builder.begin(MessageHead { ts_recv: TsNs(self.last_ts), ..MessageHead::default() });
        builder.gap(0);
        builder.end();
        for batch in builder.finish().into_iter().flatten() {
            self.push(&Arc::new(batch), 0, out);
        }
        out.note(self.last_ts, StatusWhat::Gap, detail);
    }

    /// Notes that messages of another kind may be missing.
    fn note_hole(&self, out: &mut Out) {
        let detail = format!(
            "{}: some after {} may be missing, another connection cannot be shown to go on there",
            self.kind.name(),
            TsNs(self.last_ts)
        );
        out.note(self.last_ts, StatusWhat::Gap, &detail);
    }
}

fn ts_recv(batch: &Batch, at: usize) -> i64 {
    batch.ts_recv().get(at).copied().unwrap_or(i64::MIN)
}

/// A book as one message, a snapshot, received at `ts_recv` or later.
fn whole_book(tracker: &Tracker, ts_recv: i64) -> Option<Batch> {
    let book = tracker.book();
    let mut builder = BatchBuilder::new(Kind::Book);
    builder.begin(MessageHead {
        ts_recv: tracker.ts_recv()?.max(TsNs(ts_recv)),
        ts_event: tracker.ts_event(),
        venue_seq: tracker.venue_seq(),
        snapshot: true,
    });
    for side in [Side::Bid, Side::Ask] {
        for (price, qty) in book.levels(side) {
            let price = Decimal::new(price, book.price_scale())?;
            builder.level(side, price, Decimal::new(qty, book.qty_scale())?);
        }
    }
    builder.end();
    builder.finish().ok()?.pop()
}
