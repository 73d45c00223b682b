//! What strangers, broken clients and damaged stores send to the ports of a running cluster. Each is sent away or dropped;
//! afterwards every process still runs, serves, and has told of no panic.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/raft_message.rs"]
mod raft_message;
mod support;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use proto::kvrpcpb::{
    Context, KvPair, RawBatchPutRequest, RawCasRequest, RawDeleteRequest, RawGetRequest, RawPutRequest, RawScanRequest,
};
use proto::metapb;
use proto::tikvpb::tikv_client::TikvClient;
use proto::transport::store_transport_client::StoreTransportClient;
use proto::transport::{Batch, Frame, Hello, PeerId, RegionMessage, Welcome, frame};
use raft_message::{entry, kind, message, nested_groups};
use support::wait::{PATIENCE, until};
use support::{Cluster, ClusterShape, http, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use types::limits::{MAX_BATCH_OPERATIONS, MAX_KEY_BYTES, MAX_SCAN_PAIRS, MAX_VALUE_BYTES};
use types::seed::Rng;

/// With this a client of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A process that neither answers nor hangs up gets no more of our time.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Every process still runs and serves, in every region, and none has panicked.
async fn still_serves(cluster: &mut Cluster, after: &str) {
    for process in cluster.stores.iter_mut().chain([&mut cluster.coordinator]) {
        if let Some(ended) = process.ended() {
            panic!("{} ended with {} after {after}:\n{}", process.name, ended.status, ended.log);
        }
    }
    cluster.ready().await;
    let client = cluster.tikv_client().await;
    for region in ["a", "e", "i", "n", "s", "x"] {
        let key = format!("{region}-alive");
        until("a region can be written after what was sent", async || {
            client.put(key.clone(), after.to_owned()).await.map_err(|error| format!("{key}: {error}"))
        })
        .await;
        assert_eq!(client.get(key).await.unwrap(), Some(after.as_bytes().to_vec()), "after {after}");
    }
    cluster.caught_up().await;
    cluster.assert_no_panic();
}

/// Sends bytes, hangs up the sending half, and reads until the other side hangs up or says nothing more.
async fn throw(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let exchange = async {
        // The server may hang up before everything is written; that is its right.
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let _ = socket.read_to_end(&mut answer).await;
    };
    let _ = timeout(ANSWER_TIMEOUT, exchange).await;
    answer
}

#[test]
fn garbage_at_every_port() {
    run(async {
        let mut cluster = Cluster::start(ClusterShape::default()).await;
        let (store, coordinator) = (&cluster.stores[0], &cluster.coordinator);
        let ports = [&store.address, &store.status_address, &coordinator.address, &coordinator.status_address];
        let mut rng = Rng::new(3);
        for port in ports {
            for round in 0..25 {
                // Half of it passes for HTTP/2 at first.
                let mut garbage = if round % 2 == 0 { PREFACE.to_vec() } else { Vec::new() };
                garbage.extend((0..rng.below(8192)).map(|_| rng.next_u64() as u8));
                throw(port, &garbage).await;
            }
            for length in 0..PREFACE.len() {
                throw(port, &PREFACE[..length]).await;
            }
            // An HTTP/2 frame that claims to be as long as can be, and is not.
            throw(port, &[PREFACE, &[0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 1]].concat()).await;
            throw(port, format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(20_000)).as_bytes()).await;
            throw(port, b"POST /tikvpb.Tikv/RawPut HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n\0").await;
        }
        // HTTP/1 at a gRPC port is hung up on, or refused.
        let answer = throw(ports[0], b"GET /status HTTP/1.1\r\nHost: store\r\n\r\n").await;
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"), "{}", String::from_utf8_lossy(&answer));
        for path in ["/nothing", "/region/", "/region/x", "/region/99999999999999999999", "/../etc/passwd", "/%00"] {
            let (status, body) = http::get(ports[1], path).await.unwrap();
            assert!((400..500).contains(&status), "{path} answered {status}: {body}");
        }
        still_serves(&mut cluster, "garbage").await;
    });
}

async fn tikv(cluster: &Cluster, place: usize) -> TikvClient<Channel> {
    let client = TikvClient::connect(format!("http://{}", cluster.stores[place].address)).await.unwrap();
    client.max_decoding_message_size(1 << 30).max_encoding_message_size(1 << 30)
}

