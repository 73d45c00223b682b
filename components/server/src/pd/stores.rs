//! The cluster, its members and its stores.

use coordinator::{Change, CoordinatorError, Request, View};
use proto::metapb;
use proto::pdpb::*;
use slog::info;
use types::StoreId;

use super::bridge::Bridge;
use super::convert;
use super::refusal::Refusal;

pub(super) async fn members(bridge: Bridge, _: GetMembersRequest) -> Result<GetMembersResponse, Refusal> {
    let member = bridge.member().to_pd();
    Ok(GetMembersResponse {
        members: vec![member.clone()],
        leader: Some(member.clone()),
        etcd_leader: Some(member),
        ..Default::default()
    })
}

/// One process does it all: timestamps are on this port too.
pub(super) async fn cluster_info(_: Bridge, _: GetClusterInfoRequest) -> Result<GetClusterInfoResponse, Refusal> {
    Ok(GetClusterInfoResponse { service_modes: vec![ServiceMode::PdSvcMode.into()], ..Default::default() })
}

pub(super) async fn cluster_config(
    bridge: Bridge,
    _: GetClusterConfigRequest,
) -> Result<GetClusterConfigResponse, Refusal> {
    let look = |view: View<'_>| {
        view.check_bootstrapped()?;
        Ok(metapb::Cluster { id: view.cluster_id().0, max_peer_count: view.replicas() })
    };
    let cluster = bridge.look(look).await?;
    Ok(GetClusterConfigResponse { cluster: Some(cluster), ..Default::default() })
}

pub(super) async fn is_bootstrapped(
    bridge: Bridge,
    _: IsBootstrappedRequest,
) -> Result<IsBootstrappedResponse, Refusal> {
    let bootstrapped = bridge.look(|view| Ok(view.is_bootstrapped())).await?;
    Ok(IsBootstrappedResponse { bootstrapped, ..Default::default() })
}

/// The coordinator lays the cluster out itself, so no store may bring a first region.
pub(super) async fn bootstrap(bridge: Bridge, _: BootstrapRequest) -> Result<BootstrapResponse, Refusal> {
    let refusal = bridge.look(|view| Ok(view.refuse_bootstrap())).await?;
    Err(refusal.into())
}

/// Who does not say how many ids he wants gets one.
pub(super) async fn allocate_ids(bridge: Bridge, request: AllocIdRequest) -> Result<AllocIdResponse, Refusal> {
    let count = request.count.max(1);
    let batch = bridge.ask(|reply| Change::AllocateIds { count, reply }).await?;
    Ok(AllocIdResponse { id: batch.last, count: batch.count, ..Default::default() })
}

pub(super) async fn put_store(bridge: Bridge, request: PutStoreRequest) -> Result<PutStoreResponse, Refusal> {
    let store = request.store.ok_or_else(|| Refusal::invalid("the request names no store"))?;
    let store = Box::new(convert::store_description(store));
    let (id, address) = (store.id, store.address.clone());
    bridge.ask(|reply| Change::PutStore { store, reply }).await?;
    info!(bridge.logger(), "store registered"; "store" => id.0, "address" => address);
    Ok(PutStoreResponse::default())
}

pub(super) async fn store(bridge: Bridge, request: GetStoreRequest) -> Result<GetStoreResponse, Refusal> {
    let id = StoreId(request.store_id);
    let look = move |view: View<'_>| {
        view.check_bootstrapped()?;
        let store = view.store(id)?;
        Ok((convert::store(&store), store.stats.map(convert::store_stats_message)))
    };
    let (store, stats) = bridge.look(look).await?;
    Ok(GetStoreResponse { store: Some(store), stats, ..Default::default() })
}

pub(super) async fn all_stores(bridge: Bridge, request: GetAllStoresRequest) -> Result<GetAllStoresResponse, Refusal> {
    let exclude_tombstones = request.exclude_tombstone_stores;
    let look = move |view: View<'_>| {
        view.check_bootstrapped()?;
        Ok(view.stores(exclude_tombstones).map(|store| convert::store(&store)).collect())
    };
    let stores = bridge.look(look).await?;
    Ok(GetAllStoresResponse { stores, ..Default::default() })
}

pub(super) async fn heartbeat(
    bridge: Bridge,
    request: StoreHeartbeatRequest,
) -> Result<StoreHeartbeatResponse, Refusal> {
    let stats = request.stats.ok_or_else(|| Refusal::invalid("the heartbeat has no statistics"))?;
    let stats = Box::new(convert::store_stats(&stats));
    let orders = bridge.ask(|reply| Request::StoreHeartbeat { stats, reply }).await?;
    Ok(StoreHeartbeatResponse {
        cluster_version: orders.cluster_version,
        state: convert::node_state(orders.state).into(),
        ..Default::default()
    })
}

/// Nothing reads how far a store's transactions are resolved: there are no reads of old data on followers yet.
pub(super) async fn min_resolved_timestamp(
    _: Bridge,
    _: ReportMinResolvedTsRequest,
) -> Result<ReportMinResolvedTsResponse, Refusal> {
    Ok(ReportMinResolvedTsResponse::default())
}

/// Refuses what makes sense only in a cluster that has a layout.
pub(super) async fn check_bootstrapped(bridge: &Bridge) -> Result<(), CoordinatorError> {
    bridge.look(|view| view.check_bootstrapped()).await
}
