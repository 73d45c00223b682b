//! A piece of a file on its way.

use bytes::Bytes;
use types::ColumnFamily;

/// Most bytes of a file in one chunk.
pub const MAX_CHUNK_BYTES: usize = 1 << 20;

/// Consecutive bytes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The file's place in the manifest.
    pub place: u32,
    /// Its column family, so that a sender and a receiver that count differently notice it.
    pub family: ColumnFamily,
    /// Where in the file the bytes begin.
    pub offset: u64,
    /// How often the receiver had asked for something again on this stream: what was under way at its last request is
    /// told apart by it.
    pub attempt: u32,
    /// The bytes: one at the least, [`MAX_CHUNK_BYTES`] at the most.
    pub data: Bytes,
    /// CRC-32 of all of the above.
    pub checksum: u32,
}

impl Chunk {
    /// A chunk with the checksum that fits.
    pub fn new(place: u32, family: ColumnFamily, offset: u64, attempt: u32, data: Bytes) -> Self {
        let mut chunk = Self { place, family, offset, attempt, data, checksum: 0 };
        chunk.checksum = chunk.computed();
        chunk
    }

    /// Whether it is what was sent.
    pub fn is_intact(&self) -> bool {
        self.checksum == self.computed()
    }

    /// The first byte behind it; the largest number when there is none.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.data.len() as u64)
    }

    /// The CRC-32 of place (4 bytes), family (1), offset (8), attempt (4), length (8), all big-endian, and the data.
    fn computed(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.place.to_be_bytes());
        hasher.update(&[self.family as u8]);
        hasher.update(&self.offset.to_be_bytes());
        hasher.update(&self.attempt.to_be_bytes());
        hasher.update(&(self.data.len() as u64).to_be_bytes());
        hasher.update(&self.data);
        hasher.finalize()
    }
}
