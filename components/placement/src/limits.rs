//! How much may happen to a store at once.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{Instant, StoreId};

/// Regions up to this size cost a fifth.
const SMALL_REGION_BYTES: u64 = 20 << 20;

/// How much may be saved up while nothing happens.
const SAVED_UP: Duration = Duration::from_secs(60);

/// Something that is counted at a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Charge {
    /// A peer is added.
    Add,
    /// A peer is removed.
    Remove,
}

/// Tokens of each store. A bucket is one moment: when it will be full again.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreLimits {
    full_at: BTreeMap<(StoreId, Charge), Instant>,
}

fn cost(store_limit: u64, approximate_bytes: u64) -> Duration {
    let normal = Duration::from_secs(60) / u32::try_from(store_limit.max(1)).unwrap_or(u32::MAX);
    if approximate_bytes <= SMALL_REGION_BYTES { normal / 5 } else { normal }
}

impl StoreLimits {
    /// Whether a peer of that many bytes may be added to a store or removed from it now.
    pub(crate) fn allows(&self, now: Instant, store: StoreId, charge: Charge, store_limit: u64, bytes: u64) -> bool {
        let full_at = self.full_at.get(&(store, charge)).copied().unwrap_or(now).max(now);
        full_at.since(now) + cost(store_limit, bytes) <= SAVED_UP
    }

    /// Takes the tokens. People's operators take them too, though none stops them: the debt is bounded.
    pub(crate) fn take(&mut self, now: Instant, store: StoreId, charge: Charge, store_limit: u64, bytes: u64) {
        let full_at = self.full_at.entry((store, charge)).or_insert(now);
        let next = (*full_at).max(now) + cost(store_limit, bytes);
        *full_at = next.min(now + 2 * SAVED_UP);
    }

    /// Forgets a store.
    pub(crate) fn forget(&mut self, store: StoreId) {
        self.full_at.remove(&(store, Charge::Add));
        self.full_at.remove(&(store, Charge::Remove));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId(1);
    const LARGE: u64 = 1 << 30;

    fn take_all(limits: &mut StoreLimits, now: Instant, bytes: u64) -> u32 {
        let mut taken = 0;
        while limits.allows(now, STORE, Charge::Add, 15, bytes) {
            limits.take(now, STORE, Charge::Add, 15, bytes);
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_minute_holds_the_rate_and_small_regions_cost_a_fifth() {
        let mut limits = StoreLimits::default();
        assert_eq!(take_all(&mut limits, Instant::ORIGIN, LARGE), 15);
        assert_eq!(take_all(&mut limits, Instant::ORIGIN + Duration::from_secs(8), LARGE), 2);
        assert_eq!(take_all(&mut limits, Instant::ORIGIN + Duration::from_secs(3600), 1), 75, "no more is saved up");
        assert!(limits.allows(Instant::ORIGIN, STORE, Charge::Remove, 15, LARGE), "removing is counted apart");
    }

    #[test]
    fn debts_are_bounded_and_go_with_the_store() {
        let mut limits = StoreLimits::default();
        (0..1000).for_each(|_| limits.take(Instant::ORIGIN, STORE, Charge::Add, 15, LARGE));
        let later = Instant::ORIGIN + Duration::from_secs(65);
        assert!(limits.allows(later, STORE, Charge::Add, 15, LARGE));
        assert!(!limits.allows(Instant::ORIGIN, STORE, Charge::Add, 15, LARGE));
        limits.forget(STORE);
        assert!(limits.allows(Instant::ORIGIN, STORE, Charge::Add, 15, LARGE));
    }
}
