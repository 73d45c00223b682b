//! Three store processes and a coordinator with real disks, under SIGKILL, SIGSTOP and broken connections, while TiKV's
//! client works on them. A plan drawn from a seed disturbs them; then everything is healed, and
//!
//! - every process runs on, no process has panicked or given up, and all regions serve,
//! - the history of what the clients saw is linearizable, compare-and-swap has counted right, timestamps have only grown,
//! - everything that was acknowledged is there, nothing that nobody wrote,
//! - and all stores hold the same on disk.
//!
//! The seed decides the faults, their times and the cluster's settings. It does not decide how threads and packets fall,
//! so that a failure comes back with its seed often, not always.
//!
//! `CHAOS_SEED` gives the first seed, `CHAOS_MINUTES` lets rounds of ever new seeds follow each other, `CHAOS_NETWORK` is
//! the only network to use (`proxies` or `namespaces`, which then must be possible).
//!
//! Reading order: this file, [`plan`], [`disturber`], [`network`], then the two networks and what is checked.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/contents.rs"]
mod contents;
#[path = "../support/counter.rs"]
mod counter;
mod disturber;
#[path = "../support/history.rs"]
mod history;
#[path = "../support/ledger.rs"]
mod ledger;
#[path = "../support/load.rs"]
mod load;
mod namespaces;
mod network;
mod plan;
mod probes;
mod proxies;
#[path = "../support/mod.rs"]
mod support;
mod timestamps;

use std::env;
use std::time::{Duration, Instant};

use contents::Contents;
use counter::count;
use disturber::Disturber;
use ledger::Ledger;
use load::Load;
use namespaces::Namespaces;
use network::Network;
use probes::Probes;
use proxies::Proxies;
use runtime::clock::entropy_seed;
use runtime::spawn::{Spawner, ThreadSpawner};
use support::process::Process;
use support::{ClusterShape, run_within};
use timestamps::Timestamps;
use types::ColumnFamily;
use types::seed::Rng;

const STORES: usize = 3;
/// How long a round is disturbed.
const LENGTH: Duration = Duration::from_secs(25);
/// Only a round that hangs takes longer.
const ROUND_BOUND: Duration = Duration::from_secs(480);
/// Requests that are answered after the disturbance, before it is looked at what was seen.
const REQUESTS_AFTER: u64 = 500;

#[test]
fn behind_proxies() {
    rounds("proxies", || Ok(Box::new(Proxies::default())));
}

#[test]
fn in_namespaces() {
    // A thread of its own, which takes the namespace of the test with it when it ends.
    let work = || rounds("namespaces", || Ok(Box::new(Namespaces::enter(STORES)?)));
    let inside = ThreadSpawner.spawn("in-namespaces", Box::new(work)).unwrap();
    assert!(inside.join(), "the thread of the test has panicked");
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name} is {text:?}: {error}")))
}

/// One round, or as many as begin before the time that was asked for is over, each in a fresh network.
fn rounds(name: &str, network: impl Fn() -> Result<Box<dyn Network>, String>) {
    let only = env::var("CHAOS_NETWORK").ok();
    if only.as_deref().is_some_and(|only| only != name) {
        return;
    }
    let first = number("CHAOS_SEED").unwrap_or_else(|| entropy_seed() >> 32);
    let share = if only.is_some() { 1 } else { 2 };
    let length = Duration::from_secs(number("CHAOS_MINUTES").unwrap_or(0) * 60 / share);
    let begin = Instant::now();
    for seed in first.. {
        let network = match network() {
            Ok(network) => network,
            Err(reason) if only.is_some() => panic!("{reason}"),
            Err(reason) => return println!("skipped: {reason}"),
        };
        println!("CHAOS_SEED={seed} CHAOS_NETWORK={name}");
        run_within(ROUND_BOUND, round(seed, network));
        if begin.elapsed() >= length {
            break;
        }
    }
}

