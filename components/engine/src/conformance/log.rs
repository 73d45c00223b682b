//! Checks of a log engine while its process lives.

use types::{ClusterId, InstanceId, LogIndex, PeerId, RegionId, StoreId};

use super::LogCheck;
use super::sample::{
    all_entries, append, bounds, entries, entry, entry_with, hard_state, lifecycle, marker, noise, read, term, write,
};
use crate::{
    Birth, Durability, EngineError, HardState, Lifecycle, LogBatch, LogEngine, LogOp, RegionLog, RegionLogState,
    StoreIdent,
};

/// All of them.
pub const CHECKS: &[LogCheck] = &[
    LogCheck { name: "a new engine is empty", run: empty },
    LogCheck { name: "appended entries read back whole", run: append_reads_back },
    LogCheck { name: "an append replaces everything from its first entry on", run: append_replaces },
    LogCheck { name: "an append below the first entry replaces the whole log", run: append_below_first },
    LogCheck { name: "an append without entries writes the hard state alone", run: hard_state_alone },
    LogCheck { name: "reads keep to the bounds asked for and to those of the log", run: read_ranges },
    LogCheck { name: "a read ends behind the entry that reaches the byte limit", run: read_limits },
    LogCheck { name: "terms", run: terms },
    LogCheck { name: "deleting up to an index", run: delete_to },
    LogCheck { name: "a log that was deleted whole begins anywhere", run: delete_all },
    LogCheck { name: "lifecycle records", run: lifecycles },
    LogCheck { name: "the commit floor only rises", run: commit_floor },
    LogCheck { name: "removal leaves the lifecycle record alone", run: remove },
    LogCheck { name: "removal never lowers the next peer id", run: remove_keeps_next_peer },
    LogCheck { name: "snapshot markers", run: markers },
    LogCheck { name: "ident and instances", run: ident },
    LogCheck { name: "another peer's reads and writes are refused", run: peer_mismatch },
    LogCheck { name: "a batch that is refused changes nothing", run: refused_batch },
    LogCheck { name: "a new peer follows a removed one, in one batch too", run: next_incarnation },
    LogCheck { name: "operations of a batch happen in order", run: order_in_batch },
    LogCheck { name: "regions are listed in order", run: regions_in_order },
    LogCheck { name: "regions are apart from each other", run: regions_apart },
    LogCheck { name: "buffered writes are seen at once, in order", run: buffered },
    LogCheck { name: "large and empty entries", run: sizes },
    LogCheck { name: "indexes and ids up to the largest", run: large_numbers },
    LogCheck { name: "approximate bytes follow the entries", run: approximate_bytes },
    LogCheck { name: "statistics grow with writes", run: statistics },
    LogCheck { name: "an empty batch changes nothing", run: empty_batch },
];

fn region(log: &dyn LogEngine, region: u64) -> Option<RegionLog> {
    log.region(RegionId(region)).unwrap()
}

fn state_of(log: &dyn LogEngine, id: u64) -> Option<RegionLogState> {
    region(log, id)?.state
}

fn delete(region: u64, peer: u64, end: u64) -> LogOp {
    LogOp::DeleteTo { region: region.into(), peer: peer.into(), end: end.into() }
}

fn raise(region: u64, floor: u64) -> LogOp {
    LogOp::RaiseCommitFloor { region: region.into(), floor: floor.into() }
}

fn remove_op(region: u64, next_peer: u64) -> LogOp {
    LogOp::Remove { region: region.into(), next_peer: next_peer.into() }
}

fn put_lifecycle(region: u64, lifecycle: Lifecycle) -> LogOp {
    LogOp::PutLifecycle { region: region.into(), lifecycle }
}

fn empty(log: &dyn LogEngine) {
    assert_eq!(log.ident().unwrap(), None);
    assert_eq!(log.instances().unwrap(), []);
    assert_eq!(log.regions().unwrap(), []);
    assert_eq!(region(log, 1), None);
    assert_eq!(read(log, 1, 10, 0, u64::MAX, u64::MAX), []);
    assert_eq!(term(log, 1, 10, 5), None);
    assert_eq!(log.approximate_bytes(RegionId(1), LogIndex(0), LogIndex(u64::MAX)).unwrap(), 0);
}

