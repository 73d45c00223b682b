//! Operators by way of the coordinator: orders in the answers to heartbeats, stores that leave, settings that stay.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Bench, End, Outcomes, description, reply};
use coordinator::record::Record;
use coordinator::{Change, CoordinatorError, RegionReport, Request, SplitIds, StoreState, StoreStats};
use placement::{Command, Obstacle, OrderKind, PeerChange, PeerChangeKind, PlacementError, RegionOrder, Unfit};
use types::{KeyRange, Peer, PeerId, PeerRole, RegionDescriptor, RegionId, StoreId, Term};

/// Three regions on stores 1 to 3, and store 4 beside them; everybody has reported.
fn bench() -> Bench {
    let mut bench = Bench::serving();
    bench.lay_out();
    let ids = bench.ask(|reply| Change::AllocateIds { count: 1, reply }).unwrap();
    assert_eq!(ids.last, 16);
    bench.put_store(description(16)).unwrap();
    for region in regions(&bench) {
        region_heartbeat(&mut bench, &region, 0, 6).unwrap();
    }
    hear_stores(&mut bench, &[(1, 3), (2, 3), (3, 3), (16, 0)]);
    bench
}

fn regions(bench: &Bench) -> Vec<RegionDescriptor> {
    bench.machine.view(bench.at).unwrap().regions().map(|info| (*info.descriptor).clone()).collect()
}

fn report(region: &RegionDescriptor, leader: usize, term: u64) -> RegionReport {
    RegionReport { descriptor: region.clone(), leader: region.peers[leader], term: Term(term), ..Default::default() }
}

fn region_heartbeat(
    bench: &mut Bench,
    region: &RegionDescriptor,
    leader: usize,
    term: u64,
) -> Result<Option<RegionOrder>, CoordinatorError> {
    bench.ask(|reply| Request::RegionHeartbeat { report: Box::new(report(region, leader, term)), reply })
}

fn hear_stores(bench: &mut Bench, stores: &[(u64, u32)]) {
    for (store, region_count) in stores {
        let stats = StoreStats {
            store: StoreId(*store),
            region_count: *region_count,
            capacity_bytes: 1 << 40,
            available_bytes: 1 << 39,
            ..StoreStats::default()
        };
        bench.ask(|reply| Request::StoreHeartbeat { stats: Box::new(stats), reply }).unwrap();
    }
}

fn command(bench: &mut Bench, region: RegionId, command: Command) -> Result<(), CoordinatorError> {
    bench.ask(|reply| Request::Command { region, command: Box::new(command), reply }).map(drop)
}

fn remove(bench: &mut Bench, store: u64) -> Result<StoreState, CoordinatorError> {
    bench.ask(|reply| Change::RemoveStore { store: StoreId(store), reply })
}

fn state(bench: &Bench, store: u64) -> StoreState {
    bench.machine.view(bench.at).unwrap().store(StoreId(store)).unwrap().record.state
}

fn configure(bench: &mut Bench, settings: &[(&str, &str)]) -> Result<(), CoordinatorError> {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    bench.ask(|reply| Change::Configure { settings, reply })
}

/// The region does as it is told.
fn obey(region: &mut RegionDescriptor, order: &RegionOrder) {
    let OrderKind::ChangePeers(changes) = &order.kind else { panic!("{order:?}") };
    assert_eq!((order.region, order.epoch), (region.id, region.epoch));
    let is_joint = changes.len() > 1;
    region.epoch.conf_ver += changes.len() as u64;
    for PeerChange { kind, peer } in changes {
        let known = region.peers.iter_mut().find(|known| known.id == peer.id);
        match (kind, known) {
            (PeerChangeKind::AddLearner, None) => region.peers.push(Peer { role: PeerRole::Learner, ..*peer }),
            (PeerChangeKind::AddLearner, Some(known)) if is_joint => known.role = PeerRole::DemotingVoter,
            (PeerChangeKind::AddLearner, Some(known)) => known.role = PeerRole::Learner,
            (PeerChangeKind::AddVoter, Some(known)) if is_joint => known.role = PeerRole::IncomingVoter,
            (PeerChangeKind::AddVoter, Some(known)) => known.role = PeerRole::Voter,
            (PeerChangeKind::Remove, _) => region.peers.retain(|known| known.id != peer.id),
            (PeerChangeKind::AddVoter, None) => panic!("{order:?}"),
        }
    }
    if changes.is_empty() {
        for peer in &mut region.peers {
            let (role, moved) = match peer.role {
                PeerRole::IncomingVoter => (PeerRole::Voter, 1),
                PeerRole::DemotingVoter => (PeerRole::Learner, 1),
                role => (role, 0),
            };
            peer.role = role;
            region.epoch.conf_ver += moved;
        }
    }
}

