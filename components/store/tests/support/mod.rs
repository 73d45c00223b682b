//! A cluster of stores on one thread: engines in memory, a network that is a queue, a clock that stands still unless it
//! is told to move. Nothing here starts a thread or waits.

#![allow(dead_code, clippy::unwrap_used)]

pub mod moves;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine::memory::{CrashPoint, MemDisk};
use engine::{Family, IterRange, RegionSnapshot, StateEngine, StateRead, StoreIdent};
use observe::{Registry, StoreMetrics};
use region::{RegionMessage, Role};
use runtime::clock::{Clock, ManualClock};
use snapshot::{DeliveryStep, ReceptionStep};
use store::layout::static_regions;
use store::{
    Engines, Outbox, RegionView, Shipment, SnapshotCarrier, Stepper, Store, StoreConfig, StoreError, StoreHandle,
    StoreObserver, StoreState, Surroundings,
};
use types::seed::Seed;
use types::{
    ClusterId, ColumnFamily, CommandOutput, InstanceId, Instant, KeyRange, RegionDescriptor, RegionId, RequestError,
    RequestHeader, Responder, StoreId, WriteResult,
};
use xxhash_rust::xxh3::Xxh3;

/// Everything that happened, as a digest: two runs that did the same have the same trace.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<(Xxh3, u64)>>);

impl Trace {
    pub fn note(&self, what: &str) {
        let mut trace = self.0.lock().unwrap();
        trace.0.update(what.as_bytes());
        trace.0.update(b"\n");
        trace.1 += 1;
    }

    /// The digest, and how many things happened.
    pub fn digest(&self) -> (u64, u64) {
        let trace = self.0.lock().unwrap();
        (trace.0.digest(), trace.1)
    }
}

#[derive(Default)]
struct Wires {
    queue: VecDeque<RegionMessage>,
    cut: BTreeSet<(StoreId, StoreId)>,
    shipments: Vec<Shipment>,
    shipped: usize,
}

/// The network: messages wait until they are delivered.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Wires>>);

impl Network {
    /// How many messages wait to be delivered.
    pub fn waiting(&self) -> usize {
        self.0.lock().unwrap().queue.len()
    }

    /// How many snapshots were sent.
    pub fn shipped(&self) -> usize {
        self.0.lock().unwrap().shipped
    }
}

impl Outbox for Network {
    fn send(&self, message: RegionMessage) -> bool {
        let mut wires = self.0.lock().unwrap();
        let open = !wires.cut.contains(&(message.from.store_id, message.to.store_id));
        if open {
            wires.queue.push_back(message);
        }
        open
    }

    fn flush(&self) {}
}

impl SnapshotCarrier for Network {
    fn carry(&self, shipment: Shipment) {
        let mut wires = self.0.lock().unwrap();
        if !wires.cut.contains(&(shipment.message.from.store_id, shipment.to)) {
            wires.shipments.push(shipment);
            wires.shipped += 1;
        }
    }
}

/// Takes a snapshot to its receiver, all at once. Dropping what is left tells the sender that it did not arrive.
fn ship(shipment: Shipment, to: &StoreHandle, now: Instant) {
    let (message, mut delivery, outcome) = shipment.into_parts();
    let from = message.from.store_id;
    let Ok(mut reception) = to.offer_snapshot(from, &message, delivery.manifest().clone()) else { return };
    delivery.connected();
    delivery.answer(reception.wanted()).unwrap();
    while !reception.has_all() {
        let DeliveryStep::Chunk(chunk) = delivery.step(now).unwrap() else { panic!("the sender has more") };
        if let Some(answer) = reception.take(&chunk, now).unwrap().answer {
            delivery.answer(answer).unwrap();
        }
    }
    loop {
        if let ReceptionStep::Received(received, transfer) = reception.step(1 << 20, now).unwrap() {
            to.snapshot_received(message, received, transfer);
            break;
        }
    }
    delivery.answer(snapshot::Answer::Received).unwrap();
    assert!(matches!(delivery.step(now), Ok(DeliveryStep::Delivered)));
    outcome.respond(Some(()));
}

struct Observer {
    store: StoreId,
    trace: Trace,
    failures: Arc<Mutex<Vec<(StoreId, String)>>>,
}

