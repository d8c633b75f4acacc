//! No more bytes a second than asked for.

use std::time::Duration;

/// How long to wait so that a disk is left alone for others. It reads no clock: whoever asks says
/// how much time has passed.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    bytes_per_second: Option<u64>,
    bytes: u64,
}

impl Pace {
    /// At most so many bytes a second; any number if `None`.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, bytes: 0 }
    }

    /// How long to wait after `bytes` more, `elapsed` after the beginning.
    pub fn after(&mut self, bytes: u64, elapsed: Duration) -> Duration {
        self.bytes += bytes;
        let Some(per_second) = self.bytes_per_second else { return Duration::ZERO };
        let due = Duration::from_secs_f64(self.bytes as f64 / per_second.max(1) as f64);
        due.saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_as_long_as_the_bytes_so_far_may_take() {
        let mut pace = Pace::new(Some(1000));

        assert_eq!(pace.after(500, Duration::ZERO), Duration::from_millis(500));
        assert_eq!(pace.after(500, Duration::from_millis(600)), Duration::from_millis(400));
        assert_eq!(pace.after(0, Duration::from_secs(2)), Duration::ZERO);
        assert_eq!(pace.after(1500, Duration::from_secs(2)), Duration::from_millis(500));
        assert_eq!(Pace::new(None).after(u64::MAX, Duration::ZERO), Duration::ZERO);
    }
}
