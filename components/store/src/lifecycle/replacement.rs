//! A snapshot in the place of a peer's log and state (D10).
//!
//! | step | what is durable behind it | a crash before the next one |
//! |---|---|---|
//! | reserved, first fence | whose keys these are | the peer is there as before, and is sent a snapshot again |
//! | marked | L has the marker and an empty log; the files are kept | the restart installs it |
//! | installed | the files | the restart installs it again, from the clearing on |
//! | second fence | S has the region | the restart installs it again |
//! | unmarked | nothing more | |

use engine::{Birth, Durability, Lifecycle, LogBatch, LogOp, SnapshotMarker};
use observe::metrics::SnapshotOutcome;
use region::ApplySnapshot;
use slog::{info, warn};
use snapshot::{Received, Transfer};
use types::{KeyRange, PeerId, PlantedBug, PlantedBugs};

use super::install;
use super::worker::{Step, Tools};
use crate::error::StoreError;
use crate::raft_poller::RaftMessage;

enum Stage {
    Reserve,
    Mark,
    Install,
    Unmark,
}

/// A peer that begins anew from a snapshot. Its machine has ended, and nothing of it is on its way to an engine any more.
pub(crate) struct Replacement {
    apply: ApplySnapshot,
    stage: Stage,
    /// From the reservation on.
    arrived: Option<(Received, Transfer)>,
    marker: Option<SnapshotMarker>,
}

impl Replacement {
    pub(crate) fn new(apply: ApplySnapshot) -> Self {
        Self { apply, stage: Stage::Reserve, arrived: None, marker: None }
    }

    pub(crate) fn step(&mut self, tools: &mut Tools<'_>) -> Result<Step, StoreError> {
        match self.stage {
            // Each snapshot brings small files; nothing has changed yet, and the peer can wait.
            Stage::Reserve if tools.shared.engines.state.is_crowded() => Ok(Step::Blocked),
            Stage::Reserve => Ok(self.reserve(tools)),
            Stage::Mark => self.mark(tools),
            Stage::Install => self.install(tools),
            Stage::Unmark => self.unmark(tools),
        }
    }

    /// The new range, and the old one, which may be larger.
    fn ranges(&self, planted: PlantedBugs) -> Vec<KeyRange> {
        let (old, new) = (&self.apply.old, &self.apply.descriptor.range);
        let new_alone = planted.has(PlantedBug::SnapshotClearsNewRange);
        if old.peers.is_empty() || new.encloses(&old.range) || new_alone {
            return vec![new.clone()];
        }
        vec![new.clone(), old.range.clone()]
    }

    fn reserve(&mut self, tools: &mut Tools<'_>) -> Step {
        let (shared, region) = (tools.shared, self.apply.descriptor.id);
        let (from, index) = (self.apply.from.id, self.apply.apply_state.applied);
        self.arrived = shared.snapshots.incoming.take(region, from, index);
        let reserved = self.arrived.is_some()
            && shared.lifecycle.claims.reserve(
                region,
                self.apply.peer.id,
                self.apply.generation,
                &self.ranges(shared.config.planted),
            );
        if !reserved {
            warn!(shared.around.logger, "snapshot given up: its keys are not free, or its data is gone";
                "region" => region.0, "index" => index.0);
            // What there was of it goes with the operation. A region that is gone needs no new machine.
            let _ = shared.raft.force_send(region.0, RaftMessage::Renew);
            return Step::Ended;
        }
        self.stage = Stage::Mark;
        if shared.config.planted.has(PlantedBug::SnapshotUnfenced) { Step::Done } else { Step::Fence }
    }

    fn mark(&mut self, tools: &mut Tools<'_>) -> Result<Step, StoreError> {
        let (received, _) = self.arrived.as_mut().expect("it was taken when the keys were reserved");
        // From here on the files are the marker's, and outlive the process.
        received.keep();
        let ApplySnapshot { peer, descriptor, apply_state, hard_state, .. } = &self.apply;
        let (region, log) = (descriptor.id, &tools.shared.engines.log);
        let known = log.region(region)?.and_then(|log| log.lifecycle);
        let next_peer = PeerId(peer.id.0 + 1).max(known.map_or(PeerId(0), |known| known.next_peer));
        let birth = known.map_or(Birth::Message, |known| known.birth);
        let lifecycle = Lifecycle { peer: Some(peer.id), next_peer, birth };
        let marker = SnapshotMarker {
            peer: peer.id,
            descriptor: descriptor.clone(),
            index: apply_state.applied,
            term: apply_state.applied_term,
            number: received.key().number,
            clear: tools.shared.lifecycle.claims.ranges(region),
            absorbed: Vec::new(),
        };
        let ops = vec![
            LogOp::PutMarker(Box::new(marker.clone())),
            LogOp::Remove { region, next_peer },
            LogOp::PutLifecycle { region, lifecycle },
            LogOp::Append { region, peer: peer.id, entries: Vec::new(), hard_state: *hard_state },
        ];
        tools.shared.clean_up.forget(region);
        log.write(LogBatch { ops }, Durability::Synced)?;
        self.marker = Some(marker);
        self.stage = Stage::Install;
        Ok(Step::Done)
    }

    fn install(&mut self, tools: &mut Tools<'_>) -> Result<Step, StoreError> {
        let marker = self.marker.as_ref().expect("it was written");
        let (received, _) = self.arrived.as_mut().expect("it was taken when the keys were reserved");
        install(tools.writer, marker, received)?;
        tools.note();
        self.stage = Stage::Unmark;
        let early = tools.shared.config.planted.has(PlantedBug::MarkerDroppedEarly);
        Ok(if early { Step::Done } else { Step::Fence })
    }

    fn unmark(&mut self, tools: &mut Tools<'_>) -> Result<Step, StoreError> {
        let ApplySnapshot { peer, descriptor, apply_state, .. } = &self.apply;
        let (shared, region) = (tools.shared, descriptor.id);
        let batch = LogBatch { ops: vec![LogOp::DropMarker { region }] };
        shared.engines.log.write(batch, Durability::Synced)?;
        if let Some((received, transfer)) = self.arrived.take() {
            received.remove()?;
            transfer.finish(SnapshotOutcome::Received, shared.around.clock.now());
        }
        shared.lifecycle.claims.lives(region, peer.id, descriptor.range.clone());
        info!(shared.around.logger, "snapshot applied"; "region" => region.0, "index" => apply_state.applied.0);
        // The store stops if there is nobody to tell.
        let _ = shared.raft.force_send(region.0, RaftMessage::Renew);
        Ok(Step::Ended)
    }
}
