//! Checking commands before they are proposed.

use bytes::{BufMut, Bytes, BytesMut};
use proto::log::{Command, command};
use types::limits::{MAX_BATCH_OPERATIONS, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use types::{KeyRange, RequestError};

use crate::change::{Change, Swap};

/// Why a command can never be applied, whatever the region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub String);

impl From<CommandError> for RequestError {
    fn from(error: CommandError) -> Self {
        Self::Invalid { reason: error.0 }
    }
}

/// Checks a command against the limits of `types::limits`.
///
/// Returns the smallest range that holds all of its keys, by which the region checks that they are its own. The end
/// of a single key is the key with a zero byte behind it. A delete-range with an empty end makes the whole range
/// unbounded: only the last region takes it as it is, so whoever means "to the end of this region" says where that is.
///
/// # Errors
/// When a key or value is too long, there are no operations or too many, a column family does not exist, a part of
/// the command is missing, or a delete-range ends before it starts.
pub fn check_command(command: &Command) -> Result<KeyRange, CommandError> {
    let mut keys = Enclosing::default();
    // Cloning shares the keys and values, it does not copy them.
    match command.kind.clone() {
        Some(command::Kind::Write(write)) => {
            check_count(write.operations.len())?;
            for operation in write.operations {
                check_change(operation.try_into()?, &mut keys)?;
            }
        }
        Some(command::Kind::CompareAndSwap(swap)) => {
            let swap = Swap::try_from(swap)?;
            check_key(&swap.key)?;
            swap.expected.iter().chain(&swap.value).try_for_each(|value| check_value(value))?;
            keys.add_key(swap.key);
        }
        None => return Err(empty_command()),
    }
    Ok(keys.into_range())
}

pub(crate) fn empty_command() -> CommandError {
    CommandError("the command is empty: it must write or compare and swap".to_owned())
}

pub(crate) fn empty_batch() -> CommandError {
    CommandError("the write batch has no operation".to_owned())
}

fn check_count(operations: usize) -> Result<(), CommandError> {
    match operations {
        0 => Err(empty_batch()),
        1..=MAX_BATCH_OPERATIONS => Ok(()),
        more => Err(CommandError(format!(
            "a batch of {more} operations is above the limit of {MAX_BATCH_OPERATIONS}: split it"
        ))),
    }
}

fn check_change(change: Change, keys: &mut Enclosing) -> Result<(), CommandError> {
    match change {
        Change::Put(_, key, value) => {
            check_key(&key)?;
            check_value(&value)?;
            keys.add_key(key);
        }
        Change::Delete(_, key) => {
            check_key(&key)?;
            keys.add_key(key);
        }
        Change::DeleteRange(_, range) => {
            check_bound(&range.start)?;
            check_bound(&range.end)?;
            keys.add_range(range);
        }
    }
    Ok(())
}

fn check_key(key: &[u8]) -> Result<(), CommandError> {
    check_length("key", key, MAX_KEY_BYTES)
}

/// A bound may be the successor of the longest key, which is one byte longer.
fn check_bound(bound: &[u8]) -> Result<(), CommandError> {
    check_length("bound of a delete-range", bound, MAX_KEY_BYTES + 1)
}

fn check_value(value: &[u8]) -> Result<(), CommandError> {
    check_length("value", value, MAX_VALUE_BYTES)
}

fn check_length(what: &str, bytes: &[u8], limit: usize) -> Result<(), CommandError> {
    if bytes.len() > limit {
        return Err(CommandError(format!("a {what} of {} bytes is longer than the limit of {limit}", bytes.len())));
    }
    Ok(())
}

/// The smallest range that holds what was added.
#[derive(Debug, Default)]
struct Enclosing {
    /// The smallest key or start.
    start: Option<Bytes>,
    /// The largest key.
    last_key: Option<Bytes>,
    /// The largest end of a range, empty for an unbounded one.
    end: Option<Bytes>,
}

impl Enclosing {
    fn add_key(&mut self, key: Bytes) {
        self.add_start(&key);
        if self.last_key.as_ref().is_none_or(|last| *last < key) {
            self.last_key = Some(key);
        }
    }

    fn add_range(&mut self, range: KeyRange) {
        self.add_start(&range.start);
        let is_larger = |end: &Bytes| !end.is_empty() && (range.end.is_empty() || *end < range.end);
        if self.end.as_ref().is_none_or(is_larger) {
            self.end = Some(range.end);
        }
    }

    fn add_start(&mut self, key: &Bytes) {
        if self.start.as_ref().is_none_or(|start| *key < *start) {
            self.start = Some(key.clone());
        }
    }

    /// # Panics
    /// When nothing was added.
    fn into_range(self) -> KeyRange {
        let start = self.start.expect("a checked command has at least one key");
        let end = match (self.last_key, self.end) {
            (None, None) => unreachable!("whatever set the start set a key or an end"),
            (None, Some(end)) => end,
            // An end above the key is at or above the key's successor: nothing lies between a key and its successor.
            (Some(key), Some(end)) if end.is_empty() || end > key => end,
            (Some(key), _) => successor(&key),
        };
        KeyRange { start, end }
    }
}

/// The first key behind `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

#[cfg(test)]
mod tests;
