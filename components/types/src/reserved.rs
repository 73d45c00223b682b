//! The one key that belongs to the store and not to its users: the empty one of column family `write`.
//!
//! It is the first key of all, so it lies in the region that begins at the start of the key space, and goes with that
//! region's data wherever that goes: by split, snapshot and hash. A cluster in static mode keeps its counter of ids there.
//! Whoever reads or writes for a user keeps to [`KeyRange::for_users`]. In the other column families the empty key is a
//! key like any other, which clients of the ecosystem do use in `default`.

use bytes::Bytes;

use crate::column_family::ColumnFamily;
use crate::range::KeyRange;

/// The key.
pub const RESERVED_KEY: Bytes = Bytes::new();

/// Where the key is reserved.
pub const RESERVED_FAMILY: ColumnFamily = ColumnFamily::Write;

/// The first key behind the reserved one.
pub const BEHIND_RESERVED: Bytes = Bytes::from_static(&[0]);

/// Whether a key is the store's own.
pub fn is_reserved(family: ColumnFamily, key: &[u8]) -> bool {
    family == RESERVED_FAMILY && key == RESERVED_KEY
}

impl KeyRange {
    /// The part of the range that users may see and change in a column family; possibly an empty range.
    #[must_use]
    pub fn for_users(&self, family: ColumnFamily) -> Self {
        let start = if is_reserved(family, &self.start) { BEHIND_RESERVED } else { self.start.clone() };
        Self { start, end: self.end.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_see_everything_but_the_reserved_key() {
        let all = KeyRange::all().for_users(RESERVED_FAMILY);
        assert!(!all.contains(b"") && all.contains(&[0]) && all.contains(b"z"));
        assert_eq!(KeyRange::all().for_users(ColumnFamily::Default), KeyRange::all());
        assert_eq!(KeyRange::new("a", "b").for_users(RESERVED_FAMILY), KeyRange::new("a", "b"));
        assert!(KeyRange::new("", "\0").for_users(RESERVED_FAMILY).is_empty(), "nothing lies between the two");
    }
}
