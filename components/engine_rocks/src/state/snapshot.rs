//! Snapshots that keep their database open.

use std::sync::Arc;

use bytes::Bytes;
use engine::{Family, IterRange, Result, StateIterator, StateRead};
use rocksdb::{DB, Snapshot};

use super::iterator::{RocksIterator, read_options};
use super::{family, read_error};

/// Everything as it was at one moment.
pub(super) struct RocksSnapshot {
    /// Borrows from `db`, whatever its lifetime says. Declared first, so that it is dropped first.
    snapshot: Snapshot<'static>,
    db: Arc<DB>,
}

impl RocksSnapshot {
    pub(super) fn new(db: &Arc<DB>) -> Self {
        let snapshot = db.snapshot();
        // SAFETY: the reference in the snapshot points to the database inside the `Arc`, whose address does not change.
        // The clone stored beside it keeps that database alive for as long as this struct lives, and fields are
        // dropped in the order of their declaration: the snapshot is released before the last handle can close the
        // database. Nothing hands the `'static` lifetime out: every method borrows from `self`.
        let snapshot = unsafe { std::mem::transmute::<Snapshot<'_>, Snapshot<'static>>(snapshot) };
        Self { snapshot, db: Arc::clone(db) }
    }
}

impl StateRead for RocksSnapshot {
    fn get(&self, of: Family, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.snapshot.get_cf(family(&self.db, of), key).map_err(read_error)?;
        Ok(value.map(Bytes::from))
    }

    fn iter(&self, of: Family, range: IterRange) -> Result<Box<dyn StateIterator + '_>> {
        let iter = self.snapshot.raw_iterator_cf_opt(family(&self.db, of), read_options(&range));
        Ok(Box::new(RocksIterator::new(iter, range.key_only)))
    }
}
