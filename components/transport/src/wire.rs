//! Messages of regions as they travel.

use bytes::Bytes;
use proto::transport as wire;
use region::{Note, RegionMessage};
use types::{KeyRange, Peer, PeerRole, RegionEpoch, StoreId};

/// The version of the protocol that this build speaks.
pub(crate) const VERSION: u32 = 1;

/// What a message needs beside its entries' data, at most: ids, terms, indexes, roles and their tags.
const OVERHEAD_BYTES: usize = 192;
/// The same for each entry.
const ENTRY_OVERHEAD_BYTES: usize = 48;
/// A peer, at most.
const PEER_BYTES: usize = 32;

/// A message that came in is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// A field is not set.
    #[error("region message lacks its field {0}")]
    Missing(&'static str),
    /// A role that does not exist.
    #[error("region message has a peer of the unknown role {0}")]
    Role(u32),
    /// The raft part cannot be read.
    #[error("region message holds {0} bytes that are no raft message")]
    Raft(usize),
    /// It names another sender than the stream's.
    #[error("region message claims to come from store {claimed} on a stream of store {stream}")]
    Sender {
        /// Whom the message names.
        claimed: StoreId,
        /// Who said Hello.
        stream: StoreId,
    },
    /// It is for another store.
    #[error("region message is for store {0}")]
    Destination(StoreId),
}

impl MessageError {
    /// The reason as a metric's label.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Role(_) | Self::Raft(_) => "malformed",
            Self::Sender { .. } | Self::Destination(_) => "misaddressed",
        }
    }
}

/// How many bytes a message takes on the wire: at least as many as it really does.
pub(crate) fn size(message: &RegionMessage) -> usize {
    let raft = &message.raft;
    let entries: usize =
        raft.get_entries().iter().map(|entry| entry.data.len() + entry.context.len() + ENTRY_OVERHEAD_BYTES).sum();
    let snapshot = raft.get_snapshot();
    let members = snapshot.get_metadata().get_conf_state();
    let members = members.voters.len() + members.learners.len() + members.voters_outgoing.len();
    let told = match &message.note {
        Some(Note::Members(members)) => members.len(),
        _ => 0,
    };
    let range = message.range.as_ref().map_or(0, |range| range.start.len() + range.end.len() + ENTRY_OVERHEAD_BYTES);
    OVERHEAD_BYTES + range + entries + raft.context.len() + snapshot.data.len() + 20 * members + PEER_BYTES * told
}

/// The message as it travels.
pub(crate) fn encode(message: &RegionMessage) -> wire::RegionMessage {
    wire::RegionMessage {
        region_id: message.region.0,
        from: Some(encode_peer(message.from)),
        to: Some(encode_peer(message.to)),
        conf_ver: message.epoch.conf_ver,
        version: message.epoch.version,
        raft: Bytes::from(message.raft_bytes()),
        note: message.note.as_ref().map(encode_note),
        range: message.range.clone().map(|KeyRange { start, end }| wire::KeyRange { start, end }),
    }
}

fn encode_note(note: &Note) -> wire::Note {
    let kind = match note {
        Note::Gc => wire::note::Kind::Gc(wire::Gc {}),
        Note::WhoAreMembers => wire::note::Kind::WhoAreMembers(wire::WhoAreMembers {}),
        Note::Members(members) => {
            wire::note::Kind::Members(wire::Members { members: members.iter().copied().map(encode_peer).collect() })
        }
        Note::Hash { index, hash } => wire::note::Kind::Hash(wire::Hash { index: index.0, hash: *hash }),
        Note::Differs { index, hash } => wire::note::Kind::Differs(wire::Hash { index: index.0, hash: *hash }),
    };
    wire::Note { kind: Some(kind) }
}

fn decode_note(note: wire::Note) -> Result<Note, MessageError> {
    Ok(match note.kind.ok_or(MessageError::Missing("note"))? {
        wire::note::Kind::Gc(_) => Note::Gc,
        wire::note::Kind::WhoAreMembers(_) => Note::WhoAreMembers,
        wire::note::Kind::Members(list) => {
            let members = list.members.into_iter().map(|member| decode_peer(Some(member), "member"));
            Note::Members(members.collect::<Result<_, _>>()?)
        }
        wire::note::Kind::Hash(wire::Hash { index, hash }) => Note::Hash { index: index.into(), hash },
        wire::note::Kind::Differs(wire::Hash { index, hash }) => Note::Differs { index: index.into(), hash },
    })
}

fn encode_peer(peer: Peer) -> wire::PeerId {
    wire::PeerId { id: peer.id.0, store_id: peer.store_id.0, role: peer.role as u32 }
}

/// The message that travelled from the store `from` to the store `to`.
pub(crate) fn decode(message: wire::RegionMessage, from: StoreId, to: StoreId) -> Result<RegionMessage, MessageError> {
    let sender = decode_peer(message.from, "from")?;
    let destination = decode_peer(message.to, "to")?;
    if sender.store_id != from {
        return Err(MessageError::Sender { claimed: sender.store_id, stream: from });
    }
    if destination.store_id != to {
        return Err(MessageError::Destination(destination.store_id));
    }
    let raft = RegionMessage::parse_raft(&message.raft).ok_or(MessageError::Raft(message.raft.len()))?;
    let epoch = RegionEpoch { conf_ver: message.conf_ver, version: message.version };
    let note = message.note.map(decode_note).transpose()?;
    let range = message.range.map(|range| KeyRange { start: range.start, end: range.end });
    Ok(RegionMessage { region: message.region_id.into(), from: sender, to: destination, epoch, raft, note, range })
}

