//! Commands of the store itself: which may be proposed when, and what follows when they are applied.
//!
//! A leader has at most one command in flight that changes the epoch, and while a split is, what users write waits in the
//! region instead of going into the log behind it, where it would only be refused (raftstore-rules §4). Once the split is
//! applied, those writes are answered `EpochNotMatch` with the regions that hold the range now.

use engine::{Change, ChangeKind};
use proto::log::{Admin, admin};
use slog::info;
use types::{CommandKind, LogIndex, RequestError};

use crate::effect::Effect;
use crate::input::SplitResponder;
use crate::machine::{Region, RegionError};

/// A proposed command that changes the epoch, until its entry is applied or the leadership ends.
#[derive(Debug)]
pub(crate) struct InFlight {
    index: LogIndex,
    what: InFlightCommand,
}

#[derive(Debug)]
pub(crate) enum InFlightCommand {
    /// A split, and whom to tell.
    Split(SplitResponder),
    /// A step of a change of members.
    Members,
}

impl InFlight {
    pub(crate) fn new(index: LogIndex, what: InFlightCommand) -> Self {
        Self { index, what }
    }

    /// Whether writes that are proposed now would be refused behind it.
    fn changes_version(&self) -> bool {
        matches!(self.what, InFlightCommand::Split(_))
    }

    /// The leadership ended before it was known what became of it.
    pub(crate) fn abandon(self, effects: &mut Vec<Effect>) {
        if let InFlightCommand::Split(responder) = self.what {
            effects.push(Effect::SplitEnded(responder, Err(leadership_lost())));
        }
    }
}

/// What was begun may be finished by the next leader, or not.
pub(crate) fn leadership_lost() -> RequestError {
    RequestError::Undetermined { reason: "the leadership ended before the change was decided: look at the region" }
}

impl Region {
    /// Checks that this peer may propose a command of the store now. Before an entry of its own term is applied it may
    /// not: earlier terms' commands could still change what the region is.
    pub(crate) fn check_admin(&self) -> Result<(), RequestError> {
        let busy = |reason| Err(RequestError::ServerIsBusy { reason });
        let Some(leader) = self.leader() else { return Err(self.not_leader()) };
        let raft = &self.node.raft;
        if raft.lead_transferee.is_some() {
            return busy("the leadership is being handed over");
        }
        if !raft.apply_to_current_term() {
            return busy("the leader has not applied an entry of its term yet");
        }
        if leader.in_flight.is_some() {
            return busy("another change of the region is on its way");
        }
        Ok(())
    }

    /// The epoch that a command of the store states.
    pub(crate) fn admin(&self, kind: admin::Kind) -> Admin {
        Admin { kind: Some(kind), conf_ver: self.descriptor.epoch.conf_ver }
    }

    /// Whether what users write has to wait for a command in flight.
    pub(crate) fn parks_writes(&self) -> bool {
        self.leader().and_then(|leader| leader.in_flight.as_ref()).is_some_and(InFlight::changes_version)
    }

    /// Takes over what applied entries changed about the region, before raft hears that they are applied (D12).
    pub(crate) fn adopt(&mut self, changes: Vec<Change>, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        for Change { index, kind } in changes {
            match kind {
                ChangeKind::Split { derived, children } => self.adopt_split(index, derived, children, effects),
                ChangeKind::Members { descriptor, changes } => {
                    self.adopt_members(index, descriptor, &changes, effects)?;
                }
                ChangeKind::HashAsked(task) => self.adopt_hash_task(task, effects),
                ChangeKind::HashStated { of, hash } => self.adopt_stated_hash(of, hash, effects),
                ChangeKind::Refused(error) => self.adopt_refusal(index, error, effects),
            }
        }
        Ok(())
    }

    fn adopt_refusal(&mut self, index: LogIndex, error: RequestError, effects: &mut Vec<Effect>) {
        info!(self.logger, "a command of the store was refused"; "index" => index.0, "error" => %error);
        match self.settle_in_flight(index) {
            Some(InFlightCommand::Split(responder)) => effects.push(Effect::SplitEnded(responder, Err(error))),
            Some(InFlightCommand::Members) => self.end_plan(Err(error), effects),
            None => {}
        }
    }

    /// The command in flight, if its entry is the one at this index. In one leadership there is one entry at an index.
    pub(crate) fn settle_in_flight(&mut self, index: LogIndex) -> Option<InFlightCommand> {
        let leader = self.leader_mut()?;
        if leader.in_flight.as_ref()?.index != index {
            return None;
        }
        leader.in_flight.take().map(|in_flight| in_flight.what)
    }

    /// The answer to a request under another epoch: the region as it is, and the neighbours that it was cut off from last,
    /// so that a client finds its keys without asking the placement driver.
    pub(crate) fn epoch_not_match(&self) -> RequestError {
        let own = std::iter::once(&*self.descriptor);
        let current = own.chain(self.siblings.iter()).cloned().collect();
        RequestError::EpochNotMatch { region: self.descriptor.id, current }
    }

    /// Checks a command's epoch before it is proposed; apply checks it again.
    pub(crate) fn check_epoch(&self, kind: CommandKind, stated: types::RegionEpoch) -> Result<(), RequestError> {
        if self.descriptor.epoch.admits(kind, stated) { Ok(()) } else { Err(self.epoch_not_match()) }
    }
}
