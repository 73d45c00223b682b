//! One member of a region: its machine, its log, and its state machine, which is the crate `apply` on an engine in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use apply::{ApplyRound, ApplyTask, RegionApplier, RoundOutcome};
use engine::memory::MemDisk;
use engine::meta::{self, RegionState};
use engine::{
    ApplyState, Durability, Family, HardState, IterRange, LogBatch, LogEngine, LogOp, StateBatch, StateEngine,
    StateRead, WriterId,
};
use region::{Apply, Persist, Region, Restored};
use types::{ColumnFamily, Generation, LogIndex, Peer, PeerId, RegionDescriptor, RegionId, Round, Term};

pub const FIRST: ApplyState =
    ApplyState { applied: LogIndex(5), applied_term: Term(5), truncated: LogIndex(5), truncated_term: Term(5) };

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
    pub state: Arc<dyn StateEngine>,
    /// What the state machine falls back to.
    pub cut: RegionState,
    pub applier: RegionApplier,
    pub generation: u64,
}

impl Member {
    /// A member that is born with its region.
    pub fn new(peer: Peer, descriptor: RegionDescriptor) -> Self {
        let disk = MemDisk::default();
        let log = disk.open_log().unwrap();
        let hard_state = HardState { term: Term(5), vote: PeerId(0), commit: LogIndex(5) };
        let op = LogOp::Append { region: descriptor.id, peer: peer.id, entries: Vec::new(), hard_state };
        log.write(LogBatch { ops: vec![op] }, Durability::Synced).unwrap();
        let cut = RegionState { descriptor, apply_state: FIRST };
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
            state: state_with(&cut),
            applier: RegionApplier::new(Arc::new(cut.descriptor.clone()), peer.id, cut.apply_state),
            cut,
            generation: 0,
        }
    }

    /// How far the state machine is.
    pub fn apply_state(&self) -> ApplyState {
        self.applier.apply_state
    }

    /// The state machine falls back to its cut.
    pub fn lose_state(&mut self) {
        self.state = state_with(&self.cut);
        self.applier = RegionApplier::new(Arc::new(self.cut.descriptor.clone()), self.peer.id, self.cut.apply_state);
    }

    /// What a machine starts from now.
    pub fn restored(&mut self, may_have_voted: bool) -> Restored {
        self.generation += 1;
        let apply_state = self.apply_state();
        let stored = self.log.region(self.id).unwrap().unwrap();
        let mut hard_state = stored.state.unwrap().hard_state;
        hard_state.commit = hard_state.commit.max(apply_state.applied);
        let last_index = stored.bounds.map_or(apply_state.truncated, |(_, last)| last);
        let log_bytes = self.log.approximate_bytes(self.id, apply_state.truncated.next(), last_index.next()).unwrap();
        Restored {
            descriptor: (*self.applier.descriptor).clone(),
            peer: self.peer,
            apply_state,
            hard_state,
            last_index,
            log_bytes,
            generation: Generation(self.generation),
            may_have_voted,
        }
    }

    /// Applies what was handed out.
    pub fn execute(&mut self, apply: Apply) -> RoundOutcome {
        let Apply { region, generation, entries, waiting } = apply;
        let mut round = ApplyRound::new(Arc::clone(&self.state), WRITER, Round(0));
        round.apply(&mut self.applier, ApplyTask { region, generation, entries, waiting }).unwrap();
        round.finish().unwrap()
    }
}

/// The keys of a region, in order.
pub fn keys(data: &dyn StateRead, region: &RegionDescriptor) -> Vec<String> {
    let range = IterRange::new(region.range.clone());
    let mut iter = data.iter(Family::User(ColumnFamily::Default), range).unwrap();
    let mut keys = Vec::new();
    let mut valid = iter.seek_to_first().unwrap();
    while valid {
        keys.push(String::from_utf8(iter.key().to_vec()).unwrap());
        valid = iter.next().unwrap();
    }
    keys
}

fn state_with(cut: &RegionState) -> Arc<dyn StateEngine> {
    let state = MemDisk::default().open_state().unwrap();
    let mut batch = StateBatch::default();
    meta::put_region(&mut batch, cut);
    state.write(&batch).unwrap();
    Arc::new(state)
}
