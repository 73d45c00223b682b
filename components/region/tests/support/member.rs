//! One member of a region: its machine, its log, and its state machine, which is the crate `apply` on an engine in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use apply::{ApplyRound, ApplyTask, Arbiter, Birth, RegionApplier, RoundOutcome};
use bytes::Bytes;
use engine::memory::MemDisk;
use engine::meta::{self, RegionState};
use engine::{
    ApplyState, Durability, Family, HardState, Invitation, IterRange, LogBatch, LogEngine, LogOp, SnapshotMarker,
    StateBatch, StateEngine, StateRead, WriterId,
};
use region::{Apply, BuildSnapshot, BuiltSnapshot, Input, Persist, Region, Restored};
use types::{ColumnFamily, Generation, KeyRange, Peer, PeerId, RegionDescriptor, RegionId, Round, StoreId};

pub const FIRST: ApplyState = ApplyState::BORN;

/// The smallest peer id that each store may still have of each region (D7). Shared by all members of a cluster.
#[derive(Debug, Default)]
pub struct NextPeers(Mutex<BTreeMap<(RegionId, StoreId), PeerId>>);

impl NextPeers {
    /// Claims a peer, unless a later one was here.
    pub fn claim(&self, region: RegionId, peer: Peer) -> bool {
        let mut next = self.0.lock().unwrap();
        let next = next.entry((region, peer.store_id)).or_default();
        let free = peer.id >= *next;
        *next = (*next).max(peer.id);
        free
    }

    /// No peer below this one may be made again.
    pub fn raise(&self, region: RegionId, store: StoreId, to: PeerId) {
        let mut next = self.0.lock().unwrap();
        let next = next.entry((region, store)).or_default();
        *next = (*next).max(to);
    }
}

impl Arbiter for NextPeers {
    fn claim(&self, birth: Birth<'_>) -> bool {
        NextPeers::claim(self, birth.child.id, birth.peer)
    }
}

/// What a snapshot brings.
#[derive(Clone, Debug)]
pub struct SnapshotData {
    pub built: BuiltSnapshot,
    pub pairs: Vec<(Bytes, Bytes)>,
}

const WRITER: WriterId = WriterId::Apply(0);

/// One member.
pub struct Member {
    pub id: RegionId,
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
    /// Snapshots that are ordered and not built.
    pub building: VecDeque<BuildSnapshot>,
    pub holds_build: bool,
    /// Whether the files of the next snapshot are damaged behind its marker.
    pub loses_files: bool,
    /// The snapshot that replaced the log, and whose files are damaged.
    pub marker: Option<SnapshotMarker>,
    /// Which message made the member.
    pub invitation: Option<Invitation>,
    /// What comes with the next round.
    pub inbox: Vec<Input>,
    pub arbiter: Arc<NextPeers>,
    pub state: Arc<dyn StateEngine>,
    /// What the state machine falls back to, with the data that a split or the last snapshot brought.
    pub cut: RegionState,
    installed: Vec<(Bytes, Bytes)>,
    pub applier: RegionApplier,
    pub generation: u64,
}

impl Member {
    /// A member that is born with its region.
    pub fn new(peer: Peer, descriptor: RegionDescriptor, arbiter: &Arc<NextPeers>) -> Self {
        let member = Self::at(peer, RegionState { descriptor, apply_state: FIRST }, arbiter);
        member.write_hard_state(HardState::BORN);
        member
    }

    /// A member that has nothing yet.
    pub fn newcomer(peer: Peer, region: RegionId, arbiter: &Arc<NextPeers>) -> Self {
        let descriptor = RegionDescriptor { id: region, ..RegionDescriptor::default() };
        Self::at(peer, RegionState { descriptor, apply_state: ApplyState::default() }, arbiter)
    }

    fn at(peer: Peer, cut: RegionState, arbiter: &Arc<NextPeers>) -> Self {
        let disk = MemDisk::default();
        let log = disk.open_log().unwrap();
        Self {
            id: cut.descriptor.id,
            peer,
            region: None,
            disk,
            log: Arc::new(log),
            writing: VecDeque::new(),
            applying: VecDeque::new(),
            holds_persist: false,
            holds_apply: false,
            building: VecDeque::new(),
            holds_build: false,
            loses_files: false,
            marker: None,
            invitation: None,
            inbox: Vec::new(),
            arbiter: Arc::clone(arbiter),
            state: state_with(&cut, &[]),
            applier: RegionApplier::new(Arc::new(cut.descriptor.clone()), peer.id, cut.apply_state),
            cut,
            installed: Vec::new(),
            generation: 0,
        }
    }

    pub fn write_hard_state(&self, hard_state: HardState) {
        let op = LogOp::Append { region: self.id, peer: self.peer.id, entries: Vec::new(), hard_state };
        self.log.write(LogBatch { ops: vec![op] }, Durability::Synced).unwrap();
    }

    /// Whether the member knows its region.
    pub fn is_initialised(&self) -> bool {
        !self.applier.descriptor.peers.is_empty()
    }

    /// The range that the member owns on its store, if it owns one. A snapshot's marker keeps its range reserved.
    pub fn owns(&self) -> Option<&KeyRange> {
        if let Some(marker) = &self.marker {
            return Some(&marker.descriptor.range);
        }
        (self.is_initialised() && !self.applier.is_removed()).then_some(&self.applier.descriptor.range)
    }

