//! The metrics of a store's gRPC services.

use prometheus::{Histogram, IntCounter, IntGauge};
use types::StoreId;

use super::{Refusal, store};
use crate::label::{ByLabel, labels};
use crate::registry::Registry;

labels! {
    /// A request of a client.
    RequestType: "type" {
        /// RawGet.
        RawGet = "raw_get",
        /// RawBatchGet.
        RawBatchGet = "raw_batch_get",
        /// RawPut.
        RawPut = "raw_put",
        /// RawBatchPut.
        RawBatchPut = "raw_batch_put",
        /// RawDelete.
        RawDelete = "raw_delete",
        /// RawBatchDelete.
        RawBatchDelete = "raw_batch_delete",
        /// RawScan.
        RawScan = "raw_scan",
        /// RawBatchScan.
        RawBatchScan = "raw_batch_scan",
        /// RawDeleteRange.
        RawDeleteRange = "raw_delete_range",
        /// RawCAS.
        RawCompareAndSwap = "raw_compare_and_swap",
        /// RawGetKeyTTL.
        RawGetKeyTtl = "raw_get_key_ttl",
        /// RawChecksum.
        RawChecksum = "raw_checksum",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    /// What became of an order of the placement driver.
    OrderOutcome: "outcome" {
        /// It was carried out.
        CarriedOut = "carried_out",
        /// The region refused it, or could not.
        Failed = "failed",
        /// It makes no sense, or asks for what this build does not do.
        Declined = "declined",
        /// The region has another epoch or leader by now.
        Stale = "stale",
        /// Another order of the region was under way.
        Busy = "busy",
    }
}

/// The metrics of a store's gRPC services; each carries the label `store`.
#[derive(Clone)]
pub struct ServerMetrics {
    /// From a request's arrival to its answer, alone or in a batch.
    pub request_duration: ByLabel<RequestType, Histogram>,
    /// Requests that are not answered yet.
    pub in_flight: ByLabel<RequestType, IntGauge>,
    /// Requests that failed with something else than a region error.
    pub failures: ByLabel<RequestType, IntCounter>,
    /// Region errors, by kind.
    pub region_errors: ByLabel<Refusal, IntCounter>,
    /// Requests per message of a `BatchCommands` stream.
    pub batch_requests: Histogram,
    /// `BatchCommands` streams that stand.
    pub batch_streams: IntGauge,
    /// Orders of the placement driver, by what became of them.
    pub orders: ByLabel<OrderOutcome, IntCounter>,
}

impl ServerMetrics {
    /// Registers the metrics of a store's services, and replaces those of an earlier incarnation of them.
    pub fn new(registry: &Registry, store: StoreId) -> Self {
        let scope = registry.scope("server", &store::labels(store));
        Self {
            request_duration: scope
                .durations_by("grpc_msg_duration_seconds", "From a client's request to its answer, by type."),
            in_flight: scope.gauges("grpc_msg_in_flight", "Requests that are not answered yet, by type."),
            failures: scope.counters("grpc_msg_fail_total", "Requests that failed other than by a region error."),
            region_errors: scope.counters("grpc_region_error_total", "Region errors that clients were given."),
            batch_requests: scope.sizes("grpc_batch_requests", "Requests per message of a batch stream."),
            batch_streams: scope.gauge("grpc_batch_streams", "Batch streams of clients that stand."),
            orders: scope.counters("pd_order_total", "Orders of the placement driver, by what became of them."),
        }
    }

    /// Takes the services' metrics out of the registry.
    pub fn forget(registry: &Registry, store: StoreId) {
        registry.forget("server", &store::labels(store));
    }
}
