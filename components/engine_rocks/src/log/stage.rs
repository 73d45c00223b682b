//! A batch of operations on its way to disk: what it writes, and what the regions' records become by it.

use engine::{Birth, Entry, HardState, Lifecycle, LogBatch, LogOp, RegionLogState, Result};
use types::codec::Writer;
use types::{LogIndex, PeerId, RegionId};

use super::LOG_RECORD_VERSION;
use super::entry;
use super::record_batch::RecordBatch;
use super::table::{RegionRecord, RegionTable, Span};
use crate::keys::{IDENT_KEY, RecordKind, behind_entry, entry_key, instance_key, marker_key, record_key};

/// Key, tag and lengths of an entry, and a hard state for each few of them; only a wrong guess of the batch's size.
const OVERHEAD_BYTES: usize = 64;

/// What one batch does.
#[derive(Debug)]
pub(crate) struct Staged {
    pub batch: RecordBatch,
    pub records: Vec<(RegionId, RegionRecord)>,
}

/// Lays a batch out, region by region: operations of one region keep their order, and those of different regions
/// touch no common key, so that RocksDB gets its keys in runs.
///
/// # Errors
/// `PeerMismatch`; nothing was written then.
pub(crate) fn stage(mut log_batch: LogBatch, table: &RegionTable) -> Result<Staged> {
    let mut batch = RecordBatch::with_capacity(size_of(&log_batch));
    log_batch.ops.sort_by_key(region_of);
    let mut regions: Vec<RegionId> = log_batch.ops.iter().filter_map(region_of).collect();
    regions.dedup();
    let mut records = table.get_all(regions.into_iter());
    let mut current = records.iter_mut().peekable();
    for op in &log_batch.ops {
        let Some(region) = region_of(op) else {
            stage_store_record(&mut batch, op);
            continue;
        };
        while current.next_if(|(next, _)| *next != region).is_some() {}
        let (_, record) = current.peek_mut().expect("a record was fetched for every region of the batch");
        RegionStage { region, record, batch: &mut batch }.apply(op)?;
    }
    Ok(Staged { batch, records })
}

fn size_of(batch: &LogBatch) -> usize {
    batch
        .ops
        .iter()
        .map(|op| match op {
            LogOp::Append { entries, .. } => {
                OVERHEAD_BYTES
                    + entries.iter().map(|entry| entry::encoded_len(entry) + OVERHEAD_BYTES / 2).sum::<usize>()
            }
            _ => OVERHEAD_BYTES,
        })
        .sum()
}

/// The region whose record an operation changes; `None` for records that stand by themselves.
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

fn stage_store_record(batch: &mut RecordBatch, op: &LogOp) {
    match op {
        LogOp::PutIdent(ident) => batch.put(&IDENT_KEY, &ident.encode()),
        LogOp::PutInstance { store, instance } => {
            let record = Writer::record(LOG_RECORD_VERSION).u64(instance.0).seal(crc32fast::hash);
            batch.put(&instance_key(*store), &record);
        }
        LogOp::PutMarker(marker) => batch.put(&marker_key(marker.region()), &marker.encode()),
        LogOp::DropMarker { region } => batch.delete(&marker_key(*region)),
        _ => unreachable!("every other operation is in a region's record"),
    }
}

/// One region's record, changed together with the batch.
struct RegionStage<'a> {
    region: RegionId,
    record: &'a mut RegionRecord,
    batch: &'a mut RecordBatch,
}

