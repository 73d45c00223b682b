//! Who may be born on this store.

use types::{LogIndex, Peer, PeerId, RegionDescriptor, RegionId};

/// A child of a split that is about to be written.
#[derive(Clone, Copy, Debug)]
pub struct Birth<'a> {
    /// The child.
    pub child: &'a RegionDescriptor,
    /// Its peer on this store.
    pub peer: Peer,
    /// The region that is split.
    pub parent: RegionId,
    /// The parent's peer on this store.
    pub parent_peer: PeerId,
    /// The index of the split in the parent's log.
    pub index: LogIndex,
}

/// The store's arbiter (D11): claims (region, peer) pairs for splits and for messages, one incarnation at a time.
///
/// The answer may differ from store to store: it decides whether this store keeps the child's records, and nothing
/// that replicas must agree on.
pub trait Arbiter: Send + Sync {
    /// Claims a child for a split, before anything of it is written. False when this store must not have that peer: an
    /// incarnation with a larger peer id lives or lived here. Then none of its records are written, and its range
    /// belongs to nobody on this store.
    ///
    /// A split that is replayed claims its children again, and gets the same answer.
    fn claim(&self, birth: Birth<'_>) -> bool;
}

/// The arbiter of a store on which peers are born by splits alone: every child is its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct SplitsAlone;

impl Arbiter for SplitsAlone {
    fn claim(&self, _: Birth<'_>) -> bool {
        true
    }
}
