//! A peer whose state is missing (D10).
//!
//! A snapshot replaces log and state. When its files are found damaged by the restart that should have gone on with it, the log is
//! gone already, and the state is half cleared. What the peer had acknowledged must not be forgotten with it: started as one that
//! has nothing, it would give its vote to a candidate that lacks what it helped to commit, for instance a member that was removed
//! while it was away.
//!
//! So it stays behind a fence: raft is shown a log that ends where the snapshot would have ended, and the peer takes no part in
//! anything. It neither votes nor campaigns, acknowledges neither entries nor leaders, and serves nobody. Whatever a leader
//! says to it, it answers that it needs a snapshot, at least as new as the one that it lost. That one ends it, like any snapshot;
//! a leader that does not have it as a member ends it as well.
//!
//! On the other side the leader has such a snapshot built and sent, and does not count the member to any quorum of the living.

use raft::eraftpb::MessageType;
use types::{LogIndex, PeerId};

use crate::effect::Role;
use crate::machine::Region;
use crate::message::RegionMessage;

impl Region {
    /// Whether the peer's state is missing, so that all it does is to ask for a snapshot.
    pub fn is_fenced(&self) -> bool {
        self.restraint.is_fenced()
    }

    /// From here on raft answers every word of a leader with a request for a snapshot that is no older than what is lost.
    /// [`RawNode::request_snapshot`](raft::RawNode::request_snapshot) would do so only in the term of the lost one.
    pub(crate) fn fence(&mut self) {
        self.restraint.fence();
        self.node.raft.pending_request_snapshot = self.last_index().0;
    }

    /// What a member's snapshot must not be older than, because it said so.
    pub(crate) fn requested_by(&self, member: PeerId) -> LogIndex {
        let progress = self.node.raft.prs().get(member.0);
        LogIndex(progress.map_or(raft::INVALID_INDEX, |progress| progress.pending_request_snapshot))
    }

    /// Takes note of a member's answer. Behind a fence nothing but requests leaves a peer: any other answer shows that an earlier
    /// request is settled, or came late.
    pub(crate) fn note_answer(&mut self, message: &RegionMessage) {
        let member = message.from.id;
        let kind = message.raft.get_msg_type();
        let answers = matches!(kind, MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse);
        if !answers || self.standing.role != Role::Leader || message.raft.term != self.standing.term.0 {
            return;
        }
        if message.raft.request_snapshot != raft::INVALID_INDEX {
            return self.forget_heard(member);
        }
        self.note_heard(member);
        if let Some(progress) = self.node.raft.mut_prs().get_mut(member.0) {
            progress.pending_request_snapshot = raft::INVALID_INDEX;
        }
    }
}
