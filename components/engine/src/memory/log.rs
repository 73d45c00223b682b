//! The log engine in memory.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use types::{InstanceId, LogIndex, PeerId, RegionId, StoreId, Term};

use super::disk::{CrashPoint, Process, locked};
use super::fault::FaultPoint;
use super::log_content::{LogContent, Undo, op_bytes};
use super::space::Space;
use crate::{
    Durability, EngineError, Entry, LogBatch, LogEngine, LogStatistics, RegionLog, Result, SnapshotMarker, StoreIdent,
};

/// The log engine's part of a disk.
#[derive(Default)]
pub(super) struct LogDisk {
    content: LogContent,
    /// What each write replaced that no sync covers yet, the oldest first.
    unsynced: VecDeque<(u64, Undo)>,
    /// The number of the newest write that did not wait for a sync of its own.
    written: u64,
    /// The first failure of a write or sync.
    poison: Option<String>,
    /// A part of a write at the log's end.
    torn_bytes: u64,
    /// Whether any write was ever made durable.
    has_durable: bool,
    is_damaged: bool,
    is_open: bool,
    /// Since it was opened.
    statistics: LogStatistics,
}

impl LogDisk {
    pub(super) fn unsynced_writes(&self) -> usize {
        self.unsynced.len()
    }

    pub(super) fn content(&self) -> &LogContent {
        &self.content
    }

    pub(super) fn damage(&mut self) -> bool {
        self.is_damaged |= self.has_durable;
        self.has_durable
    }

    pub(super) fn crash(&mut self, point: CrashPoint, space: &Space) {
        self.torn_bytes = 0;
        while self.unsynced.len() > point.log_writes {
            let (_, undo) = self.unsynced.pop_back().expect("there are more than survive");
            self.torn_bytes = if point.torn_tail { undo.written_bytes.div_ceil(2) } else { 0 };
            self.content.take_back(undo);
        }
        // What a crash left lies on the disk.
        self.has_durable |= !self.unsynced.is_empty();
        self.unsynced.clear();
        self.poison = None;
        self.is_open = false;
        self.publish(space);
    }

    fn open(&mut self, space: &Space) -> Result<()> {
        if self.is_open {
            return Err(locked("log"));
        }
        if self.is_damaged {
            let cause = "a record in the middle of the log does not fit its checksum".to_owned();
            return Err(EngineError::Corruption { engine: "log", cause });
        }
        // A tail that was torn is no damage: no sync covered it, so nobody was promised anything (D15).
        self.torn_bytes = 0;
        // What is found is made durable, as RocksDB does by its recovery.
        self.has_durable |= !self.unsynced.is_empty();
        self.unsynced.clear();
        self.is_open = true;
        self.statistics = LogStatistics::default();
        self.publish(space);
        Ok(())
    }

    fn publish(&self, space: &Space) {
        space.log.store(self.content.bytes() + self.torn_bytes, Ordering::Release);
    }

