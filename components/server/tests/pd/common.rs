//! A port with a coordinator behind it that can be deposed, elected and restarted.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coordinator::journal::{LoadDone, WriteDone};
use coordinator::record::RecordWrite;
use coordinator::{Coordinator, CoordinatorConfig, Journal, Surroundings};
use observe::{CoordinatorMetrics, Registry, discard_logger};
use parking_lot::Mutex;
use proto::coordinator::coordinator_client::CoordinatorClient;
use proto::coordinator::{ConfirmBootstrapRequest, GetLayoutRequest};
use proto::pdpb::pd_client::PdClient;
use proto::pdpb::*;
use proto::{metapb, pdpb};
use runtime::{ManualClock, ManualWallClock, WallClock};
use server::pd::{Member, PdServices};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Streaming;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use types::{ClusterId, RequestError, Term};

pub const CLUSTER: u64 = 7;
pub const START_MS: u64 = 1_700_000_000_000;
/// Long enough for any machine: only a broken build waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// What has to come, comes.
pub async fn soon<T>(coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, coming).await.expect("it comes")
}

/// What has to become true, becomes true.
pub async fn eventually(is_true: impl Fn() -> bool) {
    soon(async {
        while !is_true() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Records in memory, which outlive a coordinator. Writes can be held up.
#[derive(Clone, Default)]
pub struct MemJournal(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    durable: BTreeMap<Bytes, Bytes>,
    term: Term,
    is_held: bool,
    held: Vec<(Vec<RecordWrite>, WriteDone)>,
}

impl Records {
    fn apply(&mut self, writes: Vec<RecordWrite>) {
        for write in writes {
            match write {
                RecordWrite::Put(key, value) => drop(self.durable.insert(key, value)),
                RecordWrite::Delete(key) => drop(self.durable.remove(&key)),
            }
        }
    }
}

impl MemJournal {
    pub fn hold(&self) {
        self.0.lock().is_held = true;
    }

    pub fn held(&self) -> usize {
        self.0.lock().held.len()
    }

    /// Forgets the writes that are held up; nobody learns what became of them.
    pub fn lose(&self) {
        let lost = std::mem::take(&mut self.0.lock().held);
        drop(lost);
    }

    pub fn release(&self) {
        let mut records = self.0.lock();
        records.is_held = false;
        let mut dones = Vec::new();
        for (writes, done) in std::mem::take(&mut records.held) {
            records.apply(writes);
            dones.push(done);
        }
        drop(records);
        dones.into_iter().for_each(|done| done.respond(Ok(())));
    }

    fn next_term(&self) -> Term {
        let mut records = self.0.lock();
        records.term = Term(records.term.0 + 1);
        records.term
    }
}

impl Journal for MemJournal {
    fn write(&self, term: Term, writes: Vec<RecordWrite>, done: WriteDone) {
        let mut records = self.0.lock();
        if records.term != term {
            drop(records);
            return done.respond(Err(RequestError::StaleCommand { region: 1.into() }));
        }
        if records.is_held {
            return records.held.push((writes, done));
        }
        records.apply(writes);
        drop(records);
        done.respond(Ok(()));
    }

    fn load(&self, done: LoadDone) {
        let records = self.0.lock().durable.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        done.respond(Ok(Ok(records)));
    }
}

/// A placement driver's port.
pub struct Port {
    pub services: Arc<PdServices>,
    pub journal: MemJournal,
    pub wall: ManualWallClock,
    pub registry: Registry,
    pub address: String,
    coordinator: Coordinator,
    server: JoinHandle<()>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn config() -> CoordinatorConfig {
    let split_keys = vec![Bytes::from_static(b"h"), Bytes::from_static(b"q")];
    CoordinatorConfig { split_keys, ..CoordinatorConfig::new(ClusterId(CLUSTER)) }
}

impl Port {
    /// A fresh coordinator that leads.
    pub async fn start() -> Self {
        let port = Self::idle(MemJournal::default(), |services| services).await;
        port.elect();
        port
    }

    /// A cluster of three stores with three regions, `["", h)`, `[h, q)` and `[q, "")`.
    pub async fn laid_out() -> Self {
        let port = Self::start().await;
        port.lay_out().await;
        port
    }

    /// A coordinator that does not lead yet.
    pub async fn idle(journal: MemJournal, adjust: impl FnOnce(PdServices) -> PdServices) -> Self {
        let (clock, wall, registry) = (ManualClock::new(), ManualWallClock::new(START_MS), Registry::new());
        let around = Surroundings {
            clock: Arc::new(clock.clone()),
            wall_clock: Arc::new(wall.clone()),
            metrics: Arc::new(CoordinatorMetrics::new(&registry)),
            logger: discard_logger(),
        };
        let coordinator = Coordinator::new(config(), journal.clone(), around.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let member = Member::new(NonZeroU64::new(77).unwrap(), "pd-1", &address).unwrap();
        let services = adjust(PdServices::new(coordinator.clone(), member, around));
        let router = Server::builder().accept_http1(true).add_routes(services.routes());
        let server = tokio::spawn(async move {
            router.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await.unwrap();
        });
        Self { services: Arc::new(services), journal, wall, registry, address, coordinator, server }
    }

    /// Another process over the same records, with the same wall clock.
    pub async fn restart(self) -> Self {
        let next = Self::idle(self.journal.clone(), |services| services).await;
        next.wall.set(self.wall.unix_ms());
        drop(self);
        next.elect();
        next
    }

    pub fn elect(&self) {
        self.coordinator.elected(self.journal.next_term());
    }

    pub fn depose(&self) {
        self.coordinator.deposed();
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(self.address.clone()).unwrap().connect().await.unwrap()
    }

    pub async fn client(&self) -> PdClient<Channel> {
        PdClient::new(self.channel().await)
    }

    pub async fn births(&self) -> CoordinatorClient<Channel> {
        CoordinatorClient::new(self.channel().await)
    }

    async fn lay_out(&self) {
        let (mut client, mut births) = (self.client().await, self.births().await);
        let ids = AllocIdRequest { header: header(), count: 3 };
        assert_eq!(soon(client.alloc_id(ids)).await.unwrap().into_inner().id, 3);
        for id in 1..=3 {
            put_store(&mut client, store(id)).await.unwrap();
            soon(births.get_layout(get_layout(id))).await.unwrap();
        }
        for store_id in 1..=3 {
            let confirm = ConfirmBootstrapRequest { cluster_id: CLUSTER, store_id, instance: 10 + store_id };
            soon(births.confirm_bootstrap(confirm)).await.unwrap();
        }
    }
}

pub fn header() -> Option<RequestHeader> {
    Some(RequestHeader { cluster_id: CLUSTER, ..Default::default() })
}

pub fn store(id: u64) -> metapb::Store {
    metapb::Store {
        id,
        address: format!("127.0.0.1:{}", 20160 + id),
        version: "8.5.6".to_owned(),
        ..Default::default()
    }
}

pub fn get_layout(store_id: u64) -> GetLayoutRequest {
    GetLayoutRequest { cluster_id: CLUSTER, store_id, instance: 10 + store_id }
}

pub async fn put_store(client: &mut PdClient<Channel>, store: metapb::Store) -> Result<(), pdpb::Error> {
    let request = PutStoreRequest { header: header(), store: Some(store) };
    outcome(soon(client.put_store(request)).await.unwrap().into_inner().header)
}

/// Whether a header tells of a success.
pub fn outcome(header: Option<ResponseHeader>) -> Result<(), pdpb::Error> {
    let header = header.expect("every answer has a header");
    assert_eq!(header.cluster_id, CLUSTER);
    header.error.map_or(Ok(()), Err)
}

pub fn refused_as(header: Option<ResponseHeader>) -> ErrorType {
    outcome(header).expect_err("it is refused").r#type()
}

pub async fn get_region(client: &mut PdClient<Channel>, key: &'static str) -> GetRegionResponse {
    let request = GetRegionRequest { header: header(), region_key: key.into(), need_buckets: false };
    let answer = soon(client.get_region(request)).await.unwrap().into_inner();
    outcome(answer.header.clone()).unwrap();
    answer
}

/// What the leader of a region of the layout reports.
pub fn report(region: &metapb::Region, leader: usize, term: u64) -> RegionHeartbeatRequest {
    RegionHeartbeatRequest {
        header: header(),
        region: Some(region.clone()),
        leader: Some(region.peers[leader]),
        term,
        ..Default::default()
    }
}

/// Both ends of a stream's client.
pub struct Talk<Q, A> {
    pub requests: tokio::sync::mpsc::Sender<Q>,
    pub answers: Streaming<A>,
}

impl<Q, A> Talk<Q, A> {
    pub async fn say(&self, request: Q) {
        soon(self.requests.send(request)).await.expect("the stream is open");
    }

    pub async fn hear(&mut self) -> A {
        soon(self.answers.message()).await.expect("no error").expect("the stream goes on")
    }

    pub async fn ask(&mut self, request: Q) -> A {
        self.say(request).await;
        self.hear().await
    }

    /// Ends the client's side, and waits for the server's.
    pub async fn finish(self) -> Result<(), tonic::Status> {
        let Self { requests, mut answers } = self;
        drop(requests);
        soon(answers.message()).await.map(|answer| assert!(answer.is_none(), "every answer was heard"))
    }

    /// How the server ends the stream, whatever comes before.
    pub async fn end(mut self) -> Result<(), tonic::Status> {
        loop {
            match soon(self.answers.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    }
}

/// Opens a stream by one of the client's methods.
macro_rules! talk {
    ($client:expr, $method:ident) => {{
        let (requests, receiver) = tokio::sync::mpsc::channel(16);
        let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let answers = $crate::common::soon($client.$method(receiver)).await.unwrap().into_inner();
        $crate::common::Talk { requests, answers }
    }};
}
pub(crate) use talk;
