//! The metrics of a store's transport.

use prometheus::{Histogram, IntCounter, IntGauge};
use types::StoreId;

use super::store;
use crate::label::{ByLabel, labels};
use crate::registry::Registry;

labels! {
    /// Why the transport dropped a message.
    DropReason: "reason" {
        /// The queue for its store is full.
        QueueFull = "queue_full",
        /// Its store cannot be reached.
        Unreachable = "unreachable",
        /// Nobody knows where its store is.
        NoAddress = "no_address",
        /// It was meant for another cluster or store.
        Mismatch = "mismatch",
        /// It cannot be understood.
        Malformed = "malformed",
    }
}

/// The metrics of a store's transport; each carries the label `store`.
#[derive(Clone)]
pub struct TransportMetrics {
    /// Batches sent; one gRPC message each.
    pub batches_sent: IntCounter,
    /// Raft messages per batch sent.
    pub batch_messages: Histogram,
    /// Bytes of batches sent.
    pub sent_bytes: IntCounter,
    /// Batches received.
    pub batches_received: IntCounter,
    /// Bytes of batches received.
    pub received_bytes: IntCounter,
    /// Messages dropped.
    pub dropped: ByLabel<DropReason, IntCounter>,
    /// Messages that wait to be sent.
    pub queued_messages: IntGauge,
    /// Streams to other stores that stand.
    pub connections: IntGauge,
    /// Attempts to open a stream.
    pub connects: IntCounter,
    /// Streams that broke, or could not be opened: what TiKV's alerts call failures of a store.
    pub failures: IntCounter,
    /// Addresses of stores that were looked up.
    pub resolves: IntCounter,
}

impl TransportMetrics {
    /// Registers the metrics of a store's transport, and replaces those of an earlier incarnation of it.
    pub fn new(registry: &Registry, store: StoreId) -> Self {
        let scope = registry.scope("transport", &store::labels(store));
        Self {
            batches_sent: scope.counter("transport_sent_batch_total", "Batches of raft messages sent."),
            batch_messages: scope.sizes("transport_batch_messages", "Raft messages per batch sent."),
            sent_bytes: scope.counter("transport_sent_bytes_total", "Bytes of raft messages sent."),
            batches_received: scope.counter("transport_received_batch_total", "Batches of raft messages received."),
            received_bytes: scope.counter("transport_received_bytes_total", "Bytes of raft messages received."),
            dropped: scope.counters("transport_dropped_message_total", "Raft messages that the transport dropped."),
            queued_messages: scope.gauge("transport_queued_messages", "Raft messages that wait to be sent."),
            connections: scope.gauge("transport_connections", "Streams to other stores that stand."),
            connects: scope.counter("transport_connect_total", "Attempts to open a stream to another store."),
            failures: scope.counter("server_report_failure_total", "Streams that broke or could not be opened."),
            resolves: scope.counter("transport_resolve_total", "Look-ups of a store's address."),
        }
    }

    /// Takes a store's metrics out of the registry.
    pub fn forget(registry: &Registry, store: StoreId) {
        registry.forget("transport", &store::labels(store));
    }
}
