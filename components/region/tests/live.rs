//! Rules of splits and changes of members that need a hand on the inputs rather than a script.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use engine::StateBatch;
use region::{Effect, Input, RegionConfig, RegionStatus, Role};
use support::cluster::{Answer, Cluster};
use types::{ColumnFamily, KeyRange, MemberChange, PeerId, PeerRole, RequestError, StoreId};

fn cluster(voters: &[u64], learners: &[u64]) -> Cluster {
    let mut cluster = Cluster::new(RegionConfig::default(), voters, learners);
    cluster.elect(voters[0]);
    cluster.trace.clear();
    cluster
}

fn three() -> Cluster {
    cluster(&[1, 2, 3], &[])
}

fn vote(id: u64) -> MemberChange {
    MemberChange::vote(PeerId(id), StoreId(id))
}

fn learn(id: u64) -> MemberChange {
    MemberChange::learn(PeerId(id), StoreId(id))
}

fn remove(id: u64) -> MemberChange {
    MemberChange::remove(PeerId(id), StoreId(id))
}

fn answer(cluster: &Cluster, name: &str) -> Option<Answer> {
    let answers = cluster.answers.lock().unwrap();
    answers.iter().find(|(other, _)| other == name).map(|(_, answer)| answer.clone())
}

/// The text of a refusal.
fn refusal(cluster: &Cluster, name: &str) -> String {
    match answer(cluster, name) {
        Some(Answer::Error(error)) => error.to_string(),
        other => panic!("{name} was not refused: {other:?}"),
    }
}

fn split(cluster: &mut Cluster, id: u64, cuts: &[(&str, u64)], name: &str) {
    let input = cluster.split(&cluster.region_of(id), cuts, true, name);
    cluster.round(id, vec![input]);
}

fn change(cluster: &mut Cluster, id: u64, changes: Vec<MemberChange>, name: &str) {
    let input = cluster.change_members(&cluster.region_of(id), changes, name);
    cluster.round(id, vec![input]);
}

/// Lets the leader's clock run while it hears of everyone who is not cut off.
fn run(cluster: &mut Cluster, leader: u64, ticks: u32) {
    for _ in 0..ticks {
        cluster.tick(leader);
        cluster.deliver_until_quiet();
    }
}

fn members(cluster: &Cluster, id: u64) -> Vec<(u64, PeerRole)> {
    cluster.region_of(id).peers.iter().map(|peer| (peer.id.0, peer.role)).collect()
}

#[test]
fn commands_of_the_store_wait_for_an_entry_of_the_leaders_term() {
    let mut cluster = three();
    cluster.member(2).holds_apply = true;
    cluster.elect(2);
    split(&mut cluster, 2, &[("m", 2)], "split");
    change(&mut cluster, 2, vec![remove(3)], "members");
    assert!(refusal(&cluster, "split").contains("has not applied an entry of its term"));
    assert!(refusal(&cluster, "members").contains("has not applied an entry of its term"));
}

#[test]
fn one_command_that_changes_the_epoch_is_in_flight_at_a_time() {
    let mut cluster = three();
    split(&mut cluster, 1, &[("m", 2)], "first");
    split(&mut cluster, 1, &[("p", 3)], "second");
    change(&mut cluster, 1, vec![remove(3)], "third");
    for name in ["second", "third"] {
        assert!(refusal(&cluster, name).contains("another change of the region is on its way"));
    }
    cluster.deliver_until_quiet();
    assert_eq!(answer(&cluster, "first"), Some(Answer::Split(vec![2, 1])));
    assert_eq!(cluster.region_of(1).range, KeyRange::new("m", "z"));
}