impl StoreObserver for Observer {
    fn region_changed(&self, view: &RegionView) {
        let RegionView { descriptor, role, term, leader, .. } = view;
        let leader = leader.map(|leader| leader.id);
        self.trace.note(&format!("{} region {} {role:?} term {term} leader {leader:?}", self.store, descriptor.id));
    }

    fn store_failed(&self, error: &StoreError) {
        self.failures.lock().unwrap().push((self.store, error.to_string()));
    }
}

pub struct Node {
    pub id: StoreId,
    pub disk: MemDisk,
    pub stepper: Option<Stepper>,
    /// Since it was opened last.
    pub metrics: Option<Arc<StoreMetrics>>,
}

pub type Answer<T> = Arc<Mutex<Option<T>>>;

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub regions: Vec<RegionDescriptor>,
    pub network: Network,
    pub clock: ManualClock,
    pub trace: Trace,
    pub failures: Arc<Mutex<Vec<(StoreId, String)>>>,
    pub config: StoreConfig,
    /// A store that loses its power after so many steps of its lifecycle.
    pub doomed: Option<(usize, usize)>,
    /// Whether the files of its snapshots are lost then.
    pub loses_files: bool,
}

impl Cluster {
    /// Stores 1 to `stores`, bootstrapped and open, with `regions` regions cut at the keys of [`Cluster::split_keys`].
    pub fn new(stores: u64, regions: usize) -> Self {
        Self::with_config(stores, regions, StoreConfig::default())
    }

    pub fn with_config(stores: u64, regions: usize, config: StoreConfig) -> Self {
        Self::with_spare(stores, 0, regions, config)
    }

    /// The same with stores behind them that hold nothing.
    pub fn with_spare(stores: u64, spare: u64, regions: usize, config: StoreConfig) -> Self {
        let members: Vec<StoreId> = (1..=stores).map(StoreId).collect();
        let regions = static_regions(&members, &Self::split_keys(regions)).unwrap();
        let all = (1..=stores + spare).map(StoreId);
        let nodes = all.map(|id| Node { id, disk: MemDisk::default(), stepper: None, metrics: None }).collect();
        let mut cluster = Self {
            nodes,
            regions,
            network: Network::default(),
            clock: ManualClock::new(),
            trace: Trace::default(),
            failures: Arc::default(),
            config,
            doomed: None,
            loses_files: false,
        };
        for at in 0..cluster.nodes.len() {
            let engines = cluster.engines(at);
            let regions = if at < stores as usize { &cluster.regions[..] } else { &[] };
            store::bootstrap(&engines, cluster.ident(at), regions).unwrap();
            drop(engines);
            cluster.open(at).unwrap();
        }
        cluster
    }

    pub fn split_keys(regions: usize) -> Vec<Bytes> {
        (1..regions).map(|at| Bytes::from(format!("key{:04}", at * 10_000 / regions))).collect()
    }

    pub fn ident(&self, at: usize) -> StoreIdent {
        StoreIdent { cluster: ClusterId(7), store: self.nodes[at].id, instance: InstanceId(100 + at as u64) }
    }

    pub fn engines(&self, at: usize) -> Engines {
        let disk = &self.nodes[at].disk;
        Engines::in_memory(disk).unwrap()
    }

    pub fn open(&mut self, at: usize) -> Result<(), StoreError> {
        let id = self.nodes[at].id;
        let observer = Observer { store: id, trace: self.trace.clone(), failures: Arc::clone(&self.failures) };
        let metrics = Arc::new(StoreMetrics::new(&Registry::new(), id));
        self.nodes[at].metrics = Some(Arc::clone(&metrics));
        let around = Surroundings {
            outbox: Arc::new(self.network.clone()),
            carrier: Arc::new(self.network.clone()),
            observer: Arc::new(observer),
            clock: Arc::new(self.clock.clone()),
            metrics,
            logger: observe::discard_logger(),
        };
        let mut config = self.config.clone();
        config.region.seed = Seed(id.0);
        let store = Store::open(config, self.engines(at), around)?;
        self.nodes[at].stepper = Some(store.into_stepper()?);
        Ok(())
    }

    pub fn handle(&self, at: usize) -> StoreHandle {
        self.nodes[at].stepper.as_ref().unwrap().handle()
    }

    /// Drops a store as a crash would. Its disk falls back as the caller says before it is opened again.
    pub fn kill(&mut self, at: usize) {
        self.nodes[at].stepper = None;
    }

