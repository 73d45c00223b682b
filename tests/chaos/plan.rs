//! What happens to a cluster and when: a function of the seed.
//!
//! Four lanes are drawn independently, two for processes and two for the network, each of them fault after fault with
//! pauses between. Faults of different lanes overlap as they please; so does a fault with itself, and its end is
//! the end of the last.

use std::fmt;
use std::time::Duration;

use types::seed::Rng;

/// Lanes of faults of processes, and as many of the network.
const LANES: usize = 2;

/// Somebody who talks over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// A store, by its place in the cluster.
    Store(usize),
    Coordinator,
    /// All clients, which the test is.
    Clients,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(place) => write!(f, "store-{}", place + 1),
            Self::Coordinator => write!(f, "coordinator"),
            Self::Clients => write!(f, "clients"),
        }
    }
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL; started again at the end.
    Kill(Party),
    /// SIGKILL of all stores at once; started again at the end.
    KillAllStores,
    /// SIGSTOP; SIGCONT at the end.
    Pause(Party),
    /// What one sends the other does not arrive. Nobody is told.
    Cut { from: Party, to: Party },
    /// The store and the others lose what they send each other. It still hears of clients and of the coordinator: a leader
    /// that does not know that there is a new one.
    Part(Party),
    /// Nothing that it sends or is sent arrives. Nobody is told.
    Isolate(Party),
    /// What it sends arrives late.
    Slow(Party),
    /// Its connections are reset at once. This has no end of its own.
    Reset(Party),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(party) => write!(f, "kill {party}"),
            Self::KillAllStores => write!(f, "kill all stores"),
            Self::Pause(party) => write!(f, "pause {party}"),
            Self::Cut { from, to } => write!(f, "cut {from} -> {to}"),
            Self::Part(party) => write!(f, "part {party}"),
            Self::Isolate(party) => write!(f, "isolate {party}"),
            Self::Slow(party) => write!(f, "slow {party}"),
            Self::Reset(party) => write!(f, "reset {party}"),
        }
    }
}

/// What a network can do beyond losing what is sent.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    pub slow: bool,
    pub reset: bool,
}

/// A fault begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    Begin,
    End,
}

/// What happens at a moment, counted from the begin of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub at: Duration,
    pub turn: Turn,
    pub fault: Fault,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.turn == Turn::Begin { '+' } else { '-' };
        write!(f, "{:>6} ms {sign} {}", self.at.as_millis(), self.fault)
    }
}

/// Draws a plan: its steps in order. Every fault has ended when `length` has passed.
pub fn draw(seed: u64, length: Duration, stores: usize, abilities: Abilities) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut steps = Vec::new();
    for lane in 0..2 * LANES {
        let mut lane = Lane { rng: Rng::new(rng.next_u64()), stores, abilities, of_processes: lane < LANES };
        lane.draw(length, &mut steps);
    }
    steps.sort();
    steps
}

struct Lane {
    rng: Rng,
    stores: usize,
    abilities: Abilities,
    of_processes: bool,
}

impl Lane {
    fn draw(&mut self, length: Duration, steps: &mut Vec<Step>) {
        let mut now = Duration::ZERO;
        loop {
            now += self.pause();
            let (fault, lasts) = if self.of_processes { self.process_fault() } else { self.network_fault() };
            let end = now + lasts;
            if end > length {
                return;
            }
            steps.push(Step { at: now, turn: Turn::Begin, fault });
            if !matches!(fault, Fault::Reset(_)) {
                steps.push(Step { at: end, turn: Turn::End, fault });
            }
            now = end;
        }
    }

    /// Mostly long enough for an election, at times so short that a process is hit while it recovers.
    fn pause(&mut self) -> Duration {
        if self.rng.one_in(3) { self.milliseconds(20, 400) } else { self.milliseconds(500, 3000) }
    }

    fn process_fault(&mut self) -> (Fault, Duration) {
        match self.rng.below(12) {
            0..6 => (Fault::Kill(self.process()), self.milliseconds(20, 2500)),
            6 => (Fault::KillAllStores, self.milliseconds(20, 800)),
            _ => (Fault::Pause(self.process()), self.milliseconds(50, 4000)),
        }
    }

    fn network_fault(&mut self) -> (Fault, Duration) {
        match self.rng.below(14) {
            0..4 => self.cut(),
            4..8 => (Fault::Part(self.store()), self.milliseconds(300, 4000)),
            8..10 => (Fault::Isolate(self.process()), self.milliseconds(100, 4000)),
            10..12 if self.abilities.slow => (Fault::Slow(self.process()), self.milliseconds(500, 4000)),
            12.. if self.abilities.reset => (Fault::Reset(self.process()), Duration::ZERO),
            _ => self.cut(),
        }
    }

    fn cut(&mut self) -> (Fault, Duration) {
        let from = self.anybody();
        let to = loop {
            let to = self.anybody();
            if to != from {
                break to;
            }
        };
        (Fault::Cut { from, to }, self.milliseconds(100, 5000))
    }

    /// A process of the cluster; the coordinator is hit less often than a store.
    fn process(&mut self) -> Party {
        if self.rng.one_in(6) { Party::Coordinator } else { self.store() }
    }

    fn store(&mut self) -> Party {
        Party::Store(self.rng.below(self.stores as u64) as usize)
    }

    fn anybody(&mut self) -> Party {
        if self.rng.one_in(5) { Party::Clients } else { self.process() }
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.rng.below(to - from))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);
    const ABLE: Abilities = Abilities { slow: true, reset: true };

    #[test]
    fn a_seed_gives_one_plan() {
        assert_eq!(draw(1, LENGTH, 3, ABLE), draw(1, LENGTH, 3, ABLE));
        assert_ne!(draw(1, LENGTH, 3, ABLE), draw(2, LENGTH, 3, ABLE));
    }

    #[test]
    fn every_fault_ends_in_time_and_some_overlap() {
        let mut most_at_once = 0;
        for seed in 0..50 {
            let (mut open, mut last) = (BTreeMap::new(), Duration::ZERO);
            for step in draw(seed, LENGTH, 3, ABLE) {
                assert!(last <= step.at && step.at <= LENGTH, "{step}");
                last = step.at;
                if !matches!(step.fault, Fault::Reset(_)) {
                    *open.entry(step.fault).or_insert(0_i32) += if step.turn == Turn::Begin { 1 } else { -1 };
                }
                assert!(open.values().all(|count| *count >= 0), "{step} ends what has not begun");
                most_at_once = most_at_once.max(open.values().sum());
            }
            assert!(open.values().all(|count| *count == 0), "{open:?} do not end");
        }
        assert_eq!(most_at_once, 2 * LANES as i32);
    }

    #[test]
    fn every_kind_is_drawn_and_nothing_that_the_network_cannot_do() {
        let kinds = |abilities| {
            let steps = (0..50).flat_map(move |seed| draw(seed, LENGTH, 3, abilities));
            let mut kinds: Vec<_> = steps.map(|step| step.fault.to_string()).collect();
            kinds.sort();
            kinds.dedup();
            kinds
        };
        // Four processes can be killed, paused, isolated, slow and reset, three stores parted, five parties cut from four.
        assert_eq!(kinds(ABLE).len(), 5 * 4 + 1 + 3 + 5 * 4);
        assert_eq!(kinds(Abilities { slow: false, reset: false }).len(), 3 * 4 + 1 + 3 + 5 * 4);
    }
}
