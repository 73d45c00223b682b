//! Peers that are gone, and machines that have come to their end: what must not come back, and what must not be done twice.
//! Most of this was a bug elsewhere; the numbers are those of raftstore-rules.
#![allow(clippy::unwrap_used)]

mod support;

use engine::ApplyState;
use raft::eraftpb::{Message, MessageType, Snapshot};
use region::{Effect, Input, Note, Region, RegionConfig, RegionMessage};
use support::cluster::{Answer, Cluster, REGION};
use support::member::Member;
use types::{Generation, LogIndex, MemberChange, Peer, PeerId, ReadyNumber, RequestError, StoreId};

fn three() -> Cluster {
    let mut cluster = Cluster::new(RegionConfig::default(), &[1, 2, 3], &[]);
    cluster.elect(1);
    cluster.trace.clear();
    cluster
}

fn voter(id: u64) -> Peer {
    Peer::voter(PeerId(id), StoreId(id))
}

/// What member 1, the leader, says to member 3.
fn from_leader(cluster: &Cluster, kind: MessageType, change: impl FnOnce(&mut Message)) -> RegionMessage {
    let mut raft = Message { from: 1, to: 3, term: 6, ..Message::default() };
    raft.set_msg_type(kind);
    change(&mut raft);
    let epoch = cluster.region_of(1).epoch;
    RegionMessage { region: REGION, from: voter(1), to: voter(3), epoch, raft, note: None, range: None }
}

/// The leader of newer members, of which member 3 is none, tells it to go.
fn gc(cluster: &Cluster) -> RegionMessage {
    let mut message = from_leader(cluster, MessageType::MsgHup, |raft| *raft = Message::default());
    message.epoch.conf_ver += 1;
    message.note = Some(Note::Gc);
    message
}

fn snapshot(cluster: &Cluster, index: u64) -> RegionMessage {
    let region = cluster.region_of(1);
    from_leader(cluster, MessageType::MsgSnapshot, |raft| {
        let mut snapshot = Snapshot { data: engine::meta::encode_descriptor(&region), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (index, 6);
        metadata.mut_conf_state().set_voters(vec![1, 2, 3]);
        raft.set_snapshot(snapshot);
    })
}

fn message(message: RegionMessage) -> Input {
    Input::Message(Box::new(message))
}

/// One round, and what the machine wants.
fn step(region: &mut Region, inputs: Vec<Input>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for input in inputs {
        region.step(input, &mut effects).unwrap();
    }
    region.finish_round(&mut effects).unwrap();
    effects
}

/// Everything that can happen to a peer beside requests and snapshots.
fn everything(cluster: &Cluster, generation: Generation) -> Vec<Input> {
    use MessageType::{MsgAppend, MsgHeartbeat, MsgRequestPreVote, MsgRequestVote, MsgTimeoutNow};
    let mut inputs: Vec<Input> = [MsgAppend, MsgHeartbeat, MsgRequestPreVote, MsgRequestVote, MsgTimeoutNow]
        .map(|kind| message(from_leader(cluster, kind, |raft| (raft.term, raft.index, raft.log_term) = (7, 6, 6))))
        .into();
    inputs.push(message(gc(cluster)));
    let who = RegionMessage { note: Some(Note::WhoAreMembers), ..gc(cluster) };
    inputs.push(message(who));
    let to = PeerId(2);
    inputs.extend([
        Input::Campaign,
        Input::CheckConsistency,
        Input::Unreachable { peer: to },
        Input::Members { epoch: cluster.region_of(1).epoch, members: vec![voter(4)] },
        Input::Persisted { generation, ready: ReadyNumber(99) },
        Input::Applied { generation, apply_state: ApplyState::BORN, changes: Vec::new() },
        Input::HashComputed { generation, index: LogIndex(6), hash: 1 },
        Input::SnapshotBuilt { generation, to, built: None },
        Input::SnapshotSent { generation, to, delivered: true },
    ]);
    inputs.extend((0..2000).map(|_| Input::Tick));
    inputs
}

/// A discarded peer that goes on handling messages answers for a log that is replaced, takes a snapshot twice, or destroys
/// what its successor owns (raftstore-rules §5: #17469, #18309, #13311; a split that comes too late: #12368).
#[test]
fn behind_its_end_a_machine_wants_nothing() {
    for ends_with in [gc, |cluster: &Cluster| snapshot(cluster, 20)] {
        let mut cluster = three();
        let generation = Generation(cluster.member(3).generation);
        let mut region = cluster.member(3).region.take().unwrap();
        let end = step(&mut region, vec![message(ends_with(&cluster))]);
        assert!(matches!(end.last(), Some(Effect::Destroy(_) | Effect::ApplySnapshot(_))), "{end:?}");
        assert!(region.has_ended());

        let wanted = step(&mut region, everything(&cluster, generation));
        assert!(wanted.is_empty(), "{wanted:?}");
        // Its data lies somewhere, and must not stay there.
        let wanted = step(&mut region, vec![message(snapshot(&cluster, 30))]);
        assert!(matches!(wanted[..], [Effect::DeclineSnapshot(declined)] if declined.index == LogIndex(30)));

        let header = cluster.header();
        let requests = vec![
            cluster.proposal(header, "b"),
            cluster.read(header, "r"),
            cluster.transfer(2, "t"),
            cluster.split(&cluster.region_of(1), &[("m", 2)], true, "s"),
            cluster.change_members(&cluster.region_of(1), Vec::new(), "c"),
        ];
        for effect in step(&mut region, requests) {
            match effect {
                Effect::Refuse(responder, error) => responder.respond(Err(error)),
                Effect::RefuseRead(responder, error) => responder.respond(Err(error)),
                Effect::Transferred(responder, result) => responder.respond(result),
                Effect::SplitEnded(responder, result) => responder.respond(result),
                Effect::MembersEnded(responder, result) => responder.respond(result),
                other => panic!("a machine that has ended wants {other:?}"),
            }
        }
        let answers = cluster.answers.lock().unwrap();
        let names: Vec<&str> = answers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "r", "t", "s", "c"]);
        let elsewhere = |answer: &Answer| matches!(answer, Answer::Error(RequestError::NotLeader { leader: None, .. }));
        assert!(answers.iter().all(|(_, answer)| elsewhere(answer)), "{answers:?}");
    }
}

