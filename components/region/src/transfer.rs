//! Handing the leadership to another member (raft thesis §3.10).

use raft::StateRole;
use types::{PeerId, PeerRole, RequestError};

use crate::effect::{Effect, Role};
use crate::input::TransferResponder;
use crate::machine::{Region, RegionError};

/// A target whose log lags further than this is refused: while it catches up the region takes no writes.
const MAX_TRANSFER_LAG: u64 = 256;

/// A transfer on its way. It outlives the leadership that it ends: its answer is who leads next.
#[derive(Debug)]
pub(crate) struct Transfer {
    to: PeerId,
    responder: TransferResponder,
    /// Ticks until it counts as failed. Raft itself gives up after one election timeout while it still leads.
    ticks_left: u32,
}

impl Transfer {
    /// Whom to tell how it ended.
    pub(crate) fn into_responder(self) -> TransferResponder {
        self.responder
    }
}

impl Region {
    /// Begins a transfer, or refuses it.
    pub(crate) fn on_transfer_leader(
        &mut self,
        to: PeerId,
        responder: TransferResponder,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        if self.standing.role == Role::Leader && to == self.peer.id {
            effects.push(Effect::Transferred(responder, Ok(())));
        } else if let Err(error) = self.check_transfer(to) {
            effects.push(Effect::Transferred(responder, Err(error)));
        } else {
            // What was gathered was accepted before the transfer; raft drops what is proposed from now on.
            self.propose_gathered(effects)?;
            self.node.transfer_leader(to.0);
            let ticks_left = self.config.election_ticks.saturating_mul(2);
            self.transfer = Some(Transfer { to, responder, ticks_left });
        }
        Ok(())
    }

    fn check_transfer(&self, to: PeerId) -> Result<(), RequestError> {
        if self.standing.role != Role::Leader {
            return Err(self.not_leader());
        }
        let invalid = |what: &str| RequestError::Invalid { reason: format!("peer {to} {what}") };
        let member = self.descriptor.peer(to).ok_or_else(|| invalid("is not a member of the region: name a member"))?;
        if matches!(member.role, PeerRole::Learner | PeerRole::DemotingVoter) {
            return Err(invalid("does not vote, so it cannot lead: name a voter"));
        }
        if self.transfer.is_some() {
            return Err(RequestError::ServerIsBusy { reason: "another leader transfer is on its way" });
        }
        if self.matched(to).0.saturating_add(MAX_TRANSFER_LAG) < self.last_index().0 {
            return Err(RequestError::ServerIsBusy { reason: "the target's log is too far behind the leader's" });
        }
        Ok(())
    }

    /// Answers the transfer once it is known how it ended: another member leads, or raft gave it up.
    pub(crate) fn settle_transfer(&mut self, effects: &mut Vec<Effect>) {
        let Some(transfer) = self.transfer.take() else { return };
        let raft = &self.node.raft;
        let result = match self.standing.leader {
            Some(leader) if leader == transfer.to => Ok(()),
            Some(leader) if leader != self.peer.id => Err(self.not_leader()),
            _ if raft.state == StateRole::Leader && raft.lead_transferee != Some(transfer.to.0) => {
                Err(RequestError::ServerIsBusy { reason: "the target did not take over within an election timeout" })
            }
            _ if transfer.ticks_left == 0 => Err(self.not_leader()),
            _ => {
                self.transfer = Some(transfer);
                return;
            }
        };
        effects.push(Effect::Transferred(transfer.responder, result));
    }

    /// One tick passed.
    pub(crate) fn tick_transfer(&mut self, effects: &mut Vec<Effect>) {
        if let Some(transfer) = &mut self.transfer {
            transfer.ticks_left = transfer.ticks_left.saturating_sub(1);
            self.settle_transfer(effects);
        }
    }
}
