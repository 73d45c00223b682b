//! Why requests are refused.

use types::RequestError;

use crate::label::labels;

labels! {
    /// Why a request was refused: the kinds of [`RequestError`].
    Refusal: "reason" {
        /// It was meant for another store.
        StoreNotMatch = "store_not_match",
        /// The region is not here.
        RegionNotFound = "region_not_found",
        /// The peer does not lead.
        NotLeader = "not_leader",
        /// It was meant for another peer.
        MismatchPeerId = "mismatch_peer_id",
        /// Its term has passed.
        StaleCommand = "stale_command",
        /// Its epoch has passed.
        EpochNotMatch = "epoch_not_match",
        /// A key lies outside of the region.
        KeyNotInRegion = "key_not_in_region",
        /// It is too large for an entry.
        EntryTooLarge = "entry_too_large",
        /// A queue is full.
        ServerIsBusy = "server_is_busy",
        /// It would change the members, and was refused or taken back.
        ChangeRefused = "change_refused",
        /// It is wrong in itself.
        Invalid = "invalid",
        /// Nobody knows its outcome.
        Undetermined = "undetermined",
    }
}

impl From<&RequestError> for Refusal {
    fn from(error: &RequestError) -> Self {
        match error {
            RequestError::StoreNotMatch { .. } => Self::StoreNotMatch,
            RequestError::RegionNotFound { .. } => Self::RegionNotFound,
            RequestError::NotLeader { .. } => Self::NotLeader,
            RequestError::MismatchPeerId { .. } => Self::MismatchPeerId,
            RequestError::StaleCommand { .. } => Self::StaleCommand,
            RequestError::EpochNotMatch { .. } => Self::EpochNotMatch,
            RequestError::KeyNotInRegion { .. } => Self::KeyNotInRegion,
            RequestError::EntryTooLarge { .. } => Self::EntryTooLarge,
            RequestError::ServerIsBusy { .. } => Self::ServerIsBusy,
            RequestError::ChangeRefused { .. } => Self::ChangeRefused,
            RequestError::Invalid { .. } => Self::Invalid,
            RequestError::Undetermined { .. } => Self::Undetermined,
        }
    }
}
