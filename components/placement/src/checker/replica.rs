//! As many voters as there should be, on stores that are there to stay.

use types::{Peer, StoreId};

use super::{PeerIds, Verdict};
use crate::candidates::Scene;
use crate::members::Members;
use crate::obstacle::Obstacle;
use crate::operator::Priority;
use crate::plan::Wish;
use crate::region::RegionState;
use crate::step::Step;

/// Why a peer has no future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doom {
    /// It has not answered for so long that it counts as lost.
    Down,
    /// Its store was told to leave, or is gone.
    Leaving,
}

/// Looks at a region that is not between two memberships.
pub(super) fn check(scene: Scene<'_>, region: &RegionState, ids: PeerIds<'_>) -> Verdict {
    let doomed = |peer: &Peer| doom(scene, region, *peer);
    let voters: Vec<Peer> = region.voters().collect();
    let learners: Vec<Peer> = region.learners().collect();
    if doomed(&region.leader) == Some(Doom::Leaving)
        && let Some(verdict) = move_leader(scene, region)
    {
        return verdict;
    }
    if let Some(lost) = learners.iter().find(|peer| doomed(peer).is_some()) {
        return scene.remove(region, *lost, "remove-lost-learner", Priority::Medium);
    }
    let worst_doom = |peer: &&Peer| doomed(peer).map(|doom| doom == Doom::Down);
    let lost = voters.iter().filter(|peer| doomed(peer).is_some()).max_by_key(|peer| (worst_doom(peer), peer.id));
    let wanted = scene.config.max_replicas;
    match lost {
        Some(lost) if voters.len() > wanted => {
            let name = if doomed(lost) == Some(Doom::Down) { "remove-down-replica" } else { "remove-offline-replica" };
            scene.remove(region, *lost, name, Priority::High)
        }
        Some(lost) => {
            let name =
                if doomed(lost) == Some(Doom::Down) { "replace-down-replica" } else { "replace-offline-replica" };
            fill_up(scene, region, Some(*lost), name, ids)
        }
        None if voters.len() < wanted => fill_up(scene, region, None, "make-up-replica", ids),
        None => too_many(scene, region, &voters, &learners),
    }
}

fn doom(scene: Scene<'_>, region: &RegionState, peer: Peer) -> Option<Doom> {
    let max_down = scene.config.max_store_down_time;
    let store = scene.cluster.store(peer.store_id);
    // Its region misses it, and either has for long enough, or the store is silent everywhere. A store that only we do
    // not hear is no reason to move data.
    let is_down = region.down_seconds(peer.id).is_some_and(|seconds| {
        seconds > max_down.as_secs() || store.is_some_and(|store| store.silence(scene.now) > max_down)
    });
    match store {
        _ if is_down => Some(Doom::Down),
        Some(store) => store.is_leaving.then_some(Doom::Leaving),
        None => Some(Doom::Leaving),
    }
}

/// `None` when nobody can take the leadership: then the peers move first.
fn move_leader(scene: Scene<'_>, region: &RegionState) -> Option<Verdict> {
    let others = region.voters().filter(|peer| peer.id != region.leader.id);
    let to = scene.leader_candidates(region, others);
    if to.is_empty() {
        return None;
    }
    if !scene.controller.has_room(scene.config, true) {
        return Some(Verdict::Waits(Obstacle::Operators));
    }
    let steps = vec![Step::TransferLeader { to }];
    Some(scene.act("evict-leader", Priority::High, scene.check(region, steps)))
}

/// One more voter: a learner that has caught up, or a new peer. It takes the place of `lost`, if there is one.
fn fill_up(
    scene: Scene<'_>,
    region: &RegionState,
    lost: Option<Peer>,
    name: &'static str,
    ids: PeerIds<'_>,
) -> Verdict {
    if !scene.controller.has_room(scene.config, false) {
        return Verdict::Waits(Obstacle::Operators);
    }
    // Not a peer more while those that are there are too few to agree on it.
    if !Members::of(&region.descriptor).has_quorum(|peer| scene.is_healthy(region, *peer)) {
        return Verdict::Waits(Obstacle::Quorum);
    }
    let wish = |newcomer: Peer| match lost {
        Some(lost) => Wish::replace(region, newcomer, lost),
        None => {
            let is_new = region.peer_on(newcomer.store_id).is_none();
            let add = is_new.then_some(newcomer).into_iter().collect();
            Wish { add, promote: vec![newcomer], ..Wish::default() }
        }
    };
    if let Some(ready) = region.learners().find(|peer| scene.is_healthy(region, *peer)) {
        let name = if lost.is_some() { name } else { "promote-learner" };
        return scene.act(name, Priority::High, scene.plan(region, wish(ready)));
    }
    if let Some(learner) = region.learners().next() {
        return wait_for(scene, region, learner);
    }
    let kept: Vec<StoreId> = region.stores().filter(|store| lost.is_none_or(|lost| lost.store_id != *store)).collect();
    match scene.new_peer(region, &kept, ids) {
        Ok(newcomer) => scene.act(name, Priority::High, scene.plan(region, wish(newcomer))),
        Err(verdict) => verdict,
    }
}

/// A learner that an earlier operator left is waited for, but not for ever: another store may do better.
fn wait_for(scene: Scene<'_>, region: &RegionState, learner: Peer) -> Verdict {
    let step = Step::AddLearner { peer: learner };
    let since = scene.cluster.pending_since(region.id(), learner.id).unwrap_or(scene.now);
    if scene.now.since(since) > step.timeout(scene.config, region.bytes()) {
        return scene.remove(region, learner, "remove-stuck-learner", Priority::Medium);
    }
    Verdict::Waits(Obstacle::Learner)
}

/// Learners that nobody needs go first: they are what an operator left that did not end well.
fn too_many(scene: Scene<'_>, region: &RegionState, voters: &[Peer], learners: &[Peer]) -> Verdict {
    if let Some(learner) = scene.worst_peer(learners) {
        return scene.remove(region, learner, "remove-extra-learner", Priority::Medium);
    }
    if voters.len() <= scene.config.max_replicas {
        return Verdict::Fine;
    }
    let unhealthy = voters.iter().find(|peer| !scene.is_healthy(region, **peer));
    match unhealthy.copied().or_else(|| scene.worst_peer(voters)) {
        Some(extra) => scene.remove(region, extra, "remove-extra-replica", Priority::Medium),
        None => Verdict::Fine,
    }
}