fn append_reads_back(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 9, 5))]);
    assert_eq!(all_entries(log, 1, 10), entries(6, 9, 5));
    write(log, vec![append(1, 10, entries(9, 12, 7))]);
    let expected = [entries(6, 9, 5), entries(9, 12, 7)].concat();
    assert_eq!(all_entries(log, 1, 10), expected);
    let state = RegionLogState { peer: PeerId(10), hard_state: hard_state(7, 0, 0) };
    let bounds = Some((LogIndex(6), LogIndex(11)));
    let expected =
        RegionLog { region: RegionId(1), lifecycle: None, state: Some(state), commit_floor: LogIndex(0), bounds };
    assert_eq!(region(log, 1), Some(expected.clone()));
    assert_eq!(log.regions().unwrap(), [expected]);
}

fn append_replaces(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 16, 5))]);
    write(log, vec![append(1, 10, entries(9, 11, 6))]);
    assert_eq!(bounds(log, 1), Some((6, 10)));
    assert_eq!(all_entries(log, 1, 10), [entries(6, 9, 5), entries(9, 11, 6)].concat());
    assert_eq!(term(log, 1, 10, 11), None, "the old tail is gone");
    assert_eq!(read(log, 1, 10, 11, 16, u64::MAX), []);
    write(log, vec![append(1, 10, entries(11, 13, 7))]);
    assert_eq!(term(log, 1, 10, 12), Some(7));
    assert_eq!(bounds(log, 1), Some((6, 12)), "nothing of the old tail comes back behind the new one");
    write(log, vec![append(1, 10, entries(6, 7, 8))]);
    assert_eq!(all_entries(log, 1, 10), entries(6, 7, 8));
}

fn append_below_first(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(20, 30, 5))]);
    write(log, vec![append(1, 10, entries(11, 13, 6))]);
    assert_eq!(all_entries(log, 1, 10), entries(11, 13, 6));
    assert_eq!(bounds(log, 1), Some((11, 12)));
    assert_eq!(term(log, 1, 10, 25), None);
}

fn hard_state_alone(log: &dyn LogEngine) {
    let vote = |term, vote, commit| LogOp::Append {
        region: RegionId(1),
        peer: PeerId(10),
        entries: Vec::new(),
        hard_state: hard_state(term, vote, commit),
    };
    write(log, vec![vote(6, 11, 0)]);
    assert_eq!(state_of(log, 1), Some(RegionLogState { peer: PeerId(10), hard_state: hard_state(6, 11, 0) }));
    assert_eq!(bounds(log, 1), None);
    write(log, vec![append(1, 10, entries(6, 9, 6))]);
    write(log, vec![vote(7, 12, 8)]);
    assert_eq!(state_of(log, 1).unwrap().hard_state, hard_state(7, 12, 8));
    assert_eq!(all_entries(log, 1, 10), entries(6, 9, 6));
}

fn read_ranges(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 12, 5))]);
    let all = u64::MAX;
    assert_eq!(read(log, 1, 10, 8, 10, all), entries(8, 10, 5));
    assert_eq!(read(log, 1, 10, 6, 12, all), entries(6, 12, 5));
    assert_eq!(read(log, 1, 10, 11, 12, all), entries(11, 12, 5));
    assert_eq!(read(log, 1, 10, 10, 40, all), entries(10, 12, 5), "shorter when the log is");
    assert_eq!(read(log, 1, 10, 12, 40, all), []);
    assert_eq!(read(log, 1, 10, 8, 8, all), []);
    assert_eq!(read(log, 1, 10, 5, 9, all), [], "no gap: what begins before the log is not there");
}

