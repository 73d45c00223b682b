//! Both engines of a store, watched: what they wrote is taken down in the order in which it took effect, and takes time.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use engine::memory::{MemDisk, MemLogEngine, MemStateEngine};
use engine::{
    Durability, Entry, Family, FileReader, IngestFile, IterRange, LogBatch, LogEngine, LogStatistics, RegionLog,
    Result, SnapshotMarker, SstWriter, StateBatch, StateEngine, StateIterator, StateRead, StateStatistics, StoreIdent,
    WriterId,
};
use snapshot::MemoryFiles;
use store::Engines;
use types::{InstanceId, KeyRange, LogIndex, PeerId, RegionId, Round, StoreId, Term};

use crate::cell::Life;
use crate::observation::Event;
use crate::trace::Kind;

/// Opens a disk's engines for a process.
pub(crate) fn open(disk: &MemDisk, life: &Life) -> Result<Engines> {
    let log = WatchedLog { inner: disk.open_log()?, life: life.clone() };
    let state = WatchedState { inner: disk.open_state()?, disk: disk.clone(), life: life.clone() };
    Ok(Engines { log: Arc::new(log), state: Arc::new(state), files: Arc::new(MemoryFiles::open(disk)) })
}

const LOG_WRITE: Kind = Kind { name: "log write", numbers: "operations synced" };
const LOG_WRITE_FAILED: Kind = Kind { name: "log error", numbers: "operations synced" };
const STATE_WRITE: Kind = Kind { name: "state write", numbers: "bytes" };
const INGEST: Kind = Kind { name: "ingest", numbers: "pairs" };
const DELETE_FILES: Kind = Kind { name: "delete files", numbers: "left" };
const STATE_FLUSH: Kind = Kind { name: "state flush", numbers: "" };

struct WatchedLog {
    inner: MemLogEngine,
    life: Life,
}

impl LogEngine for WatchedLog {
    fn write(&self, batch: LogBatch, durability: Durability) -> Result<()> {
        let seen = Arc::new(batch.clone());
        let numbers = [batch.ops.len() as u64, u64::from(durability == Durability::Synced)];
        self.life.begin_write(Arc::clone(&seen));
        if durability == Durability::Synced {
            self.life.wait_for_sync();
        }
        let result = self.inner.write(batch, durability);
        self.life.end_write();
        match &result {
            Ok(()) => {
                self.life.note(LOG_WRITE, &numbers);
                self.life.observe(|| Event::LogWritten { batch: seen, durability });
            }
            Err(_) => {
                self.life.note(LOG_WRITE_FAILED, &numbers);
                self.life.observe(|| Event::LogWriteFailed { batch: seen });
            }
        }
        result
    }

    fn ident(&self) -> Result<Option<StoreIdent>> {
        self.inner.ident()
    }

    fn instances(&self) -> Result<Vec<(StoreId, InstanceId)>> {
        self.inner.instances()
    }

    fn markers(&self) -> Result<Vec<SnapshotMarker>> {
        self.inner.markers()
    }

    fn regions(&self) -> Result<Vec<RegionLog>> {
        self.inner.regions()
    }

    fn region(&self, region: RegionId) -> Result<Option<RegionLog>> {
        self.inner.region(region)
    }

    fn entries(
        &self,
        region: RegionId,
        peer: PeerId,
        low: LogIndex,
        high: LogIndex,
        max_bytes: u64,
    ) -> Result<Vec<Entry>> {
        self.inner.entries(region, peer, low, high, max_bytes)
    }

    fn term(&self, region: RegionId, peer: PeerId, index: LogIndex) -> Result<Option<Term>> {
        self.inner.term(region, peer, index)
    }

    fn approximate_bytes(&self, region: RegionId, low: LogIndex, high: LogIndex) -> Result<u64> {
        self.inner.approximate_bytes(region, low, high)
    }

    fn statistics(&self) -> LogStatistics {
        self.inner.statistics()
    }
}

struct WatchedState {
    inner: MemStateEngine,
    disk: MemDisk,
    life: Life,
}

impl StateRead for WatchedState {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(family, key)
    }

    fn iter(&self, family: Family, range: IterRange) -> Result<Box<dyn StateIterator + '_>> {
        self.inner.iter(family, range)
    }
}

impl StateEngine for WatchedState {
    fn write(&self, batch: &StateBatch) -> Result<()> {
        self.life.wait_for_room();
        let before = self.disk.unflushed_state_batches();
        self.inner.write(batch)?;
        // A full buffer is flushed by the engine itself, before the batch.
        if self.disk.unflushed_state_batches() < before + usize::from(!batch.is_empty()) {
            self.flushed();
        }
        self.life.note(STATE_WRITE, &[batch.bytes() as u64]);
        self.life.observe(|| Event::StateWritten { batch: Arc::new(batch.clone()) });
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn StateRead> {
        self.inner.snapshot()
    }

    fn flush(&self) -> Result<()> {
        self.life.wait_for_sync();
        self.inner.flush()?;
        self.flushed();
        Ok(())
    }

    fn persisted_round(&self, writer: WriterId) -> Result<Round> {
        self.inner.persisted_round(writer)
    }

    fn sst_writer(&self, family: Family, path: &Path) -> Result<Box<dyn SstWriter>> {
        self.inner.sst_writer(family, path)
    }

    fn read_file(&self, file: &IngestFile) -> Result<Box<dyn FileReader>> {
        self.inner.read_file(file)
    }

    fn ingest(&self, files: &[IngestFile]) -> Result<()> {
        // Files may be moved away by it.
        let pairs_of = |file: &IngestFile| {
            let family = file.family;
            self.disk.peek_file(file).into_iter().map(move |(key, value)| (family, key, value))
        };
        let pairs: Vec<_> = files.iter().flat_map(pairs_of).collect();
        self.inner.ingest(files)?;
        self.life.note(INGEST, &[pairs.len() as u64]);
        self.life.observe(|| Event::StateIngested { pairs: Arc::new(pairs) });
        Ok(())
    }

    fn is_crowded(&self) -> bool {
        self.inner.is_crowded()
    }

    fn delete_files_in_range(&self, range: &KeyRange) -> Result<()> {
        self.inner.delete_files_in_range(range)?;
        let left = self.disk.peek_state().into_iter();
        let left: Vec<_> = left.filter(|(family, key, _)| *family != Family::Meta && range.contains(key)).collect();
        self.life.note(DELETE_FILES, &[left.len() as u64]);
        self.life.observe(|| Event::FilesDeleted { range: range.clone(), left: Arc::new(left) });
        Ok(())
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.inner.approximate_bytes(range)
    }

    fn approximate_keys(&self, range: &KeyRange) -> Result<u64> {
        self.inner.approximate_keys(range)
    }

    fn statistics(&self) -> StateStatistics {
        self.inner.statistics()
    }
}

impl WatchedState {
    fn flushed(&self) {
        self.life.note(STATE_FLUSH, &[]);
        self.life.observe(|| Event::StateFlushed);
    }
}
