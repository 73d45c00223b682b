//! What a log engine holds, and how to take changes of it back.

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use types::{InstanceId, LogIndex, PeerId, RegionId, StoreId, Term};

use crate::{
    Birth, EngineError, Entry, Lifecycle, LogOp, RegionLog, RegionLogState, Result, SnapshotMarker, StoreIdent,
};

/// What an entry costs on disk beside its data and context: region, index, term, type, checksum.
const ENTRY_OVERHEAD_BYTES: u64 = 32;
/// What any other record costs on disk, about: its key, its fields, its checksum.
const RECORD_BYTES: u64 = 48;

fn entry_bytes(entry: &Entry) -> u64 {
    (entry.data.len() + entry.context.len()) as u64 + ENTRY_OVERHEAD_BYTES
}

/// The bytes that an operation adds to the end of the log.
pub(super) fn op_bytes(op: &LogOp) -> u64 {
    match op {
        LogOp::Append { entries, .. } => RECORD_BYTES + entries.iter().map(entry_bytes).sum::<u64>(),
        _ => RECORD_BYTES,
    }
}

/// One region's part.
#[derive(Clone, Debug, Default)]
pub(super) struct RegionRecord {
    lifecycle: Option<Lifecycle>,
    state: Option<RegionLogState>,
    commit_floor: LogIndex,
    /// Consecutive.
    entries: VecDeque<Entry>,
    entry_bytes: u64,
}

impl RegionRecord {
    fn bounds(&self) -> Option<(u64, u64)> {
        self.entries.front().zip(self.entries.back()).map(|(first, last)| (first.index, last.index))
    }

    fn bytes(&self) -> u64 {
        let records = [self.lifecycle.is_some(), self.state.is_some(), self.commit_floor != LogIndex(0)].map(u64::from);
        self.entry_bytes + RECORD_BYTES * records.iter().sum::<u64>()
    }

    fn is_nothing(&self) -> bool {
        self.bytes() == 0
    }

    fn describe(&self, region: RegionId) -> RegionLog {
        RegionLog {
            region,
            lifecycle: self.lifecycle,
            state: self.state,
            commit_floor: self.commit_floor,
            bounds: self.bounds().map(|(first, last)| (LogIndex(first), LogIndex(last))),
        }
    }

    /// The entries of an index range that are there, whatever is not.
    fn slice(&self, low: LogIndex, high: LogIndex) -> impl Iterator<Item = &Entry> {
        let first = self.bounds().map_or(0, |(first, _)| first);
        let offset = |index: LogIndex| usize::try_from(index.0.saturating_sub(first)).unwrap_or(usize::MAX);
        let end = offset(high).min(self.entries.len());
        self.entries.range(offset(low).min(end)..end)
    }

    fn append(&mut self, entries: Vec<Entry>) {
        if let Some(first) = entries.first() {
            while self.entries.back().is_some_and(|last| last.index >= first.index) {
                let gone = self.entries.pop_back().expect("there is a last one");
                self.entry_bytes -= entry_bytes(&gone);
            }
        }
        self.entry_bytes += entries.iter().map(entry_bytes).sum::<u64>();
        self.entries.extend(entries);
    }

    fn delete_to(&mut self, end: LogIndex) {
        while self.entries.front().is_some_and(|first| first.index < end.0) {
            let gone = self.entries.pop_front().expect("there is a first one");
            self.entry_bytes -= entry_bytes(&gone);
        }
    }

    fn apply(&mut self, op: LogOp) {
        match op {
            LogOp::Append { peer, entries, hard_state, .. } => {
                self.append(entries);
                self.state = Some(RegionLogState { peer, hard_state });
            }
            LogOp::DeleteTo { peer, end, .. } => {
                if self.state.is_some_and(|state| state.peer == peer) {
                    self.delete_to(end);
                }
            }
            LogOp::PutLifecycle { lifecycle, .. } => self.lifecycle = Some(lifecycle),
            LogOp::RaiseCommitFloor { floor, .. } => self.commit_floor = self.commit_floor.max(floor),
            LogOp::Remove { next_peer, .. } => {
                let known = self.lifecycle.map_or(PeerId(0), |lifecycle| lifecycle.next_peer);
                let birth = self.lifecycle.map_or(Birth::Message, |lifecycle| lifecycle.birth);
                let lifecycle = Lifecycle { peer: None, next_peer: known.max(next_peer), birth };
                *self = Self { lifecycle: Some(lifecycle), ..Self::default() };
            }
            LogOp::PutIdent(_) | LogOp::PutInstance { .. } | LogOp::PutMarker(_) | LogOp::DropMarker { .. } => {
                unreachable!("these are not in a region's record")
            }
        }
    }
}

