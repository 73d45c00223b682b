//! What a store keeps in memory and on disk stays within its bounds, and shrinks again when nothing happens.

use std::collections::BTreeMap;

use store::StoreConfig;
use types::{LogIndex, Peer, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::{Ledger, LogAccount, StateAccount};
use crate::observation::{Event, Observation};

const NAME: &str = "resources";

/// How long a log may stay when nothing happens, in [`region::RegionConfig::compact_entries`]: what is not yet worth a
/// compaction, and as much again for those whose members caught up a moment ago.
const LOGS_AT_REST: u64 = 2;

/// Most writes of a region that wait for the log engine.
const MOST_WRITES: usize = 256;

/// What an empty entry counts in the bounds of a region.
const SMALLEST_ENTRY_BYTES: u64 = 64;

/// A store's queues as of its last piece of work.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    queued: usize,
    cached_bytes: u64,
}

/// Holds stores to the bounds of their configuration.
#[derive(Debug)]
pub struct Resources {
    config: StoreConfig,
    loads: BTreeMap<StoreId, Load>,
}

impl Resources {
    /// For stores with these settings.
    pub fn new(config: StoreConfig) -> Self {
        Self { config, loads: BTreeMap::new() }
    }

    fn on_work(&mut self, store: StoreId, load: Load, ledger: &Ledger) -> Result<(), Violation> {
        self.loads.insert(store, load);
        // Peers that have no state yet have a mailbox, too.
        let regions = ledger.store(store).map_or(0, |account| {
            let peers = account.log.durable().regions.values().filter(|log| log.lifecycle.is_some());
            peers.count().max(account.state.regions().len())
        });
        let room = regions * (self.config.mailbox_capacity + most_under_way(&self.config));
        let queued = load.queued;
        ensure(NAME, queued <= room, || format!("store {store} has {queued} messages in queues for {room}"))?;
        // Beyond its bound a cache holds only what is not durable yet, which is bounded by what a leader may propose and
        // a follower may be sent.
        let config = &self.config.region;
        let on_its_way = config.max_uncommitted_bytes + config.max_entry_bytes;
        let sent = config.max_inflight_messages as u64 * (config.max_message_bytes + config.max_entry_bytes);
        let bound = regions as u64 * (config.entry_cache_bytes + on_its_way.max(sent));
        let cached = load.cached_bytes;
        ensure(NAME, cached <= bound, || format!("store {store} has {cached} bytes of entries in caches for {bound}"))
    }
}

/// What comes beside messages and requests, and always finds room: the completions of a region's writes, the entries that it
/// has handed to apply, and their completions. A region bounds its writes by number, its entries by bytes.
fn most_under_way(config: &StoreConfig) -> usize {
    let handed_out = config.region.max_apply_bytes / SMALLEST_ENTRY_BYTES + 1;
    MOST_WRITES + 2 * handed_out as usize
}

impl Checker for Resources {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::Worked { queued, cached_bytes } => {
                self.on_work(store, Load { queued: *queued, cached_bytes: *cached_bytes }, ledger)
            }
            Event::Crashed { .. } | Event::Stopped | Event::Failed { .. } | Event::Wiped => {
                self.loads.remove(&store);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, ledger: &Ledger) -> Result<(), Violation> {
        // A leader that began with a snapshot has less of a log than its followers: theirs goes with its next compaction.
        let mut compacted: BTreeMap<RegionId, LogIndex> = BTreeMap::new();
        for (_, account) in ledger.stores().filter(|(_, account)| account.is_open) {
            for (region, state) in account.state.regions() {
                let newest = compacted.entry(*region).or_default();
                *newest = (*newest).max(state.apply_state.truncated);
            }
        }
        for (store, account) in ledger.stores().filter(|(_, account)| account.is_open) {
            let load = self.loads.get(&store).copied().unwrap_or_default();
            let regions = account.state.regions();
            // A heartbeat and its answer for each member may be waiting, and a tick.
            let few = regions.values().map(|state| 2 * state.descriptor.peers.len() + 1).sum::<usize>();
            ensure(NAME, load.queued <= few, || {
                format!("store {store} still has {} messages in its queues when nothing happens", load.queued)
            })?;
            let bound = regions.len() as u64 * self.config.region.entry_cache_bytes;
            ensure(NAME, load.cached_bytes <= bound, || {
                format!("store {store} still has {} bytes of entries in caches for {bound}", load.cached_bytes)
            })?;
            let longest = LOGS_AT_REST * self.config.region.compact_entries;
            // As long as a member is away the log is kept for it.
            let is_here = |region: RegionId, peer: &Peer| {
                let (account, truth) = (ledger.store(peer.store_id), ledger.region(region));
                account
                    .zip(truth)
                    .is_some_and(|(account, truth)| account.is_open && truth.counts_on(peer.id, account.instance()))
            };
            let is_complete =
                |region, state: &StateAccount| state.descriptor.peers.iter().all(|peer| is_here(region, peer));
            for (region, _) in regions.iter().filter(|(region, state)| is_complete(**region, state)) {
                let last = account.region_log(*region).map(LogAccount::last_index).unwrap_or_default();
                let entries = last.0.saturating_sub(compacted[region].0);
                ensure(NAME, entries <= longest, || {
                    format!("region {region}: store {store} still has a log of {entries} entries, which nobody needs")
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use region::RegionConfig;

    use super::*;
    use crate::check::testing::*;

    fn script() -> Script {
        let region = RegionConfig {
            entry_cache_bytes: 100,
            compact_entries: 1,
            // Two entries may be on their way through apply, and so may their completions.
            max_apply_bytes: 64,
            ..RegionConfig::default()
        };
        let config = StoreConfig { mailbox_capacity: 10, region, ..StoreConfig::default() };
        Script::with(vec![Box::new(Resources::new(config))]).led()
    }

    fn worked(script: &mut Script, queued: usize, cached_bytes: u64) -> Result<(), Violation> {
        script.see(1, Event::Worked { queued, cached_bytes })
    }

    #[test]
    fn queues_and_caches_have_bounds() {
        worked(&mut script(), 2 * (10 + 256 + 4), 1 << 20).fine();
        worked(&mut script(), 541, 0).violates(NAME, "541 messages in queues for 540");
        worked(&mut script(), 0, 10 << 30).violates(NAME, "bytes of entries in caches");
    }

    #[test]
    fn they_shrink_when_nothing_happens() {
        let mut script = script();
        worked(&mut script, 15, 0).fine();
        script.watch().finish().violates(NAME, "still has 15 messages");
        worked(&mut script, 0, 201).fine();
        script.watch().finish().violates(NAME, "still has 201 bytes");
        worked(&mut script, 0, 200).fine();
        script.watch().finish().fine();
    }

    #[test]
    fn logs_are_compacted_in_the_end() {
        let mut script = script();
        script.append(1, vec![empty(7, 6), empty(8, 6)], hard_state(6, 101, 5)).fine();
        script.watch().finish().violates(NAME, "still has a log of 3 entries");
    }
}
