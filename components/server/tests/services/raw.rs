//! Every raw call, over a socket.

use crate::support::{TestStore, b, kind};
use proto::kvrpcpb::*;
use proto::tikvpb::tikv_client::TikvClient;
use tonic::transport::Channel;

type Client = TikvClient<Channel>;

async fn put(store: &TestStore, client: &mut Client, key: &str, value: &str) {
    let context = store.context(key);
    let request = RawPutRequest { context, key: b(key), value: b(value), ..Default::default() };
    let response = client.raw_put(request).await.unwrap().into_inner();
    assert_eq!(response, RawPutResponse::default());
}

async fn get(store: &TestStore, client: &mut Client, key: &str) -> Option<String> {
    let request = RawGetRequest { context: store.context(key), key: b(key), ..Default::default() };
    let response = client.raw_get(request).await.unwrap().into_inner();
    assert_eq!((kind(&response.region_error), response.error.as_str()), ("none", ""));
    (!response.not_found).then(|| String::from_utf8(response.value.to_vec()).unwrap())
}

fn pair(key: &str, value: &str) -> KvPair {
    KvPair { key: b(key), value: b(value), ..Default::default() }
}

#[tokio::test]
async fn put_get_delete() {
    let store = TestStore::start(&["m"]).await;
    let mut client = store.client().await;
    assert_eq!(get(&store, &mut client, "a").await, None);
    put(&store, &mut client, "a", "1").await;
    put(&store, &mut client, "z", "").await;
    assert_eq!(get(&store, &mut client, "a").await.as_deref(), Some("1"));
    assert_eq!(get(&store, &mut client, "z").await.as_deref(), Some(""));
    let request = RawDeleteRequest { context: store.context("a"), key: b("a"), ..Default::default() };
    assert_eq!(client.raw_delete(request).await.unwrap().into_inner(), RawDeleteResponse::default());
    assert_eq!(get(&store, &mut client, "a").await, None);
}

#[tokio::test]
async fn batches() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    let pairs = vec![pair("a", "1"), pair("b", "2"), pair("a", "3")];
    let request = RawBatchPutRequest { context: store.context("a"), pairs, ttls: vec![0], ..Default::default() };
    assert_eq!(client.raw_batch_put(request).await.unwrap().into_inner(), RawBatchPutResponse::default());

    let keys = ["b", "x", "a", "b"].map(b).to_vec();
    let request = RawBatchGetRequest { context: store.context("a"), keys, ..Default::default() };
    let found = client.raw_batch_get(request).await.unwrap().into_inner().pairs;
    assert_eq!(found, [pair("b", "2"), pair("a", "3"), pair("b", "2")], "found ones only, in the order of the keys");

    let keys = vec![b("a"), b("x")];
    let request = RawBatchDeleteRequest { context: store.context("a"), keys, ..Default::default() };
    assert_eq!(client.raw_batch_delete(request).await.unwrap().into_inner(), RawBatchDeleteResponse::default());
    assert_eq!(get(&store, &mut client, "a").await, None);
    assert_eq!(get(&store, &mut client, "b").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn column_families_are_apart() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    for (cf, value) in [("", "1"), ("lock", "2"), ("write", "3")] {
        let context = store.context("k");
        let request = RawPutRequest { context, key: b("k"), value: b(value), cf: cf.into(), ..Default::default() };
        assert_eq!(client.raw_put(request).await.unwrap().into_inner(), RawPutResponse::default());
    }
    for (cf, value) in [("default", "1"), ("lock", "2"), ("write", "3")] {
        let request = RawGetRequest { context: store.context("k"), key: b("k"), cf: cf.into() };
        assert_eq!(client.raw_get(request).await.unwrap().into_inner().value, b(value));
    }
    for cf in ["meta", "Default", "raft"] {
        let request = RawGetRequest { context: store.context("k"), key: b("k"), cf: cf.into() };
        let response = client.raw_get(request).await.unwrap().into_inner();
        assert!(response.error.contains("unknown column family"), "{response:?}");
        let request = RawPutRequest { context: store.context("k"), key: b("k"), cf: cf.into(), ..Default::default() };
        let response = client.raw_put(request).await.unwrap().into_inner();
        assert!(response.error.contains("unknown column family"), "{response:?}");
    }
}

struct Scan {
    start: &'static str,
    end: &'static str,
    limit: u32,
    reverse: bool,
}