#[test]
fn another_epoch_is_refused_before_anything_is_proposed() {
    let mut cluster = three();
    let before = cluster.region_of(1);
    split(&mut cluster, 1, &[("m", 2)], "first");
    cluster.deliver_until_quiet();
    let last = cluster.member(1).region.as_ref().unwrap().status().last_index;
    let late = cluster.split(&before, &[("p", 3)], true, "late");
    cluster.round(1, vec![late]);
    let Some(Answer::Error(RequestError::EpochNotMatch { current, .. })) = answer(&cluster, "late") else {
        panic!("the split was not refused for its epoch")
    };
    // A client finds the other half of its keys in the answer.
    let ranges: Vec<_> = current.iter().map(|region| (region.id.0, region.range.clone())).collect();
    assert_eq!(ranges, [(1, KeyRange::new("m", "z")), (2, KeyRange::new("a", "m"))]);
    assert_eq!(cluster.member(1).region.as_ref().unwrap().status().last_index, last);
}

#[test]
fn splits_that_cannot_be_are_refused_before_anything_is_proposed() {
    let mut cluster = three();
    let long = "m".repeat(types::limits::MAX_KEY_BYTES + 1);
    let many: Vec<String> = (0..=types::limits::MAX_SPLIT_REGIONS).map(|n| format!("m{n:04}")).collect();
    let many: Vec<(&str, u64)> = many.iter().zip(10..).map(|(key, id)| (key.as_str(), id)).collect();
    let cases: [(&[(&str, u64)], &str); 5] = [
        (&[("m", 1 << 60)], "is no id of a region or a peer"),
        (&[("m", 2), ("c", 3)], "must ascend"),
        (&[("m", 1)], "given twice"),
        (&[(&long, 2)], "longer than the limit"),
        (&many, "split in steps"),
    ];
    for (number, (cuts, reason)) in cases.into_iter().enumerate() {
        let name = number.to_string();
        split(&mut cluster, 1, cuts, &name);
        assert!(refusal(&cluster, &name).contains(reason), "{}", refusal(&cluster, &name));
    }
    assert!(cluster.network.is_empty());
}

/// raftstore-rules §5: a read that was asked for before a split is not answered with what the parent kept.
#[test]
fn a_read_that_meets_a_split_is_refused() {
    let mut cluster = three();
    cluster.member(1).holds_apply = true;
    split(&mut cluster, 1, &[("m", 2)], "split");
    cluster.deliver_until_quiet();
    // Committed and not applied: the read is confirmed at the split's index or behind it.
    let read = cluster.read(cluster.header_of(1), "read");
    cluster.round(1, vec![read]);
    cluster.deliver_until_quiet();
    assert_eq!(answer(&cluster, "read"), None);
    cluster.member(1).holds_apply = false;
    cluster.round(1, Vec::new());
    assert!(matches!(answer(&cluster, "read"), Some(Answer::Error(RequestError::EpochNotMatch { .. }))));
}

/// The machine had not heard of the split when it granted the read; the snapshot that was taken for it had.
#[test]
fn a_grant_is_rechecked_when_its_snapshot_is_taken() {
    let mut cluster = three();
    let read = cluster.read(cluster.header_of(1), "read");
    let mut effects = Vec::new();
    let region = cluster.member(1).region.as_mut().unwrap();
    region.step(read, &mut effects).unwrap();
    region.finish_round(&mut effects).unwrap();
    let beats: Vec<_> = effects.drain(..).filter(|effect| matches!(effect, Effect::Send(_))).collect();
    for beat in beats {
        let Effect::Send(message) = beat else { continue };
        cluster.deliver(message);
    }
    let acks: Vec<_> = cluster.network.drain(..).collect();
    let region = cluster.member(1).region.as_mut().unwrap();
    for ack in acks {
        region.step(Input::Message(Box::new(ack)), &mut effects).unwrap();
    }
    region.finish_round(&mut effects).unwrap();
    let grant = effects.iter().find_map(|effect| match effect {
        Effect::Grant(_, grant) => Some(grant.clone()),
        _ => None,
    });
    let grant = grant.unwrap();
    let member = cluster.member(1);
    assert_eq!(grant.recheck(&*member.state.snapshot()).unwrap(), Ok(()));

    let mut split = (*grant.descriptor).clone();
    split.epoch.version += 1;
    let mut batch = StateBatch::default();
    batch.put(engine::Family::Meta, engine::meta::descriptor_key(split.id), engine::meta::encode_descriptor(&split));
    member.state.write(&batch).unwrap();
    let refused = RequestError::EpochNotMatch { region: split.id, current: vec![split] };
    assert_eq!(grant.recheck(&*member.state.snapshot()).unwrap(), Err(refused));
}

