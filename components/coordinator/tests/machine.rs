//! What the machine answers, and when.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Bench, End, Outcomes, Task, config, description, reply};
use coordinator::machine::Input;
use coordinator::record::Record;
use coordinator::timestamp::{BOUND_AHEAD_MS, MAX_TIMESTAMPS};
use coordinator::{
    Change, CoordinatorConfig, CoordinatorError, IdBatch, LayoutAnswer, Machine, RegionReport, Request, StoreHealth,
    StoreStats, Timestamp,
};
use types::{KeyRange, Peer, RegionDescriptor, RegionEpoch, RegionId, StoreId, Term};

fn timestamps(bench: &mut Bench, count: u32) -> Result<Timestamp, CoordinatorError> {
    bench.ask(|reply| Request::Timestamps { count, reply })
}

#[test]
fn it_serves_only_after_claim_load_and_first_bound() {
    let mut bench = Bench::fresh(config());
    assert_eq!(timestamps(&mut bench, 1), Err(CoordinatorError::NotLeader));
    bench.elect();
    for _ in 0..3 {
        assert_eq!(bench.machine.view(bench.at).err(), Some(CoordinatorError::NotLeader));
        assert_eq!(bench.tasks.len(), 1, "one thing at a time");
        bench.finish(End::Applied);
    }
    assert_eq!(bench.machine.view(bench.at).unwrap().cluster_id(), config().cluster_id);
    assert_eq!(bench.writes, 2, "the claim, and the bound with the new cluster");
}

/// D16. The load must see what the write before it did, though nobody was told that it was applied.
#[test]
fn a_new_claim_waits_for_the_old_write_and_sees_it() {
    let mut bench = Bench::serving();
    bench.ask(|reply| Change::AllocateIds { count: 1, reply }).unwrap();
    let outcomes = Outcomes::default();
    bench.request(Change::PutStore { store: Box::new(description(1)), reply: reply(&outcomes) });
    bench.depose();
    bench.elect();
    assert_eq!(bench.tasks.len(), 1, "the claim waits for the write that is under way");
    bench.finish(End::AppliedUnknown);
    assert_eq!(outcomes.lock().unwrap()[..], [Err(CoordinatorError::Undetermined)]);
    bench.settle();
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!(view.store(StoreId(1)).unwrap().record.description, description(1));
}

#[test]
fn a_load_of_an_earlier_leadership_is_dropped() {
    let mut bench = Bench::fresh(config());
    bench.elect();
    bench.finish(End::Applied);
    let Some(Task::Load(old)) = bench.tasks.pop_front() else { panic!("the claim is followed by a load") };
    bench.depose();
    bench.elect();
    bench.finish(End::Applied);
    assert!(matches!(bench.tasks.front(), Some(Task::Load(new)) if *new != old));
    bench.step(Input::Loaded { task: old, result: Ok(Vec::new()) });
    assert_eq!(bench.tasks.len(), 1, "only the load of this leadership counts");
    bench.settle();
    assert!(bench.machine.view(bench.at).is_ok());
}

/// A disk that fails once is no reason to be useless until somebody restarts the process.
#[test]
fn records_that_could_not_be_read_are_read_again_after_a_pause() {
    let mut bench = Bench::fresh(config());
    bench.elect();
    bench.finish(End::Applied);
    bench.finish(End::Broken);
    assert_eq!(bench.failed, None);
    for _ in 0..3 {
        assert_eq!(timestamps(&mut bench, 1), Err(CoordinatorError::NotLeader));
    }
    assert!(bench.tasks.is_empty(), "each request wrote and read");
    bench.pass(Duration::from_secs(1));
    assert_eq!(timestamps(&mut bench, 1), Err(CoordinatorError::NotLeader));
    assert!(timestamps(&mut bench, 1).is_ok(), "the refused request made it claim again");
}

