//! How well places isolate replicas from each other, and how full stores are.

use crate::cluster::StoreCounts;
use crate::store::StoreState;

/// A difference at one level outweighs this many at the next.
const LEVEL_BASE: u64 = 100;

/// What a region costs beside its bytes: an empty one is not free.
const REGION_BYTES: u128 = 1 << 20;

/// A disk of unknown size.
const USUAL_CAPACITY_BYTES: u64 = 1 << 40;

/// The first level at which two stores are in different places. A store that does not say where it stands may stand
/// anywhere, so it differs from nobody.
pub(crate) fn differing_level(labels: &[String], left: &StoreState, right: &StoreState) -> Option<usize> {
    labels.iter().position(|key| {
        let (left, right) = (left.label(key), right.label(key));
        !left.is_empty() && !right.is_empty() && !left.eq_ignore_ascii_case(right)
    })
}

/// How well a store is isolated from others: the wider the level at which it differs from each, the better.
pub(crate) fn isolation<'a>(
    labels: &[String],
    store: &StoreState,
    others: impl IntoIterator<Item = &'a StoreState>,
) -> u64 {
    let score = |other: &StoreState| {
        let level = differing_level(labels, store, other)?;
        Some(LEVEL_BASE.pow((labels.len() - level - 1) as u32))
    };
    others.into_iter().filter(|other| other.id != store.id).filter_map(score).sum()
}

/// Whether a store is in another place than each of the others, at the level that must not be shared or above.
pub(crate) fn is_isolated<'a>(
    labels: &[String],
    level: &str,
    store: &StoreState,
    others: impl IntoIterator<Item = &'a StoreState>,
) -> bool {
    let Some(required) = labels.iter().position(|label| label == level) else { return true };
    others
        .into_iter()
        .filter(|other| other.id != store.id)
        .all(|other| differing_level(labels, store, other).is_some_and(|level| level <= required))
}

/// How full a store is, for comparison: what lies on it or is on its way, in millionths of its disk.
pub(crate) fn fill(store: &StoreState, counts: StoreCounts) -> u128 {
    let capacity = store.load.map_or(0, |load| load.capacity_bytes);
    let capacity = if capacity == 0 { USUAL_CAPACITY_BYTES } else { capacity };
    (u128::from(counts.bytes) + u128::from(counts.regions) * REGION_BYTES) * 1_000_000 / u128::from(capacity)
}

#[cfg(test)]
mod tests {
    use types::Instant;

    use super::*;

    fn store(id: u64, labels: &[(&str, &str)]) -> StoreState {
        StoreState {
            id: id.into(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            is_leaving: false,
            heard: Instant::ORIGIN,
            load: None,
        }
    }

    #[test]
    fn wider_levels_isolate_better() {
        let labels = ["zone".to_owned(), "rack".to_owned(), "host".to_owned()];
        let at = |id, zone, rack, host| store(id, &[("zone", zone), ("rack", rack), ("host", host)]);
        let others = [at(1, "z1", "r1", "h1"), at(2, "z1", "r2", "h1")];
        let score = |store: &StoreState| isolation(&labels, store, &others);
        assert_eq!(score(&at(9, "z2", "r1", "h1")), 20_000);
        assert_eq!(score(&at(9, "Z1", "r1", "h2")), 101);
        assert_eq!(score(&at(9, "z1", "r3", "h1")), 200);
        assert_eq!(score(&store(9, &[])), 0);
        assert_eq!(score(&at(1, "z1", "r1", "h1")), 100, "it is not compared with itself");
        let isolated = |level: &str, store: &StoreState| is_isolated(&labels, level, store, &others);
        assert!(isolated("zone", &at(9, "z2", "r1", "h1")) && !isolated("zone", &at(9, "z1", "r3", "h1")));
        assert!(isolated("rack", &at(9, "z1", "r3", "h1")) && !isolated("rack", &at(9, "z1", "r2", "h9")));
        assert!(isolated("", &others[0]) && !isolated("host", &store(9, &[])));
    }

    #[test]
    fn empty_regions_count_and_larger_disks_take_more() {
        let counts = |regions, bytes| StoreCounts { regions, bytes, ..StoreCounts::default() };
        let (small, mut large) = (store(1, &[]), store(2, &[]));
        assert!(fill(&small, counts(2, 0)) > fill(&small, counts(1, 0)));
        large.load = Some(crate::StoreLoad { capacity_bytes: USUAL_CAPACITY_BYTES * 4, ..Default::default() });
        assert!(fill(&large, counts(4, 1 << 30)) < fill(&small, counts(2, 1 << 29)));
        let _ = fill(&small, counts(u64::MAX, u64::MAX));
    }
}