/// Obeys until nothing more is ordered. Leaders hand over to store 2 when they are told to.
fn obey_all(bench: &mut Bench, region: &mut RegionDescriptor, mut leader: usize, mut term: u64) -> usize {
    for orders in 0..20 {
        let Some(order) = region_heartbeat(bench, region, leader, term).unwrap() else { return orders };
        if let OrderKind::TransferLeader(to) = &order.kind {
            leader = region.peers.iter().position(|peer| peer.id == to[0].id).unwrap();
            term += 1;
            continue;
        }
        let leading = region.peers[leader].id;
        obey(region, &order);
        leader = region.peers.iter().position(|peer| peer.id == leading).unwrap();
    }
    panic!("it never ends: {region:?}");
}

#[test]
fn an_answer_carries_the_order_until_it_is_obeyed() {
    let mut bench = bench();
    let mut region = regions(&bench)[0].clone();
    let other = region.peers[1];
    command(&mut bench, region.id, Command::TransferLeader { to: other.store_id }).unwrap();
    let first = bench.orders.pop().expect("at once");
    assert_eq!((first.region, first.leader, first.epoch), (region.id, region.peers[0], region.epoch));
    assert_eq!(first.kind, OrderKind::TransferLeader(vec![other]));
    region.epoch.version += 1;
    let again = region_heartbeat(&mut bench, &region, 0, 6).unwrap().expect("again with each heartbeat");
    assert_eq!((again.kind, again.epoch), (first.kind, region.epoch));
    assert_eq!(region_heartbeat(&mut bench, &region, 1, 7), Ok(None), "it is done");
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!((view.placement().operators().len(), view.placement().records().count()), (0, 1));
    assert_eq!(bench.machine.drain_totals().placement.finished, 1);
}

#[test]
fn commands_are_refused_with_placements_reason() {
    let mut bench = bench();
    let unknown = command(&mut bench, RegionId(999), Command::TransferLeader { to: StoreId(1) });
    assert_eq!(unknown, Err(CoordinatorError::Placement(PlacementError::RegionUnknown { region: RegionId(999) })));
    assert!(unknown.unwrap_err().is_retryable());
    let region = regions(&bench)[0].id;
    let cancelled = bench.ask(|reply| Request::CancelOperator { region, reply });
    assert_eq!(cancelled, Err(CoordinatorError::Placement(PlacementError::NoOperator { region })));
    let to = regions(&bench)[0].peers[1].store_id;
    command(&mut bench, region, Command::TransferLeader { to }).unwrap();
    bench.ask(|reply| Request::CancelOperator { region, reply }).unwrap();
    let region = regions(&bench)[0].clone();
    assert_eq!(region_heartbeat(&mut bench, &region, 0, 6), Ok(None));
}

#[test]
fn new_peers_get_ids_that_nobody_had() {
    let mut bench = bench();
    let region = regions(&bench)[0].clone();
    let from = region.peers[2].store_id;
    command(&mut bench, region.id, Command::MovePeer { from, to: StoreId(16) }).unwrap();
    let OrderKind::ChangePeers(changes) = &bench.orders[0].kind else { panic!("{:?}", bench.orders) };
    let newcomer = changes[0].peer;
    assert_eq!((newcomer.store_id, newcomer.id), (StoreId(16), PeerId(17)));
    let next = bench.ask(|reply| Change::AllocateIds { count: 1, reply }).unwrap();
    assert_eq!(next.last, 18);
    bench.crash(false);
    bench.elect();
    bench.settle();
    let next = bench.ask(|reply| Change::AllocateIds { count: 1, reply }).unwrap();
    assert!(next.last > 1000, "the reserve is lost, not given again");
}

