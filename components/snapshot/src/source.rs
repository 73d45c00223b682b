//! What a snapshot is built from.

use std::sync::Arc;

use engine::{ApplyState, EngineError, Family, StateRead, meta};
use types::codec::DecodeError;
use types::{ErrorCode, LogIndex, RegionDescriptor, RegionId, Term};

/// A region at one moment of the state engine: descriptor, applied index and data belong together, because each of
/// them is read from the same [`StateRead`], and the engine's batches are whole (D2).
#[derive(Clone)]
pub struct SnapshotSource {
    /// The region.
    pub region: RegionDescriptor,
    /// The newest applied index.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The moment. It shows the whole store; only the region's range is read.
    pub data: Arc<dyn StateRead>,
}

/// There is nothing to build a snapshot from.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The engine could not be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The region is not there, or not whole.
    #[error("region {region} has no {what} in the state engine: it was destroyed, or its peer is not initialised")]
    Absent {
        /// The region.
        region: RegionId,
        /// What is missing.
        what: &'static str,
    },
    /// Its record does not read.
    #[error("region {region}: {source}")]
    Record {
        /// The region.
        region: RegionId,
        /// What is wrong with it.
        source: DecodeError,
    },
}

impl SourceError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Engine(error) => error.code(),
            Self::Absent { .. } => ErrorCode("RY-SNAPSHOT-021"),
            Self::Record { .. } => ErrorCode("RY-SNAPSHOT-022"),
        }
    }
}

impl SnapshotSource {
    /// Reads what the moment says of a region. `data` is [`StateEngine::snapshot`](engine::StateEngine::snapshot), taken
    /// when no batch of the region is being put together, such as between two rounds of its apply poller.
    pub fn read(region: RegionId, data: Arc<dyn StateRead>) -> Result<Self, SourceError> {
        let get = |key: bytes::Bytes, what| data.get(Family::Meta, &key)?.ok_or(SourceError::Absent { region, what });
        let unreadable = |source| SourceError::Record { region, source };
        let descriptor = get(meta::descriptor_key(region), "descriptor")?;
        let descriptor = meta::decode_descriptor(&descriptor).map_err(unreadable)?;
        let applied = get(meta::apply_state_key(region), "apply state")?;
        let applied = ApplyState::decode(&applied).map_err(unreadable)?;
        Ok(Self { region: descriptor, index: applied.applied, term: applied.applied_term, data })
    }
}
