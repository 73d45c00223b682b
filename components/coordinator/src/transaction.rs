//! Changes of the durable state: each is worked out on a copy, and gives the records to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use placement::config::SETTINGS;
use placement::{Placement, PlacementError};
use types::{InstanceId, PeerId, RegionDescriptor, RegionId, StoreId};

use crate::config::CoordinatorConfig;
use crate::error::CoordinatorError;
use crate::ids::{IdAllocator, MAX_IDS, RESERVE_STEP};
use crate::layout::{Layout, LayoutAnswer};
use crate::machine::Totals;
use crate::meta::Meta;
use crate::record::{Record, RecordWrite, service_key};
use crate::request::{Change, Held, IdBatch, Moment, SplitIds};
use crate::routing::{RegionInfo, RoutingTable};
use crate::safe_point::{COLLECTOR, MAX_SERVICE_ID_BYTES, MAX_SERVICES, ServiceAnswer, ServiceSafePoint, TxnAdvance};
use crate::store_info::{StoreDescription, StoreRecord, StoreState};
use crate::version::Version;

/// Most services whose lapsed wishes one update forgets, so that a write stays small.
const EXPIRE_AT_ONCE: usize = 64;

/// Most regions that one split makes.
const MAX_SPLIT_REGIONS: u32 = 1024;

/// Most peers of a region that splits; more than any region has on its way from one membership to another.
const MAX_SPLIT_PEERS: usize = 64;

/// Several changes that are written together. Memory goes on showing the state before it until the write has succeeded.
pub(crate) struct Transaction<'a> {
    pub(crate) config: &'a CoordinatorConfig,
    pub(crate) ids: &'a mut IdAllocator,
    pub(crate) regions: &'a RoutingTable,
    pub(crate) placement: &'a Placement,
    /// The state after the changes.
    pub(crate) meta: Meta,
    /// What to write.
    pub(crate) writes: Vec<RecordWrite>,
    /// What is given away, unless the write fails.
    pub(crate) totals: Totals,
}

