//! The same stores on threads.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine::StoreIdent;
use engine::memory::{CrashPoint, MemDisk};
use observe::{Registry, StoreMetrics};
use region::{RegionMessage, Role};
use runtime::clock::{Clock, MonotonicClock};
use runtime::spawn::ThreadSpawner;
use store::layout::static_regions;
use store::{
    Engines, Outbox, RegionView, RunningStore, StopProgress, Store, StoreConfig, StoreError, StoreHandle,
    StoreObserver, StoreState, Surroundings,
};
use types::{ClusterId, ColumnFamily, InstanceId, RegionDescriptor, RequestHeader, Responder, StoreId, WriteResult};

/// Longest that any condition may take; only a hang meets it.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Hub(Arc<Mutex<BTreeMap<StoreId, StoreHandle>>>);

impl Outbox for Hub {
    fn send(&self, message: RegionMessage) -> bool {
        let to = self.0.lock().unwrap().get(&message.to.store_id).cloned();
        to.map(|store| store.receive(message)).is_some()
    }

    fn flush(&self) {}
}

struct Silent;

impl StoreObserver for Silent {
    fn region_changed(&self, _: &RegionView) {}
    fn store_failed(&self, error: &StoreError) {
        panic!("{error}");
    }
}

struct Threaded {
    hub: Hub,
    disks: Vec<MemDisk>,
    stores: Vec<Option<RunningStore>>,
    regions: Vec<RegionDescriptor>,
    config: StoreConfig,
}

impl Threaded {
    fn new(config: StoreConfig) -> Self {
        let members: Vec<StoreId> = (1..=3).map(StoreId).collect();
        let split_keys: Vec<Bytes> = ["g", "p", "t"].map(Bytes::from).to_vec();
        let regions = static_regions(&members, &split_keys).unwrap();
        let disks = (0..3).map(|_| MemDisk::default()).collect();
        let mut cluster = Self { hub: Hub::default(), disks, stores: (0..3).map(|_| None).collect(), regions, config };
        for at in 0..3 {
            let ident =
                StoreIdent { cluster: ClusterId(1), store: StoreId(at as u64 + 1), instance: InstanceId(at as u64) };
            store::bootstrap(&cluster.engines(at), ident, &cluster.regions).unwrap();
            cluster.start(at);
        }
        cluster
    }

    fn engines(&self, at: usize) -> Engines {
        let disk = &self.disks[at];
        Engines::in_memory(disk).unwrap()
    }

    fn start(&mut self, at: usize) {
        let id = StoreId(at as u64 + 1);
        let around = Surroundings {
            outbox: Arc::new(self.hub.clone()),
            carrier: Arc::new(store::NoCarrier),
            observer: Arc::new(Silent),
            clock: Arc::new(MonotonicClock::new()),
            metrics: Arc::new(StoreMetrics::new(&Registry::new(), id)),
            logger: observe::discard_logger(),
        };
        let mut config = self.config.clone();
        config.region.seed = types::seed::Seed(id.0);
        let running = Store::open(config, self.engines(at), around).unwrap().start(&ThreadSpawner).unwrap();
        self.hub.0.lock().unwrap().insert(id, running.handle());
        self.stores[at] = Some(running);
    }

    fn put(&self, key: &str, value: &str) {
        let clock = MonotonicClock::new();
        let deadline = clock.now() + DEADLINE;
        loop {
            let region = self.regions.iter().find(|region| region.range.contains(key.as_bytes())).unwrap();
            let header = RequestHeader { region_id: region.id, epoch: region.epoch, ..Default::default() };
            for store in self.stores.iter().flatten() {
                let (sender, receiver): (_, Receiver<WriteResult>) = channel();
                let put = apply::build::put(ColumnFamily::Default, key.to_owned(), value.to_owned());
                let responder = Responder::new(move |result| sender.send(result).unwrap_or(()));
                store.handle().write(header, apply::build::batch(vec![put]), responder);
                if receiver.recv_timeout(DEADLINE).unwrap().is_ok() {
                    return;
                }
            }
            assert!(clock.now() < deadline, "{key} was not taken");
            std::thread::yield_now();
        }
    }

    fn leaders(&self, at: usize) -> usize {
        let regions = self.stores[at].as_ref().unwrap().handle().regions();
        regions.iter().filter(|view| view.role == Role::Leader).count()
    }
}

const KEYS: [&str; 6] = ["a", "h", "i", "q", "u", "z"];

fn write_stop_and_write(config: StoreConfig) {
    let mut cluster = Threaded::new(config);
    for key in KEYS {
        cluster.put(key, "first");
    }
    let busiest = (0..3).max_by_key(|at| cluster.leaders(*at)).unwrap();
    let mut progress = Vec::new();
    let stopped = cluster.stores[busiest].take().unwrap();
    let handle = stopped.handle();
    stopped.stop(&mut |step| progress.push(step)).unwrap();
    assert_eq!(handle.state(), StoreState::Stopped);
    assert_eq!(progress.last(), Some(&StopProgress::Stopped));
    assert!(progress.contains(&StopProgress::Leaders(0)), "leaders were not handed over: {progress:?}");
    drop(handle);
    cluster.hub.0.lock().unwrap().remove(&StoreId(busiest as u64 + 1));
    for key in KEYS {
        cluster.put(key, "second");
    }
    // What a graceful stop leaves needs no replay, even where a crash follows.
    cluster.disks[busiest].crash_at(CrashPoint::OLDEST);
    cluster.start(busiest);
    assert_eq!(cluster.stores[busiest].as_ref().unwrap().handle().counts().replaying, 0);
    for key in KEYS {
        cluster.put(key, "third");
    }
}

#[test]
fn a_graceful_stop_hands_leaders_over_and_leaves_nothing_to_replay() {
    write_stop_and_write(StoreConfig::default());
}

#[test]
fn several_pollers_and_a_log_writer_do_the_same() {
    let config = StoreConfig { raft_pollers: 2, apply_pollers: 2, log_writer_thread: true, ..StoreConfig::default() };
    write_stop_and_write(config);
}
