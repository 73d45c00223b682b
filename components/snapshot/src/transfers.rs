//! The snapshots in flight on a store: how many there may be, how far they are, and which are not wanted any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use observe::SnapshotMetrics;
use observe::metrics::{SnapshotOutcome, SnapshotPhase, SnapshotRefusal};
use parking_lot::Mutex;
use types::{ErrorCode, Instant, RegionId, StoreId};

use crate::name::Direction;

/// How many snapshots may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLimits {
    /// To other stores, from the beginning of the build on.
    pub outgoing: usize,
    /// From other stores, until they are installed; those that wait for a broken connection to come back count.
    pub incoming: usize,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self { outgoing: 32, incoming: 32 }
    }
}

/// A snapshot may not begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many as may be are in flight.
    #[error("{limit} snapshots are in flight in this direction, no more may be: try again later")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// One of this region, with the same other side, is in flight.
    #[error("a snapshot of region {region} is in flight already: wait for its end")]
    SameRegion {
        /// The region.
        region: RegionId,
    },
}

impl Refused {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::TooMany { .. } => "RY-SNAPSHOT-071",
            Self::SameRegion { .. } => "RY-SNAPSHOT-072",
        })
    }
}

/// Why a snapshot is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// The peer does not lead any more.
    SteppedDown,
    /// The region's members or range changed so that the snapshot is of no use.
    EpochChanged,
    /// The peer that it is for, or its own peer, was removed.
    PeerRemoved,
    /// The log was compacted past it.
    LogCompacted,
    /// The other store cannot be reached.
    Unreachable,
    /// The same snapshot is offered on a newer stream.
    Superseded,
    /// Somebody asked for it by hand.
    Requested,
    /// The store stops.
    Stopping,
    /// It took longer than it may.
    TimedOut,
}

impl CancelReason {
    /// The reason in a few words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::SteppedDown => "its peer does not lead any more",
            Self::EpochChanged => "the region changed",
            Self::PeerRemoved => "a peer was removed",
            Self::LogCompacted => "the log was compacted past it",
            Self::Unreachable => "the other store cannot be reached",
            Self::Superseded => "it is offered again on a newer stream",
            Self::Requested => "somebody asked for it",
            Self::Stopping => "the store stops",
            Self::TimedOut => "it took too long",
        }
    }
}

/// What `raftyard ctl snapshots` shows of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferStatus {
    /// Which way it goes.
    pub direction: Direction,
    /// Its region.
    pub region: RegionId,
    /// The other store.
    pub peer_store: StoreId,
    /// What is being done.
    pub phase: SnapshotPhase,
    /// Bytes that this phase is done with.
    pub bytes_done: u64,
    /// Bytes that it has to do; 0 while nobody knows.
    pub bytes_total: u64,
    /// When it began, by the store's clock.
    pub since: Instant,
    /// Why it will end soon, when it was cancelled.
    pub cancelled: Option<CancelReason>,
}

/// All snapshots in flight on one store. Clones are the same.
#[derive(Clone)]
pub struct Transfers {
    shared: Arc<Shared>,
}

struct Shared {
    limits: TransferLimits,
    metrics: SnapshotMetrics,
    flights: Mutex<Flights>,
}

#[derive(Default)]
struct Flights {
    last_id: u64,
    by_id: BTreeMap<u64, TransferStatus>,
}

impl Transfers {
    /// None in flight.
    pub fn new(limits: TransferLimits, metrics: SnapshotMetrics) -> Self {
        Self { shared: Arc::new(Shared { limits, metrics, flights: Mutex::default() }) }
    }

    /// Begins a snapshot, if there may be one more: outgoing with its build, incoming with its reception.
    ///
    /// A region is received once at a time, and sent once at a time to each store.
    pub fn begin(
        &self,
        direction: Direction,
        region: RegionId,
        peer_store: StoreId,
        now: Instant,
    ) -> Result<Transfer, Refused> {
        let (phase, limit) = match direction {
            Direction::Outgoing => (SnapshotPhase::Build, self.shared.limits.outgoing),
            Direction::Incoming => (SnapshotPhase::Receive, self.shared.limits.incoming),
        };
        let mut flights = self.shared.flights.lock();
        let same = |flight: &&TransferStatus| flight.direction == direction;
        let is_same_region = |flight: &TransferStatus| {
            flight.region == region && (direction == Direction::Incoming || flight.peer_store == peer_store)
        };
        if flights.by_id.values().filter(same).any(is_same_region) {
            self.shared.metrics.refused[SnapshotRefusal::SameRegion].inc();
            return Err(Refused::SameRegion { region });
        }
        if flights.by_id.values().filter(same).count() >= limit {
            self.shared.metrics.refused[SnapshotRefusal::TooMany].inc();
            return Err(Refused::TooMany { limit });
        }
        flights.last_id += 1;
        let id = flights.last_id;
        let (bytes_done, bytes_total, cancelled) = (0, 0, None);
        let status =
            TransferStatus { direction, region, peer_store, phase, bytes_done, bytes_total, since: now, cancelled };
        flights.by_id.insert(id, status);
        self.shared.metrics.in_flight[phase].inc();
        Ok(Transfer { id, shared: Arc::clone(&self.shared), phase, phase_since: now, outcome: SnapshotOutcome::Failed })
    }

