//! Between the messages of the wire and the coordinator's types.

use bytes::Bytes;
use coordinator::{
    DownPeer, Flow, RegionInfo, RegionReport, ServiceSafePoint, StoreDescription, StoreState, StoreStats, StoreView,
    Timestamp,
};
use placement::{OrderKind, PeerChange, PeerChangeKind, RegionOrder, SplitPolicy};
use proto::convert::ConvertError;
use proto::{eraftpb, metapb, pdpb};
use types::{KeyRange, Peer, RegionDescriptor};

use super::regions::detached;

pub(super) fn timestamp(timestamp: Timestamp) -> pdpb::Timestamp {
    let physical = i64::try_from(timestamp.physical_ms).expect("the coordinator keeps timestamps positive when signed");
    pdpb::Timestamp { physical, logical: timestamp.logical.into(), suffix_bits: 0 }
}

pub(super) fn store_description(store: metapb::Store) -> StoreDescription {
    StoreDescription {
        id: store.id.into(),
        address: store.address,
        peer_address: store.peer_address,
        status_address: store.status_address,
        version: store.version,
        git_hash: store.git_hash,
        deploy_path: store.deploy_path,
        start_timestamp: store.start_timestamp,
        labels: store.labels.into_iter().map(|label| (label.key, label.value)).collect(),
    }
}

pub(super) fn store(view: &StoreView<'_>) -> metapb::Store {
    let description = &view.record.description;
    let label = |(key, value): (&String, &String)| metapb::StoreLabel { key: key.clone(), value: value.clone() };
    metapb::Store {
        id: description.id.0,
        address: description.address.clone(),
        state: store_state(view.record.state).into(),
        labels: description.labels.iter().map(label).collect(),
        version: description.version.clone(),
        peer_address: description.peer_address.clone(),
        status_address: description.status_address.clone(),
        git_hash: description.git_hash.clone(),
        start_timestamp: description.start_timestamp,
        deploy_path: description.deploy_path.clone(),
        // In nanoseconds, alone among the times of this protocol.
        last_heartbeat: i64::try_from(view.last_heartbeat_unix_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX),
        physically_destroyed: false,
        node_state: node_state(view.record.state).into(),
    }
}

fn store_state(state: StoreState) -> metapb::StoreState {
    match state {
        StoreState::Up => metapb::StoreState::Up,
        StoreState::Offline => metapb::StoreState::Offline,
        StoreState::Tombstone => metapb::StoreState::Tombstone,
    }
}

pub(super) fn node_state(state: StoreState) -> metapb::NodeState {
    match state {
        StoreState::Up => metapb::NodeState::Serving,
        StoreState::Offline => metapb::NodeState::Removing,
        StoreState::Tombstone => metapb::NodeState::Removed,
    }
}

pub(super) fn store_stats(stats: &pdpb::StoreStats) -> StoreStats {
    let interval = stats.interval.unwrap_or_default();
    StoreStats {
        store: stats.store_id.into(),
        capacity_bytes: stats.capacity,
        available_bytes: stats.available,
        used_bytes: stats.used_size,
        region_count: stats.region_count,
        sending_snapshots: stats.sending_snap_count,
        receiving_snapshots: stats.receiving_snap_count,
        applying_snapshots: stats.applying_snap_count,
        start_time_s: stats.start_time,
        is_busy: stats.is_busy,
        is_stopping: stats.is_stopping,
        bytes_written: stats.bytes_written,
        keys_written: stats.keys_written,
        bytes_read: stats.bytes_read,
        keys_read: stats.keys_read,
        slow_score: stats.slow_score,
        interval_s: (interval.start_timestamp, interval.end_timestamp),
    }
}

pub(super) fn store_stats_message(stats: &StoreStats) -> pdpb::StoreStats {
    let (start_timestamp, end_timestamp) = stats.interval_s;
    pdpb::StoreStats {
        store_id: stats.store.0,
        capacity: stats.capacity_bytes,
        available: stats.available_bytes,
        used_size: stats.used_bytes,
        region_count: stats.region_count,
        sending_snap_count: stats.sending_snapshots,
        receiving_snap_count: stats.receiving_snapshots,
        applying_snap_count: stats.applying_snapshots,
        start_time: stats.start_time_s,
        is_busy: stats.is_busy,
        is_stopping: stats.is_stopping,
        bytes_written: stats.bytes_written,
        keys_written: stats.keys_written,
        bytes_read: stats.bytes_read,
        keys_read: stats.keys_read,
        slow_score: stats.slow_score,
        interval: Some(pdpb::TimeInterval { start_timestamp, end_timestamp }),
        ..Default::default()
    }
}

