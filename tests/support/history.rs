//! Takes down what clients of real processes saw, for the simulator's check of registers to judge.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::call::ClientId;
use sim::check::linearizability::check_register;
use sim::history::{Action, Moment, Outcome};

/// An operation on a register of text.
pub type Operation = sim::history::Operation<String>;

/// Everything that was seen, by key.
pub type Operations = BTreeMap<String, Vec<Operation>>;

/// Takes down operations of many clients at once.
#[derive(Default)]
pub struct History {
    clock: AtomicU64,
    operations: Mutex<Operations>,
}

impl History {
    /// The moment at which an operation begins: read it before anything is sent.
    pub fn begin(&self) -> Moment {
        Moment::numbered(self.clock.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Takes down writes that began together and were all acknowledged, or all not.
    pub fn wrote(&self, begin: Moment, pairs: impl IntoIterator<Item = (String, String)>, acknowledged: bool) {
        self.add(begin, acknowledged, pairs.into_iter().map(|(key, value)| (key, Action::Write(Some(value)))));
    }

    /// Takes down what one request read.
    pub fn read(&self, begin: Moment, pairs: impl IntoIterator<Item = (String, Option<String>)>) {
        self.add(begin, true, pairs.into_iter().map(|(key, value)| (key, Action::Read(value))));
    }

    fn add(&self, begin: Moment, ended: bool, actions: impl Iterator<Item = (String, Action<String>)>) {
        // After the answer came: the clock of the end must not run ahead of it.
        let outcome = if ended { Outcome::Known(self.begin()) } else { Outcome::Unknown };
        let mut operations = self.operations.lock().unwrap();
        for (key, action) in actions {
            // Nobody tells these clients apart.
            operations.entry(key).or_default().push(Operation { client: ClientId(0), action, begin, outcome });
        }
    }

    /// Everything that was taken down.
    pub fn into_operations(self) -> Operations {
        self.operations.into_inner().unwrap()
    }
}

/// Checks every key's register.
///
/// # Errors
/// What is wrong with each key that is not linearizable, a line for each finding.
pub fn check(operations: &Operations) -> Result<(), String> {
    let found = operations.iter().filter_map(|(key, operations)| {
        // Nothing is deleted, so nothing is left undecided.
        check_register(operations).err().map(|found| format!("key {key}: {found}"))
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}
