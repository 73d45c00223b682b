//! The placement driver as people see it.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeSet;

use client::{PdClient, RegionRoute};
use serde_json::{Value, json};
use types::seed::Rng;
use types::{KeyRange, PeerRole, RegionId, StoreId};

use crate::support::process::Process;
use crate::support::wait::until;
use crate::support::{Cluster, http};

/// More regions than any test has.
const MAX_REGIONS: u32 = 10_000;

/// The placement driver of a cluster. It outlives borrows of the cluster, so that its stores can be killed meanwhile.
#[derive(Clone)]
pub struct Placement {
    address: String,
    pd: PdClient,
}

impl Placement {
    /// Of a cluster, with nothing between a region and its next place: no limit of the peers that a store gets and loses in
    /// a minute, and none of what is used of the disk, which is the machine's.
    pub async fn of(cluster: &Cluster) -> Self {
        let placement = Self { address: cluster.coordinator.address.clone(), pd: cluster.pd().await };
        placement.configure(json!({ "store-limit": 10_000, "low-space-ratio": 1 })).await;
        placement
    }

    /// Changes how regions are placed.
    pub async fn configure(&self, settings: Value) {
        self.ask("POST", "/config", &settings).await.unwrap();
    }

    /// Tells a store to leave.
    pub async fn let_leave(&self, store: StoreId) {
        self.ask("DELETE", &format!("/store/{store}"), &Value::Null).await.unwrap();
    }

    /// Spreads the peers of all regions over the stores, as far as their operators leave room for that.
    pub async fn scatter(&self) {
        let Ok(routes) = self.routes().await else { return };
        let regions: Vec<u64> = routes.iter().map(|route| route.descriptor.id.0).collect();
        // Regions that have an operator or are where they should be are refused; whoever waits asks again.
        let _ = self.ask("POST", "/operators", &json!({ "name": "scatter-regions", "region_ids": regions })).await;
    }

    /// How many operators are under way.
    pub async fn operators(&self) -> Result<usize, String> {
        let operators = self.ask("GET", "/operators", &Value::Null).await?;
        operators.as_array().map(Vec::len).ok_or_else(|| format!("operators are {operators}"))
    }

    /// What operators became of, for a person who wonders why a region is not where it should be.
    pub async fn records(&self) -> String {
        self.ask("GET", "/operators/records", &Value::Null).await.map_or_else(
            |error| error,
            |records| {
                let records = records.as_array().cloned().unwrap_or_default();
                records.iter().rev().take(20).map(|record| format!("\n  {record}")).collect()
            },
        )
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/pd/api/v1{path}");
        let answer = http::send(&self.address, method, &path, &body).await;
        let (status, answer) = answer.map_err(|error| format!("{method} {path}: {error}"))?;
        if status != 200 {
            return Err(format!("{method} {path} {body}: {status} {answer}"));
        }
        serde_json::from_str(&answer).map_err(|error| format!("{method} {path} answers no JSON ({error}): {answer}"))
    }

    /// Every region, in key order.
    pub async fn routes(&self) -> Result<Vec<RegionRoute>, String> {
        self.pd.scan_regions(&KeyRange::all(), MAX_REGIONS).await.map_err(|error| error.to_string())
    }

    /// The newest store that has a process's address, and whether it has left the cluster.
    pub async fn store(&self, process: &Process) -> Result<(StoreId, bool), String> {
        let mut ours = Vec::new();
        for (path, has_left) in [("/stores", false), ("/stores?state=tombstone", true)] {
            let found = self.ask("GET", path, &Value::Null).await?;
            let found = found["stores"].as_array().into_iter().flatten().map(|store| &store["store"]);
            let found = found.filter(|store| store["address"] == *process.address);
            ours.extend(found.filter_map(|store| Some((StoreId(store["id"].as_u64()?), has_left))));
        }
        ours.into_iter().max().ok_or_else(|| format!("nobody knows {}", process.name))
    }

    /// The id of the newest store that has a process's address.
    pub async fn id(&self, process: &Process) -> StoreId {
        until("the store is known", async || Ok(self.store(process).await?.0)).await
    }

    /// The ids of processes' stores.
    pub async fn ids(&self, processes: impl IntoIterator<Item = &Process>) -> BTreeSet<StoreId> {
        let mut ids = BTreeSet::new();
        for process in processes {
            ids.insert(self.id(process).await);
        }
        ids
    }

    /// Waits until a store that was told to leave has left.
    pub async fn gone(&self, store: StoreId) {
        until(&format!("store {store} has left"), async || {
            let found = self.ask("GET", &format!("/store/{store}"), &Value::Null).await?;
            let state = &found["store"]["state_name"];
            if state == "Tombstone" {
                return Ok(());
            }
            let routes = self.routes().await?;
            let held = routes.iter().filter(|route| holds(route, store));
            let held: Vec<_> = held.map(|route| &route.descriptor).collect();
            Err(format!("it is {state} and has peers of {held:?}; operators:{}", self.records().await))
        })
        .await;
    }

    /// Waits until every store of some has a peer of some region. Has regions scattered over and over.
    pub async fn spread_over(&self, wanted: &BTreeSet<StoreId>) {
        until("every store has peers", async || {
            let routes = self.routes().await?;
            let used: BTreeSet<_> = routes.iter().flat_map(stores).collect();
            if wanted.is_subset(&used) {
                return Ok(());
            }
            if self.operators().await? == 0 {
                self.scatter().await;
            }
            Err(format!("{used:?} have, of {wanted:?}; operators:{}", self.records().await))
        })
        .await;
    }

