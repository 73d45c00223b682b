//! Why something that was asked of the playground was not done.

use std::io;

use client::{ClientError, PdError};
use observe::LogError;
use server::node::NodeError;
use types::{ErrorCode, RegionId, RequestError, StoreId};

use super::prompt::PromptError;
use crate::commands::Failure;
use crate::ctl::CtlError;

/// Why something that was asked of the playground was not done.
#[derive(Debug, thiserror::Error)]
pub enum PlaygroundError {
    /// A process of the cluster cannot start or stop.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The cluster did not serve a request.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A region refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The placement driver or a store refused what it was asked over HTTP.
    #[error(transparent)]
    Ctl(#[from] CtlError),
    /// A region was not moved.
    #[error("region {region} was not moved: {reason}; `regions` shows where it is")]
    NotMoved {
        /// The region.
        region: RegionId,
        /// How its operator ended.
        reason: String,
    },
    /// There are as many stores as there may be.
    #[error("there are {0} stores, and no more may be here: `remove-store` takes one away")]
    TooMany(usize),
    /// The line at the prompt is no command.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is no such store.
    #[error("there is no store {given}: the stores are {}", list(.known))]
    UnknownStore {
        /// The id that was given.
        given: StoreId,
        /// Those that there are.
        known: Vec<StoreId>,
    },
    /// No store that runs has a peer of such a region.
    #[error("there is no region {0} on a store that runs: `regions` shows those that there are")]
    UnknownRegion(RegionId),
    /// The store is running.
    #[error("store {0} is running: `kill {0}` ends it")]
    Running(StoreId),
    /// The store is not running.
    #[error("store {0} is not running: `restart {0}` starts it")]
    NotRunning(StoreId),
    /// The region has no leader on a running store.
    #[error("region {0} has no leader just now: `regions` shows who has, `stores` who is missing")]
    NoLeader(RegionId),
    /// A region gave no answer.
    #[error("region {0} gave no answer in time: see the log")]
    NoAnswer(RegionId),
    /// Keys were not read back as they were written.
    #[error("{wrong} of {keys} keys were not read back as they were written, such as {example}: see the log")]
    Lost {
        /// Keys that are missing or have another value.
        wrong: u64,
        /// Keys that were written.
        keys: u64,
        /// One of them.
        example: String,
    },
    /// The data directory cannot be used.
    #[error("data directory {path}: {source}; choose another with --data-dir")]
    DataDir {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Threads or signal handlers cannot be had.
    #[error("cannot start threads: {0}; raise the limit of processes")]
    Threads(#[source] io::Error),
    /// Nobody reads what is shown, or nothing can be read.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// The process was asked to end.
    #[error("interrupted by {0}")]
    Interrupted(&'static str),
}

fn list(stores: &[StoreId]) -> String {
    stores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl From<PdError> for PlaygroundError {
    fn from(error: PdError) -> Self {
        Self::Client(error.into())
    }
}

impl PlaygroundError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Node(error) => return error.code(),
            Self::Client(error) => return error.code(),
            Self::Request(error) => return error.code(),
            Self::Ctl(error) => return error.code(),
            Self::Prompt(_) => "RY-PLAY-001",
            Self::Log(_) => "RY-PLAY-002",
            Self::UnknownStore { .. } => "RY-PLAY-003",
            Self::Running(_) => "RY-PLAY-004",
            Self::NotRunning(_) => "RY-PLAY-005",
            Self::NoLeader(_) => "RY-PLAY-006",
            Self::NoAnswer(_) => "RY-PLAY-007",
            Self::Lost { .. } => "RY-PLAY-008",
            Self::DataDir { .. } => "RY-PLAY-009",
            Self::Threads(_) => "RY-PLAY-010",
            Self::Terminal(_) => "RY-PLAY-011",
            Self::Interrupted(_) => "RY-PLAY-012",
            Self::NotMoved { .. } => "RY-PLAY-013",
            Self::TooMany(_) => "RY-PLAY-014",
            Self::UnknownRegion(_) => "RY-PLAY-015",
        })
    }
}

impl From<PlaygroundError> for Failure {
    fn from(error: PlaygroundError) -> Self {
        Self::failed(&error, error.code())
    }
}
