//! The folder that snapshots lie in, as this crate sees it.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use types::ErrorCode;

/// What using a folder returns.
pub type Result<T> = std::result::Result<T, FilesError>;

/// A file of the folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// No space is left.
    #[error("snapshot file {name}: {operation} failed, the disk is full: {cause}; free space on the store's disk")]
    DiskFull {
        /// The file.
        name: String,
        /// What was being done.
        operation: &'static str,
        /// The operating system's own words.
        cause: String,
    },
    /// It is not there.
    #[error("snapshot file {name} is not there: ask for a new snapshot")]
    Missing {
        /// The file.
        name: String,
    },
    /// Reading or writing failed.
    #[error("snapshot file {name}: {operation} failed: {cause}; check the store's disk")]
    Io {
        /// The file.
        name: String,
        /// What was being done.
        operation: &'static str,
        /// The operating system's own words.
        cause: String,
    },
}

impl FilesError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::DiskFull { .. } => "RY-SNAPSHOT-001",
            Self::Missing { .. } => "RY-SNAPSHOT-002",
            Self::Io { .. } => "RY-SNAPSHOT-003",
        })
    }
}

/// A file that lies in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes. Zero for a directory.
    pub bytes: u64,
}

/// One flat folder, on the same disk as the state engine, that nobody but this crate writes to.
///
/// Names are made by [`FileName`](crate::FileName) from numbers alone; nothing of a name ever comes from outside. What is
/// written is durable after [`sync`](Self::sync), what files are called after [`sync_names`](Self::sync_names).
pub trait SnapshotFiles: Send + Sync + 'static {
    /// Where a file lies, for the state engine.
    fn path(&self, name: &str) -> PathBuf;

    /// Everything in the folder, in the order of the names. A directory that an engine left behind is listed too.
    fn list(&self) -> Result<Vec<Listed>>;

    /// Writes at the end of a file, which must be at `offset`; at zero, a file is made in place of any that is there.
    fn append(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Up to `max` bytes from an offset on; fewer at the file's end only.
    ///
    /// # Errors
    /// `Missing` when there is no such file.
    fn read(&self, name: &str, offset: u64, max: usize) -> Result<Bytes>;

    /// A file's size in bytes.
    ///
    /// # Errors
    /// `Missing` when there is no such file.
    fn size(&self, name: &str) -> Result<u64>;

    /// Makes a file's bytes durable.
    fn sync(&self, name: &str) -> Result<()>;

    /// Makes durable what the files are called, and which are there no more.
    fn sync_names(&self) -> Result<()>;

    /// Gives a file a second name that no other file has.
    fn link(&self, from: &str, to: &str) -> Result<()>;

    /// Gives a file another name, in place of any file that had it.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file, or a directory with all that is in it. That it was not there is no error.
    fn remove(&self, name: &str) -> Result<()>;

    /// About how many bytes the disk still takes; `u64::MAX` when nobody can tell.
    fn free_bytes(&self) -> u64 {
        u64::MAX
    }
}

/// A folder that several hold.
pub type SharedFiles = Arc<dyn SnapshotFiles>;
