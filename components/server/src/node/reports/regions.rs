//! Heartbeats of regions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::pd::heartbeats::HeartbeatSender;
use client::{HeartbeatEvent, PdClient};
use futures::future::join_all;
use proto::pdpb::RegionHeartbeatRequest;
use region::{RegionStatus, Role};
use store::StoreHandle;
use tokio::time::{MissedTickBehavior, interval};
use types::RegionId;

use super::flows::RegionFlows;
use super::health::{Health, Silence};
use super::sizes::Sizes;
use super::{Orders, ReportConfig, unix_seconds};
use crate::moves::inspect;
use crate::node::observer::News;

/// How often regions with members that are down or behind are looked at: whoever brings a member forward waits for the
/// news that it has caught up.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What the placement driver takes for an empty region: less would mean "unknown" (wire.md B).
const EMPTY_REGION_BYTES: u64 = 1 << 20;

/// Tells the placement driver of every region that the store leads.
pub(in crate::node) struct RegionReports {
    store: StoreHandle,
    config: ReportConfig,
    news: Arc<News>,
    orders: Orders,
    sizes: Sizes,
    flows: RegionFlows,
    silence: Silence,
    /// Regions with members that are down or behind, as they were reported.
    unsettled: BTreeMap<RegionId, Health>,
}

impl RegionReports {
    pub(in crate::node) fn new(store: StoreHandle, config: ReportConfig, news: Arc<News>, orders: Orders) -> Self {
        let (sizes, flows, silence) = (Sizes::default(), RegionFlows::default(), Silence::default());
        Self { store, config, news, orders, sizes, flows, silence, unsettled: BTreeMap::new() }
    }

    /// Does so until it is dropped.
    pub(in crate::node) async fn run(mut self, pd: PdClient) {
        let mut stream = pd.region_heartbeats();
        let sender = stream.sender();
        let mut all = interval(self.config.region_interval);
        let mut look = interval(LOOK_INTERVAL);
        for ticks in [&mut all, &mut look] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let news = Arc::clone(&self.news);
            tokio::select! {
                changed = news.take_changed() => self.report(&sender, &changed).await,
                _ = all.tick() => self.report_all(&sender).await,
                _ = look.tick(), if !self.unsettled.is_empty() => self.look_again(&sender).await,
                event = stream.next() => match event {
                    HeartbeatEvent::Opened => self.report(&sender, &self.led()).await,
                    HeartbeatEvent::Answer(order) => self.orders.obey(*order),
                },
            }
        }
    }

    fn led(&self) -> BTreeSet<RegionId> {
        let led = self.store.regions().into_iter().filter(|view| view.role == Role::Leader);
        led.map(|view| view.descriptor.id).collect()
    }

    async fn report_all(&mut self, sender: &HeartbeatSender) {
        let led = self.led();
        self.sizes.forget_all();
        self.flows.keep(&led);
        self.silence.keep(&led);
        self.unsettled.retain(|region, _| led.contains(region));
        self.report(sender, &led).await;
    }

    /// Reports those of these regions that are led here.
    async fn report(&mut self, sender: &HeartbeatSender, regions: &BTreeSet<RegionId>) {
        let led = self.statuses(regions.iter().copied()).await;
        self.sizes.measure(&self.store, &led).await;
        for status in &led {
            let health = self.silence.health(status, &self.config, Instant::now());
            self.send(sender, status, health);
        }
    }

    /// Reports the regions whose members are down or behind no longer, or others of them are.
    async fn look_again(&mut self, sender: &HeartbeatSender) {
        let unsettled: Vec<RegionId> = self.unsettled.keys().copied().collect();
        let led = self.statuses(unsettled.iter().copied()).await;
        let still: BTreeSet<RegionId> = led.iter().map(|status| status.descriptor.id).collect();
        self.unsettled.retain(|region, _| still.contains(region));
        for status in &led {
            let health = self.silence.health(status, &self.config, Instant::now());
            let known = self.unsettled.get(&status.descriptor.id);
            if known.is_none_or(|known| !known.is_alike(&health)) {
                self.send(sender, status, health);
            }
        }
    }

    /// What the regions say that are led here.
    async fn statuses(&self, regions: impl Iterator<Item = RegionId>) -> Vec<RegionStatus> {
        let is_led = |region: &RegionId| self.store.region(*region).is_some_and(|view| view.role == Role::Leader);
        let asked = join_all(regions.filter(is_led).map(|region| inspect(&self.store, region))).await;
        asked.into_iter().flatten().filter(|status| status.role == Role::Leader).collect()
    }

    fn send(&mut self, sender: &HeartbeatSender, status: &RegionStatus, health: Health) {
        let region = status.descriptor.id;
        let size = self.sizes.get(&status.descriptor);
        let flow = self.store.region_flow(region).unwrap_or_default();
        let (flow, interval) = self.flows.take(region, flow, unix_seconds());
        // A heartbeat that finds the queue full is made up for by the next one.
        let _ = sender.send(RegionHeartbeatRequest {
            region: Some((&status.descriptor).into()),
            leader: Some(status.peer.into()),
            term: status.term.0,
            down_peers: health.down.clone(),
            pending_peers: health.pending.iter().copied().map(Into::into).collect(),
            // Unknown is zero; nothing, as far as the engine can tell, is not.
            approximate_size: size.map_or(0, |size| size.bytes.max(EMPTY_REGION_BYTES)),
            approximate_keys: size.map_or(0, |size| size.keys.max(1)),
            bytes_written: flow.written_bytes,
            keys_written: flow.written_keys,
            bytes_read: flow.read_bytes,
            keys_read: flow.read_keys,
            interval: Some(interval),
            ..RegionHeartbeatRequest::default()
        });
        if health.is_fine() {
            self.unsettled.remove(&region);
        } else {
            self.unsettled.insert(region, health);
        }
    }
}
