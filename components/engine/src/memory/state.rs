//! The state engine in memory.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::MutexGuard;
use types::{KeyRange, Round};

use super::disk::{Process, locked};
use super::fault::FaultPoint;
use super::file::{self, MemFileReader, MemSstWriter};
use super::state_content::{Moment, StateContent};
use super::tree::{Node, Tree};
use crate::{
    EngineError, Family, FileReader, IngestFile, IterRange, Result, SstWriter, StateBatch, StateEngine, StateIterator,
    StateRead, StateStatistics, WriterId,
};

/// A state engine that lives in memory, on a [`MemDisk`](super::MemDisk).
///
/// A flush that fails changes nothing and may be tried again: memory still holds everything. Dropping the handle ends
/// its process at its last flush, since nothing more is promised; whoever wants the rest kept flushes first.
pub struct MemStateEngine {
    process: Process,
}

impl MemStateEngine {
    pub(super) fn open(process: Process) -> Result<Self> {
        let mut content = process.shared.state.lock();
        if content.is_open {
            return Err(locked("state"));
        }
        content.open();
        drop(content);
        Ok(Self { process })
    }

    fn lock(&self, point: FaultPoint) -> Result<MutexGuard<'_, StateContent>> {
        let content = self.process.shared.state.lock();
        self.process.check(point)?;
        Ok(content)
    }

    fn now(&self) -> MemSnapshot {
        let moment = self.process.shared.state.lock().current.clone();
        MemSnapshot { process: self.process.clone(), moment }
    }

    /// Finished files as what they hold.
    fn read_files(&self, files: &[IngestFile]) -> Result<Vec<(Family, Vec<file::Pair>)>> {
        let stored = self.process.shared.files.lock();
        let read = |file: &IngestFile| {
            let missing = || FaultPoint::Ingest.io(format!("there is no file {}", file.path.display()));
            let bytes = stored.read(&file.path).ok_or_else(missing)?;
            Ok((file.family, file::decode(&file.path, &bytes, file.family)?))
        };
        files.iter().map(read).collect()
    }
}

impl StateRead for MemStateEngine {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        self.process.reach(FaultPoint::StateRead)?;
        Ok(self.lock(FaultPoint::StateRead)?.current.family(family).get(key).cloned())
    }

    fn iter(&self, family: Family, range: IterRange) -> Result<Box<dyn StateIterator + '_>> {
        self.now().into_iter(family, range)
    }
}

