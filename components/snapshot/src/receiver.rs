//! The receiving half, as a machine.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use engine::{EngineError, StateEngine};
use types::{ColumnFamily, ErrorCode, LogIndex, PeerId, RegionId, StoreId, Term};

use crate::answer::{Answer, Refusal, RefusalKind};
use crate::chunk::{Chunk, MAX_CHUNK_BYTES};
use crate::content::{ContentError, Depth, Inspection, Surface, check_bytes};
use crate::digest::FileDigest;
use crate::files::{FilesError, SharedFiles, SnapshotFiles};
use crate::manifest::{Manifest, ManifestError};
use crate::name::{FileName, Part, SnapshotKey};
use crate::owned::OwnedFiles;
use crate::received::Received;
use crate::seal;

/// Bytes of the disk that no snapshot takes: the store's log goes on meanwhile, and a store that cannot write it ends.
const SPARE_BYTES: u64 = 64 << 20;

/// Bounds of a [`Receiver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveConfig {
    /// Largest file that is taken, in bytes. Above what any sender's
    /// [`max_file_bytes`](crate::BuildConfig::max_file_bytes) makes.
    pub max_file_bytes: u64,
    /// Largest snapshot that is taken, in bytes of its files.
    pub max_snapshot_bytes: u64,
    /// How many chunks may come damaged, at one place of a file, before the snapshot is given up. All that are under way at
    /// a time count as one place, so that this is more than a window holds.
    pub max_repeats: u32,
}

impl Default for ReceiveConfig {
    fn default() -> Self {
        Self { max_file_bytes: 1 << 30, max_snapshot_bytes: 1 << 40, max_repeats: 8 }
    }
}

/// What raft's message announced, and whom it is for: a manifest that says otherwise belongs to something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The region.
    pub region: RegionId,
    /// The store that receives.
    pub store: StoreId,
    /// The peer on it.
    pub peer: PeerId,
    /// The snapshot's index.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
}

/// A snapshot was not taken. All that there was of it is gone when the receiver is.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Its manifest is no manifest.
    #[error("receiving a snapshot: {0}")]
    Manifest(#[from] ManifestError),
    /// It is not what was announced.
    #[error("receiving a snapshot: its manifest is of {field} {found}, {expected} was announced")]
    NotAnnounced {
        /// What differs.
        field: &'static str,
        /// What the message announced.
        expected: u64,
        /// What the manifest says; 0 when it names none.
        found: u64,
    },
    /// It is larger than is taken.
    #[error(
        "receiving a snapshot: {what} has {bytes} bytes, at most {limit} are taken: split the region, or raise the limit"
    )]
    TooLarge {
        /// A file, or all of them.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The bound.
        limit: u64,
    },
    /// It would fill the disk, which the store's own log needs.
    #[error(
        "receiving a snapshot: it has {bytes} bytes, and the disk takes {free}, of which {spare} stay free: free space on \
         the store's disk", spare = SPARE_BYTES
    )]
    NoRoom {
        /// Its size.
        bytes: u64,
        /// What the disk takes.
        free: u64,
    },
    /// A chunk is intact and not one of this snapshot's next.
    #[error(
        "receiving a snapshot: chunk of file {place} at {offset} has an impossible {field}; use stores of one release"
    )]
    Chunk {
        /// The file's place that it names.
        place: u32,
        /// Its offset.
        offset: u64,
        /// What is wrong.
        field: &'static str,
    },
    /// Something came damaged again and again.
    #[error(
        "receiving a snapshot: file {place} at {offset} was damaged {times} times; check the network and the sender's disk"
    )]
    Corrupt {
        /// The file's place.
        place: usize,
        /// Where.
        offset: u64,
        /// How often.
        times: u32,
    },
    /// A file is not what the manifest says.
    #[error("receiving a snapshot: {0}")]
    Content(#[from] ContentError),
    /// A file could not be used.
    #[error("receiving a snapshot: {0}")]
    Files(#[from] FilesError),
}

impl ReceiveError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Manifest(error) => error.code(),
            Self::NotAnnounced { .. } => ErrorCode("RY-SNAPSHOT-061"),
            Self::TooLarge { .. } => ErrorCode("RY-SNAPSHOT-062"),
            Self::Chunk { .. } => ErrorCode("RY-SNAPSHOT-063"),
            Self::Corrupt { .. } => ErrorCode("RY-SNAPSHOT-064"),
            Self::NoRoom { .. } => ErrorCode("RY-SNAPSHOT-065"),
            Self::Content(error) => error.code(),
            Self::Files(error) => error.code(),
        }
    }

    /// Whether the disk is full.
    pub const fn is_disk_full(&self) -> bool {
        matches!(
            self,
            Self::NoRoom { .. }
                | Self::Files(FilesError::DiskFull { .. })
                | Self::Content(
                    ContentError::Files(FilesError::DiskFull { .. })
                        | ContentError::Engine { source: EngineError::DiskFull { .. }, .. }
                )
        )
    }

    /// What the sender is told.
    pub fn refusal(&self) -> Refusal {
        let kind = match self {
            Self::NotAnnounced { .. } | Self::TooLarge { .. } => RefusalKind::Unwanted,
            Self::NoRoom { .. } | Self::Files(_) | Self::Content(ContentError::Files(_)) => RefusalKind::Later,
            Self::Content(ContentError::Engine { source, .. }) if !matches!(source, EngineError::Corruption { .. }) => {
                RefusalKind::Later
            }
            Self::Manifest(_) | Self::Chunk { .. } | Self::Corrupt { .. } | Self::Content(_) => RefusalKind::Damaged,
        };
        Refusal { kind, reason: self.to_string() }
    }
}

