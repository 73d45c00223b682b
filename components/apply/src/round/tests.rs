use bytes::Bytes;
use engine::memory::FaultPoint;
use engine::meta::apply_state_key;
use engine::{StateBatch, StateOp, StateRead as _};
use prost::Message as _;
use proto::log::{Command, EntryBatch, Operation, Put, operation};
use raft_proto::eraftpb::EntryType;
use types::ColumnFamily::{self, Default as Plain};
use types::{CommandOutput, ErrorCode, KeyRange};

use super::*;
use crate::build::{batch, compare_and_swap, delete, delete_range, put};
use crate::testing::*;
use crate::{MAX_BATCH_BYTES, MAX_BATCH_CHANGES};

/// An engine, a round on it, and a region.
struct Bench {
    engine: Arc<CutEngine>,
    round: ApplyRound,
    applier: RegionApplier,
    answers: Answers,
}

impl Bench {
    fn new() -> Self {
        Self::on(CutEngine::default())
    }

    fn on(engine: CutEngine) -> Self {
        let engine = Arc::new(engine);
        let round = ApplyRound::new(engine.clone(), WRITER, Round(0));
        Self { engine, round, applier: applier(), answers: Answers::default() }
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), ApplyError> {
        self.round.apply(&mut self.applier, task(entries, vec![]))
    }

    /// Applies the commands as one entry, somebody waiting for each.
    fn apply_commands(&mut self, index: u64, commands: Vec<Command>) {
        let waiting = vec![(index, self.answers.responders(0..commands.len()))];
        self.round.apply(&mut self.applier, task(vec![entry(index, commands)], waiting)).unwrap();
    }

    fn finish(&mut self) -> RoundOutcome {
        self.round.finish().unwrap()
    }

