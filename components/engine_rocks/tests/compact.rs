//! Compaction by hand gives the room of what was deleted back.

#![allow(clippy::unwrap_used)]

mod common;

use common::open_state;
use engine::{Family, StateBatch, StateEngine, StateRead};
use types::{ColumnFamily, KeyRange, Round};

#[test]
fn what_was_deleted_gives_its_room_back() {
    let directory = tempfile::tempdir().unwrap();
    let state = open_state(directory.path());
    let value = engine::conformance::sample::noise(1, 1000);
    for number in 0..2000 {
        let mut batch = StateBatch::default();
        batch.put(ColumnFamily::Default, format!("key-{number:04}"), value.clone());
        state.write(&batch).unwrap();
    }
    state.flush().unwrap();
    let full = state.statistics().disk_bytes;
    let mut batch = StateBatch::default();
    (0..1999).for_each(|number| batch.delete(ColumnFamily::Default, format!("key-{number:04}")));
    let writer = engine::WriterId::Apply(0);
    batch.set_round(writer, Round(7));
    state.write(&batch).unwrap();

    state.compact(&KeyRange::new("a", "b"));
    assert!(state.statistics().disk_bytes >= full, "another range's files stay as they are");
    state.compact(&KeyRange::new("key-", ""));
    let left = state.statistics().disk_bytes;
    assert!(left < full / 10, "{left} of {full} bytes are left");
    assert_eq!(state.get(Family::User(ColumnFamily::Default), b"key-1999").unwrap(), Some(value.into()));
    assert_eq!(state.get(Family::User(ColumnFamily::Default), b"key-1998").unwrap(), None);
    // The flush ahead of it was one of all families, that of the rounds included (D2, D3).
    assert_eq!(state.persisted_round(writer).unwrap(), Round(7));
    state.compact(&KeyRange::new("b", "b"));
}
