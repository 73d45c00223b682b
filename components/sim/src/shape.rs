//! What a cluster looks like: drawn from the seed, within what the caller asks for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use coordinator::CoordinatorConfig;
use engine::memory::MemOptions;
use placement::PlacementConfig;
use store::StoreConfig;
use types::{ClusterId, PeerRole, PlantedBugs, RegionDescriptor};

use crate::chance::Dice;
use crate::workload::WorkloadConfig;

/// The only cluster of a simulation.
pub(crate) const CLUSTER: ClusterId = ClusterId(7);

/// Most stores that are bought.
const MOST_SPARES: usize = 2;

/// A cluster's shape.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The stores that the cluster is born with.
    pub(crate) stores: usize,
    /// Those and the spare ones, each of which takes the place of one that is lost for good.
    pub(crate) machines: usize,
    pub(crate) regions: usize,
    pub(crate) replicas: usize,
    /// Start keys of the regions that have a single voter, all other members being learners.
    lone: BTreeSet<Bytes>,
    pub(crate) split_keys: Vec<Bytes>,
    pub(crate) store: StoreConfig,
    pub(crate) disk: MemOptions,
    /// How the coordinator places regions while everything is disturbed.
    pub(crate) placement: PlacementConfig,
    /// Whether pollers take regions in any order, rather than in the order in which they had work.
    pub(crate) shuffles: bool,
}

impl Shape {
    pub(crate) fn draw(stores: usize, regions: usize, dice: &mut Dice) -> Self {
        Self::with_split_keys(stores, split_keys(regions), regions >= 4, dice)
    }

    /// A shape with given borders; `lone` says whether some regions shall have a single voter.
    pub(crate) fn with_split_keys(stores: usize, split_keys: Vec<Bytes>, lone: bool, dice: &mut Dice) -> Self {
        let (regions, wants_lone) = (split_keys.len() + 1, lone);
        let replicas = if stores > 3 && dice.one_in(2) { 3 } else { stores.min(coordinator::config::MAX_REPLICAS) };
        let mut lone = BTreeSet::new();
        if wants_lone && replicas > 1 {
            // One for certain, each other one seldom.
            let certain = dice.place(split_keys.len());
            lone.insert(split_keys[certain].clone());
            lone.extend(split_keys.iter().filter(|_| dice.one_in(10)).cloned());
        }
        let is_tight = dice.one_in(2);
        let store = draw_config(is_tight, dice);
        let write_buffer_bytes = if is_tight { dice.within(4 << 10, 256 << 10) } else { 64 << 20 };
        let disk = MemOptions { write_buffer_bytes, ..MemOptions::default() };
        let shuffles = dice.one_in(2);
        let placement = draw_placement(dice);
        Self { stores, machines: stores, regions, replicas, lone, split_keys, store, disk, placement, shuffles }
    }

    /// The same cluster with as many spare stores as it can lose.
    pub(crate) fn with_spares(mut self) -> Self {
        self.machines = self.stores + (self.replicas.saturating_sub(1) / 2).min(MOST_SPARES);
        self
    }

    /// The same cluster with planted bugs.
    pub(crate) fn planting(mut self, planted: PlantedBugs) -> Self {
        (self.store.planted, self.store.region.planted, self.disk.planted) = (planted, planted, planted);
        self
    }

    pub(crate) fn coordinator_config(&self) -> CoordinatorConfig {
        CoordinatorConfig {
            replicas: self.replicas,
            split_keys: self.split_keys.clone(),
            expected_stores: self.stores,
            placement: self.placement.clone(),
            planted: self.store.planted,
            ..CoordinatorConfig::new(CLUSTER)
        }
    }

    /// A region of the coordinator's layout as this cluster is born with it.
    pub(crate) fn shaped(&self, mut region: RegionDescriptor) -> RegionDescriptor {
        if self.lone.contains(&region.range.start) {
            region.peers.iter_mut().skip(1).for_each(|peer| peer.role = PeerRole::Learner);
        }
        region
    }
}

