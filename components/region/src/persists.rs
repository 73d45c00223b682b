//! Which readies are not durable yet, and which messages wait for them (D1).

use std::collections::VecDeque;

use engine::Entry;
use raft::eraftpb::{EntryType, Message};
use types::entry::BOUNDARY_CONTEXT;
use types::{LogIndex, PeerId, ReadyNumber, Term};

use crate::snapshots::is_snapshot;

/// Most readies of a region that wait for the log engine at a time; beyond it no ready is taken, and raft gathers what
/// happens meanwhile into the next one.
const MAX_OUTSTANDING: usize = 256;

/// Most messages of a region that wait for the log engine at a time. What comes beyond it is dropped: raft sends again.
const MAX_HELD_MESSAGES: usize = 4096;

/// Whether the commit index must be written down when it passes this entry.
///
/// Raft refuses to campaign while a membership entry is committed and not applied. A peer whose commit index was lost
/// would not know, could campaign under a configuration that has passed, and win against the new one (raftstore-rules
/// §17). Entries that change what the region is, and not only what it holds, belong here: splits have a mark for it.
pub(crate) fn must_record_commit(entry: &Entry) -> bool {
    match entry.get_entry_type() {
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => true,
        EntryType::EntryNormal => entry.context == BOUNDARY_CONTEXT,
    }
}

/// What a ready must do before its messages may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// It must be written.
    pub(crate) write: bool,
    /// Until it is durable nothing leaves, not even a leader's appends.
    pub(crate) barrier: bool,
}

#[derive(Debug)]
struct Held {
    until: ReadyNumber,
    message: Message,
}

/// The readies on their way to the log engine.
#[derive(Debug)]
pub(crate) struct Persists {
    outstanding: VecDeque<ReadyNumber>,
    newest: ReadyNumber,
    barrier: Option<ReadyNumber>,
    held: VecDeque<Held>,
    term: Term,
    vote: PeerId,
    /// Entries above the commit index for which [`must_record_commit`] holds, ascending.
    to_record: VecDeque<LogIndex>,
    dropped: u64,
}

