//! A region as its leader reports it.

use std::sync::Arc;

use types::{Peer, PeerId, PeerRole, RegionDescriptor, RegionId, StoreId};

/// A region that claims to be larger counts as that large, so that sums stay sums.
const LARGEST_REGION_BYTES: u64 = 1 << 40;

/// A peer that does not answer its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownPeer {
    /// The peer.
    pub peer: Peer,
    /// For how long, in seconds.
    pub down_seconds: u64,
}

/// What a region's leader said last. Whoever hands it in has refused what is older than what was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionState {
    /// The region.
    pub descriptor: Arc<RegionDescriptor>,
    /// The leader.
    pub leader: Peer,
    /// Peers that do not answer.
    pub down_peers: Vec<DownPeer>,
    /// Peers that have not caught up.
    pub pending_peers: Vec<Peer>,
    /// About how many bytes the region holds; zero when unknown.
    pub approximate_bytes: u64,
    /// About how many keys it holds; zero when unknown.
    pub approximate_keys: u64,
}

impl RegionState {
    /// The region's id.
    pub fn id(&self) -> RegionId {
        self.descriptor.id
    }

    /// About how many bytes it holds, within reason.
    pub fn bytes(&self) -> u64 {
        self.approximate_bytes.min(LARGEST_REGION_BYTES)
    }

    /// The member on a store.
    pub fn peer_on(&self, store: StoreId) -> Option<Peer> {
        self.descriptor.peer_on(store).copied()
    }

    /// Members that vote, in or out of a joint configuration.
    pub fn voters(&self) -> impl Iterator<Item = Peer> {
        self.descriptor.peers.iter().copied().filter(|peer| peer.role != PeerRole::Learner)
    }

    /// Members that do not vote.
    pub fn learners(&self) -> impl Iterator<Item = Peer> {
        self.descriptor.peers.iter().copied().filter(|peer| peer.role == PeerRole::Learner)
    }

    /// The stores that have a member.
    pub fn stores(&self) -> impl Iterator<Item = StoreId> {
        self.descriptor.peers.iter().map(|peer| peer.store_id)
    }

    /// Whether it is between two configurations.
    pub fn is_joint(&self) -> bool {
        let is_joint = |peer: &Peer| matches!(peer.role, PeerRole::IncomingVoter | PeerRole::DemotingVoter);
        self.descriptor.peers.iter().any(is_joint)
    }

    /// Whether a member has not caught up.
    pub fn is_pending(&self, peer: PeerId) -> bool {
        self.pending_peers.iter().any(|pending| pending.id == peer)
    }

    /// For how many seconds a member has not answered.
    pub fn down_seconds(&self, peer: PeerId) -> Option<u64> {
        self.down_peers.iter().find(|down| down.peer.id == peer).map(|down| down.down_seconds)
    }

    /// Whether a member answers and has caught up.
    pub fn keeps_up(&self, peer: PeerId) -> bool {
        !self.is_pending(peer) && self.down_seconds(peer).is_none()
    }
}
