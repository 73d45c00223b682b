//! One snapshot on its way out, with its permit, its share of the bandwidth and its end.

use std::sync::Arc;

use bytes::Bytes;
use observe::metrics::{SnapshotOutcome, SnapshotPhase, SnapshotRefusal};
use types::Instant;

use crate::answer::Answer;
use crate::build::BuiltSnapshot;
use crate::chunk::Chunk;
use crate::rate::RateLimiter;
use crate::sender::{SendConfig, SendError, SendStep, Sender};
use crate::transfers::{CancelReason, Transfer, time_limit};

/// What the driver of a [`Delivery`] does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryStep {
    /// Send this.
    Chunk(Chunk),
    /// Nothing before the next answer.
    Wait,
    /// Nothing before this moment, or the next answer: the bandwidth is used up.
    WaitUntil(Instant),
    /// The receiver has all of it. Its permit is free again.
    Delivered,
}

/// A [`Sender`] within the store's limits. Driven like one; dropping it gives the snapshot up.
pub struct Delivery {
    sender: Sender,
    limiter: RateLimiter,
    deadline: Instant,
    /// `None` once it was delivered.
    transfer: Option<Transfer>,
}

impl Delivery {
    /// Begins to send what `transfer` permitted to be built.
    pub fn begin(
        snapshot: Arc<BuiltSnapshot>,
        mut transfer: Transfer,
        limiter: RateLimiter,
        config: SendConfig,
        now: Instant,
    ) -> Self {
        let bytes = snapshot.manifest().file_bytes();
        transfer.enter(SnapshotPhase::Send, bytes, now);
        transfer.metrics().size.observe(bytes as f64);
        let sender = Sender::new(snapshot, config);
        Self { sender, limiter, deadline: now + time_limit(bytes), transfer: Some(transfer) }
    }

    /// What to offer on each new stream, beside raft's message.
    pub fn manifest(&self) -> &Bytes {
        self.sender.snapshot().manifest_bytes()
    }

    /// See [`Sender::connected`].
    pub fn connected(&mut self) {
        self.sender.connected();
    }

    /// What to do next.
    ///
    /// # Errors
    /// `Cancelled` when it is not wanted any more or took too long. After an error that
    /// [may be retried](SendError::may_retry) the driver opens another stream later; after any other it drops this.
    pub fn step(&mut self, now: Instant) -> Result<DeliveryStep, SendError> {
        let Some(transfer) = &self.transfer else { return Ok(DeliveryStep::Delivered) };
        let late = (now >= self.deadline).then_some(CancelReason::TimedOut);
        if let Some(reason) = transfer.cancelled().or(late) {
            return Err(SendError::Cancelled { reason });
        }
        let ready_at = self.limiter.ready_at(now);
        if ready_at > now && self.sender.may_send() {
            return Ok(DeliveryStep::WaitUntil(ready_at));
        }
        match self.sender.step()? {
            SendStep::Wait => Ok(DeliveryStep::Wait),
            SendStep::Chunk(chunk) => {
                let bytes = chunk.data.len() as u64;
                self.limiter.take(now, bytes);
                transfer.count_bytes(bytes);
                Ok(DeliveryStep::Chunk(chunk))
            }
            SendStep::Delivered => {
                if let Some(transfer) = self.transfer.take() {
                    transfer.finish(SnapshotOutcome::Sent, now);
                }
                Ok(DeliveryStep::Delivered)
            }
        }
    }

    /// The receiver said something.
    pub fn answer(&mut self, answer: Answer) -> Result<(), SendError> {
        let outcome = self.sender.answer(answer);
        if let Some(transfer) = &self.transfer {
            transfer.progress(self.sender.verified_bytes());
            if matches!(outcome, Err(SendError::Refused(_))) {
                transfer.metrics().refused[SnapshotRefusal::Declined].inc();
            }
        }
        outcome
    }
}
