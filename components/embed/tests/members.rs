//! Three members of a static cluster on real disks, in one process.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use embed::{Config, Error, LocalNetwork, ScanOptions, Store, WriteBatch};
use tempfile::TempDir;
use types::{ColumnFamily, KeyRange, RequestError, StoreId};

const MEMBERS: [StoreId; 3] = [StoreId(1), StoreId(2), StoreId(3)];
const DEFAULT: ColumnFamily = ColumnFamily::Default;

fn config(data: &Path, network: &Arc<LocalNetwork>, id: StoreId) -> Config {
    Config::new(id, data.join(id.to_string()), network.clone()).members(MEMBERS).split_keys(["g", "p"])
}

struct Members {
    data: TempDir,
    network: Arc<LocalNetwork>,
    stores: Vec<Option<Store>>,
}

impl Members {
    fn start() -> Self {
        let (data, network) = (tempfile::tempdir().unwrap(), Arc::new(LocalNetwork::new()));
        let open = |id: &StoreId| Some(Store::open(config(data.path(), &network, *id).first_start(true)).unwrap());
        let stores = MEMBERS.iter().map(open).collect();
        Self { data, network, stores }
    }

    fn store(&self, at: usize) -> &Store {
        self.stores[at].as_ref().unwrap()
    }
}

#[test]
fn every_operation_works_at_every_member() {
    let members = Members::start();
    for (at, key) in ["apple", "kiwi", "quince"].into_iter().enumerate() {
        members.store(at).put(key, format!("{key}-{at}")).wait().unwrap();
    }
    for at in 0..3 {
        let store = members.store(at);
        assert_eq!(store.get("kiwi").wait().unwrap().unwrap(), "kiwi-1");
        assert_eq!(store.get("nothing").wait().unwrap(), None);
        let keys: Vec<Bytes> = store
            .scan(KeyRange::all(), ScanOptions::default())
            .wait()
            .unwrap()
            .into_iter()
            .map(|pair| pair.0)
            .collect();
        assert_eq!(keys, ["apple", "kiwi", "quince"]);
        let reverse = ScanOptions { reverse: true, key_only: true, limit: 2, ..ScanOptions::default() };
        let pairs = store.scan(KeyRange::all(), reverse).wait().unwrap();
        assert_eq!(pairs, [("quince".into(), Bytes::new()), ("kiwi".into(), Bytes::new())]);
        let middle = store.scan(KeyRange::new("b", "q"), reverse).wait().unwrap();
        assert_eq!(middle, [("kiwi".into(), Bytes::new())]);
    }
    let swap = members.store(2).compare_and_swap("kiwi", Some("kiwi-1".into()), Some("green".into())).wait().unwrap();
    assert!(swap.swapped && swap.previous.unwrap() == "kiwi-1");
    let swap = members.store(0).compare_and_swap("kiwi", None, Some("red".into())).wait().unwrap();
    assert!(!swap.swapped && swap.previous.unwrap() == "green");

    let batch = WriteBatch::new().put(DEFAULT, "a", "1").put(ColumnFamily::Lock, "b", "2").delete(DEFAULT, "apple");
    members.store(1).batch(batch).wait().unwrap();
    assert_eq!(members.store(0).get("apple").wait().unwrap(), None);
    assert_eq!(members.store(0).get_from(ColumnFamily::Lock, "b").wait().unwrap().unwrap(), "2");
    let across = WriteBatch::new().put(DEFAULT, "a", "1").put(DEFAULT, "z", "2");
    assert!(matches!(members.store(1).batch(across).wait(), Err(Error::AcrossRegions { .. })));

    let snapshot = members.store(1).snapshot("kiwi").wait().unwrap();
    members.store(0).delete_range(DEFAULT, KeyRange::all()).wait().unwrap();
    assert_eq!(snapshot.get(DEFAULT, "kiwi").unwrap().unwrap(), "green");
    assert_eq!(snapshot.scan(KeyRange::all(), ScanOptions::default()).unwrap().len(), 1, "one region's keys");
    assert!(matches!(snapshot.get(DEFAULT, "apple"), Err(Error::Refused(RequestError::KeyNotInRegion { .. }))));
    assert!(members.store(2).scan(KeyRange::all(), ScanOptions::default()).wait().unwrap().is_empty());
}

