//! Words shared by every crate: ids, epochs, key ranges, region descriptors, requests and their errors.
//!
//! Invariants: every id, index and term is a newtype; nothing here performs IO, looks at a clock or draws a random
//! number. This crate depends on no other crate of the workspace.
//!
//! Reading order: [`id`], [`range`], [`descriptor`], [`epoch`] with [`split`] and [`membership`], which change it,
//! [`request`], [`error`], [`reserved`], then the helpers.

pub mod backoff;
pub mod causes;
pub mod codec;
pub mod column_family;
pub mod descriptor;
pub mod entry;
pub mod epoch;
pub mod error;
pub mod id;
pub mod limits;
pub mod membership;
pub mod planted;
pub mod range;
pub mod request;
pub mod reserved;
pub mod seed;
pub mod split;
pub mod time;

pub use column_family::ColumnFamily;
pub use descriptor::{Peer, PeerRole, RegionDescriptor};
pub use epoch::{CommandKind, RegionEpoch};
pub use error::{ErrorCode, RequestError};
pub use id::{ClusterId, Generation, InstanceId, LogIndex, PeerId, ReadyNumber, RegionId, Round, StoreId, Term};
pub use membership::{MemberChange, MemberChangeKind};
pub use planted::{PlantedBug, PlantedBugs};
pub use range::KeyRange;
pub use request::{CommandOutput, RequestHeader, Responder, WriteOutput, WriteResponder, WriteResult};
pub use split::{NewRegion, SplitPlan, SplitRegions};
pub use time::Instant;
