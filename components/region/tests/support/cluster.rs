//! The members of one region, their disks, their state machines, and a network between them, on one thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use engine::memory::MemDisk;
use engine::{ApplyState, Durability, Entry, HardState, LogBatch, LogEngine, LogOp};
use proto::log::{Command, Operation, Put, WriteBatch, command, operation};
use region::{Apply, Effect, Input, Persist, Proposal, Read, Region, RegionConfig, RegionMessage, Restored, Role};
use slog::{Discard, Logger, o};
use types::{
    CommandOutput, Generation, KeyRange, LogIndex, Peer, PeerId, PeerRole, ReadyNumber, RegionDescriptor, RegionEpoch,
    RegionId, RequestError, RequestHeader, Responder, StoreId, Term,
};

use super::describe;

pub const REGION: RegionId = RegionId(1);
pub const FIRST: ApplyState =
    ApplyState { applied: LogIndex(5), applied_term: Term(5), truncated: LogIndex(5), truncated_term: Term(5) };

/// An answer that a client got.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Written,
    Read { applied: u64, keys: Vec<String> },
    Transferred,
    Error(RequestError),
}

/// Every answer of every client, in order.
pub type Answers = Arc<Mutex<Vec<(String, Answer)>>>;

/// One member.
pub struct Member {
    pub peer: Peer,
    pub region: Option<Region>,
    pub disk: MemDisk,
    pub log: Arc<dyn LogEngine>,
    /// Persists that the disk has not done.
    pub writing: VecDeque<Persist>,
    /// Entries that are not applied.
    pub applying: VecDeque<Apply>,
    pub holds_persist: bool,
    pub holds_apply: bool,
    /// The state machine: how far it is, and the keys that were put, in order.
    pub apply_state: ApplyState,
    pub applied: Vec<Entry>,
    pub generation: u64,
}

/// The members of a region and everything between them.
pub struct Cluster {
    pub config: RegionConfig,
    pub descriptor: RegionDescriptor,
    pub members: BTreeMap<u64, Member>,
    /// Messages on their way, in the order in which they were sent.
    pub network: VecDeque<RegionMessage>,
    /// Directions in which everything is lost.
    pub cut: BTreeSet<(u64, u64)>,
    pub answers: Answers,
    pub trace: Vec<String>,
    pub tracing: bool,
    /// Every term's leader, for the check that there is one at most.
    pub leaders: BTreeMap<u64, u64>,
    /// Every entry that some member applied, for the check that they all agree.
    pub committed: BTreeMap<u64, Entry>,
    answers_traced: usize,
}

impl Cluster {
    pub fn new(config: RegionConfig, voters: &[u64], learners: &[u64]) -> Self {
        let peer = |id: &u64, role| Peer { id: PeerId(*id), store_id: StoreId(*id), role };
        let mut peers: Vec<Peer> = voters.iter().map(|id| peer(id, PeerRole::Voter)).collect();
        peers.extend(learners.iter().map(|id| peer(id, PeerRole::Learner)));
        let descriptor = RegionDescriptor {
            id: REGION,
            range: KeyRange::new("a", "z"),
            epoch: RegionEpoch { conf_ver: 1, version: 3 },
            peers,
        };
        let mut cluster = Self {
            config,
            members: BTreeMap::new(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            answers: Answers::default(),
            trace: Vec::new(),
            tracing: true,
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            answers_traced: 0,
            descriptor,
        };
        for peer in cluster.descriptor.peers.clone() {
            cluster.members.insert(peer.id.0, Member::new(peer));
            cluster.start(peer.id.0, false);
        }
        cluster
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            self.trace.push(line());
        }
    }

