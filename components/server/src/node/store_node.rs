//! A store that serves: engines, peers, transport, gRPC and status, in one runtime.

use std::sync::Arc;
use std::time::Duration;

use client::{PdClient, PdConfig};
use observe::{Registry, ServerMetrics, StoreMetrics};
use proto::metapb;
use runtime::clock::{Clock, MonotonicClock, entropy_seed};
use runtime::spawn::ThreadSpawner;
use slog::{Logger, info, o, warn};
use store::{StopProgress, Store, StoreHandle, Surroundings};
use tonic::transport::Server;
use transport::{AddressResolver, Collaborators, GrpcTransport, StoreIdentity, TransportConfig, TransportMetrics};
use types::StoreId;

use super::PD_PAUSE;
use super::engines::OpenEngines;
use super::error::NodeError;
use super::join::{Description, join};
use super::listen::{Listening, connections, listen};
use super::observer::NodeObserver;
use super::peers::{LocalStore, PdResolver, TransportOutbox};
use super::reports::{
    Orders, RegionReports, ReportConfig, StoreReports, ask_for_members, check_consistency, unix_seconds,
};
use super::role::{NodeRole, claim};
use super::runtime::NodeRuntime;
use super::serving::{Serving, Started};
use super::snapshots::{GrpcCarrier, Incoming};
use crate::config::Config;
use crate::kv::{KvConfig, TikvService};
use crate::moves::{PdSplits, Splits};
use crate::status::{StatusSource, StoreOperations, StoreStatus};
use crate::{health, status};

/// The version that the store tells the placement driver: real pd-servers gate features by it (wire.md B).
const PROTOCOL_VERSION: &str = "8.5.6";

/// A store at work. Dropping it ends it as [`kill`](Self::kill) does.
pub struct StoreNode {
    serving: Serving,
    store: StoreHandle,
}

impl StoreNode {
    /// Starts a store: joins the cluster where it is not a member yet, replays its logs, and serves. Returns when it
    /// listens and its peers run; they may still be replaying ([`store::StoreState::Starting`]).
    ///
    /// Waits, without end, for a placement driver that cannot be reached, and on a cluster's first start for enough
    /// stores to join.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn start(config: &Config, registry: &Registry, logger: &Logger) -> Result<Self, NodeError> {
        Self::start_through(config, registry, logger, |_, resolver| resolver)
    }

    /// Starts a store as [`start`](Self::start) does, in a network that may have faults: the store with this id finds the
    /// others by what `through` makes of the way in which it would find them otherwise.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn start_through(
        config: &Config,
        registry: &Registry,
        logger: &Logger,
        through: impl FnOnce(StoreId, Arc<dyn AddressResolver>) -> Arc<dyn AddressResolver>,
    ) -> Result<Self, NodeError> {
        config.validate()?;
        let runtime = NodeRuntime::new("store", config.server.grpc_threads)?;
        let started = runtime.block_on(start(config, registry, logger, &runtime, through))?;
        let store = started.running.handle();
        Ok(Self { serving: Serving::new(runtime, started), store })
    }

    /// The store.
    pub fn handle(&self) -> &StoreHandle {
        &self.store
    }

    /// Its id.
    pub fn store_id(&self) -> StoreId {
        self.store.ident().store
    }

    /// Where clients and other stores reach it.
    pub fn address(&self) -> &str {
        self.serving.address()
    }

    /// Where its status is told.
    pub fn status_address(&self) -> &str {
        self.serving.status_address()
    }

    /// Why it cannot go on, if it cannot.
    pub fn failure(&self) -> Option<String> {
        self.serving.failure()
    }

    /// Stops the store: hands its leaders over, executes what is committed, makes it durable, ends every connection.
    ///
    /// # Errors
    /// When the last flush fails; nothing that was acknowledged is lost by that.
    pub fn stop(self, progress: &mut dyn FnMut(StopProgress)) -> Result<(), NodeError> {
        self.serving.stop(progress)
    }

    /// Ends the store as a crash would: connections break, leaders are not handed over, nothing is flushed.
    pub fn kill(self) {
        self.serving.kill();
    }
}

