//! Changing the region's members (raft thesis §4, raftstore-rules §7).
//!
//! A [`MembersRequest`] says what should be true in the end. The leader gets there in steps, each an entry of its own, and
//! looks for the next one when the last is applied: what the next step is depends on nothing but the members as they are
//! and as they were asked for, so an interrupted change is taken up again by asking again.
//!
//! 1. Peers that are not members yet are added as learners, one by one.
//! 2. Learners that shall vote catch up. While they do not, no quorum depends on them. If they make no progress for
//!    [`newcomer_ticks`](crate::RegionConfig::newcomer_ticks), the learners that were added are removed again.
//! 3. All changes of voters are one step: simple for one, joint for several. A voter that shall go beside others is demoted
//!    here. The leader leaves the joint configuration by itself; so does every later leader that finds one.
//! 4. Learners that shall go are removed.
//!
//! A leader that shall not vote any more hands the leadership over first, and its successor is asked instead. No step is
//! taken that would leave a quorum of voters that have not been heard of.

use std::sync::Arc;

use prost::Message as _;
use proto::log::ChangeMembers;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, EntryType};
use slog::{info, warn};
use types::entry::ENTRY_VERSION;
use types::{
    CommandKind, LogIndex, MemberChange, MemberChangeKind, Peer, PeerId, PeerRole, PlantedBug, RegionDescriptor,
    RequestError,
};

use crate::admin::{InFlight, InFlightCommand, leadership_lost};
use crate::effect::{Effect, Role};
use crate::elections::ElectionTimeouts;
use crate::input::{MembersRequest, MembersResponder};
use crate::machine::{Region, RegionError};
use crate::plan::{Step, check_plan, next_step};
use crate::storage::conf_state;
use crate::transfer::AfterTransfer;

/// A learner whose log lags further than this is not promoted: a commit may have to wait for it from then on.
const MAX_PROMOTION_LAG: u64 = 256;

/// A change of members on its way.
#[derive(Debug)]
pub(crate) struct MembersPlan {
    /// What should be true in the end.
    wanted: Vec<MemberChange>,
    responder: MembersResponder,
    /// Learners that the plan added and that nobody depends on yet: taking it back means to remove them.
    added: Vec<MemberChange>,
    /// Whether some step was taken, so that the answer can no longer be "no effect".
    begun: bool,
    /// The newcomers' matched indexes, added up, when they last grew, and the idle ticks since.
    caught_up_to: u64,
    idle_ticks: u32,
    /// The ticks since in which a snapshot was on its way to one that answers. They were idle if it needs another one.
    snapshot_ticks: u32,
    /// Why the plan is taken back, if it is.
    refusal: Option<String>,
}

impl MembersPlan {
    fn new(request: MembersRequest) -> Self {
        Self {
            wanted: request.changes,
            responder: request.responder,
            added: Vec::new(),
            begun: false,
            caught_up_to: 0,
            idle_ticks: 0,
            snapshot_ticks: 0,
            refusal: None,
        }
    }

    /// The leadership ended.
    pub(crate) fn abandon(self, not_leader: RequestError, effects: &mut Vec<Effect>) {
        let error = if self.begun { leadership_lost() } else { not_leader };
        effects.push(Effect::MembersEnded(self.responder, Err(error)));
    }
}

