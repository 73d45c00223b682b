//! Iterators over one column family.

use engine::{IterRange, Result, StateIterator};
use rocksdb::{DBRawIterator, ReadOptions};

use super::read_error;

/// How an iterator over the range reads.
pub(super) fn read_options(range: &IterRange) -> ReadOptions {
    let mut options = ReadOptions::default();
    let (start, end) = (&range.range.start, range.range.end_bound());
    if !start.is_empty() {
        options.set_iterate_lower_bound(&start[..]);
    }
    if let Some(end) = end {
        // RocksDB does not say what reversed bounds mean: an empty range begins and ends at one key.
        options.set_iterate_upper_bound(end.max(&start[..]));
    }
    options.fill_cache(!range.skip_cache);
    options
}

/// RocksDB's iterator behind the engine's trait. RocksDB keeps it within its bounds.
pub(super) struct RocksIterator<'a> {
    iter: DBRawIterator<'a>,
    key_only: bool,
}

impl<'a> RocksIterator<'a> {
    pub(super) fn new(iter: DBRawIterator<'a>, key_only: bool) -> Self {
        Self { iter, key_only }
    }

    /// RocksDB stops both at an end and at an error; only its status tells which.
    fn placed(&self) -> Result<bool> {
        if self.iter.valid() {
            return Ok(true);
        }
        self.iter.status().map(|()| false).map_err(read_error)
    }
}

const STANDING: &str = "the iterator stands on a key";

impl StateIterator for RocksIterator<'_> {
    fn seek_to_first(&mut self) -> Result<bool> {
        self.iter.seek_to_first();
        self.placed()
    }

    fn seek_to_last(&mut self) -> Result<bool> {
        self.iter.seek_to_last();
        self.placed()
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.iter.seek(key);
        self.placed()
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool> {
        self.iter.seek_for_prev(key);
        self.placed()
    }

    fn next(&mut self) -> Result<bool> {
        assert!(self.iter.valid(), "{STANDING}");
        self.iter.next();
        self.placed()
    }

    fn prev(&mut self) -> Result<bool> {
        assert!(self.iter.valid(), "{STANDING}");
        self.iter.prev();
        self.placed()
    }

    fn key(&self) -> &[u8] {
        self.iter.key().expect(STANDING)
    }

    fn value(&self) -> &[u8] {
        if self.key_only {
            return &[];
        }
        self.iter.value().expect(STANDING)
    }
}
