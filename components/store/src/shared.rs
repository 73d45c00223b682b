//! What the parts of a store share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use engine::memory::MemDisk;
use engine::{EngineError, LogEngine, StateEngine, StoreIdent};
use observe::StoreMetrics;
use parking_lot::Mutex;
use runtime::clock::Clock;
use runtime::system::System;
use slog::{Logger, crit, info};
use snapshot::{MemoryFiles, SharedFiles};
use types::{InstanceId, LogIndex, RegionId, StoreId};

use crate::apply_poller::ApplyActor;
use crate::carrier::SnapshotCarrier;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::handle::{Outbox, StoreObserver, StoreState};
use crate::hashes::Hashes;
use crate::lifecycle::Lifecycle;
use crate::metrics::state_label;
use crate::raft_poller::RaftActor;
use crate::snapshots::Snapshots;
use crate::split::Splits;
use crate::table::RegionTable;
use crate::upkeep::CleanUpQueue;

/// The two engines of a store.
#[derive(Clone)]
pub struct Engines {
    /// The truth.
    pub log: Arc<dyn LogEngine>,
    /// The view of it that users read.
    pub state: Arc<dyn StateEngine>,
    /// Where snapshots lie on their way out and in; on the state engine's file system, so that files move by name.
    pub files: SharedFiles,
}

impl Engines {
    /// Those of a disk in memory, for tests and examples.
    ///
    /// # Errors
    /// The engines', when the disk has failed.
    pub fn in_memory(disk: &MemDisk) -> Result<Self, EngineError> {
        let files = Arc::new(MemoryFiles::open(disk));
        Ok(Self { log: Arc::new(disk.open_log()?), state: Arc::new(disk.open_state()?), files })
    }
}

/// What a store needs from outside.
#[derive(Clone)]
pub struct Surroundings {
    /// Carries messages to other stores.
    pub outbox: Arc<dyn Outbox>,
    /// Told of what happens.
    pub observer: Arc<dyn StoreObserver>,
    /// Carries snapshots to other stores.
    pub carrier: Arc<dyn SnapshotCarrier>,
    /// Tells the time, for metrics and for the age of what is not flushed.
    pub clock: Arc<dyn Clock>,
    /// Where the store counts.
    pub metrics: Arc<StoreMetrics>,
    /// Where it logs.
    pub logger: Logger,
}

pub(crate) struct Shared {
    pub(crate) ident: StoreIdent,
    pub(crate) config: StoreConfig,
    pub(crate) engines: Engines,
    pub(crate) around: Surroundings,
    pub(crate) raft: Arc<System<RaftActor>>,
    pub(crate) apply: Arc<System<ApplyActor>>,
    pub(crate) table: RegionTable,
    pub(crate) clean_up: CleanUpQueue,
    pub(crate) status: Status,
    pub(crate) splits: Splits,
    pub(crate) instances: Mutex<BTreeMap<StoreId, InstanceId>>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) snapshots: Snapshots,
    pub(crate) hashes: Hashes,
}

impl Shared {
    /// Stops everything because of a fatal error; only the first one counts.
    pub(crate) fn fail(&self, error: StoreError) {
        if self.status.fail() {
            crit!(self.around.logger, "the store cannot go on and stops";
                "store_id" => self.ident.store.0, "code" => error.code().0, "error" => %error);
            self.around.metrics.critical_errors.inc();
            self.around.observer.store_failed(&error);
        }
        self.raft.stop();
        self.apply.stop();
    }

    /// Whether the store takes requests and messages.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.status.get(), StoreState::Failed | StoreState::Stopped)
    }
}

/// The store's state, and the regions that still replay what was committed before it started.
pub(crate) struct Status {
    state: AtomicU8,
    metrics: Arc<StoreMetrics>,
    replaying: Mutex<BTreeMap<RegionId, LogIndex>>,
}

const STATES: [StoreState; 5] =
    [StoreState::Starting, StoreState::Serving, StoreState::Stopping, StoreState::Failed, StoreState::Stopped];

impl Status {
    /// Starting, until every region has applied up to its index.
    pub(crate) fn new(replaying: BTreeMap<RegionId, LogIndex>, metrics: Arc<StoreMetrics>) -> Self {
        let state = if replaying.is_empty() { StoreState::Serving } else { StoreState::Starting };
        metrics.set_state(state_label(state));
        Self { state: AtomicU8::new(state as u8), metrics, replaying: Mutex::new(replaying) }
    }

    pub(crate) fn get(&self) -> StoreState {
        STATES[usize::from(self.state.load(Ordering::Acquire))]
    }

    pub(crate) fn set(&self, state: StoreState) {
        self.state.store(state as u8, Ordering::Release);
        self.metrics.set_state(state_label(state));
    }

    /// Notes a failure; false when the store had failed or stopped already.
    fn fail(&self) -> bool {
        let failed = StoreState::Failed as u8;
        let change = |state| (state < failed).then_some(failed);
        let changed = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok();
        if changed {
            self.metrics.set_state(state_label(StoreState::Failed));
        }
        changed
    }

    /// Notes how far a region is applied; the last region that has replayed makes the store serve.
    pub(crate) fn applied(&self, region: RegionId, applied: LogIndex, logger: &Logger) {
        self.replayed(region, logger, |target| applied >= target);
    }

    /// Notes that a region's peer was removed: behind its own end it replays nothing.
    pub(crate) fn removed(&self, region: RegionId, logger: &Logger) {
        self.replayed(region, logger, |_| true);
    }

    fn replayed(&self, region: RegionId, logger: &Logger, is_done: impl Fn(LogIndex) -> bool) {
        if self.get() != StoreState::Starting {
            return;
        }
        let mut replaying = self.replaying.lock();
        if replaying.get(&region).is_some_and(|target| is_done(*target)) {
            replaying.remove(&region);
        }
        if replaying.is_empty() {
            let (starting, serving) = (StoreState::Starting as u8, StoreState::Serving as u8);
            let changed = self.state.compare_exchange(starting, serving, Ordering::AcqRel, Ordering::Acquire);
            if changed.is_ok() {
                self.metrics.set_state(state_label(StoreState::Serving));
                info!(logger, "the store has replayed its logs and serves");
            }
        }
    }

    /// How many regions still replay.
    pub(crate) fn replaying(&self) -> usize {
        self.replaying.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use observe::Registry;

    use super::*;

    #[test]
    fn a_store_serves_once_every_region_has_replayed_or_is_gone() {
        let metrics = Arc::new(StoreMetrics::new(&Registry::new(), StoreId(1)));
        let targets = BTreeMap::from([(RegionId(1), LogIndex(9)), (RegionId(2), LogIndex(9))]);
        let (status, logger) = (Status::new(targets, metrics), observe::discard_logger());
        status.applied(RegionId(1), LogIndex(8), &logger);
        status.removed(RegionId(2), &logger);
        assert_eq!((status.get(), status.replaying()), (StoreState::Starting, 1));
        status.applied(RegionId(1), LogIndex(9), &logger);
        assert_eq!(status.get(), StoreState::Serving);
    }
}
