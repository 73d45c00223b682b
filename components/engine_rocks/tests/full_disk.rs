//! A disk that takes no more, by a limit on file sizes in a child process.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{child_part, is_disk_full, open_log, open_state, report, reports, spawn_child};
use engine::{
    Durability, EngineError, Entry, Family, HardState, LogBatch, LogEngine, LogOp, StateBatch, StateEngine, StateRead,
    WriterId,
};
use tempfile::TempDir;
use types::{ColumnFamily, LogIndex, PeerId, RegionId, Round, Term};

/// No file of this process grows beyond as many bytes; a write that would fails with EFBIG.
fn limit_file_sizes(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is a valid struct that is only read; ignoring the signal installs no handler of ours.
    unsafe {
        assert_ne!(libc::signal(libc::SIGXFSZ, libc::SIG_IGN), libc::SIG_ERR);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

/// Runs a child to its end and returns what it reported.
fn run_child(test: &str, directory: &Path) -> Vec<String> {
    let mut child = spawn_child(test, directory, "");
    let said = reports(&mut child).collect();
    assert!(child.wait().unwrap().success(), "the child failed: {said:?}");
    said
}

fn entry(index: u64) -> Entry {
    Entry { index, term: 1, data: Bytes::from(vec![index as u8; 1_000]), ..Entry::default() }
}

fn append(index: u64) -> LogBatch {
    let op = LogOp::Append {
        region: RegionId(1),
        peer: PeerId(1),
        entries: vec![entry(index)],
        hard_state: HardState { term: Term(1), vote: PeerId(1), commit: LogIndex(0) },
    };
    LogBatch { ops: vec![op] }
}

fn fill_log(directory: &Path) {
    let log = open_log(directory);
    limit_file_sizes(200_000);
    let write = |index| log.write(append(index), Durability::Synced);
    let (refused, error) = (1..1_000).find_map(|index| Some((index, write(index).err()?))).unwrap();
    assert!(is_disk_full(&error), "{error}");
    assert!(error.to_string().contains("free space, then restart"), "{error}");
    for durability in [Durability::Synced, Durability::Buffered] {
        let later = log.write(append(refused), durability).unwrap_err();
        assert!(matches!(later, EngineError::Poisoned { engine: "log", .. }), "{later}");
    }
    let seen = log.region(RegionId(1)).unwrap().unwrap().bounds.unwrap();
    assert_eq!(seen, (LogIndex(1), LogIndex(refused - 1)), "what failed is not seen");
    report(&(refused - 1).to_string());
}

#[test]
fn a_full_disk_poisons_the_log_engine_and_loses_nothing() {
    if let Some((directory, _)) = child_part() {
        return fill_log(&directory);
    }
    let directory = TempDir::new().unwrap();
    let said = run_child("a_full_disk_poisons_the_log_engine_and_loses_nothing", directory.path());
    let acknowledged: u64 = said[0].parse().unwrap();
    assert!(acknowledged > 100, "the limit was met after {acknowledged} writes");
    let log = open_log(directory.path());
    let (first, last) = log.region(RegionId(1)).unwrap().unwrap().bounds.unwrap();
    assert!(last.get() == acknowledged || last.get() == acknowledged + 1, "{last} of {acknowledged}");
    let entries = log.entries(RegionId(1), PeerId(1), first, last.next(), u64::MAX).unwrap();
    assert_eq!(entries, (1..=last.get()).map(entry).collect::<Vec<_>>());
    log.write(append(last.get() + 1), Durability::Synced).unwrap();
}

const WRITER: WriterId = WriterId::Apply(0);
const DATA: Family = Family::User(ColumnFamily::Default);

fn round(number: u64, bytes: usize) -> StateBatch {
    let mut batch = StateBatch::default();
    batch.set_round(WRITER, Round(number));
    // Numbers of a generator do not compress.
    let noise = (0..bytes as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number) >> 40) as u8);
    batch.put(DATA, number.to_be_bytes().to_vec(), noise.collect::<Vec<_>>());
    batch
}

fn fill_state(directory: &Path) {
    let state = open_state(directory);
    state.write(&round(1, 1_000)).unwrap();
    state.flush().unwrap();
    limit_file_sizes(100_000);
    state.write(&round(2, 500_000)).unwrap();
    let error = state.flush().unwrap_err();
    assert!(is_disk_full(&error), "{error}");
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(1), "what was not flushed is not persisted");
    let later = state.write(&round(3, 10)).unwrap_err();
    assert!(is_disk_full(&later), "a write behind a failed flush says why: {later}");
    report("refused");
}

#[test]
fn a_full_disk_stops_the_state_engine_at_its_last_cut() {
    if let Some((directory, _)) = child_part() {
        return fill_state(&directory);
    }
    let directory = TempDir::new().unwrap();
    let said = run_child("a_full_disk_stops_the_state_engine_at_its_last_cut", directory.path());
    assert_eq!(said, ["refused"]);
    let state = open_state(directory.path());
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(1));
    assert!(state.get(DATA, &1_u64.to_be_bytes()).unwrap().is_some());
    assert!(state.get(DATA, &2_u64.to_be_bytes()).unwrap().is_none());
    state.write(&round(2, 500_000)).unwrap();
    state.flush().unwrap();
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(2));
}