#[test]
fn a_claim_that_somebody_else_overwrote_is_given_up() {
    let mut bench = Bench::fresh(config());
    bench.elect();
    bench.finish(End::Applied);
    let other = Record::Claim(Term(99));
    bench.durable.insert(other.key(), other.encode());
    bench.finish(End::Applied);
    assert!(bench.tasks.is_empty(), "it does not serve what another leader may be changing");
    assert_eq!(bench.machine.view(bench.at).err(), Some(CoordinatorError::NotLeader));
    assert_eq!(timestamps(&mut bench, 1), Err(CoordinatorError::NotLeader));
    assert!(timestamps(&mut bench, 1).is_ok(), "the refused request made it claim again");
}

#[test]
fn a_failed_write_shows_nothing_and_the_leadership_goes_on() {
    let mut bench = Bench::serving();
    bench.ask(|reply| Change::AllocateIds { count: 1, reply }).unwrap();
    let outcomes = Outcomes::default();
    bench.request(Change::PutStore { store: Box::new(description(1)), reply: reply(&outcomes) });
    assert!(outcomes.lock().unwrap().is_empty(), "not before it is durable");
    assert!(bench.machine.view(bench.at).unwrap().store(StoreId(1)).is_err(), "nor shown");
    bench.finish(End::Refused);
    assert!(matches!(outcomes.lock().unwrap()[..], [Err(CoordinatorError::NotWritten(_))]));
    assert!(bench.machine.view(bench.at).unwrap().store(StoreId(1)).is_err());
    assert_eq!(bench.put_store(description(1)), Ok(()));
}

/// A store that stops refuses at once, on the caller's thread: who tries again at once never gets away from it.
#[test]
fn a_refused_write_is_tried_again_by_the_next_request_alone() {
    let mut bench = Bench::serving();
    bench.pass(Duration::from_millis(BOUND_AHEAD_MS));
    let (stamped, allocated) = (Outcomes::default(), Outcomes::default());
    bench.request(Request::Timestamps { count: 1, reply: reply(&stamped) });
    bench.request(Change::AllocateIds { count: 1 << 20, reply: reply(&allocated) });
    assert_eq!(bench.tasks.len(), 1, "the bound is written, the ids wait behind it");
    bench.finish(End::Refused);
    assert!(bench.tasks.is_empty(), "tried again by itself");
    assert!(matches!(stamped.lock().unwrap()[..], [Err(CoordinatorError::NotWritten(_))]));
    assert!(matches!(allocated.lock().unwrap()[..], [Err(CoordinatorError::NotWritten(_))]));
    assert!(timestamps(&mut bench, 1).is_ok(), "the next request tries again");
}

#[test]
fn changes_that_wait_are_written_together() {
    let mut bench = Bench::serving();
    bench.ask(|reply| Change::AllocateIds { count: 9, reply }).unwrap();
    let (before, outcomes) = (bench.writes, Outcomes::default());
    for store in 1..=9 {
        bench.request(Change::PutStore { store: Box::new(description(store)), reply: reply(&outcomes) });
    }
    bench.settle();
    assert_eq!((bench.writes - before, outcomes.lock().unwrap().len()), (2, 9));
    assert!(outcomes.lock().unwrap().iter().all(Result::is_ok));
}

#[test]
fn timestamps_cost_no_write_until_the_bound_is_near() {
    let mut bench = Bench::serving();
    let before = bench.writes;
    let mut newest = Timestamp::default();
    for _ in 0..1400 {
        bench.pass(Duration::from_millis(1));
        let next = timestamps(&mut bench, 100).unwrap();
        assert!(next > newest && next.physical_ms == bench.at.unix_ms);
        newest = next;
    }
    assert_eq!(bench.writes, before);
    for _ in 0..BOUND_AHEAD_MS {
        bench.pass(Duration::from_millis(1));
        let outcomes = Outcomes::default();
        bench.request(Request::Timestamps { count: 1, reply: reply(&outcomes) });
        assert!(outcomes.lock().unwrap()[0].is_ok(), "the bound moves before anybody has to wait");
        bench.settle();
    }
    assert!((1..=3).contains(&(bench.writes - before)));
}

