//! A region's peer begins anew while its store runs: nothing is lost, nothing is answered twice, and what its old `RawNode`
//! had begun is waited for.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use region::Role;
use store::StoreConfig;
use support::{Answer, Cluster, pairs};
use types::{CommandOutput, Generation, RegionId, RequestError, Responder};

/// What a rebuild was told, once it was.
type Told = Arc<Mutex<Option<Option<Generation>>>>;

fn rebuild(cluster: &Cluster, at: usize, region: RegionId) -> Told {
    let told = Told::default();
    let slot = Arc::clone(&told);
    let done = Responder::new(move |generation| {
        assert!(slot.lock().unwrap().replace(generation).is_none(), "told twice");
    });
    cluster.handle(at).rebuild(region, done);
    told
}

fn taken<T>(answer: &Answer<T>) -> T {
    answer.lock().unwrap().take().expect("it was answered")
}

fn queued_log() -> StoreConfig {
    StoreConfig { log_writer_thread: true, ..StoreConfig::default() }
}

#[test]
fn each_rebuild_is_a_new_generation_with_the_same_log_and_data() {
    for config in [StoreConfig::default(), queued_log()] {
        let mut cluster = Cluster::with_config(3, 2, config);
        cluster.elect_all();
        cluster.put_all(&pairs(20, "before"));
        let region = cluster.regions[0].id;
        for round in 0..3_u64 {
            for at in 0..3 {
                let told = rebuild(&cluster, at, region);
                cluster.settle();
                assert_eq!(taken(&told), Some(Generation(round + 2)));
            }
            cluster.elect_all();
            cluster.put_all(&pairs(20, &format!("round {round}")));
        }
        for (key, value) in pairs(20, "round 2") {
            assert_eq!(cluster.get(&key).unwrap().unwrap(), value.as_bytes());
        }
        cluster.tick_until("equal stores", |cluster| (1..3).all(|at| cluster.content(at) == cluster.content(0)));
        assert!(cluster.failures.lock().unwrap().is_empty());
    }
}

#[test]
fn a_leader_that_is_rebuilt_leads_no_more() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect_all();
    let region = cluster.regions[0].id;
    let leader = cluster.leader(region).unwrap();
    let term = cluster.handle(leader).region(region).unwrap().term;
    let told = rebuild(&cluster, leader, region);
    cluster.settle();
    assert!(taken(&told).is_some());
    let view = cluster.handle(leader).region(region).unwrap();
    assert_eq!((view.role, view.term), (Role::Follower, term));
    cluster.elect_all();
    assert_ne!(cluster.leader(region), Some(leader), "it takes no part in elections for one election timeout");
}

#[test]
fn it_waits_for_the_log_and_answers_every_request_once() {
    let mut cluster = Cluster::with_config(1, 1, queued_log());
    cluster.elect_all();
    let region = cluster.regions[0].id;
    let proposed = cluster.put(0, "key0001", "proposed");
    let stepper = cluster.nodes[0].stepper.as_mut().unwrap();
    assert!(stepper.step_raft(0, |_| Some(0)));
    let gathered = cluster.put(0, "key0002", "gathered");
    let told = rebuild(&cluster, 0, region);
    let (late, read) = (cluster.put(0, "key0003", "late"), cluster.read(0, "key0001"));
    let stepper = cluster.nodes[0].stepper.as_mut().unwrap();
    while stepper.step_raft(0, |_| Some(0)) || stepper.step_apply(0, |_| Some(0)) {}
    assert!(told.lock().unwrap().is_none(), "the log does not hold what the old one asked of it");
    assert!(matches!(taken(&proposed), Err(RequestError::Undetermined { .. })), "it may still be committed");
    assert!(matches!(taken(&gathered), Err(RequestError::NotLeader { .. })), "it was never proposed");
    let elsewhere = RequestError::NotLeader { region, leader: None };
    assert_eq!(taken(&late).unwrap_err(), elsewhere, "a client would take a busy store's word for final");
    assert_eq!(taken(&read).map(drop).unwrap_err(), elsewhere);

    let again = rebuild(&cluster, 0, region);
    cluster.nodes[0].stepper.as_mut().unwrap().step_log_writer();
    cluster.settle();
    assert_eq!((taken(&told), taken(&again)), (Some(Generation(2)), Some(Generation(2))), "one rebuild serves both");
    cluster.elect_all();
    assert_eq!(cluster.get("key0001").unwrap().unwrap(), "proposed", "what was in the log is committed after all");
    assert_eq!(cluster.get("key0002").unwrap(), None);
}

#[test]
fn it_waits_for_apply_and_hears_every_completion() {
    let config = StoreConfig { messages_per_round: 1, ..StoreConfig::default() };
    let mut cluster = Cluster::with_config(1, 1, config);
    cluster.elect_all();
    let region = cluster.regions[0].id;
    let writes: Vec<_> = (0..3).map(|at| cluster.put(0, &format!("key000{at}"), "value")).collect();
    let stepper = cluster.nodes[0].stepper.as_mut().unwrap();
    while stepper.step_raft(0, |_| Some(0)) {}
    let told = rebuild(&cluster, 0, region);
    let stepper = cluster.nodes[0].stepper.as_mut().unwrap();
    // One message a round: three rounds of apply, whose three completions lie behind the order to begin anew.
    assert!(stepper.step_apply(0, |_| Some(0)));
    assert!(told.lock().unwrap().is_none());
    while stepper.step_apply(0, |_| Some(0)) {}
    for _ in 0..3 {
        assert!(told.lock().unwrap().is_none(), "what apply tells may be of a split, which must be heard");
        assert!(stepper.step_raft(0, |_| Some(0)));
    }
    stepper.run_until_idle();
    assert_eq!(taken(&told), Some(Generation(2)));
    assert!(writes.iter().all(|answer| matches!(taken(answer), Ok(CommandOutput::Written))));
    cluster.settle();
    cluster.elect_all();
    cluster.put_all(&pairs(5, "after"));
    assert!(cluster.failures.lock().unwrap().is_empty(), "{:?}", cluster.failures.lock().unwrap());
}

#[test]
fn what_is_not_here_is_not_rebuilt() {
    let mut cluster = Cluster::new(1, 1);
    assert_eq!(taken(&rebuild(&cluster, 0, RegionId(1))), None);
    // A store that stops first tells so.
    let region = cluster.regions[0].id;
    let told = rebuild(&cluster, 0, region);
    cluster.kill(0);
    assert_eq!(taken(&told), None);
}

#[test]
fn rebuilding_is_as_repeatable_as_everything_else() {
    let run = || {
        let mut cluster = Cluster::with_config(3, 10, queued_log());
        cluster.elect_all();
        for round in 0..5 {
            cluster.put_all(&pairs(50, &format!("{round}")));
            let ids: Vec<RegionId> = cluster.regions.iter().map(|region| region.id).collect();
            for (at, id) in ids.into_iter().enumerate() {
                rebuild(&cluster, (at + round) % 3, id);
            }
            cluster.elect_all();
        }
        cluster.trace.digest()
    };
    assert_eq!(run(), run());
}
