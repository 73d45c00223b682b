//! What may be tuned about a region's peer. Shared by all peers of a store.

use types::PlantedBugs;
use types::limits;
use types::seed::Seed;

/// Settings of all peers of a store.
#[derive(Clone, Debug)]
pub struct RegionConfig {
    /// Ticks without a leader's word after which a member no longer protects that leader. A follower campaigns after
    /// `election_ticks + 1 .. 2 * election_ticks`, each voter of a region in a slot of its own.
    pub election_ticks: u32,
    /// Ticks between a leader's heartbeats. Below `election_ticks`.
    pub heartbeat_ticks: u32,
    /// Most bytes of entries in one append message.
    pub max_message_bytes: u64,
    /// Most append messages on their way to one follower.
    pub max_inflight_messages: usize,
    /// Largest entry, in bytes; a command that exceeds it by itself is refused.
    pub max_entry_bytes: u64,
    /// Most bytes of committed entries handed to apply at once; bounds a replay's memory.
    pub max_apply_bytes: u64,
    /// Most bytes of proposed and uncommitted entries of one leader; more is refused as busy.
    pub max_uncommitted_bytes: u64,
    /// Most bytes of entries kept in memory for each region, beyond those that are not durable yet.
    pub entry_cache_bytes: u64,
    /// Most proposals and reads of one region that wait at a time; more are refused as busy.
    pub max_waiting_requests: usize,
    /// A leader compacts its log once this many entries are matched by all members and not compacted.
    pub compact_entries: u64,
    /// The same in bytes.
    pub compact_bytes: u64,
    /// Most bytes of log kept for a member that is behind; beyond it the member is left to a snapshot.
    pub max_log_bytes: u64,
    /// Ticks without progress after which learners that were added to become voters are removed again. While a snapshot is on
    /// its way to one, they count only if it turns out to be in vain.
    pub newcomer_ticks: u32,
    /// Ticks without a leader's word after which a peer asks the members that it knows whether it still is one, and again
    /// after as many; four election timeouts are enough for one that knows of its removal.
    pub stale_ticks: u32,
    /// Where the peers' chance comes from.
    pub seed: Seed,
    /// Bugs to be found by the simulator; always none in a build for users.
    pub planted: PlantedBugs,
}

impl Default for RegionConfig {
    fn default() -> Self {
        Self {
            election_ticks: 10,
            heartbeat_ticks: 2,
            max_message_bytes: 1 << 20,
            max_inflight_messages: 256,
            max_entry_bytes: limits::MAX_ENTRY_BYTES as u64,
            max_apply_bytes: 4 << 20,
            max_uncommitted_bytes: 64 << 20,
            entry_cache_bytes: 4 << 20,
            max_waiting_requests: 16 << 10,
            compact_entries: 1024,
            compact_bytes: 4 << 20,
            max_log_bytes: 1 << 30,
            newcomer_ticks: 600,
            stale_ticks: 600,
            seed: Seed(0),
            planted: PlantedBugs::NONE,
        }
    }
}
