//! One instrument's market over time: changes become messages, some of which are lost.

use super::feed::{Delta, Feed, Snapshot, SnapshotRule, State, Times, Top, Trade};
use super::process::Process;
use super::random::Random;
use super::reference::Reference;
use super::truth::{Counts, TrueBook, TrueGap, Truth};
use crate::book::Book;
use crate::error::Result;
use crate::event::Side;
use crate::quantity::{DAY_NS, Instrument, TsNs};

const SECOND_NS: i64 = 1_000_000_000;

/// Messages before the first gap, so that every book is live once before.
const MESSAGES_BEFORE_GAPS: i64 = 24;

/// The course of one instrument.
pub(super) struct Plan {
    pub instrument: Instrument,
    pub start: TsNs,
    pub duration_ns: i64,
    /// Price at the start, in the units of the book.
    pub first_price: i64,
    /// Time between two book messages.
    pub interval_ns: i64,
    /// Changes of the book per message, about.
    pub changes: i64,
    pub gaps: i64,
    pub truth_every_ns: i64,
}

/// Whether the client's book can be trusted, and if not, how it gets a new one.
enum Link {
    /// Nothing is missing.
    Live,
    /// A snapshot is asked for, or comes, with the message after `messages` more.
    Wanted { messages: i64 },
    /// The venue has taken a snapshot; it arrives after `messages` more.
    Answered { messages: i64, book: Box<Book>, last_id: i64, event_ns: i64 },
}

/// What one instrument needs while it runs.
pub(super) struct Run<'a> {
    pub plan: Plan,
    pub process: Process,
    pub reference: &'a Reference,
    pub feed: Box<dyn Feed>,
    pub random: Random,
    pub truth: &'a mut Truth,
    state: Progressing,
}

/// What changes from message to message.
struct Progressing {
    link: Link,
    counts: Counts,
    gap: Option<TrueGap>,
    /// Messages still to be lost.
    losing: i64,
    gaps_begun: i64,
    last_recv_ns: i64,
    /// Last change that a message, lost or not, told of.
    told_id: i64,
    told_top: [(i64, i64); 2],
    trade_id: i64,
    next_second_ns: i64,
    next_truth_ns: i64,
    snapshot_day: i64,
    open_interest: i64,
    levels: Vec<(Side, i64, i64)>,
}

impl<'a> Run<'a> {
    pub fn new(
        plan: Plan,
        process: Process,
        reference: &'a Reference,
        feed: Box<dyn Feed>,
        mut random: Random,
        truth: &'a mut Truth,
    ) -> Self {
        let start_ns = plan.start.0;
        let state = Progressing {
            link: Link::Wanted { messages: if feed_asks(&*feed) { 2 } else { 0 } },
            counts: Counts::default(),
            gap: None,
            losing: 0,
            gaps_begun: 0,
            last_recv_ns: start_ns,
            told_id: process.last_id(),
            told_top: [(0, 0); 2],
            trade_id: 1_000_000 + random.below(1_000_000_000),
            next_second_ns: start_ns,
            next_truth_ns: start_ns + plan.truth_every_ns / 2,
            snapshot_day: start_ns.div_euclid(DAY_NS),
            open_interest: 80_000_000 + random.below(10_000_000),
            levels: Vec::new(),
        };
        Self { plan, process, reference, feed, random, truth, state }
    }

    /// Runs to the end; `progress` hears of levels written and time made since it was last called.
    pub fn run(mut self, mut progress: impl FnMut(u64, i64)) -> Result<()> {
        let times = self.times(self.plan.start.0);
        self.feed.subscribe(times)?;
        let messages = self.plan.duration_ns / self.plan.interval_ns.max(1);
        let mut levels_told = 0;
        for index in 0..messages {
            let from_ns = self.plan.start.0 + index * self.plan.interval_ns;
            let jitter_ns = self.random.below(self.plan.interval_ns / 5);
            let to_ns = from_ns + self.plan.interval_ns - jitter_ns;
            self.changes(from_ns, to_ns)?;
            self.begin_gap(index, messages);
            self.message(to_ns)?;
            self.each_second(to_ns)?;
            progress(self.state.counts.levels - levels_told, self.plan.interval_ns);
            levels_told = self.state.counts.levels;
        }
        self.truth.counts.push((self.plan.instrument, self.state.counts));
        self.feed.finish()
    }

