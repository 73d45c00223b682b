//! What exists only while the coordinator leads: the loaded state, what heartbeats taught, and who waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use placement::{Command, Drain, OperatorId, Placement, RegionOrder, StoreLoad};
use types::{Instant, PeerId, PlantedBug, RegionId, StoreId, Term};

use crate::config::CoordinatorConfig;
use crate::error::CoordinatorError;
use crate::ids::IdAllocator;
use crate::machine::{Answer, Totals};
use crate::meta::Meta;
use crate::record::{ClusterRecord, Record, RecordWrite};
use crate::request::{Change, Held, IdBatch, Moment, Reply, Request, StoreOrders};
use crate::routing::{RegionInfo, RegionReport, RoutingTable};
use crate::store_info::{DISCONNECTED_AFTER, StoreRecord, StoreStats};
use crate::timestamp::{MAX_TIMESTAMPS, Timestamp, TimestampOracle, believed};
use crate::transaction::{Transaction, check_id_count};

/// Most changes that one write carries.
const MAX_CHANGES_PER_WRITE: usize = 128;

/// Most changes that wait for the write before theirs.
const MAX_WAITING_CHANGES: usize = 4096;

/// Most timestamp requests that wait for the bound to be moved.
const MAX_WAITING_TIMESTAMPS: usize = 16 << 10;

/// How often it is said that a store cannot be emptied.
const STALL_TOLD_EVERY: Duration = Duration::from_secs(60);

/// What a store's heartbeats said.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) at: Moment,
    pub(crate) stats: StoreStats,
}

#[derive(Debug)]
struct WaitingTimestamps {
    unix_ms: u64,
    count: u32,
    reply: Reply<Timestamp>,
}

/// A write that is worked out: what to write, the state after it, and the answers that wait for it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) writes: Vec<RecordWrite>,
    pub(crate) meta: Meta,
    pub(crate) held: Vec<Held>,
}

/// A leadership's state.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) term: Term,
    pub(crate) meta: Meta,
    pub(crate) regions: RoutingTable,
    pub(crate) heard: BTreeMap<StoreId, Heard>,
    /// When it began: stores that have not reported since count as heard of then.
    pub(crate) since: Instant,
    /// What was given away and not counted yet.
    pub(crate) totals: Totals,
    pub(crate) placement: Placement,
    /// Orders that are no answer to anybody.
    pub(crate) orders: Vec<RegionOrder>,
    /// Stores that leave and cannot be emptied just now, to be told of.
    pub(crate) stalled: Vec<(StoreId, Drain)>,
    /// When that was told last of each store that leaves.
    stall_told: BTreeMap<StoreId, Instant>,
    oracle: TimestampOracle,
    ids: IdAllocator,
    changes: VecDeque<(Moment, Change)>,
    waiting: VecDeque<WaitingTimestamps>,
}

impl Leader {
    /// Goes on from what was loaded, or begins a fresh cluster, and gives the write that it must do before it serves:
    /// the bound above which it gives timestamps, and for a fresh cluster, who it is.
    ///
    /// # Errors
    /// `Failed` when its settings cannot be read.
    pub(crate) fn open(
        config: &CoordinatorConfig,
        loaded: Option<Meta>,
        term: Term,
        at: Moment,
    ) -> Result<(Self, Plan), CoordinatorError> {
        let is_fresh = loaded.is_none();
        let meta = loaded.unwrap_or_else(|| {
            Meta::fresh(ClusterRecord {
                id: config.cluster_id,
                replicas: config.replicas as u32,
                created_unix_ms: at.unix_ms,
            })
        });
        let mut leader = Self {
            term,
            regions: RoutingTable::default(),
            heard: BTreeMap::new(),
            since: at.now,
            totals: Totals::default(),
            placement: Placement::new(meta.placement(config)?, at.now),
            orders: Vec::new(),
            stalled: Vec::new(),
            stall_told: BTreeMap::new(),
            oracle: TimestampOracle::resume(meta.timestamp_bound_ms),
            ids: IdAllocator::resume(meta.id_bound),
            changes: VecDeque::new(),
            waiting: VecDeque::new(),
            meta,
        };
        if let Some(layout) = &leader.meta.layout {
            leader.regions.seed(&layout.regions);
        }
        for store in leader.meta.live_stores() {
            leader.placement.set_store(at.now, store.description.id, &store.description.labels, store.is_leaving());
        }
        let nothing = Plan { writes: Vec::new(), meta: leader.meta.clone(), held: Vec::new() };
        let mut plan = leader.plan_write(config, at).unwrap_or(nothing);
        if config.planted.has(PlantedBug::IdsGivenAgain) {
            leader.ids = IdAllocator::resume(leader.meta.id_bound.saturating_sub(crate::ids::RESERVE_STEP));
        }
        if config.planted.has(PlantedBug::TimestampsFromClock) {
            leader.oracle = TimestampOracle::resume(0);
        }
        if is_fresh {
            plan.writes.push(Record::Cluster(plan.meta.cluster).put());
        }
        Ok((leader, plan))
    }

