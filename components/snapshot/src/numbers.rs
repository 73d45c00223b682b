//! Numbers that tell snapshots apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use types::{LogIndex, RegionId};

use crate::name::{Direction, SnapshotKey};

/// Hands out the [`SnapshotKey::number`]s of one store. Clones count together.
#[derive(Clone, Debug)]
pub struct SnapshotNumbers(Arc<AtomicU64>);

impl SnapshotNumbers {
    /// Begins with what the [`sweep`](crate::sweep()) at start found to be free.
    pub fn new(next: u64) -> Self {
        Self(Arc::new(AtomicU64::new(next)))
    }

    /// A key that no snapshot of this store has.
    pub fn key(&self, direction: Direction, region: RegionId, index: LogIndex) -> SnapshotKey {
        SnapshotKey { direction, region, index, number: self.0.fetch_add(1, Ordering::Relaxed) }
    }
}
