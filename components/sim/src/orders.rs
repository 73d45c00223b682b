//! What leaders and the coordinator say to each other about moving regions: reports, orders, and the ids of newcomers.
//!
//! A leader reports what production's does: who of its members is behind, and who has been silent for how long. Orders
//! come as answers, or by themselves; they may be late, lost, and given twice.

use std::collections::BTreeMap;

use bytes::Bytes;
use coordinator::{Change, Coordinator, DownPeer, IdBatch, OrderSink, RegionReport, Reply, SplitIds, View};
use placement::{OrderKind, PeerChange, PeerChangeKind, RegionOrder, SplitPolicy};
use region::{Inspector, RegionStatus, Role};
use store::StoreHandle;
use types::{
    Instant, MemberChange, MemberChangeKind, NewRegion, Peer, PeerId, RegionDescriptor, RegionEpoch, RegionId,
    Responder, SplitPlan, StoreId,
};

use crate::cell::{Life, Outgoing};
use crate::coordinating::ToCoordinator;
use crate::node::Running;
use crate::observation::Event;

/// How many bytes a region is said to hold.
const REGION_BYTES: u64 = 1 << 20;

/// A change of one member; a newcomer has no id yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) kind: MemberChangeKind,
    pub(crate) store: StoreId,
    pub(crate) peer: Option<PeerId>,
}

impl Wanted {
    /// A peer that is there.
    pub(crate) fn of(kind: MemberChangeKind, peer: Peer) -> Self {
        Self { kind, store: peer.store_id, peer: Some(peer.id) }
    }

    /// One that is to come.
    pub(crate) fn newcomer(kind: MemberChangeKind, store: StoreId) -> Self {
        Self { kind, store, peer: None }
    }
}

/// What the coordinator tells a store beside the answers to those who join.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// Do this.
    Order(RegionOrder),
    /// The ids for a split that the store asked for.
    Split { region: RegionId, epoch: RegionEpoch, plan: SplitPlan },
    /// The ids for a split that the store's own checker asked for, in this life of its process.
    SplitIds { life: u64, number: u64, ids: Option<Vec<SplitIds>> },
    /// The ids for a change of members that the store asked for.
    Members { region: RegionId, epoch: RegionEpoch, changes: Vec<MemberChange> },
    /// Who a region's members are.
    Known { region: RegionId, epoch: RegionEpoch, members: Vec<Peer> },
}

impl OrderSink for Life {
    fn order(&self, order: RegionOrder) {
        self.give(Outgoing::Word(order.leader.store_id, Word::Order(order)));
    }
}

/// Since when leaders miss members, by their own clock.
#[derive(Debug, Default)]
pub(crate) struct Silences(BTreeMap<(RegionId, PeerId), Instant>);

impl Silences {
    /// What a leader reports of its region.
    pub(crate) fn report(&mut self, status: &RegionStatus, now: Instant) -> RegionReport {
        let region = status.descriptor.id;
        let is_member = |peer: PeerId| status.descriptor.peer(peer).is_some();
        self.0.retain(|(of, peer), _| *of != region || is_member(*peer));
        let mut down_peers = Vec::new();
        let mut pending_peers = Vec::new();
        for member in &status.members {
            let key = (region, member.peer.id);
            if member.active {
                self.0.remove(&key);
            } else {
                let since = *self.0.entry(key).or_insert(now);
                down_peers.push(DownPeer { peer: member.peer, down_seconds: now.since(since).as_secs() });
            }
            if member.matched < status.apply_state.truncated {
                pending_peers.push(member.peer);
            }
        }
        RegionReport {
            descriptor: status.descriptor.clone(),
            leader: status.peer,
            term: status.term,
            down_peers,
            pending_peers,
            approximate_bytes: REGION_BYTES,
            ..RegionReport::default()
        }
    }
}

/// Asks a region for what its leader reports; nothing comes of it where the region is not led.
pub(crate) fn look(life: &Life, handle: &StoreHandle, region: RegionId) {
    let life = life.clone();
    let tell = move |status: Option<RegionStatus>| {
        if let Some(status) = status.filter(|status| status.role == Role::Leader) {
            life.give(Outgoing::Status(Box::new(status)));
        }
    };
    handle.inspect(region, Inspector::new(tell));
}

