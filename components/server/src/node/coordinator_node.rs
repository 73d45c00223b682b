//! A coordinator that serves: its region in a store of its own, the placement driver's services, and status.

use std::num::NonZeroU64;
use std::sync::Arc;

use axum::Router;
use coordinator::{Coordinator, Leadership, StoreJournal, home_region};
use engine::StoreIdent;
use observe::{CoordinatorMetrics, Registry, StoreMetrics};
use region::RegionMessage;
use runtime::clock::{MonotonicClock, SystemWallClock, entropy_seed};
use runtime::spawn::ThreadSpawner;
use serde_json::{Value, json};
use slog::{Logger, info, o};
use store::{Engines, Outbox, RegionView, Store, StoreError, StoreHandle, StoreObserver, StoreState, Surroundings};
use tokio::sync::watch;
use tonic::transport::Server;
use types::{ClusterId, StoreId};

use super::engines::OpenEngines;
use super::error::NodeError;
use super::listen::{connections, listen};
use super::reports::unix_seconds;
use super::role::{NodeRole, claim};
use super::runtime::NodeRuntime;
use super::serving::{Serving, Started};
use crate::config::Config;
use crate::pd::{Member, PdServices};
use crate::status::{self, StatusSource};

/// The store that holds the coordinator's region is the only one of its kind.
const STORE: StoreId = StoreId(1);

/// A coordinator at work. Dropping it ends it as [`kill`](Self::kill) does.
pub struct CoordinatorNode {
    serving: Serving,
    cluster: ClusterId,
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
        let started = runtime.block_on(start(config, registry, logger, &runtime))?;
        let cluster = started.running.handle().ident().cluster;
        Ok(Self { serving: Serving::new(runtime, started), cluster })
    }

    /// The cluster.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster
    }

    /// Where clients and stores reach it.
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

    /// Stops the coordinator and makes what it holds durable.
    ///
    /// # Errors
    /// When the last flush fails; nothing that was answered is lost by that.
    pub fn stop(mut self) -> Result<(), NodeError> {
        // It leads alone: there is nobody to hand over to, and no reason to answer meanwhile.
        self.serving.disconnect();
        self.serving.stop(&mut |_| {})
    }

    /// Ends the coordinator as a crash would.
    pub fn kill(self) {
        self.serving.kill();
    }
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
    claim(&settings.data_dir, NodeRole::Coordinator, store::bootstrapped(&engines)?.is_some())?;
    fail_point!("role-claimed");
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
        carrier: Arc::new(store::NoCarrier),
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
    let router = Server::builder().accept_http1(true).add_routes(services.routes());
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
    runtime.serve("status", status::serve(side.listener, source, Router::new(), std::future::pending()), &logger);
    info!(logger, "coordinator serves";
        "cluster_id" => ident.cluster.0, "address" => &main.advertised, "status_address" => &side.advertised);
    let (address, status_address) = (main.advertised, side.advertised);
    Ok(Started { running, address, status_address, failed, logger })
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
    fail_point!("cluster-made");
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