async fn scan(store: &TestStore, client: &mut Client, region_of: &str, scan: Scan) -> String {
    let request = RawScanRequest {
        context: store.context(region_of),
        start_key: b(scan.start),
        end_key: b(scan.end),
        limit: scan.limit,
        reverse: scan.reverse,
        ..Default::default()
    };
    let response = client.raw_scan(request).await.unwrap().into_inner();
    assert_eq!(kind(&response.region_error), "none");
    let pairs = response.kvs.iter().map(|pair| format!("{:?}={:?}", pair.key, pair.value));
    pairs.collect::<Vec<_>>().join(" ").replace(['b', '"'], "")
}

#[tokio::test]
async fn scans_in_both_directions_stay_in_the_region() {
    let store = TestStore::start(&["k3", "k7"]).await;
    let mut client = store.client().await;
    for at in 0..10 {
        put(&store, &mut client, &format!("k{at}"), &at.to_string()).await;
    }
    let forward = |start, end, limit| Scan { start, end, limit, reverse: false };
    let backward = |start, end, limit| Scan { start, end, limit, reverse: true };
    let cases = [
        (forward("k3", "", 100), "k3=3 k4=4 k5=5 k6=6"),
        (forward("k4", "k6", 100), "k4=4 k5=5"),
        (forward("k4", "", 2), "k4=4 k5=5"),
        (forward("k4", "", 0), ""),
        (forward("", "", 100), "k3=3 k4=4 k5=5 k6=6"),
        (forward("k6", "k4", 100), ""),
        (forward("k8", "", 100), ""),
        (backward("k7", "", 100), "k6=6 k5=5 k4=4 k3=3"),
        (backward("k6", "k4", 100), "k5=5 k4=4"),
        (backward("k6", "k4", 1), "k5=5"),
        (backward("", "", 2), "k6=6 k5=5"),
        (backward("k4", "k6", 100), ""),
    ];
    for (wanted, expected) in cases {
        let shown = format!("[{}, {}) limit {} reverse {}", wanted.start, wanted.end, wanted.limit, wanted.reverse);
        assert_eq!(scan(&store, &mut client, "k3", wanted).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn key_only_scans_leave_values_out() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    put(&store, &mut client, "a", "1").await;
    let request = RawScanRequest { context: store.context("a"), limit: 9, key_only: true, ..Default::default() };
    assert_eq!(client.raw_scan(request).await.unwrap().into_inner().kvs, [pair("a", "")]);
}

#[tokio::test]
async fn pages_are_full_or_refused() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    let pairs: Vec<KvPair> = (0..20_000).map(|at| pair(&format!("{at:05}"), "v")).collect();
    for pairs in pairs.chunks(5000) {
        let pairs = pairs.to_vec();
        let request = RawBatchPutRequest { context: store.context(""), pairs, ..Default::default() };
        assert_eq!(client.raw_batch_put(request).await.unwrap().into_inner(), RawBatchPutResponse::default());
    }
    for reverse in [false, true] {
        let request = |limit| RawScanRequest { context: store.context(""), limit, reverse, ..Default::default() };
        let page = client.raw_scan(request(10_240)).await.unwrap().into_inner();
        assert_eq!((kind(&page.region_error), page.kvs.len()), ("none", 10_240));
        let refused = client.raw_scan(request(10_241)).await.unwrap().into_inner();
        assert_eq!((kind(&refused.region_error), refused.kvs.len()), ("message", 0));
    }
}

#[tokio::test]
async fn batch_scans_give_a_page_per_range() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    for key in ["a", "b", "c", "d", "e"] {
        put(&store, &mut client, key, key).await;
    }
    let range = |start: &str, end: &str| KeyRange { start_key: b(start), end_key: b(end) };
    let mut scan = async |ranges: Vec<KeyRange>, reverse| {
        let context = store.context("a");
        let request = RawBatchScanRequest { context, ranges, each_limit: 2, reverse, ..Default::default() };
        let response = client.raw_batch_scan(request).await.unwrap().into_inner();
        assert_eq!(kind(&response.region_error), "none");
        response.kvs.iter().map(|pair| String::from_utf8(pair.key.to_vec()).unwrap()).collect::<String>()
    };
    assert_eq!(scan(vec![range("c", ""), range("a", "b"), range("a", "")], false).await, "cdaab");
    assert_eq!(scan(vec![range("d", "a"), range("", "")], true).await, "cbed");
}

