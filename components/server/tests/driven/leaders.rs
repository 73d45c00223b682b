//! Leaders that go where they are sent.

use crate::cluster::{Cluster, on_news_only};
use crate::pd::{transfer, voter};

#[test]
fn leaders_go_to_a_peer_or_to_one_of_several() {
    let cluster = Cluster::replicated(on_news_only);
    let region = cluster.first_region();
    let [a, b, c] = [0, 1, 2].map(|at| cluster.peer(region, cluster.id(at)));
    let before = cluster.pd.region(region);
    assert_eq!(before.leader, Some(a));

    let one = proto::pdpb::TransferLeader { peer: Some(b), peers: Vec::new() };
    let order = proto::pdpb::RegionHeartbeatResponse { transfer_leader: Some(one), ..Default::default() };
    let led = cluster.pd.order_until_seen("the second leader", region, &order, |seen| seen.leader == Some(b));
    assert!(led.term > before.term);

    // Nobody lives on store 999: the other candidate takes it.
    let order = transfer(vec![voter(998, 999), c]);
    cluster.pd.order_until_seen("the third leader", region, &order, |seen| seen.leader == Some(c));

    let failed = cluster.orders("failed");
    cluster.pd.order(region, transfer(vec![voter(998, 999)]));
    cluster.wait_orders("failed", failed + 1);
    assert_eq!(cluster.pd.region(region).leader, Some(c));
    cluster.fill('k', 5);
}