fn decode_peer(peer: Option<wire::PeerId>, field: &'static str) -> Result<Peer, MessageError> {
    let peer = peer.ok_or(MessageError::Missing(field))?;
    let role = PeerRole::from_number(peer.role).ok_or(MessageError::Role(peer.role))?;
    Ok(Peer { id: peer.id.into(), store_id: peer.store_id.into(), role })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn message() -> RegionMessage {
        let mut raft = RegionMessage::parse_raft(&[]).expect("an empty message has all defaults");
        raft.commit = u64::MAX;
        raft.term = u64::MAX;
        raft.index = u64::MAX;
        raft.log_term = u64::MAX;
        raft.context = Bytes::from_static(b"context");
        let epoch = RegionEpoch { conf_ver: u64::MAX, version: u64::MAX };
        let peer = |id: u64, store: u64, role| Peer { id: id.into(), store_id: store.into(), role };
        RegionMessage {
            region: u64::MAX.into(),
            from: peer(u64::MAX, 1, PeerRole::IncomingVoter),
            to: peer(u64::MAX - 1, 2, PeerRole::Learner),
            epoch,
            raft,
            note: None,
            range: Some(KeyRange::new(vec![1; 9], vec![2; 9])),
        }
    }

    fn notes() -> [Note; 5] {
        let member = Peer { id: u64::MAX.into(), store_id: u64::MAX.into(), role: PeerRole::DemotingVoter };
        let (index, hash) = (u64::MAX.into(), u64::MAX);
        let members = Note::Members(vec![member; 9]);
        [Note::Gc, Note::WhoAreMembers, members, Note::Hash { index, hash }, Note::Differs { index, hash }]
    }

    fn decoded(wire: wire::RegionMessage) -> Result<RegionMessage, MessageError> {
        decode(wire, 1.into(), 2.into())
    }

    #[test]
    fn a_message_survives_the_way() {
        assert_eq!(decoded(encode(&message())), Ok(message()));
        for note in notes() {
            let message = RegionMessage { note: Some(note), ..message() };
            assert_eq!(decoded(encode(&message)), Ok(message));
        }
    }

    #[test]
    fn the_size_is_never_too_small() {
        let mut large = message();
        for note in notes() {
            large.note = Some(note);
            assert!(size(&large) >= encode(&large).encoded_len());
        }
        for length in [0, 1, 1000, 100_000] {
            large.raft.mut_entries().push(Default::default());
            let entry = large.raft.mut_entries().last_mut().expect("one was pushed");
            entry.data = vec![7; length].into();
            entry.term = u64::MAX;
            entry.index = u64::MAX;
            let exact = encode(&large).encoded_len();
            assert!(size(&large) >= exact, "{} is below {exact}", size(&large));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = encode(&message());
        let without = wire::RegionMessage { from: None, ..good.clone() };
        assert_eq!(decoded(without), Err(MessageError::Missing("from")));
        let without = wire::RegionMessage { to: None, ..good.clone() };
        assert_eq!(decoded(without), Err(MessageError::Missing("to")));
        let role = wire::PeerId { id: 1, store_id: 1, role: 4 };
        assert_eq!(decoded(wire::RegionMessage { from: Some(role), ..good.clone() }), Err(MessageError::Role(4)));
        let empty = wire::RegionMessage { note: Some(wire::Note { kind: None }), ..good.clone() };
        assert_eq!(decoded(empty), Err(MessageError::Missing("note")));
        let members = wire::note::Kind::Members(wire::Members { members: vec![role] });
        let note = wire::RegionMessage { note: Some(wire::Note { kind: Some(members) }), ..good.clone() };
        assert_eq!(decoded(note), Err(MessageError::Role(4)));
        let garbage = wire::RegionMessage { raft: Bytes::from_static(b"\xff\xff\xff"), ..good.clone() };
        assert_eq!(decoded(garbage), Err(MessageError::Raft(3)));
        let sender = MessageError::Sender { claimed: 1.into(), stream: 3.into() };
        assert_eq!(decode(good.clone(), 3.into(), 2.into()), Err(sender));
        assert_eq!(decode(good, 1.into(), 3.into()), Err(MessageError::Destination(2.into())));
    }

    /// RUSTSEC-2024-0437: protobuf 2.28 is said to overflow its stack on nested groups of unknown fields. Its skipper
    /// does not recurse; this fails, by a crash, if that ever changes.
    #[test]
    fn deeply_nested_groups_in_a_raft_message_do_not_crash() {
        const DEPTH: usize = 4 << 20;
        let open = [0x9B, 0x06]; // field 99, a group begins
        let close = [0x9C, 0x06];
        let unclosed = open.repeat(DEPTH);
        let closed = [open.repeat(DEPTH), close.repeat(DEPTH)].concat();
        for bytes in [unclosed, closed] {
            let good = encode(&message());
            let hostile = wire::RegionMessage { raft: bytes.into(), ..good };
            // Whether it is refused or its unknown fields are skipped is the same to us.
            let _ = decoded(hostile);
        }
    }
}
