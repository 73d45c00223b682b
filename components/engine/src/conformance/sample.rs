//! Things that the checks write and read.

use std::path::Path;

use bytes::Bytes;
use types::seed::Rng;
use types::{ColumnFamily, KeyRange, LogIndex, PeerId, RegionDescriptor, RegionId};

use crate::{
    Birth, Durability, Entry, Family, HardState, IngestFile, IterRange, Lifecycle, LogBatch, LogEngine, LogOp,
    SnapshotMarker, StateBatch, StateEngine, StateRead,
};

/// The column family of most checks.
pub const DATA: Family = Family::User(ColumnFamily::Default);

/// Another one.
pub const LOCK: Family = Family::User(ColumnFamily::Lock);

/// An entry whose data is its index and term in words.
pub fn entry(index: u64, term: u64) -> Entry {
    entry_with(index, term, format!("entry {index} of term {term}"))
}

/// An entry with the given data.
pub fn entry_with(index: u64, term: u64, data: impl Into<Bytes>) -> Entry {
    Entry { index, term, data: data.into(), context: Bytes::from_static(b"context"), ..Entry::default() }
}

/// The entries from `low` to `high` (excluded), all of one term.
pub fn entries(low: u64, high: u64, term: u64) -> Vec<Entry> {
    (low..high).map(|index| entry(index, term)).collect()
}

/// A hard state.
pub fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term: term.into(), vote: vote.into(), commit: commit.into() }
}

/// Bytes that no compression makes smaller.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = (0..length.div_ceil(8)).flat_map(|_| rng.next_u64().to_be_bytes()).collect::<Vec<_>>();
    bytes.truncate(length);
    bytes
}

/// Appends entries; the hard state is of the last entry's term, without a vote.
pub fn append(region: u64, peer: u64, entries: Vec<Entry>) -> LogOp {
    let term = entries.last().map_or(0, |entry| entry.term);
    LogOp::Append { region: region.into(), peer: peer.into(), entries, hard_state: hard_state(term, 0, 0) }
}

/// A lifecycle record.
pub fn lifecycle(peer: u64, birth: Birth) -> Lifecycle {
    Lifecycle { peer: Some(peer.into()), next_peer: (peer + 1).into(), birth }
}

/// A note of a snapshot that is being applied.
pub fn marker(region: u64, number: u64) -> SnapshotMarker {
    let descriptor =
        RegionDescriptor { id: region.into(), range: KeyRange::new("b", "c"), ..RegionDescriptor::default() };
    SnapshotMarker {
        peer: (region * 10).into(),
        clear: vec![descriptor.range.clone()],
        descriptor,
        index: LogIndex(40),
        term: 6.into(),
        number,
        absorbed: vec![(RegionId(9), PeerId(99))],
    }
}

/// Writes operations as one batch and waits for the disk.
pub fn write(log: &dyn LogEngine, ops: Vec<LogOp>) {
    log.write(LogBatch { ops }, Durability::Synced).unwrap();
}

/// All entries of a region.
pub fn all_entries(log: &dyn LogEngine, region: u64, peer: u64) -> Vec<Entry> {
    let Some((first, last)) = bounds(log, region) else { return Vec::new() };
    read(log, region, peer, first, last + 1, u64::MAX)
}

/// Entries of a region.
pub fn read(log: &dyn LogEngine, region: u64, peer: u64, low: u64, high: u64, max_bytes: u64) -> Vec<Entry> {
    log.entries(RegionId(region), PeerId(peer), LogIndex(low), LogIndex(high), max_bytes).unwrap()
}

/// First and last index of a region's entries.
pub fn bounds(log: &dyn LogEngine, region: u64) -> Option<(u64, u64)> {
    let (first, last) = log.region(RegionId(region)).unwrap()?.bounds?;
    Some((first.get(), last.get()))
}

/// The term of an entry.
pub fn term(log: &dyn LogEngine, region: u64, peer: u64, index: u64) -> Option<u64> {
    log.term(RegionId(region), PeerId(peer), LogIndex(index)).unwrap().map(|term| term.get())
}

/// Writes one batch.
pub fn batch(state: &dyn StateEngine, build: impl FnOnce(&mut StateBatch)) {
    let mut batch = StateBatch::default();
    build(&mut batch);
    state.write(&batch).unwrap();
}

/// Puts pairs as one batch.
pub fn put_all(state: &dyn StateEngine, family: Family, pairs: &[(&'static str, &'static str)]) {
    batch(state, |batch| pairs.iter().for_each(|(key, value)| batch.put(family, *key, *value)));
}

/// A key's value.
pub fn get(read: &dyn StateRead, family: Family, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    read.get(family, key.as_ref()).unwrap().map(|value| value.to_vec())
}

/// A range with texts as its bounds; an empty end is no bound.
pub fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange::new(start, end)
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// All pairs of a range, read forward.
pub fn scan(read: &dyn StateRead, family: Family, range: KeyRange) -> Vec<Pair> {
    let mut iter = read.iter(family, IterRange::new(range)).unwrap();
    let mut pairs = Vec::new();
    let mut valid = iter.seek_to_first().unwrap();
    while valid {
        pairs.push((iter.key().to_vec(), iter.value().to_vec()));
        valid = iter.next().unwrap();
    }
    pairs
}

/// All pairs of a range, read backward.
pub fn scan_back(read: &dyn StateRead, family: Family, range: KeyRange) -> Vec<Pair> {
    let mut iter = read.iter(family, IterRange::new(range)).unwrap();
    let mut pairs = Vec::new();
    let mut valid = iter.seek_to_last().unwrap();
    while valid {
        pairs.push((iter.key().to_vec(), iter.value().to_vec()));
        valid = iter.prev().unwrap();
    }
    pairs
}

/// All keys of a column family as text, joined by blanks.
pub fn keys(read: &dyn StateRead, family: Family) -> String {
    keys_in(read, family, KeyRange::all())
}

/// The keys of a range as text, joined by blanks.
pub fn keys_in(read: &dyn StateRead, family: Family, range: KeyRange) -> String {
    let text = |pair: Pair| String::from_utf8(pair.0).unwrap();
    scan(read, family, range).into_iter().map(text).collect::<Vec<_>>().join(" ")
}

/// Writes a file for the engine's ingest and lets the engine take it over.
pub fn ingest(state: &dyn StateEngine, files: &Path, name: &str, family: Family, pairs: &[(&str, &str)]) {
    let file = IngestFile { family, path: files.join(name) };
    let mut writer = state.sst_writer(family, &file.path).unwrap();
    for (key, value) in pairs {
        writer.put(key.as_bytes(), value.as_bytes()).unwrap();
    }
    assert!(writer.finish().unwrap() > 0, "a file with keys has a size");
    state.ingest(&[file]).unwrap();
}
