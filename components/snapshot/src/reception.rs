//! Snapshots on their way in, with their permits, their share of the bandwidth, and a place to wait for a broken
//! connection to come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::StateEngine;
use observe::metrics::SnapshotPhase;
use parking_lot::Mutex;
use types::{ErrorCode, Instant, RegionId, StoreId};

use crate::answer::{Answer, Refusal, RefusalKind};
use crate::chunk::Chunk;
use crate::files::SharedFiles;
use crate::name::Direction;
use crate::numbers::SnapshotNumbers;
use crate::rate::RateLimiter;
use crate::received::Received;
use crate::receiver::{Announced, ReceiveConfig, ReceiveError, ReceiveStep, Receiver};
use crate::transfers::{CancelReason, Refused, Transfer, Transfers, time_limit};

/// Bounds of [`Receptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptionConfig {
    /// Bounds of each snapshot.
    pub receive: ReceiveConfig,
    /// How long what a broken connection left is kept for its sender to go on with.
    pub resume_timeout: Duration,
}

impl Default for ReceptionConfig {
    fn default() -> Self {
        Self { receive: ReceiveConfig::default(), resume_timeout: Duration::from_secs(60) }
    }
}

/// A snapshot that another store offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What raft's message says of it.
    pub announced: Announced,
    /// Who offers it.
    pub from_store: StoreId,
    /// Its manifest as it came.
    pub manifest: Bytes,
}

/// A snapshot was not taken, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum ReceptionError {
    /// A bound is reached.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is not wanted any more.
    #[error("receiving a snapshot: given up, {}", .0.text())]
    Cancelled(CancelReason),
    /// It is wrong, or could not be stored.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

impl ReceptionError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refused) => refused.code(),
            Self::Cancelled(_) => ErrorCode("RY-SNAPSHOT-081"),
            Self::Receive(error) => error.code(),
        }
    }

    /// What the sender is told.
    pub fn refusal(&self) -> Refusal {
        let kind = match self {
            Self::Receive(error) => return error.refusal(),
            Self::Refused(_) | Self::Cancelled(CancelReason::Superseded) => RefusalKind::Later,
            Self::Cancelled(_) => RefusalKind::Unwanted,
        };
        Refusal { kind, reason: self.to_string() }
    }
}

/// All snapshots that a store receives. Clones are the same.
#[derive(Clone)]
pub struct Receptions {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Arc<dyn StateEngine>,
    files: SharedFiles,
    numbers: SnapshotNumbers,
    transfers: Transfers,
    limiter: RateLimiter,
    config: ReceptionConfig,
    /// What broken connections left. Each holds a permit, which bounds how many there are.
    parked: Mutex<BTreeMap<RegionId, Parked>>,
}

struct Parked {
    open: Open,
    since: Instant,
}

/// A snapshot that is not complete.
struct Open {
    receiver: Receiver,
    transfer: Transfer,
    from_store: StoreId,
    deadline: Instant,
}

impl Receptions {
    /// Nothing is received yet.
    pub fn new(
        engine: Arc<dyn StateEngine>,
        files: SharedFiles,
        numbers: SnapshotNumbers,
        transfers: Transfers,
        limiter: RateLimiter,
        config: ReceptionConfig,
    ) -> Self {
        let parked = Mutex::default();
        Self { shared: Arc::new(Shared { engine, files, numbers, transfers, limiter, config, parked }) }
    }

    /// Takes an offer up, or says why not. What an earlier stream brought of the same snapshot is gone on with.
    ///
    /// Whether the region wants a snapshot at all is the caller's to judge, before: raft's message must be one that its
    /// region would accept.
    pub fn offer(&self, offer: &Offer, now: Instant) -> Result<Reception, ReceptionError> {
        let left = self.shared.parked.lock().remove(&offer.announced.region).map(|parked| parked.open);
        let same =
            |open: &Open| open.from_store == offer.from_store && open.receiver.manifest_bytes() == &offer.manifest;
        let open = match left.filter(same) {
            Some(open) => {
                open.receiver.check(&offer.announced)?;
                open.transfer.revive();
                open
            }
            None => self.open(offer, now)?,
        };
        Ok(Reception { shared: Arc::clone(&self.shared), open: Some(open) })
    }

    fn open(&self, offer: &Offer, now: Instant) -> Result<Open, ReceptionError> {
        let Announced { region, index, .. } = offer.announced;
        let Shared { engine, files, numbers, transfers, config, .. } = &*self.shared;
        let begun = transfers.begin(Direction::Incoming, region, offer.from_store, now);
        let transfer = begun.inspect_err(|refused| self.supersede(refused, region))?;
        let key = numbers.key(Direction::Incoming, region, index);
        let (engine, files) = (Arc::clone(engine), Arc::clone(files));
        let receiver = Receiver::accept(engine, files, key, &offer.announced, &offer.manifest, config.receive)?;
        let bytes = receiver.manifest().file_bytes();
        transfer.expect(bytes);
        transfer.metrics().size.observe(bytes as f64);
        Ok(Open { receiver, transfer, from_store: offer.from_store, deadline: now + time_limit(bytes) })
    }

    /// A region's sender comes with a new stream before the end of the old one was noticed here: the old one ends, and
    /// its sender, told to come later, finds what it brought.
    fn supersede(&self, refused: &Refused, region: RegionId) {
        if matches!(refused, Refused::SameRegion { .. }) {
            let old = |flight: &crate::TransferStatus| {
                flight.direction == Direction::Incoming
                    && flight.region == region
                    && flight.phase == SnapshotPhase::Receive
            };
            self.shared.transfers.cancel(old, CancelReason::Superseded);
        }
    }

