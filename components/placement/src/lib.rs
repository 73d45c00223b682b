//! Where regions should be: heartbeats in, operators out.
//!
//! [`Placement`] is a pure machine. It is told what stores and regions report and what people want, and gives orders for
//! regions. An *operator* is a plan for one region, made of typed [`Step`]s; at each heartbeat of the region its step is
//! finished, still under way, or impossible, and while it is under way its order is given again. Orders carry the
//! region's epoch, so an order that comes late or twice does no harm.
//!
//! Invariants:
//! - One operator for a region at a time. Only a more urgent one takes its place.
//! - A plan is worked out to its end before it begins: each step's membership, conf_ver included, is known beforehand. A
//!   region whose membership moves otherwise ends its operator, with the reason.
//! - No plan goes through a membership in which the voters known to be healthy are fewer than a quorum.
//! - Replicas are added before others are taken away, and only once they have caught up do they vote.
//! - What checkers do to a store at once is bounded: operators, snapshots, peers added and removed each minute.
//! - The same inputs give the same outputs, in the same order.
//!
//! What it must never do: look at a clock (moments are handed in), draw chance, perform IO, remember anything that must
//! outlive a restart. Operators live in memory; after a restart the checkers see what is half done and finish or undo it.
//!
//! What is absent: schedulers that spread load. They will propose operators from [`Cluster`]'s counts by the same way as
//! the checkers. Merges have their place among the [`Step`]s, and the orders among [`OrderKind`].
//!
//! Reading order: [`region`], [`store`], [`members`], [`step`], [`operator`], `plan`, [`controller`], [`obstacle`], `checker`,
//! [`machine`], [`drain`].

mod candidates;
mod checker;
pub mod cluster;
pub mod command;
pub mod config;
pub mod controller;
pub mod drain;
pub mod error;
mod limits;
pub mod machine;
pub mod members;
pub mod obstacle;
pub mod operator;
pub mod order;
mod plan;
pub mod region;
mod scatter;
mod score;
pub mod step;
pub mod store;

pub use candidates::Unfit;
pub use cluster::{Cluster, StoreCounts};
pub use command::Command;
pub use config::{ConfigError, PlacementConfig};
pub use controller::{OperatorRecord, Totals};
pub use drain::Drain;
pub use error::PlacementError;
pub use machine::Placement;
pub use members::Members;
pub use obstacle::Obstacle;
pub use operator::{Ending, Operator, OperatorId, Origin, Priority};
pub use order::{OrderKind, PeerChange, PeerChangeKind, RegionOrder, SplitPolicy};
pub use region::{DownPeer, RegionState};
pub use step::Step;
pub use store::{StoreLoad, StoreState};