async fn start(
    config: &Config,
    registry: &Registry,
    logger: &Logger,
    runtime: &NodeRuntime,
    through: impl FnOnce(StoreId, Arc<dyn AddressResolver>) -> Arc<dyn AddressResolver>,
) -> Result<Started, NodeError> {
    let server = &config.server;
    let started = unix_seconds();
    let main = listen(&server.addr, server.advertised()).await?;
    let side = listen(&server.status_addr, &server.status_addr).await?;
    let engines = Arc::new(OpenEngines::open(&server.data_dir, config, logger)?);
    claim(&server.data_dir, NodeRole::Store, store::bootstrapped(&engines.engines)?.is_some())?;
    fail_point!("role-claimed");
    let pd = connect(&server.pd_endpoints, logger).await?;
    let description = describe(config, &main, &side, started);
    let ident = join(&server.data_dir, &engines.engines, &pd, &description, logger).await?;

    // The store adds its id to its own lines.
    let store_logger = logger.clone();
    let logger = logger.new(o!("store_id" => ident.store.0));
    let local = Arc::new(LocalStore::default());
    let resolver = through(ident.store, Arc::new(PdResolver(pd.clone())));
    let transport = Arc::new(GrpcTransport::start(
        TransportConfig::default(),
        runtime.handle().clone(),
        StoreIdentity { cluster: ident.cluster, store: ident.store, instance: ident.instance },
        Collaborators { receiver: local.clone(), resolver, instances: local.clone() },
        TransportMetrics::new(registry, ident.store),
        logger.clone(),
    ));
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let carrier = GrpcCarrier { transport: Arc::clone(&transport), clock: Arc::clone(&clock), logger: logger.clone() };
    let incoming = Incoming { store: Arc::clone(&local), clock: Arc::clone(&clock) };
    let (observer, news, failed) = NodeObserver::new(logger.clone());
    let store_metrics = Arc::new(StoreMetrics::new(registry, ident.store));
    let around = Surroundings {
        outbox: Arc::new(TransportOutbox(Arc::clone(&transport))),
        carrier: Arc::new(carrier),
        observer: Arc::new(observer),
        clock,
        metrics: store_metrics.clone(),
        logger: store_logger,
    };
    let store = Store::open(config.store_config(entropy_seed()), engines.engines.clone(), around)?;
    let handle = store.handle();
    local.set(&handle);
    let running = store.start(&ThreadSpawner)?;

    let pd_splits = Arc::new(PdSplits::new(pd.clone(), runtime.handle().clone(), logger.clone()));
    handle.attach_split_ids(pd_splits.clone());
    let splits = Splits::new(handle.clone(), pd_splits, logger.clone());

    let kv_config = KvConfig { max_message_bytes: server.max_message_bytes, ..KvConfig::default() };
    let metrics = Arc::new(ServerMetrics::new(registry, ident.store));
    let kv = TikvService::new(handle.clone(), splits.clone(), kv_config, Arc::clone(&metrics), logger.clone());
    let router = Server::builder()
        .add_service(kv.into_server())
        .add_service(health::service(handle.clone()))
        .add_service(transport.service())
        .add_service(transport.snapshot_service(Arc::new(incoming)));
    runtime.serve("grpc", router.serve_with_incoming(connections(main.listener)), &logger);
    let shown = status::shown(config);
    let (differing, version) = (news.differing.clone(), env!("CARGO_PKG_VERSION"));
    let source: Arc<dyn StatusSource> =
        Arc::new(StoreStatus::new(handle.clone(), registry.clone(), differing, shown, version, started));
    let operations = StoreOperations::new(handle.clone(), splits.clone(), logger.clone()).routes();
    runtime.serve("status", status::serve(side.listener, source, operations, std::future::pending()), &logger);
    let report = ReportConfig::from(&config.raftstore);
    let orders = Orders::new(handle.clone(), splits, metrics, logger.clone());
    runtime.spawn(RegionReports::new(handle.clone(), report, Arc::clone(&news), orders).run(pd.clone()));
    runtime.spawn(ask_for_members(handle.clone(), pd.clone(), Arc::clone(&news), logger.clone()));
    let checks = Duration::from_millis(config.raftstore.consistency_check_interval_ms);
    runtime.spawn(check_consistency(handle.clone(), checks, logger.clone()));
    let (data_dir, metrics) = (server.data_dir.clone(), store_metrics);
    let reports =
        StoreReports { store: handle, config: report, news, data_dir, started, metrics, logger: logger.clone() };
    runtime.spawn(reports.run(pd));
    info!(logger, "store serves"; "address" => &main.advertised, "status_address" => &side.advertised);
    Ok(Started { running, address: main.advertised, status_address: side.advertised, failed, logger })
}

/// Finds the placement driver, however long that takes: a store may be started before it.
async fn connect(endpoints: &[String], logger: &Logger) -> Result<PdClient, NodeError> {
    loop {
        match PdClient::connect(PdConfig::new(endpoints), logger.clone()).await {
            Ok(pd) => return Ok(pd),
            Err(error) if error.is_retryable() => {
                warn!(logger, "waiting for the placement driver"; "reason" => %error);
                tokio::time::sleep(PD_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn describe(config: &Config, main: &Listening, side: &Listening, started: u64) -> Description {
    let labels = config.server.labels.iter();
    let labels = labels.map(|(key, value)| metapb::StoreLabel { key: key.clone(), value: value.clone() }).collect();
    let deploy_path = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let store = metapb::Store {
        address: main.advertised.clone(),
        status_address: side.advertised.clone(),
        version: PROTOCOL_VERSION.to_owned(),
        start_timestamp: started as i64,
        deploy_path,
        labels,
        ..metapb::Store::default()
    };
    Description { store }
}
