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
//! **Snapshots** have a service of their own and a connection for each, so that they never stand in front of a message. The
//! sender offers a manifest, the receiver says what it wants of it, chunks follow within a window of what the receiver has
//! verified, and a broken stream is replaced by another that goes on where the receiver is. What is in a snapshot, and who
//! may send or take one, is decided by [`SnapshotSource`] and [`SnapshotHandler`].
//!
//! This crate must never block a poller, and never look into a raft message beyond its type and size.
//!
//! Reading order: [`config`], [`collaborators`], `wire`, `queue`, `dial` and `link` (the sending half), `handshake` and
//! `inbound` (the receiving half), [`transport`]; then [`snapshot`], `snapshot_out`, `snapshot_in`.

pub mod collaborators;
pub mod config;
pub mod metrics;
pub mod transport;

mod dial;
mod handshake;
mod inbound;
mod link;
mod queue;
mod session;
mod shared;
pub mod snapshot;
mod snapshot_in;
mod snapshot_out;
mod wire;

pub use collaborators::{
    AddressResolver, Collaborators, InstanceCheck, InstanceError, Receiver, ResolveError, StoreIdentity,
};
pub use config::{TransportConfig, TransportSecurity};
pub use inbound::Inbound;
pub use metrics::TransportMetrics;
pub use snapshot::{
    SendSnapshotError, SinkStep, SnapshotHandler, SnapshotSink, SnapshotSource, SourceStep, SourceStop,
};
pub use snapshot_in::InboundSnapshots;
pub use transport::GrpcTransport;