fn read_limits(log: &dyn LogEngine) {
    let list = (6..11).map(|index| entry_with(index, 5, vec![b'x'; 100])).collect::<Vec<_>>();
    write(log, vec![append(1, 10, list.clone())]);
    let count = |max_bytes| read(log, 1, 10, 6, 11, max_bytes).len();
    assert_eq!([count(0), count(1), count(100), count(101), count(200), count(201)], [1, 1, 1, 2, 2, 3]);
    assert_eq!(read(log, 1, 10, 7, 11, 150), list[1..3]);
    assert_eq!(count(500), 5);
    assert_eq!(count(u64::MAX), 5);
}

fn terms(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, vec![entry(6, 5), entry(7, 5), entry(8, 9)])]);
    let found = (4..11).map(|index| term(log, 1, 10, index)).collect::<Vec<_>>();
    assert_eq!(found, [None, None, Some(5), Some(5), Some(9), None, None]);
}

fn delete_to(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 12, 5))]);
    write(log, vec![delete(1, 10, 9)]);
    assert_eq!(all_entries(log, 1, 10), entries(9, 12, 5));
    assert_eq!(term(log, 1, 10, 8), None);
    assert_eq!(read(log, 1, 10, 8, 12, u64::MAX), []);
    write(log, vec![delete(1, 10, 7)]);
    write(log, vec![delete(1, 10, 9)]);
    assert_eq!(bounds(log, 1), Some((9, 11)), "deleting what is gone changes nothing");
    assert_eq!(state_of(log, 1).unwrap().hard_state, hard_state(5, 0, 0), "the hard state stays");
    write(log, vec![append(1, 10, entries(12, 14, 6))]);
    assert_eq!(bounds(log, 1), Some((9, 13)));
    write(log, vec![delete(2, 10, 9)]);
    assert_eq!(region(log, 2), None, "deleting from a region without a log makes no record of it");
}

fn delete_all(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 12, 5))]);
    write(log, vec![delete(1, 10, 12)]);
    assert_eq!(bounds(log, 1), None);
    assert!(state_of(log, 1).is_some(), "the region is still there");
    write(log, vec![append(1, 10, entries(40, 42, 6))]);
    assert_eq!(all_entries(log, 1, 10), entries(40, 42, 6));
    write(log, vec![delete(1, 10, 1_000)]);
    assert_eq!(bounds(log, 1), None);
    write(log, vec![append(1, 10, entries(42, 43, 6))]);
    assert_eq!(all_entries(log, 1, 10), entries(42, 43, 6));
}

fn lifecycles(log: &dyn LogEngine) {
    let split = Birth::Split { parent: RegionId(1), parent_peer: PeerId(10), index: LogIndex(77) };
    let records = [lifecycle(10, Birth::Bootstrap), lifecycle(20, Birth::Message), lifecycle(30, split)];
    for (id, record) in (1..).zip(records) {
        write(log, vec![put_lifecycle(id, record)]);
        assert_eq!(region(log, id).unwrap().lifecycle, Some(record));
        assert_eq!(state_of(log, id), None);
    }
    let later = Lifecycle { peer: None, next_peer: PeerId(99), birth: Birth::Message };
    write(log, vec![put_lifecycle(2, later)]);
    assert_eq!(region(log, 2).unwrap().lifecycle, Some(later));
}

fn markers(log: &dyn LogEngine) {
    let put = |region: u64, number: u64| LogOp::PutMarker(Box::new(marker(region, number)));
    let drop = |region: u64| LogOp::DropMarker { region: RegionId(region) };
    assert_eq!(log.markers().unwrap(), []);
    // With the log's reset, in one batch: what was there is gone, and the log may begin anywhere.
    write(log, vec![put_lifecycle(2, lifecycle(20, Birth::Message)), append(2, 20, entries(6, 9, 5))]);
    let reset = vec![remove_op(2, 20), put_lifecycle(2, lifecycle(20, Birth::Message)), append(2, 20, vec![])];
    write(log, [vec![put(2, 7)], reset].concat());
    assert_eq!((log.markers().unwrap(), bounds(log, 2)), (vec![marker(2, 7)], None));
    write(log, vec![append(2, 20, entries(41, 42, 6))]);
    write(log, vec![put(300, 1), put(1, 1), put(2, 8)]);
    assert_eq!(log.markers().unwrap(), [marker(1, 1), marker(2, 8), marker(300, 1)], "in order, the newest of each");
    write(log, vec![drop(1), drop(300), drop(9), put(300, 2)]);
    assert_eq!(log.markers().unwrap(), [marker(2, 8), marker(300, 2)]);
    assert_eq!(all_entries(log, 2, 20), entries(41, 42, 6));
}

