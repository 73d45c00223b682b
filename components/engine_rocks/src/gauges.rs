//! RocksDB's own numbers, as they are at one moment.

use rocksdb::properties::{self, PropName};
use rocksdb::{ColumnFamily, DB};

/// What an operator looks at when an engine is slow. Sums over the engine's column families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineGauges {
    /// Bytes in memtables, those being flushed included.
    pub memtable_bytes: u64,
    /// Memtables that wait for their flush.
    pub immutable_memtables: u64,
    /// Files in level 0; RocksDB slows writes down at 20 of one column family and stops them at 36.
    pub level0_files: u64,
    /// Bytes that compactions have to rewrite before every level is within its size.
    pub pending_compaction_bytes: u64,
    /// Compactions that run.
    pub running_compactions: u64,
    /// Flushes that run.
    pub running_flushes: u64,
    /// Whether writes are stopped until flushes or compactions catch up.
    pub write_stopped: bool,
    /// The rate to which writes are slowed down, in bytes per second; zero when they are not.
    pub delayed_write_rate: u64,
    /// Flushes and compactions that failed.
    pub background_errors: u64,
    /// Bytes in the block cache.
    pub block_cache_bytes: u64,
    /// Bytes of all table files.
    pub file_bytes: u64,
    /// Keys, about.
    pub keys: u64,
    /// Snapshots that are held.
    pub snapshots: u64,
}

impl EngineGauges {
    /// Reads the numbers of a database with these column families.
    pub(crate) fn read<'a>(db: &DB, families: impl IntoIterator<Item = &'a ColumnFamily>) -> Self {
        let whole = |name: &PropName| db.property_int_value(name).ok().flatten().unwrap_or(0);
        let mut gauges = Self {
            running_compactions: whole(properties::NUM_RUNNING_COMPACTIONS),
            running_flushes: whole(properties::NUM_RUNNING_FLUSHES),
            write_stopped: whole(properties::IS_WRITE_STOPPED) != 0,
            delayed_write_rate: whole(properties::ACTUAL_DELAYED_WRITE_RATE),
            background_errors: whole(properties::BACKGROUND_ERRORS),
            block_cache_bytes: whole(properties::BLOCK_CACHE_USAGE),
            snapshots: whole(properties::NUM_SNAPSHOTS),
            ..Self::default()
        };
        families.into_iter().for_each(|family| gauges.add(db, family));
        gauges
    }

    fn add(&mut self, db: &DB, family: &ColumnFamily) {
        let of = |name: &PropName| db.property_int_value_cf(family, name).ok().flatten().unwrap_or(0);
        self.memtable_bytes += of(properties::CUR_SIZE_ALL_MEM_TABLES);
        self.immutable_memtables += of(properties::NUM_IMMUTABLE_MEM_TABLE);
        self.pending_compaction_bytes += of(properties::ESTIMATE_PENDING_COMPACTION_BYTES);
        self.file_bytes += of(properties::TOTAL_SST_FILES_SIZE);
        self.keys += of(properties::ESTIMATE_NUM_KEYS);
        self.level0_files += level0_files(db, family);
    }
}

/// Files in level 0 of a column family.
pub(crate) fn level0_files(db: &DB, family: &ColumnFamily) -> u64 {
    // This one is a text even though it is a number.
    let files = db.property_value_cf(family, &*properties::num_files_at_level(0)).ok().flatten();
    files.and_then(|text| text.parse().ok()).unwrap_or(0)
}