    /// Applies one entry in a round of its own; returns the answers to its commands.
    fn answers_to(&mut self, commands: Vec<Command>) -> Vec<WriteResult> {
        let index = self.applier.apply_state.applied.next().0;
        self.apply_commands(index, commands);
        self.finish().answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

fn put_one(key: &'static str, value: &'static str) -> Command {
    batch(vec![put(Plain, key, value)])
}

fn swap(key: &'static str, expected: Option<&'static str>, value: Option<&'static str>) -> Command {
    compare_and_swap(Plain, key, expected.map(Bytes::from), value.map(Bytes::from))
}

fn compared(swapped: bool, previous: Option<&'static str>) -> WriteResult {
    Ok(CommandOutput::Compared { swapped, previous: previous.map(Bytes::from) })
}

fn written() -> WriteResult {
    Ok(CommandOutput::Written)
}

fn not_in_region(key: &'static str) -> WriteResult {
    Err(RequestError::KeyNotInRegion { key: key.into(), region: REGION, range: descriptor().range })
}

fn is_invalid(answer: &WriteResult) -> bool {
    matches!(answer, Err(RequestError::Invalid { .. }))
}

#[test]
fn data_apply_state_and_round_are_one_batch() {
    let mut bench = Bench::new();
    bench.apply(vec![raw_entry(6, ""), entry(7, vec![put_one("c", "1")])]).unwrap();
    assert!(bench.engine.batches().is_empty());
    let outcome = bench.finish();

    let [only] = &bench.engine.batches()[..] else { panic!("one batch for the whole round") };
    let mut expected = StateBatch::default();
    expected.put(Plain, "c", "1");
    expected.put(Family::Meta, apply_state_key(REGION), bench.applier.apply_state.encode());
    expected.set_round(WRITER, Round(1));
    assert_eq!(only, &expected);
    assert_eq!(bench.engine.apply_state(), Some(bench.applier.apply_state));
    let [applied] = &outcome.applied[..] else { panic!("one region was applied") };
    assert_eq!((applied.region, applied.generation), (REGION, Generation(1)));
    assert_eq!((applied.apply_state, applied.changes.len()), (bench.applier.apply_state, 0));
    assert_eq!((outcome.round, outcome.commands, outcome.bytes), (Round(1), 1, only.bytes() as u64));
}

#[test]
fn a_round_is_empty_after_its_end_and_goes_on_counting() {
    let mut bench = Bench::new();
    assert_eq!(bench.finish().round, Round(0));
    bench.apply_commands(6, vec![put_one("c", "1")]);
    assert_eq!(bench.finish().answers.len(), 1);
    let nothing = bench.finish();
    assert_eq!((nothing.round, nothing.bytes, nothing.commands), (Round(1), 0, 0));
    assert!(nothing.answers.is_empty() && nothing.applied.is_empty());
    bench.apply(vec![raw_entry(7, "")]).unwrap();
    assert_eq!(bench.finish().round, Round(2));
    assert_eq!(bench.engine.batches().len(), 2);
    assert_eq!(bench.engine.persisted_round(WRITER).unwrap(), Round(0));
    bench.engine.flush().unwrap();
    assert_eq!(bench.engine.persisted_round(WRITER).unwrap(), Round(2), "the count rides in the batch");
}

#[test]
fn a_region_with_two_tasks_reports_once() {
    let mut bench = Bench::new();
    bench.apply(vec![raw_entry(6, "")]).unwrap();
    bench.apply(vec![raw_entry(7, "")]).unwrap();
    let outcome = bench.finish();
    assert_eq!(outcome.applied.len(), 1);
    assert_eq!(outcome.applied[0].apply_state.applied, LogIndex(7));
}

#[test]
fn what_users_write_is_counted_for_their_region() {
    let mut bench = Bench::new();
    bench.apply_commands(6, vec![put_one("key1", "value"), put_one("zebra", "outside"), swap("key1", None, None)]);
    bench.apply_commands(
        7,
        vec![batch(vec![delete(Plain, "key1"), delete_range(Plain, KeyRange::new("key2", "key4"))])],
    );
    let outcome = bench.finish();
    let expected = Written { keys: 3, bytes: (4 + 5) + 4 + (4 + 4) };
    assert_eq!(outcome.written.into_iter().collect::<Vec<_>>(), [(REGION, expected)], "what was refused wrote nothing");
    assert!(bench.finish().written.is_empty(), "a round counts its own");
}

#[test]
fn two_regions_share_a_batch() {
    let mut bench = Bench::new();
    let other = RegionDescriptor { id: 8.into(), range: KeyRange::new("y", ""), ..descriptor() };
    let mut neighbour = RegionApplier { descriptor: Arc::new(other), ..applier() };
    bench.apply(vec![entry(6, vec![put_one("c", "1")])]).unwrap();
    let theirs = ApplyTask { region: 8.into(), ..task(vec![entry(6, vec![put_one("z", "2")])], vec![]) };
    bench.round.apply(&mut neighbour, theirs).unwrap();
    let outcome = bench.finish();
    assert_eq!(outcome.applied.iter().map(|applied| applied.region.0).collect::<Vec<_>>(), [7, 8]);
    assert_eq!(bench.engine.batches().len(), 1);
    assert_eq!((bench.engine.value("c"), bench.engine.value("z")), (Some("1".into()), Some("2".into())));
}

#[test]
fn operations_of_all_kinds_and_families() {
    let mut bench = Bench::new();
    let all = batch(vec![
        put(Plain, "c", "1"),
        put(Plain, "d", "2"),
        put(ColumnFamily::Lock, "c", "locked"),
        delete(Plain, "c"),
        put(Plain, "e", "3"),
        delete_range(Plain, KeyRange::new("d", "e")),
    ]);
    assert_eq!(bench.answers_to(vec![all]), [written()]);
    assert_eq!(
        [bench.engine.value("c"), bench.engine.value("d"), bench.engine.value("e")],
        [None, None, Some("3".into())]
    );
    assert_eq!(bench.engine.get(ColumnFamily::Lock.into(), b"c").unwrap(), Some("locked".into()));
}

#[test]
fn a_refused_command_leaves_no_trace() {
    let mut bench = Bench::new();
    let torn = batch(vec![put(Plain, "c", "1"), delete_range(Plain, KeyRange::new("b", "x")), put(Plain, "z", "2")]);
    let answers = bench.answers_to(vec![put_one("d", "4"), torn, swap("c", None, Some("5"))]);
    assert_eq!(answers, [written(), not_in_region("z"), compared(true, None)]);
    assert_eq!([bench.engine.value("d"), bench.engine.value("c")], [Some("4".into()), Some("5".into())]);
}

#[test]
fn keys_outside_of_the_region_are_refused() {
    let mut bench = Bench::new();
    for key in ["a", "y", "z"] {
        let answers = bench.answers_to(vec![put_one(key, "1"), batch(vec![delete(Plain, key)]), swap(key, None, None)]);
        assert_eq!(answers, [not_in_region(key), not_in_region(key), not_in_region(key)]);
    }
    assert_eq!(bench.answers_to(vec![put_one("b", "1"), put_one("xzz", "1")]), [written(), written()]);
}

#[test]
fn delete_range_keeps_to_the_region() {
    let mut bench = Bench::new();
    let range = |start, end| batch(vec![delete_range(Plain, KeyRange::new(start, end))]);
    assert_eq!(
        bench.answers_to(vec![range("a", "c"), range("c", "z"), range("z", ""), range("", "")]),
        [not_in_region("a"), not_in_region("z"), not_in_region("z"), not_in_region("")]
    );
    assert!(bench.answers_to(vec![range("d", "c")]).iter().all(is_invalid));
    bench.answers_to(vec![put_one("c", "1"), put_one("x", "2")]);
    assert_eq!(
        bench.answers_to(vec![range("b", "b"), range("y", "y"), range("y", "")]),
        [written(), written(), written()]
    );
    assert!(bench.engine.value("c").is_some() && bench.engine.value("x").is_some());
    assert_eq!(bench.answers_to(vec![range("d", "")]), [written()]);
    assert!(bench.engine.value("c").is_some() && bench.engine.value("x").is_none());
    let ops = bench.engine.batches().last().unwrap().ops()[0].clone();
    assert_eq!(ops, StateOp::DeleteRange(Plain.into(), KeyRange::new("d", "y")), "an empty end is the region's");
    assert_eq!(bench.answers_to(vec![range("b", "y")]), [written()]);
    assert!(bench.engine.value("c").is_none());
}

#[test]
fn malformed_commands_are_answered() {
    let mut bench = Bench::new();
    let family_nine = Operation { kind: Some(operation::Kind::Put(Put { column_family: 9, ..Put::default() })) };
    let mut swap_nine = swap("c", None, Some("1"));
    if let Some(proto::log::command::Kind::CompareAndSwap(swap)) = &mut swap_nine.kind {
        swap.column_family = 3;
    }
    let malformed = vec![
        Command::default(),
        batch(vec![]),
        batch(vec![put(Plain, "c", "1"), Operation::default()]),
        batch(vec![put(Plain, "c", "1"), family_nine]),
        swap_nine,
    ];
    let answers = bench.answers_to(malformed);
    assert!(answers.len() == 5 && answers.iter().all(is_invalid), "{answers:?}");
    assert_eq!(bench.engine.value("c"), None);
}

#[test]
fn compare_and_swap_reads_what_came_just_before() {
    let mut bench = Bench::new();
    bench.answers_to(vec![put_one("e", "engine")]);
    let commands = vec![
        swap("c", None, Some("1")),
        swap("c", None, Some("2")),
        swap("c", Some("1"), Some("3")),
        put_one("c", "4"),
        swap("c", Some("4"), None),
        swap("c", Some("4"), Some("5")),
        swap("e", Some("engine"), Some("6")),
        batch(vec![delete_range(Plain, KeyRange::new("d", "f"))]),
        swap("e", None, Some("7")),
        swap("e", Some("7"), Some("7")),
    ];
    let answers = bench.answers_to(commands);
    let expected = [
        compared(true, None),
        compared(false, Some("1")),
        compared(true, Some("1")),
        written(),
        compared(true, Some("4")),
        compared(false, None),
        compared(true, Some("engine")),
        written(),
        compared(true, None),
        compared(true, Some("7")),
    ];
    assert_eq!(answers, expected);
    assert_eq!([bench.engine.value("c"), bench.engine.value("e")], [None, Some("7".into())]);
    assert_eq!(bench.engine.batches().len(), 2, "nothing is written early in order to be read");
}

#[test]
fn compare_and_swap_tells_empty_from_absent() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.answers_to(vec![swap("c", Some(""), Some("1")), swap("c", None, Some("")), swap("c", Some(""), None)]),
        [compared(false, None), compared(true, None), compared(true, Some(""))]
    );
}

