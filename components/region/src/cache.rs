//! The newest entries of the log in memory.

use std::collections::VecDeque;

use engine::Entry;
use types::{LogIndex, Term};

/// What an entry costs in memory beside its data.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// The bytes that an entry counts for in every bound of this crate.
pub(crate) fn entry_bytes(entry: &Entry) -> u64 {
    entry.data.len() as u64 + entry.context.len() as u64 + ENTRY_OVERHEAD_BYTES
}

/// A gapless run of entries that ends at the log's last one.
///
/// `advance_append_async` clears raft's own unstable entries at once (raftstore-rules §17): until they are durable, and
/// so readable from the log engine, this is the only place that has them. Therefore [`evict`](Self::evict) never drops
/// an entry above the index that is known to be durable, whatever the bound.
#[derive(Debug, Default)]
pub(crate) struct EntryCache {
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl EntryCache {
    /// The first cached index.
    pub(crate) fn first(&self) -> Option<LogIndex> {
        self.entries.front().map(|entry| LogIndex(entry.index))
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entry at an index.
    pub(crate) fn get(&self, index: LogIndex) -> Option<&Entry> {
        let position = index.0.checked_sub(self.first()?.0)?;
        self.entries.get(usize::try_from(position).ok()?)
    }

    /// The term of the entry at an index.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        self.get(index).map(|entry| Term(entry.term))
    }

    /// The entries from an index on; empty when that index is not cached.
    pub(crate) fn from(&self, index: LogIndex) -> impl Iterator<Item = &Entry> {
        let skip = match self.first() {
            Some(first) if index >= first => usize::try_from(index.0 - first.0).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        self.entries.iter().skip(skip)
    }

    /// Replaces everything from the first one's index on. Returns the bytes that were replaced.
    ///
    /// # Panics
    /// When the entries do not continue the cached ones.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> u64 {
        let Some(first) = entries.first() else { return 0 };
        let replaced = self.truncate_from(LogIndex(first.index));
        if let Some(last) = self.entries.back() {
            assert_eq!(last.index + 1, first.index, "appended entries leave a gap in the entry cache");
        }
        self.bytes += entries.iter().map(entry_bytes).sum::<u64>();
        self.entries.extend(entries.iter().cloned());
        replaced
    }

    /// Drops the entries up to an index, included.
    pub(crate) fn drop_to(&mut self, index: LogIndex) {
        while self.first().is_some_and(|first| first <= index) {
            self.pop_front();
        }
    }

    /// Drops durable entries from the front until no more than `bound` bytes are held.
    pub(crate) fn evict(&mut self, bound: u64, durable: LogIndex) {
        while self.bytes > bound && self.first().is_some_and(|first| first <= durable) {
            self.pop_front();
        }
        if self.entries.is_empty() && bound == 0 {
            self.entries.shrink_to_fit();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry_bytes(&entry);
        }
    }

    fn truncate_from(&mut self, index: LogIndex) -> u64 {
        let before = self.bytes;
        while self.entries.back().is_some_and(|last| last.index >= index.0) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= entry_bytes(&entry);
            }
        }
        before - self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![0; 10].into(), ..Entry::default() }
    }

    fn indexes(cache: &EntryCache) -> Vec<(u64, u64)> {
        cache.entries.iter().map(|entry| (entry.index, entry.term)).collect()
    }

    #[test]
    fn conflicting_entries_replace_the_tail() {
        let mut cache = EntryCache::default();
        assert_eq!(cache.append(&[entry(6, 5), entry(7, 5), entry(8, 5)]), 0);
        assert_eq!(cache.append(&[entry(7, 6)]), 2 * entry_bytes(&entry(7, 5)));
        assert_eq!(indexes(&cache), [(6, 5), (7, 6)]);
        assert_eq!(cache.bytes(), 2 * entry_bytes(&entry(6, 5)));
    }

    #[test]
    fn a_conflict_before_the_cached_entries_replaces_all() {
        let mut cache = EntryCache::default();
        cache.append(&[entry(8, 5), entry(9, 5)]);
        cache.append(&[entry(6, 6)]);
        assert_eq!(indexes(&cache), [(6, 6)]);
    }

    #[test]
    fn entries_that_are_not_durable_are_never_evicted() {
        let mut cache = EntryCache::default();
        cache.append(&[entry(6, 5), entry(7, 5), entry(8, 5)]);
        cache.evict(0, LogIndex(6));
        assert_eq!(indexes(&cache), [(7, 5), (8, 5)]);
        cache.evict(0, LogIndex(8));
        assert_eq!((indexes(&cache).len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn reads_outside_find_nothing() {
        let mut cache = EntryCache::default();
        assert_eq!(cache.from(LogIndex(1)).count(), 0);
        cache.append(&[entry(6, 5), entry(7, 5)]);
        assert_eq!(cache.term(LogIndex(5)), None);
        assert_eq!(cache.term(LogIndex(7)), Some(Term(5)));
        assert_eq!(cache.term(LogIndex(8)), None);
        assert_eq!(cache.from(LogIndex(5)).count(), 0);
        assert_eq!(cache.from(LogIndex(7)).count(), 1);
        assert_eq!(cache.from(LogIndex(8)).count(), 0);
    }

    #[test]
    #[should_panic(expected = "gap")]
    fn a_gap_is_refused() {
        let mut cache = EntryCache::default();
        cache.append(&[entry(6, 5)]);
        cache.append(&[entry(8, 5)]);
    }
}
