//! The keys of the load, and where the regions are cut so that each gets its share of them.

use bytes::Bytes;
use types::seed::Seed;

/// The load's key with this number: 16 hexadecimal digits that spread evenly. Different numbers have different keys,
/// because the mixer behind [`Seed::hash`] of one part is a bijection.
pub fn load_key(number: u64) -> Bytes {
    Bytes::from(format!("{:016x}", Seed::default().hash(&[number])))
}

/// Where to cut the space of the load's keys into `regions` parts of about the same width: ascending prefixes.
pub fn split_keys(regions: usize) -> Vec<String> {
    (1..regions).map(|index| format!("{:04x}", (index << 16) / regions)).collect()
}

/// The value of the load's key with this number: as many bytes as asked for, and another one for every `run`, so that
/// what an earlier run left behind is not taken for what this one wrote.
pub fn load_value(run: Seed, number: u64, size: usize) -> Bytes {
    let mut value = Vec::with_capacity(size + 15);
    for word in 0.. {
        if value.len() >= size {
            break;
        }
        value.extend_from_slice(format!("{:016x}", run.hash(&[number, word])).as_bytes());
    }
    value.truncate(size);
    value.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_region_gets_its_share_of_the_keys() {
        for regions in [1, 2, 3, 16, 100, 1000] {
            let splits = split_keys(regions);
            assert_eq!(splits.len(), regions - 1);
            assert!(splits.is_sorted_by(|left, right| left < right));
            let mut counts = vec![0; regions];
            let keys = 100 * regions as u64;
            for number in 0..keys {
                let key = load_key(number);
                counts[splits.partition_point(|split| split.as_bytes() <= &key[..])] += 1;
            }
            assert!(counts.iter().all(|count| (40..200).contains(count)), "{regions} regions: {counts:?}");
        }
    }

    #[test]
    fn the_most_regions_there_can_be_are_cut() {
        let splits = split_keys(coordinator::config::MAX_INITIAL_REGIONS);
        assert!(splits.is_sorted_by(|left, right| left < right));
    }

    #[test]
    fn keys_differ() {
        let keys: BTreeSet<_> = (0..10_000).map(load_key).collect();
        assert_eq!(keys.len(), 10_000);
    }

    #[test]
    fn values_have_their_size_and_differ_by_number_and_run() {
        for size in [0, 1, 16, 100] {
            assert_eq!(load_value(Seed(1), 1, size).len(), size);
        }
        assert_ne!(load_value(Seed(1), 1, 20), load_value(Seed(1), 2, 20));
        assert_ne!(load_value(Seed(1), 1, 20), load_value(Seed(2), 1, 20));
        assert_eq!(load_value(Seed(1), 1, 20), load_value(Seed(1), 1, 20));
    }
}
