//! The ledger's own rules: what it must find on a disk, and what it must not.

#![allow(clippy::unwrap_used)]

use engine::memory::CrashPoint;
use engine::{Birth, Durability, Family, Lifecycle, LogOp, StateBatch, meta};
use types::{InstanceId, KeyRange, LogIndex, PeerId, RegionDescriptor, RegionEpoch, RegionId, StoreId};

use crate::check::Violation;
use crate::check::testing::*;
use crate::observation::{DiskContent, Event};

/// Three led stores under no checker, entry 7 with `a = 1` on the disks of all, and applied on store 1.
fn script() -> Script {
    let mut script = Script::with(Vec::new()).led();
    script.append(3, vec![empty(6, 6)], hard_state(6, 101, 5)).fine();
    for store in 1..=3 {
        script.append(store, vec![entry(7, 6, put("a", "1"))], hard_state(6, 101, 5)).fine();
    }
    script.apply(1, apply_state(7, 6), &[("a", "1")]).fine();
    script
}

fn write(script: &mut Script, key: &'static str, value: &'static str) -> Result<(), Violation> {
    let mut batch = StateBatch::default();
    batch.put(DATA, key, value);
    script.write_state(1, batch)
}

fn pairs_of(content: &DiskContent) -> usize {
    content.pairs.iter().filter(|(family, ..)| *family != Family::Meta).count()
}

#[test]
fn every_cut_since_the_flush_may_be_found() {
    for kept in 0..=4 {
        let mut script = script();
        script.flush(1).fine();
        for (key, value) in [("b", "1"), ("b", "2"), ("a", "3"), ("n", "4")] {
            write(&mut script, key, value).fine();
        }
        script.crash(1, CrashPoint { state_batches: kept, ..CrashPoint::OLDEST });
        script.open(1).fine();
        let state = &script.watch().ledger().store(StoreId(1)).unwrap().state;
        assert_eq!(state.unflushed_batches(), 0);
        let digests: Vec<u64> = state.regions().values().map(|region| region.digest).collect();
        write(&mut script, "a", "9").fine();
        write(&mut script, "a", if kept >= 3 { "3" } else { "1" }).fine();
        let state = &script.watch().ledger().store(StoreId(1)).unwrap().state;
        assert_eq!(state.regions().values().map(|region| region.digest).collect::<Vec<_>>(), digests);
    }
}

#[test]
fn families_that_fell_back_to_two_cuts_are_found() {
    let mut script = script();
    let mut batch = StateBatch::default();
    batch.put(DATA, "b", "1");
    batch.put(Family::User(types::ColumnFamily::Lock), "b", "1");
    script.write_state(1, batch).fine();
    let verdict = script.open_on(1, |content| content.pairs.retain(|(family, key, _)| *family != DATA || key != "b"));
    verdict.violates("ledger", "none of the 4 cuts");
}

#[test]
fn regions_that_fell_back_to_two_cuts_are_found() {
    let mut script = script();
    let older = script.watch().ledger().state(StoreId(1), LOW).unwrap().apply_state;
    script.append(1, vec![empty(8, 6)], hard_state(6, 101, 5)).fine();
    script.apply(1, apply_state(8, 6), &[]).fine();
    let verdict = script.open_on(1, |content| {
        let key = meta::apply_state_key(LOW);
        content.pairs.iter_mut().filter(|(_, found, _)| *found == key).for_each(|pair| pair.2 = older.encode());
    });
    verdict.violates("ledger", "from the newest it differs by key");
}

#[test]
fn what_was_flushed_is_found_again() {
    let mut script = script();
    script.flush(1).fine();
    script
        .open_on(1, |content| content.pairs.retain(|(family, ..)| *family == Family::Meta))
        .violates("ledger", "cuts");
    let mut script = self::script();
    script.open_on(1, |content| assert_eq!(pairs_of(content), 1)).fine();
}

#[test]
fn a_key_that_no_region_holds_is_not_written() {
    let mut script = script();
    let mut batch = StateBatch::default();
    batch.delete(Family::Meta, meta::descriptor_key(HIGH));
    batch.delete(Family::Meta, meta::apply_state_key(HIGH));
    script.write_state(1, batch).fine();
    write(&mut script, "b", "1").fine();
    write(&mut script, "n", "1").violates("ledger", "which no region of the store holds");
}

#[test]
fn half_a_region_is_no_region() {
    let mut batch = StateBatch::default();
    batch.delete(Family::Meta, meta::apply_state_key(HIGH));
    script().write_state(1, batch).violates("ledger", "half of its records");
}

