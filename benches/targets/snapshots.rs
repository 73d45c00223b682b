//! What a snapshot costs beside a plain copy of its files: built from one state engine, sent through the machines of both
//! sides, verified, synced, and ingested by another engine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Family, StateBatch, StateEngine, meta};
use engine_rocks::{RocksStateEngine, StateEngineConfig};
use observe::metrics::SnapshotOutcome;
use observe::{Registry, SnapshotMetrics};
use snapshot::{
    Announced, Answer, BuildConfig, BuildStep, Builder, BuiltSnapshot, Delivery, DeliveryStep, Direction, Directory,
    Offer, RateLimiter, Received, Reception, ReceptionConfig, ReceptionStep, Receptions, SendConfig, SharedFiles,
    SnapshotNumbers, SnapshotSource, Transfer, TransferLimits, Transfers,
};
use types::seed::Rng;
use types::{ColumnFamily, Instant as Moment, KeyRange, Peer, RegionDescriptor, RegionEpoch, RegionId};

use super::turns::directory;
use crate::harness::options::Options;
use crate::harness::report::{Goal, Report};
use crate::harness::rounds::Spread;

const REGION: RegionId = RegionId(1);
const VALUE_BYTES: usize = 1024;
const PAIRS: usize = 128 << 10;
const STEP_BYTES: usize = 1 << 20;

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// One store's side of a snapshot.
struct Side {
    state: Arc<dyn StateEngine>,
    files: SharedFiles,
    transfers: Transfers,
    numbers: SnapshotNumbers,
}

impl Side {
    fn open(directory: &Path) -> Result<Self, String> {
        let config = StateEngineConfig::default();
        let state = RocksStateEngine::open(&directory.join("state"), &config, observe::discard_logger());
        let files = Directory::open(&directory.join("snapshots")).map_err(words)?;
        let metrics = SnapshotMetrics::new(&Registry::new(), 1.into());
        Ok(Self {
            state: Arc::new(state.map_err(words)?),
            files: Arc::new(files),
            transfers: Transfers::new(TransferLimits::default(), metrics),
            numbers: SnapshotNumbers::new(1),
        })
    }

    /// Values that do not compress, as a region of about 128 MiB.
    fn fill(&self) -> Result<(), String> {
        let descriptor = RegionDescriptor {
            id: REGION,
            range: KeyRange::all(),
            epoch: RegionEpoch::INITIAL,
            peers: vec![Peer::voter(10.into(), 1.into()), Peer::voter(20.into(), 2.into())],
        };
        let apply_state = engine::ApplyState::BORN;
        let mut batch = StateBatch::default();
        meta::put_region(&mut batch, &meta::RegionState { descriptor, apply_state });
        let mut rng = Rng::new(1);
        for pair in 0..PAIRS {
            let value: Vec<u8> = (0..VALUE_BYTES / 8).flat_map(|_| rng.next_u64().to_be_bytes()).collect();
            batch.put(Family::User(ColumnFamily::Default), format!("key{pair:08}"), value);
            if pair % 1000 == 999 {
                self.state.write(&std::mem::take(&mut batch)).map_err(words)?;
            }
        }
        self.state.write(&batch).map_err(words)?;
        self.state.flush().map_err(words)
    }

    fn build(&self) -> Result<(BuiltSnapshot, Transfer), String> {
        let now = Moment::ORIGIN;
        let transfer = self.transfers.begin(Direction::Outgoing, REGION, 2.into(), now).map_err(words)?;
        let source = SnapshotSource::read(REGION, self.state.snapshot()).map_err(words)?;
        let key = self.numbers.key(Direction::Outgoing, REGION, source.index);
        let (state, files) = (Arc::clone(&self.state), Arc::clone(&self.files));
        let mut builder = Builder::new(state, files, key, source, BuildConfig::default());
        loop {
            if let BuildStep::Built(built) = builder.step(STEP_BYTES).map_err(words)? {
                return Ok((built, transfer));
            }
        }
    }

    fn receptions(&self) -> Receptions {
        let (state, files) = (Arc::clone(&self.state), Arc::clone(&self.files));
        let (numbers, transfers) = (self.numbers.clone(), self.transfers.clone());
        Receptions::new(state, files, numbers, transfers, RateLimiter::new(0), ReceptionConfig::default())
    }
}

fn offer(receptions: &Receptions, snapshot: &BuiltSnapshot) -> Result<Reception, String> {
    let apply_state = engine::ApplyState::BORN;
    let (index, term) = (apply_state.applied, apply_state.applied_term);
    let announced = Announced { region: REGION, store: 2.into(), peer: 20.into(), index, term };
    let offer = Offer { announced, from_store: 1.into(), manifest: snapshot.manifest_bytes().clone() };
    receptions.offer(&offer, Moment::ORIGIN).map_err(words)
}

