//! What a region is: its range, its epoch and its members.

use crate::id::{PeerId, RegionId, StoreId};
use crate::range::KeyRange;

/// A region's version: `conf_ver` changes with membership, `version` with the range. Both only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegionEpoch {
    /// Grows with each membership change.
    pub conf_ver: u64,
    /// Grows with each split and merge.
    pub version: u64,
}

impl RegionEpoch {
    /// The epoch of a region that was just made.
    pub const INITIAL: Self = Self { conf_ver: 1, version: 1 };
}

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

    /// The member with an id, if there is one.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == id)
    }
}
