//! Why `raftyard ctl` did not do what it was asked.

use std::io;

use client::http::HttpError;
use types::{ErrorCode, RegionId, StoreId};

use super::keys::KeyError;
use crate::commands::Failure;

/// Nobody answered.
const STATUS_UNREACHABLE: u8 = 3;

/// Said of orders that nobody answered.
const MAYBE_DONE: &str = "; it may have been carried out all the same: look before you repeat it";

/// Somebody refused.
const STATUS_REFUSED: u8 = 4;

/// Why it was not done. The program ends with 2 when it was used wrongly, with 3 when somebody cannot be reached, with 4
/// when somebody refused, and with 1 when an answer made no sense.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// A key is not written like one.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The words do not fit together.
    #[error("{0}")]
    Usage(String),
    /// An address is none.
    #[error("{who}: {source}")]
    Address {
        /// Whose it should be.
        who: Whom,
        /// What is wrong.
        source: HttpError,
    },
    /// Nobody took the question.
    #[error("{who} cannot be reached: {source}; {}", .who.way_out())]
    Unreachable {
        /// Who was asked.
        who: Whom,
        /// What went wrong.
        source: HttpError,
    },
    /// The question was taken and not answered.
    #[error("{who} does not answer: {source}{}", if *.is_order { MAYBE_DONE } else { "" })]
    NoAnswer {
        /// Who was asked.
        who: Whom,
        /// What went wrong.
        source: HttpError,
        /// Whether it was asked to do something.
        is_order: bool,
    },
    /// It was refused.
    #[error("{who} refuses ({status}): {message}")]
    Refused {
        /// Who was asked.
        who: Whom,
        /// HTTP's status.
        status: u16,
        /// In its own words.
        message: String,
    },
    /// Somebody else answers.
    #[error("what answers at {address} knows nothing of this: is it {who}, and of this version?")]
    Stranger {
        /// Who it should be.
        who: Whom,
        /// Where it was asked.
        address: String,
    },
    /// An answer is not what was expected.
    #[error("{who} answers without sense: {problem}; is it of another version?")]
    Answer {
        /// Who was asked.
        who: Whom,
        /// What is wrong.
        problem: String,
    },
    /// There is no such region.
    #[error("the placement driver knows no region {0}: `raftyard ctl region` lists those that there are")]
    UnknownRegion(RegionId),
    /// No region holds the key just now.
    #[error("the placement driver knows no region that holds key {0}: ask again in a while")]
    NoRegion(String),
    /// The region has no leader that is known.
    #[error("the placement driver knows no leader of region {0}: `raftyard ctl region {0}` shows who is missing")]
    NoLeader(RegionId),
    /// The store does not say where its status port is.
    #[error("store {0} tells no status address: set server.status-addr to one that others reach")]
    NoStatusAddress(StoreId),
    /// What was shown is not all.
    #[error("{missing} of {all} stores did not answer or refused; the first: {first}")]
    Partly {
        /// How many did not.
        missing: usize,
        /// How many were asked.
        all: usize,
        /// The first of them, and what it said.
        first: Box<CtlError>,
    },
    /// Nobody reads what is shown, or the process lacks something.
    #[error("cannot go on here: {0}")]
    Io(#[from] io::Error),
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The placement driver.
    Pd,
    /// A store.
    Store(StoreId),
}

impl Whom {
    fn way_out(self) -> String {
        match self {
            Self::Pd => "name one that runs with --pd HOST:PORT".to_owned(),
            Self::Store(store) => format!("`raftyard ctl store {store}` tells how it is"),
        }
    }
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pd => f.write_str("the placement driver"),
            Self::Store(store) => write!(f, "store {store}"),
        }
    }
}

impl CtlError {
    /// What went wrong with a question over HTTP.
    pub fn http(who: Whom, source: HttpError, is_order: bool) -> Self {
        match source {
            HttpError::Address(_) => Self::Address { who, source },
            HttpError::Unreachable { .. } => Self::Unreachable { who, source },
            HttpError::NoAnswer { .. } => Self::NoAnswer { who, source, is_order },
        }
    }

    /// Whether it may be different in a moment, at another store, and surely was not done.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoLeader(_) | Self::NoRegion(_) => true,
            Self::Refused { status, .. } => [404, 409, 503].contains(status),
            _ => false,
        }
    }

    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Key(_) => "RY-CTL-001",
            Self::Usage(_) => "RY-CTL-002",
            Self::Address { .. } => "RY-CTL-003",
            Self::Unreachable { .. } => "RY-CTL-004",
            Self::NoAnswer { .. } => "RY-CTL-005",
            Self::Refused { .. } => "RY-CTL-006",
            Self::Answer { .. } => "RY-CTL-007",
            Self::UnknownRegion(_) => "RY-CTL-008",
            Self::NoRegion(_) => "RY-CTL-009",
            Self::NoLeader(_) => "RY-CTL-010",
            Self::NoStatusAddress(_) => "RY-CTL-011",
            Self::Partly { .. } => "RY-CTL-012",
            Self::Io(_) => "RY-CTL-013",
            Self::Stranger { .. } => "RY-CTL-014",
        })
    }
}

impl From<CtlError> for Failure {
    fn from(error: CtlError) -> Self {
        let code = error.code();
        let cause = if let CtlError::Partly { first, .. } = &error { first } else { &error };
        match cause {
            CtlError::Key(_) | CtlError::Usage(_) | CtlError::Address { .. } => Self::configuration(&error, code),
            CtlError::Unreachable { .. } | CtlError::NoAnswer { .. } => {
                Self::with_status(&error, code, STATUS_UNREACHABLE)
            }
            CtlError::Refused { .. }
            | CtlError::UnknownRegion(_)
            | CtlError::NoRegion(_)
            | CtlError::NoLeader(_)
            | CtlError::NoStatusAddress(_) => Self::with_status(&error, code, STATUS_REFUSED),
            CtlError::Answer { .. } | CtlError::Stranger { .. } | CtlError::Partly { .. } | CtlError::Io(_) => {
                Self::failed(&error, code)
            }
        }
    }
}
