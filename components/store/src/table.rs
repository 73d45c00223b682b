//! The store's regions as everyone may see them: updated by the pollers, read by routing and status.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use types::{RegionDescriptor, RegionId};

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

impl Inner {
    fn insert(&mut self, view: RegionView) {
        self.remove(view.descriptor.id);
        self.by_start.insert(view.descriptor.range.start.clone(), view.descriptor.id);
        self.by_id.insert(view.descriptor.id, view);
    }

    fn remove(&mut self, id: RegionId) -> Option<RegionView> {
        let view = self.by_id.remove(&id)?;
        // Another region may begin here by now.
        if self.by_start.get(&view.descriptor.range.start) == Some(&id) {
            self.by_start.remove(&view.descriptor.range.start);
        }
        Some(view)
    }
}

impl RegionTable {
    /// Adds a region, in place of what was there of it.
    pub(crate) fn insert(&self, view: RegionView) {
        self.inner.write().insert(view);
    }

    /// Changes a region's view; returns the new one. `None` when the region is not here.
    pub(crate) fn update(&self, id: RegionId, change: impl FnOnce(&mut RegionView)) -> Option<RegionView> {
        let mut inner = self.inner.write();
        let mut view = inner.remove(id)?;
        change(&mut view);
        inner.insert(view.clone());
        Some(view)
    }

    /// Swaps a region for what is left of it and what was cut off, in one step. Returns the views that are new. A parent
    /// that is not shown stays hidden, and one that later entries have changed meanwhile stays as they made it.
    pub(crate) fn split(
        &self,
        derived: &Arc<RegionDescriptor>,
        children: impl Iterator<Item = RegionView>,
    ) -> Vec<RegionView> {
        let mut inner = self.inner.write();
        let newest = |view: RegionView| {
            let (shown, split) = (view.descriptor.epoch, derived.epoch);
            let is_newer = (shown.version, shown.conf_ver) > (split.version, split.conf_ver);
            if is_newer { view } else { RegionView { descriptor: Arc::clone(derived), ..view } }
        };
        let parent = inner.remove(derived.id).map(newest);
        let views: Vec<RegionView> = parent.into_iter().chain(children).collect();
        views.iter().for_each(|view| inner.insert(view.clone()));
        views
    }

    /// Removes a region; returns its last view.
    pub(crate) fn remove(&self, id: RegionId) -> Option<RegionView> {
        self.inner.write().remove(id)
    }

    /// How many regions there are.
    pub(crate) fn len(&self) -> usize {
        self.inner.read().by_id.len()
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

#[cfg(test)]
mod tests {
    use region::Role;
    use types::{KeyRange, Peer, PeerId, RegionEpoch, StoreId, Term};

    use super::*;

    fn region(version: u64, conf_ver: u64, end: &'static str) -> Arc<RegionDescriptor> {
        let epoch = RegionEpoch { conf_ver, version };
        let peers = vec![Peer::voter(PeerId(11), StoreId(1))];
        Arc::new(RegionDescriptor { id: RegionId(1), range: KeyRange::new("", end), epoch, peers })
    }

    #[test]
    fn a_split_does_not_take_back_what_came_behind_it() {
        let table = RegionTable::default();
        let (peer, role) = (Peer::voter(PeerId(11), StoreId(1)), Role::Follower);
        table.insert(RegionView { descriptor: region(1, 1, "z"), peer, role, term: Term(6), leader: None });
        table.split(&region(2, 1, "m"), std::iter::empty());
        assert_eq!(table.get(RegionId(1)).map(|view| view.descriptor), Some(region(2, 1, "m")));
        // The members changed behind the next split, and that was shown before its children had begun.
        table.update(RegionId(1), |view| view.descriptor = region(3, 2, "g"));
        table.split(&region(3, 1, "g"), std::iter::empty());
        assert_eq!(table.get(RegionId(1)).map(|view| view.descriptor), Some(region(3, 2, "g")));
    }
}
