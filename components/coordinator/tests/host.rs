//! The driver over journals that answer at once, later, or never.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{Outcomes, config, description, reply};
use coordinator::journal::{Journal, LoadDone, WriteDone};
use coordinator::record::RecordWrite;
use coordinator::{Change, Coordinator, CoordinatorError, Request, Surroundings};
use observe::{CoordinatorMetrics, Registry};
use runtime::clock::{ManualClock, ManualWallClock};
use types::{RequestError, Term};

enum Pending {
    Write(Vec<RecordWrite>, WriteDone),
    Load(LoadDone),
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<Bytes, Bytes>,
    pending: Vec<Pending>,
    /// Whether it answers inside of the call.
    at_once: bool,
    refuses: bool,
    writes: u64,
}

#[derive(Clone, Default)]
struct FakeJournal(Arc<Mutex<Inner>>);

impl FakeJournal {
    fn bring(&self, pending: Pending) {
        let mut inner = self.0.lock().unwrap();
        inner.pending.push(pending);
        let at_once = inner.at_once;
        drop(inner);
        if at_once {
            self.finish();
        }
    }

    /// Ends what is pending; what that begins stays pending, unless the journal answers at once.
    fn finish(&self) {
        let pending = std::mem::take(&mut self.0.lock().unwrap().pending);
        for pending in pending {
            match pending {
                Pending::Write(writes, done) => done.respond(self.apply(writes)),
                Pending::Load(done) => {
                    let records = self.0.lock().unwrap().records.clone();
                    done.respond(Ok(Ok(records.into_iter().collect())));
                }
            }
        }
    }

    fn apply(&self, writes: Vec<RecordWrite>) -> Result<(), RequestError> {
        let mut inner = self.0.lock().unwrap();
        if inner.refuses {
            return Err(RequestError::ServerIsBusy { reason: "a test" });
        }
        inner.writes += 1;
        for write in writes {
            match write {
                RecordWrite::Put(key, value) => drop(inner.records.insert(key, value)),
                RecordWrite::Delete(key) => drop(inner.records.remove(&key)),
            }
        }
        Ok(())
    }

    fn settle(&self) {
        while !self.0.lock().unwrap().pending.is_empty() {
            self.finish();
        }
    }
}

impl Journal for FakeJournal {
    fn write(&self, _: Term, writes: Vec<RecordWrite>, done: WriteDone) {
        self.bring(Pending::Write(writes, done));
    }

    fn load(&self, done: LoadDone) {
        self.bring(Pending::Load(done));
    }
}

struct Bench {
    journal: FakeJournal,
    coordinator: Coordinator,
    registry: Registry,
}

fn bench(at_once: bool) -> Bench {
    let (journal, registry) = (FakeJournal::default(), Registry::new());
    journal.0.lock().unwrap().at_once = at_once;
    let around = Surroundings {
        clock: Arc::new(ManualClock::new()),
        wall_clock: Arc::new(ManualWallClock::new(1_700_000_000_000)),
        metrics: Arc::new(CoordinatorMetrics::new(&registry)),
        logger: observe::discard_logger(),
    };
    let coordinator = Coordinator::new(config(), journal.clone(), around).unwrap();
    Bench { journal, coordinator, registry }
}

impl Bench {
    fn timestamps(&self, count: u32) -> Outcomes<coordinator::Timestamp> {
        let outcomes = Outcomes::default();
        self.coordinator.request(Request::Timestamps { count, reply: reply(&outcomes) });
        outcomes
    }

    fn cluster_id(&self) -> Option<Result<types::ClusterId, CoordinatorError>> {
        let seen = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&seen);
        self.coordinator.query(move |view| *slot.lock().unwrap() = Some(view.map(|view| view.cluster_id())));
        seen.lock().unwrap().take()
    }
}

#[test]
fn an_end_inside_of_the_call_is_just_the_next_input() {
    let bench = bench(true);
    bench.coordinator.elected(Term(6));
    assert_eq!(bench.cluster_id(), Some(Ok(config().cluster_id)));
    let ids = Outcomes::default();
    bench.coordinator.request(Change::AllocateIds { count: 3, reply: reply(&ids) });
    assert_eq!(ids.lock().unwrap()[0].as_ref().unwrap().last, 3, "answered before the call returned");
    assert!(bench.timestamps(1).lock().unwrap()[0].is_ok());
}