#[test]
fn timestamps_beyond_the_bound_wait_for_it_in_order() {
    let mut bench = Bench::serving();
    bench.pass(Duration::from_secs(60));
    let outcomes = Outcomes::default();
    for count in [1, MAX_TIMESTAMPS, 1] {
        bench.request(Request::Timestamps { count, reply: reply(&outcomes) });
    }
    assert!(outcomes.lock().unwrap().is_empty());
    bench.settle();
    let given: Vec<_> = outcomes.lock().unwrap().iter().map(|outcome| outcome.clone().unwrap()).collect();
    assert_eq!(given.len(), 3);
    assert!(given.is_sorted_by(|earlier, later| earlier < later));
    assert_eq!(given[0].physical_ms, bench.at.unix_ms);
}

#[test]
fn nobody_overtakes_who_waits_for_the_bound() {
    let mut bench = Bench::serving();
    let (first, second) = (Outcomes::default(), Outcomes::default());
    bench.at.unix_ms += 60_000;
    bench.request(Request::Timestamps { count: 1, reply: reply(&first) });
    bench.at.unix_ms -= 60_000;
    bench.request(Request::Timestamps { count: 1, reply: reply(&second) });
    assert!(second.lock().unwrap().is_empty(), "there would be room for it");
    bench.settle();
    let newest = |outcomes: &Outcomes<Timestamp>| outcomes.lock().unwrap()[0].clone().unwrap();
    assert!(newest(&first) < newest(&second));
}

#[test]
fn timestamps_go_on_above_the_bound_though_the_clock_went_back() {
    let mut bench = Bench::serving();
    let before = timestamps(&mut bench, 5).unwrap();
    bench.at.unix_ms -= 1_000_000;
    let during = timestamps(&mut bench, 5).unwrap();
    assert_eq!((during.physical_ms, during.logical), (before.physical_ms, before.logical + 5));
    bench.crash(false);
    bench.elect();
    bench.settle();
    assert!(timestamps(&mut bench, 1).unwrap().physical_ms >= before.physical_ms + BOUND_AHEAD_MS);
}

#[test]
fn impossible_counts_are_refused() {
    let mut bench = Bench::serving();
    for count in [0, MAX_TIMESTAMPS + 1, u32::MAX] {
        assert!(matches!(timestamps(&mut bench, count), Err(CoordinatorError::Count { what: "timestamps", .. })));
    }
    for count in [0, 100_001, u32::MAX] {
        let outcome = bench.ask(|reply| Change::AllocateIds { count, reply });
        assert!(matches!(outcome, Err(CoordinatorError::Count { what: "ids", .. })));
    }
}

#[test]
fn ids_begin_at_one_and_go_on_behind_the_reserve() {
    let mut bench = Bench::serving();
    let allocate = |bench: &mut Bench, count| bench.ask(|reply| Change::AllocateIds { count, reply }).unwrap();
    assert_eq!(allocate(&mut bench, 3), IdBatch { last: 3, count: 3 });
    let before = bench.writes;
    assert_eq!(allocate(&mut bench, 1), IdBatch { last: 4, count: 1 });
    assert_eq!(bench.writes, before, "ids from the reserve cost no write");
    bench.crash(false);
    bench.elect();
    bench.settle();
    assert_eq!(allocate(&mut bench, 1).last, 1004);
    assert_eq!(allocate(&mut bench, 5000).last, 6004);
}

#[test]
fn the_layout_takes_its_ids_from_the_same_space() {
    let mut bench = Bench::serving();
    bench.lay_out();
    let view = bench.machine.view(bench.at).unwrap();
    let ids = view.regions().flat_map(|info| {
        let peers = info.descriptor.peers.iter().map(|peer| peer.id.0);
        peers.chain([info.descriptor.id.0]).collect::<Vec<_>>()
    });
    let mut ids: Vec<u64> = ids.collect();
    ids.sort_unstable();
    assert_eq!(ids, (4..16).collect::<Vec<_>>(), "three regions of three peers, behind the three stores");
    assert_eq!(bench.ask(|reply| Change::AllocateIds { count: 1, reply }).unwrap().last, 16);
}

