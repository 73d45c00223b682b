//! The store's own heartbeat.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{PdClient, PdError};
use observe::StoreMetrics;
use observe::metrics::SnapshotPhase;
use observe::metrics::store::StoreSize;
use proto::metapb::NodeState;
use proto::pdpb::{ErrorType, PeerStat, StoreHeartbeatResponse, StoreStats};
use slog::{Logger, debug, info, warn};
use snapshot::{Direction, TransferStatus};
use store::{RegionFlow, StoreHandle, StoreState};
use tokio::time::{MissedTickBehavior, interval};
use types::RegionId;

use super::flows::interval as between;
use super::slow::SlowScore;
use super::{ReportConfig, unix_seconds};
use crate::node::observer::News;

/// Most regions whose flow is told one by one: those with the largest.
const MAX_PEER_STATS: usize = 1000;

/// Tells the placement driver how the store is doing.
pub(in crate::node) struct StoreReports {
    pub(in crate::node) store: StoreHandle,
    pub(in crate::node) config: ReportConfig,
    pub(in crate::node) news: Arc<News>,
    pub(in crate::node) data_dir: PathBuf,
    /// When the store was started, in seconds since the Unix epoch.
    pub(in crate::node) started: u64,
    pub(in crate::node) metrics: Arc<StoreMetrics>,
    pub(in crate::node) logger: Logger,
}

/// What was told last.
struct Told {
    /// When, in seconds since the Unix epoch.
    at: u64,
    flows: BTreeMap<RegionId, RegionFlow>,
}

impl StoreReports {
    /// Does so until it is dropped.
    pub(in crate::node) async fn run(self, pd: PdClient) {
        let mut beat = interval(self.config.store_interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut state) = (Told { at: self.started, flows: self.flows() }, None);
        let mut has_left = false;
        let mut slow = SlowScore::default();
        loop {
            beat.tick().await;
            let now = Told { at: unix_seconds(), flows: self.flows() };
            let slow_score = slow.after(self.config.store_interval, &self.metrics.log_write_duration);
            let stats = StoreStats { slow_score, ..self.stats(&told, &now) };
            self.metrics.size[StoreSize::Capacity].set(stats.capacity as i64);
            self.metrics.size[StoreSize::Available].set(stats.available as i64);
            self.metrics.size[StoreSize::Used].set(stats.used_size as i64);
            match pd.store_heartbeat(&stats).await {
                Ok(answer) => {
                    told = now;
                    self.heed(&answer, &mut state);
                }
                // For good: a store that has left never comes back under its id.
                Err(PdError::Refused { kind: ErrorType::StoreTombstone, .. }) if !has_left => {
                    has_left = true;
                    warn!(
                        self.logger,
                        "this store has left the cluster and holds nothing of it: it may be stopped for good"
                    );
                }
                Err(error) => debug!(self.logger, "store heartbeat not delivered"; "reason" => %error),
            }
        }
    }

    fn flows(&self) -> BTreeMap<RegionId, RegionFlow> {
        let regions = self.store.regions().into_iter().map(|view| view.descriptor.id);
        regions.filter_map(|region| Some((region, self.store.region_flow(region)?))).collect()
    }

    fn stats(&self, told: &Told, now: &Told) -> StoreStats {
        let engines = self.store.engines();
        let (capacity, available) = space(&self.data_dir);
        let state = self.store.state();
        let flows: Vec<(RegionId, RegionFlow)> = now
            .flows
            .iter()
            .map(|(region, flow)| (*region, flow.since(told.flows.get(region).copied().unwrap_or_default())))
            .collect();
        let sum = |part: fn(&RegionFlow) -> u64| flows.iter().map(|(_, flow)| part(flow)).sum();
        let snapshots = Snapshots::count(&self.store.snapshots());
        StoreStats {
            store_id: self.store.ident().store.0,
            capacity,
            available,
            used_size: engines.log.statistics().disk_bytes + engines.state.statistics().disk_bytes,
            // Whoever was told to leave is gone once this is zero: what is left of removed peers counts.
            region_count: self.store.counts().peers as u32,
            sending_snap_count: snapshots.sending,
            receiving_snap_count: snapshots.receiving,
            applying_snap_count: snapshots.applying,
            start_time: self.started as u32,
            // It replays what it had committed: what is sent to it now would wait for that.
            is_busy: state == StoreState::Starting,
            is_apply_busy: state == StoreState::Starting,
            is_stopping: state == StoreState::Stopping,
            bytes_written: sum(|flow| flow.written_bytes),
            keys_written: sum(|flow| flow.written_keys),
            bytes_read: sum(|flow| flow.read_bytes),
            keys_read: sum(|flow| flow.read_keys),
            peer_stats: busiest(flows),
            damaged_regions_id: self.news.differing.regions().into_iter().map(|region| region.0).collect(),
            interval: Some(between(told.at, now.at)),
            ..StoreStats::default()
        }
    }

