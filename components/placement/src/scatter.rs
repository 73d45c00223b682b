//! Spreading the regions of a group over the stores.

use std::collections::{BTreeMap, VecDeque};

use types::{Peer, StoreId};

use crate::candidates::Scene;
use crate::checker::PeerIds;
use crate::controller::Proposal;
use crate::error::PlacementError;
use crate::operator::{Origin, Priority};
use crate::plan::Wish;
use crate::region::RegionState;
use crate::score::isolation;

/// Most groups that are remembered; the oldest is forgotten first.
const MAX_GROUPS: usize = 64;

/// How often a store was chosen for a group's regions.
#[derive(Clone, Copy, Debug, Default)]
struct Chosen {
    peers: u64,
    leaders: u64,
}

/// What was chosen for each group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scatterer {
    groups: BTreeMap<String, BTreeMap<StoreId, Chosen>>,
    order: VecDeque<String>,
}

impl Scatterer {
    fn chosen(&self, group: &str, store: StoreId) -> Chosen {
        self.groups.get(group).and_then(|group| group.get(&store)).copied().unwrap_or_default()
    }

    /// An operator that moves the peers whose stores were chosen more often than another one, and the leadership to the
    /// store that was chosen least often for it.
    ///
    /// # Errors
    /// `Nothing` when all is well where it is; that is counted too.
    pub(crate) fn propose(
        &mut self,
        scene: Scene<'_>,
        region: &RegionState,
        group: &str,
        ids: PeerIds<'_>,
    ) -> Result<Proposal, PlacementError> {
        let mut wish = Wish::default();
        let mut stores: Vec<StoreId> = region.stores().collect();
        for peer in region.voters().filter(|peer| scene.is_healthy(region, *peer)) {
            let Some(better) = self.better_store(scene, region, group, &stores, peer.store_id) else { continue };
            let id = ids().ok_or(PlacementError::NoId)?;
            wish.add.push(Peer::voter(id, better));
            wish.remove.push(peer);
            stores.retain(|store| *store != peer.store_id);
            stores.push(better);
        }
        wish.promote.clone_from(&wish.add);
        let leader = self.least_leading(region, group, &wish);
        let moves_leader = leader.is_some_and(|leader| leader.id != region.leader.id);
        wish.leaders = leader.filter(|_| moves_leader).into_iter().collect();
        let is_settled = wish.add.is_empty() && !moves_leader;
        let stages = if is_settled { Ok(Vec::new()) } else { scene.plan(region, wish) }?;
        self.remember(group, &stores, leader);
        if is_settled {
            return Err(PlacementError::Nothing { region: region.id() });
        }
        Ok(Proposal { name: "scatter-region", origin: Origin::People, priority: Priority::Medium, stages })
    }

    /// A store that was chosen less often than `from` and isolates as well.
    fn better_store(
        &self,
        scene: Scene<'_>,
        region: &RegionState,
        group: &str,
        stores: &[StoreId],
        from: StoreId,
    ) -> Option<StoreId> {
        let labels = &scene.config.location_labels;
        let others = || stores.iter().filter(|store| **store != from).filter_map(|store| scene.cluster.store(*store));
        let now = isolation(labels, scene.cluster.store(from)?, others());
        let is_fit = |store: &&crate::store::StoreState| {
            let is_free = !stores.contains(&store.id) && region.peer_on(store.id).is_none();
            is_free
                && !store.is_exclusive()
                && scene.check_target(store).is_ok()
                && isolation(labels, store, others()) >= now
        };
        let fit = scene.cluster.stores().filter(is_fit).map(|store| store.id);
        let best = fit.min_by_key(|store| (self.chosen(group, *store).peers, *store))?;
        (self.chosen(group, best).peers < self.chosen(group, from).peers).then_some(best)
    }

    fn least_leading(&self, region: &RegionState, group: &str, wish: &Wish) -> Option<Peer> {
        let stays = |peer: &Peer| region.keeps_up(peer.id) && !wish.remove.iter().any(|gone| gone.id == peer.id);
        let staying = region.voters().filter(stays);
        let rank =
            |peer: &Peer| (self.chosen(group, peer.store_id).leaders, peer.id != region.leader.id, peer.store_id);
        staying.chain(wish.add.iter().copied()).min_by_key(rank)
    }

    fn remember(&mut self, group: &str, stores: &[StoreId], leader: Option<Peer>) {
        if !self.groups.contains_key(group) {
            if self.order.len() == MAX_GROUPS
                && let Some(oldest) = self.order.pop_front()
            {
                self.groups.remove(&oldest);
            }
            self.order.push_back(group.to_owned());
        }
        let chosen = self.groups.entry(group.to_owned()).or_default();
        for store in stores {
            chosen.entry(*store).or_default().peers += 1;
        }
        if let Some(leader) = leader {
            chosen.entry(leader.store_id).or_default().leaders += 1;
        }
    }
}