impl Transaction<'_> {
    /// Works a change out. What it wrote and what it answers stand or fall with the whole transaction.
    pub(crate) fn execute(&mut self, at: Moment, change: Change) -> Held {
        match change {
            Change::AllocateIds { count, reply } => reply.hold(self.allocate_ids(count)),
            Change::PutStore { store, reply } => reply.hold(self.put_store(*store)),
            Change::RemoveStore { store, reply } => reply.hold(self.remove_store(store)),
            Change::BuryStore { store, reply } => reply.hold(self.bury_store(store)),
            Change::RestoreStore { store, reply } => reply.hold(self.restore_store(store)),
            Change::Configure { settings, reply } => reply.hold(self.configure(settings)),
            Change::AskSplit { region, count, reply } => reply.hold(self.ask_split(&region, count)),
            Change::GetLayout { store, instance, reply } => reply.hold(self.get_layout(store, instance)),
            Change::ConfirmBootstrap { store, instance, reply } => reply.hold(self.confirm_bootstrap(store, instance)),
            Change::AdvanceGcSafePoint { target, reply } => reply.hold(Ok(self.advance_gc(target))),
            Change::AdvanceTxnSafePoint { target, reply } => reply.hold(self.advance_txn(at, target)),
            Change::UpdateServiceSafePoint { service, ttl_seconds, safe_point, reply } => {
                reply.hold(self.update_service(at, service, ttl_seconds, safe_point))
            }
        }
    }

    fn write(&mut self, record: &Record) {
        self.writes.push(record.put());
    }

    /// Moves the bound of the timestamps.
    pub(crate) fn set_timestamp_bound(&mut self, bound_ms: u64) {
        if bound_ms > self.meta.timestamp_bound_ms {
            self.meta.timestamp_bound_ms = bound_ms;
            self.write(&Record::TimestampBound(bound_ms));
        }
    }

    /// Reserves ids ahead of who will ask for them.
    pub(crate) fn reserve_ids(&mut self) {
        let bound = self.ids.bound_ahead();
        if bound > self.meta.id_bound {
            self.meta.id_bound = bound;
            self.write(&Record::IdBound(bound));
        }
    }

    fn allocate_ids(&mut self, count: u32) -> Result<IdBatch, CoordinatorError> {
        check_id_count(count)?;
        let last = self.take_ids(u64::from(count))?;
        self.totals.ids += u64::from(count);
        Ok(IdBatch { last, count })
    }

    fn take_ids(&mut self, count: u64) -> Result<u64, CoordinatorError> {
        let last = self.ids.take(count)?;
        if last > self.meta.id_bound {
            self.meta.id_bound = last + RESERVE_STEP;
            self.write(&Record::IdBound(self.meta.id_bound));
        }
        Ok(last)
    }

    fn set_store(&mut self, store: StoreRecord) {
        let unchanged = self.meta.stores.get(&store.description.id).is_some_and(|known| **known == store);
        if !unchanged {
            self.write(&Record::Store(store.clone()));
            self.meta.stores.insert(store.description.id, Arc::new(store));
        }
    }

    fn put_store(&mut self, description: StoreDescription) -> Result<(), CoordinatorError> {
        let id = description.id;
        let version = description.validate().map_err(|reason| CoordinatorError::InvalidStore { store: id, reason })?;
        let known = self.meta.stores.get(&id).cloned();
        if known.as_ref().is_some_and(|known| !known.is_live()) {
            return Err(CoordinatorError::StoreTombstone { store: id });
        }
        if known.is_none() && !self.ids.knows(id.0) {
            let reason = "its id was not allocated by this coordinator: allocate one".to_owned();
            return Err(CoordinatorError::InvalidStore { store: id, reason });
        }
        self.check_version(id, &version)?;
        let replaced = self.holder_of_address(&description)?;
        let mut record = known.map(|known| (*known).clone()).unwrap_or_default();
        let mut labels = std::mem::take(&mut record.description.labels);
        labels.extend(description.labels.clone());
        record.description = StoreDescription { labels, ..description };
        let merged = record.description.validate();
        merged.map_err(|reason| CoordinatorError::InvalidStore { store: id, reason })?;
        if let Some(replaced) = replaced {
            self.set_store(StoreRecord { state: StoreState::Tombstone, ..replaced });
        }
        self.set_store(record);
        Ok(())
    }

    fn check_version(&self, store: StoreId, version: &Version) -> Result<(), CoordinatorError> {
        match self.meta.version() {
            Some(cluster) if !version.may_join(&cluster) => Err(CoordinatorError::IncompatibleVersion {
                store,
                version: version.to_string(),
                cluster: cluster.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Another live store with the same address. One that never got a layout holds nothing: it is a store that crashed
    /// before it could write its id down and now joins anew, so it makes way. Any other is an error.
    fn holder_of_address(&self, store: &StoreDescription) -> Result<Option<StoreRecord>, CoordinatorError> {
        let same = |record: &&Arc<StoreRecord>| {
            record.description.id != store.id && record.description.address == store.address
        };
        let Some(holder) = self.meta.live_stores().find(same) else { return Ok(None) };
        let id = holder.description.id;
        let in_layout = self.meta.layout.as_ref().is_some_and(|layout| layout.members.contains_key(&id));
        if holder.bootstrapped || in_layout {
            return Err(CoordinatorError::DuplicateAddress { address: store.address.clone(), holder: id });
        }
        Ok(Some((**holder).clone()))
    }

    /// A store that holds nothing is gone at once; any other leaves, and is gone when it is asked again once it is empty.
    fn remove_store(&mut self, store: StoreId) -> Result<StoreState, CoordinatorError> {
        let record = (**self.meta.live_store(store)?).clone();
        let has_layout = self.meta.layout.is_some();
        if has_layout && record.state == StoreState::Up {
            let up = self.meta.live_stores().filter(|other| other.state == StoreState::Up).count();
            let replicas = self.placement.config().max_replicas;
            if up <= replicas {
                return Err(CoordinatorError::TooFewStores { store, up, replicas });
            }
        }
        let is_gone = !has_layout || self.is_empty(store);
        let state = if is_gone { StoreState::Tombstone } else { StoreState::Offline };
        self.set_store(StoreRecord { state, ..record });
        Ok(state)
    }

    /// People may have told it to stay since it was seen to be empty.
    fn bury_store(&mut self, store: StoreId) -> Result<StoreState, CoordinatorError> {
        match self.meta.live_store(store)?.state {
            StoreState::Offline => self.remove_store(store),
            state => Ok(state),
        }
    }

    /// Whether no region can have a peer on a store. As long as a key is in no region that has reported, one might.
    fn is_empty(&self, store: StoreId) -> bool {
        let holds = |info: &RegionInfo| info.descriptor.peer_on(store).is_some();
        self.placement.is_vacant(store) && self.regions.is_complete() && !self.regions.regions().any(holds)
    }

    fn restore_store(&mut self, store: StoreId) -> Result<(), CoordinatorError> {
        let record = (**self.meta.live_store(store)?).clone();
        self.set_store(StoreRecord { state: StoreState::Up, ..record });
        Ok(())
    }

    fn configure(&mut self, settings: Vec<(String, String)>) -> Result<(), CoordinatorError> {
        let mut placement = self.meta.placement(self.config)?;
        for (name, value) in &settings {
            placement.set(name, value)?;
        }
        // All of them, because one may have changed another: a level of isolation goes with its label.
        let before = self.meta.placement(self.config)?;
        for name in SETTINGS {
            let value = placement.get(name);
            if let Some(value) = value.filter(|value| before.get(name).as_ref() != Some(value)) {
                self.write(&Record::Setting(name.to_owned(), value.clone()));
                self.meta.settings.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    fn ask_split(&mut self, region: &RegionDescriptor, count: u32) -> Result<Vec<SplitIds>, CoordinatorError> {
        if self.meta.layout.is_none() {
            return Err(self.meta.not_bootstrapped(self.config));
        }
        if !(1..=MAX_SPLIT_REGIONS).contains(&count) {
            return Err(CoordinatorError::Count { what: "regions of a split", count, limit: MAX_SPLIT_REGIONS });
        }
        if self.placement.config().halt_scheduling {
            return Err(CoordinatorError::SplitHalted);
        }
        if !(1..=MAX_SPLIT_PEERS).contains(&region.peers.len()) {
            return Err(CoordinatorError::InvalidRegion { region: region.id, reason: "it must name its peers" });
        }
        self.regions.region(region.id).ok_or(PlacementError::RegionUnknown { region: region.id })?;
        self.regions.check_epoch(region)?;
        let needed = u64::from(count) * (1 + region.peers.len() as u64);
        let last = self.take_ids(needed)?;
        self.totals.ids += needed;
        let mut ids = last + 1 - needed..=last;
        let mut take = || ids.next().expect("they were just taken");
        let split = (0..count).map(|_| SplitIds {
            region: RegionId(take()),
            peers: region.peers.iter().map(|_| PeerId(take())).collect(),
        });
        Ok(split.collect())
    }

    /// The store's record, if this disk is the one that joined under its id, or the first to do so (D14).
    fn joined_store(&self, store: StoreId, instance: InstanceId) -> Result<StoreRecord, CoordinatorError> {
        if instance == InstanceId(0) {
            let reason = "its instance id must not be 0: draw one at random".to_owned();
            return Err(CoordinatorError::InvalidStore { store, reason });
        }
        let record = self.meta.live_store(store)?;
        match record.instance {
            Some(known) if known != instance => Err(CoordinatorError::InstanceMismatch { store, known, instance }),
            _ => Ok((**record).clone()),
        }
    }

    fn get_layout(&mut self, store: StoreId, instance: InstanceId) -> Result<LayoutAnswer, CoordinatorError> {
        let record = self.joined_store(store, instance)?;
        if record.bootstrapped {
            return Err(CoordinatorError::StoreBootstrapped { store });
        }
        self.set_store(StoreRecord { instance: Some(instance), ..record });
        if self.meta.layout.is_none() {
            let joined = self.meta.joined();
            let expected = self.meta.expected_stores(self.config);
            if joined.len() < expected {
                return Ok(LayoutAnswer::Waiting { joined: joined.len(), expected });
            }
            self.lay_out(joined)?;
        }
        let layout = self.meta.layout.as_ref().expect("it was there or was just made");
        let regions: Vec<_> = layout.regions_of(store).cloned().collect();
        let made_for = layout.members.get(&store);
        assert!(
            made_for.map_or(regions.is_empty(), |made_for| *made_for == instance),
            "D14: a layout for another disk"
        );
        Ok(LayoutAnswer::Ready { regions })
    }

    fn lay_out(&mut self, joined: BTreeMap<StoreId, InstanceId>) -> Result<(), CoordinatorError> {
        let replicas = self.meta.cluster.replicas as usize;
        let needed = Layout::ids_needed(self.config.split_keys.len() + 1, replicas);
        let first_id = self.take_ids(needed)? + 1 - needed;
        let layout = Layout::plan(joined, &self.config.split_keys, replicas, first_id);
        self.write(&Record::Layout { members: layout.members.clone(), regions: layout.regions.len() as u32 });
        self.writes.extend(layout.regions.iter().map(|region| Record::LayoutRegion(region.clone()).put()));
        self.meta.layout = Some(Arc::new(layout));
        Ok(())
    }

    fn confirm_bootstrap(&mut self, store: StoreId, instance: InstanceId) -> Result<(), CoordinatorError> {
        let record = self.joined_store(store, instance)?;
        if record.instance.is_none() {
            let reason = "it never asked for its part of the layout: ask, bootstrap, then confirm".to_owned();
            return Err(CoordinatorError::InvalidStore { store, reason });
        }
        if self.meta.layout.is_none() {
            return Err(self.meta.not_bootstrapped(self.config));
        }
        self.set_store(StoreRecord { bootstrapped: true, ..record });
        Ok(())
    }

    /// What may be collected must not be read any more: the transaction safe point comes along.
    fn advance_gc(&mut self, target: u64) -> u64 {
        let points = &mut self.meta.safe_points;
        if target > points.gc {
            points.gc = target;
            points.txn = points.txn.max(target);
            let record = Record::SafePoints(*points);
            self.write(&record);
        }
        self.meta.safe_points.gc
    }

    fn advance_txn(&mut self, at: Moment, target: u64) -> Result<TxnAdvance, CoordinatorError> {
        let old = self.meta.safe_points.txn;
        if target < old {
            return Err(CoordinatorError::SafePointBehind { target, current: old });
        }
        let blocker = self.oldest_service(at).filter(|(_, point)| point.safe_point < target);
        let blocker = blocker.map(|(service, point)| (service.clone(), point.safe_point));
        let new = blocker.as_ref().map_or(target, |(_, held)| *held).max(old);
        if new > old {
            self.meta.safe_points.txn = new;
            let record = Record::SafePoints(self.meta.safe_points);
            self.write(&record);
        }
        Ok(TxnAdvance { old, new, blocker: blocker.map(|(service, _)| service) })
    }

    fn oldest_service(&self, at: Moment) -> Option<(&Bytes, &ServiceSafePoint)> {
        let live = self.meta.services.iter().filter(|(_, point)| !point.is_expired(at.unix_ms));
        live.min_by_key(|(_, point)| point.safe_point)
    }

    /// A wish behind the oldest one is not taken over: the collector may have begun to act by what it was told.
    fn update_service(
        &mut self,
        at: Moment,
        service: Bytes,
        ttl_seconds: i64,
        safe_point: u64,
    ) -> Result<ServiceAnswer, CoordinatorError> {
        if service.is_empty() || service.len() > MAX_SERVICE_ID_BYTES {
            let reason = format!("a service id must have 1 to {MAX_SERVICE_ID_BYTES} bytes");
            return Err(CoordinatorError::Invalid { reason });
        }
        self.forget_expired(at);
        let floor = self.oldest_service(at).map_or(0, |(_, point)| point.safe_point).max(self.meta.safe_points.txn);
        if ttl_seconds <= 0 {
            if self.meta.services.remove(&service).is_some() {
                self.writes.push(RecordWrite::Delete(service_key(&service)));
            }
        } else if safe_point >= floor {
            self.set_service(at, service, ttl_seconds, safe_point)?;
        }
        Ok(match self.oldest_service(at) {
            Some((service, point)) => ServiceAnswer {
                service: service.clone(),
                ttl_seconds: point.ttl_seconds(at.unix_ms),
                min_safe_point: point.safe_point,
            },
            None => ServiceAnswer {
                service: Bytes::from_static(COLLECTOR),
                ttl_seconds: i64::MAX,
                min_safe_point: self.meta.safe_points.txn,
            },
        })
    }

    fn set_service(
        &mut self,
        at: Moment,
        service: Bytes,
        ttl_seconds: i64,
        safe_point: u64,
    ) -> Result<(), CoordinatorError> {
        if self.meta.services.len() >= MAX_SERVICES && !self.meta.services.contains_key(&service) {
            return Err(CoordinatorError::Busy { queue: "the list of services that hold safe points" });
        }
        let ttl_ms = ttl_seconds.cast_unsigned().saturating_mul(1000);
        let expires_unix_ms = if ttl_seconds == i64::MAX { u64::MAX } else { at.unix_ms.saturating_add(ttl_ms) };
        let point = ServiceSafePoint { safe_point, expires_unix_ms };
        self.write(&Record::Service(service.clone(), point));
        self.meta.services.insert(service, point);
        Ok(())
    }

    fn forget_expired(&mut self, at: Moment) {
        let expired = self.meta.services.iter().filter(|(_, point)| point.is_expired(at.unix_ms));
        let expired: Vec<Bytes> = expired.map(|(service, _)| service.clone()).take(EXPIRE_AT_ONCE).collect();
        for service in expired {
            self.meta.services.remove(&service);
            self.writes.push(RecordWrite::Delete(service_key(&service)));
        }
    }
}

/// Checks how many ids one request asks for.
pub(crate) fn check_id_count(count: u32) -> Result<(), CoordinatorError> {
    if (1..=MAX_IDS).contains(&count) {
        Ok(())
    } else {
        Err(CoordinatorError::Count { what: "ids", count, limit: MAX_IDS })
    }
}
