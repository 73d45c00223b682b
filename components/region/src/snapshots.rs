//! Snapshots for members that the log cannot help any more: what the leader does (raftstore-rules §8).
//!
//! Raft asks for a snapshot when a member needs entries that are compacted. The driver builds one, as of some moment after it
//! was asked; raft is shown its metadata and makes a message of it; the driver sends that message and the data together, and
//! tells how that ended. One snapshot for each member at a time. Until its outcome is told raft sends that member nothing
//! else, so every snapshot's outcome must be told.
//!
//! A snapshot that is no use any more is cancelled: the leadership or the membership ended, the member asked for a newer one, or
//! the log was compacted beyond it, so that it would not help. None is built for a member that cannot be reached. One that is on
//! its way then goes on: its sender takes up a broken connection where it ended, and tells when it gives up.

use engine::meta;
use protobuf::SingularPtrField;
use raft::SnapshotStatus;
use raft::eraftpb::{Message, Snapshot, SnapshotMetadata};
use slog::{debug, info, warn};
use types::{LogIndex, PeerId};

use crate::effect::{BuildSnapshot, CancelSnapshot, Effect, SendSnapshot};
use crate::input::BuiltSnapshot;
use crate::machine::Region;
use crate::message::RegionMessage;
use crate::storage::conf_state;

/// A snapshot on its way to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// It is being built, and will not be older than this.
    Building { since: LogIndex },
    /// It is built; raft has not sent it yet.
    Built { index: LogIndex },
    /// It was sent, with its data.
    Sending { index: LogIndex },
}

impl Outgoing {
    /// The log behind this index must stay for the snapshot to be of use.
    pub(crate) fn needs_log_from(self) -> LogIndex {
        match self {
            Self::Building { since } => since,
            Self::Built { index } | Self::Sending { index } => index,
        }
    }
}

impl Region {
    /// Has the snapshots built that raft asked for in vain.
    pub(crate) fn order_snapshots(&mut self, effects: &mut Vec<Effect>) {
        for (to, requested) in self.node.store().take_wanted_snapshots() {
            let applied = self.node.store().apply_state().applied;
            let (region, generation, at_least) = (self.descriptor.id, self.generation, requested);
            let Some(peer) = self.descriptor.peer(to).copied() else { continue };
            // An old refusal may have made raft look back too far for a moment.
            if !self.waits_for_snapshot(to) {
                continue;
            }
            let Some(leader) = self.leader_mut() else { return };
            if leader.snapshots.contains_key(&to) {
                continue;
            }
            leader.snapshots.insert(to, Outgoing::Building { since: applied });
            self.count_vain_snapshot();
            info!(self.logger, "snapshot ordered"; "to" => to.0, "at_least" => at_least.0);
            effects.push(Effect::BuildSnapshot(BuildSnapshot { region, generation, to: peer, at_least }));
        }
    }

    /// A snapshot was built, or could not be. Raft asks again when it still needs one.
    pub(crate) fn on_snapshot_built(&mut self, to: PeerId, built: Option<BuiltSnapshot>, effects: &mut Vec<Effect>) {
        let outgoing = self.leader().and_then(|leader| leader.snapshots.get(&to).copied());
        let Some(Outgoing::Building { .. }) = outgoing else { return };
        let usable = built.filter(|built| {
            let fresh = built.index >= self.node.store().apply_state().truncated.max(self.requested_by(to));
            let ours = built.descriptor.id == self.descriptor.id;
            fresh && ours && built.descriptor.peer(to).is_some() && self.waits_for_snapshot(to)
        });
        let Some(built) = usable else {
            return self.cancel_snapshot(to, effects);
        };
        info!(self.logger, "snapshot built"; "to" => to.0, "index" => built.index.0);
        self.node.mut_store().offer_snapshot(to, raft_snapshot(&built));
        if let Some(leader) = self.leader_mut() {
            leader.snapshots.insert(to, Outgoing::Built { index: built.index });
        }
        self.node.raft.send_append(to.0);
    }

    /// Sends raft's snapshot message, which the data goes with.
    pub(crate) fn send_snapshot(&mut self, message: RegionMessage, effects: &mut Vec<Effect>) {
        let to = message.to.id;
        let outgoing = self.leader_mut().and_then(|leader| leader.snapshots.get_mut(&to));
        let Some(outgoing @ Outgoing::Built { .. }) = outgoing else {
            // It was cancelled while its message waited for the log.
            self.node.report_snapshot(to.0, SnapshotStatus::Failure);
            return;
        };
        let index = outgoing.needs_log_from();
        *outgoing = Outgoing::Sending { index };
        self.node.mut_store().withdraw_snapshot(to);
        effects.push(Effect::SendSnapshot(SendSnapshot { generation: self.generation, message, index }));
    }

