//! Snapshots over real sockets: whole, beside messages, over connections that are cut, from and to those who err.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::snapshots::{CHUNK_BYTES, Snapshots, Source, WINDOW_BYTES, snapshot_message};
use common::{Addresses, Node, eventually, hello, quick, soon, travelling};
use proto::transport::snapshot_transport_client::SnapshotTransportClient;
use proto::transport::{
    Hello, RegionMessage, SnapshotAnswer, SnapshotChunk, SnapshotFrame, SnapshotOffer, snapshot_answer, snapshot_frame,
};
use snapshot::{CancelReason, Direction, TransferLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use transport::{SendSnapshotError, SnapshotSource, TransportConfig};
use types::ColumnFamily;

/// Stores 1 and 2, and what they know of snapshots. Region 5 of about 300 KB is on store 1.
struct Pair {
    addresses: Addresses,
    a: Node,
    b: Node,
    from: Snapshots,
    to: Snapshots,
}

impl Pair {
    async fn new() -> Self {
        Self::with(quick(), TransferLimits::default()).await
    }

    async fn with(config: TransportConfig, limits: TransferLimits) -> Self {
        let addresses = Addresses::default();
        let a = Node::start_with(1, &addresses, config.clone()).await;
        let mut b = Node::start_with(2, &addresses, config).await;
        let (from, to) = (Snapshots::new(1), Snapshots::with_limits(2, limits));
        b.take_snapshots(Arc::new(to.clone())).await;
        from.fill(5, 300_000);
        Self { addresses, a, b, from, to }
    }

    /// Begins to send; the receiver of the outcome.
    fn send(&self, source: Box<dyn SnapshotSource>) -> oneshot::Receiver<Result<(), SendSnapshotError>> {
        let (done, outcome) = oneshot::channel();
        self.a.transport.send_snapshot(2.into(), source, move |result| {
            let _ = done.send(result);
        });
        outcome
    }

    async fn deliver(&self, source: Box<Source>) -> Result<(), SendSnapshotError> {
        soon(self.send(source)).await.expect("the transport lives")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_arrives_with_its_message() {
    let pair = Pair::new().await;
    let keys = pair.from.content();
    assert_eq!(keys, [100; 3]);
    pair.deliver(pair.from.source(5, 2)).await.expect("it is delivered");
    assert_eq!(pair.to.content(), keys);
    assert_eq!(*pair.to.received.lock(), [snapshot_message(5, 1, 2)]);
    assert_eq!((pair.from.files_left(), pair.to.files_left()), (0, 0));
    assert!(pair.from.transfers.list().is_empty() && pair.to.transfers.list().is_empty());
}

/// A way to a store on which each connection breaks after so many bytes in its direction; `u64::MAX` for never.
async fn cutting_proxy(address: String, bytes: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let own = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if let Ok(server) = TcpStream::connect(&address).await {
                tokio::spawn(relay(client, server, bytes.load(Ordering::Relaxed)));
            }
        }
    });
    own
}

