//! Which store is fit for a peer, and which peer for a leadership.

use std::cmp::Reverse;

use types::{Instant, Peer, StoreId};

use crate::cluster::{Cluster, StoreCounts};
use crate::config::PlacementConfig;
use crate::controller::Controller;
use crate::region::RegionState;
use crate::score::{fill, is_isolated, isolation};
use crate::store::StoreState;

/// Everything that a decision looks at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) config: &'a PlacementConfig,
    pub(crate) now: Instant,
    pub(crate) cluster: &'a Cluster,
    pub(crate) controller: &'a Controller,
}

/// Why a store is not fit for a peer, ordered from what will not change by itself to what will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// There is none without a peer of the region.
    Absent,
    /// It was told to leave.
    Leaving,
    /// Its labels keep it for others.
    Exclusive,
    /// It is too near to another replica.
    Isolation,
    /// Too much of its disk is used.
    LowOnSpace,
    /// It has not been heard of lately.
    Disconnected,
    /// It is stopping.
    Stopping,
    /// It cannot keep up.
    Busy,
    /// It receives as many snapshots as it may.
    Snapshots,
    /// As many of its peers as may be have not caught up.
    PendingPeers,
    /// It got as many peers lately as it may.
    Limited,
}

impl Unfit {
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Absent => "there are not enough stores",
            Self::Leaving => "it is leaving",
            Self::Exclusive => "its labels keep it for others",
            Self::Isolation => "it would share a place with another replica at the isolation level",
            Self::LowOnSpace => "it is low on space",
            Self::Disconnected => "it has not been heard of lately",
            Self::Stopping => "it is stopping",
            Self::Busy => "it is busy",
            Self::Snapshots => "it takes part in too many snapshots",
            Self::PendingPeers => "too many of its peers have not caught up",
            Self::Limited => "it got many peers lately",
        }
    }

    /// Why no store can take a peer, where this is what keeps those back that are nearest to be fit.
    pub(crate) const fn why_none(self) -> &'static str {
        match self {
            Self::Absent => "every store has a replica already: add a store",
            Self::Leaving => "every other store is leaving, too: add a store",
            Self::Exclusive => "the other stores' labels keep them for others",
            Self::Isolation => {
                "every other store shares a place with a replica: see replication.isolation-level, or add a store"
            }
            Self::LowOnSpace => "the other stores are low on space: see schedule.low-space-ratio, or add a store",
            Self::Disconnected => "the other stores have not been heard of lately",
            Self::Stopping => "the other stores are stopping",
            Self::Busy => "the other stores are busy",
            Self::Snapshots => "the other stores receive as many snapshots as schedule.max-snapshot-count allows",
            Self::PendingPeers => {
                "as many of the other stores' peers as schedule.max-pending-peer-count allows have not caught up"
            }
            Self::Limited => "the other stores got as many peers lately as schedule.store-limit allows",
        }
    }

    /// Whether it passes by itself, soon.
    pub(crate) fn passes_soon(self) -> bool {
        self >= Self::Disconnected
    }
}

impl<'a> Scene<'a> {
    /// Whether a store may take a peer that somebody chose it for.
    pub(crate) fn check_target(&self, store: &StoreState) -> Result<(), Unfit> {
        let load = store.load.unwrap_or_default();
        let checks = [
            (store.is_leaving, Unfit::Leaving),
            (!store.is_connected(self.now), Unfit::Disconnected),
            (load.is_stopping, Unfit::Stopping),
            (store.is_low_on_space(self.config.low_space_percent), Unfit::LowOnSpace),
        ];
        checks.into_iter().find(|(is_so, _)| *is_so).map_or(Ok(()), |(_, unfit)| Err(unfit))
    }