#[tokio::test]
async fn delete_ranges() {
    let store = TestStore::start(&["c"]).await;
    let mut client = store.client().await;
    for key in ["a", "b", "c", "d"] {
        put(&store, &mut client, key, key).await;
    }
    let mut delete = async |start: &str, end: &str| {
        let (start_key, end_key) = (b(start), b(end));
        let request = RawDeleteRangeRequest { context: store.context(start), start_key, end_key, ..Default::default() };
        client.raw_delete_range(request).await.unwrap().into_inner()
    };
    assert_eq!(delete("b", "").await, RawDeleteRangeResponse::default(), "an open end is the end of the region");
    assert_eq!(delete("d", "").await, RawDeleteRangeResponse::default());
    assert_eq!(delete("c", "c").await, RawDeleteRangeResponse::default(), "an empty range has nothing to delete");
    assert_eq!(kind(&delete("a", "cc").await.region_error), "key_not_in_region");
    assert!(delete("b", "a").await.error.contains("ends before it starts"));
    let mut left = Vec::new();
    for key in ["a", "b", "c", "d"] {
        left.extend(get(&store, &mut client, key).await);
    }
    assert_eq!(left, ["a", "c"]);
}

#[tokio::test]
async fn compare_and_swap() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    let mut swap = async |previous: Option<&str>, value: Option<&str>| {
        let request = RawCasRequest {
            context: store.context("k"),
            key: b("k"),
            value: b(value.unwrap_or_default()),
            delete: value.is_none(),
            previous_not_exist: previous.is_none(),
            previous_value: b(previous.unwrap_or_default()),
            ..Default::default()
        };
        let response = client.raw_compare_and_swap(request).await.unwrap().into_inner();
        assert_eq!((kind(&response.region_error), response.error.as_str()), ("none", ""));
        let before = (!response.previous_not_exist).then(|| String::from_utf8(response.previous_value.into()).unwrap());
        (response.succeed, before)
    };
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(swap(Some("x"), Some("1")).await, (false, None));
    assert_eq!(swap(None, Some("1")).await, (true, None));
    assert_eq!(swap(None, Some("2")).await, (false, some("1")));
    assert_eq!(swap(Some("1"), Some("2")).await, (true, some("1")));
    assert_eq!(swap(Some("1"), None).await, (false, some("2")));
    assert_eq!(swap(Some("2"), None).await, (true, some("2")));
    assert_eq!(swap(None, Some("")).await, (true, None));
    assert_eq!(swap(Some(""), Some("3")).await, (true, some("")), "an empty value is not an absent one");
}

#[tokio::test]
async fn a_counter_under_contention_adds_up() {
    let store = TestStore::start(&[]).await;
    let client = store.client().await;
    let count = async |mut client: Client, context: Option<Context>| {
        let (mut done, mut seen) = (0, None::<u64>);
        while done < 20 {
            let request = RawCasRequest {
                context: context.clone(),
                key: b("counter"),
                value: b(&(seen.unwrap_or(0) + 1).to_string()),
                previous_not_exist: seen.is_none(),
                previous_value: seen.map(|seen| b(&seen.to_string())).unwrap_or_default(),
                ..Default::default()
            };
            let response = client.raw_compare_and_swap(request).await.unwrap().into_inner();
            let text = std::str::from_utf8(&response.previous_value).unwrap().to_owned();
            seen = (!response.previous_not_exist).then(|| text.parse().unwrap());
            if response.succeed {
                done += 1;
                seen = Some(seen.unwrap_or(0) + 1);
            }
        }
    };
    let context = store.context("counter");
    futures::future::join_all((0..16).map(|_| count(client.clone(), context.clone()))).await;
    assert_eq!(get(&store, &mut client.clone(), "counter").await.as_deref(), Some("320"));
}

