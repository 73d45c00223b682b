//! Both engines in memory, with crashes and faults.
//!
//! A [`MemDisk`] is one store's disk. [`MemLogEngine`] and [`MemStateEngine`] are opened on it, die when it crashes,
//! and can be opened again on what is left. It is what tests and the simulator run stores on, so it promises no more
//! than the traits do, and less than RocksDB where RocksDB is kinder than its contract.
//!
//! **The log engine** keeps, for each write that no sync covered yet, what the write replaced. A crash takes any number
//! of them back, newest first, each whole. A failed write or sync poisons the engine until the disk is opened again (D15).
//! What is there when it is opened is durable.
//!
//! **The state engine** keeps what the last flush wrote and, in order, everything since. A crash keeps any number of
//! the batches since, oldest first. Two operations do not wait for a flush (D6):
//! - *Ingest* is durable at once, in its place among the batches: a crash that loses the batches before it leaves the
//!   ingested keys on top of what is left. RocksDB flushes its memtables first when they overlap the file, and then
//!   loses less; no caller may lean on that.
//! - *Deleting files* takes the range's keys out of what is durable, ingested ones included, and leaves what batches
//!   since the flush wrote, as memtables stay. The lowest durable key of the range stays in each column family, as if its
//!   file crossed the border: whoever wants the range empty deletes it as a range too.
//!
//! The state engine flushes by itself when a bound of unflushed bytes is met, like a full memtable. A handle that is dropped in
//! order keeps what the log engine wrote, synced or not, and of the state engine only what was flushed.
//!
//! Nothing here draws chance or looks at a clock: where a crash strikes is chosen by the [`Rng`](types::seed::Rng) or
//! the [`CrashPoint`] that is handed in, and a stall is a hook that the driver provides ([`Fault::Stall`]).
//!
//! Reading order: [`disk`], [`fault`], then `log_content` and `log`, `tree`, `state_content` and `state`, `file`,
//! `files` and [`folder`].

pub mod disk;
pub mod fault;
mod file;
mod files;
pub mod folder;
mod log;
mod log_content;
mod space;
mod state;
mod state_content;
mod tree;

#[cfg(test)]
mod tests;

pub use disk::{CrashPoint, MemDisk, MemOptions};
pub use fault::{Fault, FaultPoint};
pub use folder::MemFolder;
pub use log::MemLogEngine;
pub use state::MemStateEngine;
