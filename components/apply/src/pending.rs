//! The batch that a round gathers.

use bytes::Bytes;
use engine::{StateBatch, StateRead};
use types::{ColumnFamily, PlantedBug, PlantedBugs};

use crate::overlay::{Overlay, Pending};

/// A batch that holds this many bytes of keys and values is written at the next entry's end. One entry more may be in
/// it, so it is at most this and [`types::limits::MAX_ENTRY_BYTES`] long, and a little for apply states.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// A batch that holds this many changes is written at the next entry's end: changes cost memory even when their keys
/// are short.
pub const MAX_BATCH_CHANGES: usize = 64 << 10;

/// Changes that are not written yet, and can be read.
#[derive(Debug, Default)]
pub(crate) struct PendingBatch {
    pub batch: StateBatch,
    overlay: Overlay,
    planted: PlantedBugs,
}

impl PendingBatch {
    /// The same with planted bugs.
    pub fn planting(self, planted: PlantedBugs) -> Self {
        Self { planted, ..self }
    }

    /// A key's value as it is behind all changes so far.
    pub fn get(&mut self, engine: &dyn StateRead, family: ColumnFamily, key: &[u8]) -> engine::Result<Option<Bytes>> {
        if self.batch.is_empty() || self.planted.has(PlantedBug::SwapReadsEngine) {
            return engine.get(family.into(), key);
        }
        match self.overlay.look_up(self.batch.ops(), family, key) {
            Some(Pending::Value(value)) => Ok(Some(value)),
            Some(Pending::Deleted) => Ok(None),
            None => engine.get(family.into(), key),
        }
    }

    /// Whether the batch has reached its bound.
    pub fn is_full(&self) -> bool {
        self.batch.bytes() >= MAX_BATCH_BYTES || self.batch.ops().len() >= MAX_BATCH_CHANGES
    }

    /// Forgets the changes, keeping their memory.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.overlay.clear();
    }
}
