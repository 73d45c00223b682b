//! Every path of the status server, over a socket.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use types::LogIndex;

use crate::support::{TestStore, b};
use proto::kvrpcpb::RawPutRequest;
use region::Inconsistency;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.content_type, "application/json");
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(store: &TestStore, method: &str, path: &str) -> Answer {
    send(store, method, path, None).await
}

async fn send(store: &TestStore, method: &str, path: &str, body: Option<Value>) -> Answer {
    let mut stream = TcpStream::connect(store.http).await.unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n");
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    if !body.is_empty() {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    request += &body;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
    };
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        content_type: header("content-type").map(|(_, value)| value.to_owned()).unwrap_or_default(),
        body: body.to_owned(),
    }
}

async fn get(store: &TestStore, path: &str) -> Answer {
    ask(store, "GET", path).await
}

#[tokio::test]
async fn status_and_config() {
    let store = TestStore::start(&["m"]).await;
    let status = get(&store, "/status").await;
    let expected = json!({
        "version": "8.5.6", "cluster_id": 7, "store_id": 3, "state": "serving", "start_timestamp": 1_700_000_000_u64,
        "regions": 2, "leaders": 2, "replaying": 0, "differing_regions": [],
    });
    assert_eq!((status.status, status.json()), (200, expected));
    let config = get(&store, "/config").await;
    assert_eq!((config.status, config.json()), (200, json!({ "raftstore": { "pollers": 1 } })));
}

