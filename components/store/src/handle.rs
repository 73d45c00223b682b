//! What everyone else sees of a store.

use std::sync::Arc;

use engine::StoreIdent;
use proto::log::Command;
use region::{Inspector, ReadResponder, RegionMessage, Role, TransferResponder};
use types::{Peer, RegionDescriptor, RegionId, RequestHeader, StoreId, Term, WriteResponder};

use crate::error::StoreError;

/// Carries messages to other stores. Must not block: a full queue drops the message (raft sends again).
pub trait Outbox: Send + Sync + 'static {
    /// Queues a message for the store that `message.to` names. False when it was dropped.
    fn send(&self, message: RegionMessage) -> bool;
    /// Pushes out what was queued; called once a round.
    fn flush(&self);
}

/// Told of what happens in a store, on the thread where it happens: implementations only hand it on.
pub trait StoreObserver: Send + Sync + 'static {
    /// A region's role, leader or term changed.
    fn region_changed(&self, view: &RegionView);
    /// The store cannot go on; it answers nothing any more.
    fn store_failed(&self, error: &StoreError);
}

/// A region of this store, as of its last change.
#[derive(Clone, Debug)]
pub struct RegionView {
    /// Its descriptor.
    pub descriptor: Arc<RegionDescriptor>,
    /// This store's peer.
    pub peer: Peer,
    /// The peer's role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader of that term, where it is known for sure.
    pub leader: Option<Peer>,
}

/// What a store is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It has not replayed what it had committed before it stopped.
    Starting,
    /// It serves.
    Serving,
    /// It hands its leaders over and stops.
    Stopping,
    /// It met a fatal error.
    Failed,
    /// It is stopped.
    Stopped,
}

/// Everything that can be asked of a store; cheap to clone. Nothing here blocks: answers come to responders, on the
/// store's threads.
#[derive(Clone)]
pub struct StoreHandle {}

impl StoreHandle {
    /// Who this store is.
    pub fn ident(&self) -> StoreIdent {
        unimplemented!("under construction")
    }

    /// What it is doing.
    pub fn state(&self) -> StoreState {
        unimplemented!("under construction")
    }

    /// Applies a command to a region, atomically, once it is replicated.
    pub fn write(&self, header: RequestHeader, command: Command, responder: WriteResponder) {
        let _ = (header, command, responder);
        unimplemented!("under construction")
    }

    /// Gives a linearizable snapshot of a region.
    pub fn read(&self, header: RequestHeader, responder: ReadResponder) {
        let _ = (header, responder);
        unimplemented!("under construction")
    }

    /// Makes a region's peer on another store its leader. Only on the leader's store.
    pub fn transfer_leader(&self, region: RegionId, to: StoreId, responder: TransferResponder) {
        let _ = (region, to, responder);
        unimplemented!("under construction")
    }

    /// Asks for a region's status.
    pub fn inspect(&self, region: RegionId, inspector: Inspector) {
        let _ = (region, inspector);
        unimplemented!("under construction")
    }

    /// Takes a message that came from another store; dropped when its region has no room or is not here.
    pub fn receive(&self, message: RegionMessage) {
        let _ = message;
        unimplemented!("under construction")
    }

    /// Notes that nothing can be delivered to a store just now.
    pub fn unreachable(&self, store: StoreId) {
        let _ = store;
        unimplemented!("under construction")
    }

    /// Every region of the store, ordered by start key.
    pub fn regions(&self) -> Vec<RegionView> {
        unimplemented!("under construction")
    }

    /// A region of the store.
    pub fn region(&self, id: RegionId) -> Option<RegionView> {
        let _ = id;
        unimplemented!("under construction")
    }

    /// The region of the store that holds a key.
    pub fn region_at(&self, key: &[u8]) -> Option<RegionView> {
        let _ = key;
        unimplemented!("under construction")
    }
}