async fn relay(client: TcpStream, server: TcpStream, mut left: u64) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 4096];
    while left > 0 {
        let Ok(count @ 1..) = from_client.read(&mut buffer).await else { break };
        let passed = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        if to_server.write_all(&buffer[..passed]).await.is_err() {
            break;
        }
        left -= passed as u64;
    }
    // Both sockets close here, in the middle of whatever it was.
    back.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_again_and_again_costs_a_window_each_time() {
    let pair = Pair::new().await;
    let cut_after = Arc::new(AtomicU64::new(70_000));
    let proxy = cutting_proxy(pair.b.address.clone(), Arc::clone(&cut_after)).await;
    pair.addresses.set(2, proxy);
    let source = pair.from.source(5, 2);
    let total = pair.from.transfers.list()[0].bytes_total;
    pair.deliver(source).await.expect("it is delivered");
    assert_eq!(pair.to.content(), pair.from.content());
    let (cuts, sent) = (pair.a.transport.metrics().snapshot_stream_failures(), pair.from.sent_bytes());
    assert!(cuts >= 4, "{cuts} cuts");
    assert!(sent > total, "something was under way at each cut");
    assert!(sent <= total + cuts * (WINDOW_BYTES + CHUNK_BYTES as u64), "{sent} bytes for {total} over {cuts} cuts");
    assert_eq!(pair.to.files_left(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_get_nowhere_are_given_up() {
    let config = TransportConfig { snapshot_attempts: 4, ..quick() };
    let pair = Pair::with(config, TransferLimits::default()).await;
    let proxy = cutting_proxy(pair.b.address.clone(), Arc::new(AtomicU64::new(500))).await;
    pair.addresses.set(2, proxy);
    let error = pair.deliver(pair.from.source(5, 2)).await.expect_err("no chunk passes");
    assert!(matches!(error, SendSnapshotError::Unreachable { attempts: 4, .. }), "{error}");
    assert_eq!(pair.from.files_left(), 0);
    assert!(pair.from.transfers.list().is_empty(), "its permit is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_or_takes_no_snapshots_is_given_up() {
    let config = TransportConfig { snapshot_attempts: 3, ..quick() };
    let mut pair = Pair::with(config, TransferLimits::default()).await;
    pair.b.stop();
    let error = pair.deliver(pair.from.source(5, 2)).await.expect_err("nobody listens");
    assert!(matches!(error, SendSnapshotError::Unreachable { attempts: 3, .. }), "{error}");
    let error = {
        let other = Node::start(3, &pair.addresses).await;
        pair.addresses.set(2, other.address.clone());
        pair.deliver(pair.from.source(5, 2)).await.expect_err("an older store has no such service")
    };
    assert!(matches!(error, SendSnapshotError::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_slows_its_sender_and_nobody_else() {
    let pair = Pair::new().await;
    for region in [6, 7] {
        pair.from.fill(region, 300_000);
    }
    pair.to.gate.close();
    let sent = Arc::new(AtomicU64::new(0));
    let first = pair.send(pair.from.source_with(6, 2, Arc::clone(&sent)));
    let second = pair.send(pair.from.source(7, 2));
    eventually("a window is under way", || sent.load(Ordering::Relaxed) == WINDOW_BYTES).await;

    // Messages between the same two stores pass, many of them, while both snapshots stand still.
    for number in 1..=500 {
        assert!(pair.a.send(2, number) && pair.b.send(1, number));
    }
    eventually("all messages arrived", || pair.a.inbox.numbers().len() == 500 && pair.b.inbox.numbers().len() == 500)
        .await;
    assert_eq!(sent.load(Ordering::Relaxed), WINDOW_BYTES, "nothing piles up between the two");
    assert_eq!(pair.to.received.lock().len(), 0);

    pair.to.gate.open();
    for outcome in [first, second] {
        soon(outcome).await.expect("the transport lives").expect("it is delivered");
    }
    assert_eq!(pair.to.content(), [200; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_at_the_sender_ends_while_it_waits() {
    let pair = Pair::new().await;
    pair.to.gate.close();
    let outcome = pair.send(pair.from.source(5, 2));
    eventually("it is under way", || pair.from.sent_bytes() == WINDOW_BYTES).await;
    pair.from.transfers.cancel(|_| true, CancelReason::EpochChanged);
    let error = soon(outcome).await.expect("the transport lives").expect_err("it was cancelled");
    assert!(matches!(&error, SendSnapshotError::GivenUp(cause) if cause.contains("the region changed")), "{error}");
    pair.to.gate.open();
    assert_eq!(pair.from.files_left(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_at_the_receiver_ends_at_the_sender() {
    let pair = Pair::new().await;
    pair.to.gate.close();
    let outcome = pair.send(pair.from.source(5, 2));
    eventually("it is under way", || pair.from.sent_bytes() == WINDOW_BYTES).await;
    pair.to.transfers.cancel(|_| true, CancelReason::PeerRemoved);
    pair.to.gate.open();
    let error = soon(outcome).await.expect("the transport lives").expect_err("it was cancelled");
    assert!(matches!(&error, SendSnapshotError::GivenUp(cause) if cause.contains("a peer was removed")), "{error}");
    eventually("nothing is left of it", || pair.to.files_left() == 0 && pair.to.transfers.list().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_receiver_is_asked_again() {
    let config = TransportConfig { snapshot_attempts: u32::MAX, ..quick() };
    let pair = Pair::with(config, TransferLimits { outgoing: 1, incoming: 1 }).await;
    let other = pair.to.transfers.begin(Direction::Incoming, 99.into(), 9.into(), Default::default());
    let other = other.expect("nothing is in flight");
    let outcome = pair.send(pair.from.source(5, 2));
    eventually("it was refused some times", || pair.a.transport.metrics().snapshot_stream_failures() >= 3).await;
    drop(other);
    soon(outcome).await.expect("the transport lives").expect("it is delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_whose_disk_is_full_is_not_asked_for_ever() {
    let config = TransportConfig { snapshot_attempts: 3, ..quick() };
    let pair = Pair::with(config, TransferLimits::default()).await;
    // Some chunks of each stream arrive and are thrown away with the next.
    pair.to.disk.set_capacity(pair.to.disk.used_bytes() + 100_000);
    let error = pair.deliver(pair.from.source(5, 2)).await.expect_err("there is no room");
    let SendSnapshotError::Unreachable { attempts, cause } = &error else { panic!("{error}") };
    assert!(*attempts == 3 && cause.contains("disk is full"), "{error}");
    eventually("nothing is left of it", || pair.to.files_left() == 0 && pair.to.transfers.list().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_cut_off_gets_no_snapshot_until_it_is_back() {
    let config = TransportConfig { snapshot_attempts: u32::MAX, ..quick() };
    let pair = Pair::with(config, TransferLimits::default()).await;
    pair.to.gate.close();
    let outcome = pair.send(pair.from.source(5, 2));
    eventually("it is under way", || pair.from.sent_bytes() == WINDOW_BYTES).await;
    pair.b.transport.block(1.into());
    pair.to.gate.open();
    eventually("its stream was ended", || pair.a.transport.metrics().snapshot_stream_failures() >= 1).await;
    pair.a.transport.block(2.into());
    pair.b.transport.unblock(1.into());
    let failures = pair.a.transport.metrics().snapshot_stream_failures();
    eventually("it is not even tried", || pair.a.transport.metrics().snapshot_stream_failures() >= failures + 3).await;
    pair.a.transport.unblock(2.into());
    soon(outcome).await.expect("the transport lives").expect("it is delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_bound_on_each_side() {
    let config = TransportConfig { max_snapshots: 1, snapshot_attempts: u32::MAX, ..quick() };
    let pair = Pair::with(config, TransferLimits::default()).await;
    pair.from.fill(6, 100_000);
    pair.to.gate.close();
    let first = pair.send(pair.from.source(5, 2));
    eventually("it is under way", || pair.from.sent_bytes() == WINDOW_BYTES).await;
    let error = pair.deliver(pair.from.source(6, 2)).await.expect_err("one is being sent");
    assert_eq!(error, SendSnapshotError::TooMany(1));
    let refused = soon(open(&pair.b.address, hello(3, 2))).await.err().expect("one is being received");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    pair.to.gate.open();
    soon(first).await.expect("the transport lives").expect("it is delivered");
    pair.deliver(pair.from.source(6, 2)).await.expect("it is delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_is_dropped_takes_its_snapshots_along() {
    let pair = Pair::new().await;
    pair.to.gate.close();
    let outcome = pair.send(pair.from.source(5, 2));
    eventually("it is under way", || pair.from.sent_bytes() == WINDOW_BYTES).await;
    let (from, to) = (pair.from.clone(), pair.to.clone());
    drop(pair);
    assert!(soon(outcome).await.is_err(), "nobody is told");
    to.gate.open();
    eventually("its files are gone", || from.files_left() == 0 && from.transfers.list().is_empty()).await;
}

/// A stream opened by hand.
struct RawStream {
    frames: mpsc::Sender<SnapshotFrame>,
    answers: Streaming<SnapshotAnswer>,
}

fn frame(kind: snapshot_frame::Kind) -> SnapshotFrame {
    SnapshotFrame { kind: Some(kind) }
}

async fn open_raw(address: &str, first: SnapshotFrame) -> Result<RawStream, Status> {
    let mut client = SnapshotTransportClient::connect(format!("http://{address}")).await.expect("the server listens");
    let (frames, outgoing) = mpsc::channel(16);
    frames.send(first).await.expect("there is room");
    let answers = client.send(ReceiverStream::new(outgoing)).await?.into_inner();
    Ok(RawStream { frames, answers })
}

async fn open(address: &str, hello: Hello) -> Result<RawStream, Status> {
    open_raw(address, frame(snapshot_frame::Kind::Hello(hello))).await
}

impl RawStream {
    async fn say(&self, kind: snapshot_frame::Kind) {
        self.frames.send(frame(kind)).await.expect("the stream is open");
    }

    /// The last answer and the status with which the stream ends.
    async fn end(mut self) -> (Option<snapshot_answer::Kind>, Option<Status>) {
        let mut last = None;
        loop {
            match soon(self.answers.message()).await {
                Ok(Some(answer)) => last = answer.kind,
                Ok(None) => return (last, None),
                Err(status) => return (last, Some(status)),
            }
        }
    }

    async fn end_code(self) -> Option<Code> {
        self.end().await.1.map(|status| status.code())
    }
}

fn offer(message: RegionMessage, manifest: &'static [u8]) -> snapshot_frame::Kind {
    snapshot_frame::Kind::Offer(SnapshotOffer { message: Some(message), manifest: manifest.into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_begin_wrongly_are_refused() {
    let pair = Pair::new().await;
    let address = &pair.b.address;
    let chunk = || snapshot_frame::Kind::Chunk(SnapshotChunk::default());
    let without_hello = soon(open_raw(address, frame(chunk()))).await.err().expect("it is refused");
    assert_eq!(without_hello.code(), Code::InvalidArgument);
    let stranger = soon(open(address, Hello { cluster_id: 78, ..hello(1, 2) })).await.err().expect("it is refused");
    assert_eq!(stranger.code(), Code::FailedPrecondition);

    let stream = soon(open(address, hello(1, 2))).await.expect("the Hello is right");
    stream.say(chunk()).await;
    assert_eq!(stream.end_code().await, Some(Code::InvalidArgument), "no chunk before an offer");
    let stream = soon(open(address, hello(1, 2))).await.expect("the Hello is right");
    stream.say(snapshot_frame::Kind::Hello(hello(1, 2))).await;
    assert_eq!(stream.end_code().await, Some(Code::InvalidArgument), "no second Hello");
    let stream = soon(open(address, hello(1, 2))).await.expect("the Hello is right");
    stream.frames.send(SnapshotFrame { kind: None }).await.expect("the stream is open");
    assert_eq!(stream.end_code().await, Some(Code::InvalidArgument), "no empty frame");
    for wrong in [travelling(3, 2, 0), travelling(1, 3, 0)] {
        let stream = soon(open(address, hello(1, 2))).await.expect("the Hello is right");
        stream.say(offer(wrong, b"")).await;
        assert_eq!(stream.end_code().await, Some(Code::InvalidArgument), "a misaddressed message");
    }
    assert_eq!(pair.b.transport.metrics().refused("misaddressed"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_an_offer_does_not_stay() {
    let config = TransportConfig { connect_timeout: Duration::from_millis(50), ..quick() };
    let pair = Pair::with(config, TransferLimits::default()).await;
    let stream = soon(open(&pair.b.address, hello(1, 2))).await.expect("the Hello is right");
    assert_eq!(stream.end_code().await, Some(Code::DeadlineExceeded));
}

/// Whoever lost its power closes nothing. Its stream would hold the region's only reception for ever, and nobody else could send.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_silent_makes_room_for_another() {
    let config =
        TransportConfig { snapshot_silence: Duration::from_millis(50), snapshot_attempts: u32::MAX, ..quick() };
    let pair = Pair::with(config, TransferLimits::default()).await;
    let source = pair.from.source(5, 2);
    let (message, manifest) = (Some(transport_message(&source.message())), source.manifest());
    let silent = soon(open(&pair.b.address, hello(1, 2))).await.expect("the Hello is right");
    silent.say(snapshot_frame::Kind::Offer(SnapshotOffer { message, manifest })).await;
    eventually("it is being received", || pair.to.transfers.list().len() == 1).await;
    pair.deliver(source).await.expect("it is delivered");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_manifest_or_chunk_is_refused_by_an_answer() {
    let pair = Pair::new().await;
    let stream = soon(open(&pair.b.address, hello(1, 2))).await.expect("the Hello is right");
    stream.say(offer(travelling(1, 2, 0), b"garbage")).await;
    let (last, status) = stream.end().await;
    assert!(matches!(last, Some(snapshot_answer::Kind::Refused(_))) && status.is_none());

    let source = pair.from.source(5, 2);
    let (message, manifest) = (transport_message(&source.message()), source.manifest());
    for (family, data) in [(9, 10), (ColumnFamily::Default as u32, (1 << 20) + 1)] {
        let stream = soon(open(&pair.b.address, hello(1, 2))).await.expect("the Hello is right");
        let kind = SnapshotOffer { message: Some(message.clone()), manifest: manifest.clone() };
        stream.say(snapshot_frame::Kind::Offer(kind)).await;
        let chunk = SnapshotChunk { family, data: vec![0; data].into(), ..SnapshotChunk::default() };
        let checksum = snapshot::Chunk::new(0, ColumnFamily::Default, 0, 0, chunk.data.clone()).checksum;
        stream.say(snapshot_frame::Kind::Chunk(SnapshotChunk { checksum, ..chunk })).await;
        let (last, _) = stream.end().await;
        assert!(matches!(last, Some(snapshot_answer::Kind::Refused(_))), "{last:?}");
        // A family that does not exist is no reason to forget what is there; the sender does not come back for it.
        pair.to.transfers.cancel(|_| true, CancelReason::Requested);
        pair.to.receptions.expire(Default::default());
        eventually("nothing is left", || pair.to.files_left() == 0 && pair.to.transfers.list().is_empty()).await;
    }
    drop(source);
    pair.deliver(pair.from.source(5, 2)).await.expect("others are not hurt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_large_ends_its_stream() {
    let pair = Pair::new().await;
    let stream = soon(open(&pair.b.address, hello(1, 2))).await.expect("the Hello is right");
    let large = SnapshotChunk { data: vec![0; 9 << 20].into(), ..SnapshotChunk::default() };
    stream.say(snapshot_frame::Kind::Chunk(large)).await;
    assert_eq!(stream.end_code().await, Some(Code::OutOfRange));
}

fn transport_message(message: &region::RegionMessage) -> RegionMessage {
    let peer = |peer: types::Peer| {
        Some(proto::transport::PeerId { id: peer.id.0, store_id: peer.store_id.0, role: peer.role as u32 })
    };
    RegionMessage {
        region_id: message.region.0,
        from: peer(message.from),
        to: peer(message.to),
        conf_ver: 0,
        version: 0,
        raft: message.raft_bytes().into(),
        note: None,
        range: None,
    }
}
