//! Every call of `pdpb.PD`, with a request that says nothing but whose cluster it is for.

use futures::stream;
use proto::pdpb::pd_client::PdClient;
use proto::pdpb::*;
use tonic::Status;
use tonic::transport::Channel;

use crate::common::soon;

/// How a call ended: with this header, or as a failed call.
pub type Ending = (&'static str, Result<ResponseHeader, Status>);

macro_rules! unary {
    ($client:expr, $header:expr, $endings:expr, $($method:ident: $request:ident,)*) => {
        $(
            let mut request = $request::default();
            request.header = $header.clone();
            let ending = soon($client.$method(request)).await;
            let ending = ending.map(|answer| answer.into_inner().header.expect("every answer has a header"));
            $endings.push((stringify!($method), ending));
        )*
    };
}

macro_rules! streaming {
    ($client:expr, $header:expr, $endings:expr, $($method:ident: $request:expr,)*) => {
        $(
            let request = $request;
            let ending = match soon($client.$method(stream::iter([request]))).await {
                Ok(answers) => soon(answers.into_inner().message()).await,
                Err(status) => Err(status),
            };
            let ending = ending.map(|answer| answer.and_then(|answer| answer.header).expect("an answer with a header"));
            $endings.push((stringify!($method), ending));
        )*
    };
}

/// Makes each call once.
pub async fn make(client: &mut PdClient<Channel>, header: Option<RequestHeader>) -> Vec<Ending> {
    let mut endings = Vec::new();
    unary! { client, header, endings,
        get_members: GetMembersRequest,
        get_cluster_info: GetClusterInfoRequest,
        get_min_ts: GetMinTsRequest,
        is_bootstrapped: IsBootstrappedRequest,
        bootstrap: BootstrapRequest,
        alloc_id: AllocIdRequest,
        get_cluster_config: GetClusterConfigRequest,
        put_store: PutStoreRequest,
        get_store: GetStoreRequest,
        get_all_stores: GetAllStoresRequest,
        store_heartbeat: StoreHeartbeatRequest,
        get_region: GetRegionRequest,
        get_prev_region: GetRegionRequest,
        get_region_by_id: GetRegionByIdRequest,
        scan_regions: ScanRegionsRequest,
        batch_scan_regions: BatchScanRegionsRequest,
        ask_split: AskSplitRequest,
        report_split: ReportSplitRequest,
        ask_batch_split: AskBatchSplitRequest,
        report_batch_split: ReportBatchSplitRequest,
        split_regions: SplitRegionsRequest,
        split_and_scatter_regions: SplitAndScatterRegionsRequest,
        scatter_region: ScatterRegionRequest,
        get_operator: GetOperatorRequest,
        get_gc_safe_point: GetGcSafePointRequest,
        update_gc_safe_point: UpdateGcSafePointRequest,
        update_service_gc_safe_point: UpdateServiceGcSafePointRequest,
        get_gc_state: GetGcStateRequest,
        advance_txn_safe_point: AdvanceTxnSafePointRequest,
        advance_gc_safe_point: AdvanceGcSafePointRequest,
        report_min_resolved_ts: ReportMinResolvedTsRequest,
    }
    streaming! { client, header, endings,
        tso: TsoRequest { header: header.clone(), count: 1, ..Default::default() },
        query_region: QueryRegionRequest { header: header.clone(), ..Default::default() },
        region_heartbeat: RegionHeartbeatRequest { header: header.clone(), ..Default::default() },
    }
    let report = ReportBucketsRequest { header: header.clone(), ..Default::default() };
    let ending = soon(client.report_buckets(stream::iter([report]))).await;
    endings.push(("report_buckets", ending.map(|answer| answer.into_inner().header.unwrap())));
    endings
}
