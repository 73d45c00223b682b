//! What the sending and the receiving half share.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::RwLock;
use slog::Logger;
use types::{InstanceId, StoreId};

use crate::collaborators::{Collaborators, InstanceError, StoreIdentity};
use crate::config::TransportConfig;
use crate::metrics::TransportMetrics;

pub(crate) struct Shared {
    pub(crate) config: TransportConfig,
    pub(crate) identity: StoreIdentity,
    pub(crate) collaborators: Collaborators,
    pub(crate) metrics: TransportMetrics,
    pub(crate) logger: Logger,
    /// Stores that an administrator cut off.
    blocked: RwLock<BTreeSet<StoreId>>,
}

impl Shared {
    pub(crate) fn new(
        config: TransportConfig,
        identity: StoreIdentity,
        collaborators: Collaborators,
        metrics: TransportMetrics,
        logger: Logger,
    ) -> Self {
        Self { config, identity, collaborators, metrics, logger, blocked: RwLock::default() }
    }

    pub(crate) fn block(&self, store: StoreId) {
        self.blocked.write().insert(store);
    }

    pub(crate) fn unblock(&self, store: StoreId) {
        self.blocked.write().remove(&store);
    }

    pub(crate) fn is_blocked(&self, store: StoreId) -> bool {
        self.blocked.read().contains(&store)
    }

    /// Has an instance checked (D14) on a thread that may block.
    pub(crate) async fn check_instance(&self, store: StoreId, instance: InstanceId) -> Result<(), InstanceError> {
        let instances = Arc::clone(&self.collaborators.instances);
        let checked = tokio::task::spawn_blocking(move || instances.check(store, instance)).await;
        checked.unwrap_or_else(|error| Err(InstanceError::Unavailable { store, cause: error.to_string() }))
    }
}
