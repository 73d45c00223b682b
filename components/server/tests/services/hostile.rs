//! What nobody in his right mind sends: garbage at the port, broken frames, broken protobuf.

use crate::support::{PATIENCE, TestStore, b};
use prost::Message;
use proto::kvrpcpb::{RawGetRequest, RawPutRequest, RawPutResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use types::seed::Rng;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn still_serves(store: &TestStore) {
    let request = RawPutRequest { context: store.context("k"), key: b("k"), value: b("v"), ..Default::default() };
    let response = store.client().await.raw_put(request).await.unwrap().into_inner();
    assert_eq!(response, RawPutResponse::default());
}

/// Sends bytes, closes, and waits until the server has closed too.
async fn throw(address: std::net::SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut sink = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut sink)).await.expect("the server closes");
}

fn garbage(round: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::new(round);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

#[tokio::test]
async fn garbage_at_either_port() {
    let store = TestStore::start(&[]).await;
    for round in 0..40 {
        let bytes = garbage(round, 1 + round as usize * 97);
        throw(store.grpc, &bytes).await;
        throw(store.http, &bytes).await;
        throw(store.grpc, &[PREFACE, &bytes].concat()).await;
    }
    still_serves(&store).await;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call, each a literal that the peer need not remember (RFC 7541 §6.2.2).
fn headers(path: &str) -> Vec<u8> {
    let pairs = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "store"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    pairs.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A whole conversation up to the end of one call with this body.
fn call(path: &str, body: &[u8]) -> Vec<u8> {
    const LARGEST_FRAME: usize = 16 << 10;
    let (data, headers_kind, settings) = (0, 1, 4);
    let (end_stream, end_headers) = (1, 4);
    let start = [PREFACE.to_vec(), frame(settings, 0, 0, &[]), frame(headers_kind, end_headers, 1, &headers(path))];
    let body = body.chunks(LARGEST_FRAME).map(|part| frame(data, 0, 1, part));
    start.into_iter().chain(body).chain([frame(data, end_stream, 1, &[])]).flatten().collect()
}

fn grpc_message(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[tokio::test]
async fn conversations_that_break_off_anywhere() {
    let store = TestStore::start(&[]).await;
    let request = RawPutRequest { context: store.context("k"), key: b("k"), value: b("v"), ..Default::default() };
    for path in ["/tikvpb.Tikv/RawPut", "/tikvpb.Tikv/BatchCommands", "/grpc.health.v1.Health/Check", "/x"] {
        let whole = call(path, &grpc_message(&request.encode_to_vec()));
        for length in (0..whole.len()).step_by(7) {
            throw(store.grpc, &whole[..length]).await;
        }
    }
    still_serves(&store).await;

    // The whole of it is a call that is served, or what broke off above proves nothing.
    let request = RawPutRequest { key: b("whole"), ..request };
    let mut stream = TcpStream::connect(store.grpc).await.unwrap();
    stream.write_all(&call("/tikvpb.Tikv/RawPut", &grpc_message(&request.encode_to_vec()))).await.unwrap();
    let get = RawGetRequest { context: store.context("whole"), key: b("whole"), ..Default::default() };
    let mut client = store.client().await;
    let written = async { while client.raw_get(get.clone()).await.unwrap().into_inner().not_found {} };
    tokio::time::timeout(PATIENCE, written).await.expect("the call is served");
}

#[tokio::test]
async fn bodies_that_are_no_messages() {
    let store = TestStore::start(&[]).await;
    // A group within a group within a group, which a careless decoder follows until its stack ends.
    let nested = vec![0x0B; 60_000];
    let bodies = [
        grpc_message(&nested),
        grpc_message(&garbage(1, 5000)),
        // A length without a message, a message longer than its body, and a compression that nobody agreed on.
        vec![0, 0xFF, 0xFF, 0xFF, 0xFF],
        [&[0, 0, 0, 1, 0][..], &[1; 10]].concat(),
        [&[1, 0, 0, 0, 1][..], &[1]].concat(),
        vec![],
    ];
    for body in bodies {
        for path in ["/tikvpb.Tikv/RawPut", "/tikvpb.Tikv/RawGet", "/tikvpb.Tikv/BatchCommands"] {
            throw(store.grpc, &call(path, &body)).await;
        }
    }
    still_serves(&store).await;
}
