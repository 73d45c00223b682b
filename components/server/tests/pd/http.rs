//! The placement driver over HTTP, on the port of its gRPC.

use proto::pdpb::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use types::seed::Rng;

use crate::common::{Port, get_region, header, report, soon};
use crate::operators::{leader_on, reported, sync};

async fn raw(port: &Port, request: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(port.address.strip_prefix("http://").unwrap()).await.unwrap();
    // The server may hang up on garbage.
    drop(socket.write_all(request).await);
    let mut answer = Vec::new();
    drop(soon(socket.read_to_end(&mut answer)).await);
    answer
}

/// The status and the body of a call under `/pd/api/v1`.
pub async fn call(port: &Port, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = format!(
        "{method} /pd/api/v1{path} HTTP/1.1\r\nHost: pd\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = String::from_utf8(raw(port, request.as_bytes()).await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {answer}")))
}

async fn get(port: &Port, path: &str) -> Value {
    let (status, value) = call(port, "GET", path, "").await;
    assert_eq!(status, 200, "{path}: {value}");
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_listed_leave_and_stay() {
    let port = Port::laid_out().await;
    let (_client, _stream, _) = reported(&port).await;
    let all = get(&port, "/stores").await;
    assert_eq!((&all["count"], all["stores"][0]["store"]["address"].as_str()), (&json!(4), Some("127.0.0.1:20161")));
    let first = get(&port, "/store/1").await;
    assert_eq!((&first["store"]["state_name"], &first["status"]["leader_count"]), (&json!("Up"), &json!(3)));
    assert_eq!(first["status"]["region_count"], 3);
    let (status, _) = call(&port, "DELETE", "/store/3", "").await;
    assert_eq!(status, 200);
    let leaving = get(&port, "/store/3").await;
    assert_eq!(leaving["store"]["state_name"], "Offline");
    // Whatever it is that holds them up: they are all accounted for, and told why.
    let draining = &leaving["draining"];
    assert_eq!((&draining["regions"], &first["draining"]), (&json!(3), &Value::Null));
    for wait in draining["waiting"].as_array().unwrap() {
        assert!(wait["regions"].as_u64() > Some(0) && !wait["because"].as_str().unwrap().is_empty(), "{draining}");
    }
    assert_eq!(get(&port, "/stores?state=offline").await["count"], 1);
    let (status, why) = call(&port, "DELETE", "/store/2", "").await;
    assert_eq!(status, 409, "three replicas need three stores");
    assert!(why.as_str().unwrap().contains("add a store first"), "{why}");
    assert_eq!(call(&port, "POST", "/store/3/state?state=Up", "").await.0, 200);
    assert_eq!(get(&port, "/store/3").await["store"]["state_name"], "Up");
    assert_eq!(call(&port, "POST", "/store/3/state?state=Offline", "").await.0, 200);
    assert_eq!(call(&port, "DELETE", "/store/16", "").await.0, 409, "store 3's regions have nowhere else to go");
    for (path, expected) in [("/store/99", 404), ("/store/x", 400), ("/stores?state=nice", 400)] {
        assert_eq!(call(&port, "GET", path, "").await.0, expected, "{path}");
    }
    for path in ["/store/3/state", "/store/3/state?state=Tombstone", "/store/3/state?state=x"] {
        assert_eq!(call(&port, "POST", path, "").await.0, 400, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_found_by_id_and_by_key() {
    let port = Port::laid_out().await;
    let (_client, mut stream, regions) = reported(&port).await;
    let middle = &regions[1];
    let told = RegionHeartbeatRequest {
        approximate_size: 3 << 20,
        approximate_keys: 77,
        bytes_written: 5,
        down_peers: vec![PeerStats { peer: Some(middle.peers[leader_on(middle, 2)]), down_seconds: 40 }],
        ..report(middle, leader_on(middle, 1), 6)
    };
    stream.say(told).await;
    sync(&mut stream).await;
    let found = get(&port, &format!("/region/id/{}", middle.id)).await;
    assert_eq!((&found["start_key"], &found["end_key"]), (&json!("68"), &json!("71")));
    assert_eq!((&found["approximate_size"], &found["approximate_keys"]), (&json!(3), &json!(77)));
    assert_eq!((&found["leader"]["store_id"], &found["written_bytes"]), (&json!(1), &json!(5)));
    assert_eq!(found["down_peers"][0]["down_seconds"], 40);
    assert_eq!(get(&port, "/region/key/k").await, found);
    assert_eq!(get(&port, "/region/key/6B?format=hex").await, found);
    assert_eq!(get(&port, "/region/key/%68").await, found, "percent-encoded");
    assert_eq!(get(&port, "/region/id/9999").await, Value::Null);
    assert_eq!(get(&port, "/regions").await["count"], 3);
    let page = get(&port, "/regions?key=68&limit=1").await;
    assert_eq!((&page["count"], &page["regions"][0]), (&json!(1), &found));
    for path in ["/region/id/x", "/region/key/6?format=hex", "/regions?key=zz", "/regions?limit=-1"] {
        assert_eq!(call(&port, "GET", path, "").await.0, 400, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_asked_for_shown_cancelled_and_remembered() {
    let port = Port::laid_out().await;
    let (_client, _stream, regions) = reported(&port).await;
    let id = regions[0].id;
    let wish = json!({ "name": "transfer-leader", "region_id": id, "to_store_id": 2 }).to_string();
    assert_eq!(call(&port, "POST", "/operators", &wish).await, (200, json!("The operator is created.")));
    let (status, why) = call(&port, "POST", "/operators", &wish).await;
    assert!(status == 409 && why.as_str().unwrap().contains("under way"), "{why}");
    let text = get(&port, "/operators").await;
    assert!(text[0].as_str().unwrap().contains("admin-transfer-leader"), "{text}");
    let object = get(&port, "/operators?object").await;
    assert_eq!((&object[0]["region_id"], &object[0]["priority"]), (&json!(id), &json!("urgent")));
    let path = format!("/operators/{id}");
    assert_eq!(get(&port, &path).await["status"], "RUNNING");
    assert_eq!(call(&port, "DELETE", &path, "").await.0, 200);
    assert_eq!(call(&port, "DELETE", &path, "").await.0, 404);
    assert_eq!(get(&port, &path).await["status"], "CANCEL");
    let records = get(&port, "/operators/records?object=1").await;
    assert_eq!((records.as_array().unwrap().len(), &records[0]["status"]), (1, &json!("CANCEL")));
    assert_eq!(get(&port, "/operators/records?from=99999999999").await, json!([]));
    assert_eq!(call(&port, "GET", "/operators/9999", "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_make_no_sense_are_refused_with_the_way_out() {
    let port = Port::laid_out().await;
    let (mut client, _stream, regions) = reported(&port).await;
    let id = regions[0].id;
    for (wish, expected) in [
        (json!({ "name": "dance", "region_id": id }), 400),
        (json!({ "name": "add-peer", "region_id": id }), 400),
        (json!({ "name": "add-peer", "region_id": id, "store_id": 99 }), 404),
        (json!({ "name": "add-peer", "region_id": id, "store_id": 1 }), 409),
        (json!({ "name": "add-peer", "region_id": 9999, "store_id": 16 }), 404),
        (json!({ "name": "split-region", "region_id": id, "policy": "usekey" }), 400),
        (json!({ "name": "split-region", "region_id": id, "policy": "usekey", "keys": ["zz"] }), 400),
        (json!({ "name": "split-region", "region_id": id, "keys": ["FF"] }), 400),
        (json!({ "name": "split-region", "region_id": id, "policy": "by feeling" }), 400),
        (json!({ "name": "scatter-regions" }), 400),
        (json!({ "name": "scatter-region", "region_id": id, "group": "g".repeat(2000) }), 400),
        (json!({ "name": "transfer-leader", "region_id": -1 }), 422),
        (json!({ "region_id": 1 }), 422),
        (json!([]), 422),
    ] {
        let (status, why) = call(&port, "POST", "/operators", &wish.to_string()).await;
        assert_eq!(status, expected, "{wish}: {why}");
        assert!(why.as_str().is_some_and(|why| !why.is_empty()));
    }
    assert_eq!(call(&port, "POST", "/operators", "{").await.0, 400);
    let wish = json!({ "name": "split-region", "region_id": id, "policy": "approximate" });
    assert_eq!(call(&port, "POST", "/operators", &wish.to_string()).await.0, 200);
    let many = json!({ "name": "scatter-regions", "region_ids": [regions[1].id, 9999], "group": "g" });
    let (status, done) = call(&port, "POST", "/operators", &many.to_string()).await;
    assert_eq!((status, &done["failed-regions"]), (200, &json!([9999])));
    assert!(get_region(&mut client, "a").await.region.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_is_shown_changed_and_outlives_a_restart() {
    let port = Port::laid_out().await;
    let config = get(&port, "/config").await;
    assert_eq!(
        (&config["replication"]["max-replicas"], &config["schedule"]["max-store-down-time"]),
        (&json!(3), &json!("30m"))
    );
    assert_eq!(get(&port, "/config/replicate").await, config["replication"]);
    let post = async |path, body: Value| call(&port, "POST", path, &body.to_string()).await.0;
    assert_eq!(post("/config", json!({ "max-replicas": 5, "schedule.store-limit": "20" })).await, 200);
    assert_eq!(
        post("/config/replicate", json!({ "isolation-level": "zone", "location-labels": ["zone", "host"] })).await,
        200
    );
    assert_eq!(post("/config", json!({ "schedule": { "halt-scheduling": true } })).await, 200);
    for wrong in [
        json!({}),
        json!([]),
        json!({ "max-replicas": 99 }),
        json!({ "max-replicas": null }),
        json!({ "max-replicas": { "a": 1 } }),
        json!({ "no-such-setting": 1 }),
        json!({ "location-labels": [1, 2] }),
        json!({ "store-limit": 30, "max-replicas": "many" }),
    ] {
        let status = post("/config", wrong.clone()).await;
        assert!([400, 422].contains(&status), "{wrong}: {status}");
    }
    assert_eq!(post("/config/schedule", json!({ "max-replicas": 1 })).await, 400, "it is not of that section");
    let port = port.restart().await;
    let config = get(&port, "/config").await;
    assert_eq!(
        (&config["replication"]["max-replicas"], &config["replication"]["isolation-level"]),
        (&json!(5), &json!("zone"))
    );
    assert_eq!(
        (&config["schedule"]["store-limit"], &config["schedule"]["halt-scheduling"]),
        (&json!(20), &json!(true))
    );
    let mut client = port.client().await;
    let cluster = GetClusterConfigRequest { header: header() };
    let cluster = soon(client.get_cluster_config(cluster)).await.unwrap().into_inner().cluster.unwrap();
    assert_eq!(cluster.max_peer_count, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_lead_says_so() {
    let port = Port::laid_out().await;
    port.depose();
    for path in ["/stores", "/regions", "/operators", "/config"] {
        let (status, why) = call(&port, "GET", path, "").await;
        assert!(status == 503 && why.as_str().unwrap().contains("not leader"), "{path}: {status} {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_path_no_method_or_no_http_is_refused() {
    let port = Port::laid_out().await;
    assert_eq!(call(&port, "GET", "/nonsense", "").await.0, 404);
    assert_eq!(call(&port, "PUT", "/stores", "").await.0, 405);
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    let refused = raw(
        &port,
        format!("POST /pd/api/v1/operators HTTP/1.1\r\nHost: pd\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{large}", large.len()).as_bytes(),
    )
    .await;
    assert!(refused.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&refused));
    let mut rng = Rng::new(7);
    for _ in 0..200 {
        let noise: String = (0..rng.below(60)).map(|_| char::from(33 + rng.below(90) as u8)).collect();
        let method = ["GET", "POST", "DELETE", "PUT"][rng.below(4) as usize];
        let path = ["/operators", "/store/", "/region/key/", "/config", "/regions?key="][rng.below(5) as usize];
        let request = format!(
            "{method} /pd/api/v1{path}{noise} HTTP/1.1\r\nHost: pd\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{noise}",
            noise.len()
        );
        drop(raw(&port, request.as_bytes()).await);
    }
    assert_eq!(get(&port, "/stores").await["count"], 3);
    assert_eq!(get(&port, "/operators").await, json!([]));
    assert!(get_region(&mut port.client().await, "a").await.region.is_some(), "gRPC on the same port goes on");
}
