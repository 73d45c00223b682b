//! Removing a peer and its data, once and for good (D9).
//!
//! | step | what is durable behind it | a crash before the next one |
//! |---|---|---|
//! | gone | nothing yet | the peer is there as before, and is told again |
//! | fence | S has no records of it, but `gone` | the restart goes on with forgetting |
//! | forgotten | L has its next peer id, and nothing else of it | the restart goes on with clearing |
//! | cleared | nothing more | the restart clears again |

use engine::{Durability, Family, LogBatch, LogOp, StateBatch, meta};
use region::Destroy;
use slog::info;
use types::{PeerId, PlantedBug};

use super::clear;
use super::worker::{Step, Tools};
use crate::error::StoreError;

enum Stage {
    Begin,
    Forget,
    Clear,
}

/// A peer on its way out. Its machine has ended, and nothing of it is on its way to an engine any more.
pub(crate) struct Removal {
    destroy: Destroy,
    stage: Stage,
}

impl Removal {
    pub(crate) fn new(destroy: Destroy) -> Self {
        Self { destroy, stage: Stage::Begin }
    }

    /// A peer that was never initialised has neither records nor data.
    fn had_range(&self) -> bool {
        !self.destroy.descriptor.peers.is_empty()
    }

    pub(crate) fn step(&mut self, tools: &mut Tools<'_>) -> Result<Step, StoreError> {
        match self.stage {
            Stage::Begin => self.begin(tools),
            Stage::Forget => self.forget(tools),
            Stage::Clear => self.clear(tools),
        }
    }

    fn begin(&mut self, tools: &mut Tools<'_>) -> Result<Step, StoreError> {
        let region = self.destroy.descriptor.id;
        // The births that it fathered must be flushed with its end: their log is its own (D9).
        if tools.shared.lifecycle.claims.is_giving_birth(region) {
            return Ok(Step::Blocked);
        }
        self.stage = Stage::Forget;
        if !self.had_range() {
            return Ok(Step::Done);
        }
        // The machine may have ended before it heard of its last split: what was cut off is other regions' by now.
        let applied = meta::read_descriptor(&*tools.shared.engines.state, region)?;
        let range = applied.map_or_else(|| self.destroy.descriptor.range.clone(), |applied| applied.range);
        let gone = meta::Gone { region, peer: self.destroy.peer, range, merged_into: None };
        let mut batch = StateBatch::default();
        meta::put_gone(&mut batch, &gone);
        tools.write(batch)?;
        let early = tools.shared.config.planted.has(PlantedBug::RemovalUnfenced);
        Ok(if early { Step::Done } else { Step::Fence })
    }

    fn forget(&mut self, tools: &mut Tools<'_>) -> Result<Step, StoreError> {
        let region = self.destroy.descriptor.id;
        let forgets = tools.shared.config.planted.has(PlantedBug::NextPeerForgotten);
        let next_peer = if forgets { PeerId(0) } else { self.destroy.next_peer };
        // One that was fenced has a marker.
        let ops = vec![LogOp::Remove { region, next_peer }, LogOp::DropMarker { region }];
        let batch = LogBatch { ops };
        tools.shared.clean_up.forget(region);
        tools.shared.engines.log.write(batch, Durability::Synced)?;
        self.stage = Stage::Clear;
        Ok(Step::Done)
    }

    fn clear(&mut self, tools: &mut Tools<'_>) -> Result<Step, StoreError> {
        let Destroy { descriptor, peer, next_peer, .. } = &self.destroy;
        if self.had_range() {
            let mut batch = StateBatch::default();
            for range in tools.shared.lifecycle.claims.ranges(descriptor.id) {
                clear(&mut batch, &range);
            }
            batch.delete(Family::Meta, meta::gone_key(descriptor.id, *peer));
            tools.write(batch)?;
        }
        let shared = tools.shared;
        shared.raft.close(descriptor.id.0);
        shared.apply.close(descriptor.id.0);
        shared.snapshots.incoming.forget(descriptor.id);
        shared.lifecycle.claims.left(descriptor.id, *next_peer);
        info!(shared.around.logger, "peer removed"; "region" => descriptor.id.0, "peer" => peer.0);
        Ok(Step::Ended)
    }
}
