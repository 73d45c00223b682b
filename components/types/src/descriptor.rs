//! What a region is: its range, its epoch and its members.

use std::collections::BTreeSet;
use std::fmt;

use crate::epoch::RegionEpoch;
use crate::id::{PeerId, RegionId, StoreId};
use crate::range::KeyRange;

/// A peer's part in its raft group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PeerRole {
    /// Votes, and counts for the quorum.
    #[default]
    Voter = 0,
    /// Receives the log and does not vote.
    Learner = 1,
    /// Becomes a voter when the joint configuration is left.
    IncomingVoter = 2,
    /// Becomes a learner when the joint configuration is left.
    DemotingVoter = 3,
}

impl PeerRole {
    /// Whether a peer of this role counts in the configuration that stays when a joint one is left.
    pub const fn votes_afterwards(self) -> bool {
        matches!(self, Self::Voter | Self::IncomingVoter)
    }

    /// Whether a peer of this role counts in the configuration that a joint one replaces.
    pub const fn voted_before(self) -> bool {
        matches!(self, Self::Voter | Self::DemotingVoter)
    }

    /// The role with this number on the wire and on disk, if there is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Voter),
            1 => Some(Self::Learner),
            2 => Some(Self::IncomingVoter),
            3 => Some(Self::DemotingVoter),
            _ => None,
        }
    }
}

/// A region's replica on one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Unique in the cluster, never used again.
    pub id: PeerId,
    /// Where it lives.
    pub store_id: StoreId,
    /// Its part in the group.
    pub role: PeerRole,
}

/// As in a log: its id, its store, and its role where that is not the ordinary one.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on store {}", self.id, self.store_id)?;
        match self.role {
            PeerRole::Voter => Ok(()),
            PeerRole::Learner => f.write_str(" (learner)"),
            PeerRole::IncomingVoter => f.write_str(" (incoming voter)"),
            PeerRole::DemotingVoter => f.write_str(" (demoting voter)"),
        }
    }
}

impl Peer {
    /// A voter on a store.
    pub const fn voter(id: PeerId, store_id: StoreId) -> Self {
        Self { id, store_id, role: PeerRole::Voter }
    }
}

/// A region as its members know it. Lies in the state engine, and changes only by applying the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionDescriptor {
    /// The region's id, the same for its whole life.
    pub id: RegionId,
    /// The keys that it holds.
    pub range: KeyRange,
    /// Its version.
    pub epoch: RegionEpoch,
    /// Its members, one on a store at most.
    pub peers: Vec<Peer>,
}

impl RegionDescriptor {
    /// The member on a store, if there is one.
    pub fn peer_on(&self, store: StoreId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.store_id == store)
    }

    /// Whether the configuration is joint: some member's role ends when it is left.
    pub fn is_joint(&self) -> bool {
        self.peers.iter().any(|peer| matches!(peer.role, PeerRole::IncomingVoter | PeerRole::DemotingVoter))
    }

    /// Whether there are members that can be a region's: each with an id and a store of its own, and a voter in whichever
    /// configuration holds. What other stores send may say anything.
    pub fn has_sound_members(&self) -> bool {
        let ids: BTreeSet<PeerId> = self.peers.iter().map(|peer| peer.id).collect();
        let stores: BTreeSet<StoreId> = self.peers.iter().map(|peer| peer.store_id).collect();
        let distinct = ids.len() == self.peers.len() && stores.len() == self.peers.len();
        let named = !ids.contains(&PeerId(0)) && !stores.contains(&StoreId(0));
        let votes = |part: fn(PeerRole) -> bool| self.peers.iter().any(|peer| part(peer.role));
        distinct && named && votes(PeerRole::votes_afterwards) && votes(PeerRole::voted_before)
    }

    /// The member with an id, if there is one.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == id)
    }
}
