//! Members that come and go as they are ordered to. Every effect is read from heartbeats that come because of it.

use proto::eraftpb::ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
use proto::metapb::PeerRole::{Learner, Voter};

use crate::cluster::{Cluster, on_news_only};
use crate::pd::{change, change_peer, change_peers, epoch, has_role, learner, member, voter};

#[test]
fn members_learn_vote_and_go_in_both_forms_of_orders() {
    let cluster = Cluster::with(3, on_news_only);
    let region = cluster.first_region();
    cluster.fill('k', 20);
    let [a, b, c] = [0, 1, 2].map(|at| cluster.id(at));
    let [on_b, on_c] = [0; 2].map(|_| cluster.pd.with(|state| state.next_id()));

    let order = change_peer(AddLearnerNode, learner(on_b, b));
    cluster
        .pd
        .order_until_seen("a learner", region, &order, |seen| has_role(seen, b, Learner) && epoch(seen) == (2, 1));
    cluster.pd.wait_region("that has caught up", region, |seen| seen.pending_peers.is_empty());
    let order = change_peer(AddNode, voter(on_b, b));
    cluster.pd.order_until_seen("a voter", region, &order, |seen| has_role(seen, b, Voter) && epoch(seen) == (3, 1));

    let order = change_peers(vec![change(AddLearnerNode, learner(on_c, c))]);
    cluster.pd.order_until_seen("another learner", region, &order, |seen| {
        has_role(seen, c, Learner) && epoch(seen) == (4, 1) && seen.pending_peers.is_empty()
    });
    // Into the joint configuration with two changes, and out of it with two members in joint roles.
    let changes = vec![change(AddNode, voter(on_c, c)), change(AddLearnerNode, learner(on_b, b))];
    let order = change_peers(changes);
    cluster.pd.order_until_seen("another voter", region, &order, |seen| {
        has_role(seen, c, Voter) && has_role(seen, b, Learner) && epoch(seen) == (8, 1)
    });
    // What is asked for last is the end of a joint configuration that has ended by itself.
    let done = cluster.orders("carried_out");
    cluster.pd.order(region, change_peers(Vec::new()));
    cluster.wait_orders("carried_out", done + 1);

    let order = change_peer(RemoveNode, learner(on_b, b));
    let last = cluster.pd.order_until_seen("its end", region, &order, |seen| member(seen, b).is_none());
    assert_eq!(epoch(&last), (9, 1), "the end of no joint configuration changed nothing");
    assert_eq!(last.region.unwrap().peers, [member(&cluster.pd.region(region), a).unwrap(), voter(on_c, c)]);
    cluster.pd.wait("the empty store", |state| {
        let newest = state.stats.iter().rev().find(|stats| stats.store_id == b);
        newest.is_some_and(|stats| stats.region_count == 0).then_some(())
    });
    // Both sides of the copies count it while it is there; in the end nobody does.
    cluster.pd.wait("quiet stores", |state| {
        let is_quiet = |store| {
            let newest = state.stats.iter().rev().find(|stats| stats.store_id == store)?;
            let snapshots = newest.sending_snap_count + newest.receiving_snap_count + newest.applying_snap_count;
            (snapshots == 0).then_some(())
        };
        [a, b, c].into_iter().all(|store| is_quiet(store).is_some()).then_some(())
    });
}

#[test]
fn a_leader_that_is_to_learn_hands_over_and_can_be_removed() {
    let cluster = Cluster::with(2, on_news_only);
    let region = cluster.first_region();
    let [a, b] = [0, 1].map(|at| cluster.id(at));
    let (on_a, on_b) = (cluster.peer(region, a), cluster.pd.with(|state| state.next_id()));
    let order = change_peer(AddLearnerNode, learner(on_b, b));
    cluster.pd.order_until_seen("a learner", region, &order, |seen| {
        has_role(seen, b, Learner) && seen.pending_peers.is_empty()
    });

    let changes = vec![change(AddNode, voter(on_b, b)), change(AddLearnerNode, learner(on_a.id, a))];
    let order = change_peers(changes);
    let moved = cluster.pd.order_until_seen("the other leader", region, &order, |seen| {
        has_role(seen, b, Voter) && has_role(seen, a, Learner) && seen.leader.is_some_and(|leader| leader.id == on_b)
    });
    assert_eq!(epoch(&moved), (6, 1));
    let order = change_peers(vec![change(RemoveNode, learner(on_a.id, a))]);
    cluster
        .pd
        .order_until_seen("one member", region, &order, |seen| member(seen, a).is_none() && epoch(seen) == (7, 1));
    cluster.fill('k', 5);
}
