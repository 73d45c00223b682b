//! The yardstick: the work of three replicas done by hand on the engines, without raft.
//!
//! **The same work.** Three replicas, each with a log engine (synced) and a state engine (no log), opened with the
//! options of a store. Every write goes to all three logs, and into all three states. Each replica has the threads that
//! a store has for it: one that gathers whatever waits into one batch and syncs it, one that puts what is synced into
//! the state engine. A log batch holds one record for each region that is written, as a round of raft does, and the
//! state batch the number of its round. Once a second what the state engine has flushed leaves the log.
//!
//! **The same loop.** A write is acknowledged when a majority has it on disk and the replica that would lead its region
//! has it in its state engine: what a client of raft is promised. So as many writes are in flight as on the other
//! side, batches grow and shrink by themselves as they do there, and neither side runs ahead on idle cores.
//!
//! **What it is spared.** Everything that makes replicas agree: messages between them, waiting for the leader's turn,
//! terms, hard states, apply states, epochs, routing. That is the price which the ratio shows.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use engine::{Durability, Entry, Family, HardState, LogBatch, LogEngine, LogOp, StateBatch, StateEngine, WriterId};
use runtime::spawn::{Joinable, Spawner, ThreadSpawner};
use store::Engines;
use types::{ColumnFamily, LogIndex, PeerId, RegionId, Round};

use super::{Done, Side, Write, disks};
use crate::harness::sample::{EngineUse, REPLICAS};

/// Most writes of one batch, as in a round of a store.
const BATCH: usize = 4096;
/// How often a replica looks what may leave its log.
const UPKEEP: Duration = Duration::from_secs(1);

/// Three replicas without raft.
pub struct Raw {
    replicas: Vec<Replica>,
}

struct Replica {
    engines: Engines,
    /// `None` once it stops.
    queue: Option<Sender<Arc<Job>>>,
    threads: Vec<Box<dyn Joinable>>,
}

/// One write on its way through all replicas.
struct Job {
    region: usize,
    key: Bytes,
    value: Bytes,
    done: Done,
    progress: AtomicU32,
}

/// What [`Job::progress`] grows by when the replica that answers has applied it; each sync makes it grow by one.
const APPLIED: u32 = 1 << 16;

impl Job {
    fn advance(&self, by: u32) {
        let is_acknowledged = |progress: u32| progress >= APPLIED && progress % APPLIED > (REPLICAS / 2) as u32;
        let before = self.progress.fetch_add(by, Ordering::AcqRel);
        if !is_acknowledged(before) && is_acknowledged(before + by) {
            self.done.tell(true);
        }
    }
}

impl Raw {
    /// Opens three fresh replicas in a directory.
    ///
    /// # Errors
    /// When an engine or a thread cannot be had.
    pub fn open(directory: &Path, regions: usize) -> Result<Arc<Self>, String> {
        let replicas = (0..REPLICAS).map(|at| Replica::open(at, &directory.join(format!("raw-{at}")), regions));
        Ok(Arc::new(Self { replicas: replicas.collect::<Result<_, _>>()? }))
    }
}

impl Side for Raw {
    fn write(&self, Write { region, key, value }: Write, done: Done) {
        let job = Arc::new(Job { region, key, value, done, progress: AtomicU32::new(0) });
        for replica in &self.replicas {
            let queue = replica.queue.as_ref().expect("a replica has its queue until it is dropped");
            queue.send(Arc::clone(&job)).expect("a replica takes writes until it is dropped");
        }
    }

    fn engine_use(&self) -> EngineUse {
        disks::engine_use(self.replicas.iter().map(|replica| &replica.engines))
    }
}

impl Replica {
    fn open(at: usize, directory: &Path, regions: usize) -> Result<Self, String> {
        let engines = disks::open(directory)?;
        let (queue, jobs) = channel();
        let (synced, to_apply) = channel();
        let passed = Arc::new(Mutex::new(Vec::new()));
        let mut log = LogWriter {
            engine: Arc::clone(&engines.log),
            next: vec![LogIndex(1); regions],
            groups: vec![Vec::new(); regions],
            passed: Arc::clone(&passed),
        };
        let mut state = StateWriter {
            at,
            engine: Arc::clone(&engines.state),
            round: Round(0),
            applied: vec![LogIndex(0); regions],
            looks: Vec::new(),
            looked: Instant::now(),
            passed,
        };
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            ThreadSpawner.spawn(&name, work).map_err(|error| format!("{name}: {error}"))
        };
        let threads = vec![
            spawn(format!("raw-log-{at}"), Box::new(move || log.run(&jobs, &synced)))?,
            spawn(format!("raw-apply-{at}"), Box::new(move || state.run(&to_apply)))?,
        ];
        Ok(Self { engines, queue: Some(queue), threads })
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            assert!(thread.join() || std::thread::panicking(), "a thread of the raw side panicked");
        }
    }
}

