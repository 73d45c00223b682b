//! Regions by key, by id, by ranges, and many at once.

use bytes::Bytes;
use proto::pdpb::*;
use proto::{metapb, pdpb};
use tonic::transport::Channel;

use crate::common::{Port, get_region, header, outcome, refused_as, report, soon, talk};

type Client = pdpb::pd_client::PdClient<Channel>;

/// A cluster whose middle region alone has a leader.
async fn with_one_leader() -> (Port, Vec<metapb::Region>) {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let mut regions = Vec::new();
    for key in ["a", "h", "z"] {
        regions.push(get_region(&mut client, key).await.region.unwrap());
    }
    let mut heartbeats = talk!(client, region_heartbeat);
    let down = PeerStats { peer: Some(regions[1].peers[2]), down_seconds: 40 };
    let middle = RegionHeartbeatRequest {
        down_peers: vec![down],
        pending_peers: vec![regions[1].peers[1]],
        ..report(&regions[1], 0, 6)
    };
    heartbeats.say(middle).await;
    // The answer to a report that cannot be comes after the report before it was taken.
    heartbeats.ask(RegionHeartbeatRequest { header: header(), ..Default::default() }).await;
    (port, regions)
}

async fn previous(client: &mut Client, key: &'static str) -> Option<metapb::Region> {
    let request = GetRegionRequest { header: header(), region_key: key.into(), need_buckets: true };
    soon(client.get_prev_region(request)).await.unwrap().into_inner().region
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_is_found_by_key_by_its_neighbour_and_by_id() {
    let (port, regions) = with_one_leader().await;
    let mut client = port.client().await;
    assert_eq!(get_region(&mut client, "gzz").await.region.as_ref(), Some(&regions[0]));
    let middle = get_region(&mut client, "h").await;
    assert_eq!((middle.region.as_ref(), middle.leader), (Some(&regions[1]), Some(regions[1].peers[0])));
    assert_eq!(middle.pending_peers, [regions[1].peers[1]]);
    assert_eq!(middle.down_peers, [PeerStats { peer: Some(regions[1].peers[2]), down_seconds: 40 }]);
    assert_eq!(get_region(&mut client, "q").await.leader, None, "nobody has reported it");
    assert_eq!(previous(&mut client, "h").await.as_ref(), Some(&regions[0]));
    assert_eq!(previous(&mut client, "zz").await.as_ref(), Some(&regions[1]));
    assert_eq!(previous(&mut client, "a").await, None);
    let by_id = GetRegionByIdRequest { header: header(), region_id: regions[1].id, need_buckets: false };
    let by_id = soon(client.get_region_by_id(by_id)).await.unwrap().into_inner();
    assert_eq!(by_id, middle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_a_success_without_a_region() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let by_id = GetRegionByIdRequest { header: header(), region_id: 9999, need_buckets: false };
    let miss = soon(client.get_region_by_id(by_id)).await.unwrap().into_inner();
    outcome(miss.header).unwrap();
    assert_eq!((miss.region, miss.leader), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_looked_up_at_once_in_the_order_asked_for() {
    let (port, regions) = with_one_leader().await;
    let mut client = port.client().await;
    let ids: Vec<u64> = regions.iter().map(|region| region.id).collect();
    let keys = |keys: &[&'static str]| keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect::<Vec<_>>();
    let mut queries = talk!(client, query_region);
    let request = QueryRegionRequest {
        header: header(),
        ids: vec![ids[0], 9999],
        keys: keys(&["z", "a", "h", "z"]),
        prev_keys: keys(&["a", "i", "i"]),
        ..Default::default()
    };
    let answer = queries.ask(request).await;
    outcome(answer.header).unwrap();
    assert_eq!(answer.key_id_map, [ids[2], ids[0], ids[1], ids[2]]);
    assert_eq!(answer.prev_key_id_map, [0, ids[0], ids[0]]);
    let mut found: Vec<u64> = answer.regions_by_id.keys().copied().collect();
    found.sort_unstable();
    assert_eq!(found, ids);
    let middle = &answer.regions_by_id[&ids[1]];
    assert_eq!((middle.region.as_ref(), middle.leader), (Some(&regions[1]), Some(regions[1].peers[0])));
    let nothing = queries.ask(QueryRegionRequest { header: header(), ..Default::default() }).await;
    assert!(outcome(nothing.header).is_ok() && nothing.key_id_map.is_empty() && nothing.regions_by_id.is_empty());
    let many = QueryRegionRequest { header: header(), ids: vec![1; 70_000], ..Default::default() };
    assert_eq!(refused_as(queries.ask(many).await.header), ErrorType::InvalidValue, "and the stream goes on");
    let last = QueryRegionRequest { header: header(), ids: vec![ids[2]], ..Default::default() };
    assert_eq!(queries.ask(last).await.regions_by_id.len(), 1);
    assert!(queries.finish().await.is_ok());
}

async fn scan(client: &mut Client, start: &'static str, end: &'static str, limit: i32) -> ScanRegionsResponse {
    let request = ScanRegionsRequest { header: header(), start_key: start.into(), end_key: end.into(), limit };
    let answer = soon(client.scan_regions(request)).await.unwrap().into_inner();
    outcome(answer.header.clone()).unwrap();
    assert_eq!(answer.region_metas.len(), answer.leaders.len(), "one for each");
    assert_eq!(answer.region_metas.len(), answer.regions.len());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_go_by_start_key_from_the_region_of_the_first_key() {
    let (port, regions) = with_one_leader().await;
    let mut client = port.client().await;
    let all = scan(&mut client, "", "", 0).await;
    assert_eq!(all.region_metas, regions);
    assert_eq!(all.leaders, [metapb::Peer::default(), regions[1].peers[0], metapb::Peer::default()]);
    assert_eq!(all.regions[1].leader, Some(regions[1].peers[0]));
    assert_eq!(all.regions[0].leader, None);
    assert_eq!(scan(&mut client, "i", "", -1).await.region_metas, regions[1..]);
    assert_eq!(scan(&mut client, "i", "", 1).await.region_metas, regions[1..2]);
    assert_eq!(scan(&mut client, "a", "h", 9).await.region_metas, regions[..1]);
    assert_eq!(scan(&mut client, "z", "a", 9).await.region_metas, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_scans_give_each_region_once() {
    let (port, regions) = with_one_leader().await;
    let mut client = port.client().await;
    let ask = async |client: &mut Client, ranges: &[(&'static str, &'static str)]| {
        let range = |(start, end): &(&'static str, &'static str)| pdpb::KeyRange {
            start_key: (*start).into(),
            end_key: (*end).into(),
        };
        let request = BatchScanRegionsRequest {
            header: header(),
            ranges: ranges.iter().map(range).collect(),
            contain_all_key_range: true,
            ..Default::default()
        };
        soon(client.batch_scan_regions(request)).await.unwrap().into_inner()
    };
    let answer = ask(&mut client, &[("a", "b"), ("c", "i"), ("j", "k")]).await;
    outcome(answer.header).unwrap();
    let found: Vec<_> = answer.regions.into_iter().map(|region| region.region.unwrap()).collect();
    assert_eq!(found, regions[..2]);
    let descending = ask(&mut client, &[("c", "d"), ("a", "b")]).await;
    assert_eq!(refused_as(descending.header), ErrorType::InvalidValue);
}

/// What nobody claims leads to whoever had it last, in every kind of look-up: "no region" would be final to a client.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_region_that_shrank_keep_their_route_until_its_sibling_reports() {
    let (port, regions) = with_one_leader().await;
    let mut client = port.client().await;
    let mut heartbeats = talk!(client, region_heartbeat);
    let mut say = async |region: &metapb::Region| {
        heartbeats.say(report(region, 0, 6)).await;
        heartbeats.ask(RegionHeartbeatRequest { header: header(), ..Default::default() }).await;
    };
    say(&regions[0]).await;
    let (mut shrunk, mut left) = (regions[0].clone(), regions[0].clone());
    shrunk.end_key = Bytes::from_static(b"c");
    shrunk.region_epoch.as_mut().unwrap().version += 1;
    left.start_key = Bytes::from_static(b"c");
    say(&shrunk).await;
    let found = get_region(&mut client, "d").await;
    assert_eq!((found.region.as_ref(), found.leader), (Some(&left), Some(left.peers[0])), "as it was");
    assert_eq!(previous(&mut client, "i").await.as_ref(), Some(&left));
    assert_eq!(previous(&mut client, "d").await.as_ref(), Some(&shrunk));
    let expected = [&shrunk, &left, &regions[1], &regions[2]];
    assert_eq!(scan(&mut client, "", "", 0).await.region_metas.iter().collect::<Vec<_>>(), expected);
    let by_id = GetRegionByIdRequest { header: header(), region_id: shrunk.id, need_buckets: false };
    let by_id = soon(client.get_region_by_id(by_id)).await.unwrap().into_inner();
    assert_eq!(by_id.region.as_ref(), Some(&shrunk), "by its id, it is what it reported");

    let keys = |keys: &[&'static str]| keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect::<Vec<_>>();
    let mut queries = talk!(client, query_region);
    let mut ask = async |asked: &[&'static str]| {
        let answer =
            queries.ask(QueryRegionRequest { header: header(), keys: keys(asked), ..Default::default() }).await;
        assert!(answer.key_id_map.iter().all(|id| *id == left.id));
        answer.regions_by_id[&left.id].region.clone().unwrap()
    };
    assert_eq!(ask(&["d", "e"]).await, left);
    assert_eq!(ask(&["a"]).await, shrunk);
    assert_eq!(ask(&["a", "d"]).await, regions[0], "one region for both: it was theirs");

    let mut sibling = metapb::Region { id: 900, ..left.clone() };
    sibling.region_epoch = shrunk.region_epoch;
    sibling.peers.iter_mut().for_each(|peer| peer.id += 900);
    say(&sibling).await;
    assert_eq!(get_region(&mut client, "d").await.region, Some(sibling));
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_read_to_the_end() {
    let port = Port::laid_out().await;
    let mut client = port.client().await;
    let report = || ReportBucketsRequest { header: header(), ..Default::default() };
    let reports = futures::stream::iter([report(), report(), report()]);
    outcome(soon(client.report_buckets(reports)).await.unwrap().into_inner().header).unwrap();
    let wrong = ReportBucketsRequest { header: None, ..report() };
    let refused = soon(client.report_buckets(futures::stream::iter([report(), wrong]))).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::FailedPrecondition);
}
