//! Rules of the machine that need a hand on its inputs rather than a script.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use engine::memory::{Fault, FaultPoint};
use engine::{ApplyState, Durability, HardState, LogBatch, LogOp};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use region::{DropReason, Effect, Input, Region, RegionConfig, RegionError, RegionMessage, Restored, Role};
use slog::{Discard, Logger, o};
use support::cluster::{Answer, Cluster, REGION};
use support::member::FIRST;
use types::{Generation, LogIndex, Peer, PeerId, ReadyNumber, RequestError, StoreId, Term};

fn three() -> Cluster {
    let mut cluster = Cluster::new(RegionConfig::default(), &[1, 2, 3], &[]);
    cluster.elect(1);
    cluster.trace.clear();
    cluster
}

fn status(cluster: &Cluster, id: u64) -> region::RegionStatus {
    cluster.members[&id].region.as_ref().unwrap().status()
}

fn from_leader(to: u64, kind: MessageType, change: impl FnOnce(&mut Message)) -> Input {
    let peer = |id| Peer::voter(PeerId(id), StoreId(id));
    let mut raft = Message { from: 1, to, term: 6, ..Message::default() };
    raft.set_msg_type(kind);
    change(&mut raft);
    let epoch = types::RegionEpoch::INITIAL;
    Input::Message(Box::new(RegionMessage {
        region: REGION,
        from: peer(1),
        to: peer(to),
        epoch,
        raft,
        note: None,
        range: None,
    }))
}

fn conf_change(index: u64, term: u64) -> Entry {
    let mut entry = Entry { index, term, ..Entry::default() };
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    entry
}

#[test]
fn a_region_may_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Region>();
}

#[test]
fn completions_of_another_generation_are_dropped() {
    let mut cluster = three();
    cluster.member(2).holds_persist = true;
    cluster.member(2).holds_apply = true;
    let append = from_leader(2, MessageType::MsgAppend, |m| {
        (m.index, m.log_term, m.commit) = (6, 6, 7);
        m.set_entries(vec![Entry { index: 7, term: 6, ..Entry::default() }].into());
    });
    cluster.round(2, vec![append]);
    let ready = cluster.member(2).writing.back().unwrap().ready;
    let sent = cluster.network.len();

    let older = Generation(cluster.member(2).generation - 1);
    cluster.round(2, vec![Input::Persisted { generation: older, ready: ReadyNumber(ready.0 + 9) }]);
    assert_eq!(cluster.network.len(), sent, "an acknowledgement left before its entry was durable");
    let ahead = ApplyState { applied: LogIndex(99), ..FIRST };
    cluster.round(2, vec![Input::Applied { generation: older, apply_state: ahead, changes: Vec::new() }]);
    assert_eq!(status(&cluster, 2).apply_state.applied, LogIndex(6));

    cluster.persist(2);
    assert_eq!(cluster.network.len(), sent + 1);
}

#[test]
fn a_lone_voter_does_not_campaign_while_its_log_is_not_durable() {
    let mut cluster = Cluster::new(RegionConfig::default(), &[1], &[2]);
    cluster.elect(1);
    cluster.member(1).holds_persist = true;
    let write = cluster.proposal(cluster.header(), "a");
    cluster.round(1, vec![write]);
    // A message of a later term ends its leadership; raft would have it lead again at once.
    let mut later = from_leader(1, MessageType::MsgAppendResponse, |m| (m.from, m.term) = (2, 9));
    if let Input::Message(message) = &mut later {
        message.from = Peer::voter(PeerId(2), StoreId(2));
    }
    cluster.round(1, vec![later]);
    assert_eq!(status(&cluster, 1).role, Role::Follower);
    (0..40).for_each(|_| cluster.tick(1));
    assert_eq!(status(&cluster, 1).role, Role::Follower);

    cluster.member(1).holds_persist = false;
    cluster.round(1, Vec::new());
    (0..40).for_each(|_| cluster.tick(1));
    assert_eq!(status(&cluster, 1).role, Role::Leader);
    assert_eq!(cluster.answers.lock().unwrap().as_slice(), [("a".to_owned(), Answer::Written)]);
}

