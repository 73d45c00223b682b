//! The log engine: one RocksDB with one column family and an fsynced write-ahead log.
//!
//! Reading order: [`table`] (what is in memory), [`stage`] (how a batch is laid out), this file, [`recover`].

pub(crate) mod entry;
pub(crate) mod options;
mod record_batch;
mod recover;
mod stage;
mod table;
mod wal_check;

use std::path::Path;
use std::sync::OnceLock;

use engine::{
    Durability, EngineError, Entry, LogBatch, LogEngine, LogOp, LogStatistics, RegionLog, Result, SnapshotMarker,
    StoreIdent,
};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use rocksdb::statistics::{Histogram, Ticker};
use rocksdb::{ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, Options, WriteOptions, properties};
use slog::Logger;
use types::{InstanceId, LogIndex, PeerId, RegionId, StoreId, Term};

use self::recover::{corruption, decoded, item, iterate, read_number};
use self::stage::Staged;
use self::table::RegionTable;
use crate::config::LogEngineConfig;
use crate::error::Engine;
use crate::format;
use crate::gauges::EngineGauges;
use crate::keys::{IDENT_KEY, INSTANCE_KEYS, MARKER_KEYS, entry_key, marker_key, parse_entry_key, parse_instance_key};

/// The version of the records that this module lays out itself.
const LOG_RECORD_VERSION: u8 = 1;

/// Raft logs of all regions of a store, on RocksDB.
pub struct RocksLogEngine {
    db: DB,
    /// The options that the database was opened with; they hold its statistics.
    options: Options,
    synced: WriteOptions,
    buffered: WriteOptions,
    table: RegionTable,
    /// Held shared by those who write to regions of their own, and alone by clean-up, which does not own what it cleans:
    /// from the copy of a region's record to its publication nobody else may change it.
    regions_in_use: RwLock<()>,
    /// The first write that failed: what it left on disk is unknown (D15).
    poison: OnceLock<String>,
    logger: Logger,
}

impl RocksLogEngine {
    /// Opens the engine in a directory, which is made when it is missing.
    ///
    /// # Errors
    /// `Locked` when it is in use, `Record` when a newer build or another engine made it, `Corruption` when the
    /// write-ahead log is damaged anywhere but at its unfinished end (D15).
    pub fn open(path: &Path, config: &LogEngineConfig, logger: Logger) -> Result<Self> {
        format::claim(Engine::Log, path)?;
        wal_check::check(path)?;
        fail_point!("log-checked");
        let options = options::database(config, &logger);
        let family = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, options::entries(config));
        let db =
            DB::open_cf_descriptors(&options, path, [family]).map_err(|error| Engine::Log.open_error(path, error))?;
        fail_point!("log-opened");
        let table = RegionTable::new(recover::load_regions(&db)?);
        let (synced, buffered) = (options::synced(), WriteOptions::default());
        let (regions_in_use, poison) = (RwLock::default(), OnceLock::new());
        Ok(Self { db, options, synced, buffered, table, regions_in_use, poison, logger })
    }

    /// RocksDB's own numbers, for metrics.
    pub fn gauges(&self) -> EngineGauges {
        let family = self.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME);
        EngineGauges::read(&self.db, family)
    }

    fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(cause) => Err(EngineError::Poisoned { engine: Engine::Log.name(), cause: cause.clone() }),
        }
    }

    /// Whatever failed, the write-ahead log may hold a part of it, and trying again could succeed over a hole.
    fn poison(&self, error: rocksdb::Error) -> EngineError {
        let cause = error.to_string();
        slog::crit!(self.logger, "log engine takes no more writes"; "cause" => &cause);
        let _first_one_stays = self.poison.set(cause);
        Engine::Log.error("write", error)
    }

    fn get(&self, key: &[u8]) -> Result<Option<rocksdb::DBPinnableSlice<'_>>> {
        self.db.get_pinned(key).map_err(|error| Engine::Log.error("read", error))
    }
}

impl LogEngine for RocksLogEngine {
    fn write(&self, batch: LogBatch, durability: Durability) -> Result<()> {
        self.check_poison()?;
        let _regions = RegionsInUse::by(&batch, &self.regions_in_use);
        let Staged { batch, records } = stage::stage(batch, &self.table)?;
        let options = match durability {
            Durability::Synced => &self.synced,
            Durability::Buffered => &self.buffered,
        };
        if batch.is_empty() && durability == Durability::Buffered {
            return Ok(());
        }
        self.db.write_opt(batch.into_write_batch(), options).map_err(|error| self.poison(error))?;
        self.table.publish(records);
        Ok(())
    }

