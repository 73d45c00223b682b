//! The log engine in memory.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use types::{InstanceId, LogIndex, PeerId, RegionId, StoreId, Term};

use super::disk::{CrashPoint, Process, locked};
use super::fault::FaultPoint;
use super::log_content::{LogContent, Undo, op_bytes};
use super::space::Space;
use crate::{Durability, EngineError, Entry, LogBatch, LogEngine, LogStatistics, RegionLog, Result, StoreIdent};

/// The log engine's part of a disk.
#[derive(Default)]
pub(super) struct LogDisk {
    content: LogContent,
    /// What each write replaced that no sync covers yet, the oldest first.
    unsynced: VecDeque<Undo>,
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

    pub(super) fn damage(&mut self) -> bool {
        self.is_damaged |= self.has_durable;
        self.has_durable
    }

    pub(super) fn crash(&mut self, point: CrashPoint, space: &Space) {
        self.torn_bytes = 0;
        while self.unsynced.len() > point.log_writes {
            let undo = self.unsynced.pop_back().expect("there are more than survive");
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

    fn write(&mut self, batch: LogBatch, bytes: u64, durability: Durability) {
        self.statistics.bytes_written += bytes;
        match durability {
            Durability::Synced => {
                self.statistics.syncs += 1;
                self.has_durable = true;
                self.unsynced.clear();
                self.content.apply(batch.ops, None);
            }
            Durability::Buffered => self.write_unsynced(batch, bytes),
        }
    }

    fn write_unsynced(&mut self, batch: LogBatch, bytes: u64) {
        let mut undo = Undo::new(bytes);
        self.content.apply(batch.ops, Some(&mut undo));
        self.unsynced.push_back(undo);
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
}

impl LogEngine for MemLogEngine {
    /// # Panics
    /// When entries have a gap among them or to the log's end; nothing is written then. Raft numbers entries without a
    /// gap, so the caller has a bug that no error could be answered with.
    fn write(&self, batch: LogBatch, durability: Durability) -> Result<()> {
        // Faults strike with no lock held, so that a stall stops nobody else.
        let written = self.process.reach(FaultPoint::LogWrite);
        let synced = match durability {
            Durability::Synced if written.is_ok() => self.process.reach(FaultPoint::LogSync),
            _ => Ok(()),
        };
        let shared = &self.process.shared;
        let mut disk = self.lock(FaultPoint::LogWrite)?;
        disk.check_poison()?;
        disk.content.check(&batch.ops)?;
        let bytes = batch.ops.iter().map(op_bytes).sum();
        if let Err(error) = written.and_then(|()| shared.space.check(FaultPoint::LogWrite, bytes)) {
            return Err(disk.poison(error));
        }
        if let Err(error) = synced {
            disk.write(batch, bytes, Durability::Buffered);
            disk.publish(&shared.space);
            return Err(disk.poison(error));
        }
        disk.write(batch, bytes, durability);
        while disk.unsynced.len() > shared.options.max_unsynced_writes {
            disk.unsynced.pop_front();
        }
        disk.publish(&shared.space);
        Ok(())
    }

    fn ident(&self) -> Result<Option<StoreIdent>> {
        Ok(self.read()?.content.ident())
    }

    fn instances(&self) -> Result<Vec<(StoreId, InstanceId)>> {
        Ok(self.read()?.content.instances())
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
