//! What applying an entry changed about a region itself, told to its peer and to the store.

use std::sync::Arc;

use types::{LogIndex, MemberChange, Peer, RegionDescriptor, RequestError};

use crate::state::StateRead;

/// What one applied entry changed about the region itself.
#[derive(Clone, Debug)]
pub struct Change {
    /// The entry.
    pub index: LogIndex,
    /// What it changed.
    pub kind: ChangeKind,
}

/// The kinds of [`Change`].
#[derive(Clone, Debug)]
pub enum ChangeKind {
    /// The region was split.
    Split {
        /// What the region kept.
        derived: Arc<RegionDescriptor>,
        /// The new regions, in the order of their keys.
        children: Vec<Child>,
    },
    /// The members changed. If the peer is no longer among them, nothing behind this entry was executed.
    Members {
        /// The region with its new members.
        descriptor: Arc<RegionDescriptor>,
        /// The changes; none when a joint configuration was left.
        changes: Vec<MemberChange>,
    },
    /// The data is to be hashed as it was at this entry.
    HashAsked(HashTask),
    /// The leader's hash of an earlier index is known.
    HashStated {
        /// The index.
        of: LogIndex,
        /// The hash.
        hash: u64,
    },
    /// A command of the store itself was refused, and left no trace but the applied index.
    Refused(RequestError),
}

/// A region that a split made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The region.
    pub descriptor: RegionDescriptor,
    /// Its peer on this store.
    pub peer: Peer,
    /// Whether its records were written, so that the peer must be made now. Otherwise this store had no place for it
    /// (D11), and its range belongs to nobody here.
    pub created: bool,
}

/// A region's data at one index, to be hashed.
#[derive(Clone)]
pub struct HashTask {
    /// The region at that index.
    pub descriptor: Arc<RegionDescriptor>,
    /// The index.
    pub index: LogIndex,
    /// The data. It shows the whole store: only the region's range counts.
    pub data: Arc<dyn StateRead>,
}

impl std::fmt::Debug for HashTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HashTask {{ region: {}, index: {} }}", self.descriptor.id, self.index)
    }
}
