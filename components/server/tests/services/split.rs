//! `SplitRegion`, as clients call it.

use bytes::Bytes;
use proto::kvrpcpb::{Context, SplitRegionRequest, SplitRegionResponse};
use proto::metapb;

use crate::support::{TestStore, b, kind};

async fn split(store: &TestStore, context: Option<Context>, keys: &[&str]) -> SplitRegionResponse {
    let split_keys = keys.iter().map(|key| b(key)).collect();
    let request = SplitRegionRequest { context, split_keys, is_raw_kv: true, ..Default::default() };
    store.client().await.split_region(request).await.unwrap().into_inner()
}

fn starts(answer: &SplitRegionResponse) -> Vec<Bytes> {
    answer.regions.iter().map(|region| region.start_key.clone()).collect()
}

#[tokio::test]
async fn a_region_is_cut_at_raw_keys() {
    let store = TestStore::start(&["m"]).await;
    let answer = split(&store, store.context("a"), &["f", "c", "f"]).await;
    assert_eq!((kind(&answer.region_error), answer.errors.len()), ("none", 0));
    assert_eq!(starts(&answer), ["", "c", "f"]);
    #[allow(deprecated)]
    let ends = (answer.left.clone().unwrap(), answer.right.clone().unwrap());
    assert_eq!(ends, (answer.regions[0].clone(), answer.regions[2].clone()));
    assert!(answer.regions.iter().all(|region| region.region_epoch == answer.regions[0].region_epoch));
    assert_eq!(store.handle.regions().len(), 4);
    assert_eq!(store.ids.made.lock().len(), 1, "it is reported");

    let stale = split(&store, store.context("a"), &["k"]).await;
    assert_eq!(kind(&stale.region_error), "epoch_not_match");
}

#[tokio::test]
async fn keys_of_transactions_are_encoded() {
    let store = TestStore::start(&[]).await;
    let request = SplitRegionRequest { context: store.context("a"), split_keys: vec![b("k")], ..Default::default() };
    let answer = store.client().await.split_region(request).await.unwrap().into_inner();
    assert_eq!(starts(&answer), [&b""[..], b"k\0\0\0\0\0\0\0\xF8"]);
}

#[tokio::test]
async fn one_key_in_the_old_field_will_do() {
    let store = TestStore::start(&[]).await;
    #[allow(deprecated)]
    let request =
        SplitRegionRequest { context: store.context("a"), split_key: b("k"), is_raw_kv: true, ..Default::default() };
    let answer = store.client().await.split_region(request).await.unwrap().into_inner();
    assert_eq!(starts(&answer), ["", "k"]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let store = TestStore::start(&["m"]).await;
    let context = || store.context("a").unwrap();
    let absent = Context { region_id: 77, ..context() };
    assert_eq!(kind(&split(&store, Some(absent), &["k"]).await.region_error), "region_not_found");
    let peer = metapb::Peer { id: 77, ..context().peer.unwrap() };
    let other = Context { peer: Some(peer), ..context() };
    assert_eq!(kind(&split(&store, Some(other), &["k"]).await.region_error), "mismatch_peer_id");
    let elsewhere = metapb::Peer { store_id: 77, ..context().peer.unwrap() };
    let other = Context { peer: Some(elsewhere), ..context() };
    assert_eq!(kind(&split(&store, Some(other), &["k"]).await.region_error), "store_not_match");
    assert_eq!(kind(&split(&store, Some(context()), &["c", "z"]).await.region_error), "key_not_in_region");
    let none = split(&store, Some(context()), &[]).await;
    assert_eq!((none.region_error, none.errors.len()), (None, 1), "repeating it would change nothing");
    store.ids.are_out.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(kind(&split(&store, Some(context()), &["k"]).await.region_error), "server_is_busy");
    assert_eq!(store.handle.regions().len(), 2);
    let foreign = SplitRegionRequest { context: Some(Context { cluster_id: 8, ..context() }), ..Default::default() };
    let status = store.client().await.split_region(foreign).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn very_many_keys_make_several_commands() {
    let store = TestStore::start(&[]).await;
    let keys: Vec<String> = (0..200).map(|number| format!("k{number:03}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let answer = split(&store, store.context("a"), &keys).await;
    assert_eq!(answer.regions.len(), 201, "{:?}", answer.region_error);
    assert!(starts(&answer).is_sorted());
    assert_eq!(store.ids.made.lock().iter().map(Vec::len).collect::<Vec<_>>(), [201]);
}