impl RegionStage<'_> {
    fn apply(&mut self, op: &LogOp) -> Result<()> {
        match op {
            LogOp::Append { peer, entries, hard_state, .. } => {
                self.record.check_peer(self.region, *peer)?;
                self.append(entries);
                self.set_state(*peer, *hard_state);
            }
            LogOp::DeleteTo { peer, end, .. } => {
                if self.record.state.is_some_and(|state| state.peer == *peer) {
                    self.delete_to(*end);
                }
            }
            LogOp::PutLifecycle { lifecycle, .. } => self.put_lifecycle(*lifecycle),
            LogOp::RaiseCommitFloor { floor, .. } => self.raise_commit_floor(*floor),
            LogOp::Remove { next_peer, .. } => self.remove(*next_peer),
            LogOp::PutIdent(_) | LogOp::PutInstance { .. } | LogOp::PutMarker(_) | LogOp::DropMarker { .. } => {
                unreachable!("no operation on a region's record")
            }
        }
        Ok(())
    }

    /// # Panics
    /// When the entries have a gap between them or to the log: raft would skip what is missing without a word (D8).
    fn append(&mut self, entries: &[Entry]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let (first, last) = (LogIndex(first.index), LogIndex(last.index));
        let old = self.record.span;
        let joined = old.is_none_or(|old| first.previous() <= old.last);
        assert!(joined, "region {}: an append at {first} leaves a gap behind {old:?}", self.region);
        if let Some(old) = old.filter(|old| old.last > last) {
            self.delete_entries(last.next().max(old.first), old.last);
        }
        let bytes: u64 = (first.0..).zip(entries).map(|(index, entry)| self.put_entry(index, entry)).sum();
        let kept = old.and_then(|old| old.without_back(first));
        self.record.span = Some(Span {
            first: kept.map_or(first, |kept| kept.first),
            last,
            bytes: bytes + kept.map_or(0, |kept| kept.bytes),
        });
    }

    fn put_entry(&mut self, index: u64, entry: &Entry) -> u64 {
        assert_eq!(entry.index, index, "region {}: entries to append have a gap", self.region);
        let value_len = entry::encoded_len(entry);
        let key = entry_key(self.region, LogIndex(index));
        self.batch.put_with(&key, value_len, |bytes| entry::encode(entry, bytes));
        (key.len() + value_len) as u64
    }

    fn set_state(&mut self, peer: PeerId, hard_state: HardState) {
        let state = RegionLogState { peer, hard_state };
        if self.record.state != Some(state) {
            self.batch.put(&record_key(self.region, RecordKind::State), &state.encode());
            self.record.state = Some(state);
        }
    }

    fn delete_to(&mut self, end: LogIndex) {
        let Some(span) = self.record.span.filter(|span| span.first < end) else { return };
        self.delete_entries(span.first, span.last.min(end.previous()));
        self.record.span = span.without_front(end);
    }

    fn put_lifecycle(&mut self, lifecycle: Lifecycle) {
        self.batch.put(&record_key(self.region, RecordKind::Lifecycle), &lifecycle.encode());
        self.record.lifecycle = Some(lifecycle);
    }

    fn raise_commit_floor(&mut self, floor: LogIndex) {
        if floor > self.record.commit_floor {
            let record = Writer::record(LOG_RECORD_VERSION).u64(floor.0).seal(crc32fast::hash);
            self.batch.put(&record_key(self.region, RecordKind::CommitFloor), &record);
            self.record.commit_floor = floor;
        }
    }

    /// The lifecycle record stays, and with it the next peer id, which is never lowered (D9).
    fn remove(&mut self, next_peer: PeerId) {
        let (known, birth) =
            self.record.lifecycle.map_or((next_peer, Birth::Message), |old| (old.next_peer, old.birth));
        self.batch.delete(&record_key(self.region, RecordKind::State));
        self.batch.delete(&record_key(self.region, RecordKind::CommitFloor));
        if let Some(span) = self.record.span {
            self.delete_entries(span.first, span.last);
        }
        *self.record = RegionRecord::default();
        self.put_lifecycle(Lifecycle { peer: None, next_peer: known.max(next_peer), birth });
    }

    fn delete_entries(&mut self, first: LogIndex, last: LogIndex) {
        self.batch.delete_range(&entry_key(self.region, first), &behind_entry(self.region, last));
    }
}
