//! A replicated multi-region store as a library, with no placement driver.
//!
//! In **static mode** a fixed set of members and a list of split keys make the whole layout: each member opens a
//! [`Store`] with the same [`Config`] and its own store id, and the regions elect their leaders among them. Requests may
//! be made at any member; they are carried to the leader's.
//!
//! Every operation is an [`Operation`]: a future, with [`Operation::wait`] for those who block.
//!
//! Invariants: a batch or a compare-and-swap is atomic, within one region; scans and delete-ranges cross regions piece by
//! piece; reads are linearizable. An operation whose outcome nobody knows says so ([`Error::Undetermined`]) and is never
//! repeated by itself.
//!
//! This crate must never know gRPC: how members reach each other is a [`Network`].
//!
//! Reading order: [`config`], [`store`], [`network`], [`request`], [`ids`], `carrier`.

mod carrier;
pub mod config;
pub mod error;
pub mod ids;
pub mod network;
pub mod operation;
mod pulse;
pub mod request;
mod routing;
pub mod snapshot;
pub mod store;

pub use config::Config;
pub use error::Error;
pub use ids::IdAllocator;
pub use network::{LocalNetwork, Network};
pub use operation::Operation;
pub use pulse::Timers;
pub use snapshot::Snapshot;
pub use store::{Attached, ScanOptions, Store, Swap, WriteBatch};
