//! A coordinator and stores in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use client::{PdClient, PdConfig};
use observe::Registry;
use runtime::spawn::{Spawner, ThreadSpawner};
use server::config::Config;
use server::node::{CoordinatorNode, NodeError, StoreNode, intent};
use slog::{Logger, info};
use store::StopProgress;
use tokio::runtime::Handle;
use types::{RegionId, RequestError, Responder, StoreId};

use super::error::PlaygroundError;
use super::interrupt::Interrupt;
use super::network::Network;
use super::status::{self, RegionRow, StoreRow};
use super::{MAX_STORES, keys, ports};

/// Replicas of each region where there are as many stores.
const REPLICAS: usize = 3;

/// How often a start looks whether it was interrupted, and whether the store before has its id.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What the directories of stores are called, but for their numbers.
const STORE_DIR: &str = "store-";

/// How long a transfer of a leader may take.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the cluster shall be.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// Stores, unless the data directory holds more of them.
    pub stores: usize,
    /// Regions that a fresh cluster begins with.
    pub regions: usize,
    /// Where everything lies.
    pub data_dir: PathBuf,
}

/// What a cluster needs of the process around it.
#[derive(Clone)]
pub struct Surroundings {
    /// Runs clients.
    pub runtime: Handle,
    /// Told when the process shall end.
    pub interrupt: Interrupt,
    /// The log.
    pub logger: Logger,
}

/// The running cluster. Each process of it has a metric registry of its own, as if it were one.
pub struct Cluster {
    pub(super) coordinator: CoordinatorNode,
    pd: PdClient,
    data_dir: PathBuf,
    pub(super) members: BTreeMap<StoreId, Member>,
    network: Network,
    pub(super) around: Surroundings,
}

/// A store, whether it runs or not.
pub(super) struct Member {
    /// With the addresses that it got, so that it comes back at the same.
    pub(super) config: Config,
    pub(super) node: Option<StoreNode>,
    /// Counted from 1; tells its directory and its usual ports.
    pub(super) number: usize,
}

impl Cluster {
    /// Starts the coordinator and the stores. Blocks; not to be called in a tokio runtime.
    ///
    /// # Errors
    /// When one of them cannot start, or the process shall end.
    pub fn start(plan: &ClusterPlan, around: Surroundings) -> Result<Self, PlaygroundError> {
        let numbers = numbers(plan.stores, &stores_in(&plan.data_dir)?);
        let mut config = coordinator_config(plan, numbers.len());
        let coordinator = ports::start_at_free_ports(&mut config, |config| {
            CoordinatorNode::start(config, &Registry::new(), &around.logger)
        })?;
        let endpoint = coordinator.address().to_owned();
        let pd = PdClient::connect(PdConfig::new([&endpoint]), around.logger.clone());
        let pd = around.runtime.block_on(around.interrupt.or(pd))?;
        let (members, network) = (BTreeMap::new(), Network::new(around.runtime.clone()));
        let data_dir = plan.data_dir.clone();
        let mut cluster = Self { coordinator, pd, data_dir, members, network, around };
        let (sender, started) = sync_channel(numbers.len());
        for (before, number) in numbers.iter().enumerate() {
            let config = store_config(&plan.data_dir, &endpoint, *number);
            let store_dir = config.server.data_dir.clone();
            cluster.start_in_background(config, *number, sender.clone())?;
            cluster.wait_named(&store_dir, before + 1, &started)?;
        }
        while cluster.members.len() < numbers.len() {
            cluster.take_started(&started)?;
        }
        cluster.hurry()?;
        Ok(cluster)
    }

    /// Starts one more store, which joins the cluster; gives its id. Blocks.
    ///
    /// # Errors
    /// When there are as many as there may be, or it cannot start.
    pub fn add(&mut self) -> Result<StoreId, PlaygroundError> {
        let taken: BTreeSet<usize> = self.members.values().map(|member| member.number).collect();
        if taken.len() >= MAX_STORES {
            return Err(PlaygroundError::TooMany(MAX_STORES));
        }
        let number = (1..).find(|number| !taken.contains(number)).expect("numbers do not end");
        let before: BTreeSet<StoreId> = self.members.keys().copied().collect();
        let config = store_config(&self.data_dir, self.coordinator.address(), number);
        let (sender, started) = sync_channel(1);
        self.start_in_background(config, number, sender)?;
        loop {
            self.take_started(&started)?;
            if let Some(id) = self.members.keys().find(|id| !before.contains(id)) {
                return Ok(*id);
            }
        }
    }

    /// The network between the stores.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A start waits for the others to join, so each has a thread.
    fn start_in_background(
        &self,
        mut config: Config,
        number: usize,
        started: SyncSender<Started>,
    ) -> Result<(), PlaygroundError> {
        let (logger, network) = (self.around.logger.clone(), self.network.clone());
        let start = move || {
            let node = ports::start_at_free_ports(&mut config, |config| {
                let through = |from, outside| network.seen_from(from, outside);
                StoreNode::start_through(config, &Registry::new(), &logger, through)
            });
            // Nobody waits any more when the process ends.
            let _ = started.send(Started { config, number, node });
        };
        ThreadSpawner.spawn("start-store", Box::new(start)).map_err(PlaygroundError::Threads)?;
        Ok(())
    }

