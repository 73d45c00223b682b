//! Clients that read and write registers without a pause, and take down what they see.
//!
//! tikv-client sends a put again when its answer got lost, as it does when a store is killed: one call can then take effect
//! twice, and with another writer's value in between the first one comes back. No store could help that, so there are
//! two kinds of workers:
//!
//! - One half writes as programs do, with the client's repetitions, each to registers of its own. Nobody can tell twice from
//!   once there, unless something takes effect after its call has ended; and that nothing does is what is checked.
//! - The other half writes to registers that they share, and sends each write once. An error leaves its outcome unknown.
//!
//! Batches are another matter: where tikv-client 0.4 fails to look up the region of some keys, it drops them and calls the
//! batch written. Whoever takes the coordinator away has them written by our own client instead, once each. And its scans
//! are wrong in the last region, wherever that begins: whoever has regions split has them done by our own client, too.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::ScanOptions;
use sim::history::Moment;
use tikv_client::{Backoff, RawClient};
use tokio::task::JoinSet;
use types::KeyRange;
use types::seed::Rng;

use crate::history::{History, Operations};
use crate::support::wait::until;

/// Each owner has a register with each of these beginnings, so that they lie in all regions of
/// [`ClusterShape::default`](crate::support::ClusterShape).
const PREFIXES: [&str; 6] = ["a", "e", "i", "n", "s", "x"];
/// Owners of registers that belong to nobody: this many beyond the workers.
const SHARED_OWNERS: u64 = 4;
/// tikv-client's scans are reliable up to the last split key, and no further.
const SCAN_END: &str = "w";
/// More than there are registers.
const MAX_SCANNED: usize = 1000;
/// A client whose request failed at once does not flood the stores with further ones.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// How requests ended.
#[derive(Debug, Default)]
pub struct Counts {
    acknowledged_writes: AtomicU64,
    unknown_writes: AtomicU64,
    answered_reads: AtomicU64,
    failed_reads: AtomicU64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [writes, unknown, reads, failed] =
            [&self.acknowledged_writes, &self.unknown_writes, &self.answered_reads, &self.failed_reads]
                .map(|count| count.load(Ordering::Relaxed));
        write!(f, "{writes} writes acknowledged, {unknown} of unknown outcome; {reads} reads answered, {failed} failed")
    }
}

/// Clients at work. End them by [`finish`](Self::finish).
pub struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

struct Shared {
    /// How many owners of registers there are: the workers, and nobody.
    owners: u64,
    history: History,
    counts: Counts,
    is_over: AtomicBool,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Load {
    /// Starts `workers` workers on each of the clients. `batches`, which must not
    /// repeat writes of unknown outcome, writes their batches if they do not.
    pub fn start(clients: &[RawClient], workers: u64, batches: Option<&client::RawClient>) -> Self {
        Self::begin(clients, workers, batches, None)
    }

    /// The same for regions that come and go: `ours`, which must not repeat writes of unknown outcome, writes the batches
    /// and scans.
    pub fn start_on_moving_regions(clients: &[RawClient], workers: u64, ours: &client::RawClient) -> Self {
        Self::begin(clients, workers, Some(ours), Some(ours))
    }

    fn begin(
        clients: &[RawClient],
        workers: u64,
        batches: Option<&client::RawClient>,
        scans: Option<&client::RawClient>,
    ) -> Self {
        let shared = Arc::new(Shared {
            owners: clients.len() as u64 * workers + SHARED_OWNERS,
            history: History::default(),
            counts: Counts::default(),
            is_over: AtomicBool::new(false),
            errors: Mutex::default(),
        });
        let mut set = JoinSet::new();
        for (number, client) in clients.iter().enumerate() {
            for worker in 0..workers {
                let number = number as u64 * workers + worker;
                let worker = Worker {
                    number,
                    client: client.clone(),
                    batches: batches.cloned(),
                    scans: scans.cloned(),
                    writes_once: number % 2 == 1,
                    shared: Arc::clone(&shared),
                    rng: Rng::new(number),
                    written: 0,
                };
                set.spawn(worker.work());
            }
        }
        Self { shared, workers: set }
    }

    /// Waits until `count` further requests were answered.
    pub async fn progress(&self, count: u64) {
        let target = self.answered() + count;
        until("requests are answered", async || {
            let answered = self.answered();
            let last =
                || format!("{answered} of {target} were ({}); errors: {}", self.shared.counts, self.shared.errors());
            (answered >= target).then_some(()).ok_or_else(last)
        })
        .await;
    }

    fn answered(&self) -> u64 {
        let counts = &self.shared.counts;
        counts.acknowledged_writes.load(Ordering::Relaxed) + counts.answered_reads.load(Ordering::Relaxed)
    }

    /// Ends the workers, reads every register once more with a fresh client, and gives what was seen.
    pub async fn finish(mut self, fresh: &RawClient) -> Finished {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.expect("a worker does not panic");
        }
        for register in self.shared.registers() {
            let begin = self.shared.history.begin();
            let value = fresh.get(register.clone()).await.expect("the cluster serves at the end");
            self.shared.history.read(begin, [(register, value.map(text))]);
        }
        let errors = self.shared.errors();
        let shared = Arc::into_inner(self.shared).expect("the workers have ended");
        Finished { operations: shared.history.into_operations(), counts: shared.counts, errors }
    }
}

