//! A store's first start, interrupted at every step, and starts that must be refused.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use engine::memory::{CrashPoint, Fault, FaultPoint, MemDisk};
use engine::{Durability, Family, LogBatch, LogOp, StateBatch, StoreIdent, meta};
use store::layout::static_regions;
use store::{Engines, StoreError};
use support::{Cluster, pairs};
use types::{ClusterId, ColumnFamily, InstanceId, LogIndex, RegionDescriptor, StoreId};

fn engines(disk: &MemDisk) -> Engines {
    Engines::in_memory(disk).unwrap()
}

fn ident(instance: u64) -> StoreIdent {
    StoreIdent { cluster: ClusterId(7), store: StoreId(1), instance: InstanceId(instance) }
}

fn layout(regions: usize) -> Vec<RegionDescriptor> {
    static_regions(&[StoreId(1)], &Cluster::split_keys(regions)).unwrap()
}

/// What a bootstrap left on a disk: the ident in L, the regions in L, the regions in S.
fn found(disk: &MemDisk) -> (Option<StoreIdent>, usize, usize) {
    let engines = engines(disk);
    let in_state = meta::read_regions(&*engines.state).unwrap().len();
    (engines.log.ident().unwrap(), engines.log.regions().unwrap().len(), in_state)
}

#[test]
fn a_bootstrap_is_whole_or_is_done_again() {
    let steps = [FaultPoint::StateWrite, FaultPoint::StateFlush, FaultPoint::LogWrite, FaultPoint::LogSync];
    for step in steps {
        for cut in [CrashPoint::OLDEST, CrashPoint::NEWEST] {
            let disk = MemDisk::default();
            let first = engines(&disk);
            disk.inject(step, 1, Fault::Io);
            store::bootstrap(&first, ident(1), &layout(3)).unwrap_err();
            disk.crash_at(cut);
            drop(first);
            let (found_ident, in_log, _) = found(&disk);
            assert_eq!(found_ident.is_some(), in_log > 0, "{step:?} {cut:?}: half of the log engine's batch");
            if found_ident.is_none() {
                store::bootstrap(&engines(&disk), ident(2), &layout(5)).unwrap();
                disk.crash_at(CrashPoint::OLDEST);
                assert_eq!(found(&disk), (Some(ident(2)), 5, 5), "{step:?} {cut:?}: remains of the first try");
            }
        }
    }
}

#[test]
fn a_bootstrap_survives_any_crash_behind_it() {
    let disk = MemDisk::default();
    store::bootstrap(&engines(&disk), ident(1), &layout(3)).unwrap();
    disk.crash_at(CrashPoint::OLDEST);
    assert_eq!(found(&disk), (Some(ident(1)), 3, 3));
    let again = store::bootstrap(&engines(&disk), ident(2), &layout(3));
    assert!(matches!(again, Err(StoreError::Ident { .. })), "{again:?}");
}

#[test]
fn a_store_that_has_lost_its_log_is_not_bootstrapped_anew() {
    let mut cluster = Cluster::new(1, 2);
    cluster.elect_all();
    cluster.put_all(&pairs(4, "value"));
    cluster.nodes[0].stepper.as_mut().unwrap().flush();
    let state = Arc::clone(&cluster.handle(0).engines().state);
    let log = MemDisk::default();
    let files = Arc::new(snapshot::MemoryFiles::open(&log));
    let mixed = Engines { log: Arc::new(log.open_log().unwrap()), state, files };
    let error = store::bootstrap(&mixed, ident(3), &layout(2)).unwrap_err();
    assert!(error.to_string().contains("log directory is empty"), "{error}");
}

/// Changes the engines of a stopped store, then tries to open it.
fn open_after(change: impl FnOnce(&Engines, &RegionDescriptor)) -> StoreError {
    let mut cluster = Cluster::new(1, 2);
    cluster.elect_all();
    cluster.put_all(&pairs(20, "value"));
    cluster.nodes[0].stepper.as_mut().unwrap().flush();
    cluster.kill(0);
    let engines = cluster.engines(0);
    change(&engines, &cluster.regions[0]);
    engines.state.flush().unwrap();
    drop(engines);
    cluster.open(0).unwrap_err()
}

#[test]
fn engines_that_contradict_each_other_are_refused() {
    let delete = |engines: &Engines, key| {
        let mut batch = StateBatch::default();
        batch.delete(Family::Meta, key);
        engines.state.write(&batch).unwrap();
    };
    let error = open_after(|engines, region| {
        delete(engines, meta::descriptor_key(region.id));
        delete(engines, meta::apply_state_key(region.id));
    });
    assert!(error.to_string().contains("not in the state engine"), "{error}");

    let error = open_after(|engines, region| delete(engines, meta::apply_state_key(region.id)));
    assert!(error.to_string().contains("half of its records"), "{error}");

    let log_op = |engines: &Engines, op| {
        engines.log.write(LogBatch { ops: vec![op] }, Durability::Synced).unwrap();
    };
    let error = open_after(|engines, region| {
        let (region, next_peer) = (region.id, types::PeerId(u64::MAX));
        log_op(engines, LogOp::Remove { region, next_peer });
    });
    assert!(error.to_string().contains("cannot be restored"), "{error}");

    let error = open_after(|engines, region| {
        let (region, peer) = (region.id, region.peers[0].id);
        log_op(engines, LogOp::DeleteTo { region, peer, end: LogIndex(7) });
    });
    assert!(error.to_string().contains("is missing"), "{error}");

    let error = open_after(|engines, region| {
        log_op(engines, LogOp::RaiseCommitFloor { region: region.id, floor: LogIndex(1_000_000) });
    });
    assert!(error.to_string().contains("are committed, but its log ends"), "{error}");

    let error = open_after(|engines, region| {
        let mut batch = StateBatch::default();
        let regions = meta::read_regions(&*engines.state).unwrap();
        let mut state = regions.into_iter().find(|state| state.descriptor.id == region.id).unwrap();
        state.apply_state.applied_term = types::Term(4);
        meta::put_region(&mut batch, &state);
        engines.state.write(&batch).unwrap();
    });
    assert!(error.to_string().contains("its log says"), "{error}");

    let error = open_after(|engines, _| {
        let mut batch = StateBatch::default();
        batch.put(Family::Meta, meta::ident_key(), ident(77).encode());
        engines.state.write(&batch).unwrap();
    });
    assert!(matches!(error, StoreError::Ident { .. }), "{error}");
}

#[test]
fn user_data_without_a_store_is_not_overwritten() {
    let disk = MemDisk::default();
    let engines = engines(&disk);
    let mut batch = StateBatch::default();
    batch.put(ColumnFamily::Default, "key", "value");
    engines.state.write(&batch).unwrap();
    assert!(store::bootstrap(&engines, ident(1), &layout(1)).is_err());
}