#[test]
fn another_region_version_refuses_everything() {
    let mut bench = Bench::new();
    for region_version in [VERSION - 1, VERSION + 1] {
        let index = bench.applier.apply_state.applied.next().0;
        let commands = vec![put_one("c", "1"), swap("c", None, Some("1"))];
        let batch = EntryBatch { version: 1, region_version, commands, admin: None };
        let waiting = vec![(index, bench.answers.responders(0..2))];
        bench.round.apply(&mut bench.applier, task(vec![batch_entry(index, &batch)], waiting)).unwrap();
        let outcome = bench.finish();
        let refused = Err(RequestError::EpochNotMatch { region: REGION, current: vec![descriptor()] });
        assert_eq!(
            outcome.answers.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>(),
            [refused.clone(), refused]
        );
        assert_eq!(outcome.commands, 0);
    }
    assert_eq!(bench.engine.value("c"), None);
    assert_eq!(bench.engine.apply_state().unwrap().applied, LogIndex(7));
}

#[test]
fn each_answer_reaches_its_own_responder_once() {
    let mut bench = Bench::new();
    let waiting = vec![(6, bench.answers.responders(0..2)), (8, bench.answers.responders(2..3))];
    let entries = vec![
        entry(6, vec![put_one("c", "1"), put_one("z", "1")]),
        entry(7, vec![put_one("c", "2")]),
        entry(8, vec![swap("c", Some("2"), None)]),
    ];
    bench.round.apply(&mut bench.applier, task(entries, waiting)).unwrap();
    assert_eq!(bench.answers.taken(), [], "no answer before the write");
    let outcome = bench.finish();
    assert_eq!(outcome.commands, 3);
    assert_eq!(bench.answers.taken(), [], "the driver gives the answers");
    outcome.answers.into_iter().for_each(|(responder, answer)| responder.respond(answer));
    assert_eq!(bench.answers.taken(), [(0, written()), (1, not_in_region("z")), (2, compared(true, Some("2")))]);
}