    /// Takes a request: answers it at once, or lets it wait for [`plan_write`](Self::plan_write).
    pub(crate) fn take(&mut self, config: &CoordinatorConfig, at: Moment, request: Request) -> Option<Answer> {
        match request {
            Request::Timestamps { count, reply } => self.take_timestamps(at, count, reply),
            Request::StoreHeartbeat { stats, reply } => Some(reply.answer(self.store_heartbeat(at, *stats))),
            Request::RegionHeartbeat { report, reply } => {
                Some(reply.answer(self.region_heartbeat(config, at, *report)))
            }
            Request::Command { region, command, reply } => {
                Some(reply.answer(self.command(config, at, region, &command)))
            }
            Request::CancelOperator { region, reply } => {
                Some(reply.answer(self.placement.cancel(at.now, region).map_err(CoordinatorError::from)))
            }
            Request::Change(Change::AllocateIds { count, reply })
                if check_id_count(count).is_ok() && self.ids.fits(count, self.meta.id_bound) =>
            {
                self.totals.ids += u64::from(count);
                let last = self.ids.take(u64::from(count));
                Some(reply.answer(last.map(|last| IdBatch { last, count })))
            }
            Request::Change(change) if self.changes.len() >= MAX_WAITING_CHANGES => {
                Some(change.refuse(CoordinatorError::Busy { queue: "the queue of changes" }))
            }
            Request::Change(change) => {
                self.changes.push_back((at, change));
                None
            }
        }
    }

    /// Requests that wait are served first: their order is the order of their timestamps.
    fn take_timestamps(&mut self, at: Moment, count: u32, reply: Reply<Timestamp>) -> Option<Answer> {
        if !(1..=MAX_TIMESTAMPS).contains(&count) {
            let error = CoordinatorError::Count { what: "timestamps", count, limit: MAX_TIMESTAMPS };
            return Some(reply.answer(Err(error)));
        }
        if self.waiting.is_empty()
            && let Some(outcome) = self.next_timestamps(count, at.unix_ms)
        {
            return Some(reply.answer(outcome));
        }
        if self.waiting.len() >= MAX_WAITING_TIMESTAMPS {
            return Some(reply.answer(Err(CoordinatorError::Busy { queue: "the queue of timestamp requests" })));
        }
        self.waiting.push_back(WaitingTimestamps { unix_ms: believed(at.unix_ms), count, reply });
        None
    }

    /// A batch, or `None` when it must wait for a larger bound.
    fn next_timestamps(&mut self, count: u32, unix_ms: u64) -> Option<Result<Timestamp, CoordinatorError>> {
        let outcome = self.oracle.take(count, unix_ms, self.meta.timestamp_bound_ms).transpose()?;
        if outcome.is_ok() {
            self.totals.timestamps += u64::from(count);
        }
        Some(outcome)
    }

