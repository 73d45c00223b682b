//! Ingest and file deletion beside unflushed batches: why D6 and D10 fence them.

use super::*;

/// What D6's fence is for: without it, a crash leaves a descriptor that speaks of data that is gone.
#[test]
fn deleting_files_without_a_fence_tears_the_cut() {
    for fenced in [false, true] {
        let (disk, _log, state) = open();
        put_all(&state, DATA, &[("a", "1"), ("b", "2"), ("c", "3")]);
        put_all(&state, Family::Meta, &[("descriptor", "a to d")]);
        state.flush().unwrap();
        batch(&state, |batch| batch.delete(Family::Meta, "descriptor"));
        if fenced {
            state.flush().unwrap();
        }
        state.delete_files_in_range(&range("a", "d")).unwrap();
        disk.crash_at(CrashPoint::OLDEST);
        let state = disk.open_state().unwrap();
        assert_eq!(keys(&state, DATA), "a");
        assert_eq!(get(&state, Family::Meta, "descriptor").is_some(), !fenced);
    }
}

/// What D10's fences are for: without them, ingested keys stand beside the ones that they were to replace.
#[test]
fn ingesting_without_a_fence_tears_the_cut() {
    for fenced in [false, true] {
        let (disk, _log, state) = open();
        put_all(&state, DATA, &[("old 1", "x"), ("old 2", "x")]);
        state.flush().unwrap();
        batch(&state, |batch| batch.delete_range(DATA, KeyRange::all()));
        if fenced {
            state.flush().unwrap();
        }
        ingest(&state, Path::new(""), "file", DATA, &[("new", "x")]);
        assert_eq!(keys(&state, DATA), "new");
        disk.crash_at(CrashPoint::OLDEST);
        let state = disk.open_state().unwrap();
        assert_eq!(keys(&state, DATA), if fenced { "new" } else { "new old 1 old 2" });
    }
}

#[test]
fn whoever_peeks_sees_what_a_file_holds() {
    let (disk, _log, state) = open();
    let mut writer = state.sst_writer(DATA, Path::new("file")).unwrap();
    writer.put(b"a", b"1").unwrap();
    writer.finish().unwrap();
    let file = |family, path: &str| IngestFile { family, path: path.into() };
    assert_eq!(disk.peek_file(&file(DATA, "file")), [("a".into(), "1".into())]);
    assert!(disk.peek_file(&file(LOCK, "file")).is_empty(), "it is of another column family");
    assert!(disk.peek_file(&file(DATA, "missing")).is_empty());
}

#[test]
fn an_ingest_keeps_its_place_among_the_batches() {
    let expected = ["ingested", "ingested", "after"];
    for (kept, expected) in expected.into_iter().enumerate() {
        let (disk, _log, state) = open();
        put_all(&state, DATA, &[("k", "before")]);
        ingest(&state, Path::new(""), "file", DATA, &[("k", "ingested")]);
        put_all(&state, DATA, &[("k", "after")]);
        disk.crash_at(CrashPoint { state_batches: kept, ..CrashPoint::OLDEST });
        let state = disk.open_state().unwrap();
        assert_eq!(get(&state, DATA, "k"), Some(expected.into()), "{kept} batches survive");
    }
}

#[test]
fn an_ingest_flushes_nothing() {
    let (disk, _log, state) = open();
    put_round(&state, 1);
    ingest(&state, Path::new(""), "file", DATA, &[("1", "ingested"), ("2", "ingested")]);
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(0));
    assert_eq!(disk.unflushed_state_batches(), 1);
    disk.crash_at(CrashPoint::OLDEST);
    let state = disk.open_state().unwrap();
    assert_eq!((keys(&state, DATA), keys(&state, LOCK)), ("1 2".into(), String::new()));
}

#[test]
fn deleting_files_leaves_memory_and_the_lowest_durable_key() {
    let survivors = [(CrashPoint::OLDEST, "a b e", "c"), (CrashPoint::NEWEST, "a b ce d e", "c")];
    for (point, data, lock) in survivors {
        let (disk, _log, state) = open();
        put_all(&state, DATA, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")]);
        put_all(&state, LOCK, &[("c", "1"), ("d", "1")]);
        state.flush().unwrap();
        put_all(&state, DATA, &[("c", "2")]);
        ingest(&state, Path::new(""), "file", DATA, &[("c", "3"), ("cc", "3")]);
        put_all(&state, DATA, &[("cd", "4"), ("d", "4")]);
        batch(&state, |batch| batch.delete_range(DATA, range("cd", "ce")));
        put_all(&state, DATA, &[("ce", "5")]);
        let snapshot = state.snapshot();
        state.delete_files_in_range(&range("b", "e")).unwrap();
        assert_eq!(keys(&state, DATA), "a b ce d e", "c was older in memory than in the file that is gone");
        assert_eq!(get(&state, DATA, "d"), Some(b"4".to_vec()));
        assert_eq!(keys(&state, LOCK), "c");
        assert_eq!(keys(&*snapshot, DATA), "a b c cc ce d e");
        disk.crash_at(point);
        let state = disk.open_state().unwrap();
        assert_eq!((keys(&state, DATA), keys(&state, LOCK)), (data.into(), lock.into()));
    }
}

/// Whatever happened, all batches surviving is the same as no crash.
#[test]
fn a_crash_that_takes_nothing_changes_nothing() {
    let mut rng = Rng::new(11);
    for run in 0..200_u64 {
        let (disk, _log, state) = open();
        for step in 0..30_u64 {
            let key = |rng: &mut Rng| format!("{:02}", rng.below(30));
            let (one, other) = (key(&mut rng), key(&mut rng));
            match rng.below(8) {
                0 => state.flush().unwrap(),
                1 => ingest(&state, Path::new(""), &step.to_string(), DATA, &[(&one, "ingested")]),
                2 => state.delete_files_in_range(&KeyRange::new(one, other)).unwrap(),
                3 => batch(&state, |batch| batch.delete_range(DATA, KeyRange::new(one, other))),
                4 => batch(&state, |batch| batch.delete(DATA, one)),
                _ => batch(&state, |batch| batch.put(DATA, one, step.to_string())),
            }
        }
        let before = crate::conformance::sample::scan(&state, DATA, KeyRange::all());
        disk.crash_at(CrashPoint::NEWEST);
        let state = disk.open_state().unwrap();
        assert_eq!(crate::conformance::sample::scan(&state, DATA, KeyRange::all()), before, "run {run}");
    }
}