/// Takes what a leader asks of the coordinator.
pub(crate) fn ask_ids(coordinator: &Coordinator, life: &Life, asker: u64, what: ToCoordinator) {
    match what {
        ToCoordinator::Split { store, region, keys, right_derive } => {
            let (life, asked, count) = (life.clone(), (*region).clone(), keys.len() as u32);
            let reply = Reply::new(move |result: Result<Vec<SplitIds>, _>| {
                let Ok(ids) = result else { return };
                note_split(&life, &ids);
                let new = |(key, ids): (Bytes, SplitIds)| NewRegion { key, id: ids.region, peers: ids.peers };
                let plan = SplitPlan { regions: keys.into_iter().zip(ids).map(new).collect(), right_derive };
                life.give(Outgoing::Word(store, Word::Split { region: asked.id, epoch: asked.epoch, plan }));
            });
            coordinator.request(Change::AskSplit { region, count, reply });
        }
        ToCoordinator::SplitIds { store, number, region, count } => {
            let life = life.clone();
            let reply = Reply::new(move |result: Result<Vec<SplitIds>, _>| {
                let ids = result.ok();
                ids.iter().for_each(|ids| note_split(&life, ids));
                life.give(Outgoing::Word(store, Word::SplitIds { life: asker, number, ids }));
            });
            coordinator.request(Change::AskSplit { region, count, reply });
        }
        ToCoordinator::Members { store, region, epoch, changes } => {
            let (life, noted) = (life.clone(), life.clone());
            let count = changes.iter().filter(|wanted| wanted.peer.is_none()).count() as u32;
            let give = move |last: u64| {
                let mut next = last - u64::from(count);
                let mut fresh = || {
                    next += 1;
                    PeerId(next)
                };
                let change = |Wanted { kind, store, peer }: Wanted| MemberChange {
                    kind,
                    store,
                    peer: peer.unwrap_or_else(&mut fresh),
                };
                let changes = changes.into_iter().map(change).collect();
                life.give(Outgoing::Word(store, Word::Members { region, epoch, changes }));
            };
            if count == 0 {
                return give(0);
            }
            let reply = Reply::new(move |result: Result<IdBatch, _>| {
                note_batch(&noted, &result);
                if let Ok(ids) = result {
                    give(ids.last);
                }
            });
            coordinator.request(Change::AllocateIds { count, reply });
        }
        ToCoordinator::WhoAreMembers { store, region } => {
            let life = life.clone();
            coordinator.query(move |view| {
                if let Some(known) = view.ok().and_then(|view: View<'_>| view.region(region)) {
                    let RegionDescriptor { epoch, peers, .. } = (*known.descriptor).clone();
                    life.give(Outgoing::Word(store, Word::Known { region, epoch, members: peers }));
                }
            });
        }
        _ => unreachable!("whoever calls this has looked"),
    }
}

/// Takes down the ids that the coordinator gives for a split.
fn note_split(life: &Life, ids: &[SplitIds]) {
    let given = ids.iter().flat_map(|ids| ids.peers.iter().map(|peer| peer.0).chain([ids.region.0]));
    let given = given.map(|id| (id, id)).collect();
    life.observe(|| Event::IdsGiven { ids: given });
}

/// Takes down a batch of ids that the coordinator gives.
pub(crate) fn note_batch<E>(life: &Life, result: &Result<IdBatch, E>) {
    if let Ok(IdBatch { last, count }) = result {
        let first = last + 1 - u64::from(*count);
        life.observe(|| Event::IdsGiven { ids: vec![(first, *last)] });
    }
}

/// Does what the coordinator says. Returns what is to be asked of it for that.
pub(crate) fn obey(running: &mut Running, word: Word) -> Option<ToCoordinator> {
    let handle = running.stepper.handle();
    match word {
        Word::Order(order) => return obey_order(&handle, running.ident.store, order),
        Word::Split { region, epoch, plan } => handle.split(region, epoch, plan, Responder::new(|_| {})),
        Word::Members { region, epoch, changes } => {
            handle.change_members(region, epoch, changes, Responder::new(|_| {}));
        }
        Word::SplitIds { life, number, ids } if life == running.life.number => running.questions.answered(number, ids),
        Word::SplitIds { .. } => {}
        Word::Known { region, epoch, members } => handle.tell_members(region, epoch, members),
    }
    None
}

fn obey_order(handle: &StoreHandle, store: StoreId, order: RegionOrder) -> Option<ToCoordinator> {
    let RegionOrder { region, epoch, leader, kind } = order;
    let view = handle.region(region)?;
    // A stale one is ignored, as the stores of production do.
    if view.descriptor.epoch != epoch || view.peer.id != leader.id || view.role != Role::Leader {
        return None;
    }
    let change = |changes: Vec<PeerChange>| {
        let changes = changes.into_iter().map(member_change).collect();
        handle.change_members(region, epoch, changes, Responder::new(|_| {}));
    };
    match kind {
        OrderKind::TransferLeader(peers) => {
            let to = peers.first()?.store_id;
            handle.transfer_leader(region, to, Responder::new(|_| {}));
        }
        OrderKind::ChangePeer(one) => change(vec![one]),
        OrderKind::ChangePeers(changes) => change(changes),
        OrderKind::Split(policy) => {
            let keys = match policy {
                SplitPolicy::Keys(keys) => keys,
                SplitPolicy::Scan | SplitPolicy::Approximate => vec![middle(handle, &view.descriptor)?],
            };
            let region = Box::new((*view.descriptor).clone());
            return Some(ToCoordinator::Split { store, region, keys, right_derive: true });
        }
    }
    None
}

fn member_change(PeerChange { kind, peer }: PeerChange) -> MemberChange {
    match kind {
        PeerChangeKind::AddVoter => MemberChange::vote(peer.id, peer.store_id),
        PeerChangeKind::AddLearner => MemberChange::learn(peer.id, peer.store_id),
        PeerChangeKind::Remove => MemberChange::remove(peer.id, peer.store_id),
    }
}

/// The key in the middle of a region's data, found by reading.
fn middle(handle: &StoreHandle, region: &RegionDescriptor) -> Option<Bytes> {
    let keys = keys_in(handle, region);
    keys.get(keys.len() / 2).cloned()
}

/// Keys of a region at which it can be split, in order.
pub(crate) fn keys_in(handle: &StoreHandle, region: &RegionDescriptor) -> Vec<Bytes> {
    let family = engine::Family::User(types::ColumnFamily::Default);
    let state = &handle.engines().state;
    let mut keys = Vec::new();
    let Ok(mut iter) = state.iter(family, engine::IterRange::new(region.range.clone())) else { return keys };
    let mut valid = iter.seek_to_first();
    while let Ok(true) = valid {
        let key = iter.key();
        if key != &region.range.start[..] {
            keys.push(Bytes::copy_from_slice(key));
        }
        valid = iter.next();
    }
    keys
}
