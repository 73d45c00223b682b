//! Why a process cannot start or go on.

use std::io;

use client::PdError;
use coordinator::CoordinatorError;
use engine::EngineError;
use store::StoreError;
use types::ErrorCode;

use super::intent::IntentError;
use super::role::RoleError;
use crate::config::ConfigError;

/// Why a process cannot start or go on. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another process using it?")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The runtime cannot be started.
    #[error("cannot start threads: {0}; raise the limit of processes")]
    Runtime(io::Error),
    /// An engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store cannot start or go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The placement driver refused.
    #[error(transparent)]
    Pd(#[from] PdError),
    /// The coordinator cannot start.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// What was written down at the first start cannot be used.
    #[error(transparent)]
    Intent(#[from] IntentError),
    /// The data directory is for something else.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The data directory belongs to another cluster.
    #[error(
        "{data_dir} belongs to cluster {found}, the coordinator serves cluster {expected}: \
         choose another data directory, or the right --pd-endpoints"
    )]
    OtherCluster {
        /// The data directory.
        data_dir: String,
        /// Its cluster.
        found: u64,
        /// The coordinator's.
        expected: u64,
    },
    /// A server ended by itself.
    #[error("the server on {address} ended: {cause}")]
    Server {
        /// Where it listened.
        address: String,
        /// Why.
        cause: String,
    },
}

impl NodeError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Engine(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Pd(error) => error.code(),
            Self::Coordinator(error) => error.code(),
            Self::Config(_) => ErrorCode("RY-SERVER-001"),
            Self::Listen { .. } => ErrorCode("RY-SERVER-002"),
            Self::Runtime(_) => ErrorCode("RY-SERVER-003"),
            Self::Intent(_) => ErrorCode("RY-SERVER-004"),
            Self::OtherCluster { .. } => ErrorCode("RY-SERVER-005"),
            Self::Server { .. } => ErrorCode("RY-SERVER-006"),
            Self::Role(_) => ErrorCode("RY-SERVER-007"),
        }
    }
}
