//! A node as its processes see it: what they send, answer and write goes through here, and is taken up by the simulation
//! when the event that they handle is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::memory::{CrashPoint, MemDisk};
use engine::{EngineError, LogBatch};
use parking_lot::{Mutex, MutexGuard};
use region::{Inconsistency, RegionError, RegionMessage, RegionStatus};
use runtime::clock::Clock;
use store::{Outbox, RegionView, Shipment, StoreError, StoreObserver};
use types::{Instant, RegionId, StoreId};

use crate::call::{CallId, Reply};
use crate::chance::Dice;
use crate::clock::{NodeClock, NodeWallClock};
use crate::coordinating::FromCoordinator;
use crate::guests::Errand;
use crate::observation::Event;
use crate::orders::Word;
use crate::recorder::Recorder;
use crate::splitting::IdsWanted;
use crate::trace::Kind;

/// Something that a process gives away.
pub(crate) enum Outgoing {
    /// Messages that leave together for another store.
    Frame(StoreId, Vec<Arc<RegionMessage>>),
    /// The answer to a client's call.
    Reply(CallId, Reply),
    /// The coordinator's answer to a store.
    ToStore(StoreId, FromCoordinator),
    /// Something to be done in a store's process, for a guest.
    Errand(StoreId, Errand),
    /// The coordinator's word to a store.
    Word(StoreId, Word),
    /// What a leader of this store is about to report.
    Status(Box<RegionStatus>),
    /// A snapshot for another store.
    Shipment(Box<Shipment>),
    /// Ids that the store's split checker wants.
    WantIds(Box<IdsWanted>),
    /// A peer here misses its leader: who are its region's members?
    LeaderMissing(RegionId),
}

/// How a disk behaves in time.
#[derive(Clone, Debug)]
pub(crate) struct DiskPace {
    /// How many times slower than usual.
    pub(crate) slowness: u64,
    /// How long the next sync stalls.
    pub(crate) stall: Duration,
    /// How long the state engine makes its next writer wait, as one does whose flushes cannot follow.
    pub(crate) write_stall: Duration,
}

impl DiskPace {
    pub(crate) const USUAL: Self = Self { slowness: 1, stall: Duration::ZERO, write_stall: Duration::ZERO };
}

/// Why a store stopped itself.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) error: String,
    /// Whether a fault of the disk explains it.
    pub(crate) is_explained: bool,
}

struct Inner {
    life: u64,
    is_dead: bool,
    crash: Option<CrashPoint>,
    failed: Option<Failed>,
    /// How long the event that is being handled has taken so far.
    passed: Duration,
    /// Whether a sync takes its time here. The log writer's own is waited for before it is written.
    sync_takes_time: bool,
    in_flight: Option<Arc<LogBatch>>,
    frames: BTreeMap<StoreId, Vec<Arc<RegionMessage>>>,
    outgoing: Vec<(Duration, Outgoing)>,
    changed: BTreeSet<RegionId>,
    dice: Dice,
    pace: DiskPace,
    /// A fault of the disk was prepared in this life: errors of the engines are explained.
    has_faults: bool,
}

/// One node; outlives its processes.
pub(crate) struct Cell {
    /// Its number in the trace, from 1 on.
    pub(crate) number: u64,
    pub(crate) store: StoreId,
    pub(crate) clock: NodeClock,
    pub(crate) wall_clock: NodeWallClock,
    pub(crate) recorder: Recorder,
    inner: Mutex<Inner>,
}

impl Cell {
    pub(crate) fn new(number: u64, store: StoreId, recorder: Recorder, dice: Dice) -> Arc<Self> {
        let inner = Inner {
            life: 0,
            is_dead: true,
            crash: None,
            failed: None,
            passed: Duration::ZERO,
            sync_takes_time: true,
            in_flight: None,
            frames: BTreeMap::new(),
            outgoing: Vec::new(),
            changed: BTreeSet::new(),
            dice,
            pace: DiskPace::USUAL,
            has_faults: false,
        };
        let (clock, wall_clock) = (NodeClock::default(), NodeWallClock::default());
        Arc::new(Self { number, store, clock, wall_clock, recorder, inner: Mutex::new(inner) })
    }

    /// A process starts.
    pub(crate) fn begin_life(self: &Arc<Self>) -> Life {
        let mut inner = self.inner.lock();
        inner.life += 1;
        inner.is_dead = false;
        (inner.crash, inner.failed, inner.in_flight) = (None, None, None);
        inner.frames.clear();
        inner.outgoing.clear();
        inner.changed.clear();
        Life { number: inner.life, cell: Arc::clone(self) }
    }

    /// The process is gone: nothing that it still does is seen by anyone.
    pub(crate) fn end_life(&self) {
        let mut inner = self.inner.lock();
        inner.is_dead = true;
        inner.frames.clear();
        inner.outgoing.clear();
    }

