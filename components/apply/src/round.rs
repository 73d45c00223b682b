//! One round of applying: many regions, one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::meta::apply_state_key;
use engine::{ApplyState, Change, Entry, Family, StateEngine, WriterId};
use proto::log::Command;
use types::{
    Generation, LogIndex, PeerId, PlantedBug, PlantedBugs, RegionDescriptor, RegionId, RequestError, Round,
    WriteResponder, WriteResult,
};

use crate::applier::{ApplyError, RegionApplier, check_apply_state};
use crate::arbiter::{Arbiter, SplitsAlone};
use crate::entry::{self, Content};
use crate::execute::execute;
use crate::pending::PendingBatch;

/// Entries of one region to apply.
#[derive(Debug)]
pub struct ApplyTask {
    /// The region.
    pub region: RegionId,
    /// The `RawNode` that handed them out.
    pub generation: Generation,
    /// Consecutive committed entries.
    pub entries: Vec<Entry>,
    /// Who waits for which entry, in index order: one responder for each of its commands, in their order. Entries for
    /// which nobody waits are left out.
    pub waiting: Vec<(LogIndex, Vec<WriteResponder>)>,
}

/// A region's entries were applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The region.
    pub region: RegionId,
    /// The `RawNode` that handed the entries out.
    pub generation: Generation,
    /// The state after them.
    pub apply_state: ApplyState,
    /// What they changed about the region itself, in their order.
    pub changes: Vec<Change>,
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

/// How much users' commands changed in a region, as they came: a delete-range counts as one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// What a written round gives back.
#[derive(Debug, Default)]
pub struct RoundOutcome {
    /// Answers to give now, in the order in which the commands were applied.
    pub answers: Vec<(WriteResponder, WriteResult)>,
    /// For the regions, ordered by region: one for each, however many tasks it had.
    pub applied: Vec<Applied>,
    /// For the clean-up queue.
    pub truncations: Vec<Truncation>,
    /// The newest round that was written.
    pub round: Round,
    /// Bytes of keys and values that were written, records of the store included.
    pub bytes: u64,
    /// What users' commands wrote to each region.
    pub written: BTreeMap<RegionId, Written>,
    /// Commands that were applied; refused ones do not count, a comparison that failed does.
    pub commands: u64,
}

/// One round of an apply poller, and after it the next one: a poller keeps one of these for as long as it lives.
///
/// Each written batch carries the apply state of every region that it holds something of (D2) and the writer's round
/// (D3). After an [`ApplyError`] every answer that was not handed out is dropped, which tells its client *unknown*,
/// and the round must not be used again.
pub struct ApplyRound {
    pub(crate) engine: Arc<dyn StateEngine>,
    pub(crate) arbiter: Arc<dyn Arbiter>,
    pub(crate) writer: WriterId,
    /// The newest batch of this writer that is in the engine.
    pub(crate) written: Round,
    pub(crate) pending: PendingBatch,
    regions: BTreeMap<RegionId, Progress>,
    /// What the next [`RoundOutcome`] holds so far; its `applied` and `round` are filled in at the end.
    pub(crate) outcome: RoundOutcome,
    failed: bool,
    pub(crate) planted: PlantedBugs,
}

/// How far a region came in this round.
struct Progress {
    applied: Applied,
    /// Whether the engine has this apply state.
    written: bool,
}

impl ApplyRound {
    /// Begins a round behind the writer's newest written one.
    pub fn new(engine: Arc<dyn StateEngine>, writer: WriterId, written: Round) -> Self {
        Self {
            engine,
            arbiter: Arc::new(SplitsAlone),
            writer,
            written,
            pending: PendingBatch::default(),
            regions: BTreeMap::new(),
            outcome: RoundOutcome::default(),
            failed: false,
            planted: PlantedBugs::NONE,
        }
    }

