//! Which region holds a key, and whom to ask for it, as far as this client has learned.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use types::{KeyRange, Peer, PeerRole, RegionDescriptor};

use crate::pd::RegionRoute;

/// Most regions that are remembered; one more and all are learned anew.
const MAX_REGIONS: usize = 1 << 20;

/// A region and the peer to ask.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) region: Arc<RegionDescriptor>,
    pub(crate) peer: Peer,
}

/// Where to look for a region.
#[derive(Clone, Debug)]
pub(crate) enum Seek {
    /// The region that holds this key.
    At(Bytes),
    /// The region that holds the keys just below this one; empty means the last region.
    Before(Bytes),
}

impl Seek {
    fn fits(&self, range: &KeyRange) -> bool {
        match self {
            Self::At(key) => range.contains(key),
            Self::Before(end) if end.is_empty() => range.end.is_empty(),
            Self::Before(end) => range.start < end && (range.end.is_empty() || range.end >= end),
        }
    }
}

#[derive(Default)]
pub(crate) struct RegionCache {
    /// By start key. No two overlap.
    regions: RwLock<BTreeMap<Bytes, Cached>>,
}

struct Cached {
    region: Arc<RegionDescriptor>,
    peer: Peer,
    /// How many peers in a row could not serve.
    failures: usize,
}

impl RegionCache {
    pub(crate) fn find(&self, seek: &Seek) -> Option<Route> {
        let regions = self.regions.read();
        let below = match seek {
            Seek::At(key) => (Bound::Unbounded, Bound::Included(&key[..])),
            Seek::Before(end) if end.is_empty() => (Bound::Unbounded, Bound::Unbounded),
            Seek::Before(end) => (Bound::Unbounded, Bound::Excluded(&end[..])),
        };
        let (_, cached) = regions.range::<[u8], _>(below).next_back()?;
        seek.fits(&cached.region.range).then(|| Route { region: Arc::clone(&cached.region), peer: cached.peer })
    }

    /// Remembers a region, unless something newer is known about its keys. `None` when it has no peer to ask.
    pub(crate) fn learn(&self, route: RegionRoute) -> Option<Route> {
        let region = Arc::new(route.descriptor);
        let peer = route.leader.or_else(|| voters(&region).next())?;
        let mut regions = self.regions.write();
        let overlapping = overlapping(&regions, &region.range);
        let is_older = overlapping.iter().any(|start| regions[start].region.epoch.version > region.epoch.version);
        if !is_older {
            for start in overlapping {
                regions.remove(&start);
            }
            if regions.len() >= MAX_REGIONS {
                regions.clear();
            }
            let cached = Cached { region: Arc::clone(&region), peer, failures: 0 };
            regions.insert(region.range.start.clone(), cached);
        }
        Some(Route { region, peer })
    }

    /// The peer of this route could not serve: ask the next one, and after all of them forget the region.
    pub(crate) fn failed(&self, route: &Route) {
        self.change(route, |cached| {
            let voters: Vec<Peer> = voters(&cached.region).collect();
            cached.failures += 1;
            let position = voters.iter().position(|peer| peer.id == cached.peer.id).unwrap_or(0);
            match voters.get((position + 1) % voters.len().max(1)) {
                Some(next) if cached.failures < voters.len() => {
                    cached.peer = *next;
                    true
                }
                _ => false,
            }
        });
    }

    /// The region's leader is this peer, says the route's.
    pub(crate) fn redirect(&self, route: &Route, leader: Peer) {
        self.change(route, |cached| {
            let known = cached.region.peer(leader.id).is_some();
            cached.peer = leader;
            known
        });
    }

    /// The route's peer served.
    pub(crate) fn served(&self, route: &Route) {
        let regions = self.regions.read();
        let had_failures = regions.get(&route.region.range.start).is_some_and(|cached| cached.failures > 0);
        drop(regions);
        if had_failures {
            self.change(route, |cached| {
                cached.failures = 0;
                true
            });
        }
    }

    /// The region is not what it was.
    pub(crate) fn forget(&self, route: &Route) {
        self.change(route, |_| false);
    }

    /// Changes what the route came from, if it is still there, and drops it if `change` says so. Of many requests that
    /// fail at the same peer, one changes something.
    fn change(&self, route: &Route, change: impl FnOnce(&mut Cached) -> bool) {
        let mut regions = self.regions.write();
        let start = &route.region.range.start;
        let Some(cached) = regions.get_mut(start) else {
            return;
        };
        let is_same = Arc::ptr_eq(&cached.region, &route.region) && cached.peer == route.peer;
        if is_same && !change(cached) {
            regions.remove(start);
        }
    }
}

