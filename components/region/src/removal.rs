//! How a peer that is no member any more goes (D9).
//!
//! A removed peer knows it, as soon as it has applied the entry, and yet stays: it neither campaigns nor serves, but still votes
//! and acknowledges when it is asked. The others may not know yet that they can do without it. Only the leader knows when
//! they do: once an entry that it appended under the new configuration is committed under it, a quorum of that
//! configuration has the change's commit on disk. Then it sends [`Note::Gc`].
//!
//! That message may get lost, and the leader that would send it may be gone. So a peer that hears of no leader for long asks
//! the members that it knows, and the members that those know; one that knows of its removal does not wait as long. A leader
//! that is asked by a peer it does not have answers `Gc`, as it does to any word of such a peer. Whoever is asked for a larger
//! peer id on its own store asks at once. All that a peer knows may be gone; then a placement driver helps, if there is one.

use slog::info;
use types::{LogIndex, Peer, PeerId, PlantedBug, RegionEpoch};

use crate::contacts::MAX_CONTACTS;
use crate::effect::{Destroy, Effect, Role};
use crate::machine::{Region, RegionError};
use crate::message::{Note, RegionMessage};

/// Most removed peers that a leader remembers to tell at a time. Who is forgotten asks.
const MAX_TO_TELL: usize = 16;

/// Election timeouts that a removed peer leaves its leader to tell it to go, before it asks.
const REMOVED_PATIENCE: u32 = 4;

/// Peers that are not members, and that are told so once the members can do without them.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// The first entry that was appended under the present configuration.
    settled_at: LogIndex,
    to_tell: Vec<Peer>,
}

impl Removed {
    /// The configuration holds from the entry that comes next.
    pub(crate) fn configuration_begins(&mut self, next: LogIndex) {
        self.settled_at = next;
    }

    /// Remembers to tell a peer.
    pub(crate) fn remember(&mut self, peer: Peer) {
        let known = self.to_tell.iter().any(|other| other.id == peer.id);
        if !known && self.to_tell.len() < MAX_TO_TELL {
            self.to_tell.push(peer);
        }
    }
}

impl Region {
    /// Tells the peers that are no members any more, once the members can do without them.
    pub(crate) fn tell_removed(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let committed = LogIndex(self.node.raft.raft_log.committed);
        let (last, handing_over) = (self.last_index(), self.node.raft.lead_transferee.is_some());
        let early = self.config.planted.has(PlantedBug::GcTooEarly);
        let Some(leader) = self.leader_mut() else { return Ok(()) };
        if leader.removed.to_tell.is_empty() {
            return Ok(());
        }
        let settled_at = leader.removed.settled_at;
        if committed >= settled_at || early {
            for peer in std::mem::take(&mut leader.removed.to_tell) {
                let tells = !self.config.planted.has(PlantedBug::RemovedNeverTold);
                if tells && self.descriptor.peer(peer.id).is_none() {
                    self.send_note(peer, Note::Gc, effects);
                }
            }
        } else if last < settled_at && !handing_over {
            // Nobody writes, so the leader does.
            self.propose_nothing()?;
        }
        Ok(())
    }

    /// A peer that is no member spoke, and knows of no newer members than this one does.
    pub(crate) fn on_stranger(
        &mut self,
        message: &RegionMessage,
        note: Option<&Note>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        let stale = message.epoch.conf_ver <= self.descriptor.epoch.conf_ver;
        let stranger = message.from.id != self.peer.id && self.descriptor.peer(message.from.id).is_none();
        if !stale || !stranger || message.to.id != self.peer.id || !self.is_initialised() {
            return Ok(());
        }
        if let Some(leader) = self.leader_mut() {
            leader.removed.remember(message.from);
            return self.tell_removed(effects);
        }
        if note == Some(&Note::WhoAreMembers) {
            self.tell_members(message.from, effects);
        }
        Ok(())
    }

    /// Takes what a peer says beside raft.
    pub(crate) fn on_note(
        &mut self,
        from: Peer,
        note: Note,
        message: &RegionMessage,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        let obeys_all = note == Note::Gc && self.config.planted.has(PlantedBug::StaleGcObeyed);
        if message.region != self.descriptor.id || message.to.id != self.peer.id && !obeys_all {
            return Ok(());
        }
        match note {
            Note::Gc => {
                if obeys_all || self.must_obey_gc(message.epoch.conf_ver) {
                    info!(self.logger, "this peer is no member any more"; "told_by" => from.id.0);
                    self.doomed = true;
                    self.destroy_if_doomed(effects);
                }
            }
            Note::WhoAreMembers => {
                self.on_stranger(message, Some(&note), effects)?;
                // A member that misses its leader: others may know members that it does not.
                if self.descriptor.peer(from.id).is_some() && self.standing.role != Role::Leader {
                    self.tell_members(from, effects);
                }
            }
            Note::Members(members) => self.on_members(message.epoch, &members, effects),
            Note::Hash { index, hash } => self.on_members_hash(from.id, index, hash, effects),
            Note::Differs { index, hash } => self.on_differs(from.id, index, hash, effects),
        }
        Ok(())
    }

