//! One round of applying: many regions, one batch.

use std::sync::Arc;

use engine::{ApplyState, Entry, StateEngine, WriterId};
use types::{Generation, LogIndex, PeerId, RegionId, Round, WriteResponder, WriteResult};

use crate::applier::{ApplyError, RegionApplier};

/// Entries of one region to apply.
#[derive(Debug)]
pub struct ApplyTask {
    /// The region.
    pub region: RegionId,
    /// The `RawNode` that handed them out.
    pub generation: Generation,
    /// Consecutive committed entries.
    pub entries: Vec<Entry>,
    /// Who waits for which entry, one responder for each command, in order.
    pub waiting: Vec<(LogIndex, Vec<WriteResponder>)>,
}

/// A region's entries were applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The region.
    pub region: RegionId,
    /// The `RawNode` that handed the entries out.
    pub generation: Generation,
    /// The state after them.
    pub apply_state: ApplyState,
}

/// A log compaction was applied: the entries up to `truncated` may leave L once `round` is durable (D5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The region.
    pub region: RegionId,
    /// The peer whose log it is.
    pub peer: PeerId,
    /// The newest index that is not needed any more.
    pub truncated: LogIndex,
    /// Who wrote the batch.
    pub writer: WriterId,
    /// The batch.
    pub round: Round,
}

/// What a written round gives back.
#[derive(Debug, Default)]
pub struct RoundOutcome {
    /// Answers to give now.
    pub answers: Vec<(WriteResponder, WriteResult)>,
    /// For the regions.
    pub applied: Vec<Applied>,
    /// For the clean-up queue.
    pub truncations: Vec<Truncation>,
    /// The newest round that was written.
    pub round: Round,
    /// Bytes of keys and values that were written.
    pub bytes: u64,
    /// Commands that were applied.
    pub commands: u64,
}

/// One round of an apply poller.
pub struct ApplyRound {}

impl ApplyRound {
    /// Begins a round behind the writer's newest written one.
    pub fn new(engine: Arc<dyn StateEngine>, writer: WriterId, written: Round) -> Self {
        let _ = (engine, writer, written);
        unimplemented!("under construction")
    }

    /// Executes a region's entries into the batch. The batch is written early where a command must read what earlier
    /// ones wrote (D12); each such write counts as a round.
    pub fn apply(&mut self, applier: &mut RegionApplier, task: ApplyTask) -> Result<(), ApplyError> {
        let _ = (applier, task);
        unimplemented!("under construction")
    }

    /// Writes the batch and hands out what it promised.
    pub fn finish(&mut self) -> Result<RoundOutcome, ApplyError> {
        unimplemented!("under construction")
    }
}