/// How a step of a [`Receiver`] ended.
#[derive(Debug)]
pub enum ReceiveStep {
    /// There is more to look through.
    More,
    /// It is whole, verified and durable.
    Received(Received),
}

/// Receives one snapshot, over as many streams as it takes.
///
/// On each stream the driver answers [`wanted`](Self::wanted), then hands in every chunk and answers what
/// [`take`](Self::take) returns. When [`has_all`](Self::has_all), it calls [`step`](Self::step) until the snapshot is
/// received. Dropping the receiver at any time removes everything.
pub struct Receiver {
    engine: Arc<dyn StateEngine>,
    config: ReceiveConfig,
    key: SnapshotKey,
    manifest: Manifest,
    encoded: Bytes,
    owned: OwnedFiles,
    /// The file that is being received: those before it are complete, those behind it have not begun.
    current: usize,
    digest: FileDigest,
    /// How often something was asked for again for the place where the receiver is.
    repeats: u32,
    /// Whether the current file was begun again, because as a whole it was damaged.
    restarted: bool,
    /// How often something was asked for again in all, on this stream.
    attempt: u32,
    inspection: Inspection,
}

impl Receiver {
    /// Looks at a manifest that was offered. Nothing is written yet.
    pub fn accept(
        engine: Arc<dyn StateEngine>,
        files: SharedFiles,
        key: SnapshotKey,
        announced: &Announced,
        manifest: &Bytes,
        config: ReceiveConfig,
    ) -> Result<Self, ReceiveError> {
        let encoded = manifest.clone();
        let manifest = Manifest::decode(&encoded)?;
        check_announced(&manifest, announced)?;
        check_sizes(&manifest, &config)?;
        check_room(&manifest, &*files)?;
        Ok(Self {
            engine,
            config,
            key,
            manifest,
            encoded,
            owned: OwnedFiles::new(files),
            current: 0,
            digest: FileDigest::new(),
            repeats: 0,
            restarted: false,
            attempt: 0,
            inspection: Inspection::new(Depth::Keys),
        })
    }