impl StateEngine for MemStateEngine {
    fn write(&self, batch: &StateBatch) -> Result<()> {
        self.process.reach(FaultPoint::StateWrite)?;
        let limit = self.process.shared.options.write_buffer_bytes;
        let unflushed = self.lock(FaultPoint::StateWrite)?.unflushed_bytes();
        if unflushed > 0 && unflushed.saturating_add(batch.bytes() as u64) > limit {
            self.flush()?;
        }
        if !batch.is_empty() {
            self.lock(FaultPoint::StateWrite)?.write(batch);
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn StateRead> {
        Arc::new(self.now())
    }

    fn flush(&self) -> Result<()> {
        self.process.reach(FaultPoint::StateFlush)?;
        let mut content = self.lock(FaultPoint::StateFlush)?;
        let space = &self.process.shared.space;
        space.check(FaultPoint::StateFlush, content.unflushed_bytes())?;
        content.flush(space, self.process.shared.options.planted);
        Ok(())
    }

    fn persisted_round(&self, writer: WriterId) -> Result<Round> {
        self.process.reach(FaultPoint::StateRead)?;
        let content = self.lock(FaultPoint::StateRead)?;
        let Some(bytes) = content.flushed().family(Family::Meta).get(&writer.key()) else { return Ok(Round(0)) };
        let number = bytes[..].try_into().map_err(|_| EngineError::Corruption {
            engine: "state",
            cause: format!("the round of {writer:?} has {} bytes instead of 8", bytes.len()),
        })?;
        Ok(Round(u64::from_be_bytes(number)))
    }

    fn sst_writer(&self, family: Family, path: &Path) -> Result<Box<dyn SstWriter>> {
        self.process.check(FaultPoint::FileFinish)?;
        Ok(Box::new(MemSstWriter::new(self.process.clone(), family, path)))
    }

    fn read_file(&self, file: &IngestFile) -> Result<Box<dyn FileReader>> {
        self.process.check(FaultPoint::Ingest)?;
        let read = self.read_files(std::slice::from_ref(file))?;
        Ok(Box::new(MemFileReader::new(read.into_iter().flat_map(|(_, pairs)| pairs).collect())))
    }

    /// The files are copied: they stay until [`MemDisk::remove_file`](super::MemDisk::remove_file).
    fn ingest(&self, files: &[IngestFile]) -> Result<()> {
        self.process.reach(FaultPoint::Ingest)?;
        let read = self.read_files(files)?;
        let mut content = self.lock(FaultPoint::Ingest)?;
        let space = &self.process.shared.space;
        let bytes = read.iter().flat_map(|(_, pairs)| pairs).map(|(key, value)| (key.len() + value.len()) as u64).sum();
        space.check(FaultPoint::Ingest, bytes)?;
        for (family, pairs) in read {
            content.ingest(family, pairs, space);
        }
        Ok(())
    }

    fn delete_files_in_range(&self, range: &KeyRange) -> Result<()> {
        self.process.reach(FaultPoint::DeleteFiles)?;
        let mut content = self.lock(FaultPoint::DeleteFiles)?;
        if !range.is_empty() {
            content.delete_files(range, &self.process.shared.space);
        }
        Ok(())
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        Ok(self.lock(FaultPoint::StateRead)?.current.user_amount_in(range).bytes)
    }

    fn is_crowded(&self) -> bool {
        self.process.shared.is_crowded.load(Ordering::Acquire)
    }

    /// Exact.
    fn approximate_keys(&self, range: &KeyRange) -> Result<u64> {
        Ok(self.lock(FaultPoint::StateRead)?.current.user_amount_in(range).keys)
    }

    /// All zero once the process has crashed.
    fn statistics(&self) -> StateStatistics {
        self.lock(FaultPoint::StateRead).map_or_else(|_| StateStatistics::default(), |content| content.statistics())
    }
}

impl Drop for MemStateEngine {
    fn drop(&mut self) {
        let shared = &self.process.shared;
        let mut content = shared.state.lock();
        if self.process.is_alive() {
            content.fall_back(0, &shared.space);
        }
    }
}

/// One moment, kept.
struct MemSnapshot {
    process: Process,
    moment: Moment,
}

impl MemSnapshot {
    fn into_iter(self, family: Family, range: IterRange) -> Result<Box<dyn StateIterator + 'static>> {
        self.process.reach(FaultPoint::StateRead)?;
        let tree = self.moment.family(family).clone();
        Ok(Box::new(MemIterator { process: self.process, tree, range, at: None }))
    }
}

impl StateRead for MemSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        self.process.reach(FaultPoint::StateRead)?;
        Ok(self.moment.family(family).get(key).cloned())
    }

    fn iter(&self, family: Family, range: IterRange) -> Result<Box<dyn StateIterator + '_>> {
        Self { process: self.process.clone(), moment: self.moment.clone() }.into_iter(family, range)
    }
}

/// A position in one column family of a moment.
struct MemIterator {
    process: Process,
    tree: Tree,
    range: IterRange,
    at: Option<Arc<Node>>,
}

impl MemIterator {
    fn place_forward(&mut self, from: Bound<&[u8]>) -> Result<bool> {
        self.process.check(FaultPoint::StateRead)?;
        let found = self.tree.first_from(from).filter(|node| self.range.range.contains(&node.key));
        self.at = found.cloned();
        Ok(self.at.is_some())
    }

    fn place_backward(&mut self, to: Bound<&[u8]>) -> Result<bool> {
        self.process.check(FaultPoint::StateRead)?;
        let found = self.tree.last_to(to).filter(|node| self.range.range.contains(&node.key));
        self.at = found.cloned();
        Ok(self.at.is_some())
    }

    fn standing(&self) -> &Arc<Node> {
        self.at.as_ref().expect("the caller moves and reads an iterator only while it stands on a key")
    }
}

impl StateIterator for MemIterator {
    fn seek_to_first(&mut self) -> Result<bool> {
        let start = self.range.range.start.clone();
        self.place_forward(Bound::Included(&start))
    }

    fn seek_to_last(&mut self) -> Result<bool> {
        let end = self.range.range.end.clone();
        self.place_backward(if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(&end) })
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool> {
        let start = self.range.range.start.clone();
        self.place_forward(Bound::Included(key.max(&start[..])))
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool> {
        if self.range.range.is_below_end(key) {
            return self.place_backward(Bound::Included(key));
        }
        self.seek_to_last()
    }

    fn next(&mut self) -> Result<bool> {
        let from = Arc::clone(self.standing());
        self.place_forward(Bound::Excluded(&from.key))
    }

    fn prev(&mut self) -> Result<bool> {
        let from = Arc::clone(self.standing());
        self.place_backward(Bound::Excluded(&from.key))
    }

    fn key(&self) -> &[u8] {
        &self.standing().key
    }

    fn value(&self) -> &[u8] {
        if self.range.key_only { &[] } else { &self.standing().value }
    }
}
