//! What a client knows of the regions.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use types::{KeyRange, Peer, RegionDescriptor, RequestError, RequestHeader, StoreId};

use crate::call::Route;

/// A client's cache of regions and their leaders.
#[derive(Debug, Default)]
pub struct Routes {
    /// By the start of their ranges. They do not overlap.
    regions: BTreeMap<Bytes, Known>,
}

#[derive(Debug)]
struct Known {
    region: RegionDescriptor,
    leader: Option<Peer>,
    /// Which member is asked next while no leader is known.
    turn: usize,
    /// The store that just did not serve.
    avoid: Option<StoreId>,
    /// Whether the coordinator should be asked again.
    is_suspect: bool,
}

impl Known {
    fn new(region: RegionDescriptor, leader: Option<Peer>) -> Self {
        Self { region, leader, turn: 0, avoid: None, is_suspect: false }
    }

    /// A store did not serve, and said nothing of who would.
    fn lose(&mut self, store: StoreId) {
        self.leader = None;
        self.avoid = Some(store);
        self.turn += 1;
        self.is_suspect = true;
    }
}

/// Whom to ask for a key.
#[derive(Clone, Debug)]
pub struct Target {
    /// The store.
    pub store: StoreId,
    /// What is said of the region.
    pub header: RequestHeader,
    /// The region's keys, as far as the client knows.
    pub range: KeyRange,
}

impl Routes {
    /// Whom to ask for a key; `None` when the coordinator should be asked that first.
    pub fn target(&self, key: &[u8]) -> Option<Target> {
        let known = self.find(key).filter(|known| !known.is_suspect)?;
        let peers = &known.region.peers;
        let peer = known.leader.or_else(|| peers.get(known.turn % peers.len().max(1)).copied())?;
        let header =
            RequestHeader { region_id: known.region.id, peer_id: Some(peer.id), term: None, epoch: known.region.epoch };
        Some(Target { store: peer.store_id, header, range: known.region.range.clone() })
    }

    /// The coordinator answered.
    pub fn learn(&mut self, route: Route) {
        let same = self.regions.get_mut(&route.region.range.start);
        if let Some(known) = same.filter(|known| known.region == route.region) {
            known.is_suspect = false;
            // It may not have heard yet that this one leads no more.
            known.leader = route.leader.filter(|leader| known.avoid.take() != Some(leader.store_id));
            return;
        }
        self.insert(route.region, route.leader);
    }

    /// The coordinator did not answer: what is known must do.
    pub fn guess(&mut self, key: &[u8]) {
        if let Some(known) = self.find_mut(key) {
            known.is_suspect = false;
        }
    }

    /// A store refused a request for a key.
    pub fn refused(&mut self, key: &[u8], store: StoreId, error: &RequestError) {
        match error {
            RequestError::NotLeader { leader: Some(leader), .. } if leader.store_id != store => {
                if let Some(known) = self.find_mut(key) {
                    known.leader = Some(*leader);
                }
            }
            RequestError::EpochNotMatch { current, .. } => {
                self.unanswered(key, store);
                for region in current {
                    self.insert(region.clone(), region.peer_on(store).copied());
                }
            }
            RequestError::StaleCommand { .. }
            | RequestError::ServerIsBusy { .. }
            | RequestError::EntryTooLarge { .. }
            | RequestError::ChangeRefused { .. }
            | RequestError::Invalid { .. } => {}
            RequestError::StoreNotMatch { .. }
            | RequestError::RegionNotFound { .. }
            | RequestError::NotLeader { .. }
            | RequestError::MismatchPeerId { .. }
            | RequestError::KeyNotInRegion { .. }
            | RequestError::Undetermined { .. } => self.unanswered(key, store),
        }
    }

    /// A store did not answer a request for a key.
    pub fn unanswered(&mut self, key: &[u8], store: StoreId) {
        if let Some(known) = self.find_mut(key) {
            known.lose(store);
        }
    }

    /// Takes a region in, unless something newer is known of its keys.
    fn insert(&mut self, region: RegionDescriptor, leader: Option<Peer>) {
        let overlapping = self.regions.values_mut().filter(|known| known.region.range.overlaps(&region.range));
        let mut older = Vec::new();
        for known in overlapping {
            let (old, new) = (known.region.epoch, region.epoch);
            if (old.version, old.conf_ver) > (new.version, new.conf_ver) {
                known.is_suspect = false;
                return;
            }
            older.push(known.region.range.start.clone());
        }
        older.iter().for_each(|start| _ = self.regions.remove(start));
        self.regions.insert(region.range.start.clone(), Known::new(region, leader));
    }

    fn find(&self, key: &[u8]) -> Option<&Known> {
        let (_, known) = self.regions.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        known.region.range.contains(key).then_some(known)
    }

    fn find_mut(&mut self, key: &[u8]) -> Option<&mut Known> {
        let (_, known) = self.regions.range_mut::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        known.region.range.contains(key).then_some(known)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use types::{PeerId, RegionEpoch, RegionId};

    use super::*;

    fn region(id: u64, start: &'static str, end: &'static str, version: u64) -> RegionDescriptor {
        let peers = (1..=3).map(|store| Peer::voter(PeerId(10 * id + store), StoreId(store))).collect();
        let epoch = RegionEpoch { conf_ver: 1, version };
        RegionDescriptor { id: RegionId(id), range: KeyRange::new(start, end), epoch, peers }
    }

    fn on(id: u64, store: u64) -> Option<Peer> {
        Some(Peer::voter(PeerId(10 * id + store), StoreId(store)))
    }

    fn routes() -> Routes {
        let mut routes = Routes::default();
        routes.learn(Route { region: region(1, "", "m", 1), leader: on(1, 2) });
        routes
    }

    fn store(routes: &Routes, key: &str) -> Option<u64> {
        Some(routes.target(key.as_bytes())?.store.0)
    }

    #[test]
    fn the_leader_is_asked_and_hints_are_followed() {
        let mut routes = routes();
        assert_eq!((store(&routes, "a"), store(&routes, "m")), (Some(2), None));
        routes.refused(b"a", StoreId(2), &RequestError::NotLeader { region: RegionId(1), leader: on(1, 3) });
        assert_eq!(store(&routes, "a"), Some(3));
    }

    #[test]
    fn without_a_hint_the_coordinator_is_asked_and_not_believed_twice() {
        let mut routes = routes();
        routes.refused(b"a", StoreId(2), &RequestError::NotLeader { region: RegionId(1), leader: None });
        assert_eq!(store(&routes, "a"), None);
        routes.learn(Route { region: region(1, "", "m", 1), leader: on(1, 2) });
        assert_eq!(store(&routes, "a"), Some(2), "peers take turns: the second is on store 2");
        routes.unanswered(b"a", StoreId(2));
        routes.guess(b"a");
        assert_eq!(store(&routes, "a"), Some(3));
    }

    #[test]
    fn newer_regions_replace_older_ones_only() {
        let mut routes = routes();
        let current = vec![region(2, "", "c", 2), region(1, "c", "m", 2)];
        routes.refused(b"a", StoreId(2), &RequestError::EpochNotMatch { region: RegionId(1), current });
        assert_eq!(routes.target(b"a").unwrap().header.region_id, RegionId(2));
        assert_eq!(routes.target(b"d").unwrap().header.region_id, RegionId(1));
        routes.learn(Route { region: region(1, "", "m", 1), leader: on(1, 1) });
        assert_eq!(routes.target(b"a").unwrap().header.region_id, RegionId(2));
    }
}
