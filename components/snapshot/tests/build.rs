//! Building snapshots: what is in them, what is left of those that were not finished.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{INDEX, Place, REGION, TERM, both, key, region, small_files};
use engine::conformance::sample::{noise, scan};
use engine::memory::{CrashPoint, Fault, FaultPoint, MemDisk};
use engine::{IngestFile, StateEngine};
use snapshot::{
    BuildConfig, BuildError, BuildStep, Content, Direction, FileName, Part, SnapshotSource, SourceError, sweep,
};
use types::{ColumnFamily, KeyRange};

/// Ingests what a build made into another store, as its receiver will.
fn ingest(from: &Place, built: &snapshot::BuiltSnapshot, to: &dyn StateEngine) {
    let places = built.manifest().files().iter().enumerate();
    let files: Vec<IngestFile> = places
        .map(|(place, file)| {
            let name = FileName::new(built.key(), Part::Data(file.family, place as u32)).to_string();
            IngestFile { family: file.family.into(), path: from.files.path(&name) }
        })
        .collect();
    to.ingest(&files).unwrap();
}

#[test]
fn many_files_hold_the_region_and_nothing_else() {
    for make in both() {
        let place = make().with_region().with_data(1, 500, 100);
        let built = place.build(small_files());
        let manifest = built.manifest().clone();
        assert_eq!((manifest.index, manifest.term), (INDEX.into(), TERM.into()));
        assert_eq!(manifest.region, region());
        assert!(manifest.files().len() > 15, "{}", manifest.files().len());
        let families: BTreeSet<_> = manifest.files().iter().map(|file| file.family).collect();
        assert_eq!(families.len(), 3);
        assert_eq!(place.names().len(), manifest.files().len() + 1, "files and the manifest");

        let content = place.content();
        let keys: u64 = manifest.files().iter().map(|file| file.keys).sum();
        assert_eq!(keys, content.iter().map(|family| family.len() as u64).sum::<u64>());
        // A file that was ingested may be gone from where it lay, so that this comes last.
        ingest(&place, &built, &*place.engine);
        assert_eq!(place.content(), content);
        drop(built);
        assert_eq!(place.names(), [""; 0], "a snapshot's files go with it");
    }
}

#[test]
fn the_files_alone_make_the_region_anew() {
    let (from, to) = (Place::rocks().with_region().with_data(2, 300, 200), Place::rocks());
    let built = from.build(small_files());
    ingest(&from, &built, &*to.engine);
    assert_eq!(to.content(), from.content());
    let everything = ColumnFamily::ALL.map(|family| scan(&*to.engine, family.into(), KeyRange::all()).len());
    assert_eq!(everything, [300; 3], "no key of another region came along");
}

#[test]
fn a_snapshot_shows_the_moment_that_it_was_taken_at() {
    let (place, other) = (Place::rocks().with_region().with_data(3, 100, 100), Place::rocks());
    let before = place.content();
    let mut builder = place.builder(small_files());
    let mut steps = 0;
    let built = loop {
        place.put(ColumnFamily::Default, "c", format!("written later, at step {steps}"));
        steps += 1;
        if let BuildStep::Built(built) = builder.step(1000).unwrap() {
            break built;
        }
    };
    assert!(steps > 10, "{steps}");
    ingest(&place, &built, &*other.engine);
    assert_eq!(other.content(), before);
}

#[test]
fn steps_do_not_change_what_is_built() {
    let place = Place::memory().with_region().with_data(4, 200, 60);
    let whole = place.build(small_files());
    let mut builder = place.builder(small_files());
    let pieces = loop {
        if let BuildStep::Built(built) = builder.step(1).unwrap() {
            break built;
        }
    };
    assert_eq!(pieces.manifest(), whole.manifest());
    assert_eq!(pieces.manifest_bytes(), whole.manifest_bytes());
}

