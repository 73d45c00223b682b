//! Executing one command.

use bytes::Bytes;
use engine::{StateBatch, StateRead};
use proto::log::{Command, CompareAndSwap, Operation, command, operation};
use types::{CommandOutput, KeyRange, RegionDescriptor, RequestError, WriteResult};

use crate::command::{check_order, empty_batch, empty_command, empty_operation, known_family};
use crate::pending::PendingBatch;

/// Executes a command into the batch. A refused command leaves no trace there.
///
/// # Errors
/// Only when the engine cannot be read. A refusal is an answer, the same on every replica.
pub(crate) fn execute(
    pending: &mut PendingBatch,
    engine: &dyn StateRead,
    region: &RegionDescriptor,
    command: Command,
) -> engine::Result<WriteResult> {
    match command.kind {
        Some(command::Kind::Write(write)) => Ok(write_all(&mut pending.batch, region, write.operations)),
        Some(command::Kind::CompareAndSwap(swap)) => compare_and_swap(pending, engine, region, swap),
        None => Ok(Err(empty_command().into())),
    }
}

fn write_all(batch: &mut StateBatch, region: &RegionDescriptor, operations: Vec<Operation>) -> WriteResult {
    if operations.is_empty() {
        return Err(empty_batch().into());
    }
    let before = batch.save_point();
    for operation in operations {
        if let Err(error) = add_change(batch, region, operation) {
            batch.roll_back(before);
            return Err(error);
        }
    }
    Ok(CommandOutput::Written)
}

fn add_change(batch: &mut StateBatch, region: &RegionDescriptor, operation: Operation) -> Result<(), RequestError> {
    match operation.kind {
        Some(operation::Kind::Put(put)) => {
            let family = known_family(put.column_family)?;
            check_key(region, &put.key)?;
            batch.put(family, put.key, put.value);
        }
        Some(operation::Kind::Delete(delete)) => {
            let family = known_family(delete.column_family)?;
            check_key(region, &delete.key)?;
            batch.delete(family, delete.key);
        }
        Some(operation::Kind::DeleteRange(delete)) => {
            let family = known_family(delete.column_family)?;
            check_order(&delete.start, &delete.end)?;
            batch.delete_range(family, own_range(region, KeyRange { start: delete.start, end: delete.end })?);
        }
        None => return Err(empty_operation().into()),
    }
    Ok(())
}

fn compare_and_swap(
    pending: &mut PendingBatch,
    engine: &dyn StateRead,
    region: &RegionDescriptor,
    swap: CompareAndSwap,
) -> engine::Result<WriteResult> {
    let family = match known_family(swap.column_family) {
        Ok(family) => family,
        Err(error) => return Ok(Err(error.into())),
    };
    if let Err(error) = check_key(region, &swap.key) {
        return Ok(Err(error));
    }
    let previous = pending.get(engine, family, &swap.key)?;
    let swapped = previous == swap.expected;
    if swapped {
        match swap.value {
            Some(value) => pending.batch.put(family, swap.key, value),
            None => pending.batch.delete(family, swap.key),
        }
    }
    Ok(Ok(CommandOutput::Compared { swapped, previous }))
}

fn check_key(region: &RegionDescriptor, key: &Bytes) -> Result<(), RequestError> {
    if region.range.contains(key) { Ok(()) } else { Err(not_in_region(region, key)) }
}

/// The range to delete: an empty end stands for the region's end. A range that reaches beyond the region is refused
/// and not clipped, so that "applied" means that all of it is gone.
fn own_range(region: &RegionDescriptor, mut range: KeyRange) -> Result<KeyRange, RequestError> {
    if range.end.is_empty() {
        range.end = region.range.end.clone();
    }
    if range.start < region.range.start || region.range.end_bound().is_some_and(|end| range.start > end) {
        return Err(not_in_region(region, &range.start));
    }
    if !region.range.encloses(&range) {
        return Err(not_in_region(region, &range.end));
    }
    Ok(range)
}

fn not_in_region(region: &RegionDescriptor, key: &Bytes) -> RequestError {
    RequestError::KeyNotInRegion { key: key.clone(), region: region.id, range: region.range.clone() }
}
