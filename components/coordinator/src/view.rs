//! What readers see of a coordinator that leads: pure functions of its state at one moment.

use std::collections::BTreeMap;

use bytes::Bytes;
use placement::{Drain, Placement, StoreCounts};
use types::{ClusterId, Instant, KeyRange, RegionId, StoreId, Term};

use crate::config::CoordinatorConfig;
use crate::error::CoordinatorError;
use crate::leader::Leader;
use crate::routing::{RegionCounts, RegionInfo, Route, clamp_limit};
use crate::safe_point::{SafePoints, ServiceSafePoint};
use crate::store_info::{StoreHealth, StoreRecord, StoreView};
use crate::version::Version;

/// Most ids and keys that one query may ask for.
pub const MAX_QUERIES: usize = 64 << 10;

/// The answer to many look-ups at once.
#[derive(Debug, Default)]
pub struct RegionAnswers<'a> {
    /// For each key asked for, the region that holds it.
    pub by_key: Vec<Option<RegionId>>,
    /// For each key asked for, the region right before the one that holds it.
    pub by_previous_key: Vec<Option<RegionId>>,
    /// Every region that was found, by any way.
    pub regions: BTreeMap<RegionId, &'a RegionInfo>,
}

/// The coordinator's state at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    leader: &'a Leader,
    config: &'a CoordinatorConfig,
    now: Instant,
}

impl<'a> View<'a> {
    pub(crate) fn new(leader: &'a Leader, config: &'a CoordinatorConfig, now: Instant) -> Self {
        Self { leader, config, now }
    }

    /// The cluster.
    pub fn cluster_id(&self) -> ClusterId {
        self.leader.meta.cluster.id
    }

    /// The term of the leadership.
    pub fn term(&self) -> Term {
        self.leader.term
    }

    /// How many replicas a region has.
    pub fn replicas(&self) -> u32 {
        self.placement().config().max_replicas as u32
    }

