//! What may leave the log, and when: the flush watermark and the deferred clean-up queue (D3, D5).

use std::collections::BTreeMap;

use apply::Truncation;
use engine::{Durability, LogBatch, LogOp, StateEngine, WriterId};
use observe::metrics::store::Queue;
use parking_lot::Mutex;
use slog::{debug, info};
use types::{Instant, PlantedBug, RegionId, Round};

use crate::error::StoreError;
use crate::shared::Shared;

/// Log deletions that wait for the watermark, and how far each writer is durable.
///
/// Bounded: at most two deletions wait for each region, its oldest and its newest; those in between say nothing more.
#[derive(Default)]
pub(crate) struct CleanUpQueue {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: BTreeMap<RegionId, Waiting>,
    writers: BTreeMap<WriterId, Progress>,
}

struct Waiting {
    oldest: Truncation,
    newest: Option<Truncation>,
}

/// How far a writer of the state engine has written, and how far that is known to be durable.
#[derive(Clone, Copy, Debug)]
struct Progress {
    written: Round,
    durable: Round,
    /// When the oldest round that is not durable was written, at the latest.
    since: Instant,
}

impl Progress {
    fn is_durable(self) -> bool {
        self.durable >= self.written
    }
}

impl CleanUpQueue {
    /// Notes a region's compaction; its log may be deleted once the round is durable.
    pub(crate) fn add(&self, truncation: Truncation) {
        let mut inner = self.inner.lock();
        if let Some(waiting) = inner.waiting.get_mut(&truncation.region) {
            waiting.newest = Some(truncation);
        } else {
            inner.waiting.insert(truncation.region, Waiting { oldest: truncation, newest: None });
        }
    }

    /// Forgets what waits for a region: its log goes as a whole, or is reset.
    pub(crate) fn forget(&self, region: RegionId) {
        self.inner.lock().waiting.remove(&region);
    }

    /// How many regions have deletions that wait.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Notes the newest round that a writer wrote.
    pub(crate) fn wrote(&self, writer: WriterId, round: Round, now: Instant) {
        let mut inner = self.inner.lock();
        let progress =
            inner.writers.entry(writer).or_insert(Progress { written: Round(0), durable: Round(0), since: now });
        if progress.is_durable() {
            progress.since = now;
        }
        progress.written = progress.written.max(round);
    }

    /// The newest round of each writer.
    pub(crate) fn written(&self) -> Vec<(WriterId, Round)> {
        self.inner.lock().writers.iter().map(|(writer, progress)| (*writer, progress.written)).collect()
    }

    /// How many rounds are not known to be durable, and since when the oldest is waiting.
    pub(crate) fn lag(&self) -> (u64, Option<Instant>) {
        let inner = self.inner.lock();
        let behind = inner.writers.values().filter(|progress| !progress.is_durable());
        behind.fold((0, None), |(rounds, since), progress| {
            let since = since.map_or(progress.since, |since: Instant| since.min(progress.since));
            (rounds + progress.written.0 - progress.durable.0, Some(since))
        })
    }

    /// Takes note of how far a writer is durable; takes out what may be deleted because of it.
    fn advance(&self, writer: WriterId, durable: Round, now: Instant) -> Vec<Truncation> {
        let mut inner = self.inner.lock();
        if let Some(progress) = inner.writers.get_mut(&writer)
            && durable > progress.durable
        {
            progress.durable = durable;
            progress.since = now;
        }
        let passed = |truncation: &Truncation| truncation.writer == writer && truncation.round <= durable;
        let mut ready = Vec::new();
        inner.waiting.retain(|_, waiting| match waiting.newest {
            Some(newest) if passed(&newest) => {
                ready.push(newest);
                false
            }
            newest if passed(&waiting.oldest) => {
                ready.push(waiting.oldest);
                waiting.newest = None;
                newest.is_some_and(|newest| {
                    waiting.oldest = newest;
                    true
                })
            }
            _ => true,
        });
        ready
    }
}

/// How often a fence flushes before it takes a watermark that does not move for damage.
const FENCE_FLUSHES: usize = 100;

/// Waits until the rounds are durable (D4): flushes and reads the watermark, until each writer's is there.
///
/// The rounds must be written already. A flush makes everything durable that was written before it, so one is enough nearly
/// always; but RocksDB was seen to let a flush return while another one, of the same memtables, had yet to show what
/// it had written. So it is read, and asked for again.
///
/// # Errors
/// The engine's, or `Corruption` when flushes do not move the watermark.
pub(crate) fn fence(state: &dyn StateEngine, rounds: &[(WriterId, Round)]) -> Result<(), StoreError> {
    fence_by(|| state.flush(), |writer| state.persisted_round(writer), rounds)
}

