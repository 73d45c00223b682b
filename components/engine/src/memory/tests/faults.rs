//! Each fault that can be injected.

use super::*;

fn is_io<T>(result: Result<T>) -> bool {
    matches!(result, Err(EngineError::Io { .. }))
}

fn is_full<T>(result: Result<T>) -> bool {
    matches!(result, Err(EngineError::DiskFull { .. }))
}

fn is_poisoned<T>(result: Result<T>) -> bool {
    matches!(result, Err(EngineError::Poisoned { .. }))
}

#[test]
fn the_nth_log_write_fails_and_poisons() {
    let (disk, log, _state) = open();
    disk.inject(FaultPoint::LogWrite, 3, Fault::Io);
    try_append(&log, 6, 7, Durability::Synced).unwrap();
    try_append(&log, 7, 8, Durability::Buffered).unwrap();
    assert!(is_io(try_append(&log, 8, 9, Durability::Buffered)));
    assert!(is_poisoned(try_append(&log, 8, 9, Durability::Synced)));
    assert_eq!(bounds(&log, 1), Some((6, 7)), "a write that failed is not seen");
    disk.crash_at(CrashPoint::NEWEST);
    let log = disk.open_log().unwrap();
    assert_eq!(bounds(&log, 1), Some((6, 7)));
    try_append(&log, 8, 9, Durability::Synced).unwrap();
}

/// D15: what a failed sync wrote may be there or not, and nothing is written behind it.
#[test]
fn a_failed_sync_poisons_for_ever_and_its_batch_may_be_lost_or_not() {
    for (kept, last) in [(0, 6), (1, 7)] {
        let (disk, log, _state) = open();
        try_append(&log, 6, 7, Durability::Synced).unwrap();
        disk.inject(FaultPoint::LogSync, 1, Fault::Io);
        assert!(is_io(try_append(&log, 7, 8, Durability::Synced)));
        for durability in [Durability::Synced, Durability::Buffered, Durability::Synced] {
            assert!(is_poisoned(try_append(&log, 8, 9, durability)));
        }
        assert_eq!(log.statistics().syncs, 1, "a sync that failed is not tried again");
        disk.crash_at(CrashPoint { log_writes: kept, ..CrashPoint::OLDEST });
        assert_eq!(bounds(&disk.open_log().unwrap(), 1), Some((6, last)));
    }
}

#[test]
fn a_buffered_write_reaches_no_sync() {
    let (disk, log, _state) = open();
    disk.inject(FaultPoint::LogSync, 1, Fault::Io);
    try_append(&log, 6, 7, Durability::Buffered).unwrap();
    disk.clear_faults();
    try_append(&log, 7, 8, Durability::Synced).unwrap();
    assert_eq!(disk.unsynced_log_writes(), 0);
}

#[test]
fn a_waiting_fault_changes_nothing_before_it_strikes() {
    let (disk, log, _state) = open();
    disk.inject(FaultPoint::LogSync, 5, Fault::Io);
    try_append(&log, 6, 8, Durability::Synced).unwrap();
    assert_eq!((disk.unsynced_log_writes(), log.statistics().syncs), (0, 1));
    disk.crash_at(CrashPoint::OLDEST);
    assert_eq!(bounds(&disk.open_log().unwrap(), 1), Some((6, 7)));
}

#[test]
fn reads_fail_and_go_on() {
    let (disk, log, state) = open();
    try_append(&log, 6, 7, Durability::Synced).unwrap();
    put_round(&state, 1);
    let snapshot = state.snapshot();
    disk.inject(FaultPoint::LogRead, 1, Fault::Io);
    assert!(is_io(log.regions()));
    assert!(log.regions().is_ok());
    for point in 1..=3 {
        disk.inject(FaultPoint::StateRead, point, Fault::Io);
    }
    assert!(is_io(state.get(DATA, b"1")) && is_io(snapshot.get(DATA, b"1")));
    assert!(matches!(state.iter(DATA, IterRange::default()), Err(EngineError::Io { .. })));
    assert_eq!(keys(&state, DATA), "1");
}