#[tokio::test]
async fn ttl_is_refused() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    const TEXT: &str = "ttl is not enabled, but get put request with ttl";
    let context = store.context("k");
    let request = RawPutRequest { context: context.clone(), key: b("k"), ttl: 1, ..Default::default() };
    assert!(client.raw_put(request).await.unwrap().into_inner().error.contains(TEXT));
    let pairs = vec![pair("k", "v"), pair("l", "v")];
    let new =
        RawBatchPutRequest { context: context.clone(), pairs: pairs.clone(), ttls: vec![0, 5], ..Default::default() };
    assert!(client.raw_batch_put(new).await.unwrap().into_inner().error.contains(TEXT));
    let old = RawBatchPutRequest { context: context.clone(), pairs, ttl: 5, ..Default::default() };
    assert!(client.raw_batch_put(old).await.unwrap().into_inner().error.contains(TEXT));
    let request = RawCasRequest { context: context.clone(), key: b("k"), ttl: 1, ..Default::default() };
    assert!(client.raw_compare_and_swap(request).await.unwrap().into_inner().error.contains(TEXT));
    let request = RawGetKeyTtlRequest { context, key: b("k"), ..Default::default() };
    assert!(client.raw_get_key_ttl(request).await.unwrap().into_inner().error.contains("ttl is not enabled"));
    assert_eq!(get(&store, &mut client, "k").await, None);
}

#[tokio::test]
async fn checksums() {
    let store = TestStore::start(&["m"]).await;
    let mut client = store.client().await;
    put(&store, &mut client, "1234", "56789").await;
    let mut sum = async |ranges: &[(&str, &str)]| {
        let ranges = ranges.iter().map(|(start, end)| KeyRange { start_key: b(start), end_key: b(end) }).collect();
        let request = RawChecksumRequest { context: store.context("1"), ranges, ..Default::default() };
        let response = client.raw_checksum(request).await.unwrap().into_inner();
        assert_eq!((kind(&response.region_error), response.error.as_str()), ("none", ""));
        (response.checksum, response.total_kvs, response.total_bytes)
    };
    let one = 0x995D_C9BB_DF19_39FA;
    assert_eq!(sum(&[("", "")]).await, (one, 1, 9), "CRC-64/XZ of 123456789");
    assert_eq!(sum(&[("1", "2"), ("1", "2")]).await, (0, 2, 18), "pairs are summed by exclusive or");
    assert_eq!(sum(&[("2", "")]).await, (0, 0, 0));
    assert_eq!(sum(&[]).await, (0, 0, 0));
    put(&store, &mut client, "z", "in another region").await;
    let request = RawChecksumRequest { context: store.context("1"), ranges: vec![KeyRange::default()], algorithm: 0 };
    assert_eq!(client.raw_checksum(request.clone()).await.unwrap().into_inner().checksum, one);
    let unknown = RawChecksumRequest { algorithm: 9, ..request };
    assert!(client.raw_checksum(unknown).await.unwrap().into_inner().error.contains("algorithm 9 is unknown"));
}

/// client-java warms its connections up with these, and goes on whatever they give.
#[tokio::test]
async fn the_empty_key_is_a_key() {
    let store = TestStore::start(&["m"]).await;
    let mut client = store.client().await;
    assert_eq!(get(&store, &mut client, "").await, None);
    put(&store, &mut client, "", "v").await;
    assert_eq!(get(&store, &mut client, "").await.as_deref(), Some("v"));
    let request = RawCasRequest { context: store.context(""), previous_not_exist: true, ..Default::default() };
    assert!(!client.raw_compare_and_swap(request).await.unwrap().into_inner().succeed);
    let request = RawDeleteRequest { context: store.context(""), ..Default::default() };
    assert_eq!(client.raw_delete(request).await.unwrap().into_inner(), RawDeleteResponse::default());
    assert_eq!(get(&store, &mut client, "").await, None);
}

#[tokio::test]
async fn what_is_not_served_says_so() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    let statuses = [
        client.kv_get(GetRequest::default()).await.unwrap_err(),
        client.kv_prewrite(PrewriteRequest::default()).await.unwrap_err(),
        client.unsafe_destroy_range(UnsafeDestroyRangeRequest::default()).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!(status.code(), tonic::Code::Unimplemented);
        assert!(status.message().contains("raw requests only"), "{status}");
    }
    let answer = client.raw_coprocessor(RawCoprocessorRequest::default()).await.unwrap().into_inner();
    assert!(answer.error.contains("no coprocessors"));
}

#[tokio::test]
async fn health_feedback_names_the_store_and_grows() {
    let store = TestStore::start(&[]).await;
    let mut client = store.client().await;
    let mut feedback = async || {
        let response = client.get_health_feedback(GetHealthFeedbackRequest::default()).await.unwrap().into_inner();
        response.health_feedback.unwrap()
    };
    let (first, second) = (feedback().await, feedback().await);
    assert_eq!((first.store_id, first.slow_score), (crate::support::STORE, 1));
    assert!(second.feedback_seq_no > first.feedback_seq_no);
}
