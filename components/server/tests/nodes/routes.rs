//! Where clients are sent while regions split.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::{PdClient, PdConfig};
use proto::pdpb::pd_client::PdClient as Stub;
use proto::pdpb::{self, BatchScanRegionsRequest, RequestHeader};
use server::config::Config;
use types::KeyRange;

use crate::cluster::{Cluster, http_post, logger, wait_until};

/// Looks every key up in every way until it is told to stop. Returns how often it did.
async fn look_up(address: String, keys: Vec<String>, stop: Arc<AtomicBool>) -> usize {
    let pd = PdClient::connect(PdConfig::new([address.clone()]), logger()).await.unwrap();
    let mut stub = Stub::connect(format!("http://{address}")).await.unwrap();
    let header = RequestHeader { cluster_id: pd.cluster_id().0, ..Default::default() };
    let everything = pdpb::KeyRange::default();
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        for key in &keys {
            let found = pd.get_region(&key.clone().into()).await.unwrap();
            let found = found.unwrap_or_else(|| panic!("{key} is in no region")).descriptor;
            assert!(found.range.contains(key.as_bytes()), "{key} is not in {found:?}");
            let before = pd.get_prev_region(&key.clone().into()).await.unwrap();
            assert!(before.is_some() || found.range.start.is_empty(), "nothing comes before {found:?}");
        }
        let all = pd.scan_regions(&KeyRange::all(), 0).await.unwrap();
        let ends = (&all[0].descriptor.range.start, &all[all.len() - 1].descriptor.range.end);
        assert!(ends.0.is_empty() && ends.1.is_empty(), "{all:?}");
        let adjoin = |pair: &[client::RegionRoute]| pair[0].descriptor.range.end == pair[1].descriptor.range.start;
        assert!(all.windows(2).all(adjoin), "there is a gap in {all:?}");
        let request = BatchScanRegionsRequest {
            header: Some(header.clone()),
            ranges: vec![everything.clone()],
            contain_all_key_range: true,
            ..Default::default()
        };
        let answer = stub.batch_scan_regions(request).await.unwrap().into_inner();
        assert_eq!(answer.header.unwrap().error, None);
        rounds += 1;
    }
    rounds
}

#[test]
fn every_key_has_a_route_while_regions_split() {
    fn hasty(config: &mut Config) {
        config.raftstore.pd_heartbeat_interval_ms = 300;
        config.raftstore.pd_store_heartbeat_interval_ms = 300;
    }
    let cluster = Cluster::with(hasty);
    let client = cluster.client();
    // Whoever serves a write leads.
    ["a", "h", "q"].iter().for_each(|key| cluster.put(&client, key, "here"));
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let stop = Arc::<AtomicBool>::default();
    let lookers: Vec<_> = (0..2)
        .map(|_| {
            let (address, keys, stop) = (cluster.coordinator_address.clone(), letters.clone(), Arc::clone(&stop));
            cluster.runtime.spawn(look_up(address, keys, stop))
        })
        .collect();
    let pd =
        cluster.runtime.block_on(PdClient::connect(PdConfig::new([&cluster.coordinator_address]), logger())).unwrap();
    let lies_at_a_border = |key: &str| {
        let found = cluster.runtime.block_on(pd.get_region(&key.to_owned().into())).unwrap().unwrap();
        (found.descriptor.id, found.descriptor.range.start == *key.as_bytes())
    };
    for letter in letters.iter().filter(|letter| !["g", "p"].contains(&letter.as_str())) {
        wait_until("a split", || {
            let (region, is_done) = lies_at_a_border(letter);
            if !is_done {
                let key = format!("{:02X}", letter.as_bytes()[0]);
                let wish = format!(
                    r#"{{"name": "split-region", "region_id": {region}, "policy": "usekey", "keys": ["{key}"]}}"#
                );
                // One that is under way already is refused.
                http_post(&cluster.coordinator_address, "/pd/api/v1/operators", &wish);
            }
            is_done || lookers.iter().any(|looker| looker.is_finished())
        });
    }
    stop.store(true, Ordering::Relaxed);
    for looker in lookers {
        assert!(cluster.runtime.block_on(looker).unwrap() > 0);
    }
    let all = cluster.runtime.block_on(pd.scan_regions(&KeyRange::all(), 0)).unwrap();
    assert!(all.len() >= letters.len(), "{all:?}");
}
