//! Snapshots of regions: built from the state engine, and brought to a peer that the log alone cannot help any more.
//!
//! A snapshot is a [`Manifest`] and the sorted files that it lists, or, for a region with next to nothing in it, a manifest that
//! holds the data itself. [`Builder`] makes one from a [`SnapshotSource`], a moment of the state engine, in steps of a
//! bounded number of bytes.
//!
//! Invariants:
//! - What a snapshot holds is one moment of one region: descriptor, index, term and data are read from the same
//!   engine snapshot, and nothing outside of the region's range comes along.
//! - A manifest is written last, after everything that it lists is durable. So a manifest that reads vouches for its files.
//! - Every way out leaves nothing behind: files belong to the value that made them and go when it is dropped; what a crash
//!   leaves is removed by [`sweep`] at the next start, which a store runs before anything else here.
//! - Names of files are made of numbers that this store knows. Nothing that another store says becomes part of a path.
//!
//! This crate must never know RocksDB or gRPC, start a thread, look at a clock or draw chance. All of its files are used
//! through [`SnapshotFiles`]: [`Directory`] in production, [`MemoryFiles`] in the simulator.
//!
//! Reading order: `name`, `files`, `manifest`, `source`, `build`, `sweep`.

mod build;
mod digest;
mod directory;
mod files;
mod manifest;
mod memory_files;
mod name;
mod owned;
mod seal;
mod source;
mod sweep;

pub use build::{BuildConfig, BuildError, BuildStep, Builder, BuiltSnapshot};
pub use directory::Directory;
pub use files::{FilesError, Listed, SharedFiles, SnapshotFiles};
pub use manifest::{
    Content, FileEntry, InlinePair, MANIFEST_FORMAT_VERSION, MAX_INLINE_BYTES, MAX_MANIFEST_BYTES, Manifest,
    ManifestError,
};
pub use memory_files::MemoryFiles;
pub use name::{Direction, FileName, ForeignName, Part, SnapshotKey};
pub use source::{SnapshotSource, SourceError};
pub use sweep::{Swept, sweep};
