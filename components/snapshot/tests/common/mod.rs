//! Stores to take snapshots of and to bring them to: the same tests run on both engines.

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use engine::conformance::sample::scan;
use engine::memory::MemDisk;
use engine::{ApplyState, Family, StateBatch, StateEngine, meta};
use engine_rocks::{RocksStateEngine, StateEngineConfig};
use snapshot::{
    Announced, Answer, BuildConfig, BuildStep, Builder, BuiltSnapshot, Chunk, Direction, Directory, MemoryFiles,
    ReceiveConfig, ReceiveError, ReceiveStep, Received, Receiver, SendConfig, SendError, SendStep, Sender, SharedFiles,
    SnapshotFiles, SnapshotKey, SnapshotSource,
};
use tempfile::TempDir;
use types::seed::Rng;
use types::{ColumnFamily, KeyRange, Peer, RegionDescriptor, RegionEpoch, RegionId};

pub const REGION: RegionId = RegionId(7);
pub const INDEX: u64 = 1042;
pub const TERM: u64 = 6;
/// Where the sender and the receiver live.
pub const FROM: u64 = 1;
pub const TO: u64 = 2;

/// A state engine and the folder of its store's snapshots.
pub struct Place {
    pub engine: Arc<dyn StateEngine>,
    pub files: SharedFiles,
    /// What it lies on.
    pub disk: Disk,
}

pub enum Disk {
    Memory(MemDisk),
    Real(TempDir),
}

impl Place {
    pub fn memory() -> Self {
        Self::on(MemDisk::default())
    }

    /// What a process finds that starts on this disk.
    pub fn on(disk: MemDisk) -> Self {
        let engine = Arc::new(disk.open_state().unwrap());
        Self { engine, files: Arc::new(MemoryFiles::open(&disk)), disk: Disk::Memory(disk) }
    }

    pub fn rocks() -> Self {
        let directory = TempDir::new().unwrap();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let config = StateEngineConfig::default();
        let engine = RocksStateEngine::open(&directory.path().join("state"), &config, logger).unwrap();
        let files = Directory::open(&directory.path().join("snapshots")).unwrap();
        Self { engine: Arc::new(engine), files: Arc::new(files), disk: Disk::Real(directory) }
    }

    pub fn memory_disk(&self) -> &MemDisk {
        match &self.disk {
            Disk::Memory(disk) => disk,
            Disk::Real(_) => panic!("this store's disk is real"),
        }
    }

    /// Writes descriptor and apply state of [`region`].
    pub fn with_region(self) -> Self {
        let state = ApplyState { applied: INDEX.into(), applied_term: TERM.into(), ..ApplyState::default() };
        let mut batch = StateBatch::default();
        batch.put(Family::Meta, meta::descriptor_key(REGION), meta::encode_descriptor(&region()));
        batch.put(Family::Meta, meta::apply_state_key(REGION), state.encode());
        self.engine.write(&batch).unwrap();
        self
    }

    /// Fills all user column families, inside and outside of the region, from a seed.
    pub fn with_data(self, seed: u64, keys: u64, value_bytes: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut batch = StateBatch::default();
        for family in ColumnFamily::ALL {
            for outside in ["a", "azzz", "q", "z"] {
                batch.put(family, outside, "another region's");
            }
            for _ in 0..keys {
                let key = [&b"b"[..], &rng.next_u64().to_be_bytes()].concat();
                batch.put(family, key, noise(&mut rng, value_bytes));
            }
        }
        self.engine.write(&batch).unwrap();
        self
    }

    pub fn put(&self, family: ColumnFamily, key: &'static str, value: impl Into<Bytes>) {
        let mut batch = StateBatch::default();
        batch.put(family, key, value);
        self.engine.write(&batch).unwrap();
    }

    pub fn source(&self) -> SnapshotSource {
        SnapshotSource::read(REGION, self.engine.snapshot()).unwrap()
    }

    pub fn builder(&self, config: BuildConfig) -> Builder {
        let key = key(Direction::Outgoing, 1);
        Builder::new(Arc::clone(&self.engine), Arc::clone(&self.files), key, self.source(), config)
    }

    pub fn build(&self, config: BuildConfig) -> BuiltSnapshot {
        let mut builder = self.builder(config);
        loop {
            if let BuildStep::Built(built) = builder.step(64 << 10).unwrap() {
                return built;
            }
        }
    }

    /// The names of all files in the folder.
    pub fn names(&self) -> Vec<String> {
        self.files.list().unwrap().into_iter().map(|listed| listed.name).collect()
    }

    /// All that a region's column families hold.
    pub fn content(&self) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
        ColumnFamily::ALL.map(|family| scan(&*self.engine, family.into(), region().range)).into()
    }

    /// The whole of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        self.files.read(name, 0, 1 << 30).unwrap().into()
    }

    /// Puts other bytes in the place of a file's.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        self.files.append(name, 0, bytes).unwrap();
        self.files.sync(name).unwrap();
        self.files.sync_names().unwrap();
    }
}

