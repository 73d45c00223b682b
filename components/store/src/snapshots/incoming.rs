//! Snapshots that were received and verified, until the peers that they are for say what becomes of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::meta;
use parking_lot::Mutex;
use region::{MessageType, RegionMessage};
use snapshot::{Announced, Offer, Received, Reception, Receptions, Refusal, RefusalKind, Transfer};
use types::{LogIndex, PeerId, RegionId, StoreId};

use super::Discards;
use crate::shared::Shared;

/// Whose it is: the region, who sent it, and its index.
type Arrival = (RegionId, PeerId, LogIndex);

/// Snapshots on their way in. Those that arrived are bounded by the permits that they hold.
pub(crate) struct Incoming {
    pub(crate) receptions: Receptions,
    arrived: Mutex<BTreeMap<Arrival, (Received, Transfer)>>,
    discards: Discards,
}

impl Incoming {
    pub(crate) fn new(receptions: Receptions, discards: Discards) -> Self {
        Self { receptions, arrived: Mutex::default(), discards }
    }

    /// Takes a snapshot out for its peer.
    pub(crate) fn take(&self, region: RegionId, from: PeerId, index: LogIndex) -> Option<(Received, Transfer)> {
        self.arrived.lock().remove(&(region, from, index))
    }

    /// Keeps a snapshot until its peer has stepped its message.
    pub(crate) fn keep(&self, message: &RegionMessage, received: Received, transfer: Transfer) {
        let index = LogIndex(message.raft.get_snapshot().get_metadata().index);
        let replaced = self.arrived.lock().insert((message.region, message.from.id, index), (received, transfer));
        // Its files are removed without the lock.
        drop(replaced);
    }

    /// Drops a snapshot that its peer does not want.
    pub(crate) fn decline(&self, region: RegionId, from: PeerId, index: LogIndex) {
        self.discards.discard(self.take(region, from, index));
    }

    /// Drops what arrived for a region.
    pub(crate) fn forget(&self, region: RegionId) {
        let mut arrived = self.arrived.lock();
        let of_region = |(other, ..): &&Arrival| *other == region;
        let keys: Vec<Arrival> = arrived.keys().filter(of_region).copied().collect();
        let dropped: Vec<_> = keys.iter().filter_map(|key| arrived.remove(key)).collect();
        drop(arrived);
        self.discards.discard(dropped);
    }
}

fn refusal(kind: RefusalKind, reason: &str) -> Refusal {
    Refusal { kind, reason: reason.to_owned() }
}

/// Judges a snapshot by its head, before any of its data is taken (raftstore-rules §8).
pub(crate) fn offer(
    shared: &Shared,
    from_store: StoreId,
    message: &RegionMessage,
    manifest: Bytes,
) -> Result<Reception, Refusal> {
    let store = shared.ident.store;
    let snapshot = message.raft.get_snapshot();
    let addressed = message.to.store_id == store && message.from.store_id == from_store;
    if !addressed || message.note.is_some() || message.raft.get_msg_type() != MessageType::MsgSnapshot {
        return Err(refusal(RefusalKind::Unwanted, "its head is no snapshot's message for this store"));
    }
    if !shared.is_running() {
        return Err(refusal(RefusalKind::Later, "the store is stopping"));
    }
    let descriptor = meta::decode_descriptor(&snapshot.data)
        .map_err(|_| refusal(RefusalKind::Damaged, "its head does not say where the region lies"))?;
    if descriptor.id != message.region || descriptor.peer(message.to.id).is_none() {
        return Err(refusal(RefusalKind::Unwanted, "its receiver is not among the region's members"));
    }
    if !shared.lifecycle.claims.has_room(message.region, message.to.id, &descriptor.range) {
        return Err(refusal(RefusalKind::Later, "the peer or its keys are not free for it here"));
    }
    let metadata = snapshot.get_metadata();
    let announced = Announced {
        region: message.region,
        store,
        peer: message.to.id,
        index: metadata.index.into(),
        term: metadata.term.into(),
    };
    let offer = Offer { announced, from_store, manifest };
    let now = shared.around.clock.now();
    shared.snapshots.incoming.receptions.offer(&offer, now).map_err(|error| error.refusal())
}
