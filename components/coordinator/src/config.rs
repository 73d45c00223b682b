//! What may be tuned about the coordinator.

use bytes::Bytes;
use placement::PlacementConfig;
use types::{ClusterId, PlantedBugs, limits};

use crate::error::CoordinatorError;

/// Most regions that a cluster can be born with; their records are one write.
pub const MAX_INITIAL_REGIONS: usize = 16 << 10;

/// Most bytes of split keys, for the same reason.
pub const MAX_SPLIT_KEY_BYTES: usize = 1 << 20;

pub use placement::config::MAX_REPLICAS;

/// Settings of a coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// The id that a fresh cluster gets; drawn by the caller. An existing cluster keeps its own.
    pub cluster_id: ClusterId,
    /// On how many stores each region of a fresh cluster lies.
    pub replicas: usize,
    /// Where a fresh cluster's key space is cut, strictly ascending; one region more than there are keys.
    pub split_keys: Vec<Bytes>,
    /// How many stores must have joined before a fresh cluster is laid out. At least `replicas`.
    pub expected_stores: usize,
    /// How regions are placed, where people have not changed it since. Its number of replicas does not count: that is the
    /// one which the cluster was made with.
    pub placement: PlacementConfig,
    /// Bugs to be found by the simulator; always none in a build for users.
    pub planted: PlantedBugs,
}

impl CoordinatorConfig {
    /// Three replicas on three stores, and one region.
    pub fn new(cluster_id: ClusterId) -> Self {
        Self {
            cluster_id,
            replicas: 3,
            split_keys: Vec::new(),
            expected_stores: 3,
            placement: PlacementConfig::default(),
            planted: PlantedBugs::NONE,
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`CoordinatorError::Config`] with what is wrong and what would be right.
    pub fn validate(&self) -> Result<(), CoordinatorError> {
        let refuse = |reason: String| Err(CoordinatorError::Config { reason });
        if self.cluster_id == ClusterId(0) {
            return refuse("the cluster id must not be 0".to_owned());
        }
        if !(1..=MAX_REPLICAS).contains(&self.replicas) {
            return refuse(format!("replicas must be 1 to {MAX_REPLICAS}, not {}", self.replicas));
        }
        if self.expected_stores < self.replicas {
            return refuse(format!(
                "{} replicas of a region need as many stores: expect at least that many, not {}",
                self.replicas, self.expected_stores
            ));
        }
        self.validate_split_keys()
    }

    fn validate_split_keys(&self) -> Result<(), CoordinatorError> {
        let refuse = |reason: String| Err(CoordinatorError::Config { reason });
        if self.split_keys.len() >= MAX_INITIAL_REGIONS {
            return refuse(format!("{} split keys are more than {}", self.split_keys.len(), MAX_INITIAL_REGIONS - 1));
        }
        if self.split_keys.iter().any(|key| key.is_empty() || key.len() > limits::MAX_KEY_BYTES) {
            return refuse(format!("a split key must have 1 to {} bytes", limits::MAX_KEY_BYTES));
        }
        if self.split_keys.iter().map(Bytes::len).sum::<usize>() > MAX_SPLIT_KEY_BYTES {
            return refuse(format!("the split keys together must not exceed {MAX_SPLIT_KEY_BYTES} bytes"));
        }
        if !self.split_keys.is_sorted_by(|left, right| left < right) {
            return refuse("split keys must be strictly ascending".to_owned());
        }
        Ok(())
    }
}

/// Split keys that cut the space of all keys into `regions` parts of about the same width, by the first two bytes.
/// Fits keys that begin with evenly spread bytes, such as hashes.
///
/// # Panics
/// When `regions` is zero or above [`MAX_INITIAL_REGIONS`].
pub fn even_split_keys(regions: usize) -> Vec<Bytes> {
    assert!((1..=MAX_INITIAL_REGIONS).contains(&regions), "a cluster is born with 1 to {MAX_INITIAL_REGIONS} regions");
    (1..regions)
        .map(|index| {
            let prefix = u16::try_from(index * (1 << 16) / regions).expect("index is below regions");
            match prefix.to_be_bytes() {
                [first, 0] => Bytes::copy_from_slice(&[first]),
                both => Bytes::copy_from_slice(&both),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> CoordinatorConfig {
        CoordinatorConfig::new(ClusterId(7))
    }

    #[test]
    fn sixteen_regions_split_by_the_first_half_byte() {
        let keys = even_split_keys(16);
        assert_eq!(keys.len(), 15);
        assert!(keys.iter().enumerate().all(|(index, key)| key[..] == [(index as u8 + 1) << 4]));
        assert!(even_split_keys(1).is_empty());
    }

    #[test]
    fn even_keys_are_always_accepted() {
        for regions in [1, 2, 3, 5, 16, 100, 257, 1000, MAX_INITIAL_REGIONS] {
            let config = CoordinatorConfig { split_keys: even_split_keys(regions), ..config() };
            assert_eq!((config.split_keys.len() + 1, config.validate()), (regions, Ok(())));
        }
    }

    #[test]
    fn impossible_settings_are_refused() {
        let keys = |keys: &[&'static str]| keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
        let wrong = [
            CoordinatorConfig { cluster_id: ClusterId(0), ..config() },
            CoordinatorConfig { replicas: 0, ..config() },
            CoordinatorConfig { replicas: MAX_REPLICAS + 1, expected_stores: 99, ..config() },
            CoordinatorConfig { expected_stores: 2, ..config() },
            CoordinatorConfig { split_keys: keys(&["b", "a"]), ..config() },
            CoordinatorConfig { split_keys: keys(&["a", "a"]), ..config() },
            CoordinatorConfig { split_keys: keys(&["", "a"]), ..config() },
            CoordinatorConfig { split_keys: vec![Bytes::from(vec![1; limits::MAX_KEY_BYTES + 1])], ..config() },
        ];
        for config in wrong {
            assert!(matches!(config.validate(), Err(CoordinatorError::Config { .. })), "{config:?}");
        }
        assert_eq!(CoordinatorConfig { split_keys: keys(&["a", "b"]), ..config() }.validate(), Ok(()));
    }
}