/// As above, with entries that raft has not even given out to be written.
#[test]
fn a_lone_voter_does_not_campaign_in_the_round_in_which_its_log_grew() {
    let mut cluster = Cluster::new(RegionConfig::default(), &[1], &[2]);
    let mut append = from_leader(1, MessageType::MsgAppend, |m| {
        (m.from, m.term, m.index, m.log_term) = (2, 9, 5, 5);
        m.set_entries(vec![Entry { index: 6, term: 9, ..Entry::default() }].into());
    });
    if let Input::Message(message) = &mut append {
        message.from = Peer::voter(PeerId(2), StoreId(2));
    }
    let ticks = (0..40).map(|_| Input::Tick);
    cluster.round(1, std::iter::once(append).chain(ticks).collect());
    assert_eq!(status(&cluster, 1).role, Role::Follower);
    (0..40).for_each(|_| cluster.tick(1));
    assert_eq!(status(&cluster, 1).role, Role::Leader);
}

#[test]
fn a_peer_that_replays_obeys_no_timeout_now() {
    let mut cluster = three();
    cluster.crash(2, 0);
    cluster.member(2).lose_state();
    cluster.member(2).holds_apply = true;
    cluster.start(2, false);
    let beat = from_leader(2, MessageType::MsgHeartbeat, |m| m.commit = 6);
    let now = || from_leader(2, MessageType::MsgTimeoutNow, |_| ());
    cluster.round(2, vec![beat]);
    // What it knew to be committed when it stopped was entry 5: nothing to replay, so it would obey.
    assert_eq!(status(&cluster, 2).apply_state.applied, LogIndex(5));

    cluster.crash(2, 0);
    let hard_state = HardState { term: Term(6), vote: PeerId(1), commit: LogIndex(6) };
    let op = LogOp::Append { region: REGION, peer: PeerId(2), entries: Vec::new(), hard_state };
    cluster.member(2).log.write(LogBatch { ops: vec![op] }, Durability::Synced).unwrap();
    cluster.start(2, false);
    let beat = from_leader(2, MessageType::MsgHeartbeat, |m| m.commit = 6);
    cluster.round(2, vec![beat, now()]);
    let dropped = |cluster: &Cluster| {
        cluster.members[&2].region.as_ref().unwrap().dropped_messages().count(DropReason::Restrained)
    };
    assert_eq!((status(&cluster, 2).role, dropped(&cluster)), (Role::Follower, 1));

    cluster.apply(2);
    cluster.round(2, vec![now()]);
    assert_eq!((status(&cluster, 2).role, dropped(&cluster)), (Role::Candidate, 1));
}

/// D1: the commit of a membership entry is written even when nothing else is, and messages wait for it.
#[test]
fn the_commit_of_a_membership_entry_is_written() {
    let mut cluster = three();
    cluster.member(2).holds_apply = true;
    let append = from_leader(2, MessageType::MsgAppend, |m| {
        (m.index, m.log_term, m.commit) = (6, 6, 6);
        m.set_entries(vec![conf_change(7, 6), Entry { index: 8, term: 6, ..Entry::default() }].into());
    });
    cluster.round(2, vec![append]);
    // The entry is still uncommitted when the peer starts again: it must look for it.
    cluster.crash(2, 0);
    cluster.start(2, false);
    cluster.member(2).holds_persist = true;
    cluster.network.clear();

    let beat = |commit| from_leader(2, MessageType::MsgHeartbeat, move |m| m.commit = commit);
    cluster.round(2, vec![beat(7)]);
    let written: Vec<_> = cluster.member(2).writing.iter().map(|persist| persist.hard_state.commit).collect();
    assert_eq!(written, [LogIndex(7)]);
    assert!(cluster.network.is_empty(), "an answer left before the commit was durable");
    cluster.persist(2);
    assert_eq!(cluster.network.len(), 1);

    cluster.round(2, vec![beat(8)]);
    assert!(cluster.member(2).writing.is_empty(), "an ordinary entry's commit was written");
}

