//! Members whose logs lag: how long the leader keeps its log for them, and what may depend on them meanwhile.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::VecDeque;

use engine::EntryType;
use region::{MessageType, RegionConfig, RegionMessage, RegionStatus};
use support::cluster::{Answer, Cluster};
use types::{LogIndex, MemberChange, PeerId, StoreId};

fn cluster(config: RegionConfig, voters: &[u64]) -> Cluster {
    let mut cluster = Cluster::new(config, voters, &[]);
    cluster.elect(1);
    cluster.pass(1, 2);
    cluster.trace.clear();
    cluster
}

fn status(cluster: &Cluster, id: u64) -> RegionStatus {
    cluster.members[&id].region.as_ref().unwrap().status()
}

fn propose(cluster: &mut Cluster, key: &str) {
    let write = cluster.proposal(cluster.header_of(1), key);
    cluster.round(1, vec![write]);
}

fn change(cluster: &mut Cluster, changes: Vec<MemberChange>, name: &str) {
    let input = cluster.change_members(&cluster.region_of(1), changes, name);
    cluster.round(1, vec![input]);
}

fn refusal(cluster: &Cluster, name: &str) -> Option<String> {
    let answers = cluster.answers.lock().unwrap();
    match answers.iter().find(|(other, _)| other == name) {
        Some((_, Answer::Error(error))) => Some(error.to_string()),
        _ => None,
    }
}

fn cut(cluster: &mut Cluster, id: u64) {
    let others: Vec<u64> = cluster.members.keys().copied().filter(|other| *other != id).collect();
    cluster.cut.extend(others.into_iter().flat_map(|other| [(id, other), (other, id)]));
}

fn remove(id: u64) -> MemberChange {
    MemberChange::remove(PeerId(id), StoreId(id))
}

/// It moves, so that there is always something to compact, and falls behind all the same.
#[test]
fn a_member_that_comes_forward_too_slowly_is_left_to_a_snapshot() {
    let limit = 8_000;
    let config = RegionConfig { compact_entries: 2, max_log_bytes: limit, ..RegionConfig::default() };
    let mut cluster = cluster(config, &[1, 2, 3]);
    let mut slow: VecDeque<RegionMessage> = VecDeque::new();
    for round in 0..60 {
        for number in 0..8 {
            propose(&mut cluster, &format!("k{}", "x".repeat(200)));
            while let Some(message) = cluster.network.pop_front() {
                let is_append = message.raft.get_msg_type() == MessageType::MsgAppend;
                match message.to.id.0 {
                    3 if is_append => slow.push_back(message),
                    _ => cluster.deliver(message),
                }
            }
            // Half as fast as the others.
            if number % 2 == 0 {
                cluster.deliver(slow.pop_front().unwrap());
            }
        }
        cluster.tick(1);
        let kept = status(&cluster, 1).log_bytes;
        assert!(kept < 2 * limit, "round {round}: {kept} bytes of log are kept for a member that never catches up");
    }
    assert!(status(&cluster, 3).last_index > LogIndex(200), "it did move");
}

/// It answers, and yet the leader has nothing to send to it that it could acknowledge (raftstore-rules §7).
#[test]
fn a_quorum_does_not_depend_on_a_member_that_needs_a_snapshot() {
    let mut cluster =
        cluster(RegionConfig { compact_entries: 2, max_log_bytes: 250, ..RegionConfig::default() }, &[1, 2, 3]);
    cut(&mut cluster, 3);
    for key in ["a", "b", "c"] {
        propose(&mut cluster, key);
        cluster.pass(1, 2);
    }
    cluster.cut.clear();
    cluster.member(1).holds_build = true;
    cluster.pass(1, 4);
    assert!(!cluster.members[&1].building.is_empty());

    change(&mut cluster, vec![remove(2)], "remove");
    let refused = refusal(&cluster, "remove").expect("the region would have stood still");
    assert!(refused.contains("the region would lose its quorum"), "{refused}");
    cluster.member(1).holds_build = false;
    cluster.round(1, Vec::new());
    cluster.pass(1, 8);
    change(&mut cluster, vec![remove(2)], "again");
    cluster.pass(1, 2);
    assert_eq!(refusal(&cluster, "again"), None);
    assert_eq!(cluster.region_of(1).peers.len(), 2);
}

/// The log that was kept for it is of no use to anybody, once it leads; its own is too short to say so.
#[test]
fn a_leader_that_began_from_a_snapshot_has_the_others_compacted() {
    let config = RegionConfig { compact_entries: 1_000, max_log_bytes: 8_000, ..RegionConfig::default() };
    let mut cluster = cluster(config, &[1, 2, 3]);
    cut(&mut cluster, 3);
    while status(&cluster, 1).apply_state.truncated == LogIndex(5) {
        propose(&mut cluster, &format!("k{}", "x".repeat(200)));
        cluster.pass(1, 1);
    }
    cluster.cut.clear();
    cluster.pass(1, 8);
    let began = status(&cluster, 3).apply_state.truncated;
    assert_eq!(cluster.installed, 1);
    assert!(status(&cluster, 2).apply_state.truncated < began && status(&cluster, 2).log_bytes > 2_000);

    cluster.elect(3);
    cluster.pass(3, 6);
    for id in [1, 2] {
        let status = status(&cluster, id);
        assert!(status.apply_state.truncated >= began, "member {id}");
        assert!(status.log_bytes < 1_000, "member {id} keeps {} bytes", status.log_bytes);
    }
    let last = status(&cluster, 3).last_index;
    cluster.pass(3, 20);
    assert_eq!(status(&cluster, 3).last_index, last, "once is enough");
}

/// The other voter stays, as the request says, and is no newcomer: nobody would lead the region behind the change
/// (raftstore-rules §7).
#[test]
fn a_leader_does_not_remove_itself_before_its_successor_has_caught_up() {
    for staying in [vec![], vec![MemberChange::vote(PeerId(2), StoreId(2))]] {
        let mut cluster = cluster(RegionConfig::default(), &[1, 2]);
        for number in 0..300 {
            propose(&mut cluster, &format!("k{number}"));
        }
        change(&mut cluster, [staying, vec![remove(1)]].concat(), "remove");
        let refused = refusal(&cluster, "remove").expect("member 2 is far behind");
        assert!(refused.contains("no other voter is fit to lead"), "{refused}");
        cluster.deliver_until_quiet();
        assert!(!cluster.committed.values().any(|entry| entry.entry_type == EntryType::EntryConfChangeV2));
        assert_eq!(cluster.region_of(1).peers.len(), 2);
    }
}
