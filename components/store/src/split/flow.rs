//! What passes through the regions of a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use apply::Written;
use parking_lot::{Mutex, RwLock};
use types::seed::Seed;
use types::{Instant, KeyRange, RegionId};

use super::samples::Samples;
use super::size::RegionSize;

/// What passed through a region on this store since the store was opened.
///
/// What is written counts on every member, as it is applied; requests and reads count where they are made, and only from
/// about the time on when the store began to lead the region. The counts begin again at zero when the region leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionFlow {
    /// Keys that were put, deleted or swapped; a delete-range counts as one.
    pub written_keys: u64,
    /// Bytes of these keys and their values.
    pub written_bytes: u64,
    /// Keys that were read.
    pub read_keys: u64,
    /// Bytes of these keys and their values.
    pub read_bytes: u64,
    /// Requests that wrote or read.
    pub requests: u64,
}

impl RegionFlow {
    /// What came since an earlier moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            written_keys: self.written_keys.saturating_sub(earlier.written_keys),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            read_keys: self.read_keys.saturating_sub(earlier.read_keys),
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            requests: self.requests.saturating_sub(earlier.requests),
        }
    }
}

/// How long a split may take before another one is begun: the region's epoch lets only one of them through.
const SPLIT_PATIENCE: Duration = Duration::from_secs(60);

/// The counters of one region. They order nothing: whoever reads them wants to know about how much it was.
pub(crate) struct Counters {
    written_keys: AtomicU64,
    written_bytes: AtomicU64,
    read_keys: AtomicU64,
    read_bytes: AtomicU64,
    requests: AtomicU64,
    samples: Mutex<Samples>,
    size: Mutex<Option<RegionSize>>,
    /// Since when a split that the store began is under way.
    splitting: Mutex<Option<Instant>>,
    /// Whether a split that the store began has ended since this was asked last.
    ended: AtomicBool,
}

impl Counters {
    fn new(seed: u64) -> Self {
        Self {
            written_keys: AtomicU64::default(),
            written_bytes: AtomicU64::default(),
            read_keys: AtomicU64::default(),
            read_bytes: AtomicU64::default(),
            requests: AtomicU64::default(),
            samples: Mutex::new(Samples::new(seed)),
            size: Mutex::new(None),
            splitting: Mutex::new(None),
            ended: AtomicBool::default(),
        }
    }

    pub(crate) fn flow(&self) -> RegionFlow {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RegionFlow {
            written_keys: read(&self.written_keys),
            written_bytes: read(&self.written_bytes),
            read_keys: read(&self.read_keys),
            read_bytes: read(&self.read_bytes),
            requests: read(&self.requests),
        }
    }

    fn note_request(&self, keys: &KeyRange) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        // A sample may miss a request; nobody waits for it.
        if let Some(mut samples) = self.samples.try_lock() {
            samples.note(keys);
        }
    }

    /// What the requests since the last call were about.
    pub(crate) fn take_samples(&self) -> Vec<KeyRange> {
        self.samples.lock().take()
    }

    pub(crate) fn size(&self) -> Option<RegionSize> {
        *self.size.lock()
    }

    pub(crate) fn set_size(&self, size: RegionSize) {
        *self.size.lock() = Some(size);
    }

    /// Whether a split that the store began is under way. One whose answer has not come for long counts as ended.
    pub(crate) fn is_splitting(&self, now: Instant) -> bool {
        let since = *self.splitting.lock();
        if since.is_some_and(|since| now.since(since) >= SPLIT_PATIENCE) {
            self.end_split();
            return false;
        }
        since.is_some()
    }

    pub(crate) fn begin_split(&self, now: Instant) {
        *self.splitting.lock() = Some(now);
    }

    pub(crate) fn end_split(&self) {
        self.ended.store(true, Ordering::Release);
        *self.splitting.lock() = None;
    }

    /// Whether a split has ended since this was asked last.
    pub(crate) fn take_ended(&self) -> bool {
        self.ended.swap(false, Ordering::AcqRel)
    }
}

/// The counters of all regions that are written here or looked over.
pub(crate) struct Flows {
    seed: Seed,
    regions: RwLock<BTreeMap<RegionId, Arc<Counters>>>,
}

impl Flows {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { seed, regions: RwLock::default() }
    }

    pub(crate) fn get(&self, region: RegionId) -> Option<Arc<Counters>> {
        self.regions.read().get(&region).cloned()
    }

    /// The counters of a region of this store; new ones where there are none.
    pub(crate) fn open(&self, region: RegionId) -> Arc<Counters> {
        if let Some(counters) = self.get(region) {
            return counters;
        }
        let mut regions = self.regions.write();
        let fresh = || Arc::new(Counters::new(self.seed.hash(&[region.0])));
        Arc::clone(regions.entry(region).or_insert_with(fresh))
    }

    /// Forgets the regions that are not among these.
    pub(crate) fn keep(&self, regions: &BTreeSet<RegionId>) {
        if self.regions.read().keys().any(|region| !regions.contains(region)) {
            self.regions.write().retain(|region, _| regions.contains(region));
        }
    }

    /// Counts what a round of apply wrote.
    pub(crate) fn wrote(&self, written: BTreeMap<RegionId, Written>) {
        for (region, written) in written {
            let counters = self.open(region);
            counters.written_keys.fetch_add(written.keys, Ordering::Relaxed);
            counters.written_bytes.fetch_add(written.bytes, Ordering::Relaxed);
        }
    }

    /// Counts a request that writes. The region is the client's word: one without counters gets none.
    pub(crate) fn note_write(&self, region: RegionId, keys: &KeyRange) {
        if let Some(counters) = self.regions.read().get(&region) {
            counters.note_request(keys);
        }
    }

    /// Counts a request that read.
    pub(crate) fn note_read(&self, region: RegionId, range: &KeyRange, keys: u64, bytes: u64) {
        if let Some(counters) = self.regions.read().get(&region) {
            counters.note_request(range);
            counters.read_keys.fetch_add(keys, Ordering::Relaxed);
            counters.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_passes_is_counted_by_region() {
        let flows = Flows::new(Seed(1));
        flows.wrote(BTreeMap::from([(RegionId(1), Written { keys: 2, bytes: 30 })]));
        flows.note_write(RegionId(1), &KeyRange::new("a", "b"));
        flows.note_read(RegionId(1), &KeyRange::new("c", "d"), 5, 70);
        let counters = flows.get(RegionId(1)).unwrap();
        let expected = RegionFlow { written_keys: 2, written_bytes: 30, read_keys: 5, read_bytes: 70, requests: 2 };
        assert_eq!(counters.flow(), expected);
        assert_eq!(counters.flow().since(RegionFlow { read_keys: 4, ..expected }).read_keys, 1);
        assert_eq!(counters.take_samples(), [KeyRange::new("a", "b"), KeyRange::new("c", "d")]);
    }

    #[test]
    fn a_clients_word_opens_no_counters() {
        let flows = Flows::new(Seed(1));
        flows.note_write(RegionId(9), &KeyRange::all());
        flows.note_read(RegionId(9), &KeyRange::all(), 1, 1);
        assert!(flows.get(RegionId(9)).is_none());
        flows.open(RegionId(1));
        flows.open(RegionId(2));
        flows.keep(&BTreeSet::from([RegionId(2)]));
        assert!(flows.get(RegionId(1)).is_none() && flows.get(RegionId(2)).is_some());
    }
}
