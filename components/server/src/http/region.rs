//! A region's descriptor as JSON. Keys are upper-case hex, as TiKV's tools print them.

use serde_json::{Value, json};
use types::range::HexKey;
use types::{Peer, PeerRole, RegionDescriptor};

/// A region's range, epoch and members, each as `peer` shows it.
pub(crate) fn descriptor(region: &RegionDescriptor, peer: fn(&Peer) -> Value) -> Value {
    json!({
        "id": region.id.0,
        "start_key": HexKey(&region.range.start).to_string(),
        "end_key": HexKey(&region.range.end).to_string(),
        "epoch": { "conf_ver": region.epoch.conf_ver, "version": region.epoch.version },
        "peers": region.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}

/// A member as stores show it.
pub(crate) fn peer(peer: &Peer) -> Value {
    let role = match peer.role {
        PeerRole::Voter => "voter",
        PeerRole::Learner => "learner",
        PeerRole::IncomingVoter => "incoming_voter",
        PeerRole::DemotingVoter => "demoting_voter",
    };
    json!({ "id": peer.id.0, "store_id": peer.store_id.0, "role": role })
}

/// A member as placement drivers show it: their tools look for the role's number, and for the name of the protocol.
pub(crate) fn numbered_peer(peer: &Peer) -> Value {
    let role_name = proto::metapb::Peer::from(*peer).role().as_str_name();
    json!({ "id": peer.id.0, "store_id": peer.store_id.0, "role": peer.role as u8, "role_name": role_name })
}
