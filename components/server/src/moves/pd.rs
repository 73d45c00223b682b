//! Ids for new regions from the placement driver, and what it is told of splits.

use std::sync::Arc;

use client::{PdClient, SplitReason};
use slog::{Logger, debug, info};
use store::{RegionIds, SplitIds, SplitIdsAnswer};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use types::{RegionDescriptor, Responder};

use super::split::SplitReports;

/// Most calls under way at a time; whoever asks beyond is told that there are no ids now.
const MAX_CALLS: usize = 64;

/// The placement driver as those who split regions see it.
pub struct PdSplits {
    pd: PdClient,
    runtime: Handle,
    calls: Arc<Semaphore>,
    logger: Logger,
}

impl PdSplits {
    /// Asks `pd` from tasks of `runtime`.
    pub fn new(pd: PdClient, runtime: Handle, logger: Logger) -> Self {
        Self { pd, runtime, calls: Arc::new(Semaphore::new(MAX_CALLS)), logger }
    }
}

impl SplitIds for PdSplits {
    fn ask(&self, region: &RegionDescriptor, count: usize, responder: Responder<Option<SplitIdsAnswer>>) {
        let (Ok(permit), Ok(count)) = (Arc::clone(&self.calls).try_acquire_owned(), u32::try_from(count)) else {
            return responder.respond(None);
        };
        let (pd, logger, region) = (self.pd.clone(), self.logger.clone(), region.clone());
        self.runtime.spawn(async move {
            let answer = pd.ask_batch_split(&region, count, SplitReason::Admin).await;
            drop(permit);
            let ids = answer.inspect_err(|error| {
                info!(logger, "no ids for new regions"; "region_id" => region.id.0, "reason" => %error);
            });
            let ids = ids
                .ok()
                .map(|ids| ids.into_iter().map(|ids| RegionIds { region: ids.region, peers: ids.peers }).collect());
            responder.respond(ids);
        });
    }
}

impl SplitReports for PdSplits {
    /// The report is for the placement driver's log alone: one that gets lost is not missed.
    fn made(&self, regions: Vec<RegionDescriptor>) {
        let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() else { return };
        let (pd, logger) = (self.pd.clone(), self.logger.clone());
        self.runtime.spawn(async move {
            let _permit = permit;
            if let Err(error) = pd.report_batch_split(&regions).await {
                debug!(logger, "a split is not reported, heartbeats will tell"; "reason" => %error);
            }
        });
    }
}
