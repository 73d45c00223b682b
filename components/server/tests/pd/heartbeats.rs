//! What stores report, and what they are told.

use std::time::Duration;

use bytes::Bytes;
use proto::pdpb::*;
use server::pd::OrderError;
use tonic::Code;
use types::StoreId;

use crate::common::{MemJournal, Port, Talk, eventually, get_region, header, outcome, report, soon, talk};

type Stream = Talk<RegionHeartbeatRequest, RegionHeartbeatResponse>;

/// Says something that must be objected to, so that everything that was said before has been taken.
async fn sync(stream: &mut Stream) {
    let answer = stream.ask(RegionHeartbeatRequest { header: header(), ..Default::default() }).await;
    assert_eq!(outcome(answer.header).unwrap_err().r#type(), ErrorType::InvalidValue);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_become_routes() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let region = get_region(&mut client, "a").await.region.unwrap();
    let mut stream = talk!(client, region_heartbeat);
    stream.say(report(&region, 1, 6)).await;
    sync(&mut stream).await;
    assert_eq!(get_region(&mut client, "a").await.leader, Some(region.peers[1]));
    let (mut left, mut right) = (region.clone(), region.clone());
    for half in [&mut left, &mut right] {
        half.region_epoch.as_mut().unwrap().version += 1;
    }
    (left.end_key, right.start_key) = (Bytes::from_static(b"d"), Bytes::from_static(b"d"));
    right.id = 5000;
    right.peers.iter_mut().for_each(|peer| peer.id += 5000);
    stream.say(report(&right, 1, 6)).await;
    stream.say(report(&left, 1, 6)).await;
    sync(&mut stream).await;
    assert_eq!(get_region(&mut client, "a").await.region, Some(left));
    assert_eq!(get_region(&mut client, "d").await.region, Some(right));
}

/// A stale report is objected to by name, and the stream goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_objection_names_the_region_and_the_peer() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let region = get_region(&mut client, "a").await.region.unwrap();
    let mut stream = talk!(client, region_heartbeat);
    stream.say(report(&region, 0, 6)).await;
    let objection = stream.ask(report(&region, 1, 5)).await;
    assert!(outcome(objection.header).unwrap_err().message.contains("stale"));
    assert_eq!((objection.region_id, objection.region_epoch), (region.id, region.region_epoch));
    assert_eq!(objection.target_peer, Some(region.peers[1]));
    let mut damaged = report(&region, 0, 7);
    damaged.region.as_mut().unwrap().peers[1].role = 99;
    let objection = stream.ask(damaged).await;
    assert_eq!(outcome(objection.header).unwrap_err().r#type(), ErrorType::InvalidValue);
    stream.say(report(&region, 2, 8)).await;
    sync(&mut stream).await;
    assert_eq!(get_region(&mut client, "a").await.leader, Some(region.peers[2]));
    assert!(stream.finish().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_lost_leaderships_end_the_stream() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let region = get_region(&mut client, "a").await.region.unwrap();
    let stream = talk!(client, region_heartbeat);
    let mut stranger = region.clone();
    stranger.peers[0].store_id = 99;
    stream.say(report(&stranger, 0, 6)).await;
    assert_eq!(stream.end().await.unwrap_err().code(), Code::NotFound);
    let stream = talk!(client, region_heartbeat);
    stream.say(RegionHeartbeatRequest { header: None, ..report(&region, 0, 6) }).await;
    assert_eq!(stream.end().await.unwrap_err().code(), Code::FailedPrecondition);
    let stream = talk!(client, region_heartbeat);
    port.depose();
    stream.say(report(&region, 0, 6)).await;
    assert_eq!(stream.end().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(port.services.orders().stores(), [], "none of them was ever bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_out_on_the_stream_of_the_leaders_store() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let region = get_region(&mut client, "a").await.region.unwrap();
    let orders = port.services.orders();
    let order = || RegionHeartbeatResponse { region_id: region.id, ..Default::default() };
    let store = StoreId(region.peers[0].store_id);
    assert_eq!(orders.send(store, order()), Err(OrderError::NotConnected { store }));
    let mut stream = talk!(client, region_heartbeat);
    assert_eq!(orders.send(store, order()), Err(OrderError::NotConnected { store }), "it has not said who it is");
    stream.say(report(&region, 0, 6)).await;
    sync(&mut stream).await;
    orders.send(store, order()).unwrap();
    let received = stream.hear().await;
    assert_eq!(received.region_id, region.id);
    assert!(outcome(received.header).is_ok());
    let mut reconnected = talk!(port.client().await, region_heartbeat);
    reconnected.say(report(&region, 0, 6)).await;
    sync(&mut reconnected).await;
    drop(stream);
    orders.send(store, order()).unwrap();
    assert_eq!(reconnected.hear().await.region_id, region.id);
    drop(reconnected);
    eventually(|| orders.stores().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_is_kept_alive_by_headers_alone() {
    let interval = Duration::from_millis(1);
    let port = Port::idle(MemJournal::default(), |services| services.with_keepalive_interval(interval)).await;
    port.elect();
    let mut stream: Stream = talk!(port.client().await, region_heartbeat);
    for _ in 0..3 {
        let answer = stream.hear().await;
        outcome(answer.header.clone()).unwrap();
        assert_eq!(answer, RegionHeartbeatResponse { header: answer.header.clone(), ..Default::default() });
    }
    soon(async { drop(stream) }).await;
}

/// Many stores, many regions: everything is taken, in each stream's order.
#[tokio::test(flavor = "multi_thread")]
async fn streams_do_not_disturb_each_other() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let mut tasks = Vec::new();
    for (place, key) in ["a", "h", "q"].into_iter().enumerate() {
        let region = get_region(&mut client, key).await.region.unwrap();
        let mut client = port.client().await;
        tasks.push(tokio::spawn(async move {
            let mut stream = talk!(client, region_heartbeat);
            for term in 6..206 {
                stream.say(report(&region, (place + term as usize) % 3, term)).await;
            }
            sync(&mut stream).await;
            (key, region.peers[(place + 205) % 3])
        }));
    }
    for task in tasks {
        let (key, leader) = soon(task).await.unwrap();
        assert_eq!(get_region(&mut client, key).await.leader, Some(leader));
    }
}
