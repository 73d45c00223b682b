//! Taking down what was answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use types::{ColumnFamily, CommandOutput, Instant, KeyRange, RequestError};

use super::desk::{Desk, Pending, Purpose};
use super::verdict;
use crate::call::{CallId, Pair, RegionReply, Reply};
use crate::history::{Action, Moment, Operation, OperationId, Outcome, RegisterId, Snapshot};

/// The most values that snapshots may hold before they are checked and forgotten.
const MAX_SNAPSHOT_VALUES: usize = 1 << 20;

impl Desk {
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

    /// A write was applied.
    pub fn written(&mut self, id: OperationId, output: &CommandOutput, now: Instant) {
        let end = self.history.moment(now);
        self.tally.acknowledged_writes += 1;
        match (output, self.history.action(id)) {
            // Nobody remembers what was done to a register that is retired.
            (_, None) => {}
            (CommandOutput::Written, Some(Action::Write(_))) => self.history.end(id, Outcome::Known(end)),
            (CommandOutput::Compared { swapped, previous }, Some(Action::Swap { from, .. })) => {
                let from = *from;
                self.compared(id, from, *swapped, previous.as_ref(), end);
            }
            (output, Some(action)) => {
                let what = format!("{action:?} was answered with {output:?}");
                self.wrong("answers", what);
            }
        }
    }

    /// A write was not applied, as far as anybody knows, and nobody tries again.
    pub fn not_written(&mut self, id: OperationId, error: &RequestError) {
        if let RequestError::Undetermined { .. } = error {
            self.tally.unknown_writes += 1;
        } else {
            self.refused(id);
        }
    }

    /// A write was promised to have no effect, and nobody tries again.
    pub fn refused(&mut self, id: OperationId) {
        self.tally.refused_writes += 1;
        self.history.end(id, Outcome::Refused);
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
        let Some(seen) = self.scan(family, covered, pairs) else { return };
        let mut seen_by_register = Vec::<(RegisterId, Option<u64>)>::with_capacity(seen.len());
        for (register, value) in seen {
            match seen_by_register.last() {
                Some((last, other)) if *last == register && *other == value => {}
                Some((last, other)) if *last == register => {
                    // A moment in which the keys of a group differ never was.
                    let (group, begin) = (self.history.register(register), pending.begin);
                    let values = [*other, value];
                    let what = format!("torn batch: {group} held {values:?} at once, from {begin} to {end}");
                    return self.wrong("scans", what);
                }
                _ => seen_by_register.push((register, value)),
            }
        }
        for (register, value) in &seen_by_register {
            self.push_read(*register, *value, pending, end);
        }
        if seen_by_register.len() > 1 {
            let between = (pending.begin, end);
            self.add_snapshot(Snapshot { client: pending.client, between, seen: seen_by_register });
        }
    }

    /// What a scan saw of each key that belongs to a register, in the order of the keys; `None` when it cannot be right.
    fn scan(
        &mut self,
        family: ColumnFamily,
        covered: &KeyRange,
        pairs: &[Pair],
    ) -> Option<Vec<(RegisterId, Option<u64>)>> {
        let in_order = pairs.is_sorted_by(|one, next| one.0 < next.0);
        if !in_order || pairs.iter().any(|(key, _)| !covered.contains(key)) {
            let keys: Vec<_> = pairs.iter().map(|(key, _)| key.escape_ascii().to_string()).collect();
            self.wrong("scans", format!("a scan of {covered} gave these keys, in this order: {keys:?}"));
            return None;
        }
        let mut stored: BTreeMap<&Bytes, &Bytes> = pairs.iter().map(|(key, value)| (key, value)).collect();
        let known = self.history.keys_from(family, &covered.start);
        let known = known.take_while(|(key, _)| covered.is_below_end(key));
        let known: Vec<_> = known.map(|(key, owner)| (stored.remove(key), owner)).collect();
        if let Some(key) = stored.keys().next() {
            let key = key.escape_ascii();
            self.wrong("scans", format!("a scan of {covered} in {family} gave {key}, which nobody wrote"));
            return None;
        }
        // What a retired register holds is nobody's business.
        let live = known.into_iter().filter_map(|(stored, owner)| Some((stored, owner?)));
        live.map(|(stored, register)| Some((register, self.decode(register, stored)?))).collect()
    }

    fn add_snapshot(&mut self, snapshot: Snapshot) {
        self.history.add_snapshot(snapshot);
        if self.history.snapshot_values() > MAX_SNAPSHOT_VALUES {
            let result = verdict::check_snapshots(&self.history);
            self.note(result);
            self.history.forget_snapshots();
        }
    }

    /// An answer came to a call for which nobody waits any more.
    pub fn late(&mut self, id: CallId, pending: &Pending, reply: &Reply, now: Instant) {
        self.tally.late_answers += 1;
        match (pending.purpose, reply) {
            (Purpose::Write(operation), Reply::Region(Ok(RegionReply::Written(output)))) => {
                self.written(operation, output, now);
            }
            // That nobody knows was known.
            (Purpose::Write(_), Reply::Region(Err(RequestError::Undetermined { .. }))) => {}
            (Purpose::Write(operation), Reply::Region(Err(error))) => self.not_written(operation, error),
            (Purpose::Timestamps(_) | Purpose::Ids(_), reply) => self.handed_out(id, pending, reply, now),
            (Purpose::Write(_), reply) => self.wrong_kind(id, reply),
            (Purpose::Read, _) => {}
        }
    }
}