#[test]
#[should_panic(expected = "1 wait for 2 commands")]
fn too_few_responders_are_a_bug() {
    let mut bench = Bench::new();
    let waiting = vec![(6, bench.answers.responders(0..1))];
    let two = entry(6, vec![put_one("c", "1"), put_one("c", "2")]);
    let _ = bench.round.apply(&mut bench.applier, task(vec![two], waiting));
}

#[test]
#[should_panic(expected = "1 wait for 0 commands")]
fn nobody_waits_for_a_leaders_empty_entry() {
    let mut bench = Bench::new();
    let waiting = vec![(6, bench.answers.responders(0..1))];
    let _ = bench.round.apply(&mut bench.applier, task(vec![raw_entry(6, "")], waiting));
}

#[test]
#[should_panic(expected = "someone waits for entry Some(9)")]
fn waiting_for_an_entry_that_did_not_come_is_a_bug() {
    let mut bench = Bench::new();
    let waiting = vec![(9, bench.answers.responders(0..1))];
    let _ = bench.round.apply(&mut bench.applier, task(vec![entry(6, vec![put_one("c", "1")])], waiting));
}

#[test]
#[should_panic(expected = "another region's applier")]
fn a_task_of_another_region_is_a_bug() {
    let mut bench = Bench::new();
    let foreign = ApplyTask { region: 8.into(), ..task(vec![], vec![]) };
    let _ = bench.round.apply(&mut bench.applier, foreign);
}

#[test]
fn entries_come_without_gap_or_repetition() {
    for index in [1, 5, 7, 100] {
        let error = Bench::new().apply(vec![raw_entry(index, "")]).unwrap_err();
        assert!(matches!(error, ApplyError::Gap { expected: LogIndex(6), got, .. } if got.0 == index), "{error}");
    }
    let error = Bench::new().apply(vec![raw_entry(6, ""), raw_entry(8, "")]).unwrap_err();
    assert_eq!(error.to_string(), "region 7: entry 8 came to be applied where 7 must come: the log has a gap");
    let error = Bench::new().apply(vec![raw_entry(6, ""), Entry { term: TERM - 1, ..raw_entry(7, "") }]).unwrap_err();
    assert!(matches!(error, ApplyError::Entry { index: LogIndex(7), .. }), "{error}");
}