/// Takes the data over, until it is verified and synced.
fn send(snapshot: Arc<BuiltSnapshot>, transfer: Transfer, to: &Receptions) -> Result<(Received, Transfer), String> {
    let now = Moment::ORIGIN;
    let mut reception = offer(to, &snapshot)?;
    let mut delivery = Delivery::begin(snapshot, transfer, RateLimiter::new(0), SendConfig::default(), now);
    delivery.connected();
    delivery.answer(reception.wanted()).map_err(words)?;
    while !reception.has_all() {
        let DeliveryStep::Chunk(chunk) = delivery.step(now).map_err(words)? else {
            return Err("the sender has nothing more, the receiver not all".to_owned());
        };
        if let Some(answer) = reception.take(&chunk, now).map_err(words)?.answer {
            delivery.answer(answer).map_err(words)?;
        }
    }
    loop {
        if let ReceptionStep::Received(received, transfer) = reception.step(STEP_BYTES, now).map_err(words)? {
            delivery.answer(Answer::Received).map_err(words)?;
            delivery.step(now).map_err(words)?;
            return Ok((received, transfer));
        }
    }
}

/// Copies every file of a folder, and syncs each copy.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::create_dir_all(to).map_err(words)?;
    for entry in std::fs::read_dir(from).map_err(words)? {
        let entry = entry.map_err(words)?;
        let copy = to.join(entry.file_name());
        std::fs::copy(entry.path(), &copy).map_err(words)?;
        std::fs::File::open(&copy).and_then(|file| file.sync_all()).map_err(words)?;
    }
    Ok(())
}

struct Turn {
    bytes: u64,
    build: Duration,
    send: Duration,
    ingest: Duration,
    copy: Duration,
}

impl Turn {
    fn take(directory: &Path) -> Result<Self, String> {
        let (from, to) = (Side::open(&directory.join("from"))?, Side::open(&directory.join("to"))?);
        from.fill()?;
        let begin = Instant::now();
        let (snapshot, transfer) = from.build()?;
        let build = begin.elapsed();
        let (snapshot, bytes) = (Arc::new(snapshot), 0);
        let bytes = bytes + snapshot.manifest().file_bytes();
        let begin = Instant::now();
        copy(&directory.join("from/snapshots"), &directory.join("copy"))?;
        let copied = begin.elapsed();
        let begin = Instant::now();
        let (mut received, transfer) = send(snapshot, transfer, &to.receptions())?;
        let sent = begin.elapsed();
        let begin = Instant::now();
        to.state.ingest(&received.ingest_files().map_err(words)?).map_err(words)?;
        let ingest = begin.elapsed();
        received.remove().map_err(words)?;
        transfer.finish(SnapshotOutcome::Received, Moment::ORIGIN);
        Ok(Self { bytes, build, send: sent, ingest, copy: copied })
    }

    fn mib_per_second(&self, time: Duration) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / time.as_secs_f64()
    }
}

/// Measures a region of 128 MiB.
pub fn measure(options: &Options, report: &mut Report) -> Result<(), String> {
    let mut turns = Vec::new();
    for round in 1..=options.rounds {
        let directory = directory(options)?;
        let turn = Turn::take(directory.path())?;
        println!(
            "  round {round} {} MiB: build {:.0} MiB/s, send and verify {:.0}, ingest {:.0}; plain copy {:.0}",
            turn.bytes >> 20,
            turn.mib_per_second(turn.build),
            turn.mib_per_second(turn.send),
            turn.mib_per_second(turn.ingest),
            turn.mib_per_second(turn.copy)
        );
        turns.push(turn);
    }
    let spread = |figure: &dyn Fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
    let moved = |turn: &Turn| turn.build + turn.send + turn.ingest;
    report.add(
        "SNAP",
        "snapshot built, sent, verified, ingested, MiB/s",
        spread(&|turn| turn.mib_per_second(moved(turn))),
        Goal::None,
    );
    report.add(
        "",
        "plain copy of the same files, synced, MiB/s",
        spread(&|turn| turn.mib_per_second(turn.copy)),
        Goal::None,
    );
    let over = |time: fn(&Turn) -> Duration| move |turn: &Turn| time(turn).as_secs_f64() / turn.copy.as_secs_f64();
    report.add(
        "",
        "time of the snapshot ÷ of the copy",
        spread(&over(|turn| turn.build + turn.send + turn.ingest)),
        Goal::None,
    );
    report.add("", "of that sending and verifying alone", spread(&over(|turn| turn.send)), Goal::None);
    Ok(())
}
