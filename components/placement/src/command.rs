//! What people can ask for.

use bytes::Bytes;
use types::{Peer, PeerRole, StoreId};

use crate::candidates::Scene;
use crate::checker::PeerIds;
use crate::controller::Proposal;
use crate::error::PlacementError;
use crate::operator::{Origin, Priority};
use crate::order::SplitPolicy;
use crate::plan::Wish;
use crate::region::RegionState;
use crate::step::{Stage, Step};

/// Most keys of one split.
pub const MAX_SPLIT_KEYS: usize = 1024;

/// Something that should be done to one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let the peer on a store lead.
    TransferLeader {
        /// Where.
        to: StoreId,
    },
    /// Add a voter. Checkers take a peer away again when there are more than there should be.
    AddPeer {
        /// Where.
        to: StoreId,
    },
    /// Add a learner.
    AddLearner {
        /// Where.
        to: StoreId,
    },
    /// Take a peer away. Checkers add one again when there are fewer than there should be.
    RemovePeer {
        /// Where.
        from: StoreId,
    },
    /// Let a peer on one store take the place of the peer on another.
    MovePeer {
        /// From where.
        from: StoreId,
        /// To where.
        to: StoreId,
    },
    /// Split.
    Split {
        /// Where.
        policy: SplitPolicy,
    },
    /// Spread the region's peers and its leadership as the others of its group are not.
    Scatter {
        /// Which regions are spread together.
        group: String,
    },
}

impl Command {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TransferLeader { .. } => "admin-transfer-leader",
            Self::AddPeer { .. } => "admin-add-peer",
            Self::AddLearner { .. } => "admin-add-learner",
            Self::RemovePeer { .. } => "admin-remove-peer",
            Self::MovePeer { .. } => "admin-move-peer",
            Self::Split { .. } => "admin-split-region",
            Self::Scatter { .. } => "scatter-region",
        }
    }
}

/// An operator for a command, all but for `Scatter`, which needs to know the region's group.
pub(crate) fn propose(
    scene: Scene<'_>,
    region: &RegionState,
    command: &Command,
    ids: PeerIds<'_>,
) -> Result<Proposal, PlacementError> {
    let stages = match command {
        Command::TransferLeader { to } => transfer_leader(scene, region, *to),
        Command::AddPeer { to } => {
            let peer = newcomer(scene, region, *to, ids)?;
            let add = region.peer_on(*to).is_none().then_some(peer).into_iter().collect();
            scene.plan(region, Wish { add, promote: vec![peer], ..Wish::default() })
        }
        Command::AddLearner { to } => {
            check_absent(region, *to)?;
            let peer = newcomer(scene, region, *to, ids)?;
            scene.plan(region, Wish { add: vec![peer], ..Wish::default() })
        }
        Command::RemovePeer { from } => {
            let peer = member(region, *from)?;
            scene.plan(region, Wish { remove: vec![peer], ..Wish::default() })
        }
        Command::MovePeer { from, to } => {
            let leaving = voter(region, *from)?;
            let peer = newcomer(scene, region, *to, ids)?;
            scene.plan(region, Wish::replace(region, peer, leaving))
        }
        Command::Split { policy } => split(scene, region, policy),
        Command::Scatter { .. } => Err(PlacementError::Nothing { region: region.id() }),
    }?;
    Ok(Proposal { name: command.name(), origin: Origin::People, priority: Priority::Urgent, stages })
}

fn member(region: &RegionState, store: StoreId) -> Result<Peer, PlacementError> {
    region.peer_on(store).ok_or(PlacementError::PeerMissing { region: region.id(), store, what: "peer" })
}

fn voter(region: &RegionState, store: StoreId) -> Result<Peer, PlacementError> {
    let voter = region.voters().find(|peer| peer.store_id == store && peer.role != PeerRole::DemotingVoter);
    voter.ok_or(PlacementError::PeerMissing { region: region.id(), store, what: "voter" })
}

fn check_absent(region: &RegionState, store: StoreId) -> Result<(), PlacementError> {
    match region.peer_on(store) {
        Some(_) => Err(PlacementError::PeerExists { region: region.id(), store }),
        None => Ok(()),
    }
}

/// The learner on a store that will vote, or a new peer there.
fn newcomer(scene: Scene<'_>, region: &RegionState, to: StoreId, ids: PeerIds<'_>) -> Result<Peer, PlacementError> {
    if region.is_joint() {
        return Err(PlacementError::Joint { region: region.id() });
    }
    if let Some(learner) = region.learners().find(|peer| peer.store_id == to) {
        return Ok(learner);
    }
    check_absent(region, to)?;
    let store = scene.cluster.store(to).ok_or(PlacementError::StoreUnknown { store: to })?;
    scene.check_target(store).map_err(|unfit| PlacementError::StoreUnfit { store: to, why: unfit.why() })?;
    ids().map(|id| Peer::voter(id, to)).ok_or(PlacementError::NoId)
}

fn transfer_leader(scene: Scene<'_>, region: &RegionState, to: StoreId) -> Result<Vec<Stage>, PlacementError> {
    let peer = voter(region, to)?;
    if peer.id == region.leader.id {
        return Err(PlacementError::Nothing { region: region.id() });
    }
    if !region.keeps_up(peer.id) {
        return Err(PlacementError::StoreUnfit { store: to, why: "its peer has not caught up" });
    }
    scene.check(region, vec![Step::TransferLeader { to: vec![peer] }])
}

fn split(scene: Scene<'_>, region: &RegionState, policy: &SplitPolicy) -> Result<Vec<Stage>, PlacementError> {
    if let SplitPolicy::Keys(keys) = policy {
        let range = &region.descriptor.range;
        let is_inside = |key: &Bytes| *key > range.start && range.is_below_end(key);
        let is_fine = (1..=MAX_SPLIT_KEYS).contains(&keys.len())
            && keys.iter().all(is_inside)
            && keys.is_sorted_by(|left, right| left < right);
        if !is_fine {
            return Err(PlacementError::SplitKeys { region: region.id(), limit: MAX_SPLIT_KEYS });
        }
    }
    let version = region.descriptor.epoch.version;
    scene.check(region, vec![Step::Split { policy: policy.clone(), version }])
}