    fn store_heartbeat(&mut self, at: Moment, stats: StoreStats) -> Result<StoreOrders, CoordinatorError> {
        let state = self.meta.live_store(stats.store)?.state;
        let (store, load) = (stats.store, load(&stats));
        self.heard.insert(store, Heard { at, stats });
        let (ids, bound) = (&mut self.ids, self.meta.id_bound);
        let mut take = || ids.take_reserved(bound).map(PeerId);
        self.placement.store_heartbeat(at.now, store, load, &mut take, &mut self.orders);
        self.bury(at);
        self.look_for_stalls(at.now);
        let cluster_version = self.meta.version().map(|version| version.to_string()).unwrap_or_default();
        Ok(StoreOrders { state, cluster_version })
    }

    fn region_heartbeat(
        &mut self,
        config: &CoordinatorConfig,
        at: Moment,
        report: RegionReport,
    ) -> Result<Option<RegionOrder>, CoordinatorError> {
        if self.meta.layout.is_none() {
            return Err(self.meta.not_bootstrapped(config));
        }
        self.meta.live_store(report.leader.store_id)?;
        let id = report.descriptor.id;
        for gone in self.regions.report(report, at.now)? {
            self.placement.forget_region(gone);
        }
        let state = self.regions.region(id).and_then(RegionInfo::placement_state);
        let state = Arc::new(state.expect("its leader has just reported"));
        let (ids, bound) = (&mut self.ids, self.meta.id_bound);
        let mut take = || ids.take_reserved(bound).map(PeerId);
        Ok(self.placement.region_heartbeat(at.now, state, &mut take, &mut self.orders))
    }

    fn command(
        &mut self,
        config: &CoordinatorConfig,
        at: Moment,
        region: RegionId,
        command: &Command,
    ) -> Result<OperatorId, CoordinatorError> {
        if self.meta.layout.is_none() {
            return Err(self.meta.not_bootstrapped(config));
        }
        let (ids, bound) = (&mut self.ids, self.meta.id_bound);
        let mut take = || ids.take_reserved(bound).map(PeerId);
        Ok(self.placement.command(at.now, region, command, &mut take, &mut self.orders)?)
    }

    /// Asks for the end of stores that leave and are empty.
    fn bury(&mut self, at: Moment) {
        let leaving = self.meta.live_stores().filter(|record| record.is_leaving());
        let leaving: Vec<StoreId> = leaving.map(|record| record.description.id).collect();
        for store in leaving {
            if self.looks_empty(at, store) && !self.is_being_buried(store) && self.changes.len() < MAX_WAITING_CHANGES {
                self.changes.push_back((at, Change::BuryStore { store, reply: Reply::new(drop) }));
            }
        }
    }

    /// Notes which stores should be emptied and are not, of those of which that was not said lately.
    fn look_for_stalls(&mut self, now: Instant) {
        let meta = &self.meta;
        self.stall_told.retain(|store, _| meta.stores.get(store).is_some_and(|known| known.is_leaving()));
        for store in meta.live_stores().filter(|record| record.is_leaving()).map(|record| record.description.id) {
            let told = self.stall_told.get(&store);
            if told.is_some_and(|told| now.since(*told) < STALL_TOLD_EVERY) {
                continue;
            }
            let drain = self.placement.drain(now, store);
            if drain.is_stalled() {
                self.stall_told.insert(store, now);
                self.stalled.push((store, drain));
            }
        }
    }

    /// As far as regions tell, and the store itself where it is heard: it clears what is left of its peers first.
    fn looks_empty(&self, at: Moment, store: StoreId) -> bool {
        let holds = self
            .heard
            .get(&store)
            .is_some_and(|heard| heard.stats.region_count > 0 && at.now.since(heard.at.now) <= DISCONNECTED_AFTER);
        !holds && self.placement.is_vacant(store) && self.regions.is_complete()
    }

    fn is_being_buried(&self, id: StoreId) -> bool {
        let asks = |change: &Change| matches!(change, Change::BuryStore { store, .. } if *store == id);
        self.changes.iter().any(|(_, change)| asks(change))
    }