/// Up to `most` bytes that no compression makes smaller.
fn noise(rng: &mut Rng, most: u64) -> Vec<u8> {
    let length = rng.below(most + 1);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

pub fn key(direction: Direction, number: u64) -> SnapshotKey {
    SnapshotKey { direction, region: REGION, index: INDEX.into(), number }
}

pub fn region() -> RegionDescriptor {
    RegionDescriptor {
        id: REGION,
        range: KeyRange::new("b", "q"),
        epoch: RegionEpoch { conf_ver: 3, version: 9 },
        peers: vec![Peer::voter(71.into(), FROM.into()), Peer::voter(72.into(), TO.into())],
    }
}

/// Small files, and nothing inline.
pub fn small_files() -> BuildConfig {
    BuildConfig { max_file_bytes: 4 << 10, inline_bytes: 0 }
}

/// Makes a place of each kind.
pub fn both() -> [fn() -> Place; 2] {
    [Place::memory, Place::rocks]
}

pub fn folder(path: &Path) -> Arc<dyn SnapshotFiles> {
    Arc::new(Directory::open(path).unwrap())
}

pub fn announced() -> Announced {
    Announced { region: REGION, store: TO.into(), peer: 72.into(), index: INDEX.into(), term: TERM.into() }
}

/// Many chunks of small files, few of them under way.
pub fn small_chunks() -> SendConfig {
    SendConfig { chunk_bytes: 1000, window_bytes: 3000, max_repeats: 16 }
}

impl Place {
    pub fn accept(&self, manifest: &Bytes) -> Result<Receiver, ReceiveError> {
        let (engine, files) = (Arc::clone(&self.engine), Arc::clone(&self.files));
        Receiver::accept(engine, files, key(Direction::Incoming, 2), &announced(), manifest, ReceiveConfig::default())
    }

    /// What D10 does between its fences.
    pub fn install(&self, received: &mut Received) {
        let mut batch = StateBatch::default();
        for family in ColumnFamily::ALL {
            batch.delete_range(family, region().range);
        }
        self.engine.write(&batch).unwrap();
        self.engine.flush().unwrap();
        self.engine.ingest(&received.ingest_files().unwrap()).unwrap();
        let mut batch = StateBatch::default();
        received.put_inline(&mut batch);
        self.engine.write(&batch).unwrap();
    }
}

/// What happens to a chunk on its way.
pub enum Fate {
    Arrives,
    /// Arrives as something else.
    Becomes(Chunk),
    /// Never arrives, and the stream is broken.
    Breaks,
}

/// How a stream ended.
#[derive(Debug)]
pub enum End {
    Delivered(Received),
    /// The receiver would not go on.
    Refused(ReceiveError),
    /// The sender would not go on.
    GivenUp(SendError),
    Broken,
}

/// One stream from a sender to a receiver. Chunks are under way for as long as the window lets them be.
pub fn stream(sender: &mut Sender, receiver: &mut Receiver, mut fate: impl FnMut(&Chunk) -> Fate) -> End {
    sender.connected();
    if let Err(error) = sender.answer(receiver.wanted()) {
        return End::GivenUp(error);
    }
    let mut under_way = VecDeque::new();
    loop {
        match sender.step() {
            Ok(SendStep::Chunk(chunk)) => match fate(&chunk) {
                Fate::Arrives => under_way.push_back(chunk),
                Fate::Becomes(other) => under_way.push_back(other),
                Fate::Breaks => return End::Broken,
            },
            Ok(SendStep::Wait) => {
                let answer = match under_way.pop_front() {
                    Some(chunk) => match receiver.take(&chunk) {
                        Ok(answer) => answer,
                        Err(error) => return End::Refused(error),
                    },
                    None => return look_through(sender, receiver),
                };
                if let Some(Err(error)) = answer.map(|answer| sender.answer(answer)) {
                    return End::GivenUp(error);
                }
            }
            Ok(SendStep::Delivered) => panic!("it is delivered before the receiver says so"),
            Err(error) => return End::GivenUp(error),
        }
    }
}

fn look_through(sender: &mut Sender, receiver: &mut Receiver) -> End {
    assert!(receiver.has_all(), "both wait for each other");
    loop {
        match receiver.step(2000) {
            Ok(ReceiveStep::More) => {}
            Ok(ReceiveStep::Received(received)) => {
                sender.answer(Answer::Received).unwrap();
                assert_eq!(sender.step().unwrap(), SendStep::Delivered);
                return End::Delivered(received);
            }
            Err(error) => return End::Refused(error),
        }
    }
}

/// Sends without a fault.
pub fn deliver(built: BuiltSnapshot, to: &Place) -> Received {
    let mut receiver = to.accept(built.manifest_bytes()).unwrap();
    let mut sender = Sender::new(Arc::new(built), small_chunks());
    match stream(&mut sender, &mut receiver, |_| Fate::Arrives) {
        End::Delivered(received) => received,
        other => panic!("{other:?}"),
    }
}
