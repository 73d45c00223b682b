//! What operators ask of a cluster's regions, and small logs, so that snapshots are needed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use region::RegionStatus;
use store::StoreConfig;
use types::split::NewRegion;
use types::{MemberChange, PeerId, RegionDescriptor, RegionId, RequestError, Responder, SplitPlan};

use super::{Answer, Cluster, pairs};

pub fn taken<T>(answer: &Answer<T>) -> T {
    answer.lock().unwrap().take().expect("it was answered")
}

/// Small logs, so that whoever comes late needs a snapshot; nobody waits for others to share a flush.
pub fn config() -> StoreConfig {
    let mut config = StoreConfig { fence_wait: Duration::ZERO, ..StoreConfig::default() };
    config.region.compact_entries = 8;
    config.region.stale_ticks = 40;
    config
}

pub type SplitAnswer = Answer<Result<Vec<RegionDescriptor>, RequestError>>;
pub type MembersAnswer = Answer<Result<RegionDescriptor, RequestError>>;

pub fn ask_split(cluster: &Cluster, at: usize, region: &RegionDescriptor, cuts: &[(&str, u64)]) -> SplitAnswer {
    let regions = cuts.iter().map(|(key, id)| NewRegion {
        key: Bytes::copy_from_slice(key.as_bytes()),
        id: RegionId(*id),
        peers: (0..region.peers.len() as u64).map(|peer| PeerId(id * 10 + peer)).collect(),
    });
    let plan = SplitPlan { regions: regions.collect(), right_derive: true };
    let answer = SplitAnswer::default();
    let slot = Arc::clone(&answer);
    let responder = Responder::new(move |result| *slot.lock().unwrap() = Some(result));
    cluster.handle(at).split(region.id, region.epoch, plan, responder);
    answer
}

pub fn split(cluster: &mut Cluster, key: &str, cuts: &[(&str, u64)]) {
    let region = cluster.region_of(key).clone();
    let leader = cluster.leader(region.id).unwrap();
    let answer = ask_split(cluster, leader, &region, cuts);
    cluster.settle();
    let regions = taken(&answer).unwrap();
    assert_eq!(regions.len(), cuts.len() + 1);
    for region in &regions {
        let view = cluster.handle(leader).region(region.id).unwrap();
        assert_eq!((view.role, &*view.descriptor), (region::Role::Leader, region), "children begin as leaders");
    }
    cluster.follow();
}

pub fn change(cluster: &mut Cluster, region: RegionId, changes: &[MemberChange]) -> RegionDescriptor {
    for _ in 0..10 {
        cluster.follow();
        let leader = cluster.leader(region).unwrap();
        let descriptor = cluster.regions.iter().find(|other| other.id == region).unwrap().clone();
        let answer = MembersAnswer::default();
        let slot = Arc::clone(&answer);
        let responder = Responder::new(move |result| *slot.lock().unwrap() = Some(result));
        cluster.handle(leader).change_members(region, descriptor.epoch, changes.to_vec(), responder);
        cluster.tick_until("an answer", |_| answer.lock().unwrap().is_some());
        match taken(&answer) {
            Ok(descriptor) => {
                cluster.follow();
                return descriptor;
            }
            Err(RequestError::NotLeader { .. }) => {
                cluster.tick_until("another leader", |cluster| cluster.leader(region).is_some_and(|at| at != leader));
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the members did not become what they should");
}

pub fn inspect(cluster: &mut Cluster, at: usize, region: RegionId) -> Option<RegionStatus> {
    let answer: Answer<Option<RegionStatus>> = Answer::default();
    let slot = Arc::clone(&answer);
    cluster.handle(at).inspect(region, Responder::new(move |status| *slot.lock().unwrap() = Some(status)));
    cluster.settle();
    taken(&answer)
}

pub fn check_values(cluster: &mut Cluster, round: &str) {
    for (key, value) in pairs(40, round) {
        assert_eq!(cluster.get(&key).unwrap().unwrap(), value.as_bytes(), "{key}");
    }
    assert!(cluster.failures.lock().unwrap().is_empty(), "{:?}", cluster.failures.lock().unwrap());
}
