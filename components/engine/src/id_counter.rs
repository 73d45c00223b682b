//! The counter of ids of a cluster without a placement driver.

use bytes::Bytes;
use types::codec::{DecodeError, Reader, Writer};

use crate::meta::META_FORMAT_VERSION;

/// The first id that nobody was given: all ids of regions and peers below it are used, or lost. Lies under the
/// [reserved key](types::reserved).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdCounter(pub u64);

impl IdCounter {
    /// The record's bytes: version, the next id, checksum.
    pub fn encode(&self) -> Bytes {
        Writer::record(META_FORMAT_VERSION).u64(self.0).seal(crc32fast::hash).into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// When the record is damaged, or of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (_, mut reader) = Reader::open("id counter", META_FORMAT_VERSION, bytes, crc32fast::hash)?;
        let next = reader.u64()?;
        reader.finish()?;
        Ok(Self(next))
    }
}
