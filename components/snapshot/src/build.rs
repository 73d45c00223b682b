//! Building a snapshot, a bounded number of bytes at a time.

use std::sync::Arc;

use bytes::Bytes;
use engine::{EngineError, IterRange, SstWriter, StateEngine};
use types::{ColumnFamily, ErrorCode, KeyRange};

use crate::digest::FileDigest;
use crate::files::{FilesError, SharedFiles};
use crate::manifest::{Content, FileEntry, InlinePair, MAX_INLINE_BYTES, Manifest, ManifestError};
use crate::name::{FileName, Part, SnapshotKey};
use crate::owned::OwnedFiles;
use crate::seal;
use crate::source::SnapshotSource;

/// Bounds of what is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildConfig {
    /// A file takes no further key once it holds this many bytes of keys and values. Compressed, it is smaller.
    pub max_file_bytes: u64,
    /// A region with no more bytes of keys and values than these travels inside its manifest. At most
    /// [`MAX_INLINE_BYTES`] counts.
    pub inline_bytes: usize,
}

impl Default for BuildConfig {
    fn default() -> Self {
        Self { max_file_bytes: 100 << 20, inline_bytes: 64 << 10 }
    }
}

/// A snapshot could not be built. What there was of it is gone when the builder is.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The state engine failed.
    #[error("building a snapshot: {0}")]
    Engine(#[from] EngineError),
    /// A file could not be used.
    #[error("building a snapshot: {0}")]
    Files(#[from] FilesError),
    /// What was built makes no manifest.
    #[error("building a snapshot: {0}")]
    Manifest(#[from] ManifestError),
    /// A file did not read back as long as it was written.
    #[error("building a snapshot: {name} reads back as {found} bytes, {expected} were written; check the store's disk")]
    ReadBack {
        /// The file.
        name: FileName,
        /// Bytes that were written.
        expected: u64,
        /// Bytes that were read.
        found: u64,
    },
}

impl BuildError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Engine(error) => error.code(),
            Self::Files(error) => error.code(),
            Self::Manifest(error) => error.code(),
            Self::ReadBack { .. } => ErrorCode("RY-SNAPSHOT-031"),
        }
    }

    /// Whether the disk is full: the next attempt waits until there is room.
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::Engine(EngineError::DiskFull { .. }) | Self::Files(FilesError::DiskFull { .. }))
    }
}

/// How a step of a [`Builder`] ended.
#[derive(Debug)]
pub enum BuildStep {
    /// There is more to do.
    More,
    /// The snapshot is complete and durable.
    Built(BuiltSnapshot),
}

/// Builds one snapshot.
///
/// A worker calls [`step`](Self::step) until it is built, and may do other things, or drop the builder, between any two
/// steps: dropping it is how a snapshot is cancelled, and leaves no file behind.
pub struct Builder {
    engine: Arc<dyn StateEngine>,
    source: SnapshotSource,
    config: BuildConfig,
    key: SnapshotKey,
    owned: OwnedFiles,
    entries: Vec<FileEntry>,
    bytes_done: u64,
    phase: Phase,
}

/// Where in the region the next key is looked for.
struct Cursor {
    /// The place of the column family in [`ColumnFamily::ALL`].
    family: usize,
    start: Bytes,
}

enum Phase {
    /// Nothing is known about the region's size.
    Begin,
    /// Keys are being written, into `file` when it has any.
    Write { at: Cursor, file: Option<OpenFile> },
    /// A finished file is being read back for its checksum.
    ReadBack { at: Cursor, entry: FileEntry, digest: FileDigest },
    /// All data is in its files, or inline.
    Seal { content: Content },
    /// It was built, or a step failed.
    Over,
}

/// A file that takes keys.
struct OpenFile {
    family: ColumnFamily,
    writer: Box<dyn SstWriter>,
    first: Bytes,
    last: Bytes,
    keys: u64,
    /// Bytes of keys and values.
    bytes: u64,
}

