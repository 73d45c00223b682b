//! The metrics of a coordinator.

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::label::{ByLabel, labels};
use crate::registry::Registry;

labels! {
    /// What is asked of a coordinator.
    CoordinatorRequest: "type" {
        /// Who the members are, and which cluster this is.
        Members = "members",
        /// Timestamps.
        Timestamp = "timestamp",
        /// An id.
        AllocId = "alloc_id",
        /// The first store of a cluster, or whether it had one.
        Bootstrap = "bootstrap",
        /// Stores and their addresses.
        Store = "store",
        /// Which region holds a key.
        Region = "region",
        /// A store's heartbeat.
        StoreHeartbeat = "store_heartbeat",
        /// A region's heartbeat.
        RegionHeartbeat = "region_heartbeat",
        /// Small values kept for others.
        MetaStorage = "meta_storage",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    /// What becomes of operators.
    OperatorEvent: "event" {
        /// One was made.
        Created = "created",
        /// One ended as planned.
        Finished = "finished",
        /// One took too long.
        TimedOut = "timed_out",
        /// One became impossible, or people cancelled it.
        Cancelled = "cancelled",
        /// One made way for a more urgent one.
        Replaced = "replaced",
    }
}

labels! {
    /// What the coordinator thinks of a store.
    StoreCondition: "state" {
        /// Its heartbeats come.
        Up = "up",
        /// It was told to leave and is being emptied.
        Offline = "offline",
        /// They have been missing for a while.
        Disconnected = "disconnected",
        /// They have been missing for so long that its regions need replacing.
        Down = "down",
        /// It was removed.
        Tombstone = "tombstone",
    }
}

/// The metrics of a coordinator.
#[derive(Clone)]
pub struct CoordinatorMetrics {
    /// From a request's arrival to its answer.
    pub request_duration: ByLabel<CoordinatorRequest, Histogram>,
    /// Requests that are not answered yet.
    pub in_flight: ByLabel<CoordinatorRequest, IntGauge>,
    /// Requests that failed.
    pub failures: ByLabel<CoordinatorRequest, IntCounter>,
    /// Timestamps handed out.
    pub timestamps: IntCounter,
    /// Writes of the bound that timestamps stay below (D16).
    pub timestamp_windows: IntCounter,
    /// Ids handed out.
    pub ids: IntCounter,
    /// Regions that are known.
    pub regions: IntGauge,
    /// Those of them whose leader is known.
    pub regions_with_leader: IntGauge,
    /// Stores, by condition.
    pub stores: ByLabel<StoreCondition, IntGauge>,
    /// Operators, by what became of them.
    pub operators: ByLabel<OperatorEvent, IntCounter>,
    /// From an operator's beginning to its end, of those that ended as planned.
    pub operator_duration: Histogram,
    /// Operators under way.
    pub operators_running: IntGauge,
    /// Regions that need an operator and wait for a limit.
    pub regions_waiting: IntGauge,
    /// How often a limit kept a region waiting.
    pub operators_limited: IntCounter,
    /// Orders given to stores, repetitions included.
    pub orders: IntCounter,
    /// One while this member leads.
    pub is_leader: IntGauge,
}

impl CoordinatorMetrics {
    /// Registers the metrics of the process's coordinator, and replaces those of an earlier incarnation of it.
    pub fn new(registry: &Registry) -> Self {
        let scope = registry.scope("coordinator", &[]);
        Self {
            request_duration: scope
                .durations_by("pd_request_duration_seconds", "From a request to the coordinator to its answer."),
            in_flight: scope.gauges("pd_request_in_flight", "Requests to the coordinator not answered yet."),
            failures: scope.counters("pd_request_fail_total", "Requests to the coordinator that failed."),
            timestamps: scope.counter("pd_timestamp_total", "Timestamps handed out."),
            timestamp_windows: scope.counter("pd_timestamp_window_total", "Extensions of the bound of timestamps."),
            ids: scope.counter("pd_id_total", "Ids handed out."),
            regions: scope.gauge("pd_regions", "Regions that the coordinator knows."),
            regions_with_leader: scope.gauge("pd_regions_with_leader", "Regions whose leader the coordinator knows."),
            stores: scope.gauges("pd_stores", "Stores that the coordinator knows, by state."),
            operators: scope.counters("pd_operator_total", "Operators, by what became of them."),
            operator_duration: scope
                .long_durations("pd_operator_duration_seconds", "From an operator's beginning to its end as planned."),
            operators_running: scope.gauge("pd_operators", "Operators under way."),
            regions_waiting: scope.gauge("pd_regions_waiting", "Regions that wait for a limit to get an operator."),
            operators_limited: scope
                .counter("pd_operator_limited_total", "How often a limit kept a region from getting an operator."),
            orders: scope.counter("pd_order_total", "Orders given to stores, repetitions included."),
            is_leader: scope.gauge("pd_is_leader", "One while this coordinator leads."),
        }
    }

    /// Takes the coordinator's metrics out of the registry.
    pub fn forget(registry: &Registry) {
        registry.forget("coordinator", &[]);
    }
}
