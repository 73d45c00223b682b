//! Rounds of raft: step many regions, write all that they ask for in one synced batch, release what waited for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use observe::StoreMetrics;
use region::{Effect, Input, Persist, ReadGrant, ReadResponder, Region, Role, RoleChange};
use runtime::system::{Actor, Handler, Verdict};
use slog::info;
use types::{Generation, Instant, RegionDescriptor, RegionId, RequestError};

use crate::apply_poller::ApplyMessage;
use crate::error::StoreError;
use crate::log_writer::{LogWriter, Written};
use crate::metrics;
use crate::panic::catch;
use crate::rebuild::{Machine, RebuildResponder};
use crate::recovery::restore_region;
use crate::shared::{Shared, Surroundings};

/// What is sent to a region.
pub(crate) enum RaftMessage {
    /// Something that happened to it.
    Input(Input),
    /// It is to begin anew, from what both engines hold.
    Rebuild(RebuildResponder),
}

impl From<Input> for RaftMessage {
    fn from(input: Input) -> Self {
        Self::Input(input)
    }
}

/// A region in its mailbox.
pub(crate) struct RaftActor {
    machine: Machine,
    pub(crate) id: RegionId,
    /// Since when the peer has been campaigning.
    pub(crate) campaigning: Option<Instant>,
    /// The bytes of its entry cache that the metrics know of.
    cached_bytes: u64,
}

impl RaftActor {
    pub(crate) fn new(id: RegionId, region: Region) -> Self {
        Self { machine: Machine::Runs(Box::new(region)), id, campaigning: None, cached_bytes: 0 }
    }

    /// Brings the metrics' sum over all caches up to date.
    fn count_cache(&mut self, metrics: &StoreMetrics) {
        let bytes = self.machine.cached_bytes();
        metrics.entry_cache_bytes.add(bytes as i64 - self.cached_bytes as i64);
        self.cached_bytes = bytes;
    }
}

impl Actor for RaftActor {
    type Message = RaftMessage;
}

/// What one raft poller needs for its rounds.
pub(crate) struct RaftHandler {
    shared: Arc<Shared>,
    writer: LogWriter,
    /// What the regions of the round want written, at most one for each region until it is written.
    persists: Vec<Persist>,
    effects: Vec<Effect>,
    grants: Vec<(ReadResponder, ReadGrant)>,
    started: Instant,
    /// The region that is being stepped, for the message when it panics.
    current: RegionId,
}

impl RaftHandler {
    pub(crate) fn new(shared: Arc<Shared>, writer: LogWriter) -> Self {
        Self {
            shared,
            writer,
            persists: Vec::new(),
            effects: Vec::new(),
            grants: Vec::new(),
            started: Instant::ORIGIN,
            current: RegionId(0),
        }
    }

    fn step(&mut self, actor: &mut RaftActor, inbox: &mut Vec<RaftMessage>) -> Result<(), StoreError> {
        for message in inbox.drain(..) {
            match message {
                RaftMessage::Input(input) => self.take(actor, input)?,
                RaftMessage::Rebuild(responder) => self.begin_rebuild(actor, responder),
            }
        }
        self.end_rebuild(actor)?;
        self.finish(actor)
    }

    fn take(&mut self, actor: &mut RaftActor, input: Input) -> Result<(), StoreError> {
        match &mut actor.machine {
            Machine::Runs(region) => region.step(input, &mut self.effects)?,
            Machine::Rebuilds(rebuild) => rebuild.take(input, &mut self.effects),
        }
        Ok(())
    }

    fn finish(&mut self, actor: &mut RaftActor) -> Result<(), StoreError> {
        if let Machine::Runs(region) = &mut actor.machine {
            region.finish_round(&mut self.effects)?;
        }
        self.carry_out(&mut actor.campaigning);
        Ok(())
    }

