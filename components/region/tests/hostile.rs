//! Messages that are well formed and wrong: each would make the raft crate panic, or believe what no correct member
//! says. They are dropped with a reason, and nothing else happens.
#![allow(clippy::unwrap_used)]

mod support;

use raft::eraftpb::{Entry, Message, MessageType};
use region::{DropReason, Input, RegionConfig, RegionMessage};
use support::cluster::{Cluster, REGION};
use types::{KeyRange, Peer, PeerId, PeerRole, RegionId, StoreId};

const LEADER: u64 = 1;
const FOLLOWER: u64 = 2;
const HUGE: u64 = 1 << 62;

/// Term 6, led by member 1; entry 6 is its empty one, entry 7 is written; all is committed.
fn settled() -> Cluster {
    let mut cluster = Cluster::new(RegionConfig::default(), &[1, 2, 3], &[]);
    cluster.elect(LEADER);
    let input = cluster.proposal(cluster.header(), "a");
    cluster.round(LEADER, vec![input]);
    cluster.deliver_until_quiet();
    (0..2).for_each(|_| cluster.tick(LEADER));
    cluster.deliver_until_quiet();
    cluster.trace.clear();
    cluster
}

fn message(from: u64, to: u64, kind: MessageType, change: impl FnOnce(&mut Message)) -> RegionMessage {
    let peer = |id| Peer::voter(PeerId(id), StoreId(id));
    let mut raft = Message { from, to, term: 6, ..Message::default() };
    raft.set_msg_type(kind);
    change(&mut raft);
    RegionMessage {
        region: REGION,
        from: peer(from),
        to: peer(to),
        epoch: types::RegionEpoch::INITIAL,
        raft,
        note: None,
        range: None,
    }
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, ..Entry::default() }
}

fn assert_dropped(cluster: &mut Cluster, what: &str, message: RegionMessage, reason: DropReason) {
    let id = message.to.id.0.clamp(LEADER, 3);
    let counted = |cluster: &Cluster| cluster.members[&id].region.as_ref().unwrap().dropped_messages().count(reason);
    let before = (counted(cluster), cluster.member(id).region.as_ref().unwrap().status());
    cluster.round(id, vec![Input::Message(Box::new(message))]);
    assert_eq!(counted(cluster), before.0 + 1, "{what} was not dropped as {}", reason.label());
    assert_eq!(cluster.member(id).region.as_ref().unwrap().status(), before.1, "{what} changed something");
    assert!(cluster.trace.is_empty(), "{what} caused {:?}", cluster.trace);
}

#[test]
fn wrong_addresses() {
    let mut cluster = settled();
    let beat = || message(LEADER, FOLLOWER, MessageType::MsgHeartbeat, |_| ());
    let drop = |cluster: &mut Cluster, what: &str, change: fn(&mut RegionMessage), reason| {
        let mut message = beat();
        change(&mut message);
        assert_dropped(cluster, what, message, reason);
    };
    drop(&mut cluster, "another region", |m| m.region = RegionId(9), DropReason::OtherPeer);
    drop(&mut cluster, "an older peer of the store", |m| m.to.id = PeerId(77), DropReason::OtherPeer);
    drop(&mut cluster, "another receiver inside", |m| m.raft.to = 3, DropReason::OtherPeer);
    drop(&mut cluster, "another sender inside", |m| m.raft.from = 3, DropReason::UnknownSender);
    let stranger = message(9, FOLLOWER, MessageType::MsgRequestVote, |m| m.term = 99);
    assert_dropped(&mut cluster, "a stranger's campaign", stranger, DropReason::UnknownSender);
    let itself = message(FOLLOWER, FOLLOWER, MessageType::MsgHeartbeat, |_| ());
    assert_dropped(&mut cluster, "a message from itself", itself, DropReason::UnknownSender);
}

