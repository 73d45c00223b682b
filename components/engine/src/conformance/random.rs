//! Engines against a model: the same random operations on both, and every answer compared. Each seed is fixed, so that
//! a failure comes again.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use types::seed::Rng;
use types::{KeyRange, LogIndex, PeerId, RegionId};

use super::sample::{Pair, all_entries, entry_with, get, hard_state, read, scan, scan_back, term, write};
use super::{LogCheck, StateCheck};
use crate::{
    Birth, Entry, Family, HardState, IngestFile, IterRange, Lifecycle, LogEngine, LogOp, RegionLog, RegionLogState,
    StateBatch, StateEngine, StateRead,
};

/// Of a log engine.
pub const LOG_CHECKS: &[LogCheck] = &[LogCheck { name: "random operations agree with a model", run: log_and_model }];

/// Of a state engine.
pub const STATE_CHECKS: &[StateCheck] =
    &[StateCheck { name: "random operations agree with a model", run: state_and_model }];

const LOG_STEPS: u64 = 400;
const STATE_STEPS: u64 = 400;

#[derive(Clone, Default)]
struct RegionModel {
    lifecycle: Option<Lifecycle>,
    state: Option<RegionLogState>,
    floor: LogIndex,
    entries: BTreeMap<u64, Entry>,
}

impl RegionModel {
    fn expected(&self, region: u64) -> RegionLog {
        let bounds = self.entries.first_key_value().zip(self.entries.last_key_value());
        RegionLog {
            region: RegionId(region),
            lifecycle: self.lifecycle,
            state: self.state,
            commit_floor: self.floor,
            bounds: bounds.map(|((first, _), (last, _))| (LogIndex(*first), LogIndex(*last))),
        }
    }

    fn peer(&self, rng: &mut Rng) -> PeerId {
        self.state.map_or_else(|| PeerId(100 + rng.below(5)), |state| state.peer)
    }
}

type LogModel = BTreeMap<u64, RegionModel>;

fn log_and_model(log: &dyn LogEngine) {
    let mut rng = Rng::new(0x10_5EED);
    let mut model = LogModel::new();
    for _ in 0..LOG_STEPS {
        let ops = (0..1 + rng.below(4)).map(|_| random_log_op(&mut rng, &mut model)).collect();
        write(log, ops);
        compare_log(log, &model, &mut rng);
    }
    for (region, expected) in &model {
        let entries = expected.entries.values().cloned().collect::<Vec<_>>();
        let peer = expected.state.map_or(1, |state| state.peer.get());
        assert_eq!(all_entries(log, *region, peer), entries, "region {region}");
    }
}

fn random_log_op(rng: &mut Rng, model: &mut LogModel) -> LogOp {
    let region = 1 + rng.below(4);
    let record = model.entry(region).or_default();
    match rng.below(16) {
        0..=9 => random_append(rng, region, record),
        10..=12 => {
            let end = record.entries.keys().next().map_or(6, |first| first + rng.below(8));
            let peer = record.peer(rng);
            record.entries = record.entries.split_off(&end);
            let op = LogOp::DeleteTo { region: RegionId(region), peer, end: LogIndex(end) };
            forget_if_empty(model, region);
            op
        }
        13 => {
            let floor = LogIndex(1 + rng.below(50));
            record.floor = record.floor.max(floor);
            let op = LogOp::RaiseCommitFloor { region: RegionId(region), floor };
            forget_if_empty(model, region);
            op
        }
        14 => {
            let peer = record.peer(rng);
            let lifecycle = Lifecycle { peer: Some(peer), next_peer: PeerId(peer.0 + 1), birth: Birth::Message };
            record.lifecycle = Some(lifecycle);
            LogOp::PutLifecycle { region: RegionId(region), lifecycle }
        }
        _ => {
            let next_peer = PeerId(90 + rng.below(30));
            let known = record.lifecycle.map_or(PeerId(0), |lifecycle| lifecycle.next_peer);
            let birth = record.lifecycle.map_or(Birth::Message, |lifecycle| lifecycle.birth);
            let lifecycle = Lifecycle { peer: None, next_peer: known.max(next_peer), birth };
            *record = RegionModel { lifecycle: Some(lifecycle), ..RegionModel::default() };
            LogOp::Remove { region: RegionId(region), next_peer }
        }
    }
}

fn random_append(rng: &mut Rng, region: u64, record: &mut RegionModel) -> LogOp {
    let peer = record.peer(rng);
    let next = record.entries.keys().next_back().map_or(1 + rng.below(20), |last| last + 1);
    let low = next - rng.below(4).min(next - 1);
    let term = 1 + rng.below(9);
    let data = |rng: &mut Rng, index: u64| Bytes::from(format!("{index} {}", rng.next_u64()).repeat(3));
    let entries = (low..low + rng.below(5)).map(|index| entry_with(index, term, data(rng, index))).collect::<Vec<_>>();
    let hard_state = hard_state(term, rng.below(3), rng.below(50));
    if !entries.is_empty() {
        record.entries.split_off(&low);
    }
    record.entries.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
    record.state = Some(RegionLogState { peer, hard_state });
    LogOp::Append { region: RegionId(region), peer, entries, hard_state }
}

/// An operation that leaves nothing behind leaves no record of its region either.
fn forget_if_empty(model: &mut LogModel, region: u64) {
    let record = &model[&region];
    let nothing = record.lifecycle.is_none() && record.state.is_none() && record.floor == LogIndex(0);
    if nothing {
        model.remove(&region);
    }
}

