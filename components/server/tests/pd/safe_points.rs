//! Safe points advance, and services hold them back.

use bytes::Bytes;
use proto::etcdserverpb::RangeRequest;
use proto::etcdserverpb::kv_client::KvClient;
use proto::pdpb::pd_client::PdClient;
use proto::pdpb::*;
use tonic::transport::Channel;

use crate::common::{Port, header, outcome, refused_as, soon};

type Client = PdClient<Channel>;

async fn state(client: &mut Client) -> GcState {
    let keyspace_scope = Some(KeyspaceScope { keyspace_id: Some(u32::MAX) });
    let request = GetGcStateRequest { header: header(), keyspace_scope, ..Default::default() };
    let answer = soon(client.get_gc_state(request)).await.unwrap().into_inner();
    outcome(answer.header).unwrap();
    let state = answer.gc_state.expect("client-go falls without it");
    assert_eq!((state.keyspace_scope, state.is_keyspace_level_gc), (keyspace_scope, false));
    state
}

async fn hold(client: &mut Client, safe_point: u64, ttl: i64) -> UpdateServiceGcSafePointResponse {
    let service_id = Bytes::from_static(b"backup");
    let request = UpdateServiceGcSafePointRequest { header: header(), service_id, ttl, safe_point };
    soon(client.update_service_gc_safe_point(request)).await.unwrap().into_inner()
}

async fn advance_txn(client: &mut Client, target: u64) -> AdvanceTxnSafePointResponse {
    let request = AdvanceTxnSafePointRequest { header: header(), target, ..Default::default() };
    soon(client.advance_txn_safe_point(request)).await.unwrap().into_inner()
}

async fn advance_gc(client: &mut Client, target: u64) -> AdvanceGcSafePointResponse {
    let request = AdvanceGcSafePointRequest { header: header(), target, ..Default::default() };
    soon(client.advance_gc_safe_point(request)).await.unwrap().into_inner()
}

async fn update_gc(client: &mut Client, safe_point: u64) -> u64 {
    let answer = soon(client.update_gc_safe_point(UpdateGcSafePointRequest { header: header(), safe_point })).await;
    answer.unwrap().into_inner().new_safe_point
}

#[tokio::test(flavor = "multi_thread")]
async fn they_only_advance_and_outlive_a_restart() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    assert_eq!((state(&mut client).await.gc_safe_point, state(&mut client).await.txn_safe_point), (0, 0));
    assert_eq!(update_gc(&mut client, 100).await, 100);
    assert_eq!(update_gc(&mut client, 50).await, 100, "one that is behind changes nothing");
    let port = port.restart().await;
    let mut client = port.client().await;
    let answer = soon(client.get_gc_safe_point(GetGcSafePointRequest { header: header() })).await.unwrap();
    assert_eq!(answer.into_inner().safe_point, 100);
    assert_eq!(state(&mut client).await.txn_safe_point, 100, "what may be gone must not be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_holds_the_transactions_back() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let held = hold(&mut client, 70, 10).await;
    outcome(held.header).unwrap();
    assert_eq!((&held.service_id[..], held.min_safe_point), (&b"backup"[..], 70));
    let barriers = state(&mut client).await.gc_barriers;
    assert_eq!(barriers, [GcBarrierInfo { barrier_id: "backup".to_owned(), barrier_ts: 70, ttl_seconds: 10 }]);
    let moved = advance_txn(&mut client, 100).await;
    assert_eq!((moved.old_txn_safe_point, moved.new_txn_safe_point), (0, 70));
    assert!(moved.blocker_description.contains("backup"));
    port.wall.set(port_time_after(&port, 11));
    assert_eq!(state(&mut client).await.gc_barriers, [], "it has lapsed");
    let moved = advance_txn(&mut client, 100).await;
    outcome(moved.header).unwrap();
    assert_eq!((moved.old_txn_safe_point, moved.new_txn_safe_point), (70, 100));
    assert!(moved.blocker_description.is_empty());
    assert_eq!(refused_as(advance_txn(&mut client, 99).await.header), ErrorType::InvalidValue);
}

fn port_time_after(port: &Port, seconds: u64) -> u64 {
    runtime::WallClock::unix_ms(&port.wall) + seconds * 1000
}

#[tokio::test(flavor = "multi_thread")]
async fn collection_follows_the_transactions() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    advance_txn(&mut client, 100).await;
    assert_eq!(refused_as(advance_gc(&mut client, 101).await.header), ErrorType::InvalidValue);
    let moved = advance_gc(&mut client, 90).await;
    outcome(moved.header).unwrap();
    assert_eq!((moved.old_gc_safe_point, moved.new_gc_safe_point), (0, 90));
    assert_eq!(refused_as(advance_gc(&mut client, 89).await.header), ErrorType::InvalidValue);
    let state = state(&mut client).await;
    assert_eq!((state.gc_safe_point, state.txn_safe_point), (90, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn barriers_are_left_out_on_request() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    hold(&mut client, 70, i64::MAX).await;
    assert_eq!(state(&mut client).await.gc_barriers[0].ttl_seconds, i64::MAX);
    let request = GetGcStateRequest { header: header(), exclude_gc_barriers: true, ..Default::default() };
    let answer = soon(client.get_gc_state(request)).await.unwrap().into_inner();
    assert_eq!(answer.gc_state.unwrap().gc_barriers, []);
}

/// Older transactional clients read the safe point from etcd.
#[tokio::test(flavor = "multi_thread")]
async fn etcd_shows_the_transactions_safe_point() {
    let port = Port::laid_out().await;
    let (mut client, mut etcd) = (port.client().await, KvClient::new(port.channel().await));
    let ask = async |etcd: &mut KvClient<Channel>, key: &'static str| {
        let request = RangeRequest { key: key.into(), ..Default::default() };
        let answer = soon(etcd.range(request)).await.unwrap().into_inner();
        assert_eq!(answer.count as usize, answer.kvs.len());
        assert_ne!(answer.header.unwrap().cluster_id, 0);
        answer.kvs.into_iter().map(|pair| pair.value).collect::<Vec<_>>()
    };
    let key = "/tidb/store/gcworker/saved_safe_point";
    assert_eq!(ask(&mut etcd, key).await, [""; 0], "never set is not there");
    advance_txn(&mut client, 12345).await;
    assert_eq!(ask(&mut etcd, key).await, ["12345"]);
    assert_eq!(ask(&mut etcd, "/other").await, [""; 0]);
}