fn fence_by(
    flush: impl Fn() -> engine::Result<()>,
    persisted: impl Fn(WriterId) -> engine::Result<Round>,
    rounds: &[(WriterId, Round)],
) -> Result<(), StoreError> {
    let mut behind = None;
    for _ in 0..FENCE_FLUSHES {
        flush()?;
        behind = None;
        for (writer, round) in rounds {
            let durable = persisted(*writer)?;
            if durable < *round {
                behind = Some((*writer, *round, durable));
                break;
            }
        }
        if behind.is_none() {
            return Ok(());
        }
    }
    let Some((writer, round, durable)) = behind else { return Ok(()) };
    let cause =
        format!("round {round} of {writer:?} is not durable after {FENCE_FLUSHES} flushes, only round {durable}");
    Err(engine::EngineError::Corruption { engine: "state", cause }.into())
}

/// Looks at the watermark now and then.
pub(crate) struct Upkeep {
    /// What the log engine had written when the state engine was last flushed.
    log_bytes_at_flush: u64,
}

impl Upkeep {
    pub(crate) fn new() -> Self {
        Self { log_bytes_at_flush: 0 }
    }

    /// One look: forces a flush when too much is behind the watermark, then deletes what it has passed.
    pub(crate) fn run(&mut self, shared: &Shared, now: Instant) -> Result<(), StoreError> {
        count_queues(shared);
        shared.snapshots.incoming.receptions.expire(now);
        if self.must_flush(shared, now) {
            self.flush(shared)?;
        }
        self.delete_passed(shared, now)
    }

    /// Makes everything that is applied durable, and deletes what it allows to be deleted.
    pub(crate) fn flush_and_clean(&mut self, shared: &Shared, now: Instant) -> Result<(), StoreError> {
        self.flush(shared)?;
        self.delete_passed(shared, now)
    }

    fn must_flush(&self, shared: &Shared, now: Instant) -> bool {
        let (rounds, since) = shared.clean_up.lag();
        let age = since.map(|since| now.since(since));
        let log_bytes = shared.engines.log.statistics().bytes_written.saturating_sub(self.log_bytes_at_flush);
        let metrics = &shared.around.metrics;
        metrics.flush_lag_rounds.set(rounds as i64);
        metrics.flush_lag_bytes.set(if rounds > 0 { log_bytes as i64 } else { 0 });
        metrics.flush_lag.set(age.unwrap_or_default().as_secs_f64());
        rounds > 0
            && (log_bytes > shared.config.max_unflushed_log_bytes
                || age.is_some_and(|age| age > shared.config.max_unflushed_age))
    }

    fn flush(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let (written, log_bytes) = (shared.clean_up.written(), shared.engines.log.statistics().bytes_written);
        let started = shared.around.clock.now();
        fail_point!("upkeep-begun");
        fence(&*shared.engines.state, &written)?;
        fail_point!("upkeep-flushed");
        self.log_bytes_at_flush = log_bytes;
        shared.around.metrics.forced_flushes.inc();
        let took = shared.around.clock.now().since(started);
        info!(shared.around.logger, "state engine flushed"; "took_ms" => took.as_millis() as u64);
        Ok(())
    }

    fn delete_passed(&mut self, shared: &Shared, now: Instant) -> Result<(), StoreError> {
        let mut batch = LogBatch::default();
        let early = shared.config.planted.has(PlantedBug::LogDeletedEarly);
        for (writer, written) in shared.clean_up.written() {
            let durable = if early { written } else { shared.engines.state.persisted_round(writer)? };
            batch.ops.extend(shared.clean_up.advance(writer, durable, now).into_iter().map(delete));
        }
        if !batch.is_empty() {
            debug!(shared.around.logger, "raft logs compacted"; "regions" => batch.ops.len());
            count_compactions(shared, &batch)?;
            // Losing a deletion costs nothing: a restart computes it again from the truncated indexes.
            shared.engines.log.write(batch, Durability::Buffered)?;
            fail_point!("upkeep-logs-deleted");
        }
        Ok(())
    }
}

