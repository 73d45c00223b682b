//! Bounds that every layer agrees on. What an operator may tune is in the configuration; these are fixed.

/// Longest user key, in bytes. RocksDB takes more; nobody needs more, and descriptors carry keys.
pub const MAX_KEY_BYTES: usize = 16 << 10;

/// Largest value, in bytes, so that an entry with one value passes through every buffer on its way.
pub const MAX_VALUE_BYTES: usize = 6 << 20;

/// Largest raft entry, in bytes.
pub const MAX_ENTRY_BYTES: usize = 8 << 20;

/// Most operations in one batch.
pub const MAX_BATCH_OPERATIONS: usize = 64 << 10;

/// Most key-value pairs that one scan may ask for.
pub const MAX_SCAN_PAIRS: u32 = 10_240;

/// Index and term at which the log of a region that was born by bootstrap or split begins, so that an empty
/// newcomer needs a snapshot (raftstore-rules §17).
pub const INITIAL_LOG_INDEX: u64 = 5;

/// See [`INITIAL_LOG_INDEX`].
pub const INITIAL_LOG_TERM: u64 = 5;

/// Most new regions of one split.
pub const MAX_SPLIT_REGIONS: usize = 256;