#[test]
fn what_was_synced_is_found_again() {
    let lose: [fn(&mut DiskContent); 5] = [
        |content| content.ident = None,
        |content| content.logs.truncate(1),
        |content| content.logs[0].0.bounds = Some((LogIndex(6), LogIndex(6))),
        |content| content.logs[0].1[0].data = "damaged".into(),
        |content| content.logs[0].0.state.as_mut().unwrap().hard_state = hard_state(5, 0, 5),
    ];
    for lose in lose {
        script().open_on(1, lose).violates("ledger", "what is on the disk was never written");
    }
    script().open_on(1, |_| {}).fine();
}

#[test]
fn what_was_not_written_is_not_found() {
    let add: [fn(&mut DiskContent); 3] = [
        |content| content.instances.push((StoreId(2), InstanceId(9))),
        |content| content.logs[0].0.commit_floor = LogIndex(6),
        |content| {
            let copy = content.logs[0].clone();
            content.logs.push(copy);
        },
    ];
    for add in add {
        script().open_on(1, add).violates("ledger", "what is on the disk was never written");
    }
}

#[test]
fn buffered_writes_are_lost_from_the_newest_on() {
    let with_deletions = || {
        let mut script = Script::with(Vec::new()).led();
        script.append(1, (7..12).map(|index| empty(index, 6)).collect(), hard_state(6, 101, 5)).fine();
        for end in [7, 8, 9] {
            script.write_log(1, vec![delete_to(LOW, 1, end)], Durability::Buffered).fine();
        }
        script
    };
    for kept in 0..=3 {
        let mut script = with_deletions();
        script.crash(1, CrashPoint { log_writes: kept, ..CrashPoint::NEWEST });
        script.open(1).fine();
        let log = script.watch().ledger().log(StoreId(1), LOW).unwrap();
        assert_eq!(log.bounds().unwrap().0, LogIndex(6 + kept as u64));
        assert_eq!(script.watch().ledger().store(StoreId(1)).unwrap().log.buffered_writes(), 0);
    }
    let verdict = with_deletions().open_on(1, |content| {
        content.logs[0].0.bounds = Some((LogIndex(10), LogIndex(11)));
        content.logs[0].1.drain(..1);
    });
    verdict.violates("ledger", "without the 3 buffered writes");
}

#[test]
fn a_failed_write_may_be_found_or_not() {
    for kept in 0..=1 {
        let mut script = script();
        let batch = engine::LogBatch { ops: vec![append(LOW, 1, vec![empty(8, 6)], hard_state(6, 101, 5))] };
        script.see(1, Event::LogWriteFailed { batch: batch.into() }).fine();
        assert_eq!(script.watch().ledger().log(StoreId(1), LOW).unwrap().last_index(), LogIndex(7));
        let verdict = script.open_on(1, |content| {
            if kept == 1 {
                content.logs[0].0.bounds = Some((LogIndex(6), LogIndex(8)));
                content.logs[0].1.push(empty(8, 6));
            }
        });
        verdict.fine();
    }
}

#[test]
fn logs_match() {
    let mut script = script();
    script.append(2, vec![entry(7, 6, put("a", "2"))], hard_state(6, 101, 5)).violates("ledger", "entry 7 of term 6");

    // The same entry behind another one.
    let mut script = Script::with(Vec::new()).led();
    script.append(3, vec![empty(6, 7)], hard_state(8, 0, 5)).fine();
    script.append(1, vec![empty(7, 8)], hard_state(8, 0, 5)).fine();
    script.append(3, vec![empty(7, 8)], hard_state(8, 0, 5)).violates("ledger", "or the log before it");
}

#[test]
fn a_log_has_no_gap() {
    let mut script = Script::with(Vec::new());
    script.open_on(1, |_| {}).fine();
    let batch = engine::LogBatch { ops: vec![append(LOW, 1, vec![empty(8, 6)], hard_state(6, 0, 5))] };
    let event = Event::LogWritten { batch: batch.into(), durability: Durability::Synced };
    script.see(1, event).violates("ledger", "of which nothing is known");
}

