//! `pdpb.PD`: which call goes where.

use std::time::Duration;

use observe::metrics::coordinator::CoordinatorRequest;
use proto::pdpb::pd_server::Pd;
use proto::pdpb::*;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::bridge::Bridge;
use super::heartbeat::HeartbeatExchange;
use super::orders::OrderStreams;
use super::refusal::status;
use super::regions::QueryExchange;
use super::timestamps::TimestampExchange;
use super::{operators, regions, safe_points, stores, timestamps};

/// The placement driver's service.
pub(super) struct DriverService {
    bridge: Bridge,
    orders: OrderStreams,
    keepalive_interval: Duration,
}

impl DriverService {
    pub(super) fn new(bridge: Bridge, orders: OrderStreams, keepalive_interval: Duration) -> Self {
        Self { bridge, orders, keepalive_interval }
    }

    /// The cluster, for a stream that begins: its requests are compared with it.
    async fn cluster(&self) -> Result<types::ClusterId, Status> {
        self.bridge.cluster().await.map_err(|error| status(&error))
    }
}

#[tonic::async_trait]
impl Pd for DriverService {
    async fn tso(&self, requests: Request<Streaming<TsoRequest>>) -> Result<Response<BoxStream<TsoResponse>>, Status> {
        let (bridge, cluster) = (self.bridge.clone(), self.cluster().await?);
        Ok(self.bridge.hold(TimestampExchange { bridge, cluster, requests: requests.into_inner() }))
    }

    async fn query_region(
        &self,
        requests: Request<Streaming<QueryRegionRequest>>,
    ) -> Result<Response<BoxStream<QueryRegionResponse>>, Status> {
        let (bridge, cluster) = (self.bridge.clone(), self.cluster().await?);
        Ok(self.bridge.hold(QueryExchange { bridge, cluster, requests: requests.into_inner() }))
    }

    async fn region_heartbeat(
        &self,
        reports: Request<Streaming<RegionHeartbeatRequest>>,
    ) -> Result<Response<BoxStream<RegionHeartbeatResponse>>, Status> {
        let (bridge, cluster) = (self.bridge.clone(), self.cluster().await?);
        let reports = reports.into_inner();
        Ok(self.bridge.hold(HeartbeatExchange::new(bridge, cluster, reports, &self.orders, self.keepalive_interval)))
    }

    async fn report_buckets(
        &self,
        reports: Request<Streaming<ReportBucketsRequest>>,
    ) -> Result<Response<ReportBucketsResponse>, Status> {
        regions::report_buckets(self.bridge.clone(), reports.into_inner()).await.map(Response::new)
    }

    // Below, calls that have one answer.

