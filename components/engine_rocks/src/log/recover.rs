//! Reads, when the engine is opened, what the table keeps in memory.

use std::collections::BTreeMap;

use engine::{EngineError, Lifecycle, RegionLogState, Result};
use rocksdb::{DB, DBRawIterator, Range, ReadOptions};
use types::codec::{DecodeError, Reader};
use types::{LogIndex, RegionId};

use super::LOG_RECORD_VERSION;
use super::table::{RegionRecord, Span};
use crate::error::Engine;
use crate::keys::{ENTRY_KEYS, RECORD_KEYS, RecordKind, behind_entry, entry_key, parse_entry_key, parse_record_key};

/// Every region that L has a record of.
///
/// # Errors
/// `Corruption` when a region has entries and no state: they are written together (D1).
pub(crate) fn load_regions(db: &DB) -> Result<BTreeMap<RegionId, RegionRecord>> {
    let mut regions = load_records(db)?;
    for (region, span) in load_spans(db)? {
        let record = regions.get_mut(&region).filter(|record| record.state.is_some());
        record.ok_or_else(|| ownerless(region))?.span = Some(span);
    }
    Ok(regions)
}

/// Reads a record that holds one number.
pub(crate) fn read_number(record: &'static str, bytes: &[u8]) -> Result<u64> {
    decoded((|| {
        let (_, mut reader) = Reader::open(record, LOG_RECORD_VERSION, bytes, crc32fast::hash)?;
        let number = reader.u64()?;
        reader.finish()?;
        Ok(number)
    })())
}

/// A record's fields, or why they do not read.
pub(crate) fn decoded<T>(result: std::result::Result<T, DecodeError>) -> Result<T> {
    result.map_err(|source| EngineError::Record { engine: Engine::Log.name(), source })
}

/// An iterator over the keys from `start` to `end` (excluded), not placed yet.
pub(crate) fn iterate<'a>(db: &'a DB, start: &[u8], end: &[u8]) -> DBRawIterator<'a> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(start);
    options.set_iterate_upper_bound(end);
    db.raw_iterator_opt(options)
}

/// Where the iterator stands; `None` behind its end.
pub(crate) fn item<'a>(iter: &'a DBRawIterator<'_>) -> Result<Option<(&'a [u8], &'a [u8])>> {
    match iter.item() {
        Some(item) => Ok(Some(item)),
        None => iter.status().map(|()| None).map_err(|error| Engine::Log.error("read", error)),
    }
}

fn load_records(db: &DB) -> Result<BTreeMap<RegionId, RegionRecord>> {
    let mut regions: BTreeMap<RegionId, RegionRecord> = BTreeMap::new();
    let mut iter = iterate(db, &RECORD_KEYS.0, &RECORD_KEYS.1);
    iter.seek_to_first();
    while let Some((key, value)) = item(&iter)? {
        let (region, kind) = parse_record_key(key)?;
        let record = regions.entry(region).or_default();
        match kind {
            RecordKind::Lifecycle => record.lifecycle = Some(decoded(Lifecycle::decode(value))?),
            RecordKind::State => record.state = Some(decoded(RegionLogState::decode(value))?),
            RecordKind::CommitFloor => record.commit_floor = LogIndex(read_number("commit floor", value)?),
        }
        iter.next();
    }
    Ok(regions)
}

/// First and last entry of each region that has any: two seeks a region, however long its log.
fn load_spans(db: &DB) -> Result<Vec<(RegionId, Span)>> {
    let mut spans = Vec::new();
    let mut iter = iterate(db, &ENTRY_KEYS.0, &ENTRY_KEYS.1);
    iter.seek_to_first();
    while let Some((region, first)) = entry_at(&iter)? {
        iter.seek_for_prev(entry_key(region, LogIndex(u64::MAX)));
        let last = entry_at(&iter)?.filter(|(of, _)| *of == region).map(|(_, last)| last);
        let last = last.ok_or_else(|| vanished(region, first))?;
        spans.push((region, Span { first, last, bytes: bytes_on_disk(db, region, first, last) }));
        iter.seek(behind_entry(region, LogIndex(u64::MAX)));
    }
    Ok(spans)
}

fn entry_at(iter: &DBRawIterator<'_>) -> Result<Option<(RegionId, LogIndex)>> {
    item(iter)?.map(|(key, _)| parse_entry_key(key)).transpose()
}

/// Recovery has flushed the write-ahead log by now, so that files are all there is.
fn bytes_on_disk(db: &DB, region: RegionId, first: LogIndex, last: LogIndex) -> u64 {
    let (start, end) = (entry_key(region, first), behind_entry(region, last));
    db.get_approximate_sizes(&[Range::new(&start, &end)]).first().copied().unwrap_or(0)
}

fn ownerless(region: RegionId) -> EngineError {
    corruption(format!("region {region} has entries and no hard state"))
}

fn vanished(region: RegionId, first: LogIndex) -> EngineError {
    corruption(format!("entry {first} of region {region} is seen forward and not backward"))
}

pub(crate) fn corruption(cause: String) -> EngineError {
    EngineError::Corruption { engine: Engine::Log.name(), cause }
}
