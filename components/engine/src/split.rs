//! Where a range is to be cut so that its parts are of about the same size, without reading it.
//!
//! The range is halved again and again, each time at the first key behind the middle of its key space, until the pieces
//! are small next to a part; the engine's own estimate says how large a piece is. That takes a few dozen seeks and
//! estimates for each cut, whatever the range holds.

use bytes::Bytes;
use types::{ColumnFamily, KeyRange};

use crate::error::Result;
use crate::state::{Family, IterRange, StateEngine};

/// A part is put together from about this many pieces: the cuts are off by a piece at most.
const PIECES_PER_PART: u64 = 8;

/// Most halvings between a piece and the whole range; keys that crowd behind a long common beginning end earlier as
/// one piece.
const MAX_DEPTH: u32 = 64;

/// Keys at which to cut a range into parts of about `part_bytes`, ascending and strictly inside of the range; at most
/// `max_keys`, the lowest ones. Empty when the range is smaller than two parts, or has too few keys.
///
/// # Errors
/// The engine's.
pub fn split_keys(state: &dyn StateEngine, range: &KeyRange, part_bytes: u64, max_keys: usize) -> Result<Vec<Bytes>> {
    let part_bytes = part_bytes.max(1);
    let pieces = pieces(state, range, (part_bytes / PIECES_PER_PART).max(1))?;
    let mut left: u64 = pieces.iter().map(|piece| piece.bytes).sum();
    let (mut keys, mut part) = (Vec::new(), 0);
    for piece in pieces {
        // What is left over joins the last part when it would be less than half of one.
        if part >= part_bytes && left >= part_bytes / 2 && keys.len() < max_keys && piece.start > range.start {
            keys.push(piece.start);
            part = 0;
        }
        part += piece.bytes;
        left -= piece.bytes;
    }
    Ok(keys)
}

/// The key behind about half of a range's bytes; nothing when the range holds less than two keys.
///
/// # Errors
/// The engine's.
pub fn middle_key(state: &dyn StateEngine, range: &KeyRange) -> Result<Option<Bytes>> {
    let bytes = state.approximate_bytes(range)?;
    let pieces = pieces(state, range, (bytes / (2 * PIECES_PER_PART)).max(1))?;
    let half = pieces.iter().map(|piece| piece.bytes).sum::<u64>() / 2;
    let mut before = 0;
    let mut nearest: Option<(u64, Bytes)> = None;
    for piece in pieces {
        let distance = half.abs_diff(before);
        if piece.start > range.start && before > 0 && nearest.as_ref().is_none_or(|(best, _)| distance < *best) {
            nearest = Some((distance, piece.start));
        }
        before += piece.bytes;
    }
    Ok(nearest.map(|(_, key)| key))
}

/// A run of keys and about how many bytes it takes.
struct Piece {
    /// Its first key.
    start: Bytes,
    bytes: u64,
}

fn pieces(state: &dyn StateEngine, range: &KeyRange, resolution: u64) -> Result<Vec<Piece>> {
    let keys = Keys { state };
    let mut pieces = Vec::new();
    if let Some((first, last)) = keys.ends(range)? {
        // Still to be cut, the lowest last: its range from its first key on, its last key, how often it may be halved.
        // Each ends where the next begins: an estimate counts whole blocks, and must not lose those between two pieces.
        let end = successor(&last);
        let mut waiting = vec![(KeyRange { start: first, end }, last, MAX_DEPTH)];
        while let Some((run, last, depth)) = waiting.pop() {
            let bytes = state.approximate_bytes(&run)?;
            let cut = if bytes <= resolution || depth == 0 { None } else { keys.cut(&run.start, &last)? };
            match cut {
                Some((before, behind)) => {
                    waiting.push((KeyRange { start: behind.clone(), end: run.end }, last, depth - 1));
                    waiting.push((KeyRange { start: run.start, end: behind }, before, depth - 1));
                }
                None => pieces.push(Piece { start: run.start, bytes }),
            }
        }
    }
    Ok(pieces)
}

/// The user keys of all column families.
struct Keys<'a> {
    state: &'a dyn StateEngine,
}

impl Keys<'_> {
    /// The first and the last key of a range.
    fn ends(&self, range: &KeyRange) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.first(range)?.zip(self.last(range)?))
    }

    /// Two neighbours between which to cut: near the middle of the key space from `first` to `last`, both of which are
    /// keys. Nothing when they are the same.
    fn cut(&self, first: &Bytes, last: &Bytes) -> Result<Option<(Bytes, Bytes)>> {
        if first == last {
            return Ok(None);
        }
        let middle = middle(first, last);
        let behind = self.first(&KeyRange { start: middle.clone(), end: successor(last) })?;
        let before = self.last(&KeyRange { start: first.clone(), end: middle })?;
        Ok(before.zip(behind))
    }

    fn first(&self, range: &KeyRange) -> Result<Option<Bytes>> {
        let mut found: Option<Bytes> = None;
        for family in ColumnFamily::ALL {
            let mut iter = self.state.iter(Family::User(family), key_only(range))?;
            if iter.seek_to_first()? && found.as_ref().is_none_or(|found| iter.key() < &found[..]) {
                found = Some(Bytes::copy_from_slice(iter.key()));
            }
        }
        Ok(found)
    }

    fn last(&self, range: &KeyRange) -> Result<Option<Bytes>> {
        let mut found: Option<Bytes> = None;
        for family in ColumnFamily::ALL {
            let mut iter = self.state.iter(Family::User(family), key_only(range))?;
            if iter.seek_to_last()? && found.as_ref().is_none_or(|found| iter.key() > &found[..]) {
                found = Some(Bytes::copy_from_slice(iter.key()));
            }
        }
        Ok(found)
    }
}