    /// Cuts a store off from all others.
    pub fn isolate(&self, at: usize) {
        (0..self.nodes.len()).filter(|other| *other != at).for_each(|other| self.cut(at, other));
    }

    /// Cuts both directions between two stores.
    pub fn cut(&self, left: usize, right: usize) {
        let (left, right) = (self.nodes[left].id, self.nodes[right].id);
        self.network.0.lock().unwrap().cut.extend([(left, right), (right, left)]);
    }

    pub fn heal(&self) {
        self.network.0.lock().unwrap().cut.clear();
    }

    /// Lets every store do its work and delivers every message, until nothing moves.
    pub fn settle(&mut self) {
        loop {
            self.crash_if_doomed();
            for node in &mut self.nodes {
                if let Some(stepper) = &mut node.stepper {
                    stepper.run_until_idle();
                }
            }
            let (messages, shipments) = {
                let mut wires = self.network.0.lock().unwrap();
                (std::mem::take(&mut wires.queue), std::mem::take(&mut wires.shipments))
            };
            let is_quiet = messages.is_empty() && shipments.is_empty();
            for shipment in shipments {
                let to = self.nodes.iter().find(|node| node.id == shipment.to).unwrap();
                if let Some(stepper) = &to.stepper {
                    ship(shipment, &stepper.handle(), self.clock.now());
                }
            }
            if is_quiet {
                return;
            }
            for message in messages {
                let raft = &message.raft;
                self.trace.note(&format!(
                    "{}->{} region {} {:?} term {} index {} entries {} commit {}",
                    message.from.store_id,
                    message.to.store_id,
                    message.region,
                    raft.get_msg_type(),
                    raft.term,
                    raft.index,
                    raft.entries.len(),
                    raft.commit
                ));
                let to = self.nodes.iter().find(|node| node.id == message.to.store_id).unwrap();
                if let Some(stepper) = &to.stepper {
                    stepper.handle().receive(message);
                }
            }
        }
    }

    fn crash_if_doomed(&mut self) {
        let Some((at, mut left)) = self.doomed.take() else { return };
        let stepper = self.nodes[at].stepper.as_mut().unwrap();
        loop {
            while stepper.step_raft(0, |_| Some(0)) || stepper.step_apply(0, |_| Some(0)) {}
            if left == 0 {
                self.kill(at);
                self.nodes[at].disk.crash_at(CrashPoint::OLDEST);
                if self.loses_files {
                    let files = self.engines(at).files;
                    files.list().unwrap().iter().for_each(|file| files.remove(&file.name).unwrap());
                }
                return self.open(at).unwrap();
            }
            if !stepper.step_lifecycle() {
                self.doomed = Some((at, left));
                return;
            }
            left -= 1;
        }
    }

    /// One tick of every store, and all that follows from it.
    pub fn tick(&mut self) {
        self.clock.advance(self.config.tick);
        for node in &mut self.nodes {
            if let Some(stepper) = &mut node.stepper {
                stepper.tick();
            }
        }
        self.settle();
    }

