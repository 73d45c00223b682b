//! Regions that move while they are written to, as the coordinator orders over `pdpb`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use client::RawClient;
use region::Role;
use server::config::Config;
use store::RegionView;
use types::{PeerRole, RegionId, StoreId};

use crate::cluster::{Cluster, http_get, http_post, wait_until};

/// Reports so often that tests need not wait, and takes a silent member for lost soon.
fn hasty(config: &mut Config) {
    let raftstore = &mut config.raftstore;
    (raftstore.pd_heartbeat_interval_ms, raftstore.pd_store_heartbeat_interval_ms) = (300, 300);
    raftstore.max_peer_down_ms = 1000;
}

/// A client that writes and reads back until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, u64>>,
}

impl Load {
    fn start(cluster: &Cluster) -> Self {
        let (client, runtime) = (cluster.client(), cluster.runtime.handle().clone());
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut acknowledged = BTreeMap::new();
            let mut round = 0;
            while !stopped.load(Ordering::Relaxed) {
                for at in 0..40 {
                    let key = format!("{}{at:02}", ["a", "h", "k", "q"][at % 4]);
                    if let Some(value) = acknowledged.get(&key) {
                        let found = runtime.block_on(client.get(key.clone()));
                        // A call may fail while leaders move; what it says when it does not must be true.
                        if let Ok(found) = found {
                            let found = found.map(|found| number(&found));
                            assert!(found >= Some(*value), "{key} was {value} and is {found:?}");
                        }
                    }
                    if runtime.block_on(client.put(key.clone(), format!("{round:08}{}", "x".repeat(500)))).is_ok() {
                        acknowledged.insert(key, round);
                    }
                }
                round += 1;
            }
            acknowledged
        });
        Self { stop, thread }
    }

    /// Ends it, and reads everything that was acknowledged.
    fn end(self, cluster: &Cluster) {
        self.stop.store(true, Ordering::Relaxed);
        let acknowledged = self.thread.join().unwrap();
        assert_eq!(acknowledged.len(), 40, "every key was written");
        let client = cluster.client();
        for (key, value) in acknowledged {
            let found = cluster.get(&client, &key).unwrap();
            assert!(number(found.as_bytes()) >= value, "{key} was {value} and is {found}");
        }
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(&value[..8]).unwrap().parse().unwrap()
}

impl Cluster {
    /// Asks for an operator, as soon as the one before it has ended.
    fn order(&self, body: &str) {
        wait_until("an operator's turn", || {
            let answer = http_post(&self.coordinator_address, "/pd/api/v1/operators", body);
            let conflict = answer.starts_with("HTTP/1.1 409");
            assert!(conflict || answer.starts_with("HTTP/1.1 200"), "{body}: {answer}");
            !conflict
        });
    }

    fn set(&self, settings: &str) {
        let answer = http_post(&self.coordinator_address, "/pd/api/v1/config/schedule", settings);
        assert!(answer.starts_with("HTTP/1.1 200"), "{settings}: {answer}");
    }

    fn id(&self, at: usize) -> StoreId {
        self.store(at).store_id()
    }

    /// A region as its leader's store shows it.
    fn led(&self, region: RegionId) -> Option<(usize, RegionView)> {
        let stores = self.stores.iter().enumerate();
        let views = stores.filter_map(|(at, store)| Some((at, store.as_ref()?.handle().region(region)?)));
        views.filter(|(_, view)| view.role == Role::Leader).max_by_key(|(_, view)| view.term)
    }

    fn region_at(&self, key: &str) -> RegionId {
        let stores = self.stores.iter().flatten();
        let mut regions = stores.filter_map(|store| store.handle().region_at(key.as_bytes()));
        regions.find(|view| view.role == Role::Leader).map(|view| view.descriptor.id).unwrap()
    }

    /// The stores whose members vote, where the configuration is not joint and nobody learns.
    fn voters(&self, region: RegionId) -> Option<Vec<StoreId>> {
        let (_, view) = self.led(region)?;
        let peers = &view.descriptor.peers;
        let settled = peers.iter().all(|peer| peer.role == PeerRole::Voter);
        let mut stores: Vec<StoreId> = peers.iter().map(|peer| peer.store_id).collect();
        stores.sort_unstable();
        settled.then_some(stores)
    }

