//! However entries are grouped into rounds, and wherever a crash falls between two batches, content and answers are
//! those of executing one command after the other.

use bytes::Bytes;
use engine::StateOp;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use proto::log::{Command, EntryBatch, Operation};
use types::{ColumnFamily, CommandOutput, KeyRange};

use super::*;
use crate::build::{batch, compare_and_swap, delete, delete_range, put};
use crate::testing::*;

const FIRST: u64 = 6;

/// One entry of the log that a case applies.
#[derive(Clone, Debug)]
enum Step {
    Commands(Vec<Command>),
    OtherVersion(Vec<Command>),
    NewLeader,
    /// Compacts up to this many entries before itself.
    Compact(u64),
}

impl Step {
    fn entry(&self, index: u64) -> Entry {
        match self {
            Self::Commands(commands) => entry(index, commands.clone()),
            Self::OtherVersion(commands) => {
                let (region_version, commands) = (VERSION + 1, commands.clone());
                batch_entry(index, &EntryBatch { version: 1, region_version, commands, admin: None })
            }
            Self::NewLeader => raw_entry(index, ""),
            Self::Compact(back) => {
                let up_to = index.saturating_sub(*back).max(FIRST - 1);
                compact_entry(index, up_to, if up_to < FIRST { 5 } else { TERM })
            }
        }
    }

    fn commands(&self) -> &[Command] {
        match self {
            Self::Commands(commands) | Self::OtherVersion(commands) => commands,
            Self::NewLeader | Self::Compact(_) => &[],
        }
    }
}

/// Few keys and values, so that commands meet each other; `a` and `z` lie outside of the region.
fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["b", "c", "cc", "d", "e", "f", "x", "a", "z"]).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2"]).prop_map(Bytes::from)
}