#[test]
fn a_child_campaigns_once_and_only_while_nobody_led_or_voted() {
    let mut cluster = three();
    split(&mut cluster, 1, &[("m", 2)], "split");
    run(&mut cluster, 1, 3);
    run(&mut cluster, 21, 3);
    let terms =
        |cluster: &Cluster| [21, 22, 23].map(|id| cluster.members[&id].region.as_ref().unwrap().status().term.0);
    assert_eq!(terms(&cluster), [6; 3]);
    for id in [21, 22] {
        cluster.round(id, vec![Input::Campaign]);
        cluster.deliver_until_quiet();
    }
    assert_eq!(terms(&cluster), [6; 3], "a later call disturbs nobody");
    assert_eq!(cluster.members[&21].region.as_ref().unwrap().status().role, Role::Leader);
}

#[test]
fn a_change_that_would_lose_the_quorum_is_refused() {
    let mut cluster = three();
    run(&mut cluster, 1, 2);
    cluster.crash(3, 0);
    run(&mut cluster, 1, 25);
    for (name, changes) in [("remove", vec![remove(2)]), ("demote", vec![learn(2)])] {
        change(&mut cluster, 1, changes, name);
        assert!(refusal(&cluster, name).contains("the region would lose its quorum"), "{}", refusal(&cluster, name));
    }
    // What gets rid of the silent member is no risk.
    change(&mut cluster, 1, vec![remove(3)], "silent");
    cluster.deliver_until_quiet();
    assert_eq!(answer(&cluster, "silent"), Some(Answer::Done));
    assert_eq!(members(&cluster, 1), [(1, PeerRole::Voter), (2, PeerRole::Voter)]);
}

#[test]
fn a_leader_with_nobody_to_follow_it_stays() {
    let mut cluster = three();
    run(&mut cluster, 1, 2);
    cluster.crash(3, 0);
    run(&mut cluster, 1, 25);
    cluster.crash(2, 0);
    change(&mut cluster, 1, vec![learn(1), learn(2)], "demote");
    cluster.tick(1);
    // Member 2 was heard of a moment ago; but it is demoted as well, and nobody hears of member 3.
    assert!(refusal(&cluster, "demote").contains("no other voter is fit to lead"));
}

#[test]
fn what_is_true_already_counts_as_done() {
    let mut cluster = cluster(&[1, 2, 3], &[4]);
    let last = cluster.member(1).region.as_ref().unwrap().status().last_index;
    let wanted = vec![vote(2), learn(4), MemberChange::remove(PeerId(9), StoreId(9))];
    for (name, changes) in [("nothing", vec![]), ("as it is", wanted)] {
        change(&mut cluster, 1, changes, name);
        assert_eq!(answer(&cluster, name), Some(Answer::Done));
    }
    assert_eq!(cluster.member(1).region.as_ref().unwrap().status().last_index, last);
}