    /// A split makes the region here, of what the parent's state machine holds; a peer that a message had made keeps what it
    /// promised (D11).
    pub fn take_over(&mut self, descriptor: RegionDescriptor, pairs: Vec<(Bytes, Bytes)>) {
        let promised = self.hard_state();
        let hard_state = if promised.term > HardState::BORN.term { promised } else { HardState::BORN };
        self.write_hard_state(HardState { commit: HardState::BORN.commit, ..hard_state });
        self.cut = RegionState { descriptor, apply_state: FIRST };
        self.installed = pairs;
        self.lose_state();
    }

    /// A snapshot replaces log and state (D10).
    pub fn install(&mut self, snapshot: &SnapshotData, apply_state: ApplyState, hard_state: HardState) {
        self.reset_log(hard_state);
        self.marker = None;
        self.cut = RegionState { descriptor: snapshot.built.descriptor.clone(), apply_state };
        self.installed = snapshot.pairs.clone();
        self.lose_state();
    }

    /// A snapshot has replaced the log, the process died, and the files are damaged (D10).
    pub fn fence(&mut self, descriptor: RegionDescriptor, apply_state: ApplyState, hard_state: HardState) {
        self.reset_log(hard_state);
        let ApplyState { applied: index, applied_term: term, .. } = apply_state;
        let clear = vec![descriptor.range.clone()];
        let peer = self.peer.id;
        self.marker = Some(SnapshotMarker { peer, descriptor, index, term, number: 1, clear, absorbed: Vec::new() });
        let nothing = RegionDescriptor { id: self.id, ..RegionDescriptor::default() };
        self.cut = RegionState { descriptor: nothing, apply_state: ApplyState::default() };
        self.installed.clear();
        self.lose_state();
    }

    fn reset_log(&self, hard_state: HardState) {
        let forget = LogOp::Remove { region: self.id, next_peer: self.peer.id };
        self.log.write(LogBatch { ops: vec![forget] }, Durability::Synced).unwrap();
        self.write_hard_state(hard_state);
    }

    /// A snapshot of what the state machine holds now.
    pub fn snapshot(&self) -> SnapshotData {
        let descriptor = (*self.applier.descriptor).clone();
        let ApplyState { applied: index, applied_term: term, .. } = self.apply_state();
        let pairs = pairs(&*self.state, &descriptor);
        SnapshotData { built: BuiltSnapshot { descriptor, index, term }, pairs }
    }

    pub fn hard_state(&self) -> HardState {
        let stored = self.log.region(self.id).unwrap().and_then(|stored| stored.state);
        stored.map(|state| state.hard_state).unwrap_or_default()
    }

    /// How far the state machine is.
    pub fn apply_state(&self) -> ApplyState {
        self.applier.apply_state
    }

    /// The state machine falls back to its cut.
    pub fn lose_state(&mut self) {
        self.state = state_with(&self.cut, &self.installed);
        self.applier = RegionApplier::new(Arc::new(self.cut.descriptor.clone()), self.peer.id, self.cut.apply_state);
    }

    /// What a machine starts from now.
    pub fn restored(&mut self, may_have_voted: bool) -> Restored {
        self.generation += 1;
        let apply_state = self.apply_state();
        let mut hard_state = self.hard_state();
        let generation = Generation(self.generation);
        if let Some(marker) = &self.marker {
            return Restored::fenced(marker, self.peer, hard_state, generation);
        }
        if !self.is_initialised() {
            let invitation = self.invitation;
            return Restored::uninitialised(self.id, self.peer, hard_state, invitation, generation, may_have_voted);
        }
        hard_state.commit = hard_state.commit.max(apply_state.applied);
        let bounds = self.log.region(self.id).unwrap().and_then(|stored| stored.bounds);
        let last_index = bounds.map_or(apply_state.truncated, |(_, last)| last);
        let log_bytes = self.log.approximate_bytes(self.id, apply_state.truncated.next(), last_index.next()).unwrap();
        Restored {
            descriptor: (*self.applier.descriptor).clone(),
            peer: self.peer,
            apply_state,
            hard_state,
            last_index,
            log_bytes,
            generation,
            invitation: None,
            may_have_voted,
            fenced: false,
        }
    }

    /// Applies what was handed out.
    pub fn execute(&mut self, apply: Apply) -> RoundOutcome {
        let Apply { region, generation, entries, waiting } = apply;
        let arbiter: Arc<dyn Arbiter> = self.arbiter.clone();
        let mut round = ApplyRound::new(Arc::clone(&self.state), WRITER, Round(0)).with_arbiter(arbiter);
        round.apply(&mut self.applier, ApplyTask { region, generation, entries, waiting }).unwrap();
        round.finish().unwrap()
    }
}

/// The keys of a region, in order.
pub fn keys(data: &dyn StateRead, region: &RegionDescriptor) -> Vec<String> {
    pairs(data, region).into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

/// The keys of a region and their values.
pub fn pairs(data: &dyn StateRead, region: &RegionDescriptor) -> Vec<(Bytes, Bytes)> {
    let range = IterRange::new(region.range.clone());
    let mut iter = data.iter(Family::User(ColumnFamily::Default), range).unwrap();
    let mut pairs = Vec::new();
    let mut valid = iter.seek_to_first().unwrap();
    while valid {
        pairs.push((Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value())));
        valid = iter.next().unwrap();
    }
    pairs
}

fn state_with(cut: &RegionState, pairs: &[(Bytes, Bytes)]) -> Arc<dyn StateEngine> {
    let state = MemDisk::default().open_state().unwrap();
    let mut batch = StateBatch::default();
    if !cut.descriptor.peers.is_empty() {
        meta::put_region(&mut batch, cut);
    }
    for (key, value) in pairs {
        batch.put(ColumnFamily::Default, key.clone(), value.clone());
    }
    state.write(&batch).unwrap();
    Arc::new(state)
}
