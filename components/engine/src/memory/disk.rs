//! One store's disk, which outlives the engines that are opened on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use types::PlantedBugs;
use types::seed::Rng;
use types::{InstanceId, StoreId};

use super::fault::{Fault, FaultPoint, Faults};
use super::file::decode;
use super::files::Files;
use super::folder::MemFolder;
use super::log::{LogDisk, MemLogEngine};
use super::space::Space;
use super::state::MemStateEngine;
use super::state_content::StateContent;
use crate::{EngineError, Entry, Family, IngestFile, RegionLog, Result, SnapshotMarker, StoreIdent};

/// Bounds of the engines on a disk.
#[derive(Clone, Copy, Debug)]
pub struct MemOptions {
    /// When so many bytes wait for a flush, the state engine flushes by itself before it takes the next batch.
    pub write_buffer_bytes: u64,
    /// When so many buffered writes of the log engine wait for a sync, the oldest becomes durable by itself, as an
    /// operating system writes its pages back.
    pub max_unsynced_writes: usize,
    /// Bugs to be found by the simulator; always none in a build for users.
    pub planted: PlantedBugs,
}

impl Default for MemOptions {
    fn default() -> Self {
        Self { write_buffer_bytes: 64 << 20, max_unsynced_writes: 4_096, planted: PlantedBugs::NONE }
    }
}

/// What a crash leaves. Counts larger than what is there stand for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// How many of the log engine's writes since its last sync survive, the oldest first.
    pub log_writes: usize,
    /// Whether a part of the first write that did not survive is at the log's end. Opening finds it and drops it. Of
    /// [files](MemFolder) a part of what was not synced survives then, and nothing otherwise.
    pub torn_tail: bool,
    /// How many of the state engine's batches since its last flush survive, the oldest first.
    pub state_batches: usize,
}

impl CrashPoint {
    /// Nothing survives but what must.
    pub const OLDEST: Self = Self { log_writes: 0, torn_tail: false, state_batches: 0 };
    /// Everything survives.
    pub const NEWEST: Self = Self { log_writes: usize::MAX, torn_tail: false, state_batches: usize::MAX };
}

/// One store's disk. Clones are the same disk.
#[derive(Clone)]
pub struct MemDisk {
    pub(super) shared: Arc<Shared>,
}

/// What the disk and its engines share. Locks are taken in the order of the fields.
pub(super) struct Shared {
    pub(super) options: MemOptions,
    /// Counts crashes. An engine that was opened before the last one is dead.
    crashes: AtomicU64,
    pub(super) log: Mutex<LogDisk>,
    pub(super) state: Mutex<StateContent>,
    pub(super) files: Mutex<Files>,
    pub(super) faults: Faults,
    pub(super) space: Space,
    pub(super) is_crowded: AtomicBool,
}

impl Default for MemDisk {
    fn default() -> Self {
        Self::new(MemOptions::default())
    }
}

