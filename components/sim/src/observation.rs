//! What happens in a simulated cluster, as the checkers see it.

use std::sync::Arc;

use engine::memory::CrashPoint;
use engine::{Durability, LogBatch, RegionLog, StateBatch, StoreIdent, meta};
use region::RegionMessage;
use store::RegionView;
use types::{Instant, StoreId};

/// Something that happened, and when.
#[derive(Clone, Debug)]
pub struct Observation {
    /// By the simulation's own clock, which no store sees.
    pub at: Instant,
    /// To whom.
    pub store: StoreId,
    /// What.
    pub event: Event,
}

/// What can happen to a store. The order of observations is the order in which things took effect.
#[derive(Clone, Debug)]
pub enum Event {
    /// Its disk was made ready for the first time, or again after it was wiped.
    Bootstrapped {
        /// Who it is.
        ident: StoreIdent,
    },
    /// It was opened: this is what recovery found in both engines, before anything was stepped.
    Opened {
        /// Who it is.
        ident: StoreIdent,
        /// What L holds of every region.
        logs: Vec<RegionLog>,
        /// What S holds of every region.
        states: Vec<meta::RegionState>,
    },
    /// It refused to open.
    RefusedToOpen {
        /// Its words.
        error: String,
        /// Whether the disk was damaged on purpose, so that refusing is right (D15).
        expected: bool,
    },
    /// The process ended without warning, and the disk fell back. `None` for the disk: the process alone was killed, and
    /// what it had written is still there.
    Crashed {
        /// What the disk kept.
        disk: Option<CrashPoint>,
    },
    /// It was stopped in order.
    Stopped,
    /// It met a fatal error and stopped itself.
    Failed {
        /// Its words.
        error: String,
    },
    /// Its disk was emptied.
    Wiped,
    /// A batch is in its log engine. A buffered one is not durable before the next synced one.
    LogWritten {
        /// The batch.
        batch: Arc<LogBatch>,
        /// Whether the call waited for the disk.
        durability: Durability,
    },
    /// A batch is visible in its state engine, and not durable.
    StateWritten {
        /// The batch.
        batch: Arc<StateBatch>,
    },
    /// Everything in its state engine became durable by an explicit flush.
    StateFlushed,
    /// A message left it. Whether it arrives is the network's affair.
    Sent {
        /// The message.
        message: Arc<RegionMessage>,
    },
    /// A message was handed to it.
    Received {
        /// The message.
        message: Arc<RegionMessage>,
    },
    /// A region's role, leader or term changed.
    RegionChanged {
        /// The region now.
        view: RegionView,
    },
    /// A proposal was answered; the number tells proposals apart.
    Answered {
        /// The proposal's number, as in [`Event::Asked`].
        number: u64,
        /// Whether the answer promises that the proposal took effect.
        applied: bool,
    },
    /// A proposal or read was handed to it.
    Asked {
        /// The request's number, unique in the run.
        number: u64,
    },
    /// It did a piece of work: what its queues hold now.
    Worked {
        /// Messages and requests that wait for its regions, all together.
        queued: usize,
        /// Bytes of entries in its regions' caches.
        cached_bytes: u64,
    },
}