async fn round(seed: u64, network: Box<dyn Network>) {
    let steps = plan::draw(seed, LENGTH, STORES, network.abilities());
    let shape = shape(seed);
    println!("settings: {:?}", shape.settings);
    steps.iter().for_each(|step| println!("{step}"));

    let mut disturber = Disturber::start(shape, network).await;
    let clients = [disturber.cluster.tikv_client().await, disturber.cluster.tikv_client().await];
    let ours = disturber.cluster.raw_client_that_writes_once().await;
    let load = Load::start(&clients, 4, Some(&ours));
    let ledger = Ledger::start(&clients[0], 6);
    let probes = Probes::start(&disturber.cluster).await;
    let timestamps = Timestamps::start(disturber.cluster.endpoints(), 2);
    let counter = clients[1].clone();
    let counting = tokio::spawn(async move { count(&counter, "n/counter", 4, 30).await });
    disturber.disturb(&steps).await;

    let mut cluster = disturber.cluster;
    cluster.ready().await;
    load.progress(REQUESTS_AFTER).await;
    let finished = load.finish(&cluster.tikv_client().await).await;
    let page = ledger.finish().await;
    let [acknowledged, unknown] = page.counts();
    println!("{}; errors: {}", finished.counts, finished.errors);
    println!("the ledger: {acknowledged} writes acknowledged, {unknown} of unknown outcome");
    let (probed, answered) = probes.finish().await;
    println!("{answered} probes answered");
    println!("{} timestamps", timestamps.finish().await);
    println!("the counter: {:?}", counting.await.expect("the counter is right"));
    history::check(&finished.operations).unwrap_or_else(|found| panic!("{found}"));
    history::check(&probed).unwrap_or_else(|found| panic!("probes: {found}"));

    cluster.caught_up().await;
    page.check(&page.read(&cluster.raw_client().await).await).unwrap_or_else(|found| panic!("clients see: {found}"));
    cluster.assert_no_panic();
    cluster.stores.iter().for_each(Process::terminate);
    for store in &mut cluster.stores {
        let ended = store.end().await;
        assert!(ended.status.success(), "{} ended with {}:\n{}", store.name, ended.status, ended.log);
    }
    let contents: Vec<_> = cluster.stores.iter().map(Contents::of).collect();
    for (store, other) in cluster.stores.iter().zip(&contents).skip(1) {
        let (first, second) = (&cluster.stores[0].name, &store.name);
        contents[0].check_same(other).unwrap_or_else(|found| panic!("{first} and {second} differ: {found}"));
    }
    page.check(&contents[0].family(ColumnFamily::Write)).unwrap_or_else(|found| panic!("the disks hold: {found}"));
    println!("every store holds the same {} keys", contents[0].keys());
}

/// A cluster whose settings make it flush, compact and delete all the time, or hardly ever.
fn shape(seed: u64) -> ClusterShape {
    let mut rng = Rng::new(!seed);
    let mut one_of = |values: &[u64]| values[rng.below(values.len() as u64) as usize];
    ClusterShape::default()
        .setting("RAFTSTORE__RAFT_POLLERS", one_of(&[1, 2]))
        .setting("RAFTSTORE__APPLY_POLLERS", one_of(&[1, 2]))
        .setting("RAFTSTORE__LOG_WRITER_THREAD", one_of(&[0, 1]) == 1)
        .setting("RAFTSTORE__COMPACT_ENTRIES", one_of(&[16, 128, 1024]))
        .setting("RAFTSTORE__MAX_UNFLUSHED_AGE_MS", one_of(&[300, 2_000, 600_000]))
        .setting("RAFTSTORE__MAX_UNFLUSHED_LOG_BYTES", one_of(&[256 << 10, 4 << 20, 1 << 40]))
        .setting("LOG_ENGINE__MEMTABLE_BYTES", one_of(&[1 << 20, 64 << 20]))
        .setting("STATE_ENGINE__MEMTABLE_BYTES", one_of(&[1 << 20, 16 << 20]))
}
