//! Much data, written once: each value can be worked out from its key, so that all of it can be checked and none of it has
//! to be kept. It has a column family to itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::{RawClient, ScanOptions};
use tokio::task::JoinSet;
use types::seed::Rng;
use types::{ColumnFamily, KeyRange};

const VALUE_BYTES: usize = 4 << 10;
/// Pairs that are written by one request.
const PAIRS_PER_WRITE: u64 = 32;
/// Keys that are read by one scan.
const KEYS_PER_READ: usize = 512;

/// Writers at work. They end when everything is written.
pub struct Bulk {
    client: RawClient,
    writers: JoinSet<()>,
    written_bytes: Arc<AtomicU64>,
    pairs: u64,
}

impl Bulk {
    /// Starts writers of `bytes` of values together. `client` must repeat writes of unknown outcome.
    pub fn start(client: &RawClient, writers: u64, bytes: u64) -> Self {
        let client = client.with_column_family(ColumnFamily::Lock);
        let pairs = bytes.div_ceil(VALUE_BYTES as u64);
        let written_bytes = Arc::<AtomicU64>::default();
        let mut set = JoinSet::new();
        for writer in 0..writers {
            let (client, written_bytes) = (client.clone(), Arc::clone(&written_bytes));
            set.spawn(async move {
                for first in (writer * PAIRS_PER_WRITE..pairs).step_by((writers * PAIRS_PER_WRITE) as usize) {
                    let pairs = (first..pairs.min(first + PAIRS_PER_WRITE)).map(pair).collect::<Vec<_>>();
                    let bytes = pairs.len() * VALUE_BYTES;
                    client.batch_put(pairs).await.unwrap_or_else(|error| panic!("a write failed: {error}"));
                    written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                }
            });
        }
        Self { client, writers: set, written_bytes, pairs }
    }

    /// How many bytes were acknowledged.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Waits until everything is written.
    pub async fn written(&mut self) {
        while let Some(ended) = self.writers.join_next().await {
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
    }

    /// Reads everything, and checks that it is what was written, all of it and nothing else.
    ///
    /// # Panics
    /// When it is not.
    pub async fn check(self) {
        let mut missing: BTreeSet<Bytes> = (0..self.pairs).map(|number| pair(number).0).collect();
        let mut rest = KeyRange::all();
        loop {
            let found = self.client.scan(rest.clone(), KEYS_PER_READ, ScanOptions::default()).await;
            let found = found.expect("the cluster serves at the end");
            for (key, value) in &found {
                assert!(missing.remove(key), "{key:?} was not written, or was found twice");
                assert!(*value == value_of(key), "{key:?} has another value than was written");
            }
            let Some((last, _)) = found.last() else { break };
            rest.start = [&last[..], &[0]].concat().into();
        }
        assert!(missing.is_empty(), "{} of {} pairs are lost: {missing:?}", missing.len(), self.pairs);
        println!("all {} pairs of {VALUE_BYTES} bytes are there", self.pairs);
    }
}

/// Keys lie all over the place, so that every region gets its share at any time.
fn pair(number: u64) -> (Bytes, Bytes) {
    let key = Bytes::from(format!("{:016x}", Rng::new(number).next_u64()));
    let value = value_of(&key);
    (key, value)
}

/// Nothing that could be compressed: regions are measured as they lie on disk.
fn value_of(key: &Bytes) -> Bytes {
    let seed = u64::from_str_radix(std::str::from_utf8(key).unwrap_or_default(), 16).unwrap_or_default();
    let mut rng = Rng::new(!seed);
    (0..VALUE_BYTES / 8).flat_map(|_| rng.next_u64().to_be_bytes()).collect()
}
