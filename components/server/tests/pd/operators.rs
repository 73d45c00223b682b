//! Orders on the wire, ids for splits, splits and scattering on demand.

use bytes::Bytes;
use proto::eraftpb::ConfChangeType;
use proto::metapb;
use proto::pdpb::pd_client::PdClient;
use proto::pdpb::*;
use tonic::transport::Channel;

use crate::common::{Port, Talk, get_region, header, outcome, put_store, refused_as, report, soon, store, talk};
use crate::http::call;

pub type Client = PdClient<Channel>;
pub type Stream = Talk<RegionHeartbeatRequest, RegionHeartbeatResponse>;

pub async fn regions(client: &mut Client) -> Vec<metapb::Region> {
    let mut regions = Vec::new();
    for key in ["a", "h", "z"] {
        regions.push(get_region(client, key).await.region.unwrap());
    }
    regions
}

/// Everybody has reported, store 4 has joined, and the stream belongs to the store that leads all regions.
pub async fn reported(port: &Port) -> (Client, Stream, Vec<metapb::Region>) {
    let mut client = port.client().await;
    let ids = AllocIdRequest { header: header(), count: 1 };
    let fourth = soon(client.alloc_id(ids)).await.unwrap().into_inner().id;
    put_store(&mut client, store(fourth)).await.unwrap();
    let regions = regions(&mut client).await;
    let mut stream = talk!(client, region_heartbeat);
    for region in &regions {
        stream.say(report(region, leader_on(region, 1), 6)).await;
    }
    sync(&mut stream).await;
    for (store_id, region_count) in [(1, 3), (2, 3), (3, 3), (fourth, 0)] {
        let stats = StoreStats { store_id, region_count, capacity: 1 << 40, available: 1 << 39, ..Default::default() };
        let heartbeat = StoreHeartbeatRequest { header: header(), stats: Some(stats) };
        outcome(soon(client.store_heartbeat(heartbeat)).await.unwrap().into_inner().header).unwrap();
    }
    (client, stream, regions)
}

pub fn leader_on(region: &metapb::Region, store: u64) -> usize {
    region.peers.iter().position(|peer| peer.store_id == store).unwrap()
}

