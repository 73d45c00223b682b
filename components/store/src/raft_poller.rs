//! Rounds of raft: step many regions, write all that they ask for in one synced batch, release what waited for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use apply::Truncation;
use observe::StoreMetrics;
use region::{
    DeclineSnapshot, Effect, Input, Persist, ReadGrant, ReadResponder, Region, Role, RoleChange, SplitResponder,
};
use runtime::system::{Actor, Handler, Verdict};
use slog::info;
use types::{Generation, Instant, PlantedBug, RegionDescriptor, RegionId, RequestError};

use crate::apply_poller::ApplyMessage;
use crate::error::StoreError;
use crate::hashes::HashOrder;
use crate::lifecycle::Task;
use crate::lifecycle::births::{Births, TakeOver};
use crate::log_writer::{LogWriter, RaftRound, Written};
use crate::metrics;
use crate::panic::catch;
use crate::peers::PeerParts;
use crate::rebuild::{Machine, Next, RebuildResponder, Rest};
use crate::recovery::restore_region;
use crate::shared::{Shared, Surroundings};

/// What is sent to a region.
pub(crate) enum RaftMessage {
    /// Something that happened to it.
    Input(Input),
    /// It is to begin anew, from what both engines hold.
    Rebuild(RebuildResponder),
    /// The lifecycle is done with it: it begins anew.
    Renew,
    /// A split has made its region: it begins anew, as a child (D11).
    TakeOver(TakeOver),
    /// It has heard where its log begins by now: what lies before may go once that is durable (D5).
    Compacted(Truncation),
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

    /// Tells it apart from those before and after it.
    fn key(&self) -> (RegionId, Generation) {
        (self.id, self.machine.generation())
    }

