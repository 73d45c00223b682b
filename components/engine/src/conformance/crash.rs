//! Checks over a crash: what must be there, what may be, and what must hang together.

use std::path::Path;

use types::{ClusterId, InstanceId, LogIndex, PeerId, RegionId, Round, StoreId};

use super::sample::{
    DATA, all_entries, append, batch, bounds, entries, get, hard_state, ingest, keys, lifecycle, range, term, write,
};
use super::{LogCrashCheck, StateCrashCheck};
use crate::{Birth, Durability, Family, LogBatch, LogEngine, LogOp, RegionLogState, StateEngine, StoreIdent, WriterId};

/// Of a log engine.
pub const LOG_CHECKS: &[LogCrashCheck] = &[
    LogCrashCheck { name: "synced writes survive", before: write_synced, after: find_synced },
    LogCrashCheck {
        name: "buffered writes are lost from the newest on, whole",
        before: write_buffered,
        after: find_prefix,
    },
    LogCrashCheck {
        name: "a synced write makes the buffered ones before it durable",
        before: write_buffered_then_synced,
        after: find_all_buffered,
    },
    LogCrashCheck { name: "writing goes on after a crash", before: write_synced, after: write_on },
];

/// Of a state engine.
pub const STATE_CHECKS: &[StateCrashCheck] = &[
    StateCrashCheck { name: "flushed writes survive", before: write_flushed, after: find_flushed },
    StateCrashCheck {
        name: "a crash falls back to one cut of all column families",
        before: write_rounds,
        after: find_cut,
    },
    StateCrashCheck { name: "ingested keys survive without a flush", before: write_ingest, after: find_ingest },
    StateCrashCheck {
        name: "deleted files stay deleted without a flush",
        before: write_deleted_files,
        after: find_nothing_deleted,
    },
    StateCrashCheck { name: "rounds count on after a crash", before: write_rounds, after: count_on },
];

fn ident() -> StoreIdent {
    StoreIdent { cluster: ClusterId(1), store: StoreId(2), instance: InstanceId(3) }
}

fn write_synced(log: &dyn LogEngine) {
    write(
        log,
        vec![
            LogOp::PutIdent(ident()),
            LogOp::PutInstance { store: StoreId(9), instance: InstanceId(99) },
            LogOp::PutLifecycle { region: RegionId(1), lifecycle: lifecycle(10, Birth::Bootstrap) },
            append(1, 10, entries(6, 12, 5)),
            append(2, 20, entries(6, 8, 5)),
            LogOp::RaiseCommitFloor { region: RegionId(2), floor: LogIndex(7) },
        ],
    );
    write(log, vec![append(1, 10, entries(9, 11, 6)), append(3, 30, entries(6, 8, 5))]);
    write(log, vec![LogOp::DeleteTo { region: RegionId(1), peer: PeerId(10), end: LogIndex(8) }]);
    write(log, vec![LogOp::Remove { region: RegionId(3), next_peer: PeerId(31) }]);
}

fn find_synced(log: &dyn LogEngine) {
    assert_eq!(log.ident().unwrap(), Some(ident()));
    assert_eq!(log.instances().unwrap(), [(StoreId(9), InstanceId(99))]);
    let regions = log.regions().unwrap();
    assert_eq!(regions.iter().map(|region| region.region.get()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(regions[0].lifecycle, Some(lifecycle(10, Birth::Bootstrap)));
    assert_eq!(regions[0].state, Some(RegionLogState { peer: PeerId(10), hard_state: hard_state(6, 0, 0) }));
    assert_eq!(all_entries(log, 1, 10), [entries(8, 9, 5), entries(9, 11, 6)].concat());
    assert_eq!(regions[1].commit_floor, LogIndex(7));
    assert_eq!(all_entries(log, 2, 20), entries(6, 8, 5));
    assert_eq!((regions[2].state, regions[2].bounds), (None, None));
    assert_eq!(regions[2].lifecycle.unwrap().next_peer, PeerId(31));
}

const WRITES: u64 = 20;

fn write_buffered(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 106, 5)), append(2, 20, entries(6, 106, 5))]);
    for n in 1..=WRITES {
        let delete = |region: u64, peer: u64| LogOp::DeleteTo {
            region: RegionId(region),
            peer: PeerId(peer),
            end: LogIndex(6 + n),
        };
        log.write(LogBatch { ops: vec![delete(1, 10), delete(2, 20)] }, Durability::Buffered).unwrap();
    }
}

fn find_prefix(log: &dyn LogEngine) {
    let (first, last) = bounds(log, 1).unwrap();
    assert!((6..=6 + WRITES).contains(&first));
    assert_eq!(last, 105);
    assert_eq!(bounds(log, 2), Some((first, last)), "a batch is there whole or not at all");
    assert_eq!(all_entries(log, 1, 10), entries(first, 106, 5));
}

