//! What a store tells the placement driver, and what it is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::pd::heartbeats::HeartbeatSender;
use client::{HeartbeatEvent, PdClient};
use observe::StoreMetrics;
use observe::metrics::store::StoreSize;
use proto::pdpb::{RegionHeartbeatRequest, RegionHeartbeatResponse, StoreStats, TimeInterval};
use region::Role;
use runtime::clock::{SystemWallClock, WallClock};
use slog::{Logger, debug, info, warn};
use store::{RegionView, StoreHandle, StoreState};
use tokio::time::{MissedTickBehavior, interval};
use types::{RegionId, Responder, StoreId};

use super::observer::ChangedRegions;

/// How often the heartbeat of every led region is sent, whether anything happened or not.
const REGION_INTERVAL: Duration = Duration::from_secs(60);

/// How often the store's own heartbeat is sent.
const STORE_INTERVAL: Duration = Duration::from_secs(10);

/// What the placement driver takes for an empty region: less would mean "unknown" (wire.md B).
const EMPTY_REGION_BYTES: u64 = 1 << 20;

/// Tells the placement driver of every region that the store leads: at once when something changes, and each minute.
pub(super) async fn report_regions(store: StoreHandle, pd: PdClient, changed: Arc<ChangedRegions>, logger: Logger) {
    let mut stream = pd.region_heartbeats();
    let sender = stream.sender();
    let mut all = interval(REGION_INTERVAL);
    all.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            regions = changed.take() => {
                regions.into_iter().filter_map(|region| store.region(region)).for_each(|view| report(&store, &sender, &view));
            }
            _ = all.tick() => report_all(&store, &sender),
            event = stream.next() => match event {
                HeartbeatEvent::Opened => report_all(&store, &sender),
                HeartbeatEvent::Answer(order) => obey(&store, &order, &logger),
            },
        }
    }
}

fn report_all(store: &StoreHandle, sender: &HeartbeatSender) {
    store.regions().iter().for_each(|view| report(store, sender, view));
}

fn report(store: &StoreHandle, sender: &HeartbeatSender, view: &RegionView) {
    if view.role != Role::Leader {
        return;
    }
    let end = unix_seconds();
    // A size that cannot be told counts as unknown; the engine's trouble is the store's to report.
    let bytes = store.engines().state.approximate_bytes(&view.descriptor.range).unwrap_or(0);
    // A heartbeat that finds the queue full is made up for by the next one.
    let _ = sender.send(RegionHeartbeatRequest {
        region: Some((&*view.descriptor).into()),
        leader: Some(view.peer.into()),
        term: view.term.0,
        approximate_size: bytes.max(EMPTY_REGION_BYTES),
        interval: Some(TimeInterval { start_timestamp: end - REGION_INTERVAL.as_secs(), end_timestamp: end }),
        ..RegionHeartbeatRequest::default()
    });
}

/// Does what it is told, as far as this build can: leaders move, regions do not yet.
fn obey(store: &StoreHandle, order: &RegionHeartbeatResponse, logger: &Logger) {
    let region = RegionId(order.region_id);
    let Some(transfer) = &order.transfer_leader else {
        if order.region_id != 0 {
            debug!(logger, "an order of the placement driver is not known to this build"; "region_id" => region.0);
        }
        return;
    };
    let epoch = order.region_epoch.map(types::RegionEpoch::from);
    let current = store.region(region).map(|view| view.descriptor.epoch);
    let Some(to) = transfer.peer.as_ref().map(|peer| StoreId(peer.store_id)) else {
        return;
    };
    if epoch.is_none() || epoch != current {
        return info!(logger, "an order of the placement driver is stale"; "region_id" => region.0);
    }
    let logger = logger.clone();
    let done = Responder::new(move |result: Result<(), types::RequestError>| match result {
        Ok(()) => info!(logger, "leader transferred"; "region_id" => region.0, "to_store" => to.0),
        Err(error) => warn!(logger, "leader not transferred"; "region_id" => region.0, "reason" => %error),
    });
    store.transfer_leader(region, to, done);
}

/// Tells the placement driver how the store is doing.
pub(super) async fn report_store(
    store: StoreHandle,
    pd: PdClient,
    data_dir: PathBuf,
    started: u64,
    metrics: Arc<StoreMetrics>,
    logger: Logger,
) {
    let mut beat = interval(STORE_INTERVAL);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = started;
    loop {
        beat.tick().await;
        let now = unix_seconds();
        let stats = store_stats(&store, &data_dir, started, (last, now));
        metrics.size[StoreSize::Capacity].set(stats.capacity as i64);
        metrics.size[StoreSize::Available].set(stats.available as i64);
        metrics.size[StoreSize::Used].set(stats.used_size as i64);
        match pd.store_heartbeat(&stats).await {
            Ok(_) => last = now,
            Err(error) => debug!(logger, "store heartbeat not delivered"; "reason" => %error),
        }
    }
}

fn store_stats(store: &StoreHandle, data_dir: &Path, started: u64, (start, end): (u64, u64)) -> StoreStats {
    let engines = store.engines();
    let used = engines.log.statistics().disk_bytes + engines.state.statistics().disk_bytes;
    // A disk that cannot be asked shows as full: nothing is placed there.
    let (capacity, available) = fs2::statvfs(data_dir).map_or((0, 0), |fs| (fs.total_space(), fs.available_space()));
    StoreStats {
        store_id: store.ident().store.0,
        capacity,
        available,
        used_size: used,
        region_count: store.counts().regions as u32,
        start_time: started as u32,
        is_busy: store.state() == StoreState::Starting,
        is_stopping: store.state() == StoreState::Stopping,
        slow_score: 1,
        interval: Some(TimeInterval { start_timestamp: start, end_timestamp: end }),
        ..StoreStats::default()
    }
}

pub(super) fn unix_seconds() -> u64 {
    SystemWallClock.unix_ms() / 1000
}
