//! Messages between stores over gRPC.
//!
//! A store has one stream to each other store that it has something to say to; the sender opens it. Messages of all
//! regions share it, gathered into frames. [`GrpcTransport::send`] only puts a message into its destination's queue and
//! [`GrpcTransport::flush`] wakes the task that empties it, so a poller never waits.
//!
//! A stream begins with a Hello: cluster, sender, receiver, the sender's instance. The receiver refuses what is not
//! meant for it with a gRPC status that says why, and answers a Welcome with its own instance otherwise. Both sides
//! have the other's instance checked (D14) before a message counts.
//!
//! Invariants:
//! - Nothing here is reliable, and nothing needs to be: raft sends again. A full queue or a broken stream drops
//!   messages, counts them, and tells the local store that the other is unreachable. Within a stream the order is kept.
//! - Every queue, frame and wait has a bound in [`TransportConfig`].
//! - What comes in is checked before it is handed on: it must be a raft message, from the store that said Hello, to this
//!   store. Anything else is dropped and counted, or ends the stream; nothing a stranger sends makes this crate panic.
//!
//! This crate must never block a poller, and never look into a raft message beyond its type and size.
//!
//! Reading order: [`config`], [`collaborators`], `wire`, `queue`, `link` (the sending half), `inbound` (the
//! receiving half), [`transport`].

pub mod collaborators;
pub mod config;
pub mod metrics;
pub mod transport;

mod inbound;
mod link;
mod queue;
mod session;
mod shared;
mod wire;

pub use collaborators::{
    AddressResolver, Collaborators, InstanceCheck, InstanceError, Receiver, ResolveError, StoreIdentity,
};
pub use config::{TransportConfig, TransportSecurity};
pub use inbound::Inbound;
pub use metrics::TransportMetrics;
pub use transport::GrpcTransport;