/// What a load saw.
pub struct Finished {
    pub operations: Operations,
    pub counts: Counts,
    /// The client's errors, each with how often it came.
    pub errors: String,
}

impl Shared {
    fn registers(&self) -> impl Iterator<Item = String> + use<> {
        let owners = self.owners;
        PREFIXES.iter().flat_map(move |prefix| (0..owners).map(move |owner| register(prefix, owner)))
    }

    fn errors(&self) -> String {
        let errors = self.errors.lock().unwrap();
        errors.iter().map(|(error, count)| format!("\n  {count} × {error}")).collect()
    }

    async fn failed(&self, count: &AtomicU64, error: &impl fmt::Display) {
        count.fetch_add(1, Ordering::Relaxed);
        // The first line's beginning tells kinds apart; whole messages hold keys and addresses.
        let kind: String = error.to_string().chars().take(80).collect();
        *self.errors.lock().unwrap().entry(kind).or_default() += 1;
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}

struct Worker {
    number: u64,
    client: RawClient,
    /// Who writes its batches, if not the client.
    batches: Option<client::RawClient>,
    /// Who scans for it, if not the client.
    scans: Option<client::RawClient>,
    /// Whether it sends each write once, to registers that others write too.
    writes_once: bool,
    shared: Arc<Shared>,
    rng: Rng,
    written: u64,
}

impl Worker {
    async fn work(mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            match self.rng.below(20) {
                0..9 => self.put().await,
                9..12 => self.batch_put().await,
                12..17 => self.get().await,
                17..19 => self.batch_get().await,
                _ => self.scan().await,
            }
        }
    }

    /// A value that nobody else writes: it names its writer, and the writer numbers its values.
    fn new_value(&mut self, register: &str) -> String {
        self.written += 1;
        format!("{register}/{}.{}", self.number, self.written)
    }

    /// A register of this owner.
    fn some_register(&mut self, owner: u64) -> String {
        register(PREFIXES[self.rng.below(PREFIXES.len() as u64) as usize], owner)
    }

    /// Whose registers it writes next.
    fn target(&mut self) -> u64 {
        if self.writes_once { self.shared.owners - 1 - self.rng.below(SHARED_OWNERS) } else { self.number }
    }

    /// The client for writes.
    fn writer(&self) -> RawClient {
        if self.writes_once { self.client.with_backoff(Backoff::no_backoff()) } else { self.client.clone() }
    }

    fn anybody(&mut self) -> u64 {
        self.rng.below(self.shared.owners)
    }

