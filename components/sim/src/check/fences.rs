//! What no log replays is done between fences, and only to keys that nobody else owns (D6, D9, D10).

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{Family, LogBatch, LogOp, SnapshotMarker};
use types::{KeyRange, RegionDescriptor, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::{Ledger, StateAccount, StoreLedger};
use crate::observation::{Event, Observation};

const NAME: &str = "fences";

/// Compares what is visible with what is durable, wherever only a fence makes them equal.
#[derive(Debug, Default)]
pub struct Fences {
    markers: BTreeMap<(StoreId, RegionId), SnapshotMarker>,
}

/// A peer is forgotten only when no crash can bring its records back (D9).
fn check_removed(store: StoreId, region: RegionId, account: &StoreLedger) -> Result<(), Violation> {
    ensure(NAME, !account.state.durable().contains_key(&region), || {
        format!("region {region}: store {store} forgets its peer, and a crash can still bring its records back")
    })
}

/// Before a snapshot's marker, who owns any of its keys is durable (D10).
fn check_marked(store: StoreId, marker: &SnapshotMarker, account: &StoreLedger) -> Result<(), Violation> {
    let region = marker.region();
    let (visible, durable) = (account.state.regions(), account.state.durable());
    let concerned = |descriptor: &RegionDescriptor| {
        descriptor.id == region || marker.clear.iter().any(|range| range.overlaps(&descriptor.range))
    };
    ensure(NAME, visible.get(&region) == durable.get(&region), || {
        let (now, then) = (visible.get(&region), durable.get(&region));
        format!("region {region}: store {store} marks a snapshot, it has {now:?}, after a crash {then:?}")
    })?;
    let all = visible.values().chain(durable.values()).map(|state| &state.descriptor);
    for other in all.filter(|descriptor| concerned(descriptor)).map(|descriptor| descriptor.id) {
        let of = |regions: &BTreeMap<RegionId, StateAccount>| {
            regions.get(&other).map(|state| state.descriptor.range.clone())
        };
        ensure(NAME, of(visible) == of(durable), || {
            let (now, then) = (of(visible), of(durable));
            format!(
                "region {region}: store {store} marks a snapshot, region {other} has {now:?}, after a crash {then:?}"
            )
        })?;
        let absorbed = marker.absorbed.iter().any(|(absorbed, _)| *absorbed == other);
        ensure(NAME, other == region || absorbed, || {
            format!("region {region}: store {store} marks a snapshot in keys of region {other}")
        })?;
    }
    let old = visible.get(&region).map(|state| state.descriptor.range.clone());
    let needed = [Some(marker.descriptor.range.clone()), old];
    let forgotten = needed.into_iter().flatten().find(|range| !marker.clear.iter().any(|clear| clear.encloses(range)));
    ensure(NAME, forgotten.is_none(), || {
        format!("region {region}: store {store} marks a snapshot that leaves keys of {forgotten:?} as they are")
    })
}

/// A marker goes once all that its snapshot brought is durable, and nothing else is left of what was there (D10).
fn check_unmarked(store: StoreId, marker: &SnapshotMarker, account: &StoreLedger) -> Result<(), Violation> {
    let region = marker.region();
    let durable = account.state.durable().get(&region);
    let is_durable =
        durable.is_some_and(|state| state.descriptor == marker.descriptor && state.apply_state.applied == marker.index);
    ensure(NAME, is_durable, || {
        format!("region {region}: store {store} forgets the marker of a snapshot that a crash can still take")
    })?;
    let left = marker.clear.iter().find_map(|range| account.state.unowned(range));
    ensure(NAME, left.is_none(), || {
        let key = left.map(|key| key.escape_ascii().to_string());
        format!("region {region}: store {store} keeps key {key:?}, which its snapshot should have cleared")
    })
}

fn is_marked(account: &StoreLedger, region: RegionId) -> bool {
    account.log.durable().markers.contains_key(&region)
}

/// Files are deleted only in keys that nobody owns, whatever a crash does, or that are being replaced (D6).
fn check_files_deleted(store: StoreId, range: &KeyRange, account: &StoreLedger) -> Result<(), Violation> {
    let all = account.state.regions().values().chain(account.state.durable().values());
    let mut owners = all.filter(|state| state.descriptor.range.overlaps(range)).map(|state| state.descriptor.id);
    let owner = owners.find(|owner| !is_marked(account, *owner));
    ensure(NAME, owner.is_none(), || format!("store {store} deletes files in {range}, keys of region {owner:?}"))
}

/// Files are taken over only for a region whose snapshot is marked (D6, D10).
fn check_ingested<'a>(
    store: StoreId,
    mut keys: impl Iterator<Item = &'a Bytes>,
    account: &StoreLedger,
) -> Result<(), Violation> {
    let markers = &account.log.durable().markers;
    let is_marked = |key: &&Bytes| markers.values().any(|marker| marker.descriptor.range.contains(key));
    let stray = keys.find(|key| !is_marked(key));
    ensure(NAME, stray.is_none(), || format!("store {store} ingests key {stray:?} beside every marked snapshot"))
}

