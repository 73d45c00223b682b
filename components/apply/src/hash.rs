//! Hashing a region, so that replicas can be compared.

use engine::{Family, HashTask, IterRange, meta};
use types::ColumnFamily;
use xxhash_rust::xxh3::Xxh3Default;

/// The hash of a region at one index: of its descriptor, and of every key and value of its range in all column families.
///
/// Two replicas that applied the same entries have the same hash. Reads the whole region: not for a poller.
///
/// # Errors
/// The engine's.
pub fn hash_region(task: &HashTask) -> engine::Result<u64> {
    let mut hash = Xxh3Default::new();
    hash.update(&meta::encode_descriptor(&task.descriptor));
    for family in ColumnFamily::ALL {
        let range = IterRange { range: task.descriptor.range.clone(), key_only: false, skip_cache: true };
        let mut iter = task.data.iter(Family::User(family), range)?;
        let mut valid = iter.seek_to_first()?;
        while valid {
            hash.update(&[family as u8]);
            // Lengths first: else the border between two neighbours could move unnoticed.
            for part in [iter.key(), iter.value()] {
                hash.update(&(part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            valid = iter.next()?;
        }
    }
    Ok(hash.digest())
}
