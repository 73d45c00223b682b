//! Checking commands before they are proposed, and the rules of form that apply shares.

use bytes::{BufMut, Bytes, BytesMut};
use proto::log::{Command, Operation, command, operation};
use types::limits::{MAX_BATCH_OPERATIONS, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use types::reserved::{BEHIND_RESERVED, RESERVED_FAMILY, RESERVED_KEY, is_reserved};
use types::{ColumnFamily, KeyRange, RequestError};

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
/// When a key is the store's own, a key or value is too long, there are no operations or too many, a column family does not exist, a part of
/// the command is missing, or a delete-range ends before it starts.
pub fn check_command(command: &Command) -> Result<KeyRange, CommandError> {
    let mut keys = Enclosing::default();
    match &command.kind {
        Some(command::Kind::Write(write)) => {
            check_count(write.operations.len())?;
            write.operations.iter().try_for_each(|operation| check_operation(operation, &mut keys))?;
        }
        Some(command::Kind::CompareAndSwap(swap)) => {
            check_key(known_family(swap.column_family)?, &swap.key)?;
            swap.expected.iter().chain(&swap.value).try_for_each(|value| check_value(value))?;
            keys.add_key(&swap.key);
        }
        None => return Err(empty_command()),
    }
    Ok(keys.into_range())
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

fn check_operation<'a>(operation: &'a Operation, keys: &mut Enclosing<'a>) -> Result<(), CommandError> {
    match &operation.kind {
        Some(operation::Kind::Put(put)) => {
            check_key(known_family(put.column_family)?, &put.key)?;
            check_value(&put.value)?;
            keys.add_key(&put.key);
        }
        Some(operation::Kind::Delete(delete)) => {
            check_key(known_family(delete.column_family)?, &delete.key)?;
            keys.add_key(&delete.key);
        }
        Some(operation::Kind::DeleteRange(delete)) => {
            known_family(delete.column_family)?;
            check_order(&delete.start, &delete.end)?;
            check_bound(&delete.start)?;
            check_bound(&delete.end)?;
            keys.add_range(&delete.start, &delete.end);
        }
        None => return Err(empty_operation()),
    }
    Ok(())
}

/// Takes the reserved key out of the ranges that a user's command deletes: it is the store's.
pub fn spare_reserved(command: &mut Command) {
    let Some(command::Kind::Write(write)) = &mut command.kind else { return };
    for operation in &mut write.operations {
        if let Some(operation::Kind::DeleteRange(delete)) = &mut operation.kind
            && ColumnFamily::from_number(delete.column_family) == Some(RESERVED_FAMILY)
            && delete.start == RESERVED_KEY
        {
            delete.start = BEHIND_RESERVED;
        }
    }
}

fn check_key(family: ColumnFamily, key: &[u8]) -> Result<(), CommandError> {
    if is_reserved(family, key) {
        let family = family.name();
        return Err(CommandError(format!(
            "the empty key of column family {family} is the store's own: use another key"
        )));
    }
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

/// The column family with this number.
pub(crate) fn known_family(number: u32) -> Result<ColumnFamily, CommandError> {
    ColumnFamily::from_number(number)
        .ok_or_else(|| CommandError(format!("column family {number} does not exist: use one of 0 to 2")))
}

/// A delete-range does not end before it starts. One that ends where it starts is empty, which is allowed.
pub(crate) fn check_order(start: &Bytes, end: &Bytes) -> Result<(), CommandError> {
    if start > end && !end.is_empty() {
        let range = KeyRange::new(start.clone(), end.clone());
        return Err(CommandError(format!("the delete-range {range} ends before it starts")));
    }
    Ok(())
}

pub(crate) fn empty_command() -> CommandError {
    CommandError("the command is empty: it must write or compare and swap".to_owned())
}

pub(crate) fn empty_batch() -> CommandError {
    CommandError("the write batch has no operation".to_owned())
}

pub(crate) fn empty_operation() -> CommandError {
    CommandError("an operation is empty: it must put, delete or delete a range".to_owned())
}

/// The smallest range that holds what was added.
#[derive(Debug, Default)]
struct Enclosing<'a> {
    /// The smallest key or start.
    start: Option<&'a Bytes>,
    /// The largest key.
    last_key: Option<&'a Bytes>,
    /// The largest end of a range, empty for an unbounded one.
    end: Option<&'a Bytes>,
}

impl<'a> Enclosing<'a> {
    fn add_key(&mut self, key: &'a Bytes) {
        self.add_start(key);
        if self.last_key.is_none_or(|last| last < key) {
            self.last_key = Some(key);
        }
    }

    fn add_range(&mut self, start: &'a Bytes, end: &'a Bytes) {
        self.add_start(start);
        if self.end.is_none_or(|last| !last.is_empty() && (end.is_empty() || last < end)) {
            self.end = Some(end);
        }
    }

    fn add_start(&mut self, key: &'a Bytes) {
        if self.start.is_none_or(|start| key < start) {
            self.start = Some(key);
        }
    }

    /// # Panics
    /// When nothing was added.
    fn into_range(self) -> KeyRange {
        let start = self.start.expect("a checked command has at least one key").clone();
        let end = match self.last_key {
            // An end above the key is at or above the key's successor: nothing lies between a key and its successor.
            Some(key) if self.end.is_none_or(|end| !end.is_empty() && end <= key) => successor(key),
            _ => self.end.expect("whatever set the start set a key or an end").clone(),
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
