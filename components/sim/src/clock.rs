//! The clocks of a node: its own monotonic one, which drifts and jumps, and its time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runtime::clock::{Clock, WallClock};
use types::Instant;

/// What a node's process reads as the monotonic time. It stands still but for what the simulator makes of it: the
/// moment of the event that is being handled, and how long the process has been at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeClock {
    nanos: Arc<AtomicU64>,
}

impl NodeClock {
    /// Shows a moment; never goes back.
    pub(crate) fn show(&self, moment: Instant) {
        self.nanos.fetch_max(moment.0, Ordering::Relaxed);
    }

    /// Lets time pass while an event is handled.
    pub(crate) fn pass(&self, by: Duration) {
        self.nanos.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Instant {
        Instant(self.nanos.load(Ordering::Relaxed))
    }
}

/// What a node's process reads as the time of day. May go back.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeWallClock {
    unix_ms: Arc<AtomicU64>,
}

impl NodeWallClock {
    pub(crate) fn show(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::Relaxed);
    }
}

impl WallClock for NodeWallClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::Relaxed)
    }
}

/// One million: a clock that goes right.
const RIGHT_SPEED: u64 = 1_000_000;

/// How a node's own time follows from the simulation's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timepiece {
    /// The simulation's time of the last change, and the node's own then.
    since: (Instant, Instant),
    /// Millionths of the right speed.
    speed: u64,
    /// How far the time of day is off, in milliseconds.
    wall_offset_ms: i64,
}

/// The time of day at which every simulation begins: 2024-01-01 UTC.
const EPOCH_MS: u64 = 1_704_067_200_000;

impl Timepiece {
    /// A clock that goes right.
    pub(crate) fn new(origin: Instant) -> Self {
        Self { since: (Instant::ORIGIN, origin), speed: RIGHT_SPEED, wall_offset_ms: 0 }
    }

    /// The node's own time.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        let passed = u128::from(now.0 - self.since.0.0) * u128::from(self.speed) / u128::from(RIGHT_SPEED);
        Instant(self.since.1.0 + passed as u64)
    }

    /// How long something takes in the simulation's time that takes so long by the node's own.
    pub(crate) fn stretch(&self, local: Duration) -> Duration {
        let nanos = local.as_nanos() * u128::from(RIGHT_SPEED) / u128::from(self.speed);
        Duration::from_nanos(nanos as u64)
    }

    /// The node's time of day.
    pub(crate) fn unix_ms(&self, now: Instant) -> u64 {
        (EPOCH_MS + now.0 / 1_000_000).saturating_add_signed(self.wall_offset_ms)
    }

    /// Lets the clock go faster or slower from now on.
    pub(crate) fn drift(&mut self, now: Instant, speed: u64) {
        self.since = (now, self.local(now));
        self.speed = speed;
    }

    /// Lets the clock jump ahead.
    pub(crate) fn jump(&mut self, now: Instant, by: Duration) {
        self.since = (now, self.local(now) + by);
    }

    /// Sets the time of day off by so much.
    pub(crate) fn set_wall_offset(&mut self, ms: i64) {
        self.wall_offset_ms = ms;
    }

    /// Lets the clock go right from now on. What it is ahead it stays ahead.
    pub(crate) fn mend(&mut self, now: Instant) {
        self.drift(now, RIGHT_SPEED);
        self.wall_offset_ms = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_drifts_jumps_and_never_goes_back() {
        let second = Duration::from_secs(1);
        let mut piece = Timepiece::new(Instant(5));
        assert_eq!(piece.local(Instant(7)), Instant(12));
        piece.drift(Instant(0), 2_000_000);
        assert_eq!(piece.local(Instant(10)), Instant(25));
        assert_eq!(piece.stretch(second), second / 2);
        piece.jump(Instant(10), second);
        assert_eq!(piece.local(Instant(10)), Instant(1_000_000_025));
        piece.mend(Instant(20));
        assert_eq!(piece.local(Instant(21)), Instant(1_000_000_046));
    }

    #[test]
    fn a_clock_that_is_read_never_goes_back() {
        let clock = NodeClock::default();
        clock.show(Instant(9));
        clock.pass(Duration::from_nanos(3));
        clock.show(Instant(10));
        assert_eq!(clock.now(), Instant(12));
    }
}
