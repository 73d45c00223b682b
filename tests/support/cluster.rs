//! A coordinator and stores.

use std::collections::BTreeMap;
use std::path::Path;

use client::{ClientConfig, PdClient, PdConfig, RawClient, RegionRoute};
use tempfile::TempDir;
use types::{KeyRange, StoreId};

use super::http;
use super::process::{Limits, Process};
use super::wait::until;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterShape {
    /// How many stores begin, and how many replicas each region has.
    pub stores: usize,
    /// Where the regions are cut at first.
    pub split_keys: Vec<String>,
    /// Settings of the stores: the environment variable's name behind its prefix, and the value.
    pub settings: Vec<(&'static str, String)>,
}

impl Default for ClusterShape {
    fn default() -> Self {
        Self { stores: 3, split_keys: ["d", "h", "m", "r", "w"].map(String::from).to_vec(), settings: Vec::new() }
    }
}

impl ClusterShape {
    /// The same with a setting of the stores.
    #[must_use]
    pub fn setting(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.push((name, value.to_string()));
        self
    }

    fn store(&self, number: usize, coordinator: &Process, dir: &Path) -> Process {
        let name = format!("store-{}", number + 1);
        let store = Process::new(&name, "server", dir).flag("--pd-endpoints", &coordinator.address);
        self.settings.iter().fold(store, |store, (name, value)| store.setting(name, value))
    }
}

/// A running cluster. Dropping it ends its processes and removes their data, unless a test failed: then it says where
/// they are.
pub struct Cluster {
    pub shape: ClusterShape,
    pub coordinator: Process,
    /// In no order of store ids.
    pub stores: Vec<Process>,
    /// How many stores there were ever: their names are numbers.
    made: usize,
    dir: TempDir,
}

impl Cluster {
    /// Starts a cluster, and waits until clients find a leader of every region.
    pub async fn start(shape: ClusterShape) -> Self {
        Self::start_placed(shape, |process, _| process).await
    }

    /// Starts a cluster whose processes are first given a place in a network: the coordinator, then each store with its
    /// place in [`stores`](Self::stores).
    pub async fn start_placed(shape: ClusterShape, mut place: impl FnMut(Process, Option<usize>) -> Process) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let coordinator =
            Process::new("coordinator", "coordinator", dir.path()).flag("--replicas", &shape.stores.to_string());
        let coordinator = if shape.split_keys.is_empty() {
            coordinator.flag("--initial-regions", "1")
        } else {
            coordinator.flag("--split-keys", &shape.split_keys.join(","))
        };
        let mut coordinator = place(coordinator, None);
        coordinator.start();
        let store = |number: usize| place(shape.store(number, &coordinator, dir.path()), Some(number));
        let mut stores: Vec<_> = (0..shape.stores).map(store).collect();
        stores.iter_mut().for_each(Process::start);
        let made = stores.len();
        let mut cluster = Self { shape, coordinator, stores, made, dir };
        cluster.ready().await;
        cluster
    }

    /// Waits until every process serves and clients find a leader, on a running store, of every region.
    pub async fn ready(&mut self) {
        self.coordinator.ready().await;
        for store in self.stores.iter_mut().filter(|store| store.is_running()) {
            store.ready().await;
        }
        self.leaders_known().await;
    }

    /// Waits until the coordinator knows a leader, on a running store, of every region.
    pub async fn leaders_known(&self) {
        let pd = self.pd().await;
        let running: Vec<_> =
            self.stores.iter().filter(|store| store.is_running()).map(|store| store.address.clone()).collect();
        until("the coordinator knows every region's leader", async || {
            let addresses = store_addresses(&pd).await?;
            let routes = routes(&pd).await?;
            let wanted = self.shape.split_keys.len() + 1;
            if routes.len() < wanted {
                return Err(format!("it knows {} of {wanted} regions", routes.len()));
            }
            for route in &routes {
                let leader = route.leader.as_ref().ok_or_else(|| format!("no leader of {:?}", route.descriptor.id))?;
                let address = addresses.get(&leader.store_id.0);
                if !address.is_some_and(|address| running.contains(address)) {
                    return Err(format!("{:?} is led by {leader:?}, which does not run", route.descriptor.id));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Starts one more store, with an empty disk, and waits until it serves. Returns its place.
    pub async fn add_store(&mut self) -> usize {
        let mut store = self.shape.store(self.made, &self.coordinator, self.dir.path());
        self.made += 1;
        store.start();
        store.ready().await;
        self.stores.push(store);
        self.stores.len() - 1
    }

    /// Where clients begin.
    pub fn endpoints(&self) -> Vec<String> {
        vec![self.coordinator.address.clone()]
    }

    /// A client of the coordinator.
    pub async fn pd(&self) -> PdClient {
        until("the coordinator can be asked", async || {
            let logger = slog::Logger::root(slog::Discard, slog::o!());
            PdClient::connect(PdConfig::new(self.endpoints()), logger).await.map_err(|error| error.to_string())
        })
        .await
    }

    /// A client over our own stubs.
    pub async fn raw_client(&self) -> RawClient {
        RawClient::new(self.pd().await, ClientConfig::default())
    }

    /// A client over our own stubs that never sends a write again whose outcome is unknown.
    pub async fn raw_client_that_writes_once(&self) -> RawClient {
        RawClient::new(self.pd().await, ClientConfig { repeat_unknown_writes: false, ..ClientConfig::default() })
    }

    /// TiKV's client.
    pub async fn tikv_client(&self) -> tikv_client::RawClient {
        tikv_client::RawClient::new(self.endpoints()).await.unwrap()
    }

    /// Which store (by its place in [`stores`](Self::stores)) leads each region, in key order, as the coordinator knows.
    pub async fn leaders(&self) -> Vec<(KeyRange, usize)> {
        let pd = self.pd().await;
        let addresses = store_addresses(&pd).await.unwrap();
        let place = |route: RegionRoute| {
            let leader = route.leader.expect("leaders_known was waited for");
            let address = &addresses[&leader.store_id.0];
            let place = self.stores.iter().position(|store| &store.address == address);
            (route.descriptor.range, place.expect("the coordinator knows our stores"))
        };
        routes(&pd).await.unwrap().into_iter().map(place).collect()
    }

    /// The region that holds a key, and the place of its leader's store.
    pub async fn route(&self, key: &[u8]) -> (RegionRoute, usize) {
        let pd = self.pd().await;
        let addresses = store_addresses(&pd).await.unwrap();
        let route = pd.get_region(&key.to_vec().into()).await.unwrap().expect("every key has a region");
        let address = &addresses[&route.leader.expect("leaders_known was waited for").store_id.0];
        let place = self.stores.iter().position(|store| &store.address == address);
        (route, place.expect("the coordinator knows our stores"))
    }

    /// Every region, in key order, as the coordinator knows them.
    pub async fn routes(&self) -> Vec<RegionRoute> {
        routes(&self.pd().await).await.unwrap()
    }

    /// The place of a store.
    pub async fn place(&self, store: StoreId) -> usize {
        let addresses = store_addresses(&self.pd().await).await.unwrap();
        self.stores.iter().position(|process| process.address == addresses[&store.0]).expect("it is one of ours")
    }

    /// Starts a store that does not run, on its old ports and data, and waits until it serves.
    pub async fn restart(&mut self, store: usize) {
        self.stores[store].start();
        self.stores[store].ready().await;
    }

    /// Starts a store within limits.
    pub async fn restart_with(&mut self, store: usize, limits: Limits) {
        self.stores[store].start_with(limits);
        self.stores[store].ready().await;
    }

    /// A metric of a store, summed over its labels.
    pub async fn metric(&self, store: usize, name: &str) -> f64 {
        http::metric(&self.stores[store].status_address, name).await.unwrap()
    }

    /// Waits until every running store has applied what the others have, region by region.
    pub async fn caught_up(&self) {
        let running: Vec<_> =
            self.stores.iter().filter(|store| store.is_running()).map(|store| store.status_address.clone()).collect();
        let pd = self.pd().await;
        for route in routes(&pd).await.unwrap() {
            let path = format!("/region/{}", route.descriptor.id.0);
            until("every store has applied the same", async || {
                let mut applied = Vec::new();
                for address in &running {
                    let status = http::json(address, &path).await?;
                    applied.push((status["applied_index"].as_u64(), status["last_index"].as_u64()));
                }
                let first = applied[0];
                let same = first.0 == first.1 && applied.iter().all(|other| *other == first);
                same.then_some(()).ok_or_else(|| format!("{path}: applied and last indexes are {applied:?}"))
            })
            .await;
        }
    }

    /// # Panics
    /// When any process told of a panic.
    pub fn assert_no_panic(&self) {
        self.coordinator.assert_no_panic();
        self.stores.iter().for_each(Process::assert_no_panic);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("======== logs and data are left in {} ========", self.dir.path().display());
        }
    }
}

async fn routes(pd: &PdClient) -> Result<Vec<RegionRoute>, String> {
    pd.scan_regions(&KeyRange::new("", ""), 10_000).await.map_err(|error| error.to_string())
}

async fn store_addresses(pd: &PdClient) -> Result<BTreeMap<u64, String>, String> {
    let stores = pd.get_all_stores().await.map_err(|error| error.to_string())?;
    Ok(stores.into_iter().map(|store| (store.id, store.address)).collect())
}
