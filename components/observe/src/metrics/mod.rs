//! The metrics of each part of the system, with their handles ready.

pub mod coordinator;
pub mod queue;
pub mod refusal;
pub mod server;
pub mod snapshot;
pub mod store;

pub use coordinator::CoordinatorMetrics;
pub use queue::{QueueMetrics, SystemMetrics};
pub use refusal::Refusal;
pub use server::ServerMetrics;
pub use snapshot::{SnapshotMetrics, SnapshotOutcome, SnapshotPhase, SnapshotRefusal};
pub use store::StoreMetrics;