fn compare_log(log: &dyn LogEngine, model: &LogModel, rng: &mut Rng) {
    let expected = model.iter().map(|(region, record)| record.expected(*region)).collect::<Vec<_>>();
    assert_eq!(log.regions().unwrap(), expected);
    for (region, record) in model {
        let Some(RegionLogState { peer, hard_state: HardState { .. } }) = record.state else { continue };
        let low = rng.below(30);
        let high = low + rng.below(12);
        let starts = record.entries.contains_key(&low);
        let wanted = record.entries.range(low..high).filter(|_| starts).map(|(_, entry)| entry.clone());
        assert_eq!(read(log, *region, peer.0, low, high, u64::MAX), wanted.collect::<Vec<_>>());
        assert_eq!(term(log, *region, peer.0, low), record.entries.get(&low).map(|entry| entry.term));
    }
}

type FamilyModel = BTreeMap<Vec<u8>, Vec<u8>>;
type StateModel = BTreeMap<Family, FamilyModel>;

fn state_and_model(state: &dyn StateEngine, files: &Path) {
    let mut rng = Rng::new(0x57_5EED);
    let mut model = StateModel::from(Family::ALL.map(|family| (family, FamilyModel::new())));
    let mut snapshots: Vec<(Arc<dyn StateRead>, StateModel)> = Vec::new();
    for step in 0..STATE_STEPS {
        match rng.below(20) {
            0 => state.flush().unwrap(),
            1 => random_ingest(state, files, step, &mut rng, &mut model),
            2 => snapshots.push((state.snapshot(), model.clone())),
            3 if !snapshots.is_empty() => {
                let (snapshot, old) = snapshots.swap_remove(rng.below(snapshots.len() as u64) as usize);
                compare_all(&*snapshot, &old);
            }
            _ => random_batch(state, &mut rng, &mut model),
        }
        compare_some(state, &model, &mut rng);
    }
    compare_all(state, &model);
    for (snapshot, old) in &snapshots {
        compare_all(&**snapshot, old);
    }
}

/// Short keys of few letters, so that they meet often, the lowest and the highest byte among them.
fn random_key(rng: &mut Rng) -> Vec<u8> {
    (0..rng.below(4)).map(|_| [0x00, b'a', b'b', 0xFF][rng.below(4) as usize]).collect()
}

fn random_range(rng: &mut Rng) -> KeyRange {
    KeyRange::new(random_key(rng), random_key(rng))
}

fn random_family(rng: &mut Rng) -> Family {
    Family::ALL[rng.below(4) as usize]
}

fn random_batch(state: &dyn StateEngine, rng: &mut Rng, model: &mut StateModel) {
    let mut batch = StateBatch::default();
    for _ in 0..rng.below(8) {
        let family = random_family(rng);
        let pairs = model.get_mut(&family).unwrap();
        match rng.below(10) {
            0 => {
                let range = random_range(rng);
                pairs.retain(|key, _| !range.contains(key));
                batch.delete_range(family, range);
            }
            1..=3 => {
                let key = random_key(rng);
                pairs.remove(&key);
                batch.delete(family, key);
            }
            _ => {
                let (key, value) = (random_key(rng), rng.next_u64().to_string().into_bytes());
                pairs.insert(key.clone(), value.clone());
                batch.put(family, key, value);
            }
        }
    }
    state.write(&batch).unwrap();
}

fn random_ingest(state: &dyn StateEngine, files: &Path, step: u64, rng: &mut Rng, model: &mut StateModel) {
    let file = IngestFile { family: random_family(rng), path: files.join(format!("random {step}")) };
    let fresh = (0..1 + rng.below(6))
        .map(|n| (random_key(rng), format!("file {step} {n}").into_bytes()))
        .collect::<FamilyModel>();
    let mut writer = state.sst_writer(file.family, &file.path).unwrap();
    for (key, value) in &fresh {
        writer.put(key, value).unwrap();
    }
    writer.finish().unwrap();
    model.get_mut(&file.family).unwrap().extend(fresh);
    state.ingest(&[file]).unwrap();
}

fn owned(pair: (&Vec<u8>, &Vec<u8>)) -> Pair {
    (pair.0.clone(), pair.1.clone())
}

fn compare_all(read: &dyn StateRead, model: &StateModel) {
    for (family, pairs) in model {
        assert_eq!(scan(read, *family, KeyRange::all()), pairs.iter().map(owned).collect::<Vec<_>>());
    }
}

fn compare_some(read: &dyn StateRead, model: &StateModel, rng: &mut Rng) {
    let family = random_family(rng);
    let pairs = &model[&family];
    let key = random_key(rng);
    assert_eq!(get(read, family, &key), pairs.get(&key).cloned());
    let range = random_range(rng);
    let inside = pairs.iter().filter(|(key, _)| range.contains(key)).map(owned).collect::<Vec<_>>();
    let reversed = inside.iter().rev().cloned().collect::<Vec<_>>();
    assert_eq!(scan(read, family, range.clone()), inside, "forward over {range}");
    assert_eq!(scan_back(read, family, range.clone()), reversed, "backward over {range}");
    let inside = inside.into_iter().collect::<FamilyModel>();
    let mut iter = read.iter(family, IterRange::new(range.clone())).unwrap();
    for _ in 0..3 {
        let to = random_key(rng);
        let after = inside.range::<[u8], _>((Bound::Included(&to[..]), Bound::Unbounded)).next();
        let found = iter.seek(&to).unwrap().then(|| (iter.key().to_vec(), iter.value().to_vec()));
        assert_eq!(found, after.map(owned), "seek {to:?} in {range}");
        let before = inside.range::<[u8], _>((Bound::Unbounded, Bound::Included(&to[..]))).next_back();
        let found = iter.seek_for_prev(&to).unwrap().then(|| (iter.key().to_vec(), iter.value().to_vec()));
        assert_eq!(found, before.map(owned), "seek for previous {to:?} in {range}");
    }
}
