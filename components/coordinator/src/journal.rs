//! Where the coordinator's records lie: a region that a store hosts.

use bytes::Bytes;
use engine::state::{Family, IterRange};
use engine::{EngineError, RegionSnapshot};
use proto::log::{Command, Delete, Operation, Put, WriteBatch, command, operation};
use region::ReadResponder;
use store::StoreHandle;
use types::{
    ColumnFamily, LogIndex, PlantedBug, PlantedBugs, RegionId, RequestError, RequestHeader, Responder, Term,
    WriteResponder,
};

use crate::machine::LoadError;
use crate::record::{RawRecord, RecordWrite};

/// Told that a write was applied, or why not. Dropped, it counts as undetermined.
pub type WriteDone = Responder<Result<(), RequestError>>;

/// Told everything that the region holds. Dropped, the read counts as refused.
pub type LoadDone = Responder<Result<Result<Vec<RawRecord>, LoadError>, RequestError>>;

/// A replicated home for records. Nothing here blocks: ends are told to responders, on any thread.
pub trait Journal: Send + Sync + 'static {
    /// Writes atomically, as the leader of `term`. All errors but `Undetermined` promise that nothing was and will be
    /// written. Writes and reads that are handed in one after the other are taken up in this order.
    fn write(&self, term: Term, writes: Vec<RecordWrite>, done: WriteDone);

    /// Reads everything, linearizably.
    fn load(&self, done: LoadDone);
}

/// A region that a store hosts, in static mode.
#[derive(Clone)]
pub struct StoreJournal {
    store: StoreHandle,
    region: RegionId,
    planted: PlantedBugs,
}

impl StoreJournal {
    /// The records of a store's region. The region belongs to the coordinator alone.
    pub fn new(store: StoreHandle, region: RegionId) -> Self {
        Self { store, region, planted: PlantedBugs::NONE }
    }

    /// The same with planted bugs, for the simulator.
    #[must_use]
    pub fn planting(self, planted: PlantedBugs) -> Self {
        Self { planted, ..self }
    }

    /// The region.
    pub fn region(&self) -> RegionId {
        self.region
    }

    /// What the region's replica here happens to hold, for a planted bug.
    fn unconfirmed(&self) -> Result<RegionSnapshot, RequestError> {
        let view = self.store.region(self.region).ok_or(RequestError::RegionNotFound { region: self.region })?;
        let data = self.store.engines().state.snapshot();
        Ok(RegionSnapshot { descriptor: view.descriptor, applied: LogIndex(0), data })
    }

    /// The region accepts a term that is one behind its own. That does no harm: a leader of the term after ours that is
    /// on this store follows us without another leader between, and one on another store leads two terms before we can
    /// lead again.
    fn header(&self, term: Option<Term>) -> Option<RequestHeader> {
        let view = self.store.region(self.region)?;
        Some(RequestHeader { region_id: self.region, peer_id: Some(view.peer.id), term, epoch: view.descriptor.epoch })
    }
}

impl Journal for StoreJournal {
    fn write(&self, term: Term, writes: Vec<RecordWrite>, done: WriteDone) {
        let Some(header) = self.header(Some(term)) else {
            return done.respond(Err(RequestError::RegionNotFound { region: self.region }));
        };
        let operations = writes.into_iter().map(operation).collect();
        let command = Command { kind: Some(command::Kind::Write(WriteBatch { operations })) };
        self.store.write(header, command, WriteResponder::new(|result| done.respond(result.map(drop))));
    }

    fn load(&self, done: LoadDone) {
        let Some(header) = self.header(None) else {
            return done.respond(Err(RequestError::RegionNotFound { region: self.region }));
        };
        let answer = |result: Result<RegionSnapshot, RequestError>| {
            let records =
                result.map(|snapshot| read_all(&snapshot).map_err(|error| LoadError::Engine(error.to_string())));
            done.respond(records);
        };
        if self.planted.has(PlantedBug::CoordinatorLoadsEarly) {
            return answer(self.unconfirmed());
        }
        self.store.read(header, ReadResponder::new(answer));
    }
}

fn operation(write: RecordWrite) -> Operation {
    let column_family = ColumnFamily::Default as u32;
    let kind = match write {
        RecordWrite::Put(key, value) => operation::Kind::Put(Put { column_family, key, value }),
        RecordWrite::Delete(key) => operation::Kind::Delete(Delete { column_family, key }),
    };
    Operation { kind: Some(kind) }
}

/// A few thousand small records at most, once a leadership: short enough for the thread that brings the snapshot.
fn read_all(snapshot: &RegionSnapshot) -> Result<Vec<RawRecord>, EngineError> {
    let range = IterRange::new(snapshot.descriptor.range.clone());
    let mut iter = snapshot.data.iter(Family::User(ColumnFamily::Default), range)?;
    let mut records = Vec::new();
    let mut valid = iter.seek_to_first()?;
    while valid {
        records.push((Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value())));
        valid = iter.next()?;
    }
    Ok(records)
}