    /// Gives the region up. From now on it neither leads nor follows, and takes nothing.
    fn begin_rebuild(&mut self, actor: &mut RaftActor, responder: RebuildResponder) {
        actor.machine.give_up(responder, &mut self.effects);
        let view = self.shared.table.get(actor.id).filter(|view| view.role != Role::Follower);
        self.effects.extend(view.map(|view| {
            let (region, term) = (actor.id, view.term);
            Effect::RoleChanged(RoleChange { region, role: Role::Follower, term, leader: None })
        }));
    }

    /// Builds the region's next `RawNode` as soon as both engines hold what the last one left.
    fn end_rebuild(&mut self, actor: &mut RaftActor) -> Result<(), StoreError> {
        let Machine::Rebuilds(rebuild) = &actor.machine else { return Ok(()) };
        let shared = &self.shared;
        if !rebuild.is_settled(actor.id, &*shared.engines.state)? {
            return Ok(());
        }
        let generation = rebuild.next_generation();
        let restored = restore_region(&shared.engines, shared.ident, actor.id, generation, shared.config.planted)?;
        let config = Arc::new(shared.config.region.clone());
        let region = Region::new(config, restored, Arc::clone(&shared.engines.log), &shared.around.logger)?;
        info!(shared.around.logger, "peer rebuilt"; "region" => actor.id.0, "generation" => generation.0);
        if let Machine::Rebuilds(rebuild) = std::mem::replace(&mut actor.machine, Machine::Runs(Box::new(region))) {
            rebuild.end();
        }
        Ok(())
    }

