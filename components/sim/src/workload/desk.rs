//! What all clients share: the history that they write, the calls that are open, and what is there to do.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;

use bytes::Bytes;
use types::seed::Rng;
use types::{ColumnFamily, CommandOutput, Instant, KeyRange, RequestError};

use super::WorkloadConfig;
use super::layout::Layout;
use super::report::Tally;
use super::task::{Chore, Task};
use super::value::Values;
use crate::call::{Call, CallId, ClientId, Pair, RegionReply, Reply, Wires};
use crate::check::Violation;
use crate::check::answers::Answers;
use crate::check::linearizability::Verdict;
use crate::check::timestamps::HandedOut;
use crate::history::{
    Action, History, Moment, Operation, OperationId, Outcome, Register, RegisterId, RegisterKind, Snapshot,
};

/// How often a client draws before it makes do with a timestamp.
const MAX_DRAWS: u32 = 16;

/// The most values that snapshots may hold before they are checked and forgotten.
const MAX_SNAPSHOT_VALUES: usize = 1 << 20;

/// What the clients are to do when they have finished what they are at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whatever they like.
    Work,
    /// Errands, until there are none left.
    Errands,
    /// Nothing.
    Rest,
}

/// Something that must be done, sooner or later.
#[derive(Clone, Debug)]
pub struct Errand {
    /// What.
    pub task: Task,
    /// What it probes, if it does.
    pub probe: Option<Probed>,
}

/// A range that is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Probes are counted: those who come back from an older one say nothing about this one.
    pub round: u64,
    /// The range's place in the list.
    pub place: usize,
}

/// What is remembered of an open call.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Who made it.
    pub client: ClientId,
    /// When.
    pub begin: Moment,
    /// What for.
    pub purpose: Purpose,
}

/// What a call is for, as far as its answer matters to those who no longer wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To learn something.
    Read,
    /// To change something.
    Write(OperationId),
    /// Timestamps.
    Timestamps(u32),
    /// Ids.
    Ids(u32),
}

/// What all clients share.
#[derive(Debug)]
pub struct Desk {
    pub config: WorkloadConfig,
    pub history: History,
    pub layout: Layout,
    pub values: Values,
    pub mode: Mode,
    pub errands: VecDeque<Errand>,
    /// How many probes there were.
    pub probe_round: u64,
    /// The ranges of the newest, each with why it is silent if it is.
    pub probed: Vec<(KeyRange, Option<String>)>,
    pub tally: Tally,
    answers: Answers<Pending>,
    timestamps: HandedOut,
    ids: HandedOut,
    /// The first thing that was found wrong.
    found: Option<Violation>,
}

impl Desk {
    pub fn new(config: WorkloadConfig) -> Self {
        let mut history = History::default();
        let layout = Layout::new(&config, &mut history);
        let values = Values::new(config.large_values_one_in);
        Self {
            config,
            history,
            layout,
            values,
            mode: Mode::Work,
            errands: VecDeque::new(),
            probe_round: 0,
            probed: Vec::new(),
            tally: Tally::default(),
            answers: Answers::default(),
            timestamps: HandedOut::new("timestamps"),
            ids: HandedOut::new("ids"),
            found: None,
        }
    }

    /// The first thing that was found wrong.
    pub fn found(&self) -> Option<&Violation> {
        self.found.as_ref()
    }

