//! What happens when: events by time, and those of one moment in the order in which they were planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use types::Instant;

struct Planned<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Planned<T> {}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Events that are to come.
pub(crate) struct Schedule<T> {
    planned: BinaryHeap<Reverse<Planned<T>>>,
    next_number: u64,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { planned: BinaryHeap::new(), next_number: 0 }
    }
}

impl<T> Schedule<T> {
    /// Plans something.
    pub(crate) fn plan(&mut self, at: Instant, what: T) {
        self.planned.push(Reverse(Planned { at, number: self.next_number, what }));
        self.next_number += 1;
    }

    /// The next event, and when it happens.
    pub(crate) fn next(&mut self) -> Option<(Instant, T)> {
        self.planned.pop().map(|Reverse(planned)| (planned.at, planned.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_planned() {
        let mut schedule = Schedule::default();
        for (at, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            schedule.plan(Instant(at), what);
        }
        let order: String = std::iter::from_fn(|| schedule.next()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
