//! Ids for new regions, where nobody but the members can give them.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use embed::request::{RegionRequest, RegionResponder};
use embed::{Error, IdAllocator, LocalNetwork, Network, ScanOptions, Store, WriteBatch};
use futures::channel::oneshot;
use futures::executor::block_on;
use runtime::clock::MonotonicClock;
use store::{Outbox, SplitIds, SplitIdsAnswer, StoreHandle};
use support::{MEMBERS, Members, network, wait_for};
use types::{ColumnFamily, KeyRange, RegionDescriptor, RequestError, RequestHeader, Responder, StoreId};

const DEFAULT: ColumnFamily = ColumnFamily::Default;
/// Where the counter lies.
const HOME: ColumnFamily = types::reserved::RESERVED_FAMILY;

fn allocator(store: &Store, network: Arc<dyn Network>) -> IdAllocator {
    let clock = Arc::new(MonotonicClock::new());
    IdAllocator::new(store.handle().downgrade(), network, &[], clock, observe::discard_logger())
}

fn ask(ids: &dyn SplitIds, region: &RegionDescriptor, count: usize) -> Option<SplitIdsAnswer> {
    let (sender, receiver) = oneshot::channel();
    let responder = Responder::new(move |answer| {
        let _ = sender.send(answer);
    });
    ids.ask(region, count, responder);
    block_on(receiver).expect("every request for ids is answered")
}

/// Asks until there are some.
fn take(ids: &dyn SplitIds, region: &RegionDescriptor, count: usize) -> Vec<u64> {
    let answer = wait_for("ids", || ask(ids, region, count));
    assert_eq!(answer.len(), count);
    let flat = |ids: store::RegionIds| {
        assert_eq!(ids.peers.len(), region.peers.len());
        std::iter::once(ids.region.0).chain(ids.peers.into_iter().map(|peer| peer.0))
    };
    answer.into_iter().flat_map(flat).collect()
}

/// Notes ids, none of which may have been seen before.
fn note(seen: &mut BTreeSet<u64>, ids: Vec<u64>) {
    for id in ids {
        assert!(seen.insert(id), "id {id} was given twice");
    }
}

fn used(store: &Store) -> BTreeSet<u64> {
    let of =
        |region: &RegionDescriptor| region.peers.iter().map(|peer| peer.id.0).chain([region.id.0]).collect::<Vec<_>>();
    store.regions().iter().flat_map(|view| of(&view.descriptor)).collect()
}

fn first_region(store: &Store) -> RegionDescriptor {
    (*store.regions()[0].descriptor).clone()
}

#[test]
fn ids_lie_above_the_layout_and_come_once() {
    let members = Members::start(|config| config.split_keys(["g", "p"]));
    let mut seen = used(&members.stores[0]);
    let highest = *seen.last().unwrap();
    let region = first_region(&members.stores[0]);
    let allocators: Vec<_> = members.stores.iter().map(|store| allocator(store, network(&members))).collect();
    for round in 0..300 {
        for ids in &allocators {
            note(&mut seen, take(ids, &region, 1 + round % 3));
        }
    }
    assert!(seen.iter().filter(|id| **id > highest).count() > 2_000);
    // More than a block at once.
    note(&mut seen, take(&allocators[0], &region, 500));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "those who ask at once are threads, as users' are")]
