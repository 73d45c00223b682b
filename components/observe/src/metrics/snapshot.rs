//! The metrics of a store's snapshots.

use prometheus::{Histogram, IntCounter, IntGauge};
use types::StoreId;

use crate::label::{ByLabel, labels};
use crate::registry::Registry;

labels! {
    /// What is being done with a snapshot.
    SnapshotPhase: "type" {
        /// It is written from the state engine.
        Build = "build",
        /// It goes to another store.
        Send = "send",
        /// It comes from another store.
        Receive = "receive",
        /// What came is being looked through.
        Verify = "verify",
        /// It replaces a region's data.
        Install = "install",
    }
}

labels! {
    /// How a snapshot ended on this store.
    SnapshotOutcome: "outcome" {
        /// Another store has it.
        Sent = "sent",
        /// It was received and is whole.
        Received = "received",
        /// Nobody wanted it any more.
        Cancelled = "cancelled",
        /// It could not be built, sent or received.
        Failed = "failed",
    }
}

labels! {
    /// Why a snapshot did not begin.
    SnapshotRefusal: "reason" {
        /// As many as may be are under way.
        TooMany = "too_many",
        /// One of the same region is under way.
        SameRegion = "same_region",
        /// The receiving side declined.
        Declined = "declined",
    }
}

/// Counters, gauges and histograms of one store's snapshots.
#[derive(Clone)]
pub struct SnapshotMetrics {
    /// Snapshots that something is being done with.
    pub in_flight: ByLabel<SnapshotPhase, IntGauge>,
    /// How long each part took.
    pub duration: ByLabel<SnapshotPhase, Histogram>,
    /// Bytes that were written, sent or received.
    pub bytes: ByLabel<SnapshotPhase, IntCounter>,
    /// How snapshots ended.
    pub ended: ByLabel<SnapshotOutcome, IntCounter>,
    /// Snapshots that did not begin.
    pub refused: ByLabel<SnapshotRefusal, IntCounter>,
    /// Chunks that arrived damaged and were asked for again.
    pub repeated_chunks: IntCounter,
    /// Bytes of each snapshot's files.
    pub size: Histogram,
}

impl SnapshotMetrics {
    /// Registers the metrics of a store's snapshots, and replaces those of an earlier incarnation of it.
    pub fn new(registry: &Registry, store: StoreId) -> Self {
        let scope = registry.scope("snapshot", &[("store", store.to_string())]);
        Self {
            in_flight: scope.gauges("snapshot_traffic", "Snapshots that something is being done with."),
            duration: scope.long_durations_by("snapshot_duration_seconds", "How long each part of a snapshot took."),
            bytes: scope
                .counters("snapshot_bytes_total", "Bytes of snapshots that each part of their way has dealt with."),
            ended: scope.counters("snapshot_ended_total", "Snapshots that ended, and how."),
            refused: scope
                .counters("snapshot_refused_total", "Snapshots that a bound or the receiver kept from beginning."),
            repeated_chunks: scope
                .counter("snapshot_repeated_chunks_total", "Chunks that arrived damaged: the network or a disk errs."),
            size: scope.byte_sizes("snapshot_size_bytes", "Size of each snapshot's files."),
        }
    }

    /// Takes a store's metrics out of the registry: it was stopped and shall not look alive.
    pub fn forget(registry: &Registry, store: StoreId) {
        registry.forget("snapshot", &[("store", store.to_string())]);
    }
}
