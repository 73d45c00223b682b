//! A limit on bytes per second.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use types::Instant;

/// How much may pass at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket that everyone who moves snapshots in one direction shares. Clones are the same bucket.
///
/// Whoever takes more than there is goes into debt and is told when the debt is paid: what was taken may pass, the next
/// waits. So one chunk may be larger than the bucket.
#[derive(Clone, Debug)]
pub struct RateLimiter(Arc<Mutex<Bucket>>);

#[derive(Debug)]
struct Bucket {
    /// Zero for no limit.
    bytes_per_second: u64,
    /// When everything that was taken so far is paid for.
    paid_at: Instant,
}

impl RateLimiter {
    /// A limiter of so many bytes per second; zero for none.
    pub fn new(bytes_per_second: u64) -> Self {
        Self(Arc::new(Mutex::new(Bucket { bytes_per_second, paid_at: Instant::ORIGIN })))
    }

    /// Changes the limit from now on.
    pub fn set(&self, bytes_per_second: u64) {
        self.0.lock().bytes_per_second = bytes_per_second;
    }

    /// When bytes may pass that are asked for at `now`; at `now` itself where there is no debt.
    pub fn ready_at(&self, now: Instant) -> Instant {
        let bucket = self.0.lock();
        if bucket.bytes_per_second == 0 { now } else { bucket.paid_at.max(now) }
    }

    /// Takes bytes that pass at `now`.
    pub fn take(&self, now: Instant, bytes: u64) {
        let mut bucket = self.0.lock();
        if bucket.bytes_per_second == 0 {
            return;
        }
        // Time that nobody used is worth a burst at the most.
        let unused = now.0.saturating_sub(u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bucket.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        bucket.paid_at = bucket.paid_at.max(Instant(unused)) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant(milliseconds * 1_000_000)
    }

    #[test]
    fn what_passes_keeps_to_the_rate() {
        let limiter = RateLimiter::new(1000);
        let (mut now, mut passed) = (at(1000), 0);
        while now < at(11_000) {
            limiter.take(now, 70);
            passed += 70;
            now = limiter.ready_at(now);
        }
        // Ten seconds' worth, the burst of a tenth, and one piece that began before the end.
        assert!((10_000..=10_170).contains(&passed), "{passed}");
    }

    #[test]
    fn a_pause_is_worth_no_more_than_a_burst() {
        let limiter = RateLimiter::new(1000);
        limiter.take(at(0), 1);
        for _ in 0..10 {
            limiter.take(at(1_000_000), 10);
        }
        assert_eq!(limiter.ready_at(at(1_000_000)), at(1_000_000), "the burst of 100 bytes is spent exactly");
        limiter.take(at(1_000_000), 10);
        assert_eq!(limiter.ready_at(at(1_000_000)), at(1_000_010));
    }

    #[test]
    fn several_share_one_bucket_and_zero_is_no_limit() {
        let limiter = RateLimiter::new(1000);
        let other = limiter.clone();
        limiter.take(at(1000), 1100);
        assert_eq!(other.ready_at(at(1000)), at(2000));
        other.set(0);
        assert_eq!(limiter.ready_at(at(1000)), at(1000));
        limiter.take(at(1000), u64::MAX);
        assert_eq!(limiter.ready_at(at(1000)), at(1000));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let limiter = RateLimiter::new(1);
        limiter.take(Instant(u64::MAX), u64::MAX);
        assert_eq!(limiter.ready_at(at(0)), Instant(u64::MAX));
    }
}
