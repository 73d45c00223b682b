//! How stores found a cluster, and join one.

use proto::metapb;
use proto::pdpb::ErrorType;
use server::node::NodeError;

use crate::cluster::{CLUSTER, Cluster, on_news_only};
use crate::pd::{ScriptedPd, epoch, voter};

#[test]
fn the_first_store_founds_the_cluster_and_others_join_it_empty() {
    let mut cluster = Cluster::empty(on_news_only);
    cluster.add();
    let calls = cluster.pd.with(|state| state.calls.clone());
    let expected = ["AllocID", "PutStore", "AllocID", "AllocID", "Bootstrap", "PutStore"];
    assert_eq!(calls[..6], expected);
    let region = cluster.first_region();
    let heartbeat = cluster.pd.region(region);
    assert_eq!(epoch(&heartbeat), (1, 1));
    assert_eq!(heartbeat.leader.map(|leader| leader.store_id), Some(cluster.id(0)), "it leads at once");

    cluster.add();
    let (first, second) = (cluster.id(0), cluster.id(1));
    for (store, regions) in [(first, 1), (second, 0)] {
        cluster.pd.wait("the store's heartbeat", |state| {
            state.stats.iter().any(|stats| stats.store_id == store && stats.region_count == regions).then_some(())
        });
    }
    let (stores, bootstraps) = cluster
        .pd
        .with(|state| (state.stores.clone(), state.calls.iter().filter(|call| **call == "Bootstrap").count()));
    assert_eq!((stores.len(), bootstraps), (2, 1));
    assert_eq!(stores[&second].version, "8.5.6");
    assert_eq!(stores[&second].status_address, cluster.store(1).status_address());
    for left_over in ["JOINING", "FOUNDING"] {
        assert!(!cluster.dir(0).join(left_over).exists(), "{left_over}");
    }
}

#[test]
fn a_store_that_comes_back_is_who_it_was() {
    let mut cluster = Cluster::with(1, on_news_only);
    let (region, id) = (cluster.first_region(), cluster.id(0));
    cluster.fill('k', 10);
    cluster.stores[0].take().unwrap().kill();
    let calls_before = cluster.pd.with(|state| {
        state.regions.clear();
        state.calls.len()
    });
    cluster.stores[0] = Some(cluster.open(0).unwrap());
    assert_eq!(cluster.id(0), id);
    let calls = cluster.pd.with(|state| state.calls[calls_before..].to_vec());
    assert_eq!(calls[0], "PutStore", "at every start");
    assert!(!calls.contains(&"AllocID") && !calls.contains(&"Bootstrap"), "{calls:?}");
    cluster.pd.wait_region("its region", region, |heartbeat| heartbeat.term > 5);
}

#[test]
fn a_store_that_died_before_its_bootstrap_brings_the_same_region_again() {
    let mut cluster = Cluster::empty(on_news_only);
    cluster.pd.with(|state| state.breaks_at_bootstrap = true);
    assert!(matches!(cluster.open(0), Err(NodeError::Pd(_))));
    cluster.pd.with(|state| state.breaks_at_bootstrap = false);
    cluster.add();
    let (brought, ids) =
        cluster.pd.with(|state| (state.brought.clone(), state.calls.iter().filter(|call| **call == "AllocID").count()));
    assert_eq!((brought.len(), &brought[0], ids), (2, &brought[1], 3), "ids of a store, a region and a peer");
    assert_eq!(cluster.first_region(), brought[0].id);
}

/// The placement driver took the first region, and the store died before it knew.
#[test]
fn a_store_that_died_behind_its_bootstrap_finds_its_region_again() {
    let mut cluster = Cluster::empty(on_news_only);
    cluster.pd.with(|state| state.breaks_behind_bootstrap = true);
    assert!(matches!(cluster.open(0), Err(NodeError::Pd(_))));
    let (first, registered) = cluster.pd.with(|state| {
        state.breaks_behind_bootstrap = false;
        (state.first.clone().unwrap(), state.stores.keys().copied().collect::<Vec<_>>())
    });
    cluster.add();
    assert_eq!(registered, [cluster.id(0)], "it is the same store");
    assert_eq!(cluster.first_region(), first.id);
    assert_eq!(cluster.pd.region(first.id).leader, Some(first.peers[0]));
}

#[test]
fn a_store_that_was_not_the_first_drops_its_region() {
    let mut cluster = Cluster::empty(on_news_only);
    let winner = metapb::Region {
        id: 2,
        region_epoch: Some(metapb::RegionEpoch { conf_ver: 1, version: 1 }),
        peers: vec![voter(3, 1)],
        ..Default::default()
    };
    // The first attempt ties with another store's; by the second, that one has won.
    cluster.pd.with(|state| {
        state.bootstrap_refusals.extend([ErrorType::Unknown, ErrorType::AlreadyBootstrapped]);
        state.first_of_another = Some(winner);
    });
    cluster.add();
    cluster
        .pd
        .wait("the store's heartbeat", |state| state.stats.iter().any(|stats| stats.region_count == 0).then_some(()));
    assert_eq!(cluster.store(0).handle().regions().len(), 0);
    assert!(!cluster.dir(0).join("FOUNDING").exists());
    assert_eq!(cluster.pd.with(|state| state.heartbeats.len()), 0);
}

#[test]
fn a_store_of_another_cluster_is_not_taken() {
    let mut cluster = Cluster::with(1, on_news_only);
    cluster.first_region();
    cluster.stores[0].take().unwrap().kill();
    let other = ScriptedPd::start(CLUSTER + 1);
    let mut config = cluster.config(0);
    config.server.pd_endpoints = other.addresses.clone();
    let refused = server::node::StoreNode::start(&config, &cluster.registry, &observe::discard_logger());
    assert!(matches!(refused, Err(NodeError::OtherCluster { .. })));
    assert_eq!(other.with(|state| state.calls.clone()), Vec::<&str>::new(), "it says nothing there");
}
