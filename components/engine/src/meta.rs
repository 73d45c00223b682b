//! Keys and records of the state engine's `meta` column family. `docs/format.md` shows them byte by byte.

use bytes::Bytes;
use types::codec::{DecodeError, Reader, Writer};
use types::limits::{INITIAL_LOG_INDEX, INITIAL_LOG_TERM};
use types::{KeyRange, LogIndex, PeerId, RegionDescriptor, RegionId, Term};

use crate::log::StoreIdent;
use crate::state::{Family, IterRange, StateBatch, StateRead};
use crate::{EngineError, Result};

/// The version of the records in this module.
pub const META_FORMAT_VERSION: u8 = 1;

const REGION_TAG: u8 = 0x01;
const GONE_TAG: u8 = 0x02;
const ROUND_TAG: u8 = 0x03;
const IDENT_TAG: u8 = 0x04;

const DESCRIPTOR_SUFFIX: u8 = 0x01;
const APPLY_STATE_SUFFIX: u8 = 0x02;

/// Someone who writes batches to the state engine and counts them (D3). No two writers share an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriterId {
    /// The store's bootstrap.
    Bootstrap,
    /// Destroys and snapshots, which run in one queue.
    Lifecycle,
    /// An apply poller, by its number.
    Apply(u16),
}

impl WriterId {
    /// The key under which the writer's round is kept: `03 | number: u32`, Bootstrap 0, Lifecycle 1, Apply 16 and up.
    pub fn key(self) -> Bytes {
        let number = match self {
            Self::Bootstrap => 0,
            Self::Lifecycle => 1,
            Self::Apply(poller) => 16 + u32::from(poller),
        };
        Writer::default().u8(ROUND_TAG).u32(number).into_bytes().into()
    }
}

/// The key of a region's descriptor: `01 | region: u64 | 01`.
pub fn descriptor_key(region: RegionId) -> Bytes {
    Writer::default().u8(REGION_TAG).u64(region.0).u8(DESCRIPTOR_SUFFIX).into_bytes().into()
}

/// The key of a region's apply state: `01 | region: u64 | 02`.
pub fn apply_state_key(region: RegionId) -> Bytes {
    Writer::default().u8(REGION_TAG).u64(region.0).u8(APPLY_STATE_SUFFIX).into_bytes().into()
}

/// The key of a removed peer's record: `02 | region: u64 | peer: u64`.
pub fn gone_key(region: RegionId, peer: PeerId) -> Bytes {
    Writer::default().u8(GONE_TAG).u64(region.0).u64(peer.0).into_bytes().into()
}

/// The key of S's copy of the store ident: `04`.
pub fn ident_key() -> Bytes {
    Bytes::from_static(&[IDENT_TAG])
}

/// A descriptor as a record: version, descriptor, checksum.
pub fn encode_descriptor(descriptor: &RegionDescriptor) -> Bytes {
    Writer::record(META_FORMAT_VERSION).descriptor(descriptor).seal(crc32fast::hash).into()
}

/// Reads what [`encode_descriptor`] wrote.
pub fn decode_descriptor(bytes: &[u8]) -> std::result::Result<RegionDescriptor, DecodeError> {
    let (_, mut reader) = Reader::open("region descriptor", META_FORMAT_VERSION, bytes, crc32fast::hash)?;
    let descriptor = reader.descriptor()?;
    reader.finish()?;
    Ok(descriptor)
}

/// How far a region's log is applied, and where its log begins; in the same batch as the data that it speaks of (D2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyState {
    /// The newest applied index.
    pub applied: LogIndex,
    /// Its term.
    pub applied_term: Term,
    /// The newest index that a log compaction removed; the log begins behind it.
    pub truncated: LogIndex,
    /// Its term.
    pub truncated_term: Term,
}

impl ApplyState {
    /// Where a region begins that was born by bootstrap or by a split.
    pub const BORN: Self = Self {
        applied: LogIndex(INITIAL_LOG_INDEX),
        applied_term: Term(INITIAL_LOG_TERM),
        truncated: LogIndex(INITIAL_LOG_INDEX),
        truncated_term: Term(INITIAL_LOG_TERM),
    };

