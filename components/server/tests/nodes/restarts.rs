//! How stores join, die, and come back.

use std::sync::atomic::{AtomicU64, Ordering};

use observe::Registry;
use server::node::{CoordinatorNode, NodeError, StoreNode};
use store::StoreState;

use crate::cluster::{Cluster, coordinator_config, http_get, logger, store_config, wait_until};

const KEYS: [&str; 4] = ["apple", "kiwi", "quince", "zucchini"];

#[test]
fn a_killed_store_comes_back_with_its_data() {
    let mut cluster = Cluster::start();
    let client = cluster.client();
    KEYS.iter().for_each(|key| cluster.put(&client, key, "first"));
    for at in 0..3 {
        let id = cluster.stores[at].as_ref().unwrap().store_id();
        cluster.stores[at].take().unwrap().kill();
        KEYS.iter().for_each(|key| cluster.put(&client, key, &format!("without-{at}")));
        let store = cluster.open(at).unwrap();
        assert_eq!(store.store_id(), id);
        wait_until("the replay", || store.handle().state() == StoreState::Serving);
        cluster.stores[at] = Some(store);
        KEYS.iter().for_each(|key| assert_eq!(cluster.get(&client, key).unwrap(), format!("without-{at}")));
    }
}

#[test]
fn all_killed_at_once_lose_nothing() {
    let mut cluster = Cluster::start();
    let client = cluster.client();
    for round in 0..50 {
        KEYS.iter().for_each(|key| cluster.put(&client, &format!("{key}{round}"), &round.to_string()));
    }
    for at in 0..3 {
        cluster.stores[at].take().unwrap().kill();
    }
    for at in 0..3 {
        cluster.stores[at] = Some(cluster.open(at).unwrap());
    }
    for round in 0..50 {
        for key in KEYS {
            assert_eq!(cluster.get(&client, &format!("{key}{round}")).unwrap(), round.to_string());
        }
    }
}

#[test]
fn writes_go_on_without_the_coordinator() {
    let mut cluster = Cluster::start();
    let client = cluster.client();
    KEYS.iter().for_each(|key| cluster.put(&client, key, "before"));
    let id = cluster.coordinator.as_ref().unwrap().cluster_id();
    cluster.coordinator.take().unwrap().kill();
    KEYS.iter().for_each(|key| cluster.put(&client, key, "meanwhile"));
    let config = coordinator_config(cluster.data.path(), &cluster.coordinator_address);
    let again = CoordinatorNode::start(&config, &Registry::new(), &logger()).unwrap();
    assert_eq!(again.cluster_id(), id);
    cluster.coordinator = Some(again);
    let fresh = cluster.client();
    KEYS.iter().for_each(|key| assert_eq!(cluster.get(&fresh, key).unwrap(), "meanwhile"));
}

#[test]
fn a_graceful_stop_moves_leaders_and_needs_no_replay() {
    let mut cluster = Cluster::start();
    let client = cluster.client();
    KEYS.iter().for_each(|key| cluster.put(&client, key, "first"));
    cluster.stores[0].take().unwrap().stop(&mut |_| {}).unwrap();
    KEYS.iter().for_each(|key| cluster.put(&client, key, "second"));
    let store = cluster.open(0).unwrap();
    assert_eq!(store.handle().counts().replaying, 0);
    cluster.stores[0] = Some(store);
    KEYS.iter().for_each(|key| assert_eq!(cluster.get(&client, key).unwrap(), "second"));
}

#[test]
fn a_wiped_disk_does_not_come_back_under_its_old_id() {
    let mut cluster = Cluster::start();
    let client = cluster.client();
    KEYS.iter().for_each(|key| cluster.put(&client, key, "kept"));
    cluster.stores[0].take().unwrap().kill();
    std::fs::remove_dir_all(cluster.dir(0)).unwrap();
    let error = cluster.open(0).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("address"), "the address is still that of the store that was lost: {error}");
    KEYS.iter().for_each(|key| assert_eq!(cluster.get(&client, key).unwrap(), "kept"));
}

#[test]
fn directories_of_others_are_refused() {
    let mut cluster = Cluster::start();
    let other = Cluster::start();
    cluster.stores[0].take().unwrap().kill();
    let config = store_config(&cluster.dir(0), &other.coordinator_address, "127.0.0.1:0");
    let error = StoreNode::start(&config, &Registry::new(), &logger()).map(|_| ()).unwrap_err();
    assert!(matches!(error, NodeError::OtherCluster { .. }), "{error}");
    let config = store_config(&cluster.dir(1), &cluster.coordinator_address, "127.0.0.1:0");
    let error = StoreNode::start(&config, &Registry::new(), &logger()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("in use by another process"), "{error}");
}

#[test]
fn every_status_path_answers() {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let cluster = Cluster::start();
    let store = cluster.stores[0].as_ref().unwrap();
    wait_until("the store to serve", || store.handle().state() == StoreState::Serving);
    let region = store.handle().regions()[0].descriptor.id;
    let addresses = [store.status_address(), cluster.coordinator.as_ref().unwrap().status_address()];
    for (address, paths) in addresses.into_iter().zip([&["/regions", &format!("/region/{region}")][..], &[]]) {
        for path in ["/metrics", "/status", "/livez", "/readyz", "/config"].iter().chain(paths) {
            let answer = http_get(address, path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{address}{path}: {answer}");
            ASKED.fetch_add(1, Ordering::Relaxed);
        }
    }
    assert_eq!(ASKED.load(Ordering::Relaxed), 12);
    assert!(http_get(addresses[0], "/metrics").contains("raftyard_append_log_duration_seconds"));
    assert!(http_get(addresses[1], "/metrics").contains("raftyard_pd_"));
}
