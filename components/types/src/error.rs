//! Why a request was not served. The kinds follow the ecosystem's own (`errorpb`), so that every layer can pass them on.

use bytes::Bytes;

use crate::range::HexKey;
use crate::{KeyRange, Peer, PeerId, RegionDescriptor, RegionId, StoreId};

/// A stable code for an error, for logs, metrics and tools; `RY-<area>-<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub &'static str);

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a region did not serve a request.
///
/// All but [`Undetermined`](Self::Undetermined) promise that the request had no effect and never will.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request was meant for another store.
    #[error("request for store {requested} reached store {actual}: look the store's address up again")]
    StoreNotMatch {
        /// The store that the request names.
        requested: StoreId,
        /// The store that it reached.
        actual: StoreId,
    },
    /// The store has no peer of this region.
    #[error("region {region} is not on this store: look the region up again")]
    RegionNotFound {
        /// The region.
        region: RegionId,
    },
    /// The peer is not the leader.
    #[error("peer is not the leader of region {region}: ask {}", hint(.leader))]
    NotLeader {
        /// The region.
        region: RegionId,
        /// The leader of the current term, where it is known for sure.
        leader: Option<Peer>,
    },
    /// The request names another peer of the region.
    #[error("request for peer {requested} reached peer {actual}: look the region up again")]
    MismatchPeerId {
        /// The peer that the request names.
        requested: PeerId,
        /// The peer that it reached.
        actual: PeerId,
    },
    /// The leader changed before the request was committed, or its term is too old.
    #[error("request for region {region} is stale: its term has passed, try again")]
    StaleCommand {
        /// The region.
        region: RegionId,
    },
    /// The region's range changed since the client looked it up.
    #[error("region {region} has another epoch than the request: route by the current regions")]
    EpochNotMatch {
        /// The region that the request named.
        region: RegionId,
        /// The regions that hold its range now, as far as the store knows.
        current: Vec<RegionDescriptor>,
    },
    /// A key lies outside of the region.
    #[error("key {} is not in region {region} {range}", HexKey(.key))]
    KeyNotInRegion {
        /// The key.
        key: Bytes,
        /// The region.
        region: RegionId,
        /// The region's range.
        range: KeyRange,
    },
    /// The request would make a raft entry larger than the bound.
    #[error("request of {size} bytes for region {region} is larger than the bound of {limit}: split it")]
    EntryTooLarge {
        /// The region.
        region: RegionId,
        /// Its size in bytes.
        size: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// A queue is full.
    #[error("store is busy: {reason}; try again later")]
    ServerIsBusy {
        /// Which bound was met.
        reason: &'static str,
    },
    /// A change of the region's members would put the region at risk, or did not get on and was taken back.
    #[error("members of region {region} stay as they are: {reason}")]
    ChangeRefused {
        /// The region.
        region: RegionId,
        /// Why, and what would have to be different.
        reason: String,
    },
    /// The request itself is wrong; repeating it changes nothing.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The request may or may not take effect, or have taken effect.
    #[error("outcome unknown: {reason}")]
    Undetermined {
        /// Why nobody knows.
        reason: &'static str,
    },
}

impl RequestError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::StoreNotMatch { .. } => "RY-REQUEST-001",
            Self::RegionNotFound { .. } => "RY-REQUEST-002",
            Self::NotLeader { .. } => "RY-REQUEST-003",
            Self::MismatchPeerId { .. } => "RY-REQUEST-004",
            Self::StaleCommand { .. } => "RY-REQUEST-005",
            Self::EpochNotMatch { .. } => "RY-REQUEST-006",
            Self::KeyNotInRegion { .. } => "RY-REQUEST-007",
            Self::EntryTooLarge { .. } => "RY-REQUEST-008",
            Self::ServerIsBusy { .. } => "RY-REQUEST-009",
            Self::Invalid { .. } => "RY-REQUEST-011",
            Self::Undetermined { .. } => "RY-REQUEST-012",
            Self::ChangeRefused { .. } => "RY-REQUEST-013",
        })
    }

    /// Whether the same request may succeed when it is routed again or sent later.
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::EntryTooLarge { .. } | Self::Invalid { .. } | Self::Undetermined { .. })
    }
}

fn hint(leader: &Option<Peer>) -> String {
    match leader {
        Some(peer) => format!("peer {} on store {}", peer.id, peer.store_id),
        None => "again later, the leader is not known".to_owned(),
    }
}
