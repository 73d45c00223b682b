//! Snapshots of the real kind between the stores of these tests: how a server ties `snapshot` to the transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engine::conformance::sample::noise;
use engine::memory::MemDisk;
use engine::{ApplyState, Family, StateBatch, StateEngine, meta};
use observe::metrics::{SnapshotOutcome, SnapshotPhase};
use observe::{Registry, SnapshotMetrics};
use parking_lot::{Condvar, Mutex};
use proto::transport::{SnapshotAnswer, SnapshotChunk, SnapshotRefused};
use region::RegionMessage;
use snapshot::{
    Announced, BuildConfig, BuildStep, Builder, Delivery, DeliveryStep, Direction, MemoryFiles, Offer, RateLimiter,
    Reception, ReceptionConfig, ReceptionStep, Receptions, Refusal, RefusalKind, SendConfig, SendError, SharedFiles,
    SnapshotNumbers, SnapshotSource as Moment, TransferLimits, Transfers,
};
use transport::{SinkStep, SnapshotHandler, SnapshotSink, SnapshotSource, SourceStep, SourceStop};
use types::{ColumnFamily, Instant, KeyRange, Peer, RegionDescriptor, RegionEpoch, RegionId, StoreId};

use super::message;

pub const CHUNK_BYTES: usize = 10_000;
pub const WINDOW_BYTES: u64 = 30_000;
const INDEX: u64 = 1042;
const TERM: u64 = 6;

/// The store's clock.
#[derive(Clone)]
struct Clock(std::time::Instant);

impl Clock {
    fn now(&self) -> Instant {
        Instant(u64::try_from(self.0.elapsed().as_nanos()).expect("tests end before the clock does"))
    }
}

/// The snapshot side of one store.
#[derive(Clone)]
pub struct Snapshots {
    store: u64,
    pub engine: Arc<dyn StateEngine>,
    pub files: SharedFiles,
    pub disk: MemDisk,
    pub transfers: Transfers,
    pub receptions: Receptions,
    pub metrics: SnapshotMetrics,
    numbers: SnapshotNumbers,
    clock: Clock,
    /// What was received.
    pub received: Arc<Mutex<Vec<RegionMessage>>>,
    pub gate: Arc<Gate>,
}

/// Holds up those who take chunks while it is closed.
#[derive(Default)]
pub struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn close(&self) {
        *self.closed.lock() = true;
    }

    pub fn open(&self) {
        *self.closed.lock() = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.closed.lock();
        self.changed.wait_while(&mut closed, |closed| *closed);
    }
}

impl Snapshots {
    pub fn new(store: u64) -> Self {
        Self::with_limits(store, TransferLimits::default())
    }

    pub fn with_limits(store: u64, limits: TransferLimits) -> Self {
        let disk = MemDisk::default();
        let engine: Arc<dyn StateEngine> = Arc::new(disk.open_state().expect("the disk is new"));
        let files: SharedFiles = Arc::new(MemoryFiles::open(&disk));
        let metrics = SnapshotMetrics::new(&Registry::new(), store.into());
        let transfers = Transfers::new(limits, metrics.clone());
        let numbers = SnapshotNumbers::new(0);
        let receptions = Receptions::new(
            Arc::clone(&engine),
            Arc::clone(&files),
            numbers.clone(),
            transfers.clone(),
            RateLimiter::new(0),
            ReceptionConfig::default(),
        );
        let clock = Clock(std::time::Instant::now());
        let (received, gate) = (Arc::default(), Arc::default());
        Self { store, engine, files, disk, transfers, receptions, metrics, numbers, clock, received, gate }
    }

    /// Writes a region of about so many bytes.
    pub fn fill(&self, region: u64, bytes: usize) {
        let mut batch = StateBatch::default();
        let state = ApplyState { applied: INDEX.into(), applied_term: TERM.into(), ..ApplyState::default() };
        batch.put(Family::Meta, meta::descriptor_key(region.into()), meta::encode_descriptor(&descriptor(region)));
        batch.put(Family::Meta, meta::apply_state_key(region.into()), state.encode());
        for number in 0..bytes / 1000 {
            let key = format!("{region:04}-{number:06}");
            batch.put(ColumnFamily::ALL[number % 3], key, noise(region + number as u64, 1000));
        }
        self.engine.write(&batch).expect("memory takes a batch");
    }

    /// Builds a region's snapshot and makes it ready to go.
    pub fn source(&self, region: u64, to: u64) -> Box<Source> {
        self.source_with(region, to, Arc::default())
    }

    /// The same, with a count of its chunks' bytes.
    pub fn source_with(&self, region: u64, to: u64, sent: Arc<AtomicU64>) -> Box<Source> {
        let now = self.clock.now();
        let transfer = self.transfers.begin(Direction::Outgoing, region.into(), to.into(), now).expect("a permit");
        let moment = Moment::read(region.into(), self.engine.snapshot()).expect("the region is there");
        let config = BuildConfig { max_file_bytes: 60_000, inline_bytes: 64 };
        let key = self.numbers.key(Direction::Outgoing, region.into(), INDEX.into());
        let mut builder = Builder::new(Arc::clone(&self.engine), Arc::clone(&self.files), key, moment, config);
        let built = loop {
            if let BuildStep::Built(built) = builder.step(1 << 20).expect("the disk is sound") {
                break Arc::new(built);
            }
        };
        let config = SendConfig { chunk_bytes: CHUNK_BYTES, window_bytes: WINDOW_BYTES, ..SendConfig::default() };
        let delivery = Delivery::begin(built, transfer, RateLimiter::new(0), config, now);
        let message = snapshot_message(region, self.store, to);
        Box::new(Source { delivery, message, clock: self.clock.clone(), sent })
    }