    fn snapshots_received(&self, at: usize) -> f64 {
        let line = format!("raftyard_snapshot_ended_total{{outcome=\"received\",store=\"{}\"}}", self.id(at));
        let metrics = self.registry.gather_text();
        let found = metrics.lines().find_map(|found| found.strip_prefix(&line));
        found.unwrap_or_else(|| panic!("{line} is missing")).trim().parse().unwrap()
    }
}

#[test]
fn regions_are_moved_split_and_led_elsewhere_under_load() {
    let mut cluster = Cluster::with(hasty);
    let client = cluster.client();
    // Whoever serves a write leads.
    ["a", "h", "q"].iter().for_each(|key| cluster.put(&client, key, "here"));
    // Nothing but what the test orders: the region with a fourth replica is not to lose one by itself.
    cluster.set(r#"{"halt-scheduling": true}"#);
    let region = cluster.region_at("h");
    let load = Load::start(&cluster);
    let fourth = cluster.add_store();
    let newcomer = cluster.id(fourth);

    cluster.order(&format!(r#"{{"name": "add-peer", "region_id": {region}, "store_id": {newcomer}}}"#));
    wait_until("a fourth voter", || cluster.voters(region).is_some_and(|voters| voters.contains(&newcomer)));
    assert!(cluster.snapshots_received(fourth) >= 1.0, "an empty newcomer needs a snapshot");

    let (leader, _) = cluster.led(region).unwrap();
    let leaving = cluster.id(leader);
    cluster.order(&format!(r#"{{"name": "remove-peer", "region_id": {region}, "store_id": {leaving}}}"#));
    wait_until("three voters", || cluster.voters(region).is_some_and(|voters| !voters.contains(&leaving)));
    wait_until("the removed peer's end", || cluster.store(leader).handle().region(region).is_none());

    cluster.order(&format!(r#"{{"name": "transfer-leader", "region_id": {region}, "to_store_id": {newcomer}}}"#));
    wait_until("the new leader", || cluster.led(region).is_some_and(|(at, _)| at == fourth));

    // Who halts everything is given no ids for new regions either.
    cluster.set(r#"{"halt-scheduling": false}"#);
    // The region is ["g", "p"); its keys begin with "h" and "k".
    cluster.order(&format!(r#"{{"name": "split-region", "region_id": {region}, "policy": "usekey", "keys": ["6A"]}}"#));
    wait_until("two regions", || {
        cluster.store(fourth).handle().region_at(b"h").is_some_and(|view| view.descriptor.range.end == "j")
    });
    let child = cluster.store(fourth).handle().region_at(b"h").unwrap().descriptor.id;
    assert_ne!(child, region, "the parent keeps the right part");
    wait_until("the child's leader", || cluster.led(child).is_some());
    wait_until("the coordinator's news", || {
        let found = http_get(&cluster.coordinator_address, &format!("/pd/api/v1/region/id/{child}"));
        found.contains("\"id\":") && !found.ends_with("null")
    });
    load.end(&cluster);
}

#[test]
fn the_regions_of_a_wiped_store_are_repaired() {
    let mut cluster = Cluster::with(hasty);
    let client = cluster.client();
    let keys = ["apple", "kiwi", "quince"];
    keys.iter().for_each(|key| cluster.put(&client, key, "kept"));
    // However full the disk of this machine is.
    cluster.set(r#"{"max-store-down-time": "1s", "low-space-ratio": 1.0}"#);
    let regions = keys.map(|key| cluster.region_at(key));

    let lost = cluster.id(0);
    cluster.stores[0].take().unwrap().kill();
    std::fs::remove_dir_all(cluster.dir(0)).unwrap();
    let fourth = cluster.add_store();
    assert_ne!(cluster.id(fourth), lost, "an empty disk is another store");
    for (key, region) in keys.into_iter().zip(regions) {
        wait_until("a replacement", || {
            cluster.voters(region).is_some_and(|voters| {
                voters.len() == 3 && voters.contains(&cluster.id(fourth)) && !voters.contains(&lost)
            })
        });
        cluster.put(&client, key, "and goes on");
    }
    // With the fourth store, the other two are a majority no more by themselves: it really has the data.
    cluster.stores[1].take().unwrap().kill();
    let client: RawClient = cluster.client();
    for key in keys {
        assert_eq!(cluster.get(&client, key).unwrap(), "and goes on");
    }
}
