//! Rounds of apply: the committed entries of many regions into one batch of the state engine.

use std::sync::Arc;

use apply::{ApplyError, ApplyRound, ApplyTask, RegionApplier, RoundOutcome};
use engine::WriterId;
use region::Input;
use runtime::system::{Actor, Handler, Verdict};
use types::{Instant, RegionId, Round};

use crate::error::StoreError;
use crate::panic::catch;
use crate::raft_poller::RaftMessage;
use crate::shared::Shared;

/// A region's state of applying in its mailbox.
pub(crate) struct ApplyActor {
    pub(crate) applier: RegionApplier,
}

/// Entries on their way to be applied.
pub(crate) struct ApplyMessage {
    /// When they were handed out.
    pub(crate) since: Instant,
    pub(crate) task: ApplyTask,
}

impl Actor for ApplyActor {
    type Message = ApplyMessage;
}

/// What one apply poller needs for its rounds.
pub(crate) struct ApplyHandler {
    shared: Arc<Shared>,
    writer: WriterId,
    round: ApplyRound,
    started: Instant,
    current: RegionId,
}

impl ApplyHandler {
    /// A poller that counts its batches under `writer`, from the newest one that the state engine holds on (D3).
    pub(crate) fn new(shared: Arc<Shared>, writer: WriterId, written: Round) -> Self {
        let round = ApplyRound::new(Arc::clone(&shared.engines.state), writer, written)
            .with_arbiter(shared.lifecycle.claims.clone())
            .planting(shared.config.planted);
        Self { shared, writer, round, started: Instant::ORIGIN, current: RegionId(0) }
    }

    fn execute(&mut self, actor: &mut ApplyActor, inbox: &mut Vec<ApplyMessage>) -> Result<(), ApplyError> {
        for ApplyMessage { since, task } in inbox.drain(..) {
            let wait = self.started.since(since).as_secs_f64();
            self.shared.around.metrics.apply_wait_duration.observe(wait);
            self.round.apply(&mut actor.applier, task)?;
        }
        Ok(())
    }

    /// Writes the round, then answers, then tells the regions: who is answered can read what it wrote.
    fn write(&mut self) -> Result<(), ApplyError> {
        let clock = &self.shared.around.clock;
        let outcome = self.round.finish()?;
        let RoundOutcome { answers, applied, truncations, round, commands, written, .. } = outcome;
        let metrics = &self.shared.around.metrics;
        metrics.apply_commands.inc_by(commands);
        metrics.apply_duration.observe(clock.now().since(self.started).as_secs_f64());
        self.shared.splits.flows.wrote(written);
        self.shared.clean_up.wrote(self.writer, round, clock.now());
        for (responder, result) in answers {
            responder.respond(result);
        }
        for apply::Applied { region, generation, apply_state, changes } in applied {
            self.shared.status.applied(region, apply_state.applied, &self.shared.around.logger);
            // A region that is gone needs no completion.
            let input = Input::Applied { generation, apply_state, changes };
            let _ = self.shared.raft.force_send(region.0, input.into());
        }
        for truncation in truncations {
            // Behind the word of it: the region may read its log until it hears where that begins now.
            let _ = self.shared.raft.force_send(truncation.region.0, RaftMessage::Compacted(truncation));
        }
        Ok(())
    }

    fn guard(&mut self, work: impl FnOnce(&mut Self) -> Result<(), ApplyError>) {
        if !self.shared.is_running() {
            return;
        }
        match catch(|| work(self)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.shared.fail(error.into()),
            Err(cause) => self.shared.fail(StoreError::Panic { region: self.current, cause }),
        }
    }
}

impl Handler<ApplyActor> for ApplyHandler {
    fn begin(&mut self) {
        self.started = self.shared.around.clock.now();
    }

    fn handle(&mut self, actor: &mut ApplyActor, inbox: &mut Vec<ApplyMessage>) {
        self.current = actor.applier.descriptor.id;
        self.guard(|poller| poller.execute(actor, inbox));
        inbox.clear();
    }

    fn end(&mut self, _: &mut [Box<ApplyActor>]) {
        self.guard(Self::write);
    }

    fn verdict(&self, _: &ApplyActor) -> Verdict {
        Verdict::Idle
    }
}
