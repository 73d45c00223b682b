//! What a store tells the placement driver, and what it is told (wire.md B, raftstore-rules §12).
//!
//! The heartbeat of a region that is led here leaves at once when its leader, members or range change or a member has
//! caught up, and every so often; the answers are orders. Orders are for an epoch: the region refuses what came too
//! late, so nothing here has to be careful about order or repetition.
//!
//! Reading order: [`regions`], [`health`], [`flows`], [`sizes`], [`orders`], [`orphans`], [`store`], [`slow`],
//! [`consistency`].

mod consistency;
mod flows;
mod health;
mod orders;
mod orphans;
mod regions;
mod sizes;
mod slow;
mod store;

use std::time::Duration;

use runtime::clock::{SystemWallClock, WallClock};

pub(super) use consistency::check_consistency;
pub(super) use orders::Orders;
pub(super) use orphans::ask_for_members;
pub(super) use regions::RegionReports;
pub(super) use store::StoreReports;

use crate::config::RaftstoreConfig;

/// When things are reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportConfig {
    /// How often every led region is, whether anything happened or not.
    pub(super) region_interval: Duration,
    /// How often the store is.
    pub(super) store_interval: Duration,
    /// How long a member must have been silent to be down.
    pub(super) max_peer_down: Duration,
    /// How long a raft tick is.
    pub(super) tick: Duration,
}

impl From<&RaftstoreConfig> for ReportConfig {
    fn from(config: &RaftstoreConfig) -> Self {
        Self {
            region_interval: Duration::from_millis(config.pd_heartbeat_interval_ms),
            store_interval: Duration::from_millis(config.pd_store_heartbeat_interval_ms),
            max_peer_down: Duration::from_millis(config.max_peer_down_ms),
            tick: Duration::from_millis(config.tick_ms),
        }
    }
}

/// Seconds since the Unix epoch.
pub(super) fn unix_seconds() -> u64 {
    SystemWallClock.unix_ms() / 1000
}
