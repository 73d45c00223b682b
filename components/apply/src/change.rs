//! What a command asks for, in types that can hold nothing malformed.

use bytes::Bytes;
use proto::log::{CompareAndSwap, Operation, operation};
use types::{ColumnFamily, KeyRange};

use crate::command::CommandError;

/// One operation of a write batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put(ColumnFamily, Bytes, Bytes),
    Delete(ColumnFamily, Bytes),
    /// The start is not behind the end; an empty end is still "the region's end".
    DeleteRange(ColumnFamily, KeyRange),
}

impl TryFrom<Operation> for Change {
    type Error = CommandError;

    fn try_from(operation: Operation) -> Result<Self, CommandError> {
        match operation.kind {
            Some(operation::Kind::Put(put)) => Ok(Self::Put(family(put.column_family)?, put.key, put.value)),
            Some(operation::Kind::Delete(delete)) => Ok(Self::Delete(family(delete.column_family)?, delete.key)),
            Some(operation::Kind::DeleteRange(delete)) => {
                let range = KeyRange { start: delete.start, end: delete.end };
                if range.start > range.end && !range.end.is_empty() {
                    return Err(CommandError(format!("the delete-range {range} ends before it starts")));
                }
                Ok(Self::DeleteRange(family(delete.column_family)?, range))
            }
            None => Err(CommandError("an operation is empty: it must put, delete or delete a range".to_owned())),
        }
    }
}

/// A compare-and-swap.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    pub family: ColumnFamily,
    pub key: Bytes,
    pub expected: Option<Bytes>,
    pub value: Option<Bytes>,
}

impl TryFrom<CompareAndSwap> for Swap {
    type Error = CommandError;

    fn try_from(swap: CompareAndSwap) -> Result<Self, CommandError> {
        let CompareAndSwap { column_family, key, expected, value } = swap;
        Ok(Self { family: family(column_family)?, key, expected, value })
    }
}

fn family(number: u32) -> Result<ColumnFamily, CommandError> {
    ColumnFamily::from_number(number)
        .ok_or_else(|| CommandError(format!("column family {number} does not exist: use one of 0 to 2")))
}
