//! What every unary call has in common: whose cluster it is meant for, the header of its answer, and its metrics.

use std::future::Future;

use observe::metrics::coordinator::CoordinatorRequest;
use proto::pdpb::*;
use proto::{keyspacepb, pdpb};
use tonic::{Request, Response, Status};
use types::ClusterId;

use super::bridge::Bridge;
use super::refusal::Refusal;

/// A request with a header.
pub(super) trait Asked: Send + 'static {
    /// The cluster that it is meant for, zero when it does not say; `None` for one that need not say.
    fn cluster(&self) -> Option<u64>;
}

/// An answer with a header.
pub(super) trait Answered: Default + Send + 'static {
    /// Sets the header.
    fn set_header(&mut self, header: ResponseHeader);
}

macro_rules! asked {
    ($($message:ty,)*) => {
        $(impl Asked for $message {
            fn cluster(&self) -> Option<u64> {
                Some(self.header.as_ref().map_or(0, |header| header.cluster_id))
            }
        })*
    };
}

macro_rules! asked_by_anyone {
    ($($message:ty,)*) => {
        $(impl Asked for $message {
            fn cluster(&self) -> Option<u64> {
                None
            }
        })*
    };
}

macro_rules! answered {
    ($($message:ty,)*) => {
        $(impl Answered for $message {
            fn set_header(&mut self, header: ResponseHeader) {
                self.header = Some(header);
            }
        })*
    };
}

asked_by_anyone! { GetMembersRequest, GetClusterInfoRequest, }

asked! {
    TsoRequest, GetMinTsRequest, IsBootstrappedRequest, BootstrapRequest, AllocIdRequest, GetClusterConfigRequest,
    PutStoreRequest, GetStoreRequest, GetAllStoresRequest, StoreHeartbeatRequest, RegionHeartbeatRequest,
    GetRegionRequest, GetRegionByIdRequest, QueryRegionRequest, ScanRegionsRequest, BatchScanRegionsRequest,
    AskSplitRequest, ReportSplitRequest, SplitAndScatterRegionsRequest, AskBatchSplitRequest, ReportBatchSplitRequest, ReportBucketsRequest, SplitRegionsRequest, ScatterRegionRequest,
    GetOperatorRequest, GetGcSafePointRequest, UpdateGcSafePointRequest, UpdateServiceGcSafePointRequest,
    GetGcStateRequest, AdvanceTxnSafePointRequest, AdvanceGcSafePointRequest, ReportMinResolvedTsRequest,
    keyspacepb::LoadKeyspaceRequest,
}

answered! {
    GetMembersResponse, GetClusterInfoResponse, TsoResponse, GetMinTsResponse, IsBootstrappedResponse,
    BootstrapResponse, AllocIdResponse, GetClusterConfigResponse, PutStoreResponse, GetStoreResponse,
    GetAllStoresResponse, StoreHeartbeatResponse, RegionHeartbeatResponse, GetRegionResponse, QueryRegionResponse,
    ScanRegionsResponse, BatchScanRegionsResponse, AskSplitResponse, ReportSplitResponse,
    SplitAndScatterRegionsResponse, AskBatchSplitResponse, ReportBatchSplitResponse,
    ReportBucketsResponse, SplitRegionsResponse, ScatterRegionResponse, GetOperatorResponse, GetGcSafePointResponse,
    UpdateGcSafePointResponse, UpdateServiceGcSafePointResponse, GetGcStateResponse, AdvanceTxnSafePointResponse,
    AdvanceGcSafePointResponse, ReportMinResolvedTsResponse, keyspacepb::LoadKeyspaceResponse,
}

/// Refuses a request that is meant for another cluster.
pub(super) fn check_cluster(request: &impl Asked, cluster: ClusterId) -> Result<(), Status> {
    request.cluster().map_or(Ok(()), |asked| check_cluster_id(asked, cluster))
}

/// Refuses the id of another cluster.
pub(super) fn check_cluster_id(asked: u64, cluster: ClusterId) -> Result<(), Status> {
    if asked == cluster.0 {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "mismatch cluster id: the request is for cluster {asked}, this is cluster {cluster}; check the address"
    )))
}

/// The header of an answer. On success it holds no error at all.
pub(super) fn header(cluster: ClusterId, error: Option<pdpb::Error>) -> ResponseHeader {
    ResponseHeader { cluster_id: cluster.0, error }
}

/// The answer to a request that was handled, or the end of the call.
pub(super) fn answer<A: Answered>(cluster: ClusterId, outcome: Result<A, Refusal>) -> Result<A, Status> {
    let (mut answer, error) = match outcome {
        Ok(answer) => (answer, None),
        Err(Refusal::Header(error)) => (A::default(), Some(error)),
        Err(Refusal::Call(status)) => return Err(status),
    };
    answer.set_header(header(cluster, error));
    Ok(answer)
}

impl Bridge {
    /// Answers a unary call: checks that the coordinator leads the cluster that is meant, and lets `handle` do the rest.
    pub(super) async fn call<Q, A, F>(
        &self,
        kind: CoordinatorRequest,
        request: Request<Q>,
        handle: impl FnOnce(Self, Q) -> F,
    ) -> Result<Response<A>, Status>
    where
        Q: Asked,
        A: Answered,
        F: Future<Output = Result<A, Refusal>>,
    {
        let measure = self.measure(kind);
        let request = request.into_inner();
        let admitted = self.admit(&request).await.inspect_err(|_| measure.failed());
        let cluster = admitted?;
        let outcome = handle(self.clone(), request).await.inspect_err(|_| measure.failed());
        answer(cluster, outcome).map(Response::new)
    }

    async fn admit(&self, request: &impl Asked) -> Result<ClusterId, Status> {
        let cluster = self.cluster().await.map_err(|error| super::refusal::status(&error))?;
        check_cluster(request, cluster)?;
        Ok(cluster)
    }
}
