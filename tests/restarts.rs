//! Processes that are killed and come back: what was acknowledged is there, and what must go on goes on.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use client::{Checksum, ScanOptions};
use support::process::Process;
use support::wait::{PATIENCE, until};
use support::{Cluster, ClusterShape, run};
use tikv_client::{RawClient, TransactionClient};
use tokio::task::JoinSet;
use tokio::time::timeout;
use types::KeyRange;

/// A key of each region of the default shape.
const ONE_OF_EACH_REGION: [&str; 6] = ["a", "e", "i", "n", "s", "x"];

/// The stores flush their state engines at no time of their own: what they apply is lost by a kill, and is replayed.
fn never_flushed() -> ClusterShape {
    ClusterShape::default()
        .setting("RAFTSTORE__MAX_UNFLUSHED_AGE_MS", 3_600_000)
        .setting("RAFTSTORE__MAX_UNFLUSHED_LOG_BYTES", 1_u64 << 40)
}

async fn everything(cluster: &Cluster) -> BTreeMap<String, String> {
    let client = cluster.raw_client().await;
    let pairs = client.scan(KeyRange::new("", ""), usize::MAX, ScanOptions::default()).await.unwrap();
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    pairs.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

async fn checksum(cluster: &Cluster) -> Checksum {
    cluster.raw_client().await.checksum(KeyRange::new("", "")).await.unwrap()
}

async fn kill_and_restart_all(cluster: &mut Cluster) {
    cluster.stores.iter_mut().for_each(Process::kill);
    cluster.stores.iter_mut().for_each(Process::start);
    cluster.ready().await;
}

/// How many commands each store has executed since it was started.
async fn executed(cluster: &Cluster) -> Vec<f64> {
    let mut executed = Vec::new();
    for store in 0..cluster.stores.len() {
        executed.push(cluster.metric(store, "raftyard_apply_command_total").await);
    }
    executed
}

#[test]
fn what_was_acknowledged_survives_the_death_of_all_stores() {
    run(async {
        let mut cluster = Cluster::start(never_flushed()).await;
        let client = cluster.tikv_client().await;
        let count = Arc::new(AtomicU64::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for writer in 0..32 {
            writers.spawn(write_until_failure(writer, client.clone(), Arc::clone(&count), Arc::clone(&is_over)));
        }
        until("writes are acknowledged", async || {
            let count = count.load(Ordering::Relaxed);
            (count >= 3000).then_some(()).ok_or_else(|| format!("{count} were"))
        })
        .await;
        // In the middle of the writes.
        cluster.stores.iter_mut().for_each(Process::kill);
        is_over.store(true, Ordering::Relaxed);
        let (mut acknowledged, mut unknown) = (BTreeMap::new(), BTreeMap::new());
        while let Some(written) = writers.join_next().await {
            let written = written.expect("a writer does not panic");
            acknowledged.extend(written.acknowledged);
            unknown.extend(written.unknown);
        }
        println!("{} writes acknowledged, {} of unknown outcome", acknowledged.len(), unknown.len());

        cluster.stores.iter_mut().for_each(Process::start);
        cluster.ready().await;
        let found = everything(&cluster).await;
        let lost: Vec<_> = acknowledged.iter().filter(|(key, value)| found.get(*key) != Some(value)).collect();
        assert!(lost.is_empty(), "{} of {} acknowledged writes are lost: {lost:?}", lost.len(), acknowledged.len());
        let known =
            |key: &String, value: &String| acknowledged.get(key) == Some(value) || unknown.get(key) == Some(value);
        let phantoms: Vec<_> = found.iter().filter(|(key, value)| !known(key, value)).collect();
        assert!(phantoms.is_empty(), "nobody wrote {phantoms:?}");
        cluster.assert_no_panic();
    });
}

#[derive(Default)]
struct Written {
    acknowledged: BTreeMap<String, String>,
    unknown: BTreeMap<String, String>,
}

async fn write_until_failure(
    writer: u64,
    client: RawClient,
    count: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) -> Written {
    let mut written = Written::default();
    for number in 0_u64.. {
        let region = ONE_OF_EACH_REGION[(number % 6) as usize];
        let (key, value) = (format!("{region}/{writer}/{number}"), format!("{writer}.{number}"));
        match client.put(key.clone(), value.clone()).await {
            Ok(()) => {
                written.acknowledged.insert(key, value);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => drop(written.unknown.insert(key, value)),
        }
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    written
}

#[test]
fn a_store_whose_state_engine_fell_back_replays_its_log() {
    run(async {
        let mut cluster = Cluster::start(never_flushed()).await;
        let client = cluster.tikv_client().await;
        for region in ONE_OF_EACH_REGION {
            let pairs = (0..100).map(|number| (format!("{region}{number:03}"), format!("{region} {number}")));
            client.batch_put(pairs).await.unwrap();
            client.delete(format!("{region}007")).await.unwrap();
            client.delete_range(format!("{region}020")..format!("{region}040")).await.unwrap();
            let atomic = client.with_atomic_for_cas();
            let swapped = atomic.compare_and_swap(format!("{region}swap"), None, "swapped".to_owned()).await.unwrap();
            assert_eq!(swapped, (None, true));
        }
        cluster.caught_up().await;
        let before = (everything(&cluster).await, checksum(&cluster).await);
        assert_eq!(before.0.len(), 6 * 80);
        let executed_before = executed(&cluster).await;

        kill_and_restart_all(&mut cluster).await;
        cluster.caught_up().await;
        assert_eq!((everything(&cluster).await, checksum(&cluster).await), before);
        // Nobody has written since the restart, so every command was executed from the log, on every store.
        let replayed = executed(&cluster).await;
        println!("executed before: {executed_before:?}; replayed: {replayed:?}");
        for (store, (replayed, before)) in replayed.iter().zip(&executed_before).enumerate() {
            assert!(replayed >= before && *before > 0.0, "store {store} replayed {replayed} of {before} commands");
        }
        cluster.assert_no_panic();
    });
}

#[test]
fn a_gracefully_stopped_store_has_nothing_to_replay() {
    run(async {
        let mut cluster = Cluster::start(never_flushed()).await;
        let client = cluster.tikv_client().await;
        for region in ONE_OF_EACH_REGION {
            client.put(region.to_owned(), "value".to_owned()).await.unwrap();
        }
        cluster.caught_up().await;
        let before = everything(&cluster).await;
        let ended = cluster.stores[0].stop().await;
        assert!(ended.status.success(), "it ended with {}:\n{}", ended.status, ended.log);
        cluster.leaders_known().await;
        assert_eq!(everything(&cluster).await, before, "the others serve on");
        cluster.restart(0).await;
        cluster.caught_up().await;
        assert_eq!(cluster.metric(0, "raftyard_apply_command_total").await, 0.0, "it had everything on disk");
        assert_eq!(everything(&cluster).await, before);
        cluster.assert_no_panic();
    });
}

#[test]
fn writes_go_on_without_the_coordinator() {
    run(async {
        let mut cluster = Cluster::start(ClusterShape::default()).await;
        let client = cluster.tikv_client().await;
        // From here on the client knows every region and has a connection to each leader.
        for region in ONE_OF_EACH_REGION {
            client.put(region.to_owned(), "before".to_owned()).await.unwrap();
        }
        let before = timestamps(&cluster).await;
        cluster.coordinator.kill();
        for number in 0..300 {
            let region = ONE_OF_EACH_REGION[number % 6];
            let result = client.put(format!("{region}{number}"), "meanwhile".to_owned()).await;
            result.unwrap_or_else(|error| panic!("write {number} without the coordinator: {error}"));
        }

        cluster.coordinator.start();
        cluster.ready().await;
        let after = timestamps(&cluster).await;
        assert!(before.1 < after.0, "timestamps went back over a restart: {before:?}, then {after:?}");
        let fresh = cluster.tikv_client().await;
        for number in 0..300 {
            let region = ONE_OF_EACH_REGION[number % 6];
            let value = fresh.get(format!("{region}{number}")).await.unwrap();
            assert_eq!(value.as_deref(), Some(&b"meanwhile"[..]), "write {number}");
        }
        cluster.assert_no_panic();
    });
}

/// The first and the last of some timestamps, which must grow.
async fn timestamps(cluster: &Cluster) -> (u64, u64) {
    let client = TransactionClient::new(cluster.endpoints()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..100 {
        let timestamp = client.current_timestamp().await.unwrap();
        seen.push(((timestamp.physical as u64) << 18) | timestamp.logical as u64);
    }
    assert!(seen.is_sorted_by(|earlier, later| earlier < later), "timestamps went back: {seen:?}");
    (seen[0], seen[99])
}

#[test]
fn a_killed_leader_is_replaced_before_clients_give_up() {
    run(async {
        let mut cluster = Cluster::start(ClusterShape::default()).await;
        let client = cluster.tikv_client().await;
        let (mut writes, mut failures) = (0, Vec::new());
        for round in 0..3 {
            // The client has a connection to every store and knows every leader.
            for region in ONE_OF_EACH_REGION {
                client.put(region.to_owned(), format!("before {round}")).await.unwrap();
            }
            let leaders = cluster.leaders().await;
            let led = |store: usize| leaders.iter().filter(move |(_, leader)| *leader == store);
            let victim = (0..3).max_by_key(|store| led(*store).count()).unwrap();
            cluster.stores[victim].kill();
            let mut puts = JoinSet::new();
            for (range, _) in led(victim) {
                let region = ONE_OF_EACH_REGION.into_iter().find(|key| range.contains(key.as_bytes())).unwrap();
                let client = client.clone();
                puts.spawn(async move { client.put(region.to_owned(), format!("after {round}")).await });
            }
            while let Some(put) = timeout(PATIENCE, puts.join_next()).await.expect("puts end") {
                writes += 1;
                failures.extend(put.expect("a put does not panic").err().map(|error| error.to_string()));
            }
            cluster.leaders_known().await;
            cluster.restart(victim).await;
            cluster.caught_up().await;
        }
        println!(
            "{writes} writes to regions whose leader was killed just before, {} failed: {failures:?}",
            failures.len()
        );
        assert!(failures.is_empty(), "{} of {writes} writes failed: {failures:?}", failures.len());
        cluster.assert_no_panic();
    });
}
