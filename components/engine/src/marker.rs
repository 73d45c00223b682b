//! What L remembers of a snapshot that is being applied (D10).

use types::codec::{DecodeError, Reader, Writer};
use types::{KeyRange, LogIndex, PeerId, RegionDescriptor, RegionId, Term};

use crate::log::LOG_FORMAT_VERSION;

/// A snapshot that takes the place of a region's log and state; in L from before the first key is cleared until everything
/// that it brings is durable. A restart that finds one does it again from the clearing on (D8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMarker {
    /// This store's peer of the region.
    pub peer: PeerId,
    /// The region as it will be.
    pub descriptor: RegionDescriptor,
    /// The snapshot's index: applied and truncated index as they will be.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Which of the received snapshots it is; tells its files from others of the same region and index.
    pub number: u64,
    /// What is cleared before the data comes in: the new range, the old one, and those of absorbed regions.
    pub clear: Vec<KeyRange>,
    /// Regions that the snapshot's region has taken over, and their peers on this store: they are gone.
    pub absorbed: Vec<(RegionId, PeerId)>,
}

impl SnapshotMarker {
    /// The region.
    pub fn region(&self) -> RegionId {
        self.descriptor.id
    }

    /// The record's bytes: version, peer, index, term, number, descriptor, number of ranges and start and end of each,
    /// number of absorbed regions and id and peer of each, checksum.
    pub fn encode(&self) -> Vec<u8> {
        let record = Writer::record(LOG_FORMAT_VERSION)
            .u64(self.peer.0)
            .u64(self.index.0)
            .u64(self.term.0)
            .u64(self.number)
            .descriptor(&self.descriptor)
            .u32(self.clear.len() as u32);
        let record = self.clear.iter().fold(record, |record, range| record.bytes(&range.start).bytes(&range.end));
        let record = record.u32(self.absorbed.len() as u32);
        let record = self.absorbed.iter().fold(record, |record, (region, peer)| record.u64(region.0).u64(peer.0));
        record.seal(crc32fast::hash)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (_, mut reader) = Reader::open("snapshot marker", LOG_FORMAT_VERSION, bytes, crc32fast::hash)?;
        let (peer, index) = (reader.u64()?.into(), reader.u64()?.into());
        let (term, number) = (reader.u64()?.into(), reader.u64()?);
        let descriptor = reader.descriptor()?;
        let mut clear = Vec::new();
        for _ in 0..reader.u32()? {
            let (start, end) = (reader.bytes()?.to_vec(), reader.bytes()?.to_vec());
            clear.push(KeyRange::new(start, end));
        }
        let mut absorbed = Vec::new();
        for _ in 0..reader.u32()? {
            absorbed.push((reader.u64()?.into(), reader.u64()?.into()));
        }
        reader.finish()?;
        Ok(Self { peer, descriptor, index, term, number, clear, absorbed })
    }
}