    /// Tells those who move the snapshots that `which` picks to stop at their next step. Returns how many there are; the
    /// first reason given to each stays.
    pub fn cancel(&self, which: impl Fn(&TransferStatus) -> bool, reason: CancelReason) -> usize {
        let mut flights = self.shared.flights.lock();
        let picked = flights.by_id.values_mut().filter(|flight| which(flight));
        picked.map(|flight| flight.cancelled.get_or_insert(reason)).count()
    }

    /// Every snapshot in flight, in the order in which they began.
    pub fn list(&self) -> Vec<TransferStatus> {
        self.shared.flights.lock().by_id.values().cloned().collect()
    }

    /// How many go in a direction, for the store's heartbeat.
    pub fn count(&self, direction: Direction) -> usize {
        self.shared.flights.lock().by_id.values().filter(|flight| flight.direction == direction).count()
    }
}

/// The permit of one snapshot in flight, and where its progress is told. It is in flight until this is dropped.
pub struct Transfer {
    id: u64,
    shared: Arc<Shared>,
    phase: SnapshotPhase,
    phase_since: Instant,
    /// Failed, as long as nothing else is known.
    outcome: SnapshotOutcome,
}

impl Transfer {
    /// The next phase begins; the one before is measured.
    pub fn enter(&mut self, phase: SnapshotPhase, bytes_total: u64, now: Instant) {
        self.end_phase(now);
        (self.phase, self.phase_since) = (phase, now);
        self.shared.metrics.in_flight[phase].inc();
        self.update(|status| {
            (status.phase, status.bytes_done, status.bytes_total) = (phase, 0, bytes_total);
        });
    }

    fn end_phase(&self, now: Instant) {
        self.shared.metrics.duration[self.phase].observe(now.since(self.phase_since).as_secs_f64());
        self.shared.metrics.in_flight[self.phase].dec();
    }

    /// So many bytes are to be done in this phase.
    pub fn expect(&self, bytes_total: u64) {
        self.update(|status| status.bytes_total = bytes_total);
    }

    /// So many bytes of this phase are done.
    pub fn progress(&self, bytes_done: u64) {
        self.update(|status| status.bytes_done = bytes_done);
    }

    /// Counts bytes that were moved in this phase, those that had to be moved again included.
    pub fn count_bytes(&self, bytes: u64) {
        self.shared.metrics.bytes[self.phase].inc_by(bytes);
    }

    pub(crate) fn metrics(&self) -> &SnapshotMetrics {
        &self.shared.metrics
    }

    /// Why to stop, if so.
    pub fn cancelled(&self) -> Option<CancelReason> {
        self.shared.flights.lock().by_id.get(&self.id).and_then(|status| status.cancelled)
    }

    /// Forgets that it was cancelled: another stream goes on with it.
    pub(crate) fn revive(&self) {
        self.update(|status| status.cancelled = None);
    }

    /// When it began.
    pub fn since(&self) -> Instant {
        self.shared.flights.lock().by_id.get(&self.id).map_or(self.phase_since, |status| status.since)
    }

    /// It ended in good order: its last phase is measured. One that is dropped without this was cancelled or failed.
    pub fn finish(mut self, outcome: SnapshotOutcome, now: Instant) {
        self.outcome = outcome;
        if self.phase == SnapshotPhase::Install {
            // An engine takes files in as a whole.
            let bytes = self.shared.flights.lock().by_id.get(&self.id).map_or(0, |status| status.bytes_total);
            self.count_bytes(bytes);
        }
        self.shared.metrics.duration[self.phase].observe(now.since(self.phase_since).as_secs_f64());
    }

    fn update(&self, change: impl FnOnce(&mut TransferStatus)) {
        if let Some(status) = self.shared.flights.lock().by_id.get_mut(&self.id) {
            change(status);
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let ended = self.shared.flights.lock().by_id.remove(&self.id);
        let was_cancelled = ended.is_some_and(|status| status.cancelled.is_some());
        let outcome = match self.outcome {
            SnapshotOutcome::Failed if was_cancelled => SnapshotOutcome::Cancelled,
            outcome => outcome,
        };
        self.shared.metrics.in_flight[self.phase].dec();
        self.shared.metrics.ended[outcome].inc();
    }
}

/// How long sending or receiving so many bytes may take: as long as at one MiB a second, and ten minutes at the least
/// (raftstore-rules §8).
pub fn time_limit(bytes: u64) -> Duration {
    Duration::from_secs((bytes >> 20).max(600))
}