    /// Whether an announcement is of this snapshot, as [`accept`](Self::accept) asks.
    pub(crate) fn check(&self, announced: &Announced) -> Result<(), ReceiveError> {
        check_announced(&self.manifest, announced)
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest as it was offered: a sender that offers the same bytes goes on with this receiver.
    pub fn manifest_bytes(&self) -> &Bytes {
        &self.encoded
    }

    /// The answer to an offer: how much of each file is here.
    pub fn wanted(&mut self) -> Answer {
        self.attempt = 0;
        let verified = |(place, file): (usize, &crate::FileEntry)| match place.cmp(&self.current) {
            Ordering::Less => file.bytes,
            Ordering::Equal => self.digest.bytes(),
            Ordering::Greater => 0,
        };
        Answer::Wanted { verified: self.manifest.files().iter().enumerate().map(verified).collect() }
    }

    /// Bytes of files that are here.
    pub fn received_bytes(&self) -> u64 {
        let complete: u64 = self.manifest.files()[..self.current].iter().map(|file| file.bytes).sum();
        complete + self.digest.bytes()
    }

    /// Whether every file is here.
    pub fn has_all(&self) -> bool {
        self.current == self.manifest.files().len()
    }

    /// Takes a chunk, and returns what to say to it.
    ///
    /// # Errors
    /// After an error nothing more can be taken: tell the sender the error's [`refusal`](ReceiveError::refusal) and drop
    /// the receiver.
    pub fn take(&mut self, chunk: &Chunk) -> Result<Option<Answer>, ReceiveError> {
        if !chunk.is_intact() {
            return self.ask_again(chunk).map(Some);
        }
        let impossible = |field| ReceiveError::Chunk { place: chunk.place, offset: chunk.offset, field };
        let Some(entry) = self.manifest.files().get(chunk.place as usize) else { return Err(impossible("file")) };
        if entry.family != chunk.family {
            return Err(impossible("column family"));
        }
        if chunk.data.is_empty() || chunk.data.len() > MAX_CHUNK_BYTES || chunk.end() > entry.bytes {
            return Err(impossible("length"));
        }
        match chunk.attempt.cmp(&self.attempt) {
            // It was under way when something before it was asked for again.
            Ordering::Less => return Ok(None),
            Ordering::Greater => return Err(impossible("attempt")),
            Ordering::Equal => {}
        }
        if (chunk.place as usize, chunk.offset) != (self.current, self.digest.bytes()) {
            return Err(impossible("place"));
        }
        let size = entry.bytes;
        let name = self.owned.add(self.data_name(chunk.family));
        self.owned.files.append(&name, chunk.offset, &chunk.data)?;
        self.digest.add(&chunk.data);
        if self.digest.bytes() == size {
            return self.complete_file().map(Some);
        }
        self.repeats = 0;
        Ok(Some(Answer::Verified { place: chunk.place, offset: self.digest.bytes() }))
    }

    /// The name of the file that is being received.
    fn data_name(&self, family: ColumnFamily) -> FileName {
        FileName::new(self.key, Part::Data(family, self.current as u32))
    }

    /// The last byte of a file is here: it is durable before its sender hears so.
    fn complete_file(&mut self) -> Result<Answer, ReceiveError> {
        let entry = &self.manifest.files()[self.current];
        let (family, bytes) = (entry.family, entry.bytes);
        let name = self.data_name(family);
        if let Err(error) = check_bytes(&self.digest, name, entry) {
            // Every chunk was as it was sent, so its sender read something else than it once wrote. Once more from the
            // beginning tells a passing fault from a lasting one.
            if std::mem::replace(&mut self.restarted, true) {
                return Err(error.into());
            }
            self.digest = FileDigest::new();
            return self.ask(0);
        }
        self.owned.files.sync(&name.to_string())?;
        let place = self.current as u32;
        self.current += 1;
        self.digest = FileDigest::new();
        self.repeats = 0;
        self.restarted = false;
        Ok(Answer::Verified { place, offset: bytes })
    }

    /// A chunk came damaged. Whatever it was meant to be, the next that is needed is asked for.
    fn ask_again(&mut self, chunk: &Chunk) -> Result<Answer, ReceiveError> {
        if self.has_all() {
            return Err(ReceiveError::Chunk { place: chunk.place, offset: chunk.offset, field: "time" });
        }
        self.ask(self.digest.bytes())
    }

    fn ask(&mut self, offset: u64) -> Result<Answer, ReceiveError> {
        self.repeats += 1;
        if self.repeats > self.config.max_repeats {
            return Err(ReceiveError::Corrupt { place: self.current, offset, times: self.repeats });
        }
        self.attempt += 1;
        Ok(Answer::Again { place: self.current as u32, offset })
    }

    /// Looks through what was received, by about `budget` bytes, and at last makes the whole durable.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    ///
    /// # Panics
    /// When not every file [is here](Self::has_all).
    pub fn step(&mut self, budget: usize) -> Result<ReceiveStep, ReceiveError> {
        assert!(self.has_all(), "snapshot {} is looked through before it is here", self.key);
        let mut surface =
            Surface { key: self.key, manifest: &self.manifest, owned: &mut self.owned, engine: &self.engine };
        if !self.inspection.step(&mut surface, budget)? {
            return Ok(ReceiveStep::More);
        }
        seal::write_manifest(&mut self.owned, self.key, &self.encoded)?;
        let files = Arc::clone(&self.owned.files);
        let owned = std::mem::replace(&mut self.owned, OwnedFiles::new(files));
        Ok(ReceiveStep::Received(Received::new(self.key, self.manifest.clone(), owned)))
    }
}

fn check_announced(manifest: &Manifest, announced: &Announced) -> Result<(), ReceiveError> {
    let peer = manifest.region.peer_on(announced.store).map_or(0, |peer| peer.id.0);
    let fields = [
        ("region", announced.region.0, manifest.region.id.0),
        ("index", announced.index.0, manifest.index.0),
        ("term", announced.term.0, manifest.term.0),
        ("peer", announced.peer.0, peer),
    ];
    match fields.into_iter().find(|(_, expected, found)| expected != found) {
        Some((field, expected, found)) => Err(ReceiveError::NotAnnounced { field, expected, found }),
        None => Ok(()),
    }
}

/// A disk that is found to be full half-way would be filled again by the next try, and take the store's log with it.
fn check_room(manifest: &Manifest, files: &dyn SnapshotFiles) -> Result<(), ReceiveError> {
    let (bytes, free) = (manifest.file_bytes(), files.free_bytes());
    if bytes > 0 && bytes.saturating_add(SPARE_BYTES) > free {
        return Err(ReceiveError::NoRoom { bytes, free });
    }
    Ok(())
}

fn check_sizes(manifest: &Manifest, config: &ReceiveConfig) -> Result<(), ReceiveError> {
    let largest = manifest.files().iter().map(|file| file.bytes).max().unwrap_or(0);
    let sizes =
        [("a file", largest, config.max_file_bytes), ("the whole", manifest.file_bytes(), config.max_snapshot_bytes)];
    match sizes.into_iter().find(|(_, bytes, limit)| bytes > limit) {
        Some((what, bytes, limit)) => Err(ReceiveError::TooLarge { what, bytes, limit }),
        None => Ok(()),
    }
}