impl Fences {
    fn on_batch(&mut self, store: StoreId, batch: &LogBatch, account: &StoreLedger) -> Result<(), Violation> {
        let marks = |op: &LogOp, region| matches!(op, LogOp::PutMarker(marker) if marker.region() == region);
        for op in &batch.ops {
            match op {
                LogOp::Remove { region, .. } if !batch.ops.iter().any(|other| marks(other, *region)) => {
                    check_removed(store, *region, account)?;
                }
                LogOp::PutMarker(marker) => {
                    check_marked(store, marker, account)?;
                    self.markers.insert((store, marker.region()), (**marker).clone());
                }
                LogOp::DropMarker { region } => {
                    // A fenced peer that is removed leaves its marker with everything else.
                    let goes =
                        batch.ops.iter().any(|op| matches!(op, LogOp::Remove { region: of, .. } if of == region));
                    if let Some(marker) = self.markers.remove(&(store, *region)).filter(|_| !goes) {
                        check_unmarked(store, &marker, account)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Checker for Fences {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        let Some(account) = ledger.store(store) else { return Ok(()) };
        match &observation.event {
            Event::LogWritten { batch, .. } => self.on_batch(store, batch, account),
            Event::FilesDeleted { range, .. } => check_files_deleted(store, range, account),
            Event::StateIngested { pairs } => {
                let users = pairs.iter().filter(|(family, ..)| *family != Family::Meta);
                check_ingested(store, users.map(|(_, key, _)| key), account)
            }
            Event::Opened { content } => {
                self.markers.retain(|(of, _), _| *of != store);
                let found = content.markers.iter().map(|marker| ((store, marker.region()), marker.clone()));
                self.markers.extend(found);
                Ok(())
            }
            Event::Wiped => {
                self.markers.retain(|(of, _), _| *of != store);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{Birth, Durability, Lifecycle, StateBatch, meta};
    use types::{LogIndex, PeerId, Term};

    use super::*;
    use crate::check::testing::*;

    fn script() -> Script {
        let mut script = Script::with(vec![Box::new(Fences::default())]).led();
        script.flush(1).fine();
        script
    }

    fn marker(index: u64, end: &'static str) -> SnapshotMarker {
        let descriptor = RegionDescriptor { range: KeyRange::new("", end), ..descriptor(LOW) };
        let clear = vec![KeyRange::new("", "m")];
        let (index, term) = (LogIndex(index), Term(6));
        SnapshotMarker { peer: PeerId(101), descriptor, index, term, number: 1, clear, absorbed: Vec::new() }
    }

    fn mark(script: &mut Script, marker: SnapshotMarker) -> Result<(), Violation> {
        let lifecycle = Lifecycle { peer: Some(PeerId(101)), next_peer: PeerId(102), birth: Birth::Bootstrap };
        let ops = vec![
            LogOp::PutMarker(Box::new(marker)),
            LogOp::Remove { region: LOW, next_peer: PeerId(102) },
            LogOp::PutLifecycle { region: LOW, lifecycle },
            append(LOW, 1, Vec::new(), hard_state(6, 101, 6)),
        ];
        script.write_log(1, ops, Durability::Synced)
    }

    fn unmark(script: &mut Script) -> Result<(), Violation> {
        script.write_log(1, vec![LogOp::DropMarker { region: LOW }], Durability::Synced)
    }

    fn records(script: &mut Script, change: impl FnOnce(&mut StateBatch)) -> Result<(), Violation> {
        let mut batch = StateBatch::default();
        change(&mut batch);
        script.write_state(1, batch)
    }

    fn describe(batch: &mut StateBatch, end: &'static str) {
        let changed = RegionDescriptor { range: KeyRange::new("", end), ..descriptor(LOW) };
        batch.put(Family::Meta, meta::descriptor_key(LOW), meta::encode_descriptor(&changed));
    }

    fn forget(batch: &mut StateBatch) {
        batch.delete(Family::Meta, meta::descriptor_key(LOW));
        batch.delete(Family::Meta, meta::apply_state_key(LOW));
    }

    #[test]
    fn a_peer_is_forgotten_behind_a_fence() {
        let remove = |script: &mut Script| {
            let op = LogOp::Remove { region: LOW, next_peer: PeerId(102) };
            script.write_log(1, vec![op], Durability::Synced)
        };
        let mut script = script();
        records(&mut script, forget).fine();
        script.flush(1).fine();
        remove(&mut script).fine();
        let mut script = self::script();
        records(&mut script, forget).fine();
        remove(&mut script).violates(NAME, "can still bring its records back");
    }

    #[test]
    fn who_owns_the_keys_of_a_snapshot_is_durable() {
        mark(&mut script(), marker(6, "m")).fine();
        let mut script = script();
        records(&mut script, |batch| describe(batch, "k")).fine();
        mark(&mut script, marker(6, "k")).violates(NAME, "after a crash");
        let mut script = self::script();
        let wide = SnapshotMarker { clear: vec![KeyRange::new("", "n")], ..marker(6, "m") };
        mark(&mut script, wide).violates(NAME, "in keys of region 200");
        let narrow = SnapshotMarker { clear: vec![KeyRange::new("", "k")], ..marker(6, "k") };
        mark(&mut self::script(), narrow).violates(NAME, "as they are");
    }

    #[test]
    fn a_marker_stays_until_its_snapshot_is_durable() {
        let mut script = script();
        mark(&mut script, marker(6, "m")).fine();
        script.ingest(1, &[("a", "1")]).fine();
        records(&mut script, |batch| describe(batch, "m")).fine();
        script.flush(1).fine();
        unmark(&mut script).fine();
        let mut script = self::script();
        mark(&mut script, marker(7, "m")).fine();
        unmark(&mut script).violates(NAME, "that a crash can still take");
    }

    #[test]
    fn what_was_there_before_a_snapshot_is_cleared() {
        let mut script = script();
        script.append(1, vec![empty(7, 6)], hard_state(6, 101, 7)).fine();
        script.apply(1, apply_state(7, 6), &[("l", "1")]).fine();
        script.flush(1).fine();
        mark(&mut script, marker(7, "k")).fine();
        records(&mut script, |batch| describe(batch, "k")).fine();
        script.flush(1).fine();
        unmark(&mut script).violates(NAME, "should have cleared");
    }

    #[test]
    fn files_are_changed_only_where_nobody_owns_the_keys() {
        script().ingest(1, &[("a", "1")]).violates(NAME, "beside every marked snapshot");
        script().delete_files(1, KeyRange::new("a", "b")).violates(NAME, "keys of region");
        let mut script = script();
        mark(&mut script, marker(6, "m")).fine();
        script.delete_files(1, KeyRange::new("a", "b")).fine();
        script.delete_files(1, KeyRange::new("a", "n")).violates(NAME, "keys of region");
    }
}
