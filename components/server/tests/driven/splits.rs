//! Regions that are cut as they are ordered to be.

use proto::pdpb::CheckPolicy;

use crate::cluster::{Cluster, on_news_only};
use crate::pd::{epoch, split};
use crate::state::range;

#[test]
fn regions_are_cut_at_keys_and_every_part_reports_at_once() {
    let cluster = Cluster::replicated(on_news_only);
    let region = cluster.first_region();
    let before = epoch(&cluster.pd.region(region));
    cluster.pd.order(region, split(CheckPolicy::Usekey, &["m", "d"]));
    let parts = cluster.pd.wait("three regions", |state| {
        let mut parts: Vec<_> = state.regions.values().cloned().collect();
        parts.sort_by_key(|part| part.region.as_ref().unwrap().start_key.clone());
        (parts.len() == 3).then_some(parts)
    });
    let ranges: Vec<String> = parts.iter().map(|part| range(part.region.as_ref().unwrap()).to_string()).collect();
    assert_eq!(ranges, ["[, 64)", "[64, 6D)", "[6D, )"]);
    for part in &parts {
        assert_eq!(epoch(part), (before.0, before.1 + 2), "one version for each new region");
        assert_eq!(part.region.as_ref().unwrap().peers.len(), 3);
        assert_eq!(
            part.leader.map(|leader| leader.store_id),
            Some(cluster.id(0)),
            "they are led where their parent is"
        );
    }
    assert_eq!(parts[2].region.as_ref().unwrap().id, region, "the parent keeps the right part");
    let asked = cluster.pd.with(|state| state.asked_splits.clone());
    assert_eq!(asked.iter().map(|asked| asked.split_count).collect::<Vec<_>>(), [2]);
    cluster.pd.wait("the report", |state| {
        let ids: Vec<u64> = state.reported_splits.first()?.iter().map(|region| region.id).collect();
        (ids.len() == 3 && ids[2] == region).then_some(())
    });
    ['a', 'f', 'x'].into_iter().for_each(|letter| cluster.fill(letter, 3));
}

#[test]
fn regions_are_cut_in_the_middle() {
    let cluster = Cluster::with(1, on_news_only);
    let region = cluster.first_region();
    cluster.fill('k', 2000);
    for (policy, parts) in [(CheckPolicy::Scan, 2), (CheckPolicy::Approximate, 3)] {
        cluster.pd.order(region, split(policy, &[]));
        cluster.pd.wait("another region", |state| (state.regions.len() == parts).then_some(()));
    }
    let starts = cluster.pd.with(|state| {
        let start = |seen: &proto::pdpb::RegionHeartbeatRequest| seen.region.clone().unwrap().start_key;
        let mut starts: Vec<_> = state.regions.values().map(start).collect();
        starts.sort();
        starts
    });
    assert!(starts[1].starts_with(b"k") && starts[1] > "k00500" && starts[1] < "k01500", "{starts:?}");
    assert!(starts[2] > starts[1] && starts[2] < "k01900", "{starts:?}");
}
