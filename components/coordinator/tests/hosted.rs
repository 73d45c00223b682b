//! The coordinator over a real store, stepped on one thread, with engines in memory that crash.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Outcomes, config, description, reply};
use coordinator::{
    Change, Coordinator, CoordinatorError, LayoutAnswer, Leadership, Reply, Request, StoreJournal, Surroundings,
    Timestamp, home_region,
};
use engine::StoreIdent;
use engine::memory::MemDisk;
use observe::{CoordinatorMetrics, Registry, StoreMetrics};
use runtime::clock::{ManualClock, ManualWallClock, WallClock};
use store::{Engines, Outbox, Stepper, Store, StoreConfig};
use types::seed::Rng;
use types::{ClusterId, InstanceId, StoreId};

const HOME: StoreId = StoreId(1);

/// One member has nobody to talk to.
struct NoNetwork;

impl Outbox for NoNetwork {
    fn send(&self, message: region::RegionMessage) -> bool {
        panic!("a lone member sent {message:?}");
    }

    fn flush(&self) {}
}

struct Bench {
    disk: MemDisk,
    clock: ManualClock,
    wall_clock: ManualWallClock,
    running: Option<(Stepper, Coordinator)>,
}

impl Bench {
    fn new() -> Self {
        let (disk, clock) = (MemDisk::default(), ManualClock::new());
        let wall_clock = ManualWallClock::new(1_700_000_000_000);
        let mut bench = Self { disk, clock, wall_clock, running: None };
        let ident = StoreIdent { cluster: ClusterId(1), store: HOME, instance: InstanceId(1) };
        store::bootstrap(&bench.engines(), ident, &[home_region(HOME)]).unwrap();
        bench.start();
        bench
    }

    fn engines(&self) -> Engines {
        Engines::in_memory(&self.disk).unwrap()
    }

    fn start(&mut self) {
        let leadership = Arc::new(Leadership::new());
        let registry = Registry::new();
        let around = store::Surroundings {
            outbox: Arc::new(NoNetwork),
            carrier: Arc::new(store::NoCarrier),
            observer: Arc::clone(&leadership) as Arc<dyn store::StoreObserver>,
            clock: Arc::new(self.clock.clone()),
            metrics: Arc::new(StoreMetrics::new(&registry, HOME)),
            logger: observe::discard_logger(),
        };
        let store = Store::open(StoreConfig::default(), self.engines(), around).unwrap();
        let around = Surroundings {
            clock: Arc::new(self.clock.clone()),
            wall_clock: Arc::new(self.wall_clock.clone()),
            metrics: Arc::new(CoordinatorMetrics::new(&registry)),
            logger: observe::discard_logger(),
        };
        let journal = StoreJournal::new(store.handle(), home_region(HOME).id);
        let coordinator = Coordinator::new(config(), journal, around).unwrap();
        leadership.attach(&coordinator);
        self.running = Some((store.into_stepper().unwrap(), coordinator));
        self.wait_until_it_serves();
    }

    fn wait_until_it_serves(&mut self) {
        for _ in 0..200 {
            let (stepper, coordinator) = self.running.as_mut().unwrap();
            stepper.tick();
            stepper.run_until_idle();
            let serves = Outcomes::default();
            let seen = Arc::clone(&serves);
            coordinator.query(move |view| seen.lock().unwrap().push(view.map(|_| ())));
            if serves.lock().unwrap()[..] == [Ok(())] {
                return;
            }
        }
        panic!("no leader after 200 ticks");
    }

    /// Loses the process without a word, and any part of what was not durable.
    fn crash(&mut self, rng: &mut Rng) {
        self.running = None;
        self.disk.crash(rng);
        self.start();
    }