#[test]
fn empty_and_tiny_regions_travel_in_the_manifest() {
    for make in both() {
        let place = make().with_region();
        let empty = place.build(BuildConfig::default());
        assert_eq!(empty.manifest().content, Content::Inline(Vec::new()));

        place.put(ColumnFamily::Write, "c", "3");
        place.put(ColumnFamily::Default, "d", "2");
        place.put(ColumnFamily::Default, "b", "1");
        place.put(ColumnFamily::Default, "q", "behind the end");
        let tiny = place.build(BuildConfig::default());
        let pairs: Vec<_> = tiny.manifest().inline().iter().map(|pair| (pair.family, &pair.key[..])).collect();
        let (default, write) = (ColumnFamily::Default, ColumnFamily::Write);
        assert_eq!(pairs, [(default, &b"b"[..]), (default, b"d"), (write, b"c")]);
        assert_eq!(place.names(), [""; 0], "nothing is written");

        // Three keys and three values of a byte each: six bytes are the bound that just holds them.
        assert_eq!(place.build(BuildConfig { inline_bytes: 6, ..small_files() }).manifest(), tiny.manifest());
        assert_eq!(place.build(BuildConfig { inline_bytes: 5, ..small_files() }).manifest().files().len(), 2);
    }
}

#[test]
fn a_region_without_keys_and_without_inline_bytes_is_still_inline() {
    let place = Place::memory().with_region();
    assert_eq!(place.build(small_files()).manifest().content, Content::Inline(Vec::new()));
}

