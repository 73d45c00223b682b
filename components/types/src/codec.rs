//! The byte layout of on-disk records: fixed-width integers in big-endian order, byte strings behind their length.
//!
//! A record is `version: u8 | fields… | crc32 of all before it: u32`; `docs/format.md` lists them all. The checksum is
//! computed by the caller's hash function, so that this crate needs none.

use bytes::Bytes;

use crate::{KeyRange, Peer, PeerRole, RegionDescriptor, RegionEpoch};

/// A record could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the record does.
    #[error("record {record} ends early: {needed} more bytes needed")]
    Truncated {
        /// Which record.
        record: &'static str,
        /// How many bytes are missing.
        needed: usize,
    },
    /// Bytes are left behind the record's end.
    #[error("record {record} has {left} bytes too many")]
    Trailing {
        /// Which record.
        record: &'static str,
        /// How many bytes are left.
        left: usize,
    },
    /// The record was written by a newer version.
    #[error("record {record} has version {version}, this build reads up to {supported}: use a newer build")]
    Version {
        /// Which record.
        record: &'static str,
        /// The version found.
        version: u8,
        /// The newest version that this build reads.
        supported: u8,
    },
    /// The checksum does not fit the bytes.
    #[error("record {record} is damaged: its checksum is {stored:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// Which record.
        record: &'static str,
        /// What the record says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A field holds a value that it cannot have.
    #[error("record {record}: field {field} has the impossible value {value}")]
    Value {
        /// Which record.
        record: &'static str,
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
}

/// Writes fields one behind the other.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A record that begins with its version.
    pub fn record(version: u8) -> Self {
        Self(vec![version])
    }

    /// Appends one byte.
    #[must_use]
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// Appends four bytes, big-endian.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends eight bytes, big-endian.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a length of four bytes and the bytes.
    ///
    /// # Panics
    /// When there are 4 GiB or more.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).expect("a record's field is shorter than 4 GiB");
        let mut next = self.u32(length);
        next.0.extend_from_slice(value);
        next
    }

    /// Appends a descriptor: id, conf_ver, version, start, end, number of peers, then id, store id and role of each.
    #[must_use]
    pub fn descriptor(self, region: &RegionDescriptor) -> Self {
        let next = self
            .u64(region.id.0)
            .u64(region.epoch.conf_ver)
            .u64(region.epoch.version)
            .bytes(&region.range.start)
            .bytes(&region.range.end)
            .u32(region.peers.len() as u32);
        region.peers.iter().fold(next, |next, peer| next.u64(peer.id.0).u64(peer.store_id.0).u8(peer.role as u8))
    }

    /// Ends the record with the checksum of what was written.
    pub fn seal(self, checksum: impl Fn(&[u8]) -> u32) -> Vec<u8> {
        let sum = checksum(&self.0);
        self.u32(sum).0
    }

    /// The bytes without a checksum.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields in the order in which they were written.
#[derive(Debug)]
pub struct Reader<'a> {
    record: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Opens a sealed record: checks its checksum and its version. `supported` is the newest version that is known.
    pub fn open(
        record: &'static str,
        supported: u8,
        bytes: &'a [u8],
        checksum: impl Fn(&[u8]) -> u32,
    ) -> Result<(u8, Self), DecodeError> {
        let Some(body_len) = bytes.len().checked_sub(5) else {
            return Err(DecodeError::Truncated { record, needed: 5 - bytes.len() });
        };
        let (body, sum) = bytes.split_at(body_len + 1);
        let stored = u32::from_be_bytes(sum.try_into().expect("four bytes were split off"));
        let computed = checksum(body);
        if stored != computed {
            return Err(DecodeError::Checksum { record, stored, computed });
        }
        let version = body[0];
        if version == 0 || version > supported {
            return Err(DecodeError::Version { record, version, supported });
        }
        Ok((version, Self { record, rest: &body[1..] }))
    }

    /// Reads fields of bytes that have no version and no checksum, such as keys.
    pub fn raw(record: &'static str, bytes: &'a [u8]) -> Self {
        Self { record, rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if self.rest.len() < count {
            return Err(DecodeError::Truncated { record: self.record, needed: count - self.rest.len() });
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// Reads four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().expect("four bytes were taken")))
    }

    /// Reads eight bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }

    /// Reads a length and as many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    /// Reads what [`Writer::descriptor`] wrote.
    pub fn descriptor(&mut self) -> Result<RegionDescriptor, DecodeError> {
        let id = self.u64()?.into();
        let epoch = RegionEpoch { conf_ver: self.u64()?, version: self.u64()? };
        let range =
            KeyRange { start: Bytes::copy_from_slice(self.bytes()?), end: Bytes::copy_from_slice(self.bytes()?) };
        let count = self.u32()?;
        let mut peers = Vec::new();
        for _ in 0..count {
            let (id, store_id) = (self.u64()?.into(), self.u64()?.into());
            let role = self.u8()?;
            let role = PeerRole::from_number(u32::from(role)).ok_or_else(|| self.impossible("role", role.into()))?;
            peers.push(Peer { id, store_id, role });
        }
        Ok(RegionDescriptor { id, range, epoch, peers })
    }

    /// The error for a field with an impossible value.
    pub fn impossible(&self, field: &'static str, value: u64) -> DecodeError {
        DecodeError::Value { record: self.record, field, value }
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { record: self.record, left }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u32 {
        bytes.iter().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
    }

    fn sample() -> RegionDescriptor {
        RegionDescriptor {
            id: 7.into(),
            range: KeyRange::new("a", ""),
            epoch: RegionEpoch { conf_ver: 3, version: 9 },
            peers: vec![
                Peer::voter(8.into(), 1.into()),
                Peer { role: PeerRole::Learner, ..Peer::voter(9.into(), 2.into()) },
            ],
        }
    }

    #[test]
    fn a_record_reads_back() {
        let bytes = Writer::record(1).descriptor(&sample()).u8(5).seal(sum);
        let (version, mut reader) = Reader::open("sample", 1, &bytes, sum).expect("intact");
        assert_eq!((version, reader.descriptor(), reader.u8()), (1, Ok(sample()), Ok(5)));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn every_damage_is_noticed() {
        let bytes = Writer::record(1).descriptor(&sample()).seal(sum);
        for length in 0..bytes.len() {
            assert!(Reader::open("sample", 1, &bytes[..length], sum).is_err(), "cut to {length}");
        }
        let newer = Writer::record(2).seal(sum);
        assert!(matches!(Reader::open("sample", 1, &newer, sum), Err(DecodeError::Version { version: 2, .. })));
    }
}
