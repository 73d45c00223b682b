//! Handing the leadership to another member (raft thesis §3.10).

use raft::StateRole;
use slog::info;
use types::{PeerId, PeerRole, RequestError};

use crate::effect::{Effect, Role};
use crate::input::{MembersResponder, TransferResponder};
use crate::machine::{Region, RegionError};

/// A target whose log lags further than this is refused: while it catches up the region takes no writes.
const MAX_TRANSFER_LAG: u64 = 256;

/// A transfer on its way. It outlives the leadership that it ends: its answer is who leads next.
#[derive(Debug)]
pub(crate) struct Transfer {
    to: PeerId,
    after: AfterTransfer,
    /// Ticks until it counts as failed. Raft itself gives up after one election timeout while it still leads.
    ticks_left: u32,
}

/// What follows a transfer.
#[derive(Debug)]
pub(crate) enum AfterTransfer {
    /// Whoever asked for it is told how it ended.
    Answer(TransferResponder),
    /// Whoever asked for other members is sent to the new leader: this one shall not vote any more.
    AskSuccessor(MembersResponder),
    /// Nothing: the leader wanted it by itself.
    Nothing,
}

impl Transfer {
    /// Tells how it ended.
    pub(crate) fn end(self, result: Result<(), RequestError>, successor: RequestError, effects: &mut Vec<Effect>) {
        match self.after {
            AfterTransfer::Answer(responder) => effects.push(Effect::Transferred(responder, result)),
            AfterTransfer::AskSuccessor(responder) => {
                let error = result.err().unwrap_or(successor);
                effects.push(Effect::MembersEnded(responder, Err(error)));
            }
            AfterTransfer::Nothing => {}
        }
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
            self.begin_transfer(to, AfterTransfer::Answer(responder), effects)?;
        }
        Ok(())
    }

    /// Begins a transfer. None may be on its way.
    pub(crate) fn begin_transfer(
        &mut self,
        to: PeerId,
        after: AfterTransfer,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        info!(self.logger, "leadership is handed over"; "to" => to.0);
        // What was gathered was accepted before the transfer; raft drops what is proposed from now on.
        self.propose_gathered(effects)?;
        self.node.transfer_leader(to.0);
        let ticks_left = self.config.election_ticks.saturating_mul(2);
        self.transfer = Some(Transfer { to, after, ticks_left });
        Ok(())
    }

    /// Whether a member's log is close enough behind the leader's for a transfer. A new leader has not heard of anybody's
    /// log yet: what counts then is how long its own is.
    pub(crate) fn may_succeed(&self, member: PeerId) -> bool {
        let near = self.matched(member).0.saturating_add(MAX_TRANSFER_LAG) >= self.last_index().0;
        near && !self.waits_for_snapshot(member)
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
        if !self.may_succeed(to) {
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
        let leader = self.descriptor.peer(transfer.to).copied();
        transfer.end(result, RequestError::NotLeader { region: self.descriptor.id, leader }, effects);
    }

    /// One tick passed.
    pub(crate) fn tick_transfer(&mut self, effects: &mut Vec<Effect>) {
        if let Some(transfer) = &mut self.transfer {
            transfer.ticks_left = transfer.ticks_left.saturating_sub(1);
            self.settle_transfer(effects);
        }
    }
}
