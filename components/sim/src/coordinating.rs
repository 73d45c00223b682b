//! What stores and the coordinator say to each other, and how a coordinator's process takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use coordinator::journal::{LoadDone, WriteDone};
use coordinator::record::RecordWrite;
use coordinator::{
    Change, Coordinator, CoordinatorError, Journal, LayoutAnswer, Leadership, RegionReport, Reply, Request,
    StoreDescription, StoreJournal, StoreStats, View,
};
use proto::log::Command;
use store::{RegionView, StoreError, StoreObserver};
use types::{ColumnFamily, InstanceId, RegionDescriptor, RegionEpoch, RegionId, StoreId, Term};

use crate::call::{self, Call, CallId, Route};
use crate::cell::{Life, Outgoing};
use crate::observation::Event;
use crate::orders::{self, Wanted, Word};

/// What a store asks or tells the coordinator.
#[derive(Clone, Debug)]
pub(crate) enum ToCoordinator {
    /// A store starts, as production's does: before anything else it registers.
    Register { store: StoreId, attempt: u64 },
    /// A fresh store asks for its first regions.
    Layout { store: StoreId, instance: InstanceId, attempt: u64 },
    /// Its bootstrap is durable.
    Confirm { store: StoreId, instance: InstanceId, attempt: u64 },
    /// A region's leader reports.
    Region(RegionReport),
    /// A store reports.
    Store(StoreStats),
    /// A leader is to split its region at these keys, and asks for ids.
    Split { store: StoreId, region: Box<RegionDescriptor>, keys: Vec<Bytes>, right_derive: bool },
    /// A store is about to split a region by itself, and asks for ids.
    SplitIds { store: StoreId, number: u64, region: Box<RegionDescriptor>, count: u32 },
    /// A leader is to change its region's members, and asks for the newcomers' ids.
    Members { store: StoreId, region: RegionId, epoch: RegionEpoch, changes: Vec<Wanted> },
    /// A peer hears of no leader: who are its region's members?
    WhoAreMembers { store: StoreId, region: RegionId },
}

/// What the coordinator answers.
#[derive(Clone, Debug)]
pub(crate) struct FromCoordinator {
    pub(crate) life: u64,
    pub(crate) attempt: u64,
    pub(crate) what: Result<JoinAnswer, CoordinatorError>,
}

/// How a step of joining went.
#[derive(Clone, Debug)]
pub(crate) enum JoinAnswer {
    Registered,
    Layout(LayoutAnswer),
    Confirmed,
}

/// Tells the coordinator who leads its region, and the simulation what happens in its store.
pub(crate) struct CoordinatorObserver {
    pub(crate) leadership: Leadership,
    pub(crate) life: Life,
}

impl StoreObserver for CoordinatorObserver {
    fn region_changed(&self, view: &RegionView) {
        self.life.region_changed(view);
        self.leadership.region_changed(view);
    }

    fn region_gone(&self, region: RegionId) {
        self.life.region_gone(region);
    }

    fn store_failed(&self, error: &StoreError) {
        self.life.store_failed(error);
        self.leadership.store_failed(error);
    }
}

/// The coordinator's journal, watched: what it asks of its store is taken down like what clients ask of theirs.
pub(crate) struct WatchedJournal {
    pub(crate) inner: StoreJournal,
    pub(crate) life: Life,
}

impl WatchedJournal {
    /// Takes a question down; gives what is to be called with the answer.
    fn ask(&self, command: Option<Command>) -> impl FnOnce(bool) + Send + 'static {
        let (life, region) = (self.life.clone(), self.inner.region());
        let number = life.cell.recorder.number_request();
        // What a process that is gone would still have asked, nobody hears.
        let was_asked = life.is_alive();
        life.observe(|| Event::Asked { number, region, command: command.map(Arc::new) });
        move |applied| {
            if was_asked {
                let applied = applied && life.is_alive();
                life.cell.recorder.observe(life.cell.store, Event::Answered { number, applied });
            }
        }
    }
}

impl Journal for WatchedJournal {
    fn write(&self, term: Term, writes: Vec<RecordWrite>, done: WriteDone) {
        let family = ColumnFamily::Default;
        let operation = |write: &RecordWrite| match write.clone() {
            RecordWrite::Put(key, value) => apply::build::put(family, key, value),
            RecordWrite::Delete(key) => apply::build::delete(family, key),
        };
        let answered = self.ask(Some(apply::build::batch(writes.iter().map(operation).collect())));
        let done = WriteDone::new(move |result| {
            answered(result.is_ok());
            done.respond(result);
        });
        self.inner.write(term, writes, done);
    }

