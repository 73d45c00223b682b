//! Whole processes: a store that serves, and a coordinator that serves.
//!
//! A node owns its tokio runtime, so that ending it ends every connection and task at once: a node that was killed must
//! not answer from the grave. Starting and stopping block; call them on a thread of your own, not inside a runtime.
//!
//! Reading order: [`store_node`], `join`, `founding`, `reports`, [`coordinator_node`], then the helpers.

pub mod coordinator_node;
pub mod engines;
pub mod error;
mod files;
mod founding;
pub mod intent;
mod join;
mod listen;
mod observer;
mod peers;
mod reports;
pub mod role;
mod runtime;
mod serving;
mod snapshots;
pub mod store_node;

use std::time::Duration;

pub use coordinator_node::CoordinatorNode;
pub use error::NodeError;
pub use store_node::StoreNode;

/// How long a starting store waits before it looks for the placement driver again.
const PD_PAUSE: Duration = Duration::from_secs(1);
