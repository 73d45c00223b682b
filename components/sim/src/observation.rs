//! What happens in a simulated cluster, as the checkers see it.

use std::sync::Arc;

use bytes::Bytes;
use engine::memory::{CrashPoint, MemDisk};
use engine::{Durability, Entry, Family, LogBatch, RegionLog, SnapshotMarker, StateBatch, StoreIdent};
use proto::log::Command;
use region::RegionMessage;
use store::RegionView;
use types::{InstanceId, Instant, KeyRange, LogIndex, RegionId, StoreId};

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

/// What a disk holds, read past every fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskContent {
    /// Whose it is; `None` before its bootstrap was complete.
    pub ident: Option<StoreIdent>,
    /// What L holds of every region, ordered by region, with all of its entries.
    pub logs: Vec<(RegionLog, Vec<Entry>)>,
    /// The other stores' lives that L remembers.
    pub instances: Vec<(StoreId, InstanceId)>,
    /// The snapshots that L says are being applied, ordered by region.
    pub markers: Vec<SnapshotMarker>,
    /// All that S holds, ordered by family and key.
    pub pairs: Vec<(Family, Bytes, Bytes)>,
}

impl DiskContent {
    /// What is on a disk now, whether its engines are open or not.
    pub fn of(disk: &MemDisk) -> Self {
        Self {
            ident: disk.peek_ident(),
            logs: disk.peek_log(),
            instances: disk.peek_instances(),
            markers: disk.peek_markers(),
            pairs: disk.peek_state(),
        }
    }
}

/// What can happen to a store. The order of observations is the order in which things took effect. What a store writes
/// while it is bootstrapped or opened is observed like everything else.
#[derive(Clone, Debug)]
pub enum Event {
    /// Its disk was made ready for the first time, or again after it was wiped.
    Bootstrapped {
        /// Who it is.
        ident: StoreIdent,
    },
    /// Its engines were opened, and nothing was written since: this is what is on the disk. Whatever recovery does
    /// comes after it.
    Opened {
        /// What both engines hold.
        content: Arc<DiskContent>,
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
        /// Whether a fault of its disk was injected, so that failing is right.
        expected: bool,
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
    /// A write of its log engine failed. A crash may leave the batch behind or not, as if it had been buffered.
    LogWriteFailed {
        /// The batch.
        batch: Arc<LogBatch>,
    },
    /// A batch is visible in its state engine, and not durable.
    StateWritten {
        /// The batch.
        batch: Arc<StateBatch>,
    },
    /// Everything in its state engine became durable, by a flush that was asked for or by the engine's own; one of the
    /// engine's own comes before the batch that had no more room.
    StateFlushed,
    /// Files were taken over by its state engine: these pairs are visible and durable (D6).
    StateIngested {
        /// The pairs.
        pairs: Arc<Vec<(Family, Bytes, Bytes)>>,
    },
    /// Files of its state engine were deleted in a range, for good (D6).
    FilesDeleted {
        /// The range.
        range: KeyRange,
        /// What is still visible of it.
        left: Arc<Vec<(Family, Bytes, Bytes)>>,
    },
    /// One tick of raft's clock was given to each of its regions.
    Ticked,
    /// A message left it. Whether it arrives is the network's affair.
    Sent {
        /// The message.
        message: Arc<RegionMessage>,
    },
    /// A message was handed to it, after its sender's life was found to be the right one (D14).
    Received {
        /// The message.
        message: Arc<RegionMessage>,
        /// The life of the disk that sent it.
        instance: InstanceId,
    },
    /// A region's role, leader or term changed.
    RegionChanged {
        /// The region now.
        view: RegionView,
    },
    /// It serves a region no more: its peer there was removed.
    RegionGone {
        /// The region.
        region: RegionId,
    },
    /// It says that a region's replicas differ.
    ReplicasDiffer {
        /// The region.
        region: RegionId,
        /// The index at which they were compared.
        index: LogIndex,
    },
    /// A proposal was answered; the number tells proposals apart.
    Answered {
        /// The proposal's number, as in [`Event::Asked`].
        number: u64,
        /// Whether the answer promises that the proposal took effect.
        applied: bool,
    },
    /// A proposal or read was handed to it. Each is answered: with *unknown* when the store goes away.
    Asked {
        /// The request's number, unique in the run.
        number: u64,
        /// The region that is asked.
        region: RegionId,
        /// What is to be written; `None` for a read.
        command: Option<Arc<Command>>,
    },
    /// The coordinator gave ids away, for a split or on its own.
    IdsGiven {
        /// From the first to the last of each batch, both included.
        ids: Vec<(u64, u64)>,
    },
    /// It did a piece of work: what its queues hold now.
    Worked {
        /// Messages and requests that wait for its regions, all together.
        queued: usize,
        /// Bytes of entries in its regions' caches.
        cached_bytes: u64,
    },
}
