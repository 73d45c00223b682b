//! Pauses between attempts.

use std::time::Duration;

use crate::seed::Rng;

/// Exponential back-off: each pause is drawn from the upper half of a window that doubles up to a bound, so that
/// those who lost the same peer at the same moment do not all come back at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    window: Duration,
    rng: Rng,
}

impl Backoff {
    /// Windows from `min` to `max`; what is drawn depends on the seed.
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, window: min, rng: Rng::new(seed) }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let half = self.window / 2;
        self.window = (self.window * 2).min(self.max);
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_nanos(self.rng.below(nanos))
    }

    /// Begins again with the shortest window.
    pub fn reset(&mut self) {
        self.window = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_begin_again() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(80));
        let mut backoff = Backoff::new(min, max, 7);
        for window in [10, 20, 40, 80, 80, 80].map(Duration::from_millis) {
            let pause = backoff.pause();
            assert!(pause >= window / 2 && pause < window, "{pause:?} for {window:?}");
        }
        backoff.reset();
        assert!(backoff.pause() < min);
    }

    #[test]
    fn stores_do_not_pause_alike() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), seed);
            [(); 4].map(|()| backoff.pause())
        };
        assert_ne!(pauses(1), pauses(2));
    }
}
