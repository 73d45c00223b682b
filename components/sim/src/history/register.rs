//! The registers of a run, and what was done to each.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use types::{ColumnFamily, Instant};

use super::{Action, Moment, Operation, Outcome};
use crate::call::ClientId;

/// A register of the run, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegisterId(pub u32);

/// An operation on a register, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId {
    register: RegisterId,
    place: u32,
}

impl OperationId {
    /// The register that it was done to.
    pub const fn register(self) -> RegisterId {
        self.register
    }
}

/// What clients do to a register, and so how it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterKind {
    /// A key with values that are unique in the run: put, read and swapped, never deleted.
    Plain,
    /// The same, and deleted.
    Deletable,
    /// Keys that are only ever put together, to the same value, or deleted together.
    Group,
    /// A number that is counted up by swaps.
    Counter,
}

/// A register: its keys, and what was done to them.
#[derive(Clone, Debug)]
pub struct Register {
    /// What is done to it.
    pub kind: RegisterKind,
    /// Where its keys lie.
    pub family: ColumnFamily,
    /// Its keys in order: one, but for groups.
    pub keys: Vec<Bytes>,
    /// What was done to it.
    pub operations: Vec<Operation<u64>>,
    /// How many clients are busy with it.
    pub users: usize,
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RegisterKind::Plain | RegisterKind::Deletable => "key",
            RegisterKind::Group => "group of keys",
            RegisterKind::Counter => "counter",
        };
        write!(f, "{what} {} of {}", self.keys[0].escape_ascii(), self.family)?;
        match self.keys.len() {
            1 => Ok(()),
            count => write!(f, " and {} more", count - 1),
        }
    }
}

/// What one request read of several registers at once.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Whose.
    pub client: ClientId,
    /// When it was asked for, and when it was answered.
    pub between: (Moment, Moment),
    /// What it saw.
    pub seen: Vec<(RegisterId, Option<u64>)>,
}

/// Everything that clients saw.
///
/// It is bounded where the workload retires registers in time: a retired one's operations are forgotten, and so are the
/// snapshots when they are taken.
#[derive(Debug, Default)]
pub struct History {
    moments: u64,
    registers: Vec<Register>,
    /// Which register each key belongs to; `None` once it is retired.
    owners: BTreeMap<(ColumnFamily, Bytes), Option<RegisterId>>,
    snapshots: Vec<Snapshot>,
    /// How many values all snapshots hold.
    snapshot_values: usize,
}

impl History {
    /// A moment behind all that were given before.
    pub fn moment(&mut self, at: Instant) -> Moment {
        self.moments += 1;
        Moment { number: self.moments, at }
    }

    /// Adds a register.
    ///
    /// # Panics
    /// When it has no key, or one that belongs to another.
    pub fn add(&mut self, kind: RegisterKind, family: ColumnFamily, keys: Vec<Bytes>) -> RegisterId {
        assert!(!keys.is_empty(), "a register has a key");
        let id = RegisterId(u32::try_from(self.registers.len()).expect("a run has fewer than 2³² registers"));
        for key in &keys {
            let other = self.owners.insert((family, key.clone()), Some(id));
            assert!(other.is_none(), "key {} belongs to two registers", key.escape_ascii());
        }
        self.registers.push(Register { kind, family, keys, operations: Vec::new(), users: 0 });
        id
    }

    /// A register.
    pub fn register(&self, id: RegisterId) -> &Register {
        &self.registers[id.0 as usize]
    }

    /// A register, to be changed.
    pub fn register_mut(&mut self, id: RegisterId) -> &mut Register {
        &mut self.registers[id.0 as usize]
    }

    /// Whom a key belongs to: nobody, or a register, which may be retired.
    pub fn owner(&self, family: ColumnFamily, key: &Bytes) -> Option<Option<RegisterId>> {
        self.owners.get(&(family, key.clone())).copied()
    }

    /// The keys of registers from `start` on, in order.
    pub fn keys_from(&self, family: ColumnFamily, start: &Bytes) -> impl Iterator<Item = (&Bytes, Option<RegisterId>)> {
        let from = self.owners.range((family, start.clone())..);
        from.take_while(move |((other, _), _)| *other == family).map(|((_, key), owner)| (key, *owner))
    }

    /// An operation begins; nothing is known of its outcome.
    pub fn begin(&mut self, register: RegisterId, client: ClientId, action: Action<u64>, at: Instant) -> OperationId {
        let begin = self.moment(at);
        self.push(register, Operation { client, action, begin, outcome: Outcome::Unknown })
    }

