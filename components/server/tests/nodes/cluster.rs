//! A cluster of whole nodes in one process, over real sockets and disks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::RawClient;
use observe::Registry;
use server::config::Config;
use server::node::{CoordinatorNode, NodeError, StoreNode};
use slog::Logger;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest that a condition may take; only a hang meets it.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub data: TempDir,
    pub registry: Registry,
    pub coordinator: Option<CoordinatorNode>,
    pub coordinator_address: String,
    pub stores: Vec<Option<StoreNode>>,
    pub addresses: Vec<String>,
    pub runtime: Runtime,
    change: fn(&mut Config),
}

pub fn logger() -> Logger {
    observe::discard_logger()
}

pub fn coordinator_config(data: &Path, address: &str) -> Config {
    let mut config = Config::default();
    config.coordinator.addr = address.to_owned();
    config.coordinator.status_addr = "127.0.0.1:0".to_owned();
    config.coordinator.data_dir = data.join("coordinator");
    config.coordinator.split_keys = ["g", "p"].map(str::to_owned).to_vec();
    config
}

pub fn store_config(dir: &Path, coordinator: &str, address: &str) -> Config {
    let mut config = Config::default();
    config.server.addr = address.to_owned();
    config.server.status_addr = "127.0.0.1:0".to_owned();
    config.server.data_dir = dir.to_owned();
    config.server.pd_endpoints = vec![coordinator.to_owned()];
    config
}

impl Cluster {
    /// Three stores with default settings.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// Three stores whose settings were changed.
    pub fn with(change: fn(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let coordinator =
            CoordinatorNode::start(&coordinator_config(data.path(), "127.0.0.1:0"), &Registry::new(), &logger())
                .unwrap();
        let address = coordinator.address().to_owned();
        let registry = Registry::new();
        // Stores of a fresh cluster wait for each other.
        let starting: Vec<_> = (0..3)
            .map(|at| {
                let mut config = store_config(&data.path().join(at.to_string()), &address, "127.0.0.1:0");
                change(&mut config);
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
            change,
        }
    }

    pub fn dir(&self, at: usize) -> PathBuf {
        self.data.path().join(at.to_string())
    }

    pub fn config(&self, at: usize) -> Config {
        let address = self.addresses.get(at).map_or("127.0.0.1:0", String::as_str);
        let mut config = store_config(&self.dir(at), &self.coordinator_address, address);
        (self.change)(&mut config);
        config
    }

    /// One more store, with an empty disk. Returns its place.
    pub fn add_store(&mut self) -> usize {
        let at = self.stores.len();
        let store = self.open(at).unwrap();
        self.addresses.push(store.address().to_owned());
        self.stores.push(Some(store));
        at
    }

    pub fn store(&self, at: usize) -> &StoreNode {
        self.stores[at].as_ref().unwrap()
    }

    pub fn open(&self, at: usize) -> Result<StoreNode, NodeError> {
        StoreNode::start(&self.config(at), &self.registry, &logger())
    }

    pub fn client(&self) -> RawClient {
        self.runtime.block_on(RawClient::connect([self.coordinator_address.clone()])).unwrap()
    }

    pub fn put(&self, client: &RawClient, key: &str, value: &str) {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.runtime.block_on(client.put(key, value)).unwrap();
    }

    pub fn get(&self, client: &RawClient, key: &str) -> Option<String> {
        let value = self.runtime.block_on(client.get(key.to_owned())).unwrap();
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

pub fn http_get(address: &str, path: &str) -> String {
    http(address, "GET", path, "")
}

pub fn http_post(address: &str, path: &str, body: &str) -> String {
    http(address, "POST", path, body)
}

fn http(address: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
