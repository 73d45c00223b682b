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
