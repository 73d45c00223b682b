//! The first open of a state engine that a crash has ended in the middle of: RocksDB makes one column family after the
//! other, and each is durable at once.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::open_state;
use engine::{Family, StateBatch, StateEngine, StateRead, WriterId};
use rocksdb::{ColumnFamilyDescriptor, DB, Options};
use types::Round;

/// Leaves what such an open does when it has made the first `count` families.
fn leave(directory: &Path, count: usize) {
    drop(open_state(directory));
    for file in directory.read_dir().unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap() != "FORMAT" {
            fs::remove_file(path).unwrap();
        }
    }
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    let names = Family::ALL.map(Family::name);
    assert!(names.contains(&"default"), "RocksDB makes this one by itself");
    let made = names[..count].iter().map(|name| ColumnFamilyDescriptor::new(*name, Options::default()));
    drop(DB::open_cf_descriptors(&options, directory, made).unwrap());
}

#[test]
fn families_that_a_crash_kept_from_being_made_are_made() {
    for count in 0..=Family::ALL.len() {
        let directory = tempfile::tempdir().unwrap();
        leave(directory.path(), count);
        let state = open_state(directory.path());
        let mut batch = StateBatch::default();
        for family in Family::ALL {
            assert_eq!(state.get(family, b"key").unwrap(), None);
            batch.put(family, "key", family.name());
        }
        batch.set_round(WriterId::Bootstrap, Round(1));
        state.write(&batch).unwrap();
        state.flush().unwrap();
        assert_eq!(state.persisted_round(WriterId::Bootstrap).unwrap(), Round(1));
        drop(state);
        let state = open_state(directory.path());
        for family in Family::ALL {
            assert_eq!(
                state.get(family, b"key").unwrap().as_deref(),
                Some(family.name().as_bytes()),
                "{count} of them"
            );
        }
    }
}