    /// The process ends at this very place, and its disk falls back; for the hook of a fault.
    ///
    /// `written` says that the log engine has the batch that is being written, and no sync has covered it.
    pub(crate) fn crash_here(&self, disk: &MemDisk, machine: bool, written: bool) {
        let mut inner = self.inner.lock();
        if inner.is_dead {
            return;
        }
        if let (true, Some(batch)) = (written, inner.in_flight.take()) {
            self.recorder.observe(self.store, Event::LogWriteFailed { batch });
        }
        let point = crash_disk(disk, machine, &mut inner.dice);
        self.recorder.tell(self.number, "crash", format!("in a call: {point:?}"));
        self.recorder.observe(self.store, Event::Crashed { disk: Some(point) });
        inner.crash = Some(point);
        inner.is_dead = true;
        inner.frames.clear();
        inner.outgoing.clear();
    }

    /// Whether the process ended in the middle of what it did.
    pub(crate) fn take_crash(&self) -> Option<CrashPoint> {
        self.inner.lock().crash.take()
    }

    /// Whether the store stopped itself since somebody looked.
    pub(crate) fn take_failure(&self) -> Option<Failed> {
        self.inner.lock().failed.take()
    }

    /// An event begins: what the process gives away from now on leaves so long after its beginning.
    pub(crate) fn begin_event(&self, cpu: Duration, sync_takes_time: bool) {
        let mut inner = self.inner.lock();
        inner.passed = cpu;
        inner.sync_takes_time = sync_takes_time;
        self.clock.pass(cpu);
    }

    /// The event is over: what it gave away, each with how long after the beginning, and how long it took.
    pub(crate) fn end_event(&self) -> (Vec<(Duration, Outgoing)>, Duration) {
        let mut inner = self.inner.lock();
        inner.cut_frames();
        (std::mem::take(&mut inner.outgoing), inner.passed)
    }

    /// The process's own time.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// How long the event that is being handled has taken so far.
    pub(crate) fn passed(&self) -> Duration {
        self.inner.lock().passed
    }

    /// How long a sync takes now.
    pub(crate) fn draw_sync(&self) -> Duration {
        self.inner.lock().draw_sync()
    }

    pub(crate) fn set_pace(&self, change: impl FnOnce(&mut DiskPace)) {
        change(&mut self.inner.lock().pace);
    }

    /// From now on, until [`calm_disk`](Self::calm_disk), a failing engine is no surprise.
    pub(crate) fn expect_faults(&self) {
        self.inner.lock().has_faults = true;
    }

    pub(crate) fn has_faults(&self) -> bool {
        self.inner.lock().has_faults
    }

    pub(crate) fn calm_disk(&self) {
        let mut inner = self.inner.lock();
        inner.has_faults = false;
        inner.pace = DiskPace::USUAL;
    }

    /// The regions that changed since somebody looked.
    pub(crate) fn take_changed(&self) -> BTreeSet<RegionId> {
        std::mem::take(&mut self.inner.lock().changed)
    }
}

impl Inner {
    fn draw_sync(&mut self) -> Duration {
        // Most syncs are fast, a few are not.
        let micros = if self.dice.one_in(20) { self.dice.within(500, 2000) } else { self.dice.within(100, 500) };
        let stall = std::mem::take(&mut self.pace.stall);
        Duration::from_micros(micros * self.pace.slowness) + stall
    }

    fn cut_frames(&mut self) {
        let passed = self.passed;
        for (to, messages) in std::mem::take(&mut self.frames) {
            self.outgoing.push((passed, Outgoing::Frame(to, messages)));
        }
    }
}

/// Lets a disk fall back as a crash of the process or of the machine may leave it. What a process wrote to its log without
/// waiting is in the machine's memory, and survives the process; what its state engine had in memory does not.
pub(crate) fn crash_disk(disk: &MemDisk, machine: bool, dice: &mut Dice) -> CrashPoint {
    if machine {
        return disk.crash(dice.rng());
    }
    let kept = dice.place(disk.unflushed_state_batches() + 1);
    let point = CrashPoint { log_writes: usize::MAX, torn_tail: false, state_batches: kept };
    disk.crash_at(point);
    point
}

/// One process of a node. Whatever it does after its end is dropped.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) number: u64,
    pub(crate) cell: Arc<Cell>,
}