fn voters(region: &RegionDescriptor) -> impl Iterator<Item = Peer> + '_ {
    region.peers.iter().copied().filter(|peer| peer.role != PeerRole::Learner)
}

/// The start keys of the regions that share keys with a range.
fn overlapping(regions: &BTreeMap<Bytes, Cached>, range: &KeyRange) -> Vec<Bytes> {
    let first = regions.range::<[u8], _>((Bound::Unbounded, Bound::Included(&range.start[..]))).next_back();
    let from = first.map_or_else(|| range.start.clone(), |(start, _)| start.clone());
    let candidates = regions.range::<[u8], _>((Bound::Included(&from[..]), Bound::Unbounded));
    let candidates = candidates.take_while(|(start, _)| range.is_below_end(start));
    candidates.filter(|(_, cached)| cached.region.range.overlaps(range)).map(|(start, _)| start.clone()).collect()
}

#[cfg(test)]
mod tests {
    use types::RegionEpoch;

    use super::*;

    fn route(id: u64, start: &'static str, end: &'static str, version: u64) -> RegionRoute {
        let descriptor = RegionDescriptor {
            id: id.into(),
            range: KeyRange::new(start, end),
            epoch: RegionEpoch { conf_ver: 1, version },
            peers: (1..=3).map(|store| Peer::voter((id * 10 + store).into(), store.into())).collect(),
        };
        let leader = Some(descriptor.peers[0]);
        RegionRoute { descriptor, leader }
    }

    fn at(cache: &RegionCache, key: &'static str) -> Option<u64> {
        cache.find(&Seek::At(key.into())).map(|route| route.region.id.0)
    }

    fn before(cache: &RegionCache, end: &'static str) -> Option<u64> {
        cache.find(&Seek::Before(end.into())).map(|route| route.region.id.0)
    }

    fn cache(routes: impl IntoIterator<Item = RegionRoute>) -> RegionCache {
        let cache = RegionCache::default();
        for route in routes {
            cache.learn(route).expect("it has peers");
        }
        cache
    }

    #[test]
    fn keys_and_bounds_find_their_region() {
        let cache = cache([route(1, "", "b", 1), route(2, "b", "d", 1), route(4, "f", "", 1)]);
        assert_eq!(["", "a", "b", "c", "f", "z"].map(|key| at(&cache, key)), [1, 1, 2, 2, 4, 4].map(Some));
        assert_eq!(["d", "e"].map(|key| at(&cache, key)), [None, None]);
        assert_eq!(["b", "c", "d", "g", ""].map(|end| before(&cache, end)), [1, 2, 2, 4, 4].map(Some));
        assert_eq!(["e", "f"].map(|end| before(&cache, end)), [None, None]);
    }

    #[test]
    fn what_is_newer_replaces_what_it_overlaps_and_what_is_older_does_not() {
        let cache = cache([route(1, "", "m", 1), route(2, "m", "", 1)]);
        cache.learn(route(3, "f", "p", 2)).expect("it has peers");
        assert_eq!(["a", "f", "o", "q"].map(|key| at(&cache, key)), [None, Some(3), Some(3), None]);
        cache.learn(route(1, "", "m", 1)).expect("it has peers");
        assert_eq!(["a", "f"].map(|key| at(&cache, key)), [None, Some(3)]);
    }

    #[test]
    fn each_peer_is_tried_once_before_the_region_is_forgotten() {
        let cache = cache([route(1, "", "", 1)]);
        let current = || cache.find(&Seek::At(Bytes::new()));
        let mut tried = Vec::new();
        while let Some(route) = current() {
            tried.push(route.peer.store_id.0);
            cache.failed(&route);
            cache.failed(&route);
        }
        assert_eq!(tried, [1, 2, 3], "a second failure of the same peer changes nothing");
    }

    #[test]
    fn a_served_request_ends_the_count_of_failures() {
        let cache = cache([route(1, "", "", 1)]);
        for _ in 0..6 {
            let route = cache.find(&Seek::At(Bytes::new())).expect("never forgotten");
            cache.failed(&route);
            cache.served(&cache.find(&Seek::At(Bytes::new())).expect("never forgotten"));
        }
    }

    #[test]
    fn a_redirection_to_a_stranger_forgets_the_region() {
        let cache = cache([route(1, "", "", 1)]);
        let first = cache.find(&Seek::At(Bytes::new())).expect("it was learned");
        cache.redirect(&first, first.region.peers[2]);
        let second = cache.find(&Seek::At(Bytes::new())).expect("the leader is a member");
        assert_eq!(second.peer.store_id, 3.into());
        cache.redirect(&second, Peer::voter(99.into(), 9.into()));
        assert_eq!(cache.find(&Seek::At(Bytes::new())), None);
    }
}