#[test]
fn what_was_proposed_before_a_transfer_in_the_same_round_is_kept() {
    let mut cluster = three();
    let inputs = vec![
        cluster.proposal(cluster.header(), "before"),
        cluster.transfer(2, "t"),
        cluster.proposal(cluster.header(), "after"),
    ];
    cluster.round(1, inputs);
    cluster.deliver_until_quiet();
    let answers = cluster.answers.lock().unwrap().clone();
    let of = |name: &str| answers.iter().find(|(other, _)| other == name).map(|(_, answer)| answer.clone());
    assert_eq!(of("before"), Some(Answer::Written));
    assert_eq!(of("t"), Some(Answer::Done));
    assert_eq!(of("after"), Some(Answer::Error(RequestError::NotLeader { region: REGION, leader: None })));
}

#[test]
fn uncommitted_bytes_are_bounded() {
    let config = RegionConfig { max_uncommitted_bytes: 600, ..RegionConfig::default() };
    let mut cluster = Cluster::new(config, &[1, 2, 3], &[]);
    cluster.elect(1);
    cluster.network.clear();
    for round in 0..20 {
        let inputs = (0..5).map(|n| cluster.proposal(cluster.header(), &format!("k{round:02}{n}"))).collect();
        cluster.round(1, inputs);
    }
    let answers = cluster.answers.lock().unwrap().clone();
    assert!(answers.iter().all(|(_, a)| matches!(a, Answer::Error(RequestError::ServerIsBusy { .. }))));
    assert!((60..80).contains(&answers.len()), "{} of 100 were refused", answers.len());
    // They are committed at last, and there is room again.
    cluster.deliver_until_quiet();
    let input = cluster.proposal(cluster.header(), "more");
    cluster.round(1, vec![input]);
    cluster.deliver_until_quiet();
    assert_eq!(cluster.answers.lock().unwrap().last().unwrap(), &("more".to_owned(), Answer::Written));
}

#[test]
fn entries_are_handed_to_apply_within_a_bound() {
    let config = RegionConfig { max_apply_bytes: 300, ..RegionConfig::default() };
    let mut cluster = Cluster::new(config, &[1], &[]);
    cluster.elect(1);
    cluster.member(1).holds_apply = true;
    for n in 0..30 {
        let input = cluster.proposal(cluster.header(), &format!("k{n:02}"));
        cluster.round(1, vec![input]);
    }
    let out: usize = cluster.member(1).applying.iter().map(|apply| apply.entries.len()).sum();
    assert!((3..9).contains(&out), "{out} entries are on their way");
    cluster.member(1).holds_apply = false;
    cluster.round(1, Vec::new());
    assert_eq!(cluster.answers.lock().unwrap().len(), 30);
}