    /// Waits until so many stores have an id, the last of them the one in this directory, so that the next one gets a higher one. A fresh store writes
    /// its id down before it waits for others; one that is not fresh waits for nobody.
    fn wait_named(
        &mut self,
        store_dir: &Path,
        stores: usize,
        started: &Receiver<Started>,
    ) -> Result<(), PlaygroundError> {
        while self.members.len() < stores && intent::read(store_dir).map_err(NodeError::from)?.is_none() {
            self.take_started(started)?;
        }
        Ok(())
    }

    /// Takes in a store that has started, if one has lately.
    fn take_started(&mut self, started: &Receiver<Started>) -> Result<(), PlaygroundError> {
        self.around.interrupt.check()?;
        match started.recv_timeout(LOOK_INTERVAL) {
            Ok(started) => self.take_in(started),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(()),
        }
    }

    fn take_in(&mut self, Started { mut config, number, node }: Started) -> Result<(), PlaygroundError> {
        let node = node?;
        node.address().clone_into(&mut config.server.addr);
        node.status_address().clone_into(&mut config.server.status_addr);
        self.members.insert(node.store_id(), Member { config, node: Some(node), number });
        Ok(())
    }

    /// The coordinator's addresses: for clients and stores, and for status requests.
    pub fn coordinator_addresses(&self) -> (&str, &str) {
        (self.coordinator.address(), self.coordinator.status_address())
    }

    /// A client of the coordinator.
    pub fn pd(&self) -> &PdClient {
        &self.pd
    }

    fn nodes(&self) -> impl Iterator<Item = &StoreNode> + Clone {
        self.members.values().filter_map(|member| member.node.as_ref())
    }

    /// Every store.
    pub fn stores(&self) -> Vec<StoreRow> {
        let row = |(id, member): (&StoreId, &Member)| StoreRow {
            id: *id,
            address: member.config.server.addr.clone(),
            status_address: member.config.server.status_addr.clone(),
            running: member.node.as_ref().map(status::store_row),
        };
        self.members.iter().map(row).collect()
    }

    /// Every region with a peer on a running store.
    pub fn regions(&self) -> Vec<RegionRow> {
        status::region_rows(self.nodes())
    }

    /// Whether every region has a leader.
    pub fn all_led(&self) -> bool {
        status::all_led(self.nodes())
    }

    /// Ends a store as a crash would.
    ///
    /// # Errors
    /// When there is no such store, or it does not run.
    pub fn kill(&mut self, store: StoreId) -> Result<(), PlaygroundError> {
        let node = self.member(store)?.node.take().ok_or(PlaygroundError::NotRunning(store))?;
        node.kill();
        Ok(())
    }

    /// Starts a killed store again on its data and ports.
    ///
    /// # Errors
    /// When there is no such store, it runs, or it cannot start.
    pub fn restart(&mut self, store: StoreId) -> Result<(), PlaygroundError> {
        let member = self.member(store)?;
        if member.node.is_some() {
            return Err(PlaygroundError::Running(store));
        }
        let (config, number) = (member.config.clone(), member.number);
        let (sender, started) = sync_channel(1);
        self.start_in_background(config, number, sender)?;
        while self.member(store)?.node.is_none() {
            self.take_started(&started)?;
        }
        Ok(())
    }

    pub(super) fn member(&mut self, store: StoreId) -> Result<&mut Member, PlaygroundError> {
        let known: Vec<StoreId> = self.members.keys().copied().collect();
        self.members.get_mut(&store).ok_or(PlaygroundError::UnknownStore { given: store, known })
    }

    /// Has a region led by its peer on a store.
    ///
    /// # Errors
    /// When the region is not led, or refuses.
    pub fn transfer(&mut self, region: RegionId, to: StoreId) -> Result<(), PlaygroundError> {
        self.member(to)?;
        let views = self.nodes().filter_map(|node| Some((node, node.handle().region(region)?)));
        let views: Vec<_> = views.collect();
        if views.is_empty() {
            return Err(PlaygroundError::UnknownRegion(region));
        }
        let leaders = views.iter().filter(|(_, view)| view.role == region::Role::Leader);
        let (leader, _) = leaders.max_by_key(|(_, view)| view.term).ok_or(PlaygroundError::NoLeader(region))?;
        let (sender, answer) = sync_channel(1);
        let responder = Responder::new(move |result: Result<(), RequestError>| {
            // Whoever answers too late is not heard.
            let _ = sender.send(result);
        });
        leader.handle().transfer_leader(region, to, responder);
        let answer = answer.recv_timeout(TRANSFER_TIMEOUT).map_err(|_| PlaygroundError::NoAnswer(region))?;
        Ok(answer?)
    }

