//! Comparing replicas on a timer.

use std::time::Duration;

use region::Role;
use slog::{Logger, debug};
use store::StoreHandle;
use tokio::time::{MissedTickBehavior, interval};
use types::RegionId;

/// Has the replicas of one region after the other compared that is led here, one in each interval; none when it is zero.
/// Runs until it is dropped.
pub(in crate::node) async fn check_consistency(store: StoreHandle, each: Duration, logger: Logger) {
    if each.is_zero() {
        return;
    }
    let mut ticks = interval(each);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = RegionId(0);
    loop {
        ticks.tick().await;
        let led = store.regions().into_iter().filter(|view| view.role == Role::Leader);
        if let Some(region) = next(last, led.map(|view| view.descriptor.id)) {
            debug!(logger, "a region's replicas are compared"; "region_id" => region.0);
            store.check_consistency(region);
            last = region;
        }
    }
}

/// The region behind `last` in the order of their ids, or the first one again.
fn next(last: RegionId, regions: impl Iterator<Item = RegionId>) -> Option<RegionId> {
    regions.min_by_key(|region| (*region <= last, *region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_gets_its_turn() {
        let mut last = RegionId(0);
        let turns: Vec<u64> = (0..5)
            .filter_map(|_| {
                last = next(last, [7, 2, 5].map(RegionId).into_iter())?;
                Some(last.0)
            })
            .collect();
        assert_eq!(turns, [2, 5, 7, 2, 5]);
        assert_eq!(next(last, std::iter::empty()), None);
    }
}
