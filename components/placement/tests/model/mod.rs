//! A cluster on one seed that obeys a placement driver as real stores do: late, sometimes not at all, sometimes twice.
//!
//! Time goes in seconds. Heartbeats and orders travel with delays, overtake each other and get lost. Learners take their
//! time; leaders leave joint configurations by themselves, fail over, split their regions. The driver restarts and
//! forgets everything. What must hold is checked at every second.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use placement::{
    Command, DownPeer, Members, OrderKind, Origin, PeerChangeKind, Placement, PlacementConfig, RegionOrder,
    RegionState, Step, StoreLoad,
};
use types::seed::Rng;
use types::{Instant, KeyRange, Peer, PeerId, PeerRole, RegionDescriptor, RegionEpoch, RegionId, StoreId};

use crate::common::{Change, change_peers};

const HEARTBEAT_S: u64 = 60;
const STORE_HEARTBEAT_S: u64 = 10;

#[derive(Clone, Debug)]
struct Store {
    alive: bool,
    leaving: bool,
    labels: BTreeMap<String, String>,
    /// Takes no snapshot until then.
    stuck_until: u64,
}

#[derive(Clone, Debug)]
struct Region {
    descriptor: RegionDescriptor,
    leader: Peer,
    term: u64,
    /// When a peer will have caught up.
    behind_until: BTreeMap<PeerId, u64>,
    next_heartbeat: u64,
    /// When a new leader comes, after the old one's store died.
    election: Option<u64>,
    joint_since: Option<u64>,
}

#[derive(Clone, Debug)]
enum Event {
    Report(u64, RegionState),
    Order(RegionOrder),
}

/// How hostile the world is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One message in so many is lost; none when zero.
    pub loses_one_in: u64,
    /// Most seconds that a message travels.
    pub delay_s: u64,
    /// Whether leaders leave joint configurations by themselves.
    pub auto_leave: bool,
    /// Whether stores refuse snapshots for a while now and then.
    pub stuck_learners: bool,
    /// Whether regions split by themselves.
    pub splits: bool,
}

pub struct Model {
    rng: Rng,
    weather: Weather,
    config: PlacementConfig,
    pub now_s: u64,
    stores: BTreeMap<StoreId, Store>,
    regions: BTreeMap<RegionId, Region>,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    next_id: u64,
    pub placement: Placement,
    /// What the driver's routing knows: term and epoch of what it took over.
    known: BTreeMap<RegionId, (u64, RegionEpoch)>,
    dead_since: BTreeMap<StoreId, u64>,
    /// Everything that happened, as one number.
    pub trace: u64,
    pub created: u64,
    adds: BTreeMap<StoreId, Vec<u64>>,
    seen: BTreeSet<u64>,
}

