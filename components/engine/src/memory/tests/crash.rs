//! What a crash takes and what it leaves.

use super::*;

#[test]
fn the_log_loses_any_suffix_of_what_was_not_synced() {
    for kept in 0..=5 {
        let (disk, log, _state) = open();
        write(&log, vec![append(1, 10, entries(6, 20, 5))]);
        for end in 7..=11 {
            log.write(delete_to(end), Durability::Buffered).unwrap();
        }
        assert_eq!(disk.unsynced_log_writes(), 5);
        disk.crash_at(CrashPoint { log_writes: kept, ..CrashPoint::OLDEST });
        let log = disk.open_log().unwrap();
        assert_eq!(bounds(&log, 1), Some((6 + kept as u64, 19)));
        assert_eq!(disk.unsynced_log_writes(), 0, "what a crash left is on the disk");
    }
}

#[test]
fn what_an_opened_log_holds_stays() {
    let (disk, log, _state) = open();
    disk.inject(FaultPoint::LogSync, 2, Fault::Io);
    try_append(&log, 6, 9, Durability::Synced).unwrap();
    try_append(&log, 9, 11, Durability::Synced).unwrap_err();
    drop(log);
    let log = disk.open_log().unwrap();
    assert_eq!(bounds(&log, 1), Some((6, 10)));
    disk.crash_at(CrashPoint::OLDEST);
    assert_eq!(bounds(&disk.open_log().unwrap(), 1), Some((6, 10)));
}

#[test]
fn whoever_peeks_sees_what_is_on_the_disk_past_every_fault() {
    let (disk, log, state) = open();
    write(&log, vec![append(1, 10, entries(6, 9, 5)), LogOp::PutInstance { store: 9.into(), instance: 99.into() }]);
    put_round(&state, 1);
    disk.inject(FaultPoint::LogRead, 1, Fault::Io);
    disk.inject(FaultPoint::StateRead, 1, Fault::Io);
    let logs = disk.peek_log();
    assert_eq!((disk.peek_ident(), disk.peek_instances()), (None, vec![(9.into(), 99.into())]));
    assert_eq!(logs[0].0.bounds, Some((LogIndex(6), LogIndex(8))));
    assert_eq!(logs[0].1, entries(6, 9, 5));
    let families: Vec<Family> = disk.peek_state().into_iter().map(|(family, ..)| family).collect();
    assert_eq!(families, [DATA, LOCK, Family::Meta]);
    drop((log, state));
    assert!(disk.peek_state().is_empty(), "nothing was flushed");
    assert_eq!(disk.peek_log(), logs);
}

#[test]
fn every_kind_of_unsynced_operation_is_taken_back() {
    let (disk, log, _state) = open();
    write(&log, vec![append(1, 10, entries(6, 20, 5)), append(2, 20, entries(6, 9, 5))]);
    let before = (log.regions().unwrap(), log.ident().unwrap(), log.instances().unwrap(), disk.used_bytes());
    let ident = crate::StoreIdent { cluster: 1.into(), store: 2.into(), instance: 3.into() };
    let ops = vec![
        append(1, 10, entries(8, 10, 6)),
        LogOp::Remove { region: RegionId(2), next_peer: PeerId(21) },
        append(3, 30, entries(1, 2, 1)),
        LogOp::RaiseCommitFloor { region: RegionId(1), floor: LogIndex(9) },
        LogOp::PutIdent(ident),
        LogOp::PutIdent(crate::StoreIdent { instance: 4.into(), ..ident }),
        LogOp::PutIdent(ident),
        LogOp::PutInstance { store: 9.into(), instance: 99.into() },
        LogOp::PutInstance { store: 9.into(), instance: 100.into() },
    ];
    log.write(LogBatch { ops: ops.clone() }, Durability::Buffered).unwrap();
    log.write(LogBatch { ops: ops[2..].to_vec() }, Durability::Buffered).unwrap();
    assert_eq!(log.ident().unwrap(), Some(ident));
    disk.crash_at(CrashPoint::OLDEST);
    let log = disk.open_log().unwrap();
    let after = (log.regions().unwrap(), log.ident().unwrap(), log.instances().unwrap(), disk.used_bytes());
    assert_eq!(after, before);
    assert_eq!(all_entries(&log, 1, 10), entries(6, 20, 5));
}

