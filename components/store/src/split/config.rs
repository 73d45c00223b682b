//! When a store splits its regions by itself.

use std::time::Duration;

/// When a store splits its regions by itself. A threshold of zero switches its reason off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitConfig {
    /// How often the regions that the store leads are looked over.
    pub check_interval: Duration,
    /// About how large the parts are that a large region is cut into.
    pub region_bytes: u64,
    /// The size at which a region is cut; above `region_bytes`, so that what is cut is not cut again soon.
    pub max_region_bytes: u64,
    /// About how many keys the parts have that a region of many keys is cut into.
    pub region_keys: u64,
    /// The number of keys at which a region is cut; above `region_keys`.
    pub max_region_keys: u64,
    /// Bytes written to a region after which it is measured again. A sixteenth of `region_keys` has it measured, too.
    pub check_diff_bytes: u64,
    /// Most keys at which a region is cut at once.
    pub keys_per_split: usize,
    /// Requests per second at which a region is busy.
    pub busy_requests_per_second: u64,
    /// Bytes read and written per second at which a region is busy.
    pub busy_bytes_per_second: u64,
    /// How many times one after the other a region must be found busy before it is cut.
    pub busy_checks: u32,
}

impl Default for SplitConfig {
    fn default() -> Self {
        let region_bytes = 256 << 20;
        let region_keys = 2_560_000;
        Self {
            check_interval: Duration::from_secs(10),
            region_bytes,
            max_region_bytes: region_bytes / 2 * 3,
            region_keys,
            max_region_keys: region_keys / 2 * 3,
            check_diff_bytes: region_bytes / 16,
            keys_per_split: 10,
            busy_requests_per_second: 3_000,
            busy_bytes_per_second: 30 << 20,
            busy_checks: 3,
        }
    }
}

impl SplitConfig {
    /// The same reasons scaled to regions of another size: whatever depends on it has its default share of it.
    #[must_use]
    pub fn with_region_bytes(self, bytes: u64) -> Self {
        Self { region_bytes: bytes, max_region_bytes: bytes / 2 * 3, check_diff_bytes: bytes / 16, ..self }
    }

    /// The same with another number of keys.
    #[must_use]
    pub fn with_region_keys(self, keys: u64) -> Self {
        Self { region_keys: keys, max_region_keys: keys / 2 * 3, ..self }
    }

    /// No reason at all: the store splits only what it is told to.
    #[must_use]
    pub fn never(self) -> Self {
        Self { max_region_bytes: 0, max_region_keys: 0, busy_requests_per_second: 0, busy_bytes_per_second: 0, ..self }
    }
}
