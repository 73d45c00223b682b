//! Engine errors. All of them are fatal to the store that meets them, except [`EngineError::Busy`].

use std::path::PathBuf;

use types::ErrorCode;
use types::codec::DecodeError;

/// What an engine returns.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Why an engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Reading or writing failed.
    #[error("{engine} engine: {operation} failed: {cause}; check the disk, then restart the store")]
    Io {
        /// `log` or `state`.
        engine: &'static str,
        /// What was being done.
        operation: &'static str,
        /// The operating system's or RocksDB's own words.
        cause: String,
    },
    /// No space is left.
    #[error("{engine} engine: {operation} failed, the disk is full: {cause}; free space, then restart the store")]
    DiskFull {
        /// `log` or `state`.
        engine: &'static str,
        /// What was being done.
        operation: &'static str,
        /// The operating system's or RocksDB's own words.
        cause: String,
    },
    /// An earlier sync failed: what is on disk is unknown, and the engine takes no more writes (D15).
    #[error("{engine} engine: an earlier sync failed ({cause}); what it wrote may be lost: restart the store")]
    Poisoned {
        /// `log` or `state`.
        engine: &'static str,
        /// The first failure.
        cause: String,
    },
    /// Bytes on disk are not what was written.
    #[error(
        "{engine} engine: damaged data: {cause}; retire this store: \
         remove its data directory and let it join under a new store id"
    )]
    Corruption {
        /// `log` or `state`.
        engine: &'static str,
        /// What was found, and where.
        cause: String,
    },
    /// A record does not read.
    #[error("{engine} engine: {source}")]
    Record {
        /// `log` or `state`.
        engine: &'static str,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// Another process has the directory open.
    #[error("{} is in use by another process: stop it, or choose another data directory", .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The region's log belongs to another peer: a read or write of an older incarnation (D7).
    #[error("log of region {region} belongs to peer {actual}, not to peer {requested}")]
    PeerMismatch {
        /// The region.
        region: u64,
        /// The peer that asked.
        requested: u64,
        /// The peer that the log belongs to.
        actual: u64,
    },
    /// The engine cannot take the operation just now, and was not changed.
    #[error("{engine} engine is busy: {reason}; try again")]
    Busy {
        /// `log` or `state`.
        engine: &'static str,
        /// Which bound was met.
        reason: &'static str,
    },
}

impl EngineError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Io { .. } => "RY-ENGINE-001",
            Self::DiskFull { .. } => "RY-ENGINE-002",
            Self::Poisoned { .. } => "RY-ENGINE-003",
            Self::Corruption { .. } => "RY-ENGINE-004",
            Self::Record { .. } => "RY-ENGINE-005",
            Self::Locked { .. } => "RY-ENGINE-006",
            Self::PeerMismatch { .. } => "RY-ENGINE-007",
            Self::Busy { .. } => "RY-ENGINE-008",
        })
    }
}
