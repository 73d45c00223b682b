//! Spans of keys, each used by one task alone, which knows what every request must answer.
//!
//! Each task has a client of its own. tikv-client 0.4 looks a scanned region up twice, by its key and then by its id, and goes
//! on at the end that it was told first: when another task learns of a split in between, keys are left out, whatever the
//! server does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tikv_client::{Error, KvPair, RawClient};
use tokio::task::JoinSet;
use types::seed::Rng;

use crate::support::Cluster;
use crate::support::wait::until;

/// The first letters of the spans: all regions of the default shape have one, but the last, which tikv-client cannot scan.
const LETTERS: [&str; 8] = ["a", "c", "e", "g", "i", "n", "s", "u"];
const KEYS: u64 = 48;
/// Most keys of one batch or of one deleted range: several regions' once the span is split.
const KEYS_PER_ACT: u64 = 12;
/// More than a span has.
const SCAN_LIMIT: u32 = 1000;

/// Tasks at work. End them by [`finish`](Self::finish).
pub struct Keepers {
    tasks: JoinSet<()>,
    done: Arc<Vec<AtomicU64>>,
    is_over: Arc<AtomicBool>,
}

impl Keepers {
    pub async fn start(cluster: &Cluster) -> Self {
        let done: Arc<Vec<_>> = Arc::new(LETTERS.iter().map(|_| AtomicU64::new(0)).collect());
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for (number, letter) in LETTERS.iter().enumerate() {
            let client = cluster.tikv_client().await;
            let rng = Rng::new(number as u64);
            let mut keeper = Keeper { letter, client, rng, kept: BTreeMap::new(), written: 0 };
            let (done, is_over) = (Arc::clone(&done), Arc::clone(&is_over));
            tasks.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    keeper.turn().await.unwrap_or_else(|error| panic!("keeper {letter}: {error}"));
                    done[number].fetch_add(1, Ordering::Relaxed);
                }
                keeper.check_all().await.unwrap_or_else(|error| panic!("keeper {letter}, at the end: {error}"));
            });
        }
        Self { tasks, done, is_over }
    }

    /// Waits until every task has taken some turns more.
    ///
    /// # Panics
    /// When one has seen what it must not.
    pub async fn progress(&mut self, turns: u64) {
        let done = Arc::clone(&self.done);
        let taken = || done.iter().map(|done| done.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let before = taken();
        until("every keeper has taken turns", async || {
            if let Some(ended) = self.tasks.try_join_next() {
                ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            }
            let now = taken();
            let is_done = before.iter().zip(&now).all(|(before, now)| now - before >= turns);
            is_done.then_some(()).ok_or_else(|| format!("they took {now:?} turns, and had {before:?}"))
        })
        .await;
    }

    /// Ends the tasks after what they are doing. How many turns they took.
    ///
    /// # Panics
    /// When one has seen what it must not.
    pub async fn finish(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        self.done.iter().map(|done| done.load(Ordering::Relaxed)).sum()
    }
}

/// A key that keepers use, drawn by chance.
pub fn some_key(rng: &mut Rng) -> String {
    let letter = LETTERS[rng.below(LETTERS.len() as u64) as usize];
    key(letter, rng.below(KEYS))
}

fn key(letter: &str, number: u64) -> String {
    format!("{letter}/{number:03}")
}

struct Keeper {
    letter: &'static str,
    client: RawClient,
    rng: Rng,
    kept: BTreeMap<String, String>,
    written: u64,
}

impl Keeper {
    /// Writes something in one of several ways, and checks something in one of several ways.
    async fn turn(&mut self) -> Result<(), Error> {
        match self.rng.below(8) {
            0..2 => self.put().await?,
            2..4 => self.batch_put().await?,
            4 => self.delete().await?,
            5 => self.batch_delete().await?,
            6 => self.delete_range().await?,
            // Reads right after a check of all leave nothing out.
            _ => return self.check_all().await,
        }
        match self.rng.below(5) {
            0 => self.check_one().await,
            1 => self.check_batch().await,
            2 => self.check_keys().await,
            3 => self.check_ranges().await,
            _ => self.check_scan().await,
        }
    }

    async fn put(&mut self) -> Result<(), Error> {
        let (key, value) = (self.some_key(), self.new_value());
        self.client.put(key.clone(), value.clone()).await?;
        self.kept.insert(key, value);
        Ok(())
    }

    async fn batch_put(&mut self) -> Result<(), Error> {
        let pairs: Vec<_> = self.some_keys().into_iter().map(|key| (key, self.new_value())).collect();
        self.client.batch_put(pairs.clone()).await?;
        self.kept.extend(pairs);
        Ok(())
    }

