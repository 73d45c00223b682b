//! What strangers, damaged stores and wrong configurations send is refused, and hurts nobody else.

mod common;

use std::time::Duration;

use common::{Addresses, Node, RawStream, batch, eventually, hello, open, open_with, quick, soon, travelling};
use proto::transport::{Frame, Hello, RegionMessage, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use transport::TransportConfig;
use types::seed::Rng;

/// The status with which a stream that begins with this Hello is refused.
async fn refusal(node: &Node, hello: Hello) -> Status {
    soon(open_with(&node.address, hello)).await.err().expect("it is refused")
}

/// The status that ends a stream.
async fn end(mut stream: RawStream) -> Status {
    loop {
        match soon(stream.answers.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a word"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_meant_for_this_store_is_refused() {
    let node = Node::start(2, &Addresses::default()).await;
    let cluster = refusal(&node, Hello { cluster_id: 78, ..hello(1, 2) }).await;
    assert_eq!(cluster.code(), Code::FailedPrecondition);
    assert!(cluster.message().contains("cluster 77, not of 78"), "{}", cluster.message());
    let store = refusal(&node, hello(1, 3)).await;
    assert_eq!(store.code(), Code::FailedPrecondition);
    assert!(store.message().contains("this is store 2, not 3"), "{}", store.message());
    let version = refusal(&node, Hello { version: 9, ..hello(1, 2) }).await;
    assert_eq!(version.code(), Code::FailedPrecondition);
    for sender in [0, 2] {
        assert_eq!(refusal(&node, hello(sender, 2)).await.code(), Code::InvalidArgument);
    }
    let counted = ["wrong_cluster", "wrong_store", "wrong_version"].map(|why| node.transport.metrics().refused(why));
    assert_eq!(counted, [1, 3, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_store_with_another_instance_is_refused() {
    let node = Node::start(2, &Addresses::default()).await;
    node.instances.know(1, 999);
    let status = refusal(&node, hello(1, 2)).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("known with 999"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_store_with_another_instance() {
    let addresses = Addresses::default();
    let (a, b) = (Node::start(1, &addresses).await, Node::start(2, &addresses).await);
    a.instances.know(2, 999);
    eventually("it was tried some times", || {
        a.send(2, 0);
        a.transport.metrics().link_failures() >= 3
    })
    .await;
    assert!(b.inbox.numbers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_store_at_the_address_is_noticed() {
    let addresses = Addresses::default();
    let (a, b) = (Node::start(1, &addresses).await, Node::start(2, &addresses).await);
    addresses.set(3, b.address.clone());
    eventually("it was tried some times", || {
        a.send(3, 0);
        a.transport.metrics().link_failures() >= 3
    })
    .await;
    assert!(b.inbox.numbers().is_empty());
    assert!(b.transport.metrics().refused("wrong_store") >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_out_of_place_end_the_stream() {
    let node = Node::start(2, &Addresses::default()).await;
    for first in [batch(vec![]), Frame { kind: None }] {
        let status = soon(open(&node.address, first)).await.err().expect("it is refused");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    let again = Frame { kind: Some(frame::Kind::Hello(hello(1, 2))) };
    for second in [again, Frame { kind: None }] {
        let stream = soon(open_with(&node.address, hello(1, 2))).await.expect("the Hello is right");
        stream.frames.send(second).await.expect("the stream is open");
        assert_eq!(end(stream).await.code(), Code::InvalidArgument);
    }
    assert!(node.inbox.numbers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_sent_away() {
    let config = TransportConfig { connect_timeout: Duration::from_millis(20), ..quick() };
    let node = Node::start_with(2, &Addresses::default(), config).await;
    let mut client =
        proto::transport::store_transport_client::StoreTransportClient::connect(format!("http://{}", node.address))
            .await
            .expect("the server listens");
    let status = soon(client.exchange(futures::stream::pending())).await.expect_err("it is refused");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_misaddressed_messages_are_dropped_and_others_delivered() {
    let node = Node::start(2, &Addresses::default()).await;
    let stream = soon(open_with(&node.address, hello(1, 2))).await.expect("the Hello is right");
    let damaged = RegionMessage { raft: vec![0xFF; 10].into(), ..travelling(1, 2, 0) };
    let without = RegionMessage { from: None, ..travelling(1, 2, 0) };
    let frame = batch(vec![travelling(1, 2, 1), damaged, without, travelling(3, 2, 0), travelling(1, 3, 0)]);
    stream.frames.send(frame).await.expect("the stream is open");
    stream.frames.send(batch(vec![travelling(1, 2, 2)])).await.expect("the stream is open");
    eventually("both have arrived", || node.inbox.numbers() == [1, 2]).await;
    let counted = ["malformed", "misaddressed"].map(|why| node.transport.metrics().refused(why));
    assert_eq!(counted, [2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_large_ends_its_stream_alone() {
    let addresses = Addresses::default();
    let config = TransportConfig { max_frame_bytes: 64 << 10, ..quick() };
    let node = Node::start_with(2, &addresses, config).await;
    let stream = soon(open_with(&node.address, hello(1, 2))).await.expect("the Hello is right");
    let large = RegionMessage { raft: vec![0; 65 << 10].into(), ..travelling(1, 2, 0) };
    stream.frames.send(batch(vec![large])).await.expect("the stream is open");
    assert_eq!(end(stream).await.code(), Code::OutOfRange);
    let other = Node::start(3, &addresses).await;
    assert!(other.send(2, 5));
    eventually("another store's message arrives", || node.inbox.numbers() == [5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_of_the_same_store_replaces_the_older() {
    let node = Node::start(2, &Addresses::default()).await;
    let older = soon(open_with(&node.address, hello(1, 2))).await.expect("the Hello is right");
    let newer = soon(open_with(&node.address, hello(1, 2))).await.expect("the Hello is right");
    assert_eq!(end(older).await.code(), Code::Aborted);
    newer.frames.send(batch(vec![travelling(1, 2, 3)])).await.expect("the stream is open");
    eventually("the newer one works", || node.inbox.numbers() == [3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_the_port_hurts_nobody() {
    let addresses = Addresses::default();
    let (a, b) = (Node::start(1, &addresses).await, Node::start(2, &addresses).await);
    let mut rng = Rng::new(1);
    for round in 0..50 {
        let mut socket = TcpStream::connect(&b.address).await.expect("the server listens");
        // Half of them pass for HTTP/2 at first.
        let mut garbage = if round % 2 == 0 { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec() } else { Vec::new() };
        garbage.extend((0..rng.below(4096)).map(|_| rng.next_u64() as u8));
        // The server may hang up before everything is written; that is its right.
        let _ = socket.write_all(&garbage).await;
        let _ = socket.shutdown().await;
        let _ = soon(socket.read_to_end(&mut Vec::new())).await;
    }
    assert!(a.send(2, 9));
    eventually("a message arrives", || b.inbox.numbers() == [9]).await;
}
