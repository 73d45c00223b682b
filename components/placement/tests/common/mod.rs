//! A cluster of a few lines: stores and regions that do as they are told, at once.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use placement::{
    Command, DownPeer, Ending, OperatorId, OrderKind, PeerChangeKind, Placement, PlacementConfig, PlacementError,
    RegionOrder, RegionState, StoreLoad,
};
use types::{Instant, KeyRange, Peer, PeerId, PeerRole, RegionDescriptor, RegionEpoch, RegionId, StoreId};

pub const GIB: u64 = 1 << 30;

pub struct Bench {
    pub placement: Placement,
    pub now: Instant,
    pub next_id: u64,
    pub stores: BTreeMap<StoreId, StoreLoad>,
    pub regions: BTreeMap<RegionId, RegionState>,
    /// Orders for other regions than the one that reported.
    pub pushed: Vec<RegionOrder>,
}

pub fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub fn region(id: u64, stores: &[u64]) -> RegionState {
    let peers: Vec<Peer> = stores.iter().map(|store| Peer::voter((id * 100 + store).into(), (*store).into())).collect();
    let range = KeyRange::new(vec![id as u8], vec![id as u8 + 1]);
    let descriptor = RegionDescriptor { id: id.into(), range, epoch: RegionEpoch::INITIAL, peers: peers.clone() };
    RegionState {
        descriptor: Arc::new(descriptor),
        leader: peers[0],
        down_peers: Vec::new(),
        pending_peers: Vec::new(),
        approximate_bytes: 64 << 20,
        approximate_keys: 1000,
    }
}

impl Bench {
    /// Stores 1 to `stores`, all of them heard of.
    pub fn new(config: PlacementConfig, stores: u64) -> Self {
        let mut bench = Self {
            placement: Placement::new(config, Instant::ORIGIN),
            now: Instant::ORIGIN,
            next_id: 10_000,
            stores: BTreeMap::new(),
            regions: BTreeMap::new(),
            pushed: Vec::new(),
        };
        for store in 1..=stores {
            bench.add_store(store, &[]);
        }
        bench.hear_stores();
        bench
    }

    pub fn add_store(&mut self, store: u64, pairs: &[(&str, &str)]) {
        let load = StoreLoad { capacity_bytes: 1000 * GIB, available_bytes: 900 * GIB, ..StoreLoad::default() };
        self.stores.insert(store.into(), load);
        self.placement.set_store(self.now, store.into(), &labels(pairs), false);
    }

    pub fn leave(&mut self, store: u64, pairs: &[(&str, &str)]) {
        self.placement.set_store(self.now, store.into(), &labels(pairs), true);
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Each store reports, and all wait ten seconds.
    pub fn hear_stores(&mut self) {
        for (store, load) in self.stores.clone() {
            self.hear_store(store, load);
        }
        self.pass(Duration::from_secs(10));
    }

    pub fn hear_store(&mut self, store: StoreId, load: StoreLoad) {
        let Self { placement, now, next_id, pushed, .. } = self;
        placement.store_heartbeat(*now, store, load, &mut || take(next_id), pushed);
    }

    /// A region reports as it is.
    pub fn hear(&mut self, id: u64) -> Option<RegionOrder> {
        let region = Arc::new(self.regions[&RegionId(id)].clone());
        let Self { placement, now, next_id, pushed, .. } = self;
        placement.region_heartbeat(*now, region, &mut || take(next_id), pushed)
    }

    pub fn set(&mut self, region: RegionState) -> Option<RegionOrder> {
        let id = region.id();
        self.regions.insert(id, region);
        self.hear(id.0)
    }

    /// Gives a command, and the order that it made.
    pub fn command(
        &mut self,
        region: u64,
        command: &Command,
    ) -> Result<(OperatorId, Option<RegionOrder>), PlacementError> {
        let Self { placement, now, next_id, pushed, .. } = self;
        assert!(pushed.is_empty());
        let operator = placement.command(*now, region.into(), command, &mut || take(next_id), pushed)?;
        Ok((operator, self.pushed.pop()))
    }

    pub fn region_mut(&mut self, id: u64) -> &mut RegionState {
        self.regions.get_mut(&RegionId(id)).unwrap()
    }

    pub fn descriptor_mut(&mut self, id: u64) -> &mut RegionDescriptor {
        Arc::make_mut(&mut self.region_mut(id).descriptor)
    }

    pub fn down(&mut self, id: u64, store: u64, down_seconds: u64) {
        let region = self.region_mut(id);
        let peer = region.peer_on(store.into()).unwrap();
        region.down_peers = vec![DownPeer { peer, down_seconds }];
    }

    /// The region does what it is told.
    pub fn obey(&mut self, order: &RegionOrder) {
        let region = self.regions.get_mut(&order.region).unwrap();
        assert_eq!((order.epoch, order.leader.id), (region.descriptor.epoch, region.leader.id), "it is not stale");
        match &order.kind {
            OrderKind::TransferLeader(to) => region.leader = to[0],
            OrderKind::ChangePeer(change) => change_peers(Arc::make_mut(&mut region.descriptor), &[(*change).into()]),
            OrderKind::ChangePeers(changes) => {
                let changes: Vec<_> = changes.iter().map(|change| (*change).into()).collect();
                change_peers(Arc::make_mut(&mut region.descriptor), &changes);
            }
            OrderKind::Split(_) => Arc::make_mut(&mut region.descriptor).epoch.version += 1,
        }
    }

    /// Obeys until there is nothing more to do; one line for each order.
    pub fn obey_all(&mut self, id: u64) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(order) = self.hear(id) {
            assert!(lines.len() < 50, "it never ends: {lines:#?}");
            lines.push(line(&order));
            self.obey(&order);
        }
        lines
    }

