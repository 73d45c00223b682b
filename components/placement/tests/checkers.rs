//! What checkers make of a region that is not as it should be.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{Bench, GIB, line, region};
use placement::{Command, Drain, Ending, Obstacle, PlacementConfig, Priority, StoreLoad, Unfit};
use types::{Peer, PeerRole};

fn bench(stores: u64) -> Bench {
    let mut bench = Bench::new(PlacementConfig::default(), stores);
    bench.set(region(1, &[1, 2, 3]));
    bench
}

fn learner(id: u64, store: u64) -> Peer {
    Peer { role: PeerRole::Learner, ..Peer::voter(id.into(), store.into()) }
}

/// A learner that nobody's operator owns.
fn add_learner(bench: &mut Bench, region: u64, store: u64) {
    let descriptor = bench.descriptor_mut(region);
    descriptor.peers.push(learner(900 + store, store));
    descriptor.epoch.conf_ver += 1;
}

fn remove_voter(bench: &mut Bench, region: u64, store: u64) {
    let descriptor = bench.descriptor_mut(region);
    descriptor.peers.retain(|peer| peer.store_id.0 != store);
    descriptor.epoch.conf_ver += 1;
}

#[test]
fn a_region_that_is_as_it_should_be_is_left_alone() {
    let mut bench = bench(5);
    for _ in 0..100 {
        bench.hear_stores();
        assert_eq!((bench.hear(1), bench.pushed.len()), (None, 0));
    }
    assert_eq!(bench.placement.waiting(), 0);
}

#[test]
fn a_missing_voter_is_made_up_for_on_the_emptiest_store() {
    let mut bench = bench(5);
    bench.set(region(2, &[4, 1, 2]));
    remove_voter(&mut bench, 1, 3);
    assert_eq!(
        bench.obey_all(1),
        ["learner 3", "voter 3"],
        "4 and 5 were as good, but 3 has the smaller number of regions"
    );
    assert_eq!(bench.last_ending(), ("make-up-replica", Ending::Finished));
}

#[test]
fn a_lost_peer_is_replaced_only_after_the_configured_time() {
    let mut bench = bench(4);
    bench.stores.remove(&3.into());
    while bench.now.0 < Duration::from_secs(1800).as_nanos() as u64 {
        bench.hear_stores();
        let down = bench.now.since(types::Instant::ORIGIN).as_secs();
        bench.down(1, 3, down.min(1800));
        assert_eq!(bench.hear(1), None, "after {down} s");
    }
    bench.hear_stores();
    bench.down(1, 3, 1700);
    let first = bench.hear(1).unwrap();
    assert_eq!(line(&first), "learner 4", "its store has been silent for long enough");
    bench.obey(&first);
    assert_eq!(bench.obey_all(1), ["voter 4, learner 3", "leave joint", "remove 3"]);
    assert_eq!(bench.last_ending(), ("replace-down-replica", Ending::Finished));
}

/// The store's own heartbeats come, only this peer is missing.
#[test]
fn a_peer_that_its_region_misses_for_long_is_replaced() {
    let mut bench = bench(4);
    bench.down(1, 3, 1800);
    assert_eq!(bench.hear(1), None);
    bench.down(1, 3, 1801);
    assert_eq!(line(&bench.hear(1).unwrap()), "learner 4");
}

/// It may be that only the placement driver does not hear it.
#[test]
fn a_silent_store_whose_peers_answer_is_no_reason_to_move_data() {
    let mut bench = bench(4);
    bench.stores.remove(&3.into());
    for _ in 0..400 {
        bench.hear_stores();
        assert_eq!(bench.hear(1), None);
    }
}

#[test]
fn a_store_that_leaves_loses_its_leaders_first_and_then_its_peers() {
    let mut bench = bench(4);
    bench.leave(1, &[]);
    assert_eq!(bench.placement.waiting(), 1, "it need not report first");
    bench.hear_stores();
    assert_eq!(line(&bench.pushed.remove(0)), "transfer to 2 or 3");
    assert_eq!(bench.placement.operator(1.into()).unwrap().priority(), Priority::High);
    let orders = bench.obey_all(1);
    assert_eq!(orders, ["transfer to 2 or 3", "learner 4", "voter 4, learner 1", "leave joint", "remove 1"]);
    let names: Vec<_> = bench.placement.records().map(|record| record.operator.name()).collect();
    assert_eq!(names, ["evict-leader", "replace-offline-replica"]);
    assert!(bench.placement.is_vacant(1.into()) && !bench.placement.is_vacant(4.into()));
}