#[test]
fn scans_cross_regions_and_pages() {
    let members = Members::start();
    let store = members.store(0);
    let keys: Vec<String> =
        ["a", "h", "q"].iter().flat_map(|p| (0..1_100).map(move |at| format!("{p}{at:05}"))).collect();
    for chunk in keys.chunks(550) {
        let put = |batch: WriteBatch, key: &String| batch.put(DEFAULT, key.clone(), "v");
        store.batch(chunk.iter().fold(WriteBatch::new(), put)).wait().unwrap();
    }
    let all = |reverse| ScanOptions { limit: 10_000, reverse, ..ScanOptions::default() };
    let found = |reverse| -> Vec<Bytes> {
        store.scan(KeyRange::all(), all(reverse)).wait().unwrap().into_iter().map(|pair| pair.0).collect()
    };
    assert_eq!(found(false), keys);
    assert_eq!(found(true), keys.iter().rev().cloned().collect::<Vec<_>>());
}

#[test]
fn operations_are_futures_too() {
    let members = Members::start();
    let store = members.store(0);
    let writes = (0..50).map(|at| store.put(format!("key{at}"), "v"));
    futures::executor::block_on(futures::future::try_join_all(writes)).unwrap();
    assert_eq!(futures::executor::block_on(store.get("key49")).unwrap().unwrap(), "v");
}

#[test]
fn a_member_may_leave_and_come_back() {
    let mut members = Members::start();
    members.store(0).put("kiwi", "1").wait().unwrap();
    members.stores[0].take().unwrap().close(&mut |_| {}).unwrap();
    members.store(1).put("kiwi", "2").wait().unwrap();
    members.stores[0] = Some(Store::open(config(members.data.path(), &members.network, MEMBERS[0])).unwrap());
    assert_eq!(members.store(0).get("kiwi").wait().unwrap().unwrap(), "2");
    for at in 0..3 {
        drop(members.stores[at].take());
    }
    for (at, id) in MEMBERS.into_iter().enumerate() {
        members.stores[at] = Some(Store::open(config(members.data.path(), &members.network, id)).unwrap());
    }
    assert_eq!(members.store(2).get("kiwi").wait().unwrap().unwrap(), "2");
}

#[test]
fn without_a_majority_nothing_is_promised() {
    let mut members = Members::start();
    members.store(0).put("kiwi", "1").wait().unwrap();
    drop(members.stores[2].take());
    drop(members.stores[1].take());
    drop(members.stores[0].take());
    let alone =
        config(members.data.path(), &members.network, MEMBERS[0]).timeout(std::time::Duration::from_millis(300));
    let store = Store::open(alone).unwrap();
    assert!(matches!(store.put("kiwi", "2").wait(), Err(Error::TimedOut { .. })));
    assert!(matches!(store.get("kiwi").wait(), Err(Error::TimedOut { .. })));
}

fn refusal(config: Config) -> String {
    Store::open(config).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn wrong_directories_and_layouts_are_refused() {
    let members = Members::start();
    let (data, network) = (members.data.path(), &members.network);
    let open = refusal(config(data, network, MEMBERS[0]));
    assert!(open.contains("in use by another process"), "{open}");

    let empty = tempfile::tempdir().unwrap();
    let fresh = || config(empty.path(), network, MEMBERS[0]);
    let lost = refusal(fresh());
    assert!(lost.contains("first_start"), "{lost}");
    assert!(refusal(fresh().members([StoreId(2)])).contains("not among the members"));
    assert!(refusal(fresh().split_keys(["b", "a"])).contains("ascending"));

    drop(members.stores);
    let foreign = Config::new(StoreId(2), data.join("1"), network.clone()).members(MEMBERS);
    assert!(refusal(foreign).contains("belongs to store 1"), "another store's directory");
    let foreign = config(data, network, MEMBERS[0]).cluster(types::ClusterId(9));
    assert!(refusal(foreign).contains("of cluster 1"), "another cluster's directory");
}

#[test]
fn a_scan_of_large_values_comes_in_pieces_and_is_whole() {
    let members = Members::start();
    let store = members.store(0);
    // Ten values of 900 KiB in one region: more than one piece's bytes, far less than its pairs.
    for at in 0..10 {
        store.put(format!("h{at}"), vec![at as u8; 900 << 10]).wait().unwrap();
    }
    for reverse in [false, true] {
        let options = ScanOptions { reverse, ..ScanOptions::default() };
        let mut pairs = store.scan(KeyRange::new("h", "i"), options).wait().unwrap();
        if reverse {
            pairs.reverse();
        }
        let seen: Vec<_> = pairs.iter().map(|(key, value)| (key.clone(), value[0], value.len())).collect();
        let expected: Vec<_> = (0..10).map(|at| (Bytes::from(format!("h{at}")), at as u8, 900 << 10)).collect();
        assert_eq!(seen, expected);
    }
}