    /// Drops what nobody came back for, and what was cancelled while it waited. Returns how many there were. To be called
    /// now and then.
    pub fn expire(&self, now: Instant) -> usize {
        let timeout = self.shared.config.resume_timeout;
        let mut parked = self.shared.parked.lock();
        let is_over = |parked: &Parked| {
            now.since(parked.since) >= timeout
                || parked.open.transfer.cancelled().is_some_and(|reason| reason != CancelReason::Superseded)
        };
        let over: Vec<RegionId> =
            parked.iter().filter(|(_, parked)| is_over(parked)).map(|(region, _)| *region).collect();
        let over: Vec<Parked> = over.iter().filter_map(|region| parked.remove(region)).collect();
        // Their files are removed without the lock.
        drop(parked);
        over.len()
    }
}

/// A chunk was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What to say to the sender, if anything.
    pub answer: Option<Answer>,
    /// When to say it, and to take the next chunk: later than now where the bandwidth is used up.
    pub ready_at: Instant,
}

/// How a step of a [`Reception`] ended.
pub enum ReceptionStep {
    /// There is more to look through.
    More,
    /// It is whole, verified and durable: [`Answer::Received`] may be said. Its permit comes with it, for the installation
    /// (D10), and is given back by [`Transfer::finish`] with [`SnapshotOutcome::Received`](observe::metrics::SnapshotOutcome).
    Received(Received, Transfer),
}

/// One snapshot being received on one stream: a [`Receiver`] within the store's limits.
///
/// Dropping it removes everything; [`interrupted`](Self::interrupted) keeps it for a while.
pub struct Reception {
    shared: Arc<Shared>,
    /// `None` once it was received or failed.
    open: Option<Open>,
}

impl Reception {
    /// The answer to the offer.
    ///
    /// # Panics
    /// When it was received, or failed.
    pub fn wanted(&mut self) -> Answer {
        self.open.as_mut().expect("a stream begins with this answer").receiver.wanted()
    }

    /// Whether every file is here.
    pub fn has_all(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.receiver.has_all())
    }

    /// Takes a chunk.
    ///
    /// # Errors
    /// After an error everything is gone, except when it was superseded: tell the sender the error's
    /// [`refusal`](ReceptionError::refusal), and call [`interrupted`](Self::interrupted).
    ///
    /// # Panics
    /// When it was received, or failed.
    pub fn take(&mut self, chunk: &Chunk, now: Instant) -> Result<Taken, ReceptionError> {
        let limiter = self.shared.limiter.clone();
        self.guarded(now, |open| {
            let answer = open.receiver.take(chunk)?;
            let bytes = chunk.data.len() as u64;
            open.transfer.count_bytes(bytes);
            open.transfer.progress(open.receiver.received_bytes());
            if matches!(answer, Some(Answer::Again { .. })) {
                open.transfer.metrics().repeated_chunks.inc();
            }
            limiter.take(now, bytes);
            if open.receiver.has_all() {
                open.transfer.enter(SnapshotPhase::Verify, open.receiver.manifest().file_bytes(), now);
            }
            Ok(Taken { answer, ready_at: limiter.ready_at(now) })
        })
    }

    /// Looks through what was received, by about `budget` bytes.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    ///
    /// # Panics
    /// When it was received or failed before, or when not every file [is here](Self::has_all).
    pub fn step(&mut self, budget: usize, now: Instant) -> Result<ReceptionStep, ReceptionError> {
        let step = self.guarded(now, |open| open.receiver.step(budget))?;
        let received = match step {
            ReceiveStep::More => return Ok(ReceptionStep::More),
            ReceiveStep::Received(received) => received,
        };
        let mut transfer = self.open.take().expect("the step before had it").transfer;
        transfer.count_bytes(received.manifest().file_bytes());
        transfer.enter(SnapshotPhase::Install, received.manifest().file_bytes(), now);
        Ok(ReceptionStep::Received(received, transfer))
    }

    /// Does something unless it was cancelled. A failure removes everything at once.
    fn guarded<T>(
        &mut self,
        now: Instant,
        action: impl FnOnce(&mut Open) -> Result<T, ReceiveError>,
    ) -> Result<T, ReceptionError> {
        let open = self.open.as_mut().expect("a reception that failed or was received goes no further");
        let late = (now >= open.deadline).then_some(CancelReason::TimedOut);
        match open.transfer.cancelled().or(late) {
            // What was received so far is what the newer stream goes on with.
            Some(CancelReason::Superseded) => return Err(ReceptionError::Cancelled(CancelReason::Superseded)),
            Some(reason) => {
                self.open = None;
                return Err(ReceptionError::Cancelled(reason));
            }
            None => {}
        }
        let outcome = action(open);
        if outcome.is_err() {
            self.open = None;
        }
        Ok(outcome?)
    }

    /// The stream ended. What is not complete waits for its sender to come back, if it may.
    pub fn interrupted(mut self, now: Instant) {
        let Some(open) = self.open.take() else { return };
        let may_wait = open.transfer.cancelled().is_none_or(|reason| reason == CancelReason::Superseded);
        if may_wait {
            let region = open.receiver.manifest().region.id;
            let replaced = self.shared.parked.lock().insert(region, Parked { open, since: now });
            assert!(replaced.is_none(), "region {region} was received twice at a time");
        }
    }
}