/// What a client that knows the key's region says, and where its leader is.
async fn context(cluster: &Cluster, key: &str) -> (Context, usize) {
    let (route, place) = cluster.route(key.as_bytes()).await;
    let context = Context {
        region_id: route.descriptor.id.0,
        region_epoch: Some(route.descriptor.epoch.into()),
        peer: Some(metapb::Peer::from(route.leader.unwrap())),
        ..Context::default()
    };
    (context, place)
}

/// Sends a request to the leader of a key's region, once more if the region has another leader by now.
macro_rules! ask {
    ($cluster:expr, $call:ident, $request:expr) => {
        until("the region's leader answers", async || {
            let (context, place) = context($cluster, "a").await;
            let mut request = $request.clone();
            request.context = Some(context);
            match tikv($cluster, place).await.$call(request).await.map(tonic::Response::into_inner) {
                Ok(answer) if answer.region_error.as_ref().is_some_and(|error| error.not_leader.is_some()) => {
                    Err(format!("{:?}", answer.region_error))
                }
                answer => Ok(answer),
            }
        })
        .await
    };
}

/// Sends a request that must be refused with these words.
macro_rules! assert_refused {
    ($cluster:expr, $call:ident, $request:expr, $words:literal) => {
        let said = format!("{:?}", ask!($cluster, $call, $request));
        let shown: String = said.chars().take(400).collect();
        assert!(said.contains($words), "{} was not refused with {:?}: {shown}", stringify!($call), $words);
    };
}

#[test]
fn oversized_everything() {
    run(async {
        let mut cluster = Cluster::start(ClusterShape::default()).await;
        let key = |bytes: usize| Bytes::from(vec![b'a'; bytes]);
        let value = |bytes: usize| Bytes::from(vec![7; bytes]);

        // The largest that is allowed goes through, and comes back.
        let largest = RawPutRequest { key: key(MAX_KEY_BYTES), value: value(MAX_VALUE_BYTES), ..Default::default() };
        let answer = ask!(&cluster, raw_put, largest).unwrap();
        assert_eq!((answer.region_error, answer.error.as_str()), (None, ""));
        let get = RawGetRequest { key: key(MAX_KEY_BYTES), ..Default::default() };
        assert_eq!(ask!(&cluster, raw_get, get).unwrap().value, value(MAX_VALUE_BYTES));

        let long_key = RawPutRequest { key: key(MAX_KEY_BYTES + 1), ..Default::default() };
        assert_refused!(&cluster, raw_put, long_key, "key of 16385 bytes is longer");
        let long_key = RawDeleteRequest { key: key(MAX_KEY_BYTES + 1), ..Default::default() };
        assert_refused!(&cluster, raw_delete, long_key, "key of 16385 bytes is longer");
        let large = RawPutRequest { key: key(1), value: value(MAX_VALUE_BYTES + 1), ..Default::default() };
        assert_refused!(&cluster, raw_put, large, "value of 6291457 bytes is longer");
        let swap = RawCasRequest {
            key: key(1),
            value: value(MAX_VALUE_BYTES + 1),
            previous_not_exist: true,
            ..Default::default()
        };
        assert_refused!(&cluster, raw_compare_and_swap, swap, "value of 6291457 bytes is longer");
        let pair = |number: usize, bytes: usize| KvPair {
            key: format!("a{number:08}").into(),
            value: value(bytes),
            ..Default::default()
        };
        let batch = |count: usize, bytes: usize| RawBatchPutRequest {
            pairs: (0..count).map(|number| pair(number, bytes)).collect(),
            ..Default::default()
        };
        assert_refused!(&cluster, raw_batch_put, batch(MAX_BATCH_OPERATIONS + 1, 1), "batch of 65537 operations");
        assert_refused!(&cluster, raw_batch_put, batch(4, MAX_VALUE_BYTES), "larger than the bound");
        let scan = RawScanRequest { start_key: key(1), limit: MAX_SCAN_PAIRS + 1, ..Default::default() };
        assert_refused!(&cluster, raw_scan, scan, "scan of 10241 pairs");

        // A get of a key that nobody can have put is answered one way or the other.
        let nowhere = RawGetRequest { key: key(MAX_KEY_BYTES + 1), ..Default::default() };
        let answer = ask!(&cluster, raw_get, nowhere).unwrap();
        assert!(answer.not_found || !answer.error.is_empty() || answer.region_error.is_some(), "{answer:?}");

        // Larger than any message may be: the call fails, and the connection with it at the most.
        let huge = RawPutRequest { key: key(1), value: value(65 << 20), ..Default::default() };
        let status = ask!(&cluster, raw_put, huge).unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
        still_serves(&mut cluster, "oversized requests").await;
    });
}

