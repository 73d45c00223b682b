//! The store's regions as everyone may see them: updated by the pollers, read by routing and status.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::RwLock;
use types::RegionId;

use crate::handle::RegionView;

/// Regions by id and by start key. Ranges of one store's regions never overlap.
#[derive(Default)]
pub(crate) struct RegionTable {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: BTreeMap<RegionId, RegionView>,
    by_start: BTreeMap<Bytes, RegionId>,
}

impl RegionTable {
    /// Adds a region.
    pub(crate) fn insert(&self, view: RegionView) {
        let mut inner = self.inner.write();
        inner.by_start.insert(view.descriptor.range.start.clone(), view.descriptor.id);
        inner.by_id.insert(view.descriptor.id, view);
    }

    /// Changes a region's view; returns the new one. `None` when the region is not here.
    pub(crate) fn update(&self, id: RegionId, change: impl FnOnce(&mut RegionView)) -> Option<RegionView> {
        let mut inner = self.inner.write();
        let view = inner.by_id.get_mut(&id)?;
        change(view);
        Some(view.clone())
    }

    pub(crate) fn get(&self, id: RegionId) -> Option<RegionView> {
        self.inner.read().by_id.get(&id).cloned()
    }

    pub(crate) fn at(&self, key: &[u8]) -> Option<RegionView> {
        let inner = self.inner.read();
        let (_, id) = inner
            .by_start
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)))
            .next_back()?;
        inner.by_id.get(id).filter(|view| view.descriptor.range.contains(key)).cloned()
    }

    /// All regions, ordered by start key.
    pub(crate) fn all(&self) -> Vec<RegionView> {
        let inner = self.inner.read();
        inner.by_start.values().filter_map(|id| inner.by_id.get(id).cloned()).collect()
    }
}
