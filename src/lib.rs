//! Raftyard: a multi-raft sharded storage engine.
//!
//! A program that embeds a replicated store stands on this crate: [`Store`] opens one member of a static cluster, with
//! no placement driver; [`Network`] says how members reach each other ([`LocalNetwork`] within a process).
//!
//! ```
//! use std::sync::Arc;
//! use raftyard::{Config, LocalNetwork, Store, StoreId};
//!
//! # fn main() -> Result<(), raftyard::Error> {
//! let data = tempfile::tempdir().expect("a directory for the stores");
//! let network = Arc::new(LocalNetwork::new());
//! let members = [1, 2, 3].map(StoreId);
//! let open = |id: StoreId| {
//!     let config = Config::new(id, data.path().join(id.to_string()), network.clone());
//!     Store::open(config.members(members).split_keys(["m"]).first_start(true))
//! };
//! let stores = [open(members[0])?, open(members[1])?, open(members[2])?];
//!
//! stores[0].put("colour", "green").wait()?;
//! let swap = stores[1].compare_and_swap("colour", Some("green".into()), Some("blue".into())).wait()?;
//! assert!(swap.swapped);
//! assert_eq!(stores[2].get("colour").wait()?.as_deref(), Some(&b"blue"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! `ARCHITECTURE.md` is the map of the crates behind it.

#[cfg(feature = "testing")]
pub mod testing;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use embed::*;
pub use types::{ClusterId, ColumnFamily, KeyRange, RegionId, StoreId};