    /// An operation that was promised to have had no effect begins again.
    pub fn begin_again(&mut self, id: OperationId, at: Instant) {
        let begin = self.moment(at);
        if let Some(operation) = self.operation_mut(id) {
            operation.begin = begin;
        }
    }

    /// An operation that is known to its full extent.
    pub fn push(&mut self, register: RegisterId, operation: Operation<u64>) -> OperationId {
        let operations = &mut self.register_mut(register).operations;
        let place = u32::try_from(operations.len()).expect("a register is retired long before");
        operations.push(operation);
        OperationId { register, place }
    }

    /// How an operation ended. Nothing happens when its register is retired.
    pub fn end(&mut self, id: OperationId, outcome: Outcome) {
        if let Some(operation) = self.operation_mut(id) {
            operation.outcome = outcome;
        }
    }

    /// A swap found something else than it expected, so it is a read of that.
    pub fn end_compared(&mut self, id: OperationId, found: Option<u64>, end: Moment) {
        if let Some(operation) = self.operation_mut(id) {
            operation.action = Action::Read(found);
            operation.outcome = Outcome::Known(end);
        }
    }

    /// What an operation does; `None` when its register is retired.
    pub fn action(&self, id: OperationId) -> Option<&Action<u64>> {
        Some(&self.register(id.register).operations.get(id.place as usize)?.action)
    }

    fn operation_mut(&mut self, id: OperationId) -> Option<&mut Operation<u64>> {
        self.register_mut(id.register).operations.get_mut(id.place as usize)
    }

    /// Takes down what one request read of several registers.
    pub fn add_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot_values += snapshot.seen.len();
        self.snapshots.push(snapshot);
    }

    /// What was read together.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// How many values all snapshots hold.
    pub const fn snapshot_values(&self) -> usize {
        self.snapshot_values
    }

    /// Forgets what was read together.
    pub fn forget_snapshots(&mut self) {
        self.snapshots.clear();
        self.snapshot_values = 0;
    }

    /// Forgets what was done to a register: it is left alone from now on.
    pub fn retire(&mut self, id: RegisterId) {
        let register = self.register_mut(id);
        register.operations = Vec::new();
        let (family, keys) = (register.family, register.keys.clone());
        for key in keys {
            self.owners.insert((family, key), None);
        }
    }

    /// Whether a register was retired.
    pub fn is_retired(&self, id: RegisterId) -> bool {
        let register = self.register(id);
        self.owner(register.family, &register.keys[0]) == Some(None)
    }

    /// All registers that are not retired.
    pub fn live(&self) -> impl Iterator<Item = (RegisterId, &Register)> {
        let all = (0..).map(RegisterId).zip(&self.registers);
        all.filter(|(id, _)| !self.is_retired(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> (History, RegisterId) {
        let mut history = History::default();
        let keys = ["a", "b"].map(Bytes::from).into();
        let register = history.add(RegisterKind::Group, ColumnFamily::Default, keys);
        (history, register)
    }

    #[test]
    fn operations_end_as_they_are_told() {
        let (mut history, register) = history();
        let action = Action::Swap { from: Some(1), to: Some(2) };
        let first = history.begin(register, ClientId(1), action.clone(), Instant(5));
        let second = history.begin(register, ClientId(2), action, Instant(6));
        history.begin_again(first, Instant(7));
        let end = history.moment(Instant(8));
        history.end(first, Outcome::Refused);
        history.end_compared(second, None, end);
        let [refused, read] = &history.register(register).operations[..] else { panic!("two operations") };
        assert_eq!((refused.begin.number, refused.outcome), (3, Outcome::Refused));
        assert_eq!((&read.action, read.outcome), (&Action::Read(None), Outcome::Known(end)));
        assert_eq!(read.to_string(), "client 2 read (nothing), from 0.000000s#2 to 0.000000s#4");
    }

    #[test]
    fn a_retired_register_is_forgotten_and_still_known() {
        let (mut history, register) = history();
        let operation = history.begin(register, ClientId(0), Action::Write(Some(1)), Instant(1));
        history.retire(register);
        history.end(operation, Outcome::Refused);
        assert!(history.is_retired(register) && history.live().next().is_none());
        assert_eq!(history.action(operation), None);
        assert_eq!(history.owner(ColumnFamily::Default, &Bytes::from("b")), Some(None));
        assert_eq!(history.owner(ColumnFamily::Default, &Bytes::from("c")), None);
        assert_eq!(history.owner(ColumnFamily::Lock, &Bytes::from("b")), None);
        assert_eq!(history.keys_from(ColumnFamily::Default, &Bytes::from("aa")).count(), 1);
    }
}
