//! Conversions between messages and the types that the rest of the workspace uses.
//!
//! What goes out always converts. What comes in may hold what no message of ours would, and is refused with a
//! [`ConvertError`].

use types::{
    KeyRange, MemberChange, MemberChangeKind, NewRegion, Peer, PeerRole, RegionDescriptor, RegionEpoch, RequestError,
    SplitPlan,
};

use crate::{errorpb, log, metapb};

/// A message holds something that its meaning does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field that is always needed is not set.
    #[error("message {message} lacks its field {field}")]
    Missing {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A field has a value that this build does not know.
    #[error("message {message}: field {field} has the unknown value {value}")]
    Unknown {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
}

impl From<RegionEpoch> for metapb::RegionEpoch {
    fn from(epoch: RegionEpoch) -> Self {
        Self { conf_ver: epoch.conf_ver, version: epoch.version }
    }
}

impl From<metapb::RegionEpoch> for RegionEpoch {
    fn from(epoch: metapb::RegionEpoch) -> Self {
        Self { conf_ver: epoch.conf_ver, version: epoch.version }
    }
}

impl From<Peer> for metapb::Peer {
    fn from(peer: Peer) -> Self {
        Self { id: peer.id.0, store_id: peer.store_id.0, role: peer.role as i32, is_witness: false }
    }
}

impl TryFrom<metapb::Peer> for Peer {
    type Error = ConvertError;

    fn try_from(peer: metapb::Peer) -> Result<Self, ConvertError> {
        let role = u32::try_from(peer.role).ok().and_then(PeerRole::from_number);
        let role = role.ok_or(ConvertError::Unknown { message: "Peer", field: "role", value: peer.role.into() })?;
        Ok(Self { id: peer.id.into(), store_id: peer.store_id.into(), role })
    }
}

impl From<&RegionDescriptor> for metapb::Region {
    fn from(region: &RegionDescriptor) -> Self {
        Self {
            id: region.id.0,
            start_key: region.range.start.clone(),
            end_key: region.range.end.clone(),
            region_epoch: Some(region.epoch.into()),
            peers: region.peers.iter().copied().map(metapb::Peer::from).collect(),
            ..Self::default()
        }
    }
}

impl TryFrom<metapb::Region> for RegionDescriptor {
    type Error = ConvertError;

    fn try_from(region: metapb::Region) -> Result<Self, ConvertError> {
        let epoch = region.region_epoch.ok_or(ConvertError::Missing { message: "Region", field: "region_epoch" })?;
        Ok(Self {
            id: region.id.into(),
            range: KeyRange { start: region.start_key, end: region.end_key },
            epoch: epoch.into(),
            peers: region.peers.into_iter().map(Peer::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<MemberChange> for log::MemberChange {
    fn from(change: MemberChange) -> Self {
        Self { kind: change.kind as u32, peer_id: change.peer.0, store_id: change.store.0 }
    }
}

impl TryFrom<log::MemberChange> for MemberChange {
    type Error = ConvertError;

    fn try_from(change: log::MemberChange) -> Result<Self, ConvertError> {
        let unknown = ConvertError::Unknown { message: "MemberChange", field: "kind", value: change.kind.into() };
        let kind = MemberChangeKind::from_number(change.kind).ok_or(unknown)?;
        Ok(Self { kind, peer: change.peer_id.into(), store: change.store_id.into() })
    }
}

impl From<SplitPlan> for log::Split {
    fn from(plan: SplitPlan) -> Self {
        let region = |new: NewRegion| log::NewRegion {
            key: new.key,
            region_id: new.id.0,
            peer_ids: new.peers.into_iter().map(|peer| peer.0).collect(),
        };
        Self { regions: plan.regions.into_iter().map(region).collect(), right_derive: plan.right_derive }
    }
}

impl From<log::Split> for SplitPlan {
    fn from(split: log::Split) -> Self {
        let region = |new: log::NewRegion| NewRegion {
            key: new.key,
            id: new.region_id.into(),
            peers: new.peer_ids.into_iter().map(Into::into).collect(),
        };
        Self { regions: split.regions.into_iter().map(region).collect(), right_derive: split.right_derive }
    }
}

/// How the text of an answer begins whose request's outcome is unknown. Our own client looks for it.
pub const UNKNOWN_OUTCOME: &str = "outcome unknown";

/// How a [`RequestError`] is answered on the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// In the answer's `region_error`: the request had no effect and never will, so clients may repeat it.
    Region(errorpb::Error),
    /// In the answer's `error` string, which clients do not repeat: the outcome is unknown, or repeating changes
    /// nothing.
    Text(String),
}

impl From<&RequestError> for Refusal {
    fn from(error: &RequestError) -> Self {
        match error {
            // Its own field in errorpb would be repeated by clients that take every region error for "no effect".
            RequestError::Undetermined { .. } | RequestError::Invalid { .. } => Self::Text(error.to_string()),
            RequestError::ServerIsBusy { reason } => Self::Region(busy((*reason).to_owned())),
            other => Self::Region(region_error(other)),
        }
    }
}

fn busy(reason: String) -> errorpb::Error {
    let message = format!("store is busy: {reason}");
    errorpb::Error {
        message,
        server_is_busy: Some(errorpb::ServerIsBusy { reason, ..Default::default() }),
        ..Default::default()
    }
}

/// The errors that have a field of their own in `errorpb.Error`; for others the message alone.
fn region_error(error: &RequestError) -> errorpb::Error {
    let mut out = errorpb::Error { message: error.to_string(), ..Default::default() };
    match error {
        RequestError::StoreNotMatch { requested, actual } => {
            out.store_not_match =
                Some(errorpb::StoreNotMatch { request_store_id: requested.0, actual_store_id: actual.0 });
        }
        RequestError::RegionNotFound { region } => {
            out.region_not_found = Some(errorpb::RegionNotFound { region_id: region.0 });
        }
        RequestError::NotLeader { region, leader } => {
            out.not_leader = Some(errorpb::NotLeader { region_id: region.0, leader: leader.map(metapb::Peer::from) });
        }
        RequestError::MismatchPeerId { requested, actual } => {
            out.mismatch_peer_id =
                Some(errorpb::MismatchPeerId { request_peer_id: requested.0, store_peer_id: actual.0 });
        }
        RequestError::StaleCommand { .. } => out.stale_command = Some(errorpb::StaleCommand {}),
        RequestError::EpochNotMatch { current, .. } => {
            let current_regions = current.iter().map(metapb::Region::from).collect();
            out.epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
        }
        RequestError::KeyNotInRegion { key, region, range } => {
            out.key_not_in_region = Some(errorpb::KeyNotInRegion {
                key: key.clone(),
                region_id: region.0,
                start_key: range.start.clone(),
                end_key: range.end.clone(),
            });
        }
        RequestError::EntryTooLarge { region, size, .. } => {
            out.raft_entry_too_large = Some(errorpb::RaftEntryTooLarge { region_id: region.0, entry_size: *size });
        }
        RequestError::ServerIsBusy { .. }
        | RequestError::ChangeRefused { .. }
        | RequestError::Invalid { .. }
        | RequestError::Undetermined { .. } => {}
    }
    out
}

#[cfg(test)]
mod tests;
