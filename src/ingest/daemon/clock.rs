//! Receive times from a wall clock that may be set: they never go back, and a step is told.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::quantity::TsNs;

/// The wall clock and the steady clock may differ by this much between two looks: more is a step,
/// less is the wall clock being trimmed.
const STEP: Duration = Duration::from_millis(250);
/// How often both clocks are read again because the thread was held up between them.
const READ_AGAIN_MAX: usize = 8;

/// A wall clock, which may be set at any time. By default that of the system.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> TsNs + Send + Sync>);

impl WallClock {
    /// The clock that `read` reads.
    pub fn new(read: impl Fn() -> TsNs + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// What it says now.
    #[must_use]
    pub fn now(&self) -> TsNs {
        (self.0)()
    }

    /// What it and the steady clock say at one moment, as far as the machine allows: a thread that
    /// was held up in between would take that for a step.
    fn with_steady(&self) -> (i64, Instant) {
        let (mut steady, mut wall_ns) = (Instant::now(), self.now().0);
        for _ in 0..READ_AGAIN_MAX {
            let after = Instant::now();
            if after.saturating_duration_since(steady) < STEP / 4 {
                break;
            }
            (steady, wall_ns) = (after, self.now().0);
        }
        (wall_ns, steady)
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new(|| TsNs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos)))
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&self.now()).finish()
    }
}

/// Gives receive times.
///
/// A wall clock that was set forward is followed at once. One that was set back is waited for:
/// receive times run at half speed until it has caught up, so that they stay in order.
#[derive(Debug)]
pub(super) struct ReceiveClock {
    wall: WallClock,
    steady: Instant,
    wall_ns: i64,
    now_ns: i64,
    /// By how much the wall clock was set and nobody was told, ns.
    untold_ns: Option<i64>,
    /// When the wall clock was seen to be set last.
    set_at: Option<Instant>,
}

/// A receive time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub ts_recv: TsNs,
    /// The same moment on the steady clock.
    pub steady: Instant,
    /// By how much the wall clock was set and nobody was told yet, ns, if it was.
    pub stepped_ns: Option<i64>,
    /// By how much `ts_recv` is ahead of a wall clock that is waited for, ns.
    pub ahead_ns: i64,
}

impl ReceiveClock {
    /// A clock that begins now, at the earliest at `stored`, the newest receive time before. If
    /// the wall clock is behind that it was set back meanwhile.
    pub fn new(wall: WallClock, stored: TsNs) -> Self {
        let (wall_ns, steady) = wall.with_steady();
        let now_ns = wall_ns;
        let mut clock = Self { wall, steady, wall_ns, now_ns, untold_ns: None, set_at: None };
        if stored.0 > wall_ns {
            clock.now_ns = stored.0;
            clock.stepped(wall_ns.saturating_sub(stored.0));
        }
        clock
    }

    /// The time now, and the step that nobody was told yet.
    pub fn read(&mut self) -> Now {
        let now = self.look();
        Now { stepped_ns: self.untold_ns.take(), ..now }
    }

    /// The time now; a step is left to who reads.
    pub fn look(&mut self) -> Now {
        let (wall_ns, steady) = self.wall.with_steady();
        self.advance(wall_ns, steady)
    }

    /// What the wall clock says, unless it was set less than `stood` ago: for who deletes by it.
    pub fn settled(&mut self, stood: Duration) -> Option<TsNs> {
        self.look();
        self.settled_at(stood)
    }

    fn settled_at(&self, stood: Duration) -> Option<TsNs> {
        let is_new = |set: Instant| self.steady.saturating_duration_since(set) < stood;
        (!self.set_at.is_some_and(is_new)).then_some(TsNs(self.wall_ns))
    }

    fn advance(&mut self, wall_ns: i64, steady: Instant) -> Now {
        let elapsed = nanos(steady.saturating_duration_since(self.steady));
        self.steady = steady;
        self.stepped(wall_ns.saturating_sub(self.wall_ns).saturating_sub(elapsed));
        self.now_ns =
            if wall_ns >= self.now_ns { wall_ns } else { self.now_ns.saturating_add(elapsed / 2) };
        self.wall_ns = wall_ns;
        let ahead_ns = self.now_ns.saturating_sub(wall_ns);
        Now { ts_recv: TsNs(self.now_ns), steady, stepped_ns: None, ahead_ns }
    }