fn commit_floor(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 9, 5))]);
    let floor = |log: &dyn LogEngine| region(log, 1).unwrap().commit_floor.get();
    assert_eq!(floor(log), 0);
    write(log, vec![raise(1, 7)]);
    write(log, vec![raise(1, 6)]);
    assert_eq!(floor(log), 7);
    write(log, vec![raise(1, 9), raise(1, 8)]);
    assert_eq!(floor(log), 9, "not lowered within a batch either");
    assert_eq!(state_of(log, 1).unwrap().hard_state, hard_state(5, 0, 0), "the hard state is not touched");
    write(log, vec![raise(2, 3)]);
    let alone = region(log, 2).unwrap();
    assert_eq!((alone.commit_floor.get(), alone.state), (3, None), "a floor alone is a record too");
}

fn remove(log: &dyn LogEngine) {
    write(log, vec![put_lifecycle(1, lifecycle(10, Birth::Bootstrap)), append(1, 10, entries(6, 12, 5)), raise(1, 8)]);
    write(log, vec![remove_op(1, 12)]);
    let record = Lifecycle { peer: None, next_peer: PeerId(12), birth: Birth::Bootstrap };
    let left = RegionLog {
        region: RegionId(1),
        lifecycle: Some(record),
        state: None,
        commit_floor: LogIndex(0),
        bounds: None,
    };
    assert_eq!(region(log, 1), Some(left));
    assert_eq!(read(log, 1, 12, 6, 12, u64::MAX), []);
    assert_eq!(term(log, 1, 10, 7), None);
    write(log, vec![remove_op(5, 3)]);
    let unknown = region(log, 5).expect("a next peer id is kept even where no record was");
    assert_eq!(unknown.lifecycle.map(|record| (record.peer, record.next_peer)), Some((None, PeerId(3))));
}

fn remove_keeps_next_peer(log: &dyn LogEngine) {
    let next_peer = |log: &dyn LogEngine| region(log, 1).unwrap().lifecycle.unwrap().next_peer.get();
    write(log, vec![put_lifecycle(1, lifecycle(10, Birth::Message)), remove_op(1, 20)]);
    assert_eq!(next_peer(log), 20);
    write(log, vec![remove_op(1, 15)]);
    assert_eq!(next_peer(log), 20);
}

fn ident(log: &dyn LogEngine) {
    let ident = StoreIdent { cluster: ClusterId(7), store: StoreId(2), instance: InstanceId(u64::MAX) };
    write(log, vec![LogOp::PutIdent(ident)]);
    assert_eq!(log.ident().unwrap(), Some(ident));
    let put = |store: u64, instance: u64| LogOp::PutInstance { store: store.into(), instance: instance.into() };
    write(log, vec![put(300, 33), put(1, 11)]);
    write(log, vec![put(300, 34)]);
    assert_eq!(log.instances().unwrap(), [(StoreId(1), InstanceId(11)), (StoreId(300), InstanceId(34))]);
    assert_eq!(log.regions().unwrap(), [], "neither is a region");
}

fn is_mismatch<T>(result: crate::Result<T>, region: u64, requested: u64, actual: u64) -> bool {
    let expected = (region, requested, actual);
    matches!(result, Err(EngineError::PeerMismatch { region, requested, actual }) if (region, requested, actual) == expected)
}

