//! The seams for time and chance: the only place that asks the operating system for either.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use types::Instant;

/// Tells the monotonic time.
pub trait Clock: Send + Sync + 'static {
    /// This moment. Never before an earlier answer.
    fn now(&self) -> Instant;
}

/// Tells the time of day, which may jump; for timestamps that people or other processes read, never for durations.
pub trait WallClock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01 UTC.
    fn unix_ms(&self) -> u64;
}

/// The operating system's monotonic clock, counted from the moment at which this was made.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    origin: std::time::Instant,
}

impl MonotonicClock {
    /// A clock whose origin is now.
    ///
    /// # Panics
    /// In a [simulation](simulate).
    pub fn new() -> Self {
        refuse_in_simulation("the monotonic clock");
        Self { origin: std::time::Instant::now() }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    /// # Panics
    /// In a [simulation](simulate).
    fn now(&self) -> Instant {
        refuse_in_simulation("the monotonic clock");
        Instant::ORIGIN + self.origin.elapsed()
    }
}

/// A clock that stands still until it is advanced; clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows its origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock on, and returns what it shows then.
    pub fn advance(&self, by: Duration) -> Instant {
        let by = u64::try_from(by.as_nanos()).expect("nobody advances a clock by 584 years");
        Instant(self.nanos.fetch_add(by, Ordering::SeqCst) + by)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.nanos.load(Ordering::SeqCst))
    }
}

/// The operating system's time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemWallClock;

impl WallClock for SystemWallClock {
    /// Zero on a machine whose clock stands before 1970.
    ///
    /// # Panics
    /// In a [simulation](simulate).
    fn unix_ms(&self) -> u64 {
        refuse_in_simulation("the time of day");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A time of day that is set by hand; clones show the same time. May be set back, like a real one.
#[derive(Clone, Debug, Default)]
pub struct ManualWallClock {
    millis: Arc<AtomicU64>,
}

impl ManualWallClock {
    /// A clock that shows `unix_ms`.
    pub fn new(unix_ms: u64) -> Self {
        Self { millis: Arc::new(AtomicU64::new(unix_ms)) }
    }

    /// Sets the clock.
    pub fn set(&self, unix_ms: u64) {
        self.millis.store(unix_ms, Ordering::SeqCst);
    }
}

impl WallClock for ManualWallClock {
    fn unix_ms(&self) -> u64 {
        self.millis.load(Ordering::SeqCst)
    }
}

/// A number that nobody can predict and no other process is likely to draw: the seed of a production store, or its
/// instance id. From the operating system's randomness, by way of the standard library's hasher keys.
///
/// # Panics
/// In a [simulation](simulate).
pub fn entropy_seed() -> u64 {
    refuse_in_simulation("the machine's chance");
    RandomState::new().hash_one(SystemWallClock.unix_ms())
}

thread_local! {
    static SIMULATIONS: Cell<u32> = const { Cell::new(0) };
}

/// This thread simulates for as long as the guard lives: whoever asks the operating system for time or chance on it would
/// make two runs of one seed differ, and panics.
#[must_use = "the simulation is over when the guard is dropped"]
pub fn simulate() -> SimulationGuard {
    SIMULATIONS.set(SIMULATIONS.get() + 1);
    SimulationGuard(PhantomData)
}

/// See [`simulate`].
#[derive(Debug)]
pub struct SimulationGuard(PhantomData<*const ()>);

impl Drop for SimulationGuard {
    fn drop(&mut self) {
        SIMULATIONS.set(SIMULATIONS.get() - 1);
    }
}

fn refuse_in_simulation(what: &str) {
    assert!(SIMULATIONS.get() == 0, "{what} was asked for in a simulation: hand in a clock or a seed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::new();
        let other = clock.clone();
        assert_eq!(clock.now(), Instant::ORIGIN);
        assert_eq!(clock.advance(Duration::from_millis(3)), Instant(3_000_000));
        assert_eq!(other.now(), Instant(3_000_000));
        let wall = ManualWallClock::new(7);
        wall.clone().set(5);
        assert_eq!(wall.unix_ms(), 5);
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let clock = MonotonicClock::new();
        let readings: Vec<Instant> = (0..1000).map(|_| clock.now()).collect();
        assert!(readings.is_sorted());
    }

    #[test]
    fn seeds_differ() {
        let mut seeds: Vec<u64> = (0..1000).map(|_| entropy_seed()).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 1000);
    }

    #[test]
    fn a_simulation_gets_neither_time_nor_chance() {
        let clock = MonotonicClock::new();
        let refused = |ask: &dyn Fn()| {
            let _guard = simulate();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).is_err()
        };
        assert!(refused(&|| assert!(clock.now() >= Instant::ORIGIN)));
        assert!(refused(&|| assert!(MonotonicClock::new().now() >= Instant::ORIGIN)));
        assert!(refused(&|| assert!(SystemWallClock.unix_ms() > 0)));
        assert!(refused(&|| assert!(entropy_seed() > 0)));
        clock.now();
        SystemWallClock.unix_ms();
    }
}
