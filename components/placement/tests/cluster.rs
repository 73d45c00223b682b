//! A model cluster that obeys with delays, failures, stale heartbeats and a driver that restarts: whatever happens, each
//! region ends fully replicated, never loses its quorum on the way, and is then left alone.

#![allow(clippy::unwrap_used, dead_code)]

mod common;
mod model;

use std::time::Duration;

use model::{Model, Weather};
use placement::PlacementConfig;
use types::seed::Rng;

const FAIR: Weather = Weather { loses_one_in: 0, delay_s: 1, auto_leave: false, stuck_learners: false, splits: false };
const ROUGH: Weather = Weather { loses_one_in: 5, delay_s: 8, auto_leave: true, stuck_learners: true, splits: true };

fn config() -> PlacementConfig {
    PlacementConfig {
        max_store_down_time: Duration::from_secs(120),
        store_limit: 60,
        replica_schedule_limit: 8,
        ..PlacementConfig::default()
    }
}

/// Nothing is moved to and fro: for a long time after all is well and known to be, nothing at all is done.
fn stays_quiet(model: &mut Model) {
    // What a store missed before it came back is still on its way.
    model.run(200);
    model.run_until_whole(3600);
    let before = model.created;
    model.run(1800);
    assert_eq!(model.created, before, "operators without a reason");
    assert!(model.is_whole());
}

#[test]
fn a_dead_store_is_replaced() {
    for seed in 0..20 {
        let mut model = Model::new(seed, config(), FAIR, 4, 12);
        model.run(200);
        assert_eq!(model.created, 0, "all was well");
        let lost = model.peers_on(2) as u64;
        model.kill(2);
        model.run_until_whole(1800);
        assert_eq!(model.created, lost, "one operator for each lost peer");
        assert_eq!(model.peers_on(2), 0);
        stays_quiet(&mut model);
    }
}

#[test]
fn a_store_that_comes_back_in_time_is_left_alone() {
    for seed in 0..20 {
        let mut model = Model::new(seed, config(), FAIR, 4, 12);
        model.run(200);
        model.kill(2);
        model.run(100);
        model.revive(2);
        model.run(600);
        assert_eq!(model.created, 0);
    }
}

#[test]
fn a_store_that_leaves_is_emptied() {
    for seed in 0..20 {
        let mut model = Model::new(seed, config(), FAIR, 4, 12);
        model.run(200);
        let held = model.peers_on(3);
        model.leave(3);
        model.run_until_whole(1800);
        assert_eq!(model.peers_on(3), 0);
        assert!(model.placement.is_vacant(3.into()));
        assert!(model.created <= 2 * held as u64, "a leader to move and a peer to replace, at the most");
        stays_quiet(&mut model);
    }
}

/// The model holds each store against its limit in every minute.
#[test]
fn a_store_is_not_flooded() {
    for seed in 0..5 {
        let config = PlacementConfig { store_limit: 5, replica_schedule_limit: 64, ..config() };
        let mut model = Model::new(seed, config, FAIR, 4, 60);
        model.run(200);
        model.kill(1);
        let lasted = model.run_until_whole(3600);
        // Each of the others gets 15 peers, five of them at once.
        assert!(lasted > 120 + (15 - 5) * 60 / 5, "the limit makes it slow: {lasted} s");
    }
}

/// Three become five and then three again, the first three removed one after the other.
#[test]
fn a_cluster_moves_to_other_stores() {
    for seed in 0..10 {
        let mut model = Model::new(seed, config(), ROUGH, 3, 8);
        model.run(400);
        for store in 4..=6 {
            model.join(store, &[]);
        }
        for store in 1..=3 {
            model.leave(store);
            model.run_until_whole(20_000);
            assert_eq!(model.peers_on(store), 0);
        }
    }
}

/// Deaths, farewells, arrivals, people and restarts of the driver, all in bad weather. One store is dead at a time.
fn chaos(seed: u64) -> (u64, u64) {
    let mut rng = Rng::new(seed);
    let weather = Weather { auto_leave: seed.is_multiple_of(2), ..ROUGH };
    let mut model = Model::new(seed, config(), weather, 5, 10);
    for round in 0..6 {
        model.run(100 + rng.below(300));
        if round < 2 && rng.one_in(2) {
            let store = model.random_store();
            model.leave(store);
            model.join(10 + round, &[]);
            model.run(rng.below(100));
        }
        if rng.one_in(3) {
            for _ in 0..5 {
                model.random_command();
                model.run(rng.below(60));
            }
        }
        if rng.one_in(2) {
            let store = model.random_store();
            model.kill(store);
            model.run(rng.below(400));
            if rng.one_in(3) {
                model.restart_driver();
            }
            model.run(rng.below(200));
            model.revive(store);
        }
        if rng.one_in(3) {
            model.restart_driver();
        }
        model.run_until_whole(30_000);
    }
    stays_quiet(&mut model);
    (model.trace, model.created)
}

#[test]
fn whatever_happens_the_cluster_becomes_whole() {
    let created: u64 = (0..60).map(|seed| chaos(seed).1).sum();
    assert!(created > 500, "it had something to do: {created}");
}

#[test]
fn one_seed_gives_one_result() {
    let results: Vec<_> = (0..4).map(|seed| (chaos(seed), chaos(seed))).collect();
    assert!(results.iter().all(|(first, second)| first == second));
    assert!(results.windows(2).all(|pair| pair[0] != pair[1]));
}
