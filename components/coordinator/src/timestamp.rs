//! Timestamps that never go back.
//!
//! A timestamp is `physical_ms << 18 | logical`. Every one that is given away has a physical part below a *bound* that
//! is durable; the bound is moved ahead before it is reached, so that a timestamp costs no write. A new leadership begins
//! at the durable bound, above everything that any earlier one can have given away. The wall clock only pulls the
//! physical part forward: where it stands still or goes back, the logical part counts, and runs over into the physical one.

use crate::error::CoordinatorError;

/// How many bits of a timestamp count within a millisecond.
pub const LOGICAL_BITS: u32 = 18;

/// Most timestamps in one batch: a batch shares its physical part, and the logical part zero is never given away.
pub const MAX_TIMESTAMPS: u32 = (1 << LOGICAL_BITS) - 1;

/// How far ahead of the clock the durable bound is set, in milliseconds.
pub const BOUND_AHEAD_MS: u64 = 3000;

/// The bound is moved when less than this is left below it, in milliseconds.
const BOUND_LOW_MS: u64 = BOUND_AHEAD_MS / 2;

/// Largest physical part; larger ones would make a timestamp negative for clients that keep it signed.
const MAX_PHYSICAL_MS: u64 = (1 << 45) - 1;

/// A clock that claims to be beyond this (the year 2248) is not believed: it would use up the timestamps.
const MAX_CLOCK_MS: u64 = 1 << 43;

/// A moment in the order of all transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Milliseconds since the Unix epoch, about.
    pub physical_ms: u64,
    /// Counts within the millisecond.
    pub logical: u32,
}

impl Timestamp {
    /// The timestamp as one number, ordered alike.
    pub const fn get(self) -> u64 {
        self.physical_ms << LOGICAL_BITS | self.logical as u64
    }
}

/// The wall clock's reading, or zero when it is not to be believed.
pub(crate) fn believed(unix_ms: u64) -> u64 {
    if unix_ms <= MAX_CLOCK_MS { unix_ms } else { 0 }
}

/// The newest timestamp that was given away, from which the next follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimestampOracle {
    newest: Timestamp,
}

impl TimestampOracle {
    /// Goes on at a durable bound. Nothing can be given away before a larger one is durable.
    pub(crate) fn resume(bound_ms: u64) -> Self {
        Self { newest: Timestamp { physical_ms: bound_ms, logical: 0 } }
    }

    /// Takes a batch and returns its largest timestamp; the others lie right below it. `None` when it would reach the
    /// durable bound.
    ///
    /// # Errors
    /// `Exhausted` when the physical part is at its end.
    pub(crate) fn take(
        &mut self,
        count: u32,
        unix_ms: u64,
        bound_ms: u64,
    ) -> Result<Option<Timestamp>, CoordinatorError> {
        assert!((1..=MAX_TIMESTAMPS).contains(&count), "the size of a batch is checked before it waits");
        let mut next = self.newest;
        if believed(unix_ms) > next.physical_ms {
            next = Timestamp { physical_ms: unix_ms, logical: 0 };
        }
        if next.logical + count > MAX_TIMESTAMPS {
            next = Timestamp { physical_ms: next.physical_ms + 1, logical: 0 };
        }
        next.logical += count;
        if next.physical_ms > MAX_PHYSICAL_MS {
            return Err(CoordinatorError::Exhausted { what: "timestamps" });
        }
        if next.physical_ms >= bound_ms {
            return Ok(None);
        }
        assert!(next > self.newest, "timestamps only grow");
        self.newest = next;
        Ok(Some(next))
    }

    /// A bound that leaves room for what follows.
    pub(crate) fn bound_ahead(&self, unix_ms: u64) -> u64 {
        (believed(unix_ms).max(self.newest.physical_ms) + BOUND_AHEAD_MS).min(MAX_PHYSICAL_MS + 1)
    }

    /// Whether the bound is near enough to be moved now, while there is still room below it.
    pub(crate) fn bound_is_low(&self, bound_ms: u64) -> bool {
        bound_ms <= MAX_PHYSICAL_MS && self.newest.physical_ms + BOUND_LOW_MS >= bound_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = MAX_PHYSICAL_MS + 1;

    fn oracle(physical_ms: u64) -> TimestampOracle {
        TimestampOracle::resume(physical_ms)
    }

    #[test]
    fn the_clock_pulls_and_the_count_pushes() {
        let mut oracle = oracle(10);
        let mut take = |count, unix_ms| {
            let newest = oracle.take(count, unix_ms, FAR).expect("not exhausted").expect("below the bound");
            (newest.physical_ms, newest.logical)
        };
        assert_eq!(take(1, 0), (10, 1));
        assert_eq!(take(5, 20), (20, 5));
        assert_eq!(take(1, 15), (20, 6));
        assert_eq!(take(MAX_TIMESTAMPS - 6, 20), (20, MAX_TIMESTAMPS));
        assert_eq!(take(1, 20), (21, 1));
        assert_eq!(take(MAX_TIMESTAMPS, 20), (22, MAX_TIMESTAMPS));
    }

    #[test]
    fn the_bound_is_never_reached() {
        let mut oracle = oracle(10);
        assert_eq!(oracle.take(1, 0, 10), Ok(None));
        assert!(oracle.take(1, 0, 11).expect("room").is_some());
        assert_eq!(oracle.take(1, 11, 11), Ok(None));
        assert!(oracle.take(1, 10, 11).expect("a refused batch takes nothing").is_some());
    }

    #[test]
    fn a_mad_clock_is_not_believed() {
        let mut oracle = oracle(10);
        let newest = oracle.take(1, u64::MAX, FAR).expect("not exhausted").expect("below the bound");
        assert_eq!(newest.physical_ms, 10);
        assert_eq!(oracle.bound_ahead(u64::MAX), 10 + BOUND_AHEAD_MS);
    }

    #[test]
    fn the_end_is_an_error() {
        let mut oracle = oracle(MAX_PHYSICAL_MS);
        assert!(oracle.take(MAX_TIMESTAMPS, 0, FAR).expect("the last batch").is_some());
        assert_eq!(oracle.take(1, 0, FAR), Err(CoordinatorError::Exhausted { what: "timestamps" }));
        assert_eq!(oracle.bound_ahead(0), FAR);
    }

    #[test]
    fn one_number_orders_alike() {
        let earlier = Timestamp { physical_ms: 3, logical: MAX_TIMESTAMPS };
        let later = Timestamp { physical_ms: 4, logical: 1 };
        assert!(earlier < later && earlier.get() + 2 == later.get());
    }
}