    /// Remembers the first thing that was found wrong.
    pub fn note(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.found.get_or_insert(violation);
        }
    }

    fn wrong(&mut self, checker: &'static str, what: String) {
        self.note(Err(Violation { checker, what }));
    }

    /// Makes a call.
    pub fn call(&mut self, pending: Pending, call: Call, wires: &mut dyn Wires) -> CallId {
        let (id, forgotten) = self.answers.asked(pending);
        if let Some(forgotten) = forgotten {
            self.timestamps.forgotten(forgotten);
            self.ids.forgotten(forgotten);
        }
        match pending.purpose {
            Purpose::Timestamps(_) => self.timestamps.asked(id),
            Purpose::Ids(_) => self.ids.asked(id),
            Purpose::Read | Purpose::Write(_) => {}
        }
        wires.call(id, call);
        id
    }

    /// An answer came; what was remembered of its call.
    pub fn answered(&mut self, id: CallId) -> Option<Pending> {
        let answered = self.answers.answered(id);
        answered.unwrap_or_else(|violation| {
            self.note(Err(violation));
            None
        })
    }

    /// The coordinator handed something out.
    pub fn handed_out(&mut self, id: CallId, pending: &Pending, reply: &Reply, now: Instant) {
        let moments = (pending.begin, self.history.moment(now));
        let result = match (pending.purpose, reply) {
            (Purpose::Timestamps(count), Reply::Timestamps(largest)) => {
                self.tally.timestamps += u64::from(count);
                self.timestamps.answered(id, pending.client, (count, largest.get()), moments)
            }
            (Purpose::Ids(count), Reply::Ids(largest)) => {
                self.tally.ids += u64::from(count);
                self.ids.answered(id, pending.client, (count, *largest), moments)
            }
            (Purpose::Timestamps(_), Reply::Refused(_)) => return self.timestamps.forgotten(id),
            (Purpose::Ids(_), Reply::Refused(_)) => return self.ids.forgotten(id),
            _ => return self.wrong_kind(id, reply),
        };
        self.note(result);
    }

    /// An answer does not fit its call.
    pub fn wrong_kind(&mut self, id: CallId, reply: &impl std::fmt::Debug) {
        self.wrong("answers", format!("call {} got an answer of another kind: {reply:?}", id.0));
    }

    /// A write was answered. `is_over` says that its client does not try again, whatever the answer.
    ///
    /// Returns whether it took effect; a swap that found something else did.
    pub fn written(
        &mut self,
        id: OperationId,
        reply: Result<&CommandOutput, &RequestError>,
        is_over: bool,
        now: Instant,
    ) -> bool {
        let end = self.history.moment(now);
        let output = match reply {
            Ok(output) => output,
            Err(RequestError::Undetermined { .. }) => {
                self.tally.unknown_writes += 1;
                return false;
            }
            Err(_) if is_over => {
                self.tally.refused_writes += 1;
                self.history.end(id, Outcome::Refused);
                return false;
            }
            Err(_) => return false,
        };
        self.tally.acknowledged_writes += 1;
        match (output, self.history.action(id)) {
            (CommandOutput::Written, Some(Action::Write(_))) | (_, None) => self.history.end(id, Outcome::Known(end)),
            (CommandOutput::Compared { swapped, previous }, Some(Action::Swap { from, .. })) => {
                let from = *from;
                self.compared(id, from, *swapped, previous.as_ref(), end);
            }
            (output, Some(action)) => {
                let what = format!("{action:?} was answered with {output:?}");
                self.wrong("answers", what);
            }
        }
        true
    }

    fn compared(&mut self, id: OperationId, from: Option<u64>, swapped: bool, previous: Option<&Bytes>, end: Moment) {
        let register = id.register();
        let Some(previous) = self.decode(register, previous) else { return };
        if swapped != (previous == from) {
            let told = format!("{}: a swap that expected {from:?}", self.history.register(register));
            let said = if swapped { "swapped" } else { "not swapped" };
            return self.wrong("linearizability", format!("{told} found {previous:?} and said that it had {said}"));
        }
        if swapped {
            self.tally.swaps += 1;
            self.history.end(id, Outcome::Known(end));
        } else {
            self.history.end_compared(id, previous, end);
        }
    }

    /// A key of a register was read.
    pub fn read(
        &mut self,
        register: RegisterId,
        value: Option<&Bytes>,
        pending: &Pending,
        now: Instant,
    ) -> Option<Option<u64>> {
        let end = self.history.moment(now);
        let seen = self.decode(register, value)?;
        self.tally.reads += 1;
        self.push_read(register, seen, pending, end);
        Some(seen)
    }

    fn push_read(&mut self, register: RegisterId, seen: Option<u64>, pending: &Pending, end: Moment) {
        let outcome = Outcome::Known(end);
        let action = Action::Read(seen);
        self.history.push(register, Operation { client: pending.client, action, begin: pending.begin, outcome });
    }

    fn decode(&mut self, register: RegisterId, stored: Option<&Bytes>) -> Option<Option<u64>> {
        let Some(stored) = stored else { return Some(None) };
        match self.values.decode(self.history.register(register).kind, stored) {
            Ok(value) => Some(Some(value)),
            Err(error) => {
                let what = format!("{}: {error}", self.history.register(register));
                self.wrong("values", what);
                None
            }
        }
    }

    /// A range was read: all of its keys that are in `covered`, in one moment.
    pub fn scanned(
        &mut self,
        family: ColumnFamily,
        covered: &KeyRange,
        pairs: &[Pair],
        pending: &Pending,
        now: Instant,
    ) {
        let end = self.history.moment(now);
        self.tally.scans += 1;
        let in_order = pairs.is_sorted_by(|one, next| one.0 < next.0);
        if !in_order || pairs.iter().any(|(key, _)| !covered.contains(key)) {
            let keys: Vec<_> = pairs.iter().map(|(key, _)| key.escape_ascii().to_string()).collect();
            return self.wrong("scans", format!("a scan of {covered} gave these keys, in this order: {keys:?}"));
        }
        let mut stored: BTreeMap<&Bytes, &Bytes> = pairs.iter().map(|(key, value)| (key, value)).collect();
        let expected = self.history.keys_from(family, &covered.start);
        let expected = expected.take_while(|(key, _)| covered.is_below_end(key));
        let expected: Vec<_> = expected.map(|(key, owner)| (stored.remove(key), owner)).collect();
        if let Some(key) = stored.keys().next() {
            let key = key.escape_ascii();
            return self.wrong("scans", format!("a scan of {covered} in {family} gave {key}, which nobody wrote"));
        }
        let mut seen = Vec::new();
        for (stored, register) in expected {
            // What a retired register holds is nobody's business.
            let Some(register) = register else { continue };
            let Some(value) = self.decode(register, stored) else { return };
            match seen.last() {
                // The next key of the same group: a moment in which its keys differ never was.
                Some((last, other)) if *last == register => {
                    if *other != value {
                        let group = self.history.register(register).to_string();
                        let (begin, values) = (pending.begin, [*other, value]);
                        let what = format!("torn batch: {group} held {values:?} at once, from {begin} to {end}");
                        return self.wrong("scans", what);
                    }
                }
                _ => seen.push((register, value)),
            }
        }
        for (register, value) in &seen {
            self.push_read(*register, *value, pending, end);
        }
        if seen.len() > 1 {
            let between = (pending.begin, end);
            self.history.add_snapshot(Snapshot { client: pending.client, between, seen });
            if self.history.snapshot_values() > MAX_SNAPSHOT_VALUES {
                let result = super::verdict::check_snapshots(&self.history);
                self.note(result);
                self.history.forget_snapshots();
            }
        }
    }

    /// An answer came to a call for which nobody waits any more.
    pub fn late(&mut self, id: CallId, pending: &Pending, reply: &Reply, now: Instant) {
        self.tally.late_answers += 1;
        match (pending.purpose, reply) {
            (Purpose::Write(operation), Reply::Region(Ok(RegionReply::Written(output)))) => {
                self.written(operation, Ok(output), true, now);
            }
            (Purpose::Write(operation), Reply::Region(Err(error))) => {
                self.written(operation, Err(error), true, now);
            }
            (Purpose::Timestamps(_) | Purpose::Ids(_), reply) => self.handed_out(id, pending, reply, now),
            (Purpose::Write(_), reply) => self.wrong_kind(id, reply),
            (Purpose::Read, _) => {}
        }
    }

    /// Something to do.
    pub fn pick(&mut self, rng: &mut Rng) -> Task {
        for _ in 0..MAX_DRAWS {
            if let Some(task) = self.draw(rng) {
                return task;
            }
        }
        Task::Timestamps { count: 1 }
    }

    fn draw(&mut self, rng: &mut Rng) -> Option<Task> {
        let chore = Chore::draw(rng);
        match chore {
            Chore::Scan => {
                let (family, range) = self.layout.pick_range(rng);
                return Some(Task::Scan { family, range, limit: 1 + rng.below(64) as usize });
            }
            Chore::Timestamps => return Some(Task::Timestamps { count: 1 + rng.below(9) as u32 }),
            Chore::Ids => return Some(Task::Ids { count: 1 + rng.below(9) as u32 }),
            Chore::Put | Chore::Delete | Chore::Get | Chore::Swap | Chore::Count => {}
        }
        let (place, register) = self.layout.pick(rng, |kind| chore.suits(kind))?;
        let register = self.usable(place, register)?;
        Some(match chore {
            Chore::Put => Task::Put { register, value: self.values.unique() },
            Chore::Delete => Task::Delete { register, as_range: rng.one_in(2) },
            Chore::Swap | Chore::Count => Task::Swap { register, swap: None },
            _ => {
                let keys = self.history.register(register).keys.len() as u64;
                Task::Get { register, key: rng.below(keys) as usize }
            }
        })
    }

    /// The register, or a fresh one when it is full; `None` while it is too busy.
    fn usable(&mut self, place: usize, id: RegisterId) -> Option<RegisterId> {
        let register = self.history.register(id);
        let deletes = matches!(register.kind, RegisterKind::Deletable | RegisterKind::Group);
        if deletes && register.users >= self.config.users_per_deletable {
            return None;
        }
        if register.operations.len() < self.config.operations_per_register {
            return Some(id);
        }
        if register.users > 0 {
            return None;
        }
        let result = super::verdict::check_register(register);
        let result = result.map(|verdict| self.tally.undecided_registers += u64::from(verdict == Verdict::Undecided));
        self.note(result);
        self.tally.retired_registers += 1;
        self.history.retire(id);
        Some(self.layout.renew(place, &mut self.history))
    }

    /// What a swap puts in the place of what was found.
    pub fn successor(&mut self, kind: RegisterKind, found: Option<u64>, rng: &mut Rng) -> Option<u64> {
        match kind {
            RegisterKind::Counter => Some(found.unwrap_or(0) + 1),
            RegisterKind::Deletable if found.is_some() && rng.one_in(4) => None,
            RegisterKind::Plain | RegisterKind::Deletable | RegisterKind::Group => Some(self.values.unique()),
        }
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.answers.made()
    }
}

/// What findings say of a register.
pub fn named(register: &Register, what: impl Display) -> String {
    format!("{register}: {what}")
}
