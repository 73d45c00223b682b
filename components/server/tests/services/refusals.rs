//! What is refused, and how it is said: the checks of a request's header in their order, the fixed limits, and outcomes
//! that nobody knows.

use crate::support::{TestStore, b, kind};
use engine::memory::{Fault, FaultPoint};
use proto::kvrpcpb::*;
use proto::metapb;
use server::kv::KvConfig;
use tonic::Code;
use types::limits::{MAX_BATCH_OPERATIONS, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// Puts and gets a key with a context, and says how both were answered: they must be alike.
async fn ask(store: &TestStore, key: &str, context: Context) -> &'static str {
    let mut client = store.client().await;
    let request = RawPutRequest { context: Some(context.clone()), key: b(key), value: b("v"), ..Default::default() };
    let put = client.raw_put(request).await.unwrap().into_inner();
    let request = RawGetRequest { context: Some(context), key: b(key), ..Default::default() };
    let get = client.raw_get(request).await.unwrap().into_inner();
    assert_eq!(kind(&put.region_error), kind(&get.region_error), "{put:?} {get:?}");
    assert_eq!(put.error, get.error);
    if put.error.is_empty() { kind(&put.region_error) } else { "text" }
}

#[tokio::test]
async fn each_part_of_the_header_is_checked() {
    let store = TestStore::start(&["m"]).await;
    let good = store.context("a").unwrap();
    let term = store.handle.regions()[0].term.0;
    let peer = |store_id, id| Some(metapb::Peer { store_id, id, ..Default::default() });
    let epoch = |conf_ver, version| Some(metapb::RegionEpoch { conf_ver, version });
    let (own, id) = (crate::support::STORE, store.regions[0].peers[0].id.0);
    let cases = [
        ("none", good.clone()),
        ("none", Context { cluster_id: crate::support::CLUSTER, ..good.clone() }),
        ("none", Context { peer: None, ..good.clone() }),
        ("none", Context { term, ..good.clone() }),
        ("none", Context { term: term - 1, ..good.clone() }),
        ("none", Context { region_epoch: epoch(9, 1), ..good.clone() }),
        ("none", Context { keyspace_id: Some(u32::MAX), ..good.clone() }),
        ("store_not_match", Context { peer: peer(own + 1, id), ..good.clone() }),
        ("text", Context { api_version: ApiVersion::V1ttl as i32, ..good.clone() }),
        ("text", Context { api_version: ApiVersion::V2 as i32, ..good.clone() }),
        ("text", Context { api_version: -5, ..good.clone() }),
        ("region_not_found", Context { region_id: 5, ..good.clone() }),
        ("region_not_found", Context::default()),
        ("mismatch_peer_id", Context { peer: peer(own, id + 100), ..good.clone() }),
        ("stale_command", Context { term: term - 2, ..good.clone() }),
        ("epoch_not_match", Context { region_epoch: epoch(1, 0), ..good.clone() }),
        ("epoch_not_match", Context { region_epoch: epoch(1, 2), ..good.clone() }),
        ("epoch_not_match", Context { region_epoch: None, ..good.clone() }),
        ("key_not_in_region", store.context("z").unwrap()),
    ];
    for (expected, context) in cases {
        assert_eq!(ask(&store, "a", context.clone()).await, expected, "{context:?}");
    }
}

