//! What the scripted placement driver knows, and what it objects to.

use std::collections::{BTreeMap, VecDeque};

use proto::metapb;
use proto::pdpb::{self, ErrorType, RegionHeartbeatRequest, RegionHeartbeatResponse, StoreStats};
use tokio::sync::mpsc;
use tonic::Status;
use types::KeyRange;

/// What an empty region is said to hold, in bytes; less but for zero makes no sense.
const EMPTY_REGION_BYTES: u64 = 1 << 20;

pub type Orders = mpsc::UnboundedSender<Result<RegionHeartbeatResponse, Status>>;

/// A stream of region heartbeats.
pub struct Stream {
    pub number: usize,
    /// An error ends the stream.
    pub orders: Orders,
}

pub struct State {
    pub cluster: u64,
    /// The members' addresses, and which of them leads.
    pub urls: Vec<String>,
    pub leader: usize,
    pub last_id: u64,
    /// The cluster's first region, once it is bootstrapped.
    pub first: Option<metapb::Region>,
    pub stores: BTreeMap<u64, metapb::Store>,
    /// Every call that came, in order, to whichever member.
    pub calls: Vec<&'static str>,
    /// Regions that stores brought to be the first.
    pub brought: Vec<metapb::Region>,
    /// Whether `Bootstrap` fails: the store that sent it ends there.
    pub breaks_at_bootstrap: bool,
    /// Refusals with which the next calls of `Bootstrap` are answered.
    pub bootstrap_refusals: VecDeque<ErrorType>,
    /// What another store made, which shows behind the last of those refusals.
    pub first_of_another: Option<metapb::Region>,
    /// Whether `PutStore` fails behind a `Bootstrap`: the store that sent it ends there.
    pub breaks_behind_bootstrap: bool,
    /// Every heartbeat that was taken over, and the newest of each region.
    pub heartbeats: Vec<RegionHeartbeatRequest>,
    pub regions: BTreeMap<u64, RegionHeartbeatRequest>,
    pub stats: Vec<StoreStats>,
    pub asked_splits: Vec<pdpb::AskBatchSplitRequest>,
    pub reported_splits: Vec<Vec<metapb::Region>>,
    /// The newest stream of each store, and how many were opened.
    pub streams: BTreeMap<u64, Stream>,
    pub opened: usize,
    /// Streams up to this one were broken off.
    pub broken: usize,
    /// What stores did that the real one would not put up with.
    pub complaints: Vec<String>,
}

impl State {
    pub fn new(cluster: u64, urls: Vec<String>) -> Self {
        Self {
            cluster,
            urls,
            leader: 0,
            last_id: 100,
            first: None,
            stores: BTreeMap::new(),
            calls: Vec::new(),
            brought: Vec::new(),
            breaks_at_bootstrap: false,
            bootstrap_refusals: VecDeque::new(),
            first_of_another: None,
            breaks_behind_bootstrap: false,
            heartbeats: Vec::new(),
            regions: BTreeMap::new(),
            stats: Vec::new(),
            asked_splits: Vec::new(),
            reported_splits: Vec::new(),
            streams: BTreeMap::new(),
            opened: 0,
            broken: 0,
            complaints: Vec::new(),
        }
    }

    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub fn complain(&mut self, about: impl Into<String>) {
        self.complaints.push(about.into());
    }

    /// Gives the cluster its first region, or says why not, as the real one does.
    pub fn bootstrap(&mut self, store: metapb::Store, region: metapb::Region) -> Result<(), ErrorType> {
        if let Some(refusal) = self.bootstrap_refusals.pop_front() {
            if self.bootstrap_refusals.is_empty() {
                self.first = self.first_of_another.take();
            }
            return Err(refusal);
        }
        if self.first.is_some() {
            return Err(ErrorType::AlreadyBootstrapped);
        }
        let epoch = region.region_epoch.unwrap_or_default();
        let is_single = matches!(region.peers[..], [peer] if peer.id != 0 && peer.store_id == store.id);
        let is_whole = region.start_key.is_empty() && region.end_key.is_empty();
        if store.id == 0 || region.id == 0 || !is_single || !is_whole || (epoch.conf_ver, epoch.version) != (1, 1) {
            self.complain(format!("a first region that cannot be: {region:?} of {store:?}"));
        }
        self.put_store(store);
        self.first = Some(region);
        Ok(())
    }

