//! Why a store cannot start or go on. All of them are fatal, and say what to do.

use apply::ApplyError;
use engine::EngineError;
use region::RegionError;
use snapshot::FilesError;
use types::{ErrorCode, RegionId};

/// Why a store cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A region failed.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Applying failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The folder of snapshots failed.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The two engines contradict each other (D8).
    #[error("region {region} cannot be restored: {cause}; replace this store: remove its data and let it join anew")]
    Restore {
        /// The region.
        region: RegionId,
        /// What does not fit.
        cause: String,
    },
    /// The data directory belongs to someone else.
    #[error("{cause}; choose another data directory, or the cluster and store that this one belongs to")]
    Ident {
        /// What was expected and what was found.
        cause: String,
    },
    /// A thread could not be started.
    #[error("a thread of the store could not be started: {0}; raise the limit of processes")]
    Thread(std::io::Error),
    /// A poller panicked.
    #[error("region {region} panicked: {cause}; the store stops so that nothing wrong leaves it: report this")]
    Panic {
        /// The region that was being handled; zero when unknown.
        region: RegionId,
        /// The panic's message.
        cause: String,
    },
}

impl StoreError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Engine(error) => error.code(),
            Self::Files(error) => error.code(),
            Self::Region(_) => ErrorCode("RY-STORE-001"),
            Self::Apply(_) => ErrorCode("RY-STORE-002"),
            Self::Restore { .. } => ErrorCode("RY-STORE-003"),
            Self::Ident { .. } => ErrorCode("RY-STORE-004"),
            Self::Panic { .. } => ErrorCode("RY-STORE-005"),
            Self::Thread(_) => ErrorCode("RY-STORE-006"),
        }
    }
}
