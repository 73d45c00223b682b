//! Why an operator that people asked for was not made.

use types::{ErrorCode, RegionId, StoreId};

use crate::operator::OperatorId;

/// Why an operator was not made. Nothing changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// No leader of the region has reported.
    #[error("region {region} is unknown: wait for a heartbeat of its leader")]
    RegionUnknown {
        /// The region.
        region: RegionId,
    },
    /// No such store, or it was removed.
    #[error("store {store} is not in the cluster")]
    StoreUnknown {
        /// The store.
        store: StoreId,
    },
    /// The store cannot take what it was to take.
    #[error("store {store} cannot take a peer or a leadership: {why}")]
    StoreUnfit {
        /// The store.
        store: StoreId,
        /// Why.
        why: &'static str,
    },
    /// The region has a peer there already.
    #[error("region {region} has a peer on store {store} already")]
    PeerExists {
        /// The region.
        region: RegionId,
        /// The store.
        store: StoreId,
    },
    /// The region has no peer there that could do it.
    #[error("region {region} has no {what} on store {store}")]
    PeerMissing {
        /// The region.
        region: RegionId,
        /// The store.
        store: StoreId,
        /// A peer, or a voter.
        what: &'static str,
    },
    /// The region is between two memberships.
    #[error("region {region} is in a joint configuration: wait until it has left it")]
    Joint {
        /// The region.
        region: RegionId,
    },
    /// The voters that are healthy would be fewer than a quorum.
    #[error("region {region} would lose its quorum of healthy voters: repair or replace the others first")]
    LosesQuorum {
        /// The region.
        region: RegionId,
    },
    /// Nothing would be left of the region.
    #[error("region {region} would lose its last voter")]
    LastVoter {
        /// The region.
        region: RegionId,
    },
    /// The region's operator is as urgent.
    #[error("region {region} has operator {operator} ({name}) under way: wait for it or cancel it")]
    Occupied {
        /// The region.
        region: RegionId,
        /// Its operator.
        operator: OperatorId,
        /// What that is for.
        name: &'static str,
    },
    /// No store is fit to take a peer.
    #[error("no store can take a peer of region {region}: {why}")]
    NoStore {
        /// The region.
        region: RegionId,
        /// What stands in the way of the stores that are nearest to be fit.
        why: &'static str,
    },
    /// There is nothing to be done.
    #[error("region {region} is already as the operator would make it")]
    Nothing {
        /// The region.
        region: RegionId,
    },
    /// Keys at which the region cannot split.
    #[error("region {region} cannot split there: give 1 to {limit} ascending keys inside of its range")]
    SplitKeys {
        /// The region.
        region: RegionId,
        /// Most keys.
        limit: usize,
    },
    /// A limit of all operators.
    #[error("{limit} operators are under way: wait for some of them or cancel them")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// No id for a new peer is at hand.
    #[error("no id for a new peer is at hand yet: try again")]
    NoId,
    /// There is no operator to cancel.
    #[error("region {region} has no operator")]
    NoOperator {
        /// The region.
        region: RegionId,
    },
}

impl PlacementError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::RegionUnknown { .. } => "RY-PLACEMENT-001",
            Self::StoreUnknown { .. } => "RY-PLACEMENT-002",
            Self::StoreUnfit { .. } => "RY-PLACEMENT-003",
            Self::PeerExists { .. } => "RY-PLACEMENT-004",
            Self::PeerMissing { .. } => "RY-PLACEMENT-005",
            Self::Joint { .. } => "RY-PLACEMENT-006",
            Self::LosesQuorum { .. } => "RY-PLACEMENT-007",
            Self::LastVoter { .. } => "RY-PLACEMENT-008",
            Self::Occupied { .. } => "RY-PLACEMENT-009",
            Self::NoStore { .. } => "RY-PLACEMENT-010",
            Self::Nothing { .. } => "RY-PLACEMENT-011",
            Self::SplitKeys { .. } => "RY-PLACEMENT-012",
            Self::TooMany { .. } => "RY-PLACEMENT-013",
            Self::NoId => "RY-PLACEMENT-014",
            Self::NoOperator { .. } => "RY-PLACEMENT-015",
        })
    }

    /// Whether the same command may succeed later without anybody doing anything.
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::RegionUnknown { .. } | Self::Joint { .. } | Self::Occupied { .. } | Self::TooMany { .. } | Self::NoId
        )
    }
}
