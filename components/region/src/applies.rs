//! What was handed to apply and is not applied yet.

use std::collections::VecDeque;

use engine::Entry;
use types::LogIndex;

use crate::cache::entry_bytes;

/// Entries on their way through apply, bounded in bytes: as much as one hand-out may hold, plus one that is in work.
#[derive(Debug)]
pub(crate) struct Applies {
    handed_out: LogIndex,
    outstanding: VecDeque<(LogIndex, u64)>,
    bytes: u64,
    bound: u64,
    stopped: bool,
}

impl Applies {
    /// Nothing on its way behind what is applied.
    pub(crate) fn new(applied: LogIndex, bound: u64) -> Self {
        Self { handed_out: applied, outstanding: VecDeque::new(), bytes: 0, bound, stopped: false }
    }

    /// The newest entry that was handed out, or was applied at the start.
    pub(crate) fn handed_out(&self) -> LogIndex {
        self.handed_out
    }

    /// Whether more may be handed out.
    pub(crate) fn has_room(&self) -> bool {
        !self.stopped && self.bytes < self.bound
    }

    /// Nothing is handed out any more: the peer was removed.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Takes note of entries that are handed out now.
    ///
    /// # Panics
    /// When they do not follow the last ones: the raft crate skips missing entries without a word.
    pub(crate) fn hand_out(&mut self, entries: &[Entry]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        assert_eq!(LogIndex(first.index), self.handed_out.next(), "entries to apply leave a gap");
        self.handed_out = LogIndex(last.index);
        let bytes = entries.iter().map(entry_bytes).sum();
        self.bytes += bytes;
        self.outstanding.push_back((self.handed_out, bytes));
    }

    /// Entries up to an index are applied.
    ///
    /// # Panics
    /// When they were never handed out.
    pub(crate) fn applied(&mut self, index: LogIndex) {
        assert!(
            index <= self.handed_out,
            "applied {index}, but only entries up to {} were handed out",
            self.handed_out
        );
        while let Some((last, bytes)) = self.outstanding.front() {
            if *last > index {
                break;
            }
            self.bytes -= bytes;
            self.outstanding.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        range.map(|index| Entry { index, ..Entry::default() }).collect()
    }

    #[test]
    fn room_returns_as_entries_are_applied() {
        let mut applies = Applies::new(LogIndex(5), 1);
        applies.hand_out(&entries(6..=8));
        assert!(!applies.has_room());
        applies.applied(LogIndex(7));
        assert!(!applies.has_room());
        applies.applied(LogIndex(8));
        assert!(applies.has_room());
    }

    #[test]
    #[should_panic(expected = "gap")]
    fn a_gap_is_refused() {
        Applies::new(LogIndex(5), 1).hand_out(&entries(7..=7));
    }
}
