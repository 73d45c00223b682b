//! A coordinator that serves: its region in a store of its own, the placement driver's services, and status.

use std::num::NonZeroU64;
use std::sync::Arc;

use coordinator::{Coordinator, Leadership, StoreJournal, home_region};
use engine::StoreIdent;
use observe::{CoordinatorMetrics, Registry, StoreMetrics};
use region::RegionMessage;
use runtime::clock::{MonotonicClock, SystemWallClock, entropy_seed};
use runtime::spawn::ThreadSpawner;
use serde_json::{Value, json};
use slog::{Logger, info, o, warn};
use store::{
    Engines, Outbox, RegionView, RunningStore, Store, StoreError, StoreHandle, StoreObserver, StoreState, Surroundings,
};
use tokio::sync::watch;
use tonic::transport::Server;
use types::{ClusterId, StoreId};

use super::engines::OpenEngines;
use super::error::NodeError;
use super::heartbeats::unix_seconds;
use super::listen::{connections, listen};
use super::{NodeEnd, NodeRuntime};
use crate::config::Config;
use crate::pd::{Member, PdServices};
use crate::status::{self, StatusSource};

/// The store that holds the coordinator's region is the only one of its kind.
const STORE: StoreId = StoreId(1);

/// A coordinator at work. Dropping it ends it as [`kill`](Self::kill) does.
pub struct CoordinatorNode {
    /// Declared first, so that it ends first.
    runtime: NodeRuntime,
    running: Option<RunningStore>,
    cluster: ClusterId,
    address: String,
    status_address: String,
    failed: watch::Receiver<Option<String>>,
    logger: Logger,
}

impl CoordinatorNode {
    /// Starts a coordinator: makes the cluster at its first start, and goes on from its data directory later. Returns
    /// when it listens; it answers "not leader" until it has loaded its records.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn start(config: &Config, registry: &Registry, logger: &Logger) -> Result<Self, NodeError> {
        config.validate()?;
        let runtime = NodeRuntime::new("coordinator", config.server.grpc_threads)?;
        let Started { running, cluster, address, status_address, failed, logger } =
            runtime.block_on(start(config, registry, logger, &runtime))?;
        Ok(Self { runtime, running: Some(running), cluster, address, status_address, failed, logger })
    }

    /// The cluster.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster
    }

    /// Where clients and stores reach it.
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

    /// Blocks until the process is asked to end, or the coordinator cannot go on.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub fn wait(&self) -> Result<NodeEnd, NodeError> {
        let mut failed = self.failed.clone();
        self.runtime.wait(async move {
            let failure = failed.wait_for(Option::is_some).await;
            failure.map_or_else(|_| "the store is gone".to_owned(), |failure| failure.clone().unwrap_or_default())
        })
    }

    /// Stops the coordinator and makes what it holds durable.
    ///
    /// # Errors
    /// When the last flush fails; nothing that was answered is lost by that.
    pub fn stop(mut self) -> Result<(), NodeError> {
        self.runtime.end();
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let result = running.stop(&mut |_| {});
        info!(self.logger, "coordinator stopped");
        Ok(result?)
    }

    /// Ends the coordinator as a crash would.
    pub fn kill(mut self) {
        self.runtime.end();
        drop(self.running.take());
        warn!(self.logger, "coordinator killed");
    }
}

struct Started {
    running: RunningStore,
    cluster: ClusterId,
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
    let settings = &config.coordinator;
    let started = unix_seconds();
    let main = listen(&settings.addr, settings.advertised()).await?;
    let side = listen(&settings.status_addr, &settings.status_addr).await?;
    let logger = logger.new(o!("component" => "coordinator"));
    let engines = OpenEngines::open(&settings.data_dir, config, &logger)?.engines;
    let ident = bring_up(&engines, &logger)?;