    pub fn last_ending(&self) -> (&'static str, Ending) {
        let record = self.placement.records().next_back().unwrap();
        (record.operator.name(), record.ending.clone())
    }

    /// The stores of a region, with `L` for learners.
    pub fn members(&self, id: u64) -> Vec<String> {
        let peer = |peer: &Peer| match peer.role {
            PeerRole::Voter => peer.store_id.to_string(),
            PeerRole::Learner => format!("{}L", peer.store_id),
            PeerRole::IncomingVoter => format!("{}+", peer.store_id),
            PeerRole::DemotingVoter => format!("{}-", peer.store_id),
        };
        let mut members: Vec<String> = self.regions[&RegionId(id)].descriptor.peers.iter().map(peer).collect();
        members.sort();
        members
    }
}

fn take(next_id: &mut u64) -> Option<PeerId> {
    *next_id += 1;
    Some(PeerId(*next_id))
}

/// An order as one line.
pub fn line(order: &RegionOrder) -> String {
    let change = |kind: PeerChangeKind, store: StoreId| match kind {
        PeerChangeKind::AddVoter => format!("voter {store}"),
        PeerChangeKind::AddLearner => format!("learner {store}"),
        PeerChangeKind::Remove => format!("remove {store}"),
    };
    match &order.kind {
        OrderKind::TransferLeader(to) => {
            format!("transfer to {}", to.iter().map(|peer| peer.store_id.to_string()).collect::<Vec<_>>().join(" or "))
        }
        OrderKind::ChangePeer(one) => format!("simple {}", change(one.kind, one.peer.store_id)),
        OrderKind::ChangePeers(all) if all.is_empty() => "leave joint".to_owned(),
        OrderKind::ChangePeers(all) => {
            all.iter().map(|one| change(one.kind, one.peer.store_id)).collect::<Vec<_>>().join(", ")
        }
        OrderKind::Split(policy) => format!("split by {}", policy.name()),
    }
}

/// A change as the model applies it.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub kind: PeerChangeKind,
    pub peer: Peer,
}

impl From<placement::PeerChange> for Change {
    fn from(change: placement::PeerChange) -> Self {
        Self { kind: change.kind, peer: change.peer }
    }
}

/// Changes a membership by the rules of raftstore-rules §4 and §7.
pub fn change_peers(region: &mut RegionDescriptor, changes: &[Change]) {
    let is_joint = |peer: &Peer| matches!(peer.role, PeerRole::IncomingVoter | PeerRole::DemotingVoter);
    if changes.is_empty() {
        region.epoch.conf_ver += region.peers.iter().filter(|peer| is_joint(peer)).count() as u64;
        for peer in &mut region.peers {
            peer.role = match peer.role {
                PeerRole::IncomingVoter => PeerRole::Voter,
                PeerRole::DemotingVoter => PeerRole::Learner,
                role => role,
            };
        }
        return;
    }
    assert!(!region.peers.iter().any(is_joint), "one change at a time");
    region.epoch.conf_ver += changes.len() as u64;
    let joint = changes.len() > 1;
    for change in changes {
        let member = region.peers.iter_mut().find(|peer| peer.store_id == change.peer.store_id);
        match (change.kind, member) {
            (PeerChangeKind::AddVoter, Some(member)) => {
                assert_eq!((member.id, member.role), (change.peer.id, PeerRole::Learner));
                member.role = if joint { PeerRole::IncomingVoter } else { PeerRole::Voter };
            }
            (PeerChangeKind::AddLearner, Some(member)) => {
                assert_eq!((member.id, member.role), (change.peer.id, PeerRole::Voter));
                member.role = if joint { PeerRole::DemotingVoter } else { PeerRole::Learner };
            }
            (PeerChangeKind::AddLearner, None) => {
                region.peers.push(Peer { role: PeerRole::Learner, ..change.peer });
            }
            (PeerChangeKind::Remove, Some(member)) => {
                assert!(!joint && member.id == change.peer.id);
                let id = member.id;
                region.peers.retain(|peer| peer.id != id);
            }
            (kind, member) => panic!("{kind:?} of {member:?}"),
        }
    }
}
