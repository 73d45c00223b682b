//! A store that serves: engines, peers, transport, gRPC and status, in one runtime.

use std::sync::Arc;

use client::{PdClient, PdConfig};
use observe::{Registry, ServerMetrics, StoreMetrics};
use proto::metapb;
use runtime::clock::{MonotonicClock, entropy_seed};
use runtime::spawn::ThreadSpawner;
use slog::{Logger, info, o, warn};
use store::{RunningStore, StopProgress, Store, StoreHandle, Surroundings};
use tokio::sync::watch;
use tonic::transport::Server;
use transport::{Collaborators, GrpcTransport, StoreIdentity, TransportConfig, TransportMetrics};
use types::StoreId;

use super::engines::OpenEngines;
use super::error::NodeError;
use super::heartbeats::{report_regions, report_store, unix_seconds};
use super::join::{Description, join};
use super::listen::{Listening, connections, listen};
use super::observer::NodeObserver;
use super::peers::{LocalStore, PdResolver, TransportOutbox};
use super::{NodeEnd, NodeRuntime, PD_PAUSE};
use crate::config::Config;
use crate::kv::{KvConfig, TikvService};
use crate::status::{StatusSource, StoreStatus};
use crate::{health, status};

/// The version that the store tells the placement driver: real pd-servers gate features by it (wire.md B).
const PROTOCOL_VERSION: &str = "8.5.6";

/// A store at work. Dropping it ends it as [`kill`](Self::kill) does.
pub struct StoreNode {
    /// Declared first, so that it ends first: no task outlives the store that it serves.
    runtime: NodeRuntime,
    running: Option<RunningStore>,
    store: StoreHandle,
    address: String,
    status_address: String,
    failed: watch::Receiver<Option<String>>,
    logger: Logger,
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
        config.validate()?;
        let runtime = NodeRuntime::new("store", config.server.grpc_threads)?;
        let started = runtime.block_on(start(config, registry, logger, &runtime));
        let Started { running, address, status_address, failed, logger } = started?;
        let store = running.handle();
        Ok(Self { runtime, running: Some(running), store, address, status_address, failed, logger })
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
        &self.address
    }

    /// Where its status is told.
    pub fn status_address(&self) -> &str {
        &self.status_address
    }

    /// Why it cannot go on, if it cannot.
    pub fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Blocks until the process is asked to end, or the store cannot go on.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub fn wait(&self) -> Result<NodeEnd, NodeError> {
        let mut failed = self.failed.clone();
        self.runtime.wait(async move {
            // The sender lives in the store, which lives as long as we do.
            let failure = failed.wait_for(Option::is_some).await;
            failure.map_or_else(|_| "the store is gone".to_owned(), |failure| failure.clone().unwrap_or_default())
        })
    }

    /// Stops the store: hands its leaders over, executes what is committed, makes it durable, ends every connection.
    ///
    /// # Errors
    /// When the last flush fails; nothing that was acknowledged is lost by that.
    pub fn stop(mut self, progress: &mut dyn FnMut(StopProgress)) -> Result<(), NodeError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let result = running.stop(progress);
        info!(self.logger, "store node stopped");
        Ok(result?)
    }

    /// Ends the store as a crash would: connections break, leaders are not handed over, nothing is flushed.
    pub fn kill(mut self) {
        self.runtime.end();
        drop(self.running.take());
        warn!(self.logger, "store node killed");
    }
}

struct Started {
    running: RunningStore,
    address: String,
    status_address: String,
    failed: watch::Receiver<Option<String>>,
    logger: Logger,
}

async fn start(
    config: &Config,
    registry: &Registry,
    logger: &Logger,
    runtime: &NodeRuntime,
) -> Result<Started, NodeError> {
    let server = &config.server;
    let started = unix_seconds();
    let main = listen(&server.addr, server.advertised()).await?;
    let side = listen(&server.status_addr, &server.status_addr).await?;
    let engines = Arc::new(OpenEngines::open(&server.data_dir, config, logger)?);
    let pd = connect(&server.pd_endpoints, logger).await?;
    let description = describe(config, &main, &side, started);
    let ident = join(&server.data_dir, &engines.engines, &pd, &description, logger).await?;

    let logger = logger.new(o!("store_id" => ident.store.0));
    let local = Arc::new(LocalStore::default());
    let transport = Arc::new(GrpcTransport::start(
        TransportConfig::default(),
        runtime.handle().clone(),
        StoreIdentity { cluster: ident.cluster, store: ident.store, instance: ident.instance },
        Collaborators { receiver: local.clone(), resolver: Arc::new(PdResolver(pd.clone())), instances: local.clone() },
        TransportMetrics::new(registry, ident.store),
        logger.clone(),
    ));
    let (observer, changed, failed) = NodeObserver::new();
    let store_metrics = Arc::new(StoreMetrics::new(registry, ident.store));
    let around = Surroundings {
        outbox: Arc::new(TransportOutbox(Arc::clone(&transport))),
        observer: Arc::new(observer),
        clock: Arc::new(MonotonicClock::new()),
        metrics: store_metrics.clone(),
        logger: logger.clone(),
    };
    let store = Store::open(config.raftstore.store_config(entropy_seed()), engines.engines.clone(), around)?;
    let handle = store.handle();
    local.set(&handle);
    let running = store.start(&ThreadSpawner)?;

    let kv_config = KvConfig { max_message_bytes: server.max_message_bytes, ..KvConfig::default() };
    let metrics = Arc::new(ServerMetrics::new(registry, ident.store));
    let kv = TikvService::new(handle.clone(), kv_config, metrics, logger.clone());
    let router = Server::builder()
        .add_service(kv.into_server())
        .add_service(health::service(handle.clone()))
        .add_service(transport.service());
    runtime.serve("grpc", router.serve_with_incoming(connections(main.listener)), &logger);
    let shown = serde_json::to_value(config).expect("a configuration is plain data");
    let source: Arc<dyn StatusSource> =
        Arc::new(StoreStatus::new(handle.clone(), registry.clone(), shown, env!("CARGO_PKG_VERSION"), started));
    runtime.serve("status", status::serve(side.listener, source, std::future::pending()), &logger);
    runtime.spawn(report_regions(handle.clone(), pd.clone(), changed, logger.clone()));
    runtime.spawn(report_store(handle, pd, server.data_dir.clone(), started, store_metrics, logger.clone()));
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