#[test]
fn a_failed_state_write_changes_nothing() {
    let (disk, _log, state) = open();
    disk.inject(FaultPoint::StateWrite, 1, Fault::Io);
    let mut change = crate::StateBatch::default();
    change.put(DATA, "a", "1");
    assert!(is_io(state.write(&change)));
    assert_eq!(keys(&state, DATA), "");
    state.write(&change).unwrap();
    assert_eq!(keys(&state, DATA), "a");
}

#[test]
fn a_failed_flush_makes_nothing_durable() {
    let (disk, _log, state) = open();
    put_round(&state, 1);
    disk.inject(FaultPoint::StateFlush, 1, Fault::Io);
    assert!(is_io(state.flush()));
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(0));
    assert_eq!(state.statistics().flushes, 0);
    state.flush().unwrap();
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(1));
}

#[test]
fn failed_file_operations_change_nothing() {
    let (disk, _log, state) = open();
    put_all(&state, DATA, &[("a", "1"), ("b", "2")]);
    state.flush().unwrap();
    let file = IngestFile { family: DATA, path: "file".into() };
    let write_file = || {
        let mut writer = state.sst_writer(DATA, &file.path).unwrap();
        writer.put(b"c", b"3").unwrap();
        writer.finish()
    };
    disk.inject(FaultPoint::FileFinish, 1, Fault::DiskFull);
    assert!(is_full(write_file()));
    assert_eq!(disk.read_file(&file.path), None);
    write_file().unwrap();
    disk.inject(FaultPoint::Ingest, 1, Fault::Io);
    assert!(is_io(state.ingest(std::slice::from_ref(&file))));
    disk.inject(FaultPoint::DeleteFiles, 1, Fault::Io);
    assert!(is_io(state.delete_files_in_range(&KeyRange::all())));
    assert_eq!(keys(&state, DATA), "a b");
    state.ingest(&[file]).unwrap();
    assert_eq!(keys(&state, DATA), "a b c");
}

#[test]
fn a_full_disk_takes_no_log() {
    let (disk, log, _state) = open();
    try_append(&log, 6, 7, Durability::Synced).unwrap();
    disk.set_capacity(disk.used_bytes() + 500);
    let large = vec![append(1, 10, vec![entry_with(7, 5, vec![0_u8; 1_000])])];
    assert!(is_full(log.write(LogBatch { ops: large.clone() }, Durability::Synced)));
    assert!(is_poisoned(try_append(&log, 7, 8, Durability::Synced)));
    assert_eq!(bounds(&log, 1), Some((6, 6)));
    disk.crash_at(CrashPoint::OLDEST);
    let log = disk.open_log().unwrap();
    disk.set_capacity(u64::MAX);
    log.write(LogBatch { ops: large }, Durability::Synced).unwrap();
}

#[test]
fn a_full_disk_takes_no_flush_and_no_file() {
    let (disk, _log, state) = open();
    disk.set_capacity(500);
    batch(&state, |batch| batch.put(DATA, "a", vec![0_u8; 1_000]));
    assert!(is_full(state.flush()));
    let mut writer = state.sst_writer(DATA, Path::new("file")).unwrap();
    writer.put(b"b", &[0; 1_000]).unwrap();
    assert!(is_full(writer.finish()));
    disk.set_capacity(u64::MAX);
    state.flush().unwrap();
    assert!(disk.used_bytes() >= 1_000);
}

#[test]
fn removing_what_is_old_frees_the_disk() {
    let (disk, log, state) = open();
    try_append(&log, 6, 106, Durability::Synced).unwrap();
    put_all(&state, DATA, &[("a", "1"), ("b", "2"), ("c", "3")]);
    state.flush().unwrap();
    ingest(&state, Path::new(""), "file", DATA, &[("d", "4")]);
    let full = disk.used_bytes();
    assert!(disk.remove_file(Path::new("file")) && !disk.remove_file(Path::new("file")));
    log.write(delete_to(106), Durability::Synced).unwrap();
    batch(&state, |batch| batch.delete_range(DATA, KeyRange::all()));
    state.flush().unwrap();
    assert!(disk.used_bytes() < full / 10, "{} of {full} bytes are left", disk.used_bytes());
    assert_eq!(log.statistics().disk_bytes + state.statistics().disk_bytes, disk.used_bytes());
}