    /// Whether a leader with this conf_ver, which does not have this peer, has it no more. Peer ids are never used again, so
    /// a peer is a member from one conf_ver to another: a leader that is ahead of a configuration with the peer is behind
    /// its end. One that has not heard yet that the peer was added is not.
    fn must_obey_gc(&self, conf_ver: u64) -> bool {
        if self.is_removed() {
            return conf_ver >= self.descriptor.epoch.conf_ver;
        }
        let member_at = self.descriptor.epoch.conf_ver.max(self.member_at);
        member_at > 0 && conf_ver > member_at
    }

    fn tell_members(&self, to: Peer, effects: &mut Vec<Effect>) {
        let members = self.descriptor.peers.clone();
        if !members.is_empty() {
            self.send_note(to, Note::Members(members), effects);
        }
    }

    /// Asks the members that this peer did not know, if it still misses a leader.
    pub(crate) fn on_members(&mut self, epoch: RegionEpoch, members: &[Peer], effects: &mut Vec<Effect>) {
        let newer = epoch.conf_ver > self.descriptor.epoch.conf_ver;
        if !newer || self.leaderless_ticks < self.patience() {
            return;
        }
        for member in members.iter().take(MAX_CONTACTS) {
            if member.id != self.peer.id && self.address(member.id).is_none() {
                self.contacts.add(*member);
                self.send_note(*member, Note::WhoAreMembers, effects);
            }
        }
    }

    /// A message for a later peer of this store came here: this one is no member any more, or soon will hear why not.
    pub(crate) fn on_successor(&mut self, message: &RegionMessage, effects: &mut Vec<Effect>) {
        let own = message.region == self.descriptor.id && message.to.store_id == self.peer.store_id;
        if own && message.to.id > self.peer.id && message.from.id != self.peer.id {
            // A store has one peer of a region, and later ones have larger ids: this one's time was before.
            self.member_at = self.member_at.max(message.epoch.conf_ver.saturating_sub(1));
            self.send_note(message.from, Note::WhoAreMembers, effects);
        }
    }

    /// One tick passed.
    pub(crate) fn tick_removal(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        self.destroy_if_doomed(effects);
        if self.standing.role == Role::Leader {
            self.leaderless_ticks = 0;
            return self.tell_removed(effects);
        }
        self.leaderless_ticks = self.leaderless_ticks.saturating_add(1);
        if self.leaderless_ticks.is_multiple_of(self.patience()) {
            self.ask_members(effects);
        }
        if self.leaderless_ticks.is_multiple_of(self.config.stale_ticks.max(1)) {
            effects.push(Effect::LeaderMissing(self.descriptor.id));
        }
        Ok(())
    }

    /// Ticks without a leader's word after which a peer asks, and asks again. One that has applied its own removal knows
    /// what it will hear.
    fn patience(&self) -> u32 {
        let stale = self.config.stale_ticks.max(1);
        let removed = self.config.election_ticks.saturating_mul(REMOVED_PATIENCE);
        if self.is_removed() { stale.min(removed) } else { stale }
    }

    fn ask_members(&self, effects: &mut Vec<Effect>) {
        info!(self.logger, "no leader was heard of for long"; "ticks" => self.leaderless_ticks);
        let known = self.descriptor.peers.iter().chain(self.contacts.all());
        for peer in known.filter(|peer| peer.id != self.peer.id) {
            self.send_note(*peer, Note::WhoAreMembers, effects);
        }
    }

    /// Ends a peer that was told to go, once it has applied what was committed when it started: before that it may have
    /// children to make that only its log knows of (D9).
    pub(crate) fn destroy_if_doomed(&mut self, effects: &mut Vec<Effect>) {
        let early = self.config.planted.has(PlantedBug::GcWhileReplaying);
        if !self.doomed || self.ended || self.is_replaying() && !early {
            return;
        }
        self.end(effects);
        effects.push(Effect::Destroy(Destroy {
            descriptor: self.descriptor.clone(),
            peer: self.peer.id,
            generation: self.generation,
            next_peer: PeerId(self.peer.id.0 + 1),
        }));
    }

    pub(crate) fn send_note(&self, to: Peer, note: Note, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send(RegionMessage {
            region: self.descriptor.id,
            from: self.peer,
            to,
            epoch: self.descriptor.epoch,
            raft: raft::eraftpb::Message::default(),
            note: Some(note),
            range: None,
        }));
    }
}