/// The leader dies between the two halves of a joint change: its successor ends it.
#[test]
fn every_leader_ends_a_joint_configuration_that_it_finds() {
    let mut cluster = cluster(&[1, 2, 3], &[4]);
    change(&mut cluster, 1, vec![vote(4), learn(3)], "members");
    // The joint entry reaches everyone, and its commit nobody.
    let appends: Vec<_> = cluster.network.drain(..).collect();
    for append in appends {
        cluster.deliver(append);
    }
    cluster.crash(1, 0);
    cluster.network.clear();
    assert_eq!(members(&cluster, 2)[2], (3, PeerRole::Voter));
    cluster.elect(2);
    cluster.deliver_until_quiet();
    let expected = [(1, PeerRole::Voter), (2, PeerRole::Voter), (3, PeerRole::Learner), (4, PeerRole::Voter)];
    assert_eq!(members(&cluster, 2), expected);
    cluster.start(1, true);
    run(&mut cluster, 2, 4);
    for id in 1..=4 {
        assert_eq!(members(&cluster, id), expected, "member {id}");
    }
}

/// A demoting voter that became leader hands over before it ends the joint configuration (raftstore-rules §7).
#[test]
fn a_demoting_leader_does_not_end_the_joint_configuration_itself() {
    let mut cluster = cluster(&[1, 2, 3], &[4]);
    change(&mut cluster, 1, vec![vote(4), learn(3)], "members");
    let appends: Vec<_> = cluster.network.drain(..).collect();
    for append in appends {
        cluster.deliver(append);
    }
    cluster.crash(1, 0);
    cluster.network.clear();
    for id in [2, 4] {
        (0..10).for_each(|_| cluster.tick(id));
    }
    while cluster.network.is_empty() {
        cluster.tick(3);
    }
    cluster.deliver_until_quiet();
    run(&mut cluster, 3, 3);
    let leader =
        [2, 4].into_iter().find(|id| cluster.members[id].region.as_ref().unwrap().status().role == Role::Leader);
    let leader = leader.expect("member 3 handed the leadership over");
    run(&mut cluster, leader, 3);
    assert_eq!(members(&cluster, leader)[2], (3, PeerRole::Learner));
    assert!(cluster.committed.values().filter(|entry| entry.data.is_empty() && !entry.context.is_empty()).count() == 1);
}

#[test]
fn roles_change_what_an_election_takes() {
    let mut cluster = three();
    change(&mut cluster, 1, vec![learn(2), learn(3)], "members");
    cluster.deliver_until_quiet();
    assert_eq!(answer(&cluster, "members"), Some(Answer::Done));
    cluster.crash(2, 0);
    cluster.crash(3, 0);
    // The only voter left needs nobody.
    let write = cluster.proposal(cluster.header_of(1), "b");
    cluster.round(1, vec![write]);
    assert_eq!(answer(&cluster, "b"), Some(Answer::Written));
    cluster.start(2, true);
    run(&mut cluster, 1, 4);
    (0..80).for_each(|_| cluster.tick(2));
    assert_eq!(cluster.members[&2].region.as_ref().unwrap().status().role, Role::Follower, "a learner campaigned");
}

/// A member's data is damaged beside its log, then all are compared.
fn compare_with_damage(member: u64) -> Cluster {
    let mut cluster = three();
    let write = cluster.proposal(cluster.header_of(1), "b");
    cluster.round(1, vec![write]);
    run(&mut cluster, 1, 3);
    let mut damage = StateBatch::default();
    damage.put(ColumnFamily::Default, "b", "w");
    let state = Arc::clone(&cluster.member(member).state);
    state.write(&damage).unwrap();
    cluster.round(1, vec![Input::CheckConsistency]);
    run(&mut cluster, 1, 4);
    cluster
}

fn status(cluster: &Cluster, member: u64) -> RegionStatus {
    cluster.members[&member].region.as_ref().unwrap().status()
}

