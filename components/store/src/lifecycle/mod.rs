//! Peers that come, go, and begin anew, while their store runs.
//!
//! Everything that makes, replaces or removes a peer goes through [`Claims`], and everything that cannot be replayed from a
//! log goes through one queue per store, in order (D6): removals ([`removal`]) and snapshots ([`replacement`]), each a
//! machine of durable steps. Between two steps the process may die: what L and S hold then is where a restart goes on
//! (D8, `recovery`). Children of a split are the exception: their log replays, so they begin in the round of their
//! parent ([`births`]).
//!
//! Operations wait for fences (D4) beside each other: those that wait share one flush. Their ranges are kept for them from
//! their beginning to their end, so none can disturb another.

pub(crate) mod births;
pub(crate) mod claims;
mod early;
pub(crate) mod newcomers;
pub(crate) mod removal;
pub(crate) mod replacement;
mod steps;
mod worker;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use region::{ApplySnapshot, Destroy, RegionMessage};
use types::KeyRange;

use early::EarlyVotes;

pub(crate) use claims::{Claim, Claims, Standing};
pub(crate) use steps::{StateWriter, clear, holds_keys, install};
pub(crate) use worker::LifecycleWorker;

/// Most messages of strangers that wait. Those beyond are dropped: who sent them repeats itself.
const MAX_STRANGERS: usize = 256;

/// Something for the lifecycle's queue.
pub(crate) enum Task {
    /// A message came for a region that is not here, and may make it.
    Stranger(Box<RegionMessage>),
    /// A received snapshot is to take the place of a peer's log and state. Its machine has ended and is settled.
    Replace(Box<ApplySnapshot>),
    /// A peer must go. Its machine has ended and is settled.
    Remove(Box<Destroy>),
    /// Nobody owns this range, unless somebody does by then: a split made it, and this store has no place for its region.
    Clear(KeyRange),
}

/// The store's claims, and the way into its queue.
pub(crate) struct Lifecycle {
    pub(crate) claims: Arc<Claims>,
    tasks: Sender<Task>,
    queue: Receiver<Task>,
    early: EarlyVotes,
}

impl Lifecycle {
    pub(crate) fn new(claims: Claims) -> Self {
        let (tasks, queue) = unbounded();
        Self { claims: Arc::new(claims), tasks, queue, early: EarlyVotes::default() }
    }

    /// Puts a task into the queue; bounded by the number of regions.
    pub(crate) fn push(&self, task: Task) {
        self.tasks.send(task).expect("the queue's other end lives as long as this one");
    }

    /// Takes a message for a region that is not here. False when it is dropped.
    pub(crate) fn stranger(&self, message: Box<RegionMessage>) -> bool {
        let taken = message.may_make_a_peer() && self.queue.len() < MAX_STRANGERS;
        if taken {
            self.push(Task::Stranger(message));
        }
        taken
    }

    /// How many tasks wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn queue(&self) -> &Receiver<Task> {
        &self.queue
    }
}
