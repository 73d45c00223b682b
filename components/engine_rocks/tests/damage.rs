//! Damage to the log engine's write-ahead log: an unfinished end is cut off, anything else stops the store (D15).

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::{open_log, try_open_log};
use engine::{Durability, EngineError, Entry, HardState, LogBatch, LogEngine, LogOp};
use tempfile::TempDir;
use types::{LogIndex, PeerId, RegionId, Term};

fn entry(index: u64) -> Entry {
    Entry { index, term: 1, data: Bytes::from(vec![index as u8; 1_000]), ..Entry::default() }
}

/// Writes entries 1 to `last`, one batch each, and leaves them in one file of the write-ahead log.
fn write(directory: &Path, last: u64) -> PathBuf {
    let log = open_log(directory);
    for index in 1..=last {
        let op = LogOp::Append {
            region: RegionId(1),
            peer: PeerId(1),
            entries: vec![entry(index)],
            hard_state: HardState { term: Term(1), vote: PeerId(1), commit: LogIndex(index - 1) },
        };
        log.write(LogBatch { ops: vec![op] }, Durability::Synced).unwrap();
    }
    drop(log);
    let files = directory.read_dir().unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn last_entry(log: &dyn LogEngine) -> u64 {
    let (first, last) = log.region(RegionId(1)).unwrap().unwrap().bounds.unwrap();
    let entries = log.entries(RegionId(1), PeerId(1), first, last.next(), u64::MAX).unwrap();
    assert_eq!(entries, (1..=last.get()).map(entry).collect::<Vec<_>>());
    last.get()
}

fn flip(path: &Path, place: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[place] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in from.read_dir().unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_torn_end_is_cut_off() {
    let directory = TempDir::new().unwrap();
    let wal = write(directory.path(), 50);
    let length = std::fs::metadata(&wal).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(length - 3).unwrap();
    assert_eq!(last_entry(&open_log(directory.path())), 49, "the batch whose end is missing is gone, and no other");
}

#[test]
fn a_bad_byte_in_the_middle_stops_the_store() {
    let directory = TempDir::new().unwrap();
    let wal = write(directory.path(), 200);
    let length = std::fs::metadata(&wal).unwrap().len() as usize;
    assert!(length > 5 * 32_768, "several blocks of the log: {length} bytes");
    flip(&wal, length / 2);
    let refused = try_open_log(directory.path()).unwrap_err();
    assert!(matches!(refused, EngineError::Corruption { engine: "log", .. }), "{refused}");
    assert!(refused.to_string().contains("retire this store"), "{refused}");
}

/// Where the records of a block lie, by the lengths in their headers.
fn records(bytes: &[u8], block: usize) -> Vec<usize> {
    let end = bytes.len().min(block + BLOCK_BYTES);
    let mut places = vec![block];
    loop {
        let place = places[places.len() - 1];
        let next = place + HEADER_BYTES + usize::from(u16::from_le_bytes([bytes[place + 4], bytes[place + 5]]));
        if next + HEADER_BYTES > end {
            return places;
        }
        places.push(next);
    }
}

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;

/// Whichever bit it is, of checksum, length, type or data, in a full block or in the last one.
#[test]
fn no_bad_bit_loses_a_synced_write_without_a_word() {
    let directory = TempDir::new().unwrap();
    let wal = write(directory.path(), 45);
    let sound = std::fs::read(&wal).unwrap();
    assert!((BLOCK_BYTES..2 * BLOCK_BYTES).contains(&sound.len()), "a full block and a part of one");
    let last_block = records(&sound, BLOCK_BYTES);
    let victims = [records(&sound, 0)[3], last_block[last_block.len() / 2], last_block[last_block.len() - 2]];
    for (place, bit) in
        victims.into_iter().flat_map(|at| (at..at + HEADER_BYTES + 2).flat_map(|at| (0..8).map(move |bit| (at, bit))))
    {
        let copied = TempDir::new().unwrap();
        copy(directory.path(), copied.path());
        let mut bytes = sound.clone();
        bytes[place] ^= 1 << bit;
        std::fs::write(copied.path().join(wal.file_name().unwrap()), bytes).unwrap();
        match try_open_log(copied.path()) {
            Err(EngineError::Corruption { .. }) => {}
            Err(other) => panic!("byte {place} bit {bit}: {other}"),
            Ok(log) => panic!("byte {place} bit {bit}: {} of 45 entries are left, unsaid", last_entry(&log)),
        }
    }
}