#[test]
fn stores_register_by_the_rules() {
    let mut bench = Bench::serving();
    let invalid = |outcome| assert!(matches!(outcome, Err(CoordinatorError::InvalidStore { .. })), "{outcome:?}");
    invalid(bench.put_store(description(1)));
    bench.ask(|reply| Change::AllocateIds { count: 5, reply }).unwrap();
    invalid(bench.put_store(description(0)));
    invalid(bench.put_store(description(6)));
    for address in ["", "host", "http://host:1"] {
        invalid(bench.put_store(coordinator::StoreDescription { address: address.to_owned(), ..description(1) }));
    }
    bench.put_store(description(1)).unwrap();
    let old = coordinator::StoreDescription { version: "8.4.9".to_owned(), ..description(2) };
    assert!(matches!(bench.put_store(old), Err(CoordinatorError::IncompatibleVersion { .. })));
    bench.put_store(description(2)).unwrap();

    let mut labelled = description(1);
    labelled.labels.insert("zone".to_owned(), "a".to_owned());
    bench.put_store(labelled.clone()).unwrap();
    bench.put_store(description(1)).unwrap();
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!(view.store(StoreId(1)).unwrap().record.description.labels, labelled.labels, "labels are merged");
    assert_eq!(view.cluster_version().unwrap().to_string(), "8.5.6");
    assert!(matches!(view.store(StoreId(5)), Err(CoordinatorError::StoreNotFound { .. })));

    bench.ask(|reply| Change::RemoveStore { store: StoreId(2), reply }).unwrap();
    assert_eq!(bench.put_store(description(2)), Err(CoordinatorError::StoreTombstone { store: StoreId(2) }));
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!((view.stores(false).count(), view.stores(true).count()), (2, 1));
}

#[test]
fn an_address_belongs_to_one_store_unless_its_holder_never_had_a_part() {
    let mut bench = Bench::serving();
    bench.ask(|reply| Change::AllocateIds { count: 9, reply }).unwrap();
    let moved = |store, to| coordinator::StoreDescription { address: description(to).address, ..description(store) };
    bench.put_store(description(1)).unwrap();
    bench.get_layout(1, 11).unwrap();
    bench.put_store(moved(4, 1)).unwrap();
    assert_eq!(bench.get_layout(1, 11), Err(CoordinatorError::StoreTombstone { store: StoreId(1) }));
    for (store, description) in [(4, moved(4, 1)), (2, description(2)), (3, description(3))] {
        bench.put_store(description).unwrap();
        bench.get_layout(store, 10 + store).unwrap();
    }
    let taken = CoordinatorError::DuplicateAddress { address: description(2).address, holder: StoreId(2) };
    assert_eq!(bench.put_store(moved(5, 2)), Err(taken));
}

#[test]
fn the_layout_comes_with_the_last_store_and_survives() {
    let mut bench = Bench::serving();
    bench.ask(|reply| Change::AllocateIds { count: 4, reply }).unwrap();
    let mut parts = Vec::new();
    for store in 1..=3 {
        bench.put_store(description(store)).unwrap();
        let answer = bench.get_layout(store, 10 + store).unwrap();
        if store < 3 {
            assert_eq!(answer, LayoutAnswer::Waiting { joined: store as usize, expected: 3 });
            assert!(!bench.machine.view(bench.at).unwrap().is_bootstrapped());
        } else {
            parts.push(answer);
        }
    }
    for store in [1, 2] {
        parts.push(bench.get_layout(store, 10 + store).unwrap());
    }
    let LayoutAnswer::Ready { regions } = &parts[0] else { panic!("{parts:?}") };
    assert!(parts.iter().all(|part| *part == parts[0]), "three replicas on three stores");
    assert_eq!(regions.len(), 3);
    assert_eq!(regions[1].range, KeyRange::new("h", "q"));
    bench.crash(false);
    bench.elect();
    bench.settle();
    assert_eq!(bench.get_layout(2, 12), Ok(parts[0].clone()));
    bench.put_store(description(4)).unwrap();
    assert_eq!(bench.get_layout(4, 14), Ok(LayoutAnswer::Ready { regions: Vec::new() }), "too late for a part");
}

