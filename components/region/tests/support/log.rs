//! A log engine in memory with nothing but what a region needs. What is written is durable.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use engine::{
    Durability, Entry, LogBatch, LogEngine, LogOp, LogStatistics, RegionLog, RegionLogState, Result, StoreIdent,
};
use types::{InstanceId, LogIndex, PeerId, RegionId, StoreId, Term};

#[derive(Default)]
struct Contents {
    state: Option<RegionLogState>,
    entries: BTreeMap<u64, Entry>,
}

/// The log of one region.
#[derive(Default)]
pub struct TestLog(Mutex<Contents>);

impl TestLog {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }
}

impl LogEngine for TestLog {
    fn write(&self, batch: LogBatch, _durability: Durability) -> Result<()> {
        let mut contents = self.lock();
        for op in batch.ops {
            let LogOp::Append { peer, entries, hard_state, .. } = op else { panic!("a region only appends") };
            if let Some(first) = entries.first() {
                contents.entries.split_off(&first.index);
            }
            contents.entries.extend(entries.into_iter().map(|entry| (entry.index, entry)));
            contents.state = Some(RegionLogState { peer, hard_state });
        }
        Ok(())
    }

    fn ident(&self) -> Result<Option<StoreIdent>> {
        Ok(None)
    }

    fn instances(&self) -> Result<Vec<(StoreId, InstanceId)>> {
        Ok(Vec::new())
    }

    fn regions(&self) -> Result<Vec<RegionLog>> {
        Ok(self.region(RegionId(1))?.into_iter().collect())
    }

    fn region(&self, region: RegionId) -> Result<Option<RegionLog>> {
        let contents = self.lock();
        let ends = (contents.entries.first_key_value(), contents.entries.last_key_value());
        let bounds = match ends {
            (Some((first, _)), Some((last, _))) => Some((LogIndex(*first), LogIndex(*last))),
            _ => None,
        };
        Ok(Some(RegionLog { region, lifecycle: None, state: contents.state, commit_floor: LogIndex(0), bounds }))
    }

    fn entries(&self, _: RegionId, _: PeerId, low: LogIndex, high: LogIndex, max_bytes: u64) -> Result<Vec<Entry>> {
        let contents = self.lock();
        let mut bytes = 0;
        let mut entries = Vec::new();
        for (_, entry) in contents.entries.range(low.0..high.0) {
            entries.push(entry.clone());
            bytes += entry.data.len() as u64;
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(entries)
    }

    fn term(&self, _: RegionId, _: PeerId, index: LogIndex) -> Result<Option<Term>> {
        Ok(self.lock().entries.get(&index.0).map(|entry| Term(entry.term)))
    }

    fn approximate_bytes(&self, _: RegionId, low: LogIndex, high: LogIndex) -> Result<u64> {
        Ok(self.lock().entries.range(low.0..high.0).map(|(_, entry)| entry.data.len() as u64 + 64).sum())
    }

    fn statistics(&self) -> LogStatistics {
        LogStatistics::default()
    }
}
