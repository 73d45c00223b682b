//! What the raw client does when regions change, stores die and answers get lost.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use client::{ClientConfig, ClientError, PdClient, RawClient, ScanOptions};
use common::{Cluster, Fault, error, region, soon};
use proto::{errorpb, metapb};
use types::KeyRange;

fn quick() -> ClientConfig {
    ClientConfig { backoff_min: Duration::from_millis(1), backoff_max: Duration::from_millis(20), ..Default::default() }
}

/// Whose first pause is longer than any deadline.
fn patient() -> ClientConfig {
    let hour = Duration::from_secs(3600);
    ClientConfig { backoff_min: hour, backoff_max: hour, ..Default::default() }
}

async fn start() -> (Cluster, RawClient) {
    let cluster = Cluster::start().await;
    let client = cluster.client(quick()).await;
    (cluster, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_at_the_leader_is_followed() {
    let (cluster, client) = start().await;
    client.put("h", "1").await.unwrap();
    {
        let mut state = cluster.state.lock();
        state.is_pd_stale = true;
        state.asked.clear();
        state.set_regions(vec![region(1, "", "g", 1, 1), region(2, "g", "p", 1, 3), region(3, "p", "", 1, 3)]);
    }
    client.put("h", "2").await.unwrap();
    client.put("h", "3").await.unwrap();
    assert_eq!(cluster.state.lock().asked, ["2 put", "3 put", "3 put"], "the hint is remembered");
    assert_eq!(cluster.state.lock().lookups, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hint_the_other_peers_are_asked() {
    let (cluster, client) = start().await;
    client.put("h", "1").await.unwrap();
    {
        let mut state = cluster.state.lock();
        state.is_pd_stale = true;
        state.asked.clear();
        state.set_regions(vec![region(2, "", "", 1, 1)]);
        state.regions[0].descriptor.range = KeyRange::new("g", "p");
    }
    for _ in 0..2 {
        cluster.fail_next(error(|error| error.not_leader = Some(errorpb::NotLeader { region_id: 2, leader: None })));
    }
    client.put("h", "2").await.unwrap();
    assert_eq!(cluster.state.lock().asked, ["2 put", "3 put", "1 put"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_is_learned_from_the_store_that_knows_it() {
    let (cluster, client) = start().await;
    client.batch_put([("h", "1"), ("o", "1")]).await.unwrap();
    let lookups = {
        let mut state = cluster.state.lock();
        state.is_pd_stale = true;
        state.set_regions(vec![
            region(1, "", "g", 1, 1),
            region(2, "g", "m", 2, 2),
            region(4, "m", "p", 2, 2),
            region(3, "p", "", 1, 3),
        ]);
        state.lookups
    };
    client.put("o", "2").await.unwrap();
    client.batch_put([("h", "3"), ("o", "3"), ("z", "3")]).await.unwrap();
    let pairs = client.scan(KeyRange::all(), 10, ScanOptions::default()).await.unwrap();
    assert_eq!(pairs.len(), 3);
    assert_eq!(cluster.state.lock().lookups, lookups, "the placement driver was not asked: it does not know yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_grouped_anew_after_a_split() {
    let (cluster, client) = start().await;
    client.batch_put([("h", "1"), ("o", "1")]).await.unwrap();
    cluster.state.lock().set_regions(vec![
        region(1, "", "g", 1, 1),
        region(2, "g", "m", 2, 1),
        region(4, "m", "p", 2, 3),
        region(3, "p", "", 1, 3),
    ]);
    client.batch_put([("h", "2"), ("o", "2")]).await.unwrap();
    let pairs = client.batch_get(["h", "o"]).await.unwrap();
    assert!(pairs.iter().all(|(_, value)| value == "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_promise_no_effect_are_tried_again_even_for_a_swap() {
    let (cluster, client) = start().await;
    let errors: [fn(&mut errorpb::Error); 8] = [
        |error| error.server_is_busy = Some(errorpb::ServerIsBusy::default()),
        |error| error.stale_command = Some(errorpb::StaleCommand {}),
        |error| error.region_not_found = Some(errorpb::RegionNotFound { region_id: 2 }),
        |error| error.key_not_in_region = Some(errorpb::KeyNotInRegion::default()),
        |error| error.store_not_match = Some(errorpb::StoreNotMatch::default()),
        |error| error.mismatch_peer_id = Some(errorpb::MismatchPeerId::default()),
        |error| error.epoch_not_match = Some(errorpb::EpochNotMatch::default()),
        |_| {},
    ];
    for (number, change) in errors.into_iter().enumerate() {
        cluster.fail_next(error(change));
        let key = format!("h{number}");
        assert!(client.compare_and_swap(key, None, "v").await.unwrap().swapped);
    }
    assert_eq!(cluster.state.lock().asked_for("cas"), 16);
    assert_eq!(cluster.state.lock().writes, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_is_left_and_found_again_where_it_moved() {
    let (mut cluster, client) = start().await;
    client.put("h", "1").await.unwrap();
    cluster.kill(2);
    {
        let mut state = cluster.state.lock();
        state.is_pd_stale = true;
        state.set_regions(vec![region(1, "", "g", 1, 1), region(2, "g", "p", 1, 1), region(3, "p", "", 1, 3)]);
    }
    soon(client.put("h", "2")).await.unwrap();
    assert_eq!(soon(client.get("h")).await.unwrap().as_deref(), Some(&b"2"[..]));

    cluster.restart(2).await;
    cluster.state.lock().set_regions(vec![region(1, "", "g", 1, 2), region(2, "g", "p", 1, 2)]);
    soon(client.put("h", "3")).await.unwrap();
    assert_eq!(cluster.state.lock().asked.last().map(String::as_str), Some("2 put"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_surely_never_left_is_tried_again() {
    let (mut cluster, client) = start().await;
    cluster.kill(2);
    {
        let mut state = cluster.state.lock();
        state.is_pd_stale = true;
        state.set_regions(vec![region(1, "", "g", 1, 1), region(2, "g", "p", 1, 1), region(3, "p", "", 1, 3)]);
    }
    assert!(soon(client.compare_and_swap("h", None, "1")).await.unwrap().swapped, "store 2 is asked first, in vain");
    assert_eq!(cluster.state.lock().asked, ["3 cas", "1 cas"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_whose_answer_is_lost_is_undetermined_and_done_once() {
    let (cluster, client) = start().await;
    cluster.fail_next(Fault::AnswerLost);
    let lost = client.compare_and_swap("h", None, "v").await.unwrap_err();
    assert!(matches!(lost, ClientError::Undetermined { .. }) && !lost.had_no_effect(), "{lost}");
    assert_eq!(cluster.state.lock().writes, 1);
    assert_eq!(cluster.state.lock().asked_for("cas"), 1);

    cluster.fail_next(Fault::Text("outcome unknown: the store stops"));
    let unknown = client.compare_and_swap("h", None, "v").await.unwrap_err();
    assert!(matches!(unknown, ClientError::Undetermined { .. }), "{unknown}");
    cluster.fail_next(error(|error| error.undetermined_result = Some(errorpb::UndeterminedResult::default())));
    let unknown = client.compare_and_swap("h", None, "v").await.unwrap_err();
    assert!(matches!(unknown, ClientError::Undetermined { .. }), "{unknown}");
    assert_eq!(cluster.state.lock().asked_for("cas"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_answer_is_lost_is_repeated_only_when_allowed() {
    let (cluster, client) = start().await;
    cluster.fail_next(Fault::AnswerLost);
    client.put("h", "1").await.unwrap();
    assert_eq!(cluster.state.lock().writes, 2);

    let strict = cluster.client(ClientConfig { repeat_unknown_writes: false, ..quick() }).await;
    cluster.fail_next(Fault::AnswerLost);
    let lost = strict.put("h", "2").await.unwrap_err();
    assert!(matches!(lost, ClientError::Undetermined { .. }), "{lost}");
    assert_eq!(cluster.state.lock().writes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_falls_silent_is_given_up_in_time() {
    let cluster = Cluster::start().await;
    let config = ClientConfig { attempt_timeout: Duration::from_millis(50), ..quick() };
    let client = cluster.client(config).await;
    client.put("h", "1").await.unwrap();
    cluster.fail_next(Fault::Silence);
    assert_eq!(soon(client.get("h")).await.unwrap().as_deref(), Some(&b"1"[..]));
    cluster.fail_next(Fault::Silence);
    let silent = soon(client.compare_and_swap("h", None, "2")).await.unwrap_err();
    assert!(matches!(silent, ClientError::Undetermined { .. }), "{silent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_serves_times_out_with_the_cause_and_without_effect() {
    let (cluster, _) = start().await;
    let client = cluster.client(patient()).await;
    cluster.fail_next(error(|error| error.stale_command = Some(errorpb::StaleCommand {})));
    let late = soon(client.put("h", "1")).await.unwrap_err();
    assert!(matches!(&late, ClientError::TimedOut { cause } if cause == "on order"), "{late}");
    assert!(late.had_no_effect());
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_that_point_in_a_circle_do_not_make_a_storm() {
    let (cluster, _) = start().await;
    let client = cluster.client(patient()).await;
    for number in 0..100 {
        let store = 2 + (number + 1) % 2;
        let leader = Some(metapb::Peer { id: 20 + store, store_id: store, ..Default::default() });
        cluster.fail_next(error(|error| error.not_leader = Some(errorpb::NotLeader { region_id: 2, leader })));
    }
    let late = soon(client.put("h", "1")).await.unwrap_err();
    assert!(matches!(late, ClientError::TimedOut { .. }), "{late}");
    assert_eq!(cluster.state.lock().asked, ["2 put", "3 put"], "the second hint in a row waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_the_caller_at_once() {
    let (cluster, client) = start().await;
    cluster.fail_next(Fault::Text("ttl is not enabled"));
    let refused = client.put("h", "1").await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { reason } if reason == "ttl is not enabled"), "{refused}");
    cluster.fail_next(error(|error| error.raft_entry_too_large = Some(errorpb::RaftEntryTooLarge::default())));
    assert!(matches!(client.batch_put([("h", "1")]).await, Err(ClientError::Refused { .. })));
    assert_eq!(cluster.state.lock().asked.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_not_known_yet_is_waited_for() {
    let (cluster, client) = start().await;
    let regions = std::mem::take(&mut cluster.state.lock().pd_regions);
    let pd: PdClient = cluster.pd_client().await;
    assert_eq!(pd.get_region(&"h".into()).await.unwrap(), None);
    let putting = tokio::spawn(async move { client.put("h", "1").await });
    common::eventually("it was asked for", || cluster.state.lock().lookups >= 3).await;
    cluster.state.lock().pd_regions = regions;
    soon(putting).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_here_or_there() {
    let (cluster, client) = start().await;
    // The fake's server takes 4 MiB.
    let there = client.put("h", vec![0; 5 << 20]).await.unwrap_err();
    assert!(matches!(&there, ClientError::Refused { reason } if reason.contains("OutOfRange")), "{there}");
    let here = client.batch_put([("h", vec![0; 17 << 20])]).await.unwrap_err();
    assert!(matches!(&here, ClientError::Refused { reason } if reason.contains("bound of 16777216")), "{here}");
    assert_eq!(cluster.state.lock().asked.len(), 0);
}
