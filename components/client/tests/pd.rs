//! The client of the placement driver: its calls, and how it finds the member that answers them.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use client::{HeartbeatEvent, PdClient, PdConfig, PdError, RegionHeartbeats, SplitReason};
use common::{CLUSTER, Member, Shared, eventually, region, soon};
use proto::pdpb::{self, ErrorType};
use proto::{coordinator, metapb};
use slog::Logger;
use types::KeyRange;

fn config(endpoints: &[&Member]) -> PdConfig {
    PdConfig {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(20),
        ..PdConfig::new(endpoints.iter().map(|member| member.server.address.clone()))
    }
}

async fn connect(config: PdConfig) -> Result<PdClient, PdError> {
    soon(PdClient::connect(config, Logger::root(slog::Discard, slog::o!()))).await
}

async fn start() -> (Member, Shared, PdClient) {
    let state = Shared::default();
    state.lock().set_regions(vec![region(1, "", "g", 1, 1), region(2, "g", "p", 1, 2), region(3, "p", "", 1, 3)]);
    let member = Member::start(state.clone()).await;
    let client = connect(config(&[&member])).await.unwrap();
    (member, state, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn stores() {
    let (_member, _, client) = start().await;
    assert_eq!(client.cluster_id(), CLUSTER.into());
    let store = metapb::Store { id: 5, address: "127.0.0.1:1".to_owned(), ..Default::default() };
    let unknown = client.get_store(5.into()).await.unwrap_err();
    assert!(matches!(unknown, PdError::Refused { kind: ErrorType::Unknown, .. }), "{unknown}");
    client.put_store(&store).await.unwrap();
    assert_eq!(client.get_store(5.into()).await.unwrap(), store);
    assert_eq!(client.get_all_stores().await.unwrap(), [store]);
    client.store_heartbeat(&pdpb::StoreStats::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ids() {
    let (member, _, client) = start().await;
    assert_eq!(client.alloc_id().await.unwrap(), 1);
    let short = client.alloc_ids(3).await.unwrap_err();
    assert!(matches!(short, PdError::Answer { .. }), "it gave one: {short}");
    member.fake.own.lock().allocates_batches = true;
    assert_eq!(client.alloc_ids(3).await.unwrap(), 3..=5);
}

#[tokio::test(flavor = "multi_thread")]
async fn regions() {
    let (_member, _, client) = start().await;
    let id = |route: Option<client::RegionRoute>| route.map(|route| route.descriptor.id.0);
    assert_eq!(id(client.get_region(&"h".into()).await.unwrap()), Some(2));
    assert_eq!(id(client.get_prev_region(&"h".into()).await.unwrap()), Some(1));
    assert_eq!(id(client.get_prev_region(&"a".into()).await.unwrap()), None);
    assert_eq!(id(client.get_region_by_id(3.into()).await.unwrap()), Some(3));
    assert_eq!(id(client.get_region_by_id(4.into()).await.unwrap()), None);
    let scanned = client.scan_regions(&KeyRange::new("a", "h"), 10).await.unwrap();
    assert_eq!(scanned[0].leader, None, "a peer without an id is no leader");
    assert_eq!(scanned[1].leader, Some(region(2, "", "", 1, 2).leader));
    assert_eq!(client.scan_regions(&KeyRange::all(), 2).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn splits() {
    let (member, _, client) = start().await;
    let parent = region(1, "", "g", 1, 1).descriptor;
    let members = parent.peers.len() as u64;
    let ids = client.ask_batch_split(&parent, 2, SplitReason::Admin).await.unwrap();
    let starts: Vec<u64> = ids.iter().map(|ids| ids.region.0).collect();
    assert_eq!(starts, [1, 2 + members]);
    assert!(ids.iter().all(|ids| ids.peers.len() == parent.peers.len()));
    member.fake.own.lock().withholds_peers = 1;
    let short = client.ask_batch_split(&parent, 1, SplitReason::Load).await.unwrap_err();
    assert!(matches!(short, PdError::Answer { .. }), "a peer has no id: {short}");
    client.report_batch_split(&[parent.clone(), parent]).await.unwrap();
    assert_eq!(member.fake.own.lock().reported_splits, [[1, 1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap() {
    let (member, _, client) = start().await;
    assert!(client.is_bootstrapped().await.unwrap());
    let first = region(1, "", "", 1, 1).descriptor;
    let late = client.bootstrap(&metapb::Store::default(), &first).await.unwrap_err();
    assert!(matches!(late, PdError::Refused { kind: ErrorType::AlreadyBootstrapped, .. }), "{late}");

    assert_eq!(client.get_layout(1.into(), 9.into()).await.unwrap(), None, "not ready");
    member.fake.own.lock().layout = Some(Vec::new());
    assert_eq!(client.get_layout(1.into(), 9.into()).await.unwrap(), Some(Vec::new()));
    member.fake.own.lock().layout = Some(vec![(&first).into()]);
    assert_eq!(client.get_layout(1.into(), 9.into()).await.unwrap(), Some(vec![first]));
    let other = client.get_layout(1.into(), 8.into()).await.unwrap_err();
    assert!(matches!(other, PdError::Status { .. }) && !other.is_retryable(), "{other}");
    client.confirm_bootstrap(1.into(), 9.into()).await.unwrap();
    let confirmed = coordinator::ConfirmBootstrapRequest { cluster_id: CLUSTER, store_id: 1, instance: 9 };
    assert_eq!(member.fake.own.lock().confirmed, [confirmed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_found_through_any_member() {
    let (leader, follower) = (Member::start(Shared::default()).await, Member::start(Shared::default()).await);
    follower.fake.own.lock().is_follower = true;
    follower.fake.own.lock().leader_url = Some(leader.url());
    let client = connect(config(&[&follower])).await.unwrap();
    client.alloc_id().await.unwrap();
    assert_eq!((leader.fake.own.lock().calls, follower.fake.own.lock().calls), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_is_found_when_the_old_one_steps_down_or_dies() {
    let (mut a, b) = (Member::start(Shared::default()).await, Member::start(Shared::default()).await);
    b.fake.own.lock().leader_url = Some(a.url());
    let client = connect(config(&[&a, &b])).await.unwrap();
    client.alloc_id().await.unwrap();

    a.fake.own.lock().is_follower = true;
    for member in [&a, &b] {
        member.fake.own.lock().leader_url = Some(b.url());
    }
    assert_eq!(soon(client.alloc_id()).await.unwrap(), 1, "the other member counts from one");

    a.server.kill();
    let c = Member::start(Shared::default()).await;
    assert_eq!(soon(client.alloc_id()).await.unwrap(), 2);
    b.fake.own.lock().is_follower = true;
    b.fake.own.lock().leader_url = Some(c.url());
    assert_eq!(soon(client.alloc_id()).await.unwrap(), 1, "a member that was no endpoint may lead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_comes_later_is_waited_for() {
    let member = Member::start(Shared::default()).await;
    let url = member.fake.own.lock().leader_url.take();
    let connecting = tokio::spawn(connect(config(&[&member])));
    eventually("it was asked in vain", || member.fake.own.lock().searches >= 2).await;
    member.fake.own.lock().leader_url = url;
    soon(connecting).await.unwrap().unwrap().alloc_id().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_endpoints_are_told_as_such() {
    assert!(matches!(connect(config(&[])).await, Err(PdError::NoEndpoints)));
    let bad = PdConfig::new(["not an address"]);
    assert!(matches!(connect(bad).await, Err(PdError::BadEndpoint(address)) if address == "not an address"));
    let nobody = PdConfig { request_timeout: Duration::from_millis(50), ..PdConfig::new(["127.0.0.1:1"]) };
    let error = connect(nobody).await.err().unwrap();
    assert!(matches!(error, PdError::Unreachable { .. }) && error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_behind_the_endpoint_is_noticed() {
    let (member, _, client) = start().await;
    member.fake.own.lock().is_follower = true;
    member.fake.own.lock().cluster_id = 78;
    let error = soon(client.alloc_id()).await.unwrap_err();
    assert!(matches!(error, PdError::OtherCluster { expected: CLUSTER, found: 78 }), "{error}");
}

/// Sends a heartbeat for a region once the stream is open, and gives the id of the region that is answered.
async fn beat(heartbeats: &mut RegionHeartbeats, id: u64) -> u64 {
    loop {
        match soon(heartbeats.next()).await {
            HeartbeatEvent::Opened => {
                let descriptor = region(id, "", "", 1, 1).descriptor;
                let heartbeat =
                    pdpb::RegionHeartbeatRequest { region: Some((&descriptor).into()), ..Default::default() };
                assert!(heartbeats.send(heartbeat));
            }
            HeartbeatEvent::Answer(answer) => return answer.region_id,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_go_on_over_broken_streams_and_new_leaders() {
    let (mut member, _, client) = start().await;
    let mut heartbeats = client.region_heartbeats();
    assert_eq!(beat(&mut heartbeats, 4).await, 4);
    let sent = member.fake.own.lock().heartbeats[0].clone();
    assert_eq!(sent.header.unwrap().cluster_id, CLUSTER);

    let order = pdpb::RegionHeartbeatResponse { region_id: 9, ..Default::default() };
    let stream = member.fake.own.lock().streams[0].clone();
    stream.send(Ok(order.clone())).await.unwrap();
    assert_eq!(soon(heartbeats.next()).await, HeartbeatEvent::Answer(Box::new(order)));
    drop(stream);

    member.fake.own.lock().streams.clear();
    assert_eq!(beat(&mut heartbeats, 5).await, 5, "the stream was opened again");

    let next = Member::start(Shared::default()).await;
    member.fake.own.lock().leader_url = Some(next.url());
    member.fake.own.lock().streams.clear();
    assert_eq!(beat(&mut heartbeats, 6).await, 6);
    eventually("the next leader hears of it", || !next.fake.own.lock().heartbeats.is_empty()).await;
    member.server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_beyond_the_queue_are_dropped() {
    let mut member = Member::start(Shared::default()).await;
    let client = connect(PdConfig { heartbeat_queue: 3, ..config(&[&member]) }).await.unwrap();
    member.server.kill();
    let heartbeats = client.region_heartbeats();
    let sender = heartbeats.sender();
    eventually("one is dropped", || !sender.send(pdpb::RegionHeartbeatRequest::default())).await;
}
