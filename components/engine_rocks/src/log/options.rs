//! RocksDB options of the log engine: entries come in order, are written and synced once, are seldom read and die young.

use std::path::Path;

use rocksdb::{BlockBasedOptions, Cache, DBRecoveryMode, Options, WriteOptions};
use slog::Logger;

use crate::config::{Compression, LogEngineConfig};
use crate::options;

/// Larger than the state engine's: the log is read in runs.
const BLOCK_BYTES: u64 = 32 << 10;

/// Options of the database.
pub(crate) fn database(config: &LogEngineConfig, logger: &Logger) -> Options {
    let mut options = options::database(config.background_jobs, logger);
    // D15: an unfinished record at the end of the log was never acknowledged; damage before it stops the store.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // D15: with recycled files one bad byte in the middle ends the recovery there, without a word.
    options.set_recycle_log_file_num(0);
    // The manifest then knows how long each finished file of the log is: a missing or shortened one is noticed.
    options.set_track_and_verify_wals_in_manifest(true);
    // A record is in the file when the write returns, so that a synced one makes the buffered ones before it durable.
    options.set_manual_wal_flush(false);
    options.set_unordered_write(false);
    options
}

/// Options of the only column family.
pub(crate) fn entries(config: &LogEngineConfig) -> Options {
    let cache = Cache::new_lru_cache(config.block_cache_bytes as usize);
    let table: BlockBasedOptions = options::table(BLOCK_BYTES, &cache);
    let mut options = options::column_family(config.memtable_bytes, &table);
    // What sinks below the second level was kept back for a member that is away; it compresses well.
    options.set_compression_per_level(&options::compression_per_level(Compression::Lz4));
    options
}

/// How a write that waits for the disk is made.
pub(crate) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

/// Bytes of the write-ahead log's files.
pub(crate) fn wal_bytes(directory: &Path) -> u64 {
    let Ok(files) = directory.read_dir() else { return 0 };
    files
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "log"))
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