/// What a region's leader reports. Its keys are copied: the routing table keeps them for long, and a field of a message
/// keeps the whole message's buffer.
pub(super) fn region_report(message: pdpb::RegionHeartbeatRequest) -> Result<RegionReport, ConvertError> {
    const MESSAGE: &str = "RegionHeartbeatRequest";
    let region = message.region.ok_or(ConvertError::Missing { message: MESSAGE, field: "region" })?;
    let leader = message.leader.ok_or(ConvertError::Missing { message: MESSAGE, field: "leader" })?;
    let mut descriptor = RegionDescriptor::try_from(region)?;
    descriptor.range = KeyRange { start: detached(&descriptor.range.start), end: detached(&descriptor.range.end) };
    Ok(RegionReport {
        descriptor,
        leader: leader.try_into()?,
        term: message.term.into(),
        down_peers: message.down_peers.into_iter().map(down_peer).collect::<Result<_, _>>()?,
        pending_peers: message.pending_peers.into_iter().map(Peer::try_from).collect::<Result<_, _>>()?,
        approximate_bytes: message.approximate_size,
        approximate_keys: message.approximate_keys,
        flow: Flow {
            bytes_written: message.bytes_written,
            keys_written: message.keys_written,
            bytes_read: message.bytes_read,
            keys_read: message.keys_read,
        },
    })
}

fn down_peer(stats: pdpb::PeerStats) -> Result<DownPeer, ConvertError> {
    let peer = stats.peer.ok_or(ConvertError::Missing { message: "PeerStats", field: "peer" })?;
    Ok(DownPeer { peer: peer.try_into()?, down_seconds: stats.down_seconds })
}

/// An order as a region's leader gets it.
pub(super) fn region_order(order: RegionOrder) -> pdpb::RegionHeartbeatResponse {
    let answer = pdpb::RegionHeartbeatResponse {
        region_id: order.region.0,
        region_epoch: Some(order.epoch.into()),
        target_peer: Some(order.leader.into()),
        ..Default::default()
    };
    match order.kind {
        OrderKind::TransferLeader(to) => {
            let peers: Vec<metapb::Peer> = to.into_iter().map(metapb::Peer::from).collect();
            // Stores that know only one target take the first; the others choose among all.
            let transfer_leader = Some(pdpb::TransferLeader { peer: peers.first().copied(), peers });
            pdpb::RegionHeartbeatResponse { transfer_leader, ..answer }
        }
        OrderKind::ChangePeer(change) => {
            pdpb::RegionHeartbeatResponse { change_peer: Some(change_peer(change)), ..answer }
        }
        OrderKind::ChangePeers(changes) => {
            let changes = changes.into_iter().map(change_peer).collect();
            pdpb::RegionHeartbeatResponse { change_peer_v2: Some(pdpb::ChangePeerV2 { changes }), ..answer }
        }
        OrderKind::Split(policy) => {
            pdpb::RegionHeartbeatResponse { split_region: Some(split_region(policy)), ..answer }
        }
    }
}

fn change_peer(change: PeerChange) -> pdpb::ChangePeer {
    let change_type = match change.kind {
        PeerChangeKind::AddVoter => eraftpb::ConfChangeType::AddNode,
        PeerChangeKind::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
        PeerChangeKind::Remove => eraftpb::ConfChangeType::RemoveNode,
    };
    pdpb::ChangePeer { peer: Some(change.peer.into()), change_type: change_type.into() }
}

fn split_region(policy: SplitPolicy) -> pdpb::SplitRegion {
    let (policy, keys) = match policy {
        SplitPolicy::Scan => (pdpb::CheckPolicy::Scan, Vec::new()),
        SplitPolicy::Approximate => (pdpb::CheckPolicy::Approximate, Vec::new()),
        SplitPolicy::Keys(keys) => (pdpb::CheckPolicy::Usekey, keys),
    };
    pdpb::SplitRegion { policy: policy.into(), keys }
}