/// The newest values of what one batch changed, as they were before it.
#[derive(Debug, Default)]
pub(super) struct Undo {
    ident: Option<Option<StoreIdent>>,
    instances: BTreeMap<StoreId, Option<InstanceId>>,
    markers: BTreeMap<RegionId, Option<SnapshotMarker>>,
    regions: BTreeMap<RegionId, Option<Arc<RegionRecord>>>,
    /// Bytes that the batch added to the end of the log.
    pub(super) written_bytes: u64,
}

impl Undo {
    /// For a batch of so many bytes.
    pub(super) fn new(written_bytes: u64) -> Self {
        Self { written_bytes, ..Self::default() }
    }
}

/// All regions' logs.
#[derive(Debug, Default)]
pub(super) struct LogContent {
    ident: Option<StoreIdent>,
    instances: BTreeMap<StoreId, InstanceId>,
    markers: BTreeMap<RegionId, SnapshotMarker>,
    // Shared only with what an undo keeps, so a change copies a record only while a buffered write is outstanding.
    regions: BTreeMap<RegionId, Arc<RegionRecord>>,
    bytes: u64,
}

/// What a batch's checks need to know of a region, as the operations before left it.
#[derive(Clone, Copy)]
struct Shape {
    peer: Option<PeerId>,
    bounds: Option<(u64, u64)>,
}

impl LogContent {
    /// Bytes of everything that is there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn ident(&self) -> Option<StoreIdent> {
        self.ident
    }

    pub(super) fn instances(&self) -> Vec<(StoreId, InstanceId)> {
        self.instances.iter().map(|(store, instance)| (*store, *instance)).collect()
    }

    pub(super) fn markers(&self) -> Vec<SnapshotMarker> {
        self.markers.values().cloned().collect()
    }

    pub(super) fn regions(&self) -> Vec<RegionLog> {
        self.regions.iter().map(|(region, record)| record.describe(*region)).collect()
    }

    pub(super) fn regions_with_entries(&self) -> Vec<(RegionLog, Vec<Entry>)> {
        let describe = |(region, record): (&RegionId, &Arc<RegionRecord>)| {
            (record.describe(*region), record.entries.iter().cloned().collect())
        };
        self.regions.iter().map(describe).collect()
    }

    pub(super) fn region(&self, region: RegionId) -> Option<RegionLog> {
        self.regions.get(&region).map(|record| record.describe(region))
    }

    fn owned_by(&self, region: RegionId, peer: PeerId) -> Result<Option<&RegionRecord>> {
        let Some(record) = self.regions.get(&region) else { return Ok(None) };
        check_peer(region, peer, record.state.map(|state| state.peer))?;
        Ok(Some(record))
    }

    pub(super) fn entries(
        &self,
        region: RegionId,
        peer: PeerId,
        low: LogIndex,
        high: LogIndex,
        max_bytes: u64,
    ) -> Result<Vec<Entry>> {
        let Some(record) = self.owned_by(region, peer)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        if record.bounds().is_none_or(|(first, _)| low.0 < first) {
            return Ok(found);
        }
        let mut bytes = 0;
        for entry in record.slice(low, high) {
            bytes += entry.data.len() as u64;
            found.push(entry.clone());
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(found)
    }

    pub(super) fn term(&self, region: RegionId, peer: PeerId, index: LogIndex) -> Result<Option<Term>> {
        let Some(record) = self.owned_by(region, peer)? else { return Ok(None) };
        let found = record.slice(index, LogIndex(index.0.saturating_add(1))).next();
        Ok(found.map(|entry| Term(entry.term)))
    }

    pub(super) fn approximate_bytes(&self, region: RegionId, low: LogIndex, high: LogIndex) -> u64 {
        self.regions.get(&region).map_or(0, |record| record.slice(low, high).map(entry_bytes).sum())
    }

    /// Checks a batch as a whole before any of it happens.
    ///
    /// # Panics
    /// When entries have a gap among them or to the log: a record of such a log could not be told from a lost one.
    pub(super) fn check(&self, ops: &[LogOp]) -> Result<()> {
        let mut shapes = BTreeMap::new();
        for op in ops {
            let Some(region) = region_of(op) else { continue };
            let shape = shapes.entry(region).or_insert_with(|| self.shape(region));
            match op {
                LogOp::Append { peer, entries, .. } => {
                    check_peer(region, *peer, shape.peer)?;
                    shape.peer = Some(*peer);
                    shape.bounds = check_entries(region, entries, shape.bounds);
                }
                LogOp::DeleteTo { peer, end, .. } if shape.peer == Some(*peer) => {
                    let left = shape.bounds.map(|(first, last)| (first.max(end.0), last));
                    shape.bounds = left.filter(|(first, last)| first <= last);
                }
                LogOp::Remove { .. } => *shape = Shape { peer: None, bounds: None },
                _ => {}
            }
        }
        Ok(())
    }

    fn shape(&self, region: RegionId) -> Shape {
        let record = self.regions.get(&region);
        Shape {
            peer: record.and_then(|record| record.state).map(|state| state.peer),
            bounds: record.and_then(|record| record.bounds()),
        }
    }

    /// Carries out operations that [`check`](Self::check) accepted; notes what they replace where an undo is given.
    pub(super) fn apply(&mut self, ops: Vec<LogOp>, mut undo: Option<&mut Undo>) {
        for op in ops {
            match op {
                LogOp::PutIdent(ident) => {
                    if let Some(undo) = &mut undo {
                        undo.ident.get_or_insert(self.ident);
                    }
                    self.ident = Some(ident);
                }
                LogOp::PutInstance { store, instance } => {
                    let before = self.instances.insert(store, instance);
                    if let Some(undo) = &mut undo {
                        undo.instances.entry(store).or_insert(before);
                    }
                }
                LogOp::PutMarker(marker) => self.set_marker(marker.region(), Some(*marker), undo.as_deref_mut()),
                LogOp::DropMarker { region } => self.set_marker(region, None, undo.as_deref_mut()),
                op => self.apply_to_region(op, undo.as_deref_mut()),
            }
        }
    }

    fn set_marker(&mut self, region: RegionId, marker: Option<SnapshotMarker>, undo: Option<&mut Undo>) {
        let before = self.put_marker(region, marker);
        if let Some(undo) = undo {
            undo.markers.entry(region).or_insert(before);
        }
    }

    fn put_marker(&mut self, region: RegionId, marker: Option<SnapshotMarker>) -> Option<SnapshotMarker> {
        self.bytes += RECORD_BYTES * u64::from(marker.is_some());
        let before = set(&mut self.markers, region, marker);
        self.bytes -= RECORD_BYTES * u64::from(before.is_some());
        before
    }

    fn apply_to_region(&mut self, op: LogOp, undo: Option<&mut Undo>) {
        let region = region_of(&op).expect("every other operation is of a region");
        if let Some(undo) = undo {
            undo.regions.entry(region).or_insert_with(|| self.regions.get(&region).cloned());
        }
        let record = self.regions.entry(region).or_default();
        self.bytes -= record.bytes();
        Arc::make_mut(record).apply(op);
        self.bytes += record.bytes();
        if record.is_nothing() {
            self.regions.remove(&region);
        }
    }

    /// Takes the newest batch back.
    pub(super) fn take_back(&mut self, undo: Undo) {
        if let Some(ident) = undo.ident {
            self.ident = ident;
        }
        for (store, before) in undo.instances {
            set(&mut self.instances, store, before);
        }
        for (region, before) in undo.markers {
            self.put_marker(region, before);
        }
        for (region, before) in undo.regions {
            self.bytes += before.as_ref().map_or(0, |record| record.bytes());
            let after = set(&mut self.regions, region, before);
            self.bytes -= after.map_or(0, |record| record.bytes());
        }
    }
}

