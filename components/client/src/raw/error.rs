//! Why a call did not do what was asked.

use types::ErrorCode;

use crate::pd::PdError;

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The placement driver could not be asked.
    #[error(transparent)]
    Pd(#[from] PdError),
    /// Nothing was done: nobody served the request in time.
    #[error("request was not served in time ({cause}): check that a majority of the region's stores is running")]
    TimedOut {
        /// What went wrong last.
        cause: String,
    },
    /// The write may or may not have taken effect, or may still do.
    #[error("outcome of the write is unknown ({cause}): read before writing again")]
    Undetermined {
        /// Why nobody knows.
        cause: String,
    },
    /// The request was refused; repeating it changes nothing.
    #[error("request was refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// An answer makes no sense.
    #[error("store {store} answered without sense: {problem}")]
    Answer {
        /// The store.
        store: u64,
        /// What is wrong with it.
        problem: String,
    },
}

impl ClientError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Pd(error) => error.code(),
            Self::TimedOut { .. } => ErrorCode("RY-CLIENT-001"),
            Self::Undetermined { .. } => ErrorCode("RY-CLIENT-002"),
            Self::Refused { .. } => ErrorCode("RY-CLIENT-003"),
            Self::Answer { .. } => ErrorCode("RY-CLIENT-004"),
        }
    }

    /// Whether it is sure that a write had no effect and never will.
    pub const fn had_no_effect(&self) -> bool {
        !matches!(self, Self::Undetermined { .. })
    }
}