    fn load(&self, done: LoadDone) {
        let answered = self.ask(None);
        let done = LoadDone::new(move |result| {
            answered(false);
            done.respond(result);
        });
        self.inner.load(done);
    }
}

/// Whether it serves.
pub(crate) fn serves(coordinator: &Coordinator) -> bool {
    let serves = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&serves);
    coordinator.query(move |view| seen.store(view.is_ok(), Ordering::Relaxed));
    serves.load(Ordering::Relaxed)
}

/// Hands a store's word to the coordinator; the answer goes back over the network.
pub(crate) fn take(coordinator: &Coordinator, life: &Life, asker: u64, what: ToCoordinator) {
    let answer = |store: StoreId, attempt: u64| {
        let life = life.clone();
        move |what| life.give(Outgoing::ToStore(store, FromCoordinator { life: asker, attempt, what }))
    };
    match what {
        ToCoordinator::Register { store, attempt } => {
            let (answer, store) = (answer(store, attempt), Box::new(describe(store)));
            let reply = Reply::new(move |result: Result<(), _>| answer(result.map(|()| JoinAnswer::Registered)));
            coordinator.request(Change::PutStore { store, reply });
        }
        ToCoordinator::Layout { store, instance, attempt } => {
            let answer = answer(store, attempt);
            let reply = Reply::new(move |result: Result<LayoutAnswer, _>| answer(result.map(JoinAnswer::Layout)));
            coordinator.request(Change::GetLayout { store, instance, reply });
        }
        ToCoordinator::Confirm { store, instance, attempt } => {
            let answer = answer(store, attempt);
            let reply = Reply::new(move |result: Result<(), _>| answer(result.map(|()| JoinAnswer::Confirmed)));
            coordinator.request(Change::ConfirmBootstrap { store, instance, reply });
        }
        ToCoordinator::Region(report) => {
            let (life, store) = (life.clone(), report.leader.store_id);
            let reply = Reply::new(move |result: Result<Option<placement::RegionOrder>, _>| {
                if let Ok(Some(order)) = result {
                    life.give(Outgoing::Word(store, Word::Order(order)));
                }
            });
            coordinator.request(Request::RegionHeartbeat { report: Box::new(report), reply });
        }
        // Nobody waits for this: the next one says the same.
        ToCoordinator::Store(stats) => {
            coordinator.request(Request::StoreHeartbeat { stats: Box::new(stats), reply: Reply::new(|_| {}) });
        }
        ToCoordinator::Split { .. }
        | ToCoordinator::SplitIds { .. }
        | ToCoordinator::Members { .. }
        | ToCoordinator::WhoAreMembers { .. } => orders::ask_ids(coordinator, life, asker, what),
    }
}

fn describe(store: StoreId) -> StoreDescription {
    StoreDescription {
        id: store,
        address: format!("store-{store}:20160"),
        version: "8.5.6".to_owned(),
        ..StoreDescription::default()
    }
}

/// Hands a client's call to the coordinator.
pub(crate) fn call(coordinator: &Coordinator, life: &Life, id: CallId, call: Call) {
    let (life, noted) = (life.clone(), life.clone());
    let give = move |reply: Result<call::Reply, CoordinatorError>| {
        let reply = reply.unwrap_or_else(|error| call::Reply::Refused(error.to_string()));
        life.give(Outgoing::Reply(id, reply));
    };
    match call {
        Call::Route { key } => coordinator.query(move |view| {
            give(view.map(|view| call::Reply::Route(route(view, &key))));
        }),
        Call::Timestamps { count } => {
            let reply = Reply::new(move |result: Result<_, _>| give(result.map(call::Reply::Timestamps)));
            coordinator.request(Request::Timestamps { count, reply });
        }
        Call::Ids { count } => {
            let reply = Reply::new(move |result: Result<coordinator::IdBatch, _>| {
                orders::note_batch(&noted, &result);
                give(result.map(|ids| call::Reply::Ids(ids.last)));
            });
            coordinator.request(Change::AllocateIds { count, reply });
        }
        Call::Region { .. } => unreachable!("a region's call goes to a store"),
    }
}

fn route(view: View<'_>, key: &[u8]) -> Option<Route> {
    let info = view.region_at(key)?;
    Some(Route { region: (*info.descriptor).clone(), leader: info.leader })
}