    /// The same with planted bugs, for the simulator.
    #[must_use]
    pub fn planting(self, planted: PlantedBugs) -> Self {
        Self { planted, pending: self.pending.planting(planted), ..self }
    }

    /// The same round with another arbiter than [`SplitsAlone`].
    #[must_use]
    pub fn with_arbiter(self, arbiter: Arc<dyn Arbiter>) -> Self {
        Self { arbiter, ..self }
    }

    /// Executes a region's entries into the batch. A batch that has outgrown its bound is written between two entries;
    /// each such write counts as a round. Answers wait for [`finish`](Self::finish) all the same.
    ///
    /// Nothing is executed behind an entry that removes this store's peer: the region goes on without it. Whoever waits
    /// for such an entry is told that its outcome is unknown.
    ///
    /// # Errors
    /// All are fatal: the engine failed, or the entries are not what may come next.
    ///
    /// # Panics
    /// When the task is another region's, when those who wait do not fit the entries, or after an error.
    pub fn apply(&mut self, applier: &mut RegionApplier, task: ApplyTask) -> Result<(), ApplyError> {
        assert!(!self.failed, "an apply round was used after it had failed");
        assert_eq!(applier.descriptor.id, task.region, "a task was handed to another region's applier");
        let result = self.apply_entries(applier, task);
        self.abandon_on_error(result)
    }

    /// Writes the batch and hands out what it promised. Afterwards the next round begins, empty.
    ///
    /// # Errors
    /// When the engine failed, which is fatal.
    ///
    /// # Panics
    /// After an error.
    pub fn finish(&mut self) -> Result<RoundOutcome, ApplyError> {
        assert!(!self.failed, "an apply round was used after it had failed");
        let result = self.write();
        self.abandon_on_error(result)?;
        let regions = std::mem::take(&mut self.regions);
        let applied = regions.into_values().map(|progress| progress.applied).collect();
        Ok(RoundOutcome { applied, round: self.written, ..std::mem::take(&mut self.outcome) })
    }

    fn apply_entries(&mut self, applier: &mut RegionApplier, task: ApplyTask) -> Result<(), ApplyError> {
        let mut waiting = task.waiting.into_iter().peekable();
        for entry in task.entries {
            if applier.is_removed() {
                return Ok(());
            }
            let index = LogIndex(entry.index);
            let responders = waiting.next_if(|(waits_for, _)| *waits_for == index).map(|(_, responders)| responders);
            let (apply_state, change) = self.apply_entry(applier, entry, responders)?;
            check_apply_state(task.region, &apply_state);
            applier.apply_state = apply_state;
            self.note_progress(task.region, task.generation, apply_state, change);
            // Between two entries only: see the crate's documentation.
            if self.pending.is_full() {
                self.write()?;
            }
        }
        let left = waiting.next().map(|(index, _)| index);
        assert!(
            left.is_none() || applier.is_removed(),
            "region {}: someone waits for entry {left:?}, which did not come",
            task.region
        );
        Ok(())
    }

    fn note_progress(
        &mut self,
        region: RegionId,
        generation: Generation,
        apply_state: ApplyState,
        change: Option<Change>,
    ) {
        let begin =
            || Progress { applied: Applied { region, generation, apply_state, changes: Vec::new() }, written: false };
        let progress = self.regions.entry(region).or_insert_with(begin);
        if progress.applied.generation != generation {
            // A new `RawNode` began from what the older one's entries had left.
            progress.applied.changes.clear();
            progress.applied.generation = generation;
        }
        progress.applied.apply_state = apply_state;
        progress.applied.changes.extend(change);
        progress.written = false;
    }