#[test]
fn the_state_falls_back_to_any_cut_since_its_flush() {
    for kept in 0..=4 {
        let (disk, _log, state) = open();
        put_round(&state, 1);
        state.flush().unwrap();
        (2..=5).for_each(|round| put_round(&state, round));
        assert_eq!(disk.unflushed_state_batches(), 4);
        disk.crash_at(CrashPoint { state_batches: kept, ..CrashPoint::OLDEST });
        let state = disk.open_state().unwrap();
        let round = 1 + kept as u64;
        let expected = (1..=round).map(|round| round.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!((keys(&state, DATA), keys(&state, LOCK)), (expected.clone(), expected));
        assert_eq!(state.persisted_round(WRITER).unwrap(), Round(round));
    }
}

#[test]
fn random_crashes_reach_every_cut_and_follow_the_seed() {
    let fall_back = |seed: u64| {
        let (disk, log, state) = open();
        write(&log, vec![append(1, 10, entries(6, 20, 5))]);
        (7..10).for_each(|end| log.write(delete_to(end), Durability::Buffered).unwrap());
        (1..=3).for_each(|round| put_round(&state, round));
        disk.crash(&mut Rng::new(seed))
    };
    let points = (0..200).map(fall_back).collect::<Vec<_>>();
    for kept in 0..=3 {
        assert!(points.iter().any(|point| point.log_writes == kept));
        assert!(points.iter().any(|point| point.state_batches == kept));
    }
    assert_eq!(points, (0..200).map(fall_back).collect::<Vec<_>>());
}

#[test]
fn a_dead_process_is_refused_everything() {
    let (disk, log, state) = open();
    write(&log, vec![append(1, 10, entries(6, 9, 5))]);
    put_round(&state, 1);
    state.flush().unwrap();
    let snapshot = state.snapshot();
    let old_iter = snapshot.iter(DATA, IterRange::default()).map(Some).unwrap();
    let mut file = state.sst_writer(DATA, Path::new("file")).unwrap();
    file.put(b"a", b"1").unwrap();
    disk.crash_at(CrashPoint::NEWEST);
    let (new_log, new_state) = (disk.open_log().unwrap(), disk.open_state().unwrap());

    assert!(try_append(&log, 9, 10, Durability::Synced).is_err());
    assert!(log.write(delete_to(8), Durability::Buffered).is_err());
    assert!(log.ident().is_err() && log.instances().is_err() && log.regions().is_err());
    assert!(log.region(RegionId(1)).is_err());
    assert!(log.entries(RegionId(1), PeerId(10), LogIndex(6), LogIndex(9), 1).is_err());
    assert!(log.term(RegionId(1), PeerId(10), LogIndex(6)).is_err());
    assert!(log.approximate_bytes(RegionId(1), LogIndex(6), LogIndex(9)).is_err());

    let mut change = crate::StateBatch::default();
    change.put(DATA, "late", "x");
    assert!(state.write(&change).is_err());
    assert!(state.get(DATA, b"1").is_err() && state.iter(DATA, IterRange::default()).is_err());
    assert!(state.flush().is_err() && state.persisted_round(WRITER).is_err());
    assert!(state.sst_writer(DATA, Path::new("late")).is_err() && state.ingest(&[]).is_err());
    assert!(state.delete_files_in_range(&KeyRange::all()).is_err());
    assert!(state.approximate_bytes(&KeyRange::all()).is_err());
    assert!(state.snapshot().get(DATA, b"1").is_err());
    assert!(snapshot.get(DATA, b"1").is_err() && snapshot.iter(DATA, IterRange::default()).is_err());
    assert!(old_iter.is_some_and(|mut iter| iter.seek_to_first().is_err()));
    assert!(file.put(b"b", b"2").is_err() && file.finish().is_err());
    assert_eq!(disk.read_file(Path::new("file")), None);

    put_round(&new_state, 2);
    drop((log, state));
    assert_eq!(bounds(&new_log, 1), Some((6, 8)));
    assert_eq!(keys(&new_state, DATA), "1 2", "the old handle's end does not touch the new one");
    assert!(disk.open_log().is_err() && disk.open_state().is_err(), "nor does it release the new one's hold");
}

#[test]
fn a_disk_is_open_once_at_a_time() {
    let (disk, log, state) = open();
    assert!(matches!(disk.open_log(), Err(EngineError::Locked { .. })));
    assert!(matches!(disk.open_state(), Err(EngineError::Locked { .. })));
    drop((log, state));
    assert!(disk.open_log().is_ok() && disk.open_state().is_ok());
}

#[test]
fn an_orderly_end_keeps_the_log_and_of_the_state_what_was_flushed() {
    let (disk, log, state) = open();
    write(&log, vec![append(1, 10, entries(6, 9, 5))]);
    log.write(delete_to(8), Durability::Buffered).unwrap();
    put_round(&state, 1);
    state.flush().unwrap();
    put_round(&state, 2);
    drop((log, state));
    let (log, state) = (disk.open_log().unwrap(), disk.open_state().unwrap());
    assert_eq!(bounds(&log, 1), Some((8, 8)));
    assert_eq!(keys(&state, DATA), "1");
    write(&log, vec![append(1, 10, entries(9, 11, 5))]);
    log.write(delete_to(10), Durability::Buffered).unwrap();
    drop(log);
    disk.crash_at(CrashPoint::OLDEST);
    assert_eq!(bounds(&disk.open_log().unwrap(), 1), Some((8, 10)), "an orderly end is no sync");
}

#[test]
fn a_torn_tail_is_dropped_by_the_next_opening() {
    let (disk, log, _state) = open();
    write(&log, vec![append(1, 10, entries(6, 9, 5))]);
    let before = disk.used_bytes();
    let data = vec![b'x'; 1_000];
    let ops = vec![append(1, 10, vec![entry_with(9, 5, data.clone())]), append(2, 20, vec![entry_with(6, 5, data)])];
    log.write(LogBatch { ops }, Durability::Buffered).unwrap();
    disk.crash_at(CrashPoint { torn_tail: true, ..CrashPoint::OLDEST });
    assert!(disk.used_bytes() >= before + 1_000, "half of the write is on the disk");
    let log = disk.open_log().unwrap();
    assert_eq!(disk.used_bytes(), before);
    assert_eq!((bounds(&log, 1), bounds(&log, 2)), (Some((6, 8)), None), "half a write is no write");
}
