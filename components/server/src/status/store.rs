//! The status of a store.

use engine::{LogStatistics, StateStatistics};
use futures::future::FutureExt;
use observe::Registry;
use parking_lot::Mutex;
use prometheus::{Counter, IntCounter, IntGauge};
use serde_json::{Value, json};
use store::{StoreHandle, StoreState};
use types::{RegionId, StoreId};

use super::differing::Differing;
use super::region;
use super::snapshots;
use super::source::{RegionAnswer, StatusSource};
use crate::moves::inspect;

/// Tells the status of a store.
pub struct StoreStatus {
    store: StoreHandle,
    registry: Registry,
    engines: Mutex<EngineMetrics>,
    differing: Differing,
    config: Value,
    version: &'static str,
    start_timestamp: u64,
}

impl StoreStatus {
    /// A store that runs `version` with `config` since `start_timestamp` (Unix seconds), and counts in `registry`. Replicas
    /// that are found to differ are noted in `differing`.
    pub fn new(
        store: StoreHandle,
        registry: Registry,
        differing: Differing,
        config: Value,
        version: &'static str,
        start_timestamp: u64,
    ) -> Self {
        let engines = Mutex::new(EngineMetrics::new(&registry, store.ident().store));
        Self { store, registry, engines, differing, config, version, start_timestamp }
    }
}

impl StatusSource for StoreStatus {
    fn metrics(&self) -> String {
        let engines = self.store.engines();
        self.engines.lock().update(engines.log.statistics(), engines.state.statistics());
        self.registry.gather_text()
    }

    fn status(&self) -> Value {
        let (ident, counts) = (self.store.ident(), self.store.counts());
        json!({
            "version": self.version,
            "cluster_id": ident.cluster.0,
            "store_id": ident.store.0,
            "state": state_name(self.store.state()),
            "start_timestamp": self.start_timestamp,
            "regions": counts.regions,
            "leaders": counts.leaders,
            "replaying": counts.replaying,
            "differing_regions": self.differing.to_json(),
        })
    }

    fn is_ready(&self) -> bool {
        self.store.state() == StoreState::Serving
    }

    fn config(&self) -> Value {
        self.config.clone()
    }

    fn regions(&self) -> Option<Vec<Value>> {
        Some(self.store.regions().iter().map(region::view).collect())
    }

    fn snapshots(&self) -> Option<Vec<Value>> {
        let now = self.store.now();
        Some(self.store.snapshots().iter().map(|transfer| snapshots::shown(transfer, now)).collect())
    }

    fn region(&self, id: RegionId) -> RegionAnswer {
        let store = self.store.clone();
        async move { inspect(&store, id).await.as_ref().map(region::status) }.boxed()
    }
}

fn state_name(state: StoreState) -> &'static str {
    match state {
        StoreState::Starting => "starting",
        StoreState::Serving => "serving",
        StoreState::Stopping => "stopping",
        StoreState::Failed => "failed",
        StoreState::Stopped => "stopped",
    }
}

/// What the engines count by themselves; brought up to date when metrics are asked for.
struct EngineMetrics {
    log_written_bytes: IntCounter,
    log_syncs: IntCounter,
    log_sync_seconds: Counter,
    log_disk_bytes: IntGauge,
    state_flushed_bytes: IntCounter,
    state_compacted_bytes: IntCounter,
    state_flushes: IntCounter,
    state_unflushed_bytes: IntGauge,
    state_disk_bytes: IntGauge,
}

impl EngineMetrics {
    fn new(registry: &Registry, store: StoreId) -> Self {
        let scope = registry.scope("engine", &[("store", store.to_string())]);
        Self {
            log_written_bytes: scope
                .counter("engine_log_written_bytes_total", "Bytes that the log engine appended to its log."),
            log_syncs: scope.counter("engine_log_sync_total", "Calls of the log engine that waited for the disk."),
            log_sync_seconds: scope.seconds_counter(
                "engine_log_sync_seconds_total",
                "How long calls of the log engine waited for the disk, all together.",
            ),
            log_disk_bytes: scope.gauge("engine_log_disk_bytes", "Bytes that the log engine holds on disk."),
            state_flushed_bytes: scope
                .counter("engine_state_flushed_bytes_total", "Bytes written by flushes of the state engine."),
            state_compacted_bytes: scope
                .counter("engine_state_compacted_bytes_total", "Bytes written by compactions of the state engine."),
            state_flushes: scope.counter("engine_state_flush_total", "Flushes of the state engine."),
            state_unflushed_bytes: scope
                .gauge("engine_state_unflushed_bytes", "Bytes of the state engine that no flush has made durable."),
            state_disk_bytes: scope.gauge("engine_state_disk_bytes", "Bytes that the state engine holds on disk."),
        }
    }

    fn update(&self, log: LogStatistics, state: StateStatistics) {
        raise(&self.log_written_bytes, log.bytes_written);
        raise(&self.log_syncs, log.syncs);
        let sync_seconds = log.sync_micros as f64 / 1e6;
        self.log_sync_seconds.inc_by((sync_seconds - self.log_sync_seconds.get()).max(0.0));
        set(&self.log_disk_bytes, log.disk_bytes);
        raise(&self.state_flushed_bytes, state.flushed_bytes);
        raise(&self.state_compacted_bytes, state.compacted_bytes);
        raise(&self.state_flushes, state.flushes);
        set(&self.state_unflushed_bytes, state.unflushed_bytes);
        set(&self.state_disk_bytes, state.disk_bytes);
    }
}

/// Brings a counter to what an engine counted since it was opened; one caller at a time.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn set(gauge: &IntGauge, to: u64) {
    gauge.set(i64::try_from(to).unwrap_or(i64::MAX));
}
