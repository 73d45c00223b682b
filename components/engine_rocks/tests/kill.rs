//! A child writes without a pause and says what was acknowledged; the parent kills it at an arbitrary moment and opens
//! what is left, in place, several times over.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{child_part, open_log, open_state, report, reports, spawn_child};
use engine::{
    Durability, Entry, Family, HardState, LogBatch, LogEngine, LogOp, StateBatch, StateEngine, StateRead, WriterId,
};
use tempfile::TempDir;
use types::{LogIndex, PeerId, RegionId, Round, Term};

/// After how many reports each child is killed.
const LIVES: [usize; 5] = [40, 3, 150, 1, 400];

/// Runs a child until it has reported as often as asked, kills it, and returns everything that it reported.
fn kill_after(test: &str, directory: &Path, count: usize) -> Vec<String> {
    let mut child = spawn_child(test, directory, "");
    let mut said = Vec::new();
    let mut lines = reports(&mut child);
    said.extend(lines.by_ref().take(count));
    child.kill().unwrap();
    said.extend(lines);
    child.wait().unwrap();
    assert!(said.len() >= count, "the child ended by itself after {said:?}");
    said
}

const REGIONS: [u64; 4] = [1, 2, 300, u64::MAX];
const PEER: PeerId = PeerId(7);
/// Entries that the buffered clean-ups leave.
const KEPT: u64 = 20;

fn entry(region: u64, index: u64) -> Entry {
    let data = format!("{region} {index} ").repeat(50);
    Entry { index, term: 1 + index / 50, data: Bytes::from(data), ..Entry::default() }
}

fn append(region: u64, index: u64) -> LogOp {
    let commit = LogIndex(index - 1);
    LogOp::Append {
        region: RegionId(region),
        peer: PEER,
        entries: vec![entry(region, index)],
        hard_state: HardState { term: Term(1 + index / 50), vote: PeerId(0), commit },
    }
}

fn last_index(log: &dyn LogEngine) -> u64 {
    log.region(RegionId(REGIONS[0])).unwrap().and_then(|region| region.bounds).map_or(0, |(_, last)| last.get())
}

fn write_log_until_killed(directory: &Path) -> ! {
    let log = open_log(directory);
    let mut index = last_index(&log);
    loop {
        index += 1;
        let ops = REGIONS.map(|region| append(region, index)).into();
        log.write(LogBatch { ops }, Durability::Synced).unwrap();
        report(&index.to_string());
        if index.is_multiple_of(10) && index > KEPT {
            let end = LogIndex(index - KEPT);
            let ops = REGIONS.map(|region| LogOp::DeleteTo { region: RegionId(region), peer: PEER, end }).into();
            log.write(LogBatch { ops }, Durability::Buffered).unwrap();
        }
    }
}

#[test]
fn what_the_log_engine_acknowledged_survives_a_kill() {
    if let Some((directory, _)) = child_part() {
        write_log_until_killed(&directory);
    }
    let directory = TempDir::new().unwrap();
    for life in LIVES {
        let said = kill_after("what_the_log_engine_acknowledged_survives_a_kill", directory.path(), life);
        let acknowledged: u64 = said.last().unwrap().parse().unwrap();
        let log = open_log(directory.path());
        let last = last_index(&log);
        assert!((acknowledged..=acknowledged + 1).contains(&last), "{acknowledged} was acknowledged, {last} is there");
        for region in REGIONS {
            let found = log.region(RegionId(region)).unwrap().unwrap();
            let (first, of_region) = found.bounds.unwrap();
            assert_eq!(of_region.get(), last, "region {region}: a batch is there whole or not at all");
            assert!(first.get() <= last.saturating_sub(KEPT).max(1), "region {region} begins at {first}");
            let expected: Vec<_> = (first.get()..=last).map(|index| entry(region, index)).collect();
            let entries = log.entries(RegionId(region), PEER, first, LogIndex(last + 1), u64::MAX).unwrap();
            assert_eq!(entries, expected, "region {region}");
            assert_eq!(found.state.unwrap().hard_state.commit, LogIndex(last - 1));
        }
    }
}

const WRITER: WriterId = WriterId::Apply(0);
/// A flush is asked for each so many rounds; in between RocksDB flushes by itself whenever a memtable is full.
const ROUNDS_PER_FLUSH: u64 = 64;

fn value(round: u64) -> Vec<u8> {
    round.to_string().repeat(3_000).into_bytes()
}

fn user_families() -> impl Iterator<Item = Family> {
    Family::ALL.into_iter().filter(|family| *family != Family::Meta)
}

fn newest_round(state: &dyn StateRead) -> u64 {
    let bytes = state.get(Family::Meta, &WRITER.key()).unwrap();
    bytes.map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()))
}

fn write_state_until_killed(directory: &Path) -> ! {
    let state = open_state(directory);
    let mut round = newest_round(&state);
    loop {
        round += 1;
        let mut batch = StateBatch::default();
        batch.set_round(WRITER, Round(round));
        for family in user_families() {
            batch.put(family, round.to_be_bytes().to_vec(), value(round));
        }
        state.write(&batch).unwrap();
        if round.is_multiple_of(ROUNDS_PER_FLUSH) {
            state.flush().unwrap();
        }
        report(&format!("{round} {}", state.persisted_round(WRITER).unwrap()));
    }
}

#[test]
fn a_kill_puts_the_state_engine_back_to_one_cut() {
    if let Some((directory, _)) = child_part() {
        write_state_until_killed(&directory);
    }
    let directory = TempDir::new().unwrap();
    for life in LIVES {
        let said = kill_after("a_kill_puts_the_state_engine_back_to_one_cut", directory.path(), life);
        let (written, persisted) = said.last().unwrap().split_once(' ').unwrap();
        let (written, persisted): (u64, u64) = (written.parse().unwrap(), persisted.parse().unwrap());
        assert!(persisted >= written - written % ROUNDS_PER_FLUSH, "a flush persists what was written before it");
        let state = open_state(directory.path());
        let cut = newest_round(&state);
        assert!((persisted..=written + 1).contains(&cut), "{persisted} was persisted of {written}, {cut} is there");
        assert_eq!(state.persisted_round(WRITER).unwrap(), Round(cut));
        for family in user_families() {
            for round in 1..=written + 1 {
                let found = state.get(family, &round.to_be_bytes()).unwrap();
                let expected = (round <= cut).then(|| Bytes::from(value(round)));
                assert!(found == expected, "{}: round {round} of cut {cut}", family.name());
            }
        }
    }
}
