//! One region's state of applying.

use std::sync::Arc;

use engine::{ApplyState, EngineError};
use types::{LogIndex, RegionDescriptor, RegionId};

/// Applying cannot go on. Fatal to the store.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The state engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An entry is not the one that must come next.
    #[error("region {region}: entry {got} came to be applied where {expected} must come: the log has a gap")]
    Gap {
        /// The region.
        region: RegionId,
        /// The index that must come next.
        expected: LogIndex,
        /// The index that came.
        got: LogIndex,
    },
    /// An entry's bytes are not an entry of ours, or of a newer version.
    #[error("region {region}: entry {index} cannot be read: {cause}")]
    Entry {
        /// The region.
        region: RegionId,
        /// Its index.
        index: LogIndex,
        /// What is wrong.
        cause: String,
    },
}

/// One region's state of applying.
#[derive(Clone, Debug)]
pub struct RegionApplier {
    /// The region as of the last applied entry.
    pub descriptor: Arc<RegionDescriptor>,
    /// How far its log is applied.
    pub apply_state: ApplyState,
}