#[test]
fn what_every_replica_has_flushed_is_forgotten() {
    let mut script = script();
    for store in [2, 3] {
        script.apply(store, apply_state(7, 6), &[("a", "1")]).fine();
    }
    let oldest = |script: &mut Script| script.watch().ledger().region(LOW).unwrap().oldest();
    script.flush(1).fine();
    script.flush(2).fine();
    assert_eq!(oldest(&mut script), LogIndex(5));
    script.flush(3).fine();
    assert_eq!(oldest(&mut script), LogIndex(7));
    let truth = script.watch().ledger().region(LOW).unwrap();
    assert!(truth.committed(LogIndex(6)).is_none() && truth.committed(LogIndex(7)).is_some());
    assert!(truth.committed(LogIndex(5)).is_some(), "a member that begins anew begins at the origin");
}

#[test]
fn a_member_that_never_came_may_begin_at_the_origin() {
    let mut script = Script::of(2, Vec::new()).led();
    script.apply(2, apply_state(6, 6), &[]).fine();
    for store in [1, 2] {
        script.flush(store).fine();
    }
    assert_eq!(script.watch().ledger().region(LOW).unwrap().oldest(), LogIndex(5));
}

#[test]
fn a_peer_counts_on_the_disk_on_which_it_was_born() {
    let mut script = Script::with(Vec::new());
    script.wipe(3);
    let truth = script.watch().ledger().region(LOW).unwrap();
    let counts = |store, instance| truth.counts_on(peer(LOW, store).id, InstanceId(instance));
    assert!(counts(3, 3) && !counts(3, 4) && counts(2, 2));
}

#[test]
fn a_disk_that_took_anothers_place_holds_nobody_up() {
    let mut script = script();
    script.apply(2, apply_state(7, 6), &[("a", "1")]).fine();
    script.wipe(3);
    for store in [1, 2] {
        script.flush(store).fine();
    }
    assert_eq!(script.watch().ledger().region(LOW).unwrap().oldest(), LogIndex(7));
}

const CHILD: RegionId = RegionId(300);

/// What applying a split of [`LOW`] at `g` writes, the child being the part from there on.
fn split_batch() -> StateBatch {
    let epoch = RegionEpoch { version: 2, ..RegionEpoch::INITIAL };
    let range = |start, end| KeyRange::new(start, end);
    let child = RegionDescriptor {
        id: CHILD,
        range: range("g", "m"),
        epoch,
        peers: (1..=3).map(|store| peer(CHILD, store)).collect(),
    };
    let parent = RegionDescriptor { range: range("", "g"), epoch, ..descriptor(LOW) };
    let mut batch = StateBatch::default();
    meta::put_region(&mut batch, &meta::RegionState { descriptor: child, apply_state: apply_state(5, 5) });
    meta::put_region(&mut batch, &meta::RegionState { descriptor: parent, apply_state: apply_state(8, 6) });
    batch
}

/// All checkers over three stores that have `a = 1`, and entry 8 that splits the region at `g`.
fn before_split() -> Script {
    let mut script = Script::new().led();
    script.asked(1, 1, Some(put("k", "1"))).fine();
    script.append(3, vec![empty(6, 6)], hard_state(6, 101, 5)).fine();
    for store in 1..=3 {
        let entries = vec![entry(7, 6, put("k", "1")), split(8, 6, "g", CHILD)];
        script.append(store, entries, hard_state(6, 101, 5)).fine();
    }
    for store in 1..=3 {
        script.apply(store, apply_state(7, 6), &[("k", "1")]).fine();
    }
    script
}

#[test]
fn a_split_bears_a_region_with_its_data() {
    let mut script = before_split();
    for store in 1..=3 {
        script.write_state(store, split_batch()).fine();
    }
    let ledger = script.watch().ledger();
    let (parent, child) = (ledger.region(LOW).unwrap(), ledger.region(CHILD).unwrap());
    assert_eq!((parent.replay().content().len(), child.replay().content().len()), (0, 1));
    assert_eq!(child.frontier(), LogIndex(5));
    assert_eq!(ledger.state(StoreId(2), CHILD).unwrap().digest, child.replay().digest());
    // The child's log goes on behind its birth.
    let birth = Birth::Split { parent: LOW, parent_peer: PeerId(101), index: LogIndex(8) };
    let lifecycle = Lifecycle { peer: Some(PeerId(301)), next_peer: PeerId(302), birth };
    let record = LogOp::PutLifecycle { region: CHILD, lifecycle };
    let floor = LogOp::RaiseCommitFloor { region: LOW, floor: LogIndex(8) };
    let first = append(CHILD, 1, vec![empty(6, 6)], hard_state(6, 301, 5));
    script.write_log(1, vec![floor, record, first], Durability::Synced).fine();
    assert_eq!(script.watch().ledger().log(StoreId(1), CHILD).unwrap().last_index(), LogIndex(6));
}

