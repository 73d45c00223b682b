//! Whether a region is too large or has too many keys, and how large its parts are to be.

use super::config::SplitConfig;
use super::flow::RegionFlow;

/// About how much a region holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionSize {
    /// Bytes, as they lie on disk.
    pub bytes: u64,
    /// Keys.
    pub keys: u64,
}

/// The share of a region's keys that are written before it is measured again.
const CHECK_DIFF_SHARE: u64 = 16;

impl SplitConfig {
    /// Whether so much was written since the last look that the region is worth another one.
    pub(crate) fn is_due(&self, written: RegionFlow) -> bool {
        written.written_bytes >= self.check_diff_bytes.max(1)
            || written.written_keys >= (self.region_keys / CHECK_DIFF_SHARE).max(1)
    }

    /// About how many bytes the parts of a region of this size should have; nothing when it stays whole.
    pub(crate) fn part_bytes(&self, size: RegionSize) -> Option<u64> {
        let exceeds = |amount: u64, limit: u64| limit > 0 && amount >= limit;
        let by_bytes = exceeds(size.bytes, self.max_region_bytes).then_some(self.region_bytes);
        // The engine cuts by bytes: a part has its share of the keys when it has the same share of the bytes.
        let share = u128::from(size.bytes) * u128::from(self.region_keys) / u128::from(size.keys.max(1));
        let by_keys = exceeds(size.keys, self.max_region_keys).then_some(share as u64);
        by_bytes.into_iter().chain(by_keys).min().map(|bytes| bytes.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SplitConfig {
        SplitConfig::default().with_region_bytes(1_000).with_region_keys(100)
    }

    fn parts(bytes: u64, keys: u64) -> Option<u64> {
        config().part_bytes(RegionSize { bytes, keys })
    }

    #[test]
    fn a_region_is_cut_at_half_as_much_again_into_parts_of_the_wanted_size() {
        assert_eq!(parts(1_499, 149), None);
        assert_eq!(parts(1_500, 10), Some(1_000), "by size");
        assert_eq!(parts(600, 150), Some(400), "by keys: a hundred of a hundred and fifty keys");
        assert_eq!(parts(3_000, 600), Some(500), "by both: the smaller parts keep both bounds");
        assert_eq!(parts(100_000, 150), Some(1_000));
        assert_eq!(parts(0, 1_000), Some(1), "an estimate of nothing is no size to cut by, but no reason to divide by");
        assert_eq!(config().never().part_bytes(RegionSize { bytes: u64::MAX, keys: u64::MAX }), None);
    }

    #[test]
    fn a_region_is_looked_at_when_enough_was_written() {
        let written = |written_bytes, written_keys| RegionFlow { written_bytes, written_keys, ..RegionFlow::default() };
        let config = SplitConfig::default().with_region_bytes(1_600).with_region_keys(160);
        assert!(!config.is_due(written(99, 9)));
        assert!(config.is_due(written(100, 0)) && config.is_due(written(0, 10)));
        let tiny = SplitConfig::default().with_region_bytes(0).with_region_keys(0);
        assert!(!tiny.is_due(written(0, 0)), "what was not written to is not looked at");
    }
}
