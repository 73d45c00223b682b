//! Snapshots in flight as JSON.

use observe::Label;
use serde_json::{Value, json};
use snapshot::{Direction, TransferStatus};
use types::Instant;

/// A snapshot in flight, at a moment of the store's clock.
pub(super) fn shown(transfer: &TransferStatus, now: Instant) -> Value {
    let direction = match transfer.direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    };
    json!({
        "region_id": transfer.region.0,
        "direction": direction,
        "peer_store_id": transfer.peer_store.0,
        "phase": transfer.phase.value(),
        "bytes_done": transfer.bytes_done,
        "bytes_total": transfer.bytes_total,
        "seconds": now.since(transfer.since).as_secs(),
        "cancelled": transfer.cancelled.map(|reason| reason.text()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use observe::metrics::SnapshotPhase;
    use snapshot::CancelReason;

    use super::*;

    #[test]
    fn a_snapshot_tells_how_far_it_is() {
        let mut transfer = TransferStatus {
            direction: Direction::Incoming,
            region: 7.into(),
            peer_store: 2.into(),
            phase: SnapshotPhase::Receive,
            bytes_done: 10,
            bytes_total: 30,
            since: Instant::ORIGIN,
            cancelled: None,
        };
        let now = Instant::ORIGIN + Duration::from_millis(4900);
        let expected = json!({
            "region_id": 7, "direction": "incoming", "peer_store_id": 2, "phase": "receive", "bytes_done": 10,
            "bytes_total": 30, "seconds": 4, "cancelled": null,
        });
        assert_eq!(shown(&transfer, now), expected);
        transfer.cancelled = Some(CancelReason::PeerRemoved);
        assert_eq!(shown(&transfer, now)["cancelled"], "a peer was removed");
    }
}
