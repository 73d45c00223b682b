//! Whether what clients saw of a register is what one copy of it, changed by one operation at a time, could have shown.
//!
//! A register into which every value is put once and whose values are never taken away is decided exactly, by sorting
//! ([`clusters`]). Where values are deleted, the register without a value is many states that look the same, and no
//! sorting tells them apart: such a register is decided by a search, which is exact as well but has a bound
//! ([`search`]). It gives up only where dozens of operations are under way at once, and says so.
//!
//! How outcomes count: a refused operation must not have been seen; a read of unknown outcome says nothing; a write of
//! unknown outcome took effect if somebody saw it, and else can be left out, since it may stand behind everything.

pub mod clusters;
pub mod search;

use std::fmt::{Debug, Display};

use crate::history::{Action, Operation, Outcome, Shown};

/// What values must be able to do.
pub trait Datum: Clone + Ord + Display + Debug {}

impl<V: Clone + Ord + Display + Debug> Datum for V {}

/// What became of a check that found nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains everything that was seen.
    Legal,
    /// The search met its bound; nothing wrong was found up to there.
    Undecided,
}

/// Checks one register.
///
/// # Errors
/// What is wrong, a line for each finding.
pub fn check_register<V: Datum>(operations: &[Operation<V>]) -> Result<Verdict, String> {
    let deletes = |operation: &Operation<V>| operation.action.written() == Some(&None);
    if operations.iter().any(deletes) {
        search::check(operations)
    } else {
        clusters::check(operations).map(|()| Verdict::Legal)
    }
}

/// Says of a value that nobody can have written where it comes from.
fn unexplained<V: Datum>(operations: &[Operation<V>], reader: &Operation<V>) -> String {
    let seen = reader.action.seen();
    let refused = |operation: &&Operation<V>| {
        operation.outcome == Outcome::Refused && operation.action.written().is_some_and(|to| Some(to) == seen)
    };
    match operations.iter().find(refused) {
        Some(write) => format!("a refused write took effect: {reader}; but {write}"),
        None => format!("phantom value: {reader}; nobody wrote {}", seen.map_or("it".into(), told)),
    }
}

fn told<V: Datum>(value: &Option<V>) -> String {
    Shown(value).to_string()
}

/// Whether an operation can explain or contradict anything.
fn counts<V>(operation: &Operation<V>) -> bool {
    match operation.outcome {
        Outcome::Known(_) => true,
        Outcome::Unknown => !matches!(operation.action, Action::Read(_)),
        Outcome::Refused => false,
    }
}

#[cfg(test)]
pub(crate) mod testing;
