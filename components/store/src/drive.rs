//! Opening a store, and driving it on one thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::bounded;
use engine::{Durability, LogBatch, LogOp, WriterId};
use parking_lot::Mutex;
use region::{Input, Restored};
use runtime::system::{System, SystemConfig};
use slog::{info, o};
use types::{Instant, PlantedBug, RegionId};

use crate::apply_poller::ApplyHandler;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::handle::{StoreHandle, StoreState};
use crate::hashes::Hashes;
use crate::lifecycle::{Claims, Lifecycle, LifecycleWorker};
use crate::log_writer::{LogWriter, QUEUED_ROUNDS, RoundWriter};
use crate::panic::catch;
use crate::peers::NewPeer;
use crate::raft_poller::RaftHandler;
use crate::recovery::{read_round, recover, replay_targets};
use crate::shared::{Engines, Shared, Status, Surroundings};
use crate::snapshots::{SnapshotWorker, Snapshots};
use crate::split::Splits;
use crate::split::checker::SplitChecker;
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
        let recovered = recover(&engines, config.planted, &around.logger)?;
        fail_point!("open-recovered");
        let ident = recovered.ident;
        let next_snapshot = recovered.next_snapshot;
        let snapshots = Snapshots::new(config.snapshots, &engines, next_snapshot, &around.metrics.snapshots);
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
            status: Status::new(replay_targets(&recovered.peers), Arc::clone(&around.metrics)),
            splits: Splits::new(config.region.seed),
            instances: Mutex::new(instances),
            lifecycle: Lifecycle::new(Claims::new(recovered.claims)),
            snapshots,
            hashes: Hashes::default(),
            config,
            engines,
            around,
        });
        delete_truncated(&shared, &recovered.peers)?;
        fail_point!("open-logs-deleted");
        for restored in recovered.peers {
            let peer = NewPeer::new(&shared, restored)?;
            if let Some(view) = peer.view.clone() {
                shared.table.insert(view);
            }
            peer.begin(&shared);
        }
        let count = shared.table.len();
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

    /// Drives the store on the calling thread, with as many pollers as are configured.
    ///
    /// # Errors
    /// The state engine's.
    pub fn into_stepper(self) -> Result<Stepper, StoreError> {
        let shared = self.shared;
        let (queue, rounds) = bounded(QUEUED_ROUNDS);
        let threaded = shared.config.log_writer_thread;
        let raft = (0..shared.config.raft_pollers.max(1)).map(|_| {
            let writer =
                if threaded { LogWriter::Queued(queue.clone()) } else { LogWriter::Inline(Arc::clone(&shared)) };
            RaftHandler::new(Arc::clone(&shared), writer)
        });
        let raft = raft.collect();
        let apply: Result<Vec<_>, _> =
            (0..shared.config.apply_pollers.max(1)).map(|number| apply_handler(&shared, number as u16)).collect();
        let writer = threaded.then(|| RoundWriter::new(Arc::clone(&shared), rounds));
        let lifecycle = LifecycleWorker::new(Arc::clone(&shared))?;
        let snapshots = SnapshotWorker::new(Arc::clone(&shared));
        let (upkeep, split_checker) = (Upkeep::new(), SplitChecker::new());
        Ok(Stepper { raft, apply: apply?, writer, upkeep, lifecycle, snapshots, split_checker, shared })
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

pub(crate) fn apply_handler(shared: &Arc<Shared>, number: u16) -> Result<ApplyHandler, StoreError> {
    let shares = shared.config.planted.has(PlantedBug::RoundKeyShared);
    let writer = WriterId::Apply(if shares { 0 } else { number });
    let written = read_round(&*shared.engines.state, writer)?;
    Ok(ApplyHandler::new(Arc::clone(shared), writer, written))
}

/// Does a step of a worker. The store fails by its error, or by its panic.
pub(crate) fn guarded(shared: &Shared, step: impl FnOnce() -> Result<bool, StoreError>) -> bool {
    match catch(step) {
        Ok(Ok(stepped)) => stepped,
        Ok(Err(error)) => {
            shared.fail(error);
            false
        }
        Err(cause) => {
            shared.fail(StoreError::Panic { region: RegionId(0), cause });
            false
        }
    }
}

/// Makes every region's clock tick once.
pub(crate) fn tick(shared: &Shared) {
    if shared.is_running() {
        shared.raft.broadcast(|_| Input::Tick.into());
    }
}

/// A store that is driven on one thread, a round at a time; for tests, the simulator, and whoever has no threads.
///
/// [`step`](Self::step) does a bit of everything in turn. Whoever wants to choose what happens next, as a scheduler of
/// threads does, steps each poller and the log writer by itself: they are the ones that [`RunningStore`](crate::RunningStore) has
/// threads for.
pub struct Stepper {
    shared: Arc<Shared>,
    raft: Vec<RaftHandler>,
    apply: Vec<ApplyHandler>,
    /// The log writer's end, where the log is not written by the raft pollers.
    writer: Option<RoundWriter>,
    upkeep: Upkeep,
    lifecycle: LifecycleWorker,
    snapshots: SnapshotWorker,
    split_checker: SplitChecker,
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

    /// One round of each raft poller, of the log writer and of each apply poller. False when there was nothing to do.
    pub fn step(&mut self) -> bool {
        let mut stepped = false;
        for poller in 0..self.raft.len() {
            stepped |= self.step_raft(poller, |_| Some(0));
        }
        stepped |= self.step_log_writer();
        for poller in 0..self.apply.len() {
            stepped |= self.step_apply(poller, |_| Some(0));
        }
        stepped |= self.step_lifecycle();
        stepped |= self.step_snapshots();
        stepped
    }

    /// Whether anything waits for the lifecycle's queue or is on its way through it. It may have to wait for a fence, see
    /// [`lifecycle_due`](Self::lifecycle_due), or for another poller.
    pub fn has_lifecycle_work(&self) -> bool {
        self.lifecycle.has_work()
    }

    /// When a step of the lifecycle has something to do although nothing new came to it: a fence.
    pub fn lifecycle_due(&self) -> Option<Instant> {
        self.lifecycle.due()
    }

    /// One durable step of births, removals and snapshots in place of what peers had. False when there was nothing to do.
    pub fn step_lifecycle(&mut self) -> bool {
        self.shared.is_running() && guarded(&self.shared, || self.lifecycle.step())
    }

    /// Whether snapshots are to be built or regions to be hashed.
    pub fn has_snapshot_work(&self) -> bool {
        self.snapshots.has_work()
    }

    /// One bounded step of building snapshots and hashing regions. False when there was nothing to do.
    pub fn step_snapshots(&mut self) -> bool {
        self.shared.is_running() && guarded(&self.shared, || self.snapshots.step())
    }

    /// Steps until there is nothing to do.
    pub fn run_until_idle(&mut self) {
        while self.step() {}
    }

    /// How many raft pollers there are.
    pub fn raft_pollers(&self) -> usize {
        self.raft.len()
    }

    /// How many apply pollers there are.
    pub fn apply_pollers(&self) -> usize {
        self.apply.len()
    }

    /// Whether a round of raft would do anything: regions wait, and the log writer has room for what they will write.
    pub fn has_raft_work(&self) -> bool {
        self.shared.raft.queued() > 0 && self.writer.as_ref().is_none_or(|writer| writer.waiting() < QUEUED_ROUNDS)
    }

    /// Whether a round of apply would do anything.
    pub fn has_apply_work(&self) -> bool {
        self.shared.apply.queued() > 0
    }

    /// Whether rounds wait for the log writer. Never where the raft pollers write the log themselves.
    pub fn has_log_work(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.waiting() > 0)
    }

    /// One round of a raft poller, with the regions that `pick` chooses: see `System::poll_picking`. False when it had
    /// nothing to do, or no room for what it would have written.
    ///
    /// # Panics
    /// When there is no such poller.
    pub fn step_raft(&mut self, poller: usize, pick: impl FnMut(usize) -> Option<usize>) -> bool {
        self.has_raft_work() && self.shared.raft.poll_picking(&mut self.raft[poller], pick)
    }

    /// One round of an apply poller, with the regions that `pick` chooses. False when it had nothing to do.
    ///
    /// # Panics
    /// When there is no such poller.
    pub fn step_apply(&mut self, poller: usize, pick: impl FnMut(usize) -> Option<usize>) -> bool {
        self.shared.apply.poll_picking(&mut self.apply[poller], pick)
    }

    /// The log writer takes the rounds that wait for it. What comes later waits for its next turn, and a store that is
    /// dropped before [`write_rounds`](Self::write_rounds) has never written them. False when there is nothing to write.
    pub fn take_rounds(&mut self) -> bool {
        self.writer.as_mut().is_some_and(RoundWriter::take)
    }

    /// The log writer writes what it took, and tells the regions.
    pub fn write_rounds(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.write();
        }
    }

    /// The log writer takes what waits and writes it. False when there was nothing.
    pub fn step_log_writer(&mut self) -> bool {
        let took = self.take_rounds();
        self.write_rounds();
        took
    }

    /// Looks at the flush watermark, and deletes what it has passed.
    pub fn run_upkeep(&mut self) {
        self.guarded(|upkeep, shared| upkeep.run(shared, shared.around.clock.now()));
    }

    /// Looks over the regions that the store leads, and begins the splits that are due.
    pub fn run_split_check(&mut self) {
        if self.shared.is_running()
            && let Err(error) = self.split_checker.run(&self.shared, self.shared.around.clock.now())
        {
            self.shared.fail(error);
        }
    }

    /// Makes everything that is applied durable, and deletes what that allows to be deleted.
    pub fn flush(&mut self) {
        self.guarded(|upkeep, shared| upkeep.flush_and_clean(shared, shared.around.clock.now()));
    }

    /// Stops the store in order: does what is queued, and makes what is applied durable. Leaders are not handed over.
    ///
    /// # Errors
    /// When the last flush fails. Nothing acknowledged is lost by that.
    pub fn stop(mut self) -> Result<(), StoreError> {
        if !self.shared.is_running() {
            return Ok(());
        }
        self.shared.status.set(StoreState::Stopping);
        self.run_until_idle();
        if !self.shared.is_running() {
            return Ok(());
        }
        let flushed = self.shared.engines.state.flush();
        self.shared.status.set(StoreState::Stopped);
        Ok(flushed?)
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Upkeep, &Shared) -> Result<(), StoreError>) {
        if self.shared.is_running()
            && let Err(error) = work(&mut self.upkeep, &self.shared)
        {
            self.shared.fail(error);
        }
    }
}
