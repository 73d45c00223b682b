//! What a pending batch did to each key, for commands that read what earlier ones wrote.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use engine::{Family, StateOp};
use types::{ColumnFamily, KeyRange};

/// What a pending batch leaves of a key that it touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Value(Bytes),
    Deleted,
}

/// An index of a pending batch's changes by key. Built only when someone asks, from the changes that came since the
/// last time: rounds without a compare-and-swap pay nothing for it.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    families: [FamilyOverlay; ColumnFamily::ALL.len()],
    /// How many of the batch's changes are in the index.
    indexed: usize,
}

impl Overlay {
    /// What the changes leave of a key; `None` when they do not touch it. `ops` are all changes of the batch so far.
    ///
    /// # Panics
    /// When changes that were looked at before are gone: a reader's index must never outlive a rolled-back change.
    pub fn look_up(&mut self, ops: &[StateOp], family: ColumnFamily, key: &[u8]) -> Option<Pending> {
        assert!(self.indexed <= ops.len(), "the overlay holds {} changes, the batch {}", self.indexed, ops.len());
        for op in &ops[self.indexed..] {
            self.add(op);
        }
        self.indexed = ops.len();
        self.families[family as usize].look_up(key)
    }

    /// Begins again with an empty batch.
    pub fn clear(&mut self) {
        if self.indexed > 0 {
            *self = Self::default();
        }
    }

    fn add(&mut self, op: &StateOp) {
        match op {
            StateOp::Put(Family::User(family), key, value) => {
                self.families[*family as usize].points.insert(key.clone(), Pending::Value(value.clone()));
            }
            StateOp::Delete(Family::User(family), key) => {
                self.families[*family as usize].points.insert(key.clone(), Pending::Deleted);
            }
            StateOp::DeleteRange(Family::User(family), range) => {
                self.families[*family as usize].delete_range(range.clone());
            }
            // No command reads the records of the store itself.
            StateOp::Put(Family::Meta, ..)
            | StateOp::Delete(Family::Meta, ..)
            | StateOp::DeleteRange(Family::Meta, ..) => {}
        }
    }
}

/// One column family's part. A point is newer than any deleted range that holds it: deleting a range removes the
/// points in it.
#[derive(Debug, Default)]
struct FamilyOverlay {
    points: BTreeMap<Bytes, Pending>,
    /// Start and end (empty: no upper bound) of deleted ranges that neither touch nor overlap.
    deleted: BTreeMap<Bytes, Bytes>,
}

impl FamilyOverlay {
    fn look_up(&self, key: &[u8]) -> Option<Pending> {
        if let Some(pending) = self.points.get(key) {
            return Some(pending.clone());
        }
        let (_, end) = self.deleted.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        is_before(key, end).then_some(Pending::Deleted)
    }

    fn delete_range(&mut self, range: KeyRange) {
        let end_bound = range.end_bound().map_or(Bound::Unbounded, Bound::Excluded);
        let inside = self.points.range::<[u8], _>((Bound::Included(&range.start[..]), end_bound));
        let doomed: Vec<Bytes> = inside.map(|(key, _)| key.clone()).collect();
        for key in &doomed {
            self.points.remove(key);
        }
        self.join(range);
    }

    /// Adds a deleted range and makes one of all that it touches, so that a look-up finds at most one.
    fn join(&mut self, mut range: KeyRange) {
        // From behind: the first one that ends before the range starts, ends the search. Each round removes a range
        // that was added before, so all joins together are as many as all additions.
        loop {
            let upper = range.end_bound().map_or(Bound::Unbounded, Bound::Included);
            let Some((start, end)) = self.deleted.range::<[u8], _>((Bound::Unbounded, upper)).next_back() else {
                break;
            };
            if !end.is_empty() && *end < range.start {
                break;
            }
            let (start, end) = (start.clone(), end.clone());
            self.deleted.remove(&start);
            range.start = range.start.min(start);
            range.end = if range.end.is_empty() || end.is_empty() { Bytes::new() } else { range.end.max(end) };
        }
        self.deleted.insert(range.start, range.end);
    }
}

fn is_before(key: &[u8], end: &[u8]) -> bool {
    end.is_empty() || key < end
}

#[cfg(test)]
mod tests {
    use engine::StateBatch;
    use types::ColumnFamily::{Default as Plain, Lock};

    use super::*;

    fn value(value: &'static str) -> Option<Pending> {
        Some(Pending::Value(value.into()))
    }

    const DELETED: Option<Pending> = Some(Pending::Deleted);

    #[test]
    fn the_newest_change_counts() {
        let (mut batch, mut overlay) = (StateBatch::default(), Overlay::default());
        batch.put(Plain, "c", "1");
        batch.put(Lock, "c", "2");
        batch.put(Family::Meta, "d", "3");
        assert_eq!(overlay.look_up(batch.ops(), Plain, b"c"), value("1"));
        assert_eq!(overlay.look_up(batch.ops(), Lock, b"c"), value("2"));
        assert_eq!(overlay.look_up(batch.ops(), Plain, b"d"), None);
        batch.delete(Plain, "c");
        assert_eq!(overlay.look_up(batch.ops(), Plain, b"c"), DELETED);
        batch.delete_range(Plain, KeyRange::new("a", "z"));
        batch.put(Plain, "e", "4");
        assert_eq!(overlay.look_up(batch.ops(), Plain, b"d"), DELETED);
        assert_eq!(overlay.look_up(batch.ops(), Plain, b"e"), value("4"));
        assert_eq!(overlay.look_up(batch.ops(), Plain, b"z"), None);
        assert_eq!(overlay.look_up(batch.ops(), Lock, b"c"), value("2"));
        overlay.clear();
        batch.clear();
        assert_eq!(overlay.look_up(batch.ops(), Plain, b"d"), None);
    }

    #[test]
    fn deleted_ranges_join() {
        type Ranges = &'static [(&'static str, &'static str)];
        let cases: [(Ranges, Ranges); 7] = [
            (&[("b", "c"), ("d", "e")], &[("b", "c"), ("d", "e")]),
            (&[("b", "c"), ("c", "d")], &[("b", "d")]),
            (&[("c", "d"), ("b", "c")], &[("b", "d")]),
            (&[("b", "c"), ("e", "f"), ("h", "i"), ("c", "e")], &[("b", "f"), ("h", "i")]),
            (&[("b", "e"), ("c", "d")], &[("b", "e")]),
            (&[("c", "d"), ("e", "f"), ("b", "")], &[("b", "")]),
            (&[("c", ""), ("a", "b"), ("d", "e")], &[("a", "b"), ("c", "")]),
        ];
        for (added, expected) in cases {
            let mut family = FamilyOverlay::default();
            added.iter().for_each(|(start, end)| family.delete_range(KeyRange::new(*start, *end)));
            let joined = family.deleted.iter().map(|(start, end)| (&start[..], &end[..]));
            let expected = expected.iter().map(|(start, end)| (start.as_bytes(), end.as_bytes()));
            assert!(joined.eq(expected), "{added:?} became {:?}", family.deleted);
        }
    }

    #[test]
    #[should_panic(expected = "the overlay holds 1 changes, the batch 0")]
    fn a_rolled_back_change_must_not_have_been_looked_at() {
        let (mut batch, mut overlay) = (StateBatch::default(), Overlay::default());
        let before = batch.save_point();
        batch.put(Plain, "c", "1");
        overlay.look_up(batch.ops(), Plain, b"c");
        batch.roll_back(before);
        overlay.look_up(batch.ops(), Plain, b"c");
    }
}
