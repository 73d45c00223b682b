//! What the transport needs of those who build and take snapshots.
//!
//! Neither side of a snapshot is known here: what travels are the messages of `proto`, in the order that
//! `proto/raftyard/transport.proto` tells. All calls may block; they are made on threads that may, one at a time for each
//! snapshot.

use std::time::Duration;

use bytes::Bytes;
use proto::transport::{SnapshotAnswer, SnapshotChunk, SnapshotRefused};
use region::RegionMessage;
use types::StoreId;

/// What a source wants its stream to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceStep {
    /// Send this, and ask again.
    Chunk(SnapshotChunk),
    /// Ask again after the next answer.
    Wait,
    /// Ask again after the next answer, or so much later.
    Pause(Duration),
    /// The receiver has everything: the stream may end.
    Delivered,
}

/// A source does not go on with its stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceStop {
    /// Another stream may do better, after a pause.
    #[error("{0}")]
    Retry(String),
    /// The snapshot is given up.
    #[error("{0}")]
    GiveUp(String),
}

/// A snapshot to be sent. Dropped when it is delivered or given up.
pub trait SnapshotSource: Send + 'static {
    /// Raft's snapshot message, without data: whom the snapshot is for, and of what index and term it is.
    fn message(&self) -> RegionMessage;

    /// The snapshot's manifest.
    fn manifest(&self) -> Bytes;

    /// A stream is open, and message and manifest were offered on it. What was under way on an older one is lost.
    fn connected(&mut self);

    /// What to do next. Also called before each attempt to connect, and now and then while an answer is being waited for,
    /// so that a snapshot that nobody wants any more ends.
    fn step(&mut self) -> Result<SourceStep, SourceStop>;

    /// The receiver answered.
    fn answer(&mut self, answer: SnapshotAnswer) -> Result<(), SourceStop>;
}

/// A snapshot was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendSnapshotError {
    /// As many snapshots as may be are being sent.
    #[error("{0} snapshots are being sent, no more may be: try again later")]
    TooMany(usize),
    /// Its source gave it up.
    #[error("snapshot given up: {0}")]
    GivenUp(String),
    /// No stream of the last few got anywhere.
    #[error("snapshot given up after {attempts} attempts without progress, the last: {cause}")]
    Unreachable {
        /// How many attempts.
        attempts: u32,
        /// Why the last one failed.
        cause: String,
    },
}

/// Takes snapshots that other stores send. Called on threads that may block.
pub trait SnapshotHandler: Send + Sync + 'static {
    /// A store offers a snapshot to a peer of this store. The message is a raft message from that store to this one;
    /// everything else about it and the manifest is the handler's to judge.
    fn offer(
        &self,
        from: StoreId,
        message: RegionMessage,
        manifest: Bytes,
    ) -> Result<Box<dyn SnapshotSink>, SnapshotRefused>;
}

/// A chunk was taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkStep {
    /// What to say to the sender, if anything.
    pub answer: Option<SnapshotAnswer>,
    /// How long to wait before saying it and taking more.
    pub pause: Duration,
}

/// One snapshot that is being received on one stream. After an error nothing but
/// [`interrupted`](Self::interrupted) is called.
pub trait SnapshotSink: Send + 'static {
    /// The answer to the offer.
    fn wanted(&mut self) -> SnapshotAnswer;

    /// Takes a chunk.
    fn take(&mut self, chunk: SnapshotChunk) -> Result<SinkStep, SnapshotRefused>;

    /// Whether every file is here.
    fn has_all(&self) -> bool;

    /// Goes on looking through what is here. True when it is whole, durable, and handed to its region: the sender is told.
    fn step(&mut self) -> Result<bool, SnapshotRefused>;

    /// The stream ended, in whatever way, also after its last step. Must not block for long.
    fn interrupted(self: Box<Self>);
}
