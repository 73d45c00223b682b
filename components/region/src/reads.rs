//! Linearizable reads by ReadIndex (raft thesis §6.4).
//!
//! Each read goes through three places: it is **queued** until the leader has committed an entry of its own term and a
//! question has room; **asked** with all other reads of its round under one context, until a quorum has confirmed by
//! heartbeat that the peer still leads; **confirmed**, until everything is applied that was committed when it was asked.
//! The first two end with the leadership. What was confirmed stays true and is served even by a peer that leads no more.

use std::collections::VecDeque;

use raft::ReadState;
use types::{LogIndex, PlantedBug, Term};

use crate::effect::{Effect, ReadGrant};
use crate::input::{Read, ReadResponder};
use crate::machine::Region;

/// Most questions of a region on their way at a time. Reads that come meanwhile gather into the next one, so that a busy
/// region sends a bounded number of heartbeats for each round trip.
const MAX_ASKED: usize = 8;

/// A question's context: term, then a number that the leader of that term counts up. A peer leads each term once at
/// most, restarts included (D1), so no context is ever used twice.
fn context(term: Term, number: u64) -> Vec<u8> {
    [term.0.to_be_bytes(), number.to_be_bytes()].concat()
}

/// A read, and the version of the region that it was asked for: a read that meets a split must not be answered with what
/// the parent kept.
#[derive(Debug)]
struct WaitingRead {
    responder: ReadResponder,
    version: u64,
}

#[derive(Debug)]
struct Asked {
    context: Vec<u8>,
    reads: Vec<WaitingRead>,
}

/// A leader's reads that are not confirmed.
#[derive(Debug, Default)]
pub(crate) struct AskedReads {
    queued: Vec<WaitingRead>,
    asked: VecDeque<Asked>,
    next: u64,
    count: usize,
}

impl AskedReads {
    /// How many reads wait here.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Adds a read.
    fn queue(&mut self, read: WaitingRead) {
        self.count += 1;
        self.queued.push(read);
    }

    /// Makes a question of the queued reads, if there are any and it has room. Gives its context.
    fn ask(&mut self, term: Term) -> Option<Vec<u8>> {
        if self.queued.is_empty() || self.asked.len() >= MAX_ASKED {
            return None;
        }
        let context = context(term, self.next);
        self.next += 1;
        self.asked.push_back(Asked { context: context.clone(), reads: std::mem::take(&mut self.queued) });
        Some(context)
    }

    /// The reads of an answered question.
    fn answered(&mut self, context: &[u8]) -> Vec<WaitingRead> {
        let Some(position) = self.asked.iter().position(|asked| asked.context == context) else { return Vec::new() };
        let reads = self.asked.remove(position).map(|asked| asked.reads).unwrap_or_default();
        self.count -= reads.len();
        reads
    }

    /// All reads, oldest first.
    pub(crate) fn into_responders(self) -> impl Iterator<Item = ReadResponder> {
        self.asked.into_iter().flat_map(|asked| asked.reads).chain(self.queued).map(|read| read.responder)
    }
}

/// Confirmed reads that wait for apply, by index.
#[derive(Debug, Default)]
pub(crate) struct ConfirmedReads {
    reads: VecDeque<(LogIndex, Vec<WaitingRead>)>,
    count: usize,
}

impl ConfirmedReads {
    /// How many reads wait here.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn push(&mut self, index: LogIndex, reads: Vec<WaitingRead>) {
        self.count += reads.len();
        self.reads.push_back((index, reads));
    }

    /// The reads that may be served once this index is applied.
    fn take(&mut self, applied: LogIndex) -> Vec<WaitingRead> {
        let mut ready = Vec::new();
        while self.reads.front().is_some_and(|(index, _)| *index <= applied) {
            ready.extend(self.reads.pop_front().map(|(_, reads)| reads).unwrap_or_default());
        }
        self.count -= ready.len();
        ready
    }

    /// All reads, oldest first.
    pub(crate) fn into_responders(self) -> impl Iterator<Item = ReadResponder> {
        self.reads.into_iter().flat_map(|(_, reads)| reads).map(|read| read.responder)
    }
}

impl Region {
    /// Queues a read, or refuses it.
    pub(crate) fn on_read(&mut self, read: Read, effects: &mut Vec<Effect>) {
        if let Err(error) = self.check_header(&read.header).and_then(|()| self.check_room()) {
            effects.push(Effect::RefuseRead(read.responder, error));
        } else if let Some(leader) = self.leader_mut() {
            leader.reads.queue(WaitingRead { responder: read.responder, version: read.header.epoch.version });
        }
    }

    /// Asks the members to confirm the leadership for the queued reads. Raft drops the question while the leader has
    /// committed nothing in its term, so the reads stay queued till then. A lost question or answer needs nothing here:
    /// each of raft's heartbeats repeats the newest question, and its answer stands for all before it.
    pub(crate) fn ask_reads(&mut self) {
        let queued = self.leader().is_some_and(|leader| !leader.reads.queued.is_empty());
        if !queued || !self.node.raft.commit_to_current_term() {
            return;
        }
        let term = self.standing.term;
        let context = self.leader_mut().and_then(|leader| leader.reads.ask(term));
        let Some(context) = context else { return };
        if self.config.planted.has(PlantedBug::ReadUnconfirmed) {
            let index = self.node.raft.raft_log.committed;
            self.node.raft.read_states.push(ReadState { index, request_ctx: context });
        } else {
            self.node.read_index(context);
        }
    }

    /// Takes the questions that raft says are answered.
    pub(crate) fn confirm_reads(&mut self, states: Vec<ReadState>, effects: &mut Vec<Effect>) {
        for state in states {
            let Some(leader) = self.leader_mut() else { return };
            let reads = leader.reads.answered(&state.request_ctx);
            if !reads.is_empty() {
                self.confirmed.push(LogIndex(state.index), reads);
            }
        }
        self.grant_reads(effects);
    }

    /// Grants the confirmed reads that are applied far enough, unless the region's range has changed meanwhile.
    pub(crate) fn grant_reads(&mut self, effects: &mut Vec<Effect>) {
        let applied = self.node.store().apply_state().applied;
        let early = self.config.planted.has(PlantedBug::ReadBeforeApplied);
        for WaitingRead { responder, version } in self.confirmed.take(if early { LogIndex(u64::MAX) } else { applied })
        {
            effects.push(if version == self.descriptor.epoch.version {
                Effect::Grant(responder, ReadGrant { descriptor: self.descriptor.clone(), applied })
            } else {
                Effect::RefuseRead(responder, self.epoch_not_match())
            });
        }
    }
}
