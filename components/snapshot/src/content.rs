//! Looking through the files of a snapshot before they may replace anything.

use std::sync::Arc;

use bytes::Bytes;
use engine::{EngineError, FileReader, IngestFile, StateEngine};
use types::ErrorCode;
use types::range::HexKey;

use crate::digest::FileDigest;
use crate::files::FilesError;
use crate::manifest::{FileEntry, Manifest};
use crate::name::{FileName, Part, SnapshotKey};
use crate::owned::OwnedFiles;

/// A file does not hold what its manifest says.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It could not be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The state engine finds it damaged, or could not read it.
    #[error("{name}: {source}")]
    Engine {
        /// The file.
        name: FileName,
        /// What the engine says.
        source: EngineError,
    },
    /// Its size differs.
    #[error("{name} has {found} bytes instead of {expected}")]
    Size {
        /// The file.
        name: FileName,
        /// What the manifest says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Its checksum differs.
    #[error("{name} is damaged: its checksum is {found:016x} instead of {expected:016x}")]
    Checksum {
        /// The file.
        name: FileName,
        /// What the manifest says.
        expected: u64,
        /// What its bytes give.
        found: u64,
    },
    /// Its keys are not in order.
    #[error("{name}: key {key} is not above the one before it")]
    Order {
        /// The file.
        name: FileName,
        /// The key, in hex.
        key: String,
    },
    /// A key is not where the manifest says that the file's keys are.
    #[error("{name}: key {key} lies outside of the file's range")]
    Outside {
        /// The file.
        name: FileName,
        /// The key, in hex.
        key: String,
    },
    /// It has more or fewer keys, or does not begin or end as the manifest says.
    #[error("{name} has {found} keys instead of {expected}, or other first and last ones")]
    Keys {
        /// The file.
        name: FileName,
        /// What the manifest says.
        expected: u64,
        /// What is there.
        found: u64,
    },
}

impl ContentError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Files(error) => error.code(),
            Self::Engine { source, .. } => source.code(),
            Self::Size { .. } => ErrorCode("RY-SNAPSHOT-051"),
            Self::Checksum { .. } => ErrorCode("RY-SNAPSHOT-052"),
            Self::Order { .. } => ErrorCode("RY-SNAPSHOT-053"),
            Self::Outside { .. } => ErrorCode("RY-SNAPSHOT-054"),
            Self::Keys { .. } => ErrorCode("RY-SNAPSHOT-055"),
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Keys alone: the bytes were checked on their way in.
    Keys,
    /// Bytes, then keys: the files were found at a restart.
    BytesAndKeys,
}

/// Looks through all files of a snapshot, a bounded number of bytes at a time.
pub(crate) struct Inspection {
    depth: Depth,
    place: usize,
    stage: Stage,
}

enum Stage {
    Begin,
    Bytes(FileDigest),
    Keys(KeyCheck),
}

/// The keys of one file.
struct KeyCheck {
    reader: Box<dyn FileReader>,
    first: Option<Bytes>,
    last: Option<Bytes>,
    count: u64,
}

/// Where to look.
pub(crate) struct Surface<'a> {
    pub(crate) key: SnapshotKey,
    pub(crate) manifest: &'a Manifest,
    pub(crate) owned: &'a mut OwnedFiles,
    pub(crate) engine: &'a Arc<dyn StateEngine>,
}

impl Surface<'_> {
    fn name(&self, place: usize) -> FileName {
        FileName::new(self.key, Part::Data(self.manifest.files()[place].family, place as u32))
    }
}

impl Inspection {
    pub(crate) fn new(depth: Depth) -> Self {
        Self { depth, place: 0, stage: Stage::Begin }
    }

    /// Goes on by about `budget` bytes. Returns whether all files are as the manifest says.
    pub(crate) fn step(&mut self, surface: &mut Surface<'_>, budget: usize) -> Result<bool, ContentError> {
        let Some(entry) = surface.manifest.files().get(self.place) else { return Ok(true) };
        let name = surface.name(self.place);
        self.stage = match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin if self.depth == Depth::BytesAndKeys => Stage::Bytes(FileDigest::new()),
            Stage::Begin => Stage::Keys(self.open(surface, name, entry)?),
            Stage::Bytes(digest) => self.bytes(surface, digest, name, entry, budget)?,
            Stage::Keys(check) => match check.page(name, entry, budget)? {
                Some(check) => Stage::Keys(check),
                None => {
                    self.place += 1;
                    Stage::Begin
                }
            },
        };
        Ok(self.place == surface.manifest.files().len())
    }

    fn bytes(
        &self,
        surface: &mut Surface<'_>,
        mut digest: FileDigest,
        name: FileName,
        entry: &FileEntry,
        budget: usize,
    ) -> Result<Stage, ContentError> {
        let max = budget.max(1);
        let is_more = digest.read(&*surface.owned.files, &name.to_string(), max)? == max;
        if is_more && digest.bytes() <= entry.bytes {
            return Ok(Stage::Bytes(digest));
        }
        check_bytes(&digest, name, entry)?;
        Ok(Stage::Keys(self.open(surface, name, entry)?))
    }

    fn open(&self, surface: &mut Surface<'_>, name: FileName, entry: &FileEntry) -> Result<KeyCheck, ContentError> {
        surface.owned.add(FileName::new(surface.key, Part::Check(entry.family, self.place as u32)));
        let file = IngestFile { family: entry.family.into(), path: surface.owned.files.path(&name.to_string()) };
        let reader = surface.engine.read_file(&file).map_err(|source| ContentError::Engine { name, source })?;
        Ok(KeyCheck { reader, first: None, last: None, count: 0 })
    }
}

/// Compares a whole file's size and checksum with the manifest's.
pub(crate) fn check_bytes(digest: &FileDigest, name: FileName, entry: &FileEntry) -> Result<(), ContentError> {
    if digest.bytes() != entry.bytes {
        return Err(ContentError::Size { name, expected: entry.bytes, found: digest.bytes() });
    }
    if digest.checksum() != entry.checksum {
        return Err(ContentError::Checksum { name, expected: entry.checksum, found: digest.checksum() });
    }
    Ok(())
}

impl KeyCheck {
    /// Looks at the next keys; `None` when there were none left and all is as it should be.
    fn page(mut self, name: FileName, entry: &FileEntry, budget: usize) -> Result<Option<Self>, ContentError> {
        let keys = self.reader.next_keys(budget).map_err(|source| ContentError::Engine { name, source })?;
        if keys.is_empty() {
            return self.end(name, entry).map(|()| None);
        }
        for key in keys {
            let hex = || HexKey(&key).to_string();
            if self.last.as_ref().is_some_and(|last| key <= *last) {
                return Err(ContentError::Order { name, key: hex() });
            }
            if key < entry.first || key > entry.last {
                return Err(ContentError::Outside { name, key: hex() });
            }
            self.count += 1;
            self.first.get_or_insert_with(|| key.clone());
            self.last = Some(key);
        }
        Ok(Some(self))
    }

    fn end(&self, name: FileName, entry: &FileEntry) -> Result<(), ContentError> {
        let ends_fit = self.first.as_ref() == Some(&entry.first) && self.last.as_ref() == Some(&entry.last);
        if self.count == entry.keys && ends_fit {
            return Ok(());
        }
        Err(ContentError::Keys { name, expected: entry.keys, found: self.count })
    }
}
