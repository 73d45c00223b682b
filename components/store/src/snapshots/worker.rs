//! Building snapshots and hashing regions, beside the pollers.

use std::sync::Arc;

use apply::hash_region;
use region::{BuildSnapshot, BuiltSnapshot, Input};
use slog::{info, warn};
use snapshot::{BuildStep, Builder, Direction, SnapshotSource, Transfer};

use crate::error::StoreError;
use crate::hashes::HashOrder;
use crate::shared::Shared;

/// Bytes that one step reads or writes, about.
const STEP_BYTES: usize = 1 << 20;

struct Building {
    order: BuildSnapshot,
    builder: Builder,
    transfer: Transfer,
    source: BuiltSnapshot,
}

/// Does what is slow and may wait: one snapshot at a time.
pub(crate) struct SnapshotWorker {
    shared: Arc<Shared>,
    building: Option<Building>,
}

impl SnapshotWorker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, building: None }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether anything is begun or could be.
    pub(crate) fn has_work(&self) -> bool {
        self.building.is_some()
            || self.may_build() && !self.shared.snapshots.outgoing.queue().is_empty()
            || !self.shared.hashes.queue().is_empty()
    }

    /// Whether a snapshot may be begun. Orders wait until one may: raft would ask again with the next heartbeat.
    pub(crate) fn may_build(&self) -> bool {
        let snapshots = &self.shared.snapshots;
        snapshots.transfers.count(Direction::Outgoing) < snapshots.outgoing.config.limits.outgoing
    }

    /// One bounded step; hashing a region is one. False when there is nothing to do.
    pub(crate) fn step(&mut self) -> Result<bool, StoreError> {
        if let Some(building) = self.building.take() {
            self.build(building);
            return Ok(true);
        }
        if self.may_build()
            && let Ok(order) = self.shared.snapshots.outgoing.queue().try_recv()
        {
            self.begin(order);
            return Ok(true);
        }
        let Ok(order) = self.shared.hashes.queue().try_recv() else { return Ok(false) };
        self.hash(order)?;
        Ok(true)
    }

    /// Begins a snapshot, as of this moment.
    pub(crate) fn begin(&mut self, order: BuildSnapshot) {
        let shared = &self.shared;
        if !shared.snapshots.outgoing.is_wanted(&order) {
            return;
        }
        let now = shared.around.clock.now();
        let begun = shared.snapshots.transfers.begin(Direction::Outgoing, order.region, order.to.store_id, now);
        let transfer = match begun {
            Ok(transfer) => transfer,
            Err(refused) => return self.give_up(&order, &refused),
        };
        // Batches are whole, so any moment will do; what it holds is applied, hence durable in a quorum's logs.
        let source = match SnapshotSource::read(order.region, shared.engines.state.snapshot()) {
            Ok(source) if source.index >= order.at_least => source,
            Ok(_) => return self.give_up(&order, &"not enough is applied yet"),
            Err(error) => return self.give_up(&order, &error),
        };
        let built = BuiltSnapshot { descriptor: source.region.clone(), index: source.index, term: source.term };
        let key = shared.snapshots.outgoing.numbers.key(Direction::Outgoing, order.region, source.index);
        let (state, files) = (Arc::clone(&shared.engines.state), Arc::clone(&shared.engines.files));
        let builder = Builder::new(state, files, key, source, shared.config.snapshots.build);
        self.building = Some(Building { order, builder, transfer, source: built });
    }

    fn build(&mut self, mut building: Building) {
        if building.transfer.cancelled().is_some() || !self.shared.snapshots.outgoing.is_wanted(&building.order) {
            return;
        }
        match building.builder.step(STEP_BYTES) {
            Ok(BuildStep::More) => {
                building.transfer.progress(building.builder.bytes_done());
                self.building = Some(building);
            }
            Ok(BuildStep::Built(snapshot)) => {
                let Building { order, transfer, source, .. } = building;
                transfer.count_bytes(snapshot.manifest().file_bytes());
                info!(self.shared.around.logger, "snapshot built"; "region" => order.region.0,
                    "to" => order.to.id.0, "index" => source.index.0, "bytes" => snapshot.manifest().file_bytes());
                if self.shared.snapshots.outgoing.built(&order, Some((Arc::new(snapshot), transfer))) {
                    self.tell(&order, Some(source));
                }
            }
            Err(error) => self.give_up(&building.order, &error),
        }
    }

    /// Tells raft, which asks again as long as its member needs one.
    fn give_up(&self, order: &BuildSnapshot, reason: &dyn std::fmt::Display) {
        warn!(self.shared.around.logger, "no snapshot is built"; "region" => order.region.0,
            "to" => order.to.id.0, "reason" => %reason);
        if self.shared.snapshots.outgoing.built(order, None) {
            self.tell(order, None);
        }
    }

    fn tell(&self, order: &BuildSnapshot, built: Option<BuiltSnapshot>) {
        let input = Input::SnapshotBuilt { generation: order.generation, to: order.to.id, built };
        // A region that is gone needs no completion.
        let _ = self.shared.raft.force_send(order.region.0, input.into());
    }

    pub(crate) fn hash(&self, order: HashOrder) -> Result<(), StoreError> {
        let HashOrder { generation, task } = order;
        let hash = hash_region(&task)?;
        let input = Input::HashComputed { generation, index: task.index, hash };
        let _ = self.shared.raft.force_send(task.descriptor.id.0, input.into());
        Ok(())
    }
}
