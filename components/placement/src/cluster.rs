//! Everything that is known of stores and regions, with counts by store.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::{Instant, PeerId, RegionId, StoreId};

use crate::region::RegionState;
use crate::store::StoreState;

/// What lies on a store, by what regions report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Regions with a peer there.
    pub regions: u64,
    /// Regions whose leader is there.
    pub leaders: u64,
    /// About how many bytes those regions hold.
    pub bytes: u64,
    /// Peers there that have not caught up.
    pub pending_peers: u64,
}

#[derive(Clone, Debug)]
struct KnownRegion {
    state: Arc<RegionState>,
    /// Since when members have not caught up, without a break.
    pending_since: Vec<(PeerId, Instant)>,
}

/// Stores and regions.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    stores: BTreeMap<StoreId, StoreState>,
    regions: BTreeMap<RegionId, KnownRegion>,
    counts: BTreeMap<StoreId, StoreCounts>,
}

impl Cluster {
    /// A store that was not removed.
    pub fn store(&self, store: StoreId) -> Option<&StoreState> {
        self.stores.get(&store)
    }

    /// All stores that were not removed.
    pub fn stores(&self) -> impl Iterator<Item = &StoreState> {
        self.stores.values()
    }

    /// A region that has reported.
    pub fn region(&self, region: RegionId) -> Option<&Arc<RegionState>> {
        self.regions.get(&region).map(|known| &known.state)
    }

    /// All regions that have reported.
    pub fn regions(&self) -> impl Iterator<Item = &Arc<RegionState>> {
        self.regions.values().map(|known| &known.state)
    }

    /// The regions that have reported and have a peer on a store.
    pub fn regions_on(&self, store: StoreId) -> impl Iterator<Item = RegionId> {
        let on = move |known: &&KnownRegion| known.state.peer_on(store).is_some();
        self.regions.values().filter(on).map(|known| known.state.id())
    }

    /// What lies on a store.
    pub fn counts(&self, store: StoreId) -> StoreCounts {
        self.counts.get(&store).copied().unwrap_or_default()
    }

    /// Since when a member has not caught up.
    pub(crate) fn pending_since(&self, region: RegionId, peer: PeerId) -> Option<Instant> {
        let known = self.regions.get(&region)?;
        known.pending_since.iter().find(|(pending, _)| *pending == peer).map(|(_, since)| *since)
    }

    pub(crate) fn set_store(&mut self, store: StoreState) {
        self.stores.insert(store.id, store);
    }

    pub(crate) fn store_mut(&mut self, store: StoreId) -> Option<&mut StoreState> {
        self.stores.get_mut(&store)
    }

    pub(crate) fn forget_store(&mut self, store: StoreId) {
        self.stores.remove(&store);
    }

    pub(crate) fn set_region(&mut self, now: Instant, state: Arc<RegionState>) {
        let before = self.forget_region(state.id()).map(|known| known.pending_since).unwrap_or_default();
        let since = |peer: PeerId| before.iter().find(|(pending, _)| *pending == peer).map_or(now, |(_, since)| *since);
        let pending_since = state.pending_peers.iter().map(|peer| (peer.id, since(peer.id))).collect();
        self.count(&state, |count, more| *count += more);
        self.regions.insert(state.id(), KnownRegion { state, pending_since });
    }

    /// Forgets a region, and says whether it was known.
    pub(crate) fn remove_region(&mut self, region: RegionId) -> bool {
        self.forget_region(region).is_some()
    }

    fn forget_region(&mut self, region: RegionId) -> Option<KnownRegion> {
        let known = self.regions.remove(&region)?;
        self.count(&known.state, |count, less| *count -= less);
        Some(known)
    }

    fn count(&mut self, region: &RegionState, change: impl Fn(&mut u64, u64)) {
        for peer in &region.descriptor.peers {
            let counts = self.counts.entry(peer.store_id).or_default();
            change(&mut counts.regions, 1);
            change(&mut counts.bytes, region.bytes());
            change(&mut counts.leaders, u64::from(peer.id == region.leader.id));
            change(&mut counts.pending_peers, u64::from(region.is_pending(peer.id)));
            if counts.regions == 0 {
                self.counts.remove(&peer.store_id);
            }
        }
    }
}
