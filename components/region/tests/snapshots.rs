//! Snapshots that do not arrive: each is asked for again while it is of use, and given up when it is not.
#![allow(clippy::unwrap_used)]

mod support;

use raft::eraftpb::Message;
use region::{BuildSnapshot, Effect, Input, MessageType, RegionConfig, RegionMessage, RegionStatus, Role};
use support::cluster::{Answer, Cluster, REGION};
use types::{LogIndex, MemberChange, Peer, PeerId, RequestError, StoreId};

/// Member 3 was away, and needs a snapshot that nobody has built yet.
fn waiting() -> Cluster {
    let config = RegionConfig { compact_entries: 2, max_log_bytes: 250, ..RegionConfig::default() };
    let mut cluster = Cluster::new(config, &[1, 2, 3], &[]);
    cluster.elect(1);
    cut(&mut cluster, 3);
    for key in ["a", "b", "c"] {
        write(&mut cluster, key);
    }
    cluster.cut.clear();
    (1..=2).for_each(|id| cluster.member(id).holds_build = true);
    cluster.pass(1, 2);
    assert!(order(&cluster, 1).is_some());
    cluster.trace.clear();
    cluster
}

fn cut(cluster: &mut Cluster, id: u64) {
    let others = (1..=3).filter(|other| *other != id);
    cluster.cut.extend(others.flat_map(|other| [(id, other), (other, id)]));
}

fn write(cluster: &mut Cluster, key: &str) {
    let write = cluster.proposal(cluster.header_of(1), key);
    cluster.round(1, vec![write]);
    cluster.pass(1, 2);
}

/// The snapshot that a member's state machine is to build.
fn order(cluster: &Cluster, id: u64) -> Option<BuildSnapshot> {
    let building = &cluster.members[&id].building;
    assert!(building.len() <= 1, "one snapshot for each member at a time");
    building.front().copied()
}

fn status(cluster: &Cluster, id: u64) -> RegionStatus {
    cluster.members[&id].region.as_ref().unwrap().status()
}

fn cancelled(cluster: &mut Cluster) -> bool {
    let trace = std::mem::take(&mut cluster.trace);
    trace.iter().any(|line| line.trim() == "1 cancels the snapshot for 3")
}

fn has_sent_snapshot(cluster: &Cluster) -> bool {
    cluster.network.iter().any(|message| message.raft.get_msg_type() == MessageType::MsgSnapshot)
}

/// Everything works again: member 3 gets there.
fn finish(cluster: &mut Cluster, leader: u64) {
    for id in 1..=2 {
        cluster.member(id).holds_build = false;
        cluster.round(id, Vec::new());
    }
    cluster.pass(leader, 8);
    assert_eq!(status(cluster, 3).last_index, status(cluster, leader).last_index);
    assert_eq!(cluster.installed, 1, "more snapshots than needed");
}

#[test]
fn the_end_of_a_leadership_gives_them_up() {
    let mut cluster = waiting();
    let old = order(&cluster, 1).unwrap();
    cluster.elect(2);
    assert!(order(&cluster, 1).is_none());
    let built = Some(cluster.member(1).snapshot().built);
    cluster.round(1, vec![Input::SnapshotBuilt { generation: old.generation, to: PeerId(3), built }]);
    assert!(!has_sent_snapshot(&cluster), "a follower sent a snapshot");
    finish(&mut cluster, 2);
}

/// The machine ends under its leader, for a takeover or a new `RawNode`: what was ordered holds a permit of the store.
#[test]
fn the_end_of_a_leaders_machine_gives_them_up() {
    let mut cluster = waiting();
    let region = cluster.member(1).region.take().unwrap();
    let mut effects = Vec::new();
    region.shut_down(&mut effects);
    let given_up = |effect: &Effect| matches!(effect, Effect::CancelSnapshot(cancel) if cancel.to == PeerId(3));
    assert_eq!(effects.iter().filter(|effect| given_up(effect)).count(), 1, "{effects:?}");
}

#[test]
fn a_member_that_cannot_be_reached_gets_another_when_it_is_back() {
    let mut cluster = waiting();
    cut(&mut cluster, 3);
    cluster.round(1, vec![Input::Unreachable { peer: PeerId(3) }]);
    assert!(cancelled(&mut cluster) && order(&cluster, 1).is_none());
    cluster.pass(1, 4);
    assert!(order(&cluster, 1).is_none(), "built for somebody who does not answer");
    cluster.cut.clear();
    finish(&mut cluster, 1);
}

/// The connection broke: whoever sends the snapshot goes on with it on another one, and tells when it gives up.
#[test]
fn one_on_its_way_outlives_a_broken_connection() {
    let mut cluster = waiting();
    cluster.build(1);
    let snapshot = cluster.network.pop_back().unwrap();
    cluster.round(1, vec![Input::Unreachable { peer: PeerId(3) }]);
    assert!(!cancelled(&mut cluster));
    cluster.pass(1, 4);
    assert!(order(&cluster, 1).is_none());
    cluster.deliver(snapshot);
    finish(&mut cluster, 1);
}

