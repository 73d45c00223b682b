//! Why the coordinator refused something.

use placement::{ConfigError, PlacementError};
use types::codec::DecodeError;
use types::{ErrorCode, InstanceId, RegionId, RequestError, StoreId, Term};

/// Why the coordinator did not do what it was asked for.
///
/// All but [`Undetermined`](Self::Undetermined) and [`Failed`](Self::Failed) promise that nothing changed and nothing
/// will.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorError {
    /// It does not lead, or has not loaded its state yet. Clients know these words.
    #[error("not leader: the coordinator does not lead or is still loading, try again or ask another one")]
    NotLeader,
    /// A queue is full.
    #[error("coordinator is busy: {queue} is full; try again later")]
    Busy {
        /// Which bound was met.
        queue: &'static str,
    },
    /// The change was not written.
    #[error("the change was not written: {0}")]
    NotWritten(RequestError),
    /// The change may or may not have been written.
    #[error("outcome unknown: the coordinator stopped leading before the change was known to be written")]
    Undetermined,
    /// Its own records cannot be read. Fatal.
    #[error("the coordinator cannot go on: {cause}; restore its data directory from a checkpoint or use a newer build")]
    Failed {
        /// What is wrong.
        cause: String,
    },
    /// A setting is impossible.
    #[error("invalid coordinator configuration: {reason}")]
    Config {
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A batch of timestamps or ids has an impossible size.
    #[error("{count} {what} were asked for: ask for 1 to {limit}")]
    Count {
        /// Timestamps or ids.
        what: &'static str,
        /// How many were asked for.
        count: u32,
        /// The most that one request may ask for.
        limit: u32,
    },
    /// The numbers are used up.
    #[error("no {what} are left: the cluster must be replaced")]
    Exhausted {
        /// Timestamps or ids.
        what: &'static str,
    },
    /// No such store.
    #[error("store {store} is unknown: register it first")]
    StoreNotFound {
        /// The store.
        store: StoreId,
    },
    /// The store was removed; its id is never used again.
    #[error("store {store} was removed: empty its data directory and let it join under a new id")]
    StoreTombstone {
        /// The store.
        store: StoreId,
    },
    /// Another live store has this address.
    #[error("address {address} belongs to store {holder}: remove that store first, or use another address")]
    DuplicateAddress {
        /// The address.
        address: String,
        /// Who has it.
        holder: StoreId,
    },
    /// The description of a store is wrong.
    #[error("store {store} cannot be registered: {reason}")]
    InvalidStore {
        /// The store.
        store: StoreId,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The store is older than the cluster.
    #[error("store {store} runs version {version}, the cluster runs {cluster}: use a newer build")]
    IncompatibleVersion {
        /// The store.
        store: StoreId,
        /// Its version.
        version: String,
        /// The oldest version in the cluster.
        cluster: String,
    },
    /// The disk behind a store id is another than before (D14).
    #[error(
        "store {store} has joined with instance {known}, this is instance {instance}: \
         a disk that was emptied must join under a new store id"
    )]
    InstanceMismatch {
        /// The store.
        store: StoreId,
        /// The instance that joined.
        known: InstanceId,
        /// The instance that asks.
        instance: InstanceId,
    },
    /// The store says that it is fresh although it has bootstrapped (D14).
    #[error("store {store} has bootstrapped before: a disk that was emptied must join under a new store id")]
    StoreBootstrapped {
        /// The store.
        store: StoreId,
    },
    /// Too few stores would be left for the replicas.
    #[error(
        "store {store} cannot leave: {up} stores are up, and each region has {replicas} replicas; add a store first"
    )]
    TooFewStores {
        /// The store.
        store: StoreId,
        /// How many are up, this one included.
        up: usize,
        /// On how many stores each region lies.
        replicas: usize,
    },
    /// The cluster has a layout already.
    #[error("the cluster is bootstrapped already")]
    AlreadyBootstrapped,
    /// The cluster has no layout yet.
    #[error("the cluster is not bootstrapped: {joined} of {expected} stores have joined")]
    NotBootstrapped {
        /// How many stores have joined.
        joined: usize,
        /// How many it waits for.
        expected: usize,
    },
    /// A store tried to lay the cluster out itself.
    #[error("this coordinator lays the cluster out itself, once {expected} stores have joined: ask it for the layout")]
    BootstrapByStore {
        /// How many stores it waits for.
        expected: usize,
    },
    /// A region heartbeat is older than what is known.
    #[error(
        "report of region {region} is stale: {what} {reported} is behind {known} of region {holder}; \
         a newer leader has reported"
    )]
    StaleRegion {
        /// The region that was reported.
        region: RegionId,
        /// The region that is newer: the same one, or one that overlaps it.
        holder: RegionId,
        /// The term, conf_ver or version.
        what: &'static str,
        /// What was reported.
        reported: u64,
        /// What is known.
        known: u64,
    },
    /// Two leaders of one term were reported.
    #[error("region {region} has two leaders in term {term}: one of the stores is damaged, stop both and check them")]
    TwoLeaders {
        /// The region.
        region: RegionId,
        /// The term.
        term: Term,
    },
    /// The description of a region is wrong.
    #[error("report of region {region} is invalid: {reason}")]
    InvalidRegion {
        /// The region.
        region: RegionId,
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// The known regions do not hold every key that was asked for.
    #[error("the known regions do not cover the whole of the key ranges: try again after the next heartbeats")]
    RangeNotCovered,
    /// A key range or a number of ranges is impossible.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A safe point would go back.
    #[error("safe point {target} is behind {current}: safe points only advance")]
    SafePointBehind {
        /// What was asked for.
        target: u64,
        /// What it is.
        current: u64,
    },
    /// A setting was refused.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// No region may split now.
    #[error("regions do not split while schedule.halt-scheduling is set: clear it")]
    SplitHalted,
    /// An operator was refused.
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

impl CoordinatorError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::NotLeader => "RY-COORDINATOR-001",
            Self::Busy { .. } => "RY-COORDINATOR-002",
            Self::NotWritten(_) => "RY-COORDINATOR-003",
            Self::Undetermined => "RY-COORDINATOR-004",
            Self::Failed { .. } => "RY-COORDINATOR-005",
            Self::Config { .. } => "RY-COORDINATOR-006",
            Self::Count { .. } => "RY-COORDINATOR-007",
            Self::Exhausted { .. } => "RY-COORDINATOR-008",
            Self::StoreNotFound { .. } => "RY-COORDINATOR-009",
            Self::StoreTombstone { .. } => "RY-COORDINATOR-010",
            Self::DuplicateAddress { .. } => "RY-COORDINATOR-011",
            Self::InvalidStore { .. } => "RY-COORDINATOR-012",
            Self::IncompatibleVersion { .. } => "RY-COORDINATOR-013",
            Self::InstanceMismatch { .. } => "RY-COORDINATOR-014",
            Self::StoreBootstrapped { .. } => "RY-COORDINATOR-015",
            Self::AlreadyBootstrapped => "RY-COORDINATOR-017",
            Self::NotBootstrapped { .. } => "RY-COORDINATOR-018",
            Self::BootstrapByStore { .. } => "RY-COORDINATOR-019",
            Self::StaleRegion { .. } => "RY-COORDINATOR-020",
            Self::TwoLeaders { .. } => "RY-COORDINATOR-021",
            Self::InvalidRegion { .. } => "RY-COORDINATOR-022",
            Self::RangeNotCovered => "RY-COORDINATOR-023",
            Self::Invalid { .. } => "RY-COORDINATOR-024",
            Self::SafePointBehind { .. } => "RY-COORDINATOR-025",
            Self::TooFewStores { .. } => "RY-COORDINATOR-026",
            Self::Setting(_) => "RY-COORDINATOR-027",
            Self::SplitHalted => "RY-COORDINATOR-028",
            Self::Placement(error) => return error.code(),
        })
    }

    /// Whether the same request may succeed when it is sent again later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::NotLeader | Self::Busy { .. } | Self::NotWritten(_) | Self::NotBootstrapped { .. } => true,
            Self::Placement(error) => error.is_retryable(),
            _ => false,
        }
    }
}

impl From<DecodeError> for CoordinatorError {
    fn from(error: DecodeError) -> Self {
        Self::Failed { cause: error.to_string() }
    }
}

impl From<RequestError> for CoordinatorError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Undetermined { .. } => Self::Undetermined,
            RequestError::NotLeader { .. } | RequestError::StaleCommand { .. } => Self::NotLeader,
            other => Self::NotWritten(other),
        }
    }
}
