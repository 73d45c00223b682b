//! The members of one region, their disks, their state machines, and a network between them, on one thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use apply::RoundOutcome;
use engine::{Child, Durability, Entry, Invitation, LogBatch, LogOp, RegionSnapshot};
use region::{ApplySnapshot, Effect, Input, MessageType, Persist, Region, RegionConfig, RegionMessage, Role, Split};
use slog::{Discard, Logger, o};
use types::{
    Generation, KeyRange, Peer, PeerId, PeerRole, ReadyNumber, RegionDescriptor, RegionEpoch, RegionId, RequestError,
    StoreId,
};

use super::describe;
use super::member::{Member, NextPeers, SnapshotData, pairs};

pub const REGION: RegionId = RegionId(1);

/// An answer that a client got.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Written,
    Read { applied: u64, range: KeyRange, keys: Vec<String> },
    Split(Vec<u64>),
    Done,
    Error(RequestError),
}

/// Every answer of every client, in order.
pub type Answers = Arc<Mutex<Vec<(String, Answer)>>>;

/// The members of a region, and of those that it is split into, and everything between them. Members go by their peer ids.
pub struct Cluster {
    pub config: RegionConfig,
    pub members: BTreeMap<u64, Member>,
    /// Messages on their way, in the order in which they were sent.
    pub network: VecDeque<RegionMessage>,
    /// Directions in which everything is lost.
    pub cut: BTreeSet<(u64, u64)>,
    pub answers: Answers,
    pub trace: Vec<String>,
    pub tracing: bool,
    /// The leader of every region's every term, for the check that there is one at most.
    pub leaders: BTreeMap<(RegionId, u64), u64>,
    /// Every entry that some member applied, for the check that they all agree.
    pub committed: BTreeMap<(RegionId, u64), Entry>,
    pub next_peers: Arc<NextPeers>,
    /// Snapshots that are built, and those that are on their way, by region and receiver.
    pub snapshots: BTreeMap<(RegionId, u64), SnapshotData>,
    /// Members that found out that they differ from their leader.
    pub inconsistent: Vec<u64>,
    /// How many snapshots were installed, and how many members destroyed.
    pub installed: usize,
    /// How many snapshots were damaged behind their markers, and whether voters' are not.
    pub fenced: usize,
    pub spares_voters: bool,
    pub has_placement_driver: bool,
    pub destroyed: usize,
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
            next_peers: Arc::default(),
            snapshots: BTreeMap::new(),
            inconsistent: Vec::new(),
            installed: 0,
            fenced: 0,
            spares_voters: false,
            has_placement_driver: false,
            destroyed: 0,
            answers_traced: 0,
        };
        cluster.bear(&descriptor);
        cluster
    }

    /// All members of a region are born.
    fn bear(&mut self, descriptor: &RegionDescriptor) {
        for peer in &descriptor.peers {
            self.next_peers.claim(descriptor.id, *peer);
            self.members.insert(peer.id.0, Member::new(*peer, descriptor.clone(), &self.next_peers));
            self.start(peer.id.0, false);
        }
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
        let member = self.member(id);
        let restored = member.restored(may_have_voted);
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
        member.building.clear();
        self.trace_answers();
    }

    /// One round of one member: all inputs, then its end, then whatever its disk and state machine do by themselves.
    pub fn round(&mut self, id: u64, inputs: Vec<Input>) {
        self.run_round(id, inputs);
        loop {
            let Some(member) = self.members.get_mut(&id).filter(|member| member.region.is_some()) else { return };
            if !member.holds_persist && !member.writing.is_empty() {
                self.persist(id);
            } else if !member.holds_apply && !member.applying.is_empty() {
                self.apply(id);
            } else if !member.holds_build && !member.building.is_empty() {
                self.build(id);
            } else if !member.inbox.is_empty() {
                self.run_round(id, Vec::new());
            } else {
                return;
            }
        }
    }

    /// One round, and nothing of the disk and the state machine.
    pub fn run_round(&mut self, id: u64, inputs: Vec<Input>) {
        let mut effects = Vec::new();
        let Some(member) = self.members.get_mut(&id) else { return };
        let waiting = std::mem::take(&mut member.inbox);
        let Some(region) = member.region.as_mut() else { return };
        for input in waiting.into_iter().chain(inputs) {
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
                    format!("  {id} -> {}: {}{note}", message.to.id, describe::message(&message))
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
                    let leader = *self.leaders.entry((change.region, change.term.0)).or_insert(id);
                    assert_eq!(leader, id, "region {} has two leaders in term {}", change.region, change.term);
                }
                self.say(|| format!("  {id} is {}", describe::role(&change)));
            }
            Effect::Refuse(responder, error) => responder.respond(Err(error)),
            Effect::RefuseRead(responder, error) => responder.respond(Err(error)),
            Effect::Transferred(responder, result) => responder.respond(result),
            Effect::SplitEnded(responder, result) => responder.respond(result),
            Effect::MembersEnded(responder, result) => responder.respond(result),
            Effect::Inspected(inspector, status) => inspector.respond(Some(*status)),
            Effect::Grant(responder, grant) => {
                let data = self.member(id).state.snapshot();
                let verdict = grant.recheck(&*data).unwrap();
                let snapshot = RegionSnapshot { descriptor: grant.descriptor, applied: grant.applied, data };
                responder.respond(verdict.map(|()| snapshot));
            }
            Effect::MembersChanged(region) => self.say(|| format!("  {id} has members {}", describe::members(&region))),
            Effect::Split(split) => self.carry_out_split(id, split),
            Effect::BuildSnapshot(order) => {
                self.say(|| format!("  {id} has a snapshot built for {}", order.to.id));
                self.member(id).building.push_back(order);
            }
            Effect::SendSnapshot(snapshot) => {
                let message = snapshot.message;
                let lost = self.cut.contains(&(id, message.to.id.0));
                self.say(|| {
                    let note = if lost { " (lost)" } else { "" };
                    format!("  {id} -> {}: {}{note}", message.to.id, describe::message(&message))
                });
                if lost {
                    let (generation, to) = (snapshot.generation, message.to.id);
                    self.member(id).inbox.push(Input::SnapshotSent { generation, to, delivered: false });
                } else {
                    self.network.push_back(message);
                }
            }
            Effect::CancelSnapshot(cancel) => {
                self.say(|| format!("  {id} cancels the snapshot for {}", cancel.to));
                self.member(id).building.retain(|order| order.to.id != cancel.to);
                self.snapshots.remove(&(cancel.region, cancel.to.0));
            }
            Effect::DeclineSnapshot(declined) => {
                self.say(|| format!("  {id} does not want the snapshot at {}", declined.index));
            }
            Effect::ApplySnapshot(snapshot) => self.apply_snapshot(id, &snapshot),
            Effect::LeaderMissing(region) => self.ask_placement_driver(id, region),
            Effect::Destroy(destroy) => {
                self.say(|| format!("  {id} is destroyed"));
                let member = self.members.remove(&id).unwrap();
                self.destroyed += 1;
                self.next_peers.raise(member.id, member.peer.store_id, destroy.next_peer);
            }
            Effect::Hash(generation, task) => {
                let (index, hash) = (task.index, apply::hash_region(&task).unwrap());
                self.say(|| format!("  {id} hashes what it has at {index}"));
                self.member(id).inbox.push(Input::HashComputed { generation, index, hash });
            }
            Effect::Inconsistent(found) => {
                self.say(|| format!("  {id} differs from its leader at {}", found.index));
                self.inconsistent.push(id);
            }
        }
    }

    /// The placement driver knows what some leader told it last. It is asked where a test wants it to be.
    fn ask_placement_driver(&mut self, id: u64, region: RegionId) {
        if !self.has_placement_driver {
            return;
        }
        let leads = |member: &&Member| {
            let leader = member.region.as_ref().is_some_and(|region| region.status().role == Role::Leader);
            member.id == region && leader
        };
        let newest = self.members.values().filter(leads).map(|member| &member.applier.descriptor);
        let newest = newest.max_by_key(|region| region.epoch.conf_ver).cloned();
        if let Some(region) = newest {
            let members = Input::Members { epoch: region.epoch, members: region.peers.clone() };
            self.member(id).inbox.push(members);
        }
    }

    fn carry_out_split(&mut self, id: u64, split: Split) {
        let kept = split.derived.range.clone();
        self.say(|| format!("  {id} is split at {}, and keeps {}", split.index, describe::range(&kept)));
        for Child { descriptor, peer, created } in split.children {
            let known =
                self.members.get(&peer.id.0).is_some_and(|child| child.is_initialised() || child.marker.is_some());
            if known || !created {
                continue;
            }
            self.say(|| {
                let (region, range) = (descriptor.id, describe::range(&descriptor.range));
                format!("  {} begins in region {region}, {range}", peer.id)
            });
            let pairs = pairs(&*self.member(id).state, &descriptor);
            let made_by_message = self.members.contains_key(&peer.id.0);
            if made_by_message {
                while self.write(peer.id.0).is_some() {}
            } else {
                self.members.insert(peer.id.0, Member::newcomer(peer, descriptor.id, &self.next_peers));
            }
            self.member(peer.id.0).take_over(descriptor, pairs);
            self.start(peer.id.0, made_by_message);
            if split.campaign {
                self.round(peer.id.0, vec![Input::Campaign]);
            }
        }
    }

    /// The state machine builds the oldest snapshot that was ordered.
    pub fn build(&mut self, id: u64) {
        let member = self.member(id);
        let Some(order) = member.building.pop_front() else { return };
        let snapshot = member.snapshot();
        let built = Some(snapshot.built.clone());
        self.snapshots.insert((order.region, order.to.id.0), snapshot);
        self.run_round(id, vec![Input::SnapshotBuilt { generation: order.generation, to: order.to.id, built }]);
    }

    /// The sender's transport tells how a snapshot's way ended.
    pub fn report_snapshot(&mut self, message: &RegionMessage, delivered: bool) {
        let from = message.from.id.0;
        let Some(member) = self.members.get(&from) else { return };
        let generation = Generation(member.generation);
        self.round(from, vec![Input::SnapshotSent { generation, to: message.to.id, delivered }]);
    }

    fn apply_snapshot(&mut self, id: u64, apply: &ApplySnapshot) {
        let data = self.snapshots.remove(&(apply.descriptor.id, id));
        let data = data.filter(|data| data.built.index == apply.apply_state.applied);
        // What the store makes sure of before it gives the machine the message.
        let range = &apply.descriptor.range;
        let others = self.members.values().filter(|other| other.peer.id.0 != id);
        let here = others.filter(|other| other.peer.store_id == apply.peer.store_id);
        let overlap = here.into_iter().any(|other| other.owns().is_some_and(|owned| owned.overlaps(range)));
        let votes = apply.descriptor.peer(apply.peer.id).is_some_and(|peer| peer.role != PeerRole::Learner);
        let spared = self.spares_voters && votes;
        while self.write(id).is_some() {}
        let member = self.member(id);
        member.region = None;
        member.applying.clear();
        if let Some(data) = data.filter(|_| !overlap) {
            let index = apply.apply_state.applied;
            if member.loses_files && !spared {
                member.fence(data.built.descriptor, apply.apply_state, apply.hard_state);
                self.fenced += 1;
                self.say(|| format!("  {id} dies, and finds the snapshot at {index} damaged when it starts again"));
            } else {
                member.install(&data, apply.apply_state, apply.hard_state);
                self.installed += 1;
                self.say(|| format!("  {id} has the snapshot at {index}: {}", describe::range(range)));
            }
        } else if overlap {
            self.say(|| {
                format!("  {id} cannot take the snapshot: another region has a part of {}", describe::range(range))
            });
        }
        self.trace_answers();
        self.start(id, true);
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
        let region = member.id;
        let mut expected = member.apply_state().applied;
        for entry in apply.entries.iter().filter(|_| !member.applier.is_removed()) {
            expected = expected.next();
            assert_eq!(entry.index, expected.0, "apply got a gap");
            let agreed = self.committed.entry((region, entry.index)).or_insert_with(|| entry.clone());
            assert_eq!((agreed.term, &agreed.data), (entry.term, &entry.data), "members disagree on an entry");
            assert_eq!(agreed.context, entry.context, "members disagree on an entry");
        }
        let RoundOutcome { answers, mut applied, .. } = member.execute(apply);
        let Some(applied) = applied.pop() else { return };
        self.say(|| format!("  {id} has applied {}", applied.apply_state.applied));
        for (responder, result) in answers {
            responder.respond(result);
        }
        self.trace_answers();
        let apply::Applied { generation, apply_state, changes, .. } = applied;
        self.run_round(id, vec![Input::Applied { generation, apply_state, changes }]);
    }

    /// Delivers the oldest message, or loses it when its receiver is down.
    pub fn deliver(&mut self, message: RegionMessage) {
        let (from, to) = (message.from.id, message.to.id.0);
        let to = self.receiver(&message).unwrap_or(to);
        let down = self.members.get(&to).is_none_or(|member| member.region.is_none());
        self.say(|| {
            let note = if down { " (nobody)" } else { "" };
            format!("{to} <- {from}: {}{note}", describe::message(&message))
        });
        if message.raft.get_msg_type() == MessageType::MsgSnapshot {
            self.report_snapshot(&message, !down);
        }
        if !down {
            // Across the wire and back, as in production.
            let raft = RegionMessage::parse_raft(&message.raft_bytes()).unwrap();
            self.round(to, vec![Input::Message(Box::new(RegionMessage { raft, ..message }))]);
        }
    }

    /// Who gets a message: the store's peer of that region, which a message may make.
    fn receiver(&mut self, message: &RegionMessage) -> Option<u64> {
        let (region, to) = (message.region, message.to);
        let here = |member: &Member| member.id == region && member.peer.store_id == to.store_id;
        if let Some((id, _)) = self.members.iter().find(|(_, member)| here(member)) {
            return Some(*id);
        }
        let makes = matches!(
            message.raft.get_msg_type(),
            MessageType::MsgAppend
                | MessageType::MsgHeartbeat
                | MessageType::MsgRequestVote
                | MessageType::MsgRequestPreVote
        );
        if message.note.is_some() || !makes || !self.next_peers.claim(region, to) {
            return None;
        }
        self.say(|| format!("  {} is made by a message", to.id));
        let (by, store, conf_ver) = (message.from.id, message.from.store_id, message.epoch.conf_ver);
        let mut newcomer = Member::newcomer(to, region, &self.next_peers);
        newcomer.invitation = Some(Invitation { by, store, conf_ver });
        self.members.insert(to.id.0, newcomer);
        self.start(to.id.0, false);
        Some(to.id.0)
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

    /// Lets a member's clock run and delivers all that it causes; only answers leave a trace.
    pub fn pass(&mut self, id: u64, ticks: u64) {
        self.tracing = false;
        for _ in 0..ticks {
            self.tick(id);
            self.deliver_until_quiet();
        }
        self.tracing = true;
        self.trace_answers();
    }

    /// Lets a member win an election and tell the others by heartbeat, without a trace.
    pub fn elect(&mut self, id: u64) {
        self.tracing = false;
        let region = self.member(id).id;
        let ids: Vec<u64> = self.members.iter().filter(|(_, member)| member.id == region).map(|(id, _)| *id).collect();
        // The others forget their leader, but do not campaign themselves. The old leader's clock stands still.
        let leads =
            |id: &u64| self.members[id].region.as_ref().is_some_and(|region| region.status().role == Role::Leader);
        for other in ids.into_iter().filter(|other| *other != id && !leads(other)).collect::<Vec<_>>() {
            (0..self.config.election_ticks).for_each(|_| self.tick(other));
        }
        let asked = |cluster: &Self| cluster.network.iter().filter(|message| message.note.is_none()).count();
        let before = asked(self);
        let mut ticks = 0;
        while asked(self) == before && ticks < 2 * self.config.election_ticks {
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

    fn trace_answers(&mut self) {
        if !self.tracing {
            return;
        }
        let answers: Vec<_> = self.answers.lock().unwrap()[self.answers_traced..].to_vec();
        self.answers_traced += answers.len();
        for (name, answer) in answers {
            self.say(|| match answer {
                Answer::Written => format!("  client {}: done", describe::shorten(&name)),
                Answer::Read { applied, keys, .. } => format!("  client {name}: sees {} at {applied}", keys.join(" ")),
                Answer::Split(regions) => format!("  client {name}: regions {regions:?}"),
                Answer::Done => format!("  client {name}: done"),
                Answer::Error(error) => {
                    format!("  client {}: {}", describe::shorten(&name), describe::error(&error))
                }
            });
        }
    }
}
