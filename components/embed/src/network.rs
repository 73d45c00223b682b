//! How the members of a static cluster reach each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use region::{ReadResponder, RegionMessage};
use store::{NoCarrier, Outbox, SnapshotCarrier, StoreHandle};
use types::{RequestError, RequestHeader, StoreId};

use crate::carrier::LocalCarrier;
use crate::request::{RegionRequest, RegionResponder, execute};

/// Connects a store with the other members.
pub trait Network: Send + Sync + 'static {
    /// What carries the store's raft messages.
    fn outbox(&self, from: StoreId) -> Arc<dyn Outbox>;

    /// What carries the store's snapshots to members that the log cannot help any more. Networks without one leave such
    /// members behind.
    fn carrier(&self, _: StoreId) -> Arc<dyn SnapshotCarrier> {
        Arc::new(NoCarrier)
    }

    /// Takes a store in, when it has been opened: messages for it are handed to it from now on.
    fn join(&self, store: StoreHandle);

    /// Lets a store go, before it stops.
    fn leave(&self, store: StoreId);

    /// Carries a request to another store and its answer back. The answer is `Undetermined` when the connection broke
    /// behind a write, and `ServerIsBusy` when the store could not be reached at all.
    fn call(&self, to: StoreId, header: RequestHeader, request: RegionRequest, responder: RegionResponder);

    /// Reads a snapshot of a region that another store leads. Only networks within a process can; the others answer
    /// `Invalid`.
    fn snapshot(&self, to: StoreId, header: RequestHeader, responder: ReadResponder) {
        let _ = header;
        let reason = format!("a snapshot can be taken only at the region's leader, which is on store {to}");
        responder.respond(Err(RequestError::Invalid { reason }));
    }
}

/// Members in one process.
#[derive(Clone, Default)]
pub struct LocalNetwork {
    stores: Arc<RwLock<BTreeMap<StoreId, StoreHandle>>>,
}

impl LocalNetwork {
    /// A network without members yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn member(&self, store: StoreId) -> Option<StoreHandle> {
        self.stores.read().get(&store).cloned()
    }
}

impl Outbox for LocalNetwork {
    fn send(&self, message: RegionMessage) -> bool {
        let member = self.member(message.to.store_id);
        member.map(|store| store.receive(message)).is_some()
    }

    fn flush(&self) {}
}

const UNREACHABLE: RequestError = RequestError::ServerIsBusy { reason: "the leader's store is not reachable" };

impl Network for LocalNetwork {
    fn outbox(&self, _: StoreId) -> Arc<dyn Outbox> {
        Arc::new(self.clone())
    }

    fn carrier(&self, from: StoreId) -> Arc<dyn SnapshotCarrier> {
        Arc::new(LocalCarrier::new(self.clone(), from))
    }

    fn join(&self, store: StoreHandle) {
        self.stores.write().insert(store.ident().store, store);
    }

    fn leave(&self, store: StoreId) {
        self.stores.write().remove(&store);
    }

    fn call(&self, to: StoreId, header: RequestHeader, request: RegionRequest, responder: RegionResponder) {
        match self.member(to) {
            Some(store) => execute(&store, header, request, responder),
            None => responder.respond(Err(UNREACHABLE)),
        }
    }

    fn snapshot(&self, to: StoreId, header: RequestHeader, responder: ReadResponder) {
        match self.member(to) {
            Some(store) => store.read(header, responder),
            None => responder.respond(Err(UNREACHABLE)),
        }
    }
}