    /// Operators, their history, and how regions are placed.
    pub fn placement(&self) -> &'a Placement {
        &self.leader.placement
    }

    /// What lies on a store, by what regions report.
    pub fn store_counts(&self, store: StoreId) -> StoreCounts {
        self.placement().cluster().counts(store)
    }

    /// How the emptying of a store stands; `None` for one that was not told to leave, or is gone.
    pub fn drain(&self, store: &StoreView<'_>) -> Option<Drain> {
        store.record.is_leaving().then(|| self.placement().drain(self.now, store.record.description.id))
    }

    /// The moment that is looked at.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The oldest version that a store runs; `None` before the first store.
    pub fn cluster_version(&self) -> Option<Version> {
        self.leader.meta.version()
    }

    /// Whether the cluster has a layout.
    pub fn is_bootstrapped(&self) -> bool {
        self.leader.meta.layout.is_some()
    }

    /// The answer to requests that make sense only in a cluster that has a layout.
    ///
    /// # Errors
    /// `NotBootstrapped`.
    pub fn check_bootstrapped(&self) -> Result<(), CoordinatorError> {
        if self.is_bootstrapped() {
            return Ok(());
        }
        Err(self.leader.meta.not_bootstrapped(self.config))
    }

    /// The answer to a store that brings a first region of its own.
    pub fn refuse_bootstrap(&self) -> CoordinatorError {
        if self.is_bootstrapped() {
            CoordinatorError::AlreadyBootstrapped
        } else {
            CoordinatorError::BootstrapByStore { expected: self.leader.meta.expected_stores(self.config) }
        }
    }

    fn store_view(&self, record: &'a StoreRecord) -> StoreView<'a> {
        let heard = self.leader.heard.get(&record.description.id);
        let last = heard.map_or(self.leader.since, |heard| heard.at.now);
        StoreView {
            record,
            stats: heard.map(|heard| &heard.stats),
            last_heartbeat_unix_ms: heard.map_or(0, |heard| heard.at.unix_ms),
            health: StoreHealth::of_silence(self.now.since(last)),
        }
    }

    /// A store, removed ones included.
    ///
    /// # Errors
    /// `StoreNotFound`.
    pub fn store(&self, store: StoreId) -> Result<StoreView<'a>, CoordinatorError> {
        let record = self.leader.meta.stores.get(&store).ok_or(CoordinatorError::StoreNotFound { store })?;
        Ok(self.store_view(record))
    }

    /// All stores by id, with or without those that were removed.
    pub fn stores(&self, exclude_tombstones: bool) -> impl Iterator<Item = StoreView<'a>> {
        let records = self.leader.meta.stores.values();
        let view = *self;
        records.filter(move |record| !exclude_tombstones || record.is_live()).map(move |record| view.store_view(record))
    }

    /// A region by its id.
    pub fn region(&self, region: RegionId) -> Option<&'a RegionInfo> {
        self.leader.regions.region(region)
    }

    /// The region that holds a key.
    pub fn region_at(&self, key: &[u8]) -> Option<&'a RegionInfo> {
        self.leader.regions.region_at(key)
    }

    /// Where a client is sent with a key: to the region that holds it, or while none reports so, to the one that held it
    /// last, with what is left of its range. That one's store knows who holds it now. `None` when none ever did.
    pub fn route_at(&self, key: &[u8]) -> Option<&'a RegionInfo> {
        self.leader.regions.route_at(key).map(Route::info)
    }

    /// Where a client is sent with the keys right before those of [`route_at`](Self::route_at).
    pub fn route_before(&self, key: &[u8]) -> Option<&'a RegionInfo> {
        self.leader.regions.route_before(key).map(Route::info)
    }

    /// How many regions are known.
    pub fn region_counts(&self) -> RegionCounts {
        self.leader.regions.counts()
    }

    /// All regions, ordered by start key.
    pub fn regions(&self) -> impl Iterator<Item = &'a RegionInfo> {
        self.leader.regions.regions()
    }

    /// The regions that share a key with a range, ordered by start key, at most `limit` (0 for as many as allowed).
    pub fn scan_regions(&self, range: &KeyRange, limit: usize) -> Vec<&'a RegionInfo> {
        self.leader.regions.overlapping(range).take(clamp_limit(limit)).collect()
    }

    /// Where a client is sent with the keys of a range, ordered by start key, at most `limit` (0 for as many as allowed).
    pub fn scan_routes(&self, range: &KeyRange, limit: usize) -> Vec<&'a RegionInfo> {
        self.leader.regions.routes(range).take(clamp_limit(limit)).collect()
    }

    /// Where a client is sent with the keys of several ascending ranges, each once, at most `limit` (0 for as many as
    /// allowed). With `contain_all`, keys that were never in a region are an error.
    ///
    /// # Errors
    /// `Invalid` or `RangeNotCovered`.
    pub fn batch_scan_routes(
        &self,
        ranges: &[KeyRange],
        limit: usize,
        contain_all: bool,
    ) -> Result<Vec<&'a RegionInfo>, CoordinatorError> {
        self.leader.regions.scan_ranges(ranges, limit, contain_all)
    }

    /// Many look-ups at once, all of one moment.
    ///
    /// # Errors
    /// `Invalid` when there are more than [`MAX_QUERIES`].
    pub fn query_regions(
        &self,
        ids: &[RegionId],
        keys: &[Bytes],
        previous_keys: &[Bytes],
    ) -> Result<RegionAnswers<'a>, CoordinatorError> {
        let asked = ids.len() + keys.len() + previous_keys.len();
        if asked > MAX_QUERIES {
            let reason = format!("{asked} look-ups are more than {MAX_QUERIES}: ask in parts");
            return Err(CoordinatorError::Invalid { reason });
        }
        let (mut regions, mut remnants) = (BTreeMap::new(), Vec::new());
        regions.extend(ids.iter().filter_map(|id| Some((*id, self.region(*id)?))));
        let mut note = |route: Option<Route<'a>>| {
            let info = route?.info();
            match route? {
                Route::Region(info) => drop(regions.insert(info.descriptor.id, info)),
                Route::Remnant(remnant) => remnants.push(remnant),
            }
            Some(info.descriptor.id)
        };
        let table = &self.leader.regions;
        let by_key = keys.iter().map(|key| note(table.route_at(key))).collect();
        let by_previous_key = previous_keys.iter().map(|key| note(table.route_before(key))).collect();
        for remnant in remnants {
            // An answer has one place for each region. Where several parts of it are asked for, as it was it had them all.
            regions
                .entry(remnant.left.descriptor.id)
                .and_modify(|known| {
                    if known.start() != remnant.left.start() {
                        *known = &remnant.whole;
                    }
                })
                .or_insert(&remnant.left);
        }
        Ok(RegionAnswers { by_key, by_previous_key, regions })
    }

    /// The cluster's safe points.
    pub fn safe_points(&self) -> SafePoints {
        self.leader.meta.safe_points
    }

    /// Who holds safe points, lapsed ones included, by service id.
    pub fn services(&self) -> impl Iterator<Item = (&'a Bytes, &'a ServiceSafePoint)> {
        self.leader.meta.services.iter()
    }
}