#[test]
fn with_nowhere_to_go_a_peer_stays_and_waits() {
    let mut bench = bench(3);
    bench.leave(3, &[]);
    assert_eq!(bench.hear(1), None);
    assert!(!bench.placement.is_vacant(3.into()));
    bench.add_store(4, &[]);
    bench.hear_stores();
    assert_eq!(bench.obey_all(1), ["learner 4", "voter 4, learner 3", "leave joint", "remove 3"]);
}

/// Whoever drains a store is told what it waits for.
#[test]
fn a_drain_says_what_it_waits_for() {
    let fit = StoreLoad { capacity_bytes: 1000 * GIB, available_bytes: 900 * GIB, ..StoreLoad::default() };
    let full = StoreLoad { available_bytes: 100 * GIB, ..fit };
    let waits = |bench: &Bench| bench.placement.drain(bench.now, 3.into());
    let only = |obstacle, regions| Drain { regions, moving: 0, waiting: BTreeMap::from([(obstacle, regions)]) };

    let mut alone = bench(3);
    alone.leave(3, &[]);
    alone.hear_stores();
    assert_eq!(waits(&alone), only(Obstacle::NoStore(Unfit::Absent), 1));
    assert!(waits(&alone).is_stalled());
    alone.add_store(4, &[]);
    alone.stores.insert(4.into(), full);
    alone.hear_stores();
    assert_eq!(waits(&alone), only(Obstacle::NoStore(Unfit::LowOnSpace), 1));
    assert!(waits(&alone).main_obstacle().unwrap().why().contains("schedule.low-space-ratio"));
    alone.stores.insert(4.into(), fit);
    assert!(waits(&alone).is_stalled(), "looking changes nothing");
    alone.hear_stores();
    alone.hear(1);
    let moves = waits(&alone);
    assert_eq!((moves.regions, moves.moving, moves.is_stalled()), (1, 1, false));
    alone.obey_all(1);
    assert_eq!(waits(&alone), Drain::default());

    let mut many = Bench::new(PlacementConfig::default(), 4);
    for id in 1..=40 {
        let mut large = region(id, &[1, 2, 3]);
        large.approximate_bytes = 100 << 20;
        many.set(large);
    }
    many.leave(3, &[]);
    let then = many.now;
    many.hear_stores();
    let limited = many.placement.drain(then, 3.into());
    assert_eq!((limited.regions, limited.moving), (40, 15));
    assert_eq!(limited.waiting, BTreeMap::from([(Obstacle::NoStore(Unfit::Limited), 25)]));
    assert!(!limited.is_stalled(), "some move");

    let mut config = PlacementConfig::default();
    config.set("schedule.halt-scheduling", "true").unwrap();
    let mut halted = Bench::new(config, 4);
    halted.set(region(1, &[1, 2, 3]));
    halted.leave(3, &[]);
    halted.hear_stores();
    assert_eq!(waits(&halted), only(Obstacle::Halted, 1));
}

#[test]
fn a_learner_left_by_an_operator_takes_the_place_of_a_lost_voter() {
    let mut bench = bench(5);
    add_learner(&mut bench, 1, 5);
    bench.leave(3, &[]);
    assert_eq!(bench.obey_all(1), ["voter 5, learner 3", "leave joint", "remove 3"]);
}

#[test]
fn a_learner_that_caught_up_is_promoted_when_a_voter_is_missing() {
    let mut bench = bench(5);
    add_learner(&mut bench, 1, 5);
    remove_voter(&mut bench, 1, 3);
    bench.region_mut(1).pending_peers = vec![learner(905, 5)];
    assert_eq!(bench.hear(1), None, "it is on its way: no other is added");
    bench.region_mut(1).pending_peers.clear();
    assert_eq!(bench.obey_all(1), ["voter 5"]);
    assert_eq!(bench.last_ending(), ("promote-learner", Ending::Finished));
}