/// It was built when nothing could leave; since then the member has lost a newer one, and says so.
#[test]
fn one_that_is_too_old_for_its_member_gives_way() {
    let mut cluster = waiting();
    cut(&mut cluster, 3);
    cluster.pass(1, 24);
    cluster.build(1);
    let built = status(&cluster, 1).apply_state.applied;
    assert!(!has_sent_snapshot(&cluster), "it is not heard of");
    write(&mut cluster, "d");
    let newest = status(&cluster, 1).apply_state.applied;
    assert!(newest > built);

    cluster.cut.clear();
    let epoch = cluster.region_of(1).epoch;
    let voter = |id| Peer::voter(PeerId(id), StoreId(id));
    let mut raft = Message { from: 3, to: 1, term: 6, reject: true, request_snapshot: newest.0, ..Message::default() };
    raft.set_msg_type(MessageType::MsgAppendResponse);
    let lost = RegionMessage { region: REGION, from: voter(3), to: voter(1), epoch, raft, note: None, range: None };
    // It says so whenever it hears of its leader.
    for _ in 0..3 {
        cluster.round(1, vec![Input::Message(Box::new(lost.clone()))]);
        cluster.tick(1);
    }
    let order = order(&cluster, 1).expect("a newer one is built");
    assert!(order.at_least >= newest, "{order:?}");
}

/// A large snapshot takes its time, and is no reason to give a newcomer up. One that was in vain is.
#[test]
fn a_newcomer_is_not_given_up_while_it_is_sent_a_snapshot() {
    let config = RegionConfig { newcomer_ticks: 30, ..RegionConfig::default() };
    let mut cluster = Cluster::new(config, &[1, 2, 3], &[]);
    cluster.elect(1);
    let add = cluster.change_members(&cluster.region_of(1), vec![MemberChange::vote(PeerId(4), StoreId(4))], "add");
    cluster.round(1, vec![add]);
    cluster.member(1).holds_build = true;
    cluster.pass(1, 25);
    let generation = order(&cluster, 1).unwrap().generation;
    cluster.pass(1, 50);
    assert!(cluster.region_of(1).peer(PeerId(4)).is_some(), "given up while its snapshot was being built");

    cluster.member(1).building.clear();
    cluster.round(1, vec![Input::SnapshotBuilt { generation, to: PeerId(4), built: None }]);
    cluster.pass(1, 10);
    assert!(cluster.region_of(1).peer(PeerId(4)).is_none());
    let answers = cluster.answers.lock().unwrap();
    let Some((_, Answer::Error(error))) = answers.last() else { panic!("{answers:?}") };
    assert!(error.to_string().contains("made no progress"), "{error}");
}

#[test]
fn a_member_that_is_removed_needs_none() {
    let mut cluster = waiting();
    let remove = vec![MemberChange::remove(PeerId(3), StoreId(3))];
    let remove = cluster.change_members(&cluster.region_of(1), remove, "remove");
    cluster.round(1, vec![remove]);
    cluster.deliver_until_quiet();
    assert!(cancelled(&mut cluster) && order(&cluster, 1).is_none());
}

#[test]
fn one_that_the_log_has_passed_is_not_sent() {
    let mut cluster = waiting();
    let BuildSnapshot { generation, .. } = order(&cluster, 1).unwrap();
    let mut old = cluster.member(1).snapshot().built;
    old.index = LogIndex(status(&cluster, 1).apply_state.truncated.0 - 1);
    cluster.member(1).building.clear();
    cluster.round(1, vec![Input::SnapshotBuilt { generation, to: PeerId(3), built: Some(old) }]);
    assert!(cancelled(&mut cluster) && !has_sent_snapshot(&cluster));
    cluster.pass(1, 2);
    finish(&mut cluster, 1);
}

#[test]
fn one_that_could_not_be_built_or_sent_is_asked_for_again() {
    let mut cluster = waiting();
    let BuildSnapshot { generation, .. } = order(&cluster, 1).unwrap();
    cluster.member(1).building.clear();
    cluster.round(1, vec![Input::SnapshotBuilt { generation, to: PeerId(3), built: None }]);
    cluster.pass(1, 2);
    assert!(order(&cluster, 1).is_some());

    cluster.build(1);
    assert!(has_sent_snapshot(&cluster));
    cluster.network.clear();
    // Until its outcome is told, nothing else goes to that member.
    write(&mut cluster, "d");
    assert!(order(&cluster, 1).is_none());
    cluster.round(1, vec![Input::SnapshotSent { generation, to: PeerId(3), delivered: false }]);
    cluster.pass(1, 2);
    assert!(order(&cluster, 1).is_some());
    finish(&mut cluster, 1);
}

/// The log behind a snapshot on its way stays, but not beyond the bound of its bytes: then that snapshot would not help.
#[test]
fn one_that_the_log_passes_on_its_way_is_given_up() {
    let mut cluster = waiting();
    cluster.build(1);
    let late = cluster.network.pop_back().unwrap();
    let index = late.raft.get_snapshot().get_metadata().index;
    let mut keys = ('d'..='z').map(String::from);
    while status(&cluster, 1).apply_state.truncated.0 <= index {
        assert!(cluster.snapshots.contains_key(&(REGION, 3)), "it was still of use");
        write(&mut cluster, &keys.next().unwrap());
    }
    cluster.pass(1, 1);
    assert!(!cluster.snapshots.contains_key(&(REGION, 3)));
    cluster.deliver(late);
    assert_eq!(cluster.installed, 0);
    finish(&mut cluster, 1);
}

#[test]
fn a_member_that_waits_for_one_does_not_become_leader() {
    let mut cluster = waiting();
    let transfer = cluster.transfer(3, "transfer");
    cluster.round(1, vec![transfer]);
    let answers = cluster.answers.lock().unwrap().clone();
    let last = answers.last().unwrap();
    assert!(matches!(last.1, Answer::Error(RequestError::ServerIsBusy { .. })), "{last:?}");
    assert_eq!(status(&cluster, 1).role, Role::Leader);
    finish(&mut cluster, 1);
}
