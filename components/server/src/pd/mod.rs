//! The services of the placement driver's port, over a [`coordinator::Coordinator`].
//!
//! `pdpb.PD` is what TiKV's clients and our stores ask; `raftyard.coordinator.Coordinator` is how our stores are born.
//! Beside them stand the small services that clients cannot start without: keyspaces, the driver's key-value store, two
//! calls of etcd, gRPC's health check, and over HTTP the paths of `/pd/api/v1` by which people manage a cluster. What is not here answers "unimplemented", which clients of those calls expect.
//!
//! Rules of the wire, each with a test:
//! - A request names its cluster, or fails with `FailedPrecondition`; only who asks for the cluster itself need not.
//! - Every answer has a header with the cluster. A success has no error in it, not even "OK"; a refusal has its type there.
//! - A coordinator that does not lead answers `Unavailable` with the words "not leader", which clients look for.
//! - A region that is not known is an answer without a region; a store that is not known is an error.
//! - `Tso` and `QueryRegion` give one answer for each request, in order, and end well when the client ends.
//!
//! What must never happen here: a wait on a thread of the runtime, a queue without a bound, a change of the
//! coordinator's answers. Nothing is remembered but which heartbeat stream belongs to which store.
//!
//! Reading order: `services`, `bridge`, `refusal`, `call`, then the calls by subject, `convert` last.

mod bridge;
mod call;
mod compat;
mod convert;
mod driver;
mod exchange;
mod heartbeat;
mod http;
mod layout;
mod member;
mod operators;
mod orders;
mod refusal;
mod regions;
mod safe_points;
mod services;
mod stores;
mod timestamps;

pub use heartbeat::KEEPALIVE_INTERVAL;
pub use member::{Member, MemberError};
pub use orders::{ORDERS_CAPACITY, OrderError, OrderStreams};
pub use services::{MAX_REQUEST_BYTES, PdServices};
