//! Members of a static cluster split their regions, by themselves and when they are told to.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use embed::{Config, Error, ScanOptions, Store, WriteBatch};
use store::{SplitConfig, StoreConfig};
use support::{MEMBERS, Members, wait_for};
use types::{ColumnFamily, KeyRange, RequestError};

const DEFAULT: ColumnFamily = ColumnFamily::Default;

fn starts(store: &Store) -> Vec<Bytes> {
    store.regions().into_iter().map(|view| view.descriptor.range.start.clone()).collect()
}

/// Every id that a member's regions have, each of which must be used once.
fn check_ids(store: &Store) {
    let mut seen = BTreeSet::new();
    for view in store.regions() {
        let region = &view.descriptor;
        assert!(seen.insert(region.id.0), "region {} twice", region.id);
        for peer in &region.peers {
            assert!(seen.insert(peer.id.0), "peer {} twice", peer.id);
        }
    }
}

#[test]
fn a_split_is_where_it_was_asked_for() {
    let mut members = Members::start(|config| config.split_keys(["m"]));
    for key in ["a", "e", "k", "n", "t", "z"] {
        members.stores[0].put(key, key).wait().unwrap();
    }
    // Any member takes it, for regions that others lead; the empty key and those of the layout are boundaries already.
    members.stores[1].split(["t", "e", "m", "", "e", "i"]).wait().unwrap();
    let expected = ["", "e", "i", "m", "t"];
    for store in &members.stores {
        wait_for("the split", || (starts(store) == expected).then_some(()));
        check_ids(store);
    }
    members.stores[2].split(["e", "t"]).wait().unwrap();
    assert_eq!(starts(&members.stores[0]), expected, "what is done stays as it is");
    members.stores[2].split(["f"]).wait().unwrap();
    let expected = ["", "e", "f", "i", "m", "t"];
    let check = |members: &Members| {
        for store in &members.stores {
            wait_for("the split", || (starts(store) == expected).then_some(()));
            for reverse in [false, true] {
                let mut pairs =
                    store.scan(KeyRange::all(), ScanOptions { reverse, ..ScanOptions::default() }).wait().unwrap();
                if reverse {
                    pairs.reverse();
                }
                assert_eq!(pairs, ["a", "e", "k", "n", "t", "z"].map(|key| (Bytes::from(key), Bytes::from(key))));
            }
        }
    };
    check(&members);
    let across = WriteBatch::new().put(DEFAULT, "e", "1").put(DEFAULT, "g", "2");
    assert!(matches!(members.stores[0].batch(across).wait(), Err(Error::AcrossRegions { .. })));
    let long = vec![b'x'; types::limits::MAX_KEY_BYTES + 1];
    let refused = members.stores[0].split([long]).wait();
    assert!(matches!(refused, Err(Error::Refused(RequestError::Invalid { .. }))), "{refused:?}");
    members.restart();
    check(&members);
}

#[test]
fn many_keys_at_once_are_all_cut() {
    let members = Members::start(|config| config);
    let keys: Vec<String> = (0..200).map(|at| format!("key{at:03}")).collect();
    members.stores[0].split(keys.iter().cloned()).wait().unwrap();
    for store in &members.stores {
        wait_for("all splits", || (starts(store).len() == 201).then_some(()));
        assert!(starts(store).iter().skip(1).eq(&keys));
        check_ids(store);
    }
}

/// Says that it is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "those who read while regions split are threads, as users' are")]
fn requests_go_on_while_regions_split() {
    // Only a hang meets it: the readers take whatever processor there is.
    let members = Members::start(|config| config.timeout(Duration::from_secs(120)));
    let keys: Vec<String> = (0..200).map(|at| format!("key{at:03}")).collect();
    for key in &keys {
        members.stores[0].put(key.clone(), "v").wait().unwrap();
    }
    let done = AtomicBool::new(false);
    let read = |at: usize| {
        let mut scans = 0;
        while !done.load(Ordering::Acquire) || scans < 5 {
            let options = ScanOptions { reverse: scans % 2 == 1, ..ScanOptions::default() };
            let found = members.stores[at].scan(KeyRange::new("key", "l"), options).wait().unwrap();
            let mut found: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
            found.sort();
            assert_eq!(found, keys, "scan {scans} at member {at}");
            scans += 1;
        }
    };
    std::thread::scope(|scope| {
        let read = &read;
        // Whatever fails below, the readers come to their end.
        let _over = Over(&done);
        for at in 0..MEMBERS.len() {
            scope.spawn(move || read(at));
        }
        for (at, key) in keys.iter().enumerate().step_by(20) {
            members.stores[at % 3].split([key.clone()]).wait().unwrap();
        }
        // A delete-range that begins before regions split under it removes its range, and nothing else.
        members.stores[1].put("other", "v").wait().unwrap();
        let splits = members.stores[2].split((0..5).map(|at| format!("other{at}")));
        let deletion = members.stores[1].delete_range(DEFAULT, KeyRange::new("other", "p"));
        let (split, deleted) = futures::executor::block_on(futures::future::join(splits, deletion));
        split.unwrap();
        deleted.unwrap();
    });
    assert_eq!(members.stores[0].get("other").wait().unwrap(), None);
}

fn small_regions(config: Config) -> Config {
    let split =
        SplitConfig { check_interval: Duration::from_millis(20), ..SplitConfig::default().with_region_bytes(32 << 10) };
    config.store_config(StoreConfig { split, ..StoreConfig::default() })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "those who write at once are threads, as users' are")]
fn a_store_splits_by_itself_under_writes_and_keeps_every_key() {
    let members = Members::start(small_regions);
    let write = |at: usize| {
        let store = &members.stores[at];
        for number in 0..300 {
            let key = format!("key{:05}", (number * 3 + at) * 7919 % 10_000);
            store.put(key.clone(), [key.as_bytes(), &[at as u8; 1_000]].concat()).wait().unwrap();
        }
    };
    std::thread::scope(|scope| {
        for at in 0..MEMBERS.len() {
            let write = &write;
            scope.spawn(move || write(at));
        }
    });
    // 900 KiB in regions of 48 KiB at most.
    let store = &members.stores[0];
    wait_for("the splits", || (store.regions().len() >= 18).then_some(()));
    let mut expected: Vec<String> = (0..900).map(|number| format!("key{:05}", number * 7919 % 10_000)).collect();
    expected.sort();
    for store in &members.stores {
        let options = ScanOptions { limit: 10_000, ..ScanOptions::default() };
        let pairs = store.scan(KeyRange::all(), options).wait().unwrap();
        let keys: Vec<_> = pairs.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys, expected);
        assert!(pairs.iter().all(|(key, value)| value.starts_with(key) && value.len() == key.len() + 1_000));
        check_ids(store);
    }
}
