//! Callers' bugs that are answered by a panic.

use super::*;

#[test]
#[should_panic(expected = "region 1: appending at 9 leaves a gap, its log ends at 7")]
fn a_gap_behind_the_log() {
    let (_disk, log, _state) = open();
    try_append(&log, 6, 8, Durability::Synced).unwrap();
    let _ = try_append(&log, 9, 10, Durability::Synced);
}

#[test]
#[should_panic(expected = "region 1: the entries from 6 to 9 that are appended have a gap")]
fn a_gap_among_entries() {
    let (_disk, log, _state) = open();
    let list = [entries(6, 8, 5), entries(9, 10, 5)].concat();
    write(&log, vec![append(1, 10, list)]);
}

#[test]
#[should_panic(expected = "only while it stands on a key")]
fn an_iterator_that_was_not_placed() {
    let (_disk, _log, state) = open();
    put_round(&state, 1);
    let mut iter = state.iter(DATA, IterRange::default()).unwrap();
    let _ = iter.next();
}
