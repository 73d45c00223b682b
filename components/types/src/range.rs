//! Key ranges.

use std::fmt;

use bytes::Bytes;

/// The keys from `start` (included) to `end` (excluded). An empty `end` means that there is no upper bound.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key of the range.
    pub start: Bytes,
    /// The first key behind the range; empty for "no upper bound".
    pub end: Bytes,
}

impl KeyRange {
    /// The range of all keys.
    pub const fn all() -> Self {
        Self { start: Bytes::new(), end: Bytes::new() }
    }

    /// The keys from `start` to `end`.
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// Whether the key lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.is_below_end(key)
    }

    /// Whether the key lies below the upper bound.
    pub fn is_below_end(&self, key: &[u8]) -> bool {
        self.end.is_empty() || key < &self.end[..]
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }

    /// Whether `other` lies wholly in this range.
    pub fn encloses(&self, other: &Self) -> bool {
        other.start >= self.start && (self.end.is_empty() || (!other.end.is_empty() && other.end <= self.end))
    }

    /// Whether the two ranges share a key.
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.intersect(other).is_empty()
    }

    /// The keys that both ranges hold; possibly an empty range.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let start = self.start.clone().max(other.start.clone());
        let end = match (self.end.is_empty(), other.end.is_empty()) {
            (true, _) => other.end.clone(),
            (_, true) => self.end.clone(),
            _ => self.end.clone().min(other.end.clone()),
        };
        Self { start, end }
    }

    /// The upper bound as an iterator takes it.
    pub fn end_bound(&self) -> Option<&[u8]> {
        (!self.end.is_empty()).then_some(&self.end[..])
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", HexKey(&self.start), HexKey(&self.end))
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A key as logs and error messages show it: upper-case hex, as TiKV's tools print keys.
pub struct HexKey<'a>(pub &'a [u8]);

impl fmt::Display for HexKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange::new(start, end)
    }

    #[test]
    fn bounds() {
        assert!(range("a", "c").contains(b"a"));
        assert!(!range("a", "c").contains(b"c"));
        assert!(range("a", "").contains(b"zzz"));
        assert!(KeyRange::all().contains(b""));
        assert!(range("b", "a").is_empty());
        assert!(range("a", "a").is_empty());
        assert!(!range("a", "").is_empty());
    }

    #[test]
    fn relations() {
        assert!(KeyRange::all().encloses(&range("a", "")));
        assert!(!range("a", "c").encloses(&range("a", "")));
        assert!(range("a", "c").overlaps(&range("b", "")));
        assert!(!range("a", "c").overlaps(&range("c", "")));
        assert_eq!(range("a", "c").intersect(&range("b", "")), range("b", "c"));
        assert_eq!(range("a", "").intersect(&range("", "")), range("a", ""));
    }
}