    /// What the placement driver says of the store is for people to know; it sends orders on the regions' stream.
    fn heed(&self, answer: &StoreHeartbeatResponse, last: &mut Option<NodeState>) {
        let state = answer.state();
        if last.replace(state).is_some_and(|last| last != state) {
            info!(self.logger, "the placement driver thinks otherwise of this store"; "state" => state.as_str_name());
        }
        if answer.awaken_regions.is_some() || answer.control_grpc.is_some() {
            debug!(self.logger, "the placement driver asks for what this build does not do";
                "awaken_regions" => answer.awaken_regions.is_some(), "control_grpc" => answer.control_grpc.is_some());
        }
    }
}

/// The file system's size, and what is left of it. A disk that cannot be asked shows as full: nothing is placed there.
fn space(data_dir: &Path) -> (u64, u64) {
    fs2::statvfs(data_dir).map_or((0, 0), |fs| (fs.total_space(), fs.available_space()))
}

/// The regions through which most passed.
fn busiest(mut flows: Vec<(RegionId, RegionFlow)>) -> Vec<PeerStat> {
    flows.retain(|(_, flow)| flow.read_keys + flow.written_keys > 0);
    flows.sort_by_key(|(region, flow)| (Reverse(flow.read_bytes + flow.written_bytes), *region));
    let stat = |(region, flow): (RegionId, RegionFlow)| PeerStat {
        region_id: region.0,
        read_keys: flow.read_keys,
        read_bytes: flow.read_bytes,
        written_keys: flow.written_keys,
        written_bytes: flow.written_bytes,
        ..PeerStat::default()
    };
    flows.into_iter().take(MAX_PEER_STATS).map(stat).collect()
}

/// Snapshots in flight.
#[derive(Debug, Default, PartialEq, Eq)]
struct Snapshots {
    sending: u32,
    receiving: u32,
    applying: u32,
}

impl Snapshots {
    fn count(snapshots: &[TransferStatus]) -> Self {
        let mut counts = Self::default();
        for snapshot in snapshots {
            let count = match (snapshot.direction, snapshot.phase) {
                (Direction::Outgoing, _) => &mut counts.sending,
                (Direction::Incoming, SnapshotPhase::Install) => &mut counts.applying,
                (Direction::Incoming, _) => &mut counts.receiving,
            };
            *count += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use types::Instant;

    use super::*;

    #[test]
    fn the_busiest_regions_come_first_and_idle_ones_not_at_all() {
        let flow = |written_bytes, written_keys| RegionFlow { written_bytes, written_keys, ..RegionFlow::default() };
        let mut flows: Vec<_> = (1..=1100).map(|region| (RegionId(region), flow(region, 1))).collect();
        flows.push((RegionId(2000), flow(5000, 0)));
        let stats = busiest(flows);
        assert_eq!(stats.len(), MAX_PEER_STATS);
        assert_eq!((stats[0].region_id, stats[0].written_bytes), (1100, 1100));
        assert_eq!(stats[999].region_id, 101);
    }

    #[test]
    fn snapshots_are_counted_by_what_is_done_with_them() {
        let transfer = |direction, phase| TransferStatus {
            direction,
            region: RegionId(1),
            peer_store: 2.into(),
            phase,
            bytes_done: 0,
            bytes_total: 0,
            since: Instant::ORIGIN,
            cancelled: None,
        };
        let snapshots = [
            transfer(Direction::Outgoing, SnapshotPhase::Build),
            transfer(Direction::Outgoing, SnapshotPhase::Send),
            transfer(Direction::Incoming, SnapshotPhase::Receive),
            transfer(Direction::Incoming, SnapshotPhase::Verify),
            transfer(Direction::Incoming, SnapshotPhase::Verify),
            transfer(Direction::Incoming, SnapshotPhase::Install),
        ];
        assert_eq!(Snapshots::count(&snapshots), Snapshots { sending: 2, receiving: 3, applying: 1 });
    }
}
