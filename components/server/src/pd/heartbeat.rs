//! The stream on which a store reports the regions that it leads, and gets its orders.
//!
//! A report that was taken over is answered by the order for its region, if there is one. Orders come between reports
//! too; one that the region has outrun meanwhile is dropped. A report that is stale or makes no sense is answered by an error in the header
//! that names the region, its epoch and the peer that reported it; the stream stays open, for the store's other regions
//! are none the worse. A store that is not known, another cluster and a coordinator that does not lead end the stream:
//! the store has to begin anew.

use std::time::Duration;

use coordinator::{CoordinatorError, Request, View};
use observe::metrics::coordinator::CoordinatorRequest;
use placement::RegionOrder;
use proto::pdpb;
use slog::debug;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::{Status, Streaming};
use types::{ClusterId, RegionId};

use super::bridge::Bridge;
use super::call::{answer, check_cluster, header};
use super::convert;
use super::exchange::Exchange;
use super::orders::{Binding, OrderStreams};
use super::refusal::{Refusal, status};

/// How often a stream carries an answer without an order, so that both ends notice when the other is gone.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// One store's stream.
pub(super) struct HeartbeatExchange {
    bridge: Bridge,
    cluster: ClusterId,
    reports: Streaming<pdpb::RegionHeartbeatRequest>,
    binding: Binding,
    orders: mpsc::Receiver<pdpb::RegionHeartbeatResponse>,
    keepalive: Interval,
}

impl HeartbeatExchange {
    pub(super) fn new(
        bridge: Bridge,
        cluster: ClusterId,
        reports: Streaming<pdpb::RegionHeartbeatRequest>,
        streams: &OrderStreams,
        keepalive_interval: Duration,
    ) -> Self {
        let (binding, orders) = streams.open();
        let mut keepalive = interval_at(Instant::now() + keepalive_interval, keepalive_interval);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { bridge, cluster, reports, binding, orders, keepalive }
    }

    fn with_header(&self, order: pdpb::RegionHeartbeatResponse) -> pdpb::RegionHeartbeatResponse {
        pdpb::RegionHeartbeatResponse { header: Some(header(self.cluster, None)), ..order }
    }

    /// Takes a report; what it gives back is an order or an objection.
    async fn take(
        &mut self,
        report: pdpb::RegionHeartbeatRequest,
    ) -> Result<Option<pdpb::RegionHeartbeatResponse>, Status> {
        let measure = self.bridge.measure(CoordinatorRequest::RegionHeartbeat);
        check_cluster(&report, self.cluster).inspect_err(|_| measure.failed())?;
        let about = pdpb::RegionHeartbeatResponse {
            region_id: report.region.as_ref().map_or(0, |region| region.id),
            region_epoch: report.region.as_ref().and_then(|region| region.region_epoch),
            target_peer: report.leader,
            ..Default::default()
        };
        let refusal = match self.hand_over(report).await {
            Ok(order) => return Ok(order.map(|order| self.with_header(convert::region_order(order)))),
            Err(refusal) => refusal,
        };
        measure.failed();
        debug!(self.bridge.logger(), "region heartbeat refused"; "region" => about.region_id, "why" => ?refusal);
        let objection: pdpb::RegionHeartbeatResponse = answer(self.cluster, Err(refusal))?;
        Ok(Some(pdpb::RegionHeartbeatResponse { header: objection.header, ..about }))
    }

    async fn hand_over(&mut self, report: pdpb::RegionHeartbeatRequest) -> Result<Option<RegionOrder>, Refusal> {
        let report = Box::new(convert::region_report(report)?);
        let store = report.leader.store_id;
        match self.bridge.ask(|reply| Request::RegionHeartbeat { report, reply }).await {
            Ok(order) => {
                self.binding.bind(store);
                Ok(order)
            }
            Err(unknown @ CoordinatorError::StoreNotFound { .. }) => Err(Refusal::Call(status(&unknown))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the region is still as it was when the order was given.
async fn is_current(bridge: &Bridge, order: &pdpb::RegionHeartbeatResponse) -> bool {
    let (region, epoch, leader) = (RegionId(order.region_id), order.region_epoch, order.target_peer);
    let look = move |view: View<'_>| {
        let Some(known) = view.region(region) else { return Ok(false) };
        let is_led = leader.is_none_or(|leader| known.leader.is_some_and(|known| known.id.0 == leader.id));
        Ok(is_led && epoch.is_none_or(|epoch| known.descriptor.epoch == epoch.into()))
    };
    bridge.look(look).await.unwrap_or(false)
}

impl Exchange for HeartbeatExchange {
    type Answer = pdpb::RegionHeartbeatResponse;

    async fn next(&mut self) -> Result<Option<pdpb::RegionHeartbeatResponse>, Status> {
        loop {
            // Each of the three loses nothing when another one is quicker.
            tokio::select! {
                Some(order) = self.orders.recv() => {
                    if is_current(&self.bridge, &order).await {
                        return Ok(Some(self.with_header(order)));
                    }
                }
                _ = self.keepalive.tick() => return Ok(Some(self.with_header(Default::default()))),
                report = self.reports.message() => {
                    let Some(report) = report? else { return Ok(None) };
                    if let Some(answer) = self.take(report).await? {
                        return Ok(Some(answer));
                    }
                }
            }
        }
    }
}
