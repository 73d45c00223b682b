//! Rounds of raft: step many regions, write all that they ask for in one synced batch, release what waited for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use observe::StoreMetrics;
use region::{Effect, Input, Persist, ReadGrant, ReadResponder, Region, RegionError, RoleChange};
use runtime::system::{Actor, Handler, Verdict};
use types::{Instant, RegionId};

use crate::apply_poller::ApplyMessage;
use crate::error::StoreError;
use crate::log_writer::{LogWriter, Written};
use crate::metrics;
use crate::panic::catch;
use crate::shared::{Shared, Surroundings};

/// A region in its mailbox.
pub(crate) struct RaftActor {
    pub(crate) region: Region,
    pub(crate) id: RegionId,
    /// Since when the peer has been campaigning.
    pub(crate) campaigning: Option<Instant>,
    /// The bytes of its entry cache that the metrics know of.
    cached_bytes: u64,
}

impl RaftActor {
    pub(crate) fn new(id: RegionId, region: Region) -> Self {
        Self { region, id, campaigning: None, cached_bytes: 0 }
    }

    /// Brings the metrics' sum over all caches up to date.
    fn count_cache(&mut self, metrics: &StoreMetrics) {
        let bytes = self.region.cached_bytes();
        metrics.entry_cache_bytes.add(bytes as i64 - self.cached_bytes as i64);
        self.cached_bytes = bytes;
    }
}

impl Actor for RaftActor {
    type Message = Input;
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

    fn step(&mut self, actor: &mut RaftActor, inbox: &mut Vec<Input>) -> Result<(), RegionError> {
        for input in inbox.drain(..) {
            actor.region.step(input, &mut self.effects)?;
        }
        actor.region.finish_round(&mut self.effects)?;
        self.carry_out(&mut actor.campaigning);
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
    fn answer_reads(&mut self) {
        if self.grants.is_empty() {
            return;
        }
        let data = self.shared.engines.state.snapshot();
        for (responder, ReadGrant { descriptor, applied }) in self.grants.drain(..) {
            let data = Arc::clone(&data);
            responder.respond(Ok(engine::RegionSnapshot { descriptor, applied, data }));
        }
    }

    /// Writes what the round gathered and releases what waited for it, until nothing more is asked for: a lone voter
    /// that wins its election asks twice.
    fn write(&mut self, actors: &mut [Box<RaftActor>]) -> Result<(), StoreError> {
        self.finish_effects();
        if self.persists.is_empty() {
            return Ok(());
        }
        let places: BTreeMap<RegionId, usize> = actors.iter().enumerate().map(|(at, actor)| (actor.id, at)).collect();
        while !self.persists.is_empty() {
            for Written { region, generation, ready } in self.writer.write(&mut self.persists)? {
                let actor = &mut actors[places[&region]];
                self.current = region;
                actor.region.step(Input::Persisted { generation, ready }, &mut self.effects)?;
                actor.region.finish_round(&mut self.effects)?;
                self.carry_out(&mut actor.campaigning);
            }
            self.finish_effects();
        }
        Ok(())
    }

    fn finish_effects(&mut self) {
        self.shared.around.outbox.flush();
        self.answer_reads();
    }
}

impl Handler<RaftActor> for RaftHandler {
    fn begin(&mut self) {
        self.started = self.shared.around.clock.now();
    }

    fn handle(&mut self, actor: &mut RaftActor, inbox: &mut Vec<Input>) {
        if !self.shared.is_running() {
            inbox.clear();
            return;
        }
        self.current = actor.id;
        match catch(|| self.step(actor, inbox)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.shared.fail(error.into()),
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
