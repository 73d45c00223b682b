//! RocksDB options of the state engine: no write-ahead log, all column families flushed at one cut.

use engine::Family;
use rocksdb::WriteOptions;
use rocksdb::{
    BottommostLevelCompaction, Cache, ColumnFamilyDescriptor, CompactOptions, FlushOptions, IngestExternalFileOptions,
    Options, ReadOptions, ReadTier,
};
use slog::Logger;

use crate::config::StateEngineConfig;
use crate::options;

/// Bits of filter for each key: one lookup in a hundred reads a block for nothing.
const FILTER_BITS_PER_KEY: f64 = 10.0;

/// Files in level 0 of a column family from which on nobody should bring many more: RocksDB slows writes down at 20.
pub(crate) const CROWDED_LEVEL0_FILES: u64 = 12;

/// Options of the database.
pub(crate) fn database(config: &StateEngineConfig, logger: &Logger) -> Options {
    let mut options = options::database(config.background_jobs, logger);
    // D2: whatever causes a flush, all column families fall together, and come back together after a crash.
    options.set_atomic_flush(true);
    // D3: with it, a flush could persist a writer's round before an older batch of the same writer.
    options.set_unordered_write(false);
    options
}

/// The four column families, each with options of its own; they share one block cache.
pub(crate) fn families(config: &StateEngineConfig) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(config.block_cache_bytes as usize);
    Family::ALL.map(|of| ColumnFamilyDescriptor::new(of.name(), family(config, &cache))).into()
}

fn family(config: &StateEngineConfig, cache: &Cache) -> Options {
    let mut table = options::table(config.block_bytes, cache);
    table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
    table.set_optimize_filters_for_memory(true);
    let mut options = options::column_family(config.memtable_bytes, &table);
    options.set_compression_per_level(&options::compression_per_level(config.compression));
    options.set_bottommost_compression_type(options::compression_type(config.bottommost_compression));
    options
}

/// Options of a file that is written to be ingested: it lands in the last level more often than not.
pub(crate) fn file(config: &StateEngineConfig) -> Options {
    let cache = Cache::new_lru_cache(0);
    let mut options = family(config, &cache);
    options.set_compression_type(options::compression_type(config.bottommost_compression));
    options.set_compression_per_level(&[]);
    options
}

/// How every write is made (D2).
pub(crate) fn write() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// How every flush is made: it returns when everything written before it is durable.
pub(crate) fn flush() -> FlushOptions {
    let mut options = FlushOptions::default();
    options.set_wait(true);
    options
}

/// Reads what no crash can take any more (D3).
pub(crate) fn persisted() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(ReadTier::Persisted);
    options
}

/// By hand: the last level as well, where most of what is dead lies. Automatic compactions go on beside it.
pub(crate) fn compact() -> CompactOptions {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    options
}

/// Files are linked rather than copied where the file system can.
pub(crate) fn ingest() -> IngestExternalFileOptions {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    options
}

/// The same, and refused where memtables hold any of the files' keys: RocksDB would hold every write up while it flushes.
pub(crate) fn ingest_without_flush() -> IngestExternalFileOptions {
    let mut options = ingest();
    options.set_allow_blocking_flush(false);
    options
}
