//! The coordinator's home: the region that holds its records, and the news of who leads it.

use std::sync::OnceLock;

use store::{RegionView, StoreError, StoreObserver};
use types::{RegionDescriptor, StoreId};

use crate::host::{Coordinator, WeakCoordinator};

/// The region that holds the records of a coordinator with one member. Its store belongs to the coordinator alone and is
/// no store of the cluster: its ids are of a space of their own.
pub fn home_region(store: StoreId) -> RegionDescriptor {
    let mut regions = store::layout::static_regions(&[store], &[]).expect("one member, no split keys");
    regions.pop().expect("no split key makes one region")
}

/// Tells a coordinator who leads its region.
///
/// The store is opened with it; before the store is driven, the coordinator is made of the store's handle and attached,
/// so that it misses nothing. It does not own the coordinator: the coordinator owns the store's handle and the store owns
/// this, so neither would ever end.
#[derive(Default)]
pub struct Leadership(OnceLock<WeakCoordinator>);

impl Leadership {
    /// Nobody is attached yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches the coordinator.
    ///
    /// # Panics
    /// When one is attached already.
    pub fn attach(&self, coordinator: &Coordinator) {
        assert!(self.0.set(coordinator.downgrade()).is_ok(), "one coordinator to a store");
    }

    fn coordinator(&self) -> Option<Coordinator> {
        self.0.get().and_then(WeakCoordinator::upgrade)
    }
}

impl StoreObserver for Leadership {
    fn region_changed(&self, view: &RegionView) {
        if let Some(coordinator) = self.coordinator() {
            coordinator.region_changed(view);
        }
    }

    fn store_failed(&self, _: &StoreError) {
        if let Some(coordinator) = self.coordinator() {
            coordinator.deposed();
        }
    }
}