#[test]
fn what_is_not_known_is_not_applied() {
    let version = |version| EntryBatch { version, region_version: VERSION, ..EntryBatch::default() };
    let admin = Some(proto::log::Admin::default());
    let epoch = descriptor().epoch;
    let split = admin_entry(6, epoch, proto::log::admin::Kind::Split(proto::log::Split::default()));
    let old_split = EntryBatch { version: 1, ..EntryBatch::decode(&split.data[..]).unwrap() };
    let members = members_entry(6, epoch, &[]);
    let unknown = [
        raw_entry(6, "\u{ff}garbage"),
        batch_entry(6, &version(0)),
        batch_entry(6, &version(3)),
        batch_entry(6, &EntryBatch { admin: admin.clone(), ..version(1) }),
        batch_entry(6, &EntryBatch { admin, commands: vec![put_one("c", "1")], ..version(1) }),
        // Forgetting itself, what follows, or under a term that cannot be.
        compact_entry(6, 6, TERM),
        compact_entry(6, 7, TERM),
        // Without its mark, with one that it must not have, and of a version that had no splits.
        Entry { context: Bytes::new(), ..split.clone() },
        Entry { context: split.context.clone(), ..entry(6, vec![put_one("c", "1")]) },
        Entry { data: old_split.encode_to_vec().into(), ..split },
        Entry { context: Bytes::new(), ..members.clone() },
        Entry { context: Bytes::from_static(b"\x08\x03"), ..members.clone() },
        Entry { context: Bytes::from_static(b"\x08\x02\x22\x02\x08\x07"), ..members },
    ];
    for entry in unknown {
        let mut bench = Bench::new();
        let error = bench.apply(vec![entry]).unwrap_err();
        assert!(matches!(error, ApplyError::Entry { index: LogIndex(6), .. }), "{error}");
        assert_eq!(error.code(), ErrorCode("RY-APPLY-002"));
        assert!(bench.engine.batches().is_empty());
    }
    let first = Entry { entry_type: EntryType::EntryConfChange, ..raw_entry(6, "x") };
    let error = Bench::new().apply(vec![first]).unwrap_err();
    assert!(matches!(error, ApplyError::UnsupportedEntry { .. }), "{error}");
}

#[test]
fn log_compaction() {
    let mut bench = Bench::new();
    bench.apply((6..=9).map(|index| raw_entry(index, "")).collect()).unwrap();
    bench.finish();
    bench.apply(vec![compact_entry(10, 8, TERM), compact_entry(11, 7, TERM), compact_entry(12, 8, TERM)]).unwrap();
    let outcome = bench.finish();
    let truncation =
        Truncation { region: REGION, peer: 71.into(), truncated: 8.into(), writer: WRITER, round: Round(2) };
    assert_eq!(outcome.truncations, [truncation], "one behind it is ignored");
    assert_eq!(outcome.round, Round(2));
    let expected =
        ApplyState { applied: 12.into(), applied_term: TERM.into(), truncated: 8.into(), truncated_term: TERM.into() };
    assert_eq!((bench.applier.apply_state, bench.engine.apply_state()), (expected, Some(expected)));
    for term in [0, TERM - 1, TERM + 1] {
        let mut bench = Bench { applier: bench.applier.clone(), ..Bench::new() };
        let error = bench.apply(vec![compact_entry(13, 9, term)]).unwrap_err();
        assert!(matches!(error, ApplyError::Entry { .. }), "{error}");
    }
}

#[test]
fn log_compaction_holds_for_any_epoch() {
    let mut bench = Bench::new();
    let descriptor = RegionDescriptor { epoch: types::RegionEpoch { conf_ver: 9, version: 9 }, ..descriptor() };
    bench.applier.descriptor = Arc::new(descriptor);
    bench.apply(vec![raw_entry(6, ""), compact_entry(7, 6, TERM)]).unwrap();
    assert_eq!(bench.finish().truncations.len(), 1);
}

#[test]
fn a_large_round_is_written_between_entries() {
    let mut bench = Bench::new();
    let value = Bytes::from(vec![b'v'; MAX_BATCH_BYTES / 4]);
    let two = || vec![batch(vec![put(Plain, "c", value.clone())]), batch(vec![put(Plain, "d", value.clone())])];
    let waiting = (6..=8).map(|index| (index, bench.answers.responders(0..2))).collect();
    let entries = (6..=8).map(|index| entry(index, two())).chain([compact_entry(9, 8, TERM)]).collect();
    bench.round.apply(&mut bench.applier, task(entries, waiting)).unwrap();

    let [early] = &bench.engine.batches()[..] else { panic!("two entries fill a batch") };
    assert_eq!(early.ops().len(), 6, "two entries, the apply state, the round");
    assert_eq!(bench.engine.apply_state().unwrap().applied, LogIndex(7));
    let outcome = bench.finish();
    assert_eq!((outcome.round, outcome.answers.len(), outcome.commands), (Round(2), 6, 6));
    assert_eq!(outcome.truncations[0].round, Round(2), "the batch that it rides in");
    let bytes: usize = bench.engine.batches().iter().map(StateBatch::bytes).sum();
    assert_eq!(outcome.bytes, bytes as u64);
    assert_eq!(bench.engine.apply_state(), Some(bench.applier.apply_state));
}