#[test]
fn a_learner_that_never_catches_up_makes_way() {
    let mut bench = bench(5);
    remove_voter(&mut bench, 1, 3);
    add_learner(&mut bench, 1, 5);
    bench.region_mut(1).pending_peers = vec![learner(905, 5)];
    bench.hear(1);
    for _ in 0..60 {
        bench.hear_stores();
        assert_eq!(bench.hear(1), None);
    }
    bench.hear_stores();
    let order = bench.hear(1).unwrap();
    assert_eq!(line(&order), "remove 5");
    bench.obey(&order);
    bench.region_mut(1).pending_peers.clear();
    assert_eq!(bench.obey_all(1), ["learner 3", "voter 3"]);
}

#[test]
fn what_is_too_much_goes() {
    let mut bench = bench(5);
    add_learner(&mut bench, 1, 5);
    assert_eq!(bench.obey_all(1), ["remove 5"], "nobody needs the learner");
    assert_eq!(bench.last_ending(), ("remove-extra-learner", Ending::Finished));
    bench.set(region(2, &[1, 2, 3, 4]));
    bench.set(region(3, &[4, 2, 1]));
    let orders = bench.obey_all(2);
    assert_eq!(orders, ["transfer to 2 or 3 or 4", "learner 1", "remove 1"], "the fullest store, though it leads");
    assert_eq!(bench.members(2), ["2", "3", "4"]);
}

#[test]
fn of_too_many_the_lost_one_goes() {
    let mut bench = bench(5);
    bench.regions.insert(2.into(), region(2, &[1, 2, 3, 4]));
    bench.down(2, 4, 60);
    assert_eq!(bench.obey_all(2), ["learner 4", "remove 4"]);
    assert_eq!(bench.last_ending(), ("remove-extra-replica", Ending::Finished));
}

#[test]
fn a_joint_configuration_that_nobody_owns_is_left() {
    let mut bench = bench(4);
    let peers = &mut bench.descriptor_mut(1).peers;
    peers[0].role = PeerRole::DemotingVoter;
    peers.push(Peer { role: PeerRole::IncomingVoter, ..Peer::voter(999.into(), 4.into()) });
    bench.descriptor_mut(1).epoch.conf_ver += 3;
    let orders = bench.obey_all(1);
    assert_eq!(orders, ["transfer to 2 or 3 or 4", "leave joint", "remove 1"]);
    let names: Vec<_> = bench.placement.records().map(|record| record.operator.name()).collect();
    assert_eq!(names, ["leave-joint-state", "remove-extra-learner"]);
}

#[test]
fn nothing_is_added_while_the_quorum_hangs_by_a_thread() {
    let mut bench = bench(5);
    let down = |store: u64| bench.regions[&1.into()].peer_on(store.into()).unwrap();
    let both = [2, 3].map(|store| placement::DownPeer { peer: down(store), down_seconds: 4000 });
    bench.region_mut(1).down_peers = both.to_vec();
    assert_eq!(bench.hear(1), None);
    bench.down(1, 3, 4000);
    assert_eq!(line(&bench.hear(1).unwrap()), "learner 4");
}

#[test]
fn stores_that_are_not_fit_get_nothing() {
    let fit = StoreLoad { capacity_bytes: 1000 * GIB, available_bytes: 900 * GIB, ..StoreLoad::default() };
    for unfit in [
        StoreLoad { available_bytes: 199 * GIB, ..fit },
        StoreLoad { is_busy: true, ..fit },
        StoreLoad { is_stopping: true, ..fit },
        StoreLoad { receiving_snapshots: 64, ..fit },
    ] {
        let mut bench = bench(4);
        bench.stores.insert(4.into(), unfit);
        bench.hear_stores();
        bench.leave(3, &[]);
        bench.hear_stores();
        assert_eq!((bench.hear(1), bench.pushed.len()), (None, 0), "{unfit:?}");
        bench.stores.insert(4.into(), fit);
        bench.hear_stores();
        bench.hear(1);
        assert!(bench.placement.operator(1.into()).is_some());
    }
    for exclusive in ["$tiering", "exclusive"] {
        let mut bench = bench(3);
        bench.add_store(4, &[(exclusive, "yes")]);
        bench.leave(3, &[]);
        bench.hear_stores();
        assert_eq!(bench.hear(1), None, "{exclusive}");
    }
}

