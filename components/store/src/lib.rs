//! The driver: routes messages by region id, turns the effects of regions into IO, and completions into inputs.
//!
//! - **Raft pollers** step a batch of regions, write all of their entries and hard states in one synced batch of the log
//!   engine, then release what waited for it.
//! - **Apply pollers** execute the committed entries of a batch of regions into one batch of the state engine.
//! - **The split checker** looks over the regions that the store leads, and splits those that are too large or too busy.
//! - **Upkeep** watches the flush watermark and deletes from the log what is no longer needed (D3, D5).
//! - **The lifecycle** makes peers that a message asks for, puts snapshots into the place of what peers had, and removes
//!   peers: what no log replays, in one queue (D6, D7, D9, D10, D11).
//! - **The snapshot worker** builds snapshots and hashes regions, beside all of them; on threads, its one also removes
//!   the files of snapshots that nobody wants any more.
//!
//! The whole store is steppable on one thread without starting any: [`Stepper`] and [`RunningStore`] drive the same parts.
//!
//! This crate must never look at a real clock, draw chance, or start a thread by itself.
//!
//! Invariants: nobody but a region's poller writes its log while it runs, and nobody but the lifecycle while it rests; a
//! region's keys are owned, or kept, by one claim at a time; a peer is in the table only while it is a member that serves.
//!
//! Reading order: [`handle`], [`mod@bootstrap`], `recovery`, [`drive`], `raft_poller`, `log_writer`, `apply_poller`,
//! `rebuild`, `lifecycle`, [`carrier`] with `snapshots`, `upkeep`, [`split`], [`threads`].

#[macro_use]
mod failpoint;

mod apply_poller;
pub mod bootstrap;
pub mod carrier;
pub mod config;
pub mod drive;
pub mod error;
pub mod handle;
mod hashes;
pub mod layout;
mod lifecycle;
mod log_writer;
mod metrics;
mod panic;
mod peers;
mod raft_poller;
mod rebuild;
mod recovery;
mod shared;
mod snapshots;
pub mod split;
mod table;
pub mod threads;
mod upkeep;

pub use bootstrap::{bootstrap, bootstrap_planting, bootstrapped};
pub use carrier::{DeliveryResponder, NoCarrier, Shipment, SnapshotCarrier};
pub use config::StoreConfig;
pub use drive::{Stepper, Store};
pub use error::StoreError;
pub use handle::{Outbox, RegionView, StoreCounts, StoreHandle, StoreObserver, StoreState, WeakStoreHandle};
pub use rebuild::RebuildResponder;
pub use shared::{Engines, Surroundings};
pub use snapshots::SnapshotConfig;
pub use split::config::SplitConfig;
pub use split::flow::RegionFlow;
pub use split::ids::{RegionIds, SplitIds, SplitIdsAnswer};
pub use split::size::RegionSize;
pub use threads::{RunningStore, StopProgress};
