//! Who waits for which entry.

use std::collections::VecDeque;

use types::{LogIndex, Term, WriteResponder};

#[derive(Debug)]
struct Entry {
    term: Term,
    index: LogIndex,
    responders: Vec<WriteResponder>,
}

/// What became of the responders that an entry decides about.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Their entries can never be committed.
    pub(crate) lost: Vec<WriteResponder>,
    /// They wait for this very entry; empty when nobody does.
    pub(crate) found: Vec<WriteResponder>,
}

/// Responders of proposed writes, until the log decides about their entries.
///
/// They stay when the peer loses its leadership: their entries may still be committed, and until that is decided only
/// "unknown" would be a true answer. A committed entry decides about every older term: terms in a log never fall, so an
/// entry of an older term at the same or a later index can never be committed any more, and one at an earlier index
/// would have been seen before.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Ordered by term, then index.
    entries: VecDeque<Entry>,
    count: usize,
}

impl Waiting {
    /// How many responders wait.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Adds the responders of the entry that was just proposed.
    ///
    /// # Panics
    /// When it does not follow the last one in term and index.
    pub(crate) fn push(&mut self, term: Term, index: LogIndex, responders: Vec<WriteResponder>) {
        if let Some(last) = self.entries.back() {
            assert!((last.term, last.index) < (term, index), "proposals out of order");
        }
        self.count += responders.len();
        self.entries.push_back(Entry { term, index, responders });
    }

    /// Decides by a committed entry. Committed entries come here in order.
    pub(crate) fn settle(&mut self, term: Term, index: LogIndex) -> Settled {
        let mut settled = Settled::default();
        while let Some(first) = self.entries.front() {
            if (first.term, first.index) > (term, index) {
                break;
            }
            let Some(entry) = self.entries.pop_front() else { break };
            self.count -= entry.responders.len();
            if entry.term < term {
                settled.lost.extend(entry.responders);
            } else {
                assert_eq!(entry.index, index, "a proposal of term {term} was passed over");
                settled.found = entry.responders;
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use types::Responder;

    use super::*;

    fn push(waiting: &mut Waiting, term: u64, index: u64) {
        waiting.push(Term(term), LogIndex(index), vec![Responder::new(|_| ())]);
    }

    fn settle(waiting: &mut Waiting, term: u64, index: u64) -> (usize, usize) {
        let settled = waiting.settle(Term(term), LogIndex(index));
        (settled.lost.len(), settled.found.len())
    }

    #[test]
    fn the_same_index_and_term_is_found_once() {
        let mut waiting = Waiting::default();
        push(&mut waiting, 6, 10);
        push(&mut waiting, 6, 11);
        assert_eq!(settle(&mut waiting, 6, 9), (0, 0));
        assert_eq!(settle(&mut waiting, 6, 10), (0, 1));
        assert_eq!(settle(&mut waiting, 6, 11), (0, 1));
        assert_eq!(waiting.count(), 0);
    }

    #[test]
    fn an_older_term_keeps_waiting_while_its_own_entries_are_committed() {
        let mut waiting = Waiting::default();
        push(&mut waiting, 6, 10);
        push(&mut waiting, 6, 11);
        push(&mut waiting, 8, 12);
        assert_eq!(settle(&mut waiting, 6, 10), (0, 1));
        assert_eq!(settle(&mut waiting, 8, 11), (1, 0));
        assert_eq!(settle(&mut waiting, 8, 12), (0, 1));
    }

    #[test]
    fn a_newer_term_settles_later_indexes_too() {
        let mut waiting = Waiting::default();
        push(&mut waiting, 6, 10);
        push(&mut waiting, 6, 15);
        assert_eq!(settle(&mut waiting, 7, 10), (2, 0));
    }

    #[test]
    fn a_newer_term_waits_while_older_entries_are_committed() {
        let mut waiting = Waiting::default();
        push(&mut waiting, 8, 12);
        assert_eq!(settle(&mut waiting, 6, 20), (0, 0));
        assert_eq!(waiting.count(), 1);
    }
}
