//! Stores with real loopback sockets and nothing behind them.

#![allow(dead_code, missing_docs)]

pub mod snapshots;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use observe::Registry;
use parking_lot::Mutex;
use proto::transport::store_transport_client::StoreTransportClient;
use proto::transport::{Batch, Frame, Hello, Welcome, frame};
use region::RegionMessage;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Status, Streaming};
use transport::{
    AddressResolver, Collaborators, GrpcTransport, InstanceCheck, InstanceError, Receiver, ResolveError,
    SnapshotHandler, StoreIdentity, TransportConfig, TransportMetrics,
};
use types::{InstanceId, Peer, StoreId};

pub const CLUSTER: u64 = 77;
/// Long enough for any machine: only a broken build waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where stores listen; shared by all stores of a test.
#[derive(Clone, Default)]
pub struct Addresses(Arc<Mutex<BTreeMap<StoreId, Option<String>>>>);

impl Addresses {
    pub fn set(&self, store: u64, address: String) {
        self.0.lock().insert(store.into(), Some(address));
    }

    /// From now on nobody answers who asks for this store's address.
    pub fn hang(&self, store: u64) {
        self.0.lock().insert(store.into(), None);
    }
}

impl AddressResolver for Addresses {
    fn resolve(&self, store: StoreId) -> BoxFuture<'static, Result<String, ResolveError>> {
        let known = self.0.lock().get(&store).cloned();
        match known {
            Some(Some(address)) => async { Ok(address) }.boxed(),
            Some(None) => pending().boxed(),
            None => async move { Err(ResolveError::Unknown(store)) }.boxed(),
        }
    }
}

/// What a store received.
#[derive(Default)]
pub struct Inbox {
    pub messages: Mutex<Vec<RegionMessage>>,
    pub unreachable: Mutex<Vec<StoreId>>,
}

impl Inbox {
    /// The commit indexes of what came, in order; tests number their messages by them.
    pub fn numbers(&self) -> Vec<u64> {
        self.messages.lock().iter().map(|message| message.raft.commit).collect()
    }
}

impl Receiver for Inbox {
    fn receive(&self, message: RegionMessage) {
        self.messages.lock().push(message);
    }

    fn unreachable(&self, store: StoreId) {
        self.unreachable.lock().push(store);
    }
}

/// Remembers instances in memory.
#[derive(Default)]
pub struct Instances(Mutex<BTreeMap<StoreId, InstanceId>>);

impl Instances {
    pub fn know(&self, store: u64, instance: u64) {
        self.0.lock().insert(store.into(), instance.into());
    }
}

impl InstanceCheck for Instances {
    fn check(&self, store: StoreId, came: InstanceId) -> Result<(), InstanceError> {
        let known = *self.0.lock().entry(store).or_insert(came);
        if known == came { Ok(()) } else { Err(InstanceError::Changed { store, known, came }) }
    }
}

/// One store.
pub struct Node {
    pub id: u64,
    pub transport: GrpcTransport,
    pub inbox: Arc<Inbox>,
    pub instances: Arc<Instances>,
    pub address: String,
    addresses: Addresses,
    server: Option<Runtime>,
    snapshots: Option<Arc<dyn SnapshotHandler>>,
}

/// Quick to try again.
pub fn quick() -> TransportConfig {
    TransportConfig {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(8),
        unreachable_interval: Duration::from_millis(1),
        ..TransportConfig::default()
    }
}

impl Node {
    pub async fn start(id: u64, addresses: &Addresses) -> Self {
        Self::start_with(id, addresses, quick()).await
    }

