//! Stores under a scripted placement driver.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::RawClient;
use observe::Registry;
use proto::eraftpb::ConfChangeType;
use server::config::Config;
use server::node::{NodeError, StoreNode};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::pd::{ScriptedPd, change_peer, has_role, member, voter};

pub const CLUSTER: u64 = 7_000_000_000_000_000_007;

pub struct Cluster {
    pub pd: ScriptedPd,
    pub registry: Registry,
    pub stores: Vec<Option<StoreNode>>,
    data: TempDir,
    runtime: Runtime,
    change: fn(&mut Config),
}

/// Reports regions when something happens to them, and never else.
pub fn on_news_only(config: &mut Config) {
    config.raftstore.pd_heartbeat_interval_ms = 3_600_000;
    config.raftstore.pd_store_heartbeat_interval_ms = 100;
}

/// Reports all the time, and takes a silent member for lost soon.
pub fn restless(config: &mut Config) {
    config.raftstore.pd_heartbeat_interval_ms = 200;
    config.raftstore.pd_store_heartbeat_interval_ms = 200;
    config.raftstore.max_peer_down_ms = 1000;
}

impl Cluster {
    pub fn empty(change: fn(&mut Config)) -> Self {
        Self {
            pd: ScriptedPd::start(CLUSTER),
            registry: Registry::new(),
            stores: Vec::new(),
            data: tempfile::tempdir().unwrap(),
            runtime: Runtime::new().unwrap(),
            change,
        }
    }

    /// So many stores; the first one founds the cluster and has its only region alone.
    pub fn with(stores: usize, change: fn(&mut Config)) -> Self {
        let mut cluster = Self::empty(change);
        (0..stores).for_each(|_| cluster.add());
        cluster
    }

    /// Three stores with the only region, led by the first, on all of them.
    pub fn replicated(change: fn(&mut Config)) -> Self {
        let cluster = Self::with(3, change);
        let region = cluster.first_region();
        for at in 1..3 {
            let store = cluster.id(at);
            let peer = voter(cluster.pd.with(|state| state.next_id()), store);
            let order = change_peer(ConfChangeType::AddNode, peer);
            cluster.pd.order_until_seen("a voter", region, &order, |heartbeat| {
                has_role(heartbeat, store, proto::metapb::PeerRole::Voter) && heartbeat.pending_peers.is_empty()
            });
        }
        cluster
    }

    pub fn dir(&self, at: usize) -> PathBuf {
        self.data.path().join(at.to_string())
    }

    pub fn config(&self, at: usize) -> Config {
        let mut config = Config::default();
        config.server.addr = "127.0.0.1:0".to_owned();
        config.server.status_addr = "127.0.0.1:0".to_owned();
        config.server.data_dir = self.dir(at);
        config.server.pd_endpoints = self.pd.addresses.clone();
        config.raftstore.tick_ms = 20;
        (self.change)(&mut config);
        config
    }

    pub fn open(&self, at: usize) -> Result<StoreNode, NodeError> {
        StoreNode::start(&self.config(at), &self.registry, &observe::discard_logger())
    }

    pub fn add(&mut self) {
        let store = self.open(self.stores.len()).unwrap();
        self.stores.push(Some(store));
    }

    pub fn store(&self, at: usize) -> &StoreNode {
        self.stores[at].as_ref().unwrap()
    }

    pub fn id(&self, at: usize) -> u64 {
        self.store(at).store_id().0
    }

    /// The cluster's first region, once its leader has reported.
    pub fn first_region(&self) -> u64 {
        self.pd.wait("the first region's leader", |state| {
            let first = state.first.as_ref()?.id;
            state.regions.contains_key(&first).then_some(first)
        })
    }

    /// The id of the region's peer on a store.
    pub fn peer(&self, region: u64, store: u64) -> proto::metapb::Peer {
        member(&self.pd.region(region), store).unwrap()
    }

    pub fn client(&self) -> RawClient {
        self.runtime.block_on(RawClient::connect(self.pd.addresses.clone())).unwrap()
    }

    /// Writes so many keys that begin with some letter, of a kilobyte each.
    pub fn fill(&self, letter: char, count: usize) {
        let client = self.client();
        for at in 0..count {
            let value = vec![b'x'; 1024];
            self.runtime.block_on(client.put(format!("{letter}{at:05}"), value)).unwrap();
        }
    }

    /// How many orders had this outcome, on all stores.
    pub fn orders(&self, outcome: &str) -> u64 {
        let begins = format!("raftyard_pd_order_total{{outcome=\"{outcome}\"");
        let metrics = self.registry.gather_text();
        let lines = metrics.lines().filter(|line| line.starts_with(&begins));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Waits until so many orders had this outcome.
    pub fn wait_orders(&self, outcome: &str, count: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.orders(outcome) < count {
            assert!(Instant::now() < deadline, "an order is {outcome}: {}", self.registry.gather_text());
            std::thread::yield_now();
        }
    }
}