    /// The record's bytes: version, applied, its term, truncated, its term, checksum.
    pub fn encode(&self) -> Bytes {
        Writer::record(META_FORMAT_VERSION)
            .u64(self.applied.0)
            .u64(self.applied_term.0)
            .u64(self.truncated.0)
            .u64(self.truncated_term.0)
            .seal(crc32fast::hash)
            .into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let (_, mut reader) = Reader::open("apply state", META_FORMAT_VERSION, bytes, crc32fast::hash)?;
        let state = Self {
            applied: reader.u64()?.into(),
            applied_term: reader.u64()?.into(),
            truncated: reader.u64()?.into(),
            truncated_term: reader.u64()?.into(),
        };
        reader.finish()?;
        Ok(state)
    }
}

/// A peer that was removed and whose data is still to be cleared (D9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its region.
    pub region: RegionId,
    /// The peer.
    pub peer: PeerId,
    /// The keys that it held.
    pub range: KeyRange,
    /// The region that took its keys over, when it was merged away.
    pub merged_into: Option<RegionId>,
}

impl Gone {
    /// The record's bytes: version, region, peer, start, end, target of the merge (0 for none), checksum.
    pub fn encode(&self) -> Bytes {
        Writer::record(META_FORMAT_VERSION)
            .u64(self.region.0)
            .u64(self.peer.0)
            .bytes(&self.range.start)
            .bytes(&self.range.end)
            .u64(self.merged_into.map_or(0, RegionId::get))
            .seal(crc32fast::hash)
            .into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let (_, mut reader) = Reader::open("gone", META_FORMAT_VERSION, bytes, crc32fast::hash)?;
        let (region, peer) = (reader.u64()?.into(), reader.u64()?.into());
        let range = KeyRange::new(Bytes::copy_from_slice(reader.bytes()?), Bytes::copy_from_slice(reader.bytes()?));
        let target = reader.u64()?;
        reader.finish()?;
        Ok(Self { region, peer, range, merged_into: (target != 0).then_some(RegionId(target)) })
    }
}

/// What S holds of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionState {
    /// Its descriptor.
    pub descriptor: RegionDescriptor,
    /// How far its log is applied.
    pub apply_state: ApplyState,
}

/// Adds a region's descriptor and apply state to a batch.
pub fn put_region(batch: &mut StateBatch, region: &RegionState) {
    let id = region.descriptor.id;
    batch.put(Family::Meta, descriptor_key(id), encode_descriptor(&region.descriptor));
    batch.put(Family::Meta, apply_state_key(id), region.apply_state.encode());
}

/// Adds to a batch that a peer is gone: its records are removed, and what is still to be done for it is noted (D9).
pub fn put_gone(batch: &mut StateBatch, gone: &Gone) {
    batch.delete(Family::Meta, descriptor_key(gone.region));
    batch.delete(Family::Meta, apply_state_key(gone.region));
    batch.put(Family::Meta, gone_key(gone.region, gone.peer), gone.encode());
}

/// The peers that were removed and whose data is still to be cleared, ordered by region.
///
/// # Errors
/// `Record` when a record does not read.
pub fn read_gone(state: &dyn StateRead) -> Result<Vec<Gone>> {
    let tag = |tag: u8| Bytes::copy_from_slice(&[tag]);
    let range = IterRange::new(KeyRange { start: tag(GONE_TAG), end: tag(GONE_TAG + 1) });
    let mut iter = state.iter(Family::Meta, range)?;
    let mut gone = Vec::new();
    let mut valid = iter.seek_to_first()?;
    while valid {
        gone.push(Gone::decode(iter.value()).map_err(record_error)?);
        valid = iter.next()?;
    }
    Ok(gone)
}

