//! Files for the state engine's ingest.
//!
//! A file is a record as in `types::codec`: version 1, the column family's name, then key and value of each pair, then
//! the checksum. It has real bytes, so that it can be sent in pieces, and damaged.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use types::codec::{DecodeError, Reader, Writer};

use super::disk::Process;
use super::fault::FaultPoint;
use crate::{EngineError, Family, FileReader, Result, SstWriter};

const FILE_FORMAT_VERSION: u8 = 1;

/// A key and its value.
pub(super) type Pair = (Bytes, Bytes);

/// The pairs of a file.
pub(super) fn decode(path: &Path, file: &Bytes, family: Family) -> Result<Vec<Pair>> {
    let damaged = |cause: String| EngineError::Corruption {
        engine: "state",
        cause: format!("file {} for the ingest: {cause}", path.display()),
    };
    let (named, pairs) = decode_pairs(file).map_err(|error| damaged(error.to_string()))?;
    if named != family.name().as_bytes() {
        return Err(damaged(format!("it is not of column family {}", family.name())));
    }
    Ok(pairs)
}

fn decode_pairs(file: &Bytes) -> std::result::Result<(Bytes, Vec<Pair>), DecodeError> {
    let (_, mut reader) = Reader::open("file", FILE_FORMAT_VERSION, file, crc32fast::hash)?;
    let family = file.slice_ref(reader.bytes()?);
    let count = reader.u32()?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((file.slice_ref(reader.bytes()?), file.slice_ref(reader.bytes()?)));
    }
    reader.finish()?;
    Ok((family, pairs))
}

/// Collects a file's pairs until it is finished; an unfinished file leaves nothing behind.
pub(super) struct MemSstWriter {
    process: Process,
    family: Family,
    path: PathBuf,
    pairs: Vec<Pair>,
}

impl MemSstWriter {
    pub(super) fn new(process: Process, family: Family, path: &Path) -> Self {
        Self { process, family, path: path.to_owned(), pairs: Vec::new() }
    }

    fn refuse(&self, cause: &str) -> EngineError {
        FaultPoint::FileFinish.io(format!("file {}: {cause}", self.path.display()))
    }
}

impl SstWriter for MemSstWriter {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.process.check(FaultPoint::FileFinish)?;
        if self.pairs.last().is_some_and(|(last, _)| key <= &last[..]) {
            return Err(self.refuse("a key is not above the one before it"));
        }
        self.pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<u64> {
        self.process.reach(FaultPoint::FileFinish)?;
        if self.pairs.is_empty() {
            return Err(self.refuse("it has no key"));
        }
        let count = u32::try_from(self.pairs.len()).map_err(|_| self.refuse("it has too many keys"))?;
        let head = Writer::record(FILE_FORMAT_VERSION).bytes(self.family.name().as_bytes()).u32(count);
        let record = self.pairs.iter().fold(head, |record, (key, value)| record.bytes(key).bytes(value));
        let bytes = Bytes::from(record.seal(crc32fast::hash));
        let size = bytes.len() as u64;
        let shared = &self.process.shared;
        shared.files.lock().write(&self.path, bytes, &shared.space)?;
        Ok(size)
    }
}

/// The keys of a finished file, in the order in which they lie in it.
pub(super) struct MemFileReader {
    pairs: Vec<Pair>,
    next: usize,
}

impl MemFileReader {
    pub(super) fn new(pairs: Vec<Pair>) -> Self {
        Self { pairs, next: 0 }
    }
}

impl FileReader for MemFileReader {
    fn next_keys(&mut self, max_bytes: usize) -> Result<Vec<Bytes>> {
        let mut bytes = 0;
        let rest = self.pairs[self.next..].iter().take_while(|(key, value)| {
            let fits = bytes < max_bytes.max(1);
            bytes += key.len() + value.len();
            fits
        });
        let keys: Vec<Bytes> = rest.map(|(key, _)| key.clone()).collect();
        self.next += keys.len();
        Ok(keys)
    }
}