impl Region {
    /// Begins a change of members, or refuses it.
    pub(crate) fn on_change_members(
        &mut self,
        request: MembersRequest,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        if let Err(error) = self.check_members_request(&request) {
            effects.push(Effect::MembersEnded(request.responder, Err(error)));
            return Ok(());
        }
        let stays = |id: PeerId| {
            let change = request.changes.iter().find(|change| change.peer == id);
            change.is_none_or(|change| change.kind == MemberChangeKind::Vote)
        };
        if !stays(self.peer.id) && self.peer.role.votes_afterwards() {
            let fit = |peer: &Peer| peer.role == PeerRole::Voter && stays(peer.id);
            if let Some(successor) = self.best_successor(fit) {
                return self.begin_transfer(successor, AfterTransfer::AskSuccessor(request.responder), effects);
            }
            // A newcomer may lead once it votes; with nobody to come there is nobody to lead.
            let votes = |id| self.descriptor.peer(id).is_some_and(|peer| peer.role.votes_afterwards());
            let comes = |change: &MemberChange| change.kind == MemberChangeKind::Vote && !votes(change.peer);
            if !request.changes.iter().any(comes) {
                let reason = "no other voter is fit to lead the region: wait until one has caught up".to_owned();
                let error = RequestError::ChangeRefused { region: self.descriptor.id, reason };
                effects.push(Effect::MembersEnded(request.responder, Err(error)));
                return Ok(());
            }
        }
        info!(self.logger, "change of members begins"; "wanted" => ?request.changes);
        if let Some(leader) = self.leader_mut() {
            leader.plan = Some(MembersPlan::new(request));
        }
        self.drive_members(effects)
    }

    fn check_members_request(&self, request: &MembersRequest) -> Result<(), RequestError> {
        self.check_admin()?;
        self.check_epoch(CommandKind::Members, request.epoch)?;
        let busy = |reason| Err(RequestError::ServerIsBusy { reason });
        if self.leader().is_some_and(|leader| leader.plan.is_some()) {
            return busy("another change of members is on its way");
        }
        if self.transfer.is_some() {
            return busy("a leader transfer is on its way");
        }
        check_plan(&self.descriptor, &request.changes)
    }

    /// Takes the next step of the change on its way, and leaves a joint configuration, if the last step is applied.
    pub(crate) fn drive_members(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let raft = &self.node.raft;
        let waits = raft.has_pending_conf() || raft.lead_transferee.is_some() || !raft.apply_to_current_term();
        if waits || self.leader().is_none_or(|leader| leader.in_flight.is_some()) {
            return Ok(());
        }
        if self.descriptor.is_joint() {
            if self.config.planted.has(PlantedBug::JointForever) {
                return Ok(());
            }
            return self.leave_joint(effects);
        }
        let Some(plan) = self.leader().and_then(|leader| leader.plan.as_ref()) else { return Ok(()) };
        match next_step(&self.descriptor, &plan.wanted, |peer| self.has_caught_up(peer)) {
            Step::Change(changes) => match self.check_quorum(&changes) {
                Ok(()) => self.take_step(changes, effects),
                Err(reason) => self.roll_back(reason, effects),
            },
            Step::CatchUp(_) => Ok(()),
            Step::Done => {
                let result = match &plan.refusal {
                    None => Ok((*self.descriptor).clone()),
                    Some(reason) => Err(self.refused(reason.clone())),
                };
                self.end_plan(result, effects);
                Ok(())
            }
        }
    }

    fn refused(&self, reason: String) -> RequestError {
        RequestError::ChangeRefused { region: self.descriptor.id, reason }
    }

    fn take_step(&mut self, changes: Vec<MemberChange>, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let newcomer = match changes[..] {
            [change] if self.descriptor.peer(change.peer).is_none() => Some(change),
            _ => None,
        };
        if !self.propose_members(&changes, effects)? {
            return Ok(());
        }
        if let Some(plan) = self.leader_mut().and_then(|leader| leader.plan.as_mut()) {
            plan.begun = true;
            plan.idle_ticks = 0;
            match newcomer {
                Some(newcomer) => plan.added.push(newcomer),
                // What comes behind a change of voters cannot fail any more.
                None => plan.added.clear(),
            }
        }
        Ok(())
    }