/// A stream to a store, as another store opens it.
struct Exchange {
    frames: mpsc::Sender<Frame>,
    answers: Streaming<Welcome>,
    welcome: Welcome,
}

/// Opens a stream, says who it is from and, in the same breath, a first thing.
async fn exchange(cluster: &Cluster, place: usize, hello: Hello, first: Option<Frame>) -> Result<Exchange, Status> {
    let address = &cluster.stores[place].address;
    let client = StoreTransportClient::connect(format!("http://{address}")).await.unwrap();
    let mut client = client.max_encoding_message_size(1 << 30);
    let (mut frames, stream) = mpsc::channel(16);
    for frame in [Frame { kind: Some(frame::Kind::Hello(hello)) }].into_iter().chain(first) {
        frames.try_send(frame).unwrap();
    }
    let opened = async {
        let mut answers = client.exchange(stream).await?.into_inner();
        let welcome = answers.message().await?.ok_or_else(|| Status::unknown("the stream ended without a word"))?;
        Ok(Exchange { frames, answers, welcome })
    };
    timeout(PATIENCE, opened).await.expect("a store answers a Hello")
}

#[test]
fn stores_that_do_not_belong_here_are_refused() {
    run(async {
        let mut cluster = Cluster::start(ClusterShape::default()).await;
        let (route, place) = cluster.route(b"a").await;
        let to_store = route.leader.unwrap().store_id.0;
        let cluster_id = cluster.pd().await.cluster_id().0;
        let right = Hello { cluster_id, from_store: 999, from_instance: 1, to_store, version: 1 };
        assert_eq!(exchange(&cluster, place, right, None).await.unwrap().welcome.store_id, to_store);
        let known = route.descriptor.peers.iter().map(|peer| peer.store_id.0).find(|store| *store != to_store).unwrap();
        for (what, hello, code) in [
            ("another cluster", Hello { cluster_id: cluster_id + 1, ..right }, Code::FailedPrecondition),
            ("another store's address", Hello { to_store: to_store + 1, ..right }, Code::FailedPrecondition),
            ("a newer protocol", Hello { version: 99, ..right }, Code::FailedPrecondition),
            ("the store itself", Hello { from_store: to_store, ..right }, Code::InvalidArgument),
            ("a known store with another disk", Hello { from_store: known, ..right }, Code::PermissionDenied),
        ] {
            let status =
                exchange(&cluster, place, hello, None).await.err().unwrap_or_else(|| panic!("{what} is welcome"));
            println!("{what}: {}", status.message());
            assert_eq!(status.code(), code, "{what}: {status}");
        }
        still_serves(&mut cluster, "strangers").await;
    });
}

