//! Timestamps: the `Tso` stream and `GetMinTS`.

use coordinator::{CoordinatorError, Request, Timestamp};
use observe::metrics::coordinator::CoordinatorRequest;
use proto::pdpb;
use tonic::{Status, Streaming};
use types::ClusterId;

use super::bridge::Bridge;
use super::call::{check_cluster, header};
use super::convert;
use super::exchange::Exchange;
use super::refusal::{Refusal, status};

async fn take(bridge: &Bridge, count: u32) -> Result<Timestamp, CoordinatorError> {
    bridge.ask(|reply| Request::Timestamps { count, reply }).await
}

/// A client's stream of timestamps. A stream cannot say an error in its answers' headers: clients that asked for
/// timestamps take any answer for one. So every error ends it.
pub(super) struct TimestampExchange {
    pub(super) bridge: Bridge,
    pub(super) cluster: ClusterId,
    pub(super) requests: Streaming<pdpb::TsoRequest>,
}

impl TimestampExchange {
    async fn answer(&self, request: &pdpb::TsoRequest) -> Result<pdpb::TsoResponse, Status> {
        check_cluster(request, self.cluster)?;
        let newest = take(&self.bridge, request.count).await.map_err(|error| status(&error))?;
        Ok(pdpb::TsoResponse {
            header: Some(header(self.cluster, None)),
            count: request.count,
            timestamp: Some(convert::timestamp(newest)),
        })
    }
}

impl Exchange for TimestampExchange {
    type Answer = pdpb::TsoResponse;

    async fn next(&mut self) -> Result<Option<pdpb::TsoResponse>, Status> {
        let Some(request) = self.requests.message().await? else { return Ok(None) };
        let measure = self.bridge.measure(CoordinatorRequest::Timestamp);
        self.answer(&request).await.inspect_err(|_| measure.failed()).map(Some)
    }
}

/// The oldest among the newest timestamps of all who give them: there is one, so it is simply a timestamp.
pub(super) async fn min_timestamp(bridge: Bridge, _: pdpb::GetMinTsRequest) -> Result<pdpb::GetMinTsResponse, Refusal> {
    let newest = take(&bridge, 1).await?;
    Ok(pdpb::GetMinTsResponse { timestamp: Some(convert::timestamp(newest)), ..Default::default() })
}