/// Heartbeats cannot wait for a write, so the reserve is filled ahead.
#[test]
fn the_reserve_of_ids_never_runs_dry() {
    let mut bench = bench();
    let region = regions(&bench)[0].clone();
    let from = region.peers[2].store_id;
    for _ in 0..3000 {
        command(&mut bench, region.id, Command::MovePeer { from, to: StoreId(16) }).unwrap();
        bench.ask(|reply| Request::CancelOperator { region: region.id, reply }).unwrap();
    }
    assert!(bench.writes < 50, "{} writes", bench.writes);
}

#[test]
fn a_store_that_leaves_is_emptied_and_then_gone() {
    let mut bench = bench();
    assert_eq!(remove(&mut bench, 3), Ok(StoreState::Offline));
    assert_eq!(remove(&mut bench, 3), Ok(StoreState::Offline), "asked again");
    assert_eq!(state(&bench, 3), StoreState::Offline);
    bench.crash(false);
    bench.elect();
    bench.settle();
    assert_eq!(state(&bench, 3), StoreState::Offline, "it is written down");
    hear_stores(&mut bench, &[(1, 3), (2, 3), (3, 3), (16, 0)]);
    assert_eq!(state(&bench, 3), StoreState::Offline, "nobody has reported: it may hold anything");
    let mut all = regions(&bench);
    for region in &all {
        drop(region_heartbeat(&mut bench, region, 0, 6).unwrap());
    }
    hear_stores(&mut bench, &[(1, 3), (2, 3), (3, 3), (16, 0)]);
    for region in &mut all {
        assert!(obey_all(&mut bench, region, 0, 6) > 0);
        let on: Vec<StoreId> = region.peers.iter().map(|peer| peer.store_id).collect();
        assert!(on.len() == 3 && !on.contains(&StoreId(3)) && on.contains(&StoreId(16)), "{region:?}");
    }
    hear_stores(&mut bench, &[(3, 1)]);
    assert_eq!(state(&bench, 3), StoreState::Offline, "it still clears away");
    hear_stores(&mut bench, &[(3, 0)]);
    assert_eq!(state(&bench, 3), StoreState::Tombstone);
    assert_eq!(remove(&mut bench, 3), Err(CoordinatorError::StoreTombstone { store: StoreId(3) }));
}

/// Once a minute as long as nothing moves, and not before it was told to leave.
#[test]
fn a_store_that_cannot_be_emptied_is_told_of() {
    let mut bench = bench();
    let full = |bench: &mut Bench| {
        let stats = StoreStats {
            store: StoreId(16),
            capacity_bytes: 1 << 40,
            available_bytes: 1 << 36,
            ..StoreStats::default()
        };
        bench.ask(|reply| Request::StoreHeartbeat { stats: Box::new(stats), reply }).unwrap();
        hear_stores(bench, &[(1, 3), (2, 3), (3, 3)]);
    };
    full(&mut bench);
    assert_eq!(bench.stalled, []);
    assert_eq!(remove(&mut bench, 3), Ok(StoreState::Offline));
    // Its leaders go first; then nothing is left that can.
    for region in regions(&bench) {
        let leader = region.peers.iter().position(|peer| peer.store_id != StoreId(3)).unwrap();
        region_heartbeat(&mut bench, &region, leader, 7).unwrap();
    }
    full(&mut bench);
    let [(StoreId(3), drain)] = &bench.stalled[..] else { panic!("{:?}", bench.stalled) };
    assert_eq!((drain.regions, drain.moving), (3, 0));
    assert_eq!(drain.main_obstacle(), Some(Obstacle::NoStore(Unfit::LowOnSpace)));
    full(&mut bench);
    assert_eq!(bench.stalled.len(), 1, "not again and again");
    for _ in 0..5 {
        bench.pass(Duration::from_secs(15));
        full(&mut bench);
    }
    assert_eq!(bench.stalled.len(), 2, "but once a minute");
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!(view.drain(&view.store(StoreId(3)).unwrap()).unwrap().waiting.len(), 1);
    assert_eq!(view.drain(&view.store(StoreId(1)).unwrap()), None);
}

