//! The driver: routes messages by region id, turns the effects of regions into IO, and completions into inputs.
//!
//! - **Raft pollers** step a batch of regions, write all of their entries and hard states in one synced batch of the log
//!   engine, then release what waited for it.
//! - **Apply pollers** execute the committed entries of a batch of regions into one batch of the state engine.
//! - **Upkeep** watches the flush watermark and deletes from the log what is no longer needed (D3, D5).
//!
//! The whole store is steppable on one thread without starting any: [`Stepper`] and [`Threads`] drive the same parts.
//!
//! This crate must never look at a real clock, draw chance, or start a thread by itself.
//!
//! Reading order: [`handle`], [`recovery`], [`bootstrap`], [`raft_poller`], [`apply_poller`], [`upkeep`], [`drive`].

pub mod config;
pub mod error;
pub mod handle;
pub mod layout;

pub use config::StoreConfig;
pub use error::StoreError;
pub use handle::{Outbox, RegionView, StoreHandle, StoreObserver, StoreState};
