//! What the raw client's calls do, over regions on three stores.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use client::{Checksum, ClientConfig, RawClient, ScanOptions, Swap};
use common::Cluster;
use types::KeyRange;

/// One pair for each letter, value = letter twice.
async fn filled(config: ClientConfig) -> (Cluster, RawClient) {
    let cluster = Cluster::start().await;
    let client = cluster.client(config).await;
    client.batch_put(('a'..='z').map(|letter| (letter.to_string(), format!("{letter}{letter}")))).await.unwrap();
    (cluster, client)
}

fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange::new(start, end)
}

fn keys(pairs: &[(Bytes, Bytes)]) -> String {
    pairs.iter().map(|(key, _)| String::from_utf8_lossy(key)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn single_keys() {
    let cluster = Cluster::start().await;
    let client = cluster.client(ClientConfig::default()).await;
    assert_eq!(client.get("k").await.unwrap(), None);
    client.put("k", "").await.unwrap();
    assert_eq!(client.get("k").await.unwrap().as_deref(), Some(&b""[..]), "an empty value is a value");
    client.put("k", "v").await.unwrap();
    assert_eq!(client.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    client.delete("k").await.unwrap();
    assert_eq!(client.get("k").await.unwrap(), None);
    assert_eq!(cluster.state.lock().lookups, 1, "a region is looked up once");
    assert!(cluster.state.lock().asked.iter().all(|asked| asked.starts_with("2 ")), "only its leader is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_and_swap() {
    let cluster = Cluster::start().await;
    let client = cluster.client(ClientConfig::default()).await;
    let swap = |swapped, previous: Option<&'static str>| Swap { swapped, previous: previous.map(Bytes::from) };
    assert_eq!(client.compare_and_swap("k", Some("v".into()), "w").await.unwrap(), swap(false, None));
    assert_eq!(client.compare_and_swap("k", None, "v").await.unwrap(), swap(true, None));
    assert_eq!(client.compare_and_swap("k", None, "w").await.unwrap(), swap(false, Some("v")));
    assert_eq!(client.compare_and_swap("k", Some("v".into()), "w").await.unwrap(), swap(true, Some("v")));
    assert_eq!(client.get("k").await.unwrap().as_deref(), Some(&b"w"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_go_to_their_regions() {
    let (cluster, client) = filled(ClientConfig::default()).await;
    assert_eq!(cluster.state.lock().asked_for("batch_put"), 3, "one request for each region");
    let pairs = client.batch_get(["z", "missing", "a", "h"]).await.unwrap();
    assert_eq!(keys(&pairs), "ahz");
    assert_eq!(pairs[0].1, "aa");
    client.batch_delete(["z", "a", "missing"]).await.unwrap();
    assert_eq!(keys(&client.batch_get(["z", "a", "h"]).await.unwrap()), "h");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_are_cut() {
    let (cluster, client) = filled(ClientConfig { request_keys: 2, ..Default::default() }).await;
    assert_eq!(cluster.state.lock().asked_for("batch_put"), 3 + 5 + 6, "of 6, 9 and 11 keys");
    assert_eq!(client.batch_get(('a'..='z').map(|letter| letter.to_string())).await.unwrap().len(), 26);
    let cluster = Cluster::start().await;
    let client = cluster.client(ClientConfig { request_bytes: 100, ..Default::default() }).await;
    client.batch_put(["a", "b", "c"].map(|key| (key, vec![0; 60]))).await.unwrap();
    assert_eq!(cluster.state.lock().asked_for("batch_put"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_cross_regions_and_pages() {
    for scan_page in [1, 4, 256] {
        let (_cluster, client) = filled(ClientConfig { scan_page, ..Default::default() }).await;
        let scan = async |range, limit, reverse| {
            keys(&client.scan(range, limit, ScanOptions { reverse, ..Default::default() }).await.unwrap())
        };
        assert_eq!(scan(KeyRange::all(), 100, false).await, "abcdefghijklmnopqrstuvwxyz");
        assert_eq!(scan(KeyRange::all(), 100, true).await, "zyxwvutsrqponmlkjihgfedcba");
        assert_eq!(scan(range("e", "r"), 100, false).await, "efghijklmnopq");
        assert_eq!(scan(range("e", "r"), 100, true).await, "qponmlkjihgfe");
        assert_eq!(scan(range("e", "r"), 4, false).await, "efgh");
        assert_eq!(scan(range("e", "r"), 4, true).await, "qpon");
        assert_eq!(scan(range("g", "p"), 100, true).await, "onmlkjihg", "bounds on region borders");
        assert_eq!(scan(range("g", "p"), 100, false).await, "ghijklmno");
        assert_eq!(scan(range("r", "e"), 100, false).await, "");
        assert_eq!(scan(KeyRange::all(), 0, false).await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverse_scan_finds_its_regions_by_itself() {
    let (cluster, _) = filled(ClientConfig::default()).await;
    for (end, expected) in [("", "zyx"), ("p", "onm"), ("q", "pon")] {
        let fresh = cluster.client(ClientConfig::default()).await;
        let options = ScanOptions { reverse: true, key_only: false };
        let pairs = fresh.scan(range("", end), 3, options).await.unwrap();
        assert_eq!(keys(&pairs), expected, "below {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_alone() {
    let (_cluster, client) = filled(ClientConfig::default()).await;
    let options = ScanOptions { key_only: true, reverse: false };
    let pairs = client.scan(range("f", "h"), 9, options).await.unwrap();
    assert_eq!(pairs, [("f".into(), Bytes::new()), ("g".into(), Bytes::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_deleted_and_summed_piece_by_piece() {
    let (cluster, client) = filled(ClientConfig::default()).await;
    let sum = |letters: std::ops::RangeInclusive<char>| {
        let count = letters.clone().count() as u64;
        let crc64_xor = letters.map(|letter| 1 << (letter as u64 - 'a' as u64)).sum();
        Checksum { crc64_xor, pairs: count, bytes: 3 * count }
    };
    assert_eq!(client.checksum(KeyRange::all()).await.unwrap(), sum('a'..='z'));
    assert_eq!(client.checksum(range("e", "r")).await.unwrap(), sum('e'..='q'));
    client.delete_range(range("e", "r")).await.unwrap();
    assert_eq!(cluster.state.lock().asked_for("delete_range"), 3);
    let left = client.scan(KeyRange::all(), 100, ScanOptions::default()).await.unwrap();
    assert_eq!(keys(&left), "abcdrstuvwxyz");
    client.delete_range(KeyRange::all()).await.unwrap();
    assert_eq!(client.checksum(KeyRange::all()).await.unwrap(), Checksum::default());
}
