//! What stores and the coordinator say to each other, and how a coordinator's process takes it.

use coordinator::{
    Change, Coordinator, CoordinatorError, LayoutAnswer, Leadership, RegionReport, Reply, Request, StoreDescription,
    StoreStats, View,
};
use store::{RegionView, StoreError, StoreObserver};
use types::{InstanceId, StoreId};

use crate::call::{self, Call, CallId, Route};
use crate::cell::{Life, Outgoing};

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

    fn store_failed(&self, error: &StoreError) {
        self.life.store_failed(error);
        self.leadership.store_failed(error);
    }
}

/// Whether it serves.
pub(crate) fn serves(coordinator: &Coordinator) -> bool {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

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
        // Nobody waits for these: the next one says the same.
        ToCoordinator::Region(report) => {
            coordinator.request(Request::RegionHeartbeat { report: Box::new(report), reply: Reply::new(|_| {}) });
        }
        ToCoordinator::Store(stats) => {
            coordinator.request(Request::StoreHeartbeat { stats: Box::new(stats), reply: Reply::new(|_| {}) });
        }
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
    let life = life.clone();
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
