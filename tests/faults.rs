//! Disks that fill up, and data directories that do not belong where they are given: the process that is concerned stops
//! and says what to do, the others go on.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use client::ScanOptions;
use support::process::{Ended, Limits, Process};
use support::{Cluster, ClusterShape, run};
use tokio::task::JoinSet;
use types::KeyRange;

/// How large a file may get in the store whose disk fills up: its log gets there by a few hundred writes.
const FILE_BYTES: u64 = 4 << 20;
const VALUE_BYTES: usize = 16 << 10;
/// More writes than fill the log up. The store may get them late: a majority does without it.
const ENOUGH_WRITES: u64 = 640;

/// A value that can be told from every other.
fn value(number: u64) -> String {
    format!("{number}/").repeat(VALUE_BYTES / 4)
}

fn key(number: u64) -> String {
    let region = ["a", "e", "i", "n", "s", "x"][(number % 6) as usize];
    format!("{region}{number:05}")
}

#[test]
fn a_store_with_a_full_disk_stops_and_the_others_go_on() {
    run(async {
        let mut cluster = Cluster::start(ClusterShape::default()).await;
        cluster.stores[0].kill();
        cluster.leaders_known().await;
        cluster.restart_with(0, Limits { file_bytes: Some(FILE_BYTES) }).await;

        let client = cluster.tikv_client().await;
        let mut acknowledged = BTreeMap::new();
        let mut unknown = 0;
        let mut next = 0;
        while next < ENOUGH_WRITES {
            let mut puts = JoinSet::new();
            for number in next..next + 16 {
                let client = client.clone();
                puts.spawn(async move { (number, client.put(key(number), value(number)).await) });
            }
            next += 16;
            while let Some(put) = puts.join_next().await {
                match put.expect("a put does not panic") {
                    (number, Ok(())) => drop(acknowledged.insert(key(number), value(number))),
                    (_, Err(_)) => unknown += 1,
                }
            }
        }
        let ended = cluster.stores[0].end().await;
        println!("the store ended with {} after {next} writes, {unknown} of unknown outcome", ended.status);
        let told = last_words(&ended);
        println!("it said: {told}");
        assert!(ended.status.code().is_some_and(|code| code != 0), "it ended with {}", ended.status);
        assert!(told.starts_with("raftyard: the store cannot go on"), "{told}");
        assert!(told.contains("File too large"), "it does not say why: {told}");
        assert!(told.contains("disk"), "it does not say what to do: {told}");

        cluster.leaders_known().await;
        for number in next..next + 60 {
            let put = client.put(key(number), value(number)).await;
            put.unwrap_or_else(|error| panic!("write {number} while one store is down: {error}"));
            acknowledged.insert(key(number), value(number));
        }

        cluster.restart(0).await;
        cluster.leaders_known().await;
        cluster.caught_up().await;
        let reader = cluster.raw_client().await;
        let pairs = reader.scan(KeyRange::new("", ""), usize::MAX, ScanOptions::default()).await.unwrap();
        let found: BTreeMap<_, _> = pairs.into_iter().collect();
        let lost = |(key, value): &(&String, &String)| {
            found.get(key.as_bytes()).is_none_or(|found| found[..] != *value.as_bytes())
        };
        let lost: Vec<_> = acknowledged.iter().filter(lost).map(|(key, _)| key).collect();
        assert!(lost.is_empty(), "{} of {} acknowledged writes are lost: {lost:?}", lost.len(), acknowledged.len());
        cluster.assert_no_panic();
    });
}

/// The line that the process ended with.
fn last_words(ended: &Ended) -> String {
    let told = ended.log.lines().rev().find(|line| line.starts_with("raftyard:"));
    told.unwrap_or_else(|| panic!("it ended with {} and without a word:\n{}", ended.status, ended.log)).to_owned()
}

/// The smallest cluster.
fn single() -> ClusterShape {
    ClusterShape { stores: 1, split_keys: vec!["m".to_owned()], ..ClusterShape::default() }
}

/// Starts a process that shall refuse to run, and gives what it said.
async fn refusal(mut process: Process) -> String {
    process.start();
    let ended = process.end().await;
    assert!(ended.status.code().is_some_and(|code| code != 0), "{} ended with {}", process.name, ended.status);
    process.assert_no_panic();
    last_words(&ended)
}

/// A further process with the data directory of another.
fn at(name: &str, command: &'static str, dir: &Path, data_dir: &Path) -> Process {
    let mut process = Process::new(name, command, dir);
    process.data_dir = data_dir.to_owned();
    process
}

#[test]
fn a_data_directory_of_somebody_else_is_refused() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (mut ours, theirs) = (Cluster::start(single()).await, Cluster::start(single()).await);
        let store = ours.stores[0].data_dir.clone();
        let server = |name, data_dir: &Path, cluster: &Cluster| {
            at(name, "server", dir.path(), data_dir).flag("--pd-endpoints", &cluster.coordinator.address)
        };

        let told = refusal(server("second", &store, &ours)).await;
        assert!(told.contains("another process") && told.contains(&*store.to_string_lossy()), "{told}");

        ours.stores[0].kill();
        let told = refusal(server("stranger", &store, &theirs)).await;
        assert!(told.contains("belongs to cluster") && told.contains("choose another data directory"), "{told}");

        // A coordinator's directory is no store's, and the other way round, though both hold engines.
        ours.coordinator.kill();
        let told = refusal(at("store-as-coordinator", "coordinator", dir.path(), &store)).await;
        assert!(told.contains("data of a store, not of a coordinator"), "{told}");
        let told = refusal(server("coordinator-as-store", &ours.coordinator.data_dir, &theirs)).await;
        assert!(told.contains("data of a coordinator, not of a store"), "{told}");
        ours.coordinator.start();
        ours.coordinator.ready().await;

        // All of that changed nothing.
        ours.restart(0).await;
        ours.leaders_known().await;
        ours.tikv_client().await.put("key".to_owned(), "value".to_owned()).await.unwrap();
    });
}

#[test]
fn a_data_directory_of_a_newer_format_is_refused() {
    run(async {
        let mut cluster = Cluster::start(single()).await;
        let client = cluster.tikv_client().await;
        client.put("key".to_owned(), "value".to_owned()).await.unwrap();
        cluster.stores[0].kill();
        // Version 2 of either engine's FORMAT file, with its checksum.
        for (engine, newer) in [("log", *b"\x02\x01\x04\xe8\x40\xeb"), ("state", *b"\x02\x02\x9d\xe1\x11\x51")] {
            let path = cluster.stores[0].data_dir.join(engine).join("FORMAT");
            let current = fs::read(&path).unwrap();
            fs::write(&path, newer).unwrap();
            cluster.stores[0].start();
            let ended = cluster.stores[0].end().await;
            let told = last_words(&ended);
            assert!(ended.status.code().is_some_and(|code| code != 0), "it ended with {}", ended.status);
            assert!(told.contains("version 2") && told.contains("newer build"), "{told}");
            fs::write(&path, current).unwrap();
        }
        cluster.restart(0).await;
        cluster.leaders_known().await;
        assert_eq!(client.get("key".to_owned()).await.unwrap(), Some(b"value".to_vec()));
        cluster.assert_no_panic();
    });
}
