//! The layout that a cluster is born with.
//!
//! A fresh cluster's regions are fixed before any of them runs. Each store asks for its part with the instance id of its
//! disk; once as many stores as are expected have asked, the layout is made for those disks, written down, and from then
//! on handed to each of them until it confirms that it has bootstrapped. A store confirms after its bootstrap is durable
//! and before it serves: so a disk that can have voted has confirmed, and a disk that says it is fresh although its store
//! has confirmed, or that is not the disk that asked, was emptied. It must never vote under the old ids (D14).

use std::collections::BTreeMap;

use bytes::Bytes;
use types::{InstanceId, KeyRange, Peer, RegionDescriptor, RegionEpoch, RegionId, StoreId};

/// The regions that a cluster was born with, and the disks that they were made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The stores and the instances of their disks.
    pub members: BTreeMap<StoreId, InstanceId>,
    /// The regions, ordered by start key.
    pub regions: Vec<RegionDescriptor>,
}

impl Layout {
    /// How many ids a layout takes: for each region its own and one for each peer.
    pub(crate) fn ids_needed(regions: usize, replicas: usize) -> u64 {
        (regions * (replicas + 1)) as u64
    }

    /// Cuts the key space at `split_keys` and spreads each region's replicas over the members in turn. Ids are taken
    /// from `first_id` on.
    ///
    /// # Panics
    /// When there are fewer members than replicas; the configuration is checked before.
    pub(crate) fn plan(
        members: BTreeMap<StoreId, InstanceId>,
        split_keys: &[Bytes],
        replicas: usize,
        first_id: u64,
    ) -> Self {
        assert!((1..=members.len()).contains(&replicas), "{replicas} replicas need as many stores");
        let stores: Vec<StoreId> = members.keys().copied().collect();
        let mut ids = first_id..;
        let mut take_id = || ids.next().expect("the ids were reserved");
        let starts = std::iter::once(&Bytes::new()).chain(split_keys).cloned().collect::<Vec<_>>();
        let ends = split_keys.iter().cloned().chain(std::iter::once(Bytes::new()));
        let regions = starts.into_iter().zip(ends).enumerate().map(|(index, (start, end))| {
            let id = RegionId(take_id());
            let on = |replica: usize| stores[(index + replica) % stores.len()];
            let peers = (0..replicas).map(|replica| Peer::voter(take_id().into(), on(replica))).collect();
            RegionDescriptor { id, range: KeyRange { start, end }, epoch: RegionEpoch::INITIAL, peers }
        });
        let regions = regions.collect();
        Self { members, regions }
    }

    /// The regions that have a peer on a store.
    pub fn regions_of(&self, store: StoreId) -> impl Iterator<Item = &RegionDescriptor> {
        self.regions.iter().filter(move |region| region.peer_on(store).is_some())
    }
}

/// What a store that asks for its part of the layout is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutAnswer {
    /// The store has joined; others are still missing. Ask again.
    Waiting {
        /// How many stores have joined.
        joined: usize,
        /// How many are expected.
        expected: usize,
    },
    /// Bootstrap with these regions, confirm it, then serve. Empty for a store that joined later.
    Ready {
        /// The regions that have a peer on the store, ordered by start key.
        regions: Vec<RegionDescriptor>,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::even_split_keys;

    fn members(stores: u64) -> BTreeMap<StoreId, InstanceId> {
        (1..=stores).map(|store| (StoreId(store), InstanceId(store * 100))).collect()
    }

    #[test]
    fn covers_all_keys_with_distinct_ids_and_spreads_evenly() {
        for (stores, replicas, count) in [(3, 3, 16), (5, 3, 20), (4, 1, 8), (1, 1, 1)] {
            let layout = Layout::plan(members(stores), &even_split_keys(count), replicas, 50);
            let regions = &layout.regions;
            assert_eq!(regions.len(), count);
            assert!(regions[0].range.start.is_empty() && regions[count - 1].range.end.is_empty());
            assert!(regions.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
            let ids: BTreeSet<u64> = regions
                .iter()
                .flat_map(|region| region.peers.iter().map(|peer| peer.id.0).chain([region.id.0]))
                .collect();
            let needed = Layout::ids_needed(count, replicas);
            assert_eq!(ids, (50..50 + needed).collect(), "each id once, none left over");
            for region in regions {
                let on: BTreeSet<StoreId> = region.peers.iter().map(|peer| peer.store_id).collect();
                assert_eq!((on.len(), region.epoch), (replicas, RegionEpoch::INITIAL));
            }
            let share = count * replicas / stores as usize;
            assert!((1..=stores).all(|store| layout.regions_of(StoreId(store)).count() == share));
        }
    }
}
