//! Stores and ids.

use proto::metapb;
use proto::pdpb::*;

use crate::common::{CLUSTER, Port, START_MS, header, outcome, put_store, refused_as, soon, store};

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_given_once() {
    let port = Port::start().await;
    let mut client = port.client().await;
    let mut last = 0;
    for count in [0, 1, 5, 1000, 2] {
        let answer = soon(client.alloc_id(AllocIdRequest { header: header(), count })).await.unwrap().into_inner();
        let count = count.max(1);
        assert_eq!((answer.id, answer.count), (last + u64::from(count), count), "the id is the last of the batch");
        last = answer.id;
    }
    let much = soon(client.alloc_id(AllocIdRequest { header: header(), count: u32::MAX })).await.unwrap();
    assert_eq!(refused_as(much.into_inner().header), ErrorType::InvalidValue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_shown_as_it_registered() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let label = |key: &str| metapb::StoreLabel { key: key.to_owned(), value: "1".to_owned() };
    let registered = metapb::Store {
        labels: vec![label("host"), label("zone")],
        peer_address: "127.0.0.1:7".to_owned(),
        status_address: "127.0.0.1:8".to_owned(),
        git_hash: "abc".to_owned(),
        start_timestamp: 5,
        deploy_path: "/srv".to_owned(),
        ..store(1)
    };
    put_store(&mut client, registered.clone()).await.unwrap();
    let answer = soon(client.get_store(GetStoreRequest { header: header(), store_id: 1 })).await.unwrap().into_inner();
    let expected = metapb::Store { node_state: metapb::NodeState::Serving.into(), ..registered };
    assert_eq!((answer.store, answer.stats), (Some(expected.clone()), None));
    let all = GetAllStoresRequest { header: header(), exclude_tombstone_stores: true };
    let all = soon(client.get_all_stores(all)).await.unwrap().into_inner().stores;
    assert_eq!(all.iter().map(|store| store.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all[0], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_cannot_be_are_refused() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    for (store, kind) in [
        (metapb::Store { address: "http://127.0.0.1:1".to_owned(), ..store(1) }, ErrorType::InvalidValue),
        (metapb::Store { address: store(2).address, ..store(1) }, ErrorType::DuplicatedEntry),
        (metapb::Store { version: "7.0.0".to_owned(), ..store(1) }, ErrorType::IncompatibleVersion),
        (store(1_000_000), ErrorType::InvalidValue),
    ] {
        assert_eq!(put_store(&mut client, store.clone()).await.unwrap_err().r#type(), kind, "{store:?}");
    }
    let unknown = soon(client.get_store(GetStoreRequest { header: header(), store_id: 9 })).await.unwrap();
    assert_eq!(refused_as(unknown.into_inner().header), ErrorType::Unknown);
}

/// A store that crashed before it knew its id registers again under another one; the first makes way.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_store_stays_removed() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let ids = soon(client.alloc_id(AllocIdRequest { header: header(), count: 2 })).await.unwrap().into_inner();
    let (first, second) = (ids.id - 1, ids.id);
    let at_first = metapb::Store { address: "127.0.0.1:9".to_owned(), ..store(first) };
    put_store(&mut client, at_first.clone()).await.unwrap();
    put_store(&mut client, metapb::Store { id: second, ..at_first.clone() }).await.unwrap();
    assert_eq!(put_store(&mut client, at_first).await.unwrap_err().r#type(), ErrorType::StoreTombstone);
    let stats = Some(StoreStats { store_id: first, ..Default::default() });
    let heartbeat = soon(client.store_heartbeat(StoreHeartbeatRequest { header: header(), stats })).await.unwrap();
    assert_eq!(refused_as(heartbeat.into_inner().header), ErrorType::StoreTombstone);
    let gone = soon(client.get_store(GetStoreRequest { header: header(), store_id: first })).await.unwrap();
    let gone = gone.into_inner().store.unwrap();
    assert_eq!((gone.state(), gone.node_state()), (metapb::StoreState::Tombstone, metapb::NodeState::Removed));
    for (exclude_tombstone_stores, expected) in [(true, vec![1, 2, 3, second]), (false, vec![1, 2, 3, first, second])] {
        let request = GetAllStoresRequest { header: header(), exclude_tombstone_stores };
        let stores = soon(client.get_all_stores(request)).await.unwrap().into_inner().stores;
        assert_eq!(stores.iter().map(|store| store.id).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_shown_with_the_store() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let stats = StoreStats {
        store_id: 2,
        capacity: 1,
        available: 2,
        region_count: 3,
        sending_snap_count: 4,
        receiving_snap_count: 5,
        start_time: 6,
        applying_snap_count: 7,
        is_busy: true,
        used_size: 8,
        bytes_written: 9,
        keys_written: 10,
        bytes_read: 11,
        keys_read: 12,
        interval: Some(TimeInterval { start_timestamp: 13, end_timestamp: 14 }),
        slow_score: 15,
        is_stopping: true,
        ..Default::default()
    };
    let request = StoreHeartbeatRequest { header: header(), stats: Some(stats.clone()) };
    let answer = soon(client.store_heartbeat(request)).await.unwrap().into_inner();
    outcome(answer.header.clone()).unwrap();
    assert_eq!((answer.cluster_version.as_str(), answer.state()), ("8.5.6", metapb::NodeState::Serving));
    let answer = soon(client.get_store(GetStoreRequest { header: header(), store_id: 2 })).await.unwrap().into_inner();
    assert_eq!(answer.stats, Some(stats));
    assert_eq!(answer.store.unwrap().last_heartbeat, START_MS as i64 * 1_000_000, "in nanoseconds");
    let unknown = Some(StoreStats { store_id: 9, ..Default::default() });
    let answer =
        soon(client.store_heartbeat(StoreHeartbeatRequest { header: header(), stats: unknown })).await.unwrap();
    assert_eq!(refused_as(answer.into_inner().header), ErrorType::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_says_how_many_replicas_it_keeps() {
    let port = Port::laid_out().await;
    let request = GetClusterConfigRequest { header: header() };
    let answer = soon(port.client().await.get_cluster_config(request)).await.unwrap().into_inner();
    assert_eq!(answer.cluster, Some(metapb::Cluster { id: CLUSTER, max_peer_count: 3 }));
}

/// A change that is under way goes on without who asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    port.journal.hold();
    let moved = metapb::Store { address: "127.0.0.1:5".to_owned(), ..store(1) };
    let mut other = port.client().await;
    let asked = tokio::spawn(async move { drop(put_store(&mut other, moved).await) });
    crate::common::eventually(|| port.journal.held() == 1).await;
    asked.abort();
    drop(asked.await);
    port.journal.release();
    let answer = soon(client.get_store(GetStoreRequest { header: header(), store_id: 1 })).await.unwrap().into_inner();
    assert_eq!(answer.store.unwrap().address, "127.0.0.1:5");
    let in_flight = r#"raftyard_pd_request_in_flight{type="store"} 0"#;
    crate::common::eventually(|| port.registry.gather_text().contains(in_flight)).await;
}

/// A write that fails is said to have failed, and nothing of it is seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_fate_is_unknown_fails_the_call() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    port.journal.hold();
    let request = PutStoreRequest {
        header: header(),
        store: Some(metapb::Store { address: "127.0.0.1:5".to_owned(), ..store(1) }),
    };
    let asked = tokio::spawn(async move { client.put_store(request).await });
    crate::common::eventually(|| port.journal.held() == 1).await;
    port.journal.lose();
    let status = soon(asked).await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(status.message().contains("outcome unknown"), "{status}");
}
