//! Writing the log: in the poller itself, or on a thread of its own that merges the rounds of several pollers.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use engine::{Durability, LogBatch, LogOp};
use region::{Input, Persist, SplitResponder};
use slog::warn;
use types::{Generation, PlantedBug, ReadyNumber, RegionDescriptor, RegionId, RequestError};

use crate::error::StoreError;
use crate::lifecycle::births::Births;
use crate::panic::catch;
use crate::shared::Shared;

/// Most rounds that wait for the log-writer thread; a poller waits for room behind them.
pub(crate) const QUEUED_ROUNDS: usize = 16;

/// A write of the log engine that takes longer is worth a line in the log: heartbeats wait behind it.
const SLOW_WRITE: Duration = Duration::from_millis(200);

/// What a round of a raft poller wants written, and what follows from it.
#[derive(Default)]
pub(crate) struct RaftRound {
    /// In ready order for each region.
    pub(crate) persists: Vec<Persist>,
    /// Splits whose children begin behind the write.
    pub(crate) births: Vec<Births>,
    /// Whom to tell of them then.
    pub(crate) split_ended: Vec<(SplitResponder, Result<Vec<RegionDescriptor>, RequestError>)>,
}

impl RaftRound {
    fn is_empty(&self) -> bool {
        self.persists.is_empty() && self.births.is_empty()
    }

    /// Takes another round's writes behind its own.
    fn extend(&mut self, later: Self) {
        self.persists.extend(later.persists);
        self.births.extend(later.births);
        self.split_ended.extend(later.split_ended);
    }
}

/// A region's `Persist` that is durable now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) region: RegionId,
    pub(crate) generation: Generation,
    pub(crate) ready: ReadyNumber,
}

/// How a raft poller has its rounds written.
pub(crate) enum LogWriter {
    /// In the poller: the fewest hops between threads.
    Inline(Arc<Shared>),
    /// By a [`RoundWriter`], on a thread of its own.
    Queued(Sender<RaftRound>),
}

impl LogWriter {
    /// Writes a round. Returns what is durable now; a thread tells the regions later.
    pub(crate) fn write(&self, round: RaftRound) -> Result<Vec<Written>, StoreError> {
        match self {
            Self::Inline(shared) => write_synced(shared, round),
            Self::Queued(queue) => {
                // The other end is gone only when the store has failed or stops; then nobody waits for the round.
                let _ = queue.send(round);
                Ok(Vec::new())
            }
        }
    }
}

/// The other end of [`LogWriter::Queued`]: merges the rounds that wait into one write. Rounds of one region are in the
/// queue in ready order, because one poller at a time holds a region (D1).
pub(crate) struct RoundWriter {
    shared: Arc<Shared>,
    queue: Receiver<RaftRound>,
    /// What is being written.
    taken: RaftRound,
}

impl RoundWriter {
    pub(crate) fn new(shared: Arc<Shared>, queue: Receiver<RaftRound>) -> Self {
        Self { shared, queue, taken: RaftRound::default() }
    }

    /// Writes rounds until every poller is gone, waiting where there is none.
    pub(crate) fn run(mut self) {
        while let Ok(round) = self.queue.recv() {
            self.taken = round;
            self.take();
            self.write();
        }
    }

    /// How many rounds wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes the rounds that wait now. False when there is nothing to write.
    pub(crate) fn take(&mut self) -> bool {
        for round in self.queue.try_iter().take(QUEUED_ROUNDS) {
            self.taken.extend(round);
        }
        !self.taken.is_empty()
    }

    /// Writes what was taken, and tells the regions.
    pub(crate) fn write(&mut self) {
        let (shared, round) = (&self.shared, std::mem::take(&mut self.taken));
        if round.is_empty() || !shared.is_running() {
            return;
        }
        match catch(|| write_synced(shared, round)) {
            Ok(Ok(written)) => tell(shared, written),
            Ok(Err(error)) => shared.fail(error),
            Err(cause) => shared.fail(StoreError::Panic { region: RegionId(0), cause }),
        }
    }
}

fn tell(shared: &Shared, written: Vec<Written>) {
    for Written { region, generation, ready } in written {
        // A region that is gone needs no completion.
        let _ = shared.raft.force_send(region.0, Input::Persisted { generation, ready }.into());
    }
}

/// One batch, one fsync for all regions of the round, ordered by region: neighbours in the log engine's index. Then the
/// children of its splits begin.
fn write_synced(shared: &Arc<Shared>, round: RaftRound) -> Result<Vec<Written>, StoreError> {
    let RaftRound { mut persists, births, split_ended } = round;
    persists.sort_by_key(|persist| persist.region);
    let mut batch = LogBatch { ops: Vec::with_capacity(persists.len()) };
    let mut written = Vec::with_capacity(persists.len());
    let mut bytes = 0;
    for Persist { region, peer, generation, ready, entries, hard_state } in persists {
        bytes += entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
        batch.ops.push(LogOp::Append { region, peer, entries, hard_state });
        written.push(Written { region, generation, ready });
    }
    for birth in &births {
        batch.ops.extend(birth.log_ops(shared));
    }
    let (clock, metrics) = (&shared.around.clock, &shared.around.metrics);
    let started = clock.now();
    let unsynced = shared.config.planted.has(PlantedBug::AnswerBeforeFsync);
    shared.engines.log.write(batch, if unsynced { Durability::Buffered } else { Durability::Synced })?;
    let took = clock.now().since(started);
    metrics.log_write_duration.observe(took.as_secs_f64());
    if took > SLOW_WRITE {
        warn!(shared.around.logger, "the log engine stalled";
            "took_ms" => took.as_millis() as u64, "regions" => written.len(), "bytes" => bytes);
    }
    metrics.log_write_regions.observe(written.len() as f64);
    metrics.log_write_bytes.inc_by(bytes);
    for birth in births {
        birth.begin(shared)?;
    }
    for (responder, result) in split_ended {
        responder.respond(result);
    }
    Ok(written)
}
