//! The steps of an operator, and how a region's heartbeat shows where a step stands.

use std::time::Duration;

use types::{Peer, PeerRole};

use crate::config::PlacementConfig;
use crate::members::{Members, Misfit};
use crate::order::{OrderKind, PeerChange, PeerChangeKind, SplitPolicy};
use crate::region::RegionState;

/// How many bytes a second a snapshot moves at the least; a region has time accordingly (raftstore-rules §8).
const SLOWEST_SNAPSHOT_BYTES_PER_SECOND: u64 = 1 << 20;

/// One step. Merges will be two more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The leadership goes to one of these, best first.
    TransferLeader {
        /// The candidates.
        to: Vec<Peer>,
    },
    /// A new peer receives the region's data, and does not vote.
    AddLearner {
        /// The peer.
        peer: Peer,
    },
    /// A learner becomes a voter.
    Promote {
        /// The learner.
        peer: Peer,
    },
    /// A voter becomes a learner.
    Demote {
        /// The voter.
        peer: Peer,
    },
    /// A peer leaves.
    RemovePeer {
        /// The peer.
        peer: Peer,
    },
    /// Several peers change their roles; until the next step, decisions need both quorums.
    EnterJoint {
        /// Learners that become voters.
        promote: Vec<Peer>,
        /// Voters that become learners.
        demote: Vec<Peer>,
    },
    /// The changes of [`EnterJoint`](Self::EnterJoint) become final. Leaders do it by themselves too.
    LeaveJoint,
    /// The region splits.
    Split {
        /// Where.
        policy: SplitPolicy,
        /// The region's version before.
        version: u64,
    },
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// What it was to reach is reached.
    Finished,
    /// Not yet. Says whether the order should be given again: the leader may have lost it.
    UnderWay { order: bool },
    /// It will not be reached any more.
    Impossible(&'static str),
}

/// A step with the membership before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) step: Step,
    pub(crate) before: Members,
    pub(crate) after: Members,
}

impl Step {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TransferLeader { .. } => "transfer leader",
            Self::AddLearner { .. } => "add learner",
            Self::Promote { .. } => "promote learner",
            Self::Demote { .. } => "demote voter",
            Self::RemovePeer { .. } => "remove peer",
            Self::EnterJoint { .. } => "enter joint configuration",
            Self::LeaveJoint => "leave joint configuration",
            Self::Split { .. } => "split",
        }
    }

    /// Whether it moves data, and so may take long.
    pub const fn is_slow(&self) -> bool {
        matches!(self, Self::AddLearner { .. } | Self::Split { .. })
    }

    /// How long it may take in a region of this size.
    pub fn timeout(&self, config: &PlacementConfig, approximate_bytes: u64) -> Duration {
        if self.is_slow() {
            let moving = Duration::from_secs(approximate_bytes / SLOWEST_SNAPSHOT_BYTES_PER_SECOND);
            config.slow_step_timeout.max(moving)
        } else {
            config.fast_step_timeout
        }
    }

    /// The membership that it makes of another.
    fn effect(&self, before: &Members) -> Result<Members, Misfit> {
        match self {
            Self::TransferLeader { .. } | Self::Split { .. } => Ok(before.clone()),
            Self::AddLearner { peer } => before.add_learner(*peer),
            Self::Promote { peer } => before.turn(*peer, PeerRole::Learner, PeerRole::Voter),
            Self::Demote { peer } => before.turn(*peer, PeerRole::Voter, PeerRole::Learner),
            Self::RemovePeer { peer } => before.remove(*peer),
            Self::EnterJoint { promote, demote } => before.enter_joint(promote, demote),
            Self::LeaveJoint => before.leave_joint(),
        }
    }

    /// The order that a region's leader is given for it.
    pub(crate) fn order(&self, config: &PlacementConfig) -> OrderKind {
        let single = |kind, peer: &Peer, role| {
            let change = PeerChange { kind, peer: Peer { role, ..*peer } };
            if config.enable_joint_consensus {
                OrderKind::ChangePeers(vec![change])
            } else {
                OrderKind::ChangePeer(change)
            }
        };
        let learner = |peer: &Peer| single(PeerChangeKind::AddLearner, peer, PeerRole::Learner);
        match self {
            Self::TransferLeader { to } => OrderKind::TransferLeader(to.clone()),
            Self::AddLearner { peer } | Self::Demote { peer } => learner(peer),
            Self::Promote { peer } => single(PeerChangeKind::AddVoter, peer, PeerRole::Voter),
            Self::RemovePeer { peer } => single(PeerChangeKind::Remove, peer, peer.role),
            Self::EnterJoint { promote, demote } => {
                let change = |kind, role| move |peer: &Peer| PeerChange { kind, peer: Peer { role, ..*peer } };
                let promoted = promote.iter().map(change(PeerChangeKind::AddVoter, PeerRole::Voter));
                let demoted = demote.iter().map(change(PeerChangeKind::AddLearner, PeerRole::Learner));
                OrderKind::ChangePeers(promoted.chain(demoted).collect())
            }
            Self::LeaveJoint => OrderKind::ChangePeers(Vec::new()),
            Self::Split { policy, .. } => OrderKind::Split(policy.clone()),
        }
    }
}

/// Works out what memberships the steps go through, from `start` on.
pub(crate) fn stages(start: Members, steps: Vec<Step>) -> Result<Vec<Stage>, Misfit> {
    let mut before = start;
    steps
        .into_iter()
        .map(|step| {
            let after = step.effect(&before)?;
            let stage = Stage { step, before: std::mem::replace(&mut before, after.clone()), after };
            Ok(stage)
        })
        .collect()
}

impl Stage {
    /// Where the step stands in a region, given the steps behind it: a leader that goes ahead by itself (it leaves joint
    /// configurations and promotes learners) is as good as one that obeys.
    pub(crate) fn progress(&self, region: &RegionState, later: &[Self]) -> Progress {
        let now = Members::of(&region.descriptor);
        let is_at = |members: &Members| *members == now;
        if let Step::Split { version, .. } = self.step {
            // A split is not concerned with who the members are.
            return if region.descriptor.epoch.version > version {
                Progress::Finished
            } else {
                Progress::UnderWay { order: true }
            };
        }
        if self.before == self.after {
            return match later.iter().any(|stage| stage.before != stage.after && is_at(&stage.after)) {
                true => Progress::Finished,
                false if is_at(&self.before) => self.transfer_progress(region),
                false => Progress::Impossible(MOVED_OTHERWISE),
            };
        }
        if is_at(&self.before) {
            return Progress::UnderWay { order: true };
        }
        if !is_at(&self.after) {
            let is_ahead = later.iter().any(|stage| is_at(&stage.after));
            return if is_ahead { Progress::Finished } else { Progress::Impossible(MOVED_OTHERWISE) };
        }
        match self.step {
            Step::AddLearner { peer } if !region.keeps_up(peer.id) => Progress::UnderWay { order: false },
            _ => Progress::Finished,
        }
    }

    fn transfer_progress(&self, region: &RegionState) -> Progress {
        let Step::TransferLeader { to } = &self.step else { return Progress::Finished };
        if to.iter().any(|peer| peer.id == region.leader.id) {
            return Progress::Finished;
        }
        if to.iter().any(|peer| region.keeps_up(peer.id)) {
            return Progress::UnderWay { order: true };
        }
        Progress::Impossible("no peer that could take the leadership keeps up")
    }
}

pub(crate) const MOVED_OTHERWISE: &str = "the region's membership moved otherwise";