    async fn delete(&mut self) -> Result<(), Error> {
        let key = self.some_key();
        self.client.delete(key.clone()).await?;
        self.kept.remove(&key);
        Ok(())
    }

    async fn batch_delete(&mut self) -> Result<(), Error> {
        let keys = self.some_keys();
        self.client.batch_delete(keys.clone()).await?;
        self.kept.retain(|key, _| !keys.contains(key));
        Ok(())
    }

    async fn delete_range(&mut self) -> Result<(), Error> {
        let (start, end) = self.some_range(KEYS_PER_ACT);
        self.client.delete_range(start.clone()..end.clone()).await?;
        self.kept.retain(|key, _| *key < start || *key >= end);
        Ok(())
    }

    async fn check_one(&mut self) -> Result<(), Error> {
        let key = self.some_key();
        let value = self.client.get(key.clone()).await?.map(text);
        assert_eq!(value.as_ref(), self.kept.get(&key), "get of {key}");
        Ok(())
    }

    async fn check_batch(&mut self) -> Result<(), Error> {
        let keys = self.some_keys();
        let found = sorted(self.client.batch_get(keys.clone()).await?);
        let wanted: Vec<_> = keys.iter().filter_map(|key| Some((key.clone(), self.kept.get(key)?.clone()))).collect();
        assert_eq!(found, wanted, "batch get of {keys:?}");
        Ok(())
    }

    async fn check_scan(&mut self) -> Result<(), Error> {
        let (start, end) = self.some_range(KEYS);
        let limit = 1 + self.rng.below(KEYS) as usize;
        let found = self.client.scan(start.clone()..end.clone(), limit as u32).await?;
        let found: Vec<_> = found.into_iter().map(pair).collect();
        let mut wanted = self.between(&start, &end);
        wanted.truncate(limit);
        assert_eq!(found, wanted, "scan of {limit} from {start} to {end}");
        Ok(())
    }

    async fn check_keys(&mut self) -> Result<(), Error> {
        let (start, end) = self.some_range(KEYS);
        let found = self.client.scan_keys(start.clone()..end.clone(), SCAN_LIMIT).await?;
        let found: Vec<_> = found.into_iter().map(|key| text(key.into())).collect();
        let wanted: Vec<_> = self.between(&start, &end).into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, wanted, "scan of keys from {start} to {end}");
        Ok(())
    }

    /// The answers for several ranges come in no order.
    async fn check_ranges(&mut self) -> Result<(), Error> {
        let middle = key(self.letter, KEYS / 2);
        let (start, end) = (key(self.letter, 0), key(self.letter, KEYS));
        let ranges = [start.clone()..middle.clone(), middle..end.clone()];
        let found = sorted(self.client.batch_scan(ranges, SCAN_LIMIT).await?);
        assert_eq!(found, self.between(&start, &end), "scan of both halves of the span");
        Ok(())
    }

    async fn check_all(&mut self) -> Result<(), Error> {
        let (start, end) = (key(self.letter, 0), key(self.letter, KEYS));
        let found = self.client.scan(start.clone()..end.clone(), SCAN_LIMIT).await?;
        let found: Vec<_> = found.into_iter().map(pair).collect();
        assert_eq!(found, self.between(&start, &end), "scan of the whole span");
        Ok(())
    }

    fn between(&self, start: &str, end: &str) -> Vec<(String, String)> {
        let range = self.kept.range(start.to_owned()..end.to_owned());
        range.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn new_value(&mut self) -> String {
        self.written += 1;
        format!("{} of {}", self.written, self.letter)
    }

    fn some_key(&mut self) -> String {
        key(self.letter, self.rng.below(KEYS))
    }

    /// Keys that follow each other.
    fn some_keys(&mut self) -> Vec<String> {
        let first = self.rng.below(KEYS);
        let end = KEYS.min(first + 1 + self.rng.below(KEYS_PER_ACT));
        (first..end).map(|number| key(self.letter, number)).collect()
    }

    /// A range of at least one of the span's keys, at most so many.
    fn some_range(&mut self, most: u64) -> (String, String) {
        let first = self.rng.below(KEYS);
        let end = KEYS.min(first + 1 + self.rng.below(most));
        (key(self.letter, first), key(self.letter, end))
    }
}

fn sorted(pairs: Vec<KvPair>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = pairs.into_iter().map(pair).collect();
    pairs.sort();
    pairs
}

fn pair(pair: KvPair) -> (String, String) {
    (text(pair.key().clone().into()), text(pair.value().clone()))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
