//! RocksDB options that both engines share.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, InfoLogger, LogLevel, Options};
use slog::Logger;

use crate::config::{Compression, MEMTABLES};

/// RocksDB's levels; its default.
const LEVELS: i32 = 7;

/// Options of the database as a whole.
pub(crate) fn database(background_jobs: u32, logger: &Logger) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Damage is reported, never skipped (D15).
    options.set_paranoid_checks(true);
    options.set_max_background_jobs(background_jobs as i32);
    // A store's descriptors are few by default on Debian; tables beyond these are opened when they are read.
    options.set_max_open_files(512);
    // The kernel writes a new file out little by little rather than all at its fsync, which would hold up the log's.
    options.set_bytes_per_sync(1 << 20);
    // A file is deleted by a background thread, never by the poller that dropped the last iterator on it.
    options.set_avoid_unnecessary_blocking_io(true);
    options.enable_statistics();
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_info_logger(info_logger(logger.clone()));
    options
}

/// Options of one column family.
pub(crate) fn column_family(memtable_bytes: u64, table: &BlockBasedOptions) -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(memtable_bytes as usize);
    options.set_max_write_buffer_number(MEMTABLES);
    options.set_num_levels(LEVELS);
    options.set_level_compaction_dynamic_level_bytes(true);
    // The first level is as large as what triggers a compaction into it, so that each byte is rewritten once there.
    options.set_level_zero_file_num_compaction_trigger(4);
    options.set_max_bytes_for_level_base(4 * memtable_bytes);
    options.set_target_file_size_base(memtable_bytes.min(32 << 20));
    options.set_block_based_table_factory(table);
    options
}

/// Options of a table's blocks.
pub(crate) fn table(block_bytes: u64, cache: &Cache) -> BlockBasedOptions {
    let mut options = BlockBasedOptions::default();
    options.set_block_size(block_bytes as usize);
    options.set_block_cache(cache);
    // The cache's size then bounds all memory of reads; what the newest files need stays in it.
    options.set_cache_index_and_filter_blocks(true);
    options.set_cache_index_and_filter_blocks_with_high_priority(true);
    options.set_pin_l0_filter_and_index_blocks_in_cache(true);
    options.set_format_version(6);
    options
}

/// The compression of each level: none for the first two, whose files live short.
pub(crate) fn compression_per_level(lower: Compression) -> [DBCompressionType; LEVELS as usize] {
    let mut levels = [compression_type(lower); LEVELS as usize];
    levels[..2].fill(DBCompressionType::None);
    levels
}

/// RocksDB's name of a compression.
pub(crate) fn compression_type(compression: Compression) -> DBCompressionType {
    match compression {
        Compression::None => DBCompressionType::None,
        Compression::Lz4 => DBCompressionType::Lz4,
        Compression::Zstd => DBCompressionType::Zstd,
    }
}

/// What RocksDB warns of at each file that it takes in, though nothing is wrong.
const IDLE_WARNING: &str = "Tail prefetch size";

/// RocksDB's warnings and errors go to our log instead of a file of its own.
fn info_logger(logger: Logger) -> InfoLogger {
    InfoLogger::new_callback_logger(LogLevel::Warn, move |level, message| {
        let message = message.trim_end();
        match level {
            LogLevel::Debug | LogLevel::Info | LogLevel::Header => slog::debug!(logger, "{message}"),
            LogLevel::Warn if message.contains(IDLE_WARNING) => slog::debug!(logger, "{message}"),
            LogLevel::Warn => slog::warn!(logger, "{message}"),
            LogLevel::Error | LogLevel::Fatal => slog::error!(logger, "{message}"),
        }
    })
}
