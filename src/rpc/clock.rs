//! The clock of a replay: recorded time that runs at a speed of its own.
//!
//! Pure: every call is told what time it is, so that tests need not wait.

use std::time::{Duration, Instant};

use super::model::Speed;
use crate::quantity::TsNs;

/// Recorded time that stands or runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplayClock {
    speed: Speed,
    /// Recorded time at `since`, or where the clock stands.
    anchor: TsNs,
    /// When `anchor` was set, if the clock runs.
    since: Option<Instant>,
}

impl ReplayClock {
    /// A clock that stands at `position`.
    pub(super) fn new(position: TsNs, speed: Speed) -> Self {
        Self { speed, anchor: position, since: None }
    }

    pub(super) fn speed(&self) -> Speed {
        self.speed
    }

    /// The recorded time at `now`. A clock that plays as fast as possible stands where it was put.
    pub(super) fn position(&self, now: Instant) -> TsNs {
        let (Some(since), Some(ppm)) = (self.since, self.speed.ppm()) else { return self.anchor };
        let elapsed_ns = now.saturating_duration_since(since).as_nanos();
        let recorded_ns = elapsed_ns.saturating_mul(u128::from(ppm)) / 1_000_000;
        let position = i128::from(self.anchor.0)
            .saturating_add(i128::try_from(recorded_ns).unwrap_or(i128::MAX));
        TsNs(i64::try_from(position).unwrap_or(i64::MAX))
    }

    /// Runs from where it stands.
    pub(super) fn run(&mut self, now: Instant) {
        self.put(self.position(now), now);
        self.since = Some(now);
    }

    /// Stands where it is.
    pub(super) fn stop(&mut self, now: Instant) {
        self.anchor = self.position(now);
        self.since = None;
    }

    /// Goes to `position`; runs on if it ran.
    pub(super) fn put(&mut self, position: TsNs, now: Instant) {
        self.anchor = position;
        self.since = self.since.map(|_| now);
    }

    /// Changes the speed; the position stays.
    pub(super) fn set_speed(&mut self, speed: Speed, now: Instant) {
        self.put(self.position(now), now);
        self.speed = speed;
    }

    /// How long until `ts` is reached: zero if it is, `None` if the clock stands.
    pub(super) fn wait_for(&self, ts: TsNs, now: Instant) -> Option<Duration> {
        self.since?;
        let Some(ppm) = self.speed.ppm() else { return Some(Duration::ZERO) };
        let recorded_ns = i128::from(ts.0) - i128::from(self.position(now).0);
        let recorded_ns = u128::try_from(recorded_ns).unwrap_or(0);
        let wait_ns = (recorded_ns * 1_000_000).div_ceil(u128::from(ppm));
        Some(Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(factor: f64) -> Speed {
        Speed::times(factor).unwrap()
    }

    #[test]
    fn recorded_time_runs_at_its_speed_and_stands_while_stopped() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut clock = ReplayClock::new(TsNs(1_000), times(10.0));

        assert_eq!(clock.position(after(5)), TsNs(1_000));
        assert_eq!(clock.wait_for(TsNs(2_000), start), None);
        clock.run(start);
        assert_eq!(clock.position(after(2)), TsNs(20_001_000));
        clock.stop(after(2));
        assert_eq!(clock.position(after(9)), TsNs(20_001_000));
        clock.run(after(10));
        clock.set_speed(times(0.5), after(11));
        assert_eq!(clock.position(after(15)), TsNs(32_001_000));
    }

    #[test]
    fn a_wait_ends_exactly_when_the_time_is_reached() {
        let start = Instant::now();
        for factor in [0.001, 0.37, 1.0, 7.0, 1000.0, 1_000_000.0] {
            let mut clock = ReplayClock::new(TsNs(0), times(factor));
            clock.run(start);
            let target = TsNs(123_456_789);

            let wait = clock.wait_for(target, start).unwrap();

            assert!(clock.position(start + wait) >= target, "{factor}");
            let before = start + wait.saturating_sub(Duration::from_nanos(2));
            assert!(wait < Duration::from_nanos(2) || clock.position(before) < target, "{factor}");
            assert_eq!(clock.wait_for(TsNs(-5), start), Some(Duration::ZERO));
        }
    }

    #[test]
    fn as_fast_as_possible_never_waits_and_far_times_do_not_overflow() {
        let start = Instant::now();
        let mut clock = ReplayClock::new(TsNs::MIN, Speed::FLAT_OUT);
        clock.run(start);
        assert_eq!(clock.wait_for(TsNs::MAX, start), Some(Duration::ZERO));
        assert_eq!(clock.position(start + Duration::from_secs(9)), TsNs::MIN);
        clock.set_speed(times(0.001), start);
        assert!(clock.wait_for(TsNs::MAX, start).unwrap() > Duration::from_secs(1 << 30));
        clock.set_speed(times(1_000_000.0), start);
        assert_eq!(clock.position(start + Duration::from_secs(1 << 40)), TsNs::MAX);
    }
}