impl Builder {
    /// Begins to build. Nothing is read or written before the first step.
    pub fn new(
        engine: Arc<dyn StateEngine>,
        files: SharedFiles,
        key: SnapshotKey,
        source: SnapshotSource,
        config: BuildConfig,
    ) -> Self {
        let owned = OwnedFiles::new(files);
        Self { engine, source, config, key, owned, entries: Vec::new(), bytes_done: 0, phase: Phase::Begin }
    }

    /// Its name.
    pub fn key(&self) -> SnapshotKey {
        self.key
    }

    /// Bytes of keys and values that were written, for showing progress.
    pub fn bytes_done(&self) -> u64 {
        self.bytes_done
    }

    /// Goes on by about `budget` bytes: one key and its value more at the most, and the finishing of one file.
    ///
    /// # Errors
    /// After an error the snapshot cannot be built any more: drop the builder.
    ///
    /// # Panics
    /// When it is called again after it has built the snapshot or failed.
    pub fn step(&mut self, budget: usize) -> Result<BuildStep, BuildError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        self.phase = match phase {
            Phase::Begin => self.begin()?,
            Phase::Write { at, file } => self.write(at, file, budget)?,
            Phase::ReadBack { at, entry, digest } => self.read_back(at, entry, digest, budget)?,
            Phase::Seal { content } => return self.seal(content).map(BuildStep::Built),
            Phase::Over => panic!("a step of snapshot {} after its last", self.key),
        };
        Ok(BuildStep::More)
    }

    /// Reads the region until it is known to be tiny or not.
    fn begin(&mut self) -> Result<Phase, BuildError> {
        let limit = self.config.inline_bytes.min(MAX_INLINE_BYTES);
        if let Some(pairs) = self.read_inline(limit)? {
            return Ok(Phase::Seal { content: Content::Inline(pairs) });
        }
        Ok(Phase::Write { at: Cursor { family: 0, start: self.source.region.range.start.clone() }, file: None })
    }

    /// The whole region; `None` when it has more bytes than the limit.
    fn read_inline(&self, limit: usize) -> Result<Option<Vec<InlinePair>>, BuildError> {
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        for family in ColumnFamily::ALL {
            let mut iter = self.source.data.iter(family.into(), long_scan(self.source.region.range.clone()))?;
            let mut on_key = iter.seek_to_first()?;
            while on_key {
                bytes += iter.key().len() + iter.value().len();
                if bytes > limit {
                    return Ok(None);
                }
                let (key, value) = (Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value()));
                pairs.push(InlinePair { family, key, value });
                on_key = iter.next()?;
            }
        }
        Ok(Some(pairs))
    }

    /// Writes keys until the budget is spent, the file is full or the column family ends.
    fn write(&mut self, mut at: Cursor, mut file: Option<OpenFile>, budget: usize) -> Result<Phase, BuildError> {
        let Some(&family) = ColumnFamily::ALL.get(at.family) else {
            return Ok(Phase::Seal { content: Content::Files(std::mem::take(&mut self.entries)) });
        };
        let range = KeyRange { start: at.start.clone(), end: self.source.region.range.end.clone() };
        let data = Arc::clone(&self.source.data);
        let mut iter = data.iter(family.into(), long_scan(range))?;
        let mut on_key = iter.seek_to_first()?;
        let mut spent = 0;
        while on_key {
            if spent > 0 && spent >= budget {
                return Ok(Phase::Write { at, file });
            }
            let (key, value) = (iter.key(), iter.value());
            let open = match file.take() {
                Some(open) => file.insert(open),
                None => file.insert(self.open_file(family, key)?),
            };
            open.put(key, value)?;
            let bytes = key.len() + value.len();
            spent += bytes.max(1);
            self.bytes_done += bytes as u64;
            at.start = successor(key);
            if open.bytes >= self.config.max_file_bytes {
                break;
            }
            on_key = iter.next()?;
        }
        if !on_key {
            at = Cursor { family: at.family + 1, start: self.source.region.range.start.clone() };
        }
        match file {
            Some(file) => Ok(Phase::ReadBack { at, entry: file.finish()?, digest: FileDigest::new() }),
            None => Ok(Phase::Write { at, file: None }),
        }
    }

    fn open_file(&mut self, family: ColumnFamily, first: &[u8]) -> Result<OpenFile, BuildError> {
        let name = self.owned.add(self.data_name(family));
        let writer = self.engine.sst_writer(family.into(), &self.owned.files.path(&name))?;
        let first = Bytes::copy_from_slice(first);
        Ok(OpenFile { family, writer, last: first.clone(), first, keys: 0, bytes: 0 })
    }

    /// The name of the file that is being built.
    fn data_name(&self, family: ColumnFamily) -> FileName {
        FileName::new(self.key, Part::Data(family, self.entries.len() as u32))
    }

    /// Reads a finished file on. What is sent later is compared with what the disk gave at this time.
    fn read_back(
        &mut self,
        at: Cursor,
        mut entry: FileEntry,
        mut digest: FileDigest,
        budget: usize,
    ) -> Result<Phase, BuildError> {
        let name = self.data_name(entry.family);
        let max = budget.max(1);
        if digest.read(&*self.owned.files, &name.to_string(), max)? == max {
            return Ok(Phase::ReadBack { at, entry, digest });
        }
        if digest.bytes() != entry.bytes {
            return Err(BuildError::ReadBack { name, expected: entry.bytes, found: digest.bytes() });
        }
        entry.checksum = digest.checksum();
        self.entries.push(entry);
        Ok(Phase::Write { at, file: None })
    }

    /// Writes the manifest of a snapshot that has files. One without lives in memory alone.
    fn seal(&mut self, content: Content) -> Result<BuiltSnapshot, BuildError> {
        let SnapshotSource { region, index, term, .. } = self.source.clone();
        let manifest = Manifest { region, index, term, content };
        let encoded = manifest.encode();
        // What the receiver would refuse is not offered to it.
        Manifest::decode(&encoded)?;
        if !manifest.files().is_empty() {
            seal::write_manifest(&mut self.owned, self.key, &encoded)?;
        }
        let files = Arc::clone(&self.owned.files);
        let owned = std::mem::replace(&mut self.owned, OwnedFiles::new(files));
        Ok(BuiltSnapshot { key: self.key, manifest, encoded, owned })
    }
}