    /// Proposes one entry that changes the members. False when raft did not take it, so that it is tried again later.
    fn propose_members(&mut self, changes: &[MemberChange], effects: &mut Vec<Effect>) -> Result<bool, RegionError> {
        self.propose_gathered(effects)?;
        let epoch = self.descriptor.epoch;
        let context = ChangeMembers {
            version: ENTRY_VERSION,
            conf_ver: epoch.conf_ver,
            region_version: epoch.version,
            changes: changes.iter().map(|change| (*change).into()).collect(),
        };
        match self.node.propose_conf_change(context.encode_to_vec(), conf_change(changes)) {
            Ok(()) => {}
            Err(raft::Error::ProposalDropped) => return Ok(false),
            Err(error) => return Err(self.raft_failed(&error)),
        }
        // Raft turns what it does not want into an empty entry, and says nothing (raftstore-rules §17).
        let entry = self.node.raft.raft_log.unstable_entries().last();
        if entry.is_none_or(|entry| entry.get_entry_type() != EntryType::EntryConfChangeV2) {
            warn!(self.logger, "raft put off a change of members"; "changes" => ?changes);
            return Ok(false);
        }
        let index = self.last_index();
        info!(self.logger, "change of members proposed"; "index" => index.0, "changes" => ?changes);
        if let Some(leader) = self.leader_mut() {
            leader.in_flight = Some(InFlight::new(index, InFlightCommand::Members));
        }
        Ok(true)
    }

    /// Ends a joint configuration. A leader that will not vote behind it hands the leadership over first: nothing that it
    /// proposed afterwards could be committed (raftstore-rules §7).
    fn leave_joint(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        if self.peer.role.votes_afterwards() {
            return self.propose_members(&[], effects).map(drop);
        }
        match self.best_successor(|peer| peer.role.votes_afterwards()) {
            Some(successor) if self.transfer.is_none() => {
                self.begin_transfer(successor, AfterTransfer::Nothing, effects)
            }
            _ => Ok(()),
        }
    }

    /// The members changed: raft hears of it before it hears that the entry is applied (D12).
    pub(crate) fn adopt_members(
        &mut self,
        index: LogIndex,
        descriptor: Arc<RegionDescriptor>,
        changes: &[MemberChange],
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        info!(self.logger, "members changed";
            "index" => index.0, "changes" => listed(changes), "members" => listed(&descriptor.peers));
        let own = descriptor.peer(self.peer.id).copied();
        if own.is_none_or(|peer| peer.role == PeerRole::Learner) {
            self.step_down(&descriptor, effects);
        }
        let state = self.node.apply_conf_change(&conf_change(changes)).map_err(|error| self.raft_failed(&error))?;
        let expected = conf_state(&descriptor);
        if !raft_proto::conf_state_eq(&state, &expected) {
            let cause =
                format!("entry {index} made {state:?} of raft's configuration, but {expected:?} of the region's");
            return Err(RegionError::Raft { region: self.descriptor.id.0, cause });
        }
        let before = std::mem::replace(&mut self.descriptor, descriptor);
        let gone: Vec<Peer> =
            before.peers.iter().filter(|peer| self.descriptor.peer(peer.id).is_none()).copied().collect();
        self.timeouts = ElectionTimeouts::new(&self.config, &self.descriptor, self.peer.id);
        match own {
            Some(peer) => self.peer = peer,
            None => {
                self.applies.stop();
                self.doomed |= self.config.planted.has(PlantedBug::DestroyedAtApply);
            }
        }
        effects.push(Effect::MembersChanged(Arc::clone(&self.descriptor)));
        self.settle_in_flight(index);
        let next = self.last_index().next();
        if let Some(leader) = self.leader_mut() {
            leader.removed.configuration_begins(next);
            gone.into_iter().for_each(|peer| leader.removed.remember(peer));
        }
        self.cancel_useless_snapshots(effects);
        Ok(())
    }

    /// Whether the log has removed this peer. Until it is destroyed it still votes and acknowledges when it is asked: the
    /// other members may not know yet that they can do without it (D9).
    pub(crate) fn is_removed(&self) -> bool {
        self.is_initialised() && self.descriptor.peer(self.peer.id).is_none()
    }

