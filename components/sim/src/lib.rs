//! Whole clusters on one thread and one seed: N stores and a coordinator, the same code that serves users, with time,
//! order, chance and IO in the simulator's hands.
//!
//! - What happens is an [`Observation`]: the engines, the network and the stores are watched from outside, so that the
//!   product's code knows nothing of being watched.
//! - The [`Ledger`](ledger::Ledger) keeps account of what both engines of every store hold, and which entries are committed.
//! - A [`Checker`](check::Checker) sees every observation in order, beside the ledger, and says when something is wrong.
//! - Clients send [`Call`](call::Call)s over the simulated network and take down what they saw.
//!
//! Invariants: everything that happens is a function of the seed and the profile. Nothing here looks at a clock, draws
//! chance from anywhere but the seed, starts a thread, or iterates over an unordered map.
//!
//! Reading order: [`run()`], then `simulation` (the events), `stores` (how nodes start, join, work and end), `delivery` and `wire`
//! (the network), `faults`, with `cell` and `engines` (what a process touches) and `shape` (what is drawn); then
//! [`observation`], [`call`], [`ledger`], [`check`], [`history`], [`workload`]; and [`cluster`] for those who test what they
//! build on a store.

pub mod call;
mod cell;
pub mod chance;
pub mod check;
mod clock;
pub mod cluster;
mod coordinating;
mod delivery;
mod engines;
mod faults;
pub mod guests;
pub mod history;
pub mod ledger;
mod losses;
mod moves;
mod node;
pub mod observation;
mod orders;
pub mod planted;
mod probe;
pub mod profile;
mod races;
mod recorder;
pub mod run;
mod schedule;
mod session;
mod settle;
pub mod shape;
mod simulation;
mod splitting;
mod stores;
mod streams;
mod trace;
mod wire;
pub mod workload;

pub use cluster::{Cluster, scenario};
pub use guests::{Guests, Host};
pub use observation::{DiskContent, Event, Observation};
pub use profile::Profile;
pub use run::{Failure, Report, Settings, run};
