//! What the transport counts.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use region::RegionMessage;

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
    pub(crate) link_failures: IntCounter,
    /// Messages in each frame that was sent.
    pub(crate) frame_messages: Histogram,
}

impl TransportMetrics {
    /// New metrics in a registry.
    ///
    /// # Errors
    /// When the registry holds metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let link_failures = IntCounter::new(
            "raftyard_transport_link_failures_total",
            "Attempts to connect to a store that failed, and streams that broke",
        )?;
        registry.register(Box::new(link_failures.clone()))?;
        let buckets = prometheus::exponential_buckets(1.0, 2.0, 12)?;
        let frame_messages = Histogram::with_opts(
            HistogramOpts::new("raftyard_transport_frame_messages", "Messages in each frame sent").buckets(buckets),
        )?;
        registry.register(Box::new(frame_messages.clone()))?;
        Ok(Self {
            sent: counters("raftyard_raft_sent_messages_total", "Raft messages sent", &["type"])?,
            dropped: counters(
                "raftyard_raft_dropped_messages_total",
                "Raft messages that were not sent, and why",
                &["type", "reason"],
            )?,
            received: counters("raftyard_raft_received_messages_total", "Raft messages received", &["type"])?,
            refused: counters(
                "raftyard_transport_refused_total",
                "Messages and streams of other stores that were not taken, and why",
                &["reason"],
            )?,
            outgoing_streams: gauge("raftyard_transport_outgoing_streams", "Streams that this store sends on")?,
            incoming_streams: gauge("raftyard_transport_incoming_streams", "Streams that this store receives on")?,
            link_failures,
            frame_messages,
        })
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
