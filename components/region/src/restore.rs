//! Taking a snapshot: what a member does that the log cannot help any more (D10).
//!
//! Raft decides whether it wants the snapshot. If it does, this machine has come to its end: its log and its state are
//! about to be replaced, and the driver makes another one of what the engines hold then, under a new generation. Until
//! then nobody gets an answer, so that nothing is promised that neither log nor state could keep.

use std::sync::Arc;

use engine::{ApplyState, HardState, meta};
use raft::eraftpb::Snapshot;
use slog::info;
use types::{LogIndex, Peer, RegionDescriptor, Term};

use crate::effect::{ApplySnapshot, DeclineSnapshot, Effect};
use crate::machine::Region;
use crate::storage::{conf_state, from_raft_hard_state};
use crate::validate::MAX_NUMBER;

impl Region {
    /// The descriptor that a snapshot holds, if it is one that this peer may take.
    pub(crate) fn descriptor_of(&self, snapshot: &Snapshot) -> Option<RegionDescriptor> {
        let metadata = snapshot.get_metadata();
        let descriptor = meta::decode_descriptor(&snapshot.data).ok()?;
        let own = descriptor.peer(self.peer.id)?;
        let (epoch, ours) = (descriptor.epoch, self.descriptor.epoch);
        // Raft would panic at a configuration that cannot be.
        let sound = descriptor.has_sound_members() && !descriptor.range.is_empty();
        let fits = sound
            && descriptor.id == self.descriptor.id
            && epoch.conf_ver < MAX_NUMBER
            && epoch.version < MAX_NUMBER
            && own.store_id == self.peer.store_id
            && epoch.conf_ver >= ours.conf_ver
            && epoch.version >= ours.version
            && raft_proto::conf_state_eq(metadata.get_conf_state(), &conf_state(&descriptor));
        fits.then_some(descriptor)
    }

    /// A snapshot's message was stepped: takes the snapshot if raft wants it, and says so in any case.
    pub(crate) fn settle_snapshot(&mut self, from: Peer, snapshot: &Snapshot, effects: &mut Vec<Effect>) {
        let metadata = snapshot.get_metadata();
        let (index, term) = (LogIndex(metadata.index), Term(metadata.term));
        if self.node.snap().is_none() {
            return self.decline_snapshot(from, snapshot, effects);
        }
        let descriptor = self.descriptor_of(snapshot).expect("it was checked before raft saw it");
        info!(self.logger, "snapshot is to be applied"; "from" => from.id.0, "index" => index.0, "term" => term.0);
        let hard_state = from_raft_hard_state(&self.node.raft.hard_state());
        self.end(effects);
        effects.push(Effect::ApplySnapshot(Box::new(ApplySnapshot {
            peer: self.peer,
            generation: self.generation,
            from,
            old: Arc::clone(&self.descriptor),
            descriptor,
            apply_state: ApplyState { applied: index, applied_term: term, truncated: index, truncated_term: term },
            hard_state: HardState { commit: hard_state.commit.max(index), ..hard_state },
        })));
    }

    /// A snapshot is not wanted: whoever received its data may forget it.
    pub(crate) fn decline_snapshot(&self, from: Peer, snapshot: &Snapshot, effects: &mut Vec<Effect>) {
        let index = LogIndex(snapshot.get_metadata().index);
        info!(self.logger, "snapshot is not wanted"; "from" => from.id.0, "index" => index.0);
        effects.push(Effect::DeclineSnapshot(DeclineSnapshot { region: self.descriptor.id, from, index }));
    }
}
