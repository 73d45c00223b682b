//! About how much the regions hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::StateEngine;
use region::RegionStatus;
use store::{RegionSize, StoreHandle};
use types::{RegionDescriptor, RegionId};

/// What was measured since the last full report: a region that changes its members a few times is measured once.
#[derive(Debug, Default)]
pub(super) struct Sizes(BTreeMap<RegionId, Measured>);

#[derive(Debug)]
struct Measured {
    /// The region's version: a split leaves less of it.
    version: u64,
    size: Option<RegionSize>,
}

impl Sizes {
    /// Has everything measured anew when it is asked for next.
    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }

    /// Measures the regions that were not since they changed, on a thread that may wait for the disk.
    pub(super) async fn measure(&mut self, store: &StoreHandle, regions: &[RegionStatus]) {
        let unknown = |region: &&RegionDescriptor| {
            self.0.get(&region.id).is_none_or(|known| known.version != region.epoch.version)
        };
        let unknown: Vec<RegionDescriptor> =
            regions.iter().map(|status| &status.descriptor).filter(unknown).cloned().collect();
        if unknown.is_empty() {
            return;
        }
        let state = Arc::clone(&store.engines().state);
        let measuring = tokio::task::spawn_blocking(move || {
            let measured = |region: RegionDescriptor| {
                let size = measure(&*state, &region);
                (region.id, Measured { version: region.epoch.version, size })
            };
            unknown.into_iter().map(measured).collect::<Vec<_>>()
        });
        // Without a size it is unknown, which is what is said then.
        self.0.extend(measuring.await.unwrap_or_default());
    }

    /// A region's size, where it is known.
    pub(super) fn get(&self, region: &RegionDescriptor) -> Option<RegionSize> {
        self.0.get(&region.id).and_then(|measured| measured.size)
    }
}

/// The engine's trouble is the store's to report: here a size that cannot be told is unknown.
fn measure(state: &dyn StateEngine, region: &RegionDescriptor) -> Option<RegionSize> {
    let bytes = state.approximate_bytes(&region.range).ok()?;
    let keys = state.approximate_keys(&region.range).ok()?;
    Some(RegionSize { bytes, keys })
}
