//! One region's state of applying.

use std::sync::Arc;

use engine::{ApplyState, EngineError, Entry};
use proto::log::CompactLog;
use types::{ErrorCode, LogIndex, PeerId, RegionDescriptor, RegionId, Term};

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
    /// An entry is of a kind that this build does not apply.
    #[error(
        "region {region}: entry {index} is a {kind}, which this build does not know how to apply: use a newer build"
    )]
    UnsupportedEntry {
        /// The region.
        region: RegionId,
        /// Its index.
        index: LogIndex,
        /// What it is.
        kind: &'static str,
    },
}

impl ApplyError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Engine(error) => error.code(),
            Self::Gap { .. } => ErrorCode("RY-APPLY-001"),
            Self::Entry { .. } => ErrorCode("RY-APPLY-002"),
            Self::UnsupportedEntry { .. } => ErrorCode("RY-APPLY-003"),
        }
    }
}

/// One region's state of applying. Changes only with [`ApplyRound::apply`](crate::ApplyRound::apply).
#[derive(Clone, Debug)]
pub struct RegionApplier {
    /// The region as of the last applied entry.
    pub descriptor: Arc<RegionDescriptor>,
    /// This store's peer.
    pub peer: PeerId,
    /// How far its log is applied.
    pub apply_state: ApplyState,
}

impl RegionApplier {
    /// An applier that goes on from what the state engine holds.
    ///
    /// # Panics
    /// When the log would begin behind what is applied: no entry could follow.
    pub fn new(descriptor: Arc<RegionDescriptor>, peer: PeerId, apply_state: ApplyState) -> Self {
        check_apply_state(descriptor.id, &apply_state);
        Self { descriptor, peer, apply_state }
    }

    /// Whether an applied entry removed the peer. Then nothing more is applied: the peer only waits to be destroyed (D9).
    pub fn is_removed(&self) -> bool {
        self.descriptor.peer(self.peer).is_none()
    }

    /// The apply state behind an entry.
    ///
    /// # Errors
    /// When the entry does not follow the last applied one.
    pub(crate) fn follow(&self, entry: &Entry) -> Result<ApplyState, ApplyError> {
        let (region, index, term) = (self.descriptor.id, LogIndex(entry.index), Term(entry.term));
        let expected = self.apply_state.applied.next();
        if index != expected {
            return Err(ApplyError::Gap { region, expected, got: index });
        }
        if term < self.apply_state.applied_term {
            let cause = format!("its term {term} is older than the term {} before it", self.apply_state.applied_term);
            return Err(ApplyError::Entry { region, index, cause });
        }
        Ok(ApplyState { applied: index, applied_term: term, ..self.apply_state })
    }
}

/// Forgets the log up to where a compaction says; returns whether it changed anything.
///
/// `state` already counts the compaction's own entry as applied. A compaction behind what is forgotten is ignored.
///
/// # Errors
/// When it would forget itself or what follows: only a damaged entry can ask for that.
pub(crate) fn compact_log(region: RegionId, state: &mut ApplyState, compact: CompactLog) -> Result<bool, ApplyError> {
    let (truncated, term) = (LogIndex(compact.index), Term(compact.term));
    if truncated <= state.truncated {
        return Ok(false);
    }
    if truncated >= state.applied || term < state.truncated_term || term > state.applied_term {
        let cause =
            format!("it asks to forget the log up to entry {truncated} of term {term}, which cannot be before it");
        return Err(ApplyError::Entry { region, index: state.applied, cause });
    }
    state.truncated = truncated;
    state.truncated_term = term;
    check_apply_state(region, state);
    Ok(true)
}

/// What must hold of an apply state whenever it is taken over or written (D8).
pub(crate) fn check_apply_state(region: RegionId, state: &ApplyState) {
    assert!(
        state.truncated <= state.applied && state.truncated_term <= state.applied_term,
        "region {region}: the log begins behind what is applied: {state:?}"
    );
}