    pub fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).unwrap_or_else(|| panic!("no member {id}"))
    }

    /// Starts a member from what its disk and state machine hold.
    pub fn start(&mut self, id: u64, may_have_voted: bool) {
        let config = Arc::new(self.config.clone());
        let descriptor = self.descriptor.clone();
        let member = self.member(id);
        member.generation += 1;
        let stored = member.log.region(REGION).unwrap().unwrap();
        let mut hard_state = stored.state.unwrap().hard_state;
        hard_state.commit = hard_state.commit.max(member.apply_state.applied);
        let last_index = stored.bounds.map_or(member.apply_state.truncated, |(_, last)| last);
        let log_bytes =
            member.log.approximate_bytes(REGION, member.apply_state.truncated.next(), last_index.next()).unwrap();
        let restored = Restored {
            descriptor,
            peer: member.peer,
            apply_state: member.apply_state,
            hard_state,
            last_index,
            log_bytes,
            generation: Generation(member.generation),
            may_have_voted,
        };
        let logger = Logger::root(Discard, o!());
        member.region = Some(Region::new(config, restored, member.log.clone(), &logger).unwrap());
        self.round(id, Vec::new());
    }

    /// The process dies. Its disk still does the oldest `done` writes; the others are lost, and all that waited for an
    /// answer gets none.
    pub fn crash(&mut self, id: u64, done: usize) {
        for _ in 0..done {
            self.write(id);
        }
        let member = self.member(id);
        member.region = None;
        member.writing.clear();
        member.applying.clear();
        self.trace_answers();
    }

    /// The state machine falls back to where the region was born.
    pub fn lose_state(&mut self, id: u64) {
        let member = self.member(id);
        member.apply_state = FIRST;
        member.applied.clear();
    }

    /// One round of one member: all inputs, then its end, then whatever its disk and state machine do by themselves.
    pub fn round(&mut self, id: u64, inputs: Vec<Input>) {
        self.run_round(id, inputs);
        loop {
            let member = self.member(id);
            if member.region.is_none() {
                return;
            }
            if !member.holds_persist && !member.writing.is_empty() {
                self.persist(id);
            } else if !member.holds_apply && !member.applying.is_empty() {
                self.apply(id);
            } else {
                return;
            }
        }
    }

    /// One round, and nothing of the disk and the state machine.
    pub fn run_round(&mut self, id: u64, inputs: Vec<Input>) {
        let mut effects = Vec::new();
        let Some(region) = self.member(id).region.as_mut() else { return };
        for input in inputs {
            region.step(input, &mut effects).unwrap();
        }
        region.finish_round(&mut effects).unwrap();
        for effect in effects {
            self.carry_out(id, effect);
        }
        self.trace_answers();
    }

    fn carry_out(&mut self, id: u64, effect: Effect) {
        match effect {
            Effect::Persist(persist) => {
                self.say(|| {
                    let Persist { ready, entries, hard_state, .. } = &persist;
                    let hard_state = describe::hard_state(hard_state);
                    format!("  {id} writes #{ready}: {} {hard_state}", describe::entries(entries))
                });
                self.member(id).writing.push_back(persist);
            }
            Effect::Send(message) => {
                let lost = self.cut.contains(&(id, message.to.id.0));
                self.say(|| {
                    let note = if lost { " (lost)" } else { "" };
                    format!("  {id} -> {}: {}{note}", message.to.id, describe::message(&message.raft))
                });
                if !lost {
                    self.network.push_back(message);
                }
            }
            Effect::Apply(apply) => {
                self.say(|| format!("  {id} hands out {}", describe::entries(&apply.entries)));
                self.member(id).applying.push_back(apply);
            }
            Effect::RoleChanged(change) => {
                if change.role == Role::Leader {
                    let leader = *self.leaders.entry(change.term.0).or_insert(id);
                    assert_eq!(leader, id, "term {} has two leaders", change.term);
                }
                self.say(|| format!("  {id} is {}", describe::role(&change)));
            }
            Effect::Refuse(responder, error) => responder.respond(Err(error)),
            Effect::RefuseRead(responder, error) => responder.respond(Err(error)),
            Effect::Transferred(responder, result) => responder.respond(result),
            Effect::Inspected(inspector, status) => inspector.respond(Some(*status)),
            Effect::Grant(responder, grant) => {
                let member = self.member(id);
                assert_eq!(grant.applied, member.apply_state.applied);
                responder.respond(Ok(engine::RegionSnapshot {
                    descriptor: grant.descriptor,
                    applied: grant.applied,
                    data: Arc::new(Keys(member.applied.clone())),
                }));
            }
        }
    }

    /// The disk does the oldest write.
    pub fn persist(&mut self, id: u64) {
        let Some((generation, ready)) = self.write(id) else { return };
        self.say(|| format!("  {id} has written #{ready}"));
        self.run_round(id, vec![Input::Persisted { generation, ready }]);
    }

    fn write(&mut self, id: u64) -> Option<(Generation, ReadyNumber)> {
        let member = self.member(id);
        let Persist { region, peer, generation, ready, entries, hard_state } = member.writing.pop_front()?;
        let op = LogOp::Append { region, peer, entries, hard_state };
        member.log.write(LogBatch { ops: vec![op] }, Durability::Synced).unwrap();
        Some((generation, ready))
    }

    /// The state machine applies the oldest entries that were handed out.
    pub fn apply(&mut self, id: u64) {
        let member = self.members.get_mut(&id).unwrap();
        let Some(apply) = member.applying.pop_front() else { return };
        let mut waiting = apply.waiting.into_iter().peekable();
        let mut answered = Vec::new();
        for entry in apply.entries {
            let state = &mut member.apply_state;
            assert_eq!(entry.index, state.applied.0 + 1, "apply got a gap");
            let agreed = self.committed.entry(entry.index).or_insert_with(|| entry.clone());
            assert_eq!((agreed.term, &agreed.data), (entry.term, &entry.data), "members disagree on an entry");
            state.applied = LogIndex(entry.index);
            state.applied_term = Term(entry.term);
            if let Some((index, term)) = describe::compaction(&entry) {
                state.truncated = state.truncated.max(LogIndex(index));
                state.truncated_term = state.truncated_term.max(Term(term));
            }
            if let Some((_, responders)) = waiting.next_if(|(index, _)| index.0 == entry.index) {
                assert_eq!(responders.len(), describe::commands(&entry).len(), "one responder for each command");
                answered.extend(responders);
            }
            member.applied.push(entry);
        }
        assert!(waiting.next().is_none(), "a responder came without its entry");
        let input = Input::Applied { generation: apply.generation, apply_state: member.apply_state };
        let applied = member.apply_state.applied;
        self.say(|| format!("  {id} has applied {applied}"));
        for responder in answered {
            responder.respond(Ok(CommandOutput::Written));
        }
        self.trace_answers();
        self.run_round(id, vec![input]);
    }

    /// Delivers the oldest message, or loses it when its receiver is down.
    pub fn deliver(&mut self, message: RegionMessage) {
        let (from, to) = (message.from.id, message.to.id.0);
        let down = self.member(to).region.is_none();
        self.say(|| {
            let note = if down { " (down)" } else { "" };
            format!("{to} <- {from}: {}{note}", describe::message(&message.raft))
        });
        if !down {
            // Across the wire and back, as in production.
            let raft = RegionMessage::parse_raft(&message.raft_bytes()).unwrap();
            self.round(to, vec![Input::Message(Box::new(RegionMessage { raft, ..message }))]);
        }
    }

    /// Delivers what is on its way, and what that causes, until nothing is.
    pub fn deliver_until_quiet(&mut self) {
        for _ in 0..10_000 {
            let Some(message) = self.network.pop_front() else { return };
            self.deliver(message);
        }
        panic!("the members never fall silent");
    }

    pub fn tick(&mut self, id: u64) {
        self.round(id, vec![Input::Tick]);
    }

    /// Lets a member win an election and tell the others by heartbeat, without a trace.
    pub fn elect(&mut self, id: u64) {
        self.tracing = false;
        let ids: Vec<u64> = self.members.keys().copied().collect();
        // The others forget their leader, but do not campaign themselves. The old leader's clock stands still.
        let leads =
            |id: &u64| self.members[id].region.as_ref().is_some_and(|region| region.status().role == Role::Leader);
        for other in ids.into_iter().filter(|other| *other != id && !leads(other)).collect::<Vec<_>>() {
            (0..self.config.election_ticks).for_each(|_| self.tick(other));
        }
        let before = self.network.len();
        let mut ticks = 0;
        while self.network.len() == before && ticks < 2 * self.config.election_ticks {
            self.tick(id);
            ticks += 1;
        }
        self.deliver_until_quiet();
        (0..self.config.heartbeat_ticks).for_each(|_| self.tick(id));
        self.deliver_until_quiet();
        self.tracing = true;
        let status = self.member(id).region.as_ref().unwrap().status();
        assert_eq!(status.role, Role::Leader, "{id} was not elected");
        self.say(|| format!("  {id} leads in term {}, committed {}", status.term, status.committed));
    }

    pub fn header(&self) -> RequestHeader {
        RequestHeader { region_id: REGION, peer_id: None, term: None, epoch: self.descriptor.epoch }
    }

    /// A client's write of one key, named by that key.
    pub fn proposal(&self, header: RequestHeader, key: &str) -> Input {
        let put = Put { column_family: 0, key: key.to_owned().into_bytes().into(), value: b"v".to_vec().into() };
        let operations = vec![Operation { kind: Some(operation::Kind::Put(put)) }];
        let command = Command { kind: Some(command::Kind::Write(WriteBatch { operations })) };
        let end = format!("{key}\0");
        let keys = KeyRange::new(key.to_owned().into_bytes(), end.into_bytes());
        let (answers, name) = (self.answers.clone(), key.to_owned());
        let responder = Responder::new(move |result: types::WriteResult| {
            let answer = result.map_or_else(Answer::Error, |_| Answer::Written);
            answers.lock().unwrap().push((name, answer));
        });
        Input::Propose(Proposal { header, command, keys, responder })
    }

    /// A client's read, with a name.
    pub fn read(&self, header: RequestHeader, name: &str) -> Input {
        let (answers, name) = (self.answers.clone(), name.to_owned());
        let responder = Responder::new(move |result: Result<engine::RegionSnapshot, RequestError>| {
            let answer = result.map_or_else(Answer::Error, |snapshot| Answer::Read {
                applied: snapshot.applied.0,
                keys: Keys::of(&snapshot),
            });
            answers.lock().unwrap().push((name, answer));
        });
        Input::Read(Read { header, responder })
    }

    /// An operator's leader transfer, with a name.
    pub fn transfer(&self, to: u64, name: &str) -> Input {
        let (answers, name) = (self.answers.clone(), name.to_owned());
        let responder = Responder::new(move |result: Result<(), RequestError>| {
            let answer = result.map_or_else(Answer::Error, |()| Answer::Transferred);
            answers.lock().unwrap().push((name, answer));
        });
        Input::TransferLeader { to: PeerId(to), responder }
    }

    fn trace_answers(&mut self) {
        if !self.tracing {
            return;
        }
        let answers: Vec<_> = self.answers.lock().unwrap()[self.answers_traced..].to_vec();
        self.answers_traced += answers.len();
        for (name, answer) in answers {
            self.say(|| match answer {
                Answer::Written => format!("  client {}: done", describe::shorten(&name)),
                Answer::Read { applied, keys } => format!("  client {name}: sees {} at {applied}", keys.join(" ")),
                Answer::Transferred => format!("  client {name}: done"),
                Answer::Error(error) => {
                    format!("  client {}: {}", describe::shorten(&name), describe::error(&error))
                }
            });
        }
    }
}

