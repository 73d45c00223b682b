//! Why the placement driver did not do what was asked.

use proto::pdpb;
use types::ErrorCode;

/// Why a call to the placement driver failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PdError {
    /// No endpoint was given.
    #[error("no placement driver endpoint is given: set at least one as host:port")]
    NoEndpoints,
    /// An endpoint is not an address.
    #[error("placement driver endpoint {0:?} is not an address: write it as host:port")]
    BadEndpoint(String),
    /// Nobody answered in time.
    #[error("placement driver did not answer {call} in time ({cause}): check that one of {endpoints:?} is running")]
    Unreachable {
        /// The call.
        call: &'static str,
        /// What went wrong last.
        cause: String,
        /// Whom it asked.
        endpoints: Vec<String>,
    },
    /// The endpoints belong to another cluster than before.
    #[error("placement driver is of cluster {found}, not of {expected}: check the endpoints")]
    OtherCluster {
        /// The cluster that was connected to at first.
        expected: u64,
        /// The cluster that answers now.
        found: u64,
    },
    /// The placement driver refused, in its own words.
    #[error("placement driver refused {call}: {kind:?}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The kind of refusal.
        kind: pdpb::ErrorType,
        /// Its words.
        message: String,
    },
    /// The call itself failed and would fail again.
    #[error("placement driver refused {call}: {code:?}: {message}")]
    Status {
        /// The call.
        call: &'static str,
        /// gRPC's code.
        code: tonic::Code,
        /// Its words.
        message: String,
    },
    /// An answer makes no sense.
    #[error("placement driver answered {call} without sense: {problem}")]
    Answer {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl PdError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::NoEndpoints => "RY-PD-001",
            Self::BadEndpoint(_) => "RY-PD-002",
            Self::Unreachable { .. } => "RY-PD-003",
            Self::OtherCluster { .. } => "RY-PD-004",
            Self::Refused { .. } => "RY-PD-005",
            Self::Status { .. } => "RY-PD-006",
            Self::Answer { .. } => "RY-PD-007",
        })
    }

    /// Whether the placement driver does not know the call.
    pub const fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Status { code: tonic::Code::Unimplemented, .. })
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