    /// Has peers moved by chance, each from one of some stores to another, until so many moves were successful.
    pub async fn shuffle(&self, rng: &mut Rng, stores: &BTreeSet<StoreId>, moves: usize) {
        let mut moved = 0;
        until("peers have moved", async || {
            let routes = self.routes().await?;
            let region = &routes[rng.below(routes.len() as u64) as usize];
            let [inside, outside]: [Vec<_>; 2] =
                [true, false].map(|has| stores.iter().filter(|store| holds(region, **store) == has).collect());
            let (Some(from), Some(to)) = (one_of(rng, &inside), one_of(rng, &outside)) else {
                return Err(format!("{region:?} cannot move among {stores:?}"));
            };
            moved += usize::from(self.has_moved(region.descriptor.id, from, to).await?);
            if moved >= moves {
                Ok(())
            } else {
                Err(format!("{moved} of {moves} have; operators:{}", self.records().await))
            }
        })
        .await;
    }

    /// Has a peer moved, and waits until its operator has ended. Whether it was successful.
    async fn has_moved(&self, region: RegionId, from: StoreId, to: StoreId) -> Result<bool, String> {
        let names = json!({ "from_store_id": from.0, "to_store_id": to.0 });
        self.has_done("transfer-peer", region, names).await
    }

    /// Asks for an operator, and waits until it has ended. Whether it was successful.
    async fn has_done(&self, name: &str, region: RegionId, mut wish: Value) -> Result<bool, String> {
        (wish["name"], wish["region_id"]) = (json!(name), json!(region.0));
        self.ask("POST", "/operators", &wish).await?;
        let status = until("an operator ends", async || {
            let operator = self.ask("GET", &format!("/operators/{region}"), &Value::Null).await?;
            if operator["status"] == "RUNNING" { Err(operator.to_string()) } else { Ok(operator["status"].clone()) }
        });
        Ok(status.await == "SUCCESS")
    }

    /// Has the region that holds a key cut there, unless it begins there, and waits until that is known.
    pub async fn split_at(&self, key: &str) {
        let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        until(&format!("a region begins at {key}"), async || {
            let route = self.pd.get_region(&key.to_owned().into()).await.map_err(|error| error.to_string())?;
            let region = route.ok_or("no region holds it")?.descriptor;
            if region.range.start == key {
                return Ok(());
            }
            let is_cut = self.has_done("split-region", region.id, json!({ "policy": "usekey", "keys": [hex] })).await?;
            Err(format!("{region:?} was cut: {is_cut}"))
        })
        .await;
    }

    /// Hands leaderships over, drawn by chance, until so many were.
    pub async fn hand_over(&self, rng: &mut Rng, wanted: usize) {
        let mut done = 0;
        until("leaderships are handed over", async || {
            let routes = self.routes().await?;
            let region = &routes[rng.below(routes.len() as u64) as usize];
            let leader = region.leader.as_ref().map(|leader| leader.store_id);
            let followers: Vec<_> = stores(region).filter(|store| Some(*store) != leader).collect();
            let Some(to) = one_of(rng, &followers.iter().collect::<Vec<_>>()) else {
                return Err(format!("{region:?} has nobody to hand over to"));
            };
            let wish = json!({ "to_store_id": to.0 });
            done += usize::from(self.has_done("transfer-leader", region.descriptor.id, wish).await?);
            if done >= wanted { Ok(()) } else { Err(format!("{done} of {wanted} are")) }
        })
        .await;
    }

    /// Waits until all keys are in regions that each have a leader and three voters, and nobody else, on the wanted stores.
    pub async fn settled_on(&self, wanted: &BTreeSet<StoreId>) {
        until("every region is fully replicated", async || {
            let routes = self.routes().await?;
            check_cover(&routes)?;
            let found = routes.iter().find_map(|route| check_settled(route, wanted).err());
            match found {
                Some(found) => Err(format!("{found}; operators:{}", self.records().await)),
                None => Ok(()),
            }
        })
        .await;
    }
}

/// Every key is in one region.
pub fn check_cover(routes: &[RegionRoute]) -> Result<(), String> {
    let mut start = bytes::Bytes::new();
    for (number, route) in routes.iter().enumerate() {
        let range = &route.descriptor.range;
        if range.start != start || number > 0 && start.is_empty() {
            return Err(format!("{range:?} follows the end {start:?}"));
        }
        start = range.end.clone();
    }
    if routes.is_empty() || !start.is_empty() {
        return Err(format!("the keys from {start:?} on are in no region"));
    }
    Ok(())
}

fn stores(route: &RegionRoute) -> impl Iterator<Item = StoreId> {
    route.descriptor.peers.iter().map(|peer| peer.store_id)
}

fn holds(route: &RegionRoute, store: StoreId) -> bool {
    route.descriptor.peer_on(store).is_some()
}

fn one_of(rng: &mut Rng, stores: &[&StoreId]) -> Option<StoreId> {
    (!stores.is_empty()).then(|| *stores[rng.below(stores.len() as u64) as usize])
}

fn check_settled(route: &RegionRoute, wanted: &BTreeSet<StoreId>) -> Result<(), String> {
    let region = &route.descriptor;
    let vote = region.peers.iter().all(|peer| peer.role == PeerRole::Voter);
    let stores: BTreeSet<_> = stores(route).collect();
    let is_led = route.leader.is_some_and(|leader| region.peer(leader.id).is_some());
    let is_settled = vote && is_led && region.peers.len() == 3 && stores.len() == 3 && stores.is_subset(wanted);
    is_settled.then_some(()).ok_or_else(|| format!("{route:?} is not settled on {wanted:?}"))
}
