//! A peer whose state is missing (D10): what it must not do, how it comes back, and what would happen without its fence.
#![allow(clippy::unwrap_used)]

mod support;

use engine::HardState;
use raft::eraftpb::{Message, MessageType};
use region::{Effect, Input, MessageType as Kind, Note, RegionConfig, RegionMessage, RegionStatus, Role};
use support::cluster::{Answer, Cluster, REGION};
use types::{LogIndex, MemberChange, Peer, PeerId, RequestError, StoreId};

/// A cluster in which logs are compacted soon.
fn cluster() -> Cluster {
    let config = RegionConfig { compact_entries: 2, max_log_bytes: 250, ..RegionConfig::default() };
    let mut cluster = Cluster::new(config, &[1, 2, 3], &[]);
    cluster.elect(1);
    cluster
}

fn isolate(cluster: &mut Cluster, id: u64) {
    let others: Vec<u64> = (1..=4).filter(|other| *other != id).collect();
    cluster.cut.extend(others.into_iter().flat_map(|other| [(id, other), (other, id)]));
}

fn write(cluster: &mut Cluster, leader: u64, key: &str) {
    let write = cluster.proposal(cluster.header_of(leader), key);
    cluster.round(leader, vec![write]);
    cluster.pass(leader, 2);
}

/// Member 3 needs a snapshot, since it was away; it gets one, dies in the middle of it, and finds it damaged.
fn lose_snapshot(cluster: &mut Cluster) {
    isolate(cluster, 3);
    for key in ["a", "b", "c"] {
        write(cluster, 1, key);
    }
    cluster.cut.clear();
    cluster.member(3).loses_files = true;
    while !status(cluster, 3).fenced {
        cluster.pass(1, 1);
    }
    cluster.member(3).loses_files = false;
    cluster.trace.clear();
}

/// Member 3 is fenced, and nobody builds a snapshot for it yet.
fn fenced() -> Cluster {
    let mut cluster = cluster();
    lose_snapshot(&mut cluster);
    (1..=2).for_each(|id| cluster.member(id).holds_build = true);
    cluster
}

fn status(cluster: &Cluster, id: u64) -> RegionStatus {
    cluster.members[&id].region.as_ref().unwrap().status()
}

fn answer(cluster: &Cluster, name: &str) -> Option<Answer> {
    let answers = cluster.answers.lock().unwrap();
    answers.iter().find(|(other, _)| other == name).map(|(_, answer)| answer.clone())
}

/// What the leader says to member 3.
fn from_leader(cluster: &Cluster, kind: MessageType, change: impl FnOnce(&mut Message)) -> Input {
    let voter = |id| Peer::voter(PeerId(id), StoreId(id));
    let mut raft = Message { from: 1, to: 3, term: 6, ..Message::default() };
    raft.set_msg_type(kind);
    change(&mut raft);
    let epoch = cluster.region_of(1).epoch;
    let message = RegionMessage { region: REGION, from: voter(1), to: voter(3), epoch, raft, note: None, range: None };
    Input::Message(Box::new(message))
}

/// What member 3 sends that is no question for its members, as it leaves.
fn sent(cluster: &mut Cluster) -> Vec<Message> {
    let sent = cluster.network.drain(..).filter(|message| message.from.id.0 == 3 && message.note.is_none());
    sent.map(|message| message.raft).collect()
}

#[test]
fn it_takes_no_part_in_elections() {
    let mut cluster = fenced();
    cluster.pass(1, 1);
    let now = from_leader(&cluster, MessageType::MsgTimeoutNow, |_| ());
    cluster.round(3, vec![now, Input::Campaign]);
    (0..100).for_each(|_| cluster.tick(3));
    assert_eq!((sent(&mut cluster), status(&cluster, 3).role), (vec![], Role::Follower));

    // Its word would be enough: 2 has all that is committed, and needs one vote besides its own.
    cluster.crash(1, 0);
    for _ in 0..100 {
        cluster.tick(2);
        cluster.deliver_until_quiet();
    }
    assert_eq!(status(&cluster, 2).role, Role::PreCandidate);
    let vote =
        from_leader(&cluster, MessageType::MsgRequestVote, |raft| (raft.term, raft.index, raft.log_term) = (9, 99, 9));
    cluster.round(3, vec![vote]);
    assert_eq!((sent(&mut cluster), status(&cluster, 3).term.0), (vec![], 6));
}

