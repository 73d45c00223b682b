//! Logs, slow logs and the metric registry.
//!
//! - [`logging`] sets up a logger: one line per record, in the unified log format or as JSON, written by a thread of its
//!   own behind a bounded queue; a full queue drops lines and says how many.
//! - [`SlowLog`] tells of operations that took longer than they should.
//! - [`Registry`] collects metrics and renders them for Prometheus; the structs of [`metrics`] hold the handles.
//!
//! Invariants: nothing is global, because one process may hold several stores; every metric has a help text and a name
//! that `promtool check metrics` accepts; handles of labelled metrics are made beforehand, so that counting an event is
//! an atomic addition; nobody who logs or counts ever waits for a disk or a socket.
//!
//! This crate must never start a thread other than the log writer's, or read a clock other than the time of day that
//! stands in a log line: durations come from the caller.
//!
//! Reading order: [`logging`], [`slow`], [`registry`], [`label`], [`metrics`].

mod buckets;
pub mod label;
mod line;
pub mod logging;
pub mod metrics;
pub mod registry;
pub mod slow;
mod timestamp;

pub use label::{ByLabel, Label};
pub use logging::{LevelControl, LogConfig, LogError, LogFormat, Logging, discard_logger, parse_level, region_logger};
pub use metrics::{CoordinatorMetrics, QueueMetrics, ServerMetrics, SnapshotMetrics, StoreMetrics, SystemMetrics};
pub use registry::{Registry, Scope};
pub use slow::SlowLog;
