//! What the tests of this crate share: an engine that keeps every cut, entries, and responders that remember.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use engine::{
    ApplyState, EngineError, Entry, Family, IngestFile, IterRange, SstWriter, StateBatch, StateEngine, StateIterator,
    StateOp, StateRead, StateStatistics, WriterId,
};
use parking_lot::Mutex;
use prost::Message as _;
use proto::log::{Admin, Command, CompactLog, EntryBatch, admin};
use types::{
    Generation, KeyRange, LogIndex, Peer, RegionDescriptor, RegionEpoch, RegionId, Responder, Round, WriteResponder,
    WriteResult,
};

use crate::{ApplyTask, ENTRY_VERSION, RegionApplier};

pub(crate) const REGION: RegionId = RegionId(7);
pub(crate) const VERSION: u64 = 3;
pub(crate) const WRITER: WriterId = WriterId::Apply(0);
pub(crate) const TERM: u64 = 6;

pub(crate) type Keys = BTreeMap<(Family, Bytes), Bytes>;

/// A state engine that remembers every batch, so that a test can go back to any cut.
#[derive(Default)]
pub(crate) struct CutEngine {
    content: Mutex<Keys>,
    batches: Mutex<Vec<StateBatch>>,
    fails: bool,
}

impl CutEngine {
    /// An engine that takes no write.
    pub fn failing() -> Self {
        Self { fails: true, ..Self::default() }
    }

    /// The engine as a crash leaves it that keeps this many batches.
    pub fn crashed(&self, batches: usize) -> Self {
        let kept = Self::default();
        for batch in &self.batches.lock()[..batches] {
            kept.write(batch).unwrap();
        }
        kept
    }

    pub fn batches(&self) -> Vec<StateBatch> {
        self.batches.lock().clone()
    }

    /// What users wrote, and the apply states: all that replicas must agree on.
    pub fn replicated(&self) -> Keys {
        let mut content = self.content.lock().clone();
        content.remove(&(Family::Meta, WRITER.key()));
        content
    }

    pub fn value(&self, key: &'static str) -> Option<Bytes> {
        self.get(Family::User(types::ColumnFamily::Default), key.as_bytes()).unwrap()
    }

    pub fn apply_state(&self) -> Option<ApplyState> {
        let bytes = self.get(Family::Meta, &engine::meta::apply_state_key(REGION)).unwrap();
        bytes.map(|bytes| ApplyState::decode(&bytes).unwrap())
    }
}

fn not_here<T>() -> engine::Result<T> {
    Err(EngineError::Busy { engine: "state", reason: "apply never asks for this" })
}

impl StateRead for CutEngine {
    fn get(&self, family: Family, key: &[u8]) -> engine::Result<Option<Bytes>> {
        Ok(self.content.lock().get(&(family, Bytes::copy_from_slice(key))).cloned())
    }

    fn iter(&self, _: Family, _: IterRange) -> engine::Result<Box<dyn StateIterator + '_>> {
        not_here()
    }
}

impl StateEngine for CutEngine {
    fn write(&self, batch: &StateBatch) -> engine::Result<()> {
        if self.fails {
            return Err(EngineError::Io { engine: "state", operation: "write", cause: "the test says so".to_owned() });
        }
        let mut content = self.content.lock();
        for op in batch.ops() {
            match op.clone() {
                StateOp::Put(family, key, value) => drop(content.insert((family, key), value)),
                StateOp::Delete(family, key) => drop(content.remove(&(family, key))),
                StateOp::DeleteRange(family, range) => {
                    content.retain(|(f, key), _| *f != family || !range.contains(key))
                }
            }
        }
        self.batches.lock().push(batch.clone());
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn StateRead> {
        Arc::new(self.crashed(self.batches.lock().len()))
    }

    fn flush(&self) -> engine::Result<()> {
        not_here()
    }

    fn persisted_round(&self, _: WriterId) -> engine::Result<Round> {
        not_here()
    }

    fn sst_writer(&self, _: Family, _: &Path) -> engine::Result<Box<dyn SstWriter>> {
        not_here()
    }

    fn ingest(&self, _: &[IngestFile]) -> engine::Result<()> {
        not_here()
    }

    fn delete_files_in_range(&self, _: &KeyRange) -> engine::Result<()> {
        not_here()
    }

    fn approximate_bytes(&self, _: &KeyRange) -> engine::Result<u64> {
        not_here()
    }

    fn statistics(&self) -> StateStatistics {
        StateStatistics::default()
    }
}

/// The region from `b` to `y`.
pub(crate) fn descriptor() -> RegionDescriptor {
    RegionDescriptor {
        id: REGION,
        range: KeyRange::new("b", "y"),
        epoch: RegionEpoch { conf_ver: 1, version: VERSION },
        peers: vec![Peer::voter(71.into(), 1.into())],
    }
}

/// An applier for [`descriptor`] whose log begins behind entry 5.
pub(crate) fn applier() -> RegionApplier {
    let start =
        ApplyState { applied: LogIndex(5), applied_term: 5.into(), truncated: LogIndex(5), truncated_term: 5.into() };
    RegionApplier::new(Arc::new(descriptor()), 71.into(), start)
}

pub(crate) fn raw_entry(index: u64, data: impl Into<Bytes>) -> Entry {
    Entry { index, term: TERM, data: data.into(), ..Entry::default() }
}

pub(crate) fn batch_entry(index: u64, batch: &EntryBatch) -> Entry {
    raw_entry(index, batch.encode_to_vec())
}

pub(crate) fn entry(index: u64, commands: Vec<Command>) -> Entry {
    batch_entry(index, &EntryBatch { version: ENTRY_VERSION, region_version: VERSION, commands, admin: None })
}

pub(crate) fn compact_entry(index: u64, up_to: u64, term: u64) -> Entry {
    let admin = Admin { kind: Some(admin::Kind::CompactLog(CompactLog { index: up_to, term })) };
    batch_entry(index, &EntryBatch { version: ENTRY_VERSION, admin: Some(admin), ..EntryBatch::default() })
}

pub(crate) fn task(entries: Vec<Entry>, waiting: Vec<(u64, Vec<WriteResponder>)>) -> ApplyTask {
    let waiting = waiting.into_iter().map(|(index, responders)| (LogIndex(index), responders)).collect();
    ApplyTask { region: REGION, generation: Generation(1), entries, waiting }
}

/// Remembers each answer under the number that its responder was made with.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<(usize, WriteResult)>>>);

impl Answers {
    pub fn responder(&self, number: usize) -> WriteResponder {
        let answers = Arc::clone(&self.0);
        Responder::new(move |answer| answers.lock().push((number, answer)))
    }

    pub fn responders(&self, numbers: std::ops::Range<usize>) -> Vec<WriteResponder> {
        numbers.map(|number| self.responder(number)).collect()
    }

    pub fn taken(&self) -> Vec<(usize, WriteResult)> {
        std::mem::take(&mut self.0.lock())
    }
}
