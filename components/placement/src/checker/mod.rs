//! What is not as it should be with a region, and what mends it.
//!
//! Checkers look at one region at a time, in this order: one that is between two memberships leaves the joint
//! configuration; a leader moves off a store that leaves; peers that are lost or leave are replaced; missing voters are
//! made up for; what is too much goes; and replicas that share a place move apart.

mod joint;
mod location;
mod replica;

use types::{Peer, PeerId, StoreId};

use crate::candidates::{Scene, Unfit};
use crate::controller::Proposal;
use crate::error::PlacementError;
use crate::obstacle::Obstacle;
use crate::operator::{Origin, Priority};
use crate::plan::Wish;
use crate::region::RegionState;
use crate::step::Stage;

/// What a checker thinks of a region.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing is to be done.
    Fine,
    /// Something is to be done, and cannot be now.
    Waits(Obstacle),
    /// This is to be done.
    Act(Proposal),
}

/// Gives ids for new peers, as long as there are some at hand.
pub(crate) type PeerIds<'a> = &'a mut dyn FnMut() -> Option<PeerId>;

/// Looks at a region that has no operator.
pub(crate) fn check(scene: Scene<'_>, region: &RegionState, ids: PeerIds<'_>) -> Verdict {
    if region.is_joint() {
        return joint::check(scene, region);
    }
    match replica::check(scene, region, ids) {
        Verdict::Fine => location::check(scene, region, ids),
        verdict => verdict,
    }
}

impl Scene<'_> {
    /// An operator of a checker's, as long as there may be one more.
    fn act(self, name: &'static str, priority: Priority, stages: Result<Vec<Stage>, PlacementError>) -> Verdict {
        match stages {
            Ok(stages) => Verdict::Act(Proposal { name, origin: Origin::Checker, priority, stages }),
            // The quorum, or a successor: that takes a heartbeat of this region to change.
            Err(_) => Verdict::Waits(Obstacle::Quorum),
        }
    }

    /// A new peer on the best store, given the stores whose peers stay.
    fn new_peer(self, region: &RegionState, kept: &[StoreId], ids: PeerIds<'_>) -> Result<Peer, Verdict> {
        let unfit = |unfit: Unfit| Verdict::Waits(Obstacle::NoStore(unfit));
        let store = self.best_store(region, kept).map_err(unfit)?.id;
        let source = region.leader.store_id;
        let load = self.cluster.store(source).and_then(|store| store.load).unwrap_or_default();
        if load.sending_snapshots.max(self.controller.influence(source).sending) >= self.config.max_snapshot_count {
            return Err(Verdict::Waits(Obstacle::Sending));
        }
        ids().map(|id| Peer::voter(id, store)).ok_or(Verdict::Waits(Obstacle::NoIds))
    }

    /// An operator that takes a peer away.
    fn remove(self, region: &RegionState, peer: Peer, name: &'static str, priority: Priority) -> Verdict {
        let is_heard = self.cluster.store(peer.store_id).is_some_and(|store| store.is_connected(self.now));
        if !self.controller.has_room(self.config, false) {
            return Verdict::Waits(Obstacle::Operators);
        }
        if is_heard && !self.controller.allows_remove(self.config, self.now, peer.store_id, region.bytes()) {
            return Verdict::Waits(Obstacle::RemovalLimit);
        }
        self.act(name, priority, self.plan(region, Wish { remove: vec![peer], ..Wish::default() }))
    }
}
