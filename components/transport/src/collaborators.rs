//! What the transport needs of others.

use std::sync::Arc;

use futures::future::BoxFuture;
use region::RegionMessage;
use types::{ClusterId, InstanceId, StoreId};

/// Who the local store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub store: StoreId,
    /// This life of its disk (D14).
    pub instance: InstanceId,
}

/// Takes what comes from other stores. Called on the runtime's threads: must not block.
pub trait Receiver: Send + Sync + 'static {
    /// A message for this store arrived. It is a raft message from the store that it names; whether it makes sense for
    /// its region is the receiver's to judge.
    fn receive(&self, message: RegionMessage);

    /// Messages to a store get lost just now. Reported at most once in each
    /// [`unreachable_interval`](crate::TransportConfig::unreachable_interval).
    fn unreachable(&self, store: StoreId);
}

/// Where a store can be reached is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nobody knows this store.
    #[error("store {0} is not known: it has not registered yet, or was removed")]
    Unknown(StoreId),
    /// The one who knows cannot be asked now.
    #[error("address of store {store} cannot be looked up now: {cause}")]
    Unavailable {
        /// The store.
        store: StoreId,
        /// Why.
        cause: String,
    },
}

/// Knows where stores can be reached.
pub trait AddressResolver: Send + Sync + 'static {
    /// The address of a store as `host:port`. Asked before each attempt to connect, so that a store may move.
    fn resolve(&self, store: StoreId) -> BoxFuture<'static, Result<String, ResolveError>>;
}

/// A store's instance was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstanceError {
    /// The store is known with another instance: its disk was wiped or copied (D14).
    #[error(
        "store {store} comes with instance {came}, but is known with {known}: its disk is not the one that voted; \
         replace its peers and give it a new store id"
    )]
    Changed {
        /// The store.
        store: StoreId,
        /// The instance remembered from its first contact.
        known: InstanceId,
        /// The instance that it came with.
        came: InstanceId,
    },
    /// What is remembered could not be read or written.
    #[error("instance of store {store} cannot be checked: {cause}")]
    Unavailable {
        /// The store.
        store: StoreId,
        /// Why.
        cause: String,
    },
}

/// Remembers the instance of each store from its first contact on (D14).
pub trait InstanceCheck: Send + Sync + 'static {
    /// Accepts the instance of a store that is not known yet, and remembers it durably; later accepts that one only.
    /// Called on a thread that may block.
    fn check(&self, store: StoreId, instance: InstanceId) -> Result<(), InstanceError>;
}

/// All of them.
#[derive(Clone)]
pub struct Collaborators {
    /// Takes what comes in.
    pub receiver: Arc<dyn Receiver>,
    /// Knows addresses.
    pub resolver: Arc<dyn AddressResolver>,
    /// Remembers instances.
    pub instances: Arc<dyn InstanceCheck>,
}