    fn check_poison(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(EngineError::Poisoned { engine: "log", cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Notes the first failure: what is on disk behind it is unknown, so nothing may be written behind it (D15).
    fn poison(&mut self, error: EngineError) -> EngineError {
        self.poison.get_or_insert_with(|| error.to_string());
        error
    }

    fn write_synced(&mut self, batch: LogBatch, bytes: u64) {
        self.content.apply(batch.ops, None);
        self.statistics.bytes_written += bytes;
        self.sync_to(self.written);
    }

    /// Writes without waiting for the disk. Returns the number of the write, for [`sync_to`](Self::sync_to).
    fn write_unsynced(&mut self, batch: LogBatch, bytes: u64, max_unsynced: usize) -> u64 {
        self.written += 1;
        self.statistics.bytes_written += bytes;
        let mut undo = Undo::new(bytes);
        self.content.apply(batch.ops, Some(&mut undo));
        self.unsynced.push_back((self.written, undo));
        while self.unsynced.len() > max_unsynced {
            self.unsynced.pop_front();
            self.has_durable = true;
        }
        self.written
    }

    fn sync_to(&mut self, write: u64) {
        while self.unsynced.front().is_some_and(|(number, _)| *number <= write) {
            self.unsynced.pop_front();
        }
        self.statistics.syncs += 1;
        self.has_durable = true;
    }
}

/// A log engine that lives in memory, on a [`MemDisk`](super::MemDisk).
///
/// A write that fails before it reached the disk is not seen. One whose sync fails is seen, and a crash may lose it or
/// keep it: its fate is unknown, as the trait says. After either the engine takes no more writes.
pub struct MemLogEngine {
    process: Process,
}

impl MemLogEngine {
    pub(super) fn open(process: Process) -> Result<Self> {
        let shared = &process.shared;
        shared.log.lock().open(&shared.space)?;
        Ok(Self { process })
    }

    fn read(&self) -> Result<MutexGuard<'_, LogDisk>> {
        self.process.reach(FaultPoint::LogRead)?;
        self.lock(FaultPoint::LogRead)
    }

    fn lock(&self, point: FaultPoint) -> Result<MutexGuard<'_, LogDisk>> {
        let disk = self.process.shared.log.lock();
        self.process.check(point)?;
        Ok(disk)
    }

    fn sync(&self, write: u64) -> Result<()> {
        let reached = self.process.reach(FaultPoint::LogSync);
        let mut disk = self.lock(FaultPoint::LogSync)?;
        disk.check_poison()?;
        match reached {
            Ok(()) => disk.sync_to(write),
            Err(error) => return Err(disk.poison(error)),
        }
        Ok(())
    }
}

impl LogEngine for MemLogEngine {
    /// # Panics
    /// When entries have a gap among them or to the log's end; nothing is written then. Raft numbers entries without a
    /// gap, so the caller has a bug that no error could be answered with.
    fn write(&self, batch: LogBatch, durability: Durability) -> Result<()> {
        // Faults strike with no lock held, so that a stall stops nobody else.
        let reached = self.process.reach(FaultPoint::LogWrite);
        let shared = &self.process.shared;
        let mut disk = self.lock(FaultPoint::LogWrite)?;
        disk.check_poison()?;
        disk.content.check(&batch.ops)?;
        let bytes = batch.ops.iter().map(op_bytes).sum();
        if let Err(error) = reached.and_then(|()| shared.space.check(FaultPoint::LogWrite, bytes)) {
            return Err(disk.poison(error));
        }
        if durability == Durability::Synced && !shared.faults.are_waiting() {
            disk.write_synced(batch, bytes);
            disk.publish(&shared.space);
            return Ok(());
        }
        let write = disk.write_unsynced(batch, bytes, shared.options.max_unsynced_writes);
        disk.publish(&shared.space);
        drop(disk);
        match durability {
            Durability::Synced => self.sync(write),
            Durability::Buffered => Ok(()),
        }
    }

    fn ident(&self) -> Result<Option<StoreIdent>> {
        Ok(self.read()?.content.ident())
    }

    fn instances(&self) -> Result<Vec<(StoreId, InstanceId)>> {
        Ok(self.read()?.content.instances())
    }

    fn markers(&self) -> Result<Vec<SnapshotMarker>> {
        Ok(self.read()?.content.markers())
    }

    fn regions(&self) -> Result<Vec<RegionLog>> {
        Ok(self.read()?.content.regions())
    }

    fn region(&self, region: RegionId) -> Result<Option<RegionLog>> {
        Ok(self.read()?.content.region(region))
    }

    fn entries(
        &self,
        region: RegionId,
        peer: PeerId,
        low: LogIndex,
        high: LogIndex,
        max_bytes: u64,
    ) -> Result<Vec<Entry>> {
        self.read()?.content.entries(region, peer, low, high, max_bytes)
    }

    fn term(&self, region: RegionId, peer: PeerId, index: LogIndex) -> Result<Option<Term>> {
        self.read()?.content.term(region, peer, index)
    }

    fn approximate_bytes(&self, region: RegionId, low: LogIndex, high: LogIndex) -> Result<u64> {
        Ok(self.read()?.content.approximate_bytes(region, low, high))
    }

    /// All zero once the process has crashed.
    fn statistics(&self) -> LogStatistics {
        match self.lock(FaultPoint::LogRead) {
            Ok(disk) => LogStatistics { disk_bytes: disk.content.bytes(), ..disk.statistics },
            Err(_) => LogStatistics::default(),
        }
    }
}

impl Drop for MemLogEngine {
    fn drop(&mut self) {
        let mut disk = self.process.shared.log.lock();
        if self.process.is_alive() {
            disk.is_open = false;
            disk.poison = None;
        }
    }
}
