//! Operators step by step: what is ordered, when a step counts as done, and how operators end.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Bench, GIB, line, region};
use placement::controller::MAX_RECORDS;
use placement::{Command, Ending, OrderKind, PlacementConfig, PlacementError, SplitPolicy, StoreLoad};
use types::{Peer, PeerRole, StoreId};

fn bench(stores: u64) -> Bench {
    let mut bench = Bench::new(PlacementConfig::default(), stores);
    bench.set(region(1, &[1, 2, 3]));
    bench
}

fn move_peer(from: u64, to: u64) -> Command {
    Command::MovePeer { from: from.into(), to: to.into() }
}

#[test]
fn a_peer_moves_by_way_of_a_learner_and_a_joint_configuration() {
    let mut bench = bench(4);
    let (_, first) = bench.command(1, &move_peer(3, 4)).unwrap();
    assert_eq!(line(&first.unwrap()), "learner 4");
    assert_eq!(bench.obey_all(1), ["learner 4", "voter 4, learner 3", "leave joint", "remove 3"]);
    assert_eq!(bench.members(1), ["1", "2", "4"]);
    assert_eq!(bench.last_ending(), ("admin-move-peer", Ending::Finished));
}

#[test]
fn a_leader_hands_over_before_it_is_moved() {
    let mut bench = bench(4);
    bench.command(1, &move_peer(1, 4)).unwrap();
    let orders = bench.obey_all(1);
    assert_eq!(orders, ["learner 4", "transfer to 2 or 3", "voter 4, learner 1", "leave joint", "remove 1"]);
    assert_eq!(bench.members(1), ["2", "3", "4"]);
}

/// A leader that is being demoted cannot leave the joint configuration (raftstore-rules §7).
#[test]
fn an_only_voter_hands_over_between_the_configurations() {
    let mut bench = Bench::new(PlacementConfig { max_replicas: 1, ..PlacementConfig::default() }, 2);
    bench.set(region(1, &[1]));
    bench.command(1, &move_peer(1, 2)).unwrap();
    assert_eq!(bench.obey_all(1), ["learner 2", "voter 2, learner 1", "transfer to 2", "leave joint", "remove 1"]);
    assert_eq!(bench.members(1), ["2"]);
}

#[test]
fn without_joint_consensus_one_change_follows_the_other() {
    let config = PlacementConfig { enable_joint_consensus: false, ..PlacementConfig::default() };
    let mut bench = Bench::new(config, 4);
    bench.set(region(1, &[1, 2, 3]));
    bench.command(1, &move_peer(1, 4)).unwrap();
    let expected = ["simple learner 4", "transfer to 2 or 3", "simple voter 4", "simple learner 1", "simple remove 1"];
    assert_eq!(bench.obey_all(1), expected);
}

#[test]
fn a_learner_is_waited_for_without_repeating_the_order() {
    let mut bench = bench(4);
    let (_, order) = bench.command(1, &move_peer(3, 4)).unwrap();
    bench.obey(&order.unwrap());
    let newcomer = bench.regions[&1.into()].peer_on(4.into()).unwrap();
    bench.region_mut(1).pending_peers = vec![newcomer];
    assert_eq!(bench.hear(1), None, "it has not caught up");
    bench.pass(Duration::from_secs(120));
    assert_eq!(bench.hear(1), None);
    bench.region_mut(1).pending_peers.clear();
    assert_eq!(line(&bench.hear(1).unwrap()), "voter 4, learner 3");
}

#[test]
fn an_order_is_repeated_with_the_newest_epoch_and_leader() {
    let mut bench = bench(4);
    let (_, first) = bench.command(1, &move_peer(3, 4)).unwrap();
    let first = first.unwrap();
    bench.region_mut(1).leader = Peer::voter(102.into(), 2.into());
    bench.descriptor_mut(1).epoch.version += 1;
    let second = bench.hear(1).unwrap();
    assert_eq!(second.kind, first.kind, "the same peer, under the same id");
    assert_eq!((second.leader.store_id, second.epoch.version), (StoreId(2), 2), "a split does not disturb a move");
}