fn write_buffered_then_synced(log: &dyn LogEngine) {
    write_buffered(log);
    write(log, vec![append(3, 30, entries(6, 7, 5))]);
}

fn find_all_buffered(log: &dyn LogEngine) {
    assert_eq!(bounds(log, 1), Some((6 + WRITES, 105)));
    assert_eq!(bounds(log, 2), Some((6 + WRITES, 105)));
    assert_eq!(bounds(log, 3), Some((6, 6)));
}

fn write_on(log: &dyn LogEngine) {
    find_synced(log);
    write(log, vec![append(1, 10, entries(10, 13, 7))]);
    assert_eq!(bounds(log, 1), Some((8, 12)));
    assert_eq!(term(log, 1, 10, 12), Some(7));
    let other = log.write(LogBatch { ops: vec![append(1, 11, entries(13, 14, 7))] }, Durability::Synced);
    assert!(other.is_err(), "whose log it is survives too");
}

const WRITER: WriterId = WriterId::Apply(3);
const ROUNDS: u64 = 30;
const FLUSHED: u64 = 12;

/// Each round adds a key of its own to every column family, sets a shared one, and takes a key away again.
fn write_round(state: &dyn StateEngine, round: u64) {
    batch(state, |batch| {
        batch.set_round(WRITER, Round(round));
        for family in Family::ALL.into_iter().filter(|family| *family != Family::Meta) {
            batch.put(family, format!("round {round:03}"), format!("{round}"));
            batch.put(family, "newest", format!("{round}"));
            batch.delete_range(family, range("passing", "passing\u{1}"));
            if round.is_multiple_of(2) {
                batch.put(family, "passing", "even");
            }
        }
    });
}

fn write_flushed(state: &dyn StateEngine, _: &Path) {
    (1..=FLUSHED).for_each(|round| write_round(state, round));
    state.flush().unwrap();
}

fn find_flushed(state: &dyn StateEngine) {
    assert_eq!(check_cut(state), FLUSHED);
}

fn write_rounds(state: &dyn StateEngine, files: &Path) {
    write_flushed(state, files);
    (FLUSHED + 1..=ROUNDS).for_each(|round| write_round(state, round));
}

fn find_cut(state: &dyn StateEngine) {
    assert!((FLUSHED..=ROUNDS).contains(&check_cut(state)));
}

/// The round that all column families agree on.
fn check_cut(state: &dyn StateEngine) -> u64 {
    let bytes = get(state, Family::Meta, WRITER.key()).expect("a flushed round");
    let round = u64::from_be_bytes(bytes.try_into().unwrap());
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(round), "after a crash, all that is there is durable");
    for family in Family::ALL.into_iter().filter(|family| *family != Family::Meta) {
        let newest = get(state, family, "newest").unwrap();
        assert_eq!(newest, round.to_string().into_bytes(), "{} is of another cut", family.name());
        for earlier in 1..=ROUNDS {
            let found = get(state, family, format!("round {earlier:03}")).is_some();
            assert_eq!(found, earlier <= round, "{}: round {earlier} of {round}", family.name());
        }
        assert_eq!(get(state, family, "passing").is_some(), round.is_multiple_of(2));
    }
    round
}

fn count_on(state: &dyn StateEngine) {
    let round = check_cut(state);
    write_round(state, round + 1);
    assert_eq!(state.persisted_round(WRITER).unwrap(), Round(round));
    state.flush().unwrap();
    assert_eq!(check_cut(state), round + 1);
}

fn write_ingest(state: &dyn StateEngine, files: &Path) {
    write_rounds(state, files);
    ingest(state, files, "file", DATA, &[("ingested 1", "a"), ("ingested 2", "b")]);
    write_round(state, ROUNDS + 1);
}

fn find_ingest(state: &dyn StateEngine) {
    assert_eq!(get(state, DATA, "ingested 1"), Some(b"a".to_vec()));
    assert_eq!(get(state, DATA, "ingested 2"), Some(b"b".to_vec()));
    let round = get(state, Family::Meta, WRITER.key()).expect("a flushed round");
    assert!(u64::from_be_bytes(round.try_into().unwrap()) >= FLUSHED);
}

fn write_deleted_files(state: &dyn StateEngine, files: &Path) {
    write_flushed(state, files);
    ingest(state, files, "file", DATA, &[("x 1", "a"), ("x 2", "b")]);
    state.delete_files_in_range(&range("x", "y")).unwrap();
    batch(state, |batch| batch.delete_range(DATA, range("x", "y")));
    state.flush().unwrap();
}

fn find_nothing_deleted(state: &dyn StateEngine) {
    assert!(!keys(state, DATA).contains('x'));
    assert_eq!(check_cut(state), FLUSHED);
}