fn peer_mismatch(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 9, 5))]);
    let try_write = |op| log.write(LogBatch { ops: vec![op] }, Durability::Synced);
    assert!(is_mismatch(try_write(append(1, 11, entries(9, 10, 5))), 1, 11, 10));
    assert!(is_mismatch(try_write(append(1, 9, Vec::new())), 1, 9, 10));
    assert!(try_write(delete(1, 11, 8)).is_ok(), "clean-up for a peer that is gone changes nothing");
    assert_eq!(bounds(log, 1), Some((6, 8)));
    assert!(is_mismatch(log.entries(RegionId(1), PeerId(11), LogIndex(6), LogIndex(9), u64::MAX), 1, 11, 10));
    assert!(is_mismatch(log.term(RegionId(1), PeerId(11), LogIndex(6)), 1, 11, 10));
    assert_eq!(all_entries(log, 1, 10), entries(6, 9, 5));
    write(log, vec![append(1, 10, entries(9, 10, 5))]);
    assert_eq!(bounds(log, 1), Some((6, 9)), "a refusal does not poison the engine");
}

fn refused_batch(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 9, 5)), append(3, 30, entries(6, 7, 5))]);
    let before = log.regions().unwrap();
    let ops = vec![
        append(1, 10, entries(7, 8, 6)),
        append(2, 20, entries(6, 9, 6)),
        raise(3, 6),
        LogOp::PutInstance { store: StoreId(1), instance: InstanceId(1) },
        append(3, 31, entries(7, 8, 5)),
    ];
    let outcome = log.write(LogBatch { ops }, Durability::Synced);
    assert!(is_mismatch(outcome, 3, 31, 30));
    assert_eq!(log.regions().unwrap(), before);
    assert_eq!(all_entries(log, 1, 10), entries(6, 9, 5));
    assert_eq!(log.instances().unwrap(), []);
    let twice = vec![append(4, 40, entries(6, 7, 5)), append(4, 41, entries(7, 8, 5))];
    assert!(is_mismatch(log.write(LogBatch { ops: twice }, Durability::Synced), 4, 41, 40));
    assert_eq!(region(log, 4), None, "the batch's own first append already says whose log it is");
}

fn next_incarnation(log: &dyn LogEngine) {
    write(log, vec![put_lifecycle(1, lifecycle(10, Birth::Bootstrap)), append(1, 10, entries(6, 20, 5))]);
    let born = lifecycle(12, Birth::Message);
    write(log, vec![remove_op(1, 11), put_lifecycle(1, born), append(1, 12, entries(30, 32, 7))]);
    assert_eq!(all_entries(log, 1, 12), entries(30, 32, 7));
    assert_eq!(region(log, 1).unwrap().lifecycle, Some(born));
    assert!(is_mismatch(log.term(RegionId(1), PeerId(10), LogIndex(6)), 1, 10, 12));
    write(log, vec![remove_op(1, 13)]);
    write(log, vec![append(1, 13, entries(2, 4, 1))]);
    assert_eq!(all_entries(log, 1, 13), entries(2, 4, 1), "nothing of older peers shows through");
}

fn order_in_batch(log: &dyn LogEngine) {
    let last = LogOp::Append {
        region: RegionId(1),
        peer: PeerId(10),
        entries: entries(8, 10, 6),
        hard_state: hard_state(6, 10, 7),
    };
    write(log, vec![append(1, 10, entries(6, 12, 5)), delete(1, 10, 7), last]);
    assert_eq!(all_entries(log, 1, 10), [entries(7, 8, 5), entries(8, 10, 6)].concat());
    assert_eq!(state_of(log, 1).unwrap().hard_state, HardState { commit: LogIndex(7), ..hard_state(6, 10, 0) });
    write(log, vec![append(2, 20, entries(6, 12, 5)), delete(2, 20, 12), append(2, 20, entries(40, 42, 5))]);
    assert_eq!(all_entries(log, 2, 20), entries(40, 42, 5));
}

fn regions_in_order(log: &dyn LogEngine) {
    let ids = [300, 2, 70_000, 1, 256, 255, u64::MAX];
    for (n, id) in (1_u64..).zip(ids) {
        let op = match n % 3 {
            0 => raise(id, n),
            1 => append(id, n, entries(6, 6 + n, 5)),
            _ => put_lifecycle(id, lifecycle(n, Birth::Message)),
        };
        write(log, vec![op]);
    }
    let found = log.regions().unwrap();
    let listed = found.iter().map(|region| region.region.get()).collect::<Vec<_>>();
    assert_eq!(listed, [1, 2, 255, 256, 300, 70_000, u64::MAX]);
    for listed in found {
        assert_eq!(log.region(listed.region).unwrap(), Some(listed));
    }
}

