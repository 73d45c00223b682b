//! A store loses its disk and comes back with an empty one, at its old address.

use std::fs;

use client::RegionRoute;
use proto::kvrpcpb::{Context, RawGetRequest};
use proto::metapb;
use proto::tikvpb::tikv_client::TikvClient;
use serde_json::json;
use tonic::transport::Endpoint;
use types::StoreId;

use crate::ending::{Clients, check_logs, check_same, stop};
use crate::placement::Placement;
use crate::restless;
use crate::support::Cluster;
use crate::support::process::Process;

/// What a store says whose address belongs to another.
const TAKEN: &str = "belongs to store";

/// Three stores and a spare one. One of the three is wiped; the spare one takes its place, and later the wiped one, come
/// back as another, takes the place of a second one that is lost for good.
pub async fn store() {
    let mut cluster = Cluster::start(restless().setting("RAFTSTORE__MAX_PEER_DOWN_MS", 1000)).await;
    let placement = Placement::of(&cluster).await;
    placement.configure(json!({ "max-store-down-time": "3s" })).await;
    let clients = Clients::start(&cluster).await;
    clients.progress().await;
    cluster.add_store().await;

    let (old, before) = (placement.id(&cluster.stores[0]).await, placement.routes().await.unwrap());
    wipe(&mut cluster.stores[0]);
    // Its id, its votes and its data were one. With the address alone it is nobody, and must not pass for who it was (D14).
    refused(&mut cluster.stores[0]).await;
    let others = placement.ids(&cluster.stores[1..]).await;
    placement.settled_on(&others).await;
    clients.progress().await;
    refused(&mut cluster.stores[0]).await;

    placement.let_leave(old).await;
    placement.gone(old).await;
    cluster.restart(0).await;
    let new = placement.id(&cluster.stores[0]).await;
    assert!(new > old, "the store at the old address is {new}, and was {old}");
    for route in &before {
        never_answers_for(&cluster.stores[0], old, route).await;
    }

    let lost = placement.id(&cluster.stores[1]).await;
    wipe(&mut cluster.stores[1]);
    let mut wanted = others;
    wanted.remove(&lost);
    wanted.insert(new);
    placement.settled_on(&wanted).await;

    let page = clients.judge(&cluster).await;
    cluster.caught_up().await;
    check_logs(&cluster);
    check_same(&stop(&mut cluster.stores).await, &page);
}

fn wipe(store: &mut Process) {
    store.kill();
    fs::remove_dir_all(&store.data_dir).unwrap();
}

/// Starts a store, which must find out that it is not wanted, and end.
async fn refused(store: &mut Process) {
    store.start();
    let ended = store.end().await;
    assert!(!ended.status.success() && ended.log.contains(TAKEN), "{}:\n{}", ended.status, ended.log);
}

/// Asks a process as clients do that remember the store that it was. It must say that it is another.
async fn never_answers_for(process: &Process, old: StoreId, route: &RegionRoute) {
    let region = &route.descriptor;
    let peer = region.peer_on(old).expect("each of the first three stores had a peer of every region");
    let context = Context {
        region_id: region.id.0,
        region_epoch: Some(region.epoch.into()),
        peer: Some(metapb::Peer { id: peer.id.0, store_id: old.0, ..metapb::Peer::default() }),
        ..Context::default()
    };
    let endpoint = Endpoint::from_shared(format!("http://{}", process.address)).unwrap();
    let mut stub = TikvClient::new(endpoint.connect().await.unwrap());
    let request = RawGetRequest { context: Some(context), key: region.range.start.clone(), ..Default::default() };
    let answer = stub.raw_get(request).await.unwrap().into_inner();
    let error = answer.region_error.clone().unwrap_or_default();
    assert!(error.store_not_match.is_some(), "{process} answers {answer:?}", process = process.name);
}
