//! A linearizable snapshot of one region.

use bytes::Bytes;
use engine::{IterRange, RegionSnapshot};
use types::{ColumnFamily, KeyRange, RegionDescriptor};

use crate::error::Error;
use crate::request::{self, Pair};
use crate::store::ScanOptions;

/// What one region held at one moment between the call that took the snapshot and its return. Holds on to the data
/// for as long as it lives.
#[derive(Clone, Debug)]
pub struct Snapshot(pub(crate) RegionSnapshot);

impl Snapshot {
    /// The region.
    pub fn region(&self) -> &RegionDescriptor {
        &self.0.descriptor
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `KeyNotInRegion` when the region does not hold the key.
    pub fn get(&self, family: ColumnFamily, key: impl Into<Bytes>) -> Result<Option<Bytes>, Error> {
        request::get(&self.0, family, &key.into()).map_err(Error::Refused)
    }

    /// The pairs of a range, as far as the region holds it.
    ///
    /// # Errors
    /// When reading fails.
    pub fn scan(&self, range: KeyRange, options: ScanOptions) -> Result<Vec<Pair>, Error> {
        let ScanOptions { family, limit, reverse, key_only } = options;
        let range = IterRange { range, key_only, skip_cache: false };
        let (pairs, _) = request::scan(&self.0, family, range, limit, usize::MAX, reverse).map_err(Error::Refused)?;
        Ok(pairs)
    }
}
