//! What the region looks like from outside.

use types::{LogIndex, Peer};

use crate::effect::Role;
use crate::input::{MemberStatus, RegionStatus};
use crate::machine::Region;

impl Region {
    /// What the region looks like.
    pub fn status(&self) -> RegionStatus {
        let members: &[Peer] = if self.standing.role == Role::Leader { &self.descriptor.peers } else { &[] };
        RegionStatus {
            descriptor: (*self.descriptor).clone(),
            peer: self.peer,
            role: self.standing.role,
            term: self.standing.term,
            leader: self.known_leader(),
            committed: LogIndex(self.node.raft.raft_log.committed),
            apply_state: self.node.store().apply_state(),
            last_index: self.last_index(),
            fenced: self.is_fenced(),
            quarantined: self.consistency.is_quarantined(),
            log_bytes: self.log_bytes,
            members: members.iter().map(|member| self.member_status(*member)).collect(),
        }
    }

    fn member_status(&self, peer: Peer) -> MemberStatus {
        let answered = self.node.raft.prs().get(peer.id.0).is_some_and(|progress| progress.recent_active);
        let heard = self.leader().and_then(|leader| leader.heard.get(&peer.id).copied());
        let itself = peer.id == self.peer.id;
        MemberStatus {
            peer,
            matched: self.matched(peer.id),
            active: answered || itself,
            silent_ticks: if itself { Some(0) } else { heard },
        }
    }
}
