//! What L holds of every region, in memory: a write needs no read to check whose log it is (D7) or which old entries
//! an append replaces.

use std::collections::BTreeMap;

use engine::{EngineError, Lifecycle};
use engine::{RegionLog, RegionLogState, Result};
use parking_lot::RwLock;
use types::{LogIndex, PeerId, RegionId};

/// Everything of one region but its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegionRecord {
    pub lifecycle: Option<Lifecycle>,
    pub state: Option<RegionLogState>,
    pub commit_floor: LogIndex,
    pub span: Option<Span>,
}

impl RegionRecord {
    /// Whether the engine need not remember the region.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks whose log it is (D7). A region without a state belongs to nobody yet.
    pub(crate) fn check_peer(&self, region: RegionId, requested: PeerId) -> Result<()> {
        match self.state {
            Some(state) if state.peer != requested => {
                Err(EngineError::PeerMismatch { region: region.0, requested: requested.0, actual: state.peer.0 })
            }
            _ => Ok(()),
        }
    }

    /// The record as the trait shows it.
    pub(crate) fn region_log(&self, region: RegionId) -> RegionLog {
        RegionLog {
            region,
            lifecycle: self.lifecycle,
            state: self.state,
            commit_floor: self.commit_floor,
            bounds: self.span.map(|span| (span.first, span.last)),
        }
    }
}

/// A region's entries: without a gap from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub first: LogIndex,
    pub last: LogIndex,
    /// About how many bytes they take: exact for what was appended, by share for what was cut off.
    pub bytes: u64,
}

impl Span {
    /// How many entries there are.
    fn count(&self) -> u128 {
        u128::from(self.last.0 - self.first.0) + 1
    }

    /// About how many bytes the entries from `low` to `high` (excluded) take.
    pub(crate) fn bytes_between(&self, low: LogIndex, high: LogIndex) -> u64 {
        let (low, high) = (u128::from(low.max(self.first).0), u128::from(high.0).min(u128::from(self.last.0) + 1));
        let share = u128::from(self.bytes) * high.saturating_sub(low) / self.count();
        share as u64
    }

    /// What is left without the entries below `end`.
    pub(crate) fn without_front(self, end: LogIndex) -> Option<Self> {
        if end > self.last {
            return None;
        }
        let first = end.max(self.first);
        Some(Self { first, bytes: self.bytes - self.bytes_between(self.first, first), ..self })
    }

    /// What is left without the entries from `start` on.
    pub(crate) fn without_back(self, start: LogIndex) -> Option<Self> {
        if start <= self.first {
            return None;
        }
        let last = self.last.min(start.previous());
        Some(Self { last, bytes: self.bytes_between(self.first, start), ..self })
    }
}

/// All regions. A batch takes the lock twice: to copy its regions' records before it is laid out, and to publish them
/// after it was written. Between the two only one writer per region may run, as the trait demands.
#[derive(Debug, Default)]
pub(crate) struct RegionTable {
    regions: RwLock<BTreeMap<RegionId, RegionRecord>>,
}

impl RegionTable {
    pub(crate) fn new(regions: BTreeMap<RegionId, RegionRecord>) -> Self {
        Self { regions: RwLock::new(regions) }
    }

    pub(crate) fn get(&self, region: RegionId) -> Option<RegionRecord> {
        self.regions.read().get(&region).copied()
    }

    /// The records of regions, in the order asked for; an empty one for a region without a record.
    pub(crate) fn get_all(&self, regions: impl Iterator<Item = RegionId>) -> Vec<(RegionId, RegionRecord)> {
        let table = self.regions.read();
        regions.map(|region| (region, table.get(&region).copied().unwrap_or_default())).collect()
    }

    pub(crate) fn all(&self) -> Vec<RegionLog> {
        self.regions.read().iter().map(|(region, record)| record.region_log(*region)).collect()
    }

    /// Takes over what was written.
    pub(crate) fn publish(&self, records: Vec<(RegionId, RegionRecord)>) {
        let mut table = self.regions.write();
        for (region, record) in records {
            if !record.is_empty() {
                table.insert(region, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64, bytes: u64) -> Span {
        Span { first: LogIndex(first), last: LogIndex(last), bytes }
    }

    #[test]
    fn cutting_a_span() {
        let whole = span(6, 15, 1000);
        assert_eq!(whole.without_front(LogIndex(6)), Some(whole));
        assert_eq!(whole.without_front(LogIndex(2)), Some(whole));
        assert_eq!(whole.without_front(LogIndex(8)), Some(span(8, 15, 800)));
        assert_eq!(whole.without_front(LogIndex(16)), None);
        assert_eq!(whole.without_back(LogIndex(16)), Some(whole));
        assert_eq!(whole.without_back(LogIndex(9)), Some(span(6, 8, 300)));
        assert_eq!(whole.without_back(LogIndex(6)), None);
        assert_eq!(whole.without_back(LogIndex(2)), None);
    }

    #[test]
    fn bytes_of_a_part_follow_its_share() {
        let whole = span(6, 15, 1000);
        assert_eq!(whole.bytes_between(LogIndex(0), LogIndex(u64::MAX)), 1000);
        assert_eq!(whole.bytes_between(LogIndex(8), LogIndex(10)), 200);
        assert_eq!(whole.bytes_between(LogIndex(10), LogIndex(8)), 0);
        assert_eq!(whole.bytes_between(LogIndex(16), LogIndex(20)), 0);
        let largest = span(0, u64::MAX, u64::MAX);
        assert_eq!(largest.bytes_between(LogIndex(0), LogIndex(u64::MAX)), u64::MAX - 1);
    }
}
