//! The one key that belongs to the store and not to its users: the empty one.
//!
//! It is the first key of all, so it lies in the region that begins at the start of the key space, and goes with that
//! region's data wherever that goes: by split, snapshot and hash. A cluster in static mode keeps its counter of ids there.
//! Whoever reads or writes for a user keeps to [`KeyRange::for_users`].

use bytes::Bytes;

use crate::range::KeyRange;

/// The key that no user can write, in every column family.
pub const RESERVED_KEY: Bytes = Bytes::new();

/// The first key that users may write.
pub const FIRST_USER_KEY: Bytes = Bytes::from_static(&[0]);

impl KeyRange {
    /// The part of the range that users may see and change; possibly an empty range.
    #[must_use]
    pub fn for_users(&self) -> Self {
        let start = if self.start == RESERVED_KEY { FIRST_USER_KEY } else { self.start.clone() };
        Self { start, end: self.end.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_see_everything_but_the_empty_key() {
        let all = KeyRange::all().for_users();
        assert!(!all.contains(b"") && all.contains(&[0]) && all.contains(b"z"));
        assert_eq!(KeyRange::new("a", "b").for_users(), KeyRange::new("a", "b"));
        assert!(KeyRange::new("", "\0").for_users().is_empty(), "nothing lies between the two");
    }
}
