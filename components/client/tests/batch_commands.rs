//! Requests multiplexed on `BatchCommands` streams.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use client::{ClientConfig, RawClient};
use common::{Cluster, Fault, region, soon};
use futures::future::join_all;

async fn start(config: ClientConfig) -> (Cluster, RawClient) {
    let cluster = Cluster::start().await;
    let client = cluster
        .client(ClientConfig {
            batch_commands: true,
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(20),
            ..config
        })
        .await;
    (cluster, client)
}

fn key(number: usize) -> String {
    format!("{}{number}", ["a", "h", "z"][number % 3])
}

async fn write_and_read_many(client: &RawClient) {
    join_all((0..2000).map(|number| async move { client.put(key(number), number.to_string()).await.unwrap() })).await;
    let read = (0..2000).map(|number| async move { client.get(key(number)).await.unwrap() });
    for (number, value) in join_all(read).await.into_iter().enumerate() {
        assert_eq!(value, Some(Bytes::from(number.to_string())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_gets_its_own_answer() {
    let (cluster, client) = start(ClientConfig { connections_per_store: 3, ..Default::default() }).await;
    write_and_read_many(&client).await;
    assert_eq!(cluster.state.lock().writes, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_may_come_in_any_order() {
    let (cluster, client) = start(ClientConfig::default()).await;
    cluster.state.lock().reverses_replies = true;
    write_and_read_many(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_on_requests_in_flight_only_makes_them_wait() {
    let (_cluster, client) =
        start(ClientConfig { batch_max_in_flight: 3, batch_max_requests: 2, ..Default::default() }).await;
    soon(write_and_read_many(&client)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_command_goes_by_itself() {
    let (cluster, client) = start(ClientConfig::default()).await;
    assert!(client.compare_and_swap("h", None, "v").await.unwrap().swapped);
    client.delete("h").await.unwrap();
    client.batch_put([("a", "1"), ("z", "2")]).await.unwrap();
    assert_eq!(client.batch_get(["a", "h", "z"]).await.unwrap().len(), 2);
    assert_eq!(cluster.state.lock().asked_for("cas"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_is_opened_again() {
    let (cluster, client) = start(ClientConfig::default()).await;
    client.put("h", "1").await.unwrap();
    cluster.fail_next(Fault::AnswerLost);
    soon(client.put("h", "2")).await.unwrap();
    assert_eq!(soon(client.get("h")).await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(cluster.state.lock().writes, 3, "the second was repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_gives_up_its_requests_in_time() {
    let config = ClientConfig {
        attempt_timeout: Duration::from_millis(50),
        request_timeout: Duration::from_millis(400),
        batch_max_in_flight: 1,
        ..Default::default()
    };
    let (cluster, client) = start(config).await;
    cluster.fail_next(Fault::Silence);
    // Everything behind it on the same stream of this fake is stuck too.
    assert!(soon(client.get("h")).await.is_err());
    assert!(soon(client.get("h")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_store_is_left() {
    let (mut cluster, client) = start(ClientConfig::default()).await;
    client.put("h", "1").await.unwrap();
    cluster.kill(2);
    cluster.state.lock().set_regions(vec![
        region(1, "", "g", 1, 1),
        region(2, "g", "p", 1, 3),
        region(3, "p", "", 1, 3),
    ]);
    soon(client.put("h", "2")).await.unwrap();
    assert_eq!(soon(client.get("h")).await.unwrap().as_deref(), Some(&b"2"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_do_not_share_a_frame() {
    let (_cluster, client) = start(ClientConfig { batch_max_bytes: 1 << 20, ..Default::default() }).await;
    // The fake's server takes frames of 4 MiB: more than two of these would break the stream.
    let puts = (0..20).map(|number| client.put(format!("h{number}"), vec![7; 1_500_000]));
    for put in join_all(puts).await {
        put.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_with_a_refusal_leaves_the_outcome_of_its_writes_open() {
    let (_cluster, client) = start(ClientConfig { repeat_unknown_writes: false, ..Default::default() }).await;
    let lost = client.put("h", vec![0; 5 << 20]).await.unwrap_err();
    assert!(matches!(lost, client::ClientError::Undetermined { .. }), "another request may have caused it: {lost}");
}
