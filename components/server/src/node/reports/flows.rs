//! What passed through a region since it was reported last.

use std::collections::{BTreeMap, BTreeSet};

use proto::pdpb::TimeInterval;
use store::RegionFlow;
use types::RegionId;

/// Shorter intervals do not count (wire.md B): what passed meanwhile is told with a longer one.
const MIN_INTERVAL_SECONDS: u64 = 3;

/// The time between two reports. The placement driver divides by its length without looking: it ends behind its start even
/// where no second has passed, or the clock was put back.
pub(super) fn interval(since: u64, now: u64) -> TimeInterval {
    TimeInterval { start_timestamp: since, end_timestamp: now.max(since + 1) }
}

/// What was told of each region's flow, and when, in seconds since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct RegionFlows(BTreeMap<RegionId, (u64, RegionFlow)>);

impl RegionFlows {
    /// What passed since the last time, which is taken note of; nothing while that is too short ago. The first time there is
    /// nothing to compare with.
    pub(super) fn take(&mut self, region: RegionId, flow: RegionFlow, now: u64) -> (RegionFlow, TimeInterval) {
        let (since, told) = self.0.entry(region).or_insert((now, flow));
        let interval = interval(*since, now);
        if now.saturating_sub(*since) < MIN_INTERVAL_SECONDS {
            return (RegionFlow::default(), interval);
        }
        let passed = flow.since(*told);
        (*since, *told) = (now, flow);
        (passed, interval)
    }

    /// Forgets regions that are not among these.
    pub(super) fn keep(&mut self, regions: &BTreeSet<RegionId>) {
        self.0.retain(|region, _| regions.contains(region));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(written_keys: u64) -> RegionFlow {
        RegionFlow { written_keys, ..RegionFlow::default() }
    }

    #[test]
    fn what_passes_is_told_once_and_in_intervals_that_count() {
        let (mut flows, region) = (RegionFlows::default(), RegionId(1));
        let mut take = |written, now| {
            let (flow, interval) = flows.take(region, flow(written), now);
            (flow.written_keys, interval.start_timestamp, interval.end_timestamp)
        };
        assert_eq!(take(100, 50), (0, 50, 51), "what passed before is nobody's");
        assert_eq!(take(110, 52), (0, 50, 52));
        assert_eq!(take(120, 53), (20, 50, 53));
        assert_eq!(take(125, 60), (5, 53, 60));
        assert_eq!(take(3, 70), (0, 60, 70), "the counts began again");
        assert_eq!(take(9, 60), (0, 70, 71), "the clock was put back");
    }

    #[test]
    fn who_leads_again_begins_again() {
        let (mut flows, region) = (RegionFlows::default(), RegionId(1));
        flows.take(region, flow(5), 10);
        flows.keep(&BTreeSet::new());
        assert_eq!(flows.take(region, flow(500), 20).0, RegionFlow::default());
    }
}