#[test]
fn a_stall_runs_before_the_call_takes_effect_and_holds_no_lock() {
    let (disk, log, state) = open();
    let (log, state) = (Arc::new(log), Arc::new(state));
    let stalls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&stalls);
    let reader = Arc::clone(&log);
    let look = move || {
        assert_eq!(bounds(&*reader, 1), None, "the write has not happened, and a reader is not stopped");
        count.fetch_add(1, Ordering::Relaxed);
    };
    disk.inject(FaultPoint::LogWrite, 1, Fault::Stall(Box::new(look)));
    try_append(&log, 6, 7, Durability::Synced).unwrap();
    assert_eq!(bounds(&*log, 1), Some((6, 6)));
    put_round(&state, 1);
    let (count, reader) = (Arc::clone(&stalls), Arc::clone(&state));
    let look = move || {
        assert_eq!(reader.persisted_round(WRITER).unwrap(), Round(0));
        count.fetch_add(1, Ordering::Relaxed);
    };
    disk.inject(FaultPoint::StateFlush, 1, Fault::Stall(Box::new(look)));
    state.flush().unwrap();
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(1));
    assert_eq!(stalls.load(Ordering::Relaxed), 2);
}

/// The narrowest place of D1: the bytes are written, the disk has not answered, the process dies.
#[test]
fn a_crash_while_a_sync_stalls_may_keep_the_batch_or_lose_it() {
    for (kept, last) in [(0, 6), (1, 8)] {
        let (disk, log, _state) = open();
        try_append(&log, 6, 7, Durability::Synced).unwrap();
        let power = disk.clone();
        let cut = move || {
            assert_eq!(power.unsynced_log_writes(), 1);
            power.crash_at(CrashPoint { log_writes: kept, ..CrashPoint::OLDEST });
        };
        disk.inject(FaultPoint::LogSync, 1, Fault::Stall(Box::new(cut)));
        assert!(is_io(try_append(&log, 7, 9, Durability::Synced)), "nobody hears that it is durable");
        assert_eq!(bounds(&disk.open_log().unwrap(), 1), Some((6, last)));
    }
}

#[test]
fn a_flipped_bit_in_the_log_is_noticed_at_opening() {
    let (disk, log, _state) = open();
    assert!(!disk.damage_log(), "there is nothing to damage");
    try_append(&log, 6, 7, Durability::Synced).unwrap();
    assert!(disk.damage_log());
    try_append(&log, 7, 8, Durability::Synced).unwrap();
    disk.crash_at(CrashPoint::NEWEST);
    for _ in 0..2 {
        assert!(matches!(disk.open_log(), Err(EngineError::Corruption { .. })), "and not forgotten");
    }
}

#[test]
fn a_damaged_file_is_not_ingested() {
    let (disk, _log, state) = open();
    let path = Path::new("file");
    ingest(&state, Path::new(""), "file", DATA, &[("a", "1"), ("b", "2")]);
    let intact = disk.read_file(path).unwrap();
    let other = IngestFile { family: LOCK, path: path.into() };
    assert!(matches!(state.ingest(&[other]), Err(EngineError::Corruption { .. })), "of another column family");
    batch(&state, |batch| batch.delete_range(DATA, KeyRange::all()));
    let good = IngestFile { family: DATA, path: "good".into() };
    disk.write_file(&good.path, intact.clone()).unwrap();
    for at in 0..intact.len() {
        let mut bytes = intact.to_vec();
        bytes[at] ^= 0x10;
        disk.write_file(path, bytes.into()).unwrap();
        let bad = IngestFile { family: DATA, path: path.into() };
        let outcome = state.ingest(&[good.clone(), bad]);
        assert!(matches!(outcome, Err(EngineError::Corruption { .. })), "byte {at}");
        assert_eq!(keys(&state, DATA), "", "one bad file, and none is ingested");
    }
    state.ingest(&[good]).unwrap();
    assert_eq!(keys(&state, DATA), "a b");
}