    async fn get_members(&self, request: Request<GetMembersRequest>) -> Result<Response<GetMembersResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Members, request, stores::members).await
    }

    async fn get_cluster_info(
        &self,
        request: Request<GetClusterInfoRequest>,
    ) -> Result<Response<GetClusterInfoResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Members, request, stores::cluster_info).await
    }

    async fn get_min_ts(&self, request: Request<GetMinTsRequest>) -> Result<Response<GetMinTsResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Timestamp, request, timestamps::min_timestamp).await
    }

    async fn is_bootstrapped(
        &self,
        request: Request<IsBootstrappedRequest>,
    ) -> Result<Response<IsBootstrappedResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Bootstrap, request, stores::is_bootstrapped).await
    }

    async fn bootstrap(&self, request: Request<BootstrapRequest>) -> Result<Response<BootstrapResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Bootstrap, request, stores::bootstrap).await
    }

    async fn alloc_id(&self, request: Request<AllocIdRequest>) -> Result<Response<AllocIdResponse>, Status> {
        self.bridge.call(CoordinatorRequest::AllocId, request, stores::allocate_ids).await
    }

    async fn get_cluster_config(
        &self,
        request: Request<GetClusterConfigRequest>,
    ) -> Result<Response<GetClusterConfigResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, stores::cluster_config).await
    }

    async fn put_store(&self, request: Request<PutStoreRequest>) -> Result<Response<PutStoreResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Store, request, stores::put_store).await
    }

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Result<Response<GetStoreResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Store, request, stores::store).await
    }

    async fn get_all_stores(
        &self,
        request: Request<GetAllStoresRequest>,
    ) -> Result<Response<GetAllStoresResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Store, request, stores::all_stores).await
    }

    async fn store_heartbeat(
        &self,
        request: Request<StoreHeartbeatRequest>,
    ) -> Result<Response<StoreHeartbeatResponse>, Status> {
        self.bridge.call(CoordinatorRequest::StoreHeartbeat, request, stores::heartbeat).await
    }

    async fn get_region(&self, request: Request<GetRegionRequest>) -> Result<Response<GetRegionResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Region, request, regions::by_key).await
    }

    async fn get_prev_region(&self, request: Request<GetRegionRequest>) -> Result<Response<GetRegionResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Region, request, regions::by_next_key).await
    }

    async fn get_region_by_id(
        &self,
        request: Request<GetRegionByIdRequest>,
    ) -> Result<Response<GetRegionResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Region, request, regions::by_id).await
    }

    async fn scan_regions(
        &self,
        request: Request<ScanRegionsRequest>,
    ) -> Result<Response<ScanRegionsResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Region, request, regions::scan).await
    }

    async fn batch_scan_regions(
        &self,
        request: Request<BatchScanRegionsRequest>,
    ) -> Result<Response<BatchScanRegionsResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Region, request, regions::batch_scan).await
    }

    async fn ask_split(&self, request: Request<AskSplitRequest>) -> Result<Response<AskSplitResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, operators::ask_split).await
    }

    async fn report_split(
        &self,
        request: Request<ReportSplitRequest>,
    ) -> Result<Response<ReportSplitResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, operators::report_split).await
    }

    async fn split_and_scatter_regions(
        &self,
        request: Request<SplitAndScatterRegionsRequest>,
    ) -> Result<Response<SplitAndScatterRegionsResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, operators::split_and_scatter).await
    }

    async fn ask_batch_split(
        &self,
        request: Request<AskBatchSplitRequest>,
    ) -> Result<Response<AskBatchSplitResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, operators::ask_batch_split).await
    }

    async fn report_batch_split(
        &self,
        request: Request<ReportBatchSplitRequest>,
    ) -> Result<Response<ReportBatchSplitResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, operators::report_batch_split).await
    }

    async fn split_regions(
        &self,
        request: Request<SplitRegionsRequest>,
    ) -> Result<Response<SplitRegionsResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, operators::split).await
    }

    async fn scatter_region(
        &self,
        request: Request<ScatterRegionRequest>,
    ) -> Result<Response<ScatterRegionResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, operators::scatter).await
    }

    async fn get_operator(
        &self,
        request: Request<GetOperatorRequest>,
    ) -> Result<Response<GetOperatorResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, operators::operator).await
    }

    async fn get_gc_safe_point(
        &self,
        request: Request<GetGcSafePointRequest>,
    ) -> Result<Response<GetGcSafePointResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, safe_points::gc).await
    }

    async fn update_gc_safe_point(
        &self,
        request: Request<UpdateGcSafePointRequest>,
    ) -> Result<Response<UpdateGcSafePointResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, safe_points::update_gc).await
    }

    async fn update_service_gc_safe_point(
        &self,
        request: Request<UpdateServiceGcSafePointRequest>,
    ) -> Result<Response<UpdateServiceGcSafePointResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, safe_points::update_service).await
    }

    async fn get_gc_state(&self, request: Request<GetGcStateRequest>) -> Result<Response<GetGcStateResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, safe_points::state).await
    }

    async fn advance_txn_safe_point(
        &self,
        request: Request<AdvanceTxnSafePointRequest>,
    ) -> Result<Response<AdvanceTxnSafePointResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, safe_points::advance_txn).await
    }

    async fn advance_gc_safe_point(
        &self,
        request: Request<AdvanceGcSafePointRequest>,
    ) -> Result<Response<AdvanceGcSafePointResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, safe_points::advance_gc).await
    }

    async fn report_min_resolved_ts(
        &self,
        request: Request<ReportMinResolvedTsRequest>,
    ) -> Result<Response<ReportMinResolvedTsResponse>, Status> {
        self.bridge.call(CoordinatorRequest::Other, request, stores::min_resolved_timestamp).await
    }
}
