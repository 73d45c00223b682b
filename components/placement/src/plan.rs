//! From what a region is to what it should be, step by step.

use types::{Peer, PeerRole};

use crate::candidates::Scene;
use crate::error::PlacementError;
use crate::members::Members;
use crate::region::RegionState;
use crate::step::{Stage, Step, stages};

/// What should become of a region.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// New peers, with fresh ids.
    pub(crate) add: Vec<Peer>,
    /// Members that do not vote and should, new ones included.
    pub(crate) promote: Vec<Peer>,
    /// Members that should leave.
    pub(crate) remove: Vec<Peer>,
    /// Who should lead in the end; nobody in particular when empty.
    pub(crate) leaders: Vec<Peer>,
}

impl Wish {
    /// A peer takes another's place. `newcomer` is new, or a learner.
    pub(crate) fn replace(region: &RegionState, newcomer: Peer, leaving: Peer) -> Self {
        let is_new = region.peer_on(newcomer.store_id).is_none();
        Self {
            add: is_new.then_some(newcomer).into_iter().collect(),
            promote: vec![newcomer],
            remove: vec![leaving],
            leaders: Vec::new(),
        }
    }
}

impl Scene<'_> {
    /// Works out the steps, and checks each membership on the way.
    ///
    /// # Errors
    /// `Joint`, `LastVoter`, `LosesQuorum`, and `StoreUnfit` when nobody can take the leadership of a peer that leaves.
    pub(crate) fn plan(&self, region: &RegionState, wish: Wish) -> Result<Vec<Stage>, PlacementError> {
        let id = region.id();
        if region.is_joint() {
            return Err(PlacementError::Joint { region: id });
        }
        let is_leaving = |peer: &Peer| wish.remove.iter().any(|leaving| leaving.id == peer.id);
        let voters: Vec<Peer> = region.voters().collect();
        let demote: Vec<Peer> = voters.iter().copied().filter(is_leaving).collect();
        if demote.len() == voters.len() && wish.promote.is_empty() {
            return Err(PlacementError::LastVoter { region: id });
        }
        let mut steps: Vec<Step> = wish.add.iter().map(|peer| Step::AddLearner { peer: *peer }).collect();
        let staying = voters.iter().copied().filter(|peer| !is_leaving(peer));
        let successors = self.leader_candidates(region, staying);
        let must_hand_over = demote.iter().any(|peer| peer.id == region.leader.id);
        if must_hand_over && successors.is_empty() && wish.promote.is_empty() {
            let why = "it has no voter that stays and keeps up, to take the leadership";
            return Err(PlacementError::StoreUnfit { store: region.leader.store_id, why });
        }
        let late = if must_hand_over && successors.is_empty() { wish.promote.clone() } else { Vec::new() };
        if must_hand_over && !successors.is_empty() {
            steps.push(Step::TransferLeader { to: successors });
        }
        self.change_roles(&mut steps, wish.promote, demote, late);
        // What is removed has no vote by then.
        let left = |peer: &Peer| Peer { role: PeerRole::Learner, ..*peer };
        steps.extend(wish.remove.iter().map(|peer| Step::RemovePeer { peer: left(peer) }));
        if !wish.leaders.is_empty() {
            steps.push(Step::TransferLeader { to: wish.leaders });
        }
        self.check(region, steps)
    }

    fn change_roles(&self, steps: &mut Vec<Step>, promote: Vec<Peer>, demote: Vec<Peer>, late: Vec<Peer>) {
        if promote.len() + demote.len() > 1 && self.config.enable_joint_consensus {
            steps.push(Step::EnterJoint { promote, demote });
            if !late.is_empty() {
                steps.push(Step::TransferLeader { to: late });
            }
            return steps.push(Step::LeaveJoint);
        }
        steps.extend(promote.into_iter().map(|peer| Step::Promote { peer }));
        if !late.is_empty() {
            steps.push(Step::TransferLeader { to: late });
        }
        steps.extend(demote.into_iter().map(|peer| Step::Demote { peer }));
    }

    /// Checks steps against what the region is.
    pub(crate) fn check(&self, region: &RegionState, steps: Vec<Step>) -> Result<Vec<Stage>, PlacementError> {
        let id = region.id();
        let stages =
            stages(Members::of(&region.descriptor), steps).map_err(|_| PlacementError::Nothing { region: id })?;
        // A newcomer votes only once it has caught up.
        let is_healthy = |peer: &Peer| match region.descriptor.peer(peer.id) {
            Some(_) => self.is_healthy(region, *peer),
            None => true,
        };
        // A step that leaves the members as they are costs nobody's vote. A leader that is new takes all others for late.
        let mut changes = stages.iter().filter(|stage| stage.before != stage.after);
        match changes.all(|stage| stage.after.has_quorum(is_healthy)) {
            true => Ok(stages),
            false => Err(PlacementError::LosesQuorum { region: id }),
        }
    }
}