/// Leaders leave joint configurations by themselves, and heartbeats get lost: the steps in between count as done.
#[test]
fn steps_that_the_leader_took_by_itself_are_done() {
    let mut bench = bench(4);
    bench.command(1, &move_peer(3, 4)).unwrap();
    for _ in 0..2 {
        let order = bench.hear(1).unwrap();
        bench.obey(&order);
    }
    assert_eq!(bench.members(1), ["1", "2", "3-", "4+"]);
    common::change_peers(bench.descriptor_mut(1), &[]);
    assert_eq!(line(&bench.hear(1).unwrap()), "remove 3");
}

/// Between two heartbeats of a region there is a minute.
#[test]
fn an_order_that_is_lost_is_given_again_before_the_region_reports() {
    let mut bench = bench(4);
    let (_, first) = bench.command(1, &move_peer(3, 4)).unwrap();
    bench.hear_stores();
    assert_eq!(bench.pushed, [], "it may still be on its way");
    bench.hear_store(1.into(), bench.stores[&1.into()]);
    assert_eq!(bench.pushed, [first.unwrap()]);
    bench.hear_store(2.into(), bench.stores[&2.into()]);
    assert_eq!(bench.pushed.len(), 1, "once in a while");
}

#[test]
fn a_membership_that_moved_otherwise_ends_the_operator() {
    let mut bench = bench(5);
    bench.command(1, &move_peer(3, 4)).unwrap();
    let intruder = Peer { role: PeerRole::Learner, ..Peer::voter(900.into(), 5.into()) };
    bench.descriptor_mut(1).peers.push(intruder);
    bench.descriptor_mut(1).epoch.conf_ver += 1;
    bench.hear(1);
    let (name, ending) = bench.last_ending();
    assert_eq!(name, "admin-move-peer");
    assert_eq!(ending, Ending::Cancelled("the region's membership moved otherwise".to_owned()));
}

/// The members are the same again, and yet somebody else was at work.
#[test]
fn a_conf_ver_that_nobody_can_explain_ends_the_operator() {
    let mut bench = bench(4);
    bench.command(1, &move_peer(3, 4)).unwrap();
    bench.descriptor_mut(1).epoch.conf_ver += 2;
    bench.hear(1);
    assert!(matches!(bench.last_ending().1, Ending::Cancelled(_)));
}

#[test]
fn a_step_and_an_operator_have_their_time() {
    let mut bench = bench(4);
    bench.command(1, &Command::TransferLeader { to: 2.into() }).unwrap();
    bench.pass(Duration::from_secs(60));
    assert!(bench.hear(1).is_some(), "not yet");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.hear(1), None);
    assert_eq!(bench.last_ending(), ("admin-transfer-leader", Ending::TimedOut("transfer leader")));
    bench.hear_stores();
    bench.command(1, &move_peer(3, 4)).unwrap();
    bench.pass(Duration::from_secs(601));
    bench.hear_stores();
    assert_eq!(
        bench.last_ending(),
        ("admin-move-peer", Ending::TimedOut("add learner")),
        "though the region is silent"
    );
    assert_eq!(bench.placement.operators().len(), 0);
}

#[test]
fn a_large_region_has_more_time_to_move() {
    let mut bench = bench(4);
    bench.region_mut(1).approximate_bytes = 10 * GIB;
    bench.hear(1);
    bench.command(1, &move_peer(3, 4)).unwrap();
    bench.pass(Duration::from_secs(10_000));
    assert!(bench.hear(1).is_some());
    bench.pass(Duration::from_secs(241));
    bench.hear(1);
    assert_eq!(bench.last_ending().1, Ending::TimedOut("add learner"));
}

#[test]
fn a_transfer_goes_on_until_the_target_leads_or_falls_behind() {
    let mut bench = bench(3);
    bench.command(1, &Command::TransferLeader { to: 2.into() }).unwrap();
    bench.region_mut(1).leader = Peer::voter(103.into(), 3.into());
    let again = bench.hear(1).unwrap();
    assert_eq!((line(&again), again.leader.store_id), ("transfer to 2".to_owned(), StoreId(3)));
    bench.down(1, 2, 5);
    assert_eq!(bench.hear(1), None);
    assert!(matches!(bench.last_ending().1, Ending::Cancelled(why) if why.contains("keeps up")));
}

