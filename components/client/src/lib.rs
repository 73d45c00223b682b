//! Clients of a Raftyard cluster over its public protocol.
//!
//! - [`RawClient`] reads and writes keys: it finds each key's region, asks the region's leader, and tries again as the
//!   answers tell it to. Load generators, benches, tests and tools use it.
//! - [`PdClient`] speaks to the placement driver: stores register, report and learn addresses with it; [`RawClient`]
//!   finds regions with it.
//! - [`http::request`] asks the status ports of stores, and the placement driver's paths for people, one question each.
//!
//! Invariants:
//! - A write whose outcome is not known is never reported as done or as not done, but as
//!   [`ClientError::Undetermined`]. A compare-and-swap with such an outcome is never sent again.
//! - Each call ends by its deadline; every cache and queue has a bound.
//! - A region error is a promise that the request had no effect; only then is a request sent again without doubt.
//!
//! A store's data path must never need this crate: a store serves while nobody places its regions.
//!
//! Reading order: [`pd`], then [`raw`]; [`http`] stands by itself.

pub mod http;
pub mod pd;
pub mod raw;

mod channel;

pub use pd::{HeartbeatEvent, NewRegionIds, PdClient, PdConfig, PdError, RegionHeartbeats, RegionRoute, SplitReason};
pub use raw::{Checksum, ClientConfig, ClientError, RawClient, ScanOptions, Swap};
