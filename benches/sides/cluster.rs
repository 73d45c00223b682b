//! Three stores in one process that replicate, with RocksDB engines and a network of function calls.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use embed::{Config, LocalNetwork, Store};
use engine::{Family, IterRange};
use region::Role;
use store::StoreHandle;
use types::{ColumnFamily, RegionEpoch, RegionId, RequestError, RequestHeader, Responder, StoreId};

use super::{Done, Side, Write, disks, first_key};
use crate::harness::sample::{EngineUse, REPLICAS};
use crate::harness::wait;

/// Longest that elections and leader transfers may take; only a hang meets it.
const SETTLE: Duration = Duration::from_secs(120);

/// Three stores that replicate every region.
pub struct Cluster {
    handles: Vec<StoreHandle>,
    routes: Arc<Vec<Route>>,
    /// Behind the handles, so that the stores stop last.
    _stores: Vec<Store>,
}

struct Route {
    id: RegionId,
    epoch: RegionEpoch,
    /// The place of the store that led the region when it was last asked.
    leader: AtomicUsize,
}

impl Cluster {
    /// Opens fresh stores in a directory; each leads a third of the regions when this returns.
    ///
    /// # Errors
    /// When a store cannot be opened, or leaders do not come about.
    pub fn open(directory: &Path, regions: usize) -> Result<Arc<Self>, String> {
        let network = Arc::new(LocalNetwork::new());
        let members: Vec<StoreId> = (1..=REPLICAS as u64).map(StoreId).collect();
        let mut stores = Vec::new();
        for member in &members {
            let config = Config::new(*member, directory.join(format!("store-{member}")), network.clone())
                .members(members.clone())
                .split_keys((1..regions).map(first_key))
                .first_start(true);
            stores.push(Store::open(config).map_err(|error| error.to_string())?);
        }
        let handles: Vec<StoreHandle> = stores.iter().map(|store| store.handle().clone()).collect();
        let routes = handles[0].regions().into_iter().enumerate().map(|(at, view)| Route {
            id: view.descriptor.id,
            epoch: view.descriptor.epoch,
            leader: AtomicUsize::new(at % REPLICAS),
        });
        let cluster = Self { routes: Arc::new(routes.collect()), handles, _stores: stores };
        cluster.spread_leaders()?;
        Ok(Arc::new(cluster))
    }

    /// Flushes every state engine.
    ///
    /// # Errors
    /// The engines'.
    pub fn flush(&self) -> Result<(), String> {
        self.handles.iter().try_for_each(|handle| handle.engines().state.flush()).map_err(|error| error.to_string())
    }

    /// Keys of users that the first store holds.
    ///
    /// # Errors
    /// The engine's.
    pub fn keys_written(&self) -> Result<u64, String> {
        let in_words = |error: engine::EngineError| error.to_string();
        let state = &self.handles[0].engines().state;
        let range = IterRange { key_only: true, ..IterRange::default() };
        let mut iter = state.iter(Family::User(ColumnFamily::Default), range).map_err(in_words)?;
        let (mut keys, mut valid) = (0, iter.seek_to_first().map_err(in_words)?);
        while valid {
            keys += 1;
            valid = iter.next().map_err(in_words)?;
        }
        Ok(keys)
    }

    /// Elections fall as chance will have it; a measured turn begins with a third of the leaders on each store.
    fn spread_leaders(&self) -> Result<(), String> {
        let mut waiting: Vec<&Route> = self.routes.iter().collect();
        let mut looks = 0_usize;
        wait::until("a leader of every region in its place", SETTLE, || {
            waiting.retain(|route| !self.leads(route.leader.load(Ordering::Relaxed), route.id));
            // Asking again now and then: a transfer is refused while the one before it is under way.
            if looks.is_multiple_of(20) {
                waiting.iter().for_each(|route| self.move_leader(route));
            }
            looks += 1;
            waiting.is_empty()
        })
    }

    fn leads(&self, at: usize, region: RegionId) -> bool {
        self.handles[at].region(region).is_some_and(|view| view.role == Role::Leader)
    }

    fn move_leader(&self, route: &Route) {
        let to = StoreId(route.leader.load(Ordering::Relaxed) as u64 + 1);
        if let Some(at) = (0..REPLICAS).find(|at| self.leads(*at, route.id)) {
            self.handles[at].transfer_leader(route.id, to, Responder::new(|_| {}));
        }
    }
}

impl Side for Cluster {
    fn write(&self, Write { region, key, value }: Write, done: Done) {
        let route = &self.routes[region];
        let leader = route.leader.load(Ordering::Relaxed);
        let put = apply::build::put(ColumnFamily::Default, key, value);
        let header = RequestHeader { region_id: route.id, epoch: route.epoch, ..RequestHeader::default() };
        let routes = Arc::clone(&self.routes);
        let responder = Responder::new(move |result: types::WriteResult| {
            if let Err(RequestError::NotLeader { leader: hint, .. }) = &result {
                let next = hint.map_or(leader + 1, |peer| peer.store_id.0 as usize - 1) % REPLICAS;
                routes[region].leader.store(next, Ordering::Relaxed);
            }
            done.tell(result.is_ok());
        });
        self.handles[leader].write(header, apply::build::batch(vec![put]), responder);
    }

    fn engine_use(&self) -> EngineUse {
        disks::engine_use(self.handles.iter().map(StoreHandle::engines))
    }
}