/// A store was told to leave, is silent, and its regions have gone to `others`, which were heard of.
fn emptied(others: &[(u64, u32)]) -> Bench {
    let mut bench = bench();
    remove(&mut bench, 3).unwrap();
    bench.pass(Duration::from_secs(30));
    hear_stores(&mut bench, others);
    for mut region in regions(&bench) {
        let leader = region.peers.iter().position(|peer| peer.store_id != StoreId(3)).unwrap();
        obey_all(&mut bench, &mut region, leader, 7);
    }
    bench
}

#[test]
fn a_dead_store_that_leaves_is_gone_when_its_regions_are_elsewhere() {
    let others = [(1, 3), (2, 3), (16, 0)];
    let mut bench = emptied(&others);
    assert_eq!(state(&bench, 3), StoreState::Offline);
    hear_stores(&mut bench, &others);
    assert_eq!(state(&bench, 3), StoreState::Tombstone);
}

/// It is told to stay, and looks empty before that is written.
#[test]
fn a_store_that_is_told_to_stay_is_not_gone_because_it_is_empty() {
    let others = [(1, 3), (2, 3), (16, 0)];
    let mut bench = emptied(&others);
    let kept = Outcomes::default();
    bench.request(Change::RestoreStore { store: StoreId(3), reply: reply(&kept) });
    hear_stores(&mut bench, &others);
    assert_eq!(kept.lock().unwrap()[..], [Ok(())]);
    assert_eq!(state(&bench, 3), StoreState::Up);
}

#[test]
fn a_store_that_leaves_may_stay_after_all() {
    let mut bench = bench();
    remove(&mut bench, 3).unwrap();
    bench.ask(|reply| Change::RestoreStore { store: StoreId(3), reply }).unwrap();
    bench.orders.clear();
    hear_stores(&mut bench, &[(1, 3), (2, 3), (3, 3), (16, 0)]);
    for region in regions(&bench) {
        assert_eq!(region_heartbeat(&mut bench, &region, 0, 6), Ok(None));
    }
    assert_eq!(state(&bench, 3), StoreState::Up);
    let unknown = bench.ask(|reply| Change::RestoreStore { store: StoreId(99), reply });
    assert_eq!(unknown, Err(CoordinatorError::StoreNotFound { store: StoreId(99) }));
}

#[test]
fn an_empty_store_leaves_at_once_and_too_few_are_never_left() {
    let mut bench = bench();
    assert_eq!(remove(&mut bench, 16), Ok(StoreState::Tombstone));
    assert_eq!(remove(&mut bench, 3), Err(CoordinatorError::TooFewStores { store: StoreId(3), up: 3, replicas: 3 }));
    assert_eq!(state(&bench, 3), StoreState::Up);
}

/// A peer is on its way there: it is not empty.
#[test]
fn a_store_that_gets_a_peer_is_not_gone_at_once() {
    let mut bench = bench();
    let region = regions(&bench)[0].clone();
    let from = region.peers[2].store_id;
    command(&mut bench, region.id, Command::MovePeer { from, to: StoreId(16) }).unwrap();
    assert_eq!(remove(&mut bench, 16), Ok(StoreState::Offline));
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!(view.placement().operators().len(), 0, "nothing goes to a store that leaves");
}

#[test]
fn a_leaving_store_shows_in_its_orders_only_when_it_is_written() {
    let mut bench = bench();
    let outcomes = Outcomes::default();
    bench.request(Change::RemoveStore { store: StoreId(3), reply: reply(&outcomes) });
    assert!(outcomes.lock().unwrap().is_empty(), "not before it is durable");
    assert_eq!(state(&bench, 3), StoreState::Up);
    bench.finish(End::Refused);
    assert!(matches!(outcomes.lock().unwrap()[..], [Err(CoordinatorError::NotWritten(_))]));
    assert_eq!(state(&bench, 3), StoreState::Up);
    let view = bench.machine.view(bench.at).unwrap();
    assert!(!view.placement().cluster().store(StoreId(3)).unwrap().is_leaving);
}

