//! Why an operation of an embedded store failed.

use ::store::StoreError;
use engine::EngineError;
use types::{ErrorCode, RequestError};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("configuration: {0}")]
    Config(String),
    /// The data directory holds no store, and this is not said to be the first start (D14).
    #[error(
        "{0} holds no store: say Config::first_start(true) when the whole cluster starts for the first time; \
         if this store has lost its disk, replace it under a new store id"
    )]
    NotBootstrapped(String),
    /// The store cannot start or go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The keys of one atomic operation lie in several regions.
    #[error("the keys of one atomic operation lie in regions {first} and {second}: split the operation at {key}")]
    AcrossRegions {
        /// The region of the first key.
        first: u64,
        /// Another region.
        second: u64,
        /// Where the other region begins, in hex.
        key: String,
    },
    /// The request was refused for good.
    #[error(transparent)]
    Refused(RequestError),
    /// The write may have happened, or may still happen.
    #[error("outcome unknown: {0}; read before writing again")]
    Undetermined(String),
    /// Nobody served the request in time; it had no effect.
    #[error("not served in time, without effect: {last}; check that a majority of the members runs")]
    TimedOut {
        /// The last refusal.
        last: String,
    },
}

impl Error {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Config(_) => ErrorCode("RY-EMBED-001"),
            Self::NotBootstrapped(_) => ErrorCode("RY-EMBED-002"),
            Self::Store(error) => error.code(),
            Self::Engine(error) => error.code(),
            Self::AcrossRegions { .. } => ErrorCode("RY-EMBED-003"),
            Self::Refused(error) => error.code(),
            Self::Undetermined(_) => ErrorCode("RY-EMBED-004"),
            Self::TimedOut { .. } => ErrorCode("RY-EMBED-005"),
        }
    }
}