    fn ident(&self) -> Result<Option<StoreIdent>> {
        self.get(&IDENT_KEY)?.map(|bytes| decoded(StoreIdent::decode(&bytes))).transpose()
    }

    fn instances(&self) -> Result<Vec<(StoreId, InstanceId)>> {
        let mut instances = Vec::new();
        let mut iter = iterate(&self.db, &INSTANCE_KEYS.0, &INSTANCE_KEYS.1);
        iter.seek_to_first();
        while let Some((key, value)) = item(&iter)? {
            instances.push((parse_instance_key(key)?, InstanceId(read_number("instance", value)?)));
            iter.next();
        }
        Ok(instances)
    }

    fn markers(&self) -> Result<Vec<SnapshotMarker>> {
        let mut markers = Vec::new();
        let mut iter = iterate(&self.db, &MARKER_KEYS.0, &MARKER_KEYS.1);
        iter.seek_to_first();
        while let Some((key, value)) = item(&iter)? {
            let marker = decoded(SnapshotMarker::decode(value))?;
            if key != marker_key(marker.region()) {
                return Err(corruption(format!(
                    "the snapshot marker of region {} is under another key",
                    marker.region()
                )));
            }
            markers.push(marker);
            iter.next();
        }
        Ok(markers)
    }

    fn regions(&self) -> Result<Vec<RegionLog>> {
        Ok(self.table.all())
    }

    fn region(&self, region: RegionId) -> Result<Option<RegionLog>> {
        Ok(self.table.get(region).map(|record| record.region_log(region)))
    }

    fn entries(
        &self,
        region: RegionId,
        peer: PeerId,
        low: LogIndex,
        high: LogIndex,
        max_bytes: u64,
    ) -> Result<Vec<Entry>> {
        self.table.get(region).map_or(Ok(()), |record| record.check_peer(region, peer))?;
        if low >= high {
            return Ok(Vec::new());
        }
        let mut iter = iterate(&self.db, &entry_key(region, low), &entry_key(region, high));
        iter.seek_to_first();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for wanted in (low.0..high.0).map(LogIndex) {
            let Some((key, value)) = item(&iter)? else { break };
            let (_, found) = parse_entry_key(key)?;
            if found != wanted {
                // What begins above `low` was compacted up to there. A gap between two entries cannot be: an iterator
                // sees one moment, and at every moment a log is without a gap.
                return if entries.is_empty() { Ok(entries) } else { Err(gap(region, wanted, found)) };
            }
            let entry = entry::decode(found, value)?;
            bytes += entry.data.len() as u64;
            entries.push(entry);
            if bytes >= max_bytes {
                break;
            }
            iter.next();
        }
        Ok(entries)
    }

    fn term(&self, region: RegionId, peer: PeerId, index: LogIndex) -> Result<Option<Term>> {
        self.table.get(region).map_or(Ok(()), |record| record.check_peer(region, peer))?;
        self.get(&entry_key(region, index))?.map(|value| entry::decode_term(&value)).transpose()
    }

    fn approximate_bytes(&self, region: RegionId, low: LogIndex, high: LogIndex) -> Result<u64> {
        let span = self.table.get(region).and_then(|record| record.span);
        Ok(span.map_or(0, |span| span.bytes_between(low, high)))
    }

    fn statistics(&self) -> LogStatistics {
        let files = self.db.property_int_value(properties::TOTAL_SST_FILES_SIZE).ok().flatten().unwrap_or(0);
        LogStatistics {
            bytes_written: self.options.get_ticker_count(Ticker::WalFileBytes),
            syncs: self.options.get_ticker_count(Ticker::WalFileSynced),
            sync_micros: self.options.get_histogram_data(Histogram::WalFileSyncMicros).sum(),
            disk_bytes: files + options::wal_bytes(self.db.path()),
        }
    }
}

impl std::fmt::Debug for RocksLogEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksLogEngine").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

/// A writer's hold on the records of the regions that it writes to.
#[expect(dead_code, reason = "a guard is held, not read")]
enum RegionsInUse<'a> {
    Own(RwLockReadGuard<'a, ()>),
    Everyones(RwLockWriteGuard<'a, ()>),
}

impl<'a> RegionsInUse<'a> {
    fn by(batch: &LogBatch, lock: &'a RwLock<()>) -> Self {
        if batch.ops.iter().any(|op| matches!(op, LogOp::DeleteTo { .. })) {
            Self::Everyones(lock.write())
        } else {
            Self::Own(lock.read())
        }
    }
}

fn gap(region: RegionId, wanted: LogIndex, found: LogIndex) -> EngineError {
    recover::corruption(format!("region {region}: entry {wanted} is missing in front of entry {found}"))
}
