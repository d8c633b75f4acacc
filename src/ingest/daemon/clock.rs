//! Receive times from a wall clock that may be set: they never go back, and a step is told.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::quantity::TsNs;

/// The wall clock and the steady clock may differ by this much between two looks: more is a step,
/// less is the wall clock being trimmed.
const STEP: Duration = Duration::from_millis(250);

/// Gives receive times.
///
/// A wall clock that was set forward is followed at once. One that was set back is waited for:
/// receive times run at half speed until it has caught up, so that they stay in order.
#[derive(Debug)]
pub(super) struct ReceiveClock {
    steady: Instant,
    wall_ns: i64,
    now_ns: i64,
}

/// A receive time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub ts_recv: TsNs,
    /// The same moment on the steady clock.
    pub steady: Instant,
    /// By how much the wall clock was set since the last look, ns, if it was.
    pub stepped_ns: Option<i64>,
}

impl ReceiveClock {
    /// A clock that begins now.
    pub fn new() -> Self {
        let wall_ns = wall_ns();
        Self { steady: Instant::now(), wall_ns, now_ns: wall_ns }
    }

    /// The time now.
    pub fn read(&mut self) -> Now {
        self.advance(wall_ns(), Instant::now())
    }

    fn advance(&mut self, wall_ns: i64, steady: Instant) -> Now {
        let elapsed = nanos(steady.saturating_duration_since(self.steady));
        let stepped = wall_ns.saturating_sub(self.wall_ns).saturating_sub(elapsed);
        self.now_ns =
            if wall_ns >= self.now_ns { wall_ns } else { self.now_ns.saturating_add(elapsed / 2) };
        self.steady = steady;
        self.wall_ns = wall_ns;
        let stepped_ns = (stepped.unsigned_abs() > STEP.as_nanos() as u64).then_some(stepped);
        Now { ts_recv: TsNs(self.now_ns), steady, stepped_ns }
    }
}

/// The wall clock, ns since the Unix epoch.
pub(super) fn wall_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn a_clock_that_is_set_is_told_and_never_goes_back() {
        let start = Instant::now();
        let mut clock = ReceiveClock { steady: start, wall_ns: 0, now_ns: 0 };
        let mut at = |steady_ms: u64, wall_ms: i64| {
            let now = clock.advance(wall_ms * MS, start + Duration::from_millis(steady_ms));
            (now.ts_recv.0 / MS, now.stepped_ns.map(|ns| ns / MS))
        };

        assert_eq!(at(1000, 1000), (1000, None));
        // Trimmed, not set.
        assert_eq!(at(2000, 2200), (2200, None));
        // Set forward by ten seconds, then back by four.
        assert_eq!(at(3000, 13_200), (13_200, Some(10_000)));
        assert_eq!(at(4000, 10_200), (13_700, Some(-4000)));
        assert_eq!(at(5000, 11_200), (14_200, None));
        assert_eq!(at(7000, 13_200), (15_200, None));
        // The wall clock has caught up.
        assert_eq!(at(10_000, 16_200), (16_200, None));
        assert_eq!(at(11_000, 17_200), (17_200, None));
    }
}