/// D14.
#[test]
fn no_other_disk_and_no_emptied_disk_gets_a_layout() {
    let mut bench = Bench::serving();
    bench.lay_out();
    assert!(matches!(bench.get_layout(1, 99), Err(CoordinatorError::InstanceMismatch { .. })));
    assert!(matches!(bench.confirm(1, 99), Err(CoordinatorError::InstanceMismatch { .. })));
    assert_eq!(bench.confirm(1, 11), Ok(()));
    assert_eq!(bench.confirm(1, 11), Ok(()), "asked again after a lost answer");
    bench.crash(false);
    bench.elect();
    bench.settle();
    assert_eq!(bench.get_layout(1, 11), Err(CoordinatorError::StoreBootstrapped { store: StoreId(1) }));
    assert!(matches!(bench.get_layout(1, 99), Err(CoordinatorError::InstanceMismatch { .. })));
    assert!(matches!(bench.get_layout(2, 0), Err(CoordinatorError::InvalidStore { .. })));
}

#[test]
fn nothing_is_confirmed_before_there_is_a_layout() {
    let mut bench = Bench::serving();
    bench.ask(|reply| Change::AllocateIds { count: 3, reply }).unwrap();
    bench.put_store(description(1)).unwrap();
    assert!(matches!(bench.confirm(1, 11), Err(CoordinatorError::InvalidStore { .. })), "it never asked for a part");
    bench.get_layout(1, 11).unwrap();
    assert_eq!(bench.confirm(1, 11), Err(CoordinatorError::NotBootstrapped { joined: 1, expected: 3 }));
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!(view.refuse_bootstrap(), CoordinatorError::BootstrapByStore { expected: 3 });
    assert!(view.check_bootstrapped().is_err());
}

/// The number of replicas is the one that the cluster was made with; fewer stores than that are never enough.
#[test]
fn a_changed_configuration_cannot_lay_out_fewer_replicas() {
    let mut bench = Bench::serving();
    bench.crash(false);
    let config = CoordinatorConfig { replicas: 1, expected_stores: 1, ..config() };
    bench.machine = Machine::new(config).unwrap();
    bench.elect();
    bench.settle();
    bench.ask(|reply| Change::AllocateIds { count: 3, reply }).unwrap();
    bench.put_store(description(1)).unwrap();
    assert_eq!(bench.get_layout(1, 11), Ok(LayoutAnswer::Waiting { joined: 1, expected: 3 }));
}

fn report(region: &RegionDescriptor, store: u64, term: u64) -> RegionReport {
    let leader = *region.peer_on(StoreId(store)).unwrap();
    RegionReport { descriptor: region.clone(), leader, term: Term(term), ..RegionReport::default() }
}

fn region_heartbeat(bench: &mut Bench, report: RegionReport) -> Result<(), CoordinatorError> {
    bench.ask(|reply| Request::RegionHeartbeat { report: Box::new(report), reply }).map(drop)
}

