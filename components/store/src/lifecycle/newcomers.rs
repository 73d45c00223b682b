//! Peers that a message makes (D7, raftstore-rules §2).

use std::sync::Arc;

use engine::{Birth, Durability, HardState, Invitation, Lifecycle, LogBatch, LogOp};
use region::{Input, RegionMessage, Restored};
use slog::{debug, info};
use types::PeerId;

use super::early;
use crate::error::StoreError;
use crate::peers::NewPeer;
use crate::raft_poller::RaftMessage;
use crate::shared::Shared;

/// Makes the peer that a message is for, if it may be made, and hands the message to it.
///
/// It is in L before it exists: whatever it promises from its first vote on must be found again (D7). It has no range; a
/// snapshot, or the split of its parent, gives it one.
pub(super) fn receive(shared: &Arc<Shared>, message: RegionMessage) -> Result<(), StoreError> {
    let (region, to) = (message.region, message.to);
    let Some(range) = message.range.clone().filter(|range| !range.is_empty()) else { return Ok(()) };
    // No peer could come after the one with the largest number.
    let possible = to.id.0 > 0 && to.id.0 < u64::MAX && region.0 > 0;
    if !possible || message.from.store_id == to.store_id {
        return Ok(());
    }
    if let Some(reason) = shared.lifecycle.claims.invite(region, to.id, &range) {
        debug!(shared.around.logger, "no peer is made for a message";
            "region" => region.0, "peer" => to.id.0, "from" => message.from.id.0, "reason" => reason);
        if let Err(error) = shared.raft.send(region.0, Input::Message(Box::new(message)).into())
            && let RaftMessage::Input(Input::Message(message)) = error.into_inner()
        {
            early::keep(shared, *message);
        }
        return Ok(());
    }
    let invitation = Invitation { by: message.from.id, store: message.from.store_id, conf_ver: message.epoch.conf_ver };
    let birth = Birth::Invited(invitation);
    let lifecycle = Lifecycle { peer: Some(to.id), next_peer: PeerId(to.id.0 + 1), birth };
    let hard_state = HardState::default();
    let ops = vec![
        LogOp::PutLifecycle { region, lifecycle },
        LogOp::Append { region, peer: to.id, entries: Vec::new(), hard_state },
    ];
    shared.engines.log.write(LogBatch { ops }, Durability::Synced)?;
    info!(shared.around.logger, "peer made by a message";
        "region" => region.0, "peer" => to.id.0, "from" => message.from.id.0);
    let generation = shared.lifecycle.claims.next_generation(region);
    let restored = Restored::uninitialised(region, to, hard_state, Some(invitation), generation, false);
    NewPeer::new(shared, restored)?.begin(shared);
    let _ = shared.raft.send(region.0, Input::Message(Box::new(message)).into());
    Ok(())
}
