//! Peers that begin: as the child of a split, as a newcomer that has nothing yet, or as one that has nothing any more.
//!
//! A newcomer is made by the first message for it. It knows its region's id and its own, and nothing else: no range, no
//! members, epoch 0. It may vote, since raft lets whoever has less grant its vote to whoever has more, and its hard state is
//! kept like any other's (D7); it never campaigns, has nothing to apply, and serves nobody. A snapshot initialises it.

use engine::{ApplyState, HardState, Invitation, SnapshotMarker};
use types::{Generation, Peer, RegionDescriptor, RegionId};

use crate::machine::{Region, Restored};

impl Restored {
    /// A peer of a region that a split just made. It cannot have voted.
    pub fn born(descriptor: RegionDescriptor, peer: Peer, generation: Generation) -> Self {
        Self {
            descriptor,
            peer,
            apply_state: ApplyState::BORN,
            hard_state: HardState::BORN,
            last_index: ApplyState::BORN.applied,
            log_bytes: 0,
            generation,
            invitation: None,
            may_have_voted: false,
            fenced: false,
        }
    }

    /// A peer that has nothing yet but what it may have promised: a hard state of its own, all zero for one that was just
    /// made. `may_have_voted` is for one that starts again (D8); the invitation is in its lifecycle record
    /// ([`Birth::Invited`](engine::Birth::Invited)).
    pub fn uninitialised(
        region: RegionId,
        peer: Peer,
        hard_state: HardState,
        invitation: Option<Invitation>,
        generation: Generation,
        may_have_voted: bool,
    ) -> Self {
        let apply_state = ApplyState::default();
        let descriptor = RegionDescriptor { id: region, ..RegionDescriptor::default() };
        Self {
            descriptor,
            peer,
            apply_state,
            hard_state,
            last_index: apply_state.applied,
            log_bytes: 0,
            generation,
            invitation,
            may_have_voted,
            fenced: false,
        }
    }

    /// A peer whose log was reset for a snapshot, as its marker says, and whose state is missing because the snapshot's files are
    /// damaged (D10). It stays [fenced](Region::is_fenced) until a new snapshot ends it.
    ///
    /// The marker stays in L until then, and the ranges that it clears stay reserved. An
    /// [`ApplySnapshot`](crate::Effect::ApplySnapshot) of this peer writes a marker in its place that clears those ranges as well
    /// and absorbs the same regions; a [`Destroy`](crate::Effect::Destroy) clears them too, and drops the marker in its batch of L.
    pub fn fenced(marker: &SnapshotMarker, peer: Peer, hard_state: HardState, generation: Generation) -> Self {
        let (index, term) = (marker.index, marker.term);
        Self {
            descriptor: marker.descriptor.clone(),
            peer,
            apply_state: ApplyState { applied: index, applied_term: term, truncated: index, truncated_term: term },
            hard_state: HardState { commit: hard_state.commit.max(index), ..hard_state },
            last_index: index,
            log_bytes: 0,
            generation,
            invitation: None,
            may_have_voted: true,
            fenced: true,
        }
    }
}

impl Region {
    /// Whom a peer that is not initialised may ask, and when it was a member.
    pub(crate) fn remember_invitation(&mut self, invitation: Option<Invitation>) {
        let Some(Invitation { by, store, conf_ver }) = invitation.filter(|_| !self.is_initialised()) else { return };
        self.member_at = conf_ver;
        self.contacts.add(Peer::voter(by, store));
    }

    /// Whether the peer knows its region's range and members.
    pub fn is_initialised(&self) -> bool {
        !self.descriptor.peers.is_empty()
    }
}