    pub fn put_store(&mut self, store: metapb::Store) {
        let holder = self.stores.values().find(|known| known.address == store.address && known.id != store.id);
        if let Some(holder) = holder {
            self.complain(format!("store {} has the address of store {}", store.id, holder.id));
        }
        if store.address.contains("://") || store.version.split('.').count() != 3 {
            self.complain(format!("address {:?}, version {:?}", store.address, store.version));
        }
        self.stores.insert(store.id, store);
    }

    /// Breaks all streams of heartbeats off.
    pub fn break_streams(&mut self) {
        self.broken = self.opened;
        for stream in std::mem::take(&mut self.streams).into_values() {
            let _ = stream.orders.send(Err(Status::unavailable("not leader")));
        }
    }

    /// The region that holds a key and its leader: as it reported, or as the cluster was bootstrapped.
    pub fn region_at(&self, key: &[u8]) -> Option<(metapb::Region, Option<metapb::Peer>)> {
        let reported =
            self.regions.values().filter_map(|heartbeat| Some((heartbeat.region.clone()?, heartbeat.leader)));
        let mut known =
            reported.chain(self.first.clone().filter(|_| self.regions.is_empty()).map(|first| (first, None)));
        known.find(|(region, _)| range(region).contains(key))
    }

    /// Takes a heartbeat over.
    ///
    /// # Errors
    /// Why the region is known better.
    pub fn accept(&mut self, heartbeat: RegionHeartbeatRequest) -> Result<(), String> {
        self.inspect(&heartbeat);
        let region = heartbeat.region.clone().unwrap();
        let epoch = region.region_epoch.unwrap_or_default();
        if let Some(known) = self.regions.get(&region.id) {
            let known_epoch = known.region.as_ref().and_then(|known| known.region_epoch).unwrap_or_default();
            if heartbeat.term < known.term
                || epoch.version < known_epoch.version
                || epoch.conf_ver < known_epoch.conf_ver
            {
                return Err(format!("region {} is known at {known_epoch:?}, not {epoch:?}", region.id));
            }
        }
        let overlaps = |other: &metapb::Region| other.id != region.id && range(other).overlaps(&range(&region));
        let others = self.regions.values().filter_map(|known| known.region.clone()).filter(overlaps);
        let others: Vec<metapb::Region> = others.collect();
        if let Some(newer) = others.iter().find(|other| other.region_epoch.unwrap_or_default().version > epoch.version)
        {
            return Err(format!("region {} holds keys of region {} in a newer version", newer.id, region.id));
        }
        others.iter().for_each(|other| drop(self.regions.remove(&other.id)));
        self.regions.insert(region.id, heartbeat.clone());
        self.heartbeats.push(heartbeat);
        Ok(())
    }

    /// What no heartbeat of a region may look like.
    fn inspect(&mut self, heartbeat: &RegionHeartbeatRequest) {
        let region = heartbeat.region.clone().unwrap_or_default();
        let interval = heartbeat.interval.unwrap_or_default();
        let leader = heartbeat.leader.unwrap_or_default();
        let size = heartbeat.approximate_size;
        let checks = [
            (region.id == 0 || region.region_epoch.is_none() || region.peers.is_empty(), "a region without an id"),
            (!region.peers.contains(&leader), "a leader that is no member"),
            (heartbeat.term == 0, "no term"),
            (interval.start_timestamp == 0 || interval.start_timestamp >= interval.end_timestamp, "an empty interval"),
            (size != 0 && size < EMPTY_REGION_BYTES, "a size below that of an empty region"),
            (size != 0 && heartbeat.approximate_keys == 0, "a size, and unknown keys"),
            (heartbeat.pending_peers.contains(&leader), "a leader that is pending"),
        ];
        for (_, what) in checks.into_iter().filter(|(is_so, _)| *is_so) {
            self.complain(format!("{what}: {heartbeat:?}"));
        }
    }

    /// What no heartbeat of a store may look like.
    pub fn inspect_store(&mut self, stats: &StoreStats) {
        let interval = stats.interval.unwrap_or_default();
        let checks = [
            (!self.stores.contains_key(&stats.store_id), "a store that is not registered"),
            (stats.capacity == 0 || stats.available > stats.capacity, "a disk without a size"),
            (stats.start_time == 0, "no start"),
            (interval.start_timestamp >= interval.end_timestamp, "an empty interval"),
            (!(1..=100).contains(&stats.slow_score), "no slow score"),
        ];
        for (_, what) in checks.into_iter().filter(|(is_so, _)| *is_so) {
            self.complain(format!("{what}: {stats:?}"));
        }
    }
}

pub fn range(region: &metapb::Region) -> KeyRange {
    KeyRange { start: region.start_key.clone(), end: region.end_key.clone() }
}