#[test]
fn routes_come_from_the_layout_and_leaders_from_heartbeats() {
    let mut bench = Bench::serving();
    bench.lay_out();
    let middle = (*bench.machine.view(bench.at).unwrap().region_at(b"k").unwrap().descriptor).clone();
    assert_eq!(bench.machine.view(bench.at).unwrap().region_at(b"k").unwrap().leader, None);
    let before = bench.writes;
    region_heartbeat(&mut bench, report(&middle, 2, 6)).unwrap();
    region_heartbeat(&mut bench, report(&middle, 3, 7)).unwrap();
    let stale = region_heartbeat(&mut bench, report(&middle, 2, 6));
    assert!(matches!(stale, Err(CoordinatorError::StaleRegion { what: "term", .. })));
    assert_eq!(bench.writes, before, "heartbeats cost no write");

    let view = bench.machine.view(bench.at).unwrap();
    let keys = |keys: &[&'static str]| keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect::<Vec<_>>();
    let answers = view.query_regions(&[middle.id, RegionId(99_999)], &keys(&["a", "k"]), &keys(&["a", "k"])).unwrap();
    let first = view.region_at(b"a").unwrap().descriptor.id;
    assert_eq!(answers.by_key, [Some(first), Some(middle.id)]);
    assert_eq!(answers.by_previous_key, [None, Some(first)]);
    assert_eq!(answers.regions.keys().copied().collect::<Vec<_>>(), [first, middle.id]);
    assert_eq!(answers.regions[&middle.id].leader, middle.peer_on(StoreId(3)).copied());
    assert_eq!(view.scan_regions(&KeyRange::new("k", "z"), 0).len(), 2);
    assert_eq!(view.batch_scan_routes(&[KeyRange::all()], 0, true).unwrap().len(), 3);
}

#[test]
fn what_was_learnt_is_forgotten_with_the_leadership() {
    let mut bench = Bench::serving();
    bench.lay_out();
    let region = (*bench.machine.view(bench.at).unwrap().region_at(b"a").unwrap().descriptor).clone();
    region_heartbeat(&mut bench, report(&region, 1, 6)).unwrap();
    bench.depose();
    bench.elect();
    bench.settle();
    assert_eq!(bench.machine.view(bench.at).unwrap().region(region.id).unwrap().leader, None);
}

#[test]
fn heartbeats_of_strangers_and_of_no_cluster_are_refused() {
    let mut bench = Bench::serving();
    let range = KeyRange::all();
    let peers = vec![Peer::voter(9.into(), 8.into())];
    let region = RegionDescriptor { id: RegionId(7), range, epoch: RegionEpoch::INITIAL, peers };
    let refused = region_heartbeat(&mut bench, report(&region, 8, 6));
    assert!(matches!(refused, Err(CoordinatorError::NotBootstrapped { .. })));
    bench.lay_out();
    let refused = region_heartbeat(&mut bench, report(&region, 8, 6));
    assert_eq!(refused, Err(CoordinatorError::StoreNotFound { store: StoreId(8) }));
    let stats = StoreStats { store: StoreId(8), ..StoreStats::default() };
    let refused = bench.ask(|reply| Request::StoreHeartbeat { stats: Box::new(stats), reply });
    assert_eq!(refused, Err(CoordinatorError::StoreNotFound { store: StoreId(8) }));
    assert_eq!(
        bench.ask(|reply| Change::RemoveStore { store: StoreId(1), reply }),
        Err(CoordinatorError::TooFewStores { store: StoreId(1), up: 3, replicas: 3 })
    );
}

#[test]
fn health_is_the_silence_since_the_last_heartbeat_or_the_leadership() {
    let mut bench = Bench::serving();
    bench.lay_out();
    let health = |bench: &Bench, store| bench.machine.view(bench.at).unwrap().store(StoreId(store)).unwrap().health;
    bench.pass(Duration::from_secs(15));
    let stats = StoreStats { store: StoreId(1), region_count: 3, ..StoreStats::default() };
    let orders = bench.ask(|reply| Request::StoreHeartbeat { stats: Box::new(stats.clone()), reply }).unwrap();
    assert_eq!(orders.cluster_version, "8.5.6");
    bench.pass(Duration::from_secs(15));
    assert_eq!((health(&bench, 1), health(&bench, 2)), (StoreHealth::Up, StoreHealth::Disconnected));
    bench.pass(Duration::from_secs(1780));
    assert_eq!((health(&bench, 1), health(&bench, 2)), (StoreHealth::Disconnected, StoreHealth::Down));
    assert_eq!(bench.machine.view(bench.at).unwrap().store(StoreId(1)).unwrap().stats, Some(&stats));
}

#[test]
fn safe_points_advance_as_far_as_services_let_them() {
    let mut bench = Bench::serving();
    let advance = |bench: &mut Bench, target| bench.ask(|reply| Change::AdvanceTxnSafePoint { target, reply });
    let hold = |bench: &mut Bench, service: &'static str, ttl_seconds, safe_point| {
        let service = Bytes::from_static(service.as_bytes());
        let make = |reply| Change::UpdateServiceSafePoint { service, ttl_seconds, safe_point, reply };
        let answer = bench.ask(make).unwrap();
        (answer.service, answer.ttl_seconds, answer.min_safe_point)
    };
    assert_eq!(advance(&mut bench, 10).unwrap().new, 10);
    assert_eq!(hold(&mut bench, "backup", 60, 9), (Bytes::from_static(b"gc_worker"), i64::MAX, 10), "too late");
    assert_eq!(hold(&mut bench, "backup", 60, 20), (Bytes::from_static(b"backup"), 60, 20));
    assert_eq!(hold(&mut bench, "other", i64::MAX, 15), (Bytes::from_static(b"backup"), 60, 20), "behind the oldest");
    let held = advance(&mut bench, 30).unwrap();
    assert_eq!((held.old, held.new, held.blocker), (10, 20, Some(Bytes::from_static(b"backup"))));
    assert_eq!(advance(&mut bench, 19), Err(CoordinatorError::SafePointBehind { target: 19, current: 20 }));
    bench.pass(Duration::from_secs(61));
    assert_eq!(advance(&mut bench, 30).unwrap().blocker, None, "the service's time is over");
    assert_eq!(hold(&mut bench, "a", i64::MAX, 40), (Bytes::from_static(b"a"), i64::MAX, 40));
    assert_eq!(hold(&mut bench, "a", 0, 0), (Bytes::from_static(b"gc_worker"), i64::MAX, 30));

    assert_eq!(bench.ask(|reply| Change::AdvanceGcSafePoint { target: 35, reply }), Ok(35));
    assert_eq!(bench.ask(|reply| Change::AdvanceGcSafePoint { target: 5, reply }), Ok(35));
    bench.crash(false);
    bench.elect();
    bench.settle();
    let points = bench.machine.view(bench.at).unwrap().safe_points();
    assert_eq!((points.gc, points.txn), (35, 35));
    assert_eq!(bench.machine.view(bench.at).unwrap().services().count(), 0, "lapsed and given up");
}

