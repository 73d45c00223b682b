//! Where to cut a region that is asked for too much: where its requests part into two groups of about the same weight.

use std::time::Duration;

use bytes::Bytes;
use types::KeyRange;

use super::config::SplitConfig;
use super::flow::RegionFlow;

/// Fewer requests than these say nothing about where the load lies.
const MIN_SAMPLES: usize = 32;

/// Each side must get one in so many requests at least: a cut that moves less only makes a region more.
const LEAST_SHARE: usize = 4;

/// At most one in so many requests may need both sides: each of those becomes two.
const MOST_ACROSS_SHARE: usize = 4;

impl SplitConfig {
    /// Whether what passed in a time is so much that the region is busy.
    pub(crate) fn is_busy(&self, passed: RegionFlow, time: Duration) -> bool {
        let exceeds = |amount: u64, per_second: u64| {
            per_second > 0 && u128::from(amount) * 1_000 >= u128::from(per_second) * time.as_millis().max(1)
        };
        exceeds(passed.requests, self.busy_requests_per_second)
            || exceeds(passed.written_bytes + passed.read_bytes, self.busy_bytes_per_second)
    }
}

/// The key, strictly inside of the region, that divides what was asked for best; nothing when none takes load away: when
/// one key is all that is asked for, or most requests need both sides of any cut.
pub(crate) fn split_key(region: &KeyRange, samples: &[KeyRange]) -> Option<Bytes> {
    if samples.len() < MIN_SAMPLES {
        return None;
    }
    let mut starts: Vec<&Bytes> = samples.iter().map(|range| &range.start).collect();
    let mut ends: Vec<&Bytes> = samples.iter().map(|range| &range.end).filter(|end| !end.is_empty()).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let inside = |key: &&&Bytes| **key > &region.start && region.contains(key);
    let mut best: Option<((usize, usize), &Bytes)> = None;
    for key in starts.iter().chain(&ends).filter(inside) {
        let left = ends.partition_point(|end| end <= key);
        let right = samples.len() - starts.partition_point(|start| start < key);
        let (lighter, apart) = (left.min(right), left + right);
        let moves = lighter * LEAST_SHARE >= samples.len();
        let parts = (samples.len() - apart) * MOST_ACROSS_SHARE <= samples.len();
        if moves && parts && best.is_none_or(|(weight, _)| (lighter, apart) > weight) {
            best = Some(((lighter, apart), key));
        }
    }
    best.map(|(_, key)| key.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use types::seed::Rng;

    use super::*;

    fn point(key: u64) -> KeyRange {
        let key = format!("key{key:06}");
        KeyRange { end: format!("{key}\0").into(), start: key.into() }
    }

    fn region() -> KeyRange {
        KeyRange::new("key", "kez")
    }

    fn key_number(key: &Bytes) -> u64 {
        std::str::from_utf8(&key[3..9]).unwrap().parse().unwrap()
    }

    #[test]
    fn uniform_load_is_cut_in_its_middle() {
        let mut rng = Rng::new(1);
        let samples: Vec<_> = (0..128).map(|_| point(rng.below(1_000))).collect();
        let key = split_key(&region(), &samples).unwrap();
        assert!((400..600).contains(&key_number(&key)), "{key:?}");
    }

    #[test]
    fn the_middle_is_that_of_the_load_and_not_of_the_keys() {
        let mut rng = Rng::new(1);
        let samples = (0..128).map(|at| point(if at % 8 == 0 { rng.below(1_000) } else { 900 + rng.below(20) }));
        let key = split_key(&region(), &samples.collect::<Vec<_>>()).unwrap();
        assert!((900..920).contains(&key_number(&key)), "{key:?}");
    }

    #[test]
    fn one_hot_key_is_not_cut() {
        assert_eq!(split_key(&region(), &vec![point(7); 128]), None);
        let mut rng = Rng::new(1);
        // Seven in eight requests are for one key: whichever side it is on, the other gets next to nothing.
        let samples: Vec<_> = (0..128).map(|at| point(if at % 8 == 0 { rng.below(1_000) } else { 500 })).collect();
        assert_eq!(split_key(&region(), &samples), None);
    }

    #[test]
    fn two_hot_keys_are_cut_apart_once() {
        let samples: Vec<_> = (0..128).map(|at| point(at % 2)).collect();
        let key = split_key(&region(), &samples).unwrap();
        assert!(key > point(0).start && key <= point(1).start, "{key:?}");
        let right = KeyRange { start: key, ..region() };
        assert_eq!(split_key(&right, &vec![point(1); 128]), None, "what is left is one hot key");
        let at_start = KeyRange { start: point(1).start, ..region() };
        assert_eq!(split_key(&at_start, &vec![point(1); 128]), None, "nor is it cut off at its own start");
    }

    #[test]
    fn ranges_are_not_cut_through() {
        let all = vec![KeyRange::new("key0", "key9"); 128];
        assert_eq!(split_key(&region(), &all), None, "each would need both sides");
        assert_eq!(split_key(&region(), &vec![KeyRange::all(); 128]), None);
        let halves =
            (0..128).map(|at| if at % 2 == 0 { KeyRange::new("key1", "key5") } else { KeyRange::new("key5", "key8") });
        assert_eq!(split_key(&region(), &halves.collect::<Vec<_>>()).as_deref(), Some(&b"key5"[..]));
    }

    #[test]
    fn what_lies_outside_is_no_place_to_cut() {
        let samples: Vec<_> = (0..128).map(point).collect();
        assert_eq!(split_key(&KeyRange::new("a", "b"), &samples), None);
        assert_eq!(split_key(&region(), &samples[..MIN_SAMPLES - 1]), None, "too few to tell");
    }

    #[test]
    fn busy_is_a_rate() {
        let config =
            SplitConfig { busy_requests_per_second: 100, busy_bytes_per_second: 1_000, ..SplitConfig::default() };
        let flow =
            |requests, read_bytes| RegionFlow { requests, read_bytes, written_bytes: 500, ..RegionFlow::default() };
        let second = Duration::from_secs(1);
        assert!(!config.is_busy(flow(99, 499), second));
        assert!(config.is_busy(flow(100, 0), second) && config.is_busy(flow(0, 500), second));
        assert!(!config.is_busy(flow(100, 0), second * 2));
        assert!(!config.never().is_busy(flow(u64::MAX, u64::MAX / 2), second));
    }
}
