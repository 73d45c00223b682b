//! The state engine: user data, apply states and descriptors; a view of the log that may lag after a crash.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use types::reserved::is_reserved;
use types::{ColumnFamily, KeyRange, LogIndex, RegionDescriptor, Round};

use crate::error::Result;
use crate::meta::WriterId;

/// A column family of the state engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// One that users write.
    User(ColumnFamily),
    /// Descriptors, apply states and rounds; its keys are in [`crate::meta`].
    Meta,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::User(ColumnFamily::Default),
        Self::User(ColumnFamily::Lock),
        Self::User(ColumnFamily::Write),
        Self::Meta,
    ];

    /// The name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User(family) => family.name(),
            Self::Meta => "meta",
        }
    }
}

impl From<ColumnFamily> for Family {
    fn from(family: ColumnFamily) -> Self {
        Self::User(family)
    }
}

/// One change of the state engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateOp {
    /// Sets a key's value.
    Put(Family, Bytes, Bytes),
    /// Removes a key.
    Delete(Family, Bytes),
    /// Removes all keys of a range by a range tombstone (D12). An empty range is no change.
    DeleteRange(Family, KeyRange),
}

/// Changes that become visible together and are flushed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateBatch {
    ops: Vec<StateOp>,
    bytes: usize,
}

/// A place in a batch to which it can be rolled back.
#[derive(Clone, Copy, Debug)]
pub struct SavePoint {
    ops: usize,
    bytes: usize,
}

impl StateBatch {
    /// Sets a key's value.
    pub fn put(&mut self, family: impl Into<Family>, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.ops.push(StateOp::Put(family.into(), key, value));
    }

    /// Removes a key.
    pub fn delete(&mut self, family: impl Into<Family>, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len();
        self.ops.push(StateOp::Delete(family.into(), key));
    }

    /// Removes all keys of a range; an empty range changes nothing.
    pub fn delete_range(&mut self, family: impl Into<Family>, range: KeyRange) {
        if !range.is_empty() {
            self.bytes += range.start.len() + range.end.len();
            self.ops.push(StateOp::DeleteRange(family.into(), range));
        }
    }

    /// Notes the writer's round in the batch, so that its durability can be asked for (D3).
    pub fn set_round(&mut self, writer: WriterId, round: Round) {
        self.put(Family::Meta, writer.key(), Bytes::copy_from_slice(&round.0.to_be_bytes()));
    }

    /// A place to come back to.
    pub fn save_point(&self) -> SavePoint {
        SavePoint { ops: self.ops.len(), bytes: self.bytes }
    }

    /// Forgets every change made since the place was noted.
    ///
    /// # Panics
    /// When the place lies behind the batch's end, because an earlier one was rolled back to since.
    pub fn roll_back(&mut self, to: SavePoint) {
        assert!(to.ops <= self.ops.len(), "roll back to a save point that is gone");
        self.ops.truncate(to.ops);
        self.bytes = to.bytes;
    }

    /// The changes, in order.
    pub fn ops(&self) -> &[StateOp] {
        &self.ops
    }

    /// How many bytes of keys and values the batch holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.bytes = 0;
    }
}

/// The part of the key space that an iterator may see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IterRange {
    /// The keys that it may see.
    pub range: KeyRange,
    /// Whether only keys are asked for, so that the engine may skip reading values. Values are empty then.
    pub key_only: bool,
    /// Whether blocks that are read should stay out of the cache (long scans).
    pub skip_cache: bool,
}

impl IterRange {
    /// Keys and values of a range.
    pub fn new(range: KeyRange) -> Self {
        Self { range, key_only: false, skip_cache: false }
    }
}

/// A position in the ordered keys of one column family; not placed until the first `seek…`.
///
/// Every move returns whether the iterator now stands on a key of its range.
pub trait StateIterator: Send {
    /// To the first key.
    fn seek_to_first(&mut self) -> Result<bool>;
    /// To the last key.
    fn seek_to_last(&mut self) -> Result<bool>;
    /// To the first key that is not below `key`.
    fn seek(&mut self, key: &[u8]) -> Result<bool>;
    /// To the last key that is not above `key`.
    fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool>;
    /// To the next key. Only when standing on one.
    fn next(&mut self) -> Result<bool>;
    /// To the key before. Only when standing on one.
    fn prev(&mut self) -> Result<bool>;
    /// The key. Only when standing on one.
    fn key(&self) -> &[u8];
    /// The value. Only when standing on a key.
    fn value(&self) -> &[u8];
}

/// Reads, of the engine as it is now or of a snapshot.
pub trait StateRead: Send + Sync {
    /// A key's value.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>>;

    /// An iterator over a range of one column family. It sees one moment, that of its creation (or the snapshot's).
    fn iter(&self, family: Family, range: IterRange) -> Result<Box<dyn StateIterator + '_>>;
}

