//! The machine itself.

use std::sync::Arc;

use engine::{ApplyState, Change, EngineError, HardState, Invitation, LogEngine};
use raft::eraftpb::MessageType;
use raft::{Config, RawNode, ReadOnlyOption, StateRole};
use slog::{Logger, debug, info, o, warn};
use types::{Generation, LogIndex, Peer, PlantedBug, ReadyNumber, RegionDescriptor};

use crate::applies::Applies;
use crate::config::RegionConfig;
use crate::consistency::Consistency;
use crate::contacts::Contacts;
use crate::effect::{Effect, Role};
use crate::elections::{ElectionTimeouts, Restraint};
use crate::input::Input;
use crate::library_log::library_logger;
use crate::message::RegionMessage;
use crate::persists::Persists;
use crate::reads::ConfirmedReads;
use crate::role::{RoleState, Standing};
use crate::snapshots::is_snapshot;
use crate::storage::LogStore;
use crate::transfer::Transfer;
use crate::validate::{DropReason, Dropped};
use crate::waiting::Waiting;

/// Bytes of log that are read at a time when a start looks for entries whose commit must be recorded.
const SCAN_BYTES: u64 = 1 << 20;

/// What a peer starts from: read from both engines and checked by the driver (D8).
#[derive(Clone, Debug)]
pub struct Restored {
    /// The region, from the state engine; without members for a peer that was never initialised.
    pub descriptor: RegionDescriptor,
    /// This store's peer; its role is taken from the descriptor.
    pub peer: Peer,
    /// How far the state engine is.
    pub apply_state: ApplyState,
    /// From the log engine, its commit index raised to the commit floor and to what is applied.
    pub hard_state: HardState,
    /// The newest index in the log; the truncated index when the log is empty.
    pub last_index: LogIndex,
    /// Bytes of log that the log engine holds, about.
    pub log_bytes: u64,
    /// This `RawNode`'s number.
    pub generation: Generation,
    /// Which message made the peer, for one that is not initialised and was not just made.
    pub invitation: Option<Invitation>,
    /// Whether the peer may have voted in an earlier life of this process: then it neither votes nor campaigns for
    /// one election timeout (D8).
    pub may_have_voted: bool,
    /// Whether the state is missing (D10): see [`Restored::fenced`].
    pub fenced: bool,
}

/// A region cannot go on. Fatal to the store.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The log engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The raft crate refused what was restored.
    #[error("raft refused the state of region {region}: {cause}")]
    Raft {
        /// The region.
        region: u64,
        /// Its words.
        cause: String,
    },
}

/// One region's peer.
///
/// What every role has lies here; what only a leader has lies in its role. The files beside this one each hold one
/// concern and extend the machine by it.
pub struct Region {
    pub(crate) config: Arc<RegionConfig>,
    pub(crate) logger: Logger,
    pub(crate) descriptor: Arc<RegionDescriptor>,
    pub(crate) peer: Peer,
    pub(crate) generation: Generation,
    pub(crate) node: RawNode<LogStore>,
    pub(crate) standing: Standing,
    pub(crate) role: RoleState,
    pub(crate) timeouts: ElectionTimeouts,
    pub(crate) restraint: Restraint,
    pub(crate) persists: Persists,
    pub(crate) applies: Applies,
    pub(crate) waiting: Waiting,
    pub(crate) confirmed: ConfirmedReads,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) consistency: Consistency,
    /// The regions that the last split cut off.
    pub(crate) siblings: Vec<RegionDescriptor>,
    /// Peers that are not in the descriptor and speak for a newer one.
    pub(crate) contacts: Contacts,
    /// A conf_ver at which a peer without a descriptor was a member; zero when none is known.
    pub(crate) member_at: u64,
    /// Ticks since a leader's last word.
    pub(crate) leaderless_ticks: u32,
    /// Whether the peer was told to go.
    pub(crate) doomed: bool,
    pub(crate) ended: bool,
    pub(crate) log_bytes: u64,
    /// The snapshot that the log begins with, until this peer has compacted as leader: others may keep far longer logs.
    pub(crate) began_at: Option<LogIndex>,
    pub(crate) idle_ticks: u32,
    pub(crate) dropped: Dropped,
}