#[test]
fn types_that_members_never_send() {
    let mut cluster = settled();
    for id in [LEADER, FOLLOWER] {
        for kind in [
            MessageType::MsgHup,
            MessageType::MsgBeat,
            MessageType::MsgPropose,
            MessageType::MsgUnreachable,
            MessageType::MsgSnapStatus,
            MessageType::MsgCheckQuorum,
            MessageType::MsgTransferLeader,
            MessageType::MsgReadIndex,
            MessageType::MsgReadIndexResp,
        ] {
            let message = message(3, id, kind, |m| m.set_entries(vec![entry(8, 6)].into()));
            assert_dropped(&mut cluster, &format!("{kind:?} to {id}"), message, DropReason::UnexpectedType);
        }
    }
    let wants_snapshot = message(3, LEADER, MessageType::MsgAppendResponse, |m| m.request_snapshot = 1);
    assert_dropped(
        &mut cluster,
        "an acknowledgement that asks for a snapshot",
        wants_snapshot,
        DropReason::UnexpectedType,
    );
}

/// What is wrong, the message, and the reason for which it must be dropped.
type Case = (&'static str, MessageType, fn(&mut Message), DropReason);

#[test]
fn messages_to_a_follower() {
    use DropReason::*;
    use MessageType::*;
    let cases: &[Case] = &[
        ("a heartbeat with term 0", MsgHeartbeat, |m| m.term = 0, BadTerm),
        ("a heartbeat with a term beyond reason", MsgHeartbeat, |m| m.term = HUGE, BadTerm),
        ("a commit beyond reason", MsgHeartbeat, |m| m.commit = u64::MAX, BadIndex),
        ("a commit beyond the log", MsgHeartbeat, |m| m.commit = 8, BeyondLog),
        ("a commit beyond the log in a later term", MsgHeartbeat, |m| (m.term, m.commit) = (7, 8), BeyondLog),
        ("an index beyond reason", MsgAppend, |m| (m.index, m.log_term) = (u64::MAX, 6), BadIndex),
        ("an entry behind a gap, after term 0", MsgAppend, |m| append(m, 20, 0, &[(21, 6)]), BadTerm),
        ("an append after an entry of a later term", MsgAppend, |m| append(m, 7, 8, &[]), BadTerm),
        ("entries with a gap", MsgAppend, |m| append(m, 7, 6, &[(9, 6)]), BrokenEntries),
        ("entries that go back", MsgAppend, |m| append(m, 7, 6, &[(6, 5)]), BrokenEntries),
        (
            "entries below the commit index, among others",
            MsgAppend,
            |m| append(m, 7, 6, &[(8, 6), (7, 6)]),
            BrokenEntries,
        ),
        ("entries with falling terms", MsgAppend, |m| append(m, 7, 6, &[(8, 5)]), BrokenEntries),
        ("entries of a later term than the leader's", MsgAppend, |m| append(m, 7, 6, &[(8, 7)]), BrokenEntries),
        ("an append that conflicts with the commit", MsgAppend, |m| append(m, 7, 5, &[(8, 6)]), ConflictsWithCommitted),
        ("a vote for a log that is later than its term", MsgRequestVote, |m| (m.term, m.log_term) = (7, 8), BadTerm),
    ];
    let mut cluster = settled();
    for (what, kind, change, reason) in cases {
        assert_dropped(&mut cluster, what, message(LEADER, FOLLOWER, *kind, change), *reason);
    }
    for kind in [MsgAppend, MsgHeartbeat] {
        let other = message(3, FOLLOWER, kind, |m| append(m, 7, 6, &[]));
        assert_dropped(&mut cluster, "a second leader of the term", other, SecondLeader);
    }
    let usurper = message(3, FOLLOWER, MsgTimeoutNow, |_| ());
    assert_dropped(&mut cluster, "a TimeoutNow from a follower", usurper, SecondLeader);
    let later = message(LEADER, FOLLOWER, MsgTimeoutNow, |m| m.term = 7);
    assert_dropped(&mut cluster, "a TimeoutNow of another term", later, SecondLeader);
}

#[test]
fn messages_to_the_leader() {
    use DropReason::*;
    use MessageType::*;
    let cases: &[Case] = &[
        ("an acknowledgement beyond the log", MsgAppendResponse, |m| m.index = 8, BeyondLog),
        ("a refusal beyond the log", MsgAppendResponse, |m| (m.index, m.reject) = (8, true), BeyondLog),
        (
            "a request for a later snapshot",
            MsgAppendResponse,
            |m| (m.request_snapshot, m.reject) = (8, true),
            BeyondLog,
        ),
        ("a request beyond reason", MsgAppendResponse, |m| (m.request_snapshot, m.reject) = (HUGE, true), BadIndex),
        ("a hint beyond reason", MsgAppendResponse, |m| (m.reject_hint, m.reject) = (u64::MAX, true), BadIndex),
        ("a heartbeat from a second leader", MsgHeartbeat, |_| (), SecondLeader),
        ("an append from a second leader", MsgAppend, |m| append(m, 7, 6, &[]), SecondLeader),
    ];
    let mut cluster = settled();
    for (what, kind, change, reason) in cases {
        assert_dropped(&mut cluster, what, message(FOLLOWER, LEADER, *kind, change), *reason);
    }
}

#[test]
fn votes_that_were_not_asked_for_yet() {
    let mut cluster = Cluster::new(RegionConfig::default(), &[1, 2, 3], &[]);
    cluster.member(1).holds_persist = true;
    while cluster.network.is_empty() {
        cluster.tick(1);
    }
    let yes = message(2, 1, MessageType::MsgRequestPreVoteResponse, |_| ());
    cluster.round(1, vec![Input::Message(Box::new(yes))]);
    cluster.trace.clear();
    // Member 1 is a candidate, and its own vote is still on its way to the disk.
    let vote = message(2, 1, MessageType::MsgRequestVoteResponse, |_| ());
    assert_dropped(&mut cluster, "a vote", vote, DropReason::UnaskedVote);
}

/// An old leader's messages are not held to what the current term knows: raft only tells it of the newer term.
#[test]
fn messages_of_older_terms_pass() {
    let mut cluster = settled();
    for change in [|m: &mut Message| append(m, 7, 4, &[(8, 5)]), |m: &mut Message| (m.term, m.commit) = (5, 99)] {
        let kind = if cluster.trace.is_empty() { MessageType::MsgAppend } else { MessageType::MsgHeartbeat };
        let mut old = message(3, FOLLOWER, kind, change);
        old.raft.term = 5;
        cluster.round(FOLLOWER, vec![Input::Message(Box::new(old))]);
        assert_eq!(cluster.trace.last().unwrap(), "  2 -> 3: appended (term 6) up to 0");
    }
}

/// Whoever answers may name whom it likes: no more are asked than a region can have.
#[test]
fn a_list_of_members_without_end() {
    let mut cluster = settled();
    let stale = RegionConfig::default().stale_ticks;
    // Nobody is cut off; a clock runs that nobody else has.
    let region = cluster.member(FOLLOWER).region.as_mut().unwrap();
    let mut effects = Vec::new();
    (0..=stale).for_each(|_| region.step(Input::Tick, &mut effects).unwrap());
    effects.clear();
    let mut answer = message(LEADER, FOLLOWER, MessageType::MsgHup, |m| *m = Message::default());
    answer.epoch.conf_ver = 99;
    answer.note = Some(region::Note::Members((10..10_000).map(|id| Peer::voter(PeerId(id), StoreId(id))).collect()));
    region.step(Input::Message(Box::new(answer)), &mut effects).unwrap();
    assert!((1..100).contains(&effects.len()), "{} questions", effects.len());
}

fn append(message: &mut Message, index: u64, log_term: u64, entries: &[(u64, u64)]) {
    message.index = index;
    message.log_term = log_term;
    message.set_entries(entries.iter().map(|(index, term)| entry(*index, *term)).collect::<Vec<_>>().into());
}

#[test]
fn snapshots_that_are_not_for_this_peer() {
    use raft::eraftpb::Snapshot;
    type Change = fn(&mut Message, &mut types::RegionDescriptor);
    let mut cluster = settled();
    let region = cluster.region_of(FOLLOWER);
    let snapshot = |index: u64, change: Change| {
        let mut descriptor = (*region).clone();
        message(LEADER, FOLLOWER, MessageType::MsgSnapshot, |m| {
            let mut snapshot = Snapshot::default();
            let metadata = snapshot.mut_metadata();
            (metadata.index, metadata.term) = (index, 6);
            metadata.mut_conf_state().set_voters(vec![1, 2, 3]);
            m.set_snapshot(snapshot);
            change(m, &mut descriptor);
            if m.get_snapshot().data.is_empty() {
                m.mut_snapshot().data = engine::meta::encode_descriptor(&descriptor);
            }
        })
    };
    let cases: &[(&str, Change)] = &[
        ("garbage for a descriptor", |m, _| m.mut_snapshot().data = b"garbage".as_slice().into()),
        ("another region", |_, d| d.id = RegionId(9)),
        ("a region without this peer", |_, d| d.peers.retain(|peer| peer.id.0 != FOLLOWER)),
        ("this peer on another store", |_, d| d.peers[1].store_id = types::StoreId(9)),
        ("older members", |_, d| d.epoch.conf_ver -= 1),
        ("an older range", |_, d| d.epoch.version -= 1),
        ("another configuration", |m, _| m.mut_snapshot().mut_metadata().mut_conf_state().set_voters(vec![1, 2])),
        ("a joint configuration", |m, _| {
            m.mut_snapshot().mut_metadata().mut_conf_state().set_voters_outgoing(vec![1, 2]);
        }),
        ("a region without voters", |m, d| {
            d.peers.iter_mut().for_each(|peer| peer.role = PeerRole::Learner);
            m.mut_snapshot().mut_metadata().mut_conf_state().set_voters(Vec::new());
            m.mut_snapshot().mut_metadata().mut_conf_state().set_learners(vec![1, 2, 3]);
        }),
        ("a joint configuration without a second half", |m, d| {
            d.peers.iter_mut().for_each(|peer| peer.role = PeerRole::IncomingVoter);
            m.mut_snapshot().mut_metadata().mut_conf_state().set_voters(vec![1, 2, 3]);
        }),
        ("a member twice", |m, d| {
            d.peers.push(Peer::voter(PeerId(1), StoreId(4)));
            m.mut_snapshot().mut_metadata().mut_conf_state().set_voters(vec![1, 2, 3, 1]);
        }),
        ("a member that is a voter and a learner", |m, d| {
            d.peers.push(Peer { role: PeerRole::Learner, ..Peer::voter(PeerId(1), StoreId(4)) });
            m.mut_snapshot().mut_metadata().mut_conf_state().set_learners(vec![1]);
        }),
        ("two members on one store", |m, d| {
            d.peers.push(Peer::voter(PeerId(4), StoreId(1)));
            m.mut_snapshot().mut_metadata().mut_conf_state().set_voters(vec![1, 2, 3, 4]);
        }),
        ("a member without an id", |m, d| {
            d.peers.push(Peer::voter(PeerId(0), StoreId(4)));
            m.mut_snapshot().mut_metadata().mut_conf_state().set_voters(vec![1, 2, 3, 0]);
        }),
        ("a range that ends before it begins", |_, d| d.range = KeyRange::new("z", "a")),
        ("an epoch beyond reason", |_, d| d.epoch.conf_ver = u64::MAX),
        ("index 0", |m, _| m.mut_snapshot().mut_metadata().index = 0),
        ("an index beyond reason", |m, _| m.mut_snapshot().mut_metadata().index = HUGE),
        ("term 0", |m, _| m.mut_snapshot().mut_metadata().term = 0),
        ("a later term than its leader's", |m, _| m.mut_snapshot().mut_metadata().term = 7),
    ];
    for (what, change) in cases {
        let message = snapshot(9, *change);
        let count = |cluster: &Cluster| {
            let region = cluster.members[&FOLLOWER].region.as_ref().unwrap();
            region.dropped_messages().count(DropReason::BadSnapshot)
        };
        let before = count(&cluster);
        cluster.round(FOLLOWER, vec![Input::Message(Box::new(message))]);
        assert_eq!(count(&cluster), before + 1, "{what} was not dropped");
        let last = cluster.trace.pop().unwrap();
        assert!(last.contains("does not want the snapshot"), "{what}: {last}");
        assert!(cluster.trace.is_empty(), "{what} caused {:?}", cluster.trace);
    }
    // What the log has already moves the commit index and nothing else.
    cluster.round(FOLLOWER, vec![Input::Message(Box::new(snapshot(7, |_, _| ())))]);
    assert!(cluster.trace.iter().any(|line| line.contains("does not want the snapshot at 7")), "{:?}", cluster.trace);
    assert!(!cluster.members[&FOLLOWER].region.as_ref().unwrap().has_ended());
}