/// A read of one region that was confirmed to be linearizable: what the region held at some moment between the
/// request and its answer.
#[derive(Clone)]
pub struct RegionSnapshot {
    /// The region at that moment.
    pub descriptor: Arc<RegionDescriptor>,
    /// The newest log index that the snapshot is sure to hold.
    pub applied: LogIndex,
    /// The data. It shows the whole store: who reads for a user keeps to [`user_range`](Self::user_range).
    pub data: Arc<dyn StateRead>,
}

impl RegionSnapshot {
    /// The part of the region that users may see in a column family.
    pub fn user_range(&self, family: ColumnFamily) -> KeyRange {
        self.descriptor.range.for_users(family)
    }

    /// A key's value, as users see it: the [reserved key](types::reserved) has none. The key must lie in the region.
    ///
    /// # Errors
    /// The engine's.
    pub fn user_value(&self, family: ColumnFamily, key: &[u8]) -> Result<Option<Bytes>> {
        if is_reserved(family, key) { Ok(None) } else { self.data.get(family.into(), key) }
    }
}

impl std::fmt::Debug for RegionSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegionSnapshot {{ region: {}, applied: {} }}", self.descriptor.id, self.applied)
    }
}

/// Writes one sorted file for [`StateEngine::ingest`].
pub trait SstWriter: Send {
    /// Adds a key, above all keys before it.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;
    /// Ends the file and makes it durable. Returns its size in bytes.
    ///
    /// # Errors
    /// When no key was added.
    fn finish(self: Box<Self>) -> Result<u64>;
}

/// A finished file, for one column family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestFile {
    /// Where its keys go.
    pub family: Family,
    /// Where it lies.
    pub path: PathBuf,
}

/// Reads a finished file before it is ingested, to see what is in it.
pub trait FileReader: Send {
    /// The keys that come next, in the order in which they lie in the file, with as many as have `max_bytes` of keys
    /// and values between them (one at the least). None when there are no more.
    ///
    /// # Errors
    /// `Corruption` when the file is damaged.
    fn next_keys(&mut self, max_bytes: usize) -> Result<Vec<Bytes>>;
}

/// Counts since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateStatistics {
    /// Bytes written by flushes, before compaction.
    pub flushed_bytes: u64,
    /// Bytes written by compactions.
    pub compacted_bytes: u64,
    /// Flushes that completed.
    pub flushes: u64,
    /// Bytes in memtables that no flush has made durable yet.
    pub unflushed_bytes: u64,
    /// Bytes that the engine holds on disk, about.
    pub disk_bytes: u64,
}

/// The data of a store: four column families, no write-ahead log, atomic flush (D2).
pub trait StateEngine: StateRead + 'static {
    /// Writes a batch, whole or not at all; visible when the call returns, durable with a later flush.
    fn write(&self, batch: &StateBatch) -> Result<()>;

    /// Everything as it is now, kept for as long as the snapshot lives.
    fn snapshot(&self) -> Arc<dyn StateRead>;

    /// Makes everything written so far durable, all column families at one cut. Blocks until it is (D2, D4).
    fn flush(&self) -> Result<()>;

    /// The newest round of a writer that is known to be durable (D3): read past everything that a crash could take.
    /// Zero when none is.
    fn persisted_round(&self, writer: WriterId) -> Result<Round>;

    /// Begins a file for [`ingest`](Self::ingest).
    fn sst_writer(&self, family: Family, path: &Path) -> Result<Box<dyn SstWriter>>;

    /// Opens a finished file to look into it. The file stays as it is. The engine may need room beside it, under its
    /// name with `.check` behind, until the reader is dropped; one reader of a file at a time.
    ///
    /// # Errors
    /// `Corruption` when it is damaged, or holds anything but keys with values.
    fn read_file(&self, file: &IngestFile) -> Result<Box<dyn FileReader>>;

    /// Takes over finished files, durable at once: not part of the cut that a crash falls back to (D6). The files are
    /// moved or copied; their keys replace older values.
    fn ingest(&self, files: &[IngestFile]) -> Result<()>;

    /// Whether so many small files wait for compactions that more of them might make every write wait. Who brings many, by
    /// ingests and the flushes around them, lets the compactions catch up first (raftstore-rules §8).
    fn is_crowded(&self) -> bool {
        false
    }

    /// Drops whole files that lie in the range, durable at once (D6); keys that share a file with others stay.
    /// Only user column families are touched.
    fn delete_files_in_range(&self, range: &KeyRange) -> Result<()>;

    /// Rewrites the files of a range so that what was overwritten or deleted gives its room back, as far as the engine
    /// has such and can. Blocks until that is done, and changes nothing that can be read.
    fn compact(&self, _: &KeyRange) {}

    /// About how many bytes the keys of a range take in all user column families, memtables included.
    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64>;

    /// About how many keys a range holds in all user column families, memtables included. A key that was written
    /// again counts once for each value that no compaction has dropped yet.
    fn approximate_keys(&self, range: &KeyRange) -> Result<u64>;

    /// Counts for metrics and benchmarks.
    fn statistics(&self) -> StateStatistics;
}