impl Region {
    /// A peer that goes on from what was restored. The driver ends a round right after it: committed entries that are
    /// not applied wait to be handed out.
    ///
    /// # Errors
    /// When the indexes contradict each other, or the log cannot be read.
    pub fn new(
        config: Arc<RegionConfig>,
        restored: Restored,
        log: Arc<dyn LogEngine>,
        logger: &Logger,
    ) -> Result<Self, RegionError> {
        let Restored { descriptor, peer, apply_state, hard_state, last_index, log_bytes, generation, .. } = restored;
        let (invitation, may_have_voted, fenced) = (restored.invitation, restored.may_have_voted, restored.fenced);
        // Its role is the descriptor's to say. A peer that is not in it was removed, or never initialised.
        let peer = descriptor.peer(peer.id).copied().unwrap_or(peer);
        let logger = logger.new(o!("region" => descriptor.id.0, "peer" => peer.id.0));
        let refused = |cause: String| RegionError::Raft { region: descriptor.id.0, cause };
        let ordered = [apply_state.truncated, apply_state.applied, hard_state.commit, last_index];
        if !ordered.is_sorted() {
            return Err(refused(format!("truncated, applied, commit and last index are not in order: {ordered:?}")));
        }
        let store = LogStore::new(&descriptor, peer.id, log, hard_state, apply_state, last_index);
        let node = RawNode::new(&raft_config(&config, peer, apply_state), store, &library_logger(&logger))
            .map_err(|error| refused(error.to_string()))?;
        let mut region = Self {
            timeouts: ElectionTimeouts::new(&config, &descriptor, peer.id),
            restraint: Restraint::new(hard_state.commit, may_have_voted, config.election_ticks),
            persists: Persists::new(hard_state.term, hard_state.vote),
            applies: Applies::new(apply_state.applied, config.max_apply_bytes),
            standing: Standing { role: Role::Follower, term: hard_state.term, leader: None },
            role: RoleState::Follower,
            waiting: Waiting::default(),
            confirmed: ConfirmedReads::default(),
            transfer: None,
            consistency: Consistency::default(),
            siblings: Vec::new(),
            contacts: Contacts::default(),
            member_at: 0,
            leaderless_ticks: 0,
            doomed: false,
            ended: false,
            idle_ticks: 0,
            dropped: Dropped::default(),
            descriptor: Arc::new(descriptor),
            config,
            logger,
            peer,
            generation,
            node,
            log_bytes,
            began_at: (last_index == apply_state.truncated && last_index > ApplyState::BORN.truncated)
                .then_some(last_index),
        };
        if region.is_removed() {
            region.applies.stop();
        }
        if fenced {
            region.fence();
        }
        region.remember_invitation(invitation);
        region.check_store()?;
        region.note_uncommitted(hard_state.commit.next(), last_index)?;
        region.set_election_timeout();
        info!(
            region.logger, "peer started";
            "term" => hard_state.term.0, "applied" => apply_state.applied.0, "commit" => hard_state.commit.0,
            "last" => last_index.0, "may_have_voted" => may_have_voted, "fenced" => fenced,
        );
        Ok(region)
    }