#[test]
fn a_failure_to_read_the_log_ends_the_region_before_anything_leaves() {
    let config = RegionConfig { entry_cache_bytes: 0, ..RegionConfig::default() };
    let mut cluster = Cluster::new(config, &[1, 2, 3], &[]);
    cluster.elect(1);
    for key in ["a", "b"] {
        let input = cluster.proposal(cluster.header(), key);
        cluster.run_round(1, vec![input]);
        cluster.persist(1);
    }
    cluster.network.clear();
    cluster.member(1).disk.inject(FaultPoint::LogRead, 1, Fault::Io);
    let mut effects = Vec::new();
    let region = cluster.member(1).region.as_mut().unwrap();
    // Member 2 refuses: the leader must read what it has no longer in memory.
    let mut refusal = from_leader(1, MessageType::MsgAppendResponse, |m| {
        (m.from, m.index, m.reject, m.reject_hint, m.log_term) = (2, 8, true, 6, 6);
    });
    if let Input::Message(message) = &mut refusal {
        message.from = Peer::voter(PeerId(2), StoreId(2));
    }
    let error = region.step(refusal, &mut effects).and_then(|()| region.finish_round(&mut effects)).unwrap_err();
    assert!(matches!(error, RegionError::Engine(_)), "{error}");
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn contradicting_indexes_are_refused_at_the_start() {
    let mut cluster = three();
    let member = cluster.member(1);
    let restored = |commit, last| Restored {
        descriptor: types::RegionDescriptor {
            id: REGION,
            peers: vec![member.peer],
            ..types::RegionDescriptor::default()
        },
        peer: member.peer,
        apply_state: FIRST,
        hard_state: HardState { term: Term(6), vote: PeerId(1), commit: LogIndex(commit) },
        last_index: LogIndex(last),
        log_bytes: 0,
        generation: Generation(1),
        invitation: None,
        may_have_voted: false,
        fenced: false,
    };
    let start = |restored| {
        let config = Arc::new(RegionConfig::default());
        Region::new(config, restored, member.log.clone(), &Logger::root(Discard, o!())).map(|_| ())
    };
    assert!(start(restored(6, 6)).is_ok());
    for (commit, last) in [(4, 6), (7, 6), (5, 4)] {
        let error = start(restored(commit, last)).unwrap_err();
        assert!(error.to_string().contains("not in order"), "{error}");
    }
    // The log ends before its last index: an entry that raft would pass over without a word.
    assert!(matches!(start(restored(5, 9)), Err(RegionError::Engine(_))));
}

#[test]
fn a_peer_starts_in_a_joint_configuration() {
    use types::PeerRole::{DemotingVoter, IncomingVoter, Learner, Voter};
    let mut cluster = Cluster::new(RegionConfig::default(), &[1, 2, 3, 4], &[]);
    let mut region = (*cluster.member(1).applier.descriptor).clone();
    for (peer, role) in region.peers.iter_mut().zip([Voter, IncomingVoter, DemotingVoter, Learner]) {
        peer.role = role;
    }
    for peer in &region.peers {
        let id = peer.id.0;
        cluster.crash(id, 0);
        let member = cluster.member(id);
        (member.peer, member.cut.descriptor) = (*peer, region.clone());
        member.lose_state();
        cluster.start(id, false);
    }
    // Both halves must agree: 1 and 2, and 1 and 3. Without 3 nobody leads.
    cluster.crash(3, 0);
    (0..40).for_each(|_| cluster.tick(1));
    cluster.deliver_until_quiet();
    assert_eq!(status(&cluster, 1).role, Role::PreCandidate);
    cluster.start(3, false);
    cluster.elect(1);
}

#[test]
fn a_stopped_region_answers_everyone() {
    let mut cluster = three();
    let proposed = cluster.proposal(cluster.header(), "proposed");
    cluster.run_round(1, vec![proposed]);
    let inputs = vec![
        cluster.read(cluster.header(), "read"),
        cluster.proposal(cluster.header(), "gathered"),
        cluster.transfer(2, "transfer"),
        cluster.read(cluster.header(), "late read"),
    ];
    let mut region = cluster.member(1).region.take().unwrap();
    let mut effects = Vec::new();
    for input in inputs {
        region.step(input, &mut effects).unwrap();
    }
    effects.clear();
    region.shut_down(&mut effects);
    for effect in effects {
        match effect {
            Effect::Refuse(responder, error) => responder.respond(Err(error)),
            Effect::RefuseRead(responder, error) => responder.respond(Err(error)),
            Effect::Transferred(responder, result) => responder.respond(result),
            other => panic!("a stopped region wants nothing: {other:?}"),
        }
    }
    let answers = cluster.answers.lock().unwrap().clone();
    let unknown: Vec<&str> = answers
        .iter()
        .filter(|(_, answer)| matches!(answer, Answer::Error(RequestError::Undetermined { .. })))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!((answers.len(), unknown), (5, vec!["proposed", "gathered"]));
}

#[test]
fn a_leader_counts_the_ticks_of_silence() {
    let mut cluster = three();
    let silent = |cluster: &Cluster| {
        let members = status(cluster, 1).members;
        members.iter().map(|member| member.silent_ticks).collect::<Vec<_>>()
    };
    cluster.pass(1, 4);
    assert_eq!(silent(&cluster), [Some(0), Some(0), Some(0)], "heartbeats are answered");
    cluster.crash(3, 0);
    (0..5).for_each(|_| cluster.tick(1));
    cluster.deliver_until_quiet();
    assert_eq!(silent(&cluster), [Some(0), Some(0), Some(5)]);
    let mut cluster = Cluster::new(RegionConfig::default(), &[1, 2, 3], &[]);
    cluster.crash(3, 0);
    cluster.elect(1);
    assert_eq!(silent(&cluster)[2], None, "it never answered this leader");
}