    /// When something of `event_ns` is received: later, by a varying delay, and never before what
    /// came earlier.
    fn times(&mut self, event_ns: i64) -> Times {
        let step_ns = self.feed.clock_step_ns();
        let delay_ns = 4_000_000 + self.random.below(400_000) + 20_000 * self.random.heavy(7);
        let arrival_ns = (event_ns + delay_ns) / step_ns * step_ns;
        self.state.last_recv_ns = arrival_ns.max(self.state.last_recv_ns + step_ns);
        Times { recv_ns: self.state.last_recv_ns, event_ns }
    }

    /// The changes of the book between two messages, and what is told of them at once.
    fn changes(&mut self, from_ns: i64, to_ns: i64) -> Result<()> {
        let mut count = self.plan.changes / 2 + self.random.below(self.plan.changes) + 1;
        if self.random.chance(20) {
            count *= 4;
        }
        for change in 1..=count {
            let event_ns = from_ns + (to_ns - from_ns) * change / (count + 1);
            let elapsed_ns = event_ns - self.plan.start.0;
            self.process.step(self.reference.price(self.plan.first_price, elapsed_ns));
            self.trades(event_ns)?;
            self.top(event_ns, change == count)?;
            if change == count / 2 + 1 {
                self.take_snapshot(event_ns);
            }
        }
        Ok(())
    }

    fn trades(&mut self, event_ns: i64) -> Result<()> {
        for index in 0..self.process.prints().len() {
            let Some(&print) = self.process.prints().get(index) else { break };
            self.state.trade_id += 1;
            let mut trade = Trade { times: self.times(event_ns), id: self.state.trade_id, print };
            self.feed.trade(&trade)?;
            self.state.counts.trades += 1;
            if self.random.chance(2) {
                trade.times = self.times(event_ns);
                let written = self.feed.liquidation(&trade)?;
                self.state.counts.liquidations += u64::from(written);
            }
        }
        Ok(())
    }

    /// Tells of the best prices if they changed; of a quantity alone not always, except at `last`.
    fn top(&mut self, event_ns: i64, last: bool) -> Result<()> {
        let best = self.process.top();
        let told = self.state.told_top;
        let moved = best.map(|level| level.0) != told.map(|level| level.0);
        if best == told || !(moved || last || self.random.chance(300)) {
            return Ok(());
        }
        self.state.told_top = best;
        self.state.counts.quotes += 1;
        let times = self.times(event_ns);
        self.feed.top(&Top { times, last_id: self.process.last_id(), best })
    }

    /// The venue takes the snapshot that was asked for, between two messages.
    fn take_snapshot(&mut self, event_ns: i64) {
        if matches!(self.state.link, Link::Wanted { messages: 0 }) && feed_asks(&*self.feed) {
            let book = Box::new(self.process.book().clone());
            let messages = self.random.below(3);
            let last_id = self.process.last_id();
            self.state.link = Link::Answered { messages, book, last_id, event_ns };
        }
    }

    /// Begins to lose messages where the plan wants it.
    fn begin_gap(&mut self, index: i64, messages: i64) {
        let due = messages * (self.state.gaps_begun + 1) / (self.plan.gaps + 1);
        let is_due = self.state.gaps_begun < self.plan.gaps && index >= due;
        if is_due && index >= MESSAGES_BEFORE_GAPS && matches!(self.state.link, Link::Live) {
            self.state.gaps_begun += 1;
            self.state.losing = 1 + self.random.below(6);
            self.state.link = Link::Wanted { messages: self.state.losing + 3 };
            self.state.gap = Some(TrueGap {
                instrument: self.plan.instrument.clone(),
                from: TsNs::MAX,
                until: TsNs::MAX,
                messages: self.state.losing.unsigned_abs(),
                seq_before: self.state.told_id,
                seq_after: 0,
            });
        }
    }

    /// Tells what changed since the last message.
    fn message(&mut self, event_ns: i64) -> Result<()> {
        let mut levels = std::mem::take(&mut self.state.levels);
        self.process.take_touched(&mut levels);
        let previous_id = self.state.told_id;
        self.state.told_id = self.process.last_id();
        let pushed = !feed_asks(&*self.feed);
        if let Link::Wanted { messages } = &mut self.state.link
            && *messages > 0
        {
            *messages -= 1;
            if pushed && *messages == 1 {
                let times = self.times(event_ns);
                self.feed.subscribe(times)?;
            }
        }
        let snapshot_now = pushed && matches!(self.state.link, Link::Wanted { messages: 0 });
        if self.state.losing > 0 {
            self.state.losing -= 1;
        } else if snapshot_now || self.day_begins(event_ns) {
            self.snapshot(event_ns, None)?;
        } else {
            self.delta(event_ns, previous_id, &levels)?;
            self.answer(event_ns)?;
        }
        self.state.levels = levels;
        Ok(())
    }