    /// Raft lets a leader go on leading a configuration that it is no part of, and then looks for its own progress in
    /// vain. A leader that an earlier one's entry removes ends its leadership here, and asks the best of the others to
    /// begin its own without waiting for a timeout.
    fn step_down(&mut self, next: &RegionDescriptor, effects: &mut Vec<Effect>) {
        self.stop_leading(|peer| next.peer(peer.id).is_some_and(|peer| peer.role.votes_afterwards()), effects);
    }

    /// Ends the leadership at once. The best of the members that fit is asked to begin its own without waiting for a timeout,
    /// if it has the whole log.
    pub(crate) fn stop_leading(&mut self, fit: impl Fn(&Peer) -> bool, effects: &mut Vec<Effect>) {
        if self.standing.role != Role::Leader {
            return;
        }
        let last = self.last_index();
        if let Some(successor) = self.best_successor(fit).filter(|successor| self.matched(*successor) == last) {
            self.node.raft.send_timeout_now(successor.0);
        }
        let term = self.node.raft.term;
        self.node.raft.become_follower(term, raft::INVALID_ID);
        self.follow_standing(effects);
    }

    /// The member that should lead next, among those that fit: heard of lately, and the least behind.
    fn best_successor(&self, fit: impl Fn(&Peer) -> bool) -> Option<PeerId> {
        let others = self.descriptor.peers.iter().filter(|peer| peer.id != self.peer.id);
        let candidates = others.filter(|peer| fit(peer) && self.is_healthy(peer.id) && self.may_succeed(peer.id));
        // The smaller id among equals.
        candidates.max_by_key(|peer| (self.matched(peer.id), std::cmp::Reverse(peer.id))).map(|peer| peer.id)
    }

    /// Whether a leader heard of a member within two election timeouts.
    fn is_healthy(&self, member: PeerId) -> bool {
        let limit = self.config.election_ticks.saturating_mul(2);
        let heard = self.leader().and_then(|leader| leader.heard.get(&member));
        member == self.peer.id || heard.is_some_and(|ticks| *ticks <= limit)
    }

    fn has_caught_up(&self, member: PeerId) -> bool {
        let lag = self.last_index().0.saturating_sub(self.matched(member).0);
        let early = self.config.planted.has(PlantedBug::PromotedTooEarly);
        early || (self.is_healthy(member) && !self.needs_snapshot(member) && lag <= MAX_PROMOTION_LAG)
    }

    /// Checks that a majority, wherever one is needed behind these changes, is of voters that are heard of and can
    /// acknowledge what comes next. Gives the reason if not.
    fn check_quorum(&self, changes: &[MemberChange]) -> Result<(), String> {
        let next = self.descriptor.change_members(changes).map_err(|error| error.to_string())?;
        let voters = |region: &RegionDescriptor, votes: fn(PeerRole) -> bool| -> Vec<PeerId> {
            region.peers.iter().filter(|peer| votes(peer.role)).map(|peer| peer.id).collect()
        };
        let before = voters(&self.descriptor, PeerRole::voted_before);
        let after = voters(&next, PeerRole::votes_afterwards);
        if before == after {
            return Ok(());
        }
        let halves = if next.is_joint() { vec![before, after] } else { vec![after] };
        for voters in halves {
            let unfit = |id: &PeerId| !self.is_healthy(*id) || self.needs_snapshot(*id);
            let unfit: Vec<PeerId> = voters.iter().copied().filter(unfit).collect();
            if (voters.len() - unfit.len()) * 2 <= voters.len() {
                return Err(format!(
                    "of the voters {voters:?}, {unfit:?} were silent lately or need a snapshot: the region would lose \
                     its quorum"
                ));
            }
        }
        Ok(())
    }

    /// Gives up the change on its way: removes the learners that it added, then says why.
    fn roll_back(&mut self, reason: String, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        warn!(self.logger, "change of members is taken back"; "reason" => &reason);
        let refusal = self.refused(reason.clone());
        let Some(plan) = self.leader_mut().and_then(|leader| leader.plan.as_mut()) else { return Ok(()) };
        if plan.refusal.is_some() || plan.added.is_empty() {
            self.end_plan(Err(refusal), effects);
            return Ok(());
        }
        plan.refusal = Some(reason);
        plan.wanted = plan.added.iter().map(|added| MemberChange::remove(added.peer, added.store)).collect();
        self.drive_members(effects)
    }

