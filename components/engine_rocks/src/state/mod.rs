//! The state engine: one RocksDB with four column families, no write-ahead log, atomic flush (D2).
//!
//! Reading order: [`options`], this file, [`batch`], [`files`], then [`snapshot`] and [`iterator`],
//! [`sst`] and [`reader`].

mod batch;
mod files;
mod iterator;
pub(crate) mod options;
mod reader;
mod snapshot;
mod sst;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use engine::{
    EngineError, Family, FileReader, IngestFile, IterRange, Result, SstWriter, StateBatch, StateEngine, StateIterator,
    StateRead, StateStatistics, WriterId,
};
use parking_lot::Mutex;
use rocksdb::statistics::{Histogram, Ticker};
use rocksdb::{ColumnFamily, DB, FlushOptions, Options, ReadOptions, WriteOptions};
use slog::Logger;
use types::{KeyRange, Round};

use self::files::FileList;
use self::iterator::{RocksIterator, read_options};
use self::reader::RocksFileReader;
use self::snapshot::RocksSnapshot;
use self::sst::RocksSstWriter;
use crate::config::StateEngineConfig;
use crate::error::Engine;
use crate::format;
use crate::gauges::{EngineGauges, level0_files};

/// The data of a store, on RocksDB.
pub struct RocksStateEngine {
    db: Arc<DB>,
    /// The options that the database was opened with; they hold its statistics.
    options: Options,
    write_options: WriteOptions,
    flush_options: FlushOptions,
    read_options: ReadOptions,
    persisted: ReadOptions,
    file_options: Arc<Options>,
    file_list: FileList,
    flushing: Mutex<()>,
}

impl RocksStateEngine {
    /// Opens the engine in a directory, which is made when it is missing.
    ///
    /// # Errors
    /// `Locked` when it is in use, `Record` when a newer build or another engine made it, `Corruption` when its
    /// files do not hang together.
    pub fn open(path: &Path, config: &StateEngineConfig, logger: Logger) -> Result<Self> {
        format::claim(Engine::State, path)?;
        let options = options::database(config, &logger);
        fail_point!("state-claimed");
        let db = DB::open_cf_descriptors(&options, path, options::families(config))
            .map_err(|error| Engine::State.open_error(path, error))?;
        fail_point!("state-opened");
        Ok(Self {
            db: Arc::new(db),
            options,
            write_options: options::write(),
            flush_options: options::flush(),
            read_options: ReadOptions::default(),
            persisted: options::persisted(),
            file_options: Arc::new(options::file(config)),
            file_list: FileList::default(),
            flushing: Mutex::default(),
        })
    }

    /// RocksDB's own numbers, for metrics.
    pub fn gauges(&self) -> EngineGauges {
        EngineGauges::read(&self.db, self.families())
    }

    fn families(&self) -> [&ColumnFamily; 4] {
        Family::ALL.map(|of| family(&self.db, of))
    }
}

/// The handle of a column family.
fn family(db: &DB, of: Family) -> &ColumnFamily {
    db.cf_handle(of.name()).expect("the database was opened with all column families")
}

fn read_error(error: rocksdb::Error) -> EngineError {
    Engine::State.error("read", error)
}

impl StateRead for RocksStateEngine {
    fn get(&self, of: Family, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.db.get_cf_opt(family(&self.db, of), key, &self.read_options).map_err(read_error)?;
        Ok(value.map(Bytes::from))
    }

    fn iter(&self, of: Family, range: IterRange) -> Result<Box<dyn StateIterator + '_>> {
        let iter = self.db.raw_iterator_cf_opt(family(&self.db, of), read_options(&range));
        Ok(Box::new(RocksIterator::new(iter, range.key_only)))
    }
}

impl StateEngine for RocksStateEngine {
    fn write(&self, batch: &StateBatch) -> Result<()> {
        let batch = batch::write_batch(&self.db, batch)?;
        self.db.write_opt(batch, &self.write_options).map_err(|error| Engine::State.error("write", error))
    }

    fn snapshot(&self) -> Arc<dyn StateRead> {
        Arc::new(RocksSnapshot::new(&self.db))
    }

    fn flush(&self) -> Result<()> {
        // Two at a time gain nothing, and were seen to return before what they wrote could be read.
        let _one_at_a_time = self.flushing.lock();
        let flushed = self.db.flush_cfs_opt(&self.families(), &self.flush_options);
        flushed.map_err(|error| Engine::State.error("flush", error))
    }

    fn persisted_round(&self, writer: WriterId) -> Result<Round> {
        let meta = family(&self.db, Family::Meta);
        let value = self.db.get_pinned_cf_opt(meta, writer.key(), &self.persisted).map_err(read_error)?;
        let Some(value) = value else { return Ok(Round(0)) };
        let bytes: [u8; 8] = value[..].try_into().map_err(|_| EngineError::Corruption {
            engine: Engine::State.name(),
            cause: format!("the round of {writer:?} has {} bytes instead of 8", value.len()),
        })?;
        Ok(Round(u64::from_be_bytes(bytes)))
    }

    fn sst_writer(&self, _: Family, path: &Path) -> Result<Box<dyn SstWriter>> {
        Ok(Box::new(RocksSstWriter::create(Arc::clone(&self.file_options), path)?))
    }

    fn read_file(&self, file: &IngestFile) -> Result<Box<dyn FileReader>> {
        Ok(Box::new(RocksFileReader::open(file)?))
    }

    fn ingest(&self, files: &[IngestFile]) -> Result<()> {
        files::ingest(&self.db, files, || self.flush()).map(drop)
    }

    fn is_crowded(&self) -> bool {
        let crowded = |family| level0_files(&self.db, family) >= options::CROWDED_LEVEL0_FILES;
        self.families().iter().any(|family| crowded(family))
    }

    fn delete_files_in_range(&self, range: &KeyRange) -> Result<()> {
        files::delete_files_in_range(&self.db, range)
    }

    fn compact(&self, range: &KeyRange) {
        files::compact(&self.db, range);
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        if range.is_empty() {
            return Ok(0);
        }
        types::ColumnFamily::ALL.iter().map(|of| files::approximate_bytes(&self.db, (*of).into(), range)).sum()
    }

    fn approximate_keys(&self, range: &KeyRange) -> Result<u64> {
        if range.is_empty() { Ok(0) } else { files::approximate_keys(&self.db, &self.file_list, range) }
    }

    fn statistics(&self) -> StateStatistics {
        let gauges = self.gauges();
        StateStatistics {
            flushed_bytes: self.options.get_ticker_count(Ticker::FlushWriteBytes),
            compacted_bytes: self.options.get_ticker_count(Ticker::CompactWriteBytes),
            flushes: self.options.get_histogram_data(Histogram::FlushTime).count(),
            unflushed_bytes: gauges.memtable_bytes,
            disk_bytes: gauges.file_bytes,
        }
    }
}

impl std::fmt::Debug for RocksStateEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStateEngine").field("path", &self.db.path()).finish_non_exhaustive()
    }
}