    fn carry_out(&mut self, campaigning: &mut Option<Instant>) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            if let Some(kind) = metrics::ready_kind(&effect) {
                self.shared.around.metrics.ready[kind].inc();
            }
            match effect {
                Effect::Persist(persist) => self.persists.push(persist),
                Effect::Send(message) => self.send(message),
                Effect::Apply(apply) => self.apply(apply),
                Effect::Refuse(responder, error) => {
                    metrics::refused(&self.shared.around.metrics, &error);
                    responder.respond(Err(error));
                }
                Effect::Grant(responder, grant) => self.grants.push((responder, grant)),
                Effect::RefuseRead(responder, error) => {
                    metrics::refused(&self.shared.around.metrics, &error);
                    responder.respond(Err(error));
                }
                Effect::Transferred(responder, result) => responder.respond(result),
                Effect::Inspected(inspector, status) => inspector.respond(Some(*status)),
                Effect::RoleChanged(change) => self.role_changed(&change, campaigning),
                Effect::SplitEnded(responder, result) => responder.respond(result),
                Effect::MembersEnded(responder, result) => responder.respond(result),
                // This store sends no snapshots: a member that needs one stays behind. Whatever asks for one harms nobody.
                Effect::BuildSnapshot(_)
                | Effect::SendSnapshot(_)
                | Effect::CancelSnapshot(_)
                | Effect::DeclineSnapshot(_) => {}
                // Nobody is asked yet but the members that the peer knows.
                Effect::LeaderMissing(_) => {}
                Effect::Split(_)
                | Effect::MembersChanged(_)
                | Effect::Hash(..)
                | Effect::Inconsistent(_)
                | Effect::ApplySnapshot(_)
                | Effect::Destroy(_) => {
                    // Nobody can propose on this store what leads here.
                    let cause = "the log holds a change of the region that this build does not carry out".to_owned();
                    self.shared.fail(StoreError::Restore { region: self.current, cause });
                }
            }
        }
        self.effects = effects;
    }

    fn send(&self, message: region::RegionMessage) {
        let kind = metrics::message_type(&message);
        let metrics = &self.shared.around.metrics;
        if self.shared.around.outbox.send(message) {
            metrics.messages_sent[kind].inc();
        } else {
            metrics.messages_dropped[kind].inc();
        }
    }

    fn apply(&self, apply: region::Apply) {
        let region::Apply { region, generation, entries, waiting } = apply;
        let task = ApplyMessage {
            since: self.shared.around.clock.now(),
            task: apply::ApplyTask { region, generation, entries, waiting },
        };
        // The apply queue of a region is bounded by the region itself, which hands out a bounded number of bytes at a
        // time. When the store stops, the task is dropped and whoever waits is told that the outcome is unknown.
        let _ = self.shared.apply.force_send(region.0, task);
    }

    fn role_changed(&self, change: &RoleChange, campaigning: &mut Option<Instant>) {
        let Some(before) = self.shared.table.get(change.region) else {
            return;
        };
        let around = &self.shared.around;
        metrics::role_changed(&around.metrics, &before, change, campaigning, around.clock.now());
        let view = self.shared.table.update(change.region, |view| {
            view.role = change.role;
            view.term = change.term;
            view.leader = change.leader;
        });
        if let Some(view) = view {
            self.shared.around.observer.region_changed(&view);
        }
    }

    /// Answers confirmed reads. The snapshot is taken after every input of the round was stepped: it holds whatever
    /// any of the regions was told to be applied.
    fn answer_reads(&mut self) -> Result<(), StoreError> {
        if self.grants.is_empty() {
            return Ok(());
        }
        let data = self.shared.engines.state.snapshot();
        // A region's reads come one after the other: one look answers for all of them.
        let mut last: Option<(Arc<RegionDescriptor>, Result<(), RequestError>)> = None;
        for (responder, grant) in self.grants.drain(..) {
            let verdict = match last.take() {
                Some((descriptor, verdict)) if Arc::ptr_eq(&descriptor, &grant.descriptor) => verdict,
                _ => grant.recheck(&*data)?,
            };
            last = Some((Arc::clone(&grant.descriptor), verdict.clone()));
            let ReadGrant { descriptor, applied } = grant;
            let data = Arc::clone(&data);
            responder.respond(verdict.map(|()| engine::RegionSnapshot { descriptor, applied, data }));
        }
        Ok(())
    }

    /// Writes what the round gathered and releases what waited for it, until nothing more is asked for: a lone voter
    /// that wins its election asks twice.
    fn write(&mut self, actors: &mut [Box<RaftActor>]) -> Result<(), StoreError> {
        self.finish_effects()?;
        if self.persists.is_empty() {
            return Ok(());
        }
        // An actor and the one that replaced it can be in one round: the region's id alone does not tell them apart.
        let places: BTreeMap<(RegionId, Generation), usize> =
            actors.iter().enumerate().map(|(at, actor)| ((actor.id, actor.machine.generation()), at)).collect();
        while !self.persists.is_empty() {
            for Written { region, generation, ready } in self.writer.write(&mut self.persists)? {
                // Only who is in the round has asked for the write.
                let actor = &mut actors[places[&(region, generation)]];
                self.current = region;
                self.take(actor, Input::Persisted { generation, ready })?;
                self.finish(actor)?;
            }
            self.finish_effects()?;
        }
        Ok(())
    }

    fn finish_effects(&mut self) -> Result<(), StoreError> {
        self.shared.around.outbox.flush();
        self.answer_reads()
    }
}

impl Handler<RaftActor> for RaftHandler {
    fn begin(&mut self) {
        self.started = self.shared.around.clock.now();
    }

    fn handle(&mut self, actor: &mut RaftActor, inbox: &mut Vec<RaftMessage>) {
        if !self.shared.is_running() {
            inbox.clear();
            return;
        }
        self.current = actor.id;
        match catch(|| self.step(actor, inbox)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.shared.fail(error),
            Err(cause) => self.shared.fail(StoreError::Panic { region: self.current, cause }),
        }
    }

    fn end(&mut self, actors: &mut [Box<RaftActor>]) {
        if !self.shared.is_running() {
            return;
        }
        match catch(|| self.write(actors)) {
            Ok(Ok(())) => {
                let Surroundings { metrics, clock, .. } = &self.shared.around;
                actors.iter_mut().for_each(|actor| actor.count_cache(metrics));
                metrics.raft_round_duration.observe(clock.now().since(self.started).as_secs_f64());
            }
            Ok(Err(error)) => self.shared.fail(error),
            Err(cause) => self.shared.fail(StoreError::Panic { region: self.current, cause }),
        }
    }

    fn verdict(&self, _: &RaftActor) -> Verdict {
        Verdict::Idle
    }
}
