//! Opening a store, and driving it on one thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use apply::RegionApplier;
use engine::{Durability, LogBatch, LogOp, WriterId};
use parking_lot::Mutex;
use region::{Input, Region, Restored, Role};
use runtime::system::{System, SystemConfig};
use slog::{info, o};
use types::{PlantedBug, Responder};

use crate::apply_poller::{ApplyActor, ApplyHandler};
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::handle::{RegionView, StoreHandle};
use crate::log_writer::LogWriter;
use crate::raft_poller::{RaftActor, RaftHandler};
use crate::recovery::{read_round, recover, replay_targets};
use crate::shared::{Engines, Shared, Status, Surroundings};
use crate::table::RegionTable;
use crate::upkeep::{CleanUpQueue, Upkeep};

/// A store that was opened and does not run yet.
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens a bootstrapped store: reads both engines, checks that they fit each other, and restores every peer (D8).
    ///
    /// # Errors
    /// When the store is not bootstrapped, when an engine fails, or when the engines contradict each other.
    pub fn open(config: StoreConfig, engines: Engines, around: Surroundings) -> Result<Self, StoreError> {
        let recovered = recover(&engines, config.planted)?;
        let ident = recovered.ident;
        let around = Surroundings { logger: around.logger.new(o!("store_id" => ident.store.0)), ..around };
        let instances: BTreeMap<_, _> = engines.log.instances()?.into_iter().collect();
        let system = SystemConfig {
            mailbox_capacity: config.mailbox_capacity,
            actors_per_round: config.regions_per_round,
            messages_per_round: config.messages_per_round,
        };
        let shared = Arc::new(Shared {
            ident,
            raft: System::new(format!("raft-{}", ident.store), system, around.metrics.raft_system.clone()),
            apply: System::new(format!("apply-{}", ident.store), system, around.metrics.apply_system.clone()),
            table: RegionTable::default(),
            clean_up: CleanUpQueue::default(),
            status: Status::new(replay_targets(&recovered.regions), Arc::clone(&around.metrics)),
            instances: Mutex::new(instances),
            config,
            engines,
            around,
        });
        delete_truncated(&shared, &recovered.regions)?;
        let count = recovered.regions.len();
        for restored in recovered.regions {
            register(&shared, restored)?;
        }
        shared.around.metrics.regions.set(count as i64);
        info!(shared.around.logger, "store opened";
            "cluster_id" => ident.cluster.0, "instance" => format!("{:016x}", ident.instance.0),
            "regions" => count, "replaying" => shared.status.replaying());
        Ok(Self { shared })
    }

    /// What everyone else sees of the store.
    pub fn handle(&self) -> StoreHandle {
        StoreHandle::new(Arc::clone(&self.shared))
    }

    pub(crate) fn into_shared(self) -> Arc<Shared> {
        self.shared
    }

    /// Drives the store on the calling thread.
    ///
    /// # Errors
    /// The state engine's.
    pub fn into_stepper(self) -> Result<Stepper, StoreError> {
        let writer = LogWriter::Inline(Arc::clone(&self.shared));
        Ok(Stepper {
            raft: RaftHandler::new(Arc::clone(&self.shared), writer),
            apply: apply_handler(&self.shared, 0)?,
            upkeep: Upkeep::new(),
            shared: self.shared,
        })
    }
}

/// Deletes what a compaction before the restart made unneeded: what S holds when it is opened is durable (D5).
fn delete_truncated(shared: &Shared, regions: &[Restored]) -> Result<(), StoreError> {
    let delete = |restored: &Restored| LogOp::DeleteTo {
        region: restored.descriptor.id,
        peer: restored.peer.id,
        end: restored.apply_state.truncated.next(),
    };
    let batch = LogBatch { ops: regions.iter().map(delete).collect() };
    if !batch.is_empty() {
        shared.engines.log.write(batch, Durability::Buffered)?;
    }
    Ok(())
}

fn register(shared: &Arc<Shared>, restored: Restored) -> Result<(), StoreError> {
    let id = restored.descriptor.id;
    let descriptor = Arc::new(restored.descriptor.clone());
    let (peer, apply_state, term) = (restored.peer, restored.apply_state, restored.hard_state.term);
    let log = Arc::clone(&shared.engines.log);
    let region = Region::new(Arc::new(shared.config.region.clone()), restored, log, &shared.around.logger)?;
    let role = Role::Follower;
    shared.table.insert(RegionView { descriptor: Arc::clone(&descriptor), peer, role, term, leader: None });
    let applier = RegionApplier::new(descriptor, peer.id, apply_state);
    shared.apply.register(id.0, ApplyActor { applier });
    shared.raft.register(id.0, RaftActor::new(id, region));
    // The first round makes what was committed before the restart be replayed without waiting for a message.
    let _ = shared.raft.force_send(id.0, Input::Inspect(Responder::new(|_| {})));
    Ok(())
}

pub(crate) fn apply_handler(shared: &Arc<Shared>, number: u16) -> Result<ApplyHandler, StoreError> {
    let shares = shared.config.planted.has(PlantedBug::RoundKeyShared);
    let writer = WriterId::Apply(if shares { 0 } else { number });
    let written = read_round(&*shared.engines.state, writer)?;
    Ok(ApplyHandler::new(Arc::clone(shared), writer, written))
}

/// Makes every region's clock tick once.
pub(crate) fn tick(shared: &Shared) {
    if shared.is_running() {
        shared.raft.broadcast(|_| Input::Tick);
    }
}

/// A store that is driven on one thread, a round at a time; for tests, the simulator, and whoever has no threads.
pub struct Stepper {
    shared: Arc<Shared>,
    raft: RaftHandler,
    apply: ApplyHandler,
    upkeep: Upkeep,
}

impl Stepper {
    /// What everyone else sees of the store.
    pub fn handle(&self) -> StoreHandle {
        StoreHandle::new(Arc::clone(&self.shared))
    }

    /// Lets one tick of raft's clock pass for every region; their work waits for [`step`](Self::step).
    pub fn tick(&mut self) {
        tick(&self.shared);
    }

    /// One round of raft and one of apply. False when there was nothing to do.
    pub fn step(&mut self) -> bool {
        let stepped = self.shared.raft.poll_once(&mut self.raft);
        self.shared.apply.poll_once(&mut self.apply) || stepped
    }

    /// Steps until there is nothing to do.
    pub fn run_until_idle(&mut self) {
        while self.step() {}
    }

    /// Looks at the flush watermark, and deletes what it has passed.
    pub fn run_upkeep(&mut self) {
        self.guarded(|upkeep, shared| upkeep.run(shared, shared.around.clock.now()));
    }

    /// Makes everything that is applied durable, and deletes what that allows to be deleted.
    pub fn flush(&mut self) {
        self.guarded(|upkeep, shared| upkeep.flush_and_clean(shared, shared.around.clock.now()));
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Upkeep, &Shared) -> Result<(), StoreError>) {
        if self.shared.is_running()
            && let Err(error) = work(&mut self.upkeep, &self.shared)
        {
            self.shared.fail(error);
        }
    }
}