    /// All keys of the user's column families.
    pub fn content(&self) -> Vec<usize> {
        let families = ColumnFamily::ALL.into_iter();
        families.map(|of| engine::conformance::sample::scan(&*self.engine, of.into(), KeyRange::all()).len()).collect()
    }

    pub fn files_left(&self) -> usize {
        self.files.list().expect("the disk is sound").len()
    }

    pub fn sent_bytes(&self) -> u64 {
        self.metrics.bytes[SnapshotPhase::Send].get()
    }
}

pub fn descriptor(region: u64) -> RegionDescriptor {
    let range = KeyRange::new(format!("{region:04}"), format!("{:04}", region + 1));
    let peers = [1, 2, 3].map(|store: u64| Peer::voter((store * 10).into(), store.into())).into();
    RegionDescriptor { id: region.into(), range, epoch: RegionEpoch { conf_ver: 1, version: 1 }, peers }
}

pub fn snapshot_message(region: u64, from: u64, to: u64) -> RegionMessage {
    let mut message = message(from, to, 0);
    message.region = RegionId(region);
    message.raft.mut_snapshot().mut_metadata().index = INDEX;
    message.raft.mut_snapshot().mut_metadata().term = TERM;
    message
}

/// A delivery as the transport drives it.
pub struct Source {
    delivery: Delivery,
    message: RegionMessage,
    clock: Clock,
    sent: Arc<AtomicU64>,
}

fn stop(error: SendError) -> SourceStop {
    if error.may_retry() { SourceStop::Retry(error.to_string()) } else { SourceStop::GiveUp(error.to_string()) }
}

impl SnapshotSource for Source {
    fn message(&self) -> RegionMessage {
        self.message.clone()
    }

    fn manifest(&self) -> Bytes {
        self.delivery.manifest().clone()
    }

    fn connected(&mut self) {
        self.delivery.connected();
    }

    fn step(&mut self) -> Result<SourceStep, SourceStop> {
        let now = self.clock.now();
        Ok(match self.delivery.step(now).map_err(stop)? {
            DeliveryStep::Chunk(chunk) => {
                self.sent.fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
                SourceStep::Chunk(chunk.into())
            }
            DeliveryStep::Wait => SourceStep::Wait,
            DeliveryStep::WaitUntil(moment) => SourceStep::Pause(moment.since(now)),
            DeliveryStep::Delivered => SourceStep::Delivered,
        })
    }

    fn answer(&mut self, answer: SnapshotAnswer) -> Result<(), SourceStop> {
        let answer =
            answer.try_into().map_err(|error: snapshot::wire::WireError| SourceStop::GiveUp(error.to_string()))?;
        self.delivery.answer(answer).map_err(stop)
    }
}

impl SnapshotHandler for Snapshots {
    fn offer(
        &self,
        from: StoreId,
        message: RegionMessage,
        manifest: Bytes,
    ) -> Result<Box<dyn SnapshotSink>, SnapshotRefused> {
        let metadata = message.raft.get_snapshot().get_metadata();
        let announced = Announced {
            region: message.region,
            store: self.store.into(),
            peer: message.to.id,
            index: metadata.index.into(),
            term: metadata.term.into(),
        };
        let offer = Offer { announced, from_store: from, manifest };
        let reception = self.receptions.offer(&offer, self.clock.now()).map_err(|error| error.refusal())?;
        let store = self.clone();
        Ok(Box::new(Sink { reception, message, store }))
    }
}

/// A reception as the transport drives it.
struct Sink {
    reception: Reception,
    message: RegionMessage,
    store: Snapshots,
}

impl SnapshotSink for Sink {
    fn wanted(&mut self) -> SnapshotAnswer {
        self.reception.wanted().into()
    }

    fn take(&mut self, chunk: SnapshotChunk) -> Result<SinkStep, SnapshotRefused> {
        self.store.gate.pass();
        let damaged =
            |error: snapshot::wire::WireError| Refusal { kind: RefusalKind::Damaged, reason: error.to_string() };
        let chunk = chunk.try_into().map_err(damaged)?;
        let now = self.store.clock.now();
        let taken = self.reception.take(&chunk, now).map_err(|error| error.refusal())?;
        let pause: Duration = taken.ready_at.since(now);
        Ok(SinkStep { answer: taken.answer.map(Into::into), pause })
    }

    fn has_all(&self) -> bool {
        self.reception.has_all()
    }

    fn step(&mut self) -> Result<bool, SnapshotRefused> {
        let now = self.store.clock.now();
        match self.reception.step(1 << 20, now).map_err(|error| error.refusal())? {
            ReceptionStep::More => Ok(false),
            ReceptionStep::Received(mut received, transfer) => {
                let files = received.ingest_files().expect("the disk is sound");
                self.store.engine.ingest(&files).expect("the files are sound");
                received.remove().expect("the disk is sound");
                transfer.finish(SnapshotOutcome::Received, now);
                self.store.received.lock().push(self.message.clone());
                Ok(true)
            }
        }
    }

    fn interrupted(self: Box<Self>) {
        self.reception.interrupted(self.store.clock.now());
    }
}
