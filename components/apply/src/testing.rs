//! What the tests of this crate share: an engine that notes its batches, entries, and responders that remember.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use engine::memory::{CrashPoint, Fault, FaultPoint, MemDisk, MemStateEngine};
use engine::{
    ApplyState, Entry, Family, FileReader, IngestFile, IterRange, Result, SstWriter, StateBatch, StateEngine,
    StateIterator, StateRead, StateStatistics, WriterId,
};
use parking_lot::Mutex;
use prost::Message as _;
use proto::log::{Admin, ChangeMembers, Command, CompactLog, EntryBatch, admin};
use raft_proto::eraftpb::EntryType;
use types::entry::{BOUNDARY_CONTEXT, ENTRY_VERSION};
use types::{
    Generation, KeyRange, LogIndex, MemberChange, Peer, RegionDescriptor, RegionEpoch, RegionId, Responder, Round,
    WriteResponder, WriteResult,
};

use crate::{ApplyTask, RegionApplier};

pub(crate) const REGION: RegionId = RegionId(7);
pub(crate) const VERSION: u64 = 3;
pub(crate) const WRITER: WriterId = WriterId::Apply(0);
pub(crate) const TERM: u64 = 6;

pub(crate) type Keys = BTreeMap<(Family, Bytes), Bytes>;

/// A state engine in memory that notes its batches, so that a test can look at them and go back to any cut.
pub(crate) struct CutEngine {
    disk: MemDisk,
    engine: MemStateEngine,
    batches: Mutex<Vec<StateBatch>>,
}

impl Default for CutEngine {
    fn default() -> Self {
        Self::open(MemDisk::default())
    }
}

impl CutEngine {
    fn open(disk: MemDisk) -> Self {
        let engine = disk.open_state().unwrap();
        Self { disk, engine, batches: Mutex::default() }
    }

    /// An engine whose next call of a kind fails.
    pub fn failing(point: FaultPoint) -> Self {
        let engine = Self::default();
        engine.disk.inject(point, 1, Fault::Io);
        engine
    }

    /// Another engine with the same batches, as a crash leaves it that keeps so many of them.
    pub fn crashed(&self, state_batches: usize) -> Self {
        let other = Self::default();
        self.batches().iter().for_each(|batch| other.write(batch).unwrap());
        other.disk.crash_at(CrashPoint { state_batches, ..CrashPoint::OLDEST });
        Self::open(other.disk.clone())
    }

    pub fn batches(&self) -> Vec<StateBatch> {
        self.batches.lock().clone()
    }

    /// What users wrote, and the apply states: all that replicas must agree on.
    pub fn replicated(&self) -> Keys {
        let mut keys = Keys::new();
        for family in Family::ALL {
            let mut iter = self.iter(family, IterRange::default()).unwrap();
            let mut valid = iter.seek_to_first().unwrap();
            while valid {
                keys.insert((family, Bytes::copy_from_slice(iter.key())), Bytes::copy_from_slice(iter.value()));
                valid = iter.next().unwrap();
            }
        }
        keys.remove(&(Family::Meta, WRITER.key()));
        keys
    }

    pub fn value(&self, key: &'static str) -> Option<Bytes> {
        self.get(Family::User(types::ColumnFamily::Default), key.as_bytes()).unwrap()
    }

    pub fn apply_state(&self) -> Option<ApplyState> {
        let bytes = self.get(Family::Meta, &engine::meta::apply_state_key(REGION)).unwrap();
        bytes.map(|bytes| ApplyState::decode(&bytes).unwrap())
    }
}

impl StateRead for CutEngine {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        self.engine.get(family, key)
    }

    fn iter(&self, family: Family, range: IterRange) -> Result<Box<dyn StateIterator + '_>> {
        self.engine.iter(family, range)
    }
}

impl StateEngine for CutEngine {
    fn write(&self, batch: &StateBatch) -> Result<()> {
        self.engine.write(batch)?;
        self.batches.lock().push(batch.clone());
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn StateRead> {
        self.engine.snapshot()
    }

    fn flush(&self) -> Result<()> {
        self.engine.flush()
    }

    fn persisted_round(&self, writer: WriterId) -> Result<Round> {
        self.engine.persisted_round(writer)
    }

    fn sst_writer(&self, family: Family, path: &Path) -> Result<Box<dyn SstWriter>> {
        self.engine.sst_writer(family, path)
    }

    fn read_file(&self, file: &IngestFile) -> Result<Box<dyn FileReader>> {
        self.engine.read_file(file)
    }

    fn ingest(&self, files: &[IngestFile]) -> Result<()> {
        self.engine.ingest(files)
    }

    fn delete_files_in_range(&self, range: &KeyRange) -> Result<()> {
        self.engine.delete_files_in_range(range)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.engine.approximate_bytes(range)
    }

    fn approximate_keys(&self, range: &KeyRange) -> Result<u64> {
        self.engine.approximate_keys(range)
    }

    fn statistics(&self) -> StateStatistics {
        self.engine.statistics()
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

/// A command of the store itself, proposed under an epoch.
pub(crate) fn admin_entry(index: u64, epoch: RegionEpoch, kind: admin::Kind) -> Entry {
    let context = if matches!(kind, admin::Kind::Split(_)) { BOUNDARY_CONTEXT } else { &[] };
    let admin = Some(Admin { kind: Some(kind), conf_ver: epoch.conf_ver });
    let batch = EntryBatch { version: ENTRY_VERSION, region_version: epoch.version, commands: vec![], admin };
    Entry { context: Bytes::from_static(context), ..batch_entry(index, &batch) }
}

pub(crate) fn compact_entry(index: u64, up_to: u64, term: u64) -> Entry {
    admin_entry(index, RegionEpoch::default(), admin::Kind::CompactLog(CompactLog { index: up_to, term }))
}

/// A change of members, proposed under an epoch.
pub(crate) fn members_entry(index: u64, epoch: RegionEpoch, changes: &[MemberChange]) -> Entry {
    let change = ChangeMembers {
        version: ENTRY_VERSION,
        conf_ver: epoch.conf_ver,
        region_version: epoch.version,
        changes: changes.iter().map(|change| (*change).into()).collect(),
    };
    let context = change.encode_to_vec().into();
    Entry { entry_type: EntryType::EntryConfChangeV2, context, ..raw_entry(index, "") }
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