    /// Gives up what runs. From now on it neither leads nor follows, and takes nothing.
    fn rest(&mut self, shared: &Shared, effects: &mut Vec<Effect>) -> &mut Rest {
        let view = shared.table.get(self.id).filter(|view| view.role != Role::Follower);
        let rest = self.machine.rest(effects);
        effects.extend(view.map(|view| {
            let (region, term) = (view.descriptor.id, view.term);
            Effect::RoleChanged(RoleChange { region, role: Role::Follower, term, leader: None })
        }));
        rest
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
    /// Splits of the round: their children begin once the round is written.
    births: Vec<Births>,
    /// Whom to tell of a split, when its children have begun.
    split_ended: Vec<(SplitResponder, Result<Vec<RegionDescriptor>, RequestError>)>,
    /// What the region that is being stepped has ended for.
    ended: Option<Task>,
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
            births: Vec::new(),
            split_ended: Vec::new(),
            ended: None,
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
                RaftMessage::Rebuild(responder) => match &mut actor.machine {
                    Machine::Rests(rest) => rest.wait(responder),
                    Machine::Runs(_) => actor.rest(&self.shared, &mut self.effects).renew(Some(responder)),
                },
                RaftMessage::Compacted(truncation) => self.shared.clean_up.add(truncation),
                RaftMessage::Renew => {
                    if let Machine::Rests(rest) = &mut actor.machine {
                        rest.resume();
                    }
                }
                RaftMessage::TakeOver(take_over) => {
                    let rest = actor.rest(&self.shared, &mut self.effects);
                    if self.shared.config.planted.has(PlantedBug::TakeoverForgetsVote) {
                        rest.hurry();
                    }
                    if let Some(Task::Replace(_)) = rest.take_over(take_over) {
                        self.shared.snapshots.incoming.forget(actor.id);
                    }
                }
            }
        }
        self.finish(actor)
    }

    fn take(&mut self, actor: &mut RaftActor, input: Input) -> Result<(), StoreError> {
        match &mut actor.machine {
            Machine::Runs(region) => {
                region.step(input, &mut self.effects)?;
                // What it waits for may be the very next input.
                if region.has_ended() {
                    actor.rest(&self.shared, &mut self.effects);
                }
            }
            Machine::Rests(rest) => rest.take(input, &mut self.effects),
        }
        Ok(())
    }

    fn finish(&mut self, actor: &mut RaftActor) -> Result<(), StoreError> {
        if let Machine::Runs(region) = &mut actor.machine {
            region.finish_round(&mut self.effects)?;
        }
        self.carry_out_for(actor);
        self.settle(actor)
    }

    /// Carries out the effects of a region, and takes it out of its mailbox if its machine has ended by them.
    fn carry_out_for(&mut self, actor: &mut RaftActor) {
        self.carry_out(&mut actor.campaigning);
        if let Some(task) = self.ended.take() {
            self.end(actor, task);
        }
    }

    /// A region's machine has ended, for a snapshot or for good.
    fn end(&mut self, actor: &mut RaftActor, task: Task) {
        let stays = matches!(&task, Task::Remove(destroy)
            if !self.shared.lifecycle.claims.leaves(destroy.descriptor.id));
        let rest = actor.rest(&self.shared, &mut self.effects);
        if stays {
            // A split needs the peer, and takes it over. It will be told again that it must go, with its data then.
            rest.renew(None);
        } else {
            rest.hand(task);
        }
        self.carry_out(&mut actor.campaigning);
    }

    /// Goes on with a peer that rests, as soon as both engines hold what the last `RawNode` left.
    fn settle(&mut self, actor: &mut RaftActor) -> Result<(), StoreError> {
        let Machine::Rests(rest) = &mut actor.machine else { return Ok(()) };
        if self.shared.config.planted.has(PlantedBug::OlderGenerationAccepted) {
            rest.hurry();
        }
        match rest.settle() {
            None | Some(Next::Wait) => Ok(()),
            Some(Next::Hand(task)) => {
                self.shared.lifecycle.push(task);
                Ok(())
            }
            Some(Next::Renew) => self.renew(actor),
        }
    }

    /// Builds the region's next `RawNode` from what both engines hold.
    fn renew(&mut self, actor: &mut RaftActor) -> Result<(), StoreError> {
        let (shared, id) = (&self.shared, actor.id);
        let generation = shared.lifecycle.claims.next_generation(id);
        let resting = Machine::Rests(Rest::over(id, generation));
        let Machine::Rests(rest) = std::mem::replace(&mut actor.machine, resting) else {
            unreachable!("only who rests is renewed");
        };
        let (take_over, waiting) = rest.end();
        if let Some(take_over) = &take_over {
            take_over.write(shared, id)?;
        }
        let PeerParts { view, region, apply, .. } = PeerParts::new(shared, restore_region(shared, id, generation)?)?;
        shared.apply.register(id.0, apply);
        if let Some(view) = view {
            shared.lifecycle.claims.lives(id, view.peer.id, view.descriptor.range.clone());
            shared.table.insert(view.clone());
            shared.around.observer.region_changed(&view);
        }
        info!(shared.around.logger, "peer begins anew"; "region" => id.0, "generation" => generation.0);
        actor.machine = Machine::Runs(Box::new(region));
        waiting.into_iter().for_each(|responder| responder.respond(Some(generation)));
        if take_over.is_some_and(|take_over| take_over.campaign) {
            self.take(actor, Input::Campaign)?;
        }
        if let Machine::Runs(region) = &mut actor.machine {
            region.finish_round(&mut self.effects)?;
        }
        self.carry_out_for(actor);
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
                Effect::SplitEnded(responder, Ok(regions)) => self.split_ended.push((responder, Ok(regions))),
                Effect::SplitEnded(responder, Err(error)) => {
                    metrics::refused(&self.shared.around.metrics, &error);
                    responder.respond(Err(error));
                }
                Effect::MembersEnded(responder, result) => {
                    if let Err(error) = &result {
                        metrics::refused(&self.shared.around.metrics, error);
                    }
                    responder.respond(result);
                }
                Effect::Split(split) => self.births.push(split.into()),
                Effect::MembersChanged(descriptor) => self.members_changed(descriptor),
                Effect::BuildSnapshot(order) => self.shared.snapshots.outgoing.order(order),
                Effect::SendSnapshot(send) => self.shared.snapshots.outgoing.send(&self.shared, send),
                Effect::CancelSnapshot(cancel) => self.shared.snapshots.outgoing.cancel(&self.shared, cancel),
                Effect::ApplySnapshot(apply) => self.ended = Some(Task::Replace(apply)),
                Effect::DeclineSnapshot(DeclineSnapshot { region, from, index }) => {
                    self.shared.snapshots.incoming.decline(region, from.id, index);
                }
                Effect::Destroy(destroy) => {
                    self.hide(destroy.descriptor.id);
                    self.ended = Some(Task::Remove(Box::new(destroy)));
                }
                Effect::LeaderMissing(region) => self.shared.around.observer.leader_missing(region),
                Effect::Hash(generation, task) => self.shared.hashes.order(HashOrder { generation, task }),
                Effect::Inconsistent(inconsistency) => {
                    self.shared.around.metrics.inconsistent_regions.inc();
                    self.shared.around.observer.replicas_differ(&inconsistency);
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

    /// Shows a region's new members. A peer that is not among them is not shown any more (D9).
    fn members_changed(&self, descriptor: Arc<RegionDescriptor>) {
        let (shared, id) = (&self.shared, descriptor.id);
        let Some(peer) = descriptor.peer_on(shared.ident.store).copied() else {
            shared.status.removed(id, &shared.around.logger);
            return self.hide(id);
        };
        let view = shared.table.update(id, |view| (view.descriptor, view.peer) = (descriptor, peer));
        if let Some(view) = view {
            shared.around.observer.region_changed(&view);
        }
    }

    /// Shows a region no more.
    fn hide(&self, id: RegionId) {
        let Some(view) = self.shared.table.remove(id) else { return };
        let metrics = &self.shared.around.metrics;
        metrics.regions.set(self.shared.table.len() as i64);
        metrics.leaders.sub(i64::from(view.role == Role::Leader));
        self.shared.around.observer.region_gone(id);
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
        if self.persists.is_empty() && self.births.is_empty() {
            return Ok(());
        }
        // An actor and the one that replaced it can be in one round: the region's id alone does not tell them apart.
        let mut places: BTreeMap<_, _> = actors.iter().enumerate().map(|(at, actor)| (actor.key(), at)).collect();
        while !self.persists.is_empty() || !self.births.is_empty() {
            let round = RaftRound {
                persists: std::mem::take(&mut self.persists),
                births: std::mem::take(&mut self.births),
                split_ended: std::mem::take(&mut self.split_ended),
            };
            for Written { region, generation, ready } in self.writer.write(round)? {
                // Only who is in the round has asked for the write.
                let at = places[&(region, generation)];
                let actor = &mut actors[at];
                self.current = region;
                self.take(actor, Input::Persisted { generation, ready })?;
                self.finish(actor)?;
                // One that rested may have begun anew, and asked for a write already.
                places.entry(actor.key()).or_insert(at);
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