impl OpenFile {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.writer.put(key, value)?;
        self.last = Bytes::copy_from_slice(key);
        self.keys += 1;
        self.bytes += (key.len() + value.len()) as u64;
        Ok(())
    }

    /// Ends the file, durably. Its checksum is not known yet.
    fn finish(self) -> Result<FileEntry, EngineError> {
        let bytes = self.writer.finish()?;
        Ok(FileEntry { family: self.family, bytes, checksum: 0, first: self.first, last: self.last, keys: self.keys })
    }
}

/// A scan that leaves the block cache to those who read often.
fn long_scan(range: KeyRange) -> IterRange {
    IterRange { skip_cache: true, ..IterRange::new(range) }
}

/// The smallest key above this one.
fn successor(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// A complete snapshot of a region, ready to be sent, to several stores if need be. Dropping it removes its files.
#[derive(Debug)]
pub struct BuiltSnapshot {
    key: SnapshotKey,
    manifest: Manifest,
    encoded: Bytes,
    owned: OwnedFiles,
}

impl BuiltSnapshot {
    /// Its name.
    pub fn key(&self) -> SnapshotKey {
        self.key
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest as it travels.
    pub fn manifest_bytes(&self) -> &Bytes {
        &self.encoded
    }

    /// Part of a file, by the file's place in the manifest: up to `max` bytes from an offset on, fewer at its end only.
    ///
    /// # Panics
    /// When the manifest lists no such file.
    pub fn read(&self, place: usize, offset: u64, max: usize) -> Result<Bytes, FilesError> {
        let family = self.manifest.files()[place].family;
        let name = FileName::new(self.key, Part::Data(family, place as u32)).to_string();
        self.owned.files.read(&name, offset, max)
    }
}