fn family() -> impl Strategy<Value = ColumnFamily> {
    prop_oneof![4 => Just(ColumnFamily::Default), 1 => Just(ColumnFamily::Write)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let bound = prop_oneof![4 => key(), 1 => Just(Bytes::from("y")), 1 => Just(Bytes::new())];
    prop_oneof![
        12 => (family(), key(), value()).prop_map(|(family, key, value)| put(family, key, value)),
        4 => (family(), key()).prop_map(|(family, key)| delete(family, key)),
        4 => (family(), key(), bound)
            .prop_map(|(family, start, end)| delete_range(family, KeyRange { start, end })),
        1 => Just(Operation::default()),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let swap = (family(), key(), prop::option::of(value()), prop::option::of(value()));
    prop_oneof![
        5 => prop::collection::vec(operation(), 0..4).prop_map(batch),
        5 => swap.prop_map(|(family, key, expected, value)| compare_and_swap(family, key, expected, value)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let commands = || prop::collection::vec(command(), 1..6);
    prop_oneof![
        12 => commands().prop_map(Step::Commands),
        1 => commands().prop_map(Step::OtherVersion),
        1 => Just(Step::NewLeader),
        2 => (1_u64..5).prop_map(Step::Compact),
    ]
}

/// What applying gave: all answers in order, and the engine.
struct Run {
    answers: Vec<WriteResult>,
    engine: Arc<CutEngine>,
}

/// Applies what the engine has not applied yet; a round ends behind each entry for which `ends` says so.
fn run(engine: CutEngine, steps: &[Step], ends: &dyn Fn(usize) -> bool) -> Run {
    let engine = Arc::new(engine);
    let mut applier = applier();
    applier.apply_state = engine.apply_state().unwrap_or(applier.apply_state);
    let done = (applier.apply_state.applied.0 + 1 - FIRST) as usize;
    let mut round = ApplyRound::new(engine.clone(), WRITER, Round(0));
    let (collected, mut answers) = (Answers::default(), Vec::new());
    let mut finish = |round: &mut ApplyRound| {
        let outcome = round.finish().unwrap();
        answers.extend(outcome.answers.into_iter().map(|(_, answer)| answer));
    };
    for (number, step) in steps.iter().enumerate().skip(done) {
        let index = FIRST + number as u64;
        let waiting = vec![(index, collected.responders(0..step.commands().len()))];
        round.apply(&mut applier, task(vec![step.entry(index)], waiting)).unwrap();
        if ends(number) {
            finish(&mut round);
        }
    }
    finish(&mut round);
    assert_eq!(engine.apply_state().unwrap_or(crate::testing::applier().apply_state), applier.apply_state);
    Run { answers, engine }
}

/// The plainest reading of the rules: one command after the other on a map, changed only when nothing was refused.
#[derive(Default)]
struct Model {
    content: Keys,
    answers: Vec<WriteResult>,
}

impl Model {
    fn of(steps: &[Step]) -> Self {
        let mut model = Self::default();
        for step in steps {
            for command in step.commands() {
                let answer = match step {
                    Step::Commands(_) => model.execute(command),
                    _ => Err(RequestError::EpochNotMatch { region: REGION, current: vec![descriptor()] }),
                };
                model.answers.push(answer);
            }
        }
        model
    }

    fn execute(&mut self, command: &Command) -> WriteResult {
        match command.kind.clone().unwrap() {
            proto::log::command::Kind::Write(write) => {
                let invalid = |reason: &str| Err(RequestError::Invalid { reason: reason.to_owned() });
                if write.operations.is_empty() {
                    return invalid("the write batch has no operation");
                }
                let mut next = self.content.clone();
                for operation in write.operations {
                    match operation.kind {
                        None => return invalid("an operation is empty: it must put, delete or delete a range"),
                        Some(kind) => Self::change(&mut next, kind)?,
                    }
                }
                self.content = next;
                Ok(CommandOutput::Written)
            }
            proto::log::command::Kind::CompareAndSwap(swap) => {
                Self::own(&swap.key)?;
                let at = Self::at(swap.column_family, &swap.key);
                let previous = self.content.get(&at).cloned();
                let swapped = previous == swap.expected;
                match swap.value {
                    Some(value) if swapped => drop(self.content.insert(at, value)),
                    None if swapped => drop(self.content.remove(&at)),
                    _ => {}
                }
                Ok(CommandOutput::Compared { swapped, previous })
            }
        }
    }

    fn change(content: &mut Keys, kind: proto::log::operation::Kind) -> Result<(), RequestError> {
        use proto::log::operation::Kind;
        match kind {
            Kind::Put(put) => {
                Self::own(&put.key)?;
                content.insert(Self::at(put.column_family, &put.key), put.value);
            }
            Kind::Delete(delete) => {
                Self::own(&delete.key)?;
                content.remove(&Self::at(delete.column_family, &delete.key));
            }
            Kind::DeleteRange(delete) => {
                let range = KeyRange { start: delete.start, end: delete.end };
                if !range.end.is_empty() && range.start > range.end {
                    let reason = format!("the delete-range {range} ends before it starts");
                    return Err(RequestError::Invalid { reason });
                }
                let end = if range.end.is_empty() { Bytes::from("y") } else { range.end };
                for bound in [&range.start, &end] {
                    if *bound != "y" {
                        Self::own(bound)?;
                    }
                }
                let (first, last) =
                    (Self::at(delete.column_family, &range.start), Self::at(delete.column_family, &end));
                content.retain(|at, _| *at < first || *at >= last);
            }
        }
        Ok(())
    }

    fn own(key: &Bytes) -> Result<(), RequestError> {
        let range = descriptor().range;
        if range.contains(key) {
            return Ok(());
        }
        Err(RequestError::KeyNotInRegion { key: key.clone(), region: REGION, range })
    }

    fn at(family: u32, key: &Bytes) -> (Family, Bytes) {
        (ColumnFamily::from_number(family).unwrap().into(), key.clone())
    }
}

fn user_data(engine: &CutEngine) -> Keys {
    engine.replicated().into_iter().filter(|((family, _), _)| *family != Family::Meta).collect()
}

proptest! {
    // A fixed seed: the same cases in every run, so that a verdict can be repeated.
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(3),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_grouping_and_any_crash_give_the_same(
        steps in prop::collection::vec(step(), 1..12),
        ends in prop::collection::vec(any::<bool>(), 12),
        ends_after_crash in prop::collection::vec(any::<bool>(), 12),
    ) {
        let model = Model::of(&steps);
        let whole = run(CutEngine::default(), &steps, &|_| false);
        prop_assert_eq!(&whole.answers, &model.answers);
        prop_assert_eq!(user_data(&whole.engine), model.content);

        let grouped = run(CutEngine::default(), &steps, &|number| ends[number]);
        prop_assert_eq!(&grouped.answers, &model.answers);
        prop_assert_eq!(grouped.engine.replicated(), whole.engine.replicated());

        for cut in 0..=grouped.engine.batches().len() {
            let again = run(grouped.engine.crashed(cut), &steps, &|number| ends_after_crash[number]);
            let first = model.answers.len() - again.answers.len();
            prop_assert_eq!(&again.answers, &model.answers[first..], "cut {}", cut);
            prop_assert_eq!(again.engine.replicated(), whole.engine.replicated(), "cut {}", cut);
        }
    }
}

/// The example of the crate's documentation.
#[test]
fn a_crash_between_any_two_batches_does_not_show_an_entry_its_own_effects() {
    let swap = |key: &'static str| compare_and_swap(ColumnFamily::Default, key, None, Some("1".into()));
    let steps = [Step::NewLeader, Step::Commands(vec![swap("c"), swap("d"), swap("c")])];
    let whole = run(CutEngine::default(), &steps, &|_| true);
    for cut in 0..=whole.engine.batches().len() {
        let again = run(whole.engine.crashed(cut), &steps, &|_| true);
        assert!(whole.answers.ends_with(&again.answers), "cut {cut}: {:?}", again.answers);
        assert_eq!(again.engine.replicated(), whole.engine.replicated());
    }
    let touched = |batch: &engine::StateBatch| {
        batch.ops().iter().filter(|op| matches!(op, StateOp::Put(Family::User(_), ..))).count()
    };
    assert_eq!(whole.engine.batches().iter().map(touched).collect::<Vec<_>>(), [0, 2], "an entry is never cut in two");
}