#[test]
fn settings_are_written_before_they_count_and_survive() {
    let mut bench = bench();
    let replicas = |bench: &Bench| bench.machine.view(bench.at).unwrap().replicas();
    let outcomes = Outcomes::default();
    let settings = vec![("replication.max-replicas".to_owned(), "4".to_owned())];
    bench.request(Change::Configure { settings, reply: reply(&outcomes) });
    assert!(replicas(&bench) == 3 && outcomes.lock().unwrap().is_empty());
    bench.settle();
    assert_eq!((replicas(&bench), &outcomes.lock().unwrap()[..]), (4, &[Ok(())][..]));
    configure(&mut bench, &[("replication.location-labels", "zone,host"), ("replication.isolation-level", "zone")])
        .unwrap();
    bench.crash(false);
    bench.elect();
    bench.settle();
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!((view.replicas(), &view.placement().config().isolation_level[..]), (4, "zone"));
    configure(&mut bench, &[("replication.location-labels", "host")]).unwrap();
    bench.crash(false);
    bench.elect();
    bench.settle();
    let view = bench.machine.view(bench.at).unwrap();
    assert_eq!(view.placement().config().isolation_level, "", "it went with its label");
    hear_stores(&mut bench, &[(1, 3), (2, 3), (3, 3), (16, 0)]);
    for mut region in regions(&bench) {
        region_heartbeat(&mut bench, &region, 0, 6).unwrap();
        hear_stores(&mut bench, &[(16, 0)]);
        bench.pass(Duration::from_secs(310));
        hear_stores(&mut bench, &[(1, 3), (2, 3), (3, 3), (16, 0)]);
        obey_all(&mut bench, &mut region, 0, 6);
        assert_eq!(region.peers.len(), 4);
    }
}

#[test]
fn settings_are_taken_all_or_none() {
    let mut bench = bench();
    let wrong = configure(&mut bench, &[("replication.max-replicas", "5"), ("schedule.nonsense", "1")]);
    assert!(matches!(wrong, Err(CoordinatorError::Setting(_))));
    let wrong = configure(&mut bench, &[("replication.max-replicas", "5"), ("schedule.store-limit", "0")]);
    assert!(matches!(wrong, Err(CoordinatorError::Setting(_))));
    assert_eq!(bench.machine.view(bench.at).unwrap().replicas(), 3);
    let before = bench.writes;
    configure(&mut bench, &[("replication.max-replicas", "3")]).unwrap();
    assert_eq!(bench.writes, before, "nothing changed, nothing is written");
}

/// It was written by a build that knows more. Going on would place regions as nobody wished.
#[test]
fn a_setting_that_is_not_known_stops_it() {
    let mut bench = bench();
    bench.crash(false);
    let unknown = Record::Setting("schedule.of-the-future".to_owned(), "1".to_owned());
    bench.durable.insert(unknown.key(), unknown.encode());
    bench.elect();
    bench.settle();
    assert!(matches!(&bench.failed, Some(CoordinatorError::Failed { cause }) if cause.contains("of-the-future")));
}

fn ask_split(bench: &mut Bench, region: &RegionDescriptor, count: u32) -> Result<Vec<SplitIds>, CoordinatorError> {
    let region = Box::new(region.clone());
    bench.ask(|reply| Change::AskSplit { region, count, reply })
}

#[test]
fn a_split_gets_an_id_for_each_region_and_each_peer() {
    let mut bench = bench();
    let region = regions(&bench)[0].clone();
    let ids = ask_split(&mut bench, &region, 2).unwrap();
    let expected =
        |region: u64| SplitIds { region: RegionId(region), peers: (1..4).map(|id| PeerId(region + id)).collect() };
    assert_eq!(ids, [expected(17), expected(21)]);
    assert_eq!(ask_split(&mut bench, &region, 1).unwrap(), [expected(25)]);
    let many = ask_split(&mut bench, &region, 1024).unwrap();
    assert_eq!((many.len(), many[1023].peers[2]), (1024, PeerId(28 + 4096)));
}

