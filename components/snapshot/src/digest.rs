//! A file's checksum, read piece by piece.

use xxhash_rust::xxh3::Xxh3;

use crate::files::{Result, SnapshotFiles};

/// The XXH3 of a file's bytes from its beginning to where it has been read.
pub(crate) struct FileDigest {
    hash: Xxh3,
    offset: u64,
}

impl FileDigest {
    pub(crate) fn new() -> Self {
        Self { hash: Xxh3::new(), offset: 0 }
    }

    /// Takes bytes that follow those before.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.offset += bytes.len() as u64;
    }

    /// Reads on, by `max` bytes at most. Returns how many were there; fewer than `max` at the file's end only.
    pub(crate) fn read(&mut self, files: &dyn SnapshotFiles, name: &str, max: usize) -> Result<usize> {
        let bytes = files.read(name, self.offset, max)?;
        self.add(&bytes);
        Ok(bytes.len())
    }

    /// How many bytes were taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset
    }

    /// The checksum of what was taken.
    pub(crate) fn checksum(&self) -> u64 {
        self.hash.digest()
    }
}
