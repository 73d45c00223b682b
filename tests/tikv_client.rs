//! The client crate of the TiKV project, as it is published, against three store processes and a coordinator process.
//!
//! What its own scans cannot do reliably (an open end, an end behind the last region's start, backwards), and what it has
//! no call for (checksums), is asked by the client over our own stubs.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/counter.rs"]
mod counter;
#[path = "support/history.rs"]
mod history;
#[path = "tikv_client/keeper.rs"]
mod keeper;
#[path = "support/load.rs"]
mod load;
#[path = "moves/placement.rs"]
mod placement;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::ScanOptions;
use counter::{Contention, count};
use keeper::Keepers;
use load::Load;
use placement::Placement;
use runtime::clock::entropy_seed;
use support::{Cluster, ClusterShape, run};
use tikv_client::{ColumnFamily, KvPair, RawClient};
use types::KeyRange;
use types::seed::Rng;

/// Keys of every region of the default shape, each with a value of its own.
fn pairs() -> BTreeMap<String, String> {
    let letters = 'a'..='z';
    letters
        .flat_map(|letter| {
            (0..10).map(move |number| (format!("{letter}{number}"), format!("value of {letter}{number}")))
        })
        .collect()
}

fn texts(pairs: Vec<KvPair>) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    pairs.into_iter().map(|pair| (text(pair.key().clone().into()), text(pair.value().clone()))).collect()
}

fn between(pairs: &BTreeMap<String, String>, start: &str, end: &str) -> Vec<(String, String)> {
    pairs.range(start.to_owned()..end.to_owned()).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn every_raw_operation() {
    run(async {
        let cluster = Cluster::start(ClusterShape::default()).await;
        let client = cluster.tikv_client().await;
        single_keys(&client).await;
        column_families(&client).await;
        batches_and_scans(&client).await;
        what_only_our_client_asks(&cluster).await;
        delete_ranges(&client).await;
        compare_and_swap(&client).await;
        time_to_live(&client).await;
        cluster.assert_no_panic();
    });
}

async fn single_keys(client: &RawClient) {
    assert_eq!(client.get("absent".to_owned()).await.unwrap(), None);
    client.put("key".to_owned(), "one".to_owned()).await.unwrap();
    client.put("key".to_owned(), "two".to_owned()).await.unwrap();
    assert_eq!(client.get("key".to_owned()).await.unwrap(), Some(b"two".to_vec()));
    client.delete("key".to_owned()).await.unwrap();
    client.delete("key".to_owned()).await.unwrap();
    assert_eq!(client.get("key".to_owned()).await.unwrap(), None);
    // An empty value is a value, and any bytes are a key.
    let odd = vec![0, 255, b'd', 0];
    client.put(odd.clone(), Vec::new()).await.unwrap();
    assert_eq!(client.get(odd.clone()).await.unwrap(), Some(Vec::new()));
    client.delete(odd).await.unwrap();
}

async fn column_families(client: &RawClient) {
    let [default, write] = [ColumnFamily::Default, ColumnFamily::Write].map(|family| client.with_cf(family));
    default.put("family".to_owned(), "default".to_owned()).await.unwrap();
    write.put("family".to_owned(), "write".to_owned()).await.unwrap();
    default.delete("family".to_owned()).await.unwrap();
    assert_eq!(default.get("family".to_owned()).await.unwrap(), None);
    assert_eq!(write.get("family".to_owned()).await.unwrap(), Some(b"write".to_vec()));
    write.delete("family".to_owned()).await.unwrap();
}

async fn batches_and_scans(client: &RawClient) {
    let pairs = pairs();
    client.batch_put(pairs.clone()).await.unwrap();
    let keys = ["a0", "d0", "gg", "h5", "m0", "w9", "z9"];
    let mut got = texts(client.batch_get(keys.map(String::from)).await.unwrap());
    got.sort();
    let wanted: Vec<_> =
        keys.iter().filter(|key| **key != "gg").map(|key| ((*key).to_owned(), pairs[*key].clone())).collect();
    assert_eq!(got, wanted);

    // Over all borders, up to the last split key.
    let scanned = texts(client.scan("a".to_owned().."w".to_owned(), 1000).await.unwrap());
    assert_eq!(scanned, between(&pairs, "a", "w"));
    // From within a region to within another, with a limit that ends in a third.
    let scanned = texts(client.scan("c5".to_owned().."s2".to_owned(), 1000).await.unwrap());
    assert_eq!(scanned, between(&pairs, "c5", "s2"));
    let scanned = texts(client.scan("c5".to_owned().."s2".to_owned(), 57).await.unwrap());
    assert_eq!(scanned, between(&pairs, "c5", "s2")[..57]);
    let keys = client.scan_keys("c5".to_owned().."s2".to_owned(), 57).await.unwrap();
    let keys: Vec<_> = keys.into_iter().map(Vec::<u8>::from).collect();
    let wanted: Vec<_> = between(&pairs, "c5", "s2")[..57].iter().map(|(key, _)| key.clone().into_bytes()).collect();
    assert_eq!(keys, wanted);
    assert_eq!(texts(client.scan("b0".to_owned().."b0".to_owned(), 10).await.unwrap()), []);

    client.batch_delete(["a0", "h5", "absent"].map(String::from)).await.unwrap();
    assert_eq!(client.batch_get(["a0", "h5"].map(String::from)).await.unwrap(), []);
    client
        .batch_put([("a0", &pairs["a0"]), ("h5", &pairs["h5"])].map(|(key, value)| (key.to_owned(), value.clone())))
        .await
        .unwrap();
}

/// Scans backwards and without an end, and checksums.
async fn what_only_our_client_asks(cluster: &Cluster) {
    let pairs = pairs();
    let client = cluster.raw_client().await;
    let text = |pairs: Vec<(bytes::Bytes, bytes::Bytes)>| -> Vec<(String, String)> {
        let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        pairs.into_iter().map(|(key, value)| (text(key), text(value))).collect()
    };
    let all: Vec<_> = pairs.clone().into_iter().collect();
    let everything = KeyRange::new("", "");
    let forward = ScanOptions::default();
    let reverse = ScanOptions { reverse: true, ..forward };
    assert_eq!(text(client.scan(everything.clone(), usize::MAX, forward).await.unwrap()), all);
    assert_eq!(text(client.scan(KeyRange::new("v5", ""), 20, forward).await.unwrap()), between(&pairs, "v5", "x5"));
    let mut backwards = all.clone();
    backwards.reverse();
    assert_eq!(text(client.scan(everything.clone(), usize::MAX, reverse).await.unwrap()), backwards);
    let mut part = between(&pairs, "c5", "s2");
    part.reverse();
    assert_eq!(text(client.scan(KeyRange::new("c5", "s2"), 1000, reverse).await.unwrap()), part);
    assert_eq!(text(client.scan(KeyRange::new("c5", "s2"), 57, reverse).await.unwrap()), part[..57]);
    let keys = client.scan(everything.clone(), 30, ScanOptions { key_only: true, ..reverse }).await.unwrap();
    let wanted: Vec<_> = backwards[..30].iter().map(|(key, _)| (key.clone(), String::new())).collect();
    assert_eq!(text(keys), wanted);

    let checksum = client.checksum(everything).await.unwrap();
    let joined: Vec<_> = all.iter().map(|(key, value)| format!("{key}{value}")).collect();
    let wanted = joined.iter().fold(0, |sum, pair| sum ^ crc64_xz(pair.as_bytes()));
    assert_eq!(checksum.crc64_xor, wanted);
    assert_eq!(checksum.pairs, all.len() as u64);
    assert_eq!(checksum.bytes, joined.iter().map(|pair| pair.len() as u64).sum::<u64>());
}

/// CRC-64 as xz has it, bit by bit.
fn crc64_xz(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;
    let step = |crc: u64, _| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u64::from(*byte), step))
}