fn key_only(range: &KeyRange) -> IterRange {
    IterRange { range: range.clone(), key_only: true, skip_cache: true }
}

fn successor(key: &Bytes) -> Bytes {
    [key.as_ref(), &[0]].concat().into()
}

/// A string above `low` and not above `high`, near the middle of the two: of the eight bytes behind what they have in
/// common.
fn middle(low: &[u8], high: &[u8]) -> Bytes {
    let common = low.iter().zip(high).take_while(|(low, high)| low == high).count();
    let number = |key: &[u8]| {
        let mut window = [0; 8];
        let tail = &key[common.min(key.len())..];
        let length = tail.len().min(8);
        window[..length].copy_from_slice(&tail[..length]);
        u64::from_be_bytes(window)
    };
    let (from, to) = (number(low), number(high));
    let middle = [&high[..common], &(from + (to - from).div_ceil(2)).to_be_bytes()].concat();
    // The eight bytes say nothing about what follows them.
    if &middle[..] > low && &middle[..] <= high { middle.into() } else { Bytes::copy_from_slice(high) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use types::seed::Rng;

    use super::*;
    use crate::memory::MemDisk;
    use crate::state::StateBatch;

    fn engine(pairs: impl IntoIterator<Item = (Vec<u8>, usize)>) -> impl StateEngine {
        let state = MemDisk::default().open_state().unwrap();
        let mut batch = StateBatch::default();
        for (at, (key, bytes)) in pairs.into_iter().enumerate() {
            batch.put(ColumnFamily::ALL[at % 3], key, vec![7; bytes]);
        }
        state.write(&batch).unwrap();
        state
    }

    /// Cuts everything, and checks that every part but the last is of about the wanted size.
    fn check_even(state: &dyn StateEngine, part: u64, at_least: usize) {
        let keys = split_keys(state, &KeyRange::all(), part, usize::MAX).unwrap();
        assert!(keys.len() >= at_least, "only {} cuts", keys.len());
        assert!(keys.is_sorted_by(|left, right| left < right));
        let starts = std::iter::once(Bytes::new()).chain(keys.iter().cloned());
        for (start, end) in starts.zip(&keys) {
            let bytes = state.approximate_bytes(&KeyRange { start, end: end.clone() }).unwrap();
            assert!((part..=part + part / 2).contains(&bytes), "a part of {bytes} bytes instead of {part}");
        }
    }

    #[test]
    fn even_keys_are_cut_evenly() {
        check_even(&engine((0..5_000).map(|at| (format!("user{at:08}").into_bytes(), 100))), 20_000, 20);
    }

    #[test]
    fn keys_that_crowd_are_cut_evenly() {
        // All but a few keys lie behind a long common beginning, in a corner of the key space.
        let mut rng = Rng::new(5);
        let crowd = (0..5_000).map(move |_| {
            let tail = rng.next_u64() >> (rng.below(40) + 8);
            ([&[9; 40][..], &tail.to_be_bytes()].concat(), 100)
        });
        let outliers = [(vec![0], 10), (vec![0xFF; 9], 10)];
        check_even(&engine(crowd.chain(outliers)), 20_000, 15);
    }

    #[test]
    fn cuts_lie_strictly_inside() {
        let state = engine((0..100).map(|at| (vec![at], 1_000)));
        let range = KeyRange::new(vec![10], vec![20]);
        let keys = split_keys(&state, &range, 2_000, usize::MAX).unwrap();
        assert!(!keys.is_empty());
        assert!(keys.iter().all(|key| range.contains(key) && *key != range.start), "{keys:?}");
        assert_eq!(split_keys(&state, &range, 2_000, 2).unwrap(), keys[..2]);
        assert!(split_keys(&state, &range, 1 << 20, usize::MAX).unwrap().is_empty());
    }

    #[test]
    fn the_middle_is_in_the_middle() {
        let state = engine((0..=255).map(|at| (vec![at], 500)));
        let middle = middle_key(&state, &KeyRange::all()).unwrap().unwrap();
        assert!((112..=144).contains(&middle[0]), "{middle:?}");
        // Half of the bytes, not half of the keys.
        let state = engine((0..=255).map(|at| (vec![at], if at < 240 { 10 } else { 5_000 })));
        let middle = middle_key(&state, &KeyRange::all()).unwrap().unwrap();
        assert!((244..=251).contains(&middle[0]), "{middle:?}");
    }

    #[test]
    fn what_cannot_be_cut_is_not_cut() {
        let nothing = engine([]);
        assert!(split_keys(&nothing, &KeyRange::all(), 1, 9).unwrap().is_empty());
        assert_eq!(middle_key(&nothing, &KeyRange::all()).unwrap(), None);
        let one = engine([(b"only".to_vec(), 1 << 20)]);
        assert!(split_keys(&one, &KeyRange::all(), 1, 9).unwrap().is_empty());
        assert_eq!(middle_key(&one, &KeyRange::all()).unwrap(), None);
        let two = engine([(b"a".to_vec(), 9), (b"b".to_vec(), 9)]);
        assert_eq!(middle_key(&two, &KeyRange::all()).unwrap().as_deref(), Some(&b"b"[..]));
    }

    #[test]
    fn a_middle_lies_above_the_low_end_and_not_above_the_high_one() {
        let mut rng = Rng::new(3);
        for _ in 0..2_000 {
            let mut key = || (0..rng.below(12)).map(|_| rng.below(3) as u8 * 127).collect::<Vec<u8>>();
            let (left, right) = (key(), key());
            let (low, high) = if left < right { (left, right) } else { (right, left) };
            if low != high {
                let middle = middle(&low, &high);
                assert!(middle[..] > low[..] && middle[..] <= high[..], "{low:?} {middle:?} {high:?}");
            }
        }
    }
}
