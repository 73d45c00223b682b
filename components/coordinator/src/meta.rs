//! The durable part of the coordinator's state, as it is in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use placement::PlacementConfig;
use placement::config::SETTINGS;
use types::{InstanceId, RegionDescriptor, StoreId, Term};

use crate::config::CoordinatorConfig;
use crate::error::CoordinatorError;
use crate::layout::Layout;
use crate::record::{ClusterRecord, RawRecord, Record};
use crate::safe_point::{SafePoints, ServiceSafePoint};
use crate::store_info::StoreRecord;
use crate::version::Version;

/// Everything durable. Cheap to clone: a transaction works on a copy, which takes the original's place once it is
/// written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) cluster: ClusterRecord,
    pub(crate) timestamp_bound_ms: u64,
    pub(crate) id_bound: u64,
    pub(crate) stores: BTreeMap<StoreId, Arc<StoreRecord>>,
    pub(crate) layout: Option<Arc<Layout>>,
    pub(crate) safe_points: SafePoints,
    pub(crate) services: BTreeMap<Bytes, ServiceSafePoint>,
    /// Settings of placement that people changed, by name.
    pub(crate) settings: BTreeMap<String, String>,
}

/// What the region held when it was loaded.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Who claimed it last.
    pub(crate) claim: Option<Term>,
    /// The state; `None` when the cluster is fresh.
    pub(crate) meta: Option<Meta>,
}

impl Meta {
    /// The state of a fresh cluster.
    pub(crate) fn fresh(cluster: ClusterRecord) -> Self {
        Self {
            cluster,
            timestamp_bound_ms: 0,
            id_bound: 0,
            stores: BTreeMap::new(),
            layout: None,
            safe_points: SafePoints::default(),
            services: BTreeMap::new(),
            settings: BTreeMap::new(),
        }
    }

    /// A store that was not removed.
    ///
    /// # Errors
    /// `StoreNotFound` or `StoreTombstone`.
    pub(crate) fn live_store(&self, store: StoreId) -> Result<&Arc<StoreRecord>, CoordinatorError> {
        let record = self.stores.get(&store).ok_or(CoordinatorError::StoreNotFound { store })?;
        if record.is_live() { Ok(record) } else { Err(CoordinatorError::StoreTombstone { store }) }
    }

    /// Stores that were not removed, by id.
    pub(crate) fn live_stores(&self) -> impl Iterator<Item = &Arc<StoreRecord>> {
        self.stores.values().filter(|record| record.is_live())
    }

    /// The disks that have asked for the layout.
    pub(crate) fn joined(&self) -> BTreeMap<StoreId, InstanceId> {
        self.live_stores().filter_map(|record| Some((record.description.id, record.instance?))).collect()
    }

    /// How many disks must have asked before the layout is made: the configuration may have changed since the number of
    /// replicas was written down.
    pub(crate) fn expected_stores(&self, config: &CoordinatorConfig) -> usize {
        config.expected_stores.max(self.cluster.replicas as usize)
    }

    /// The error for what needs a layout.
    pub(crate) fn not_bootstrapped(&self, config: &CoordinatorConfig) -> CoordinatorError {
        CoordinatorError::NotBootstrapped { joined: self.joined().len(), expected: self.expected_stores(config) }
    }

    /// How regions are placed: as configured, but with the replicas that the cluster was made with, and with what people
    /// changed since.
    ///
    /// # Errors
    /// `Failed` when a change was written by a build that knows more.
    pub(crate) fn placement(&self, config: &CoordinatorConfig) -> Result<PlacementConfig, CoordinatorError> {
        let mut placement =
            PlacementConfig { max_replicas: self.cluster.replicas as usize, ..config.placement.clone() };
        // In the order of the list: a level of isolation comes after the labels.
        for name in SETTINGS {
            if let Some(value) = self.settings.get(name) {
                placement.set(name, value).map_err(|error| CoordinatorError::Failed { cause: error.to_string() })?;
            }
        }
        match self.settings.keys().find(|name| !SETTINGS.contains(&name.as_str())) {
            Some(name) => Err(CoordinatorError::Failed { cause: format!("it holds an unknown setting {name:?}") }),
            None => Ok(placement),
        }
    }

    /// The oldest version that a store of the cluster runs.
    pub(crate) fn version(&self) -> Option<Version> {
        self.live_stores().filter_map(|record| record.description.version.parse().ok()).min()
    }
}

/// Reads everything that the region holds.
///
/// # Errors
/// `Failed` when a record is damaged or unknown, or records contradict each other.
pub(crate) fn load(records: &[RawRecord]) -> Result<Loaded, CoordinatorError> {
    let mut loaded = Loaded::default();
    let mut cluster = None;
    let mut meta = Meta::fresh(ClusterRecord { id: 0.into(), replicas: 0, created_unix_ms: 0 });
    let (mut layout_head, mut layout_regions) = (None, Vec::new());
    for (key, value) in records {
        match Record::decode(key, value)? {
            Record::Cluster(record) => cluster = Some(record),
            Record::Claim(term) => loaded.claim = Some(term),
            Record::TimestampBound(bound) => meta.timestamp_bound_ms = bound,
            Record::IdBound(bound) => meta.id_bound = bound,
            Record::Store(store) => drop(meta.stores.insert(store.description.id, Arc::new(store))),
            Record::Layout { members, regions } => layout_head = Some((members, regions)),
            Record::LayoutRegion(region) => layout_regions.push(region),
            Record::SafePoints(points) => meta.safe_points = points,
            Record::Service(service, point) => drop(meta.services.insert(service, point)),
            Record::Setting(name, value) => drop(meta.settings.insert(name, value)),
        }
    }
    meta.layout = join_layout(layout_head, layout_regions)?.map(Arc::new);
    match cluster {
        Some(cluster) => loaded.meta = Some(Meta { cluster, ..meta }),
        None if records.len() > usize::from(loaded.claim.is_some()) => {
            let cause = "its records do not say which cluster they belong to".to_owned();
            return Err(CoordinatorError::Failed { cause });
        }
        None => {}
    }
    Ok(loaded)
}

/// The layout's records were written together: all of them are there, or none.
fn join_layout(
    head: Option<(BTreeMap<StoreId, InstanceId>, u32)>,
    mut regions: Vec<RegionDescriptor>,
) -> Result<Option<Layout>, CoordinatorError> {
    regions.sort_by(|left, right| left.range.start.cmp(&right.range.start));
    let expected = head.as_ref().map_or(0, |(_, expected)| *expected as usize);
    if regions.len() != expected {
        let cause = format!("its layout has {} regions of {expected}", regions.len());
        return Err(CoordinatorError::Failed { cause });
    }
    Ok(head.map(|(members, _)| Layout { members, regions }))
}