    /// Stops every store in order, then the coordinator.
    ///
    /// # Errors
    /// The first store's that failed to; the others are stopped all the same.
    pub fn stop(self, mut progress: impl FnMut(StoreId, StopProgress)) -> Result<(), PlaygroundError> {
        let mut result = Ok(());
        for (id, member) in self.members {
            if let Some(node) = member.node {
                let stopped = node.stop(&mut |step| {
                    info!(self.around.logger, "stopping"; "store_id" => id.0, "step" => ?step);
                    progress(id, step);
                });
                result = result.and(stopped);
            }
        }
        Ok(result.and(self.coordinator.stop())?)
    }
}

/// A store that has started, or has not.
struct Started {
    config: Config,
    number: usize,
    node: Result<StoreNode, NodeError>,
}

fn coordinator_config(plan: &ClusterPlan, stores: usize) -> Config {
    let mut config = Config::default();
    let coordinator = &mut config.coordinator;
    ports::COORDINATOR.clone_into(&mut coordinator.addr);
    ports::COORDINATOR_STATUS.clone_into(&mut coordinator.status_addr);
    coordinator.data_dir = plan.data_dir.join("coordinator");
    coordinator.replicas = stores.min(REPLICAS) as u32;
    coordinator.initial_stores = stores as u32;
    coordinator.split_keys = keys::split_keys(plan.regions);
    // Without split keys the number of regions counts.
    coordinator.initial_regions = 1;
    config
}

fn store_config(data_dir: &Path, endpoint: &str, number: usize) -> Config {
    let mut config = Config::default();
    let server = &mut config.server;
    server.addr = ports::store(number);
    server.status_addr = ports::store_status(number);
    server.data_dir = store_dir(data_dir, number);
    server.pd_endpoints = vec![endpoint.to_owned()];
    config
}

fn store_dir(data_dir: &Path, number: usize) -> PathBuf {
    data_dir.join(format!("{STORE_DIR}{number}"))
}

/// The numbers of the stores that an earlier playground left in the data directory: a cluster is not whole without them.
fn stores_in(data_dir: &Path) -> Result<BTreeSet<usize>, PlaygroundError> {
    let failed = |source| PlaygroundError::DataDir { path: data_dir.display().to_string(), source };
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(data_dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(STORE_DIR)?.parse().ok());
        numbers.extend(number.filter(|number| store_dir(data_dir, *number).is_dir()));
    }
    Ok(numbers)
}

/// The numbers of all stores: of those that there were, and of so many more that `stores` are reached.
fn numbers(stores: usize, known: &BTreeSet<usize>) -> Vec<usize> {
    let fresh = (1..).filter(|number| !known.contains(number)).take(stores.saturating_sub(known.len()));
    let mut numbers: Vec<usize> = known.iter().copied().chain(fresh).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plan(stores: usize, regions: usize) -> ClusterPlan {
        ClusterPlan { stores, regions, data_dir: PathBuf::from("/d") }
    }

    #[test]
    fn the_layout_is_what_was_asked_for() {
        for (stores, regions, replicas) in [(1, 1, 1), (2, 3, 2), (3, 16, 3), (5, 100, 3)] {
            let config = coordinator_config(&plan(stores, regions), stores);
            config.validate().unwrap();
            let laid_out = config.coordinator.coordinator_config(types::ClusterId(1));
            assert_eq!((laid_out.split_keys.len() + 1, laid_out.replicas), (regions, replicas));
            assert_eq!(laid_out.expected_stores, stores);
        }
    }

    #[test]
    fn stores_have_their_own_places() {
        let [one, two] = [1, 2].map(|number| store_config(Path::new("/d"), "127.0.0.1:2379", number).server);
        assert_ne!((&one.addr, &one.status_addr, &one.data_dir), (&two.addr, &two.status_addr, &two.data_dir));
        assert_eq!(one.pd_endpoints, ["127.0.0.1:2379"]);
    }

    #[test]
    fn stores_of_an_earlier_playground_are_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(stores_in(dir.path()).unwrap(), BTreeSet::new());
        for number in [1, 2, 4] {
            fs::create_dir(store_dir(dir.path(), number)).unwrap();
        }
        fs::write(dir.path().join("store-9"), "").unwrap();
        assert_eq!(stores_in(dir.path()).unwrap(), BTreeSet::from([1, 2, 4]));
        assert!(stores_in(&dir.path().join("none")).is_err());
    }

    #[test]
    fn stores_take_the_places_of_those_that_left() {
        assert_eq!(numbers(3, &BTreeSet::new()), [1, 2, 3]);
        assert_eq!(numbers(3, &BTreeSet::from([1, 3, 4])), [1, 3, 4]);
        assert_eq!(numbers(4, &BTreeSet::from([1, 3])), [1, 2, 3, 4]);
        assert_eq!(numbers(1, &BTreeSet::from([2, 3])), [2, 3]);
    }
}
