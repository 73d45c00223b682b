//! What a crash may take, what each fault does, and that the rules which hang on it can fail.

#![allow(clippy::unwrap_used)]

mod bounds_of_memory;
mod crash;
mod faults;
mod folder;
mod misuse;
mod physical;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use types::seed::Rng;
use types::{KeyRange, LogIndex, PeerId, RegionId, Round};

use super::{CrashPoint, Fault, FaultPoint, MemDisk, MemLogEngine, MemOptions, MemStateEngine};
use crate::conformance::sample::{
    DATA, LOCK, all_entries, append, batch, bounds, entries, entry_with, get, ingest, keys, put_all, range, write,
};
use crate::{
    Durability, EngineError, Family, IngestFile, IterRange, LogBatch, LogEngine, LogOp, Result, StateEngine, StateRead,
    WriterId,
};

const WRITER: WriterId = WriterId::Apply(0);

fn open() -> (MemDisk, MemLogEngine, MemStateEngine) {
    let disk = MemDisk::default();
    let (log, state) = (disk.open_log().unwrap(), disk.open_state().unwrap());
    (disk, log, state)
}

fn delete_to(end: u64) -> LogBatch {
    LogBatch { ops: vec![LogOp::DeleteTo { region: RegionId(1), peer: PeerId(10), end: LogIndex(end) }] }
}

fn try_append(log: &MemLogEngine, low: u64, high: u64, durability: Durability) -> Result<()> {
    log.write(LogBatch { ops: vec![append(1, 10, entries(low, high, 5))] }, durability)
}

fn put_round(state: &MemStateEngine, round: u64) {
    batch(state, |batch| {
        batch.set_round(WRITER, Round(round));
        batch.put(DATA, format!("{round}"), "x");
        batch.put(LOCK, format!("{round}"), "x");
    });
}