impl MemDisk {
    /// An empty disk of unbounded size.
    pub fn new(options: MemOptions) -> Self {
        let shared = Shared {
            options,
            crashes: AtomicU64::new(0),
            log: Mutex::default(),
            state: Mutex::default(),
            files: Mutex::default(),
            faults: Faults::default(),
            space: Space::default(),
            is_crowded: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Opens the log engine.
    ///
    /// # Errors
    /// `Locked` while it is open already; `Corruption` when its bytes were damaged.
    pub fn open_log(&self) -> Result<MemLogEngine> {
        MemLogEngine::open(self.process())
    }

    /// Opens the state engine.
    ///
    /// # Errors
    /// `Locked` while it is open already.
    pub fn open_state(&self) -> Result<MemStateEngine> {
        MemStateEngine::open(self.process())
    }

    /// Opens a folder for ordinary files.
    pub fn open_folder(&self, folder: &Path) -> MemFolder {
        MemFolder::open(self.process(), folder)
    }

    fn process(&self) -> Process {
        Process { crash: self.shared.crashes.load(Ordering::Acquire), shared: Arc::clone(&self.shared) }
    }

    /// Ends the process that has the engines open, at a random point: every cut that the traits allow is possible.
    /// From now on the open engines refuse every call, and the disk can be opened again.
    pub fn crash(&self, rng: &mut Rng) -> CrashPoint {
        let point = CrashPoint {
            log_writes: rng.below(self.unsynced_log_writes() as u64 + 1) as usize,
            torn_tail: rng.one_in(2),
            state_batches: rng.below(self.unflushed_state_batches() as u64 + 1) as usize,
        };
        self.crash_at(point);
        point
    }

    /// Ends the process that has the engines open, at a chosen point.
    pub fn crash_at(&self, point: CrashPoint) {
        let (mut log, mut state) = (self.shared.log.lock(), self.shared.state.lock());
        self.shared.crashes.fetch_add(1, Ordering::AcqRel);
        log.crash(point, &self.shared.space);
        state.fall_back(point.state_batches, &self.shared.space);
        self.shared.files.lock().crash(point.torn_tail, &self.shared.space);
    }

    /// How many writes of the log engine no sync covers yet.
    pub fn unsynced_log_writes(&self) -> usize {
        self.shared.log.lock().unsynced_writes()
    }

    /// How many batches of the state engine no flush covers yet.
    pub fn unflushed_state_batches(&self) -> usize {
        self.shared.state.lock().unflushed_batches()
    }

    /// Hangs a fault on the `nth` call from now that reaches a point, the next one being the first. It strikes once.
    ///
    /// # Panics
    /// When `nth` is zero.
    pub fn inject(&self, point: FaultPoint, nth: u64, fault: Fault) {
        self.shared.faults.arm(point, nth, fault);
    }

    /// Takes away every fault that has not struck.
    pub fn clear_faults(&self) {
        self.shared.faults.disarm();
    }

    /// Bounds the disk. What would take more fails with `DiskFull`; `u64::MAX` is no bound.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.space.set_capacity(bytes);
    }

    /// Has the state engine say whether it is crowded.
    pub fn set_crowded(&self, is_crowded: bool) {
        self.shared.is_crowded.store(is_crowded, Ordering::Release);
    }

    /// Bytes that are taken, about: logs, flushed data and files.
    pub fn used_bytes(&self) -> u64 {
        self.shared.space.used()
    }

    /// Flips a bit in the middle of the log. The engine that has it open does not notice; from the next opening on it
    /// is `Corruption` (D15). Returns false, and damages nothing, when nothing durable is in the log.
    pub fn damage_log(&self) -> bool {
        self.shared.log.lock().damage()
    }

    /// What the log engine holds of every region, ordered by region. For those who watch from outside: no fault strikes,
    /// and the engine need not be open.
    pub fn peek_log(&self) -> Vec<(RegionLog, Vec<Entry>)> {
        self.shared.log.lock().content().regions_with_entries()
    }

    /// Who the store is, as the log engine says; as [`peek_log`](Self::peek_log).
    pub fn peek_ident(&self) -> Option<StoreIdent> {
        self.shared.log.lock().content().ident()
    }

    /// The other stores' lives that the log engine remembers; as [`peek_log`](Self::peek_log).
    pub fn peek_instances(&self) -> Vec<(StoreId, InstanceId)> {
        self.shared.log.lock().content().instances()
    }

    /// The snapshots that the log engine says are being applied, ordered by region; as [`peek_log`](Self::peek_log).
    pub fn peek_markers(&self) -> Vec<SnapshotMarker> {
        self.shared.log.lock().content().markers()
    }

    /// Every pair that the state engine holds, ordered by family and key; as [`peek_log`](Self::peek_log).
    pub fn peek_state(&self) -> Vec<(Family, Bytes, Bytes)> {
        self.shared.state.lock().current.pairs()
    }

    /// The pairs of a file that was finished for an ingest; empty when it is missing or damaged. As
    /// [`peek_log`](Self::peek_log).
    pub fn peek_file(&self, file: &IngestFile) -> Vec<(Bytes, Bytes)> {
        let bytes = self.shared.files.lock().read(&file.path);
        bytes.and_then(|bytes| decode(&file.path, &bytes, file.family).ok()).unwrap_or_default()
    }

    /// The bytes of a file that was finished for an ingest.
    pub fn read_file(&self, path: &Path) -> Option<Bytes> {
        self.shared.files.lock().read(path)
    }

    /// Makes or replaces a file, durable at once; so a file can come from another store's disk, or be damaged.
    ///
    /// # Errors
    /// `DiskFull` when it does not fit.
    pub fn write_file(&self, path: &Path, bytes: Bytes) -> Result<()> {
        self.shared.files.lock().write(path, bytes, &self.shared.space)
    }

    /// Removes a file. Returns whether it was there.
    pub fn remove_file(&self, path: &Path) -> bool {
        self.shared.files.lock().remove(path, &self.shared.space)
    }
}

/// The process that opened an engine: it lives until the disk's next crash.
#[derive(Clone)]
pub(super) struct Process {
    crash: u64,
    pub(super) shared: Arc<Shared>,
}

impl Process {
    pub(super) fn is_alive(&self) -> bool {
        self.shared.crashes.load(Ordering::Acquire) == self.crash
    }

    /// Refuses when the process is dead. Exact only while the engine's lock is held.
    pub(super) fn check(&self, point: FaultPoint) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        Err(point.io("this engine belongs to a process that has crashed"))
    }

    /// A call reaches the disk: refuses when the process is dead, then lets faults strike.
    pub(super) fn reach(&self, point: FaultPoint) -> Result<()> {
        self.check(point)?;
        self.shared.faults.reach(point)
    }
}

/// The error for an engine that is open already.
pub(super) fn locked(name: &str) -> EngineError {
    EngineError::Locked { path: PathBuf::from(format!("memory/{name}")) }
}