fn members_that_ask_at_once_get_different_ids() {
    let members = Members::start(|config| config);
    let region = first_region(&members.stores[0]);
    let leads = members.leader(region.id);
    let taken = std::thread::scope(|scope| {
        let ask_often = |at: usize| {
            let (ids, region) = (allocator(&members.stores[at % 3], network(&members)), region.clone());
            scope.spawn(move || (0..200).flat_map(|_| take(&ids, &region, 2)).collect::<Vec<_>>())
        };
        let askers: Vec<_> = (0..6).map(ask_often).collect();
        // The counter's region is led by one member after the other meanwhile.
        let mut leader = leads;
        for _ in 0..6 {
            let next = (leader + 1) % 3;
            if members.stores[leader].transfer_leader(region.id, MEMBERS[next]).wait().is_ok() {
                leader = next;
            } else {
                leader = members.leader(region.id);
            }
        }
        askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(taken.len(), 6 * 200 * 2 * 4);
    note(&mut used(&members.stores[0]), taken);
}

#[test]
fn a_restart_and_users_who_delete_everything_change_nothing() {
    let mut members = Members::start(|config| config.split_keys(["g"]));
    let region = first_region(&members.stores[0]);
    let mut seen = used(&members.stores[0]);
    for _ in 0..3 {
        note(&mut seen, take(&allocator(&members.stores[1], network(&members)), &region, 3));
        for family in ColumnFamily::ALL {
            members.stores[2].delete_range(family, KeyRange::all()).wait().unwrap();
        }
        let batch = WriteBatch::new().delete_range(HOME, KeyRange::new("", "c")).put(HOME, "a", "1");
        members.stores[2].batch(batch).wait().unwrap();
        note(&mut seen, take(&allocator(&members.stores[0], network(&members)), &region, 3));
        members.restart();
    }
}

/// Loses the answer to every third request, after it was carried out.
#[derive(Clone)]
struct Forgetful {
    inner: Arc<LocalNetwork>,
    calls: Arc<AtomicU64>,
}

impl Network for Forgetful {
    fn outbox(&self, from: StoreId) -> Arc<dyn Outbox> {
        self.inner.outbox(from)
    }

    fn join(&self, store: StoreHandle) {
        self.inner.join(store);
    }

    fn leave(&self, store: StoreId) {
        self.inner.leave(store);
    }

    fn call(&self, to: StoreId, header: RequestHeader, request: RegionRequest, responder: RegionResponder) {
        let lost = self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        let unknown = || Err(RequestError::Undetermined { reason: "the connection broke" });
        let answer = move |answer| responder.respond(if lost { unknown() } else { answer });
        self.inner.call(to, header, request, Responder::new(answer));
    }
}

#[test]
fn ids_of_an_unknown_outcome_are_never_given() {
    let members = Members::start(|config| config);
    let region = first_region(&members.stores[0]);
    let leader = members.leader(region.id);
    let forgetful = Arc::new(Forgetful { inner: members.network.clone(), calls: Arc::default() });
    let far = allocator(&members.stores[(leader + 1) % 3], forgetful.clone());
    let near = allocator(&members.stores[leader], forgetful.clone());
    let mut seen = used(&members.stores[0]);
    for _ in 0..50 {
        note(&mut seen, take(&far, &region, 60));
        note(&mut seen, take(&near, &region, 60));
    }
    assert!(forgetful.calls.load(Ordering::Relaxed) > 50, "the answers of some were lost");
}

#[test]
fn the_counter_is_not_the_users() {
    let members = Members::start(|config| config.split_keys(["m"]));
    let (store, region) = (&members.stores[0], first_region(&members.stores[0]));
    take(&allocator(store, network(&members)), &region, 1);
    for key in ["a", "z"] {
        store.batch(WriteBatch::new().put(HOME, key, "1").put(DEFAULT, key, "1")).wait().unwrap();
    }
    let keys = |reverse, range: KeyRange| {
        let options = ScanOptions { family: HOME, reverse, ..ScanOptions::default() };
        let pairs = store.scan(range, options).wait().unwrap();
        pairs.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(keys(false, KeyRange::all()), ["a", "z"]);
    assert_eq!(keys(true, KeyRange::all()), ["z", "a"]);
    assert_eq!(keys(true, KeyRange::new("", "m")), ["a"]);
    assert!(keys(false, KeyRange::new("", "\0")).is_empty());
    assert_eq!(store.get_from(HOME, "").wait().unwrap(), None);
    let snapshot = store.snapshot("").wait().unwrap();
    assert_eq!(snapshot.get(HOME, "").unwrap(), None);
    let options = ScanOptions { family: HOME, ..ScanOptions::default() };
    assert_eq!(snapshot.scan(KeyRange::all(), options).unwrap().len(), 1);

    let refused =
        |batch: WriteBatch| matches!(store.batch(batch).wait(), Err(Error::Refused(RequestError::Invalid { .. })));
    assert!(refused(WriteBatch::new().put(DEFAULT, "a", "3").put(HOME, "", "mine")));
    assert!(refused(WriteBatch::new().delete(HOME, "")));
    assert_eq!(store.get("a").wait().unwrap().unwrap(), "1", "a refused batch has no effect");
    store.put("", "a user's").wait().unwrap();
    assert_eq!(store.get("").wait().unwrap().unwrap(), "a user's", "in default the empty key is a key");
}

/// Nobody to ask: the request for ids is answered all the same.
#[test]
fn without_a_leader_there_are_no_ids() {
    let mut members = Members::start(|config| config.timeout(std::time::Duration::from_millis(200)));
    let region = first_region(&members.stores[0]);
    members.leader(region.id);
    members.stores.truncate(1);
    let store = members.stores.remove(0);
    let ids = allocator(&store, network(&members));
    drop(store);
    assert_eq!(ask(&ids, &region, 1), None, "a store that is gone");
}