/// What waits in the store's queues at this moment.
fn count_queues(shared: &Shared) {
    let queued = &shared.around.metrics.queue_length;
    let sum = |lengths: &mut dyn Iterator<Item = usize>| lengths.sum::<usize>() as i64;
    let (raft, apply) = (&shared.raft, &shared.apply);
    queued[Queue::RaftMailbox].set(sum(&mut raft.ids().into_iter().filter_map(|id| raft.mailbox_len(id))));
    queued[Queue::ApplyMailbox].set(sum(&mut apply.ids().into_iter().filter_map(|id| apply.mailbox_len(id))));
    queued[Queue::Read].set(shared.around.metrics.read_index_pending.get());
    queued[Queue::CleanUp].set(shared.clean_up.len() as i64);
    queued[Queue::Lifecycle].set(shared.lifecycle.waiting() as i64);
    shared.around.metrics.regions.set(shared.table.len() as i64);
}

fn count_compactions(shared: &Shared, batch: &LogBatch) -> Result<(), StoreError> {
    let metrics = &shared.around.metrics;
    metrics.log_compactions.inc_by(batch.ops.len() as u64);
    for op in &batch.ops {
        if let LogOp::DeleteTo { region, end, .. } = op
            && let Some((first, _)) = shared.engines.log.region(*region)?.and_then(|log| log.bounds)
        {
            metrics.log_compacted_entries.inc_by(end.0.saturating_sub(first.0));
        }
    }
    Ok(())
}

fn delete(truncation: Truncation) -> LogOp {
    LogOp::DeleteTo { region: truncation.region, peer: truncation.peer, end: truncation.truncated.next() }
}

#[cfg(test)]
mod tests {
    use types::LogIndex;

    use super::*;

    const WRITER: WriterId = WriterId::Apply(0);

    fn truncation(truncated: u64, round: u64) -> Truncation {
        Truncation {
            region: RegionId(1),
            peer: types::PeerId(2),
            truncated: LogIndex(truncated),
            writer: WRITER,
            round: Round(round),
        }
    }

    fn passed(queue: &CleanUpQueue, durable: u64) -> Vec<u64> {
        let ready = queue.advance(WRITER, Round(durable), Instant(0));
        ready.into_iter().map(|truncation| truncation.truncated.0).collect()
    }

    #[test]
    fn nothing_leaves_before_its_round_is_durable() {
        let queue = CleanUpQueue::default();
        queue.wrote(WRITER, Round(5), Instant(0));
        queue.add(truncation(10, 5));
        assert!(passed(&queue, 4).is_empty());
        assert!(
            queue.advance(WriterId::Apply(1), Round(9), Instant(0)).is_empty(),
            "another writer's rounds say nothing"
        );
        assert_eq!(passed(&queue, 5), [10]);
        assert!(passed(&queue, 6).is_empty());
    }

    #[test]
    fn a_region_that_compacts_often_is_still_cleaned() {
        let queue = CleanUpQueue::default();
        for round in 1..=9 {
            queue.wrote(WRITER, Round(round), Instant(0));
            queue.add(truncation(round * 10, round));
        }
        assert_eq!(passed(&queue, 4), [10], "the oldest waits on its own, the newest replaces the ones between");
        assert_eq!(passed(&queue, 9), [90]);
        assert!(queue.inner.lock().waiting.is_empty());
    }

    #[test]
    fn a_fence_does_not_pass_before_the_watermark_does() {
        let flushes = std::cell::Cell::new(0);
        let fence_at = |late: u64| {
            flushes.set(0);
            let flush = || {
                flushes.set(flushes.get() + 1);
                Ok(())
            };
            let persisted = |writer| Ok(Round(if writer == WRITER && flushes.get() > late { 5 } else { 4 }));
            fence_by(flush, persisted, &[(WRITER, Round(5)), (WriterId::Lifecycle, Round(4))])
        };
        assert!(fence_at(0).is_ok() && flushes.get() == 1);
        assert!(fence_at(3).is_ok() && flushes.get() == 4);
        let error = fence_at(u64::MAX).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("round 5 of Apply(0) is not durable"), "{error}");
    }

    #[test]
    fn the_lag_is_what_is_not_durable() {
        let queue = CleanUpQueue::default();
        assert_eq!(queue.lag(), (0, None));
        queue.wrote(WRITER, Round(3), Instant(7));
        queue.wrote(WRITER, Round(4), Instant(9));
        assert_eq!(queue.lag(), (4, Some(Instant(7))));
        passed(&queue, 4);
        assert_eq!(queue.lag(), (0, None));
    }
}
