//! From raft's readies to effects.

use engine::Entry;
use raft::eraftpb::{EntryType, Message};
use slog::debug;
use types::{LogIndex, PeerId, PlantedBug, ReadyNumber, RequestError, Term};

use crate::cache::entry_bytes;
use crate::effect::{Apply, Effect, Persist};
use crate::machine::{Region, RegionError};
use crate::message::RegionMessage;
use crate::persists::must_record_commit;
use crate::snapshots::is_snapshot;
use crate::storage::from_raft_hard_state;

/// Whether an entry's commit should be known to all at once.
fn is_split(entry: &Entry) -> bool {
    entry.get_entry_type() == EntryType::EntryNormal && must_record_commit(entry)
}

/// Leaves an append no more entries than take `max_bytes`, and at least one; returns the append that follows it, if any are
/// left.
fn split_append(message: &mut Message, max_bytes: u64) -> Option<Message> {
    let mut bytes = 0;
    let first_beyond = |entry: &Entry| {
        bytes += entry_bytes(entry);
        bytes > max_bytes
    };
    let keep = message.entries.iter().position(first_beyond)?.max(1);
    if keep == message.entries.len() {
        return None;
    }
    let mut entries = message.take_entries().into_vec();
    let rest = entries.split_off(keep);
    let last = entries.last().expect("one entry at least is kept");
    let mut next = Message { index: last.index, log_term: last.term, ..message.clone() };
    next.set_entries(rest.into());
    message.set_entries(entries.into());
    Some(next)
}

impl Region {
    /// Takes raft's readies until there is nothing left that may leave now.
    pub(crate) fn take_readies(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let mut first = true;
        while self.persists.has_room() && self.node.has_ready() && (first || self.applies.has_room()) {
            self.take_ready(effects)?;
            first = false;
        }
        Ok(())
    }

    fn take_ready(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let hands_out = self.applies.has_room();
        self.node.mut_store().set_hands_out(hands_out);
        let mut ready = self.node.ready();
        self.node.mut_store().set_hands_out(true);
        self.node.store().appends_left();
        self.check_store()?;
        assert!(ready.snapshot().is_empty(), "the machine went on behind a snapshot that it had taken");

        let number = ReadyNumber(ready.number());
        let entries = ready.take_entries();
        let (early, late) = (ready.take_messages(), ready.take_persisted_messages());
        let committed = ready.take_committed_entries();
        self.confirm_reads(ready.take_read_states(), effects);

        self.keep(&entries);
        let mut hard_state = from_raft_hard_state(&self.node.raft.hard_state());
        let mut demand = self.persists.demand(hard_state.term, hard_state.vote, hard_state.commit, !entries.is_empty());
        let planted = self.config.planted;
        if planted.has(PlantedBug::ReadyHardState) && !entries.is_empty() {
            hard_state = ready.hs().map(from_raft_hard_state).unwrap_or_default();
        }
        if planted.has(PlantedBug::VoteNotPersisted) {
            hard_state.vote = PeerId(0);
        }
        if planted.has(PlantedBug::LoneVoterSendsEarly) {
            demand.barrier = false;
        }
        let complete = self.persists.begin(number, demand) || planted.has(PlantedBug::AppliedBeforeDurable);
        // A leader's appends leave beside its own write, not behind it (raft thesis §10.2.1).
        for message in early {
            if let Some(message) = self.persists.pass_early(message) {
                self.send(message, effects);
            }
        }
        if demand.write {
            effects.push(Effect::Persist(Persist {
                region: self.descriptor.id,
                peer: self.peer.id,
                generation: self.generation,
                ready: number,
                entries,
                hard_state,
            }));
        }
        for message in late {
            if let Some(message) = self.persists.pass_late(message) {
                self.send(message, effects);
            }
        }
        self.node.advance_append_async(ready);
        if complete {
            self.node.on_persist_ready(number.0);
        }
        self.hand_out(committed, effects);
        Ok(())
    }

    /// Everything up to a ready is durable.
    pub(crate) fn on_persisted(&mut self, durable: ReadyNumber, effects: &mut Vec<Effect>) {
        let early = self.config.planted.has(PlantedBug::AckOutOfOrder);
        let (complete, released) = self.persists.complete(if early { self.persists.newest() } else { durable });
        if let Some(number) = complete {
            self.node.on_persist_ready(number.0);
        }
        for message in released {
            self.send(message, effects);
        }
        self.trim_cache(self.config.entry_cache_bytes);
    }

    /// Drops durable entries from the cache until it holds no more than `bound` bytes.
    pub(crate) fn trim_cache(&mut self, bound: u64) {
        let durable = LogIndex(self.node.raft.raft_log.persisted);
        self.node.mut_store().evict(bound, durable);
    }

    /// Takes entries into the log in memory, where raft looks for them as soon as its ready is advanced.
    fn keep(&mut self, entries: &[Entry]) {
        if entries.is_empty() {
            return;
        }
        self.idle_ticks = 0;
        self.persists.note_entries(entries);
        let replaced = self.node.mut_store().append(entries);
        let added: u64 = entries.iter().map(entry_bytes).sum();
        self.log_bytes = (self.log_bytes + added).saturating_sub(replaced);
    }

    fn hand_out(&mut self, entries: Vec<Entry>, effects: &mut Vec<Effect>) {
        if entries.is_empty() {
            return;
        }
        self.applies.hand_out(&entries);
        let mut waiting = Vec::new();
        for entry in &entries {
            let index = LogIndex(entry.index);
            let settled = self.waiting.settle(Term(entry.term), index);
            for responder in settled.lost {
                effects.push(Effect::Refuse(responder, RequestError::StaleCommand { region: self.descriptor.id }));
            }
            if !settled.found.is_empty() {
                waiting.push((index, settled.found));
            }
        }
        let splits = entries.iter().any(is_split);
        effects.push(Effect::Apply(Apply {
            region: self.descriptor.id,
            generation: self.generation,
            entries,
            waiting,
        }));
        if splits {
            // Followers would learn of the commit with the next heartbeat, and the children of theirs would begin as late:
            // until then no quorum could vote for the child of this one. (For changes of members raft does it itself.)
            self.node.ping();
        }
    }

    /// Sends a message; an append in parts, when raft made one of more entries than a message may hold.
    fn send(&mut self, mut message: Message, effects: &mut Vec<Effect>) {
        while let Some(rest) = split_append(&mut message, self.config.max_message_bytes) {
            self.send_part(std::mem::replace(&mut message, rest), effects);
        }
        self.send_part(message, effects);
    }

    fn send_part(&mut self, message: Message, effects: &mut Vec<Effect>) {
        let Some(to) = self.address(PeerId(message.to)) else {
            debug!(self.logger, "message to an unknown peer dropped"; "to" => message.to);
            return;
        };
        debug!(self.logger, "send"; "to" => message.to, "type" => ?message.get_msg_type(), "term" => message.term);
        let mut message = RegionMessage {
            region: self.descriptor.id,
            from: self.peer,
            to,
            epoch: self.descriptor.epoch,
            raft: message,
            note: None,
            range: None,
        };
        message.range = message.may_make_a_peer().then(|| self.descriptor.range.clone());
        if is_snapshot(&message.raft) {
            self.send_snapshot(message, effects);
        } else {
            effects.push(Effect::Send(message));
        }
    }
}
