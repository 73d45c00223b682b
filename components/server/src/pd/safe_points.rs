//! Up to which timestamp old versions may be collected.
//!
//! All keyspaces share the cluster's safe points: an answer repeats the scope that was asked for and says that it is not
//! the keyspace's own.

use bytes::Bytes;
use coordinator::{Change, SafePoints, ServiceSafePoint, View};
use proto::pdpb::*;

use super::bridge::Bridge;
use super::convert;
use super::refusal::Refusal;
use super::regions::detached;
use super::stores::check_bootstrapped;

pub(super) async fn gc(bridge: Bridge, _: GetGcSafePointRequest) -> Result<GetGcSafePointResponse, Refusal> {
    let look = |view: View<'_>| {
        view.check_bootstrapped()?;
        Ok(view.safe_points().gc)
    };
    let safe_point = bridge.look(look).await?;
    Ok(GetGcSafePointResponse { safe_point, ..Default::default() })
}

pub(super) async fn update_gc(
    bridge: Bridge,
    request: UpdateGcSafePointRequest,
) -> Result<UpdateGcSafePointResponse, Refusal> {
    check_bootstrapped(&bridge).await?;
    let target = request.safe_point;
    let new_safe_point = bridge.ask(|reply| Change::AdvanceGcSafePoint { target, reply }).await?;
    Ok(UpdateGcSafePointResponse { new_safe_point, ..Default::default() })
}

pub(super) async fn update_service(
    bridge: Bridge,
    request: UpdateServiceGcSafePointRequest,
) -> Result<UpdateServiceGcSafePointResponse, Refusal> {
    check_bootstrapped(&bridge).await?;
    let change = |reply| Change::UpdateServiceSafePoint {
        service: detached(&request.service_id),
        ttl_seconds: request.ttl,
        safe_point: request.safe_point,
        reply,
    };
    let oldest = bridge.ask(change).await?;
    Ok(UpdateServiceGcSafePointResponse {
        service_id: oldest.service,
        ttl: oldest.ttl_seconds,
        min_safe_point: oldest.min_safe_point,
        ..Default::default()
    })
}

pub(super) async fn state(bridge: Bridge, request: GetGcStateRequest) -> Result<GetGcStateResponse, Refusal> {
    let unix_ms = bridge.unix_ms();
    let wants_barriers = !request.exclude_gc_barriers;
    let look = move |view: View<'_>| {
        let copy = |(service, point): (&Bytes, &ServiceSafePoint)| (service.clone(), *point);
        let services: Vec<_> = if wants_barriers { view.services().map(copy).collect() } else { Vec::new() };
        Ok((view.safe_points(), services))
    };
    let (points, services): (SafePoints, _) = bridge.look(look).await?;
    let barrier = |(service, point)| convert::gc_barrier(&service, point, unix_ms);
    let gc_state = GcState {
        keyspace_scope: request.keyspace_scope,
        is_keyspace_level_gc: false,
        txn_safe_point: points.txn,
        gc_safe_point: points.gc,
        gc_barriers: services.into_iter().filter_map(barrier).collect(),
    };
    Ok(GetGcStateResponse { gc_state: Some(gc_state), ..Default::default() })
}

pub(super) async fn advance_txn(
    bridge: Bridge,
    request: AdvanceTxnSafePointRequest,
) -> Result<AdvanceTxnSafePointResponse, Refusal> {
    let target = request.target;
    let moved = bridge.ask(|reply| Change::AdvanceTxnSafePoint { target, reply }).await?;
    let blocker = moved.blocker.map(|service| format!("service {}", String::from_utf8_lossy(&service)));
    Ok(AdvanceTxnSafePointResponse {
        old_txn_safe_point: moved.old,
        new_txn_safe_point: moved.new,
        blocker_description: blocker.unwrap_or_default(),
        ..Default::default()
    })
}

/// Collection follows the transactions: this call, unlike `UpdateGCSafePoint`, does not move their safe point along. The
/// check before the change is enough, because that one only advances.
pub(super) async fn advance_gc(
    bridge: Bridge,
    request: AdvanceGcSafePointRequest,
) -> Result<AdvanceGcSafePointResponse, Refusal> {
    let target = request.target;
    let before = bridge.look(|view| Ok(view.safe_points())).await?;
    if !(before.gc..=before.txn).contains(&target) {
        return Err(Refusal::invalid(format!(
            "safe point {target} of collection must be {} to {}: advance the transactions' safe point first",
            before.gc, before.txn
        )));
    }
    let new_gc_safe_point = bridge.ask(|reply| Change::AdvanceGcSafePoint { target, reply }).await?;
    Ok(AdvanceGcSafePointResponse { old_gc_safe_point: before.gc, new_gc_safe_point, ..Default::default() })
}