#[tokio::test]
async fn the_first_thing_that_is_wrong_is_said() {
    let store = TestStore::start(&["m"]).await;
    let mut context = store.context("a").unwrap();
    let term = store.handle.regions()[0].term.0;
    context.term = term - 2;
    context.region_epoch = None;
    assert_eq!(ask(&store, "z", context.clone()).await, "stale_command");
    context.peer = Some(metapb::Peer { store_id: crate::support::STORE, id: 1, ..Default::default() });
    assert_eq!(ask(&store, "z", context.clone()).await, "mismatch_peer_id");
    context.region_id = 5;
    assert_eq!(ask(&store, "z", context.clone()).await, "region_not_found");
    context.peer = Some(metapb::Peer { store_id: 1, id: 1, ..Default::default() });
    assert_eq!(ask(&store, "z", context.clone()).await, "store_not_match");
    context.cluster_id = 8;
    let mut client = store.client().await;
    let request = RawGetRequest { context: Some(context), key: b("z"), ..Default::default() };
    assert_eq!(client.raw_get(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_old_epoch_is_given_the_current_regions() {
    let store = TestStore::start(&["m"]).await;
    let mut client = store.client().await;
    let context = Some(Context { region_epoch: None, ..store.context("a").unwrap() });
    let request = RawGetRequest { context, key: b("a"), ..Default::default() };
    let error = client.raw_get(request).await.unwrap().into_inner().region_error.unwrap();
    let current = error.epoch_not_match.unwrap().current_regions;
    assert_eq!(current, [metapb::Region::from(&store.regions[0])]);
}

#[tokio::test]
async fn oversized_writes_are_refused_with_a_reason() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    let context = store.context("a");
    let large = |bytes: usize| bytes::Bytes::from(vec![b'k'; bytes]);
    let mut put = async |key, value| {
        let request = RawPutRequest { context: context.clone(), key, value, ..Default::default() };
        client.raw_put(request).await.unwrap().into_inner()
    };
    assert_eq!(put(large(MAX_KEY_BYTES), b("v")).await, RawPutResponse::default());
    assert_eq!(put(b("k"), large(MAX_VALUE_BYTES)).await, RawPutResponse::default());
    assert!(put(large(MAX_KEY_BYTES + 1), b("v")).await.error.contains("longer than the limit"));
    assert!(put(b("k"), large(MAX_VALUE_BYTES + 1)).await.error.contains("longer than the limit"));

    let mut put_all = async |pairs: Vec<KvPair>| {
        let request = RawBatchPutRequest { context: context.clone(), pairs, ..Default::default() };
        client.raw_batch_put(request).await.unwrap().into_inner()
    };
    assert!(put_all(Vec::new()).await.error.contains("no operation"));
    let pair = |value| KvPair { key: b("k"), value, ..Default::default() };
    assert!(put_all(vec![pair(b("")); MAX_BATCH_OPERATIONS + 1]).await.error.contains("split it"));
    for pairs in [2, 12] {
        let refused = put_all(vec![pair(large(5 << 20)); pairs]).await;
        assert_eq!((kind(&refused.region_error), refused.error.as_str()), ("raft_entry_too_large", ""));
    }
}

#[tokio::test]
async fn a_message_above_the_bound_is_refused_and_harms_nobody() {
    let kv = KvConfig { max_message_bytes: 1 << 20, ..KvConfig::default() };
    let store = TestStore::with_config(&[], kv).await;
    let mut client = store.client().await;
    let request = |bytes: usize| RawPutRequest {
        context: store.context("k"),
        key: b("k"),
        value: vec![0; bytes].into(),
        ..Default::default()
    };
    assert_eq!(client.raw_put(request(2 << 20)).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(client.raw_put(request(1 << 10)).await.unwrap().into_inner(), RawPutResponse::default());
}

#[tokio::test]
async fn oversized_reads_are_refused_and_never_cut() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    let context = store.context("a");
    let value = bytes::Bytes::from(vec![b'v'; MAX_VALUE_BYTES]);
    let keys: Vec<_> = (0..12).map(|at| b(&format!("k{at:02}"))).collect();
    for key in &keys {
        let (context, key, value) = (context.clone(), key.clone(), value.clone());
        let request = RawPutRequest { context, key, value, ..Default::default() };
        assert_eq!(client.raw_put(request).await.unwrap().into_inner(), RawPutResponse::default());
    }
    let mut scan = async |limit, key_only| {
        let request = RawScanRequest { context: context.clone(), limit, key_only, ..Default::default() };
        let page = client.raw_scan(request).await.unwrap().into_inner();
        (kind(&page.region_error), page.kvs.len())
    };
    assert_eq!(scan(10, false).await, ("none", 10));
    assert_eq!(scan(12, false).await, ("message", 0));
    assert_eq!(scan(12, true).await, ("none", 12));
    let request = RawBatchGetRequest { context: context.clone(), keys, ..Default::default() };
    let got = client.raw_batch_get(request).await.unwrap().into_inner();
    assert_eq!((kind(&got.region_error), got.pairs.len()), ("message", 0));
    let keys = vec![b("k"); MAX_BATCH_OPERATIONS + 1];
    let request = RawBatchGetRequest { context: context.clone(), keys, ..Default::default() };
    assert_eq!(kind(&client.raw_batch_get(request).await.unwrap().into_inner().region_error), "message");
    let key = bytes::Bytes::from(vec![b'k'; MAX_KEY_BYTES + 1]);
    let request = RawGetRequest { context: context.clone(), key, ..Default::default() };
    assert!(client.raw_get(request).await.unwrap().into_inner().error.contains("longer than the limit"));
    let ranges = vec![KeyRange::default(); MAX_BATCH_OPERATIONS + 1];
    let request = RawBatchScanRequest { context, ranges, each_limit: 1, ..Default::default() };
    assert_eq!(kind(&client.raw_batch_scan(request).await.unwrap().into_inner().region_error), "message");
}

/// A client repeats what was answered by a region error, so none may stand for a write that may have happened.
#[tokio::test]
async fn an_unknown_outcome_is_no_region_error() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    store.disk.inject(FaultPoint::LogSync, 1, Fault::Io);
    let request = RawCasRequest { context: store.context("k"), previous_not_exist: true, ..Default::default() };
    let response = client.raw_compare_and_swap(request).await.unwrap().into_inner();
    assert!(response.error.contains("outcome unknown"), "{response:?}");
    assert_eq!((kind(&response.region_error), response.succeed), ("none", false));
}

/// What a failed store has not begun may go elsewhere. Busy it is not: tikv-client would give up.
#[tokio::test]
async fn a_failed_store_takes_nothing() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    store.disk.inject(FaultPoint::LogSync, 1, Fault::Io);
    let request = |for_cas| RawPutRequest { context: store.context("k"), for_cas, ..Default::default() };
    assert!(client.raw_put(request(true)).await.unwrap().into_inner().error.contains("outcome unknown"));
    let response = client.raw_put(request(true)).await.unwrap().into_inner();
    assert_eq!((kind(&response.region_error), response.error.as_str()), ("not_leader", ""));
    let request = RawGetRequest { context: store.context("k"), ..Default::default() };
    let response = client.raw_get(request).await.unwrap().into_inner();
    assert_eq!((kind(&response.region_error), response.error.as_str()), ("not_leader", ""));
}

