//! The two engines of a store as traits, and both in memory with crashes and faults.
//!
//! - [`LogEngine`] (L) holds raft entries, hard states and peer lifecycle records of all regions. What it wrote with
//!   [`Durability::Synced`] survives any crash. It is the truth.
//! - [`StateEngine`] (S) holds user data, apply states and region descriptors. A crash may put it back to any earlier
//!   cut that is not older than its last flush, the same cut for every key. It is a view of the log that may lag.
//!
//! Neither shows keys of its own making: what a round becomes on disk is the engine's business. Records that several
//! crates must agree on are in [`meta`] and [`log`]; `docs/format.md` fixes them byte by byte.
//!
//! This crate must never know RocksDB. Rules cited as `D1`…`D16` are in `ARCHITECTURE.md`.
//!
//! Reading order: [`log`] with [`marker`], [`state`], [`meta`], [`id_counter`], [`change`], [`split`], then [`memory`], and [`conformance`] for what every
//! engine must do.

pub mod change;
pub mod conformance;
pub mod error;
pub mod id_counter;
pub mod log;
pub mod marker;
pub mod memory;
pub mod meta;
pub mod split;
pub mod state;

pub use change::{Change, ChangeKind, Child, HashTask};
pub use error::{EngineError, Result};
pub use id_counter::IdCounter;
pub use log::{
    Birth, Durability, HardState, Invitation, Lifecycle, LogBatch, LogEngine, LogOp, LogStatistics, RegionLog,
    RegionLogState, StoreIdent,
};
pub use marker::SnapshotMarker;
pub use meta::{ApplyState, Gone, WriterId};
pub use raft_proto::eraftpb::{Entry, EntryType};
pub use state::{
    Family, FileReader, IngestFile, IterRange, RegionSnapshot, SstWriter, StateBatch, StateEngine, StateIterator,
    StateOp, StateRead, StateStatistics,
};
