//! Splitting the region (raftstore-rules §5).

use std::sync::Arc;

use engine::Child;
use prost::Message as _;
use proto::log::admin;
use slog::info;
use types::entry::BOUNDARY_CONTEXT;
use types::limits::{INITIAL_LOG_TERM, MAX_KEY_BYTES, MAX_SPLIT_REGIONS};
use types::{CommandKind, LogIndex, RegionDescriptor, RequestError};

use crate::admin::{InFlight, InFlightCommand};
use crate::effect::{Effect, Role, Split};
use crate::input::SplitRequest;
use crate::machine::{Region, RegionError};
use crate::validate::MAX_NUMBER;

impl Region {
    /// Proposes a split, or refuses it.
    pub(crate) fn on_split(&mut self, request: SplitRequest, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        if let Err(error) = self.check_split(&request) {
            effects.push(Effect::SplitEnded(request.responder, Err(error)));
            return Ok(());
        }
        // What was gathered was accepted before the split.
        self.propose_gathered(effects)?;
        let admin = self.admin(admin::Kind::Split(request.plan.into()));
        match self.propose_admin(BOUNDARY_CONTEXT, admin)? {
            Some(index) => {
                info!(self.logger, "split proposed"; "index" => index.0);
                if let Some(leader) = self.leader_mut() {
                    leader.in_flight = Some(InFlight::new(index, InFlightCommand::Split(request.responder)));
                }
            }
            None => effects.push(Effect::SplitEnded(request.responder, Err(self.not_leader()))),
        }
        Ok(())
    }

    fn check_split(&self, request: &SplitRequest) -> Result<(), RequestError> {
        self.check_admin()?;
        self.check_epoch(CommandKind::Split, request.epoch)?;
        if self.descriptor.is_joint() {
            return Err(RequestError::ServerIsBusy { reason: "the region is between two configurations" });
        }
        let regions = &request.plan.regions;
        let invalid = |reason: String| Err(RequestError::Invalid { reason });
        if regions.len() > MAX_SPLIT_REGIONS {
            return invalid(format!("{} new regions are more than {MAX_SPLIT_REGIONS}: split in steps", regions.len()));
        }
        let ids = regions.iter().flat_map(|new| new.peers.iter().map(|peer| peer.0).chain([new.id.0]));
        if let Some(id) = ids.into_iter().find(|id| *id == 0 || *id >= MAX_NUMBER) {
            return invalid(format!("{id} is no id of a region or a peer"));
        }
        if let Some(long) = regions.iter().map(|new| new.key.len()).find(|length| *length > MAX_KEY_BYTES) {
            return invalid(format!("a split key of {long} bytes is longer than the limit of {MAX_KEY_BYTES}"));
        }
        let (size, limit) =
            (proto::log::Split::from(request.plan.clone()).encoded_len() as u64, self.config.max_entry_bytes);
        if size > limit {
            return Err(RequestError::EntryTooLarge { region: self.descriptor.id, size, limit });
        }
        self.descriptor.split(&request.plan).map(|_| ())
    }

    /// The split was applied: this region is smaller from now on, and others begin beside it.
    pub(crate) fn adopt_split(
        &mut self,
        index: LogIndex,
        derived: Arc<RegionDescriptor>,
        children: Vec<Child>,
        effects: &mut Vec<Effect>,
    ) {
        info!(
            self.logger, "region split";
            "index" => index.0, "range" => %derived.range, "version" => derived.epoch.version,
            "children" => ?children.iter().map(|child| child.descriptor.id).collect::<Vec<_>>(),
        );
        self.descriptor = Arc::clone(&derived);
        self.siblings = children.iter().map(|child| child.descriptor.clone()).collect();
        effects.push(Effect::Split(Split {
            region: self.descriptor.id,
            peer: self.peer.id,
            index,
            derived,
            children,
            campaign: self.leader().is_some(),
        }));
        if let Some(InFlightCommand::Split(responder)) = self.settle_in_flight(index) {
            let mut regions: Vec<RegionDescriptor> = self.siblings.to_vec();
            regions.push((*self.descriptor).clone());
            regions.sort_by(|left, right| left.range.start.cmp(&right.range.start));
            effects.push(Effect::SplitEnded(responder, Ok(regions)));
        }
        self.refuse_parked(effects);
    }

    /// Campaigns for the first term of a region that was just born. Nobody leads it and nobody can be disturbed, so it
    /// does without the question whether a campaign might succeed, and without the round trip of that question.
    pub(crate) fn on_campaign(&mut self) {
        let raft = &self.node.raft;
        let fresh =
            raft.term == INITIAL_LOG_TERM && raft.vote == raft::INVALID_ID && raft.leader_id == raft::INVALID_ID;
        let ready = raft.promotable() && self.may_campaign() && !self.restraint.is_silent();
        if self.standing.role == Role::Follower && fresh && ready {
            self.node.raft.campaign(raft::CAMPAIGN_ELECTION);
        }
    }

    /// What users wrote under the version before the split would be refused by apply: say so at once.
    fn refuse_parked(&mut self, effects: &mut Vec<Effect>) {
        let error = self.epoch_not_match();
        let Some(leader) = self.leader_mut() else { return };
        for responder in std::mem::take(&mut leader.gathered).into_responders() {
            effects.push(Effect::Refuse(responder, error.clone()));
        }
    }
}
