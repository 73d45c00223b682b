//! How slow the store is, from 1 for well to 100, as the placement driver takes it: at 80 it sends leaders elsewhere.
//!
//! What is measured is what every write waits for: the writes to the log engine, their fsync included. A store whose disk is
//! idle is not slow as far as anybody can tell.

use std::time::Duration;

use prometheus::Histogram;
use prometheus::core::Metric;

/// A write that takes longer than this is slow, about: the histogram's next bound counts.
const SLOW_SECONDS: f64 = 0.25;

/// The share of slow writes at which the score doubles with each interval.
const DOUBLING_SHARE: f64 = 0.1;

/// How long it takes a store that was as slow as can be to be well again.
const RECOVERY: Duration = Duration::from_secs(300);

/// The lowest score.
const WELL: f64 = 1.0;

/// The highest.
const SLOWEST: f64 = 100.0;

/// The score: it rises by factors and falls in steps (raftstore-rules §15).
#[derive(Debug)]
pub(super) struct SlowScore {
    score: f64,
    seen: Writes,
}

impl Default for SlowScore {
    fn default() -> Self {
        Self { score: WELL, seen: Writes::default() }
    }
}

/// Writes since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Writes {
    all: u64,
    slow: u64,
}

impl Writes {
    fn count(durations: &Histogram) -> Self {
        let metric = durations.metric();
        let histogram = metric.get_histogram();
        let buckets = histogram.get_bucket();
        let quick = buckets.iter().find(|bucket| bucket.upper_bound() >= SLOW_SECONDS);
        let all = histogram.get_sample_count();
        let slow = quick.map_or(0, |bucket| all.saturating_sub(bucket.cumulative_count()));
        Self { all, slow }
    }
}

impl SlowScore {
    /// The score after an interval, given how long writes took.
    pub(super) fn after(&mut self, interval: Duration, durations: &Histogram) -> u64 {
        self.update(interval, Writes::count(durations));
        self.score.round() as u64
    }

    fn update(&mut self, interval: Duration, writes: Writes) {
        let slow = writes.slow.saturating_sub(self.seen.slow);
        let all = writes.all.saturating_sub(self.seen.all);
        self.seen = writes;
        let share = if all == 0 { 0.0 } else { slow as f64 / all as f64 };
        self.score = if share > 0.0 {
            self.score * (1.0 + (share / DOUBLING_SHARE).min(1.0))
        } else {
            self.score - (SLOWEST - WELL) * interval.as_secs_f64() / RECOVERY.as_secs_f64()
        };
        self.score = self.score.clamp(WELL, SLOWEST);
    }
}

#[cfg(test)]
mod tests {
    use observe::Registry;
    use observe::metrics::StoreMetrics;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn slow_writes_double_the_score_and_time_takes_it_back() {
        let mut score = SlowScore::default();
        let mut writes = Writes::default();
        let mut after = |all, slow| {
            writes = Writes { all: writes.all + all, slow: writes.slow + slow };
            score.update(INTERVAL, writes);
            score.score.round() as u64
        };
        assert_eq!(after(100, 0), 1);
        assert_eq!([after(100, 10), after(10, 9), after(1, 1)], [2, 4, 8]);
        assert_eq!(after(100, 5), 12, "half the share, half as much again");
        for _ in 0..5 {
            after(10, 10);
        }
        assert_eq!(after(10, 10), 100);
        assert_eq!(after(0, 0), 97, "an idle disk");
        let falling: Vec<u64> = (0..30).map(|_| after(10, 0)).collect();
        assert!(falling.is_sorted_by(|earlier, later| earlier >= later) && falling[27] > 1, "{falling:?}");
        assert_eq!(falling[29], 1, "five minutes without a slow write");
    }

    #[test]
    fn writes_are_counted_by_how_long_they_take() {
        let metrics = StoreMetrics::new(&Registry::new(), 1.into());
        let durations = &metrics.log_write_duration;
        [0.001, 0.2, 0.25, 0.6, 20.0].iter().for_each(|seconds| durations.observe(*seconds));
        assert_eq!(Writes::count(durations), Writes { all: 5, slow: 2 });
    }
}
