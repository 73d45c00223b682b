//! The placement driver's core: cluster metadata, ids, timestamps and routing, kept in a region of its own.
//!
//! [`Machine`] is pure: it takes an [`Input`] and pushes [`Effect`]s. It looks at no clock (every request carries its
//! [`Moment`]), starts no thread, draws no chance and does no IO, so the simulator runs it as it is. [`Coordinator`]
//! drives it over a [`Journal`]; [`StoreJournal`] is the journal that a `store` hosts. The gRPC services live in `server`.
//!
//! What is durable: who the cluster is, its stores, the layout it was born with, safe points, settings that people
//! changed, and the bounds of the timestamps and ids that were given away. What is volatile, and learnt again from
//! heartbeats: regions, leaders, which stores are alive, and the operators that follow from them (`placement`).
//!
//! Invariants:
//! - **D16.** A leadership begins with a claim: a write of its own term, and once that is applied a linearizable read of
//!   everything. Whoever loses the leadership forgets all it knew and answers "not leader".
//! - A change is written before memory shows it and before its answer leaves. One write is under way at a time, and no
//!   claim begins before it is answered: so what is in memory is what is in the region.
//! - A timestamp lies below a durable bound, an id at or below one; a claim goes on above both. Neither ever repeats or
//!   goes back, whatever crashes and whatever the clock says.
//! - **D14.** The layout is handed to the disks that it was made for, by instance id, and to none that confirmed its
//!   bootstrap.
//! - A store that leaves is gone only once every key is in a region that has reported, and none of them is on it.
//! - The routing table never holds two regions with a key in common, nor goes back to an older epoch or term. A key that was
//!   in a region is never without a route: while nobody claims it, it leads to whoever had it last.
//!
//! What is absent: the region has one member. With several, a deposed leader that does not know it yet could still give
//! timestamps below its bound, which are unique but older than its successor's: each batch would have to be confirmed
//! by a read index first.
//!
//! Reading order: [`request`], [`machine`], `leader`, `transaction`, then [`timestamp`], [`layout`], [`routing`],
//! `remnants`, [`record`], and last [`journal`], [`host`] and [`leadership`].

pub mod config;
pub mod error;
pub mod host;
mod ids;
pub mod journal;
pub mod layout;
mod leader;
pub mod leadership;
pub mod machine;
mod meta;
pub mod record;
mod remnants;
pub mod request;
pub mod routing;
pub mod safe_point;
pub mod store_info;
pub mod timestamp;
mod transaction;
pub mod version;
pub mod view;

pub use config::{CoordinatorConfig, even_split_keys};
pub use error::CoordinatorError;
pub use host::{Coordinator, OrderSink, Surroundings};
pub use journal::{Journal, StoreJournal};
pub use layout::LayoutAnswer;
pub use leadership::{Leadership, home_region};
pub use machine::{Effect, Input, Machine};
pub use request::{Change, IdBatch, Moment, Reply, Request, SplitIds, StoreOrders};
pub use routing::{DownPeer, Flow, RegionCounts, RegionInfo, RegionReport};
pub use safe_point::{SafePoints, ServiceAnswer, ServiceSafePoint, TxnAdvance};
pub use store_info::{StoreDescription, StoreHealth, StoreRecord, StoreState, StoreStats, StoreView};
pub use timestamp::Timestamp;
pub use view::View;