#[test]
fn a_replica_that_differs_is_found_and_does_not_lead() {
    let mut cluster = compare_with_damage(3);
    assert_eq!(cluster.inconsistent, [3]);
    assert!(status(&cluster, 3).quarantined && !status(&cluster, 1).quarantined && !status(&cluster, 2).quarantined);
    (0..80).for_each(|_| cluster.tick(3));
    assert_eq!(status(&cluster, 3).role, Role::Follower);
    let transfer = cluster.transfer(3, "hand over");
    cluster.round(1, vec![transfer]);
    (0..30).for_each(|_| run(&mut cluster, 1, 1));
    assert_eq!((status(&cluster, 1).role, status(&cluster, 3).role), (Role::Leader, Role::Follower));
    // Its log is as good as the others': it goes on acknowledging.
    cluster.crash(2, 0);
    let write = cluster.proposal(cluster.header_of(1), "c");
    cluster.round(1, vec![write]);
    cluster.deliver_until_quiet();
    assert_eq!(answer(&cluster, "c"), Some(Answer::Written));
}

/// A log may hold any number of questions, and a peer that replays meets them all at once: each answer takes a moment of the
/// state engine, and as long as reading the region.
#[test]
fn a_region_is_hashed_once_at_a_time() {
    let mut cluster = three();
    let asks = |region: &mut region::Region, inputs| {
        let mut effects = Vec::new();
        for input in inputs {
            region.step(input, &mut effects).unwrap();
        }
        let asked = effects.into_iter().filter_map(|effect| match effect {
            Effect::Hash(generation, task) => Some((generation, task.index)),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    let (descriptor, data) = (cluster.region_of(3), cluster.member(3).state.snapshot());
    let member = cluster.member(3);
    let (state, generation) = (member.apply_state(), types::Generation(member.generation));
    let region = member.region.as_mut().unwrap();
    let question = |index: u64| {
        let task = engine::HashTask { descriptor: descriptor.clone(), index: index.into(), data: data.clone() };
        let changes = vec![engine::Change { index: index.into(), kind: engine::ChangeKind::HashAsked(task) }];
        Input::Applied { generation, apply_state: state, changes }
    };
    let first = asks(region, (1..=3).map(question).collect());
    assert_eq!(first, [(generation, 1.into())]);
    let hashed = |index: u64| Input::HashComputed { generation, index: index.into(), hash: 7 };
    assert_eq!(asks(region, vec![hashed(1)]), [(generation, 3.into())], "the newest of those that wait");
    assert_eq!(asks(region, vec![hashed(3)]), []);
    assert_eq!(asks(region, vec![question(4)]), [(generation, 4.into())]);
}

#[test]
fn a_leader_that_differs_from_most_others_hands_over() {
    let mut cluster = compare_with_damage(1);
    assert!(status(&cluster, 1).quarantined && !status(&cluster, 2).quarantined && !status(&cluster, 3).quarantined);
    assert!(cluster.inconsistent.contains(&1), "{:?}", cluster.inconsistent);
    let leads = |cluster: &Cluster, member| status(cluster, member).role == Role::Leader;
    let next = if leads(&cluster, 2) { 2 } else { 3 };
    assert!(leads(&cluster, next) && !leads(&cluster, 1), "at once, without a timeout");
    let write = cluster.proposal(cluster.header_of(next), "c");
    cluster.round(next, vec![write]);
    cluster.deliver_until_quiet();
    assert_eq!(answer(&cluster, "c"), Some(Answer::Written));
}

/// Only what changes the range makes writes wait: a change of members leaves their epoch valid.
#[test]
fn writes_go_on_while_members_change() {
    let mut cluster = three();
    let header = cluster.header_of(1);
    change(&mut cluster, 1, vec![remove(3)], "members");
    let write = cluster.proposal(header, "b");
    cluster.round(1, vec![write]);
    assert_eq!((answer(&cluster, "members"), answer(&cluster, "b")), (None, None));
    cluster.deliver_until_quiet();
    assert_eq!((answer(&cluster, "members"), answer(&cluster, "b")), (Some(Answer::Done), Some(Answer::Written)));
    // And behind it, under the conf_ver from before.
    let write = cluster.proposal(header, "c");
    cluster.round(1, vec![write]);
    cluster.deliver_until_quiet();
    assert_eq!(answer(&cluster, "c"), Some(Answer::Written));
}
