//! A member that was away for too long is brought forward by a snapshot, within the process.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use embed::{LocalNetwork, Network};
use engine::memory::MemDisk;
use engine::{Family, StoreIdent};
use observe::{Registry, StoreMetrics};
use region::Role;
use runtime::clock::MonotonicClock;
use runtime::spawn::ThreadSpawner;
use store::layout::static_regions;
use store::{
    Engines, RegionView, RunningStore, Store, StoreConfig, StoreError, StoreHandle, StoreObserver, Surroundings,
};
use types::{ColumnFamily, RequestError, RequestHeader, Responder, StoreId, WriteResult};

const MEMBERS: [StoreId; 3] = [StoreId(1), StoreId(2), StoreId(3)];
/// Longest that anything may take; only a hang meets it.
const DEADLINE: Duration = Duration::from_secs(60);

struct Nobody;

impl StoreObserver for Nobody {
    fn region_changed(&self, _: &RegionView) {}

    fn store_failed(&self, error: &StoreError) {
        panic!("{error}");
    }
}

/// Opens a member whose log keeps next to nothing for those that are away.
fn open(network: &LocalNetwork, disk: &MemDisk, id: StoreId) -> RunningStore {
    let engines = Engines::in_memory(disk).unwrap();
    if store::bootstrapped(&engines).unwrap().is_none() {
        let ident = StoreIdent { cluster: 7.into(), store: id, instance: id.0.into() };
        store::bootstrap(&engines, ident, &static_regions(&MEMBERS, &[]).unwrap()).unwrap();
    }
    let around = Surroundings {
        outbox: network.outbox(id),
        carrier: network.carrier(id),
        observer: Arc::new(Nobody),
        clock: Arc::new(MonotonicClock::new()),
        metrics: Arc::new(StoreMetrics::new(&Registry::new(), id)),
        logger: observe::discard_logger(),
    };
    let mut config = StoreConfig { tick: Duration::from_millis(10), ..StoreConfig::default() };
    (config.region.compact_entries, config.region.max_log_bytes) = (8, 4 << 10);
    config.region.seed = types::seed::Seed(id.0);
    let running = Store::open(config, engines, around).unwrap().start(&ThreadSpawner).unwrap();
    network.join(running.handle());
    running
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

fn leader<'a>(stores: impl IntoIterator<Item = &'a StoreHandle>) -> Option<&'a StoreHandle> {
    stores.into_iter().find(|store| store.regions().iter().any(|view| view.role == Role::Leader))
}

fn put(store: &StoreHandle, key: String, value: &[u8]) -> WriteResult {
    let view = &store.regions()[0];
    let header =
        RequestHeader { region_id: view.descriptor.id, epoch: view.descriptor.epoch, ..RequestHeader::default() };
    let put = apply::build::put(ColumnFamily::Default, key, value.to_vec());
    let (sender, answer) = crossbeam_channel::bounded(1);
    store.write(header, apply::build::batch(vec![put]), Responder::new(move |result| sender.send(result).unwrap()));
    answer.recv_timeout(DEADLINE).unwrap()
}

#[test]
fn who_was_away_for_too_long_gets_a_snapshot() {
    let network = LocalNetwork::new();
    let disks = MEMBERS.map(|_| MemDisk::default());
    let mut running: Vec<Option<RunningStore>> =
        MEMBERS.iter().zip(&disks).map(|(id, disk)| Some(open(&network, disk, *id))).collect();
    let mut there: Vec<StoreHandle> = running.iter().flatten().map(RunningStore::handle).collect();
    wait_until("a leader", || leader(&there).is_some());
    let away = (0..3).find(|at| there[*at].regions()[0].role != Role::Leader).unwrap();
    network.leave(MEMBERS[away]);
    running[away].take().unwrap().stop(&mut |_| {}).unwrap();
    // A handle would keep its engines open.
    there.remove(away);

    let value = vec![7; 1000];
    for number in 0..200 {
        wait_until("a write", || {
            let Some(leader) = leader(&there) else { return false };
            match put(leader, format!("key-{number:03}"), &value) {
                Ok(_) => true,
                Err(RequestError::NotLeader { .. } | RequestError::StaleCommand { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        });
    }

    let back = open(&network, &disks[away], MEMBERS[away]);
    let state = Arc::clone(&back.handle().engines().state);
    let has = |number| state.get(Family::User(ColumnFamily::Default), format!("key-{number:03}").as_bytes()).unwrap();
    wait_until("the last key", || has(199).is_some());
    assert!((0..200).all(|number| has(number).is_some()));
    let log = back.handle().engines().log.region(back.handle().regions()[0].descriptor.id).unwrap().unwrap();
    let first = log.bounds.map_or(u64::MAX, |(first, _)| first.0);
    assert!(first > 100, "the log alone has brought it here: it begins at {first}");
    wait_until("the snapshot's end", || there.iter().all(|store| store.snapshots().is_empty()));
    MEMBERS.iter().for_each(|id| network.leave(*id));
    running.push(Some(back));
    running.into_iter().flatten().for_each(|store| store.stop(&mut |_| {}).unwrap());
}
