//! What can be asked of the coordinator, and the promise that each request is answered exactly once.

use bytes::Bytes;
use placement::{Command, OperatorId, RegionOrder};
use types::request::Unanswered;
use types::{InstanceId, Instant, PeerId, RegionDescriptor, RegionId, Responder, StoreId};

use crate::error::CoordinatorError;
use crate::layout::LayoutAnswer;
use crate::machine::Answer;
use crate::routing::RegionReport;
use crate::safe_point::{ServiceAnswer, TxnAdvance};
use crate::store_info::{StoreDescription, StoreState, StoreStats};
use crate::timestamp::Timestamp;

/// When a request came: both clocks, read by whoever brings it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// By the monotonic clock.
    pub now: Instant,
    /// By the wall clock, in milliseconds since the Unix epoch. May stand still, jump and go back.
    pub unix_ms: u64,
}

/// Ids that were given away: `last` and the `count - 1` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdBatch {
    /// The largest.
    pub last: u64,
    /// How many.
    pub count: u32,
}

/// Ids for a region that a split makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitIds {
    /// The new region's.
    pub region: RegionId,
    /// Its peers', one for each peer of the region that splits, in their order.
    pub peers: Vec<PeerId>,
}

/// What a store is told when it reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOrders {
    /// Where it is in its life; [`StoreState::Offline`] means that it is being emptied.
    pub state: StoreState,
    /// The oldest version in the cluster.
    pub cluster_version: String,
}

/// Something that is asked of the coordinator.
#[derive(Debug)]
pub enum Request {
    /// Give a batch of timestamps; the answer is the largest.
    Timestamps {
        /// How many, up to [`MAX_TIMESTAMPS`](crate::timestamp::MAX_TIMESTAMPS).
        count: u32,
        /// Told the largest.
        reply: Reply<Timestamp>,
    },
    /// A store reports.
    StoreHeartbeat {
        /// What it reports.
        stats: Box<StoreStats>,
        /// Told what to do.
        reply: Reply<StoreOrders>,
    },
    /// A region's leader reports.
    RegionHeartbeat {
        /// What it reports.
        report: Box<RegionReport>,
        /// Told what to do once it is taken over.
        reply: Reply<Option<RegionOrder>>,
    },
    /// People want something done to a region. The order goes out at once, and again with the region's heartbeats.
    Command {
        /// The region.
        region: RegionId,
        /// What.
        command: Box<Command>,
        /// Told the operator that does it.
        reply: Reply<OperatorId>,
    },
    /// People want a region's operator to end.
    CancelOperator {
        /// The region.
        region: RegionId,
        /// Told when it has ended.
        reply: Reply<()>,
    },
    /// Something that may have to be written.
    Change(Change),
}

impl From<Change> for Request {
    fn from(change: Change) -> Self {
        Self::Change(change)
    }
}

/// A request that may have to be written before it is answered.
#[derive(Debug)]
pub enum Change {
    /// Give ids for stores, regions or peers.
    AllocateIds {
        /// How many, at most 100,000.
        count: u32,
        /// Told which.
        reply: Reply<IdBatch>,
    },
    /// A store registers, at each of its starts. Its id was allocated here; labels are merged into the known ones.
    PutStore {
        /// What it says of itself.
        store: Box<StoreDescription>,
        /// Told when it is registered.
        reply: Reply<()>,
    },
    /// A store leaves for ever. One that holds regions is emptied first, and is gone when it is empty.
    RemoveStore {
        /// The store.
        store: StoreId,
        /// Told where it is in its life now.
        reply: Reply<StoreState>,
    },
    /// A store that leaves looks empty: it is gone, if it still leaves and is empty when this is carried out.
    BuryStore {
        /// The store.
        store: StoreId,
        /// Told where it is in its life now.
        reply: Reply<StoreState>,
    },
    /// A store that leaves and is not gone yet stays.
    RestoreStore {
        /// The store.
        store: StoreId,
        /// Told when it stays.
        reply: Reply<()>,
    },
    /// Change how regions are placed. All of it is taken over, or nothing.
    Configure {
        /// Names and texts, as [`PlacementConfig::set`](placement::PlacementConfig::set) takes them.
        settings: Vec<(String, String)>,
        /// Told when it is in force.
        reply: Reply<()>,
    },
    /// A region is about to split.
    AskSplit {
        /// The region, as its leader knows it.
        region: Box<RegionDescriptor>,
        /// How many new regions it makes.
        count: u32,
        /// Told the ids of each.
        reply: Reply<Vec<SplitIds>>,
    },
    /// A fresh store joins with its disk and asks for its part of the layout; to be asked until it is there. The
    /// store writes its id and instance down before it asks, so that it can ask again after a crash.
    GetLayout {
        /// The store, registered before.
        store: StoreId,
        /// Its disk.
        instance: InstanceId,
        /// Told the regions, or to wait.
        reply: Reply<LayoutAnswer>,
    },
    /// A store's bootstrap is durable; it is about to serve (D14).
    ConfirmBootstrap {
        /// The store.
        store: StoreId,
        /// Its disk.
        instance: InstanceId,
        /// Told when it may serve.
        reply: Reply<()>,
    },
    /// Old versions before this timestamp may be collected. One behind the known safe point changes nothing.
    AdvanceGcSafePoint {
        /// The timestamp.
        target: u64,
        /// Told the safe point.
        reply: Reply<u64>,
    },
    /// No transaction that began before this timestamp may read any more; services may hold it back.
    AdvanceTxnSafePoint {
        /// The timestamp.
        target: u64,
        /// Told how far it came.
        reply: Reply<TxnAdvance>,
    },
    /// A service needs old versions from a timestamp on, for some time. One that is behind what others need is not
    /// taken over: compare the answer.
    UpdateServiceSafePoint {
        /// The service.
        service: Bytes,
        /// For how long; `i64::MAX` for ever, zero or less to give up.
        ttl_seconds: i64,
        /// From which timestamp on.
        safe_point: u64,
        /// Told who needs the oldest.
        reply: Reply<ServiceAnswer>,
    },
}

