//! Words shared by every crate: ids, epochs, key ranges, region descriptors, requests and their errors.
//!
//! Invariants: every id, index and term is a newtype; nothing here performs IO, looks at a clock or draws a random
//! number. This crate depends on no other crate of the workspace.
//!
//! Reading order: [`id`], [`range`], [`descriptor`], [`request`], [`error`], then the helpers.

pub mod backoff;
pub mod causes;
pub mod codec;
pub mod column_family;
pub mod descriptor;
pub mod error;
pub mod id;
pub mod limits;
pub mod planted;
pub mod range;
pub mod request;
pub mod seed;
pub mod time;

pub use column_family::ColumnFamily;
pub use descriptor::{Peer, PeerRole, RegionDescriptor, RegionEpoch};
pub use error::{ErrorCode, RequestError};
pub use id::{ClusterId, Generation, InstanceId, LogIndex, PeerId, ReadyNumber, RegionId, Round, StoreId, Term};
pub use planted::{PlantedBug, PlantedBugs};
pub use range::KeyRange;
pub use request::{CommandOutput, RequestHeader, Responder, WriteOutput, WriteResponder, WriteResult};
pub use time::Instant;
