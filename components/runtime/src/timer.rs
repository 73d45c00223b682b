//! Many timers at little cost, without a thread.

use types::Instant;

/// How a wheel is laid out. None may be zero.
#[derive(Clone, Copy, Debug)]
pub struct WheelConfig {
    /// Nanoseconds that one slot stands for: a timer expires up to this much after its deadline, never before it.
    pub granularity_ns: u64,
    /// How many slots there are. Timers that lie further ahead than all of them together share slots with nearer ones.
    pub slots: usize,
    /// How many timers may be pending.
    pub capacity: usize,
}

/// Names a pending timer of the wheel that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    slot: usize,
    sequence: u64,
}

/// The wheel holds as many timers as it may; gives the value back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {capacity} timers are in use; wait until some have expired, or allow for more")]
pub struct WheelFull<T> {
    /// What was to be given out at the deadline.
    pub value: T,
    /// How many timers the wheel may hold.
    pub capacity: usize,
}

struct Timer<T> {
    /// The first tick at which the deadline has passed.
    tick: u64,
    sequence: u64,
    value: T,
}

/// A hashed timer wheel: values that are given out when their deadline has passed.
///
/// Time is what the caller says it is. Setting and cancelling touch one slot; [`advance`](Self::advance) touches the slots
/// that time went through (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 6).
pub struct TimerWheel<T> {
    config: WheelConfig,
    slots: Vec<Vec<Timer<T>>>,
    /// The latest moment that was told.
    now: Instant,
    next_sequence: u64,
    len: usize,
}

impl<T> TimerWheel<T> {
    /// A wheel without timers.
    ///
    /// # Panics
    /// When a number of the configuration is zero.
    pub fn new(config: WheelConfig, now: Instant) -> Self {
        assert!(
            config.granularity_ns > 0 && config.slots > 0 && config.capacity > 0,
            "a timer wheel of nothing: {config:?}"
        );
        Self { config, slots: (0..config.slots).map(|_| Vec::new()).collect(), now, next_sequence: 0, len: 0 }
    }

    /// Sets a timer. One whose deadline has passed already is given out by the next [`advance`](Self::advance).
    ///
    /// # Errors
    /// When the wheel holds as many timers as it may.
    pub fn set(&mut self, deadline: Instant, value: T) -> Result<TimerId, WheelFull<T>> {
        if self.len == self.config.capacity {
            return Err(WheelFull { value, capacity: self.config.capacity });
        }
        let tick = if deadline <= self.now { self.tick() } else { deadline.0.div_ceil(self.config.granularity_ns) };
        let slot = self.slot_of(tick);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.len += 1;
        self.slots[slot].push(Timer { tick, sequence, value });
        Ok(TimerId { slot, sequence })
    }

