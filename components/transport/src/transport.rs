//! The transport as the store and the server see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use proto::transport::snapshot_transport_server::SnapshotTransportServer;
use proto::transport::store_transport_server::StoreTransportServer;
use region::RegionMessage;
use slog::Logger;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use types::StoreId;

use crate::collaborators::{Collaborators, StoreIdentity};
use crate::config::TransportConfig;
use crate::handshake::Handshakes;
use crate::inbound::Inbound;
use crate::link::Link;
use crate::metrics::TransportMetrics;
use crate::shared::Shared;
use crate::snapshot::{SendSnapshotError, SnapshotHandler, SnapshotSource};
use crate::snapshot_in::{InboundSnapshots, MAX_SNAPSHOT_FRAME_BYTES};
use crate::snapshot_out::OutgoingSnapshot;
use crate::wire;

/// Most stores that one store sends to. Store ids come from region descriptors; this only bounds what a damaged one
/// could do.
const MAX_LINKS: usize = 4096;

/// Carries messages between the local store and others. Dropping it ends all outgoing streams; the service ends with
/// its server.
pub struct GrpcTransport {
    shared: Arc<Shared>,
    runtime: Handle,
    inbound: Inbound,
    handshakes: Handshakes,
    links: RwLock<BTreeMap<StoreId, RunningLink>>,
    /// Snapshots that are being sent.
    snapshots: Mutex<JoinSet<()>>,
    /// Bounds them.
    snapshot_permits: Arc<Semaphore>,
}

struct RunningLink {
    link: Arc<Link>,
    task: JoinHandle<()>,
}

impl GrpcTransport {
    /// A transport for the local store. Its tasks run on `runtime`; none runs before there is a message for it.
    pub fn start(
        config: TransportConfig,
        runtime: Handle,
        identity: StoreIdentity,
        collaborators: Collaborators,
        metrics: TransportMetrics,
        logger: Logger,
    ) -> Self {
        let shared = Arc::new(Shared::new(config, identity, collaborators, metrics, logger));
        let handshakes = Handshakes::new(Arc::clone(&shared));
        let inbound = Inbound::new(Arc::clone(&shared), handshakes.clone());
        let snapshot_permits = Arc::new(Semaphore::new(shared.config.max_snapshots));
        Self {
            shared,
            runtime,
            inbound,
            handshakes,
            links: RwLock::default(),
            snapshots: Mutex::default(),
            snapshot_permits,
        }
    }

    /// The service that other stores open their streams to, for the local store's gRPC server.
    pub fn service(&self) -> StoreTransportServer<Inbound> {
        StoreTransportServer::new(self.inbound.clone()).max_decoding_message_size(self.shared.config.max_frame_bytes)
    }

    /// The service that other stores send their snapshots to, for the local store's gRPC server.
    pub fn snapshot_service(&self, handler: Arc<dyn SnapshotHandler>) -> SnapshotTransportServer<InboundSnapshots> {
        let inbound = InboundSnapshots::new(Arc::clone(&self.shared), self.handshakes.clone(), handler);
        SnapshotTransportServer::new(inbound).max_decoding_message_size(MAX_SNAPSHOT_FRAME_BYTES)
    }

    /// Sends a snapshot to a store, on a connection of its own, and tells how that ended. Never blocks.
    ///
    /// `done` is called once, on one of the runtime's threads, and must not block; it is dropped uncalled when the transport is
    /// dropped first, or its runtime ends.
    pub fn send_snapshot(
        &self,
        store: StoreId,
        source: Box<dyn SnapshotSource>,
        done: impl FnOnce(Result<(), SendSnapshotError>) + Send + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.snapshot_permits).try_acquire_owned() else {
            return done(Err(SendSnapshotError::TooMany(self.shared.config.max_snapshots)));
        };
        let outgoing = OutgoingSnapshot::new(Arc::clone(&self.shared), store, source);
        let sending = async move {
            let outcome = outgoing.run().await;
            // Who is told that this one is over may send the next.
            drop(permit);
            done(outcome);
        };
        let mut snapshots = self.snapshots.lock();
        while snapshots.try_join_next().is_some() {}
        snapshots.spawn_on(sending, &self.runtime);
    }

    /// Queues a message for the store that `message.to` names. Never blocks. False when the message was dropped: its
    /// queue is full, it is too large, or the store is [blocked](Self::block).
    pub fn send(&self, message: RegionMessage) -> bool {
        match self.queue(message) {
            Ok(()) => true,
            Err(dropped) => {
                let (message, reason) = *dropped;
                self.shared.metrics.count_dropped(&message, reason);
                false
            }
        }
    }

    fn queue(&self, message: RegionMessage) -> Result<(), Box<(RegionMessage, &'static str)>> {
        let store = message.to.store_id;
        if self.shared.is_blocked(store) {
            return Err(Box::new((message, "blocked")));
        }
        if wire::size(&message) > self.shared.config.max_message_bytes() {
            return Err(Box::new((message, "too_large")));
        }
        match self.link(store) {
            Some(link) => link.queue.push(message).map_err(|full| Box::new((full.0, "queue_full"))),
            None => Err(Box::new((message, "no_link"))),
        }
    }

    /// Pushes out what was queued; called once a round.
    pub fn flush(&self) {
        for running in self.links.read().values() {
            running.link.queue.flush();
        }
    }

    /// Cuts a store off, in both directions, until [`unblock`](Self::unblock): for tests of partitions.
    pub fn block(&self, store: StoreId) {
        self.shared.block(store);
    }

    /// Ends what [`block`](Self::block) began.
    pub fn unblock(&self, store: StoreId) {
        self.shared.unblock(store);
    }

    /// What the transport counts.
    pub fn metrics(&self) -> &TransportMetrics {
        &self.shared.metrics
    }

    /// The link to a store, started on its first message; `None` for the local store, and beyond the bound on links.
    fn link(&self, store: StoreId) -> Option<Arc<Link>> {
        if let Some(running) = self.links.read().get(&store) {
            return Some(Arc::clone(&running.link));
        }
        let mut links = self.links.write();
        if store == self.shared.identity.store || (links.len() >= MAX_LINKS && !links.contains_key(&store)) {
            return None;
        }
        let running = links.entry(store).or_insert_with(|| {
            let link = Arc::new(Link::new(store, Arc::clone(&self.shared)));
            let task = self.runtime.spawn(Arc::clone(&link).run());
            RunningLink { link, task }
        });
        Some(Arc::clone(&running.link))
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        for running in self.links.get_mut().values() {
            running.task.abort();
        }
    }
}
