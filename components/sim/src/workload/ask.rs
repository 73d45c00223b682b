//! How a task is said to a region.

use apply::build;
use bytes::{BufMut, Bytes, BytesMut};
use proto::log::Command;
use types::KeyRange;

use super::desk::Desk;
use super::task::Task;
use super::value::Values;
use crate::call::{Pair, RegionCall};
use crate::history::{Action, Register};

impl Desk {
    /// The key by which a task is routed; `None` when it goes to the coordinator.
    pub fn routing_key(&self, task: &Task) -> Option<Bytes> {
        match task {
            Task::Scan { range, .. } => Some(range.start.clone()),
            Task::Get { register, key } => Some(self.history.register(*register).keys[*key].clone()),
            Task::Timestamps { .. } | Task::Ids { .. } => None,
            Task::Put { register, .. } | Task::Delete { register, .. } | Task::Swap { register, .. } => {
                Some(self.history.register(*register).keys[0].clone())
            }
        }
    }

    /// What a task asks of a region, and what that does to its register if it is a write; `None` when the region does not
    /// hold all that it would change.
    pub fn region_call(&self, task: &Task, region: &KeyRange) -> Option<(RegionCall, Option<Action<u64>>)> {
        let (call, action) = match task {
            Task::Put { register, value } => {
                let command = put(self.history.register(*register), *value, &self.values);
                (RegionCall::Write(command), Some(Action::Write(Some(*value))))
            }
            Task::Delete { register, as_range } => {
                let command = delete(self.history.register(*register), *as_range);
                (RegionCall::Write(command), Some(Action::Write(None)))
            }
            Task::Swap { register, swap: Some((from, to)) } => {
                let command = compare_and_swap(self.history.register(*register), (*from, *to), &self.values);
                (RegionCall::Write(command), Some(Action::Swap { from: *from, to: *to }))
            }
            Task::Get { register, .. } | Task::Swap { register, swap: None } => {
                let (register, key) = (self.history.register(*register), self.routing_key(task)?);
                (RegionCall::Get { family: register.family, key }, None)
            }
            Task::Scan { family, range, limit } => {
                (RegionCall::Scan { family: *family, range: range.clone(), limit: *limit }, None)
            }
            Task::Timestamps { .. } | Task::Ids { .. } => return None,
        };
        let register = task.register().filter(|_| action.is_some()).map(|id| self.history.register(id));
        let fits = register.is_none_or(|register| region.encloses(&span(register)));
        fits.then_some((call, action))
    }
}

/// Puts a value to all keys of a register, atomically.
fn put(register: &Register, value: u64, values: &Values) -> Command {
    let stored = values.encode(register.kind, value);
    let put = |key: &Bytes| build::put(register.family, key.clone(), stored.clone());
    build::batch(register.keys.iter().map(put).collect())
}

/// Deletes all keys of a register, atomically.
fn delete(register: &Register, as_range: bool) -> Command {
    if as_range {
        return build::batch(vec![build::delete_range(register.family, span(register))]);
    }
    build::batch(register.keys.iter().map(|key| build::delete(register.family, key.clone())).collect())
}

/// Swaps the value of a register of one key.
fn compare_and_swap(register: &Register, (from, to): (Option<u64>, Option<u64>), values: &Values) -> Command {
    let [expected, value] = [from, to].map(|value| value.map(|value| values.encode(register.kind, value)));
    build::compare_and_swap(register.family, register.keys[0].clone(), expected, value)
}

/// The keys that a scan of `range` speaks about.
pub fn covered(range: &KeyRange, region: &KeyRange, pairs: &[Pair], limit: usize) -> KeyRange {
    let mut covered = range.intersect(region);
    if let Some((last, _)) = pairs.last().filter(|_| pairs.len() == limit) {
        covered.end = successor(last);
    }
    covered
}

/// The smallest range that holds all keys of a register. No other register has keys there.
fn span(register: &Register) -> KeyRange {
    let last = register.keys.last().expect("a register has a key");
    KeyRange { start: register.keys[0].clone(), end: successor(last) }
}

/// The first key behind a key.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
