//! From the store's threads to the node's tasks.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use store::{RegionView, StoreError, StoreObserver};
use tokio::sync::{Notify, watch};
use types::RegionId;

/// Regions that changed since somebody looked; bounded by the number of regions.
#[derive(Default)]
pub(super) struct ChangedRegions {
    regions: Mutex<BTreeSet<RegionId>>,
    changed: Notify,
}

impl ChangedRegions {
    /// Waits until a region has changed, and takes all that have.
    pub(super) async fn take(&self) -> BTreeSet<RegionId> {
        loop {
            let regions = std::mem::take(&mut *self.regions.lock());
            if !regions.is_empty() {
                return regions;
            }
            self.changed.notified().await;
        }
    }
}

/// Notes what happens in a store for the node's tasks.
pub(super) struct NodeObserver {
    changed: Arc<ChangedRegions>,
    failure: watch::Sender<Option<String>>,
}

impl NodeObserver {
    /// An observer, the regions it sees change, and the failure it sees.
    pub(super) fn new() -> (Self, Arc<ChangedRegions>, watch::Receiver<Option<String>>) {
        let (failure, failed) = watch::channel(None);
        let changed = Arc::<ChangedRegions>::default();
        (Self { changed: Arc::clone(&changed), failure }, changed, failed)
    }
}

impl StoreObserver for NodeObserver {
    fn region_changed(&self, view: &RegionView) {
        self.changed.regions.lock().insert(view.descriptor.id);
        self.changed.changed.notify_one();
    }

    fn store_failed(&self, error: &StoreError) {
        self.failure.send_replace(Some(format!("{} ({})", error, error.code())));
    }
}
