//! Disks that fail, and members that stay away.

#![allow(clippy::unwrap_used)]

mod support;

use engine::memory::{Fault, FaultPoint};
use store::{StoreConfig, StoreState};
use support::{Cluster, pairs};
use types::{InstanceId, RequestError, StoreId};

/// A fault strikes one store of three: it stops and says why, the others go on, and nothing acknowledged is lost.
fn one_store_fails(point: FaultPoint, fault: fn() -> Fault, named: &str) {
    let mut cluster = Cluster::new(3, 4);
    cluster.elect_all();
    cluster.put_all(&pairs(20, "before"));
    let failing = cluster.leader(cluster.regions[0].id).unwrap();
    cluster.nodes[failing].disk.inject(point, 1, fault());
    let lost = cluster.put(failing, "key0000", "unknown");
    cluster.settle();
    cluster.tick_until("the failure", |cluster| cluster.handle(failing).state() == StoreState::Failed);
    let failures = cluster.failures.lock().unwrap().clone();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].1.contains(named), "{failures:?}");
    assert!(!matches!(*lost.lock().unwrap(), Some(Ok(_))) || point == FaultPoint::StateFlush);
    let refused = cluster.put(failing, "key0000", "refused");
    assert!(matches!(*refused.lock().unwrap(), Some(Err(RequestError::ServerIsBusy { .. }))));

    cluster.elect_all();
    cluster.put_all(&pairs(20, "after"));
    for (key, value) in pairs(20, "after") {
        assert_eq!(cluster.get(&key).unwrap().unwrap(), value.as_bytes());
    }
    cluster.kill(failing);
    cluster.nodes[failing].disk.crash(&mut types::seed::Rng::new(3));
    cluster.nodes[failing].disk.set_capacity(u64::MAX);
    cluster.open(failing).unwrap();
    cluster
        .tick_until("the store to catch up", |cluster| cluster.content(failing) == cluster.content((failing + 1) % 3));
}

#[test]
fn a_failing_sync_stops_the_store_and_no_other() {
    one_store_fails(FaultPoint::LogSync, || Fault::Io, "log engine");
}

#[test]
fn a_full_disk_stops_the_store_and_no_other() {
    one_store_fails(FaultPoint::LogWrite, || Fault::DiskFull, "full");
}

#[test]
fn a_failing_state_engine_stops_the_store_and_no_other() {
    one_store_fails(FaultPoint::StateWrite, || Fault::Io, "state engine");
}

#[test]
fn a_store_that_cannot_remember_another_stops() {
    let cluster = Cluster::new(1, 1);
    cluster.nodes[0].disk.inject(FaultPoint::LogSync, 1, Fault::Io);
    cluster.handle(0).remember_instance(StoreId(9), InstanceId(1)).unwrap_err();
    assert_eq!(cluster.handle(0).state(), StoreState::Failed);
    let failures = cluster.failures.lock().unwrap();
    assert!(matches!(&failures[..], [(_, words)] if words.contains("log engine")), "{failures:?}");
}

/// Small bounds, so that a few writes reach them.
fn tight() -> StoreConfig {
    let mut config = StoreConfig::default();
    config.region.compact_entries = 20;
    config.region.max_log_bytes = 64 << 10;
    config
}

#[test]
fn logs_are_compacted_behind_the_flush_watermark_alone() {
    let mut cluster = Cluster::with_config(3, 1, tight());
    cluster.elect_all();
    let (region, first) = (cluster.regions[0].id, |cluster: &Cluster, at: usize| {
        let log = cluster.handle(at).engines().log.region(cluster.regions[0].id).unwrap().unwrap();
        log.bounds.unwrap().0
    });
    for round in 0..60 {
        cluster.put_all(&pairs(1, &round.to_string()));
    }
    let compacted = |cluster: &Cluster, at: usize| {
        let answer = support::Answer::default();
        let slot: support::Answer<Option<region::RegionStatus>> = std::sync::Arc::clone(&answer);
        let inspector = types::Responder::new(move |status| *slot.lock().unwrap() = Some(status));
        cluster.handle(at).inspect(region, inspector);
        answer
    };
    cluster.tick_until("a compaction", |cluster| {
        let statuses: Vec<_> = (0..3).map(|at| compacted(cluster, at)).collect();
        cluster.settle();
        statuses.iter().all(|status| status.lock().unwrap().clone().unwrap().unwrap().apply_state.truncated.0 > 20)
    });
    for at in 0..3 {
        let stepper = cluster.nodes[at].stepper.as_mut().unwrap();
        stepper.run_upkeep();
        assert_eq!(first(&cluster, at).0, 6, "deleted before the state engine was flushed");
        cluster.nodes[at].stepper.as_mut().unwrap().flush();
        assert!(first(&cluster, at).0 > 20, "kept behind the watermark");
    }
    for at in 0..3 {
        cluster.kill(at);
        cluster.nodes[at].disk.crash_at(engine::memory::CrashPoint::OLDEST);
        cluster.open(at).unwrap();
    }
    cluster.elect_all();
    assert_eq!(cluster.get("key0000").unwrap().unwrap(), "59-0");
}

#[test]
fn a_member_that_stays_away_bounds_the_log() {
    let mut cluster = Cluster::with_config(3, 1, tight());
    cluster.elect_all();
    let leader = cluster.leader(cluster.regions[0].id).unwrap();
    let away = (leader + 1) % 3;
    cluster.kill(away);
    let value = "v".repeat(4 << 10);
    let limit = cluster.config.region.max_log_bytes;
    for _ in 0..80 {
        let answer = cluster.put(leader, "key0000", &value);
        cluster.tick();
        assert!(matches!(*answer.lock().unwrap(), Some(Ok(_))), "a write waits for the member that is away");
    }
    let (told, hears) = std::sync::mpsc::channel();
    let region = cluster.regions[0].id;
    cluster.handle(leader).inspect(region, types::Responder::new(move |status| told.send(status).unwrap()));
    cluster.settle();
    let bytes = hears.try_recv().unwrap().unwrap().log_bytes;
    assert!(bytes < limit + 2 * value.len() as u64, "the log holds {bytes} bytes, the bound is {limit}");
}

#[test]
fn damage_in_the_middle_of_the_log_retires_the_store() {
    let mut cluster = Cluster::new(1, 1);
    cluster.elect_all();
    cluster.put_all(&pairs(3, "value"));
    cluster.kill(0);
    assert!(cluster.nodes[0].disk.damage_log());
    let error = cluster.nodes[0].disk.open_log().map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("retire this store"), "{error}");
}