/// Says something that must be objected to, so that everything that was said before has been taken.
pub async fn sync(stream: &mut Stream) {
    let answer = stream.ask(RegionHeartbeatRequest { header: header(), ..Default::default() }).await;
    assert_eq!(outcome(answer.header).unwrap_err().r#type(), ErrorType::InvalidValue);
}

/// The newest store: the layout is made for 1 to 3, and ids go on behind it.
const FOURTH: u64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_over_the_wire_as_the_real_driver_orders_it() {
    let port = Port::laid_out().await;
    let (_client, mut stream, regions) = reported(&port).await;
    let mut region = regions[0].clone();
    let leader = region.peers[leader_on(&region, 1)];
    let body =
        format!(r#"{{"name":"transfer-peer","region_id":{},"from_store_id":2,"to_store_id":{FOURTH}}}"#, region.id);
    assert_eq!(call(&port, "POST", "/operators", &body).await.0, 200);
    let add = stream.hear().await;
    outcome(add.header).unwrap();
    assert_eq!((add.region_id, add.region_epoch, add.target_peer), (region.id, region.region_epoch, Some(leader)));
    let changes = add.change_peer_v2.unwrap().changes;
    let learner = changes[0].peer.unwrap();
    assert_eq!(
        (changes.len(), changes[0].change_type(), learner.store_id),
        (1, ConfChangeType::AddLearnerNode, FOURTH)
    );
    assert_eq!(learner.role(), metapb::PeerRole::Learner);

    // It has not caught up: no order, until it has.
    region.peers.push(learner);
    region.region_epoch.as_mut().unwrap().conf_ver += 1;
    let place = leader_on(&region, 1);
    let pending = RegionHeartbeatRequest { pending_peers: vec![learner], ..report(&region, place, 6) };
    stream.say(pending).await;
    sync(&mut stream).await;
    let joint = stream.ask(report(&region, place, 6)).await.change_peer_v2.unwrap().changes;
    let told: Vec<_> = joint.iter().map(|change| (change.change_type(), change.peer.unwrap().store_id)).collect();
    assert_eq!(told, [(ConfChangeType::AddNode, FOURTH), (ConfChangeType::AddLearnerNode, 2)]);

    for peer in &mut region.peers {
        match peer.store_id {
            FOURTH => peer.set_role(metapb::PeerRole::IncomingVoter),
            2 => peer.set_role(metapb::PeerRole::DemotingVoter),
            _ => {}
        }
    }
    region.region_epoch.as_mut().unwrap().conf_ver += 2;
    let leave = stream.ask(report(&region, place, 6)).await.change_peer_v2.unwrap();
    assert_eq!(leave.changes, [], "nothing to change means to leave the joint configuration");

    for peer in &mut region.peers {
        peer.set_role(if peer.store_id == 2 { metapb::PeerRole::Learner } else { metapb::PeerRole::Voter });
    }
    region.region_epoch.as_mut().unwrap().conf_ver += 2;
    let removal = stream.ask(report(&region, place, 6)).await.change_peer_v2.unwrap().changes;
    assert_eq!((removal[0].change_type(), removal[0].peer.unwrap().store_id), (ConfChangeType::RemoveNode, 2));

    region.peers.retain(|peer| peer.store_id != 2);
    region.region_epoch.as_mut().unwrap().conf_ver += 1;
    stream.say(report(&region, leader_on(&region, 1), 6)).await;
    sync(&mut stream).await;
    let (_, operators) = call(&port, "GET", "/operators", "").await;
    assert_eq!(operators.as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_joint_consensus_changes_have_the_older_form() {
    let port = Port::laid_out().await;
    let (_client, mut stream, regions) = reported(&port).await;
    assert_eq!(call(&port, "POST", "/config", r#"{"enable-joint-consensus":false}"#).await.0, 200);
    let body = format!(r#"{{"name":"add-peer","region_id":{},"store_id":{FOURTH}}}"#, regions[0].id);
    assert_eq!(call(&port, "POST", "/operators", &body).await.0, 200);
    let order = stream.hear().await;
    assert_eq!(order.change_peer_v2, None);
    let change = order.change_peer.unwrap();
    assert_eq!((change.change_type(), change.peer.unwrap().store_id), (ConfChangeType::AddLearnerNode, FOURTH));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_names_its_target_and_ends_when_it_leads() {
    let port = Port::laid_out().await;
    let (mut client, mut stream, regions) = reported(&port).await;
    let region = &regions[1];
    let body = format!(r#"{{"name":"transfer-leader","region_id":{},"to_store_id":3}}"#, region.id);
    assert_eq!(call(&port, "POST", "/operators", &body).await.0, 200);
    let target = region.peers[leader_on(region, 3)];
    let transfer = stream.hear().await.transfer_leader.unwrap();
    assert_eq!((transfer.peer, &transfer.peers[..]), (Some(target), &[target][..]));
    let ask = async |client: &mut Client| {
        let request = GetOperatorRequest { header: header(), region_id: region.id };
        soon(client.get_operator(request)).await.unwrap().into_inner()
    };
    let running = ask(&mut client).await;
    assert_eq!((&running.desc[..], running.status()), (&b"admin-transfer-leader"[..], OperatorStatus::Running));
    assert_eq!((&running.kind[..], running.region_id), (&b"admin,leader"[..], region.id));
    stream.say(report(region, leader_on(region, 3), 7)).await;
    sync(&mut stream).await;
    assert_eq!(ask(&mut client).await.status(), OperatorStatus::Success);
    let other = GetOperatorRequest { header: header(), region_id: regions[2].id };
    let none = soon(client.get_operator(other)).await.unwrap().into_inner();
    assert_eq!(refused_as(none.header), ErrorType::RegionNotFound);
}

/// A region that has moved on must not get what was meant for what it was.
#[tokio::test(flavor = "multi_thread")]
async fn orders_that_a_region_has_outrun_are_dropped() {
    let port = Port::laid_out().await;
    let (mut client, mut stream, regions) = reported(&port).await;
    let region = regions[0].clone();
    let leader = region.peers[leader_on(&region, 1)];
    let orders = port.services.orders();
    let order = |epoch: u64| RegionHeartbeatResponse {
        region_id: region.id,
        region_epoch: Some(metapb::RegionEpoch { conf_ver: 1, version: epoch }),
        target_peer: Some(leader),
        ..Default::default()
    };
    let mut newer = region.clone();
    newer.region_epoch.as_mut().unwrap().version = 2;
    stream.say(report(&newer, leader_on(&newer, 1), 6)).await;
    sync(&mut stream).await;
    orders.send(1.into(), order(1)).unwrap();
    orders
        .send(1.into(), RegionHeartbeatResponse { target_peer: Some(region.peers[leader_on(&region, 2)]), ..order(2) })
        .unwrap();
    orders.send(1.into(), RegionHeartbeatResponse { region_id: 9999, ..order(2) }).unwrap();
    orders.send(1.into(), order(2)).unwrap();
    assert_eq!(stream.hear().await.region_epoch.unwrap().version, 2, "the first that is not stale");
    assert_eq!(get_region(&mut client, "a").await.region, Some(newer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_splits_gets_ids() {
    let port = Port::laid_out().await;
    let (mut client, mut stream, regions) = reported(&port).await;
    let region = regions[0].clone();
    let ask = |region: Option<metapb::Region>, split_count| AskBatchSplitRequest {
        header: header(),
        region,
        split_count,
        ..Default::default()
    };
    let answer = soon(client.ask_batch_split(ask(Some(region.clone()), 2))).await.unwrap().into_inner();
    outcome(answer.header).unwrap();
    let mut ids: Vec<u64> =
        answer.ids.iter().flat_map(|split| [&[split.new_region_id], &split.new_peer_ids[..]].concat()).collect();
    assert_eq!((answer.ids.len(), ids.len()), (2, 8));
    let single = AskSplitRequest { header: header(), region: Some(region.clone()) };
    let single = soon(client.ask_split(single)).await.unwrap().into_inner();
    outcome(single.header).unwrap();
    ids.extend([&[single.new_region_id], &single.new_peer_ids[..]].concat());
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 12, "no id twice");

    for (region, count, expected) in [
        (None, 1, ErrorType::InvalidValue),
        (Some(region.clone()), 0, ErrorType::InvalidValue),
        (Some(region.clone()), u32::MAX, ErrorType::InvalidValue),
        (Some(metapb::Region { id: 9999, ..region.clone() }), 1, ErrorType::RegionNotFound),
    ] {
        let refused = soon(client.ask_batch_split(ask(region, count))).await.unwrap().into_inner();
        assert_eq!(refused_as(refused.header), expected);
    }
    let mut newer = region.clone();
    newer.region_epoch.as_mut().unwrap().version = 5;
    stream.say(report(&newer, leader_on(&newer, 1), 6)).await;
    sync(&mut stream).await;
    let stale = soon(client.ask_batch_split(ask(Some(region.clone()), 1))).await.unwrap().into_inner();
    assert_eq!(refused_as(stale.header), ErrorType::Unknown);
    let reported = ReportSplitRequest { header: header(), left: Some(region.clone()), right: Some(newer) };
    outcome(soon(client.report_split(reported)).await.unwrap().into_inner().header).unwrap();
}

/// Another stream of the store, on which it does as it is told.
async fn obedient(port: &Port, stream: Stream, regions: &[metapb::Region]) -> tokio::task::JoinHandle<()> {
    drop(stream);
    let mut client = port.client().await;
    let mut stream = talk!(client, region_heartbeat);
    for region in regions {
        stream.say(report(region, leader_on(region, 1), 6)).await;
    }
    sync(&mut stream).await;
    tokio::spawn(obey(stream, regions.to_vec()))
}

async fn obey(mut stream: Stream, regions: Vec<metapb::Region>) {
    let mut known: std::collections::BTreeMap<u64, metapb::Region> =
        regions.into_iter().map(|region| (region.id, region)).collect();
    let mut next_id = 50_000;
    while let Ok(Some(order)) = stream.answers.message().await {
        let Some(split) = order.split_region else { continue };
        let parent = known[&order.region_id].clone();
        if order.region_epoch != parent.region_epoch {
            continue;
        }
        let ends: Vec<Bytes> = split.keys.iter().cloned().chain([parent.end_key.clone()]).collect();
        let mut start = parent.start_key.clone();
        for (place, end) in ends.iter().enumerate() {
            let mut part = parent.clone();
            (part.start_key, part.end_key) = (std::mem::replace(&mut start, end.clone()), end.clone());
            part.region_epoch.as_mut().unwrap().version += split.keys.len() as u64;
            if place + 1 < ends.len() {
                next_id += 10;
                part.id = next_id;
                part.peers.iter_mut().zip(1..).for_each(|(peer, at)| peer.id = next_id + at);
            }
            known.insert(part.id, part.clone());
            stream.say(report(&part, leader_on(&part, 1), 6)).await;
        }
    }
}

fn keys(keys: &[&'static str]) -> Vec<Bytes> {
    keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_split_on_demand_and_the_call_waits_for_them() {
    let port = Port::laid_out().await;
    let (mut client, stream, regions) = reported(&port).await;
    let store = obedient(&port, stream, &regions).await;
    let split_keys = keys(&["b", "d", "d", "h", "m"]);
    let request = SplitRegionsRequest { header: header(), split_keys, retry_limit: 3 };
    let done = soon(client.split_regions(request)).await.unwrap().into_inner();
    outcome(done.header).unwrap();
    assert_eq!((done.finished_percentage, done.regions_id.len()), (100, 4), "h was a border already");
    for key in ["b", "d", "h", "m"] {
        let region = get_region(&mut client, key).await.region.unwrap();
        assert_eq!(&region.start_key[..], key.as_bytes());
        assert!(done.regions_id.contains(&region.id));
    }
    let request = SplitAndScatterRegionsRequest {
        header: header(),
        split_keys: keys(&["f"]),
        group: "table".to_owned(),
        ..Default::default()
    };
    let done = soon(client.split_and_scatter_regions(request)).await.unwrap().into_inner();
    outcome(done.header).unwrap();
    assert_eq!((done.split_finished_percentage, done.scatter_finished_percentage), (100, 100));
    store.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_splits_are_refused_at_once() {
    let port = Port::laid_out().await;
    let (mut client, _stream, _) = reported(&port).await;
    let long = Bytes::from(vec![b'k'; types::limits::MAX_KEY_BYTES + 1]);
    for split_keys in [vec![], keys(&["a", ""]), vec![long], vec![Bytes::from_static(b"k"); 4097]] {
        let request = SplitRegionsRequest { header: header(), split_keys, retry_limit: 0 };
        let refused = soon(client.split_regions(request)).await.unwrap().into_inner();
        assert_eq!(refused_as(refused.header), ErrorType::InvalidValue);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_scatter_by_either_form_of_the_call() {
    let port = Port::laid_out().await;
    let (mut client, _stream, regions) = reported(&port).await;
    let ids: Vec<u64> = regions.iter().map(|region| region.id).chain([9999]).collect();
    let request =
        ScatterRegionRequest { header: header(), regions_id: ids, group: "g".to_owned(), ..Default::default() };
    let done = soon(client.scatter_region(request)).await.unwrap().into_inner();
    outcome(done.header).unwrap();
    assert_eq!((done.finished_percentage, &done.failed_regions_id[..]), (75, &[9999][..]));
    let one = ScatterRegionRequest { header: header(), region: Some(regions[0].clone()), ..Default::default() };
    soon(client.scatter_region(one)).await.unwrap();
    let unknown = ScatterRegionRequest {
        header: header(),
        region: Some(metapb::Region { id: 9999, ..regions[0].clone() }),
        ..Default::default()
    };
    let refused = soon(client.scatter_region(unknown)).await.unwrap().into_inner();
    assert_eq!(refused_as(refused.header), ErrorType::RegionNotFound);
    let many = ScatterRegionRequest { header: header(), regions_id: vec![1; 20_000], ..Default::default() };
    let refused = soon(client.scatter_region(many)).await.unwrap().into_inner();
    assert_eq!(refused_as(refused.header), ErrorType::InvalidValue);
}