    /// Answers the change on its way, if there is one.
    pub(crate) fn end_plan(&mut self, result: Result<RegionDescriptor, RequestError>, effects: &mut Vec<Effect>) {
        if let Some(plan) = self.leader_mut().and_then(|leader| leader.plan.take()) {
            info!(self.logger, "change of members ended"; "result" => ?result.as_ref().map(|region| &region.peers));
            effects.push(Effect::MembersEnded(plan.responder, result));
        }
    }

    /// A member answered.
    pub(crate) fn note_heard(&mut self, member: PeerId) {
        if let Some(leader) = self.leader_mut() {
            leader.heard.insert(member, 0);
        }
    }

    /// A member asked for a snapshot because its state is missing: it is no help to any quorum.
    pub(crate) fn forget_heard(&mut self, member: PeerId) {
        if let Some(leader) = self.leader_mut() {
            leader.heard.remove(&member);
        }
    }

    /// One tick passed.
    pub(crate) fn tick_members(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let Some(leader) = self.leader_mut() else { return Ok(()) };
        leader.heard.values_mut().for_each(|ticks| *ticks = ticks.saturating_add(1));
        self.drive_members(effects)?;
        let Some(reason) = self.tick_newcomers() else { return Ok(()) };
        self.roll_back(reason, effects)
    }

    /// A member needs a snapshot: one that it was sent before did not help.
    pub(crate) fn count_vain_snapshot(&mut self) {
        if let Some(plan) = self.leader_mut().and_then(|leader| leader.plan.as_mut()) {
            plan.idle_ticks += std::mem::take(&mut plan.snapshot_ticks);
        }
    }

    /// Counts the ticks without progress of learners that shall vote. Gives the reason once there are too many.
    fn tick_newcomers(&mut self) -> Option<String> {
        let plan = self.leader()?.plan.as_ref()?;
        let Step::CatchUp(behind) = next_step(&self.descriptor, &plan.wanted, |peer| self.has_caught_up(peer)) else {
            return None;
        };
        let progress = behind.iter().map(|peer| self.matched(*peer).0).sum();
        let limit = self.config.newcomer_ticks;
        let snapshots = &self.leader()?.snapshots;
        let takes_snapshot = behind.iter().any(|peer| snapshots.contains_key(peer) && self.is_healthy(*peer));
        let plan = self.leader_mut()?.plan.as_mut()?;
        if progress > plan.caught_up_to {
            (plan.caught_up_to, plan.idle_ticks, plan.snapshot_ticks) = (progress, 0, 0);
        }
        // A large snapshot takes its time.
        if takes_snapshot {
            plan.snapshot_ticks += 1;
        } else {
            plan.idle_ticks += 1;
        }
        (plan.idle_ticks > limit)
            .then(|| format!("peers {behind:?} made no progress for {limit} ticks; what was begun is taken back"))
    }
}

/// Items of a line of the log.
fn listed(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The changes as raft reads them: one by itself is simple, several are joint and left explicitly, none leaves.
fn conf_change(changes: &[MemberChange]) -> ConfChangeV2 {
    let single = |change: &MemberChange| {
        let mut single = ConfChangeSingle { node_id: change.peer.0, ..ConfChangeSingle::default() };
        single.set_change_type(match change.kind {
            MemberChangeKind::Vote => ConfChangeType::AddNode,
            MemberChangeKind::Learn => ConfChangeType::AddLearnerNode,
            MemberChangeKind::Remove => ConfChangeType::RemoveNode,
        });
        single
    };
    let mut change = ConfChangeV2::default();
    change.set_changes(changes.iter().map(single).collect::<Vec<_>>().into());
    if changes.len() > 1 {
        change.set_transition(ConfChangeTransition::Explicit);
    }
    change
}