fn zoned(replicas: usize, zones: &[&str]) -> Bench {
    let mut config = PlacementConfig { max_replicas: replicas, ..PlacementConfig::default() };
    config.set("replication.location-labels", "zone,host").unwrap();
    let mut bench = Bench::new(config, 0);
    for (index, zone) in zones.iter().enumerate() {
        let store = index as u64 + 1;
        bench.add_store(store, &[("zone", zone), ("host", &store.to_string())]);
    }
    bench.hear_stores();
    bench
}

#[test]
fn a_new_replica_goes_where_it_is_best_isolated() {
    let mut bench = zoned(3, &["a", "b", "b", "c"]);
    bench.set(region(2, &[4, 1, 2]));
    assert_eq!(line(&bench.set(region(1, &[1, 2])).unwrap()), "learner 4", "another zone, though it is fuller");
}

#[test]
fn replicas_that_share_a_place_move_apart_and_then_stay() {
    let mut bench = zoned(3, &["a", "a", "b", "c"]);
    bench.regions.insert(1.into(), region(1, &[1, 2, 3]));
    bench.set(region(2, &[2, 3, 4]));
    let orders = bench.obey_all(1);
    assert_eq!(orders[0], "learner 4");
    assert_eq!(bench.last_ending(), ("move-to-better-location", Ending::Finished));
    let members = bench.members(1);
    assert!(members == ["1", "3", "4"] || members == ["2", "3", "4"], "{members:?}");
    for _ in 0..20 {
        bench.hear_stores();
        assert_eq!((bench.hear(1), bench.hear(2), bench.pushed.len()), (None, None, 0));
    }
}

#[test]
fn an_isolation_level_is_never_given_up() {
    let mut bench = zoned(3, &["a", "b", "b"]);
    let mut strict = bench.placement.config().clone();
    strict.set("replication.isolation-level", "zone").unwrap();
    bench.placement.set_config(strict);
    assert_eq!(bench.set(region(1, &[1, 2])), None, "better two replicas than two in one zone");
    bench.add_store(4, &[("zone", "c")]);
    bench.hear_stores();
    assert_eq!(bench.obey_all(1), ["learner 4", "voter 4"]);
}

#[test]
fn checkers_wait_until_most_regions_have_reported() {
    let mut bench = Bench::new(PlacementConfig::default(), 0);
    for store in 1..=4 {
        bench.add_store(store, &[]);
    }
    let held = StoreLoad { region_count: 10, ..bench.stores[&1.into()] };
    bench.stores.values_mut().for_each(|load| *load = held);
    bench.hear_stores();
    assert!(!bench.placement.is_prepared());
    for id in 1..=9 {
        assert_eq!(bench.set(region(id, &[1, 2])), None, "store 3 may be full of what has not reported");
        bench.set(region(10 + id, &[3, 4]));
    }
    assert_eq!(bench.placement.operators().len(), 0);
    bench.hear_stores();
    assert!(bench.placement.is_prepared() && bench.placement.operators().len() > 0);
}

#[test]
fn checkers_do_not_wait_for_ever() {
    let mut bench = Bench::new(PlacementConfig::default(), 0);
    bench.add_store(1, &[]);
    let held = StoreLoad { region_count: 10, ..bench.stores[&1.into()] };
    for _ in 0..30 {
        bench.hear_store(1.into(), held);
        assert!(!bench.placement.is_prepared());
        bench.pass(Duration::from_secs(10));
    }
    bench.hear_store(1.into(), held);
    assert!(bench.placement.is_prepared());
}

#[test]
fn limits_hold_and_what_waits_goes_on_when_there_is_room() {
    let mut config = PlacementConfig::default();
    config.set("schedule.replica-schedule-limit", "2").unwrap();
    let mut bench = Bench::new(config, 4);
    for id in 1..=10 {
        bench.set(region(id, &[1, 2, 3]));
    }
    bench.leave(3, &[]);
    bench.hear_stores();
    assert_eq!((bench.placement.operators().len(), bench.placement.waiting()), (2, 8));
    assert!(bench.placement.drain_totals().limited > 0);
    let mut done = 0;
    while let Some(order) = bench.pushed.pop() {
        bench.obey_all(order.region.0);
        done += 1;
        assert!(bench.placement.operators().len() <= 2);
    }
    assert_eq!((done, bench.placement.waiting()), (10, 0), "the end of one makes room for the next, by itself");
    assert!(bench.placement.is_vacant(3.into()));
}