/// Somebody speaks in the name of a region's leader to one of its followers, with everything right but the raft messages.
#[test]
fn damaged_raft_messages_harm_nobody() {
    run(async {
        let mut cluster = Cluster::start(ClusterShape::default()).await;
        let client = cluster.tikv_client().await;
        for number in 0..20 {
            client.put(format!("a{number}"), "value".to_owned()).await.unwrap();
        }
        cluster.caught_up().await;
        let (route, leader_place) = cluster.route(b"a").await;
        let leader = route.leader.unwrap();
        let follower = *route.descriptor.peers.iter().find(|peer| peer.id != leader.id).unwrap();
        let follower_place = cluster.place(follower.store_id).await;
        let path = format!("/region/{}", route.descriptor.id.0);
        let status = http::json(&cluster.stores[follower_place].status_address, &path).await.unwrap();
        let (term, applied) = (status["term"].as_u64().unwrap(), status["applied_index"].as_u64().unwrap());

        // A store tells everyone who asks which instance it is.
        let cluster_id = cluster.pd().await.cluster_id().0;
        let (from_store, to_store) = (leader.store_id.0, follower.store_id.0);
        let stranger = Hello { cluster_id, from_store: 999, from_instance: 1, to_store: from_store, version: 1 };
        let instance = exchange(&cluster, leader_place, stranger, None).await.unwrap().welcome.instance;
        let impostor = Hello { cluster_id, from_store, from_instance: instance, to_store, version: 1 };

        let peers = (leader.id.0, follower.id.0);
        let say = |kind| message(kind, peers, term);
        let conflicting = entry(term - 1, applied, b"conflict");
        let mut rafts = vec![
            nested_groups(1 << 20, false),
            nested_groups(1 << 20, true),
            [say(kind::HEARTBEAT).0, nested_groups(1 << 20, true)].concat(),
            // Commits what nobody has; panics a raft that believes it.
            say(kind::HEARTBEAT).number(8, applied + 1_000_000).0,
            say(kind::HEARTBEAT).number(8, u64::MAX).0,
            say(kind::APPEND).number(5, term).number(6, applied).number(8, u64::MAX).0,
            // Replaces what is committed.
            say(kind::APPEND).number(5, term).number(6, applied - 1).bytes(7, &conflicting).number(8, applied).0,
            // Entries that do not follow each other, or come out of the future.
            say(kind::APPEND).number(5, term).number(6, applied).bytes(7, &entry(term, applied + 7, b"gap")).0,
            say(kind::APPEND).number(5, term).number(6, applied).bytes(7, &entry(term + 9, applied + 1, b"future")).0,
            say(kind::APPEND).number(6, u64::MAX).bytes(7, &entry(term, u64::MAX, b"end")).0,
            say(kind::APPEND_RESPONSE).number(6, u64::MAX).0,
            say(kind::READ_INDEX_RESPONSE).number(6, u64::MAX).bytes(7, &entry(term, 0, b"")).0,
            say(kind::SNAPSHOT).0,
            say(kind::SNAPSHOT).bytes(9, b"").0,
            // A kind that does not exist, and nothing at all.
            say(99).0,
            Vec::new(),
            vec![0xFF; 64],
        ];
        // What a raft says to itself alone.
        rafts.extend(
            [kind::HUP, kind::BEAT, kind::PROPOSE, kind::UNREACHABLE, kind::SNAP_STATUS, kind::CHECK_QUORUM]
                .map(|kind| say(kind).0),
        );
        let mut rng = Rng::new(5);
        rafts.extend((0..200).map(|_| (0..rng.below(60)).map(|_| rng.next_u64() as u8).collect()));
        let peer = |peer: types::Peer| Some(PeerId { id: peer.id.0, store_id: peer.store_id.0, role: 0 });
        let mut messages = Vec::new();
        for raft in rafts {
            let message = RegionMessage {
                region_id: route.descriptor.id.0,
                from: peer(leader),
                to: peer(follower),
                conf_ver: route.descriptor.epoch.conf_ver,
                version: route.descriptor.epoch.version,
                raft: raft.into(),
                note: None,
                range: None,
            };
            // Also for a region that is not there, and from nobody.
            let elsewhere = RegionMessage { region_id: u64::MAX, ..message.clone() };
            let nobody = RegionMessage { from: None, ..message.clone() };
            messages.extend([message, elsewhere, nobody]);
        }
        println!("{} raft messages", messages.len());
        let batch = Frame { kind: Some(frame::Kind::Batch(Batch { messages })) };
        // The leader's own stream comes back at any time and replaces ours. Snapshots are of ours alone.
        let ours = "raftyard_raft_received_message_total{type=\"snapshot\"";
        let status_address = cluster.stores[follower_place].status_address.clone();
        until("the messages are received", async || {
            let stream = exchange(&cluster, follower_place, impostor, Some(batch.clone()))
                .await
                .map_err(|error| error.to_string())?;
            drop(stream.frames);
            let _ = timeout(ANSWER_TIMEOUT, stream.answers.collect::<Vec<_>>()).await;
            let received = http::metric(&status_address, ours).await?;
            (received > 0.0).then_some(()).ok_or_else(|| "none was".to_owned())
        })
        .await;
        still_serves(&mut cluster, "damaged raft messages").await;
    });
}
