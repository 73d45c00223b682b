//! A joint configuration that no operator owns is left.

use types::PeerRole;

use super::Verdict;
use crate::candidates::Scene;
use crate::obstacle::Obstacle;
use crate::operator::Priority;
use crate::region::RegionState;
use crate::step::Step;

/// A region that was left in between, by an operator that ended or a placement driver that stopped. A leader that is
/// being demoted cannot make its demotion final (raftstore-rules §7): it hands over first.
pub(super) fn check(scene: Scene<'_>, region: &RegionState) -> Verdict {
    if !scene.controller.has_room(scene.config, false) {
        return Verdict::Waits(Obstacle::Operators);
    }
    let mut steps = Vec::new();
    let demoted = |role: PeerRole| role == PeerRole::DemotingVoter;
    if region.peer_on(region.leader.store_id).is_some_and(|leader| demoted(leader.role)) {
        let staying = region.voters().filter(|peer| !demoted(peer.role));
        let to = scene.leader_candidates(region, staying);
        if to.is_empty() {
            return Verdict::Waits(Obstacle::NoSuccessor);
        }
        steps.push(Step::TransferLeader { to });
    }
    steps.push(Step::LeaveJoint);
    scene.act("leave-joint-state", Priority::High, scene.check(region, steps))
}
