//! Calls about splits: ids before one, a report behind it.

use proto::pdpb;
pub use proto::pdpb::SplitReason;
use types::{PeerId, RegionDescriptor, RegionId};

use crate::pd::client::PdClient;
use crate::pd::error::PdError;

/// What a region that a split makes shall be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRegionIds {
    /// Its id.
    pub region: RegionId,
    /// Its peers, one for each member of the region that is split, in their order.
    pub peers: Vec<PeerId>,
}

impl PdClient {
    /// Takes ids for the regions that a split of `region` makes: `count` of them.
    ///
    /// # Errors
    /// [`PdError::Refused`] when the placement driver knows the region at a later epoch, or forbids splits.
    pub async fn ask_batch_split(
        &self,
        region: &RegionDescriptor,
        count: u32,
        reason: SplitReason,
    ) -> Result<Vec<NewRegionIds>, PdError> {
        const CALL: &str = "AskBatchSplit";
        let answer = self
            .call(CALL, |mut pd, header| async move {
                let request = pdpb::AskBatchSplitRequest {
                    header: Some(header),
                    region: Some(region.into()),
                    split_count: count,
                    reason: reason.into(),
                };
                pd.ask_batch_split(request).await
            })
            .await?;
        let whole = |ids: &pdpb::SplitId| ids.new_region_id != 0 && ids.new_peer_ids.len() == region.peers.len();
        if answer.ids.len() != count as usize || !answer.ids.iter().all(whole) {
            let members = region.peers.len();
            let problem =
                format!("ids of {count} regions with {members} peers were asked for, it has {:?}", answer.ids);
            return Err(PdError::Answer { call: CALL, problem });
        }
        let ids = answer.ids.into_iter().map(|ids| NewRegionIds {
            region: ids.new_region_id.into(),
            peers: ids.new_peer_ids.into_iter().map(PeerId).collect(),
        });
        Ok(ids.collect())
    }

    /// Reports the regions that a split made, in the order of their keys. For the placement driver's log alone: it learns
    /// of splits from heartbeats.
    pub async fn report_batch_split(&self, regions: &[RegionDescriptor]) -> Result<(), PdError> {
        self.call("ReportBatchSplit", |mut pd, header| async move {
            let regions = regions.iter().map(Into::into).collect();
            pd.report_batch_split(pdpb::ReportBatchSplitRequest { header: Some(header), regions }).await
        })
        .await?;
        Ok(())
    }
}