    /// Works out the next write, if something waits for one or the bound of the timestamps is near.
    pub(crate) fn plan_write(&mut self, config: &CoordinatorConfig, latest: Moment) -> Option<Plan> {
        let bound_ms = self.meta.timestamp_bound_ms;
        let newest_wish = self.waiting.iter().map(|waiting| waiting.unix_ms).max();
        let needs_bound = newest_wish.is_some() || self.oracle.bound_is_low(bound_ms);
        let needs_ids = self.meta.layout.is_some() && self.ids.is_low(self.meta.id_bound);
        if self.changes.is_empty() && !needs_bound && !needs_ids {
            return None;
        }
        let bound = self.oracle.bound_ahead(newest_wish.unwrap_or(0).max(believed(latest.unix_ms)));
        let mut transaction = Transaction {
            config,
            ids: &mut self.ids,
            regions: &self.regions,
            placement: &self.placement,
            meta: self.meta.clone(),
            writes: Vec::new(),
            totals: Totals::default(),
        };
        if needs_bound {
            transaction.set_timestamp_bound(bound);
        }
        if needs_ids {
            transaction.reserve_ids();
        }
        let count = self.changes.len().min(MAX_CHANGES_PER_WRITE);
        let held = self.changes.drain(..count).map(|(at, change)| transaction.execute(at, change)).collect();
        let Transaction { meta, writes, totals, .. } = transaction;
        self.totals.ids += totals.ids;
        Some(Plan { writes, meta, held })
    }

    /// Shows what was written, and serves the timestamp requests that waited for it.
    pub(crate) fn adopt(&mut self, config: &CoordinatorConfig, now: Instant, meta: Meta, answers: &mut Vec<Answer>) {
        assert!(meta.timestamp_bound_ms >= self.meta.timestamp_bound_ms, "the bound of the timestamps only grows");
        assert!(meta.id_bound >= self.meta.id_bound, "the bound of the ids only grows");
        if let (None, Some(layout)) = (&self.meta.layout, &meta.layout) {
            self.regions.seed(&layout.regions);
        }
        self.totals.timestamp_windows += u64::from(meta.timestamp_bound_ms > self.meta.timestamp_bound_ms);
        self.tell_placement(config, now, &meta);
        self.meta = meta;
        while let Some(first) = self.waiting.front() {
            let Some(outcome) = self.next_timestamps(first.count, first.unix_ms) else { break };
            let first = self.waiting.pop_front().expect("it was just looked at");
            answers.push(first.reply.answer(outcome));
        }
    }

    /// Tells placement of stores and settings that changed.
    fn tell_placement(&mut self, config: &CoordinatorConfig, now: Instant, meta: &Meta) {
        if meta.settings != self.meta.settings {
            let changed = meta.placement(config).expect("settings are checked before they are written");
            self.placement.set_config(changed);
        }
        let before = &self.meta.stores;
        let is_changed = |store: StoreId, record: &Arc<StoreRecord>| {
            !before.get(&store).is_some_and(|known| Arc::ptr_eq(known, record))
        };
        for (store, record) in meta.stores.iter().filter(|(store, record)| is_changed(**store, record)) {
            if record.is_live() {
                self.placement.set_store(now, *store, &record.description.labels, record.is_leaving());
            } else {
                self.placement.forget_store(now, *store);
            }
        }
    }

    /// Refuses everybody who waits for a write.
    pub(crate) fn refuse_waiting(&mut self, error: &CoordinatorError, answers: &mut Vec<Answer>) {
        answers.extend(self.waiting.drain(..).map(|waiting| waiting.reply.answer(Err(error.clone()))));
        answers.extend(self.changes.drain(..).map(|(_, change)| change.refuse(error.clone())));
    }
}

/// A store's statistics as placement takes them.
fn load(stats: &StoreStats) -> StoreLoad {
    StoreLoad {
        capacity_bytes: stats.capacity_bytes,
        available_bytes: stats.available_bytes,
        region_count: u64::from(stats.region_count),
        sending_snapshots: u64::from(stats.sending_snapshots),
        receiving_snapshots: u64::from(stats.receiving_snapshots) + u64::from(stats.applying_snapshots),
        is_busy: stats.is_busy,
        is_stopping: stats.is_stopping,
    }
}
