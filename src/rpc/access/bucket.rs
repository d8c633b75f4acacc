//! How many requests a second: a bucket of one second's requests that fills evenly.
//!
//! Pure: every call is told what time it is.

use std::time::{Duration, Instant};

/// Requests that may be made now.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    /// When the bucket would have been empty, had it been filled since then and never been used.
    empty_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = per_second.max(1);
        Self { per_second, empty_at: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    /// Takes one request.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full_since = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let empty_at = self.empty_at.max(full_since) + Duration::from_secs(1) / self.per_second;
        if empty_at > now {
            return Err(empty_at - now);
        }
        self.empty_at = empty_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_requests_at_once_and_then_evenly() {
        let start = Instant::now() + Duration::from_secs(10);
        let after = |ms| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(4, start);
        for _ in 0..4 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_millis(250)));
        assert_eq!(bucket.take(after(240)), Err(Duration::from_millis(10)));
        assert_eq!(bucket.take(after(250)), Ok(()));
        assert!(bucket.take(after(250)).is_err());
        // A long rest fills it once, not more.
        for _ in 0..4 {
            assert_eq!(bucket.take(after(60_000)), Ok(()));
        }
        assert!(bucket.take(after(60_000)).is_err());
    }
}