#[test]
fn a_split_is_refused_when_it_is_stale_or_halted() {
    let mut bench = bench();
    let region = regions(&bench)[0].clone();
    for count in [0, 1025, u32::MAX] {
        assert!(matches!(ask_split(&mut bench, &region, count), Err(CoordinatorError::Count { .. })));
    }
    let mut newer = region.clone();
    newer.epoch.version += 1;
    region_heartbeat(&mut bench, &newer, 0, 6).unwrap();
    assert!(matches!(ask_split(&mut bench, &region, 1), Err(CoordinatorError::StaleRegion { what: "version", .. })));
    let unknown = RegionDescriptor { id: RegionId(999), ..region.clone() };
    assert!(matches!(ask_split(&mut bench, &unknown, 1), Err(CoordinatorError::Placement(_))));
    let empty = RegionDescriptor { peers: Vec::new(), ..newer.clone() };
    assert!(matches!(ask_split(&mut bench, &empty, 1), Err(CoordinatorError::InvalidRegion { .. })));
    configure(&mut bench, &[("schedule.halt-scheduling", "true")]).unwrap();
    assert_eq!(ask_split(&mut bench, &newer, 1), Err(CoordinatorError::SplitHalted));
}

/// The routing is true while a region splits and moves at the same time.
#[test]
fn an_operator_outlives_a_split_of_its_region() {
    let mut bench = bench();
    let mut parent = regions(&bench)[0].clone();
    let from = parent.peers[2].store_id;
    command(&mut bench, parent.id, Command::MovePeer { from, to: StoreId(16) }).unwrap();
    let order = bench.orders.pop().unwrap();
    let mut child = parent.clone();
    child.id = RegionId(500);
    child.peers.iter_mut().for_each(|peer| peer.id = PeerId(peer.id.0 + 500));
    (parent.range, child.range) = (KeyRange::new("c", "h"), KeyRange::new("", "c"));
    parent.epoch.version += 1;
    child.epoch.version += 1;
    region_heartbeat(&mut bench, &child, 0, 6).unwrap();
    assert!(bench.machine.view(bench.at).unwrap().region(parent.id).is_none(), "its old range is the child's");
    let again = region_heartbeat(&mut bench, &parent, 0, 6).unwrap().expect("the move goes on");
    assert_eq!((&again.kind, again.epoch.version), (&order.kind, 2));
    obey(&mut parent, &again);
    assert!(region_heartbeat(&mut bench, &parent, 0, 6).unwrap().is_some());
}

#[test]
fn operators_are_forgotten_with_the_leadership_and_found_again_by_need() {
    let mut bench = bench();
    remove(&mut bench, 3).unwrap();
    let mut region = regions(&bench).into_iter().find(|region| region.peers[0].store_id != StoreId(3)).unwrap();
    hear_stores(&mut bench, &[(1, 3), (2, 3), (3, 3), (16, 0)]);
    let order = region_heartbeat(&mut bench, &region, 0, 6).unwrap().unwrap();
    obey(&mut region, &order);
    let order = region_heartbeat(&mut bench, &region, 0, 6).unwrap().unwrap();
    obey(&mut region, &order);
    assert!(region.peers.iter().any(|peer| peer.role == PeerRole::IncomingVoter), "in the middle of it");
    bench.depose();
    bench.elect();
    bench.settle();
    assert_eq!(bench.machine.view(bench.at).unwrap().placement().operators().len(), 0);
    for other in regions(&bench) {
        if other.id != region.id {
            region_heartbeat(&mut bench, &other, 0, 6).unwrap();
        }
    }
    region_heartbeat(&mut bench, &region, 0, 6).unwrap();
    hear_stores(&mut bench, &[(1, 3), (2, 3), (3, 2), (16, 1)]);
    obey_all(&mut bench, &mut region, 0, 6);
    let mut on: Vec<(StoreId, PeerRole)> = region.peers.iter().map(|peer| (peer.store_id, peer.role)).collect();
    on.sort_by_key(|(store, _)| *store);
    assert_eq!(on, [1, 2, 16].map(|store| (StoreId(store), PeerRole::Voter)));
}