    /// Ticks until the condition holds.
    ///
    /// Panics when it does not within 200 ticks: several election timeouts.
    pub fn tick_until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        for _ in 0..200 {
            if condition(self) {
                return;
            }
            self.tick();
        }
        panic!("{what} did not come; failures: {:?}", self.failures.lock().unwrap());
    }

    /// The place of the store that leads a region.
    pub fn leader(&self, region: RegionId) -> Option<usize> {
        let leaders = (0..self.nodes.len()).filter(|at| {
            self.nodes[*at].stepper.is_some()
                && self.handle(*at).state() != StoreState::Failed
                && self.handle(*at).region(region).is_some_and(|view| view.role == Role::Leader)
        });
        leaders.max_by_key(|at| self.handle(*at).region(region).map(|view| view.term))
    }

    /// Looks up what the leaders say the regions are by now.
    pub fn follow(&mut self) {
        let mut regions = BTreeMap::new();
        for at in 0..self.nodes.len() {
            if self.nodes[at].stepper.is_some() {
                for view in self.handle(at).regions().into_iter().filter(|view| view.role == Role::Leader) {
                    let newest = regions.entry(view.descriptor.id).or_insert_with(|| view.clone());
                    if newest.term < view.term {
                        *newest = view;
                    }
                }
            }
        }
        self.regions = regions.into_values().map(|view| (*view.descriptor).clone()).collect();
    }

    pub fn elect_all(&mut self) {
        let ids: Vec<RegionId> = self.regions.iter().map(|region| region.id).collect();
        self.tick_until("a leader of every region", |cluster| ids.iter().all(|id| cluster.leader(*id).is_some()));
    }

    pub fn region_of(&self, key: &str) -> &RegionDescriptor {
        self.regions.iter().find(|region| region.range.contains(key.as_bytes())).unwrap()
    }

    pub fn header(&self, key: &str) -> RequestHeader {
        let region = self.region_of(key);
        RequestHeader { region_id: region.id, epoch: region.epoch, ..RequestHeader::default() }
    }

    /// Proposes a put at a store; the answer comes when the cluster settles.
    pub fn put(&self, at: usize, key: &str, value: &str) -> Answer<WriteResult> {
        let put = apply::build::put(ColumnFamily::Default, key.to_owned(), value.to_owned());
        self.write(at, key, apply::build::batch(vec![put]))
    }

    pub fn write(&self, at: usize, key: &str, command: proto::log::Command) -> Answer<WriteResult> {
        let (answer, trace, name) = (Answer::default(), self.trace.clone(), key.to_owned());
        let slot: Answer<WriteResult> = Arc::clone(&answer);
        let responder = Responder::new(move |result: WriteResult| {
            trace.note(&format!("write {name}: {result:?}"));
            assert!(slot.lock().unwrap().replace(result).is_none(), "answered twice");
        });
        self.handle(at).write(self.header(key), command, responder);
        answer
    }

    /// Reads through the leader of the key's region.
    pub fn get(&mut self, key: &str) -> Result<Option<Bytes>, RequestError> {
        let leader = self.leader(self.region_of(key).id).unwrap();
        let answer = self.read(leader, key);
        self.settle();
        let answer = answer.lock().unwrap().take().expect("a settled cluster answers");
        answer.map(|snapshot| snapshot.data.get(Family::User(ColumnFamily::Default), key.as_bytes()).unwrap())
    }

    pub fn read(&self, at: usize, key: &str) -> Answer<Result<RegionSnapshot, RequestError>> {
        let answer = Answer::default();
        let slot: Answer<Result<RegionSnapshot, RequestError>> = Arc::clone(&answer);
        let responder = Responder::new(move |result| {
            assert!(slot.lock().unwrap().replace(result).is_none(), "answered twice");
        });
        self.handle(at).read(self.header(key), responder);
        answer
    }

    /// Writes through leaders, ticking where one is missing, until every pair is acknowledged.
    pub fn put_all(&mut self, pairs: &BTreeMap<String, String>) {
        let mut left: Vec<(&String, &String)> = pairs.iter().collect();
        self.tick_until("acknowledgement of every write", |cluster| {
            let mut asked = Vec::new();
            for pair in left.drain(..) {
                let leader = cluster.leader(cluster.region_of(pair.0).id);
                asked.push((pair, leader.map(|leader| cluster.put(leader, pair.0, pair.1))));
            }
            cluster.settle();
            for (pair, answer) in asked {
                if !answer.is_some_and(|answer| matches!(*answer.lock().unwrap(), Some(Ok(CommandOutput::Written)))) {
                    left.push(pair);
                }
            }
            left.is_empty()
        });
    }

    /// All user data of a store.
    pub fn content(&self, at: usize) -> Vec<(Bytes, Bytes)> {
        let engines = self.handle(at).engines().clone();
        content(&*engines.state)
    }
}

pub fn content(state: &dyn StateEngine) -> Vec<(Bytes, Bytes)> {
    let read: &dyn StateRead = state;
    let mut iter = read.iter(Family::User(ColumnFamily::Default), IterRange::new(KeyRange::all())).unwrap();
    let (mut pairs, mut valid) = (Vec::new(), iter.seek_to_first().unwrap());
    while valid {
        pairs.push((Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value())));
        valid = iter.next().unwrap();
    }
    pairs
}

/// Keys that lie in every region of a cluster, with values that name the round.
pub fn pairs(count: usize, round: &str) -> BTreeMap<String, String> {
    (0..count).map(|at| (format!("key{:04}", at * 10_000 / count), format!("{round}-{at}"))).collect()
}

pub const SECOND: Duration = Duration::from_secs(1);

pub fn now(clock: &ManualClock) -> types::Instant {
    clock.now()
}