#[test]
fn one_key_may_be_larger_than_a_file() {
    let place = Place::memory().with_region();
    place.put(ColumnFamily::Lock, "c", noise(1, 9 << 10));
    place.put(ColumnFamily::Lock, "d", noise(2, 9 << 10));
    let built = place.build(small_files());
    assert_eq!(built.manifest().files().iter().map(|file| file.keys).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_cancelled_build_leaves_no_trace() {
    for make in both() {
        let place = make().with_region().with_data(5, 60, 200);
        let mut steps = 0;
        loop {
            let mut builder = place.builder(small_files());
            let built = (0..steps).find_map(|_| match builder.step(3000).unwrap() {
                BuildStep::More => None,
                BuildStep::Built(built) => Some(built),
            });
            drop(builder);
            if built.is_some() {
                break;
            }
            assert_eq!(place.names(), [""; 0], "cancelled after {steps} steps");
            steps += 1;
        }
        assert!(steps > 10, "{steps}");
    }
}

#[test]
fn a_crash_at_any_step_leaves_nothing_after_the_next_start() {
    for torn_tail in [false, true] {
        let mut steps = 0;
        loop {
            let disk = MemDisk::default();
            let place = Place::on(disk.clone()).with_region().with_data(6, 40, 200);
            let mut builder = place.builder(small_files());
            let built = (0..steps).find_map(|_| match builder.step(3000).unwrap() {
                BuildStep::More => None,
                BuildStep::Built(built) => Some(built),
            });
            disk.crash_at(CrashPoint { torn_tail, ..CrashPoint::OLDEST });
            let is_over = built.is_some();
            drop((builder, built, place));
            let place = Place::on(disk);
            let swept = sweep(&*place.files, &BTreeSet::new()).unwrap();
            assert_eq!(place.names(), [""; 0]);
            assert_eq!(swept.foreign, [""; 0]);
            assert_eq!(swept.next_number, if swept.removed.is_empty() { 0 } else { 2 });
            if is_over {
                assert!(swept.removed.len() > 3, "a built snapshot is nothing that a start needs");
                break;
            }
            steps += 1;
        }
    }
}

#[test]
fn a_manifest_vouches_for_what_came_before_it() {
    // A crash right behind the last step may take nothing of a snapshot that was built.
    let disk = MemDisk::default();
    let place = Place::on(disk.clone()).with_region().with_data(7, 40, 200);
    let built = place.build(small_files());
    let files: Vec<_> = place.names().into_iter().map(|name| (place.read(&name), name)).collect();
    disk.crash_at(CrashPoint::OLDEST);
    drop((built, place));
    let place = Place::on(disk);
    assert_eq!(place.names().len(), files.len());
    for (bytes, name) in files {
        assert_eq!(place.read(&name), bytes, "{name}");
    }
}

#[test]
fn every_failure_of_the_disk_ends_the_build_and_leaves_nothing() {
    for point in [FaultPoint::FileFinish, FaultPoint::FileWrite, FaultPoint::FileSync, FaultPoint::StateRead] {
        let mut struck = 0;
        for nth in 1.. {
            let place = Place::memory().with_region().with_data(8, 40, 200);
            let mut builder = place.builder(small_files());
            place.memory_disk().inject(point, nth, Fault::DiskFull);
            let outcome = loop {
                match builder.step(3000) {
                    Ok(BuildStep::More) => {}
                    Ok(BuildStep::Built(_)) => break None,
                    Err(error) => break Some(error),
                }
            };
            drop(builder);
            assert_eq!(place.names(), [""; 0]);
            let Some(error) = outcome else { break };
            assert!(error.is_disk_full(), "{error}");
            struck += 1;
        }
        assert!(struck > 0, "{point:?}");
    }
}

#[test]
fn a_real_file_that_shrinks_while_it_is_read_back_is_noticed() {
    let place = Place::memory().with_region().with_data(9, 100, 200);
    let mut builder = place.builder(BuildConfig { max_file_bytes: 1 << 30, inline_bytes: 0 });
    // The first step looks at the size, the second writes all keys of the first family.
    for _ in 0..2 {
        assert!(matches!(builder.step(1 << 30), Ok(BuildStep::More)));
    }
    let [name] = &place.names()[..] else { panic!("one file is there") };
    let bytes = place.read(name);
    place.overwrite(name, &bytes[..bytes.len() - 1]);
    assert!(matches!(builder.step(1 << 30), Err(BuildError::ReadBack { .. })));
}

#[test]
fn only_a_region_that_is_there_has_snapshots() {
    let place = Place::memory();
    let read = || SnapshotSource::read(REGION, place.engine.snapshot());
    assert!(matches!(read(), Err(SourceError::Absent { what: "descriptor", .. })));
}

#[test]
#[should_panic(expected = "after its last")]
fn no_step_follows_the_last() {
    let place = Place::memory().with_region();
    let mut builder = place.builder(small_files());
    while let Ok(BuildStep::More) = builder.step(1000) {}
    let _ = builder.step(1000);
}

#[test]
fn a_sweep_keeps_what_a_marker_names() {
    for make in both() {
        let place = make();
        let (needed, other) = (key(Direction::Incoming, 4), key(Direction::Incoming, 9));
        let name = |key, part| FileName::new(key, part).to_string();
        let data = Part::Data(ColumnFamily::Write, 0);
        let all = [Part::Manifest, Part::ManifestDraft, data, Part::Ingest(ColumnFamily::Write, 0)];
        for key in [needed, other] {
            for part in all {
                place.files.append(&name(key, part), 0, b"12345").unwrap();
            }
        }
        place.files.append("notes.txt", 0, b"1").unwrap();
        let swept = sweep(&*place.files, &BTreeSet::from([needed])).unwrap();
        assert_eq!(place.names(), [name(needed, Part::Manifest), name(needed, data), "notes.txt".to_owned()]);
        assert_eq!((swept.removed.len(), swept.removed_bytes, swept.next_number), (6, 30, 10));
        assert_eq!(swept.foreign, ["notes.txt"]);
        assert_eq!(sweep(&*place.files, &BTreeSet::from([needed])).unwrap().removed, [""; 0]);
    }
}

#[test]
fn a_sweep_removes_what_an_engine_left_behind() {
    let place = Place::rocks();
    let check = FileName::new(key(Direction::Incoming, 1), Part::Check(ColumnFamily::Write, 0)).to_string();
    std::fs::create_dir(place.files.path(&check)).unwrap();
    std::fs::write(place.files.path(&check).join("file"), "1").unwrap();
    sweep(&*Arc::clone(&place.files), &BTreeSet::new()).unwrap();
    assert_eq!(place.names(), [""; 0]);
}