#[test]
fn it_acknowledges_neither_entries_nor_leaders() {
    let mut cluster = fenced();
    let lost = status(&cluster, 3).last_index;
    cluster.crash(2, 0);
    let write = cluster.proposal(cluster.header_of(1), "d");
    let read = cluster.read(cluster.header_of(1), "r");
    cluster.round(1, vec![write, read]);
    cluster.pass(1, 8);
    assert_eq!((answer(&cluster, "d"), answer(&cluster, "r")), (None, None));
    // It keeps the leader in office all the same: nobody else could bring it back.
    assert_eq!(status(&cluster, 1).role, Role::Leader);

    let beat = from_leader(&cluster, MessageType::MsgHeartbeat, |_| ());
    let next = status(&cluster, 1).last_index.0 + 1;
    let append = from_leader(&cluster, MessageType::MsgAppend, |raft| {
        (raft.index, raft.log_term, raft.commit) = (lost.0, 6, lost.0);
        raft.set_entries(vec![raft::eraftpb::Entry { index: lost.0 + 1, term: 6, ..Default::default() }].into());
    });
    let beyond = from_leader(&cluster, MessageType::MsgAppend, |raft| (raft.index, raft.log_term) = (next, 6));
    for input in [beat, append, beyond] {
        cluster.round(3, vec![input]);
        let sent = sent(&mut cluster);
        let [request] = &sent[..] else { panic!("{sent:?}") };
        assert!(request.reject && LogIndex(request.request_snapshot) == lost, "{request:?}");
    }
    assert_eq!(status(&cluster, 3).last_index, lost, "it took entries");

    // With its new snapshot it is a member again, and what waited for it happens.
    cluster.member(1).holds_build = false;
    cluster.round(1, Vec::new());
    cluster.pass(1, 8);
    assert_eq!(answer(&cluster, "d"), Some(Answer::Written));
    assert!(matches!(answer(&cluster, "r"), Some(Answer::Read { .. })));
    assert!(!status(&cluster, 3).fenced && status(&cluster, 3).last_index == status(&cluster, 1).last_index);
}

/// It would be the leader's word of a client that has asked here before.
#[test]
fn it_serves_nobody() {
    let mut cluster = fenced();
    let header = cluster.header_of(1);
    let inputs = vec![
        cluster.proposal(header, "write"),
        cluster.read(header, "read"),
        cluster.transfer(2, "transfer"),
        cluster.split(&cluster.region_of(1), &[("m", 2)], true, "split"),
    ];
    cluster.round(3, inputs);
    for name in ["write", "read", "transfer", "split"] {
        let refused = matches!(answer(&cluster, name), Some(Answer::Error(RequestError::NotLeader { .. })));
        assert!(refused, "{name}: {:?}", answer(&cluster, name));
    }
}

#[test]
fn it_takes_no_snapshot_that_is_older_than_what_it_lost() {
    let mut cluster = fenced();
    let (lost, region) = (status(&cluster, 3).last_index.0, cluster.region_of(1));
    let snapshot = |index: u64| {
        from_leader(&cluster, MessageType::MsgSnapshot, |raft| {
            let snapshot = raft.mut_snapshot();
            snapshot.data = engine::meta::encode_descriptor(&region);
            let metadata = snapshot.mut_metadata();
            (metadata.index, metadata.term) = (index, 6);
            metadata.mut_conf_state().set_voters(vec![1, 2, 3]);
        })
    };
    let (older, same) = (snapshot(lost - 1), snapshot(lost));
    cluster.round(3, vec![older]);
    assert!(cluster.trace.iter().any(|line| line.contains("3 does not want the snapshot")), "{:?}", cluster.trace);
    assert_eq!(sent(&mut cluster), [], "raft would acknowledge what is lost");
    let mut effects = Vec::new();
    let peer = cluster.member(3).region.as_mut().unwrap();
    peer.step(same, &mut effects).unwrap();
    let taken = effects.iter().any(|effect| matches!(effect, Effect::ApplySnapshot(_)));
    assert!(peer.has_ended() && taken, "{effects:?}");
}