#[test]
fn a_split_is_done_when_the_version_has_grown() {
    let mut bench = bench(3);
    let keys = |keys: &[&'static [u8]]| keys.iter().map(|key| Bytes::from_static(key)).collect::<Vec<_>>();
    let policy = SplitPolicy::Keys(keys(&[b"\x01b", b"\x01c"]));
    let (_, order) = bench.command(1, &Command::Split { policy: policy.clone() }).unwrap();
    assert_eq!(order.unwrap().kind, OrderKind::Split(policy));
    bench.descriptor_mut(1).epoch.conf_ver += 1;
    assert!(bench.hear(1).is_some(), "the members do not matter");
    bench.descriptor_mut(1).epoch.version += 2;
    bench.hear(1);
    assert_eq!(bench.last_ending(), ("admin-split-region", Ending::Finished));
    for wrong in
        [keys(&[]), keys(&[b"\x01"]), keys(&[b"\x02"]), keys(&[b"\x01c", b"\x01b"]), keys(&[b"\x01b", b"\x01b"])]
    {
        let refused = bench.command(1, &Command::Split { policy: SplitPolicy::Keys(wrong) });
        assert!(matches!(refused, Err(PlacementError::SplitKeys { .. })));
    }
    let (_, order) = bench.command(1, &Command::Split { policy: SplitPolicy::Approximate }).unwrap();
    assert_eq!(line(&order.unwrap()), "split by approximate");
}

/// A leader that was elected a moment ago has heard from nobody yet, and splits nevertheless.
#[test]
fn a_split_waits_for_no_follower() {
    let mut bench = bench(3);
    let region = bench.region_mut(1);
    region.pending_peers = region.descriptor.peers.iter().skip(1).copied().collect();
    bench.hear(1);
    let (_, order) = bench.command(1, &Command::Split { policy: SplitPolicy::Scan }).unwrap();
    assert_eq!(line(&order.unwrap()), "split by scan");
}

#[test]
fn commands_that_cannot_be_are_refused_with_the_reason() {
    use PlacementError as E;
    let mut bench = bench(5);
    let mut refused = |region, command: Command| bench.command(region, &command).unwrap_err();
    let (one, two, four, nine) = (StoreId(1), StoreId(2), StoreId(4), StoreId(9));
    let id = types::RegionId(1);
    assert_eq!(refused(7, move_peer(3, 4)), E::RegionUnknown { region: 7.into() });
    assert_eq!(refused(1, Command::TransferLeader { to: one }), E::Nothing { region: id });
    assert_eq!(
        refused(1, Command::TransferLeader { to: four }),
        E::PeerMissing { region: id, store: four, what: "voter" }
    );
    assert_eq!(refused(1, Command::AddPeer { to: two }), E::PeerExists { region: id, store: two });
    assert_eq!(refused(1, Command::AddPeer { to: nine }), E::StoreUnknown { store: nine });
    assert_eq!(
        refused(1, Command::RemovePeer { from: four }),
        E::PeerMissing { region: id, store: four, what: "peer" }
    );
    assert_eq!(refused(1, move_peer(4, 5)), E::PeerMissing { region: id, store: four, what: "voter" });
    assert_eq!(bench.placement.cancel(bench.now, id), Err(E::NoOperator { region: id }));
    bench.leave(4, &[]);
    bench.hear_store(5.into(), StoreLoad { capacity_bytes: 100, available_bytes: 10, ..StoreLoad::default() });
    for to in [4, 5] {
        assert!(matches!(bench.command(1, &move_peer(3, to)), Err(E::StoreUnfit { .. })));
    }
}

#[test]
fn no_plan_loses_the_quorum_or_the_last_voter() {
    let mut bench = bench(4);
    bench.down(1, 2, 30);
    bench.hear(1);
    let remove = Command::RemovePeer { from: 3.into() };
    assert_eq!(bench.command(1, &remove).unwrap_err(), PlacementError::LosesQuorum { region: 1.into() });
    bench.set(region(2, &[1]));
    let remove = Command::RemovePeer { from: 1.into() };
    assert_eq!(bench.command(2, &remove).unwrap_err(), PlacementError::LastVoter { region: 2.into() });
    // Two voters of which one is behind: it is the other that leads, and cannot be spared.
    let mut two = region(3, &[1, 2]);
    two.pending_peers = vec![two.peer_on(2.into()).unwrap()];
    bench.set(two);
    assert!(matches!(bench.command(3, &remove), Err(PlacementError::StoreUnfit { .. })));
}

#[test]
fn one_operator_a_region_and_the_more_urgent_one_wins() {
    let mut bench = bench(5);
    bench.leave(3, &[]);
    assert_eq!(line(&bench.hear(1).unwrap()), "learner 4", "a checker replaces the peer");
    let (people, _) = bench.command(1, &Command::TransferLeader { to: 2.into() }).unwrap();
    assert_eq!(bench.last_ending(), ("replace-offline-replica", Ending::Replaced(people)));
    let occupied = bench.command(1, &move_peer(3, 5)).unwrap_err();
    assert!(matches!(occupied, PlacementError::Occupied { operator, .. } if operator == people));
    bench.placement.cancel(bench.now, 1.into()).unwrap();
    assert_eq!(bench.last_ending(), ("admin-transfer-leader", Ending::Cancelled("people cancelled it".to_owned())));
}

#[test]
fn a_target_that_leaves_ends_the_operator() {
    let mut bench = bench(4);
    bench.command(1, &move_peer(3, 4)).unwrap();
    bench.leave(4, &[]);
    assert!(matches!(bench.last_ending().1, Ending::Cancelled(why) if why.contains("leaves")));
    bench.command(1, &Command::AddPeer { to: 4.into() }).unwrap_err();
}

#[test]
fn the_history_is_bounded() {
    let mut bench = bench(3);
    for _ in 0..MAX_RECORDS + 5 {
        bench.command(1, &Command::TransferLeader { to: 2.into() }).unwrap();
        bench.placement.cancel(bench.now, 1.into()).unwrap();
    }
    assert_eq!(bench.placement.records().count(), MAX_RECORDS);
    assert_eq!(bench.placement.records().next().unwrap().operator.id().0, 6);
    let totals = bench.placement.drain_totals();
    assert_eq!((totals.created, totals.cancelled), (1005, 1005));
    assert_eq!(bench.placement.drain_totals(), placement::Totals::default());
}

#[test]
fn no_id_means_try_again_and_nothing_else() {
    let mut bench = bench(4);
    let (now, mut orders) = (bench.now, Vec::new());
    let refused = bench.placement.command(now, 1.into(), &move_peer(3, 4), &mut || None, &mut orders);
    assert_eq!(refused, Err(PlacementError::NoId));
    bench.leave(3, &[]);
    let state = Arc::new(bench.regions[&1.into()].clone());
    assert_eq!(bench.placement.region_heartbeat(now, state, &mut || None, &mut orders), None);
    assert_eq!((bench.placement.operators().len(), bench.placement.waiting()), (0, 1));
    bench.hear_stores();
    assert_eq!(line(&bench.pushed[0]), "learner 4", "the patrol comes back to it");
}

/// Numbers that no honest store sends.
#[test]
fn absurd_reports_do_no_harm() {
    let mut bench = bench(4);
    let mut absurd = region(2, &[1, 2, 3]);
    absurd.approximate_bytes = u64::MAX;
    Arc::make_mut(&mut absurd.descriptor).epoch.conf_ver = u64::MAX;
    absurd.pending_peers = vec![absurd.leader; 100];
    bench.set(absurd.clone());
    bench.set(absurd);
    let load = StoreLoad {
        capacity_bytes: u64::MAX,
        available_bytes: u64::MAX,
        region_count: u64::MAX,
        sending_snapshots: u64::MAX,
        receiving_snapshots: u64::MAX,
        ..StoreLoad::default()
    };
    bench.hear_store(4.into(), load);
    bench.hear_store(4.into(), StoreLoad { capacity_bytes: 1, ..load });
    assert!(bench.command(2, &move_peer(3, 4)).is_err(), "its conf_ver cannot grow");
    bench.leave(3, &[]);
    assert_eq!(bench.hear(2), None);
}
