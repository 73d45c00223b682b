//! Whole clusters in one thread and from one seed, for testing what is built on an embedded store.
//!
//! A [`Scenario`] makes a cluster whose stores run the code that serves users: elections, replication, recovery. Time,
//! order, chance, network and disks are the simulator's, so that a run is a function of its seed: what fails once fails
//! every time. What you build lives in the stores' processes: a **program** is given a [`Node`] with the ordinary
//! [`Store`](crate::Store), and ends without warning when its process does. [`Cluster`] is the hand that lets time pass,
//! disturbs and heals.
//!
//! ```
//! use std::time::Duration;
//! use raftyard::StoreId;
//! use raftyard::testing::{Profile, Scenario};
//!
//! let report = Scenario::new(7).stores(3).split_keys(["m"]).run(|cluster| {
//!     cluster.on(StoreId(1), |node| async move { node.store().put("colour", "green").await })?;
//!     cluster.disturb(Profile::Crash, 2_000)?;
//!     cluster.heal();
//!     let colour = cluster.on(StoreId(2), |node| async move { node.store().get("colour").await })?;
//!     if colour.as_deref() == Some(&b"green"[..]) { Ok(()) } else { Err(format!("the colour is {colour:?}")) }
//! });
//! report.expect("an acknowledged write survives crashes");
//! ```
//!
//! Beside what the scenario says, the simulator's own checkers watch the stores. `docs/testing.md` tells what is
//! simulated and what is not, and `examples/counter.rs` finds a bug in a small service.
//!
//! What a program must not do, because the same seed would not do the same again: look at a real clock, draw chance from
//! elsewhere than [`Node::random`], start threads, iterate over unordered maps, block.

mod cluster;
mod network;
mod node;
mod residents;

pub use cluster::{Cluster, Failure, Scenario};
pub use node::Node;
pub use sim::{Profile, Report};