/// A leader that has not applied as much may build one that is of no use.
#[test]
fn its_leader_sends_no_snapshot_that_is_older_than_what_it_lost() {
    let mut cluster = fenced();
    cluster.pass(1, 2);
    let order = *cluster.member(1).building.front().unwrap();
    assert_eq!(order.at_least, status(&cluster, 3).last_index);
    let mut old = cluster.member(1).snapshot().built;
    old.index = LogIndex(order.at_least.0 - 1);
    assert!(old.index >= status(&cluster, 1).apply_state.truncated, "the log would do");
    cluster.member(1).building.clear();
    let built = Input::SnapshotBuilt { generation: order.generation, to: PeerId(3), built: Some(old) };
    cluster.round(1, vec![built]);
    assert!(cluster.network.iter().all(|message| message.raft.get_msg_type() != Kind::MsgSnapshot));
    cluster.pass(1, 2);
    assert_eq!(cluster.member(1).building.len(), 1, "another is built");
}

#[test]
fn a_leader_that_does_not_have_it_ends_it() {
    let mut cluster = fenced();
    let change = MemberChange::remove(PeerId(3), StoreId(3));
    let input = cluster.change_members(&cluster.region_of(1), vec![change], "remove");
    cluster.round(1, vec![input]);
    cluster.pass(1, 4);
    assert_eq!(answer(&cluster, "remove"), Some(Answer::Done));
    assert!(!cluster.members.contains_key(&3));
}

#[test]
fn it_asks_whether_it_is_still_a_member_like_any_other() {
    let mut cluster = fenced();
    isolate(&mut cluster, 3);
    (0..RegionConfig::default().stale_ticks).for_each(|_| cluster.tick(3));
    cluster.cut.clear();
    (0..RegionConfig::default().stale_ticks).for_each(|_| cluster.tick(3));
    let asked = |message: &&RegionMessage| message.note == Some(Note::WhoAreMembers);
    assert_eq!(cluster.network.iter().filter(asked).count(), 2);
}

/// The change would leave the region with 1 and 3, and nothing could be committed, and nobody elected, without member 3.
#[test]
fn no_quorum_counts_on_it() {
    let mut cluster = fenced();
    cluster.pass(1, 2);
    let change = MemberChange::remove(PeerId(2), StoreId(2));
    let input = cluster.change_members(&cluster.region_of(1), vec![change], "remove");
    cluster.round(1, vec![input]);
    let Some(Answer::Error(error)) = answer(&cluster, "remove") else { panic!("not refused") };
    assert!(error.to_string().contains("would lose its quorum"), "{error}");
}

#[test]
fn it_stays_fenced_over_restarts_and_further_damage() {
    let mut cluster = cluster();
    lose_snapshot(&mut cluster);
    for _ in 0..3 {
        cluster.crash(3, 0);
        cluster.start(3, true);
        assert!(status(&cluster, 3).fenced);
        // The next one is damaged as well.
        cluster.member(3).loses_files = true;
        let before = cluster.fenced;
        write(&mut cluster, 1, &format!("k{before}"));
        cluster.pass(1, 6);
        assert!(cluster.fenced > before && status(&cluster, 3).fenced);
    }
    cluster.member(3).loses_files = false;
    cluster.pass(1, 8);
    assert_eq!(status(&cluster, 3).last_index, status(&cluster, 1).last_index);
}