/// Sets or removes a key, and returns what was there.
fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
    match (map.entry(key), value) {
        (MapEntry::Vacant(place), Some(value)) => {
            place.insert(value);
            None
        }
        (MapEntry::Occupied(mut place), Some(value)) => Some(place.insert(value)),
        (MapEntry::Occupied(place), None) => Some(place.remove()),
        (MapEntry::Vacant(_), None) => None,
    }
}

fn region_of(op: &LogOp) -> Option<RegionId> {
    match op {
        LogOp::Append { region, .. }
        | LogOp::DeleteTo { region, .. }
        | LogOp::PutLifecycle { region, .. }
        | LogOp::RaiseCommitFloor { region, .. }
        | LogOp::Remove { region, .. } => Some(*region),
        LogOp::PutIdent(_) | LogOp::PutInstance { .. } | LogOp::PutMarker(_) | LogOp::DropMarker { .. } => None,
    }
}

/// A log belongs to one incarnation at a time (D7).
fn check_peer(region: RegionId, requested: PeerId, actual: Option<PeerId>) -> Result<()> {
    match actual {
        Some(actual) if actual != requested => {
            Err(EngineError::PeerMismatch { region: region.0, requested: requested.0, actual: actual.0 })
        }
        _ => Ok(()),
    }
}

/// The bounds that the log has behind an append.
fn check_entries(region: RegionId, entries: &[Entry], bounds: Option<(u64, u64)>) -> Option<(u64, u64)> {
    let Some((head, tail)) = entries.first().zip(entries.last()) else { return bounds };
    let (low, high) = (head.index, tail.index);
    let consecutive = entries.windows(2).all(|pair| pair[0].index.checked_add(1) == Some(pair[1].index));
    assert!(consecutive, "region {region}: the entries from {low} to {high} that are appended have a gap");
    if let Some((first, last)) = bounds {
        assert!(
            low <= last.saturating_add(1),
            "region {region}: appending at {low} leaves a gap, its log ends at {last}"
        );
        return Some((first.min(low), high));
    }
    Some((low, high))
}
