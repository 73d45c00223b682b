//! Where peers live that the descriptor does not name.

use std::collections::BTreeMap;

use raft::eraftpb::MessageType;
use types::{Peer, PeerId, Term};

use crate::machine::Region;
use crate::message::RegionMessage;

/// Most peers that are remembered; a region has few members, so there are few to come.
pub(crate) const MAX_CONTACTS: usize = 16;

/// Peers that are not in the descriptor and that this one answers.
#[derive(Debug, Default)]
pub(crate) struct Contacts(BTreeMap<PeerId, Peer>);

impl Contacts {
    /// Remembers a peer. The one with the smallest id, which is the oldest, gives way when there are too many.
    pub(crate) fn add(&mut self, peer: Peer) {
        self.0.insert(peer.id, peer);
        if self.0.len() > MAX_CONTACTS {
            self.0.pop_first();
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Peer> {
        self.0.values()
    }

    /// A peer that was remembered.
    pub(crate) fn get(&self, id: PeerId) -> Option<Peer> {
        self.0.get(&id).copied()
    }
}

impl Region {
    /// Where a peer lives, as far as this one knows.
    pub(crate) fn address(&self, id: PeerId) -> Option<Peer> {
        self.descriptor.peer(id).copied().or_else(|| self.contacts.get(id))
    }

    /// Takes note of who sent a message that raft is about to see.
    pub(crate) fn note_sender(&mut self, message: &RegionMessage) {
        if self.descriptor.peer(message.from.id).is_none() {
            self.contacts.add(message.from);
        }
        if !self.is_initialised() {
            self.member_at = self.member_at.max(message.epoch.conf_ver);
        }
        let leads = matches!(
            message.raft.get_msg_type(),
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
        );
        if leads && Term(message.raft.term) >= self.standing.term {
            self.leaderless_ticks = 0;
        }
        self.note_answer(message);
    }
}

#[cfg(test)]
mod tests {
    use types::StoreId;

    use super::*;

    #[test]
    fn the_oldest_give_way() {
        let mut contacts = Contacts::default();
        for id in 1..=MAX_CONTACTS as u64 + 2 {
            contacts.add(Peer::voter(PeerId(id), StoreId(1)));
        }
        assert_eq!([2, 3].map(|id| contacts.get(PeerId(id)).is_some()), [false, true]);
        assert_eq!(contacts.0.len(), MAX_CONTACTS);
    }
}
