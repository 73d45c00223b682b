//! How stores of ours learn which regions they are born with (D14).

use proto::coordinator::{ConfirmBootstrapRequest, GetLayoutRequest};
use proto::pdpb::*;
use tonic::Code;

use crate::common::{CLUSTER, Port, get_layout, header, outcome, put_store, refused_as, soon, store};

fn confirm(store_id: u64) -> ConfirmBootstrapRequest {
    ConfirmBootstrapRequest { cluster_id: CLUSTER, store_id, instance: 10 + store_id }
}

async fn with_stores(port: &Port) {
    let mut client = port.client().await;
    soon(client.alloc_id(AllocIdRequest { header: header(), count: 3 })).await.unwrap();
    for id in 1..=3 {
        put_store(&mut client, store(id)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layout_is_handed_out_once_all_have_joined() {
    let port = Port::start().await;
    with_stores(&port).await;
    let (mut client, mut births) = (port.client().await, port.births().await);
    for id in [1, 2, 1] {
        let waiting = soon(births.get_layout(get_layout(id))).await.unwrap().into_inner();
        assert!(!waiting.ready && waiting.regions.is_empty());
    }
    let bootstrapped = soon(client.is_bootstrapped(IsBootstrappedRequest { header: header() })).await.unwrap();
    assert!(!bootstrapped.into_inner().bootstrapped);
    let third = soon(births.get_layout(get_layout(3))).await.unwrap().into_inner();
    let first = soon(births.get_layout(get_layout(1))).await.unwrap().into_inner();
    assert!(third.ready && first == third, "three replicas on three stores: each has them all");
    let keys: Vec<_> = third.regions.iter().map(|region| (&region.start_key[..], &region.end_key[..])).collect();
    assert_eq!(keys, [(&b""[..], &b"h"[..]), (b"h", b"q"), (b"q", b"")]);
    assert!(third.regions.iter().all(|region| region.peers.len() == 3));
    let bootstrapped = soon(client.is_bootstrapped(IsBootstrappedRequest { header: header() })).await.unwrap();
    assert!(bootstrapped.into_inner().bootstrapped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_confirmed_never_gets_a_layout_again() {
    let port = Port::laid_out().await;
    let mut births = port.births().await;
    let again = soon(births.get_layout(get_layout(1))).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert!(again.message().contains("has bootstrapped before"), "{again}");
    assert!(soon(births.confirm_bootstrap(confirm(1))).await.is_ok(), "repeating it is harmless");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_disks_stores_and_clusters_are_refused() {
    let port = Port::laid_out().await;
    let mut births = port.births().await;
    for (request, code, why) in [
        (GetLayoutRequest { instance: 99, ..get_layout(1) }, Code::FailedPrecondition, "this is instance 99"),
        (GetLayoutRequest { cluster_id: CLUSTER + 1, ..get_layout(1) }, Code::FailedPrecondition, "for cluster 8"),
        (GetLayoutRequest { instance: 0, ..get_layout(1) }, Code::InvalidArgument, "must not be 0"),
        (get_layout(9), Code::NotFound, "store 9 is unknown"),
    ] {
        let confirm = ConfirmBootstrapRequest {
            cluster_id: request.cluster_id,
            store_id: request.store_id,
            instance: request.instance,
        };
        let refusals = [
            soon(births.get_layout(request)).await.unwrap_err(),
            soon(births.confirm_bootstrap(confirm)).await.unwrap_err(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.code(), code, "{request:?}");
            assert!(refusal.message().contains(why), "{request:?}: {refusal}");
        }
    }
    port.depose();
    assert_eq!(soon(births.get_layout(get_layout(1))).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(soon(births.confirm_bootstrap(confirm(1))).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_may_not_bring_a_region_of_its_own() {
    let port = Port::start().await;
    let mut client = port.client().await;
    let request = || BootstrapRequest { header: header(), store: Some(store(1)), region: Some(Default::default()) };
    let early = soon(client.bootstrap(request())).await.unwrap().into_inner();
    assert_eq!(refused_as(early.header), ErrorType::NotBootstrapped);
    let port = Port::laid_out().await;
    let late = soon(port.client().await.bootstrap(request())).await.unwrap().into_inner();
    assert_eq!(refused_as(late.header), ErrorType::AlreadyBootstrapped);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layout_outlives_a_restart() {
    let port = Port::start().await;
    with_stores(&port).await;
    let mut births = port.births().await;
    let mut layout = None;
    for id in 1..=3 {
        layout = Some(soon(births.get_layout(get_layout(id))).await.unwrap().into_inner());
    }
    let port = port.restart().await;
    let after = soon(port.births().await.get_layout(get_layout(2))).await.unwrap().into_inner();
    assert_eq!(Some(after), layout);
    let ids = soon(port.client().await.alloc_id(AllocIdRequest { header: header(), count: 1 })).await.unwrap();
    let ids = ids.into_inner();
    outcome(ids.header).unwrap();
    assert!(ids.id > 3 + 12, "no id of the layout is given again");
}
