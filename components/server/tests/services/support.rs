//! A store of one member on threads, with its services on a loopback port. Its engines are in memory.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use engine::memory::{Fault, FaultPoint, MemDisk};
use engine::{RegionSnapshot, StoreIdent};
use observe::{Registry, ServerMetrics, StoreMetrics};
use parking_lot::Mutex;
use proto::grpc::health::v1::health_client::HealthClient;
use proto::kvrpcpb::Context;
use proto::tikvpb::tikv_client::TikvClient;
use proto::{errorpb, metapb};
use region::{RegionMessage, Role};
use runtime::clock::MonotonicClock;
use runtime::spawn::ThreadSpawner;
use server::health;
use server::kv::{KvConfig, TikvService};
use server::moves::{SplitReports, Splits};
use server::status::{self, Differing, StoreOperations, StoreStatus};
use store::layout::static_regions;
use store::{
    Engines, Outbox, RegionIds, RegionView, RunningStore, SplitIds, SplitIdsAnswer, Store, StoreConfig, StoreError,
    StoreHandle, StoreObserver, Surroundings,
};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use types::{ClusterId, InstanceId, RegionDescriptor, RequestError, RequestHeader, Responder, StoreId};

pub const CLUSTER: u64 = 7;
pub const STORE: u64 = 3;
/// Long enough for any machine; a test that meets it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

struct NoOutbox;

impl Outbox for NoOutbox {
    fn send(&self, _: RegionMessage) -> bool {
        false
    }

    fn flush(&self) {}
}

/// Ids for splits, as a placement driver gives them, and what it hears of splits.
#[derive(Clone, Default)]
pub struct Ids {
    given: Arc<Mutex<u64>>,
    /// Whether there are none.
    pub are_out: Arc<AtomicBool>,
    /// The regions that were said to be made, split by split.
    pub made: Arc<Mutex<Vec<Vec<RegionDescriptor>>>>,
}

impl SplitIds for Ids {
    fn ask(&self, region: &RegionDescriptor, count: usize, responder: Responder<Option<SplitIdsAnswer>>) {
        let mut given = self.given.lock();
        let mut next = || {
            *given += 1;
            5000 + *given
        };
        let new = |_| RegionIds { region: next().into(), peers: region.peers.iter().map(|_| next().into()).collect() };
        let ids = (0..count).map(new).collect();
        responder.respond((!self.are_out.load(Ordering::Relaxed)).then_some(ids));
    }
}

impl SplitReports for Ids {
    fn made(&self, regions: Vec<RegionDescriptor>) {
        self.made.lock().push(regions);
    }
}

/// Tells waiting tests that something changed.
struct Changes(watch::Sender<()>);

impl StoreObserver for Changes {
    fn region_changed(&self, _: &RegionView) {
        self.0.send_replace(());
    }

    fn store_failed(&self, _: &StoreError) {
        self.0.send_replace(());
    }
}

pub struct TestStore {
    pub disk: MemDisk,
    pub handle: StoreHandle,
    pub regions: Vec<RegionDescriptor>,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub registry: Registry,
    pub ids: Ids,
    pub differing: Differing,
    running: Option<RunningStore>,
    /// Dropping it ends the servers.
    _stop: oneshot::Sender<()>,
}

