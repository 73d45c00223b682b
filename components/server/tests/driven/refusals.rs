//! Orders that are late, for somebody else, for later builds, or without sense. None does harm, and the stream goes on.

use proto::eraftpb::ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
use proto::metapb::{self, PeerRole};
use proto::pdpb::{self, CheckPolicy, RegionHeartbeatResponse};

use crate::cluster::{Cluster, on_news_only};
use crate::pd::{change, change_peer, change_peers, epoch, has_role, learner, split, transfer, voter};

#[test]
fn orders_that_cannot_be_obeyed_do_no_harm() {
    let cluster = Cluster::with(2, on_news_only);
    let region = cluster.first_region();
    let before = cluster.pd.region(region);
    // Behind a write, the leader is able to do whatever it is told.
    cluster.fill('k', 1);
    let (leader, [a, b]) = (before.leader.unwrap(), [0, 1].map(|at| cluster.id(at)));
    let stream = cluster.pd.with(|state| state.streams[&a].number);
    let order = RegionHeartbeatResponse::default;
    let witness = metapb::Peer { is_witness: true, ..voter(900, b) };
    let switch = pdpb::SwitchWitness { peer_id: leader.id, is_witness: true };

    // What this build does not do, and what makes no sense.
    let declined = [
        RegionHeartbeatResponse { merge: Some(pdpb::Merge { target: before.region.clone() }), ..order() },
        RegionHeartbeatResponse { merge: Some(pdpb::Merge::default()), ..order() },
        RegionHeartbeatResponse {
            switch_witnesses: Some(pdpb::BatchSwitchWitness { switch_witnesses: vec![switch] }),
            ..order()
        },
        RegionHeartbeatResponse { change_split: Some(pdpb::ChangeSplit::default()), ..order() },
        RegionHeartbeatResponse { change_peer: Some(pdpb::ChangePeer::default()), ..order() },
        change_peer(AddNode, witness),
        RegionHeartbeatResponse {
            change_peer: Some(pdpb::ChangePeer { peer: Some(voter(900, b)), change_type: 77 }),
            ..order()
        },
        change_peers(vec![change(AddNode, voter(900, b)), pdpb::ChangePeer::default()]),
        split(CheckPolicy::Usekey, &[]),
    ];
    for (count, order) in declined.into_iter().enumerate() {
        cluster.pd.order(region, order);
        cluster.wait_orders("declined", count as u64 + 1);
    }

    // What the region refuses.
    let failed = [
        change_peer(AddNode, voter(900, a)),
        change_peer(RemoveNode, leader),
        change_peers(vec![change(RemoveNode, leader)]),
        change_peers(vec![change(AddNode, voter(900, b)), change(AddLearnerNode, learner(901, b))]),
        change_peers(vec![change(AddNode, voter(900, b)), change(RemoveNode, voter(900, b))]),
        change_peer(AddNode, voter(0, b)),
        change_peer(AddNode, voter(900, 0)),
        transfer(Vec::new()),
        transfer(vec![voter(900, b)]),
        split(CheckPolicy::Scan, &[]),
    ];
    for (count, order) in failed.into_iter().enumerate() {
        cluster.pd.order(region, order);
        cluster.wait_orders("failed", count as u64 + 1);
    }

    // What is for another time, another leader, another region.
    let stale = |order: RegionHeartbeatResponse| RegionHeartbeatResponse {
        split_region: split(CheckPolicy::Usekey, &["k"]).split_region,
        region_id: region,
        region_epoch: before.region.as_ref().unwrap().region_epoch,
        target_peer: Some(leader),
        ..order
    };
    let other_epoch = |conf_ver, version| Some(metapb::RegionEpoch { conf_ver, version });
    let late = [
        RegionHeartbeatResponse { region_epoch: other_epoch(1, 0), ..stale(order()) },
        RegionHeartbeatResponse { region_epoch: other_epoch(0, 1), ..stale(order()) },
        RegionHeartbeatResponse { region_epoch: other_epoch(9, 9), ..stale(order()) },
        RegionHeartbeatResponse { region_epoch: None, ..stale(order()) },
        RegionHeartbeatResponse { target_peer: Some(voter(900, b)), ..stale(order()) },
        RegionHeartbeatResponse { target_peer: None, ..stale(order()) },
        RegionHeartbeatResponse { region_id: 123_456, ..stale(order()) },
    ];
    for (count, order) in late.into_iter().enumerate() {
        cluster.pd.send(a, order);
        cluster.wait_orders("stale", count as u64 + 1);
    }

    // Nobody's region, no order at all, a refusal of a heartbeat, and keys of nobody.
    cluster.pd.send(a, RegionHeartbeatResponse { region_id: 0, ..stale(order()) });
    cluster.pd.send(a, RegionHeartbeatResponse { region_id: region, ..order() });
    cluster.pd.send(a, order());

    // The next order is obeyed, and its epoch shows that none before it was.
    let order = change_peer(AddLearnerNode, learner(900, b));
    let seen = cluster.pd.order_until_seen("a learner", region, &order, |seen| has_role(seen, b, PeerRole::Learner));
    assert_eq!(epoch(&seen), (2, 1));
    assert_eq!(seen.region.unwrap().peers.len(), 2);
    let still = cluster.pd.with(|state| (state.regions.len(), state.streams[&a].number));
    assert_eq!(still, (1, stream), "one region, on the same stream");
}

#[test]
fn a_split_at_keys_outside_of_the_region_is_refused_whole() {
    let cluster = Cluster::with(1, on_news_only);
    let region = cluster.first_region();
    let order = split(CheckPolicy::Usekey, &["m"]);
    let child = cluster.pd.order_until("two regions", region, &order, |state| {
        state.regions.keys().copied().find(|id| *id != region).filter(|_| state.regions.len() == 2)
    });
    let long = "k".repeat(100_000);
    for keys in [vec!["a", "x"], vec!["m"], vec![long.as_str()]] {
        let failed = cluster.orders("failed");
        cluster.pd.order(child, split(CheckPolicy::Usekey, &keys));
        cluster.wait_orders("failed", failed + 1);
    }
    let order = split(CheckPolicy::Usekey, &["b"]);
    cluster.pd.order_until("three regions", child, &order, |state| (state.regions.len() == 3).then_some(()));
}