impl Model {
    pub fn new(seed: u64, config: PlacementConfig, weather: Weather, stores: u64, regions: u64) -> Self {
        let mut model = Self {
            rng: Rng::new(seed),
            weather,
            placement: Placement::new(config.clone(), Instant::ORIGIN),
            config,
            now_s: 0,
            stores: BTreeMap::new(),
            regions: BTreeMap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            next_id: 1000,
            known: BTreeMap::new(),
            dead_since: BTreeMap::new(),
            trace: seed,
            created: 0,
            adds: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        for store in 1..=stores {
            model.join(store, &[]);
        }
        let replicas = model.config.max_replicas as u64;
        for index in 0..regions {
            let on = |replica: u64| StoreId((index + replica) % stores + 1);
            let peers: Vec<Peer> =
                (0..replicas).map(|replica| Peer::voter(model.take_id().into(), on(replica))).collect();
            let end = if index + 1 == regions { Vec::new() } else { key(index + 1) };
            let start = if index == 0 { Vec::new() } else { key(index) };
            let id = RegionId(index + 1);
            let descriptor =
                RegionDescriptor { id, range: KeyRange::new(start, end), epoch: RegionEpoch::INITIAL, peers };
            model.add_region(descriptor);
        }
        model
    }

    fn add_region(&mut self, descriptor: RegionDescriptor) {
        let leader = descriptor.peers[0];
        let next_heartbeat = self.now_s + self.rng.below(HEARTBEAT_S);
        let region = Region {
            leader,
            term: 6,
            behind_until: BTreeMap::new(),
            next_heartbeat,
            election: None,
            joint_since: None,
            descriptor,
        };
        self.regions.insert(region.descriptor.id, region);
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn now(&self) -> Instant {
        Instant::ORIGIN + Duration::from_secs(self.now_s)
    }

    fn note(&mut self, parts: &[u64]) {
        self.trace = types::seed::Seed(self.trace).hash(parts);
    }

    // What may be done to the cluster.

    pub fn join(&mut self, store: u64, labels: &[(&str, &str)]) {
        let labels = crate::common::labels(labels);
        let joined = Store { alive: true, leaving: false, labels, stuck_until: 0 };
        self.stores.insert(store.into(), joined);
        self.tell_store(store.into());
    }

    fn tell_store(&mut self, id: StoreId) {
        let store = &self.stores[&id];
        self.placement.set_store(self.now(), id, &store.labels, store.leaving);
    }

    pub fn kill(&mut self, store: u64) {
        self.stores.get_mut(&store.into()).unwrap().alive = false;
        self.dead_since.insert(store.into(), self.now_s);
    }

    pub fn revive(&mut self, store: u64) {
        self.stores.get_mut(&store.into()).unwrap().alive = true;
        self.dead_since.remove(&store.into());
    }

    pub fn leave(&mut self, store: u64) {
        self.stores.get_mut(&store.into()).unwrap().leaving = true;
        self.tell_store(store.into());
    }

    /// The driver loses everything that it did not write down.
    pub fn restart_driver(&mut self) {
        self.placement = Placement::new(self.config.clone(), self.now());
        self.known.clear();
        let stores: Vec<StoreId> = self.stores.keys().copied().collect();
        stores.into_iter().for_each(|store| self.tell_store(store));
    }

    pub fn random_store(&mut self) -> u64 {
        let all: Vec<u64> = self.stores.keys().map(|store| store.0).collect();
        all[self.rng.below(all.len() as u64) as usize]
    }

    /// People are at work.
    pub fn random_command(&mut self) {
        let region = RegionId(1 + self.rng.below(self.regions.len() as u64));
        let (from, to) = (StoreId(self.random_store()), StoreId(self.random_store()));
        let command = match self.rng.below(5) {
            0 => Command::TransferLeader { to },
            1 => Command::AddPeer { to },
            2 => Command::MovePeer { from, to },
            3 => Command::AddLearner { to },
            _ => Command::Scatter { group: "all".to_owned() },
        };
        let mut orders = Vec::new();
        let (now, next_id) = (self.now(), &mut self.next_id);
        let mut ids = || {
            *next_id += 1;
            Some(PeerId(*next_id))
        };
        drop(self.placement.command(now, region, &command, &mut ids, &mut orders));
        orders.into_iter().for_each(|order| self.post(Event::Order(order)));
    }

    // The network.

    fn post(&mut self, event: Event) {
        let lost = self.weather.loses_one_in;
        if lost > 0 && self.rng.one_in(lost) {
            return;
        }
        let copies = if lost > 0 && self.rng.one_in(20) { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.now_s + self.rng.below(self.weather.delay_s + 1);
            self.next_event += 1;
            self.events.insert((at, self.next_event), event.clone());
        }
    }

    // Time.

    pub fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn second(&mut self) {
        self.now_s += 1;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= self.now_s) {
            match entry.remove() {
                Event::Report(term, state) => self.deliver_report(term, state),
                Event::Order(order) => self.deliver_order(&order),
            }
        }
        let ids: Vec<RegionId> = self.regions.keys().copied().collect();
        ids.iter().for_each(|id| self.region_lives(*id));
        if self.now_s.is_multiple_of(STORE_HEARTBEAT_S) {
            let alive = self.stores.iter().filter(|(_, store)| store.alive).map(|(id, _)| *id);
            alive.collect::<Vec<_>>().into_iter().for_each(|store| self.store_heartbeat(store));
        }
        if self.weather.stuck_learners && self.rng.one_in(300) {
            let (store, until) = (StoreId(self.random_store()), self.now_s + self.rng.below(900));
            self.stores.get_mut(&store).unwrap().stuck_until = until;
        }
        self.check();
    }

    fn is_alive(&self, peer: Peer) -> bool {
        self.stores[&peer.store_id].alive
    }

    fn keeps_up(&self, region: &Region, peer: Peer) -> bool {
        self.is_alive(peer) && !region.behind_until.contains_key(&peer.id)
    }

    fn region_lives(&mut self, id: RegionId) {
        self.catch_up(id);
        self.fail_over(id);
        let region = &self.regions[&id];
        if !self.is_alive(region.leader) {
            return;
        }
        let leader_demoted = region.descriptor.peer(region.leader.id).unwrap().role == PeerRole::DemotingVoter;
        if let Some(since) = region.joint_since
            && self.weather.auto_leave
            && !leader_demoted
            && self.now_s > since + 5
        {
            self.change(id, &[]);
        }
        if self.weather.splits && self.rng.one_in(2000) && self.regions.len() < 40 {
            self.split(id, None);
        }
        if self.regions[&id].next_heartbeat <= self.now_s {
            self.report(id);
        }
    }

    fn catch_up(&mut self, id: RegionId) {
        let now = self.now_s;
        let mut region = self.regions.remove(&id).unwrap();
        let done = |(peer, until): (&PeerId, &u64)| {
            let on = region.descriptor.peer(*peer).map(|peer| &self.stores[&peer.store_id]);
            on.is_none_or(|store| *until <= now && store.alive && store.stuck_until <= now).then_some(*peer)
        };
        let done: Vec<PeerId> = region.behind_until.iter().filter_map(done).collect();
        for peer in done {
            region.behind_until.remove(&peer);
        }
        self.regions.insert(id, region);
    }

    fn fail_over(&mut self, id: RegionId) {
        let region = &self.regions[&id];
        if self.is_alive(region.leader) {
            return;
        }
        let Some(at) = region.election else {
            let at = self.now_s + 10 + self.rng.below(10);
            self.regions.get_mut(&id).unwrap().election = Some(at);
            return;
        };
        let votes = Members::of(&region.descriptor).has_quorum(|peer| self.is_alive(*peer));
        let can_lead = |peer: &&Peer| peer.role != PeerRole::Learner && self.keeps_up(region, **peer);
        let next = region.descriptor.peers.iter().find(can_lead).copied();
        if at <= self.now_s
            && votes
            && let Some(next) = next
        {
            let region = self.regions.get_mut(&id).unwrap();
            (region.leader, region.election) = (next, None);
            region.term += 1;
            self.report(id);
        }
    }

    fn state(&self, id: RegionId) -> RegionState {
        let region = &self.regions[&id];
        let down = |peer: &Peer| {
            let since = self.dead_since.get(&peer.store_id)?;
            let down_seconds = self.now_s - since;
            (down_seconds >= 30).then_some(DownPeer { peer: *peer, down_seconds })
        };
        let pending = |peer: &&Peer| region.behind_until.contains_key(&peer.id);
        RegionState {
            descriptor: Arc::new(region.descriptor.clone()),
            leader: *region.descriptor.peer(region.leader.id).unwrap(),
            down_peers: region.descriptor.peers.iter().filter_map(down).collect(),
            pending_peers: region.descriptor.peers.iter().filter(pending).copied().collect(),
            approximate_bytes: 64 << 20,
            approximate_keys: 1000,
        }
    }

    /// The leader reports, now and in a minute again.
    fn report(&mut self, id: RegionId) {
        let region = self.regions.get_mut(&id).unwrap();
        region.next_heartbeat = self.now_s + HEARTBEAT_S;
        let term = region.term;
        let state = self.state(id);
        self.post(Event::Report(term, state));
    }

    fn deliver_report(&mut self, term: u64, state: RegionState) {
        // What the driver's routing refuses: whoever hands heartbeats to placement has to.
        let (id, epoch) = (state.id(), state.descriptor.epoch);
        if let Some((known_term, known)) = self.known.get(&id)
            && (term < *known_term || epoch.version < known.version || epoch.conf_ver < known.conf_ver)
        {
            return;
        }
        self.known.insert(id, (term, epoch));
        let mut pushed = Vec::new();
        let (now, next_id) = (self.now(), &mut self.next_id);
        let mut ids = || {
            *next_id += 1;
            Some(PeerId(*next_id))
        };
        let order = self.placement.region_heartbeat(now, Arc::new(state), &mut ids, &mut pushed);
        pushed.into_iter().chain(order).for_each(|order| self.post(Event::Order(order)));
    }

    fn store_heartbeat(&mut self, store: StoreId) {
        let on = self.regions.values().filter(|region| region.descriptor.peer_on(store).is_some()).count() as u64;
        let load =
            StoreLoad { capacity_bytes: 1 << 40, available_bytes: 1 << 39, region_count: on, ..StoreLoad::default() };
        let mut pushed = Vec::new();
        let (now, next_id) = (self.now(), &mut self.next_id);
        let mut ids = || {
            *next_id += 1;
            Some(PeerId(*next_id))
        };
        self.placement.store_heartbeat(now, store, load, &mut ids, &mut pushed);
        pushed.into_iter().for_each(|order| self.post(Event::Order(order)));
    }

    /// The leader obeys, unless the order is stale or cannot be.
    fn deliver_order(&mut self, order: &RegionOrder) {
        let Some(region) = self.regions.get(&order.region) else { return };
        let stale = order.epoch != region.descriptor.epoch || order.leader.id != region.leader.id;
        if stale || !self.is_alive(region.leader) {
            return;
        }
        self.note(&[self.now_s, order.region.0, order.epoch.conf_ver]);
        match &order.kind {
            OrderKind::TransferLeader(to) => self.transfer(order.region, to),
            OrderKind::ChangePeer(change) => self.change(order.region, &[(*change).into()]),
            OrderKind::ChangePeers(changes) => {
                let changes: Vec<Change> = changes.iter().map(|change| (*change).into()).collect();
                self.change(order.region, &changes);
            }
            OrderKind::Split(_) => self.split(order.region, None),
        }
    }

    fn transfer(&mut self, id: RegionId, to: &[Peer]) {
        let region = &self.regions[&id];
        let member = |peer: &Peer| region.descriptor.peer(peer.id).copied();
        let can_lead = |peer: &Peer| peer.role != PeerRole::Learner && self.keeps_up(region, *peer);
        if let Some(next) = to.iter().filter_map(member).find(can_lead) {
            let region = self.regions.get_mut(&id).unwrap();
            region.leader = next;
            region.term += 1;
            self.report(id);
        }
    }

    fn change(&mut self, id: RegionId, changes: &[Change]) {
        let region = self.regions.get_mut(&id).unwrap();
        let leader_demoted = region.descriptor.peer(region.leader.id).unwrap().role == PeerRole::DemotingVoter;
        let is_joint = region.joint_since.is_some();
        let of_leader = |change: &Change| change.peer.id == region.leader.id && change.kind != PeerChangeKind::AddVoter;
        // What a leader refuses (raftstore-rules §7).
        if changes.is_empty() != is_joint
            || changes.is_empty() && leader_demoted
            || changes.len() == 1 && changes.iter().any(of_leader)
        {
            return;
        }
        change_peers(&mut region.descriptor, changes);
        region.joint_since = (changes.len() > 1).then_some(self.now_s);
        for change in changes.iter().filter(|change| change.kind == PeerChangeKind::AddLearner) {
            if !region
                .descriptor
                .peers
                .iter()
                .any(|peer| peer.id == change.peer.id && peer.role == PeerRole::DemotingVoter)
                && region.descriptor.peer(change.peer.id).is_some_and(|peer| peer.role == PeerRole::Learner)
                && changes.len() == 1
            {
                region.behind_until.insert(change.peer.id, self.now_s + 1 + self.rng.below(60));
            }
        }
        self.report(id);
    }

    fn split(&mut self, id: RegionId, at: Option<Bytes>) {
        let child = RegionId(self.regions.len() as u64 + 1);
        let parent = &self.regions[&id];
        if !parent.behind_until.is_empty() || parent.joint_since.is_some() {
            return;
        }
        let at = at.unwrap_or_else(|| {
            let mut middle = parent.descriptor.range.start.to_vec();
            middle.push(128);
            middle.into()
        });
        let mut descriptor = parent.descriptor.clone();
        if !descriptor.range.contains(&at) {
            return;
        }
        descriptor.id = child;
        descriptor.epoch.version += 1;
        descriptor.range.start = at.clone();
        let leader_store = parent.leader.store_id;
        for peer in &mut descriptor.peers {
            peer.id = PeerId(self.next_id + 1);
            self.next_id += 1;
        }
        let leader = *descriptor.peer_on(leader_store).unwrap();
        self.add_region(descriptor);
        self.regions.get_mut(&child).unwrap().leader = leader;
        let parent = self.regions.get_mut(&id).unwrap();
        parent.descriptor.epoch.version += 1;
        parent.descriptor.range.end = at;
        self.report(child);
        self.report(id);
    }

    // What must hold.

    fn check(&mut self) {
        let dead = self.stores.values().filter(|store| !store.alive).count();
        for region in self.regions.values() {
            let members = Members::of(&region.descriptor);
            if dead <= 1 {
                assert!(
                    members.has_quorum(|peer| self.keeps_up(region, *peer)),
                    "{} s: region {:?} has lost its quorum of healthy voters",
                    self.now_s,
                    region.descriptor
                );
            }
        }
        let by_checkers = || self.placement.operators().filter(|operator| operator.origin() == Origin::Checker);
        let (leaders, others): (Vec<_>, Vec<_>) = by_checkers()
            .partition(|operator| operator.steps().all(|step| matches!(step, Step::TransferLeader { .. })));
        assert!(leaders.len() <= self.config.leader_schedule_limit);
        assert!(others.len() <= self.config.replica_schedule_limit);
        let mut fresh = Vec::new();
        for operator in by_checkers() {
            if operator.created() == self.now() && self.seen.insert(operator.id().0 << 32 | self.now_s) {
                fresh.push((operator.region(), operator.id(), operator.steps().cloned().collect::<Vec<_>>()));
            }
        }
        for (region, _, steps) in fresh {
            self.created += 1;
            self.note(&[self.now_s, region.0, steps.len() as u64]);
            for step in steps {
                if let Step::AddLearner { peer } = step {
                    self.adds.entry(peer.store_id).or_default().push(self.now_s);
                }
            }
        }
        let (limit, now) = (self.config.store_limit as usize, self.now_s);
        for (store, adds) in &mut self.adds {
            adds.retain(|at| at + 60 > now);
            // What was saved up, and what comes in meanwhile.
            assert!(adds.len() <= 2 * limit, "{now} s: store {store} got {} peers in a minute", adds.len());
        }
    }

    /// Whether each region has as many voters as it should, all of them on stores that live and stay.
    pub fn is_whole(&self) -> bool {
        self.regions.values().all(|region| {
            let fine = |peer: &Peer| {
                let store = &self.stores[&peer.store_id];
                peer.role == PeerRole::Voter && store.alive && !store.leaving && self.keeps_up(region, *peer)
            };
            region.descriptor.peers.len() == self.config.max_replicas && region.descriptor.peers.iter().all(fine)
        })
    }

    /// Runs until every region is as it should be and the driver has nothing under way.
    pub fn run_until_whole(&mut self, most_seconds: u64) -> u64 {
        let begun = self.now_s;
        while !(self.is_whole() && self.placement.operators().len() == 0) {
            assert!(self.now_s < begun + most_seconds, "not whole after {most_seconds} s: {:#?}", self.broken());
            self.second();
        }
        self.now_s - begun
    }

    fn broken(&self) -> Vec<(RegionId, Vec<Peer>, Option<&placement::Operator>)> {
        let wrong = |region: &&Region| {
            let on_good = |peer: &Peer| self.stores[&peer.store_id].alive && !self.stores[&peer.store_id].leaving;
            region.descriptor.peers.len() != self.config.max_replicas || !region.descriptor.peers.iter().all(on_good)
        };
        let tell = |region: &Region| {
            let id = region.descriptor.id;
            (id, region.descriptor.peers.clone(), self.placement.operator(id))
        };
        self.regions.values().filter(wrong).map(tell).take(3).collect()
    }

    pub fn peers_on(&self, store: u64) -> usize {
        self.regions.values().filter(|region| region.descriptor.peer_on(store.into()).is_some()).count()
    }
}

fn key(index: u64) -> Vec<u8> {
    vec![index as u8]
}