    fn ask<T: Send + 'static, R: Into<Request>>(
        &mut self,
        make: impl FnOnce(Reply<T>) -> R,
    ) -> Result<T, CoordinatorError> {
        let (stepper, coordinator) = self.running.as_mut().unwrap();
        let outcomes = Outcomes::default();
        coordinator.request(make(reply(&outcomes)));
        stepper.run_until_idle();
        let mut outcomes = outcomes.lock().unwrap();
        assert_eq!(outcomes.len(), 1, "answered exactly once");
        outcomes.pop().unwrap()
    }

    fn timestamp(&mut self) -> Timestamp {
        self.ask(|reply| Request::Timestamps { count: 10, reply }).unwrap()
    }

    fn get_layout(&mut self, store: u64) -> Result<LayoutAnswer, CoordinatorError> {
        let (store, instance) = (StoreId(store), InstanceId(10 + store));
        self.ask(|reply| Change::GetLayout { store, instance, reply })
    }
}

#[test]
fn state_survives_crashes_and_timestamps_go_on() {
    let mut rng = Rng::new(1);
    let mut bench = Bench::new();
    let ids = bench.ask(|reply| Change::AllocateIds { count: 3, reply }).unwrap();
    assert_eq!(ids.last, 3);
    for store in 1..=3 {
        bench.ask(|reply| Change::PutStore { store: Box::new(description(store)), reply }).unwrap();
        bench.get_layout(store).unwrap();
    }
    let part = bench.get_layout(2).unwrap();
    assert!(matches!(&part, LayoutAnswer::Ready { regions } if regions.len() == 3));
    bench.ask(|reply| Change::ConfirmBootstrap { store: StoreId(1), instance: InstanceId(11), reply }).unwrap();
    let mut newest = bench.timestamp();
    let mut newest_id = ids.last;
    for round in 0..20 {
        bench.clock.advance(Duration::from_secs(1));
        bench.wall_clock.set(bench.wall_clock.unix_ms() - 5000);
        bench.crash(&mut rng);
        let next = bench.timestamp();
        assert!(next > newest, "round {round}: {next:?} after {newest:?}");
        newest = next;
        let ids = bench.ask(|reply| Change::AllocateIds { count: 300, reply }).unwrap();
        assert!(ids.last - 300 >= newest_id, "round {round}");
        newest_id = ids.last;
        assert_eq!(bench.get_layout(2), Ok(part.clone()), "round {round}");
        assert_eq!(bench.get_layout(1), Err(CoordinatorError::StoreBootstrapped { store: StoreId(1) }));
    }
}

#[test]
fn a_timestamp_costs_no_write() {
    let mut bench = Bench::new();
    bench.timestamp();
    let applied = |bench: &mut Bench| {
        let (stepper, _) = bench.running.as_mut().unwrap();
        let seen = Arc::new(std::sync::Mutex::new(None));
        let slot = Arc::clone(&seen);
        let inspector = region::Inspector::new(move |status| *slot.lock().unwrap() = status);
        stepper.handle().inspect(home_region(HOME).id, inspector);
        stepper.run_until_idle();
        let status = seen.lock().unwrap().take().unwrap();
        status.apply_state.applied
    };
    let before = applied(&mut bench);
    for _ in 0..1000 {
        bench.timestamp();
    }
    assert_eq!(applied(&mut bench), before);
}

#[test]
fn nothing_keeps_the_engines_open_behind_the_last_owner() {
    let mut bench = Bench::new();
    let (stepper, _) = bench.running.as_ref().unwrap();
    let log = Arc::clone(&stepper.handle().engines().log);
    bench.running = None;
    assert_eq!(Arc::strong_count(&log), 1);
}

#[test]
fn a_store_that_fails_takes_the_coordinator_with_it() {
    let mut bench = Bench::new();
    bench.disk.inject(engine::memory::FaultPoint::LogSync, 1, engine::memory::Fault::Io);
    let (stepper, coordinator) = bench.running.as_mut().unwrap();
    let ids = Outcomes::default();
    coordinator.request(Change::AllocateIds { count: 1, reply: reply(&ids) });
    stepper.run_until_idle();
    bench.running = None;
    assert_eq!(ids.lock().unwrap().len(), 1, "answered exactly once");
    assert!(ids.lock().unwrap()[0].is_err());
}
