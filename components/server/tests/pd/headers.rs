//! What holds for every call.

use std::collections::BTreeMap;

use proto::pdpb::*;
use tonic::Code;

use crate::common::{CLUSTER, MemJournal, Port, header, soon};
use crate::every_call;

const FOR_ANYONE: [&str; 2] = ["get_members", "get_cluster_info"];

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_name_the_cluster_is_refused() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let other = RequestHeader { cluster_id: CLUSTER + 1, ..Default::default() };
    for header in [None, Some(RequestHeader::default()), Some(other)] {
        for (call, ending) in every_call::make(&mut client, header).await {
            match ending {
                Ok(header) => {
                    assert!(FOR_ANYONE.contains(&call), "{call}");
                    assert_eq!((header.cluster_id, header.error), (CLUSTER, None));
                }
                Err(status) => assert_eq!(status.code(), Code::FailedPrecondition, "{call}: {status}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_does_not_lead_says_so() {
    let port = Port::idle(MemJournal::default(), |services| services).await;
    let mut client = port.client().await;
    let check = async |client: &mut _| {
        for (call, ending) in every_call::make(client, header()).await {
            let status = ending.expect_err(call);
            assert_eq!(status.code(), Code::Unavailable, "{call}: {status}");
            assert!(status.message().contains("not leader"), "{call}: {status}");
        }
    };
    check(&mut client).await;
    assert!(port.services.check_serving().await.is_err());
    port.elect();
    assert!(port.services.check_serving().await.is_ok());
    port.depose();
    check(&mut client).await;
}

/// A header's error, in words.
fn words(header: &ResponseHeader) -> &'static str {
    header.error.as_ref().map_or("", |error| error.r#type().as_str_name())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_layout_is_not_bootstrapped() {
    let port = Port::start().await;
    let mut client = port.client().await;
    for (call, ending) in every_call::make(&mut client, header()).await {
        let header = ending.unwrap();
        assert_eq!(header.cluster_id, CLUSTER);
        let expected = match call {
            "get_members" | "get_cluster_info" | "get_min_ts" | "is_bootstrapped" | "alloc_id" | "tso" => "",
            "get_gc_state" | "advance_txn_safe_point" | "advance_gc_safe_point" => "",
            "report_min_resolved_ts" | "report_buckets" => "",
            "put_store" | "store_heartbeat" | "region_heartbeat" => "INVALID_VALUE",
            _ => "NOT_BOOTSTRAPPED",
        };
        assert_eq!(words(&header), expected, "{call}: {header:?}");
    }
}

/// What is refused says why; what succeeds says nothing, not even that it is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_has_no_error() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let refused = BTreeMap::from([
        ("bootstrap", "ALREADY_BOOTSTRAPPED"),
        ("put_store", "INVALID_VALUE"),
        ("get_store", "UNKNOWN"),
        ("store_heartbeat", "INVALID_VALUE"),
        ("region_heartbeat", "INVALID_VALUE"),
        ("ask_split", "INVALID_VALUE"),
        ("ask_batch_split", "INVALID_VALUE"),
        ("split_regions", "INVALID_VALUE"),
        ("split_and_scatter_regions", "INVALID_VALUE"),
        ("scatter_region", "REGION_NOT_FOUND"),
        ("get_operator", "REGION_NOT_FOUND"),
        ("update_service_gc_safe_point", "INVALID_VALUE"),
    ]);
    for (call, ending) in every_call::make(&mut client, header()).await {
        let header = ending.unwrap();
        let expected = refused.get(call).copied().unwrap_or_default();
        assert_eq!(words(&header), expected, "{call}: {header:?}");
        assert_eq!(header.error.is_some(), refused.contains_key(call), "{call}: not even OK");
        assert!(header.error.is_none_or(|error| !error.message.is_empty()), "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    every_call::make(&mut client, None).await;
    let text = port.registry.gather_text();
    for line in [
        r#"raftyard_pd_request_fail_total{type="region_heartbeat"} 1"#,
        r#"raftyard_pd_request_fail_total{type="timestamp"} 2"#,
        r#"raftyard_pd_request_in_flight{type="timestamp"} 0"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_can_be_dialled() {
    let port = Port::start().await;
    let answer = soon(port.client().await.get_members(GetMembersRequest::default())).await.unwrap().into_inner();
    let leader = answer.leader.unwrap();
    assert_eq!((leader.member_id, leader.name.as_str()), (77, "pd-1"));
    assert_eq!(leader.client_urls, std::slice::from_ref(&port.address));
    assert_eq!(answer.members, std::slice::from_ref(&leader));
    assert_eq!(answer.etcd_leader, Some(leader));
    let info = soon(port.client().await.get_cluster_info(GetClusterInfoRequest::default())).await.unwrap();
    assert_eq!(info.into_inner().service_modes, [ServiceMode::PdSvcMode as i32]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_services_close() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let mut timestamps = crate::common::talk!(client, tso);
    timestamps.ask(TsoRequest { header: header(), count: 1, ..Default::default() }).await;
    port.services.close();
    assert!(timestamps.end().await.is_ok());
    let heartbeats = crate::common::talk!(client, region_heartbeat);
    assert!(heartbeats.end().await.is_ok());
    let answer = soon(client.get_members(GetMembersRequest::default())).await;
    assert!(answer.is_ok(), "other calls are still answered");
}
