//! Splits that some member hears of late, by snapshot, never, or from a leader that did not propose them.
#![allow(clippy::unwrap_used)]

mod support;

use region::{Input, RegionConfig, Role};
use support::cluster::{Answer, Cluster};
use support::member::keys;
use types::{KeyRange, MemberChange, PeerId, StoreId};

fn three() -> Cluster {
    let config = RegionConfig { compact_entries: 2, max_log_bytes: 300, stale_ticks: 12, ..RegionConfig::default() };
    let mut cluster = Cluster::new(config, &[1, 2, 3], &[]);
    cluster.elect(1);
    for key in ["b", "n"] {
        write(&mut cluster, 1, key);
    }
    cluster
}

/// Cuts a store off, with all of its peers that there will be: of region 1, and of its child, region 2.
fn isolate(cluster: &mut Cluster, store: u64) {
    for own in [store, 20 + store] {
        let others = [1, 2, 3, 21, 22, 23].into_iter().filter(|other| other % 10 != store);
        cluster.cut.extend(others.flat_map(|other| [(own, other), (other, own)]));
    }
}

fn write(cluster: &mut Cluster, leader: u64, key: &str) {
    let write = cluster.proposal(cluster.header_of(leader), key);
    cluster.round(leader, vec![write]);
    cluster.deliver_until_quiet();
}

fn split(cluster: &mut Cluster, right_derive: bool) {
    let split = cluster.split(&cluster.region_of(1), &[("m", 2)], right_derive, "split");
    cluster.round(1, vec![split]);
    cluster.deliver_until_quiet();
}

fn change(cluster: &mut Cluster, leader: u64, changes: Vec<MemberChange>, name: &str) {
    let input = cluster.change_members(&cluster.region_of(leader), changes, name);
    cluster.round(leader, vec![input]);
    cluster.pass(leader, 8);
    assert_eq!(answer(cluster, name), Some(Answer::Done));
}

fn answer(cluster: &Cluster, name: &str) -> Option<Answer> {
    let answers = cluster.answers.lock().unwrap();
    answers.iter().find(|(other, _)| other == name).map(|(_, answer)| answer.clone())
}

fn leads(cluster: &Cluster, id: u64) -> bool {
    cluster.members[&id].region.as_ref().is_some_and(|region| region.status().role == Role::Leader)
}

fn content(cluster: &Cluster, id: u64) -> Vec<String> {
    keys(&*cluster.members[&id].state, &cluster.region_of(id))
}

#[test]
fn a_parent_passes_its_split_by_snapshot_and_makes_room_for_the_child() {
    let mut cluster = three();
    isolate(&mut cluster, 3);
    split(&mut cluster, true);
    for key in ["o", "p", "q", "r"] {
        write(&mut cluster, 1, key);
        write(&mut cluster, 21, &format!("c{key}"));
        cluster.pass(1, 2);
    }
    assert!(cluster.members[&1].region.as_ref().unwrap().status().apply_state.truncated > types::LogIndex(9));

    // The child's snapshot comes first, and has to wait: its range is still the parent's there.
    cluster.cut.clear();
    let installed = cluster.installed;
    cluster.pass(21, 4);
    assert_eq!((cluster.installed, cluster.members[&23].is_initialised()), (installed, false));
    cluster.pass(1, 4);
    assert_eq!(cluster.region_of(3).range, KeyRange::new("m", "z"));
    cluster.pass(21, 4);
    assert_eq!(cluster.region_of(23).range, KeyRange::new("a", "m"));
    for (member, leader) in [(3, 1), (23, 21)] {
        assert_eq!(content(&cluster, member), content(&cluster, leader), "member {member}");
    }
    assert_eq!(content(&cluster, 23), ["b", "co", "cp", "cq", "cr"]);
}