    pub async fn start_with(id: u64, addresses: &Addresses, config: TransportConfig) -> Self {
        let inbox = Arc::new(Inbox::default());
        let instances = Arc::new(Instances::default());
        let collaborators = Collaborators {
            receiver: Arc::clone(&inbox) as _,
            resolver: Arc::new(addresses.clone()),
            instances: Arc::clone(&instances) as _,
        };
        let identity = StoreIdentity { cluster: CLUSTER.into(), store: id.into(), instance: instance(id).into() };
        let metrics = TransportMetrics::new(&Registry::new(), identity.store);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let transport = GrpcTransport::start(config, Handle::current(), identity, collaborators, metrics, logger);
        let mut node = Self {
            id,
            transport,
            inbox,
            instances,
            address: String::new(),
            addresses: addresses.clone(),
            server: None,
            snapshots: None,
        };
        node.listen().await;
        node
    }

    /// Listens again, for snapshots too.
    pub async fn take_snapshots(&mut self, handler: Arc<dyn SnapshotHandler>) {
        self.stop();
        self.snapshots = Some(handler);
        self.listen().await;
    }

    /// Starts a server on a free port and makes it known.
    pub async fn listen(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        self.address = listener.local_addr().expect("it is bound").to_string();
        self.addresses.set(self.id, self.address.clone());
        let snapshots = self.snapshots.clone().map(|handler| self.transport.snapshot_service(handler));
        let router =
            tonic::transport::Server::builder().add_service(self.transport.service()).add_optional_service(snapshots);
        // A runtime of its own: its end cuts every socket at once, as a kill does.
        let server = Runtime::new().expect("a runtime can be made");
        server.spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        self.server = Some(server);
    }

    /// Kills the server; when this returns its sockets are closed.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            tokio::task::block_in_place(|| server.shutdown_timeout(DEADLINE));
        }
    }

    /// Sends the message of this number to another store.
    pub fn send(&self, to: u64, number: u64) -> bool {
        let sent = self.transport.send(message(self.id, to, number));
        self.transport.flush();
        sent
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

pub fn instance(store: u64) -> u64 {
    1000 + store
}

pub fn message(from: u64, to: u64, number: u64) -> RegionMessage {
    let mut raft = RegionMessage::parse_raft(&[]).expect("an empty message has all defaults");
    raft.commit = number;
    let peer = |store: u64| Peer::voter((store * 10).into(), store.into());
    RegionMessage {
        region: (1 + number % 7).into(),
        from: peer(from),
        to: peer(to),
        epoch: Default::default(),
        raft,
        note: None,
        range: None,
    }
}

/// A message as it travels.
pub fn travelling(from: u64, to: u64, number: u64) -> proto::transport::RegionMessage {
    let peer = |store: u64| Some(proto::transport::PeerId { id: store * 10, store_id: store, role: 0 });
    proto::transport::RegionMessage {
        region_id: 1,
        from: peer(from),
        to: peer(to),
        conf_ver: 1,
        version: 1,
        raft: message(from, to, number).raft_bytes().into(),
        note: None,
        range: None,
    }
}

pub fn batch(messages: Vec<proto::transport::RegionMessage>) -> Frame {
    Frame { kind: Some(frame::Kind::Batch(Batch { messages })) }
}

pub fn hello(from: u64, to: u64) -> Hello {
    Hello { cluster_id: CLUSTER, from_store: from, from_instance: instance(from), to_store: to, version: 1 }
}

/// A stream opened by hand.
pub struct RawStream {
    pub frames: mpsc::Sender<Frame>,
    pub answers: Streaming<Welcome>,
}

/// Opens a stream whose first frame is this one.
pub async fn open(address: &str, first: Frame) -> Result<RawStream, Status> {
    let mut client = StoreTransportClient::connect(format!("http://{address}")).await.expect("the server listens");
    let (frames, outgoing) = mpsc::channel(16);
    frames.send(first).await.expect("there is room");
    let answers = client.exchange(ReceiverStream::new(outgoing)).await?.into_inner();
    Ok(RawStream { frames, answers })
}

pub async fn open_with(address: &str, hello: Hello) -> Result<RawStream, Status> {
    open(address, Frame { kind: Some(frame::Kind::Hello(hello)) }).await
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