impl Persists {
    /// Nothing on its way; this is what the log engine holds.
    pub(crate) fn new(term: Term, vote: PeerId) -> Self {
        Self {
            outstanding: VecDeque::new(),
            newest: ReadyNumber(0),
            barrier: None,
            held: VecDeque::new(),
            term,
            vote,
            to_record: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Takes note of entries that join the log, and replace everything from the first one's index on.
    pub(crate) fn note_entries(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self.to_record.back().is_some_and(|index| index.0 >= first.index) {
            self.to_record.pop_back();
        }
        self.to_record.extend(entries.iter().filter(|e| must_record_commit(e)).map(|e| LogIndex(e.index)));
    }

    /// What a ready demands that leaves raft with this hard state. `has_entries` says whether the ready has any; they
    /// must have been [noted](Self::note_entries).
    pub(crate) fn demand(&mut self, term: Term, vote: PeerId, commit: LogIndex, has_entries: bool) -> Demand {
        let votes = (term, vote) != (self.term, self.vote);
        (self.term, self.vote) = (term, vote);
        let mut passes = false;
        while self.to_record.front().is_some_and(|index| *index <= commit) {
            self.to_record.pop_front();
            passes = true;
        }
        let barrier = votes || passes;
        Demand { write: barrier || has_entries, barrier }
    }

    /// Takes a ready in. Returns whether it is complete at once: nothing of it must be written, and nothing before it is
    /// on its way.
    pub(crate) fn begin(&mut self, number: ReadyNumber, demand: Demand) -> bool {
        assert!(number > self.newest, "ready {number} came after ready {}", self.newest);
        self.newest = number;
        if demand.write {
            self.outstanding.push_back(number);
        }
        if demand.barrier {
            self.barrier = Some(number);
        }
        self.outstanding.is_empty()
    }

    /// Holds a message that may leave before its ready is durable, if a barrier stands; else gives it back.
    pub(crate) fn pass_early(&mut self, message: Message) -> Option<Message> {
        match self.barrier {
            Some(until) => self.hold(until, message),
            None => Some(message),
        }
    }

    /// Holds a message until everything taken so far is durable; gives it back if it is.
    pub(crate) fn pass_late(&mut self, message: Message) -> Option<Message> {
        match self.outstanding.back() {
            Some(until) => self.hold(*until, message),
            None => Some(message),
        }
    }

    fn hold(&mut self, until: ReadyNumber, message: Message) -> Option<Message> {
        // Raft waits for the outcome of a snapshot, so that one must never get lost without a word.
        if self.held.len() < MAX_HELD_MESSAGES || is_snapshot(&message) {
            self.held.push_back(Held { until, message });
        } else {
            self.dropped += 1;
        }
        None
    }

    /// Everything up to a ready is durable. Returns the newest ready that is complete now, if any is, and the messages
    /// that may leave.
    pub(crate) fn complete(&mut self, durable: ReadyNumber) -> (Option<ReadyNumber>, Vec<Message>) {
        let before = self.outstanding.len();
        while self.outstanding.front().is_some_and(|number| *number <= durable) {
            self.outstanding.pop_front();
        }
        if self.outstanding.len() == before {
            return (None, Vec::new());
        }
        if self.barrier.is_some_and(|number| number <= durable) {
            self.barrier = None;
        }
        // Readies with nothing to write complete with the newest one before them that had.
        let complete = match self.outstanding.front() {
            Some(next) => ReadyNumber(next.0 - 1),
            None => self.newest,
        };
        let mut released = Vec::new();
        for held in std::mem::take(&mut self.held) {
            if held.until <= complete {
                released.push(held.message);
            } else {
                self.held.push_back(held);
            }
        }
        (Some(complete), released)
    }

    /// The newest ready that was taken.
    pub(crate) fn newest(&self) -> ReadyNumber {
        self.newest
    }

    /// The newest ready that is on its way.
    pub(crate) fn newest_outstanding(&self) -> Option<ReadyNumber> {
        self.outstanding.back().copied()
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Whether another ready may be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.outstanding.len() < MAX_OUTSTANDING
    }

    /// Whether the current term and vote are durable, as far as raft told of them.
    pub(crate) fn has_barrier(&self) -> bool {
        self.barrier.is_some()
    }

    /// Messages that were dropped for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Demand = Demand { write: true, barrier: false };
    const BARRIER: Demand = Demand { write: true, barrier: true };
    const NOTHING: Demand = Demand { write: false, barrier: false };

    fn persists() -> Persists {
        Persists::new(Term(5), PeerId(1))
    }

    fn message(to: u64) -> Message {
        Message { to, ..Message::default() }
    }

    fn targets(messages: &[Message]) -> Vec<u64> {
        messages.iter().map(|message| message.to).collect()
    }

    fn conf_change(index: u64) -> Entry {
        let mut entry = Entry { index, ..Entry::default() };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry
    }

    #[test]
    fn only_votes_terms_entries_and_membership_commits_are_written() {
        let mut persists = persists();
        let mut demand =
            |term, vote, commit, entries| persists.demand(Term(term), PeerId(vote), LogIndex(commit), entries);
        assert_eq!(demand(5, 1, 9, false), NOTHING);
        assert_eq!(demand(5, 1, 9, true), WRITE);
        assert_eq!(demand(6, 1, 9, false), BARRIER);
        assert_eq!(demand(6, 2, 9, false), BARRIER);
        assert_eq!(demand(6, 2, 12, false), NOTHING);
    }

    #[test]
    fn a_commit_that_passes_a_membership_entry_or_a_split_is_written_once() {
        let mut persists = persists();
        let split = Entry { index: 10, context: BOUNDARY_CONTEXT.into(), ..Entry::default() };
        persists.note_entries(&[conf_change(7), conf_change(8)]);
        persists.note_entries(&[Entry { index: 8, ..Entry::default() }]);
        assert_eq!(persists.demand(Term(5), PeerId(1), LogIndex(6), false), NOTHING);
        assert_eq!(persists.demand(Term(5), PeerId(1), LogIndex(7), false), BARRIER);
        assert_eq!(persists.demand(Term(5), PeerId(1), LogIndex(9), false), NOTHING);
        persists.note_entries(&[split]);
        assert_eq!(persists.demand(Term(5), PeerId(1), LogIndex(10), false), BARRIER);
    }

    #[test]
    fn a_ready_with_nothing_to_write_completes_with_the_newest_one_before_it() {
        let mut persists = persists();
        assert!(persists.begin(ReadyNumber(1), NOTHING));
        assert!(!persists.begin(ReadyNumber(2), WRITE));
        assert!(!persists.begin(ReadyNumber(3), NOTHING));
        assert!(!persists.begin(ReadyNumber(4), WRITE));
        assert!(!persists.begin(ReadyNumber(5), NOTHING));
        assert_eq!(persists.complete(ReadyNumber(2)).0, Some(ReadyNumber(3)));
        assert_eq!(persists.complete(ReadyNumber(2)).0, None);
        assert_eq!(persists.complete(ReadyNumber(4)).0, Some(ReadyNumber(5)));
        assert!(persists.is_idle());
    }

    #[test]
    fn late_messages_wait_for_all_before_them_and_early_ones_for_a_barrier_alone() {
        let mut persists = persists();
        assert!(persists.pass_late(message(1)).is_some());
        persists.begin(ReadyNumber(1), WRITE);
        assert!(persists.pass_early(message(2)).is_some());
        assert!(persists.pass_late(message(3)).is_none());
        persists.begin(ReadyNumber(2), BARRIER);
        assert!(persists.pass_early(message(4)).is_none());
        persists.begin(ReadyNumber(3), WRITE);
        assert!(persists.pass_early(message(5)).is_none());
        assert!(persists.pass_late(message(6)).is_none());
        assert_eq!(targets(&persists.complete(ReadyNumber(1)).1), [3]);
        assert_eq!(targets(&persists.complete(ReadyNumber(2)).1), [4, 5]);
        assert!(persists.pass_early(message(7)).is_some());
        assert_eq!(targets(&persists.complete(ReadyNumber(3)).1), [6]);
    }

    #[test]
    fn held_messages_are_bounded() {
        let mut persists = persists();
        persists.begin(ReadyNumber(1), WRITE);
        for to in 0..MAX_HELD_MESSAGES as u64 + 3 {
            assert!(persists.pass_late(message(to)).is_none());
        }
        assert_eq!(persists.dropped(), 3);
        assert_eq!(persists.complete(ReadyNumber(1)).1.len(), MAX_HELD_MESSAGES);
    }
}