impl TestStore {
    pub async fn start(split_keys: &[&'static str]) -> Self {
        Self::with_config(split_keys, KvConfig::default()).await
    }

    pub async fn with_config(split_keys: &[&'static str], kv: KvConfig) -> Self {
        let disk = MemDisk::default();
        let engines = Engines::in_memory(&disk).unwrap();
        let split_keys: Vec<Bytes> = split_keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
        let regions = static_regions(&[StoreId(STORE)], &split_keys).unwrap();
        let ident = StoreIdent { cluster: ClusterId(CLUSTER), store: StoreId(STORE), instance: InstanceId(1) };
        store::bootstrap(&engines, ident, &regions).unwrap();

        let registry = Registry::new();
        let (sender, mut changes) = watch::channel(());
        let around = Surroundings {
            outbox: Arc::new(NoOutbox),
            carrier: Arc::new(store::NoCarrier),
            observer: Arc::new(Changes(sender)),
            clock: Arc::new(MonotonicClock::new()),
            metrics: Arc::new(StoreMetrics::new(&registry, StoreId(STORE))),
            logger: observe::discard_logger(),
        };
        let config = StoreConfig { tick: Duration::from_millis(2), ..StoreConfig::default() };
        let running = Store::open(config, engines, around).unwrap().start(&ThreadSpawner).unwrap();
        let handle = running.handle();
        while !handle.regions().iter().all(|view| view.role == Role::Leader) {
            tokio::time::timeout(PATIENCE, changes.changed()).await.expect("every region gets a leader").unwrap();
        }
        settle(&handle).await;

        let (stop, stopped) = oneshot::channel::<()>();
        let (ids, differing) = (Ids::default(), Differing::default());
        let (grpc, http) = serve(&handle, kv, &registry, ids.clone(), differing.clone(), stopped).await;
        Self { disk, handle, regions, grpc, http, registry, ids, differing, running: Some(running), _stop: stop }
    }

    pub async fn client(&self) -> TikvClient<Channel> {
        TikvClient::new(self.channel().await).max_decoding_message_size(1 << 30).max_encoding_message_size(1 << 30)
    }

    pub async fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    /// What a client that knows the region of the key says.
    pub fn context(&self, key: &str) -> Option<Context> {
        let region = self.regions.iter().find(|region| region.range.contains(key.as_bytes())).unwrap();
        Some(Context {
            region_id: region.id.0,
            region_epoch: Some(region.epoch.into()),
            peer: Some(metapb::Peer::from(region.peers[0])),
            ..Context::default()
        })
    }

    /// Makes the next call that reaches a point of the disk stand still until the sender is dropped. The future ends
    /// when it does.
    pub fn stall(&self, point: FaultPoint) -> (impl Future<Output = ()>, mpsc::Sender<()>) {
        self.stall_nth(point, 1)
    }

    /// Like [`stall`](Self::stall), with the `nth` call from now that reaches the point.
    pub fn stall_nth(&self, point: FaultPoint, nth: u64) -> (impl Future<Output = ()>, mpsc::Sender<()>) {
        let (stalled, stall) = oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let hook = move || {
            stalled.send(()).unwrap();
            // The test ends the stall by dropping its end.
            let _ = released.recv();
        };
        self.disk.inject(point, nth, Fault::Stall(Box::new(hook)));
        (async { stall.await.unwrap() }, release)
    }

    /// Waits until the metrics have this line.
    pub async fn until_shown(&self, line: &str) {
        let shown = async {
            while !self.registry.gather_text().lines().any(|found| found == line) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("{line} does not come"));
    }

    /// Stops the store and lets its services go on.
    pub fn stop(&mut self) {
        self.running.take().unwrap().stop(&mut |_| {}).unwrap();
    }
}

/// Waits until each region has applied the entry with which its leader began: nothing is under way then, so that a fault
/// strikes what the test does next.
async fn settle(handle: &StoreHandle) {
    for view in handle.regions() {
        let (sender, receiver) = oneshot::channel();
        let header =
            RequestHeader { region_id: view.descriptor.id, epoch: view.descriptor.epoch, ..RequestHeader::default() };
        handle.read(
            header,
            Responder::new(|snapshot: Result<RegionSnapshot, RequestError>| sender.send(snapshot.map(|_| ())).unwrap()),
        );
        tokio::time::timeout(PATIENCE, receiver).await.expect("a leader serves reads").unwrap().unwrap();
    }
}

async fn serve(
    handle: &StoreHandle,
    kv: KvConfig,
    registry: &Registry,
    ids: Ids,
    differing: Differing,
    stopped: oneshot::Receiver<()>,
) -> (SocketAddr, SocketAddr) {
    let (grpc_listener, grpc) = listen().await;
    let (http_listener, http) = listen().await;
    let metrics = Arc::new(ServerMetrics::new(registry, StoreId(STORE)));
    handle.attach_split_ids(Arc::new(ids.clone()));
    let splits = Splits::new(handle.clone(), Arc::new(ids), observe::discard_logger());
    let service = TikvService::new(handle.clone(), splits.clone(), kv, metrics, observe::discard_logger());
    let config = serde_json::json!({ "raftstore": { "pollers": 1 } });
    let source =
        Arc::new(StoreStatus::new(handle.clone(), registry.clone(), differing, config, "8.5.6", 1_700_000_000));
    let health = health::service(handle.clone());
    let operations = StoreOperations::new(handle.clone(), splits, observe::discard_logger()).routes();
    tokio::spawn(async move {
        let server = Server::builder().add_service(service.into_server()).add_service(health);
        let serving = server.serve_with_incoming(TcpListenerStream::new(grpc_listener));
        let status = status::serve(http_listener, source, operations, std::future::pending());
        tokio::select! {
            ended = serving => panic!("the gRPC server ended: {ended:?}"),
            ended = status => panic!("the status server ended: {ended:?}"),
            _ = stopped => {}
        }
    });
    (grpc, http)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Which fields of an error are set.
pub fn kind(error: &Option<errorpb::Error>) -> &'static str {
    let Some(error) = error else { return "none" };
    match () {
        () if error.not_leader.is_some() => "not_leader",
        () if error.region_not_found.is_some() => "region_not_found",
        () if error.key_not_in_region.is_some() => "key_not_in_region",
        () if error.epoch_not_match.is_some() => "epoch_not_match",
        () if error.server_is_busy.is_some() => "server_is_busy",
        () if error.stale_command.is_some() => "stale_command",
        () if error.store_not_match.is_some() => "store_not_match",
        () if error.raft_entry_too_large.is_some() => "raft_entry_too_large",
        () if error.mismatch_peer_id.is_some() => "mismatch_peer_id",
        () => "message",
    }
}