/// Keys that cut the space of simulated keys, `key0000` to `key9999`, into so many parts.
pub fn split_keys(regions: usize) -> Vec<Bytes> {
    (1..regions).map(|at| Bytes::from(format!("key{:04}", at * 10_000 / regions))).collect()
}

/// How busy clients are.
pub(crate) fn draw_workload(shape: &Shape, dice: &mut Dice) -> WorkloadConfig {
    WorkloadConfig {
        clients: dice.within(4, 24) as u32,
        split_keys: shape.split_keys.clone(),
        registers_per_region: dice.within(2, 8) as u32,
        rest: if dice.one_in(2) { dice.millis(1, 20) } else { dice.millis(20, 300) },
        large_values_one_in: if dice.one_in(4) { 16 } else { 256 },
        ..WorkloadConfig::default()
    }
}

fn draw_config(is_tight: bool, dice: &mut Dice) -> StoreConfig {
    let mut config = StoreConfig {
        log_writer_thread: dice.one_in(2),
        raft_pollers: dice.within(1, 2) as usize,
        apply_pollers: dice.within(1, 2) as usize,
        max_unflushed_age: Duration::from_secs(dice.within(5, 60)),
        ..StoreConfig::default()
    };
    config.tick = dice.millis(20, 80);
    config.region.election_ticks = dice.within(6, 14) as u32;
    config.region.heartbeat_ticks = dice.within(1, 3) as u32;
    config.region.compact_entries = dice.within(32, 256);
    config.region.newcomer_ticks = dice.within(60, 400) as u32;
    config.region.stale_ticks = dice.within(40, 200) as u32;
    // Members that lag are left to snapshots then.
    if dice.one_in(2) {
        config.region.max_log_bytes = dice.within(1 << 10, 64 << 10);
    }
    if is_tight {
        config.regions_per_round = dice.within(1, 16) as usize;
        config.messages_per_round = dice.within(1, 64) as usize;
        config.mailbox_capacity = dice.within(16, 512) as usize;
        config.upkeep_interval = dice.millis(100, 2000);
        config.max_unflushed_log_bytes = dice.within(4 << 10, 256 << 10);
        config.max_unflushed_age = dice.millis(500, 10_000);
        config.region.compact_entries = dice.within(4, 64);
        config.region.compact_bytes = dice.within(1 << 10, 64 << 10);
        config.region.max_apply_bytes = dice.within(64, 8 << 10);
        config.region.entry_cache_bytes = dice.within(0, 8 << 10);
        config.region.max_message_bytes = dice.within(256, 8 << 10);
        config.region.max_inflight_messages = dice.within(2, 64) as usize;
        config.region.max_waiting_requests = dice.within(8, 256) as usize;
        config.region.max_uncommitted_bytes = dice.within(4 << 10, 1 << 20);
    }
    // One at a time: completions and what they complete lie far apart then.
    if dice.one_in(4) {
        config.messages_per_round = 1;
    }
    config
}

/// In half of the runs the coordinator mends nothing before peace comes: then regions stay as others made them.
fn draw_placement(dice: &mut Dice) -> PlacementConfig {
    PlacementConfig {
        max_store_down_time: dice.millis(1500, 20_000),
        store_limit: 1 << 20,
        fast_step_timeout: dice.millis(2000, 10_000),
        slow_step_timeout: dice.millis(5000, 30_000),
        enable_joint_consensus: !dice.one_in(4),
        halt_scheduling: dice.one_in(2),
        ..PlacementConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_with_a_lone_voter_is_always_there() {
        for seed in 0..50 {
            let shape = Shape::draw(3, 4, &mut Dice::fork(seed, "shape", 0));
            assert!(!shape.lone.is_empty());
            assert!(shape.lone.iter().all(|start| shape.split_keys.contains(start)));
        }
    }

    #[test]
    fn the_drawn_coordinator_is_always_valid() {
        for seed in 0..50 {
            for (stores, regions) in [(1, 1), (3, 20), (5, 7), (9, 3)] {
                let shape = Shape::draw(stores, regions, &mut Dice::fork(seed, "shape", 0));
                assert_eq!(shape.coordinator_config().validate(), Ok(()));
            }
        }
    }
}
