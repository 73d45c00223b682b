//! Regions whose replicas on this store differ from their leaders', for `/status`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use region::Inconsistency;
use serde_json::{Value, json};
use types::RegionId;
use types::range::HexKey;

/// Differing replicas, the newest finding for each region; clones are the same. Bounded by the number of regions.
#[derive(Clone, Debug, Default)]
pub struct Differing(Arc<Mutex<BTreeMap<RegionId, Inconsistency>>>);

impl Differing {
    /// Notes what a comparison found.
    pub fn add(&self, found: Inconsistency) {
        self.0.lock().insert(found.descriptor.id, found);
    }

    /// Forgets a region, whose replica is gone.
    pub fn forget(&self, region: RegionId) {
        self.0.lock().remove(&region);
    }

    /// The regions, by id.
    pub fn regions(&self) -> Vec<RegionId> {
        self.0.lock().keys().copied().collect()
    }

    pub(super) fn to_json(&self) -> Value {
        self.0.lock().values().map(shown).collect()
    }
}

fn shown(found: &Inconsistency) -> Value {
    let region = &found.descriptor;
    json!({
        "region_id": region.id.0,
        "start_key": HexKey(&region.range.start).to_string(),
        "end_key": HexKey(&region.range.end).to_string(),
        "peer_id": found.peer.0,
        "index": found.index.0,
        "hash": format!("{:016x}", found.ours),
        "leaders_hash": format!("{:016x}", found.leaders),
    })
}
