//! Putting a peer to work: from what it starts from to its mailboxes and its place in the table.

use std::sync::Arc;

use apply::RegionApplier;
use region::{Input, Region, Restored, Role};
use types::{RegionId, Responder};

use crate::apply_poller::ApplyActor;
use crate::error::StoreError;
use crate::handle::RegionView;
use crate::raft_poller::RaftActor;
use crate::shared::Shared;

/// A peer that is made and does not work yet.
pub(crate) struct NewPeer {
    /// What the table shows of it; nothing, as long as it knows no members, is none, or is fenced.
    pub(crate) view: Option<RegionView>,
    raft: RaftActor,
    apply: ApplyActor,
}

impl NewPeer {
    pub(crate) fn new(shared: &Shared, restored: Restored) -> Result<Self, StoreError> {
        let parts = PeerParts::new(shared, restored)?;
        Ok(Self { view: parts.view, raft: RaftActor::new(parts.id, parts.region), apply: parts.apply })
    }

    pub(crate) fn region(&self) -> RegionId {
        self.raft.id
    }

    /// Lets it work. What the table shows of it must be there by now: its first change of role is told from there.
    pub(crate) fn begin(self, shared: &Shared) {
        let id = self.raft.id;
        shared.apply.register(id.0, self.apply);
        shared.raft.register(id.0, self.raft);
        // The first round makes what was committed before a restart be replayed without waiting for a message.
        let _ = shared.raft.force_send(id.0, Input::Inspect(Responder::new(|_| {})).into());
    }
}

/// What a peer consists of.
pub(crate) struct PeerParts {
    pub(crate) id: RegionId,
    pub(crate) view: Option<RegionView>,
    pub(crate) region: Region,
    pub(crate) apply: ApplyActor,
}

impl PeerParts {
    pub(crate) fn new(shared: &Shared, restored: Restored) -> Result<Self, StoreError> {
        let id = restored.descriptor.id;
        let descriptor = Arc::new(restored.descriptor.clone());
        let (peer, apply_state, term) = (restored.peer, restored.apply_state, restored.hard_state.term);
        let fenced = restored.fenced;
        let log = Arc::clone(&shared.engines.log);
        let region = Region::new(Arc::new(shared.config.region.clone()), restored, log, &shared.around.logger)?;
        let applier = RegionApplier::new(Arc::clone(&descriptor), peer.id, apply_state);
        let peer = descriptor.peer(peer.id).copied().filter(|_| !fenced);
        let view = peer.map(|peer| RegionView { descriptor, peer, role: Role::Follower, term, leader: None });
        Ok(Self { id, view, region, apply: ApplyActor { applier } })
    }
}