/// What a reply is given.
struct Outcome<T>(Result<T, CoordinatorError>);

impl<T> Unanswered for Outcome<T> {
    fn unanswered() -> Self {
        Self(Err(CoordinatorError::Undetermined))
    }
}

/// Answers one request, exactly once: when it is dropped, as [`CoordinatorError::Undetermined`].
#[derive(Debug)]
pub struct Reply<T>(Responder<Outcome<T>>);

impl<T: Send + 'static> Reply<T> {
    /// A reply that hands the answer to `deliver`, which must be short and must not block.
    pub fn new(deliver: impl FnOnce(Result<T, CoordinatorError>) + Send + 'static) -> Self {
        Self(Responder::new(move |Outcome(outcome)| deliver(outcome)))
    }

    pub(crate) fn answer(self, outcome: Result<T, CoordinatorError>) -> Answer {
        Answer::new(move || self.0.respond(Outcome(outcome)))
    }

    /// Keeps the outcome back until it is known that what it rests on is written.
    pub(crate) fn hold(self, outcome: Result<T, CoordinatorError>) -> Held {
        Held(Box::new(move |written| self.answer(written.and(outcome))))
    }
}

/// An outcome that is kept back until a write has ended.
pub(crate) struct Held(Box<dyn FnOnce(Result<(), CoordinatorError>) -> Answer + Send>);

impl Held {
    pub(crate) fn release(self, written: Result<(), CoordinatorError>) -> Answer {
        (self.0)(written)
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

impl Change {
    pub(crate) fn refuse(self, error: CoordinatorError) -> Answer {
        match self {
            Self::AllocateIds { reply, .. } => reply.answer(Err(error)),
            Self::PutStore { reply, .. }
            | Self::RestoreStore { reply, .. }
            | Self::Configure { reply, .. }
            | Self::ConfirmBootstrap { reply, .. } => reply.answer(Err(error)),
            Self::RemoveStore { reply, .. } | Self::BuryStore { reply, .. } => reply.answer(Err(error)),
            Self::AskSplit { reply, .. } => reply.answer(Err(error)),
            Self::GetLayout { reply, .. } => reply.answer(Err(error)),
            Self::AdvanceGcSafePoint { reply, .. } => reply.answer(Err(error)),
            Self::AdvanceTxnSafePoint { reply, .. } => reply.answer(Err(error)),
            Self::UpdateServiceSafePoint { reply, .. } => reply.answer(Err(error)),
        }
    }
}

impl Request {
    pub(crate) fn refuse(self, error: CoordinatorError) -> Answer {
        match self {
            Self::Timestamps { reply, .. } => reply.answer(Err(error)),
            Self::StoreHeartbeat { reply, .. } => reply.answer(Err(error)),
            Self::RegionHeartbeat { reply, .. } => reply.answer(Err(error)),
            Self::Command { reply, .. } => reply.answer(Err(error)),
            Self::CancelOperator { reply, .. } => reply.answer(Err(error)),
            Self::Change(change) => change.refuse(error),
        }
    }
}