/// The part that keeps the region's id is what a peer from before the split belongs to, whichever side that is.
#[test]
fn a_stale_peer_of_a_region_that_was_split_is_told_to_go() {
    for right_derive in [true, false] {
        let mut cluster = three();
        isolate(&mut cluster, 3);
        change(&mut cluster, 1, vec![MemberChange::remove(PeerId(3), StoreId(3))], "remove");
        split(&mut cluster, right_derive);
        assert_ne!(cluster.region_of(1).range, cluster.region_of(3).range);
        cluster.cut.clear();
        (0..12).for_each(|_| cluster.tick(3));
        cluster.deliver_until_quiet();
        cluster.pass(1, 2);
        assert_eq!(cluster.members.keys().copied().collect::<Vec<_>>(), [1, 2, 21, 22]);
    }
}

/// The child's peer was made by a message, and removed again, before its store heard of the split.
#[test]
fn a_child_that_was_removed_before_its_store_heard_of_the_split_does_not_begin() {
    for right_derive in [true, false] {
        let mut cluster = three();
        isolate(&mut cluster, 3);
        split(&mut cluster, right_derive);
        cluster.cut.retain(|(from, to)| *from < 20 && *to < 20);
        cluster.pass(21, 4);
        assert!(!cluster.members[&23].is_initialised(), "made by a message, and nothing more");
        change(&mut cluster, 21, vec![MemberChange::remove(PeerId(23), StoreId(3))], "remove");
        assert!(!cluster.members.contains_key(&23));

        cluster.cut.clear();
        cluster.pass(1, 4);
        assert_eq!(cluster.region_of(3).range, cluster.region_of(1).range);
        cluster.pass(21, 4);
        assert!(!cluster.members.contains_key(&23), "the split made it again");
    }
}

#[test]
fn a_member_that_comes_behind_a_split_gets_the_childs_part() {
    let mut cluster = three();
    split(&mut cluster, true);
    cluster.pass(1, 2);
    for (leader, peer) in [(21, 24), (1, 4)] {
        change(&mut cluster, leader, vec![MemberChange::vote(PeerId(peer), StoreId(4))], &format!("add {peer}"));
        cluster.pass(leader, 2);
        assert_eq!(content(&cluster, peer), content(&cluster, leader));
    }
    assert_eq!((content(&cluster, 24), content(&cluster, 4)), (vec!["b".to_owned()], vec!["n".to_owned()]));
}

/// The leader that proposed the split is gone. Its successor commits it, and its own peer of the child leads at once.
#[test]
fn the_child_of_a_later_leader_campaigns_beside_it() {
    let mut cluster = three();
    let cut = cluster.split(&cluster.region_of(1), &[("m", 2)], true, "split");
    cluster.round(1, vec![cut]);
    let appends: Vec<_> = cluster.network.drain(..).collect();
    appends.into_iter().for_each(|append| cluster.deliver(append));
    cluster.crash(1, 0);
    cluster.network.clear();
    cluster.elect(2);
    assert!(leads(&cluster, 22) && !leads(&cluster, 23));
    assert_eq!(cluster.region_of(3).range, KeyRange::new("m", "z"));

    // The peer beside the old leader is nobody special.
    cluster.start(1, true);
    cluster.pass(2, 4);
    cluster.pass(22, 4);
    assert!(cluster.members[&21].is_initialised() && leads(&cluster, 22));
    assert_eq!(cluster.region_of(1).range, KeyRange::new("m", "z"));
}

/// A leader that is slow to apply its own split keeps the child from being led for a timeout, and no longer.
#[test]
fn the_child_of_a_slow_leader_is_led_after_a_timeout() {
    let mut cluster = three();
    cluster.member(1).holds_apply = true;
    split(&mut cluster, true);
    cluster.pass(1, 2);
    // The leader has not applied its split; the others have.
    assert!(!cluster.members.contains_key(&21) && cluster.members.contains_key(&22));
    for id in [22, 23] {
        (0..10).for_each(|_| cluster.tick(id));
    }
    assert!(cluster.network.is_empty(), "a follower's child campaigned beside nobody");
    for _ in 0..10 {
        cluster.tick(22);
        cluster.deliver_until_quiet();
    }
    assert!(leads(&cluster, 22));
    // Too late: somebody leads.
    cluster.apply(1);
    cluster.round(21, vec![Input::Campaign]);
    cluster.pass(22, 2);
    assert!(leads(&cluster, 22) && !leads(&cluster, 21));
}