fn regions_apart(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 9, 5)), append(2, 10, entries(6, 9, 6)), append(3, 10, entries(6, 9, 7))]);
    write(log, vec![remove_op(2, 11)]);
    write(log, vec![delete(1, 10, 9)]);
    assert_eq!(bounds(log, 1), None);
    assert_eq!(bounds(log, 2), None);
    assert_eq!(all_entries(log, 3, 10), entries(6, 9, 7));
}

fn buffered(log: &dyn LogEngine) {
    write(log, vec![append(1, 10, entries(6, 12, 5))]);
    log.write(LogBatch { ops: vec![delete(1, 10, 8)] }, Durability::Buffered).unwrap();
    assert_eq!(bounds(log, 1), Some((8, 11)));
    write(log, vec![append(1, 10, entries(12, 14, 5))]);
    assert_eq!(bounds(log, 1), Some((8, 13)));
}

fn sizes(log: &dyn LogEngine) {
    let large = entry_with(7, 5, vec![0xA5_u8; 3 << 20]);
    let list = vec![entry_with(6, 5, ""), large, entry_with(8, 5, vec![0_u8; 1])];
    write(log, vec![append(1, 10, list.clone())]);
    assert_eq!(all_entries(log, 1, 10), list);
    let mut change = entry(9, 5);
    change.set_entry_type(raft_proto::eraftpb::EntryType::EntryConfChangeV2);
    write(log, vec![append(1, 10, vec![change.clone()])]);
    assert_eq!(read(log, 1, 10, 9, 10, 0), [change], "every field of an entry is kept");
}

fn large_numbers(log: &dyn LogEngine) {
    let region = u64::MAX;
    let peer = u64::MAX - 1;
    let low = u64::MAX - 10;
    write(log, vec![append(region, peer, entries(low, low + 4, u64::MAX))]);
    assert_eq!(all_entries(log, region, peer), entries(low, low + 4, u64::MAX));
    write(log, vec![append(region - 1, peer, entries(255, 258, 1))]);
    assert_eq!(all_entries(log, region - 1, peer), entries(255, 258, 1), "order of indexes is that of numbers");
    write(log, vec![delete(region, peer, low + 3)]);
    assert_eq!(bounds(log, region), Some((low + 3, low + 3)));
}

fn approximate_bytes(log: &dyn LogEngine) {
    let list = (0..100).map(|n| entry_with(6 + n, 5, noise(n, 10_000))).collect();
    write(log, vec![append(1, 10, list)]);
    let bytes = |low: u64, high: u64| log.approximate_bytes(RegionId(1), LogIndex(low), LogIndex(high)).unwrap();
    let all = bytes(6, 106);
    assert!((500_000..=2_000_000).contains(&all), "100 entries of 10,000 bytes are reported as {all}");
    assert!(bytes(6, 56) < all, "half of the log is smaller than all of it");
    assert_eq!(bytes(50, 50), 0);
    assert_eq!(bytes(200, 300), 0);
    assert_eq!(log.approximate_bytes(RegionId(2), LogIndex(6), LogIndex(106)).unwrap(), 0);
}

fn statistics(log: &dyn LogEngine) {
    let before = log.statistics();
    write(log, vec![append(1, 10, vec![entry_with(6, 5, vec![b'x'; 1_000])])]);
    write(log, vec![append(1, 10, vec![entry_with(7, 5, vec![b'x'; 1_000])])]);
    let after = log.statistics();
    assert_eq!(after.syncs - before.syncs, 2, "each synced write waits for the disk once");
    assert!(after.bytes_written - before.bytes_written >= 2_000);
}

fn empty_batch(log: &dyn LogEngine) {
    write(log, Vec::new());
    assert_eq!(log.regions().unwrap(), []);
}