/// A batch that is synced, and the index of each region's record in it.
type Synced = (Vec<Arc<Job>>, Vec<(usize, LogIndex)>);

/// Regions and the last index of each that the state engine holds for good.
type Passed = Arc<Mutex<Vec<(usize, LogIndex)>>>;

struct LogWriter {
    engine: Arc<dyn LogEngine>,
    next: Vec<LogIndex>,
    /// Places in the batch, by region; empty between two batches.
    groups: Vec<Vec<usize>>,
    passed: Passed,
}

impl LogWriter {
    fn run(&mut self, jobs: &Receiver<Arc<Job>>, synced: &Sender<Synced>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            batch.extend(jobs.try_iter().take(BATCH - 1));
            let (ops, written) = self.lay_out(&batch);
            self.engine.write(LogBatch { ops }, Durability::Synced).expect("the log engine writes");
            batch.iter().for_each(|job| job.advance(1));
            // The other thread ends when this one does.
            let _ = synced.send((batch, written));
        }
    }

    fn lay_out(&mut self, batch: &[Arc<Job>]) -> (Vec<LogOp>, Vec<(usize, LogIndex)>) {
        let mut touched = Vec::new();
        for (place, job) in batch.iter().enumerate() {
            if self.groups[job.region].is_empty() {
                touched.push(job.region);
            }
            self.groups[job.region].push(place);
        }
        touched.sort_unstable();
        let mut ops = Vec::with_capacity(touched.len());
        let mut written = Vec::with_capacity(touched.len());
        for at in touched {
            let index = self.next[at];
            self.next[at] = index.next();
            let data = record(self.groups[at].iter().map(|place| &*batch[*place]));
            self.groups[at].clear();
            let entry = Entry { data, index: index.0, term: 1, ..Entry::default() };
            ops.push(LogOp::Append {
                region: region(at),
                peer: PEER,
                entries: vec![entry],
                hard_state: HardState::default(),
            });
            written.push((at, index));
        }
        let passed = std::mem::take(&mut *self.passed.lock().expect("nobody panics with it"));
        ops.extend(passed.into_iter().map(|(at, index)| LogOp::DeleteTo {
            region: region(at),
            peer: PEER,
            end: index.next(),
        }));
        (ops, written)
    }
}

const PEER: PeerId = PeerId(1);

fn region(at: usize) -> RegionId {
    RegionId(at as u64 + 1)
}

/// Keys and values of one region's writes, each behind its length.
fn record<'a>(jobs: impl Iterator<Item = &'a Job> + Clone) -> Bytes {
    let bytes: usize = jobs.clone().map(|job| job.key.len() + job.value.len() + 8).sum();
    let mut record = BytesMut::with_capacity(bytes);
    for job in jobs {
        for part in [&job.key, &job.value] {
            record.put_u32(part.len() as u32);
            record.put_slice(part);
        }
    }
    record.freeze()
}

struct StateWriter {
    at: usize,
    engine: Arc<dyn StateEngine>,
    round: Round,
    /// The last index of each region.
    applied: Vec<LogIndex>,
    /// How far every region was when a round was written: one look a second, the oldest first.
    looks: Vec<(Round, Vec<LogIndex>)>,
    looked: Instant,
    passed: Passed,
}

impl StateWriter {
    const WRITER: WriterId = WriterId::Apply(0);

    fn run(&mut self, synced: &Receiver<Synced>) {
        while let Ok(first) = synced.recv() {
            let batches: Vec<Synced> = std::iter::once(first).chain(synced.try_iter()).collect();
            let mut out = StateBatch::default();
            for job in batches.iter().flat_map(|(jobs, _)| jobs) {
                out.put(Family::User(ColumnFamily::Default), job.key.clone(), job.value.clone());
            }
            self.round = self.round.next();
            out.set_round(Self::WRITER, self.round);
            self.engine.write(&out).expect("the state engine writes");
            for (jobs, written) in &batches {
                jobs.iter().filter(|job| job.region % REPLICAS == self.at).for_each(|job| job.advance(APPLIED));
                written.iter().for_each(|(region, index)| self.applied[*region] = *index);
            }
            if self.looked.elapsed() > UPKEEP {
                self.look();
            }
        }
    }

    /// Finds what is flushed, and remembers how far everything is now.
    fn look(&mut self) {
        self.looked = Instant::now();
        let durable = self.engine.persisted_round(Self::WRITER).expect("the state engine reads");
        let flushed = self.looks.iter().take_while(|(round, _)| *round <= durable).count();
        if let Some((_, applied)) = self.looks.drain(..flushed).next_back() {
            let passed = applied.into_iter().enumerate().filter(|(_, index)| index.0 > 0);
            *self.passed.lock().expect("nobody panics with it") = passed.collect();
        }
        self.looks.push((self.round, self.applied.clone()));
    }
}