async fn delete_ranges(client: &RawClient) {
    let pairs = pairs();
    client.delete_range("c5".to_owned().."s2".to_owned()).await.unwrap();
    let left = texts(client.scan("a".to_owned().."w".to_owned(), 1000).await.unwrap());
    let wanted = [between(&pairs, "a", "c5"), between(&pairs, "s2", "w")].concat();
    assert_eq!(left, wanted);
    // Data beside the range, in the last region, is untouched.
    assert_eq!(client.get("z9".to_owned()).await.unwrap(), Some(pairs["z9"].clone().into_bytes()));
    client.delete_range("a".to_owned()..).await.unwrap();
    let keys = ["a0", "c4", "s2", "v9", "w0", "z9"].map(String::from);
    assert_eq!(client.batch_get(keys).await.unwrap(), []);
}

async fn compare_and_swap(client: &RawClient) {
    let client = client.with_atomic_for_cas();
    let swap = async |previous: Option<&str>, new: &str| {
        let previous = previous.map(|value| value.as_bytes().to_vec());
        client.compare_and_swap("swapped".to_owned(), previous, new.to_owned()).await.unwrap()
    };
    assert_eq!(swap(Some("absent"), "wrong").await, (None, false));
    assert_eq!(swap(None, "one").await, (None, true));
    assert_eq!(swap(None, "wrong").await, (Some(b"one".to_vec()), false));
    assert_eq!(swap(Some("wrong"), "wrong").await, (Some(b"one".to_vec()), false));
    assert_eq!(swap(Some("one"), "two").await, (Some(b"one".to_vec()), true));
    assert_eq!(client.get("swapped".to_owned()).await.unwrap(), Some(b"two".to_vec()));
    client.delete("swapped".to_owned()).await.unwrap();
    assert_eq!(swap(None, "three").await, (None, true));
}