    let inside = coordinator::Surroundings {
        clock: Arc::new(MonotonicClock::new()),
        wall_clock: Arc::new(SystemWallClock),
        metrics: Arc::new(CoordinatorMetrics::new(registry)),
        logger: logger.clone(),
    };
    let (failure, failed) = watch::channel(None);
    let observer = Arc::new(Observer { leadership: Leadership::new(), failure });
    let around = Surroundings {
        outbox: Arc::new(Alone),
        observer: observer.clone(),
        clock: inside.clock.clone(),
        metrics: Arc::new(StoreMetrics::new(registry, STORE)),
        logger: logger.clone(),
    };
    let store = Store::open(config.raftstore.store_config(entropy_seed()), engines, around)?;
    let handle = store.handle();
    let journal = StoreJournal::new(handle.clone(), home_region(STORE).id);
    let coordinator = Coordinator::new(settings.coordinator_config(ident.cluster), journal, inside.clone())?;
    observer.leadership.attach(&coordinator);
    let running = store.start(&ThreadSpawner)?;

    let id = NonZeroU64::new(STORE.0).expect("the store's id is above zero");
    let member = Member::new(id, "coordinator-1", &format!("http://{}", main.advertised))
        .expect("the name is not empty and the address was checked");
    let services = PdServices::new(coordinator.clone(), member, inside);
    let router = Server::builder().add_routes(services.routes());
    runtime.serve("grpc", router.serve_with_incoming(connections(main.listener)), &logger);
    let shown = serde_json::to_value(config).expect("a configuration is plain data");
    let source: Arc<dyn StatusSource> = Arc::new(CoordinatorStatus {
        store: handle,
        coordinator,
        registry: registry.clone(),
        config: shown,
        cluster: ident.cluster,
        started,
    });
    runtime.serve("status", status::serve(side.listener, source, std::future::pending()), &logger);
    info!(logger, "coordinator serves";
        "cluster_id" => ident.cluster.0, "address" => &main.advertised, "status_address" => &side.advertised);
    let (address, status_address) = (main.advertised, side.advertised);
    Ok(Started { running, cluster: ident.cluster, address, status_address, failed, logger })
}

/// Makes the cluster where there is none: draws its id, and gives the coordinator a region of its own.
fn bring_up(engines: &Engines, logger: &Logger) -> Result<StoreIdent, NodeError> {
    if let Some(ident) = store::bootstrapped(engines)? {
        return Ok(ident);
    }
    // Ids go through clients that know only signed numbers.
    let cluster = ClusterId((entropy_seed() >> 1).max(1));
    let ident = StoreIdent { cluster, store: STORE, instance: entropy_seed().into() };
    store::bootstrap(engines, ident, &[home_region(STORE)])?;
    info!(logger, "a new cluster is made"; "cluster_id" => cluster.0);
    Ok(ident)
}

/// Tells the coordinator whether it leads, and the node whether it can go on.
struct Observer {
    leadership: Leadership,
    failure: watch::Sender<Option<String>>,
}

impl StoreObserver for Observer {
    fn region_changed(&self, view: &RegionView) {
        self.leadership.region_changed(view);
    }

    fn store_failed(&self, error: &StoreError) {
        self.leadership.store_failed(error);
        self.failure.send_replace(Some(format!("{} ({})", error, error.code())));
    }
}

/// There is nobody to send to.
struct Alone;

impl Outbox for Alone {
    fn send(&self, _: RegionMessage) -> bool {
        false
    }

    fn flush(&self) {}
}

struct CoordinatorStatus {
    store: StoreHandle,
    coordinator: Coordinator,
    registry: Registry,
    config: Value,
    cluster: ClusterId,
    started: u64,
}

impl StatusSource for CoordinatorStatus {
    fn metrics(&self) -> String {
        self.coordinator.refresh_gauges();
        self.registry.gather_text()
    }

    fn status(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cluster_id": self.cluster.0,
            "leader": self.is_ready(),
            "start_timestamp": self.started,
        })
    }

    fn is_ready(&self) -> bool {
        self.store.state() == StoreState::Serving && self.store.counts().leaders > 0
    }

    fn config(&self) -> Value {
        self.config.clone()
    }
}