    /// A snapshot with its data reached its receiver, or did not.
    pub(crate) fn on_snapshot_sent(&mut self, to: PeerId, delivered: bool) {
        let outgoing = self.leader().and_then(|leader| leader.snapshots.get(&to).copied());
        let Some(Outgoing::Sending { index }) = outgoing else { return };
        info!(self.logger, "snapshot sent"; "to" => to.0, "index" => index.0, "delivered" => delivered);
        if let Some(leader) = self.leader_mut() {
            leader.snapshots.remove(&to);
        }
        let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(to.0, status);
    }

    /// A member cannot be reached: nothing needs to be built for it now.
    pub(crate) fn hold_back_snapshot(&mut self, to: PeerId, effects: &mut Vec<Effect>) {
        let outgoing = self.leader().and_then(|leader| leader.snapshots.get(&to));
        if !matches!(outgoing, Some(Outgoing::Sending { .. })) {
            self.cancel_snapshot(to, effects);
        }
    }

    /// Gives up a snapshot. Raft asks for another when the member still needs one.
    pub(crate) fn cancel_snapshot(&mut self, to: PeerId, effects: &mut Vec<Effect>) {
        let Some(outgoing) = self.leader_mut().and_then(|leader| leader.snapshots.remove(&to)) else { return };
        warn!(self.logger, "snapshot cancelled"; "to" => to.0, "state" => ?outgoing);
        self.node.mut_store().withdraw_snapshot(to);
        if matches!(outgoing, Outgoing::Sending { .. }) {
            self.node.report_snapshot(to.0, SnapshotStatus::Failure);
        }
        effects.push(Effect::CancelSnapshot(CancelSnapshot { region: self.descriptor.id, to }));
    }

    /// Gives up the snapshots that would not help: their receivers are no members any more, or need entries that the log
    /// does not have, or asked for newer ones, or came forward without.
    pub(crate) fn cancel_useless_snapshots(&mut self, effects: &mut Vec<Effect>) {
        let truncated = self.node.store().apply_state().truncated;
        let Some(leader) = self.leader() else { return };
        let useless = |to: PeerId, outgoing: Outgoing| {
            let sent = matches!(outgoing, Outgoing::Sending { .. });
            let waits = sent || self.waits_for_snapshot(to);
            let too_old = matches!(outgoing, Outgoing::Built { index } if index < self.requested_by(to));
            outgoing.needs_log_from() < truncated || self.descriptor.peer(to).is_none() || too_old || !waits
        };
        let useless: Vec<PeerId> =
            leader.snapshots.iter().filter(|(to, outgoing)| useless(**to, **outgoing)).map(|(to, _)| *to).collect();
        for to in useless {
            self.cancel_snapshot(to, effects);
        }
    }

    /// The leadership ended, and with it whatever was on its way.
    pub(crate) fn abandon_snapshots(&mut self, receivers: impl Iterator<Item = PeerId>, effects: &mut Vec<Effect>) {
        for to in receivers {
            debug!(self.logger, "snapshot cancelled: this peer leads no more"; "to" => to.0);
            self.node.mut_store().withdraw_snapshot(to);
            effects.push(Effect::CancelSnapshot(CancelSnapshot { region: self.descriptor.id, to }));
        }
    }
}

/// What raft sees of a snapshot. Its data is the region's descriptor: the receiver must know its range and epoch before it
/// decides about what came with it.
fn raft_snapshot(built: &BuiltSnapshot) -> Snapshot {
    let mut metadata = SnapshotMetadata { index: built.index.0, term: built.term.0, ..SnapshotMetadata::default() };
    metadata.set_conf_state(conf_state(&built.descriptor));
    Snapshot {
        data: meta::encode_descriptor(&built.descriptor),
        metadata: SingularPtrField::some(metadata),
        ..Snapshot::default()
    }
}

/// Whether this is a snapshot's message.
pub(crate) fn is_snapshot(message: &Message) -> bool {
    message.get_msg_type() == raft::eraftpb::MessageType::MsgSnapshot
}
