//! What the requests of late were about, as a bounded sample.

use bytes::Bytes;
use types::KeyRange;
use types::seed::Rng;

/// Most requests that a sample holds.
pub(crate) const MAX_SAMPLES: usize = 128;

/// Requests about longer keys than this are left out, so that a sample stays small.
const MAX_SAMPLED_KEY_BYTES: usize = 1 << 10;

/// A sample in which every request since it was taken last has the same chance to be.
///
/// One request of each stride is taken, at a place drawn by chance so that no regular pattern hides from it. A full sample
/// gives up every second request and doubles the stride.
pub(crate) struct Samples {
    rng: Rng,
    stride: u64,
    /// How many requests are let pass before the next one is taken.
    pass: u64,
    taken: Vec<KeyRange>,
}

impl Samples {
    /// Nothing yet; chance comes from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), stride: 1, pass: 0, taken: Vec::new() }
    }

    /// A request about keys.
    pub(crate) fn note(&mut self, keys: &KeyRange) {
        if self.pass > 0 {
            self.pass -= 1;
            return;
        }
        if self.taken.len() == MAX_SAMPLES {
            let mut keep = false;
            self.taken.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
        self.pass = self.rng.below(2 * self.stride - 1);
        if keys.start.len().max(keys.end.len()) <= MAX_SAMPLED_KEY_BYTES {
            // A copy of its own: the request's bytes may be a slice of a much larger message.
            let copy = |key: &Bytes| Bytes::copy_from_slice(key);
            self.taken.push(KeyRange { start: copy(&keys.start), end: copy(&keys.end) });
        }
    }

    /// Hands the sample out and begins a new one.
    pub(crate) fn take(&mut self) -> Vec<KeyRange> {
        (self.stride, self.pass) = (1, 0);
        std::mem::take(&mut self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> KeyRange {
        let key = n.to_be_bytes();
        KeyRange { start: Bytes::copy_from_slice(&key), end: [&key[..], &[0]].concat().into() }
    }

    #[test]
    fn few_requests_are_all_taken() {
        let mut samples = Samples::new(1);
        (0..MAX_SAMPLES as u64).for_each(|n| samples.note(&key(n)));
        assert_eq!(samples.take(), (0..MAX_SAMPLES as u64).map(key).collect::<Vec<_>>());
        assert!(samples.take().is_empty(), "a sample is handed out once");
    }

    #[test]
    fn of_many_requests_each_has_the_same_chance() {
        let mut samples = Samples::new(1);
        let (mut early, mut total) = (0, 0);
        for _ in 0..50 {
            (0..100_000).for_each(|n| samples.note(&key(n)));
            let taken = samples.take();
            assert!((MAX_SAMPLES / 2..=MAX_SAMPLES).contains(&taken.len()), "{} are taken", taken.len());
            early += taken.iter().filter(|range| range.start < key(50_000).start).count();
            total += taken.len();
        }
        assert!((total * 2 / 5..total * 3 / 5).contains(&early), "{early} of {total} are of the first half");
    }

    #[test]
    fn a_pattern_as_long_as_the_stride_does_not_hide() {
        let mut samples = Samples::new(1);
        (0..1 << 16).for_each(|n| samples.note(&key(n % 64)));
        let taken = samples.take();
        let low = taken.iter().filter(|range| range.start < key(32).start).count();
        assert!((taken.len() / 4..taken.len() * 3 / 4).contains(&low), "{low} of {} are low", taken.len());
    }

    #[test]
    fn requests_about_long_keys_are_left_out() {
        let mut samples = Samples::new(1);
        samples.note(&KeyRange::new(vec![b'k'; MAX_SAMPLED_KEY_BYTES + 1], ""));
        assert!(samples.take().is_empty());
    }
}