impl Member {
    fn new(peer: Peer) -> Self {
        let disk = MemDisk::default();
        let log = disk.open_log().unwrap();
        let hard_state = HardState { term: Term(5), vote: PeerId(0), commit: LogIndex(5) };
        let op = LogOp::Append { region: REGION, peer: peer.id, entries: Vec::new(), hard_state };
        log.write(LogBatch { ops: vec![op] }, Durability::Synced).unwrap();
        Self {
            peer,
            region: None,
            disk,
            log: Arc::new(log),
            writing: VecDeque::new(),
            applying: VecDeque::new(),
            holds_persist: false,
            holds_apply: false,
            apply_state: FIRST,
            applied: Vec::new(),
            generation: 0,
        }
    }
}

/// What a snapshot of the test's state machine holds: the applied entries.
struct Keys(Vec<Entry>);

impl Keys {
    fn of(snapshot: &engine::RegionSnapshot) -> Vec<String> {
        let bytes = snapshot.data.get(engine::Family::Meta, b"").unwrap().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap().split_whitespace().map(str::to_owned).collect()
    }
}

impl engine::StateRead for Keys {
    fn get(&self, _: engine::Family, _: &[u8]) -> engine::Result<Option<bytes::Bytes>> {
        let data = self.0.iter().filter(|entry| !entry.data.is_empty() && describe::compaction(entry).is_none());
        Ok(Some(data.flat_map(describe::commands).collect::<Vec<_>>().join(" ").into()))
    }

    fn iter(&self, _: engine::Family, _: engine::IterRange) -> engine::Result<Box<dyn engine::StateIterator + '_>> {
        unreachable!("tests ask for all keys at once")
    }
}