/// All regions that S holds, ordered by id.
///
/// # Errors
/// `Corruption` when a region has a descriptor and no apply state or the reverse (they are written together, D2), or
/// when a descriptor is of another region than its key says. `Record` when a record does not read.
pub fn read_regions(state: &dyn StateRead) -> Result<Vec<RegionState>> {
    let tag = |tag: u8| Bytes::copy_from_slice(&[tag]);
    let range = IterRange::new(KeyRange { start: tag(REGION_TAG), end: tag(REGION_TAG + 1) });
    let mut iter = state.iter(Family::Meta, range)?;
    let mut regions = Vec::new();
    let mut valid = iter.seek_to_first()?;
    while valid {
        let region = region_of_key(iter.key())?;
        if iter.key() != &descriptor_key(region)[..] {
            return Err(half_region(region));
        }
        let descriptor = decode_descriptor(iter.value()).map_err(record_error)?;
        if descriptor.id != region {
            return Err(corruption(format!("the descriptor of region {region} is one of region {}", descriptor.id)));
        }
        if !iter.next()? || iter.key() != &apply_state_key(region)[..] {
            return Err(half_region(region));
        }
        let apply_state = ApplyState::decode(iter.value()).map_err(record_error)?;
        regions.push(RegionState { descriptor, apply_state });
        valid = iter.next()?;
    }
    Ok(regions)
}

/// What S holds of one region; `None` when it holds nothing of it.
///
/// # Errors
/// As [`read_regions`].
pub fn read_region(state: &dyn StateRead, region: RegionId) -> Result<Option<RegionState>> {
    let descriptor = read_descriptor(state, region)?;
    let apply_state = state.get(Family::Meta, &apply_state_key(region))?;
    let (descriptor, apply_state) = match (descriptor, apply_state) {
        (Some(descriptor), Some(apply_state)) => (descriptor, apply_state),
        (None, None) => return Ok(None),
        _ => return Err(half_region(region)),
    };
    let apply_state = ApplyState::decode(&apply_state).map_err(record_error)?;
    Ok(Some(RegionState { descriptor, apply_state }))
}

/// The region that a key with the tag of regions is of.
fn region_of_key(key: &[u8]) -> Result<RegionId> {
    let mut reader = Reader::raw("region key", key);
    reader.u8().and_then(|_| reader.u64()).map(RegionId).map_err(record_error)
}

/// The descriptor of one region; `None` when S does not hold it.
///
/// # Errors
/// `Record` when it does not read, `Corruption` when it is another region's.
pub fn read_descriptor(state: &dyn StateRead, region: RegionId) -> Result<Option<RegionDescriptor>> {
    let Some(bytes) = state.get(Family::Meta, &descriptor_key(region))? else { return Ok(None) };
    let descriptor = decode_descriptor(&bytes).map_err(record_error)?;
    if descriptor.id != region {
        return Err(corruption(format!("the descriptor of region {region} is one of region {}", descriptor.id)));
    }
    Ok(Some(descriptor))
}

/// S's copy of the store ident, by which a directory of another store is noticed.
pub fn read_ident(state: &dyn StateRead) -> Result<Option<StoreIdent>> {
    let bytes = state.get(Family::Meta, &ident_key())?;
    bytes.map(|bytes| StoreIdent::decode(&bytes).map_err(record_error)).transpose()
}

fn record_error(source: DecodeError) -> EngineError {
    EngineError::Record { engine: "state", source }
}

fn half_region(region: RegionId) -> EngineError {
    corruption(format!("region {region} has only half of its records"))
}