#[tokio::test]
async fn a_store_lives_longer_than_it_is_ready() {
    let mut store = TestStore::start(&[]).await;
    assert_eq!(get(&store, "/livez").await.status, 200);
    let ready = get(&store, "/readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true })));
    store.stop();
    assert_eq!(get(&store, "/livez").await.status, 200);
    let ready = get(&store, "/readyz").await;
    assert_eq!((ready.status, ready.json()), (503, json!({ "ready": false })));
    assert_eq!(get(&store, "/status").await.json()["state"], "stopped");
}

#[tokio::test]
async fn regions() {
    let store = TestStore::start(&["m"]).await;
    let regions = get(&store, "/regions").await.json();
    assert_eq!(regions.as_array().unwrap().len(), 2);
    let first = &store.regions[0];
    let peer = json!({ "id": first.peers[0].id.0, "store_id": 3, "role": "voter" });
    let descriptor = json!({
        "id": first.id.0, "start_key": "", "end_key": "6D",
        "epoch": { "conf_ver": 1, "version": 1 }, "peers": [peer],
    });
    assert_eq!(regions[0]["region"], descriptor);
    assert_eq!((&regions[0]["role"], &regions[0]["leader"]), (&json!("leader"), &peer));

    for path in ["regions", "region"] {
        let answer = get(&store, &format!("/{path}/{}", first.id)).await;
        let region = answer.json();
        assert_eq!((answer.status, &region["region"]), (200, &descriptor));
        assert_eq!(region["applied_index"], region["last_index"]);
        assert_eq!(region["members"][0]["peer"], peer);
    }

    let absent = get(&store, "/region/5").await;
    assert_eq!((absent.status, absent.json()), (404, json!({ "error": "region 5 is not here" })));
    for wrong in ["/region/five", "/region/-1", "/region/99999999999999999999"] {
        assert_eq!(get(&store, wrong).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_errors_in_json() {
    let store = TestStore::start(&[]).await;
    for path in ["/", "/metric", "/region", "/region/", "/debug/pprof"] {
        let answer = get(&store, path).await;
        assert_eq!((answer.status, answer.json()), (404, json!({ "error": "no such path" })), "{path}");
    }
    let answer = ask(&store, "POST", "/config").await;
    assert_eq!((answer.status, answer.json()), (405, json!({ "error": "use GET" })));
    let answer = ask(&store, "GET", "/compact").await;
    assert_eq!((answer.status, answer.json()), (405, json!({ "error": "use POST" })));
}

#[tokio::test]
async fn orders_that_are_wrong_are_refused() {
    let store = TestStore::start(&["m"]).await;
    let region = |order: &str| format!("/regions/{}/{order}", store.regions[1].id);
    let split = async |keys: Value| send(&store, "POST", &region("split"), Some(json!({ "keys": keys }))).await;
    let wrong = [json!(["6"]), json!(["zz"]), json!([]), json!(["61"])];
    for keys in wrong {
        assert_eq!(split(keys.clone()).await.status, 400, "{keys}");
    }
    for body in [json!({}), json!({ "keys": "6E" }), json!({ "keys": ["6E"], "more": 1 })] {
        let answer = send(&store, "POST", &region("split"), Some(body.clone())).await;
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.body);
    }
    let answer = split(json!(["6D"])).await.json();
    assert_eq!(answer["regions"].as_array().unwrap().len(), 1, "it begins there already: {answer}");
    store.ids.are_out.store(true, Ordering::Relaxed);
    let answer = split(json!(["6E"])).await;
    assert_eq!((answer.status, answer.json()["error"].as_str().unwrap().contains("no ids")), (503, true));

    for (path, status) in [
        ("/regions/5/split", 415),
        ("/regions/5/transfer?to_store=1", 404),
        ("/regions/5/consistency-check", 404),
        ("/regions/x/consistency-check", 400),
        (&region("transfer"), 400),
        (&region("transfer?to_store=9"), 400),
        ("/compact?start_key=6", 400),
        ("/compact?from=6D", 400),
    ] {
        let answer = ask(&store, "POST", path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.json()["error"].is_string(), "{path}: {}", answer.body);
    }
    assert_eq!(get(&store, "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_region_is_split_on_request() {
    let store = TestStore::start(&["m"]).await;
    let path = format!("/regions/{}/split", store.regions[0].id);
    let answer = send(&store, "POST", &path, Some(json!({ "keys": ["6B", "63", "6b"] }))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let parts = answer.json()["regions"].clone();
    let ends: Vec<_> = parts.as_array().unwrap().iter().map(|part| part["end_key"].as_str().unwrap()).collect();
    assert_eq!(ends, ["63", "6B", "6D"]);
    assert_eq!(parts[2]["id"], store.regions[0].id.0, "the region keeps its right end");
    let made = store.ids.made.lock().clone();
    assert_eq!(made[0].iter().map(|region| region.id.0).collect::<Vec<_>>(), [5001, 5003, store.regions[0].id.0]);
    assert_eq!(made.len(), 1);
    let regions = get(&store, "/regions").await.json();
    assert_eq!(regions.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn replicas_are_compared_on_request_and_shown_when_they_differ() {
    let store = TestStore::start(&[]).await;
    let region = &store.regions[0];
    let answer = ask(&store, "POST", &format!("/regions/{}/consistency-check", region.id)).await;
    assert_eq!((answer.status, answer.json()), (202, json!({ "region_id": region.id.0 })));
    store.differing.add(Inconsistency {
        descriptor: Arc::new(region.clone()),
        peer: region.peers[0].id,
        index: LogIndex(9),
        ours: 0xAB,
        leaders: 0xCD,
    });
    let shown = get(&store, "/status").await.json()["differing_regions"].clone();
    let expected = json!([{
        "region_id": region.id.0, "start_key": "", "end_key": "", "peer_id": region.peers[0].id.0, "index": 9,
        "hash": "00000000000000ab", "leaders_hash": "00000000000000cd",
    }]);
    assert_eq!(shown, expected);
    store.differing.forget(region.id);
    assert_eq!(get(&store, "/status").await.json()["differing_regions"], json!([]));
    assert_eq!(get(&store, "/snapshots").await.json(), json!([]));
}

#[tokio::test]
async fn compaction() {
    let store = TestStore::start(&[]).await;
    for path in ["/compact", "/compact?start_key=6D&end_key=6E"] {
        let answer = ask(&store, "POST", path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.json()["disk_bytes_after"].is_u64());
    }
}

#[tokio::test]
async fn metrics_are_what_prometheus_takes() {
    let store = TestStore::start(&[]).await;
    let put = RawPutRequest { context: store.context("k"), key: b("k"), ..Default::default() };
    store.client().await.raw_put(put).await.unwrap();
    let answer = get(&store, "/metrics").await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let value = |line: &str| {
        let found = answer.body.lines().find_map(|found| found.strip_prefix(line));
        found.unwrap_or_else(|| panic!("{line} is missing")).trim().parse::<f64>().unwrap()
    };
    assert_eq!(value(r#"raftyard_grpc_msg_duration_seconds_count{type="raw_put",store="3"}"#), 1.0);
    assert_eq!(value(r#"raftyard_grpc_msg_in_flight{type="raw_put",store="3"}"#), 0.0);
    assert_eq!(value(r#"raftyard_leaders{store="3"}"#), 1.0);
    assert!(value(r#"raftyard_engine_log_sync_total{store="3"}"#) >= 1.0);
    check_by_promtool(&answer.body);
}

/// Prometheus' own linter, where it is installed.
fn check_by_promtool(metrics: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = promtool.spawn() else {
        println!("promtool is not installed: the metrics were not checked by it");
        return;
    };
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
}