#[test]
fn a_split_is_what_the_log_says() {
    let mut batch = split_batch();
    batch.delete(DATA, "k");
    before_split().write_state(1, batch).violates("replay", "region 300: store 1 does not hold");
    let mut batch = split_batch();
    batch.put(Family::Meta, meta::descriptor_key(LOW), meta::encode_descriptor(&descriptor(LOW)));
    before_split().write_state(1, batch).violates("replay", "its log up to 8 makes it");
}

#[test]
fn a_crash_before_a_split_takes_the_child_back() {
    let mut script = before_split();
    script.flush(1).fine();
    script.write_state(1, split_batch()).fine();
    script.crash(1, CrashPoint::OLDEST);
    script.open(1).fine();
    assert!(script.watch().ledger().state(StoreId(1), CHILD).is_none());
    script.write_state(1, split_batch()).fine();
}

#[test]
fn a_region_does_not_come_from_nowhere() {
    let mut script = before_split();
    let mut batch = StateBatch::default();
    let stranger = RegionDescriptor { id: RegionId(400), range: KeyRange::new("k", "m"), ..descriptor(LOW) };
    meta::put_region(&mut batch, &meta::RegionState { descriptor: stranger, apply_state: apply_state(5, 5) });
    script.write_state(1, batch).violates("ledger", "appears with data, and out of nothing");
}

/// Store 1 holds nothing but [`HIGH`]; the range of [`LOW`] belongs to nobody.
fn with_a_free_range() -> Script {
    let mut script = script();
    let mut batch = StateBatch::default();
    batch.delete(Family::Meta, meta::descriptor_key(LOW));
    batch.delete(Family::Meta, meta::apply_state_key(LOW));
    script.write_state(1, batch).fine();
    script.flush(1).fine();
    script
}

fn pairs(script: &mut Script) -> Vec<String> {
    let state = &script.watch().ledger().store(StoreId(1)).unwrap().state;
    let all = KeyRange::all();
    state.pairs(&all).map(|((_, key), _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

#[test]
fn deleted_files_are_gone_whatever_a_crash_takes() {
    for kept in 0..=1 {
        let mut script = with_a_free_range();
        write(&mut script, "n", "1").fine();
        // The lowest key's file is taken to cross the border.
        script.delete_files(1, KeyRange::new("", "m")).fine();
        assert_eq!(pairs(&mut script), ["a", "n"]);
        script.crash(1, CrashPoint { state_batches: kept, ..CrashPoint::OLDEST });
        script.open(1).fine();
        assert_eq!(pairs(&mut script), if kept == 1 { vec!["a", "n"] } else { vec!["a"] });
    }
}

#[test]
fn ingested_pairs_stay_whatever_a_crash_takes() {
    for kept in 0..=2 {
        let mut script = with_a_free_range();
        write(&mut script, "n", "1").fine();
        script.ingest(1, &[("b", "1"), ("c", "1")]).fine();
        assert_eq!(pairs(&mut script), ["a", "b", "c", "n"]);
        let mut batch = StateBatch::default();
        let state = meta::RegionState { descriptor: descriptor(LOW), apply_state: apply_state(6, 6) };
        meta::put_region(&mut batch, &state);
        script.write_state(1, batch).fine();
        assert_ne!(script.watch().ledger().state(StoreId(1), LOW).unwrap().digest, 0);
        script.crash(1, CrashPoint { state_batches: kept, ..CrashPoint::OLDEST });
        script.open(1).fine();
        let expected = ["a", "b", "c", "n"];
        assert_eq!(pairs(&mut script), expected[..if kept == 0 { 3 } else { 4 }]);
        assert_eq!(script.watch().ledger().state(StoreId(1), LOW).is_some(), kept == 2);
    }
}

#[test]
fn outside_of_torn_ranges_there_is_one_cut() {
    let mut script = with_a_free_range();
    write(&mut script, "n", "1").fine();
    script.ingest(1, &[("b", "1"), ("c", "1")]).fine();
    let lose = |key: &'static str| move |content: &mut DiskContent| content.pairs.retain(|(_, found, _)| found != key);
    script.open_on(1, lose("n")).violates("ledger", "key");
    let mut script = with_a_free_range();
    script.ingest(1, &[("b", "1"), ("c", "1")]).fine();
    script.open_on(1, lose("b")).fine();
    script.ingest(1, &[("b", "1"), ("c", "1")]).fine();
    script.flush(1).fine();
    script.open_on(1, lose("b")).violates("ledger", "none of the 1 cuts");
}