    async fn put(&mut self) {
        let target = self.target();
        let register = self.some_register(target);
        let value = self.new_value(&register);
        let begin = self.shared.history.begin();
        let result = self.writer().put(register.clone(), value.clone()).await;
        self.wrote(begin, vec![(register, value)], result).await;
    }

    /// Writes a register in each region. The batch is not atomic: each of its writes stands for itself.
    async fn batch_put(&mut self) {
        let target = self.target();
        let registers = PREFIXES.map(|prefix| register(prefix, target));
        let pairs: Vec<_> =
            registers.into_iter().map(|register| (register.clone(), self.new_value(&register))).collect();
        let begin = self.shared.history.begin();
        match &self.batches {
            Some(ours) => {
                let result = ours.batch_put(pairs.clone()).await;
                self.wrote(begin, pairs, result).await;
            }
            None => {
                let result = self.writer().batch_put(pairs.clone()).await;
                self.wrote(begin, pairs, result).await;
            }
        }
    }

    async fn wrote(&self, begin: Moment, pairs: Vec<(String, String)>, result: Result<(), impl fmt::Display>) {
        let counts = &self.shared.counts;
        self.shared.history.wrote(begin, pairs, result.is_ok());
        let Err(error) = result else {
            counts.acknowledged_writes.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.shared.failed(&counts.unknown_writes, &error).await;
        if self.writes_once {
            // Without repetitions the client never learns that a leader has moved; reads with them teach it.
            let _ = self.client.batch_get(self.shared.registers().collect::<Vec<_>>()).await;
        }
    }

    async fn get(&mut self) {
        let owner = self.anybody();
        let register = self.some_register(owner);
        let begin = self.shared.history.begin();
        let result = self.client.get(register.clone()).await;
        let seen = result.map(|value| value.map(|value| (register.clone(), text(value))).into_iter().collect());
        self.read(begin, [register], seen).await;
    }

    async fn batch_get(&mut self) {
        let owner = self.anybody();
        let registers = PREFIXES.map(|prefix| register(prefix, owner));
        let begin = self.shared.history.begin();
        let result = self.client.batch_get(registers.clone()).await;
        self.read(begin, registers, result.map(by_key)).await;
    }

    async fn scan(&mut self) {
        let scanned = |end: &'static str| self.shared.registers().filter(move |register| register.as_str() < end);
        let begin = self.shared.history.begin();
        match &self.scans {
            Some(ours) => {
                let result = ours.scan(KeyRange::new("a", "z"), MAX_SCANNED, ScanOptions::default()).await;
                let pairs = |pairs: Vec<(Bytes, Bytes)>| {
                    pairs.into_iter().map(|(key, value)| (text(key.into()), text(value.into()))).collect()
                };
                self.read(begin, scanned("z"), result.map(pairs)).await;
            }
            None => {
                let result = self.client.scan("a".to_owned()..SCAN_END.to_owned(), MAX_SCANNED as u32).await;
                self.read(begin, scanned(SCAN_END), result.map(by_key)).await;
            }
        }
    }

    /// Takes down what was read of `registers`; one without a value is not there.
    async fn read(
        &self,
        begin: Moment,
        registers: impl IntoIterator<Item = String>,
        result: Result<BTreeMap<String, String>, impl fmt::Display>,
    ) {
        let counts = &self.shared.counts;
        match result {
            Ok(mut seen) => {
                let values = registers.into_iter().map(|register| {
                    let value = seen.remove(&register);
                    (register, value)
                });
                self.shared.history.read(begin, values.collect::<Vec<_>>());
                counts.answered_reads.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.shared.failed(&counts.failed_reads, &error).await,
        }
    }
}

fn by_key(pairs: Vec<tikv_client::KvPair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (text(pair.key().clone().into()), text(pair.value().clone()))).collect()
}

fn register(prefix: &str, owner: u64) -> String {
    format!("{prefix}-{owner}")
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8_lossy(&value).into_owned()
}
