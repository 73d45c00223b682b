//! Keys of the log engine. `docs/format.md` shows them byte by byte.
//!
//! Records that are read at every start lie together in front of the entries, so that opening a store does not walk
//! over its logs. Numbers are big-endian: bytes sort as the numbers do.

use engine::Result;
use types::codec::{DecodeError, Reader};
use types::{LogIndex, RegionId, StoreId};

use crate::error::Engine;

const IDENT_TAG: u8 = 0x01;
const INSTANCE_TAG: u8 = 0x02;
const RECORD_TAG: u8 = 0x03;
const ENTRY_TAG: u8 = 0x04;
const MARKER_TAG: u8 = 0x05;

/// Which record of a region a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    Lifecycle = 1,
    State = 2,
    CommitFloor = 3,
}

/// The key of the store ident: `01`.
pub(crate) const IDENT_KEY: [u8; 1] = [IDENT_TAG];

/// The keys of all instances, from the first (included) to the last (excluded).
pub(crate) const INSTANCE_KEYS: ([u8; 1], [u8; 1]) = ([INSTANCE_TAG], [INSTANCE_TAG + 1]);

/// The keys of all regions' records, from the first (included) to the last (excluded).
pub(crate) const RECORD_KEYS: ([u8; 1], [u8; 1]) = ([RECORD_TAG], [RECORD_TAG + 1]);

/// The keys of all entries, from the first (included) to the last (excluded).
pub(crate) const ENTRY_KEYS: ([u8; 1], [u8; 1]) = ([ENTRY_TAG], [ENTRY_TAG + 1]);

/// The keys of all snapshot markers, from the first (included) to the last (excluded).
pub(crate) const MARKER_KEYS: ([u8; 1], [u8; 1]) = ([MARKER_TAG], [MARKER_TAG + 1]);

/// The key of a snapshot marker: `05 | region: u64`.
pub(crate) fn marker_key(region: RegionId) -> [u8; 9] {
    let mut key = [MARKER_TAG; 9];
    key[1..].copy_from_slice(&region.0.to_be_bytes());
    key
}

/// The key of another store's instance: `02 | store: u64`.
pub(crate) fn instance_key(store: StoreId) -> [u8; 9] {
    let mut key = [INSTANCE_TAG; 9];
    key[1..].copy_from_slice(&store.0.to_be_bytes());
    key
}

/// Reads what [`instance_key`] wrote.
pub(crate) fn parse_instance_key(key: &[u8]) -> Result<StoreId> {
    let mut reader = Reader::raw("instance key", key);
    let store = tagged(&mut reader, INSTANCE_TAG).and_then(|()| reader.u64()).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    Ok(StoreId(store))
}

/// The key of a region's record: `03 | region: u64 | kind: u8`.
pub(crate) fn record_key(region: RegionId, kind: RecordKind) -> [u8; 10] {
    let mut key = [RECORD_TAG; 10];
    key[1..9].copy_from_slice(&region.0.to_be_bytes());
    key[9] = kind as u8;
    key
}

/// Reads what [`record_key`] wrote.
pub(crate) fn parse_record_key(key: &[u8]) -> Result<(RegionId, RecordKind)> {
    let mut reader = Reader::raw("region record key", key);
    let parsed = tagged(&mut reader, RECORD_TAG).and_then(|()| Ok((reader.u64()?, reader.u8()?)));
    let (region, kind) = parsed.map_err(damaged)?;
    let kind = match kind {
        1 => RecordKind::Lifecycle,
        2 => RecordKind::State,
        3 => RecordKind::CommitFloor,
        other => return Err(damaged(reader.impossible("kind", other.into()))),
    };
    reader.finish().map_err(damaged)?;
    Ok((RegionId(region), kind))
}

/// The key of an entry: `04 | region: u64 | index: u64`.
pub(crate) fn entry_key(region: RegionId, index: LogIndex) -> [u8; 17] {
    let mut key = [ENTRY_TAG; 17];
    key[1..9].copy_from_slice(&region.0.to_be_bytes());
    key[9..].copy_from_slice(&index.0.to_be_bytes());
    key
}

/// The first key behind an entry's, whatever its index: the entry's key and a zero byte.
pub(crate) fn behind_entry(region: RegionId, index: LogIndex) -> [u8; 18] {
    let mut key = [0; 18];
    key[..17].copy_from_slice(&entry_key(region, index));
    key
}

/// Reads what [`entry_key`] wrote.
pub(crate) fn parse_entry_key(key: &[u8]) -> Result<(RegionId, LogIndex)> {
    let mut reader = Reader::raw("entry key", key);
    let parsed = tagged(&mut reader, ENTRY_TAG).and_then(|()| Ok((reader.u64()?, reader.u64()?)));
    let (region, index) = parsed.map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    Ok((RegionId(region), LogIndex(index)))
}

fn tagged(reader: &mut Reader<'_>, tag: u8) -> std::result::Result<(), DecodeError> {
    match reader.u8()? {
        found if found == tag => Ok(()),
        found => Err(reader.impossible("tag", found.into())),
    }
}

fn damaged(source: DecodeError) -> engine::EngineError {
    engine::EngineError::Record { engine: Engine::Log.name(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn version_1_keys_keep_their_bytes() {
        assert_eq!(IDENT_KEY, [1]);
        assert_eq!(instance_key(StoreId(0x0203)), [2, 0, 0, 0, 0, 0, 0, 2, 3]);
        assert_eq!(record_key(RegionId(7), RecordKind::State), [3, 0, 0, 0, 0, 0, 0, 0, 7, 2]);
        assert_eq!(entry_key(RegionId(7), LogIndex(0x0105)), [4, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 5]);
    }

    #[test]
    fn keys_read_back_and_others_do_not() {
        let region = RegionId(u64::MAX);
        for kind in [RecordKind::Lifecycle, RecordKind::State, RecordKind::CommitFloor] {
            assert_eq!(parse_record_key(&record_key(region, kind)).unwrap(), (region, kind));
        }
        let entry = entry_key(region, LogIndex(9));
        assert_eq!(parse_entry_key(&entry).unwrap(), (region, LogIndex(9)));
        assert_eq!(parse_instance_key(&instance_key(StoreId(4))).unwrap(), StoreId(4));
        assert!(parse_record_key(&entry).is_err());
        assert!(parse_entry_key(&entry[..16]).is_err());
        assert!(parse_record_key(&[3, 0, 0, 0, 0, 0, 0, 0, 7, 9]).is_err());
    }

    #[test]
    fn entries_sort_behind_all_records_and_by_index() {
        let last_record = record_key(RegionId(u64::MAX), RecordKind::CommitFloor).to_vec();
        let first = entry_key(RegionId(1), LogIndex(255)).to_vec();
        let second = entry_key(RegionId(1), LogIndex(256)).to_vec();
        let next_region = entry_key(RegionId(2), LogIndex(0)).to_vec();
        assert!(last_record < first && first < second && second < next_region);
    }
}