/// A store that forgets who was here lets a stale message make an older peer again, which votes a second time
/// (raftstore-rules §2: #10533).
#[test]
fn a_peer_that_knew_nothing_but_its_name_leaves_its_number() {
    let mut cluster = three();
    let change = cluster.change_members(&cluster.region_of(1), vec![MemberChange::learn(PeerId(4), StoreId(4))], "add");
    cluster.round(1, vec![change]);
    cluster.member(1).holds_build = true;
    cluster.deliver_until_quiet();
    assert!(cluster.members.get(&4).is_some_and(|member| !member.is_initialised()));

    let remove = MemberChange::remove(PeerId(4), StoreId(4));
    let change = cluster.change_members(&cluster.region_of(1), vec![remove], "remove");
    cluster.round(1, vec![change]);
    cluster.deliver_until_quiet();
    cluster.pass(1, 4);
    assert!(!cluster.members.contains_key(&4), "peer 4 was not told to go");

    // Votes that were asked for long ago, of this peer and of an earlier one of the store.
    for old in [4, 3] {
        let mut late = from_leader(&cluster, MessageType::MsgRequestVote, |raft| (raft.to, raft.term) = (old, 9));
        late.to = Peer::voter(PeerId(old), StoreId(4));
        cluster.deliver(late);
        assert!(!cluster.members.contains_key(&4) && cluster.network.is_empty(), "peer {old} came back");
    }
}

/// The word was meant for another peer of the store: the one before, whose removal took its time, or a later one.
/// Obeying it removes a member that is alive (raftstore-rules §5: #13311).
#[test]
fn a_word_to_another_peer_of_the_store_destroys_nobody() {
    for other in [2, 7] {
        let mut cluster = three();
        let mut word = gc(&cluster);
        word.to.id = PeerId(other);
        cluster.round(3, vec![message(word)]);
        assert!(!cluster.member(3).region.as_ref().unwrap().has_ended(), "obeyed what was said to {other}");
        cluster.round(3, vec![message(gc(&cluster))]);
        assert!(!cluster.members.contains_key(&3));
    }
}

/// It has applied its own removal, and the word that it must go got lost: it does not wait as long as one that may only be
/// slow.
#[test]
fn a_peer_that_knows_of_its_removal_asks_soon() {
    let mut cluster = three();
    cluster.member(1).holds_apply = true;
    let remove =
        cluster.change_members(&cluster.region_of(1), vec![MemberChange::remove(PeerId(3), StoreId(3))], "remove");
    cluster.round(1, vec![remove]);
    cluster.deliver_until_quiet();
    cluster.pass(1, 2);
    cluster.cut.extend([(1, 3), (3, 1), (2, 3), (3, 2)]);
    cluster.member(1).holds_apply = false;
    cluster.round(1, Vec::new());
    cluster.pass(1, 4);
    assert!(cluster.region_of(3).peer(PeerId(3)).is_none() && cluster.members.contains_key(&3));

    cluster.cut.clear();
    cluster.pass(3, 4 * u64::from(RegionConfig::default().election_ticks));
    assert!(!cluster.members.contains_key(&3));
}

/// The store has, or had, a later peer of the child: the split leaves it alone, and neither range nor routing of this store
/// hears of the child (raftstore-rules §5: #9495).
#[test]
fn a_split_begins_no_peer_that_its_store_must_not_have() {
    let mut cluster = three();
    cluster.next_peers.raise(types::RegionId(2), StoreId(3), PeerId(24));
    let split = cluster.split(&cluster.region_of(1), &[("m", 2)], true, "split");
    cluster.round(1, vec![split]);
    cluster.pass(1, 4);
    let begun: Vec<u64> = cluster.members.keys().copied().filter(|id| *id > 3).collect();
    assert_eq!(begun, [21, 22]);
    for id in 1..=3 {
        assert_eq!(cluster.region_of(id).range, types::KeyRange::new("m", "z"), "member {id}");
    }
    assert_eq!(cluster.answers.lock().unwrap().last().unwrap().1, Answer::Split(vec![2, 1]));
    assert!(cluster.members.values().all(Member::is_initialised));
}
