//! Changes of the state engine that no log replays, as the running store and its restart both make them.

use std::sync::Arc;

use engine::{Family, IterRange, SnapshotMarker, StateBatch, StateEngine, WriterId, meta};
use snapshot::Received;
use types::{ColumnFamily, KeyRange, Round};

use crate::error::StoreError;
use crate::recovery::read_round;
use crate::upkeep::fence;

/// Writes under the lifecycle's own count (D3).
pub(crate) struct StateWriter {
    state: Arc<dyn StateEngine>,
    written: Round,
}

impl StateWriter {
    /// Goes on behind the newest batch that the engine holds.
    pub(crate) fn open(state: Arc<dyn StateEngine>) -> Result<Self, StoreError> {
        let written = read_round(&*state, WriterId::Lifecycle)?;
        Ok(Self { state, written })
    }

    /// Writes a batch; gives the round to wait for.
    pub(crate) fn write(&mut self, mut batch: StateBatch) -> Result<Round, StoreError> {
        let round = self.written.next();
        batch.set_round(WriterId::Lifecycle, round);
        self.state.write(&batch)?;
        self.written = round;
        Ok(round)
    }

    /// The newest round.
    pub(crate) fn written(&self) -> Round {
        self.written
    }

    /// Waits until everything that was written is durable.
    pub(crate) fn fence(&self) -> Result<(), StoreError> {
        fence(&*self.state, &[(WriterId::Lifecycle, self.written)])
    }
}

/// Adds the clearing of a range to a batch. It is logical: part of the cut that a crash falls back to (D6).
pub(crate) fn clear(batch: &mut StateBatch, range: &KeyRange) {
    for family in ColumnFamily::ALL {
        batch.delete_range(family, range.clone());
    }
}

/// The same, where there is something to clear in a range that nobody writes to. A newcomer's range is empty: a clearing
/// of nothing would have to be flushed, and would keep the files that are ingested behind it in the first level.
fn clear_keys(state: &dyn StateEngine, batch: &mut StateBatch, range: &KeyRange) -> Result<(), StoreError> {
    for family in ColumnFamily::ALL {
        if holds_keys_of(state, family, range)? {
            batch.delete_range(family, range.clone());
        }
    }
    Ok(())
}

/// Whether any key lies in a range.
pub(crate) fn holds_keys(state: &dyn StateEngine, range: &KeyRange) -> Result<bool, StoreError> {
    for family in ColumnFamily::ALL {
        if holds_keys_of(state, family, range)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn holds_keys_of(state: &dyn StateEngine, family: ColumnFamily, range: &KeyRange) -> Result<bool, StoreError> {
    let look = IterRange { key_only: true, ..IterRange::new(range.clone()) };
    Ok(state.iter(Family::User(family), look)?.seek_to_first()?)
}

/// Puts a snapshot into the place of what its marker says is cleared (D10): clears, ingests, then writes the region's
/// records and what came without a file. A crash anywhere in it leads back to its beginning, as long as the marker is there.
pub(crate) fn install(
    writer: &mut StateWriter,
    marker: &SnapshotMarker,
    received: &mut Received,
) -> Result<(), StoreError> {
    let mut batch = StateBatch::default();
    for range in &marker.clear {
        clear_keys(&*writer.state, &mut batch, range)?;
    }
    if !batch.is_empty() {
        writer.write(batch)?;
    }
    let files = received.ingest_files()?;
    if !files.is_empty() {
        writer.state.ingest(&files)?;
    }
    let mut batch = StateBatch::default();
    let apply_state = engine::ApplyState {
        applied: marker.index,
        applied_term: marker.term,
        truncated: marker.index,
        truncated_term: marker.term,
    };
    meta::put_region(&mut batch, &meta::RegionState { descriptor: marker.descriptor.clone(), apply_state });
    received.put_inline(&mut batch);
    writer.write(batch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use engine::StateOp;
    use engine::memory::MemDisk;

    use super::*;

    #[test]
    fn only_families_with_keys_in_the_range_are_cleared() {
        let state = MemDisk::default().open_state().unwrap();
        let mut batch = StateBatch::default();
        batch.put(ColumnFamily::Write, "b", "inside");
        batch.put(ColumnFamily::Default, "x", "outside");
        state.write(&batch).unwrap();
        let range = KeyRange { start: "a".into(), end: "m".into() };
        let mut batch = StateBatch::default();
        clear_keys(&state, &mut batch, &range).unwrap();
        let write = Family::from(ColumnFamily::Write);
        assert!(matches!(batch.ops(), [StateOp::DeleteRange(family, _)] if *family == write), "{:?}", batch.ops());
    }
}