#[test]
fn an_early_write_holds_every_regions_apply_state_once() {
    let mut bench = Bench::new();
    let mut neighbour = applier();
    neighbour.descriptor = Arc::new(RegionDescriptor { id: 8.into(), ..descriptor() });
    let theirs = ApplyTask { region: 8.into(), ..task(vec![raw_entry(6, "")], vec![]) };
    bench.round.apply(&mut neighbour, theirs).unwrap();
    bench
        .apply(vec![entry(6, vec![batch(vec![put(Plain, "c", vec![0; MAX_BATCH_BYTES])])]), raw_entry(7, "")])
        .unwrap();
    bench.finish();
    let batches = bench.engine.batches();
    let count = |batch: &StateBatch, region: u64| {
        let key = apply_state_key(RegionId(region));
        batch.ops().iter().filter(|op| matches!(op, StateOp::Put(_, k, _) if *k == key)).count()
    };
    assert_eq!([count(&batches[0], 7), count(&batches[0], 8)], [1, 1]);
    assert_eq!([count(&batches[1], 7), count(&batches[1], 8)], [1, 0]);
}

#[test]
fn many_small_changes_fill_a_batch_too() {
    let mut bench = Bench::new();
    let many = vec![batch(vec![delete(Plain, "c"); MAX_BATCH_CHANGES])];
    bench.apply(vec![entry(6, many), raw_entry(7, "")]).unwrap();
    assert_eq!(bench.engine.batches().len(), 1);
}

#[test]
fn a_failed_write_leaves_every_answer_unknown() {
    let mut bench = Bench::on(CutEngine::failing(FaultPoint::StateWrite));
    bench.apply_commands(6, vec![put_one("c", "1"), put_one("z", "1")]);
    let error = bench.round.finish().unwrap_err();
    assert!(matches!(error, ApplyError::Engine(_)), "{error}");
    let answers = bench.answers.taken();
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Err(RequestError::Undetermined { .. }))));
}

#[test]
fn a_failed_read_stops_the_round() {
    let mut bench = Bench::on(CutEngine::failing(FaultPoint::StateRead));
    let waiting = vec![(6, bench.answers.responders(0..2))];
    let commands = vec![put_one("c", "1"), swap("d", None, Some("1"))];
    let error = bench.round.apply(&mut bench.applier, task(vec![entry(6, commands)], waiting)).unwrap_err();
    assert!(matches!(error, ApplyError::Engine(_)), "{error}");
    assert_eq!(bench.answers.taken().len(), 2);
    assert_eq!(bench.applier.apply_state, applier().apply_state);
    assert!(bench.engine.batches().is_empty());
}

#[test]
fn an_error_leaves_every_answer_unknown() {
    let mut bench = Bench::new();
    bench.apply_commands(6, vec![put_one("c", "1")]);
    let waiting = vec![(9, bench.answers.responders(1..2))];
    bench.round.apply(&mut bench.applier, task(vec![raw_entry(9, "")], waiting)).unwrap_err();
    let answers = bench.answers.taken();
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Err(RequestError::Undetermined { .. }))));
}

#[test]
#[should_panic(expected = "after it had failed")]
fn a_failed_round_is_not_used_again() {
    let mut bench = Bench::new();
    bench.apply(vec![raw_entry(9, "")]).unwrap_err();
    let _ = bench.round.finish();
}

#[test]
fn keys_and_values_are_slices_of_the_entry() {
    let mut bench = Bench::new();
    let entry = entry(6, vec![batch(vec![put(Plain, "some key", "some value")])]);
    let buffer = entry.data.as_ptr_range();
    bench.apply(vec![entry.clone()]).unwrap();
    bench.finish();
    let batch = &bench.engine.batches()[0];
    let StateOp::Put(_, key, value) = &batch.ops()[0] else { panic!("a put") };
    assert!(buffer.contains(&key.as_ptr()) && buffer.contains(&value.as_ptr()), "no copy is made");
}