    /// Whether this is the first message of a day for a feed that begins days with a snapshot.
    fn day_begins(&mut self, event_ns: i64) -> bool {
        let daily = self.feed.snapshot_rule() == SnapshotRule::Daily;
        // By receive time, which is how such files are cut.
        let day = (event_ns.max(self.state.last_recv_ns)).div_euclid(DAY_NS);
        let begins = daily && day > self.state.snapshot_day;
        self.state.snapshot_day = day;
        begins
    }

    fn delta(
        &mut self,
        event_ns: i64,
        previous_id: i64,
        levels: &[(Side, i64, i64)],
    ) -> Result<()> {
        let times = self.times(event_ns);
        let last_id = self.state.told_id;
        let book = self.process.book();
        self.feed.delta(&Delta { times, previous_id, last_id, levels, book })?;
        self.state.counts.deltas += 1;
        self.state.counts.levels += levels.len() as u64;
        if let Some(gap) = &mut self.state.gap
            && gap.from == TsNs::MAX
        {
            gap.from = times.recv();
            gap.seq_after = previous_id;
        }
        self.keep_truth(times);
        Ok(())
    }

    /// The snapshot that was asked for arrives, if it is time.
    fn answer(&mut self, event_ns: i64) -> Result<()> {
        match &mut self.state.link {
            Link::Answered { messages, .. } if *messages > 0 => {
                *messages -= 1;
                Ok(())
            }
            Link::Answered { book, last_id, event_ns: taken_ns, .. } => {
                let taken = (std::mem::take(book), *last_id, *taken_ns);
                self.snapshot(event_ns, Some(taken))
            }
            _ => Ok(()),
        }
    }

    /// A snapshot, of now or as it was taken before, makes the book live.
    fn snapshot(&mut self, now_ns: i64, taken: Option<(Box<Book>, i64, i64)>) -> Result<()> {
        let mut times = self.times(now_ns);
        let snapshot = match &taken {
            Some((book, last_id, taken_ns)) => {
                times.event_ns = *taken_ns;
                Snapshot { times, last_id: *last_id, book }
            }
            None => Snapshot { times, last_id: self.state.told_id, book: self.process.book() },
        };
        let levels = [Side::Bid, Side::Ask]
            .iter()
            .map(|&side| snapshot.book.level_count(side))
            .sum::<usize>();
        self.feed.snapshot(&snapshot)?;
        self.state.counts.snapshots += 1;
        self.state.counts.levels += levels as u64;
        self.state.link = Link::Live;
        if let Some(mut gap) = self.state.gap.take() {
            gap.until = times.recv();
            self.truth.gaps.push(gap);
        }
        Ok(())
    }

    fn keep_truth(&mut self, times: Times) {
        let live = matches!(self.state.link, Link::Live);
        if !live || times.event_ns < self.state.next_truth_ns {
            return;
        }
        self.state.next_truth_ns += self.plan.truth_every_ns.max(1);
        let has_seq = self.feed.snapshot_rule() != SnapshotRule::Daily;
        self.truth.books.push(TrueBook {
            instrument: self.plan.instrument.clone(),
            at: times.recv(),
            venue_seq: has_seq.then_some(self.state.told_id),
            book: self.process.book().clone(),
        });
    }

    /// State of a derivative, once a second.
    fn each_second(&mut self, event_ns: i64) -> Result<()> {
        if event_ns < self.state.next_second_ns {
            return Ok(());
        }
        self.state.next_second_ns += SECOND_NS;
        let [(bid, _), (ask, _)] = self.process.top();
        let index = self.reference.price(self.plan.first_price, event_ns - self.plan.start.0);
        let interest = self.state.open_interest;
        self.state.open_interest += self.random.below(20_001) - 10_000;
        let funding_ns = (event_ns.div_euclid(DAY_NS / 3) + 1) * (DAY_NS / 3);
        let state = State {
            times: self.times(event_ns),
            last: if self.random.chance(500) { bid } else { ask },
            mark: (bid + ask) / 2,
            index,
            funding_rate: 10_000 + interest / 100_000 % 1000,
            funding_ts_ms: funding_ns / 1_000_000,
            open_interest: interest,
        };
        let written = self.feed.state(&state)?;
        self.state.counts.tickers += u64::from(written);
        Ok(())
    }
}

fn feed_asks(feed: &dyn Feed) -> bool {
    feed.snapshot_rule() == SnapshotRule::Asked
}
