//! What a queue tells about itself.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge};

/// What a set of actors tells about itself. The handles are shared: clones count together.
#[derive(Clone)]
pub struct SystemMetrics {
    /// Actors that wait on the run queue.
    pub queued_actors: IntGauge,
    /// Messages that a full mailbox refused.
    pub full: IntCounter,
    /// Actors per round.
    pub round_actors: Histogram,
}

impl SystemMetrics {
    /// Metrics that no registry shows, for tests and for those who do not look.
    pub fn unregistered() -> Self {
        Self {
            queued_actors: gauge(),
            full: counter(),
            round_actors: Histogram::with_opts(HistogramOpts::new("actors", "unregistered")).expect("a valid name"),
        }
    }
}

/// What a bounded queue tells about itself. The handles are shared: clones count together.
#[derive(Clone)]
pub struct QueueMetrics {
    /// How long the queue is.
    pub length: IntGauge,
    /// What was refused because the queue was full.
    pub full: IntCounter,
}

impl QueueMetrics {
    /// Metrics that no registry shows.
    pub fn unregistered() -> Self {
        Self { length: gauge(), full: counter() }
    }
}

fn gauge() -> IntGauge {
    IntGauge::new("length", "unregistered").expect("a valid name")
}

fn counter() -> IntCounter {
    IntCounter::new("full", "unregistered").expect("a valid name")
}