    /// Whether a checker may choose a store for a peer of that many bytes.
    fn check_candidate(&self, store: &StoreState, bytes: u64) -> Result<(), Unfit> {
        if store.is_exclusive() {
            return Err(Unfit::Exclusive);
        }
        self.check_target(store)?;
        let load = store.load.unwrap_or_default();
        let influence = self.controller.influence(store.id);
        let pending = self.cluster.counts(store.id).pending_peers.max(influence.adding);
        let checks = [
            (load.is_busy, Unfit::Busy),
            (load.receiving_snapshots.max(influence.adding) >= self.config.max_snapshot_count, Unfit::Snapshots),
            (pending >= self.config.max_pending_peer_count, Unfit::PendingPeers),
            (!self.controller.allows_add(self.config, self.now, store.id, bytes), Unfit::Limited),
        ];
        checks.into_iter().find(|(is_so, _)| *is_so).map_or(Ok(()), |(_, unfit)| Err(unfit))
    }

    /// What lies on a store and what is on its way there.
    pub(crate) fn counts_ahead(&self, store: StoreId) -> StoreCounts {
        let (counts, influence) = (self.cluster.counts(store), self.controller.influence(store));
        StoreCounts {
            regions: counts.regions + influence.adding,
            bytes: counts.bytes + influence.adding_bytes,
            ..counts
        }
    }

    /// The best store for a new peer of a region whose peers on `kept` stay: the best isolated, then the emptiest.
    ///
    /// # Errors
    /// What stands in the way of the stores that are nearest to be fit.
    pub(crate) fn best_store(&self, region: &RegionState, kept: &[StoreId]) -> Result<&'a StoreState, Unfit> {
        let others: Vec<&StoreState> = kept.iter().filter_map(|store| self.cluster.store(*store)).collect();
        let labels = &self.config.location_labels;
        let mut nearest = Unfit::Absent;
        let mut fit = Vec::new();
        for store in self.cluster.stores().filter(|store| region.peer_on(store.id).is_none()) {
            let is_isolated = is_isolated(labels, &self.config.isolation_level, store, others.iter().copied());
            let checked = if is_isolated { self.check_candidate(store, region.bytes()) } else { Err(Unfit::Isolation) };
            match checked {
                Ok(()) => fit.push(store),
                Err(unfit) => nearest = nearest.max(unfit),
            }
        }
        let rank = |store: &&StoreState| {
            let isolation = isolation(labels, store, others.iter().copied());
            (Reverse(isolation), fill(store, self.counts_ahead(store.id)), store.id)
        };
        fit.into_iter().min_by_key(rank).ok_or(nearest)
    }

    /// The peer whose leaving costs least: the worst isolated, then the one on the fullest store.
    pub(crate) fn worst_peer(&self, peers: &[Peer]) -> Option<Peer> {
        let stores: Vec<&StoreState> = peers.iter().filter_map(|peer| self.cluster.store(peer.store_id)).collect();
        let rank = |peer: &&Peer| {
            let Some(store) = self.cluster.store(peer.store_id) else { return (0, Reverse(u128::MAX), peer.store_id) };
            let isolation = isolation(&self.config.location_labels, store, stores.iter().copied());
            (isolation, Reverse(fill(store, self.cluster.counts(store.id))), peer.store_id)
        };
        peers.iter().min_by_key(rank).copied()
    }

    /// Whether a member can be counted on.
    pub(crate) fn is_healthy(&self, region: &RegionState, peer: Peer) -> bool {
        let is_connected = self.cluster.store(peer.store_id).is_some_and(|store| store.is_connected(self.now));
        region.keeps_up(peer.id) && is_connected
    }

    /// Voters among `peers` that may lead, best first: those on stores that lead least.
    pub(crate) fn leader_candidates(&self, region: &RegionState, peers: impl Iterator<Item = Peer>) -> Vec<Peer> {
        let may_lead = |peer: &Peer| {
            let store = self.cluster.store(peer.store_id);
            let stays = store.is_some_and(|store| {
                !store.is_leaving && !store.load.is_some_and(|load| load.is_stopping || load.is_busy)
            });
            stays && self.is_healthy(region, *peer)
        };
        let mut candidates: Vec<Peer> = peers.filter(may_lead).collect();
        candidates.sort_by_key(|peer| (self.cluster.counts(peer.store_id).leaders, peer.store_id));
        candidates
    }
}
