//! One step of the lifecycle's queue at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use engine::{StateBatch, WriterId};
use slog::debug;
use types::{Instant, Round};

use super::removal::Removal;
use super::replacement::Replacement;
use super::{StateWriter, Task, clear, newcomers};
use crate::error::StoreError;
use crate::shared::Shared;
use crate::upkeep::fence;

/// What became of an operation.
pub(crate) enum Step {
    /// It has done something, and goes on.
    Done,
    /// It goes on behind a fence.
    Fence,
    /// Something else has to happen first: it is asked again.
    Blocked,
    /// It has come to its end.
    Ended,
}

/// What an operation works with.
pub(crate) struct Tools<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) writer: &'a mut StateWriter,
}

impl Tools<'_> {
    /// Writes to the state engine, and lets the watermark know.
    pub(crate) fn write(&mut self, batch: StateBatch) -> Result<Round, StoreError> {
        let round = self.writer.write(batch)?;
        self.note();
        Ok(round)
    }

    /// Lets the watermark know of what was written.
    pub(crate) fn note(&self) {
        let now = self.shared.around.clock.now();
        self.shared.clean_up.wrote(WriterId::Lifecycle, self.writer.written(), now);
    }
}

enum Kind {
    Removal(Removal),
    Replacement(Replacement),
}

struct Operation {
    kind: Kind,
    waits: bool,
}

/// Does what waits in the lifecycle's queue.
pub(crate) struct LifecycleWorker {
    shared: Arc<Shared>,
    writer: StateWriter,
    /// In the order in which they came.
    operations: VecDeque<Operation>,
    /// When the operations that wait for a fence get one: a moment after the first began to wait, so that others can share
    /// it (D4).
    fence_at: Option<Instant>,
}

impl LifecycleWorker {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let writer = StateWriter::open(Arc::clone(&shared.engines.state))?;
        Ok(Self { shared, writer, operations: VecDeque::new(), fence_at: None })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether anything is begun or waits.
    pub(crate) fn has_work(&self) -> bool {
        !self.operations.is_empty() || self.shared.lifecycle.waiting() > 0
    }

    /// When a step may have something to do although no task comes: the next fence.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.fence_at
    }

    /// One step: a task is taken, an operation goes one step, or a fence is made. False when there is nothing to do now.
    pub(crate) fn step(&mut self) -> Result<bool, StoreError> {
        if let Ok(task) = self.shared.lifecycle.queue().try_recv() {
            self.take(task)?;
            return Ok(true);
        }
        for at in 0..self.operations.len() {
            if !self.operations[at].waits && self.advance(at)? {
                return Ok(true);
            }
        }
        self.fence()
    }

    /// Takes a task: short ones are done at once.
    pub(crate) fn take(&mut self, task: Task) -> Result<(), StoreError> {
        let kind = match task {
            Task::Stranger(message) => return newcomers::receive(&self.shared, *message),
            Task::Clear(range) => {
                let mut tools = Tools { shared: &self.shared, writer: &mut self.writer };
                if !tools.shared.lifecycle.claims.is_owned(&range) {
                    debug!(tools.shared.around.logger, "range that nobody owns cleared"; "range" => %range);
                    let mut batch = StateBatch::default();
                    clear(&mut batch, &range);
                    tools.write(batch)?;
                }
                return Ok(());
            }
            Task::Replace(apply) => Kind::Replacement(Replacement::new(*apply)),
            Task::Remove(destroy) => Kind::Removal(Removal::new(*destroy)),
        };
        self.operations.push_back(Operation { kind, waits: false });
        Ok(())
    }

    /// Lets an operation go a step. False when it is blocked.
    fn advance(&mut self, at: usize) -> Result<bool, StoreError> {
        let mut tools = Tools { shared: &self.shared, writer: &mut self.writer };
        let step = match &mut self.operations[at].kind {
            Kind::Removal(removal) => removal.step(&mut tools)?,
            Kind::Replacement(replacement) => replacement.step(&mut tools)?,
        };
        match step {
            Step::Done => {}
            Step::Blocked => return Ok(false),
            Step::Fence => {
                self.operations[at].waits = true;
                let wait = self.shared.config.fence_wait;
                self.fence_at.get_or_insert(self.shared.around.clock.now() + wait);
            }
            Step::Ended => {
                self.operations.remove(at);
            }
        }
        Ok(true)
    }

    /// Makes everything durable that was written before, for all that wait for it.
    fn fence(&mut self) -> Result<bool, StoreError> {
        let Some(at) = self.fence_at else { return Ok(false) };
        if self.shared.around.clock.now() < at {
            return Ok(false);
        }
        self.fence_at = None;
        fence(&*self.shared.engines.state, &self.shared.clean_up.written())?;
        self.operations.iter_mut().for_each(|operation| operation.waits = false);
        Ok(true)
    }
}