#[tokio::test]
async fn a_stopped_store_sends_its_clients_away() {
    let mut store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    store.stop();
    let request = RawPutRequest { context: store.context("k"), ..Default::default() };
    assert_eq!(kind(&client.raw_put(request).await.unwrap().into_inner().region_error), "not_leader");
}

/// A read has no effect: one that nobody answered may go elsewhere too.
#[tokio::test]
async fn a_read_that_is_cut_off_is_no_final_error() {
    let store = TestStore::start(&[]).await;
    let client = store.client().await;
    let (stall, release) = store.stall(FaultPoint::LogSync);
    store.disk.inject(FaultPoint::LogSync, 1, Fault::Io);
    let put = RawPutRequest { context: store.context("k"), ..Default::default() };
    let mut writer = client.clone();
    let written = tokio::spawn(async move { writer.raw_put(put).await.unwrap().into_inner() });
    stall.await;
    let get = RawGetRequest { context: store.context("k"), ..Default::default() };
    let mut reader = client.clone();
    let read = tokio::spawn(async move { reader.raw_get(get).await.unwrap().into_inner() });
    store.until_shown(r#"raftyard_grpc_msg_in_flight{type="raw_get",store="3"} 1"#).await;
    drop(release);
    assert!(written.await.unwrap().error.contains("outcome unknown"));
    let read = read.await.unwrap();
    assert_eq!((kind(&read.region_error), read.error.as_str()), ("not_leader", ""));
}

#[tokio::test]
async fn data_that_cannot_be_read_is_no_data() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    // The store itself looks at the region first, whether it was split meanwhile.
    store.disk.inject(FaultPoint::StateRead, 2, Fault::Io);
    let request = RawGetRequest { context: store.context("k"), key: b("k"), ..Default::default() };
    let response = client.raw_get(request).await.unwrap().into_inner();
    assert!(response.error.contains("cannot be read"), "{response:?}");
    assert!(!response.not_found);
    store.disk.inject(FaultPoint::StateRead, 2, Fault::Io);
    let request = RawScanRequest { context: store.context("k"), limit: 1, ..Default::default() };
    let response = client.raw_scan(request).await.unwrap().into_inner();
    assert_eq!(kind(&response.region_error), "message");
}

#[tokio::test]
async fn a_swap_whose_deadline_has_passed_is_dropped() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    let swap = RawCasRequest { context: store.context("k"), previous_not_exist: true, ..Default::default() };
    let mut late = tonic::Request::new(swap.clone());
    late.metadata_mut().insert("grpc-timeout", "0n".parse().unwrap());
    let status = client.raw_compare_and_swap(late).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    let response = client.raw_compare_and_swap(swap).await.unwrap().into_inner();
    assert!(response.succeed && response.previous_not_exist, "the late one left no trace: {response:?}");
}

#[tokio::test]
async fn beyond_its_bound_a_store_is_busy() {
    let store = TestStore::with_config(&[], KvConfig { max_requests: 2, ..KvConfig::default() }).await;
    let client = store.client().await;
    let (stall, release) = store.stall(FaultPoint::LogSync);
    let put = |key: &str| {
        let request = RawPutRequest { context: store.context("k"), key: b(key), ..Default::default() };
        let mut client = client.clone();
        async move { client.raw_put(request).await.unwrap().into_inner() }
    };
    let first = tokio::spawn(put("1"));
    stall.await;
    // One waits for the disk. Of the next two, one finds room; whichever it is, the other is refused at once.
    let (mut second, mut third) = (tokio::spawn(put("2")), tokio::spawn(put("3")));
    let refused = tokio::select! {
        answer = &mut second => answer.unwrap(),
        answer = &mut third => answer.unwrap(),
    };
    assert_eq!(kind(&refused.region_error), "server_is_busy");
    drop(release);
    assert_eq!(first.await.unwrap(), RawPutResponse::default());
}