#[test]
fn damaged_records_stop_it_for_good() {
    let mut bench = Bench::serving();
    bench.crash(false);
    let key = bench.durable.keys().next().unwrap().clone();
    bench.durable.insert(key, Bytes::from_static(b"damaged"));
    bench.elect();
    bench.settle();
    assert!(matches!(bench.failed, Some(CoordinatorError::Failed { .. })));
    assert!(matches!(timestamps(&mut bench, 1), Err(CoordinatorError::Failed { .. })));
    bench.depose();
    bench.elect();
    assert!(bench.tasks.is_empty());
}

#[test]
fn a_layout_with_a_missing_region_stops_it() {
    let mut bench = Bench::serving();
    bench.lay_out();
    let region = (*bench.machine.view(bench.at).unwrap().region_at(b"a").unwrap().descriptor).clone();
    bench.crash(false);
    assert!(bench.durable.remove(&Record::LayoutRegion(region).key()).is_some());
    bench.elect();
    bench.settle();
    assert!(matches!(bench.failed, Some(CoordinatorError::Failed { .. })));
}

#[test]
fn queues_are_bounded() {
    let mut bench = Bench::serving();
    bench.pass(Duration::from_secs(60));
    let outcomes = Outcomes::default();
    for _ in 0..20_000 {
        bench.request(Request::Timestamps { count: 1, reply: reply(&outcomes) });
    }
    let busy = |outcome: &Result<Timestamp, _>| matches!(outcome, Err(CoordinatorError::Busy { .. }));
    assert_eq!(outcomes.lock().unwrap().iter().filter(|outcome| busy(outcome)).count(), 20_000 - (16 << 10));
    let ids = Outcomes::default();
    for _ in 0..5000 {
        bench.request(Change::AllocateIds { count: 1, reply: reply(&ids) });
    }
    assert_eq!(ids.lock().unwrap().len(), 5000 - 4096);
    bench.settle();
    assert_eq!((outcomes.lock().unwrap().len(), ids.lock().unwrap().len()), (20_000, 5000));
}
