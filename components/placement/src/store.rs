//! A store as placement sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{Instant, StoreId};

/// A store that was silent for longer gets no new peers and no leaders.
pub const DISCONNECTED_AFTER: Duration = Duration::from_secs(20);

/// Labels by which a store says that it is not for everybody.
const EXCLUSIVE_LABEL: &str = "exclusive";
const EXCLUSIVE_PREFIX: char = '$';

/// What a store's heartbeat says of its load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreLoad {
    /// Size of its disk in bytes; zero when unknown.
    pub capacity_bytes: u64,
    /// Free on its disk, in bytes.
    pub available_bytes: u64,
    /// How many regions have a peer on it, by its own count.
    pub region_count: u64,
    /// Snapshots that it sends.
    pub sending_snapshots: u64,
    /// Snapshots that it receives or applies.
    pub receiving_snapshots: u64,
    /// Whether it cannot keep up.
    pub is_busy: bool,
    /// Whether it is stopping.
    pub is_stopping: bool,
}

/// A store of the cluster that was not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreState {
    /// Its id.
    pub id: StoreId,
    /// Where it stands and what it is for.
    pub labels: BTreeMap<String, String>,
    /// Whether it was told to leave.
    pub is_leaving: bool,
    /// When it was heard of last; at the latest, when this placement began.
    pub heard: Instant,
    /// Its newest load; `None` before its first heartbeat.
    pub load: Option<StoreLoad>,
}

impl StoreState {
    /// How long it has been silent.
    pub fn silence(&self, now: Instant) -> Duration {
        now.since(self.heard)
    }

    /// Whether it was heard of lately.
    pub fn is_connected(&self, now: Instant) -> bool {
        self.silence(now) <= DISCONNECTED_AFTER
    }

    /// Whether it takes regions of everybody.
    pub fn is_exclusive(&self) -> bool {
        self.labels.keys().any(|key| key == EXCLUSIVE_LABEL || key.starts_with(EXCLUSIVE_PREFIX))
    }

    /// Whether so much of its disk is used, in percent, that it should get no more.
    pub fn is_low_on_space(&self, low_space_percent: u64) -> bool {
        let Some(load) = self.load.filter(|load| load.capacity_bytes > 0) else { return false };
        let used = load.capacity_bytes.saturating_sub(load.available_bytes);
        u128::from(used) * 100 > u128::from(load.capacity_bytes) * u128::from(low_space_percent)
    }

    /// Its place at a level; empty when it does not say.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}
