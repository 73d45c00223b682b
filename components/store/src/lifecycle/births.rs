//! Children of a split (D7, D11).
//!
//! Apply has written the child's records beside its parent's; now its peer begins. Its record in L, the hard state that it
//! starts from and its parent's commit floor ride in the batch of the round in which its parent heard of the split: durable
//! before the child can ask for anything itself, and without a sync of their own.

use std::sync::Arc;

use engine::{Birth, Child, Durability, HardState, Lifecycle, LogBatch, LogOp};
use region::{Input, Split};
use slog::info;
use types::{LogIndex, PeerId, PlantedBug, RegionDescriptor, RegionId};

use super::claims::How;
use super::{Task, early};
use crate::error::StoreError;
use crate::peers::NewPeer;
use crate::raft_poller::RaftMessage;
use crate::recovery::restore_region;
use crate::shared::Shared;

/// A child that takes the place of a peer which a message had made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakeOver {
    lifecycle: Lifecycle,
    pub(crate) campaign: bool,
}

impl TakeOver {
    /// Writes the child's record; its parent's commit floor was raised before. Nobody else writes for this region now.
    pub(crate) fn write(&self, shared: &Shared, region: RegionId) -> Result<(), StoreError> {
        let mut ops = vec![LogOp::PutLifecycle { region, lifecycle: self.lifecycle }];
        if let Some(peer) = self.lifecycle.peer
            && shared.config.planted.has(PlantedBug::TakeoverForgetsVote)
        {
            ops.push(LogOp::Append { region, peer, entries: Vec::new(), hard_state: HardState::BORN });
        }
        Ok(shared.engines.log.write(LogBatch { ops }, Durability::Synced)?)
    }
}

/// A split that is applied, and whose children are to begin.
#[derive(Debug)]
pub(crate) struct Births {
    parent: RegionId,
    parent_peer: PeerId,
    index: LogIndex,
    derived: Arc<RegionDescriptor>,
    children: Vec<Child>,
    campaign: bool,
}

impl From<Split> for Births {
    fn from(split: Split) -> Self {
        let Split { region, peer, index, derived, children, campaign } = split;
        Self { parent: region, parent_peer: peer, index, derived, children, campaign }
    }
}

impl Births {
    fn lifecycle(&self, child: &Child) -> Lifecycle {
        let birth = Birth::Split { parent: self.parent, parent_peer: self.parent_peer, index: self.index };
        Lifecycle { peer: Some(child.peer.id), next_peer: PeerId(child.peer.id.0 + 1), birth }
    }

    /// What must be durable in L before any child begins.
    pub(crate) fn log_ops(&self, shared: &Shared) -> Vec<LogOp> {
        let planted = shared.config.planted;
        let mut ops = vec![LogOp::RaiseCommitFloor { region: self.parent, floor: self.index }];
        if planted.has(PlantedBug::FloorNotRaised) {
            ops.clear();
        }
        for child in self.children.iter().filter(|child| child.created) {
            let region = child.descriptor.id;
            if shared.lifecycle.claims.making(region) == Some(How::Anew) {
                let lifecycle = self.lifecycle(child);
                let (peer, hard_state) = (child.peer.id, HardState::BORN);
                if !planted.has(PlantedBug::ChildRecordLate) {
                    ops.push(LogOp::PutLifecycle { region, lifecycle });
                }
                ops.push(LogOp::Append { region, peer, entries: Vec::new(), hard_state });
            }
        }
        ops
    }

    /// Lets the children begin, now that L knows of them, and shows everyone where the keys are.
    pub(crate) fn begin(self, shared: &Arc<Shared>) -> Result<(), StoreError> {
        // First: what the lifecycle's thread clears, for a child without a place or for the parent's end, is by its claims.
        shared.lifecycle.claims.shrinks(self.parent, self.derived.range.clone());
        let mut born = Vec::new();
        for child in &self.children {
            let (region, range) = (child.descriptor.id, child.descriptor.range.clone());
            if !child.created {
                shared.lifecycle.push(Task::Clear(range));
                continue;
            }
            info!(shared.around.logger, "peer made by a split";
                "region" => region.0, "peer" => child.peer.id.0, "parent" => self.parent.0, "range" => %range);
            match shared.lifecycle.claims.making(region) {
                Some(How::TakingOver) => {
                    let take_over = TakeOver { lifecycle: self.lifecycle(child), campaign: self.campaign };
                    let _ = shared.raft.force_send(region.0, RaftMessage::TakeOver(take_over));
                }
                Some(How::Anew | How::Awaking) => {
                    let generation = shared.lifecycle.claims.next_generation(region);
                    let restored = restore_region(shared, region, generation)?;
                    shared.lifecycle.claims.lives(region, child.peer.id, range);
                    born.push(NewPeer::new(shared, restored)?);
                }
                None => {}
            }
        }
        let views = born.iter().filter_map(|peer| peer.view.clone());
        for view in shared.table.split(&self.derived, views) {
            shared.around.observer.region_changed(&view);
        }
        for peer in born {
            let region = peer.region();
            peer.begin(shared);
            early::deliver(shared, region);
            if self.campaign {
                let _ = shared.raft.force_send(region.0, Input::Campaign.into());
            }
        }
        Ok(())
    }
}
