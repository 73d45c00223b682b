//! Three members of etcd, as Debian's etcd-server ships it, and clients that put over gRPC.
//!
//! Writes of one client go through one connection; clients are spread over connections, connections over members.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::children::{Process, free_addresses};
use crate::harness::clients::Client;
use crate::harness::sample::REPLICAS;
use crate::harness::wait;

/// Longest that the members may take to serve.
const START: Duration = Duration::from_secs(30);

/// Etcd's data is bounded by default at less than a long measurement writes.
const QUOTA_BYTES: u64 = 8 << 30;

/// What `etcd --version` says first; `None` where it is not installed.
pub fn version() -> Option<String> {
    let output = Command::new("etcd").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

/// Three members, each a process.
pub struct Etcd {
    members: Vec<Process>,
    addresses: Vec<String>,
}

impl Etcd {
    /// Starts fresh members in a directory; they serve when this returns.
    ///
    /// # Errors
    /// When a member does not start or serve.
    pub fn start(directory: &Path, runtime: &Runtime) -> Result<Self, String> {
        let (clients, peers) = (free_addresses(REPLICAS)?, free_addresses(REPLICAS)?);
        let url = |address: &String| format!("http://{address}");
        let cluster = peers.iter().enumerate().map(|(at, peer)| format!("member-{at}={}", url(peer)));
        let cluster = cluster.collect::<Vec<_>>().join(",");
        let member = |at: usize| {
            let name = format!("member-{at}");
            let mut command = Command::new("etcd");
            command.args(["--name", &name, "--initial-cluster", &cluster, "--initial-cluster-state", "new"]);
            command.arg("--data-dir").arg(directory.join(&name));
            command.args(["--listen-client-urls", &url(&clients[at]), "--advertise-client-urls", &url(&clients[at])]);
            command.args(["--listen-peer-urls", &url(&peers[at]), "--initial-advertise-peer-urls", &url(&peers[at])]);
            command.args(["--quota-backend-bytes", &QUOTA_BYTES.to_string(), "--log-level", "error"]);
            Process::start(name, &mut command, directory)
        };
        let mut etcd = Self { members: (0..REPLICAS).map(member).collect::<Result<_, _>>()?, addresses: clients };
        etcd.await_service(runtime)?;
        Ok(etcd)
    }

    fn await_service(&mut self, runtime: &Runtime) -> Result<(), String> {
        let clients = self.connect(1, runtime)?;
        let mut ended = Ok(());
        wait::until("etcd to serve", START, || {
            ended = self.members.iter_mut().try_for_each(Process::check);
            let put = |client: &EtcdClient| runtime.block_on(client.put(Bytes::from("first"), Bytes::from("write")));
            ended.is_err() || clients.iter().all(put)
        })?;
        ended
    }

    /// The members.
    pub fn processes(&self) -> &[Process] {
        &self.members
    }

    /// A client for each connection: as many to each member as is asked for.
    ///
    /// # Errors
    /// When an address makes no sense.
    pub fn connect(&self, connections: usize, runtime: &Runtime) -> Result<Vec<EtcdClient>, String> {
        let _in_runtime = runtime.enter();
        let addresses = std::iter::repeat_n(&self.addresses, connections).flatten();
        let connect = |address: &String| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
            Ok(EtcdClient { channel: endpoint.connect_lazy() })
        };
        addresses.map(connect).collect()
    }
}

/// One connection to a member.
#[derive(Clone)]
pub struct EtcdClient {
    channel: Channel,
}

impl Client for EtcdClient {
    async fn put(&self, key: Bytes, value: Bytes) -> bool {
        let mut grpc = Grpc::new(self.channel.clone());
        if grpc.ready().await.is_err() {
            return false;
        }
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let codec: ProstCodec<PutRequest, PutResponse> = ProstCodec::default();
        grpc.unary(tonic::Request::new(PutRequest { key, value }), path, codec).await.is_ok()
    }
}

/// `etcdserverpb.PutRequest`: the fields that are used here.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `etcdserverpb.PutResponse`: its header is passed over.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct PutResponse {}
