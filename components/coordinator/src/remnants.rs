//! What is answered for keys that no region claims just now.
//!
//! A split is reported part by part, in whatever order: its parent has shrunk before a child is known, or a child is known
//! and its parent gone. In between nobody claims keys that somebody had. Until somebody does, clients are told who had them
//! last, as they would have been a moment before: the store that they ask corrects them by the newer epoch. "No region"
//! would be the end of their request (wire.md A1).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use types::{KeyRange, RegionDescriptor};

use crate::routing::RegionInfo;

/// Most that are kept; beyond that, keys that nobody claims are in no region.
pub(crate) const MAX_REMNANTS: usize = 16 << 10;

/// What is left of a region that reported another range since, or made way for others.
#[derive(Debug)]
pub(crate) struct Remnant {
    /// The region as it was, with the part of its range that nobody claims.
    pub(crate) left: RegionInfo,
    /// The region as it was.
    pub(crate) whole: RegionInfo,
}

/// Remnants by the first key that is left of them. They share no key with each other, nor with any region.
#[derive(Debug, Default)]
pub(crate) struct Remnants(BTreeMap<Bytes, Remnant>);

impl Remnants {
    /// A region claims a range.
    pub(crate) fn claim(&mut self, range: &KeyRange) {
        let starts: Vec<Bytes> = self.overlapping(range).map(|remnant| remnant.left.start().clone()).collect();
        for start in starts {
            let remnant = self.0.remove(&start).expect("it was just found");
            self.keep(&remnant.whole, &remnant.left.descriptor.range, range);
        }
    }

    /// Keeps what a region had of `range` and `claimed` leaves of it.
    pub(crate) fn keep(&mut self, whole: &RegionInfo, range: &KeyRange, claimed: &KeyRange) {
        for range in outside(range, claimed).into_iter().filter(|range| !range.is_empty()) {
            if self.0.len() >= MAX_REMNANTS {
                return;
            }
            let descriptor = Arc::new(RegionDescriptor { range, ..(*whole.descriptor).clone() });
            let left = RegionInfo { descriptor, ..whole.clone() };
            self.0.insert(left.start().clone(), Remnant { left, whole: whole.clone() });
        }
    }

    /// The one that holds a key.
    pub(crate) fn at(&self, key: &[u8]) -> Option<&Remnant> {
        let (_, remnant) = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        Some(remnant).filter(|remnant| remnant.left.descriptor.range.contains(key))
    }

    /// The one that ends right before a key.
    pub(crate) fn ending_at(&self, key: &[u8]) -> Option<&Remnant> {
        let (_, remnant) = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key))).next_back()?;
        Some(remnant).filter(|remnant| remnant.left.descriptor.range.end == *key)
    }

    /// Those that share a key with a range, by their first keys.
    pub(crate) fn overlapping<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = &'a Remnant> {
        let first = self.at(&range.start).map_or_else(|| range.start.clone(), |found| found.left.start().clone());
        let range = range.clone();
        let behind = self.0.range::<[u8], _>((Bound::Included(&first[..]), Bound::Unbounded));
        behind
            .map(|(_, remnant)| remnant)
            .take_while(move |found| !range.is_empty() && range.is_below_end(found.left.start()))
    }
}

/// What a range has before and behind another one. Either may be empty.
fn outside(range: &KeyRange, other: &KeyRange) -> [KeyRange; 2] {
    // A range is empty when its end is not behind its start; the one without an end has no part behind it.
    let nothing = || KeyRange { start: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\0") };
    if !range.overlaps(other) {
        return [range.clone(), nothing()];
    }
    let before = if range.start < other.start {
        KeyRange { start: range.start.clone(), end: other.start.clone() }
    } else {
        nothing()
    };
    let behind = if !other.end.is_empty() && range.is_below_end(&other.end) {
        KeyRange { start: other.end.clone(), end: range.end.clone() }
    } else {
        nothing()
    };
    [before, behind]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> KeyRange {
        let (start, end) = text.split_once('-').expect("start-end");
        KeyRange::new(start.as_bytes().to_vec(), end.as_bytes().to_vec())
    }

    fn info(text: &str) -> RegionInfo {
        RegionInfo::unheard(RegionDescriptor { id: 1.into(), range: range(text), ..RegionDescriptor::default() })
    }

    fn show(remnants: &Remnants) -> String {
        let all = KeyRange::all();
        let ranges = remnants.overlapping(&all).map(|remnant| {
            let range = &remnant.left.descriptor.range;
            format!("{}-{}", range.start.escape_ascii(), range.end.escape_ascii())
        });
        ranges.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_left_of_a_range_lies_before_and_behind_what_is_claimed() {
        let cases = [
            ("b-f", "c-d", "b-c d-f"),
            ("b-f", "b-d", "d-f"),
            ("b-f", "d-f", "b-d"),
            ("b-f", "a-g", ""),
            ("b-f", "b-f", ""),
            ("b-f", "f-g", "b-f"),
            ("b-f", "-c", "c-f"),
            ("b-f", "c-", "b-c"),
            ("-", "c-d", "-c d-"),
            ("-", "-d", "d-"),
            ("-", "-", ""),
            ("b-", "c-", "b-c"),
        ];
        for (had, claimed, left) in cases {
            let mut remnants = Remnants::default();
            let whole = info(had);
            remnants.keep(&whole, &whole.descriptor.range, &range(claimed));
            assert_eq!(show(&remnants), left, "{had} without {claimed}");
        }
    }

    #[test]
    fn claims_cut_pieces_off_until_nothing_is_left() {
        let mut remnants = Remnants::default();
        remnants.keep(&info("b-f"), &range("b-f"), &range("c-d"));
        remnants.claim(&range("bb-e"));
        assert_eq!(show(&remnants), "b-bb e-f");
        assert_eq!(remnants.at(b"ee").map(|found| found.whole.clone()), Some(info("b-f")));
        assert_eq!((remnants.at(b"c").is_none(), remnants.at(b"f").is_none()), (true, true));
        assert_eq!(remnants.ending_at(b"bb").map(|found| found.left.start().clone()), Some("b".into()));
        assert!(remnants.ending_at(b"c").is_none() && remnants.ending_at(b"").is_none());
        remnants.claim(&range("-"));
        assert_eq!(show(&remnants), "");
    }

    #[test]
    fn there_is_a_bound() {
        let mut remnants = Remnants::default();
        for at in 0..MAX_REMNANTS + 10 {
            let had = KeyRange::new(format!("{at:08}"), format!("{at:08}x"));
            let whole = info("-");
            remnants.keep(&whole, &had, &range("zz-"));
        }
        assert_eq!(remnants.0.len(), MAX_REMNANTS);
    }
}
