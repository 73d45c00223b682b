//! A batch of the trait as a batch of RocksDB.

use bytes::Bytes;
use engine::{Family, Result, StateBatch, StateOp};
use rocksdb::{DB, ReadOptions, WriteBatch};
use types::KeyRange;

use super::{family, read_error};

/// Tag, column family and lengths of a record; only a wrong guess of the batch's size.
const OVERHEAD_BYTES: usize = 16;

/// Lays a batch out, its keys in order: RocksDB's skip list takes runs of neighbours faster than scattered keys.
///
/// Only the order of operations on one key means anything, because a batch becomes visible as a whole; a range
/// tombstone meets many keys and is not moved past any.
pub(super) fn write_batch(db: &DB, batch: &StateBatch) -> Result<WriteBatch> {
    let mut out = WriteBatch::with_capacity_bytes(batch.bytes() + batch.ops().len() * OVERHEAD_BYTES);
    let ops = batch.ops();
    let mut run: Vec<&StateOp> = Vec::with_capacity(ops.len());
    for (place, op) in ops.iter().enumerate() {
        match op {
            StateOp::DeleteRange(of, range) => {
                put_run(&mut out, db, &mut run);
                delete_range(&mut out, db, *of, range, &ops[..place])?;
            }
            StateOp::Put(..) | StateOp::Delete(..) => run.push(op),
        }
    }
    put_run(&mut out, db, &mut run);
    Ok(out)
}

fn put_run(out: &mut WriteBatch, db: &DB, run: &mut Vec<&StateOp>) {
    run.sort_by_key(|op| place_of(op));
    let families = Family::ALL.map(|of| (of, family(db, of)));
    let handle = |wanted: Family| families.iter().find(|(of, _)| *of == wanted).expect("all families are listed").1;
    for op in run.drain(..) {
        match op {
            StateOp::Put(of, key, value) => out.put_cf(handle(*of), key, value),
            StateOp::Delete(of, key) => out.delete_cf(handle(*of), key),
            StateOp::DeleteRange(..) => unreachable!("a range tombstone ends a run"),
        }
    }
}

fn place_of(op: &StateOp) -> (Family, &Bytes) {
    match op {
        StateOp::Put(of, key, _) | StateOp::Delete(of, key) => (*of, key),
        StateOp::DeleteRange(of, range) => (*of, &range.start),
    }
}

/// RocksDB fails a whole batch over a reversed range, and knows no range without an end: it ends behind the last key
/// that is there, in the engine or in the batch so far.
fn delete_range(out: &mut WriteBatch, db: &DB, of: Family, range: &KeyRange, earlier: &[StateOp]) -> Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    if let Some(end) = range.end_bound() {
        out.delete_range_cf(family(db, of), &range.start[..], end);
        return Ok(());
    }
    let put_before = earlier.iter().filter_map(|op| match op {
        StateOp::Put(put_in, key, _) if *put_in == of && *key >= range.start => Some(&key[..]),
        _ => None,
    });
    let last = put_before.max().map(<[u8]>::to_vec).max(last_key(db, of, &range.start)?);
    if let Some(mut end) = last {
        end.push(0);
        out.delete_range_cf(family(db, of), &range.start[..], &end[..]);
    }
    Ok(())
}

/// The last key that is not below `start`.
fn last_key(db: &DB, of: Family, start: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(start);
    let mut iter = db.raw_iterator_cf_opt(family(db, of), options);
    iter.seek_to_last();
    iter.status().map_err(read_error)?;
    Ok(iter.key().map(<[u8]>::to_vec))
}
