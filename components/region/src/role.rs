//! A peer's role, and what only that role has.

use std::collections::BTreeMap;

use raft::StateRole;
use slog::{debug, info};
use types::{Peer, PeerId, RequestError, Term};

use crate::admin::InFlight;
use crate::compaction::Compaction;
use crate::effect::{Effect, Role, RoleChange};
use crate::machine::Region;
use crate::membership::MembersPlan;
use crate::proposals::Gathered;
use crate::reads::AskedReads;
use crate::removal::Removed;
use crate::snapshots::Outgoing;

/// What only a leader has. It begins and ends with the leadership of one term.
#[derive(Debug, Default)]
pub(crate) struct Leader {
    pub(crate) gathered: Gathered,
    pub(crate) reads: AskedReads,
    pub(crate) compaction: Option<Compaction>,
    /// The command in flight that changes the epoch.
    pub(crate) in_flight: Option<InFlight>,
    /// The change of members on its way.
    pub(crate) plan: Option<MembersPlan>,
    /// Ticks since each member last answered in this leadership.
    pub(crate) heard: BTreeMap<PeerId, u32>,
    /// Snapshots on their way to members.
    pub(crate) snapshots: BTreeMap<PeerId, Outgoing>,
    /// Peers that are to be told that they are no members any more.
    pub(crate) removed: Removed,
}

impl Leader {
    /// Gives up what was begun, with this answer to what was not.
    pub(crate) fn abandon(self, not_leader: &RequestError, effects: &mut Vec<Effect>) {
        for responder in self.gathered.into_responders() {
            effects.push(Effect::Refuse(responder, not_leader.clone()));
        }
        for responder in self.reads.into_responders() {
            effects.push(Effect::RefuseRead(responder, not_leader.clone()));
        }
        if let Some(in_flight) = self.in_flight {
            in_flight.abandon(effects);
        }
        if let Some(plan) = self.plan {
            plan.abandon(not_leader.clone(), effects);
        }
    }
}

/// The peer's role with what belongs to it.
#[derive(Debug)]
pub(crate) enum RoleState {
    Follower,
    PreCandidate,
    Candidate,
    Leader(Box<Leader>),
}

/// Role, term and leader as raft has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    pub(crate) term: Term,
    pub(crate) leader: Option<PeerId>,
}

impl Standing {
    fn leads_in(self, other: Self) -> bool {
        self.role == Role::Leader && other.role == Role::Leader && self.term == other.term
    }
}

impl Region {
    /// The role as raft has it now.
    pub(crate) fn current_standing(&self) -> Standing {
        let raft = &self.node.raft;
        let role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        let leader = (raft.leader_id != raft::INVALID_ID).then_some(PeerId(raft.leader_id));
        Standing { role, term: Term(raft.term), leader }
    }

    /// The leader's part of the role.
    pub(crate) fn leader_mut(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            RoleState::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    /// The leader's part of the role.
    pub(crate) fn leader(&self) -> Option<&Leader> {
        match &self.role {
            RoleState::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    /// Follows raft into a new role, term or leader; called after everything that may move it.
    pub(crate) fn follow_standing(&mut self, effects: &mut Vec<Effect>) {
        let now = self.current_standing();
        let before = std::mem::replace(&mut self.standing, now);
        if before == now {
            return;
        }
        if before.role == Role::Leader && !before.leads_in(now) {
            self.leave_leadership(effects);
        }
        if !before.leads_in(now) {
            self.role = match now.role {
                Role::Follower => RoleState::Follower,
                Role::PreCandidate => RoleState::PreCandidate,
                Role::Candidate => RoleState::Candidate,
                Role::Leader => RoleState::Leader(Box::default()),
            };
            // A new leader's own entry is the first one that it appends under the present configuration.
            let own_entry = self.last_index();
            if let Some(leader) = self.leader_mut() {
                leader.removed.configuration_begins(own_entry);
            }
        }
        self.log_standing(before, now);
        self.settle_transfer(effects);
        effects.push(Effect::RoleChanged(RoleChange {
            region: self.descriptor.id,
            role: now.role,
            term: now.term,
            leader: self.known_leader(),
        }));
    }

    /// The leader of the current term, where it is known for sure.
    pub(crate) fn known_leader(&self) -> Option<Peer> {
        self.standing.leader.and_then(|id| self.descriptor.peer(id)).copied()
    }

    /// The answer to a request that only the leader serves. A client tries a hint again at once, without sleeping, so it
    /// must never name this peer itself (wire.md A0): raft knows itself for the leader only while it leads.
    pub(crate) fn not_leader(&self) -> RequestError {
        RequestError::NotLeader { region: self.descriptor.id, leader: self.known_leader() }
    }

    fn leave_leadership(&mut self, effects: &mut Vec<Effect>) {
        // What raft confirmed before it stepped down stays confirmed.
        let confirmed = std::mem::take(&mut self.node.raft.read_states);
        self.confirm_reads(confirmed, effects);
        self.give_up_leadership(&self.not_leader(), effects);
    }

    /// Gives up what only a leader has, if this is one: its snapshots, which hold permits of the store, and whoever waits.
    pub(crate) fn give_up_leadership(&mut self, error: &RequestError, effects: &mut Vec<Effect>) {
        if let RoleState::Leader(leader) = std::mem::replace(&mut self.role, RoleState::Follower) {
            self.abandon_snapshots(leader.snapshots.keys().copied(), effects);
            leader.abandon(error, effects);
        }
    }

    fn log_standing(&self, before: Standing, now: Standing) {
        let leader = now.leader.map_or(0, PeerId::get);
        if before.role == now.role && before.leader == now.leader {
            debug!(self.logger, "term changed"; "term" => now.term.0, "before" => before.term.0);
        } else if before.role == now.role {
            info!(self.logger, "leader changed"; "leader" => leader, "role" => ?now.role, "term" => now.term.0);
        } else {
            info!(
                self.logger, "role changed";
                "role" => ?now.role, "before" => ?before.role, "term" => now.term.0, "leader" => leader,
            );
        }
    }
}
