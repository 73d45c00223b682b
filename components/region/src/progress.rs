//! What a leader knows of each member's log.

use types::{LogIndex, PeerId};

use crate::machine::Region;

impl Region {
    /// The newest index of this peer's log.
    pub(crate) fn last_index(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.last_index())
    }

    /// The newest index of a member that is known to equal the leader's.
    pub(crate) fn matched(&self, member: PeerId) -> LogIndex {
        self.node.raft.prs().get(member.0).map_or(LogIndex(0), |progress| LogIndex(progress.matched))
    }

    /// Whether the log cannot bring a member forward: what it needs next is compacted.
    pub(crate) fn needs_snapshot(&self, member: PeerId) -> bool {
        self.matched(member) < self.node.store().apply_state().truncated
    }

    /// Whether raft has nothing but a snapshot to send to a member.
    pub(crate) fn waits_for_snapshot(&self, member: PeerId) -> bool {
        let truncated = self.node.store().apply_state().truncated;
        self.node.raft.prs().get(member.0).is_some_and(|progress| {
            LogIndex(progress.next_idx) <= truncated || progress.pending_request_snapshot != raft::INVALID_INDEX
        })
    }

    /// Goes on behind what a member has acknowledged, whatever an old refusal made raft believe.
    ///
    /// While it probes a member, raft 0.7 takes a refusal that was delayed or doubled for a new one, and goes back to
    /// before what the member has acknowledged since. That part of the log may be compacted, and then raft would wait
    /// for a snapshot for ever.
    pub(crate) fn go_on_behind_matched(&mut self, member: PeerId) {
        if let Some(progress) = self.node.raft.mut_prs().get_mut(member.0) {
            progress.next_idx = progress.next_idx.max(progress.matched + 1);
        }
    }
}
