//! A cluster of fakes behind real loopback sockets: they check what they are asked as real stores do, and fail on order.

#![allow(dead_code, clippy::unwrap_used)]

pub mod pd;
pub mod store;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{ClientConfig, PdClient, PdConfig, RawClient};
use parking_lot::Mutex;
use proto::coordinator::coordinator_server::CoordinatorServer;
use proto::errorpb;
use proto::pdpb::pd_server::PdServer;
use proto::tikvpb::tikv_server::TikvServer;
use slog::Logger;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use types::{KeyRange, Peer, RegionDescriptor, RegionEpoch, StoreId};

use self::pd::FakePd;
use self::store::FakeStore;

pub const CLUSTER: u64 = 77;
/// Long enough for any machine: only a broken build waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A region as it is, and who leads it.
#[derive(Clone, Debug)]
pub struct Region {
    pub descriptor: RegionDescriptor,
    pub leader: Peer,
}

/// How the next request to any store ends, instead of being served.
#[derive(Clone, Debug)]
pub enum Fault {
    /// With this region error, without effect.
    RegionError(errorpb::Error),
    /// With this text, without effect.
    Text(&'static str),
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// It takes effect, and no answer ever comes.
    Silence,
}

/// Everything that is true in the cluster.
#[derive(Default)]
pub struct State {
    pub regions: Vec<Region>,
    /// What the placement driver believes; follows `regions` unless `is_pd_stale`.
    pub pd_regions: Vec<Region>,
    pub is_pd_stale: bool,
    pub addresses: BTreeMap<StoreId, String>,
    pub data: BTreeMap<Bytes, Bytes>,
    pub faults: VecDeque<Fault>,
    /// Regions that were looked up.
    pub lookups: usize,
    /// What stores were asked, as `store command`.
    pub asked: Vec<String>,
    /// Writes that took effect.
    pub writes: usize,
    /// Whether replies of one frame come in reverse.
    pub reverses_replies: bool,
}

impl State {
    pub fn region_at(&self, key: &[u8]) -> &Region {
        self.regions.iter().find(|region| region.descriptor.range.contains(key)).unwrap()
    }

    pub fn set_regions(&mut self, regions: Vec<Region>) {
        self.regions = regions;
        if !self.is_pd_stale {
            self.pd_regions = self.regions.clone();
        }
    }

    /// How often any store was asked for this command.
    pub fn asked_for(&self, command: &str) -> usize {
        self.asked.iter().filter(|asked| asked.ends_with(command)).count()
    }
}

pub type Shared = Arc<Mutex<State>>;

/// A region with a peer on each of three stores, led by the one on `leader`.
pub fn region(id: u64, start: &str, end: &str, version: u64, leader: u64) -> Region {
    let peers: Vec<Peer> = (1..=3).map(|store| Peer::voter((id * 10 + store).into(), store.into())).collect();
    let descriptor = RegionDescriptor {
        id: id.into(),
        range: KeyRange::new(start.as_bytes().to_vec(), end.as_bytes().to_vec()),
        epoch: RegionEpoch { conf_ver: 1, version },
        peers,
    };
    let leader = *descriptor.peer_on(leader.into()).unwrap();
    Region { descriptor, leader }
}

/// A gRPC server that can be killed.
pub struct Server {
    runtime: Option<Runtime>,
    pub address: String,
}

impl Server {
    pub async fn serve(router: tonic::transport::server::Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // A runtime of its own: its end cuts every socket at once, as a kill does.
        let runtime = Runtime::new().unwrap();
        runtime.spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { runtime: Some(runtime), address }
    }

    /// Kills the server; when this returns its sockets are closed.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            tokio::task::block_in_place(|| runtime.shutdown_timeout(DEADLINE));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A member of the placement driver; its own leader until told otherwise.
pub struct Member {
    pub server: Server,
    pub fake: FakePd,
}

impl Member {
    pub async fn start(state: Shared) -> Self {
        let fake = FakePd::new(state);
        let (pd, coordinator) = (PdServer::new(fake.clone()), CoordinatorServer::new(fake.clone()));
        let router = tonic::transport::Server::builder().add_service(pd).add_service(coordinator);
        let server = Server::serve(router).await;
        fake.own.lock().leader_url = Some(format!("http://{}", server.address));
        Self { server, fake }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }
}

/// A placement driver and three stores.
pub struct Cluster {
    pub state: Shared,
    pub pd: Member,
    pub stores: Vec<Server>,
}

impl Cluster {
    /// Three regions, `["", "g")` led by store 1, `["g", "p")` by store 2, `["p", "")` by store 3.
    pub async fn start() -> Self {
        let state = Shared::default();
        state.lock().set_regions(vec![region(1, "", "g", 1, 1), region(2, "g", "p", 1, 2), region(3, "p", "", 1, 3)]);
        let pd = Member::start(Arc::clone(&state)).await;
        let mut cluster = Self { state, pd, stores: Vec::new() };
        for store in 1..=3 {
            let server = cluster.start_store(store).await;
            cluster.stores.push(server);
        }
        cluster
    }

    async fn start_store(&self, id: u64) -> Server {
        let store = TikvServer::new(FakeStore::new(id, Arc::clone(&self.state)));
        let server = Server::serve(tonic::transport::Server::builder().add_service(store)).await;
        self.state.lock().addresses.insert(id.into(), server.address.clone());
        server
    }

    pub fn kill(&mut self, store: u64) {
        self.stores[store as usize - 1].kill();
    }

    pub async fn restart(&mut self, store: u64) {
        self.stores[store as usize - 1] = self.start_store(store).await;
    }

    pub async fn pd_client(&self) -> PdClient {
        let logger = Logger::root(slog::Discard, slog::o!());
        PdClient::connect(PdConfig::new([self.pd.server.address.clone()]), logger).await.unwrap()
    }

    pub async fn client(&self, config: ClientConfig) -> RawClient {
        RawClient::new(self.pd_client().await, config)
    }

    pub fn fail_next(&self, fault: Fault) {
        self.state.lock().faults.push_back(fault);
    }
}

pub fn error(change: impl FnOnce(&mut errorpb::Error)) -> Fault {
    let mut error = errorpb::Error { message: "on order".to_owned(), ..Default::default() };
    change(&mut error);
    Fault::RegionError(error)
}

/// Waits until a condition holds.
///
/// # Panics
/// When it does not hold before the deadline.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let mut tries = tokio::time::interval(Duration::from_millis(1));
    let waiting = async {
        while !condition() {
            tries.tick().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "waited in vain until {what}");
}

/// Waits for something that must come.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it comes before the deadline")
}
