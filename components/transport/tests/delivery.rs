//! Two stores talk over loopback, and one of them goes away and comes back.

mod common;

use std::time::Duration;

use common::{Addresses, Node, eventually, message, quick};
use transport::TransportConfig;

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_all_regions_arrive_in_order() {
    const COUNT: u64 = 20_000;
    let addresses = Addresses::default();
    let config = TransportConfig { queue_messages: COUNT as usize, ..quick() };
    let (a, b) = (Node::start_with(1, &addresses, config).await, Node::start(2, &addresses).await);
    for number in 0..COUNT {
        assert!(a.transport.send(message(1, 2, number)));
        if number % 100 == 0 {
            a.transport.flush();
        }
    }
    a.transport.flush();
    eventually("all have arrived", || b.inbox.messages.lock().len() == COUNT as usize).await;
    assert!(b.inbox.numbers().into_iter().eq(0..COUNT));
    assert_eq!(*b.inbox.messages.lock().first().expect("there are some"), message(1, 2, 0));
    assert_eq!(a.transport.metrics().sent_messages(), COUNT);
    assert!(a.inbox.unreachable.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_have_streams_of_their_own() {
    let addresses = Addresses::default();
    let (a, b) = (Node::start(1, &addresses).await, Node::start(2, &addresses).await);
    assert!(a.send(2, 5) && b.send(1, 6));
    eventually("both have arrived", || a.inbox.numbers() == [6] && b.inbox.numbers() == [5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_moved_is_found_again() {
    let addresses = Addresses::default();
    let (a, mut b) = (Node::start(1, &addresses).await, Node::start(2, &addresses).await);
    assert!(a.send(2, 0));
    eventually("the first arrives", || b.inbox.numbers() == [0]).await;

    b.stop();
    eventually("the loss is reported", || {
        a.send(2, 1);
        a.inbox.unreachable.lock().contains(&2.into())
    })
    .await;

    b.listen().await;
    eventually("messages arrive again", || {
        a.send(2, 2);
        b.inbox.numbers().contains(&2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_sent_is_dropped_and_not_delivered_late() {
    let addresses = Addresses::default();
    let a = Node::start(1, &addresses).await;
    assert!(a.send(2, 0), "a store that is not known yet may become known at any moment");
    eventually("it is dropped", || a.transport.metrics().dropped_messages("unreachable") == 1).await;
    let b = Node::start(2, &addresses).await;
    eventually("a later one arrives", || {
        a.send(2, 1);
        b.inbox.numbers().contains(&1)
    })
    .await;
    assert!(!b.inbox.numbers().contains(&0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_drops() {
    let addresses = Addresses::default();
    addresses.hang(2);
    let config = TransportConfig { queue_messages: 10, connect_timeout: Duration::from_secs(3600), ..quick() };
    let a = Node::start_with(1, &addresses, config).await;
    let sent = (0..15).filter(|number| a.send(2, *number)).count();
    assert_eq!(sent, 10);
    assert_eq!(a.transport.metrics().dropped_messages("queue_full"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_for_oneself_is_not_sent() {
    let addresses = Addresses::default();
    let config = TransportConfig { max_frame_bytes: 64 << 10, ..quick() };
    let (a, b) = (Node::start_with(1, &addresses, config).await, Node::start(2, &addresses).await);
    let mut large = message(1, 2, 0);
    large.raft.context = vec![0; 40 << 10].into();
    assert!(!a.transport.send(large));
    assert_eq!(a.transport.metrics().dropped_messages("too_large"), 1);
    assert!(!a.send(1, 0));
    assert_eq!(a.transport.metrics().dropped_messages("no_link"), 1);
    assert!(a.send(2, 1));
    eventually("others pass", || b.inbox.numbers() == [1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_an_unreachable_store_are_limited() {
    let config = TransportConfig { unreachable_interval: Duration::from_secs(3600), ..quick() };
    let a = Node::start_with(1, &Addresses::default(), config).await;
    eventually("it failed some times", || {
        a.send(2, 0);
        a.transport.metrics().link_failures() >= 4
    })
    .await;
    assert_eq!(*a.inbox.unreachable.lock(), [2.into()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_store_is_cut_off_in_both_directions() {
    let addresses = Addresses::default();
    let (a, b) = (Node::start(1, &addresses).await, Node::start(2, &addresses).await);
    a.transport.block(2.into());
    assert!(!a.send(2, 0));
    assert!(b.send(1, 0));
    eventually("it is refused", || a.transport.metrics().refused("blocked") == 1).await;
    a.transport.unblock(2.into());
    assert!(a.send(2, 1) && b.send(1, 1));
    eventually("both pass again", || a.inbox.numbers() == [1] && b.inbox.numbers() == [1]).await;
}
