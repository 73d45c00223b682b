//! All services of the port, made at once.

use std::sync::Arc;
use std::time::Duration;

use coordinator::{Coordinator, CoordinatorError, Surroundings};
use futures::FutureExt;
use proto::coordinator::coordinator_server::CoordinatorServer;
use proto::etcdserverpb::cluster_server::ClusterServer;
use proto::etcdserverpb::kv_server::KvServer;
use proto::keyspacepb::keyspace_server::KeyspaceServer;
use proto::meta_storagepb::meta_storage_server::MetaStorageServer;
use proto::pdpb::pd_server::PdServer;
use tonic::service::Routes;

use crate::health::HealthService;

use super::bridge::Bridge;
use super::compat::{EtcdService, KeyspaceService, MetaStorageService};
use super::driver::DriverService;
use super::heartbeat::KEEPALIVE_INTERVAL;
use super::http;
use super::layout::LayoutService;
use super::member::Member;
use super::orders::OrderStreams;

/// Largest request that is decoded. The largest in use are look-ups of many regions at once.
pub const MAX_REQUEST_BYTES: usize = 16 << 20;

/// The services of the placement driver's port.
pub struct PdServices {
    bridge: Bridge,
    orders: OrderStreams,
    keepalive_interval: Duration,
}

impl PdServices {
    /// Services over a coordinator, which may not lead yet, with the same surroundings. Its orders go out here.
    ///
    /// # Panics
    /// When there are services over it already.
    pub fn new(coordinator: Coordinator, member: Member, around: Surroundings) -> Self {
        let orders = OrderStreams::default();
        coordinator.send_orders_by(Arc::new(orders.clone()));
        let bridge = Bridge::new(coordinator, member, around);
        Self { bridge, orders, keepalive_interval: KEEPALIVE_INTERVAL }
    }

    /// Keeps heartbeat streams alive at another interval than [`KEEPALIVE_INTERVAL`].
    ///
    /// # Panics
    /// When the interval is zero.
    #[must_use]
    pub fn with_keepalive_interval(self, keepalive_interval: Duration) -> Self {
        assert!(!keepalive_interval.is_zero(), "a stream cannot be kept alive all the time");
        Self { keepalive_interval, ..self }
    }

    /// What a server on the placement driver's port serves: gRPC, and over HTTP/1 the paths of `/pd/api/v1`, if the server
    /// accepts HTTP/1.
    pub fn routes(&self) -> Routes {
        let bridge = || self.bridge.clone();
        let driver = DriverService::new(bridge(), self.orders.clone(), self.keepalive_interval);
        let routes = Routes::new(PdServer::new(driver).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(CoordinatorServer::new(LayoutService(bridge())))
            .add_service(KeyspaceServer::new(KeyspaceService(bridge())))
            .add_service(MetaStorageServer::new(MetaStorageService(bridge())))
            .add_service(KvServer::new(EtcdService(bridge())))
            .add_service(ClusterServer::new(EtcdService(bridge())))
            .add_service(self.health().into_server());
        routes.into_axum_router().merge(http::router(bridge())).into()
    }

    /// Healthy is a coordinator that leads.
    fn health(&self) -> HealthService {
        let bridge = self.bridge.clone();
        HealthService::asking(&["pdpb.PD"], move || {
            let bridge = bridge.clone();
            async move { bridge.cluster().await.is_ok() }.boxed()
        })
    }

    /// The way to give orders to stores.
    pub fn orders(&self) -> &OrderStreams {
        &self.orders
    }

    /// Ends all streams, now and in future: a server that stops gently waits for them. Other calls are still answered.
    pub fn close(&self) {
        self.bridge.close();
    }

    /// Whether the coordinator serves, and why not.
    ///
    /// # Errors
    /// `NotLeader` or `Failed`.
    pub async fn check_serving(&self) -> Result<(), CoordinatorError> {
        self.bridge.cluster().await.map(drop)
    }
}
