//! Snapshots of regions: built from the state engine, and brought to a peer that the log alone cannot help any more.
//!
//! A snapshot is a [`Manifest`] and the sorted files that it lists, or, for a region with next to nothing in it, a manifest
//! that holds the data itself. Everything here is a machine or a value: steps of a bounded number of bytes, time handed
//! in, files behind [`SnapshotFiles`]. Whoever drives it chooses the threads.
//!
//! # Who calls what, in which order
//!
//! *At start*, before anything else: [`sweep()`] with the keys that the snapshot markers in L still name. It removes what
//! crashes left, and says where [`SnapshotNumbers`] begin. For each marker, [`Recovery::open`] and [`Recovery::step`] give
//! the [`Received`] again with which D10 goes on from the clearing; an error there means damaged files: the peer stays
//! fenced and asks for a new snapshot. One [`Transfers`], one [`RateLimiter`] for each direction and one [`Receptions`]
//! live as long as the store.
//!
//! *The leader's store*, when raft asks for a snapshot:
//! 1. [`Transfers::begin`] outgoing. When it is refused, raft is told that the snapshot failed, and asks again.
//! 2. [`SnapshotSource::read`] of [`StateEngine::snapshot`](engine::StateEngine::snapshot), by the apply poller between two
//!    rounds. A moment that is in memory only is good enough: what the snapshot holds is applied, hence durable in a
//!    quorum's logs.
//! 3. [`Builder`], stepped by a worker: between two steps it looks at [`Transfer::cancelled`], and tells
//!    [`Transfer::progress`]. Dropping the builder cancels it.
//! 4. The [`Delivery`] of what was built goes to the transport with raft's message: its manifest on each new stream,
//!    then steps and answers. `Delivered` is raft's `SnapshotStatus::Finish`; an error that may not be retried is
//!    `SnapshotStatus::Failure`. Dropping the delivery removes the files.
//! 5. When the peer steps down, the epoch changes, the log is compacted past the index or the peer is removed:
//!    [`Transfers::cancel`].
//!
//! *The receiving store*, when an offer comes in:
//! 1. The region judges raft's message: does it want a snapshot at all (raftstore-rules §8)? Then [`Receptions::offer`],
//!    with what the message announces, gives a [`Reception`].
//! 2. [`Reception::wanted`], then [`Reception::take`] for each chunk, and when it has all, [`Reception::step`] until
//!    [`ReceptionStep::Received`]. Errors are told to the sender as [`ReceptionError::refusal`]. When the stream ends in any way,
//!    [`Reception::interrupted`]. A timer calls [`Receptions::expire`].
//! 3. Now [`Answer::Received`] may be said, and the region steps raft's message. D10 follows, with the [`Received`] at hand:
//!
//! | D10 | here |
//! |---|---|
//! | verify and fsync the files | done: that is what `Received` means |
//! | reserve ranges, drain, fence | |
//! | one synced L batch: marker, hard state, log reset | before it: [`Received::keep`]; the marker holds [`Received::key`] |
//! | clear the ranges | |
//! | ingest | [`Received::ingest_files`], again after each restart, since an engine may take files away |
//! | one S batch: descriptor, apply state, `gone` | [`Received::put_inline`] adds the data that has no files; descriptor, index and term are in [`Received::manifest`] |
//! | fence, one synced L batch drops the marker | after it: [`Received::remove`], then [`Transfer::finish`] |
//!
//! When the peer's raft does not take the message after all, dropping the `Received` removes it, as long as nothing was
//! kept.
//!
//! # Invariants
//!
//! - What a snapshot holds is one moment of one region: descriptor, index, term and data are read from the same
//!   engine snapshot, and nothing outside of the region's range comes along.
//! - A manifest is written last, after everything that it lists is durable. So a manifest that reads vouches for its
//!   files, on both sides.
//! - Every way out leaves nothing behind: files belong to the value that made them and go when it is dropped, unless they
//!   were [kept](Received::keep); what a crash leaves is removed by the next start's sweep.
//! - Nothing that another store says is believed: chunks, files, manifests and every key are checked before `Received`
//!   exists, and no word of it becomes part of a path.
//! - What is under way to a receiver is bounded by the window, what is in flight on a store by permits, and what is
//!   asked for again by a count.
//!
//! Files are compressed by the state engine that wrote them, block by block, as its last level is; on the wire they are
//! not compressed again. Inline data is too little to be worth it.
//!
//! This crate must never know RocksDB or gRPC, start a thread, look at a clock or draw chance.
//!
//! Reading order: `name`, `files`, `manifest`, `source`, `build`; `chunk`, `answer`, `sender`, `receiver`, `content`,
//! `received`; `transfers`, `rate`, `delivery`, `reception`; `sweep`, [`wire`].

mod answer;
mod build;
mod chunk;
mod content;
mod delivery;
mod digest;
mod directory;
mod files;
mod manifest;
mod memory_files;
mod name;
mod numbers;
mod owned;
mod rate;
mod received;
mod receiver;
mod reception;
mod seal;
mod sender;
mod source;
mod sweep;
mod transfers;
pub mod wire;

pub use answer::{Answer, Refusal, RefusalKind};
pub use build::{BuildConfig, BuildError, BuildStep, Builder, BuiltSnapshot};
pub use chunk::{Chunk, MAX_CHUNK_BYTES};
pub use content::ContentError;
pub use delivery::{Delivery, DeliveryStep};
pub use directory::Directory;
pub use files::{FilesError, Listed, SharedFiles, SnapshotFiles};
pub use manifest::{
    Content, FileEntry, InlinePair, MANIFEST_FORMAT_VERSION, MAX_INLINE_BYTES, MAX_MANIFEST_BYTES, Manifest,
    ManifestError,
};
pub use memory_files::MemoryFiles;
pub use name::{Direction, FileName, ForeignName, Part, SnapshotKey};
pub use numbers::SnapshotNumbers;
pub use rate::RateLimiter;
pub use received::{Received, Recovery};
pub use receiver::{Announced, ReceiveConfig, ReceiveError, ReceiveStep, Receiver};
pub use reception::{Offer, Reception, ReceptionConfig, ReceptionError, ReceptionStep, Receptions, Taken};
pub use sender::{SendConfig, SendError, SendStep, Sender};
pub use source::{SnapshotSource, SourceError};
pub use sweep::{Swept, sweep};
pub use transfers::{CancelReason, Refused, Transfer, TransferLimits, TransferStatus, Transfers, time_limit};