fn corruption(cause: String) -> EngineError {
    EngineError::Corruption { engine: "state", cause }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use types::{Peer, RegionEpoch, StoreId};

    use super::*;
    use crate::StateEngine;
    use crate::memory::{MemDisk, MemStateEngine};

    fn engine_with(build: impl FnOnce(&mut StateBatch)) -> MemStateEngine {
        let state = MemDisk::default().open_state().unwrap();
        let mut batch = StateBatch::default();
        build(&mut batch);
        state.write(&batch).unwrap();
        state
    }

    fn region(id: u64) -> RegionState {
        let descriptor = RegionDescriptor {
            id: RegionId(id),
            range: KeyRange::new(id.to_string(), ""),
            epoch: RegionEpoch::INITIAL,
            peers: vec![Peer::voter(PeerId(id * 10), StoreId(1))],
        };
        let apply_state = ApplyState { applied: LogIndex(id + 100), ..ApplyState::default() };
        RegionState { descriptor, apply_state }
    }

    #[test]
    fn regions_are_read_in_order_and_nothing_else_is() {
        let state = engine_with(|batch| {
            [300, 2, 1, u64::MAX / 10].map(region).iter().for_each(|region| put_region(batch, region));
            batch.put(Family::Meta, ident_key(), "not read here");
            batch.put(Family::Meta, gone_key(RegionId(1), PeerId(9)), "not read here");
            batch.set_round(WriterId::Bootstrap, types::Round(1));
        });
        assert_eq!(read_regions(&state).unwrap(), [1, 2, 300, u64::MAX / 10].map(region));
        assert_eq!(read_regions(&engine_with(|_| {})).unwrap(), []);
        assert_eq!(read_region(&state, RegionId(300)).unwrap(), Some(region(300)));
        assert_eq!(read_region(&state, RegionId(3)).unwrap(), None);
    }

    #[test]
    fn half_a_region_is_corruption() {
        let keys = [descriptor_key(RegionId(2)), apply_state_key(RegionId(2))];
        for missing in keys {
            for other in [1, 3] {
                let state = engine_with(|batch| {
                    [2, other].map(region).iter().for_each(|region| put_region(batch, region));
                    batch.delete(Family::Meta, missing.clone());
                });
                let error = read_regions(&state).unwrap_err();
                assert!(matches!(error, EngineError::Corruption { .. }), "{error}");
                assert!(error.to_string().contains("region 2 has only half of its records"), "{error}");
                assert_eq!(read_region(&state, RegionId(2)).unwrap_err().to_string(), error.to_string());
            }
        }
    }

    #[test]
    fn a_descriptor_under_another_key_is_corruption() {
        let state = engine_with(|batch| {
            put_region(batch, &region(2));
            batch.put(Family::Meta, descriptor_key(RegionId(2)), encode_descriptor(&region(3).descriptor));
        });
        assert!(matches!(read_regions(&state), Err(EngineError::Corruption { .. })));
        assert!(matches!(read_region(&state, RegionId(2)), Err(EngineError::Corruption { .. })));
    }

    #[test]
    fn damaged_records_are_named() {
        for key in [descriptor_key(RegionId(2)), apply_state_key(RegionId(2)), Bytes::from_static(b"\x01short")] {
            let state = engine_with(|batch| {
                put_region(batch, &region(2));
                batch.put(Family::Meta, key, "damaged");
            });
            assert!(matches!(read_regions(&state), Err(EngineError::Record { .. })));
        }
    }

    #[test]
    fn one_descriptor_reads_back() {
        let state = engine_with(|batch| put_region(batch, &region(2)));
        assert_eq!(read_descriptor(&state, RegionId(2)).unwrap(), Some(region(2).descriptor));
        assert_eq!(read_descriptor(&state, RegionId(3)).unwrap(), None);
        let damaged = engine_with(|batch| batch.put(Family::Meta, descriptor_key(RegionId(2)), "damaged"));
        assert!(matches!(read_descriptor(&damaged, RegionId(2)), Err(EngineError::Record { .. })));
    }

    #[test]
    fn the_ident_reads_back() {
        let ident = StoreIdent { cluster: 1.into(), store: 2.into(), instance: 3.into() };
        let state = engine_with(|batch| batch.put(Family::Meta, ident_key(), ident.encode()));
        assert_eq!(read_ident(&state).unwrap(), Some(ident));
        assert_eq!(read_ident(&engine_with(|_| {})).unwrap(), None);
        let damaged = engine_with(|batch| batch.put(Family::Meta, ident_key(), "damaged"));
        assert!(matches!(read_ident(&damaged), Err(EngineError::Record { .. })));
    }
}
