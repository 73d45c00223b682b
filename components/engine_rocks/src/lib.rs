//! Both engines of a store on RocksDB.
//!
//! - [`RocksLogEngine`]: one column family, write-ahead log on, one fsync for each synced batch. It is the truth.
//! - [`RocksStateEngine`]: four column families, write-ahead log off, all flushed at one cut. It may fall back.
//!
//! Invariants: a batch of the log engine is written whole or not at all, and after a write that failed the engine
//! takes no more (D15). The state engine is flushed by the one call that takes all column families (D2). Which regions
//! there are, whose their logs are and where these begin and end is held in memory, so that no write reads the disk.
//!
//! This crate alone knows RocksDB; none of RocksDB's types is in its interface. It must never serve a directory that
//! another engine or a newer build made. `docs/format.md` shows every key and record byte by byte.
//!
//! Reading order: [`config`], `format`, `keys`, `options`, then `log` and `state`.

#[macro_use]
mod failpoint;

pub mod config;
mod error;
mod format;
mod gauges;
mod keys;
mod log;
mod options;
mod state;

pub use config::{Compression, ConfigError, LogEngineConfig, StateEngineConfig};
pub use format::{LOG_ENGINE_FORMAT, STATE_ENGINE_FORMAT};
pub use gauges::EngineGauges;
pub use log::RocksLogEngine;
pub use state::RocksStateEngine;