    /// Takes something that happened. Cheap: most work is gathered until [`finish_round`](Self::finish_round).
    ///
    /// # Errors
    /// When the log cannot be read. The region takes nothing more then.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        if self.ended {
            self.refuse(input, effects);
            return Ok(());
        }
        match input {
            Input::Message(message) => self.on_message(*message, effects)?,
            Input::Propose(proposal) => self.on_propose(proposal, effects),
            Input::Read(read) => self.on_read(read, effects),
            Input::TransferLeader { to, responder } => self.on_transfer_leader(to, responder, effects)?,
            Input::Campaign => self.on_campaign(),
            Input::Members { epoch, members } => self.on_members(epoch, &members, effects),
            Input::Split(request) => self.on_split(request, effects)?,
            Input::ChangeMembers(request) => self.on_change_members(request, effects)?,
            Input::CheckConsistency => self.on_check_consistency()?,
            Input::Inspect(inspector) => effects.push(Effect::Inspected(inspector, Box::new(self.status()))),
            Input::Tick => self.on_tick(effects)?,
            // What another `RawNode` asked for says nothing about this one's readies and entries (D11).
            Input::Persisted { generation, ready } if self.is_own(generation) => self.on_persisted(ready, effects),
            Input::Applied { generation, apply_state, changes } if self.is_own(generation) => {
                self.on_applied(apply_state, changes, effects)?;
            }
            Input::HashComputed { generation, index, hash } if self.is_own(generation) => {
                self.on_hash_computed(index, hash, effects)?;
            }
            Input::SnapshotBuilt { generation, to, built } if self.is_own(generation) => {
                self.on_snapshot_built(to, built, effects);
            }
            Input::SnapshotSent { generation, to, delivered } if self.is_own(generation) => {
                self.on_snapshot_sent(to, delivered);
            }
            Input::Persisted { generation, .. }
            | Input::Applied { generation, .. }
            | Input::SnapshotBuilt { generation, .. }
            | Input::SnapshotSent { generation, .. }
            | Input::HashComputed { generation, .. } => {
                debug!(self.logger, "completion of another generation dropped"; "generation" => generation.0);
            }
            Input::Unreachable { peer } => {
                self.node.report_unreachable(peer.0);
                self.hold_back_snapshot(peer, effects);
            }
        }
        self.after_raft(effects)
    }

    /// Ends a round: makes one entry of the gathered proposals, and one ready of everything.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn finish_round(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        if self.ended {
            return Ok(());
        }
        self.propose_gathered(effects)?;
        self.ask_reads();
        self.after_raft(effects)?;
        self.take_readies(effects)?;
        self.order_snapshots(effects);
        self.after_raft(effects)
    }

    /// Whether the machine has come to its end, by an [`Effect::ApplySnapshot`] or an [`Effect::Destroy`].
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Ends the machine: nobody waits any more, and nothing is asked for. What may still be committed is *unknown*.
    pub(crate) fn end(&mut self, effects: &mut Vec<Effect>) {
        self.ended = true;
        let error = self.not_leader();
        self.give_up_leadership(&error, effects);
        for responder in std::mem::take(&mut self.confirmed).into_responders() {
            effects.push(Effect::RefuseRead(responder, error.clone()));
        }
        if let Some(transfer) = self.transfer.take() {
            transfer.end(Err(error.clone()), error, effects);
        }
        self.waiting = Waiting::default();
    }

    /// Gives up everything that waits; used when the store stops. What was never proposed is refused; what may still be
    /// committed by the other members is *unknown*, which dropping its responder says.
    pub fn shut_down(mut self, effects: &mut Vec<Effect>) {
        self.standing.leader = None;
        self.end(effects);
    }

    /// This `RawNode`'s number.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The region as this peer knows it; without members while it is not initialised.
    pub fn descriptor(&self) -> &Arc<RegionDescriptor> {
        &self.descriptor
    }

    /// This store's peer.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The newest entry that was handed to apply and is not known to be applied. None for a removed peer: apply executes
    /// nothing more of it.
    pub fn unfinished_apply(&self) -> Option<LogIndex> {
        let applied = self.node.store().apply_state().applied;
        (!self.is_removed() && applied < self.handed_out()).then(|| self.handed_out())
    }

    /// The newest [`Persist`](crate::Persist) that is not known to be durable.
    pub fn unfinished_persist(&self) -> Option<ReadyNumber> {
        self.persists.newest_outstanding()
    }

    /// The newest entry that was handed to apply, or was applied before the start.
    pub fn handed_out(&self) -> LogIndex {
        self.applies.handed_out()
    }

    /// Messages that were dropped since the start, by reason.
    pub fn dropped_messages(&self) -> &Dropped {
        &self.dropped
    }

    /// Messages that were dropped since the start because too many waited for the log engine.
    pub fn dropped_unsent(&self) -> u64 {
        self.persists.dropped()
    }

    /// Bytes of entries in memory.
    pub fn cached_bytes(&self) -> u64 {
        self.node.store().cached_bytes()
    }

    fn is_own(&self, generation: Generation) -> bool {
        generation == self.generation || self.config.planted.has(PlantedBug::OlderGenerationAccepted)
    }

    fn on_message(&mut self, mut message: RegionMessage, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        if let Some(note) = message.note.take() {
            return self.on_note(message.from, note, &message, effects);
        }
        let snapshot = is_snapshot(&message.raft).then(|| message.raft.get_snapshot().clone());
        if let Err(reason) = self.check_message(&message) {
            self.drop_message(&message, reason);
            if let Some(snapshot) = snapshot {
                self.decline_snapshot(message.from, &snapshot, effects);
            }
            self.on_successor(&message, effects);
            return self.on_stranger(&message, None, effects);
        }
        debug!(
            self.logger, "receive";
            "from" => message.from.id.0, "type" => ?message.raft.get_msg_type(), "term" => message.raft.term,
        );
        self.note_sender(&message);
        let refusal = message.raft.reject && message.raft.get_msg_type() == MessageType::MsgAppendResponse;
        if let Err(error) = self.node.step(message.raft) {
            warn!(self.logger, "raft refused a message"; "from" => message.from.id.0, "error" => %error);
        }
        if refusal {
            self.go_on_behind_matched(message.from.id);
        }
        if let Some(snapshot) = snapshot {
            self.settle_snapshot(message.from, &snapshot, effects);
        }
        Ok(())
    }

    fn drop_message(&mut self, message: &RegionMessage, reason: DropReason) {
        let count = self.dropped.add(reason);
        let (from, kind) = (message.from.id.0, message.raft.get_msg_type());
        // Answers of a member that was just removed are on their way for a while.
        let is_ordinary = reason == DropReason::Restrained || reason == DropReason::UnknownSender && is_answer(kind);
        // A sender repeats itself with every heartbeat: the 1st, 2nd, 4th, 8th and so on are worth a warning.
        if count.is_power_of_two() && !is_ordinary {
            warn!(
                self.logger, "message dropped";
                "reason" => reason.label(), "from" => from, "type" => ?kind, "count" => count,
            );
        } else {
            debug!(self.logger, "message dropped"; "reason" => reason.label(), "from" => from, "type" => ?kind);
        }
    }

    fn on_tick(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        self.restraint.tick();
        if !self.is_replaying() && self.may_campaign() {
            self.node.tick();
            self.after_raft(effects)?;
        }
        self.tick_transfer(effects);
        self.tick_members(effects)?;
        self.tick_removal(effects)?;
        self.cancel_useless_snapshots(effects);
        self.tick_compaction()?;
        self.tick_idle();
        Ok(())
    }

    /// Whether the peer still replays what was committed before it started (D8). A removed peer has nothing more to apply.
    pub(crate) fn is_replaying(&self) -> bool {
        !self.is_removed() && self.restraint.is_replaying(&self.node.store().apply_state())
    }

    /// A lone voter leads in the same step in which it campaigns, and raft asserts that its whole log is durable then.
    /// Everyone else asks for votes first, and the question waits for the log (D1). A peer whose state is missing never does.
    pub(crate) fn may_campaign(&self) -> bool {
        let raft = &self.node.raft;
        let durable = self.persists.is_idle() && raft.raft_log.persisted == raft.raft_log.last_index();
        let trusted = !self.is_fenced() && !self.consistency.is_quarantined();
        trusted && (raft.state == StateRole::Leader || durable || !raft.prs().is_singleton())
    }

    /// Frees what a region without writes does not need: with thousands of regions, most of them are such.
    fn tick_idle(&mut self) {
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        if self.idle_ticks == self.config.election_ticks {
            self.node.raft.maybe_free_inflight_buffers();
            self.trim_cache(0);
        }
    }

    fn on_applied(
        &mut self,
        apply_state: ApplyState,
        changes: Vec<Change>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        self.applies.applied(apply_state.applied);
        self.adopt(changes, effects)?;
        self.node.advance_apply_to(apply_state.applied.0);
        self.forget_bytes(apply_state.truncated)?;
        self.node.mut_store().set_apply_state(apply_state);
        self.grant_reads(effects);
        self.destroy_if_doomed(effects);
        self.tell_removed(effects)?;
        self.drive_members(effects)
    }

    /// Follows raft after everything that may have moved it.
    pub(crate) fn after_raft(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        self.check_store()?;
        self.follow_standing(effects);
        self.set_election_timeout();
        Ok(())
    }

    /// Overwrites the timeout that raft may have drawn from its thread's chance, unconditionally: raft draws again where
    /// nothing visible changes.
    fn set_election_timeout(&mut self) {
        let ticks = self.timeouts.at(types::Term(self.node.raft.term));
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    /// Gives up if the log engine failed while raft read from it.
    pub(crate) fn check_store(&self) -> Result<(), RegionError> {
        self.node.store().take_failure().map_or(Ok(()), |error| Err(error.into()))
    }

    pub(crate) fn raft_failed(&self, error: &raft::Error) -> RegionError {
        RegionError::Raft { region: self.descriptor.id.0, cause: error.to_string() }
    }

    /// Finds the entries behind the commit index whose commit will have to be recorded (D1).
    fn note_uncommitted(&mut self, first: LogIndex, last: LogIndex) -> Result<(), RegionError> {
        let mut low = first;
        while low <= last {
            let entries = self.node.store().read(low, last.next(), SCAN_BYTES)?;
            self.persists.note_entries(&entries);
            low = LogIndex(low.0 + entries.len() as u64);
        }
        Ok(())
    }
}

/// Whether messages of this type only answer others.
fn is_answer(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse
    )
}

fn raft_config(config: &RegionConfig, peer: Peer, apply_state: ApplyState) -> Config {
    Config {
        id: peer.id.0,
        election_tick: config.election_ticks as usize,
        heartbeat_tick: config.heartbeat_ticks as usize,
        applied: apply_state.applied.0,
        max_size_per_msg: config.max_message_bytes,
        max_inflight_msgs: config.max_inflight_messages,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        // Halves the messages of a write. An idle follower learns of the last commit with the next heartbeat; nothing
        // that is answered waits for that, since reads and writes are served by the leader.
        skip_bcast_commit: true,
        batch_append: true,
        // Proposals are held to the bound before they reach raft, which would drop a whole round's entry at once.
        max_uncommitted_size: (config.max_uncommitted_bytes + config.max_entry_bytes).max(config.max_message_bytes),
        max_committed_size_per_ready: config.max_apply_bytes,
        ..Config::default()
    }
}
