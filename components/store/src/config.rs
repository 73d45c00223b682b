//! What may be tuned about a store.

use std::time::Duration;

use region::RegionConfig;
use types::PlantedBugs;

use crate::snapshots::SnapshotConfig;
use crate::split::config::SplitConfig;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Settings of its peers.
    pub region: RegionConfig,
    /// How long a raft tick is.
    pub tick: Duration,
    /// Threads that step regions. More than one doubles the fsyncs: worth it only with cores to spare.
    pub raft_pollers: usize,
    /// Threads that apply committed entries.
    pub apply_pollers: usize,
    /// Most regions that one round takes up.
    pub regions_per_round: usize,
    /// Most messages that one region handles in one round.
    pub messages_per_round: usize,
    /// Most messages that wait for one region; raft messages beyond are dropped, requests refused as busy.
    pub mailbox_capacity: usize,
    /// Whether the log is written by a thread of its own rather than by the poller.
    pub log_writer_thread: bool,
    /// How often the flush watermark is looked at.
    pub upkeep_interval: Duration,
    /// Bytes of log behind the flush watermark at which a flush is forced (D5).
    pub max_unflushed_log_bytes: u64,
    /// Age of the oldest unflushed round at which a flush is forced.
    pub max_unflushed_age: Duration,
    /// How long an operation waits for others to share its flush (D4).
    pub fence_wait: Duration,
    /// Settings of snapshots.
    pub snapshots: SnapshotConfig,
    /// When the store splits its regions by itself.
    pub split: SplitConfig,
    /// How long a stopping store tries to hand its leaders over.
    pub stop_timeout: Duration,
    /// Bugs to be found by the simulator; always none in a build for users.
    pub planted: PlantedBugs,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            region: RegionConfig::default(),
            tick: Duration::from_millis(50),
            raft_pollers: 1,
            apply_pollers: 1,
            regions_per_round: 256,
            messages_per_round: 4096,
            mailbox_capacity: 16 << 10,
            log_writer_thread: false,
            upkeep_interval: Duration::from_secs(1),
            max_unflushed_log_bytes: 512 << 20,
            max_unflushed_age: Duration::from_secs(600),
            fence_wait: Duration::from_millis(100),
            snapshots: SnapshotConfig::default(),
            split: SplitConfig::default(),
            stop_timeout: Duration::from_secs(5),
            planted: PlantedBugs::NONE,
        }
    }
}
