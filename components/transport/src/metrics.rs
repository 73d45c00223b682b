//! What the transport counts.

use observe::Registry;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use region::RegionMessage;
use types::StoreId;

/// The part of the registry that these metrics are in.
const PART: &str = "transport";

fn labels(store: StoreId) -> [(&'static str, String); 1] {
    [("store", store.to_string())]
}

/// Labels of raft's message types, by number.
const TYPES: [&str; 19] = [
    "hup",
    "beat",
    "propose",
    "append",
    "append_response",
    "request_vote",
    "request_vote_response",
    "snapshot",
    "heartbeat",
    "heartbeat_response",
    "unreachable",
    "snap_status",
    "check_quorum",
    "transfer_leader",
    "timeout_now",
    "read_index",
    "read_index_resp",
    "request_pre_vote",
    "request_pre_vote_response",
];

/// The type of a message as a label.
fn type_label(message: &RegionMessage) -> &'static str {
    if message.note.is_some() {
        return "note";
    }
    usize::try_from(message.raft.msg_type as i32).ok().and_then(|number| TYPES.get(number)).unwrap_or(&"other")
}

/// Counters, gauges and histograms of one transport.
#[derive(Clone)]
pub struct TransportMetrics {
    sent: IntCounterVec,
    dropped: IntCounterVec,
    received: IntCounterVec,
    refused: IntCounterVec,
    /// Streams that this store sends on.
    pub(crate) outgoing_streams: IntGauge,
    /// Streams that this store receives on.
    pub(crate) incoming_streams: IntGauge,
    /// Snapshots that this store sends.
    pub(crate) outgoing_snapshots: IntGauge,
    /// Snapshots that this store receives.
    pub(crate) incoming_snapshots: IntGauge,
    pub(crate) snapshot_stream_failures: IntCounter,
    pub(crate) link_failures: IntCounter,
    /// Messages in each frame that was sent.
    pub(crate) frame_messages: Histogram,
}

impl TransportMetrics {
    /// Registers the metrics of a store's transport, and replaces those of an earlier incarnation of it.
    pub fn new(registry: &Registry, store: StoreId) -> Self {
        let scope = registry.scope(PART, &labels(store));
        Self {
            sent: scope.counter_family("transport_sent_messages_total", "Raft messages sent.", &["type"]),
            dropped: scope.counter_family(
                "transport_dropped_messages_total",
                "Raft messages that were not sent, and why.",
                &["type", "reason"],
            ),
            received: scope.counter_family("transport_received_messages_total", "Raft messages received.", &["type"]),
            refused: scope.counter_family(
                "transport_refused_total",
                "Messages and streams of other stores that were not taken, and why.",
                &["reason"],
            ),
            outgoing_streams: scope.gauge("transport_outgoing_streams", "Streams that the store sends on."),
            incoming_streams: scope.gauge("transport_incoming_streams", "Streams that the store receives on."),
            outgoing_snapshots: scope.gauge("transport_outgoing_snapshots", "Snapshots that the store sends."),
            incoming_snapshots: scope.gauge("transport_incoming_snapshots", "Snapshots that the store receives."),
            snapshot_stream_failures: scope.counter(
                "transport_snapshot_stream_failures_total",
                "Streams of snapshots that could not be opened, or broke.",
            ),
            link_failures: scope.counter(
                "transport_link_failures_total",
                "Attempts to connect to a store that failed, and streams that broke.",
            ),
            frame_messages: scope.sizes("transport_frame_messages", "Messages in each frame sent."),
        }
    }

    /// Takes a store's metrics out of the registry: it was stopped and shall not look alive.
    pub fn forget(registry: &Registry, store: StoreId) {
        registry.forget(PART, &labels(store));
    }

    pub(crate) fn count_sent(&self, message: &RegionMessage) {
        self.sent.with_label_values(&[type_label(message)]).inc();
    }

    pub(crate) fn count_dropped(&self, message: &RegionMessage, reason: &str) {
        self.dropped.with_label_values(&[type_label(message), reason]).inc();
    }

    pub(crate) fn count_received(&self, message: &RegionMessage) {
        self.received.with_label_values(&[type_label(message)]).inc();
    }

    pub(crate) fn count_refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Raft messages sent, of all types.
    pub fn sent_messages(&self) -> u64 {
        TYPES.iter().map(|label| self.sent.with_label_values(&[label]).get()).sum()
    }

    /// Raft messages dropped for a reason: `queue_full`, `unreachable`, `blocked`, `too_large` or `no_link`.
    pub fn dropped_messages(&self, reason: &str) -> u64 {
        TYPES.iter().map(|label| self.dropped.with_label_values(&[label, reason]).get()).sum()
    }

    /// Attempts to connect that failed, and streams that broke.
    pub fn link_failures(&self) -> u64 {
        self.link_failures.get()
    }

    /// Streams of snapshots that could not be opened, or broke.
    pub fn snapshot_stream_failures(&self) -> u64 {
        self.snapshot_stream_failures.get()
    }

    /// Messages and streams that were not taken for a reason, such as `malformed`, `misaddressed` or `wrong_cluster`.
    pub fn refused(&self, reason: &str) -> u64 {
        self.refused.with_label_values(&[reason]).get()
    }
}

/// Counts something as open while it lives, also when its task is cancelled.
pub(crate) struct Open(IntGauge);

impl Open {
    pub(crate) fn count(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
