//! The client that reads and writes keys.
//!
//! Reading order: [`client`] has the calls; `retry` says when a request is sent again, and when nobody may; `router`
//! makes one attempt and learns from its answer; `region_cache` and `stores` are what it learned; `batch_stream`
//! multiplexes requests on few streams.

pub mod client;
pub mod config;
pub mod error;

mod batch_stream;
mod call;
mod many;
mod pieces;
mod region_cache;
mod retry;
mod router;
mod stores;

pub use client::{RawClient, Swap};
pub use config::ClientConfig;
pub use error::ClientError;
pub use pieces::{Checksum, ScanOptions};
