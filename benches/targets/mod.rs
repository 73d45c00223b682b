//! What is measured, id by id.

mod bytes_written;
mod latency;
mod protocol;
mod regions;
mod restart;
mod snapshots;
mod turns;
mod unavailability;
mod writes;

use crate::harness::options::Options;
use crate::harness::report::Report;

/// A target, or several that the same turns answer.
pub struct Target {
    /// How it is chosen on the command line.
    pub id: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Measures it.
    pub measure: fn(&Options, &mut Report) -> Result<(), String>,
}

/// All of them, in the order in which they run.
pub const ALL: &[Target] = &[
    Target {
        id: "R1",
        what: "replicated durable writes against raw, with R2 (CPU) beside it",
        measure: writes::measure,
    },
    Target { id: "R3", what: "bytes written for each byte of users", measure: bytes_written::measure },
    Target { id: "R4", what: "fsyncs for 1,000 writes; 1 to 1,000 active regions", measure: regions::fsyncs },
    Target { id: "R5", what: "tail latency at half of peak load", measure: latency::measure },
    Target { id: "R6", what: "throughput with more active regions", measure: regions::throughput },
    Target { id: "R8", what: "writes over the network protocol against etcd", measure: protocol::measure },
    Target { id: "R11", what: "how long a region's writes go unanswered", measure: unavailability::measure },
    Target { id: "R12", what: "restart to serving", measure: restart::measure },
    Target { id: "SNAP", what: "snapshots against a plain copy of their files", measure: snapshots::measure },
];