    /// Takes a timer back. Nothing when it was given out or taken back before.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let slot = &mut self.slots[id.slot];
        let place = slot.iter().position(|timer| timer.sequence == id.sequence)?;
        self.len -= 1;
        Some(slot.swap_remove(place).value)
    }

    /// Lets time pass, and gives out what has expired: by slot of deadline, then in the order in which it was set. A
    /// `now` before an earlier one changes nothing.
    pub fn advance(&mut self, now: Instant) -> Vec<T> {
        let from = self.tick();
        self.now = self.now.max(now);
        let to = self.tick();
        // The slot at which the wheel stands may hold timers that were set with a deadline in the past.
        let slots = (to - from).saturating_add(1).min(self.slots.len() as u64);
        let mut expired = Vec::new();
        for tick in from..from + slots {
            let slot = self.slot_of(tick);
            expired.extend(self.slots[slot].extract_if(.., |timer| timer.tick <= to));
        }
        self.len -= expired.len();
        expired.sort_unstable_by_key(|timer| (timer.tick, timer.sequence));
        expired.into_iter().map(|timer| timer.value).collect()
    }

    /// How many timers are pending.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tick at which the wheel stands.
    fn tick(&self) -> u64 {
        self.now.0 / self.config.granularity_ns
    }

    fn slot_of(&self, tick: u64) -> usize {
        (tick % self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use types::seed::Rng;

    use super::*;

    const CONFIG: WheelConfig = WheelConfig { granularity_ns: 10, slots: 8, capacity: 50 };

    #[test]
    fn a_timer_expires_at_the_first_tick_after_its_deadline() {
        let mut wheel = TimerWheel::new(CONFIG, Instant(5));
        wheel.set(Instant(21), 'b').unwrap();
        wheel.set(Instant(20), 'a').unwrap();
        wheel.set(Instant(3), 'p').unwrap();
        assert_eq!(wheel.advance(Instant(5)), ['p'], "the past is given out at once");
        assert_eq!(wheel.advance(Instant(19)), []);
        assert_eq!(wheel.advance(Instant(20)), ['a']);
        assert_eq!(wheel.advance(Instant(29)), [], "never early");
        assert_eq!(wheel.advance(Instant(12)), [], "time does not go back");
        assert_eq!(wheel.advance(Instant(30)), ['b']);
        assert!(wheel.is_empty());
    }

    #[test]
    fn the_wheel_has_a_bound() {
        let mut wheel = TimerWheel::new(WheelConfig { capacity: 1, ..CONFIG }, Instant(0));
        let first = wheel.set(Instant(10), 1).unwrap();
        assert_eq!(wheel.set(Instant(10), 2).unwrap_err(), WheelFull { value: 2, capacity: 1 });
        assert_eq!(wheel.cancel(first), Some(1));
        assert_eq!(wheel.cancel(first), None);
        assert!(wheel.set(Instant(10), 3).is_ok());
    }

    /// What the wheel should do, by a sorted map from the tick at which a timer expires.
    struct Model {
        pending: BTreeMap<(u64, u64), u64>,
        now: u64,
    }

    impl Model {
        fn key(&self, deadline: u64, number: u64) -> (u64, u64) {
            let granularity = CONFIG.granularity_ns;
            (if deadline <= self.now { self.now / granularity } else { deadline.div_ceil(granularity) }, number)
        }

        fn advance(&mut self, now: u64) -> Vec<u64> {
            self.now = self.now.max(now);
            let later = self.pending.split_off(&(self.now / CONFIG.granularity_ns + 1, 0));
            std::mem::replace(&mut self.pending, later).into_values().collect()
        }
    }

    #[test]
    fn the_wheel_does_what_a_sorted_map_does() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut now = rng.below(1_000);
            let mut wheel = TimerWheel::new(CONFIG, Instant(now));
            let mut model = Model { pending: BTreeMap::new(), now };
            let mut ids = Vec::new();
            for number in 0..300 {
                match rng.below(4) {
                    0 | 1 => {
                        // Some lie in the past, most ahead by up to four turns of the wheel.
                        let deadline = (now + rng.below(350)).saturating_sub(30);
                        let set = wheel.set(Instant(deadline), number);
                        assert_eq!(set.is_ok(), model.pending.len() < CONFIG.capacity, "seed {seed}");
                        if let Ok(id) = set {
                            let key = model.key(deadline, number);
                            model.pending.insert(key, number);
                            ids.push((id, key));
                        }
                    }
                    2 if !ids.is_empty() => {
                        let (id, key) = ids.swap_remove(rng.below(ids.len() as u64) as usize);
                        assert_eq!(wheel.cancel(id), model.pending.remove(&key), "seed {seed}");
                    }
                    _ => {
                        now = (now + rng.below(120)).saturating_sub(10);
                        assert_eq!(wheel.advance(Instant(now)), model.advance(now), "seed {seed}, now {now}");
                    }
                }
                assert_eq!(wheel.len(), model.pending.len(), "seed {seed}");
            }
        }
    }
}