#[test]
fn a_store_gets_only_so_many_peers_a_minute() {
    let mut bench = Bench::new(PlacementConfig::default(), 4);
    for id in 1..=40 {
        let mut large = region(id, &[1, 2, 3]);
        large.approximate_bytes = 100 << 20;
        bench.set(large);
    }
    bench.leave(3, &[]);
    bench.hear_stores();
    assert_eq!(bench.placement.operators().len(), 15);
    bench.hear_stores();
    assert_eq!(bench.placement.operators().len(), 17, "ten seconds later two more, in store 4's time");
}

#[test]
fn people_are_not_limited_but_count() {
    let mut config = PlacementConfig::default();
    config.set("schedule.store-limit", "1").unwrap();
    let mut bench = Bench::new(config, 4);
    for id in 1..=5 {
        bench.set(region(id, &[1, 2, 3]));
    }
    for id in 1..=4 {
        bench.command(id, &Command::MovePeer { from: 3.into(), to: 4.into() }).unwrap();
    }
    bench.leave(3, &[]);
    bench.hear_stores();
    assert_eq!(bench.placement.operators().len(), 4, "store 4 got enough");
}

#[test]
fn halted_scheduling_leaves_people_alone() {
    let mut config = PlacementConfig::default();
    config.set("schedule.halt-scheduling", "true").unwrap();
    let mut bench = Bench::new(config.clone(), 4);
    bench.set(region(1, &[1, 2, 3]));
    bench.leave(3, &[]);
    bench.hear_stores();
    assert_eq!((bench.hear(1), bench.pushed.len()), (None, 0));
    bench.command(1, &Command::TransferLeader { to: 2.into() }).unwrap();
    bench.placement.cancel(bench.now, 1.into()).unwrap();
    config.set("schedule.halt-scheduling", "false").unwrap();
    bench.placement.set_config(config);
    bench.hear_stores();
    assert_eq!(bench.pushed.len(), 1, "all regions are looked at again");
}

#[test]
fn more_replicas_are_made_and_fewer_are_kept() {
    let mut bench = bench(5);
    let mut config = bench.placement.config().clone();
    config.set("replication.max-replicas", "5").unwrap();
    bench.placement.set_config(config.clone());
    assert_eq!(bench.obey_all(1), ["learner 4", "voter 4", "learner 5", "voter 5"]);
    config.set("replication.max-replicas", "3").unwrap();
    bench.placement.set_config(config);
    bench.obey_all(1);
    assert_eq!(bench.members(1).len(), 3);
}

#[test]
fn a_scattered_group_is_spread_evenly() {
    let mut bench = Bench::new(PlacementConfig::default(), 6);
    for id in 1..=12 {
        bench.set(region(id, &[1, 2, 3]));
    }
    for id in 1..=12 {
        let scatter = Command::Scatter { group: "table".to_owned() };
        if bench.command(id, &scatter).is_ok() {
            bench.obey_all(id);
        }
    }
    for store in 1..=6 {
        let counts = bench.placement.cluster().counts(store.into());
        assert!((5..=7).contains(&counts.regions) && (1..=3).contains(&counts.leaders), "store {store}: {counts:?}");
    }
}

#[test]
fn a_region_that_is_forgotten_and_comes_back_goes_on() {
    let mut bench = bench(4);
    bench.command(1, &Command::MovePeer { from: 3.into(), to: 4.into() }).unwrap();
    bench.placement.forget_region(1.into());
    assert_eq!(bench.placement.cluster().regions().count(), 0);
    assert_eq!(bench.placement.cluster().counts(1.into()), placement::StoreCounts::default());
    assert_eq!(line(&bench.hear(1).unwrap()), "learner 4");
    bench.placement.forget_store(bench.now, 4.into());
    assert!(matches!(bench.last_ending().1, Ending::Cancelled(_)));
}

#[test]
fn shared_state_is_not_copied() {
    let mut bench = bench(3);
    let state = Arc::new(bench.regions[&1.into()].clone());
    bench.placement.region_heartbeat(bench.now, Arc::clone(&state), &mut || None, &mut Vec::new());
    assert!(Arc::ptr_eq(bench.placement.cluster().region(1.into()).unwrap(), &state));
}
