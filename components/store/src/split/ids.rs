//! Where the ids of new regions come from.

use types::{PeerId, RegionDescriptor, RegionId, Responder};

/// The ids of one new region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionIds {
    /// The region's.
    pub region: RegionId,
    /// Its peers', one for each peer of the region that is split, in the order of its descriptor.
    pub peers: Vec<PeerId>,
}

/// The ids of all regions that a split makes.
pub type SplitIdsAnswer = Vec<RegionIds>;

/// Hands out ids that were never used and never will be again, by whoever asks.
///
/// A store is given one by [`StoreHandle::attach_split_ids`](crate::StoreHandle::attach_split_ids). It is kept for as long
/// as the store: an implementation that needs the store's handle holds a
/// [`WeakStoreHandle`](crate::WeakStoreHandle).
pub trait SplitIds: Send + Sync + 'static {
    /// Asks for the ids of `count` new regions that are to be cut off from `region`, each with a peer beside each of its.
    ///
    /// Must not block: it is called on the store's threads and on those of its users. The answer may come on any thread,
    /// at once or much later; nothing (also by dropping the responder) means that there are none now, and the store asks
    /// again later. Ids that are not used in the end are lost.
    fn ask(&self, region: &RegionDescriptor, count: usize, responder: Responder<Option<SplitIdsAnswer>>);
}