#[test]
fn a_journal_that_refuses_at_once_neither_recurses_nor_spins() {
    let bench = bench(true);
    bench.journal.0.lock().unwrap().refuses = true;
    bench.coordinator.elected(Term(6));
    for _ in 0..10_000 {
        assert_eq!(bench.timestamps(1).lock().unwrap()[..], [Err(CoordinatorError::NotLeader)]);
    }
    bench.journal.0.lock().unwrap().refuses = false;
    bench.timestamps(1);
    assert!(bench.timestamps(1).lock().unwrap()[0].is_ok(), "a request made it claim again");
    bench.journal.0.lock().unwrap().refuses = true;
    let outcomes = Outcomes::default();
    for store in 1..=3 {
        bench.coordinator.request(Change::PutStore { store: Box::new(description(store)), reply: reply(&outcomes) });
    }
    assert_eq!(outcomes.lock().unwrap().len(), 3);
}

#[test]
fn answers_wait_for_a_journal_that_is_slow() {
    let bench = bench(false);
    bench.coordinator.elected(Term(6));
    assert_eq!(bench.cluster_id(), Some(Err(CoordinatorError::NotLeader)));
    bench.journal.settle();
    let ids = Outcomes::default();
    bench.coordinator.request(Change::AllocateIds { count: 3, reply: reply(&ids) });
    assert!(ids.lock().unwrap().is_empty());
    assert!(bench.timestamps(7).lock().unwrap()[0].is_ok(), "timestamps do not wait for other people's writes");
    bench.journal.settle();
    assert_eq!(ids.lock().unwrap().len(), 1);
    bench.coordinator.refresh_gauges();
    let metrics = bench.registry.gather_text();
    for line in ["raftyard_pd_timestamp_total 7", "raftyard_pd_id_total 3", "raftyard_pd_is_leader 1"] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn who_waits_when_the_coordinator_goes_away_is_told() {
    let bench = bench(false);
    bench.coordinator.elected(Term(6));
    bench.journal.settle();
    let ids = Outcomes::default();
    bench.coordinator.request(Change::AllocateIds { count: 3, reply: reply(&ids) });
    let journal = bench.journal.clone();
    drop(bench);
    assert_eq!(ids.lock().unwrap()[..], [Err(CoordinatorError::Undetermined)]);
    journal.settle();
    assert_eq!(ids.lock().unwrap().len(), 1, "the late end finds nobody");
}

#[test]
fn a_journal_that_forgets_a_write_makes_it_undetermined_and_claims_again() {
    let bench = bench(false);
    bench.coordinator.elected(Term(6));
    bench.journal.settle();
    let ids = Outcomes::default();
    bench.coordinator.request(Change::AllocateIds { count: 3, reply: reply(&ids) });
    let forgotten = std::mem::take(&mut bench.journal.0.lock().unwrap().pending);
    drop(forgotten);
    assert_eq!(ids.lock().unwrap()[..], [Err(CoordinatorError::Undetermined)]);
    assert_eq!(bench.cluster_id(), Some(Err(CoordinatorError::NotLeader)));
    bench.journal.settle();
    assert_eq!(bench.cluster_id(), Some(Ok(config().cluster_id)));
}

#[test]
fn a_panic_is_noticed_by_everybody_who_asks_afterwards() {
    let bench = bench(true);
    bench.coordinator.elected(Term(6));
    let coordinator = bench.coordinator.clone();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        coordinator.query(|_| panic!("a look that goes wrong"));
    }));
    assert!(outcome.is_err());
    assert_eq!(bench.timestamps(1).lock().unwrap()[..], [Err(CoordinatorError::Undetermined)]);
    assert_eq!(bench.cluster_id(), None, "dropped, not left waiting");
}

#[test]
fn a_look_may_ask_again() {
    let bench = bench(true);
    bench.coordinator.elected(Term(6));
    let (coordinator, outcomes) = (bench.coordinator.clone(), Outcomes::default());
    let inner = Arc::clone(&outcomes);
    bench.coordinator.query(move |view| {
        assert!(view.is_ok());
        coordinator.request(Request::Timestamps { count: 1, reply: reply(&inner) });
        assert!(inner.lock().unwrap().is_empty(), "it waits for its turn");
    });
    assert_eq!(outcomes.lock().unwrap().len(), 1);
}
