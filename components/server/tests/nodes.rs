//! Whole nodes in one process, over real sockets and disks: how stores join, die, and come back.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::RawClient;
use observe::Registry;
use server::config::Config;
use server::node::{CoordinatorNode, NodeError, StoreNode};
use slog::Logger;
use store::StoreState;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest that a condition may take; only a hang meets it.
const DEADLINE: Duration = Duration::from_secs(60);

struct Cluster {
    data: TempDir,
    registry: Registry,
    coordinator: Option<CoordinatorNode>,
    coordinator_address: String,
    stores: Vec<Option<StoreNode>>,
    addresses: Vec<String>,
    runtime: Runtime,
}

fn logger() -> Logger {
    observe::discard_logger()
}

fn coordinator_config(data: &Path, address: &str) -> Config {
    let mut config = Config::default();
    config.coordinator.addr = address.to_owned();
    config.coordinator.status_addr = "127.0.0.1:0".to_owned();
    config.coordinator.data_dir = data.join("coordinator");
    config.coordinator.split_keys = ["g", "p"].map(str::to_owned).to_vec();
    config
}

fn store_config(dir: &Path, coordinator: &str, address: &str) -> Config {
    let mut config = Config::default();
    config.server.addr = address.to_owned();
    config.server.status_addr = "127.0.0.1:0".to_owned();
    config.server.data_dir = dir.to_owned();
    config.server.pd_endpoints = vec![coordinator.to_owned()];
    config
}

impl Cluster {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let coordinator =
            CoordinatorNode::start(&coordinator_config(data.path(), "127.0.0.1:0"), &Registry::new(), &logger())
                .unwrap();
        let address = coordinator.address().to_owned();
        let registry = Registry::new();
        // Stores of a fresh cluster wait for each other.
        let starting: Vec<_> = (0..3)
            .map(|at| {
                let config = store_config(&data.path().join(at.to_string()), &address, "127.0.0.1:0");
                let registry = registry.clone();
                std::thread::spawn(move || StoreNode::start(&config, &registry, &logger()).unwrap())
            })
            .collect();
        let stores: Vec<_> = starting.into_iter().map(|starting| Some(starting.join().unwrap())).collect();
        let addresses = stores.iter().flatten().map(|store| store.address().to_owned()).collect();
        let runtime = Runtime::new().unwrap();
        Self {
            data,
            registry,
            coordinator: Some(coordinator),
            coordinator_address: address,
            stores,
            addresses,
            runtime,
        }
    }

    fn dir(&self, at: usize) -> std::path::PathBuf {
        self.data.path().join(at.to_string())
    }

    fn config(&self, at: usize) -> Config {
        store_config(&self.dir(at), &self.coordinator_address, &self.addresses[at])
    }

    fn open(&self, at: usize) -> Result<StoreNode, NodeError> {
        StoreNode::start(&self.config(at), &self.registry, &logger())
    }

    fn client(&self) -> RawClient {
        self.runtime.block_on(RawClient::connect([self.coordinator_address.clone()])).unwrap()
    }

    fn put(&self, client: &RawClient, key: &str, value: &str) {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.runtime.block_on(client.put(key, value)).unwrap();
    }

    fn get(&self, client: &RawClient, key: &str) -> Option<String> {
        let value = self.runtime.block_on(client.get(key.to_owned())).unwrap();
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

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

fn http_get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
