//! Building commands, for everyone who proposes them.
//!
//! Nothing is checked here: [`check_command`](crate::check_command) does that, once, before a command is proposed.

use bytes::Bytes;
use proto::log::{Command, CompareAndSwap, Delete, DeleteRange, Operation, Put, WriteBatch, command, operation};
use types::{ColumnFamily, KeyRange};

/// Sets a key's value.
pub fn put(family: ColumnFamily, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Operation {
    let put = Put { column_family: number(family), key: key.into(), value: value.into() };
    Operation { kind: Some(operation::Kind::Put(put)) }
}

/// Removes a key. Removing an absent key is no error.
pub fn delete(family: ColumnFamily, key: impl Into<Bytes>) -> Operation {
    let delete = Delete { column_family: number(family), key: key.into() };
    Operation { kind: Some(operation::Kind::Delete(delete)) }
}

/// Removes all keys of a range. An empty end means the end of the region that applies it.
pub fn delete_range(family: ColumnFamily, range: KeyRange) -> Operation {
    let delete = DeleteRange { column_family: number(family), start: range.start, end: range.end };
    Operation { kind: Some(operation::Kind::DeleteRange(delete)) }
}

/// All of the operations in this order, or none.
pub fn batch(operations: Vec<Operation>) -> Command {
    Command { kind: Some(command::Kind::Write(WriteBatch { operations })) }
}

/// Sets a key to `value` (`None` removes it) if what it holds is `expected` (`None` stands for an absent key).
pub fn compare_and_swap(
    family: ColumnFamily,
    key: impl Into<Bytes>,
    expected: Option<Bytes>,
    value: Option<Bytes>,
) -> Command {
    let swap = CompareAndSwap { column_family: number(family), key: key.into(), expected, value };
    Command { kind: Some(command::Kind::CompareAndSwap(swap)) }
}

fn number(family: ColumnFamily) -> u32 {
    family as u32
}