/// A region as scans give it.
pub(super) fn region(info: &RegionInfo) -> pdpb::Region {
    let down_peer = |down: &DownPeer| pdpb::PeerStats { peer: Some(down.peer.into()), down_seconds: down.down_seconds };
    pdpb::Region {
        region: Some(metapb::Region::from(&*info.descriptor)),
        leader: info.leader.map(metapb::Peer::from),
        down_peers: info.down_peers.iter().map(down_peer).collect(),
        pending_peers: info.pending_peers.iter().copied().map(metapb::Peer::from).collect(),
        buckets: None,
    }
}

/// A region as a look-up by key or id gives it.
pub(super) fn region_answer(info: &RegionInfo) -> pdpb::GetRegionResponse {
    let pdpb::Region { region, leader, down_peers, pending_peers, buckets } = region(info);
    pdpb::GetRegionResponse { header: None, region, leader, down_peers, pending_peers, buckets }
}

/// A region as the stream of look-ups gives it.
pub(super) fn region_by_id(info: &RegionInfo) -> pdpb::RegionResponse {
    let pdpb::Region { region, leader, down_peers, pending_peers, buckets } = region(info);
    pdpb::RegionResponse { region, leader, down_peers, pending_peers, buckets }
}

/// A service's safe point as a barrier; `None` for one that has lapsed.
pub(super) fn gc_barrier(service: &Bytes, point: ServiceSafePoint, unix_ms: u64) -> Option<pdpb::GcBarrierInfo> {
    let ttl_seconds = match point.expires_unix_ms {
        u64::MAX => i64::MAX,
        expires if expires <= unix_ms => return None,
        expires => i64::try_from((expires - unix_ms).div_ceil(1000)).unwrap_or(i64::MAX),
    };
    let barrier_id = String::from_utf8_lossy(service).into_owned();
    Some(pdpb::GcBarrierInfo { barrier_id, barrier_ts: point.safe_point, ttl_seconds })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn heartbeat(start_key: Bytes) -> pdpb::RegionHeartbeatRequest {
        let peer = metapb::Peer { id: 8, store_id: 1, ..Default::default() };
        let region_epoch = Some(metapb::RegionEpoch { conf_ver: 1, version: 1 });
        let region = metapb::Region { id: 7, start_key, region_epoch, peers: vec![peer], ..Default::default() };
        pdpb::RegionHeartbeatRequest { region: Some(region), leader: Some(peer), term: 6, ..Default::default() }
    }

    /// Else each route would keep the heartbeat, and all that came with it, in memory.
    #[test]
    fn a_report_keeps_nothing_of_its_message() {
        let message = Bytes::from(vec![b'k'; 1 << 20]);
        let report = region_report(heartbeat(message.slice(..2))).unwrap();
        assert_eq!(&report.descriptor.range.start[..], b"kk");
        assert!(message.is_unique());
    }

    #[test]
    fn a_report_without_its_parts_is_refused() {
        let whole = heartbeat(Bytes::new());
        let without_region = pdpb::RegionHeartbeatRequest { region: None, ..whole.clone() };
        let without_leader = pdpb::RegionHeartbeatRequest { leader: None, ..whole.clone() };
        let down = pdpb::PeerStats { peer: None, down_seconds: 1 };
        let without_peer = pdpb::RegionHeartbeatRequest { down_peers: vec![down], ..whole.clone() };
        for message in [without_region, without_leader, without_peer] {
            assert!(matches!(region_report(message), Err(ConvertError::Missing { .. })));
        }
        assert!(region_report(whole).is_ok());
    }

    #[test]
    fn a_lapsed_barrier_is_no_barrier() {
        let barrier = |expires_unix_ms, unix_ms| {
            let point = ServiceSafePoint { safe_point: 5, expires_unix_ms };
            gc_barrier(&Bytes::from_static(b"backup"), point, unix_ms).map(|barrier| barrier.ttl_seconds)
        };
        assert_eq!(barrier(2000, 2000), None);
        assert_eq!(barrier(2001, 2000), Some(1));
        assert_eq!(barrier(u64::MAX, u64::MAX), Some(i64::MAX));
    }
}
