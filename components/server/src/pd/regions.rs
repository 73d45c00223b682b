//! Which region holds which keys, and what may be done with regions.

use bytes::Bytes;
use coordinator::{RegionInfo, View};
use observe::metrics::coordinator::CoordinatorRequest;
use proto::pdpb::*;
use tonic::{Status, Streaming};
use types::{ClusterId, KeyRange, RegionId};

use super::bridge::Bridge;
use super::call::{answer, check_cluster};
use super::convert;
use super::exchange::Exchange;
use super::refusal::Refusal;

async fn find(
    bridge: &Bridge,
    find: impl FnOnce(View<'_>) -> Option<&RegionInfo> + Send + 'static,
) -> Result<GetRegionResponse, Refusal> {
    let look = |view: View<'_>| {
        view.check_bootstrapped()?;
        Ok(find(view).cloned())
    };
    let found = bridge.look(look).await?;
    // A miss is an answer too: the client asks again after the next heartbeats.
    Ok(found.map(|info| convert::region_answer(&info)).unwrap_or_default())
}

pub(super) async fn by_key(bridge: Bridge, request: GetRegionRequest) -> Result<GetRegionResponse, Refusal> {
    find(&bridge, move |view| view.route_at(&request.region_key)).await
}

pub(super) async fn by_next_key(bridge: Bridge, request: GetRegionRequest) -> Result<GetRegionResponse, Refusal> {
    find(&bridge, move |view| view.route_before(&request.region_key)).await
}

pub(super) async fn by_id(bridge: Bridge, request: GetRegionByIdRequest) -> Result<GetRegionResponse, Refusal> {
    find(&bridge, move |view| view.region(RegionId(request.region_id))).await
}

/// Clients that want no bound say 0 or less.
fn limit(limit: i32) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

pub(super) async fn scan(bridge: Bridge, request: ScanRegionsRequest) -> Result<ScanRegionsResponse, Refusal> {
    let range = KeyRange { start: request.start_key, end: request.end_key };
    let look = move |view: View<'_>| {
        view.check_bootstrapped()?;
        Ok(view.scan_routes(&range, limit(request.limit)).into_iter().cloned().collect::<Vec<RegionInfo>>())
    };
    let found = bridge.look(look).await?;
    let regions: Vec<Region> = found.iter().map(convert::region).collect();
    Ok(ScanRegionsResponse {
        region_metas: regions.iter().filter_map(|region| region.region.clone()).collect(),
        // One for each region, in their order: without a leader it is empty.
        leaders: regions.iter().map(|region| region.leader.unwrap_or_default()).collect(),
        regions,
        ..Default::default()
    })
}

pub(super) async fn batch_scan(
    bridge: Bridge,
    request: BatchScanRegionsRequest,
) -> Result<BatchScanRegionsResponse, Refusal> {
    let range = |range: proto::pdpb::KeyRange| KeyRange { start: range.start_key, end: range.end_key };
    let ranges: Vec<KeyRange> = request.ranges.into_iter().map(range).collect();
    let look = move |view: View<'_>| {
        view.check_bootstrapped()?;
        let found = view.batch_scan_routes(&ranges, limit(request.limit), request.contain_all_key_range)?;
        Ok(found.into_iter().cloned().collect::<Vec<RegionInfo>>())
    };
    let found = bridge.look(look).await?;
    Ok(BatchScanRegionsResponse { regions: found.iter().map(convert::region).collect(), ..Default::default() })
}

/// A client's stream of look-ups.
pub(super) struct QueryExchange {
    pub(super) bridge: Bridge,
    pub(super) cluster: ClusterId,
    pub(super) requests: Streaming<QueryRegionRequest>,
}

impl Exchange for QueryExchange {
    type Answer = QueryRegionResponse;

    async fn next(&mut self) -> Result<Option<QueryRegionResponse>, Status> {
        let Some(request) = self.requests.message().await? else { return Ok(None) };
        let measure = self.bridge.measure(CoordinatorRequest::Region);
        check_cluster(&request, self.cluster).inspect_err(|_| measure.failed())?;
        let outcome = query(&self.bridge, request).await.inspect_err(|_| measure.failed());
        answer(self.cluster, outcome).map(Some)
    }
}

async fn query(bridge: &Bridge, request: QueryRegionRequest) -> Result<QueryRegionResponse, Refusal> {
    let QueryRegionRequest { ids, keys, prev_keys, .. } = request;
    let ids: Vec<RegionId> = ids.into_iter().map(RegionId).collect();
    let look = move |view: View<'_>| {
        view.check_bootstrapped()?;
        let found = view.query_regions(&ids, &keys, &prev_keys)?;
        let regions: Vec<RegionInfo> = found.regions.into_values().cloned().collect();
        Ok((found.by_key, found.by_previous_key, regions))
    };
    let (by_key, by_previous_key, regions) = bridge.look(look).await?;
    let numbers = |ids: Vec<Option<RegionId>>| ids.into_iter().map(|id| id.map_or(0, RegionId::get)).collect();
    let by_id = |info: &RegionInfo| (info.descriptor.id.0, convert::region_by_id(info));
    Ok(QueryRegionResponse {
        key_id_map: numbers(by_key),
        prev_key_id_map: numbers(by_previous_key),
        regions_by_id: regions.iter().map(by_id).collect(),
        ..Default::default()
    })
}

/// Reads a store's reports of buckets to their end. They are not kept: regions are answered without buckets.
pub(super) async fn report_buckets(
    bridge: Bridge,
    mut reports: Streaming<ReportBucketsRequest>,
) -> Result<ReportBucketsResponse, Status> {
    let _measure = bridge.measure(CoordinatorRequest::Other);
    let cluster = bridge.cluster().await.map_err(|error| super::refusal::status(&error))?;
    while let Some(report) = reports.message().await? {
        check_cluster(&report, cluster)?;
    }
    answer(cluster, Ok(ReportBucketsResponse::default()))
}

/// Copies what outlives the request: a field of a message keeps the whole message's buffer.
pub(super) fn detached(field: &Bytes) -> Bytes {
    Bytes::copy_from_slice(field)
}