/// A request that was on its way when the snapshot arrived asks for a second one. Any other answer withdraws it.
#[test]
fn a_late_request_is_forgotten() {
    let mut cluster = fenced();
    cluster.tick(1);
    cluster.tick(1);
    cluster.network.retain(|message| message.to.id.0 == 3);
    cluster.deliver_until_quiet();
    cluster.tick(1);
    cluster.tick(1);
    let beat = cluster.network.drain(..).find(|message| message.to.id.0 == 3).unwrap();
    cluster.deliver(beat);
    let late = cluster.network.pop_back().unwrap();
    assert!(late.raft.request_snapshot > 0);
    cluster.member(1).holds_build = false;
    cluster.round(1, Vec::new());
    cluster.deliver_until_quiet();
    assert!(!status(&cluster, 3).fenced);

    cluster.member(1).holds_build = true;
    cluster.deliver(late);
    cluster.pass(1, 4);
    assert_eq!(status(&cluster, 3).last_index, status(&cluster, 1).last_index);
    let matched = status(&cluster, 1).members.iter().find(|member| member.peer.id == PeerId(3)).unwrap().matched;
    assert_eq!(matched, status(&cluster, 1).last_index, "member 3 waits for a snapshot that it does not need");
}

/// Member 2 was removed while it was away, by entries that member 3 acknowledged. Then member 3 loses its log to a snapshot, and
/// the snapshot as well. Gives whether member 2 becomes leader of the region as it was, without those entries.
fn removed_member_wins(forgets: bool) -> bool {
    let mut cluster = cluster();
    isolate(&mut cluster, 2);
    for (name, change) in
        [("add", MemberChange::vote(PeerId(4), StoreId(4))), ("remove", MemberChange::remove(PeerId(2), StoreId(2)))]
    {
        let input = cluster.change_members(&cluster.region_of(1), vec![change], name);
        cluster.round(1, vec![input]);
        cluster.pass(1, 8);
        assert_eq!(answer(&cluster, name), Some(Answer::Done));
    }
    write(&mut cluster, 1, "acknowledged by 3");
    let acknowledged = status(&cluster, 3).last_index;
    // Members 1 and 4 go on without member 3, whose log does not reach theirs any more.
    lose_snapshot_while_away(&mut cluster);
    assert!(status(&cluster, 3).last_index > acknowledged);

    cluster.cut.clear();
    (1..=4).filter(|id| ![2, 3].contains(id)).for_each(|id| isolate(&mut cluster, id));
    if forgets {
        let hard_state = HardState { commit: LogIndex(0), ..cluster.members[&3].hard_state() };
        let member = cluster.member(3);
        member.marker = None;
        member.write_hard_state(hard_state);
        cluster.crash(3, 0);
        cluster.start(3, true);
    }
    (0..20).for_each(|_| cluster.tick(3));
    for _ in 0..60 {
        cluster.tick(2);
        cluster.deliver_until_quiet();
    }
    let leads = status(&cluster, 2).role == Role::Leader;
    assert!(!leads || status(&cluster, 2).last_index < acknowledged);
    leads
}

fn lose_snapshot_while_away(cluster: &mut Cluster) {
    isolate(cluster, 3);
    for key in ["d", "e", "f", "g"] {
        write(cluster, 1, key);
    }
    for other in [1, 4] {
        cluster.cut.remove(&(3, other));
        cluster.cut.remove(&(other, 3));
    }
    cluster.member(3).loses_files = true;
    while !status(cluster, 3).fenced {
        cluster.pass(1, 1);
    }
}

/// Why there is a fence: a peer that forgets what it had would elect a member that was removed, which lacks what it
/// acknowledged, and would believe itself the leader of a majority (D9, D10).
#[test]
fn a_vote_without_the_fence_would_lose_an_entry() {
    assert!(removed_member_wins(true), "this test shows nothing any more");
    assert!(!removed_member_wins(false));
}
