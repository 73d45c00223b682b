//! What a region's leader is told to do.

use bytes::Bytes;
use types::{Peer, RegionEpoch, RegionId};

/// An order for a region. Its leader ignores it when the epoch is not the region's or it leads no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionOrder {
    /// The region.
    pub region: RegionId,
    /// Its epoch when the order was given.
    pub epoch: RegionEpoch,
    /// Its leader when the order was given.
    pub leader: Peer,
    /// What to do.
    pub kind: OrderKind,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// Hand the leadership to the first of these, or to any other of them.
    TransferLeader(Vec<Peer>),
    /// Make one change of membership, in the older form that knows no joint consensus.
    ChangePeer(PeerChange),
    /// Make a change of membership: one by itself, several by joint consensus, none to leave a joint configuration.
    ChangePeers(Vec<PeerChange>),
    /// Split.
    Split(SplitPolicy),
}

/// What happens to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerChangeKind {
    /// It becomes a voter.
    AddVoter,
    /// It becomes a learner: a new one, or a voter that is demoted.
    AddLearner,
    /// It leaves.
    Remove,
}

/// One change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerChange {
    /// What happens.
    pub kind: PeerChangeKind,
    /// To whom, with the role after the change.
    pub peer: Peer,
}

/// Where to split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitPolicy {
    /// In the middle, found by reading.
    Scan,
    /// About in the middle.
    Approximate,
    /// At these keys, strictly ascending.
    Keys(Vec<Bytes>),
}

impl SplitPolicy {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Approximate => "approximate",
            Self::Keys(_) => "keys",
        }
    }
}