/// Values do not expire here, and nobody is left to believe that they do.
async fn time_to_live(client: &RawClient) {
    let refused = client.put_with_ttl("mortal".to_owned(), "value".to_owned(), 10).await.unwrap_err();
    assert!(refused.to_string().contains("ttl is not enabled"), "{refused}");
    assert_eq!(client.get("mortal".to_owned()).await.unwrap(), None);
    assert!(client.get_key_ttl_secs("mortal".to_owned()).await.is_err());
}

#[test]
fn a_counter_under_contention_adds_up() {
    run(async {
        let cluster = Cluster::start(ClusterShape::default()).await;
        let client = cluster.tikv_client().await;
        let contention = count(&client, "counter", 64, 4).await;
        println!("64 tasks: {contention:?}");
        assert!(contention.refused > 0, "there was no contention: {contention:?}");
        cluster.assert_no_panic();
    });
}

#[test]
fn nothing_acknowledged_is_lost_while_stores_are_killed() {
    run(async {
        let mut cluster = Cluster::start(ClusterShape::default()).await;
        // Each client has a cache of regions of its own, and learns of a move by itself.
        let clients = [cluster.tikv_client().await, cluster.tikv_client().await, cluster.tikv_client().await];
        let load = Load::start(&clients, 6, None);
        let is_over = Arc::new(AtomicBool::new(false));
        let counters = tokio::spawn(count_until(clients[0].clone(), Arc::clone(&is_over)));

        load.progress(1000).await;
        for victim in 0..cluster.stores.len() {
            let led = cluster.leaders().await.iter().filter(|(_, leader)| *leader == victim).count();
            cluster.stores[victim].kill();
            cluster.leaders_known().await;
            load.progress(1000).await;
            cluster.restart(victim).await;
            load.progress(1000).await;
            println!("{} was killed while it led {led} regions, and came back", cluster.stores[victim].name);
        }
        is_over.store(true, Ordering::Relaxed);
        let (rounds, contention) = counters.await.expect("counters add up");
        cluster.ready().await;
        let finished = load.finish(&cluster.tikv_client().await).await;
        println!("{}; errors of the client:{}", finished.counts, finished.errors);
        println!("{rounds} counters of 16 tasks: {contention:?}");
        if let Err(found) = history::check(&finished.operations) {
            panic!("what clients saw cannot be explained:\n{found}");
        }
        cluster.caught_up().await;
        cluster.assert_no_panic();
    });
}

/// Nothing is down, so that no request may fail: what a client meets when it is late is all for it to mend by itself. Only of a
/// swap may nobody know what became of it, when its leader is deposed; the counters add up nevertheless.
#[test]
fn every_request_succeeds_while_regions_split_and_move() {
    run(async {
        // Operators go on with the next report of their region.
        let shape = ClusterShape::default()
            .setting("RAFTSTORE__PD_HEARTBEAT_INTERVAL_MS", 500)
            .setting("RAFTSTORE__PD_STORE_HEARTBEAT_INTERVAL_MS", 300);
        let mut cluster = Cluster::start(shape).await;
        cluster.add_store().await;
        let placement = Placement::of(&cluster).await;
        let stores = placement.ids(&cluster.stores).await;
        let seed = entropy_seed() >> 32;
        println!("moves of seed {seed}");
        let mut rng = Rng::new(seed);

        let mut keepers = Keepers::start(&cluster).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let counters = tokio::spawn(count_until(cluster.tikv_client().await, Arc::clone(&is_over)));
        for _ in 0..4 {
            for _ in 0..8 {
                placement.split_at(&keeper::some_key(&mut rng)).await;
            }
            placement.hand_over(&mut rng, 4).await;
            placement.shuffle(&mut rng, &stores, 4).await;
            keepers.progress(20).await;
        }
        is_over.store(true, Ordering::Relaxed);
        let (rounds, contention) = counters.await.expect("counters add up");
        let turns = keepers.finish().await;
        let regions = placement.routes().await.unwrap().len();
        println!("{turns} turns, {rounds} counters of 16 tasks: {contention:?}; {regions} regions");
        placement.settled_on(&stores).await;
        cluster.assert_no_panic();
    });
}

/// Counts again and again, each time on a fresh counter.
async fn count_until(client: RawClient, is_over: Arc<AtomicBool>) -> (u64, Contention) {
    let (mut rounds, mut contention) = (0, Contention::default());
    while !is_over.load(Ordering::Relaxed) {
        contention += count(&client, &format!("q-counter-{rounds}"), 16, 4).await;
        rounds += 1;
    }
    (rounds, contention)
}