impl Life {
    fn alive(&self) -> Option<MutexGuard<'_, Inner>> {
        let inner = self.cell.inner.lock();
        (inner.life == self.number && !inner.is_dead).then_some(inner)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive().is_some()
    }

    /// Takes down something that the process did, unless it is over.
    pub(crate) fn observe(&self, event: impl FnOnce() -> Event) {
        if let Some(_inner) = self.alive() {
            self.cell.recorder.observe(self.cell.store, event());
        }
    }

    pub(crate) fn note(&self, kind: Kind, numbers: &[u64]) {
        if let Some(_inner) = self.alive() {
            self.cell.recorder.note(self.cell.number, kind, numbers);
        }
    }

    /// Time passes while the process waits for its disk.
    pub(crate) fn wait_for_sync(&self) {
        if let Some(mut inner) = self.alive()
            && inner.sync_takes_time
        {
            // What was sent before the wait leaves before it.
            inner.cut_frames();
            let wait = inner.draw_sync();
            inner.passed += wait;
            self.cell.clock.pass(wait);
        }
    }

    /// Time passes while the process waits for its state engine to take a batch.
    pub(crate) fn wait_for_room(&self) {
        if let Some(mut inner) = self.alive() {
            let stall = std::mem::take(&mut inner.pace.write_stall);
            inner.passed += stall;
            self.cell.clock.pass(stall);
        }
    }

    pub(crate) fn begin_write(&self, batch: Arc<LogBatch>) {
        if let Some(mut inner) = self.alive() {
            inner.in_flight = Some(batch);
        }
    }

    pub(crate) fn end_write(&self) {
        if let Some(mut inner) = self.alive() {
            inner.in_flight = None;
        }
    }

    /// Gives something away.
    pub(crate) fn give(&self, outgoing: Outgoing) {
        if let Some(mut inner) = self.alive() {
            let passed = inner.passed;
            inner.outgoing.push((passed, outgoing));
        }
    }
}

/// The names of raft's messages, by their numbers.
const MESSAGES: [&str; 19] = [
    "hup",
    "beat",
    "propose",
    "append",
    "appended",
    "vote?",
    "vote",
    "snapshot",
    "heartbeat",
    "heard",
    "unreachable",
    "snap-status",
    "quorum?",
    "transfer",
    "timeout-now",
    "read-index",
    "read-index!",
    "pre-vote?",
    "pre-vote",
];

/// A message as a note of the trace.
pub(crate) fn note_of(message: &RegionMessage) -> (&'static str, [u64; 8]) {
    let raft = &message.raft;
    let (from, to) = (message.from.store_id.0, message.to.store_id.0);
    let place = from << 32 | to << 1 | u64::from(raft.reject);
    let name = MESSAGES.get(raft.get_msg_type() as usize).copied().unwrap_or("message");
    (name, [message.region.0, place, raft.term, raft.log_term, raft.index, raft.commit, raft.entries.len() as u64, 0])
}

impl Outbox for Life {
    fn send(&self, message: RegionMessage) -> bool {
        let Some(mut inner) = self.alive() else { return false };
        let (name, numbers) = note_of(&message);
        let kind = Kind { name, numbers: "region from-to-reject term log-term index commit entries" };
        self.cell.recorder.note(self.cell.number, kind, &numbers);
        let message = Arc::new(message);
        self.cell.recorder.observe(self.cell.store, Event::Sent { message: Arc::clone(&message) });
        inner.frames.entry(message.to.store_id).or_default().push(message);
        true
    }

    fn flush(&self) {
        if let Some(mut inner) = self.alive() {
            inner.cut_frames();
        }
    }
}

const GONE: Kind = Kind { name: "gone", numbers: "region" };
const CHANGED: Kind = Kind { name: "role", numbers: "region role term leader" };

impl StoreObserver for Life {
    fn region_changed(&self, view: &RegionView) {
        let Some(mut inner) = self.alive() else { return };
        let leader = view.leader.map_or(0, |leader| leader.id.0);
        let numbers = [view.descriptor.id.0, view.role as u64, view.term.0, leader];
        self.cell.recorder.note(self.cell.number, CHANGED, &numbers);
        self.cell.recorder.observe(self.cell.store, Event::RegionChanged { view: view.clone() });
        inner.changed.insert(view.descriptor.id);
    }

    fn region_gone(&self, region: RegionId) {
        let Some(_inner) = self.alive() else { return };
        self.cell.recorder.note(self.cell.number, GONE, &[region.0]);
        self.cell.recorder.observe(self.cell.store, Event::RegionGone { region });
    }

    fn leader_missing(&self, region: RegionId) {
        self.give(Outgoing::LeaderMissing(region));
    }

    fn replicas_differ(&self, found: &Inconsistency) {
        let Some(_inner) = self.alive() else { return };
        let (region, index) = (found.descriptor.id, found.index);
        self.cell.recorder.observe(self.cell.store, Event::ReplicasDiffer { region, index });
    }

    fn store_failed(&self, error: &StoreError) {
        let Some(mut inner) = self.alive() else { return };
        let failed = Failed { error: error.to_string(), is_explained: inner.has_faults && is_disk_trouble(error) };
        self.cell.recorder.tell(self.cell.number, "failed", failed.error.clone());
        let event = Event::Failed { error: failed.error.clone(), expected: failed.is_explained };
        self.cell.recorder.observe(self.cell.store, event);
        inner.failed = Some(failed);
    }
}

/// Whether a store stopped because its disk failed it.
pub(crate) fn is_disk_trouble(error: &StoreError) -> bool {
    let engine = match error {
        StoreError::Engine(error) | StoreError::Region(RegionError::Engine(error)) => error,
        StoreError::Apply(apply::ApplyError::Engine(error)) => error,
        _ => return false,
    };
    matches!(engine, EngineError::Io { .. } | EngineError::DiskFull { .. } | EngineError::Poisoned { .. })
}