    /// Executes one entry; gives the apply state behind it, and what it changed about the region itself.
    fn apply_entry(
        &mut self,
        applier: &mut RegionApplier,
        entry: Entry,
        responders: Option<Vec<WriteResponder>>,
    ) -> Result<(ApplyState, Option<Change>), ApplyError> {
        let region = Arc::clone(&applier.descriptor);
        let mut state = applier.follow(&entry)?;
        let change = match entry::read(region.id, entry)? {
            Content::Nothing => {
                assert_number(region.id, &state, &responders, 0);
                None
            }
            Content::Commands { region_version, commands } => {
                assert_number(region.id, &state, &responders, commands.len());
                let responders = responders.unwrap_or_default();
                if region_version == region.epoch.version {
                    self.execute_all(&region, commands, responders)?;
                } else {
                    self.refuse_all(&region, responders);
                }
                None
            }
            Content::Admin(command) => {
                assert_number(region.id, &state, &responders, 0);
                let kind = self.apply_admin(applier, &mut state, command)?;
                kind.map(|kind| Change { index: state.applied, kind })
            }
        };
        Ok((state, change))
    }

    fn execute_all(
        &mut self,
        region: &RegionDescriptor,
        commands: Vec<Command>,
        responders: Vec<WriteResponder>,
    ) -> Result<(), ApplyError> {
        let mut responders = responders.into_iter();
        let (changes, bytes) = (self.pending.batch.ops().len(), self.pending.batch.bytes());
        for command in commands {
            let result = execute(&mut self.pending, &*self.engine, region, command)?;
            self.outcome.commands += u64::from(result.is_ok());
            if let Some(responder) = responders.next() {
                self.outcome.answers.push((responder, result));
            }
        }
        // Nothing is written inside of an entry, so the batch has only grown.
        let written = self.outcome.written.entry(region.id).or_default();
        written.keys += (self.pending.batch.ops().len() - changes) as u64;
        written.bytes += (self.pending.batch.bytes() - bytes) as u64;
        Ok(())
    }

    /// The range changed between proposing and applying (raftstore-rules §4: equality, checked at both).
    fn refuse_all(&mut self, region: &RegionDescriptor, responders: Vec<WriteResponder>) {
        for responder in responders {
            let error = RequestError::EpochNotMatch { region: region.id, current: vec![region.clone()] };
            self.outcome.answers.push((responder, Err(error)));
        }
    }

    /// Writes the pending batch, if there is one.
    pub(crate) fn write(&mut self) -> Result<(), ApplyError> {
        let round = self.written.next();
        let batch = &mut self.pending.batch;
        if self.planted.has(PlantedBug::AppliedTwice) {
            self.engine.write(batch)?;
            batch.clear();
        }
        let mut unwritten = false;
        for (region, progress) in self.regions.iter_mut().filter(|(_, progress)| !progress.written) {
            batch.put(Family::Meta, apply_state_key(*region), progress.applied.apply_state.encode());
            progress.written = true;
            unwritten = true;
        }
        if !unwritten {
            assert!(batch.is_empty(), "a batch holds changes of no region");
            return Ok(());
        }
        batch.set_round(self.writer, round);
        self.engine.write(batch)?;
        self.outcome.bytes += batch.bytes() as u64;
        self.written = round;
        self.pending.clear();
        Ok(())
    }

    /// Drops what was promised when it cannot be kept: the dropped responders say *unknown*, which is the truth.
    fn abandon_on_error<T>(&mut self, result: Result<T, ApplyError>) -> Result<T, ApplyError> {
        if result.is_err() {
            self.failed = true;
            self.outcome = RoundOutcome::default();
            self.pending.clear();
            self.regions.clear();
        }
        result
    }
}

impl std::fmt::Debug for ApplyRound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApplyRound {{ writer: {:?}, written: {}, failed: {} }}", self.writer, self.written, self.failed)
    }
}

/// Each command has its one responder, or nobody waits for the entry at all.
fn assert_number(region: RegionId, state: &ApplyState, responders: &Option<Vec<WriteResponder>>, commands: usize) {
    if let Some(responders) = responders {
        let (index, waiting) = (state.applied, responders.len());
        assert_eq!(waiting, commands, "region {region}, entry {index}: {waiting} wait for {commands} commands");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod replay;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests;
