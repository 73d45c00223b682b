//! Replicas that share a place move apart when there is a better place.

use types::StoreId;

use super::{PeerIds, Verdict};
use crate::candidates::Scene;
use crate::obstacle::Obstacle;
use crate::operator::Priority;
use crate::plan::Wish;
use crate::region::RegionState;
use crate::score::isolation;

/// The worst isolated peer moves if that isolates it better. Each move makes the sum larger, so it ends.
pub(super) fn check(scene: Scene<'_>, region: &RegionState, ids: PeerIds<'_>) -> Verdict {
    let labels = &scene.config.location_labels;
    if labels.is_empty() || !scene.config.enable_location_replacement {
        return Verdict::Fine;
    }
    let voters: Vec<_> = region.voters().collect();
    let Some(worst) = scene.worst_peer(&voters) else { return Verdict::Fine };
    let kept: Vec<StoreId> = region.stores().filter(|store| *store != worst.store_id).collect();
    let others = || kept.iter().filter_map(|store| scene.cluster.store(*store));
    let (Some(from), Ok(to)) = (scene.cluster.store(worst.store_id), scene.best_store(region, &kept)) else {
        return Verdict::Fine;
    };
    if isolation(labels, to, others()) <= isolation(labels, from, others()) {
        return Verdict::Fine;
    }
    if !scene.controller.has_room(scene.config, false) {
        return Verdict::Waits(Obstacle::Operators);
    }
    if !scene.controller.allows_remove(scene.config, scene.now, from.id, region.bytes()) {
        return Verdict::Waits(Obstacle::RemovalLimit);
    }
    match scene.new_peer(region, &kept, ids) {
        Ok(newcomer) => {
            let plan = scene.plan(region, Wish::replace(region, newcomer, worst));
            scene.act("move-to-better-location", Priority::Low, plan)
        }
        Err(verdict) => verdict,
    }
}
