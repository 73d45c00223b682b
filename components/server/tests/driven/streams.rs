//! Streams that break, and a placement driver whose leader changes.

use proto::eraftpb::ConfChangeType;
use proto::metapb::PeerRole;
use proto::pdpb::CheckPolicy;

use crate::cluster::{Cluster, on_news_only};
use crate::pd::{change_peer, has_role, learner, member, split};

#[test]
fn every_region_reports_again_on_every_stream() {
    let cluster = Cluster::with(2, on_news_only);
    let region = cluster.first_region();
    let order = split(CheckPolicy::Usekey, &["d", "m"]);
    cluster.pd.order_until("three regions", region, &order, |state| (state.regions.len() == 3).then_some(()));

    for (known, key) in [(3, "p"), (4, "q"), (5, "r")] {
        let opened = cluster.pd.with(|state| {
            state.regions.clear();
            state.break_streams();
            state.opened
        });
        cluster
            .pd
            .wait("every region again", |state| (state.regions.len() == known && state.opened > opened).then_some(()));
        // Orders go the new way.
        cluster.pd.order(region, split(CheckPolicy::Usekey, &[key]));
        cluster.pd.wait("another region", |state| (state.regions.len() == known + 1).then_some(()));
    }
}

#[test]
fn stores_follow_the_leader_of_the_placement_driver() {
    let cluster = Cluster::with(2, on_news_only);
    let region = cluster.first_region();
    let newcomer = cluster.id(1);
    for peer in [900, 901] {
        let reported = cluster.pd.with(|state| {
            state.regions.clear();
            state.stats.clear();
            state.opened
        });
        cluster.pd.change_leader();
        cluster.pd.wait("the region, at the other member", |state| {
            (state.regions.contains_key(&region) && state.opened > reported).then_some(())
        });
        cluster.pd.wait("both stores, at the other member", |state| {
            let told = |store| state.stats.iter().any(|stats| stats.store_id == store);
            state.stores.keys().all(|store| told(*store)).then_some(())
        });
        let order = change_peer(ConfChangeType::AddLearnerNode, learner(peer, newcomer));
        cluster.pd.order_until_seen("a learner", region, &order, |seen| has_role(seen, newcomer, PeerRole::Learner));
        let order = change_peer(ConfChangeType::RemoveNode, learner(peer, newcomer));
        cluster.pd.order_until_seen("its end", region, &order, |seen| member(seen, newcomer).is_none());
    }
}
