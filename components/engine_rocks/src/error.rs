//! RocksDB's errors as the engines' own.

use std::path::Path;

use engine::EngineError;
use rocksdb::{Error, ErrorKind};

/// Which engine an error is about, as error messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Log,
    State,
}

impl Engine {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::State => "state",
        }
    }

    /// What a failed operation of RocksDB means.
    pub(crate) fn error(self, operation: &'static str, error: Error) -> EngineError {
        let (engine, kind, cause) = (self.name(), error.kind(), error.into_string());
        if is_disk_full(&cause) {
            return EngineError::DiskFull { engine, operation, cause };
        }
        match kind {
            ErrorKind::Corruption => EngineError::Corruption { engine, cause },
            _ => EngineError::Io { engine, operation, cause },
        }
    }

    /// What a failed opening of a directory means.
    pub(crate) fn open_error(self, path: &Path, error: Error) -> EngineError {
        if is_locked(error.as_ref()) {
            return EngineError::Locked { path: path.to_owned() };
        }
        self.error("open", error)
    }

    /// What a failed operation on a file of ours means.
    pub(crate) fn file_error(self, operation: &'static str, path: &Path, error: std::io::Error) -> EngineError {
        let engine = self.name();
        let cause = format!("{}: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
                EngineError::DiskFull { engine, operation, cause }
            }
            _ => EngineError::Io { engine, operation, cause },
        }
    }
}

/// RocksDB passes on the words of `strerror` and nothing else: ENOSPC, EFBIG (a file size limit) and EDQUOT.
fn is_disk_full(cause: &str) -> bool {
    ["No space left", "File too large", "quota exceeded"].iter().any(|words| cause.contains(words))
}

/// The same process holding the lock and another one holding it are told apart by RocksDB, not by us.
fn is_locked(cause: &str) -> bool {
    cause.contains("lock hold by current process") || cause.contains("While lock file")
}