    /// Notes that the wall clock moved by so much against the steady one.
    fn stepped(&mut self, ns: i64) {
        if ns.unsigned_abs() > STEP.as_nanos() as u64 {
            self.untold_ns = Some(self.untold_ns.unwrap_or(0).saturating_add(ns));
            self.set_at = Some(self.steady);
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    use super::*;

    const MS: i64 = 1_000_000;

    /// What a clock that began at `stored_ms` says at these times of the steady and the wall
    /// clock, which is read in steps, in ms: receive time, by how much it is ahead, what is untold.
    fn said(stored_ms: i64, times: &[(u64, i64)]) -> Vec<(i64, i64, Option<i64>)> {
        let wall = WallClock::new(|| TsNs(0));
        let mut clock = ReceiveClock::new(wall, TsNs(stored_ms * MS));
        let start = clock.steady;
        let said = times.iter().map(|(steady_ms, wall_ms)| {
            let now = clock.advance(wall_ms * MS, start + Duration::from_millis(*steady_ms));
            (now.ts_recv.0 / MS, now.ahead_ns / MS, clock.untold_ns.take().map(|ns| ns / MS))
        });
        said.collect()
    }

    #[test]
    fn a_clock_that_is_set_is_told_and_never_goes_back() {
        let trimmed = [(1000, 1000), (2000, 2200)];
        assert_eq!(said(0, &trimmed), [(1000, 0, None), (2200, 0, None)]);

        // Set forward by ten seconds, then back by four; at last the wall clock has caught up.
        let set = [
            (1000, 11_000),
            (2000, 8000),
            (3000, 9000),
            (5000, 11_000),
            (8000, 14_000),
            (9000, 15_000),
        ];
        let expected = [
            (11_000, 0, Some(10_000)),
            (11_500, 3500, Some(-4000)),
            (12_000, 3000, None),
            (13_000, 2000, None),
            (14_000, 0, None),
            (15_000, 0, None),
        ];
        assert_eq!(said(0, &set), expected);
    }

    #[test]
    fn a_clock_that_was_set_back_while_nothing_ran_is_waited_for() {
        assert_eq!(said(200, &[(0, 0)]), [(200, 200, None)]);
        assert_eq!(said(4000, &[(1000, 1000)]), [(4500, 3500, Some(-4000))]);
    }

    #[test]
    fn a_thread_that_is_held_up_between_the_clocks_sees_no_step() {
        let (began, held_up) = (Instant::now(), Arc::new(AtomicI64::new(1)));
        let of_clock = held_up.clone();
        let read = move || {
            if of_clock.fetch_sub(1, Relaxed) > 0 {
                std::thread::sleep(2 * STEP);
            }
            TsNs(nanos(began.elapsed()))
        };
        let mut clock = ReceiveClock::new(WallClock::new(read), TsNs(0));

        let mut steps = vec![clock.read().stepped_ns];
        held_up.store(2, Relaxed);
        steps.extend([(); 2].map(|()| clock.read().stepped_ns));

        assert_eq!(steps, [None; 3]);
    }

    #[test]
    fn a_step_is_left_to_who_reads_and_told_once() {
        let wall = Arc::new(AtomicI64::new(0));
        let of_clock = wall.clone();
        let read = move || TsNs(of_clock.load(Relaxed));
        let mut clock = ReceiveClock::new(WallClock::new(read), TsNs(0));
        for hours in [1, 3] {
            wall.store(hours * 3_600_000 * MS, Relaxed);
            assert_eq!(clock.look().stepped_ns, None);
        }

        let told = clock.read();

        let hours = told.stepped_ns.unwrap() as f64 / 3.6e12;
        assert!((2.9..=3.0).contains(&hours), "{hours}");
        assert_eq!((told.ts_recv.0, told.ahead_ns), (3 * 3_600_000 * MS, 0));
        assert_eq!(clock.read().stepped_ns, None);
    }

    #[test]
    fn a_clock_that_was_set_is_not_believed_before_it_has_stood() {
        const HOUR: Duration = Duration::from_secs(3600);
        let mut clock = ReceiveClock::new(WallClock::new(|| TsNs(0)), TsNs(0));
        let start = clock.steady;
        let mut settled = |minutes: u64, wall_minutes: i64| {
            let steady = start + Duration::from_secs(60 * minutes);
            clock.advance(wall_minutes * 60_000 * MS, steady);
            clock.settled_at(HOUR).map(|now| now.0 / MS / 60_000)
        };
        const YEAR: i64 = 365 * 24 * 60;

        assert_eq!([settled(0, 0), settled(59, 59)], [Some(0), Some(59)]);
        assert_eq!([settled(60, 60 + YEAR), settled(65, 65 + YEAR)], [None; 2]);
        assert_eq!([settled(119, 119 + YEAR), settled(120, 120 + YEAR)], [None, Some(120 + YEAR)]);
        assert_eq!([settled(121, 121), settled(180, 180)], [None; 2]);
        assert_eq!(settled(181, 181), Some(181));
    }
}
