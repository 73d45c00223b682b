//! The service of a store, `tikvpb.Tikv`: raw requests, one call at a time or many on one `BatchCommands` stream.
//!
//! A request becomes a `plan`: a command for the region's log, or a read of a confirmed snapshot. One
//! evaluator carries plans out for both ways in, and no task is started for a request: a store's thread hands
//! the answer to the call or to the stream that waits for it, and reads of the engine are done there.
//!
//! Invariants: every request is answered exactly once; a request whose outcome nobody knows is never answered by a
//! region error, because clients repeat it then; a page of a scan is as long as was asked for, unless the region
//! ends before, or it is refused; everything that waits is bounded ([`KvConfig`]).
//!
//! This module must never block one of the store's threads, or trust a size that a client says.
//!
//! Reading order: `service`, `evaluate`, `plan`, `write`, `read`, `scan`, `batch`, `split`.

mod admission;
mod batch;
mod checksum;
mod config;
mod deadline;
mod evaluate;
mod header;
mod plan;
mod read;
mod refusal;
mod scan;
mod service;
mod split;
mod unsupported;
mod write;

pub use config::KvConfig;
pub use service::{TikvGrpc, TikvService};
