//! Whatever fails and whenever it crashes: timestamps grow, ids never repeat, the layout goes to the disks that it was
//! made for, and every request is answered exactly once.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Bench, End, config, description};
use coordinator::timestamp::MAX_TIMESTAMPS;
use coordinator::{Change, CoordinatorError, LayoutAnswer, Reply, Request, Timestamp};
use types::seed::Rng;
use types::{InstanceId, RegionDescriptor, StoreId};

/// Everything that was ever answered, checked as it comes.
#[derive(Default)]
struct History {
    asked: u64,
    answered: u64,
    newest: Timestamp,
    ids: BTreeSet<u64>,
    /// To which disk a store's part was handed.
    handed: BTreeMap<StoreId, InstanceId>,
    parts: BTreeMap<StoreId, Vec<RegionDescriptor>>,
    confirmed: BTreeSet<StoreId>,
    txn_safe_point: u64,
    timestamps: u64,
}

/// How much of everything a run gave away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Given {
    timestamps: u64,
    ids: u64,
    parts: u64,
    confirmed: u64,
}

impl History {
    fn timestamps(&mut self, count: u32, newest: Timestamp) {
        assert!(newest.logical >= count, "a batch shares its physical part");
        let oldest = Timestamp { logical: newest.logical - count + 1, ..newest };
        assert!(oldest > self.newest, "{oldest:?} after {:?}", self.newest);
        self.newest = newest;
        self.timestamps += u64::from(count);
    }

    fn ids(&mut self, last: u64, count: u32) {
        for id in last + 1 - u64::from(count)..=last {
            assert!(id > 0 && self.ids.insert(id), "id {id} was given away twice");
        }
    }

    fn layout(&mut self, store: StoreId, instance: InstanceId, answer: LayoutAnswer) {
        assert!(!self.confirmed.contains(&store), "D14: a confirmed store was given a layout");
        let LayoutAnswer::Ready { regions } = answer else { return };
        let handed = *self.handed.entry(store).or_insert(instance);
        assert_eq!(handed, instance, "D14: a layout for another disk");
        let first = self.parts.insert(store, regions.clone()).is_none();
        if first {
            let peers = regions.iter().filter_map(|region| region.peer_on(store));
            let own: Vec<u64> = peers.map(|peer| peer.id.0).collect();
            own.into_iter().for_each(|id| assert!(self.ids.insert(id), "peer id {id} was given away twice"));
        }
    }
}

type Shared = Arc<Mutex<History>>;

fn reply<T: Send + 'static>(history: &Shared, take: impl FnOnce(&mut History, T) + Send + 'static) -> Reply<T> {
    let history = Arc::clone(history);
    history.lock().unwrap().asked += 1;
    Reply::new(move |outcome: Result<T, CoordinatorError>| {
        let mut history = history.lock().unwrap();
        history.answered += 1;
        if let Ok(value) = outcome {
            take(&mut history, value);
        }
    })
}

fn random_request(rng: &mut Rng, history: &Shared) -> Request {
    let store = StoreId(1 + rng.below(4));
    let instance = InstanceId(store.0 * 10 + u64::from(rng.one_in(4)));
    match rng.below(12) {
        0..=3 => {
            let count = if rng.one_in(3) { MAX_TIMESTAMPS - rng.below(9) as u32 } else { 1 + rng.below(1000) as u32 };
            Request::Timestamps {
                count,
                reply: reply(history, move |history, newest| history.timestamps(count, newest)),
            }
        }
        4 | 5 => {
            let count = 1 + rng.below(700) as u32;
            let reply = reply(history, move |history, batch: coordinator::IdBatch| {
                assert_eq!(batch.count, count);
                history.ids(batch.last, count);
            });
            Change::AllocateIds { count, reply }.into()
        }
        6 | 7 => {
            let reply = reply(history, |_, ()| {});
            Change::PutStore { store: Box::new(description(store.0)), reply }.into()
        }
        8 | 9 => {
            let reply = reply(history, move |history, answer| history.layout(store, instance, answer));
            Change::GetLayout { store, instance, reply }.into()
        }
        10 => {
            let reply = reply(history, move |history, ()| {
                assert_eq!(history.handed.get(&store).unwrap_or(&instance), &instance, "D14: another disk confirmed");
                history.confirmed.insert(store);
            });
            Change::ConfirmBootstrap { store, instance, reply }.into()
        }
        _ => {
            let reply = reply(history, move |history, advance: coordinator::TxnAdvance| {
                assert!(advance.new >= history.txn_safe_point, "the safe point went back");
                history.txn_safe_point = advance.new;
            });
            Change::AdvanceTxnSafePoint { target: rng.below(10_000), reply }.into()
        }
    }
}

fn random_end(rng: &mut Rng) -> End {
    match rng.below(10) {
        0 => End::Refused,
        1 if rng.one_in(2) => End::AppliedUnknown,
        1 => End::LostUnknown,
        _ => End::Applied,
    }
}

fn disturb_clock(bench: &mut Bench, rng: &mut Rng) {
    bench.pass(Duration::from_millis(rng.below(50)));
    match rng.below(40) {
        0 => bench.at.unix_ms += rng.below(100_000),
        1 => bench.at.unix_ms -= rng.below(100_000).min(bench.at.unix_ms),
        2 => bench.at.unix_ms = rng.next_u64() >> 20,
        _ => {}
    }
}

fn run(seed: u64) -> Given {
    let mut rng = Rng::new(seed);
    let history = Shared::default();
    let mut bench = Bench::fresh(config());
    for _ in 0..1000 {
        disturb_clock(&mut bench, &mut rng);
        match rng.below(100) {
            0 => bench.crash(rng.one_in(2)),
            1 => bench.depose(),
            2..=5 => bench.elect(),
            6..=45 => bench.finish(random_end(&mut rng)),
            _ => bench.request(random_request(&mut rng, &history)),
        }
        assert_eq!(bench.failed, None, "seed {seed}");
    }
    bench.elect();
    bench.settle();
    bench.request(Request::Timestamps {
        count: 1,
        reply: reply(&history, |history, newest| history.timestamps(1, newest)),
    });
    bench.settle();
    bench.machine.view(bench.at).unwrap();
    let history = history.lock().unwrap();
    assert_eq!(history.asked, history.answered, "seed {seed}: every request is answered exactly once");
    assert!(history.newest > Timestamp::default(), "seed {seed}: it serves in the end");
    Given {
        timestamps: history.timestamps,
        ids: history.ids.len() as u64,
        parts: history.parts.len() as u64,
        confirmed: history.confirmed.len() as u64,
    }
}

#[test]
fn nothing_repeats_and_nothing_goes_back() {
    let mut sum = Given::default();
    for given in (0..500).map(run) {
        sum.timestamps += given.timestamps;
        sum.ids += given.ids;
        sum.parts += given.parts;
        sum.confirmed += given.confirmed;
    }
    let enough = Given { timestamps: 1_000_000, ids: 100_000, parts: 800, confirmed: 200 };
    assert!(sum.timestamps > enough.timestamps && sum.ids > enough.ids, "{sum:?}");
    assert!(sum.parts > enough.parts && sum.confirmed > enough.confirmed, "{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(4711), run(4711));
}
