//! What the transport needs of a store node.

use std::sync::{Arc, OnceLock};

use client::{PdClient, PdError};
use futures::FutureExt;
use futures::future::BoxFuture;
use proto::pdpb::ErrorType;
use region::RegionMessage;
use store::{Outbox, StoreHandle, WeakStoreHandle};
use transport::{AddressResolver, GrpcTransport, InstanceCheck, InstanceError, Receiver, ResolveError};
use types::{InstanceId, StoreId};

/// The store behind a transport. The transport is made first, because the store sends through it: what comes before the
/// store is there gets lost, and raft sends it again. The store owns the transport, so this must not own the store.
#[derive(Default)]
pub(super) struct LocalStore(OnceLock<WeakStoreHandle>);

impl LocalStore {
    /// Puts the store into its place; done once.
    pub(super) fn set(&self, store: &StoreHandle) {
        assert!(self.0.set(store.downgrade()).is_ok(), "a transport serves one store");
    }

    /// The store, while it is there.
    pub(super) fn get(&self) -> Option<StoreHandle> {
        self.0.get().and_then(WeakStoreHandle::upgrade)
    }
}

impl Receiver for LocalStore {
    fn receive(&self, message: RegionMessage) {
        if let Some(store) = self.get() {
            store.receive(message);
        }
    }

    fn unreachable(&self, to: StoreId) {
        if let Some(store) = self.get() {
            store.unreachable(to);
        }
    }
}

impl InstanceCheck for LocalStore {
    fn check(&self, store: StoreId, came: InstanceId) -> Result<(), InstanceError> {
        let unavailable = |cause: String| InstanceError::Unavailable { store, cause };
        let local = self.get().ok_or_else(|| unavailable("this store is starting or stopping".to_owned()))?;
        let known = local.remember_instance(store, came).map_err(|error| unavailable(error.to_string()))?;
        if known == came { Ok(()) } else { Err(InstanceError::Changed { store, known, came }) }
    }
}

/// Asks the placement driver where stores are.
pub(super) struct PdResolver(pub(super) PdClient);

impl AddressResolver for PdResolver {
    fn resolve(&self, store: StoreId) -> BoxFuture<'static, Result<String, ResolveError>> {
        let pd = self.0.clone();
        let resolve = async move {
            match pd.get_store(store).await {
                Ok(found) if found.peer_address.is_empty() => Ok(found.address),
                Ok(found) => Ok(found.peer_address),
                Err(PdError::Refused { kind: ErrorType::Unknown, .. }) => Err(ResolveError::Unknown(store)),
                Err(error) => Err(ResolveError::Unavailable { store, cause: error.to_string() }),
            }
        };
        resolve.boxed()
    }
}

/// The transport as the store sees it.
pub(super) struct TransportOutbox(pub(super) Arc<GrpcTransport>);

impl Outbox for TransportOutbox {
    fn send(&self, message: RegionMessage) -> bool {
        self.0.send(message)
    }

    fn flush(&self) {
        self.0.flush();
    }
}
