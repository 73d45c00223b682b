//! Garbage hurts nobody but who sends it.

use bytes::{Buf, BufMut, Bytes};
use proto::pdpb::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use types::seed::Rng;

use crate::common::{Port, get_region, header, outcome, soon, talk};

/// Sends and receives bare bytes.
#[derive(Default)]
struct Bare;

impl Codec for Bare {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// How a call with this body ends.
async fn call(port: &Port, path: &'static str, body: Bytes) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(port.channel().await);
    client.ready().await.unwrap();
    soon(client.unary(Request::new(body), PathAndQuery::from_static(path), Bare)).await.map(drop)
}

const PATHS: [&str; 12] = [
    "/pdpb.PD/GetRegion",
    "/pdpb.PD/PutStore",
    "/pdpb.PD/StoreHeartbeat",
    "/pdpb.PD/RegionHeartbeat",
    "/pdpb.PD/QueryRegion",
    "/pdpb.PD/Tso",
    "/pdpb.PD/AskBatchSplit",
    "/pdpb.PD/SplitRegions",
    "/pdpb.PD/ScatterRegion",
    "/raftyard.coordinator.Coordinator/GetLayout",
    "/keyspacepb.Keyspace/LoadKeyspace",
    "/etcdserverpb.KV/Range",
];

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_garbage_are_refused() {
    let port = Port::laid_out().await;
    for path in PATHS {
        // A length beyond the end, a wire type that does not exist, a field number of zero.
        for body in [&b"\x0a\xff\xff\xff\xff\x0f"[..], b"\x0f", b"\x00\x00"] {
            let status = call(&port, path, Bytes::from_static(body)).await.expect_err(path);
            assert!(!matches!(status.code(), Code::Unknown | Code::DeadlineExceeded), "{path}: {status}");
        }
    }
    outcome(get_region(&mut port.client().await, "a").await.header).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bodies_change_nothing() {
    let port = Port::laid_out().await;
    let mut rng = Rng::new(1);
    for round in 0..300 {
        let body: Vec<u8> = (0..rng.below(64)).map(|_| rng.below(256) as u8).collect();
        // However it ends: it ends, and no thread is lost.
        drop(call(&port, PATHS[round % PATHS.len()], body.into()).await);
    }
    let mut client = port.client().await;
    let stores = soon(client.get_all_stores(GetAllStoresRequest { header: header(), ..Default::default() })).await;
    assert_eq!(stores.unwrap().into_inner().stores.len(), 3);
    assert!(get_region(&mut client, "a").await.region.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_services_that_do_not_exist_are_unimplemented() {
    let port = Port::start().await;
    for path in
        ["/pdpb.PD/PutClusterConfig", "/pdpb.PD/SyncMaxTS", "/resource_manager.ResourceManager/ListResourceGroups"]
    {
        assert_eq!(call(&port, path, Bytes::new()).await.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let port = Port::laid_out().await;
    let body = Bytes::from(vec![0; server::pd::MAX_REQUEST_BYTES + 1]);
    let status = call(&port, "/pdpb.PD/GetRegion", body).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let mut client = port.client().await;
    let keys = vec![Bytes::from(vec![b'k'; 1000]); 8000];
    let mut queries = talk!(client, query_region);
    let answer = queries.ask(QueryRegionRequest { header: header(), keys, ..Default::default() }).await;
    assert_eq!(answer.key_id_map.len(), 8000, "8 MB are not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_full_of_garbage_is_closed() {
    let port = Port::laid_out().await;
    let address = port.address.strip_prefix("http://").unwrap();
    let mut rng = Rng::new(2);
    for _ in 0..20 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let garbage: Vec<u8> = (0..4096).map(|_| rng.below(256) as u8).collect();
        // The server may hang up before it has read everything.
        drop(socket.write_all(&garbage).await);
        drop(socket.shutdown().await);
        let mut rest = Vec::new();
        drop(soon(socket.read_to_end(&mut rest)).await);
    }
    outcome(get_region(&mut port.client().await, "a").await.header).unwrap();
}
