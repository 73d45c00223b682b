//! Whether a region may serve a request at all.

use types::{CommandKind, KeyRange, RegionId, RequestError, RequestHeader};

use crate::effect::Effect;
use crate::input::Input;
use crate::machine::Region;
use crate::snapshots::is_snapshot;

impl Input {
    /// Answers whoever asks for something that there is no peer here for the moment; gives back what no request is. The store
    /// is not busy, which some clients take for final (wire.md A0): whoever asks finds the region's leader elsewhere.
    pub fn send_away(self, region: RegionId, effects: &mut Vec<Effect>) -> Option<Self> {
        let elsewhere = RequestError::NotLeader { region, leader: None };
        effects.push(match self {
            Self::Propose(proposal) => Effect::Refuse(proposal.responder, elsewhere),
            Self::Read(read) => Effect::RefuseRead(read.responder, elsewhere),
            Self::TransferLeader { responder, .. } => Effect::Transferred(responder, Err(elsewhere)),
            Self::Split(request) => Effect::SplitEnded(request.responder, Err(elsewhere)),
            Self::ChangeMembers(request) => Effect::MembersEnded(request.responder, Err(elsewhere)),
            other => return Some(other),
        });
        None
    }
}

impl Region {
    /// Takes what comes when the machine has come to its end: requests are sent away, messages and completions dropped. Nobody
    /// can be told what the region looks like now: dropping the inspector says so.
    pub(crate) fn refuse(&self, input: Input, effects: &mut Vec<Effect>) {
        if let Some(Input::Message(message)) = input.send_away(self.descriptor.id, effects)
            && is_snapshot(&message.raft)
        {
            self.decline_snapshot(message.from, message.raft.get_snapshot(), effects);
        }
    }

    /// Checks what every request says about the region, in the order of wire.md A0. That the region is here, and on the
    /// right store, was the store's to check.
    pub(crate) fn check_header(&self, header: &RequestHeader) -> Result<(), RequestError> {
        let region = self.descriptor.id;
        if self.leader().is_none() {
            return Err(self.not_leader());
        }
        if let Some(requested) = header.peer_id.filter(|id| *id != self.peer.id) {
            return Err(RequestError::MismatchPeerId { requested, actual: self.peer.id });
        }
        if header.term.is_some_and(|term| term.0.saturating_add(1) < self.standing.term.0) {
            return Err(RequestError::StaleCommand { region });
        }
        self.check_epoch(CommandKind::User, header.epoch)
    }

    /// Checks that all keys of a request are the region's own.
    pub(crate) fn check_keys(&self, keys: &KeyRange) -> Result<(), RequestError> {
        let range = &self.descriptor.range;
        if range.encloses(keys) {
            return Ok(());
        }
        // The start lies inside when only the end sticks out: then the end is what the client should see.
        let key = if range.contains(&keys.start) { keys.end.clone() } else { keys.start.clone() };
        Err(RequestError::KeyNotInRegion { key, region: self.descriptor.id, range: range.clone() })
    }

    /// Checks that one more request may wait.
    pub(crate) fn check_room(&self) -> Result<(), RequestError> {
        let asked = self.leader().map_or(0, |leader| leader.gathered.count() + leader.reads.count());
        if asked + self.waiting.count() + self.confirmed.count() < self.config.max_waiting_requests {
            return Ok(());
        }
        Err(RequestError::ServerIsBusy { reason: "too many requests of this region wait for an answer" })
    }
}
